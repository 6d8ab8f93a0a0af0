"""A line whose meters do not all speak alike, as a site file says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import moment
from gateway.config import SiteFile
from gateway.prepare import prepare
from gateway.prepared import Prepared
from gateway.toml_source import ConfigError

HEAD = """
[site]
name = "mixed"
origin = "platform.example/gw/mixed"

[[bus]]
name = "line"
protocol = "dlt645-2007"
port = "ttyUSB0"
baud = 2400

[[bus.instrument]]
id = "a"
address = "202600000011"
profile = "dlt645-2007-three-phase"
period = "60s"

[[bus.instrument]]
id = "b"
address = "2"
profile = "eastron-sdm630"
period = "60s"
"""


def prepared(tmp_path: Path, more: str) -> Prepared:
    file = tmp_path / "site.toml"
    file.write_text(HEAD + more)
    return prepare(SiteFile(file), moment)


def test_an_instrument_may_have_a_protocol_speed_and_framing_of_its_own(tmp_path: Path) -> None:
    own = (
        'protocol = "modbus-rtu"\nbaud = 9600\nframing = "8N1"\nlongest_reply = "1500ms"\ntimeout = "500ms"\n'
    )
    (bus,) = prepared(tmp_path, own).buses
    first, second = (meter.meter for meter in bus.meters)
    assert (first.codec, first.baud, first.late_s) == (None, 0, None)
    assert second.codec is not None
    assert (second.codec.name, second.baud, second.framing) == ("modbus-rtu", 9600, "8N1")
    assert second.late_s == pytest.approx(1.0)
    slow = prepared(tmp_path, 'protocol = "modbus-rtu"\n').buses[0]
    assert slow.share > bus.share  # at the line's own 2400 baud its characters take longer


def test_without_it_the_profile_must_be_of_the_lines_protocol(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="speaks modbus"):
        prepared(tmp_path, "")
    with pytest.raises(ConfigError):  # a protocol for networks shares no line
        prepared(tmp_path, 'protocol = "modbus-tcp"\n')
