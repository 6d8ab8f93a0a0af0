"""A day on which everything goes wrong, in virtual time: no value is wrong, and whatever is missing has its cause."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from drivers.bus import Bus
from drivers.bus import Meter as Polled
from drivers.codec import Instant, Missing
from drivers.line import Timing as LineTiming
from drivers.link import MemoryLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.faults import FaultKind, Scenario, scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Timing, character_us
from sim.instrument import Meter
from sim.line import Pump
from sim.virtual import VirtualLoop
from tests.sim.test_no_wrong_value import COARSE, RESOLUTION, meter_of, off_by, side_of

MakeMeter = Callable[..., Meter]
DAY_S = 86_400
RENEWED_US = 60_000_000
IN_THE_METER = {FaultKind.ROLLOVER, FaultKind.RESET, FaultKind.SWAP, FaultKind.CLOCK_DRIFT}
# What the line's side of a bus may say of a value that did not come.
# A refusal may be a late one, to a request asked to find the line in step again: no value, though not quite the cause.
CAUSES = {
    Missing.TIMEOUT,
    Missing.CORRUPT,
    Missing.MISMATCH,
    Missing.SKIPPED,
    Missing.WRONG_LENGTH,
    Missing.ERROR_ANSWER,
}


def shortened(whole: Scenario, length_s: float) -> Scenario:
    """The same day, gone through faster."""
    part = length_s / DAY_S
    return Scenario(
        whole.seed, tuple(replace(f, from_s=f.from_s * part, to_s=f.to_s * part) for f in whole.faults)
    )


def gone_through(
    make_meter: MakeMeter, morning: int, protocol: str, profile_name: str, length_s: float, period_s: float
) -> tuple[int, Counter[str]]:
    """The day, ``length_s`` long; how many values came, and what was missing by cause."""
    text = (Path(__file__).parent / "scenarios" / "day.toml").read_text(encoding="utf-8")
    ordered = shortened(scenario(text), length_s)
    assert {fault.kind for fault in ordered.faults} == set(FaultKind)
    profile = load(profile_name)
    meters = {
        str(k): ordered.changed(meter_of(make_meter, profile, k), morning)  # type: ignore[type-var]
        for k in range(1, 5)
    }
    sides = [side_of(protocol, profile, meter, k) for k, meter in meters.items()]
    resolution = RESOLUTION if protocol in ("dlt645-2007", "modbus-rtu") else COARSE
    timing = Timing(character_us(9600, "8E1"), 40_000, 500_000 if protocol.startswith("dlt645") else 20_000)
    line = HalfDuplex(FRAMINGS[protocol], [MeterStation(side) for side in sides], timing, ordered, morning)
    stuck = {
        f.meter.removeprefix("m"): morning + round(f.from_s * 1e6)
        for f in ordered.faults
        if f.kind == FaultKind.STUCK
    }
    events_us = [morning + round(f.from_s * 1e6) for f in ordered.faults if f.kind in IN_THE_METER]
    wrong: list[str] = []
    causes: Counter[str] = Counter()
    values = 0

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(morning + us, us)

    @cache
    def show(k: str, t_us: int) -> Mapping[str, Decimal]:
        return meters[k].show(t_us).values

    def instants(k: str, began: int, ended: int) -> set[int]:
        """The instants of which the meter may have shown its values between these two."""
        found = {began, ended, *range(began, ended, RENEWED_US)}
        found |= {t for t in events_us if began <= t <= ended}
        if k in stuck:
            found.add(stuck[k])
        return {meters[k].refreshed(t) for t in found} | ({stuck[k]} if k in stuck else set())

    async def poll() -> None:
        nonlocal values
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = pump.hear  # type: ignore[method-assign]
        await far.open()
        bus = Bus("line", codec(protocol), near, now, LineTiming(9600, "8E1"))
        queries = plan(profile)
        clock = asyncio.get_running_loop().time
        due = 0.0
        while due < length_s:
            for k in meters:
                polled = Polled(f"m{k}", bus.codec.address(k), profile, 0.5, retries=1)
                scan = await bus.scan(polled, queries)
                for i in scan.indications:
                    if i.value is None:
                        assert i.missing in CAUSES
                        assert i.detail
                        causes[str(i.missing)] += 1
                        continue
                    values += 1
                    shown = [
                        show(k, t)[i.measurand]
                        for t in instants(k, scan.started.utc_us, scan.finished.utc_us)
                    ]
                    if min(off_by(i, value, resolution) for value in shown) > 0:
                        wrong.append(f"{now().utc_us - morning} m{k} {i}: {shown}")
            due += period_s
            await asyncio.sleep(max(0.0, due - clock()))
        pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(poll())
    assert wrong == []
    assert values > 4 * len(profile.points) * length_s / period_s * 0.6
    assert causes["timeout"] > 0
    assert set(line.counts.faults) == {str(kind) for kind in FaultKind} - {str(k) for k in IN_THE_METER}
    return values, causes


KINDS = [
    ("dlt645-2007", "dlt645-2007-three-phase"),
    ("modbus-rtu", "schneider-iem3000"),
    ("dlt645-1997", "dlt645-1997-three-phase"),
    ("cjt188", "cjt188-heat"),
    ("mbus", "mbus-heat"),
]
PERIODS = {
    "cjt188": 5
}  # one exchange is a whole scan: asked more often, so that each fault meets some of them


@pytest.mark.parametrize(("protocol", "profile_name"), KINDS)
def test_the_day_in_an_hour(make_meter: MakeMeter, morning: int, protocol: str, profile_name: str) -> None:
    gone_through(make_meter, morning, protocol, profile_name, 3600, PERIODS.get(protocol, 15))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("protocol", "profile_name"), KINDS)
def test_long_the_day(make_meter: MakeMeter, morning: int, protocol: str, profile_name: str) -> None:
    values, causes = gone_through(make_meter, morning, protocol, profile_name, DAY_S, period_s=15)
    print(f"{protocol}: {values} values, none wrong; missing: {dict(causes)}")
