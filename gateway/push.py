"""The gateway's side of a platform that cannot reach it: the log is pushed to a C2SP tlog-mirror over HTTPS.

One push: offer the published checkpoint, bring the entries up to it in order, take the receipt. Where the platform
stands is what the platform says (its next entry), never what was sent; so any interruption, on either side, costs at
most the package under way, and what comes twice is skipped by its index. Only published entries are sent.

Requests are small after a failure and grow while all goes well. The pushing never disturbs the measuring: it reads what
is committed, waits for nothing but the network, and a failure ends in a pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from evidence.errors import ParseError
from gateway.clock import SECOND_US, Clock
from gateway.log_tables import Published
from gateway.logfile import StoreError
from gateway.mirroring import Wanted, offer, pack, packages, receipt, upload_head
from gateway.pacing import BackOff, TokenBucket
from gateway.receipts import PlatformKey, ReceiptRefused, Receipts
from gateway.store import LogStore
from gateway.tls import ClientTls, TlsFiles

_log = logging.getLogger("suyuan.push")

MAX_PACKAGES: Final = 32  # of one request, as the specification advises
REQUEST_BYTES: Final = 1024 * 1024  # compressed; a request ends with the package that reaches it
_PIECE: Final = 16 * 1024
_ANSWER: Final = 256 * 1024
_LOOK_US: Final = SECOND_US // 4  # how soon a new checkpoint is seen
_ROUNDS: Final = 4  # answers in a row that bring nothing further


class PushError(Exception):
    """Why a push did not come to its end. It may pass: the next one goes on where this one stopped."""


class Contradicted(PushError):
    """The platform knows another history of this log, or a longer one: a person must look into it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to push: the platform whose receipts come back, its address, and what proves us to each other.

    ``rate``: at most so many bytes a second; None is no limit.
    """

    platform: PlatformKey
    url: str
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    rate: int | None = None

    def tls(self) -> ClientTls:
        """The server checked by ``ca`` (or the system's), our own certificate shown if there is one."""
        return ClientTls(TlsFiles(self.certificate, self.private_key, self.ca))


@dataclass(frozen=True, slots=True)
class _Request:
    """A body of add-entries with the entries ``start`` to ``stop``."""

    start: int
    stop: int
    ticket: bytes
    body: bytes


class Pusher:
    """Pushes one log to one platform."""

    def __init__(
        self,
        store: LogStore,
        receipts: Receipts,
        target: Target,
        clock: Clock,
        *,
        back_off: BackOff | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        alarm: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._target = target
        self._clock = clock
        self._back_off = back_off or BackOff()
        self._bucket = TokenBucket(clock, target.rate)
        self._alarm = alarm
        self._packages = 1
        self._known = self.acknowledged  # the checkpoint size that the platform has last said to know
        secure = target.url.startswith("https://")
        self._tls = target.tls() if secure and transport is None else None
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(30.0),
            verify=True if self._tls is None else self._tls.context,
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": "suyuan-gateway"},
        )
        self.sent = 0  # bytes of bodies

    @property
    def acknowledged(self) -> int:
        """How many entries the platform's newest receipt covers."""
        name = self._target.platform.name
        return max((r.size for r in self._receipts.newest if r.platform == name), default=0)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self) -> None:
        """Push whenever there is something new, until cancelled. Only a failing log store ends it."""
        while True:
            now = self._clock.now().boot_us
            if self._tls is not None and (wrong := await asyncio.to_thread(self._tls.refresh)):
                _log.error("%s: %s: the certificate from before is used", self._target.platform.name, wrong)
            try:
                pushed = await self.push_once()
            except PushError as error:
                pause = self._back_off.failed()
                _log.warning("%s: %s; again in %.0f s", self._target.platform.name, error, pause)
                if isinstance(error, Contradicted):
                    self._alarm("contradicted_by_platform", str(error))
                await self._clock.sleep_until(self._clock.now().boot_us + round(pause * SECOND_US))
                continue
            self._back_off.worked()
            if not pushed:
                await self._clock.sleep_until(now + _LOOK_US)

    async def push_once(self) -> bool:
        """Bring the platform to the published checkpoint; whether there was anything to do. Raises PushError."""
        published = self._store.published
        if published is None or self.acknowledged >= published.size:
            return False
        try:
            if await self._offer(published):
                try:
                    await self._bring(published)
                except BaseExceptionGroup as group:
                    raise group.exceptions[0] from group
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            self._packages = 1
            raise PushError(f"{self._target.url}: {_why(self._target.url, error)}") from error
        except ParseError as error:
            raise PushError(f"{self._target.url}: answered what no platform says: {error}") from error
        except StoreError as error:
            raise PushError(str(error)) from error
        return True

    async def _offer(self, published: Published) -> bool:
        """Make the checkpoint pending at the platform."""
        for _ in range(_ROUNDS):
            old = self._known
            body = await asyncio.to_thread(offer, self._store, published, min(old, published.size))
            status, answer = await self._post("add-checkpoint", body, "text/plain; charset=utf-8")
            if status == 200:
                self._known = published.size
                return True
            text = answer.decode(errors="replace").strip()
            if status != 409 or not text.isdecimal() or len(text) > 19 or int(text) == old:
                raise self._refused(status, text)
            self._beyond(int(text), published)
            self._known = int(text)
            if self._known > published.size:  # a later checkpoint of ours was published meanwhile
                return False
        raise PushError(f"{self._target.url}: its checkpoint changes faster than it can be followed")

    async def _bring(self, published: Published) -> None:
        """Upload entries until the platform has signed for all of them."""
        start, end, ticket, still = self.acknowledged, published.size, b"", 0
        prepared: _Request | None = None
        while still < _ROUNDS:
            if prepared is None or (prepared.start, prepared.ticket) != (start, ticket):
                prepared = await asyncio.to_thread(self._request, start, end, ticket)
            async with asyncio.TaskGroup() as tasks:  # while one request is under way, the next one is packed
                coming = tasks.create_task(self._ahead(prepared, end))
                status, answer = await self._post(
                    "add-entries", prepared.body, "application/octet-stream", gzip=True
                )
            prepared = coming.result()
            if status == 200:
                await self._keep(published.note, answer)
                return
            if status not in (202, 409):
                raise self._refused(status, answer.decode(errors="replace").strip())
            wanted = Wanted.parse(answer.decode(errors="replace"))
            self._beyond(max(wanted.size, wanted.next), published)
            if (
                wanted.size != end or wanted.next > end
            ):  # somebody else brought it further: begin anew from there
                self._known = wanted.size
                return
            if status == 202:
                self._packages = min(MAX_PACKAGES, 2 * self._packages)
            still = 0 if wanted.next > start else still + 1
            start, ticket = wanted.next, wanted.ticket
        raise PushError(f"{self._target.url}: it takes no further entries")

    async def _ahead(self, request: _Request, end: int) -> _Request | None:
        if request.stop >= end:
            return None
        return await asyncio.to_thread(self._request, request.stop, end, request.ticket)

    def _request(self, start: int, end: int, ticket: bytes) -> _Request:
        parts = [pack(upload_head(self._store.origin, start, end, ticket))]
        size, stop = 0, start
        for count, (after, part) in enumerate(packages(self._store, start, end), 1):
            parts.append(part)
            size, stop = size + len(part), after
            if count >= self._packages or size >= REQUEST_BYTES:
                break
        return _Request(start, stop, ticket, b"".join(parts))

    async def _keep(self, note: bytes, lines: bytes) -> None:
        try:
            await asyncio.to_thread(self._receipts.take, receipt(note, lines))
        except (ParseError, ReceiptRefused) as error:
            raise PushError(f"{self._target.url}: its receipt is none: {error}") from error

    def _beyond(self, size: int, published: Published) -> None:
        """A platform that has more of this log than this box ever published has met another writer of it."""
        newest = self._store.published or published
        if size > newest.size:
            raise Contradicted(
                f"the platform has {size} entries of this log, here are {newest.size}: an old copy was restored, "
                "or another box signs with this key"
            )

    def _refused(self, status: int, text: str) -> PushError:
        what = f"{self._target.url}: answered {status}: {text[:300]}"
        return Contradicted(what) if status == 422 else PushError(what)

    async def _post(self, name: str, body: bytes, media: str, *, gzip: bool = False) -> tuple[int, bytes]:
        headers = {"Content-Type": media, "Content-Length": str(len(body))}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        rate = self._target.rate or 1024 * 1024
        async with asyncio.timeout(
            60.0 + len(body) / min(rate, 1024)
        ):  # the slowest link that is waited for: 1 kB/s
            async with self._http.stream(
                "POST", f"{self._target.url.rstrip('/')}/{name}", content=self._paced(body), headers=headers
            ) as answer:
                found = bytearray()
                async for chunk in answer.aiter_bytes():
                    found += chunk
                    if len(found) > _ANSWER:
                        raise PushError(f"{self._target.url}: an answer of more than {_ANSWER} bytes")
        self.sent += len(body)
        if strange := _of_another(answer.status_code, answer.headers.get("location", ""), bytes(found)):
            raise PushError(f"{self._target.url}: {strange}")
        return answer.status_code, bytes(found)

    async def _paced(self, body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), _PIECE):
            piece = body[at : at + _PIECE]
            await self._bucket.take(len(piece))
            yield piece


def _of_another(status: int, location: str, body: bytes) -> str:
    """What shows that a proxy or a network's login page answered in the platform's place; empty if nothing does."""
    between = "a proxy, or a network that asks for a login first, answers in the platform's place"
    if 300 <= status < 400:
        return f"answered {status}{location and f', go to {location[:200]!r}'}: {between}"
    if body.lstrip()[:1] == b"<":
        return f"answered {status} with a web page: {between}"
    if status == 204:
        return f"answered {status}, which no platform does: {between}"
    return ""


def _why(url: str, error: Exception) -> str:
    """Why a connection failed, in words: a platform that wants another certificate says nothing and closes."""
    if isinstance(error, httpx.DecodingError):
        return f"its answer cannot be unpacked: {error}"
    if url.startswith("https:") and isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
        asked = "does it ask for a client certificate of an authority that it knows? has it suspended this gateway?"
        return f"it closed the connection: {asked}"
    return str(error) or "no answer in time"
