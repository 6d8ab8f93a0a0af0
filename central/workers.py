"""Stateless workers: which gateways are due, who collects them just now, and what happens if that one dies.

The roster (table ``duty``) says what is due. A worker takes some gateways for a time, collects each as on one machine,
and gives it back with the next due time. A worker that dies lets go when its time has passed, and the next goes on
from the head that is stored. The time only spares double work: correctness is the store's, whose heads move by
compare-and-set. A worker that was merely slow, and comes back to a gateway that another has taken, is told that it
was overtaken, and has written nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import httpx

from evidence import note
from evidence.errors import ParseError

from .collect import Collector, Outcome
from .fetch import Patience
from .log_keys import Revoked, none_revoked
from .naming import log_name
from .postgres import PostgresStore
from .store import Overtaken, StoreError

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Duty:
    """A gateway to collect: where it answers, its key, how often, and how often in a row it could not be finished."""

    origin: str
    url: str
    vkey: str
    every_us: int
    failures: int = 0


class Roster:
    """Who is collected, when, and by whom. Its writes need not survive a power cut: the heads do."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def enrol(self, duties: Iterable[Duty]) -> None:
        """Enter gateways, or say anew where and how often they are collected. They are due at once.

        Raises ParseError for a key that is none, ValueError for one of another log.
        """
        rows = []
        for duty in duties:
            if note.Verifier.parse(duty.vkey).name != duty.origin:
                raise ValueError(f"the key {duty.vkey} is not one of {duty.origin}")
            rows.append((duty.origin, duty.url, duty.vkey, duty.every_us))
        with self._store.transaction() as db:
            db.cursor().executemany(
                "INSERT INTO duty(origin, url, vkey, every_us) VALUES (%s, %s, %s, %s) ON CONFLICT (origin) DO UPDATE "
                "SET url=excluded.url, vkey=excluded.vkey, every_us=excluded.every_us, due_us=0, failures=0",
                rows,
            )

    def dismiss(self, origin: str) -> bool:
        """Collect a gateway no more. What is stored of it stays."""
        with self._store.transaction() as db:
            return db.execute("DELETE FROM duty WHERE origin=%s", (origin,)).rowcount > 0

    def claim(self, worker: str, count: int, now_us: int, lease_us: int) -> list[Duty]:
        """Take up to ``count`` gateways that are due and that nobody holds, the longest overdue first."""
        with self._store.transaction() as db:
            db.execute("SET LOCAL synchronous_commit = off")
            rows = db.execute(
                "UPDATE duty SET worker=%s, until_us=%s WHERE origin IN (SELECT origin FROM duty "
                "WHERE due_us<=%s AND until_us<=%s ORDER BY due_us LIMIT %s FOR UPDATE SKIP LOCKED) "
                "RETURNING origin, url, vkey, every_us, failures",
                (worker, now_us + lease_us, now_us, now_us, count),
            ).fetchall()
        return [Duty(*row) for row in rows]

    def done(self, worker: str, duty: Duty, due_us: int, said: str = "") -> None:
        """Give a gateway back. ``said``: why it could not be finished."""
        with self._store.transaction() as db:
            db.execute("SET LOCAL synchronous_commit = off")
            db.execute(
                "UPDATE duty SET worker='', until_us=0, due_us=%s, said=%s, "
                "failures=CASE WHEN %s='' THEN 0 ELSE failures+1 END WHERE origin=%s AND worker=%s",
                (due_us, said[:500], said, duty.origin, worker),
            )

    def due(self, now_us: int) -> int:
        """How many gateways are due now: the backlog."""
        count: int = self._store.rows("SELECT count(*) FROM duty WHERE due_us<=%s", (now_us,))[0][0]
        return count


@dataclass(slots=True)
class Worker:
    """Collects what is due, several gateways at a time. Keeps nothing that another could not go on from.

    ``name``: of this process, unlike any other's. ``lease_s``: how long a gateway stays with a worker that says nothing
    more. ``report`` is told of each round, ``complain`` of what a person should know: origin and words.
    """

    store: PostgresStore
    name: str
    signer: note.Ed25519Signer | None = None
    at_once: int = 8
    lease_s: float = 120.0
    stale_after_s: float = 600.0
    patience: Patience = field(default_factory=Patience)
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)
    by_log_name: bool = False  # certificates must bear the log's name, not the host's
    report: Callable[[Outcome], None] = lambda _: None
    complain: Callable[[str, str], None] = lambda *_: None
    revoked: Revoked = none_revoked
    _roster: Roster = field(init=False)
    _ahead_us: int = 0  # of this process's running time, the database's clock

    def __post_init__(self) -> None:
        self._roster = Roster(self.store)

    def _now_us(self) -> int:
        """The database's clock, as it was asked at the last claim, carried on."""
        return self._ahead_us + _running_us()

    async def round(self) -> int:
        """Collect what is due now until nothing is. Returns how many gateways were collected."""
        taken: list[Duty] = []
        count = 0

        async def lane() -> None:
            nonlocal count
            while True:
                if not taken:
                    taken.extend(self._claim())
                if not taken:
                    return
                await self._collect(taken.pop(0))
                count += 1

        async with asyncio.TaskGroup() as lanes:
            for _ in range(self.at_once):
                lanes.create_task(lane())
        return count

    async def run(self, stop: asyncio.Event, idle_s: float = 1.0) -> None:
        """Rounds until ``stop``; a database that is away is waited for."""
        failures = 0
        while not stop.is_set():
            away = ""
            pause_s = 0.0
            try:
                pause_s = 0.0 if await self.round() else idle_s
            except* StoreError as group:
                away = str(group.exceptions[0])
            if away:
                self.complain("", away)
                pause_s = self.patience.pause(failures)
            failures = failures + 1 if away else 0
            if pause_s:
                await self.patience.sleep(pause_s)

    def _claim(self) -> list[Duty]:
        self._ahead_us = self.store.now_us() - _running_us()
        return self._roster.claim(self.name, self.at_once, self._now_us(), int(self.lease_s * _SECOND))

    async def _collect(self, duty: Duty) -> None:
        said = ""
        try:
            verifier = note.Verifier.parse(duty.vkey)
            collector = Collector(
                self.store,
                duty.url,
                verifier,
                self._now_us,
                self.signer,
                self.stale_after_s,
                self.patience,
                self.tls,
                tls_name=log_name(verifier.name) if self.by_log_name else None,
                revoked=self.revoked,
            )
            try:
                outcome = await collector.collect_once()
            finally:
                await collector.close()
            self.report(outcome)
            said = f"{outcome.alarm} {outcome.error}".strip()
        except Overtaken:
            return  # it is another's now: nothing to give back
        except (StoreError, ParseError, ValueError) as error:
            # one gateway that cannot be stored must not keep the others waiting; a database that is away will be
            # noticed when the gateway is given back
            said = str(error)
        if said:
            self.complain(duty.origin, said)
        failures = duty.failures + 1 if said else 0
        pause_us = int(self.patience.pause(failures) * _SECOND) if said else 0
        self._roster.done(self.name, duty, self._now_us() + max(duty.every_us, pause_us), said)


def _running_us() -> int:
    return int(asyncio.get_running_loop().time() * _SECOND)
