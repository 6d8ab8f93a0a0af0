"""The agent: polls every line on time, commits each second, checkpoints, serves, and survives what happens to it.

It puts together what does the work, and starts and stops it. One task owns each line (``gateway.polled``,
``gateway.pushed``); a bug in one is told in the log and the task started again, with back-off, while the others go on.
One task is the heartbeat: it commits what is pending (``gateway.commits``), and looks after clock, states, old entries
and watchdog in between. A store that failed ends the agent, because nothing may be acknowledged after that. Everything
that it needs comes prepared in a :class:`~gateway.plan.Plan`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from socket import socket

from starlette.applications import Starlette

from evidence.record import Advice
from gateway.alarms import Alarms
from gateway.clock import SECOND_US, Clock, StepWatch
from gateway.commits import LOW_DISK, Commits
from gateway.identity import Identities
from gateway.logfile import StoreError
from gateway.notify import Notifier
from gateway.observer import Observer
from gateway.open_log import OpenLog
from gateway.pipeline import DISK_FULL, Pipeline
from gateway.plan import Plan, PushPlan
from gateway.polled import PolledLine
from gateway.pushed import PushLine, Slots
from gateway.receipts import Receipts
from gateway.references import DocumentNotice
from gateway.retention import prune
from gateway.scrub import Scrub
from gateway.serve import application, listening, serve
from gateway.signing import Signing
from gateway.states_in_force import StatesInForce
from gateway.status import AgentStatus
from gateway.store import LogStore
from gateway.supervision import begun, ended, supervise

_log = logging.getLogger("suyuan.agent")

_STATES_EVERY_US = 60 * SECOND_US
_CHECK_EVERY_US = 5 * SECOND_US  # one stored bundle is re-hashed each time
_LINGER_LOOK_US = SECOND_US // 10
_SERVE_AGAIN_US = 5 * SECOND_US
_SERVED_S = 4.0  # the server gives the requests under way two seconds
_CLOSED_S = 1.0


class Agent:
    """Runs a plan until :meth:`stop`."""

    def __init__(self, plan: Plan, clock: Clock, notifier: Notifier | None = None) -> None:
        self.plan = plan
        self._clock = clock
        self._notifier = notifier or Notifier({})
        self._log = OpenLog()
        self._pipeline = pipeline = Pipeline(
            [instrument.channel() for instrument in plan.instruments],
            clock,
            origin=plan.origin,
            keys=tuple(s.verifier.vkey for s in (plan.signer, plan.second_signer) if s is not None),
            software=plan.software,
            configuration=plan.configuration,
            aggregate_us=plan.aggregate_us,
            previous_log=plan.previous_log,
        )
        self.alarms = Alarms(self.tell)
        self.signing = Signing(
            plan.origin, plan.signer, plan.second_signer, self._log, pipeline, plan.platforms, clock
        )
        self._commits = Commits(self._log, pipeline, self.signing, self.alarms, clock)
        self._states = StatesInForce(
            {instrument.meter.id: instrument.state for instrument in plan.instruments},
            plan.states,
            _identities(plan),
            pipeline,
            self.alarms,
        )
        self.polled = [PolledLine(bus, clock, pipeline, self._states) for bus in plan.buses]
        self.pushed = [self._push_line(push) for push in plan.pushes]
        self._lines: tuple[PolledLine | PushLine, ...] = (*self.polled, *self.pushed)
        started = clock.now()
        self._watch = StepWatch(started)
        self._scrub = Scrub()
        self._observer = Observer(
            plan,
            clock,
            started,
            self._log,
            pipeline,
            self._commits,
            self._states,
            self.alarms,
            self._lines,
        )
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()  # the last seal was signed, and served for as long as was agreed
        self._socket: socket | None = None

    def _push_line(self, plan: PushPlan) -> PushLine:
        periods = {i.meter.id: i.period_us for i in plan.instruments}
        slots = {
            name: Slots(period_us, plan.late_us or period_us, plan.lags_us.get(name, 0))
            for name, period_us in periods.items()
        }
        source = plan.source(self._clock.now)
        return PushLine(plan.name, source, slots, self._clock, self._pipeline, self._commits.durable)

    # -- from outside

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it serves, once it does."""
        return None if self._socket is None else self._socket.getsockname()[:2]

    @property
    def begun(self) -> bool:
        """Whether the log is open and taken up."""
        return self._log.begun

    @property
    def store(self) -> LogStore:
        """The open log. Raises StoreError before the start."""
        return self._log.store

    @property
    def receipts(self) -> Receipts:
        """The receipts of the log. Raises StoreError before the start."""
        return self._log.receipts

    @property
    def size(self) -> int:
        """Entries of the log that are durable."""
        return self._log.size

    def ended(self) -> bool:
        """Whether the last seal was signed: from now on nothing new comes."""
        return self._finished.is_set()

    def status(self) -> AgentStatus:
        """A snapshot; what it shows of readings is durable."""
        return self._observer.status()

    def stop(self) -> None:
        """Seal what is there and end :meth:`run`."""
        self._stopping.set()

    def reload(self) -> None:
        """Compile the calibration states anew with the next commit: the register changed."""
        self._states.reload()

    def advise(self, notice: DocumentNotice, advice: tuple[Advice, ...]) -> int | None:
        """Log correction advice, unless it was; the size at which it is durable."""
        return self._pipeline.advise(notice, advice)

    def tell(self, kind: str, detail: Mapping[str, str]) -> None:
        """Log that something happened."""
        self._pipeline.event(kind, detail)

    def open_store(self) -> LogStore:
        """Open the log that the plan names."""
        return LogStore(self.plan.data, self.plan.origin, ballast=self.plan.ballast)

    # -- from the start to the last seal

    async def run(self) -> None:
        """Run until :meth:`stop`. StoreError: the log cannot be kept; CannotListen: nothing can be served."""
        plan = self.plan
        # first of all: an agent that is started again and again because the port is taken writes nothing
        bound = listening(plan.listen) if plan.listen else None
        try:
            store = await self._commits.on_disk(self.open_store)
        except BaseException:
            if bound is not None:
                bound.close()
            raise
        try:
            self._log.begin(store, Receipts(store, plan.platforms, self._clock))
            self._begin(store)
            await self._commits.commit(seal=True)
            self._observer.begin()
            self._socket = bound
            await self._work()
        finally:
            for sock in (self._socket, bound):  # one and the same, unless serving began anew
                if sock is not None:
                    sock.close()
            if closing := [begun(line.close()) for line in self.polled]:
                await asyncio.wait(closing, timeout=_CLOSED_S)  # a line that was left behind is still in use
            await self._commits.on_disk(store.close)
            self._commits.close()

    def _begin(self, store: LogStore) -> None:
        """Set every instrument's first poll, take up the log."""
        first: dict[str, int] = {}
        now = self._clock.now()
        for line in self._lines:
            first.update(line.begin(now))
        self._pipeline.begin(store, first, self.plan.documents)
        if self._pipeline.keys and self.plan.signer.verifier.vkey not in self._pipeline.keys:
            raise StoreError(
                f"{store.directory}: the key that is to sign is none of this log's: put back the file log.key that it "
                "was written with. If that is lost, begin a log that continues this one: suyuan key successor"
            )
        for line in self._lines:
            line.begun()
        if store.ballast_spent:
            self.alarms.begin(LOW_DISK)

    async def _work(self) -> None:
        """All tasks, until told to stop; then the last seal, which is served for as long as was agreed."""
        tasks = [begun(supervise(line, self._clock, self.tell), name=line.name) for line in self._lines]
        tasks.append(begun(self._heartbeat(), name="heartbeat"))
        for task in tasks:
            task.add_done_callback(self._fell)
        serving: list[asyncio.Task[None]] = []
        if self._socket is not None:
            app = application(self.store, self.receipts, self.status, self._contradicted)
            serving.append(begun(self._serving(app, self._socket), name="serving"))
        try:
            self._notifier.send("READY=1")
            await self._stopping.wait()
            _raise_first(tasks)
            self._notifier.send("STOPPING=1")
            async with self._commits.running:  # never in the middle of a commit
                for task in tasks:
                    task.cancel()
            # what does not end is left: the seal does not wait for it
            await ended(tasks)
            _raise_first(tasks)
            self._pipeline.stop()
            await self._commits.commit(seal=True)
            await self._acknowledged()
            self._finished.set()
            if serving:
                await asyncio.wait(serving, timeout=_SERVED_S)
        finally:
            for task in await ended((*tasks, *serving), times=1):
                _log.error("%s does not end, and is left behind", task.get_name())

    def _fell(self, task: asyncio.Task[None]) -> None:
        """A task that failed ends the agent."""
        if not task.cancelled() and task.exception() is not None:
            self._stopping.set()

    async def _heartbeat(self) -> None:
        """Commit each period; look after the clock, the states, the watchdog and old entries in between."""
        plan, clock, commits = self.plan, self._clock, self._commits
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
                self.tell("clock_step", {"before_us": before, "after_us": after, "by_us": str(step.by_us)})
            if self._states.asked_to_reload or now.boot_us >= states_due:
                states_due = now.boot_us + _STATES_EVERY_US
                await self._states.renew(clock.now().utc_us)
            full = self._pipeline.unsealed >= plan.checkpoint_entries
            if full or now.boot_us - commits.sealed_us >= plan.checkpoint_us:
                await commits.commit(seal=True)
            elif commits.wanted:
                await commits.commit(seal=False)
            if DISK_FULL in self.alarms:
                due = now.boot_us + plan.full_retry_us
            if now.boot_us >= check_due:
                check_due = now.boot_us + _CHECK_EVERY_US
                if (damaged := await self._scrub.next(self.store)) is not None:
                    self.alarms.begin("damaged_bundle", {"bundle": str(damaged)})
                if plan.keep_us is not None:
                    await prune(self.store, self.receipts, plan.platforms, now.utc_us - plan.keep_us)
            self._notifier.send("WATCHDOG=1")

    async def _serving(self, app: Starlette, sock: socket) -> None:
        """Serve; a server that fails stops no measurement."""
        while not self._finished.is_set():
            try:
                tls = self.plan.tls
                await serve(app, sock, self._finished, None if tls is None else tls.context)
            except Exception as error:
                _log.exception("serving %s failed and starts again", self.plan.listen)
                self.tell("task_failed", {"serving": self.plan.listen, "error": f"{error}"})
            if self._finished.is_set():
                return
            await self._clock.sleep_until(self._clock.now().boot_us + _SERVE_AGAIN_US)
            with suppress(OSError):
                sock = self._socket = listening(self.plan.listen)

    async def _acknowledged(self) -> None:
        """Go on serving until a platform has acknowledged the last seal, for as long as the plan allows."""
        until = self._clock.now().boot_us + self.plan.linger_us
        while self._clock.now().boot_us < until:
            if any(receipt.size >= self.size for receipt in self.receipts.newest):
                return
            await self._clock.sleep_until(min(until, self._clock.now().boot_us + _LINGER_LOOK_US))

    def _contradicted(self, why: str) -> None:
        self.alarms.begin("contradicted_by_receipt", {"why": why})


def _raise_first(tasks: Iterable[asyncio.Task[None]]) -> None:
    """What one of them failed with: of a store first, after which nothing may be acknowledged."""
    errors = [error for t in tasks if t.done() and not t.cancelled() and (error := t.exception())]
    for error in sorted(errors, key=lambda error: not isinstance(error, StoreError)):
        raise error


def _identities(plan: Plan) -> Identities:
    """Who the meters that are asked should be, as the site states it."""
    asked = [instrument for bus in plan.buses for instrument in bus.instruments]
    serials = {instrument.meter.id: instrument.serial for instrument in asked}
    makers = {instrument.meter.id: instrument.manufacturer for instrument in asked}
    return Identities(serials, plan.data, makers)
