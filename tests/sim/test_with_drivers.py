"""Two implementations against each other: what the drivers' codecs decode is what the simulated meter showed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from drivers.codec import Reject
from drivers.profile import Profile, decode, load, names, plan
from drivers.protocols import codec
from sim.dlt645_meter import Dlt645Meter
from sim.halfduplex import MeterStation
from sim.instrument import Meter
from sim.modbus_meter import ModbusMeter
from sim.site import registers

MakeMeter = Callable[..., Meter]
PROFILES = [
    name
    for name in names()
    if load(name).protocol in ("modbus", "dlt645-2007") and load(name).kind == "electricity"
]
KILO = {"W": 1000, "var": 1000, "V.A": 1000, "Wh": 1000, "var.h": 1000}
SINGLE_PHASE = ("single", "sdm120", "ddsu666")


def station_for(profile: Profile, meter: Meter) -> MeterStation:
    if profile.protocol == "modbus":
        return MeterStation(ModbusMeter(meter, 17, registers(profile)))
    return MeterStation(Dlt645Meter(meter, "17"))


def step_of(profile: Profile, measurand: str, shown: Decimal) -> Decimal:
    """How far apart two neighbouring wire values are: the decimals of the item, or the register's."""
    point = profile.point(measurand)
    if point.type == "f32":
        return abs(shown) * Decimal("1.2e-7") + Decimal("1e-12")
    if point.type:
        return point.scale if point.scale_at is None else point.resolution or point.scale
    decimals = {"00": 2, "0201": 1, "0202": 3, "0203": 4, "0204": 4, "0205": 4, "0206": 3, "01": 4, "0280": 2}
    return Decimal(1).scaleb(-next(n for head, n in decimals.items() if point.item.startswith(head)))


def test_there_are_profiles_of_both_kinds() -> None:
    assert {load(name).protocol for name in PROFILES} == {"modbus", "dlt645-2007"}


@pytest.mark.parametrize("preset", ["mill", "solar"])
@pytest.mark.parametrize("name", PROFILES)
def test_every_point_of_every_profile_is_read_as_it_was_shown(
    make_meter: MakeMeter, morning: int, name: str, preset: str
) -> None:
    profile = load(name)
    meter = make_meter(preset=preset, phases=1 if any(part in name for part in SINGLE_PHASE) else 3)
    station = station_for(profile, meter)
    shown = meter.show(morning).values
    speaks = codec("modbus-rtu" if profile.protocol == "modbus" else profile.protocol)
    checked = 0
    for query in plan(profile):
        request = speaks.request(speaks.address("17"), query)
        sent = speaks.encode(request)
        raw = station.answer(sent[sent.index(0x68) :] if profile.protocol != "modbus" else sent, morning)
        assert raw is not None, query.where
        decoder = speaks.decoder()
        frames = [*decoder.feed(raw), *decoder.finish()]
        assert len(frames) == 1
        (frame,) = frames
        assert not isinstance(frame, Reject)
        answer = speaks.match(request, frame)
        for indication in decode(profile, query, answer):  # type: ignore[arg-type]
            if indication.measurand not in shown:
                continue
            expected = shown[indication.measurand] * KILO.get(indication.unit, 1)
            assert indication.value is not None, indication
            step = step_of(profile, indication.measurand, expected)
            off = abs(indication.value - expected)
            assert off <= (
                step if indication.measurand.startswith("energy.") else step / 2 + Decimal("1e-12")
            ), indication
            checked += 1
    assert checked >= 5
