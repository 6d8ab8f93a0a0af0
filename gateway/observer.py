"""What can be seen of a running agent: a snapshot of its log, lines and instruments, put together when asked."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.codec import Instant
from evidence.record import Tally
from gateway.alarms import Alarms
from gateway.clock import SECOND_US, Clock
from gateway.commits import Commits
from gateway.medium import Medium
from gateway.open_log import OpenLog
from gateway.pipeline import Latest, Pipeline
from gateway.plan import InstrumentPlan, Plan
from gateway.polled import PolledLine
from gateway.pushed import PushLine
from gateway.states_in_force import StatesInForce
from gateway.status import AgentStatus, InstrumentStatus, MeasurandStatus, ReceiptStatus


class Observer:
    """Looks at one agent's parts and changes nothing."""

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        started: Instant,
        log: OpenLog,
        pipeline: Pipeline,
        commits: Commits,
        states: StatesInForce,
        alarms: Alarms,
        lines: Sequence[PolledLine | PushLine],
    ) -> None:
        self._plan, self._clock, self._started = plan, clock, started
        self._log, self._pipeline, self._commits = log, pipeline, commits
        self._states, self._alarms, self._lines = states, alarms, lines
        self._medium: Medium | None = None

    def begin(self) -> None:
        """The log is open: what is written from now on counts as this run's."""
        self._medium = Medium(self._log.store.directory, self._log.size)

    def status(self) -> AgentStatus:
        """A snapshot; what it shows of readings is durable. Raises StoreError before the start."""
        now, store, plan = self._clock.now(), self._log.store, self._plan
        clock = self._clock.state()
        receipts = self._log.receipts.newest
        covered = max((receipt.size for receipt in receipts), default=0)
        since_us = self._commits.sealed_after(covered)
        elapsed_us = max(1, now.boot_us - self._started.boot_us)
        medium = self._medium or Medium(store.directory, store.size)
        log_bytes = medium.log_bytes()
        counts = self._pipeline.counts()
        return AgentStatus(
            origin=plan.origin,
            software=plan.software,
            utc_us=now.utc_us,
            started_us=self._started.utc_us,
            clock=clock.quality.name.lower(),
            clock_error_us=clock.error_us,
            size=store.size,
            checkpoint=store.published.size if store.published else 0,
            unacknowledged=store.size - covered,
            rewrite_window_s=None if since_us is None else (now.utc_us - since_us) / SECOND_US,
            window_s=plan.commit_us / SECOND_US,
            receipts=tuple(ReceiptStatus(r.platform, r.size, r.received_us) for r in receipts),
            buffer_hours=medium.hours_left(log_bytes, store.size, elapsed_us),
            bytes_per_record=medium.bytes_per_record(store.size),
            log_bytes=log_bytes,
            alarms=self._alarms.standing,
            instruments=tuple(
                self._instrument(line.name, instrument, now.utc_us, counts.get(instrument.meter.id))
                for line in plan.lines
                for instrument in line.instruments
            ),
            buses=tuple(line.status(elapsed_us) for line in self._lines),
            platforms=tuple(platform.name for platform in plan.platforms),
        )

    def _instrument(
        self, line: str, plan: InstrumentPlan, utc_us: int, tally: Tally | None
    ) -> InstrumentStatus:
        name = plan.meter.id
        latest = self._pipeline.latest.get(name)
        silent_us = 3 * plan.period_us + self._plan.commit_us
        return InstrumentStatus(
            instrument=name,
            bus=line,
            number=tally.last if tally else 0,
            received=tally.received if tally else 0,
            missed=tally.missed if tally else 0,
            utc_us=latest.reading.utc_us if latest else None,
            index=latest.entry if latest else None,
            stale=latest is None or utc_us - latest.reading.utc_us > silent_us,
            state=self._states.digest(name),
            flags=latest.reading.flags if latest else (),
            measurands=_measurands(latest) if latest else (),
        )


def _measurands(latest: Latest) -> tuple[MeasurandStatus, ...]:
    reading, units = latest.reading, latest.units
    return tuple(
        MeasurandStatus(
            measurand=name,
            unit=units.get(name, ""),
            indication=reading.indications.get(name),
            value=reading.results[name][0] if name in reading.results else None,
            u=reading.results[name][1] if name in reading.results else None,
            missing=reading.missing.get(name),
        )
        for name in (*reading.indications, *reading.missing)
    )
