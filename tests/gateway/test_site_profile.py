"""What hangs on a module's inputs: read in its own quantity, corrected for transmitter and module."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from math import sqrt

import pytest

from calibration.state import Flag
from drivers import profile
from drivers.codec import Answer, Missing
from gateway.config import SiteFile
from gateway.prepare import prepare
from gateway.site_record import configuration
from gateway.toml_source import ConfigError

SITE = """
[site]
name = "boiler house"
origin = "platform.example/gw/ai"

[calibration]
certificates = ["instruments.toml"]

[[bus]]
name = "modules"
protocol = "modbus-tcp"
port = "tcp://127.0.0.1:502"

[[bus.instrument]]
id = "AI-1"
address = "1"
profile = "analogue-inputs-4-20ma"
period = "10s"

[bus.instrument.input.1]
measurand = "temperature.gas"
unit = "Cel"
transmitter = "TT-1"
range_low = "0"
range_high = "200"

[bus.instrument.input.2]
measurand = "pressure.static"
unit = "kPa"
range_low = "-2"
range_high = "2"
fault_low = "3.5"

[[bus.instrument]]
id = "DI-1"
address = "2"
profile = "pulse-inputs-16bit"
period = "10s"

[bus.instrument.input.3]
measurand = "volume.gas"
unit = "m3"
pulse = "0.1"
transmitter = "GM-1"
"""
INSTRUMENTS = """
[[instrument]]
id = "TT-1"
kind = "temperature"
mpe = "1"

[[instrument]]
id = "AI-1"
kind = "analogue_input"
mpe = "0.5"

[[instrument]]
id = "GM-1"
kind = "other"
mpe = "1.5"
"""


def today() -> datetime:
    return datetime(2026, 11, 24, tzinfo=UTC)


def prepared(tmp_path, text=SITE):
    (tmp_path / "instruments.toml").write_text(INSTRUMENTS, "utf-8")
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return prepare(SiteFile(path), today)


def indications(meter, *registers):
    (query,) = meter.queries
    payload = struct.pack(f">{len(registers)}H", *registers)
    return {
        i.measurand: (i.value, i.missing)
        for i in profile.decode(meter.profile, query, Answer("", payload, b""))
    }


def test_only_what_hangs_on_a_module_is_asked(tmp_path):
    analogue, pulses = prepared(tmp_path).meters
    assert [(q.start, q.count) for q in analogue.queries] == [(0, 2)]
    assert [(q.start, q.count) for q in pulses.queries] == [(2, 1)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (12_000, 12_000, [(Decimal(100), None), (Decimal(0), None)]),
        (4_000, 20_000, [(Decimal(0), None), (Decimal(2), None)]),
        (3_550, 3_550, [(None, Missing.FAULT), (None, Missing.OUT_OF_RANGE)]),
        (21_000, 20_600, [(None, Missing.FAULT), (None, Missing.OUT_OF_RANGE)]),
        (0xFFFF, 4_000, [(None, Missing.NOT_SUPPORTED), (Decimal(-2), None)]),
    ],
)
def test_signals_are_told_in_the_quantity_of_the_transmitter(tmp_path, first, second, expected):
    (analogue, _) = prepared(tmp_path).meters
    assert list(indications(analogue, first, second).values()) == expected


def test_pulses_are_a_register_that_begins_again(tmp_path):
    (_, pulses) = prepared(tmp_path).meters
    assert indications(pulses, 65535) == {"volume.gas": (Decimal("6553.5"), None)}
    point = pulses.profile.point("volume.gas")
    assert (point.resolution, point.modulus) == (Decimal("0.1"), Decimal("6553.6"))
    assert pulses.state.correct("volume.gas", Decimal(100)).kind == "register"


def test_transmitter_and_module_both_stand_in_the_uncertainty(tmp_path):
    (analogue, _) = prepared(tmp_path).meters
    result = analogue.state.correct("temperature.gas", Decimal(160))
    # 1 % of 160 Cel; 0.5 % of 16.8 mA is 0.084 mA is 1.05 Cel; steps of 0.001 mA are 0.0125 Cel
    expected = sqrt((1.6**2 + 1.05**2) / 3 + 0.0125**2 / 12)
    assert result.y == pytest.approx(160)
    assert result.u == pytest.approx(expected, rel=1e-6)
    assert analogue.state.correct("pressure.static", Decimal(1)) is None, (
        "nobody vouches for that transmitter"
    )
    assert Flag.UNCALIBRATED in analogue.state.flags


def test_the_configuration_record_says_how_a_signal_became_a_value(tmp_path):
    text = configuration(prepared(tmp_path)).decode()
    assert '"span":{' in text
    assert '"high":"200"' in text


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("input.2]", "input.9]", "no input 9"),
        ('pulse = "0.1"', "", "needs either a range or a pulse"),
        ('range_low = "0"\n', "", "needs both ends"),
        ('range_high = "200"', 'range_high = "0"', "low ≠ high"),
        ('fault_low = "3.5"', 'under = "5"', "own limits"),
        ('unit = "kPa"', 'unit = "V"', "pressure.static in 'V'"),
        ('measurand = "pressure.static"', 'measurand = "temperature.gas"', "temperature.gas in 'kPa'"),
        ('transmitter = "TT-1"', 'transmitter = "TT-9"', "no instrument 'TT-9'"),
        ('measurand = "volume.gas"', 'measurand = "concentration.co2"', "concentration.co2 in 'm3'"),
        ('range_low = "-2"', "range_low = -2.5", "exact number"),
    ],
)
def test_what_is_stated_wrongly_of_an_input_is_told(tmp_path, old, new, what):
    assert old in SITE
    with pytest.raises(ConfigError) as caught:
        prepared(tmp_path, SITE.replace(old, new, 1))
    assert what in str(caught.value)


def test_two_inputs_of_one_measurand_are_refused(tmp_path):
    text = SITE.replace("pressure.static", "temperature.gas").replace('"kPa"', '"Cel"')
    with pytest.raises(ConfigError, match=r"temperature\.gas is there twice"):
        prepared(tmp_path, text)
