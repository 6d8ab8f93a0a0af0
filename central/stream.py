"""Verified readings handed on to NATS JetStream: each of them, in the order of its log, once.

The log is the outbox: what is stored is handed on from where the mark ``handed.next`` stands, and the mark moves when
the stream has acknowledged. So nothing that was not verified and stored gets into the stream, and nothing verified is
left out.

Each gateway has a subject of its own, and each message names the last sequence number of that subject that its
publisher knows (``Nats-Expected-Last-Subject-Sequence``): the stream takes it only if nothing came between. A publisher
that died before its mark moved, or two at once, therefore put nothing there twice and nothing out of order, however
long they were silent; whoever goes on asks the stream for the subject's last message first. Beside it stands the
message's id, ``origin/index`` (``Nats-Msg-Id``), for readers that keep an account of their own.

Subject: ``<prefix>.<first 32 hex digits of the SHA-256 of the origin>``, since an origin may hold what a subject must
not. Body: one JSON object::

    {"origin":"…","entry":17,"instrument":"M1","number":12,"utc_us":…,"clock":2,"clock_error_us":1500,
     "indications":{…},"missing":{…},"results":{"energy.active.import":["1234.51","0.31"]},"flags":[]}
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec
import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from evidence.record import Reading, decode

from .postgres import PostgresStore
from .rows import Gateway

BATCH: Final = 1024  # entries of one gateway between two moves of its mark
ID_HEADER: Final = "Nats-Msg-Id"
AFTER_HEADER: Final = "Nats-Expected-Last-Subject-Sequence"
_WRONG_SEQUENCE: Final = 10071  # JetStream's error code
_to_json: Final = msgspec.json.Encoder().encode


class StreamError(Exception):
    """The stream cannot be reached, or refuses. May pass; nothing is lost meanwhile."""


@dataclass(frozen=True, slots=True)
class Message:
    """A verified reading as it is handed on."""

    subject: str
    id: str  # origin/index: the same reading has the same id for ever
    body: bytes


@dataclass(frozen=True, slots=True)
class Last:
    """A subject's last message: log index of its reading (-1: none), and its sequence number in the stream."""

    entry: int = -1
    sequence: int = 0


def subject(prefix: str, origin: str) -> str:
    """Where a gateway's readings go."""
    return f"{prefix}.{hashlib.sha256(origin.encode()).hexdigest()[:32]}"


def message(prefix: str, origin: str, entry: int, reading: Reading) -> Message:
    """A reading without its raw bytes, which stay in the log under the same index."""
    body = {
        "origin": origin,
        "entry": entry,
        "instrument": reading.instrument,
        "number": reading.number,
        "utc_us": reading.utc_us,
        "clock": reading.clock,
        "clock_error_us": reading.clock_error_us,
        "indications": reading.indications,
        "missing": reading.missing,
        "results": reading.results,
        "flags": reading.flags,
    }
    return Message(subject(prefix, origin), f"{quote(origin)}/{entry}", _to_json(body))


class Stream:
    """One JetStream stream, ready to publish to."""

    def __init__(self, client: Client, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix
        self._jetstream = client.jetstream(timeout=10)

    async def ready(self, keep_s: float = 0) -> None:
        """Make the stream if there is none. ``keep_s``: how long messages stay (0: as long as there is room)."""
        try:
            await self._jetstream.stream_info(self.name)
        except NotFoundError:
            await self._jetstream.add_stream(
                StreamConfig(
                    name=self.name,
                    subjects=[f"{self.prefix}.*"],
                    retention=RetentionPolicy.LIMITS,
                    storage=StorageType.FILE,
                    max_age=keep_s,
                )
            )

    async def last(self, origin: str) -> Last:
        """The last message of this gateway that the stream holds. Raises StreamError."""
        try:
            found = await self._jetstream.get_last_msg(self.name, subject(self.prefix, origin))
        except NotFoundError:
            return Last()
        except (NatsError, TimeoutError) as error:
            raise StreamError(f"stream {self.name}: {error or 'no answer'}") from error
        index = (found.headers or {}).get(ID_HEADER, "").rpartition("/")[2]
        if not index.isdigit() or found.seq is None:
            raise StreamError(f"stream {self.name} holds messages of something else on {found.subject}")
        return Last(int(index), found.seq)

    async def publish(self, new: Message, after: Last) -> Last | None:
        """Publish after ``after``; None if somebody else has published there since. Raises StreamError."""
        headers = {ID_HEADER: new.id, AFTER_HEADER: str(after.sequence)}
        try:
            taken = await self._jetstream.publish(new.subject, new.body, stream=self.name, headers=headers)
        except APIError as error:
            if error.err_code == _WRONG_SEQUENCE:
                return None
            raise StreamError(f"stream {self.name} refuses: {error.description or error}") from error
        except (NatsError, TimeoutError) as error:
            raise StreamError(f"stream {self.name}: {error or 'no answer'}") from error
        return None if taken.duplicate else Last(int(new.id.rpartition("/")[2]), taken.seq)


@asynccontextmanager
async def connected(url: str, name: str = "SUYUAN", prefix: str = "suyuan.readings") -> AsyncIterator[Stream]:
    """A stream at a NATS server. Raises StreamError where there is no server, or none with JetStream."""
    try:
        client = await nats.connect(
            url,
            connect_timeout=5,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # of the first connection too; the caller has its own patience
            reconnect_time_wait=0.2,
            error_cb=_quiet,
        )
    except (NatsError, OSError, TimeoutError) as error:
        raise StreamError(f"{url}: {error or 'no answer'}") from error
    try:
        stream = Stream(client, name, prefix)
        try:
            await stream.ready()
        except (NatsError, OSError, TimeoutError) as error:
            raise StreamError(f"{url}: no JetStream there: {error}") from error
        yield stream
    finally:
        await client.close()


async def _quiet(_: Exception) -> None:
    """What goes wrong is raised where it matters; the client would print it besides."""


class HandOn:
    """Hands on what the store holds and the stream does not yet. Any number of publishers may do so at once."""

    def __init__(self, store: PostgresStore, stream: Stream, at_once: int = 32) -> None:
        self._store = store
        self._stream = stream
        self._at_once = at_once
        self._last: dict[int, Last] = {}  # of gateways whose last message is this publisher's

    async def round(self) -> int:
        """Hand on until nothing is left; how many readings. Raises StreamError, StoreError."""
        total = 0
        while behind := self._behind():
            marks: list[tuple[str, int, int]] = []
            counts: list[asyncio.Task[int]] = []
            try:
                async with asyncio.TaskGroup() as group:
                    counts = [group.create_task(self._some(gateway, mark, marks)) for gateway, mark in behind]
            except ExceptionGroup as group_:
                raise group_.exceptions[0] from group_
            finally:
                self._mark(marks)
            total += sum(count.result() for count in counts)
        return total

    def _behind(self) -> list[tuple[Gateway, int]]:
        """Some gateways of which readings are to be handed on: in any order, so that publishers seldom meet."""
        rows = self._store.rows(
            "SELECT g.id, g.origin, g.vkey, g.size, coalesce(h.next, 0) FROM gateway g "
            "LEFT JOIN handed h ON h.gateway = g.id AND h.stream = %s WHERE g.size > coalesce(h.next, 0) "
            "ORDER BY random() LIMIT %s",
            (self._stream.name, self._at_once),
        )
        return [
            (Gateway(number, origin, vkey, size, (), 0, 0, ""), mark)
            for number, origin, vkey, size, mark in rows
        ]

    async def _some(self, gateway: Gateway, mark: int, marks: list[tuple[str, int, int]]) -> int:
        last = self._last.pop(gateway.id, None) or await self._stream.last(gateway.origin)
        start = max(mark, last.entry + 1)
        end = min(gateway.size, start + BATCH)
        count = 0
        reached = start
        try:
            for entry, data in enumerate(self._store.entries(gateway, start, end), start):
                record = decode(data)
                if isinstance(record, Reading):
                    new = message(self._stream.prefix, gateway.origin, entry, record)
                    taken = await self._stream.publish(new, last)
                    if taken is None:  # another publisher is at it; the next look shows how far it came
                        return count
                    last = taken
                    count += 1
                reached = entry + 1
            self._last[gateway.id] = last
        finally:
            marks.append((self._stream.name, gateway.id, reached))
        return count

    def _mark(self, marks: Iterable[tuple[str, int, int]]) -> None:
        with self._store.transaction() as db:
            db.execute("SET LOCAL synchronous_commit = off")  # one that is lost is found again in the stream
            db.cursor().executemany(
                "INSERT INTO handed VALUES (%s, %s, %s) ON CONFLICT (stream, gateway) "
                "DO UPDATE SET next = greatest(handed.next, excluded.next)",
                sorted(marks),
            )
