"""The agent: polls every line on time, commits each second, checkpoints, serves, and survives what happens to it.

One task owns each line; a bug in one is told in the log and the task started again, with back-off, while the others go
on. One task commits: what is pending becomes durable, then it is shown. A store that failed ends the agent, because
nothing may be acknowledged after that. Everything that it needs comes prepared in a :class:`Plan`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from socket import socket

from starlette.applications import Starlette

from calibration.state import CalibrationState
from drivers.bus import Bus, Meter
from drivers.codec import Instant, Scan
from drivers.freeze import FLAG as FROZEN
from drivers.identity import TELL, Identity, can_ask, identify, told_in
from drivers.line import Timing
from drivers.link import Link
from drivers.profile import Query
from drivers.protocols import Codec
from evidence.note import Checkpoint, Signer, SignerUnavailable, key_statement
from evidence.record import Advice, PreviousLog, Tally, decode
from evidence.record import Key as KeyRecord
from gateway.clock import SECOND_US, Clock, StepWatch
from gateway.freezing import FreezePlan, Freezer
from gateway.identity import FLAG as IDENTITY_MISMATCH
from gateway.identity import Identities, Verdict, beijing, uncorrected
from gateway.lanes import Channel
from gateway.notify import Notifier
from gateway.pending import Batch
from gateway.pipeline import DISK_FULL, STOPPED, Latest, Pipeline
from gateway.pushed import PushLine, Slots, Source
from gateway.receipts import PlatformKey, Receipts
from gateway.references import DocumentNotice
from gateway.retention import expired
from gateway.schedule import Agenda, Ticker
from gateway.serve import application, listening, serve
from gateway.status import AgentStatus, BusStatus, InstrumentStatus, MeasurandStatus, ReceiptStatus
from gateway.store import BALLAST_BYTES, LogStore, StoreError, StoreFull
from gateway.tls import ServerTls

_log = logging.getLogger("suyuan.agent")

KEY_UNAVAILABLE = "key_unavailable"
NO_SECOND = "second_signature_missing"
FAILED = "internal_error"  # reason of a poll that a bug of ours ate
_BACK_OFF_S = (1, 2, 5, 10, 30, 60)
_STATES_EVERY_US = 60 * SECOND_US
_CHECK_EVERY_US = 5 * SECOND_US  # one stored bundle is re-hashed each time
_LINGER_LOOK_US = SECOND_US // 10
_ORDINARY_LIFE_US = 300 * SECOND_US  # a task that lived so long begins its back-off anew


@dataclass(frozen=True, slots=True)
class InstrumentPlan:
    """One instrument: how it is asked, how often, and what corrects it."""

    meter: Meter
    queries: tuple[Query, ...]
    period_us: int
    state: CalibrationState
    priority: int = 0
    refresh_us: int = 0
    serial: str = ""  # what the meter should call itself, if the site says so
    manufacturer: str = ""

    def channel(self) -> Channel:
        """As the pipeline sees it."""
        points = [point for query in self.queries for point in query.points]
        units = {point.measurand: point.unit for point in points}
        moduli: dict[str, Decimal] = {p.measurand: p.modulus for p in points if p.modulus is not None}
        return Channel(self.meter.id, self.period_us, self.state, units, moduli, self.refresh_us)


@dataclass(frozen=True, slots=True)
class BusPlan:
    """One line with its instruments."""

    name: str
    codec: Codec
    link: Link
    instruments: tuple[InstrumentPlan, ...]
    timing: Timing | None = None
    freeze: FreezePlan | None = None  # only where somebody allowed it


@dataclass(frozen=True, slots=True)
class PushPlan:
    """A port at which instruments send by themselves.

    ``late_us``: how long after it was due silence is a gap; None: the instrument's period. ``lags_us``, by instrument:
    how long after a slot's beginning its data is ready.
    """

    name: str
    source: Callable[[Callable[[], Instant]], Source]
    instruments: tuple[InstrumentPlan, ...]
    late_us: int | None = None
    lags_us: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the agent is told. ``configuration`` is canonical JSON; ``listen`` empty serves nothing.

    ``states`` compiles the calibration states of a day, by instrument: asked when a state does not cover the day any
    more, and by :meth:`Agent.reload`. What raises there leaves the states as they are and is told in the log.
    ``keep_us``: entries that all platforms have confirmed are deleted when they are older; None keeps everything.
    ``full_retry_us``: how long to wait before writing again to a full disk.
    """

    origin: str
    data: Path
    signer: Signer
    software: str
    configuration: bytes
    buses: tuple[BusPlan, ...]
    documents: tuple[DocumentNotice, ...] = ()
    platforms: tuple[PlatformKey, ...] = ()
    listen: str = ""
    tls: ServerTls | None = None
    commit_us: int = SECOND_US
    checkpoint_us: int = 10 * SECOND_US
    checkpoint_entries: int = 256
    aggregate_us: int = 60 * SECOND_US
    keep_us: int | None = None
    full_retry_us: int = 10 * SECOND_US
    ballast: int = BALLAST_BYTES
    states: Callable[[date, Mapping[str, str]], Mapping[str, CalibrationState]] | None = None
    linger_us: int = 0  # how long, after the last seal, a platform may still fetch it
    pushes: tuple[PushPlan, ...] = ()
    second_signer: Signer | None = None  # of another kind: its line stands beside, and may be missing
    previous_log: PreviousLog | None = None  # the head that a new log begins from, if it continues another

    @property
    def instruments(self) -> tuple[InstrumentPlan, ...]:
        """All instruments, asked or not."""
        return tuple(instrument for line in self.lines for instrument in line.instruments)

    @property
    def lines(self) -> tuple[BusPlan | PushPlan, ...]:
        """Where instruments are asked, then where they send by themselves."""
        return (*self.buses, *self.pushes)


class _Line:
    """A bus at work."""

    def __init__(self, plan: BusPlan, clock: Clock, tell: Callable[[str, Mapping[str, str]], None]) -> None:
        self.plan = plan
        self.bus = Bus(plan.name, plan.codec, plan.link, clock.now, plan.timing)
        self.instruments = {i.meter.id: i for i in plan.instruments}
        self.freezer = None if plan.freeze is None else Freezer(plan.freeze, self.bus, tell)
        self.agenda = Agenda()
        self.failures = 0

    @property
    def name(self) -> str:
        return self.plan.name

    async def scan(self, instrument: InstrumentPlan, due_us: int) -> tuple[Scan, tuple[str, ...]]:
        """What an instrument shows, or showed when it was ordered to freeze, and what its record says of that."""
        meter, freezer = instrument.meter, self.freezer
        if freezer is None or not freezer.due(meter.id, due_us):
            return await self.bus.scan(meter, instrument.queries), ()
        meters = {name: other.meter for name, other in self.instruments.items()}
        return await freezer.scan(meter, due_us, meters), (FROZEN,)


class Agent:
    """Runs a plan until :meth:`stop`."""

    def __init__(self, plan: Plan, clock: Clock, notifier: Notifier | None = None) -> None:
        self.plan = plan
        self._clock = clock
        self._notifier = notifier or Notifier({})
        self._lines = [_Line(bus, clock, self.tell) for bus in plan.buses]
        self._pipeline = Pipeline(
            [instrument.channel() for instrument in plan.instruments],
            clock,
            origin=plan.origin,
            keys=tuple(s.verifier.vkey for s in (plan.signer, plan.second_signer) if s is not None),
            software=plan.software,
            configuration=plan.configuration,
            aggregate_us=plan.aggregate_us,
            previous_log=plan.previous_log,
        )
        self._states = {instrument.meter.id: instrument.state for instrument in plan.instruments}
        self._signers: tuple[Signer, ...] = (plan.signer,)  # oldest first; two while the key is changed
        self._seconds: tuple[Signer, ...] = () if plan.second_signer is None else (plan.second_signer,)
        self._second_failed = ""  # why the last checkpoint has no second signature
        self._pushes = [self._push_line(push) for push in plan.pushes]
        self._waiting: list[asyncio.Future[bool]] = []  # for the commit that holds what is pending
        stated = [i for bus in plan.buses for i in bus.instruments]
        serials = {i.meter.id: i.serial for i in stated}
        makers = {i.meter.id: i.manufacturer for i in stated}
        self._identities = Identities(serials, plan.data, makers)
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()  # the last seal was signed, and served for as long as was agreed
        self._committing = asyncio.Lock()
        self._alarms: dict[str, None] = {}
        self._reload = False
        self._sealed_us = 0
        self._sealed_utc_us = 0
        self._heads: list[tuple[int, int]] = []  # (size, UTC) of checkpoints that no receipt covers yet
        self._started = clock.now()
        self._watch = StepWatch(self._started)
        self._store: LogStore | None = None
        self._receipts: Receipts | None = None
        self._socket: socket | None = None
        self._written_before = 0
        self._size_before = 0
        self._checked = 0

    # -- from outside

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it serves, once it does."""
        return None if self._socket is None else self._socket.getsockname()[:2]

    @property
    def store(self) -> LogStore:
        """The open log. Raises StoreError before the start."""
        if self._store is None:
            raise StoreError("the log is not open yet: the agent has not started")
        return self._store

    @property
    def receipts(self) -> Receipts:
        """The receipts of the log. Raises StoreError before the start."""
        if self._receipts is None:
            raise StoreError("the log is not open yet: the agent has not started")
        return self._receipts

    @property
    def started(self) -> bool:
        """Whether the log is open."""
        return self._receipts is not None

    def ended(self) -> bool:
        """Whether the last seal was signed: from now on nothing new comes."""
        return self._finished.is_set()

    def alarm(self, name: str, detail: Mapping[str, str]) -> None:
        """Raise an alarm that others found, once: it goes into the log and into the seals."""
        self._alarm(name, detail)

    def calm(self, name: str) -> None:
        """End an alarm that others found."""
        self._alarms.pop(name, None)

    def key_statements(self) -> tuple[str, ...]:
        """What the log says of its changes of keys, oldest first, as far as it is still here."""
        found = []
        for place in sorted(self._pipeline.keys.values(), key=lambda place: place.entry):
            for _, entry in self.store.entries(place.entry, place.entry + 1):
                if isinstance(record := decode(entry), KeyRecord):
                    found.append(record.statement)
        return tuple(found)

    def stop(self) -> None:
        """Seal what is there and end :meth:`run`."""
        self._stopping.set()

    def reload(self) -> None:
        """Compile the calibration states anew with the next commit: the register changed."""
        self._reload = True

    @property
    def size(self) -> int:
        """Entries of the log that are durable."""
        return self.store.size

    @property
    def begun(self) -> bool:
        """Whether the log is open and taken up."""
        return self._store is not None

    def advise(self, notice: DocumentNotice, advice: tuple[Advice, ...]) -> int | None:
        """Log correction advice, unless it was; the size at which it is durable."""
        return self._pipeline.advise(notice, advice)

    def tell(self, kind: str, detail: Mapping[str, str]) -> None:
        """Log that something happened outside."""
        self._pipeline.event(kind, detail)

    def take_key(self, new: Signer) -> None:
        """Change the log's key: record the new one, unless it was, vouched for by the old; sign with both."""
        old = self._signers[0]
        vkey, replaces = new.verifier.vkey, old.verifier.vkey
        if vkey not in self._pipeline.keys:
            self._pipeline.announce_key(vkey, replaces, key_statement(self.plan.origin, new, old))
        self._signers = (old, new)

    def key_is_known(self, vkey: str, overlap_us: int) -> bool:
        """Whether a receipt of every platform covers the key's record, and it is ``overlap_us`` old."""
        place = self._pipeline.keys.get(vkey)
        if place is None or place.entry >= self.size:
            return False
        have = {receipt.platform: receipt.size for receipt in self.receipts.newest}
        seen = all(have.get(platform.name, 0) > place.entry for platform in self.plan.platforms)
        return seen and self._clock.now().utc_us >= place.utc_us + overlap_us

    def sign_alone(self) -> None:
        """Sign with the newest key alone: the old one is no longer here."""
        old, self._signers = self._signers[0], self._signers[-1:]
        self._pipeline.event("key_retired", {"vkey": old.verifier.vkey})

    def take_second_key(self, new: Signer) -> None:
        """Sign with this key on the second line too, recorded unless it was; the log's other key vouches for it."""
        older = [signer for signer in self._seconds if signer.verifier != new.verifier]
        vkey = new.verifier.vkey
        if vkey not in self._pipeline.keys:
            replaces = older[0].verifier.vkey if older else ""
            statement = key_statement(self.plan.origin, new, *older, *self._signers)
            self._pipeline.announce_key(vkey, replaces, statement)
        self._seconds = (*older, new)

    def second_signs_alone(self) -> None:
        """Sign the second line with its newest key alone: the old one is no longer here."""
        old, self._seconds = self._seconds[0], self._seconds[-1:]
        self._pipeline.event("key_retired", {"vkey": old.verifier.vkey})

    def change_state(self, instrument: str, state: CalibrationState) -> None:
        """Correct with another state from the next reading on; it is logged before."""
        self._states[instrument] = state
        if not self._identities.is_other(instrument):
            self._pipeline.change_state(instrument, state)

    def open_store(self) -> LogStore:
        """Open the log that the plan names."""
        return LogStore(self.plan.data, self.plan.origin, ballast=self.plan.ballast)

    async def run(self) -> None:
        """Run until :meth:`stop`. StoreError: the log cannot be kept; CannotListen: nothing can be served."""
        plan = self.plan
        # first of all: an agent that is started again and again because the port is taken writes nothing
        bound = listening(plan.listen) if plan.listen else None
        try:
            self._store = store = await asyncio.to_thread(self.open_store)
        except BaseException:
            if bound is not None:
                bound.close()
            raise
        try:
            self._receipts = receipts = Receipts(store, plan.platforms, self._clock)
            self._begin(store)
            await self._commit(seal=True)
            self._written_before, self._size_before = _written(), store.size
            self._socket = bound
            try:
                async with asyncio.TaskGroup() as group:
                    lines: list[_Line | PushLine] = [*self._lines, *self._pushes]
                    tasks = [group.create_task(self._supervised(line), name=line.name) for line in lines]
                    tasks.append(group.create_task(self._commits()))
                    if self._socket is not None:
                        app = application(store, receipts, self.status, self._contradicted)
                        group.create_task(self._serving(app, self._socket))
                    self._notifier.send("READY=1")
                    await self._stopping.wait()
                    self._notifier.send("STOPPING=1")
                    async with self._committing:  # never in the middle of a commit
                        for task in tasks:
                            task.cancel()
                    await asyncio.wait(tasks)
                    self._pipeline.stop()
                    await self._commit(seal=True)
                    await self._acknowledged()
                    self._finished.set()
            except BaseExceptionGroup as failed:
                # not `except*`: before Python 3.11.4 that wraps what is raised in it in a group once more
                if (stores := failed.subgroup(StoreError)) is not None:
                    raise _first(stores) from None
                raise
        finally:
            for sock in (self._socket, bound):  # one and the same, unless serving began anew
                if sock is not None:
                    sock.close()
            for line in self._lines:
                with suppress(Exception):
                    await line.bus.close()
            await asyncio.to_thread(store.close)

    async def _acknowledged(self) -> None:
        """Go on serving until a platform has acknowledged the last seal, for as long as the plan allows."""
        until = self._clock.now().boot_us + self.plan.linger_us
        while self._receipts is not None and self._clock.now().boot_us < until:
            if any(receipt.size >= self.store.size for receipt in self._receipts.newest):
                return
            await self._clock.sleep_until(min(until, self._clock.now().boot_us + _LINGER_LOOK_US))

    def _begin(self, store: LogStore) -> None:
        """Set every instrument's first poll, take up the log."""
        first: dict[str, int] = {}
        now = self._clock.now()
        for line in self._lines:
            for name, instrument in line.instruments.items():
                ticker = Ticker(instrument.period_us, now)
                line.agenda.add(name, ticker, instrument.priority)
                first[name] = ticker.due_us
        for push in self._pushes:
            first.update(push.begin(now))
        self._pipeline.begin(store, first, self.plan.documents)
        if self._pipeline.keys and self.plan.signer.verifier.vkey not in self._pipeline.keys:
            raise StoreError(
                f"{store.directory}: the key that is to sign is none of this log's: put back the file log.key that it "
                "was written with. If that is lost, begin a log that continues this one: suyuan key successor"
            )
        for line in self._lines:
            if line.plan.freeze is not None:
                self._pipeline.event("freeze_allowed", {"bus": line.name, **_texts(line.plan.freeze)})
        for push in self._pushes:
            push.begun()
        if store.ballast_spent:
            self._alarm("low_disk")

    # -- the lines

    def _push_line(self, plan: PushPlan) -> PushLine:
        periods = {i.meter.id: i.period_us for i in plan.instruments}
        slots = {
            name: Slots(period_us, plan.late_us or period_us, plan.lags_us.get(name, 0))
            for name, period_us in periods.items()
        }
        source = plan.source(self._clock.now)
        return PushLine(plan.name, source, slots, self._clock, self._pipeline, self._durable)

    async def _supervised(self, line: _Line | PushLine) -> None:
        """Poll a line, or listen, for ever; start again after a bug, later each time."""
        failures = 0
        while True:
            began = self._clock.now().boot_us
            try:
                await (line.run() if isinstance(line, PushLine) else self._poll(line))
                return
            except StoreError:
                raise
            except Exception as error:
                if self._clock.now().boot_us - began > _ORDINARY_LIFE_US:
                    failures = 0
                wait_s = _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]
                failures += 1
                line.failures += 1
                _log.exception("bus %s: its task failed and starts again in %s s", line.name, wait_s)
                detail = {
                    "bus": line.name,
                    "error": f"{type(error).__name__}: {error}",
                    "again_s": str(wait_s),
                }
                self._pipeline.event("task_failed", detail)
                await self._clock.sleep_until(self._clock.now().boot_us + wait_s * SECOND_US)

    async def _poll(self, line: _Line) -> None:
        agenda, clock, pipeline = line.agenda, self._clock, self._pipeline
        while (due := agenda.next_boot_us()) is not None:
            await clock.sleep_until(due)
            taken = agenda.take(clock.now())
            if taken is None:
                continue
            name, tick = taken
            instrument = line.instruments[name]
            before = pipeline.number(name)
            try:
                scan, said = await line.scan(instrument, tick.due_us)
                speaks = (instrument.meter.codec or line.bus.codec).name
                if can_ask(speaks, instrument.meter.profile):
                    await self._identified(line, instrument.meter, scan)
                elif speaks in TELL and scan.failure is None:
                    self._recognise(name, told_in(scan.exchanges, speaks))
                flags = (IDENTITY_MISMATCH,) if self._identities.is_other(name) else ()
                pipeline.accept(name, tick, scan, (*said, *flags))
            except asyncio.CancelledError:
                pipeline.skip(name, tick, before, STOPPED)
                raise
            except Exception:
                pipeline.skip(name, tick, before, FAILED)
                raise

    async def _identified(self, line: _Line, meter: Meter, scan: Scan) -> None:
        """Ask a meter who it is, if that is in doubt; another one's readings are corrected by no certificate."""
        name, identities, bus = meter.id, self._identities, line.bus
        if scan.failure is not None:
            identities.doubt(name)
            return
        now, openings = self._clock.now(), bus.line.openings
        if not identities.wants(name, now.boot_us, openings):
            return
        told = await identify(bus, meter, beijing)
        identities.asked(name, now.boot_us, openings, answered=told.answered)
        if told.clock_ahead_s is not None:
            self._pipeline.event("meter_clock", {"instrument": name, "ahead_s": str(told.clock_ahead_s)})
        self._recognise(name, told)

    def _recognise(self, name: str, told: Identity) -> None:
        """Whether it is the meter that its certificates are about, by what it told."""
        identities, numbers = self._identities, (*filter(None, (told.number,)), *told.also)
        was_other, expected = identities.is_other(name), identities.expected(name, told.maker)
        verdict = identities.judge(name, *numbers, maker=told.maker, type_=told.type)
        if verdict is None:
            return
        number = told.number or f"{told.maker} {told.type}".strip()
        if verdict is Verdict.OTHER:
            self._alarms[IDENTITY_MISMATCH] = None
            if not was_other:
                if told.maker and told.number:
                    number = f"{told.number} ({told.maker} {told.type})"
                _log.error("%s: meter %s answers in the place of %s", name, number, expected)
                detail = {"instrument": name, "number": number, "expected": expected}
                self._pipeline.event(IDENTITY_MISMATCH, detail)
                self._pipeline.change_state(name, uncorrected(self._states[name]))
            return
        if verdict is Verdict.NEW:
            self._pipeline.event(verdict, {"instrument": name, "number": number})
        if was_other:
            self._pipeline.event("identity_restored", {"instrument": name, "number": number})
            self._pipeline.change_state(name, self._states[name])
            if not any(identities.is_other(other) for other in self._states):
                self._alarms.pop(IDENTITY_MISMATCH, None)

    async def _serving(self, app: Starlette, sock: socket) -> None:
        """Serve; a server that fails stops no measurement."""
        while not self._finished.is_set():
            try:
                tls = self.plan.tls
                await serve(app, sock, self._finished, None if tls is None else tls.context)
            except Exception as error:
                _log.exception("serving %s failed and starts again", self.plan.listen)
                self._pipeline.event("task_failed", {"serving": self.plan.listen, "error": f"{error}"})
            if self._finished.is_set():
                return
            await self._clock.sleep_until(self._clock.now().boot_us + 5 * SECOND_US)
            with suppress(OSError):
                sock = self._socket = listening(self.plan.listen)

    # -- the log

    async def _commits(self) -> None:
        """Commit each period; look after the clock, the states, the watchdog and old entries in between."""
        plan, clock = self.plan, self._clock
        due = clock.now().boot_us
        states_due = due + _STATES_EVERY_US
        check_due = due + _CHECK_EVERY_US
        while True:
            due = max(due + plan.commit_us, clock.now().boot_us)
            await clock.sleep_until(due)
            now = clock.now()
            step = self._watch.look(now)
            if step is not None:
                before, after = str(step.expected_utc_us), str(step.utc_us)
                self._pipeline.event(
                    "clock_step", {"before_us": before, "after_us": after, "by_us": str(step.by_us)}
                )
            if self._reload or now.boot_us >= states_due:
                states_due = now.boot_us + _STATES_EVERY_US
                await self._renew_states()
            full = self._pipeline.unsealed >= plan.checkpoint_entries
            if full or now.boot_us - self._sealed_us >= plan.checkpoint_us:
                await self._commit(seal=True)
            elif self._pipeline.pending or self._waiting:
                await self._commit(seal=False)
            if DISK_FULL in self._alarms:
                due = now.boot_us + plan.full_retry_us
            if now.boot_us >= check_due:
                check_due = now.boot_us + _CHECK_EVERY_US
                await self._check_one()
                await self._prune(now.utc_us)
            self._notifier.send("WATCHDOG=1")

    async def _durable(self) -> bool:
        """Wait for the commit that holds what is pending now; False if the disk was full and it is lost."""
        if not self._pipeline.pending and not self._committing.locked():
            return True
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return await waiting

    def _tell(self, waiting: list[asyncio.Future[bool]], kept: bool) -> None:
        for future in waiting:
            if not future.done():
                future.set_result(kept)

    async def _commit(self, *, seal: bool) -> None:
        async with self._committing:
            waiting, self._waiting = self._waiting, []
            kept = False
            try:
                kept = await self._write(seal=seal)
            finally:
                self._tell(waiting, kept)

    async def _write(self, *, seal: bool) -> bool:
        """Commit what is pending; False if the disk is full and it is lost."""
        store, pipeline = self.store, self._pipeline
        if seal:
            head = None if self._receipts is None else self._receipts.head
            pipeline.seal(head, tuple(self._alarms))
        batch = pipeline.take(checkpoint=seal)
        try:
            await self._keep(batch, seal=seal)
        except StoreFull as error:
            pipeline.lost(store.size, DISK_FULL)
            if DISK_FULL not in self._alarms:
                self._alarm(DISK_FULL)
                _log.error("%s", error)
            return False
        pipeline.committed()
        if DISK_FULL in self._alarms:
            del self._alarms[DISK_FULL]
            pipeline.event("alarm_ended", {"alarm": DISK_FULL})
        if store.ballast_spent and "low_disk" not in self._alarms:
            self._alarm("low_disk")
            # what the platform has confirmed is safe there: its room is needed here
            await asyncio.to_thread(store.prune, store.size)
        if seal:
            now = self._clock.now()
            self._sealed_us, self._sealed_utc_us = now.boot_us, now.utc_us
            self._note_head(store.size, now.utc_us)
        return True

    async def _keep(self, batch: Batch, *, seal: bool) -> None:
        """Commit a batch; without a checkpoint if the key's device does not answer: nothing is lost meanwhile."""
        store, sign = self.store, self._sign if seal else None
        try:
            await asyncio.to_thread(store.commit, batch.entries, sign, batch.state)
        except SignerUnavailable as error:
            if KEY_UNAVAILABLE not in self._alarms:
                _log.error("nothing is signed until the key's device answers: %s", error)
            await asyncio.to_thread(store.commit, batch.entries, None, batch.state)
            self._alarm(KEY_UNAVAILABLE, {"error": str(error)})
            return
        if seal and KEY_UNAVAILABLE in self._alarms:
            del self._alarms[KEY_UNAVAILABLE]
            self._pipeline.event("alarm_ended", {"alarm": KEY_UNAVAILABLE})
        if seal and self._second_failed:
            self._alarm(NO_SECOND, {"error": self._second_failed})
        elif seal and NO_SECOND in self._alarms:
            del self._alarms[NO_SECOND]
            self._pipeline.event("alarm_ended", {"alarm": NO_SECOND})

    def _sign(self, size: int, root: bytes) -> bytes:
        note = Checkpoint(self.plan.origin, size, root).signed_by(*self._signers)
        missing, count = "", len(note.signatures)
        for second in self._seconds:
            try:
                note = note.signed_by(second)
            except SignerUnavailable as error:
                missing = str(error)
        self._second_failed = missing if len(note.signatures) == count else ""
        return note.encode()

    def _note_head(self, size: int, utc_us: int) -> None:
        """Remember when each unacknowledged size was sealed; thin out so that memory stays bounded."""
        head = None if self._receipts is None else self._receipts.head
        covered = 0 if head is None else head.size
        self._heads = [entry for entry in self._heads if entry[0] > covered]
        self._heads.append((size, utc_us))
        if len(self._heads) > 512:
            self._heads = [self._heads[0], *self._heads[1:-1:2], self._heads[-1]]

    async def _renew_states(self) -> None:
        """Compile the states anew if the register changed, or if one does not cover today."""
        compile_all = self.plan.states
        today = datetime.fromtimestamp(self._clock.now().utc_us / SECOND_US, UTC).date()
        wanted = self._reload or any(not state.covers(today) for state in self._states.values())
        self._reload = False
        if compile_all is None or not wanted:
            return
        try:
            known = {name: state.digest for name, state in self._states.items()}
            states = await asyncio.to_thread(compile_all, today, known)
        except (
            Exception
        ) as error:  # what the register holds is somebody's work in progress: the agent goes on
            _log.error("the calibration states could not be compiled and stay as they were: %s", error)
            self._pipeline.event("states_refused", {"error": str(error)})
            self._alarm("states_refused")
            return
        self._alarms.pop("states_refused", None)
        for name, state in states.items():
            if name in self._states and self._states[name].digest != state.digest:
                self.change_state(name, state)

    async def _check_one(self) -> None:
        """Hash one stored bundle again: silent damage is found before somebody needs the bytes."""
        store = self.store
        count = store.size // 256
        if not count:
            return
        n = self._checked % count
        self._checked += 1
        if await asyncio.to_thread(store.check_bundle, n) is False:
            self._alarm("damaged_bundle", {"bundle": str(n)})

    async def _prune(self, utc_us: int) -> None:
        """Delete what every platform of the site has, and is older than the site wants to keep."""
        keep_us = self.plan.keep_us
        if keep_us is None or self._receipts is None or self._receipts.head is None:
            return
        have = {receipt.platform: receipt.size for receipt in self._receipts.newest}
        confirmed = min(have.get(platform.name, 0) for platform in self.plan.platforms)  # by each of them
        below = min(confirmed, await asyncio.to_thread(expired, self.store, utc_us - keep_us))
        if below:
            await asyncio.to_thread(self.store.prune, below)

    def _alarm(self, name: str, detail: Mapping[str, str] | None = None) -> None:
        if name not in self._alarms:
            self._alarms[name] = None
            self._pipeline.event("alarm", {"alarm": name, **(detail or {})})

    def _contradicted(self, why: str) -> None:
        self._alarm("contradicted_by_receipt", {"why": why})

    # -- what can be seen

    def status(self) -> AgentStatus:
        """A snapshot; what it shows of readings is durable."""
        now, store = self._clock.now(), self.store
        clock = self._clock.state()
        receipts = () if self._receipts is None else self._receipts.newest
        covered = max((receipt.size for receipt in receipts), default=0)
        waiting = [utc for size, utc in self._heads if size > covered]
        elapsed = max(1, now.boot_us - self._started.boot_us)
        log_bytes = _size_of(store.directory)
        grown = store.size - self._size_before
        counts = self._pipeline.counts()
        return AgentStatus(
            origin=self.plan.origin,
            software=self.plan.software,
            utc_us=now.utc_us,
            started_us=self._started.utc_us,
            clock=clock.quality.name.lower(),
            clock_error_us=clock.error_us,
            size=store.size,
            checkpoint=store.published.size if store.published else 0,
            unacknowledged=store.size - covered,
            rewrite_window_s=(now.utc_us - min(waiting)) / SECOND_US if waiting else None,
            window_s=self.plan.commit_us / SECOND_US,
            receipts=tuple(ReceiptStatus(r.platform, r.size, r.received_us) for r in receipts),
            buffer_hours=_hours_left(store.directory, log_bytes, store.size, grown, elapsed),
            bytes_per_record=(_written() - self._written_before) / grown if grown > 0 else None,
            log_bytes=log_bytes,
            alarms=tuple(self._alarms),
            instruments=tuple(
                self._instrument(plan.name, instrument, now.utc_us, counts.get(instrument.meter.id))
                for plan in self.plan.lines
                for instrument in plan.instruments
            ),
            buses=tuple(
                BusStatus(
                    name=line.plan.name,
                    port=line.plan.link.describe(),
                    counts={address: dict(causes) for address, causes in line.bus.counts.by_address.items()},
                    exchanges=line.bus.usage.exchanges,
                    line_time_us=line.bus.usage.line_time_us,
                    busy_us=line.bus.usage.busy_us,
                    busy_share=min(1.0, line.bus.usage.busy_us / elapsed),
                    failures=line.failures,
                    freeze=None if line.plan.freeze is None else _texts(line.plan.freeze),
                )
                for line in self._lines
            )
            + tuple(
                BusStatus(
                    name=push.name,
                    port=push.source.describe(),
                    counts={
                        address: dict(causes) for address, causes in push.source.counts.by_address.items()
                    },
                    exchanges=push.received,
                    line_time_us=0,
                    busy_us=0,
                    busy_share=0.0,
                    failures=push.failures,
                )
                for push in self._pushes
            ),
        )

    def _instrument(
        self, bus: str, plan: InstrumentPlan, utc_us: int, tally: Tally | None
    ) -> InstrumentStatus:
        name = plan.meter.id
        latest = self._pipeline.latest.get(name)
        return InstrumentStatus(
            instrument=name,
            bus=bus,
            number=tally.last if tally else 0,
            received=tally.received if tally else 0,
            missed=tally.missed if tally else 0,
            utc_us=latest.reading.utc_us if latest else None,
            index=latest.entry if latest else None,
            stale=latest is None or utc_us - latest.reading.utc_us > 3 * plan.period_us + self.plan.commit_us,
            state=self._states[name].digest,
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


def _first(group: BaseExceptionGroup[StoreError]) -> StoreError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, StoreError) else StoreError(str(error))


def _texts(allowed: FreezePlan) -> dict[str, str]:
    """Who allowed a freeze, as texts."""
    return {key: str(value) for key, value in allowed.plain().items()}


def _written() -> int:
    """Bytes that this process caused to be written to media; 0 where the kernel does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    return 0


def _size_of(directory: Path) -> int:
    total = 0
    for path in directory.glob("log.db*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _hours_left(directory: Path, log_bytes: int, size: int, grown: int, elapsed_us: int) -> float | None:
    """How long the free space lasts at the present rate; None in the first minute."""
    if elapsed_us < 60 * SECOND_US or grown <= 0 or size <= 0:
        return None
    room = os.statvfs(directory)
    per_hour = log_bytes / size * grown * 3600 * SECOND_US / elapsed_us
    return room.f_bavail * room.f_frsize / per_hour


async def run_until_signal(agent: Agent) -> None:
    """Run an agent; SIGTERM and SIGINT end it with a last seal, SIGHUP compiles the calibration states anew."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: agent.stop, signal.SIGINT: agent.stop, signal.SIGHUP: agent.reload}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        await agent.run()
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
