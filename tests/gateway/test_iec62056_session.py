"""What a site states of an IEC 62056-21 session reaches the requests, and the record of what was asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from central.audit_readings import asked_of
from drivers import iec62056_reading
from gateway.config import SiteFile
from gateway.prepare import prepare
from gateway.prepared import Prepared
from gateway.site_record import configuration
from gateway.toml_source import ConfigError

SITE = """
[site]
name = "Head"
origin = "suyuan.example/gw/head"
[[bus]]
name = "line"
protocol = "{protocol}"
port = "line"
[[bus.instrument]]
id = "m"
address = "{address}"
profile = "{profile}"
session = {session}
period = "5min"
accuracy_class = "1"
rated_current = "5"
"""


def prepared(directory: Path, session: str, protocol: str = "iec62056-21") -> Prepared:
    profile, address = ("iskra-mt174", "") if protocol.startswith("iec") else ("cjt188-water", "1")
    path = directory / "site.toml"
    text = SITE.format(session=session, protocol=protocol, profile=profile, address=address)
    path.write_text(text, encoding="utf-8")
    return prepare(SiteFile(path), lambda: datetime(2026, 11, 24, tzinfo=UTC))


def request(made: Prepared) -> iec62056_reading.Request:
    (meter,) = made.meters
    (query,) = meter.queries
    assert meter.meter.codec is not None
    asked = meter.meter.codec.request(meter.meter.address, query)
    assert isinstance(asked, iec62056_reading.Request)
    return asked


def test_times_are_the_standards_but_for_those_stated(tmp_path: Path) -> None:
    times = request(prepared(tmp_path, '{ pause = "20ms", reply = "4s" }')).times
    assert (times.pause_s, times.reply_s, times.idle_s, times.turn_s) == (0.02, 4.0, 1.5, 0.01)


@pytest.mark.parametrize("protocol", ["iec62056-21", "iec62056-21-300", "iec62056-21-fixed"])
def test_registers_are_asked_for_and_an_auditor_knows_of_it(tmp_path: Path, protocol: str) -> None:
    made = prepared(tmp_path, '{ read = "R5" }', protocol)
    asked = request(made)
    assert asked.command == "R5"
    assert asked.registers == ("1.8.0", "2.8.0", "32.7.0", "52.7.0", "72.7.0")
    ((_, _, known),) = asked_of(json.loads(configuration(made)), "m").queries.values()
    assert isinstance(known, iec62056_reading.Request)
    assert (known.command, known.registers) == (asked.command, asked.registers)


@pytest.mark.parametrize(
    ("session", "protocol", "said"),
    [
        ('{ read = "W5" }', "iec62056-21", "R1"),
        ('{ reply = "0s" }', "iec62056-21", "longer than 0"),
        ('{ pause = "20ms" }', "cjt188", "has no meaning for a meter of cjt188"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, session: str, protocol: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        prepared(tmp_path, session, protocol)
