"""A wrong value is worse than no value: the bus master on a bad line, in virtual time, against what was shown.

Every fault that a line can have meets a share of the answers, several at once. Whatever the master gives as a value
must be what that meter showed while it was asked.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache

import pytest

from drivers import modbus
from drivers.bus import Bus
from drivers.bus import Meter as Polled
from drivers.codec import Indication, Instant
from drivers.link import MemoryLink
from drivers.profile import Profile, load, parse, plan
from drivers.protocols import codec
from sim.cjt188_meter import Cjt188Meter
from sim.dlt645_1997_meter import Dlt645Of1997Meter
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.flow import KINDS as FLOW_KINDS
from sim.flow import FlowMeter, Pipe
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Side, Timing, character_us
from sim.instrument import Meter
from sim.line import Pump
from sim.mbus_meter import MbusMeter, record
from sim.modbus_meter import ModbusMeter
from sim.site import registers
from sim.virtual import VirtualLoop

MakeMeter = Callable[..., Meter]
ON_THE_LINE = [
    FaultKind.LATE,
    FaultKind.SLOW_CARRIER,
    FaultKind.SILENT,
    FaultKind.WRONG_ADDRESS,
    FaultKind.WRONG_CHECKSUM,
    FaultKind.WRONG_ITEM,
    FaultKind.WRONG_LENGTH,
    FaultKind.ECHO,
    FaultKind.NOISE_BEFORE,
    FaultKind.NOISE_AFTER,
    FaultKind.SPLIT,
    FaultKind.MERGED,
    FaultKind.BAUD_MISMATCH,
]
RENEWED_US = 60_000_000
# The longest reply delay that these lines have. It may be stated or not: a Modbus RTU answer does not say which
# registers it holds, and without the statement the master must reckon with answers later than it waits for.
LATEST_S = 2.6


# What a display's last digit explains, by unit; the 1997 edition shows whole volts and hundredths of an ampere.
RESOLUTION = {"V": Decimal("0.05"), "A": Decimal("0.001"), "Hz": Decimal("0.005"), "1": Decimal("0.0006")}
COARSE = RESOLUTION | {"V": Decimal("0.5"), "A": Decimal("0.005"), "Cel": Decimal("0.05")}


def off_by(indication: Indication, shown: Decimal, resolution: Mapping[str, Decimal] = RESOLUTION) -> Decimal:
    """Distance from what was shown, beyond what the item's resolution explains."""
    assert indication.value is not None
    factor = 1000 if indication.unit in ("W", "Wh", "var") else 1
    distance = abs(indication.value - shown * factor)
    return max(
        Decimal(0), distance - resolution.get(indication.unit, Decimal("0.01")) - abs(shown) * Decimal("1e-6")
    )


def meter_of(make_meter: MakeMeter, profile: Profile, k: int) -> Meter | FlowMeter:
    """The model behind the k-th meter of a line; its indications are renewed each minute."""
    if profile.kind in FLOW_KINDS:
        pipe = Pipe.drawn(2.0, heat=profile.kind == "heat", seed=str(k))
        return FlowMeter(f"m{k}", f"1234567{k}", profile.kind, pipe, error=0.01, refresh_us=RENEWED_US)
    made: Meter = make_meter(f"m{k}", seed=k, refresh_us=RENEWED_US)
    return made


def side_of(protocol: str, profile: Profile, meter: Meter | FlowMeter, address: str) -> Side:
    """The answering side of a meter in a protocol."""
    if protocol == "mbus":
        records = [record(p.item, p.measurand, meter.step) for p in profile.points]
        return MbusMeter(meter, address, [r for r in records if r])
    if isinstance(meter, FlowMeter):
        return Cjt188Meter(meter, address)
    if protocol == "dlt645-1997":
        return Dlt645Of1997Meter(meter, address)
    if protocol == "dlt645-2007":
        return Dlt645Meter(meter, address)
    return ModbusMeter(meter, int(address), registers(profile))


@pytest.mark.parametrize(
    ("protocol", "profile_name"),
    [
        ("dlt645-2007", "dlt645-2007-three-phase"),
        ("modbus-rtu", "eastron-sdm630"),
        ("modbus-rtu", "schneider-iem3000"),
        ("dlt645-1997", "dlt645-1997-three-phase"),
        ("cjt188", "cjt188-heat"),
        ("mbus", "mbus-heat"),
    ],
)
@pytest.mark.parametrize(("seed", "late_s"), [(1, LATEST_S), (2, LATEST_S), (3, None), (4, None)])
def test_whatever_happens_on_the_line_no_value_is_wrong(
    make_meter: MakeMeter, morning: int, protocol: str, profile_name: str, seed: int, late_s: float | None
) -> None:
    profile = load(profile_name)
    meters = {str(k): meter_of(make_meter, profile, k) for k in range(1, 5)}
    sides = [side_of(protocol, profile, meter, k) for k, meter in meters.items()]
    resolution = RESOLUTION if protocol in ("dlt645-2007", "modbus-rtu") else COARSE
    faults = tuple(Fault(kind, share=0.06, delay_ms=700) for kind in ON_THE_LINE)
    timing = Timing(character_us(9600, "8E1"), 40_000, 500_000 if protocol.startswith("dlt645") else 20_000)
    line = HalfDuplex(
        FRAMINGS[protocol], [MeterStation(side) for side in sides], timing, Scenario(seed, faults), morning
    )
    seen: Counter[str] = Counter()
    wrong: list[str] = []

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(morning + us, us)

    @cache
    def show(k: str, t_us: int) -> Mapping[str, Decimal]:
        return meters[k].show(t_us).values

    def judge(k: str, indication: Indication, started: Instant, finished: Instant) -> None:
        if indication.value is None:
            seen["missing"] += 1
            return
        seen["values"] += 1
        instants = {started.utc_us, finished.utc_us, *range(started.utc_us, finished.utc_us, RENEWED_US)}
        shown = [show(k, meters[k].refreshed(t))[indication.measurand] for t in instants]
        if min(off_by(indication, value, resolution) for value in shown) > 0:
            wrong.append(f"{k}: {indication} but {shown}")

    async def poll() -> None:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = pump.hear  # type: ignore[method-assign]
        await far.open()
        speaks = codec(protocol)
        bus = Bus("line", speaks, near, now)
        queries = plan(profile)
        for _ in range(20):
            for k in meters:
                meter = Polled(f"m{k}", speaks.address(k), profile, 0.5, retries=1, late_s=late_s)
                scan = await bus.scan(meter, queries)
                for indication in scan.indications:
                    judge(k, indication, scan.started, scan.finished)
        pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(poll())
    assert wrong == []
    assert seen["values"] > (150 if late_s else 100)  # of 20 scans of 4 meters
    assert seen["missing"] > 30
    assert set(line.counts.faults) == {str(kind) for kind in ON_THE_LINE}


class AnyOrder:
    """A Modbus unit whose registers hold what only they can hold just then; the line decides how late it answers."""

    def __init__(self, unit: int) -> None:
        self.unit = unit

    @property
    def id(self) -> str:
        return f"m{self.unit}"

    def word(self, address: int, utc_us: int) -> int:
        return random.Random(f"{self.unit}/{address}/{utc_us // RENEWED_BLOCKS_US}").randrange(0x10000)

    def answer(self, frame: bytes, utc_us: int, *, stuck_since_us: int | None = None) -> bytes | None:
        found = modbus.decoder("rtu").feed(frame)
        request = modbus.request_of(found[0]) if isinstance(found[0], modbus.Frame) else None
        if request is None or request.unit != self.unit:
            return None
        words = [self.word(request.start + n, utc_us) for n in range(request.count)]
        return modbus.answer(request, b"".join(word.to_bytes(2, "big") for word in words))


RENEWED_BLOCKS_US = 3_000_000


def blocks_of(points: int) -> Profile:
    return parse(
        'protocol = "modbus"\n[model]\nmaker = "Nobody"\nname = "Blocks"\n'
        'kind = "electricity"\n[source]\ntitle = "made for a test"\n'
        + "".join(
            f'[[point]]\nmeasurand = "voltage.l{10 * b + p}"\nfunction = 3\naddress = {1000 * b + 2 * p}\n'
            'type = "u32"\nunit = "V"\n'
            for b in range(4)
            for p in range(points)
        ),
        "blocks",
    )


def wrong_of_one_line(seed: int, morning: int) -> tuple[list[str], int]:
    """Twelve rounds on a line drawn from the seed, time-outs below the lateness, nothing stated of it."""
    rng = random.Random(seed)
    profile = blocks_of(rng.choice((1, 2, 5)))
    share = rng.choice((0.05, 0.2, 0.4))
    faults = [Fault(FaultKind.LATE, share=share / 2, delay_ms=rng.uniform(100, 2400)) for _ in range(2)]
    others = (FaultKind.SLOW_CARRIER, FaultKind.SILENT, FaultKind.WRONG_CHECKSUM, FaultKind.WRONG_ITEM)
    others += (FaultKind.NOISE_BEFORE, FaultKind.SPLIT, FaultKind.ECHO, FaultKind.WRONG_LENGTH)
    faults += [Fault(kind, share=share / 3) for kind in others if rng.random() < 0.3]
    stations = [AnyOrder(unit) for unit in (1, 2)]
    timing = Timing(character_us(9600, "8E1"), 40_000, 20_000)
    line = HalfDuplex(FRAMINGS["modbus-rtu"], stations, timing, Scenario(seed, tuple(faults)), morning)
    timeout_s, retries, pause_s = (
        rng.choice((0.3, 0.5, 1.0)),
        rng.choice((0, 1, 2)),
        rng.choice((0, 0.3, 2, 6)),
    )
    wrong: list[str] = []
    count = 0

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(morning + us, us)

    async def poll() -> None:
        nonlocal count
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = pump.hear  # type: ignore[method-assign]
        await far.open()
        bus = Bus("line", codec("modbus-rtu"), near, now)
        queries = plan(profile)
        for _ in range(12):
            for station in stations:
                meter = Polled(station.id, str(station.unit), profile, timeout_s, retries)
                scan = await bus.scan(meter, queries)
                began, ended = scan.started.utc_us, scan.finished.utc_us
                for indication, point in zip(scan.indications, profile.points, strict=True):
                    if indication.value is None:
                        continue
                    count += 1
                    high, low = divmod(int(indication.value), 0x10000)
                    instants = (*range(began, ended, RENEWED_BLOCKS_US), ended)
                    if (high, low) not in {
                        (station.word(point.address, t), station.word(point.address + 1, t)) for t in instants
                    }:
                        wrong.append(f"seed {seed}: {station.id} {indication}")
            await asyncio.sleep(pause_s)
        pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(poll())
    return wrong, count


def no_seed_gives_a_wrong_value(seeds: range, morning: int) -> None:
    found = [wrong_of_one_line(seed, morning) for seed in seeds]
    assert [text for wrong, _ in found for text in wrong] == []
    assert sum(count for _, count in found) > 50 * len(seeds)


def test_blocks_of_equal_length_are_never_mixed_up_though_nothing_is_stated_of_lateness(morning: int) -> None:
    """An answer that comes 2.4 s late, and later than answers to later requests, is nobody's."""
    no_seed_gives_a_wrong_value(range(60), morning)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_long_blocks_of_equal_length_are_never_mixed_up(morning: int) -> None:
    no_seed_gives_a_wrong_value(range(1000, 6000), morning)
