"""A wrong value is worse than no value: the bus master on a bad line, in virtual time, against what was shown.

Every fault that a line can have meets a share of the answers, several at once. Whatever the master gives as a value
must be what that meter showed while it was asked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache

import pytest

from drivers.bus import Bus
from drivers.bus import Meter as Polled
from drivers.codec import Indication, Instant
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
# The longest reply delay that these lines have. A Modbus RTU answer does not say which registers it holds: no master
# can tell one that is later than what it has been told to wait for.
LATEST_S = 2.6


def off_by(indication: Indication, shown: Decimal) -> Decimal:
    """Distance from what was shown, beyond what the item's resolution explains."""
    assert indication.value is not None
    factor = 1000 if indication.unit in ("W", "Wh") else 1
    resolution = {"V": Decimal("0.05"), "A": Decimal("0.001"), "Hz": Decimal("0.005"), "1": Decimal("0.0006")}
    distance = abs(indication.value - shown * factor)
    return max(
        Decimal(0), distance - resolution.get(indication.unit, Decimal("0.01")) - abs(shown) * Decimal("1e-6")
    )


@pytest.mark.parametrize(
    ("protocol", "profile_name"),
    [
        ("dlt645-2007", "dlt645-2007-three-phase"),
        ("modbus-rtu", "eastron-sdm630"),
        ("modbus-rtu", "schneider-iem3000"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_on_the_line_no_value_is_wrong(
    make_meter: MakeMeter, morning: int, protocol: str, profile_name: str, seed: int
) -> None:
    profile = load(profile_name)
    meters = {str(k): make_meter(f"m{k}", seed=k, refresh_us=RENEWED_US) for k in range(1, 5)}
    sides: list[Dlt645Meter | ModbusMeter] = [
        Dlt645Meter(meter, k) if protocol == "dlt645-2007" else ModbusMeter(meter, int(k), registers(profile))
        for k, meter in meters.items()
    ]
    faults = tuple(Fault(kind, share=0.06, delay_ms=700) for kind in ON_THE_LINE)
    timing = Timing(character_us(9600, "8E1"), 40_000, 500_000 if protocol == "dlt645-2007" else 20_000)
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
        if min(off_by(indication, value) for value in shown) > 0:
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
                meter = Polled(f"m{k}", speaks.address(k), profile, 0.5, retries=1, late_s=LATEST_S)
                scan = await bus.scan(meter, queries)
                for indication in scan.indications:
                    judge(k, indication, scan.started, scan.finished)
        pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(poll())
    assert wrong == []
    assert seen["values"] > 150
    assert seen["missing"] > 30
    assert set(line.counts.faults) == {str(kind) for kind in ON_THE_LINE}
