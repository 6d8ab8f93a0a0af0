"""A meter that was swapped tells another number, in whichever way its protocol tells one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from drivers import cjt188, dlt698, dlt698_apdu, dlt698_get, mbus
from drivers.nameplate import number
from drivers.profile import load
from sim.cjt188_meter import Cjt188Meter
from sim.dlt698_meter import Dlt698Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.mbus_meter import MbusMeter, record
from sim.modbus_meter import ModbusMeter
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec, nameplate_of, registers

FIRST, SECOND = "110000000011", "220000000022"
START = 1_772_000_000_000_000
BEFORE, AFTER = START + 10_000_000, START + 70_000_000


def site(protocol: str, profile: str, address: str) -> SimSite:
    meter = SimMeter(id="m", address=address, profile=profile, number=FIRST)
    swap = Fault(FaultKind.SWAP, from_s=60, number=SECOND, start_kwh=Decimal(7))
    spec = SimSiteSpec(1, (SimBus("line", protocol, "", (meter,)),), Scenario(1, (swap,)))
    return SimSite(spec, now_us=lambda: START)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("eastron-sdm630", FIRST[-9:], SECOND[-9:]), ("sunspec-203", FIRST, SECOND)],
)
def test_the_registers_of_its_profile_tell_the_other_number(name: str, first: str, second: str) -> None:
    profile = load(name)
    place = profile.nameplate
    assert place is not None
    meter = site("modbus-rtu", name, "7").meters["m"]
    image = ModbusMeter(meter, 7, registers(profile), nameplate_of(profile)).image

    def told(t_us: int) -> str:
        words = image.read(place.function, place.address, place.length, lambda: meter.show(t_us))
        assert isinstance(words, list)
        return number(place, b"".join(word.to_bytes(2, "big") for word in words))

    assert told(BEFORE) == first.lstrip("0")
    assert told(AFTER) == second.lstrip("0")


def test_a_dlt698_meter_tells_it_as_its_meter_number() -> None:
    meter = site("dlt698", "dlt698-three-phase", "1").meters["m"]
    side = Dlt698Meter(meter, "1")
    request = dlt698_get.encode(dlt698_get.request("01", "40020200"), preamble=0)

    def told(t_us: int) -> str:
        answer = side.answer(request, lambda: meter.show(t_us), t_us)
        assert answer is not None
        decoder = dlt698.Decoder()
        (frame,) = (f for f in (*decoder.feed(answer), *decoder.finish()) if isinstance(f, dlt698.Frame))
        value = dict(dlt698_apdu.parse(frame.apdu).values)["40020200"]
        assert not isinstance(value, str)
        return value.raw.hex()

    assert (told(BEFORE), told(AFTER)) == (FIRST, SECOND)


def test_a_water_meter_has_another_address_and_an_mbus_meter_another_identity() -> None:
    meter = site("cjt188", "cjt188-water", "99").flow_meters["m"]
    side = Cjt188Meter(meter, "99")
    anyone = cjt188.encode(cjt188.Request(cjt188.WILDCARD), preamble=0)
    old = cjt188.encode(cjt188.Request("99".rjust(14, "0")), preamble=0)

    def address(t_us: int) -> str:
        answer = side.answer(anyone, lambda: meter.show(t_us), t_us)
        assert answer is not None
        (frame,) = (f for f in cjt188.Decoder().feed(answer) if isinstance(f, cjt188.Frame))
        return frame.address

    assert (address(BEFORE), address(AFTER)) == ("99".rjust(14, "0"), SECOND.rjust(14, "0"))
    assert side.answer(old, lambda: meter.show(BEFORE), BEFORE) is not None
    assert side.answer(old, lambda: meter.show(AFTER), AFTER) is None

    heat = site("mbus", "mbus-heat", "5").flow_meters["m"]
    told = [record(p.item, p.measurand, Decimal(1)) for p in load("mbus-heat").points]
    slave = MbusMeter(heat, "5", [r for r in told if r])
    identities = []
    for t_us, control in ((BEFORE, 0x5B), (AFTER, 0x7B)):
        answer = slave.answer(mbus.short(control, 5), lambda t_us=t_us: heat.show(t_us), t_us)  # type: ignore[misc]
        assert answer is not None
        (frame,) = (f for f in mbus.Decoder().feed(answer) if isinstance(f, mbus.Frame))
        telegram = frame.telegram()
        assert telegram is not None
        identities.append(telegram.header.identity)
    assert identities == [FIRST[-8:], SECOND[-8:]]
