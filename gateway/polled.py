"""Instruments that are asked: a bus at work, its polls on time, and who answers them.

What an instrument shows goes to the pipeline with what it says of itself. Who it is is asked where that is in doubt;
a poll that could not be made is counted with its reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from drivers.bus import Bus, Meter
from drivers.codec import Instant, Scan
from drivers.freeze import FLAG as FROZEN
from drivers.identity import TELL, can_ask, identify, told_in
from gateway.clock import Clock
from gateway.freezing import FreezePlan, Freezer
from gateway.identity import FLAG as IDENTITY_MISMATCH
from gateway.identity import beijing, fell
from gateway.pipeline import STOPPED, Pipeline
from gateway.plan import BusPlan, InstrumentPlan
from gateway.schedule import Agenda, Tick, Ticker
from gateway.silence import Silences
from gateway.states_in_force import StatesInForce
from gateway.status import BusStatus

FAILED = "internal_error"  # reason of a poll that a bug of ours ate


class PolledLine:
    """A bus at work."""

    def __init__(self, plan: BusPlan, clock: Clock, pipeline: Pipeline, states: StatesInForce) -> None:
        self.plan = plan
        self.bus = Bus(plan.name, plan.codec, plan.link, clock.now, plan.timing)
        self.failures = 0
        self._clock, self._pipeline, self._states = clock, pipeline, states
        self._instruments = {i.meter.id: i for i in plan.instruments}
        self._freezer = None if plan.freeze is None else Freezer(plan.freeze, self.bus, self._tell)
        self._agenda = Agenda()
        self._silences = Silences(plan.name)

    @property
    def name(self) -> str:
        """The line's name in the site file."""
        return self.plan.name

    def begin(self, now: Instant) -> dict[str, int]:
        """When each instrument's first poll of this run is due (UTC)."""
        first: dict[str, int] = {}
        for name, instrument in self._instruments.items():
            ticker = Ticker(instrument.period_us, now)
            self._agenda.add(name, ticker, instrument.priority)
            first[name] = ticker.due_us
        return first

    def begun(self) -> None:
        """The pipeline has taken up the log: say there what this line may do."""
        if self.plan.freeze is not None:
            self._pipeline.event("freeze_allowed", {"bus": self.name, **_texts(self.plan.freeze)})

    async def run(self) -> None:
        """Poll until cancelled. Raises what a bug of ours raised."""
        agenda, clock, pipeline = self._agenda, self._clock, self._pipeline
        while (due := agenda.next_boot_us()) is not None:
            await clock.sleep_until(due)
            taken = agenda.take(clock.now())
            if taken is None:
                continue
            name, tick = taken
            before = pipeline.number(name)
            try:
                await self._poll(self._instruments[name], tick)
            except asyncio.CancelledError:
                pipeline.skip(name, tick, before, STOPPED)
                raise
            except Exception:
                pipeline.skip(name, tick, before, FAILED)
                raise

    async def close(self) -> None:
        """Close the link, whatever that says."""
        with suppress(Exception):
            await self.bus.close()

    def status(self, elapsed_us: int) -> BusStatus:
        """What can be seen of it. ``elapsed_us``: since the agent started."""
        bus, freeze = self.bus, self.plan.freeze
        return BusStatus(
            name=self.name,
            port=self.plan.link.describe(),
            counts={address: dict(causes) for address, causes in bus.counts.by_address.items()},
            exchanges=bus.usage.exchanges,
            line_time_us=bus.usage.line_time_us,
            busy_us=bus.usage.busy_us,
            busy_share=min(1.0, bus.usage.busy_us / elapsed_us),
            failures=self.failures,
            freeze=None if freeze is None else _texts(freeze),
        )

    async def _poll(self, instrument: InstrumentPlan, tick: Tick) -> None:
        name = instrument.meter.id
        scan, said = await self._scan(instrument, tick.due_us)
        self._silences.polled(name, instrument.meter.address, scan.failure)
        speaks = (instrument.meter.codec or self.bus.codec).name
        if can_ask(speaks, instrument.meter.profile):
            await self._identify(instrument.meter, scan)
        elif speaks in TELL and scan.failure is None:
            self._states.recognise(name, told_in(scan.exchanges, speaks))
        flags = (IDENTITY_MISMATCH,) if self._states.identities.is_other(name) else ()
        self._pipeline.accept(name, tick, scan, (*said, *flags))

    async def _scan(self, instrument: InstrumentPlan, due_us: int) -> tuple[Scan, tuple[str, ...]]:
        """What an instrument shows, or showed when it was ordered to freeze, and what its record says of that."""
        meter, freezer = instrument.meter, self._freezer
        if freezer is None or not freezer.due(meter.id, due_us):
            return await self.bus.scan(meter, instrument.queries), ()
        meters = {name: other.meter for name, other in self._instruments.items()}
        return await freezer.scan(meter, due_us, meters), (FROZEN,)

    async def _identify(self, meter: Meter, scan: Scan) -> None:
        """Ask a meter who it is, if that is in doubt; another one's readings are corrected by no certificate."""
        name, identities, bus = meter.id, self._states.identities, self.bus
        if scan.failure is not None:
            identities.doubt(name)
            return
        # one that was replaced between two polls was never gone
        latest = self._pipeline.latest.get(name)
        if latest is not None and fell(latest.reading.indications, scan.indications):
            identities.doubt(name)
        now, openings = self._clock.now(), bus.line.openings
        if not identities.wants(name, now.boot_us, openings):
            return
        told = await identify(bus, meter, beijing)
        identities.asked(name, now.boot_us, openings, answered=told.answered)
        if told.clock_ahead_s is not None:
            self._pipeline.event("meter_clock", {"instrument": name, "ahead_s": str(told.clock_ahead_s)})
        self._states.recognise(name, told)

    def _tell(self, kind: str, detail: Mapping[str, str]) -> None:
        self._pipeline.event(kind, detail)


def _texts(allowed: FreezePlan) -> dict[str, str]:
    """Who allowed a freeze, as texts."""
    return {key: str(value) for key, value in allowed.plain().items()}
