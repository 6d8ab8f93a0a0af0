"""How well the bus uses a line: 32 simulated meters at 9600 baud, in virtual time, against what the line allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from drivers.bus import Bus
from drivers.bus import Meter as Polled
from drivers.codec import Instant
from drivers.line import Timing as LineTiming
from drivers.link import MemoryLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Timing, character_us
from sim.instrument import Meter
from sim.line import Pump
from sim.modbus_meter import ModbusMeter
from sim.site import registers
from sim.virtual import VirtualLoop

MakeMeter = Callable[..., Meter]
METERS, REPLY_US = 32, 40_000
CHARACTER_S = character_us(9600, "8E1") / 1e6
KINDS = [("dlt645-2007", "dlt645-2007-three-phase"), ("modbus-rtu", "eastron-sdm630")]


@dataclass(frozen=True)
class Used:
    """What a number of rounds took. ``least_s``: characters, 3.5 characters of silence and reply time per exchange."""

    rounds: int
    took_s: float
    least_s: float
    exchanges: int
    full: int  # scans in which no value was missing


def rounds_of(
    make_meter: MakeMeter,
    morning: int,
    protocol: str,
    profile_name: str,
    rounds: int,
    dead: tuple[int, ...] = (),
) -> Used:
    """All meters, one after the other, as fast as the line goes; those that are dead never answer."""
    profile = load(profile_name)
    queries = plan(profile)
    meters = {str(k): make_meter(f"m{k}", seed=k, refresh_us=60_000_000) for k in range(1, METERS + 1)}
    sides: list[Dlt645Meter | ModbusMeter] = [
        Dlt645Meter(meter, k) if protocol == "dlt645-2007" else ModbusMeter(meter, int(k), registers(profile))
        for k, meter in meters.items()
    ]
    faults = tuple(Fault(FaultKind.DEAD, meter=f"m{k}") for k in dead)
    silence_us = 500_000 if protocol == "dlt645-2007" else 20_000
    timing = Timing(CHARACTER_S * 1e6, REPLY_US, silence_us)
    stations = [MeterStation(side) for side in sides]
    line = HalfDuplex(FRAMINGS[protocol], stations, timing, Scenario(1, faults), morning)

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(morning + us, us)

    async def poll() -> Used:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = pump.hear  # type: ignore[method-assign]
        await far.open()
        speaks = codec(protocol)
        bus = Bus("line", speaks, near, now, LineTiming(9600, "8E1"))
        polled = [Polled(f"m{k}", speaks.address(k), profile) for k in meters]
        await bus.scan(polled[5], queries)  # the silence with which a newly opened line begins is over
        loop = asyncio.get_running_loop()
        began, before, full = loop.time(), bus.usage.exchanges, 0
        line_us = bus.usage.line_time_us
        for _ in range(rounds):
            for meter in polled:
                full += all(i.value is not None for i in (await bus.scan(meter, queries)).indications)
        exchanges = bus.usage.exchanges - before
        answered = exchanges - line.counts.faults.get(FaultKind.DEAD, 0)
        least_s = (bus.usage.line_time_us - line_us) / 1e6
        least_s += answered * REPLY_US / 1e6 + exchanges * 3.5 * CHARACTER_S
        took_s = loop.time() - began
        pump.stop()
        return Used(rounds, took_s, least_s, exchanges, full)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(poll())


@pytest.mark.parametrize(("protocol", "profile_name"), KINDS)
def test_32_meters_are_read_at_95_percent_of_what_line_and_meters_allow(
    make_meter: MakeMeter, morning: int, protocol: str, profile_name: str
) -> None:
    used = rounds_of(make_meter, morning, protocol, profile_name, rounds=3)
    assert used.full == 3 * METERS
    assert used.exchanges >= 3 * METERS
    assert used.least_s >= 0.95 * used.took_s
    assert used.least_s <= used.took_s * (1 + 1e-4)  # no more than is possible: the sum is right


@pytest.mark.parametrize(("protocol", "profile_name"), KINDS)
def test_two_dead_meters_cost_the_thirty_others_less_than_5_percent(
    make_meter: MakeMeter, morning: int, protocol: str, profile_name: str
) -> None:
    """Over some ten minutes, the first two rounds of which find out that they are dead."""
    rounds = 40 if protocol == "dlt645-2007" else 100
    all_alive = rounds_of(make_meter, morning, protocol, profile_name, rounds=2)
    with_dead = rounds_of(make_meter, morning, protocol, profile_name, rounds, dead=(7, 20))
    assert with_dead.full == rounds * (METERS - 2)
    of_thirty_s = all_alive.took_s / 2 / METERS * (METERS - 2)
    assert with_dead.took_s / rounds < 1.05 * of_thirty_s
