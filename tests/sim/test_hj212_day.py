"""A logger's day on which everything goes wrong: no value that it did not measure then, none twice, no period lost.

The receiver is the gateway's, from the bytes to what is handed to the log; the hours are virtual.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from drivers.codec import Counts, Instant, Missing, Scan
from drivers.profile import load, plan
from gateway.hj212_receiver import Reply, Session, Station, Target, delivery
from gateway.pushed import Deliver, PushLine, Slots
from gateway.schedule import Tick
from sim.faults import Fault, FaultKind, Scenario
from sim.hj212_logger import Hj212Logger
from sim.hj212_pushes import Factors, Hj212Pushes
from sim.orderable import refused
from sim.virtual import VirtualLoop
from tests.sim.day import DAY_S, ordered_of

MN, PW = "010000A8900016F000169DC0", "123456"
PROFILE = load("hj212-cems-2017")
QUERY = plan(PROFILE)[0]
CODES = tuple(dict.fromkeys(point.item.partition("-")[0] for point in PROFILE.points))
PERIOD_US, LATE_US, PIECE = 60_000_000, 600_000_000, 97
IN_THE_LOGGER = {FaultKind.CLOCK_DRIFT}


def measured(at_us: int) -> Factors:
    """No two instants of a day alike, and every factor another number."""
    minute = at_us // 60_000_000 % 10_000
    return {
        code: {"Rtd": f"{n}.{minute:04d}", "Cou": f"{n}0.{minute:04d}", "Flag": "N"}
        for n, code in enumerate(CODES, start=1)
    }


class Over(Exception):
    """The day has ended."""


@dataclass
class Day:
    """A logger and the receiver that hears it; stands where the pipeline is, and judges what it is told."""

    logger: Hj212Pushes
    end_us: int
    counts: Counts = field(default_factory=Counts)
    wrong: list[str] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    stamps: list[int] = field(default_factory=list)
    values: int = 0
    gaps: int = 0
    events: Counter[str] = field(default_factory=Counter)

    # ---- the clock

    start_us: int = 0

    def now(self) -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(self.start_us + us, us)

    async def sleep_until(self, boot_us: int) -> None:
        await asyncio.sleep(max(0, boot_us - self.now().boot_us) / 1e6)

    # ---- the source

    def describe(self) -> str:
        return "a logger's day"

    async def run(self, deliver: Deliver) -> None:
        target = Target("stack", PROFILE, QUERY)
        station = Station(MN, PW, {"2011": target})
        session = Session({MN: station}, self.counts.add)
        while (now := self.now()).utc_us < self.end_us:
            data = self.logger.take(now.utc_us)
            for at in range(0, len(data), PIECE):
                for outcome in session.feed(data[at : at + PIECE]):
                    if isinstance(outcome, Reply):
                        self.logger.hear(outcome.data, now.utc_us)
                    elif await deliver(delivery(outcome, now)):
                        self.logger.hear(outcome.reply, now.utc_us)
            if self.logger.hung_up:
                session = Session({MN: station}, self.counts.add)
            await self.sleep_until(max(self.logger.due_us() - self.start_us, now.boot_us + 1))
        raise Over

    # ---- the pipeline

    def accept(self, name: str, tick: Tick, scan: Scan, flags: tuple[str, ...]) -> None:
        self.stamps.append(tick.due_us)
        told = self.logger.told.get(tick.due_us)
        if told is None:
            self.wrong.append(f"{tick.due_us}: no such message")
            return
        for i in scan.indications:
            if i.value is None:
                self.missing[str(i.missing)] += 1
                assert i.detail
                continue
            self.values += 1
            code, _, what = i.item.partition("-")
            if i.value != Decimal(told[code][what]):
                self.wrong.append(f"{tick.due_us}: {i}: {told[code]}")

    def skip(self, name: str, tick: Tick, before: int, reason: str) -> None:
        self.gaps += tick.missed + 1
        assert reason == Missing.TIMEOUT

    def event(self, kind: str, detail: dict[str, str]) -> None:
        self.events[kind] += 1

    def number(self, name: str) -> int:
        return 0


def played(morning: int, length_s: float, seed: int | None, often: float, edition: int, parts: int) -> Day:
    faults = ordered_of({"stack": "hj212"}, length_s, seed, often)
    logger = Hj212Logger(MN, PW, edition)
    start_us = morning // PERIOD_US * PERIOD_US
    pushes = Hj212Pushes(logger, "stack", measured, faults, start_us, period_us=PERIOD_US, parts=parts)
    day = Day(pushes, start_us + round(length_s * 1e6), start_us=start_us)
    slots = Slots(PERIOD_US, LATE_US)

    async def durable() -> bool:
        return True

    async def main() -> None:
        line = PushLine("line", day, {"stack": slots}, day, day, durable)  # type: ignore[arg-type]
        line.begin(day.now())
        await line.run()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(Over):
        runner.run(main())
    assert day.wrong == []
    assert day.stamps == sorted(set(day.stamps)), "twice, or out of order"
    owed = (slots.due_us - start_us) // PERIOD_US
    assert len(day.stamps) + day.gaps == owed, "a period without a reading and without a gap"
    return day


def expected() -> set[str]:
    return {str(k) for k in set(FaultKind) - set(refused("hj212")) - IN_THE_LOGGER}


@pytest.mark.parametrize(("edition", "parts"), [(2005, 1), (2017, 2), (2025, 1)])
def test_a_loggers_day_in_some_hours(morning: int, edition: int, parts: int) -> None:
    day = played(morning, 2 * 3600, None, 6, edition, parts)
    assert set(day.logger.counts) == expected()
    assert day.values > 0.7 * day.logger.messages * len(PROFILE.points)
    assert set(day.missing) <= {Missing.NOT_SUPPORTED}
    assert day.counts.by_address["stack"]["repeated"] > 0
    assert day.counts.by_address[""]["checksum"] > 0


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_long_thirty_days_of_a_logger(morning: int) -> None:
    days = [
        played(morning, DAY_S, seed, 1, (2005, 2017, 2025)[seed % 3], 1 + seed % 2) for seed in range(1, 31)
    ]
    print(f"hj212: {sum(d.values for d in days)} values of 30 seeds, none wrong")


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - set(refused("hj212")) - IN_THE_LOGGER))
def test_every_fault_that_can_be_ordered_of_a_logger_changes_what_it_sends(kind: FaultKind) -> None:
    def said(*faults: Fault) -> list[tuple[int, bytes, bool]]:
        scenario = Scenario(3, faults)
        logger = Hj212Pushes(Hj212Logger(MN, PW), "stack", measured, scenario, 0, answer_us=20_000_000)
        heard = []
        while (at := logger.due_us()) < 200_000_000:
            data = logger.take(at)
            heard.append((at, data, logger.hung_up))
            number = data[9 : data.find(b";")]
            logger.hear(b"QN=" + number + b";ST=91;CN=9014;", at)
        return heard

    assert said(Fault(kind, from_s=60)) != said()
