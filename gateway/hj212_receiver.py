"""The receiving side of HJ 212: data loggers connect over TCP and push their packets here.

* :class:`Session` is one connection, without I/O: bytes in, what to answer and what was measured out.
* :class:`Hj212Receiver` listens and holds the sessions.

A packet counts if its CRC is sound, its MN is one of the site's, and its PW is that station's; anything else is counted
and not answered. Data (2011 real time, 2051 minutes, 2061 hours, 2031 days) goes to the instrument that is configured
for this MN and command; data of other commands is acknowledged and counted, so that no logger sends it for ever.
Segments of one message (PNUM, PNO) are joined by QN; the parts before the last are acknowledged as they come, for some
loggers wait for that, the last one when the whole is durable.

Acknowledged is what the A flag asks for: 9014 for data once its COMMIT has returned, 9013 for notifications, and 9013
for the heartbeat of 2025 (9015) whatever its flag. Encrypted packets of 2025 (SM4) are opened with the station's key
and kept as the plain packets that they carry, with the CRC that came and the flag ``sm4``: whoever audits them needs no
key. Without a key, or with another, they are counted (``no_key``, ``not_opened``) and not answered.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from drivers import hj212, hj212_points, hj212_sm4, pushed
from drivers import profile as profiles
from drivers.codec import Answer, Counts, Exchange, Instant, LocalProtocolError, Reject, Scan
from drivers.profile import Profile, Query
from gateway.pushed import Deliver, Delivery

_log = logging.getLogger("suyuan.hj212")

SEGMENTS = 64  # of one message
UNFINISHED = 16  # messages of one connection that wait for further segments
CONNECTIONS = 256
QUIET_S = 3600.0  # a connection on which nothing comes for so long is closed
_READ = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """The instrument that one MN's data of one command belongs to."""

    instrument: str
    profile: Profile
    query: Query


@dataclass(frozen=True, slots=True)
class Station:
    """A data logger: its MN, its password, and the instruments its data belongs to, by command."""

    mn: str
    password: str
    targets: Mapping[str, Target]
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to send back at once."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Measured:
    """A whole message of data. ``reply`` is sent once it is durable; empty: none is wanted."""

    target: Target
    command: str
    packets: tuple[bytes, ...]
    data_time_us: int | None
    reply: bytes
    opened: bool = False  # it came encrypted


Outcome: TypeAlias = Reply | Measured


class Session:
    """One logger's connection. Keeps nothing of a message once it is whole."""

    def __init__(
        self, stations: Mapping[str, Station], count: Callable[[str, str], None], offset_minutes: int = 480
    ) -> None:
        """``count`` is told of everything that is not measured: MN (empty if it is unknown) and cause."""
        self._stations, self._count, self._offset = stations, count, offset_minutes
        self._decoder = hj212_sm4.Decoder(self._key)
        self._parts: OrderedDict[tuple[str, str, str], dict[int, hj212.Frame]] = OrderedDict()

    def feed(self, data: bytes) -> list[Outcome]:
        """What these bytes bring to an end, in order."""
        found: list[Outcome] = []
        for item in self._decoder.feed(data):
            if isinstance(item, Reject):
                self._refused(item)
            else:
                found += self._frame(item)
        return found

    def _key(self, mn: str) -> bytes | None:
        station = self._stations.get(mn)
        return None if station is None else station.key

    def _refused(self, reject: Reject) -> None:
        if not hj212.encrypted(reject.raw):
            self._count("", str(reject.reason))
            return
        mn = hj212_sm4.station_of(reject.raw)
        cause = "no_key" if reject.detail == hj212.NEEDS_KEY else "not_opened"
        self._count(mn if mn in self._stations else "", cause)
        _log.info("a packet of %s is refused: %s", mn or "an unknown logger", reject.detail)

    def _frame(self, frame: hj212.Frame) -> list[Outcome]:
        mn, command = frame.head("MN"), frame.head("CN")
        station = self._stations.get(mn)
        if station is None:
            self._count("", "unknown_station")
            return []
        told = frame.head("PW").encode("utf-8", "replace")
        if not hmac.compare_digest(told, station.password.encode()):
            self._count(mn, "wrong_password")
            return []
        if command == "9015":
            return [Reply(_notified(frame))]
        answer = hj212.acknowledge(frame) or b""
        target = station.targets.get(command)
        if target is None:
            self._count(mn, "not_wanted" if command.startswith("2") else "notification")
            return [Reply(answer)] if answer else []
        number, of = frame.packet
        if of > 1:
            return self._segment(frame, target, number, of, answer)
        return [self._measured((frame,), target, answer)]

    def _segment(
        self, frame: hj212.Frame, target: Target, number: int, of: int, answer: bytes
    ) -> list[Outcome]:
        mn, command = frame.head("MN"), frame.head("CN")
        if not 1 <= number <= of <= SEGMENTS:
            self._count(mn, "segment")
            return []
        key = (mn, command, frame.head("QN"))
        parts = self._parts.setdefault(key, {})
        parts[number] = frame
        if len(parts) < of:
            if len(self._parts) > UNFINISHED:
                (lost, _, _), _ = self._parts.popitem(last=False)
                self._count(lost, "segment")
            return [Reply(answer)] if answer else []
        del self._parts[key]
        try:
            frames = tuple(parts[n] for n in range(1, of + 1))
            hj212.join(frames)
        except (KeyError, LocalProtocolError):
            self._count(mn, "segment")
            return []
        return [self._measured(frames, target, answer)]

    def _measured(self, frames: Sequence[hj212.Frame], target: Target, answer: bytes) -> Measured:
        groups = [group for frame in frames for group in frame.groups]
        told = hj212_points.data_time(groups, self._offset)
        if told is None:
            self._count(frames[0].head("MN"), "no_data_time")
        packets = tuple(frame.plain for frame in frames)
        opened = any(frame.opened for frame in frames)
        return Measured(target, frames[0].head("CN"), packets, told, answer, opened)


def _notified(frame: hj212.Frame) -> bytes:
    """9013, the answer to a notification."""
    flag = frame.flag
    fields = {
        "QN": frame.head("QN"),
        "ST": "91",
        "CN": "9013",
        "PW": frame.head("PW"),
        "MN": frame.head("MN"),
        "Flag": str((flag.version_bits if flag else 0) << 2),
    }
    return hj212.build(fields)


def delivery(measured: Measured, at: Instant) -> Delivery:
    """A message as the scan of its instrument: nothing was asked, everything came at ``at``."""
    target, raw = measured.target, b"".join(measured.packets)
    indications = profiles.decode(target.profile, target.query, Answer("", raw, raw))
    exchanges = tuple(Exchange(b"", packet, at, at) for packet in measured.packets)
    flags = (*pushed.flags(target.query, measured.packets), *(("sm4",) if measured.opened else ()))
    return Delivery(target.instrument, Scan(indications, exchanges, at, at), measured.data_time_us, flags)


@dataclass(slots=True)
class Hj212Receiver:
    """Listens for data loggers. One task per connection; a logger may have several connections."""

    host: str
    port: int
    stations: Mapping[str, Station]
    now: Callable[[], Instant]
    offset_minutes: int = 480
    counts: Counts = field(default_factory=Counts)
    bound: tuple[str, int] | None = None  # where it listens, once it does
    _open: int = 0

    def describe(self) -> str:
        """Where it listens."""
        host, port = self.bound or (self.host, self.port)
        return f"tcp-listen://{host}:{port}"

    async def run(self, deliver: Deliver) -> None:
        """Listen until cancelled. Raises OSError if the port cannot be had."""
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._serve(reader, writer, deliver)
            except asyncio.CancelledError:
                # the receiver ends: so does the connection, also when the logger does not read what it was sent
                writer.transport.abort()
            finally:
                tasks.discard(task)
                writer.close()
                with suppress(OSError, asyncio.CancelledError):
                    await writer.wait_closed()

        server = await asyncio.start_server(connected, self.host, self.port)
        self.bound = server.sockets[0].getsockname()[:2]
        try:
            async with server:
                await server.serve_forever()
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deliver: Deliver
    ) -> None:
        if self._open >= CONNECTIONS:
            self.counts.add("", "too_many_connections")
            return
        self._open += 1
        session = Session(self.stations, self.counts.add, self.offset_minutes)
        try:
            while True:
                async with asyncio.timeout(QUIET_S):
                    data = await reader.read(_READ)
                if not data:
                    return
                for outcome in session.feed(data):
                    await self._answer(outcome, writer, deliver)
        except (OSError, TimeoutError) as error:
            _log.info("%s: a logger's connection ended: %s", self.describe(), error or "nothing came")
        finally:
            self._open -= 1

    async def _answer(self, outcome: Outcome, writer: asyncio.StreamWriter, deliver: Deliver) -> None:
        if isinstance(outcome, Reply):
            reply = outcome.data
        else:
            kept = await deliver(delivery(outcome, self.now()))
            reply = outcome.reply if kept else b""
        if reply:
            writer.write(reply)
            await writer.drain()
