"""What comes back to a gateway, and what a platform fetches from it, is not what the other side said.

    python -m tests.rigs.false_answers [--seed N] [--each N]

A proxy swallows what a gateway pushes and answers in the platform's place, a broker hands out acknowledgements of its
own, somebody hands in receipts at the gateway's door, and the way to a gateway leads through a network's login page.
Each gateway has 700 entries of which its platform has 300 under a receipt; whatever it is told, for as long as the lie
lasts: nothing counts as delivered that the platform has not stored, nothing of it is pruned (retention runs after each
lie, with everything old enough), and what is wrong is said in words that fit the lie. Then all are honest again: the
platform must hold the whole log, once, and the gateway the receipt.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest.mock import patch

import aiomqtt
import httpx

from central import collect, receive
from central.collect import Collector
from central.delivery import Delivery
from central.intake import Refused
from central.mqtt import acknowledgement
from central.store import Store
from drivers.codec import Instant
from evidence import note
from gateway import mqtt, serve
from gateway.clock import ClockQuality, ClockState, SetClock
from gateway.pacing import BackOff
from gateway.push import Pusher, PushError, Target
from gateway.receipts import PlatformKey, Receipts
from gateway.retention import prune
from gateway.store import LogStore
from tests.central.pushing import PLATFORM, grow, intake
from tests.evidence.logs import ORIGIN, START_US, Writer, signer
from tests.rigs.live_mutations import FALSE_PLATFORM, KNOWN, SIZE, patience
from tests.rigs.mutations import flipped

KEY = PlatformKey("platform", PLATFORM.cosigner)
FOREIGN_ORIGIN = "platform.example/gw/8"
LOGIN = "<!DOCTYPE html>\n<html><title>Please log in</title><body><form>登录</form></body></html>\n".encode()
FOREVER_US = 1 << 60  # of retention: every entry is old enough


@dataclass
class Tally:
    """Counts of one kind on one way. ``words``: one example of what was said."""

    tried: int = 0
    told: int = 0
    same: int = 0
    words: str = ""
    escaped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Lie:
    """``words``: of what is said, one is in it; none: what comes is true, or no more than was known."""

    words: tuple[str, ...] = ()
    may_pass: bool = False  # by chance it is the truth, or leaves it whole


class Leaping:
    """A clock that leaps over every pause."""

    boot_id = "test"

    def __init__(self) -> None:
        self.us = 0

    def now(self) -> Instant:
        return Instant(START_US + self.us, self.us)

    def state(self) -> ClockState:
        return ClockState(ClockQuality.SYNCHRONISED, 1000)

    async def sleep_until(self, boot_us: int) -> None:
        self.us = max(self.us, boot_us)
        await asyncio.sleep(0.0005)  # the others' turn


def written() -> Writer:
    """What the gateway has written."""
    return Writer(seed=5).grow(KNOWN).grow(SIZE)


class Forger:
    """Receipts that are none for what is under way, and who has made them."""

    def __init__(self) -> None:
        self.writer = written()
        self.foreign = Writer(FOREIGN_ORIGIN, seed=6).grow(SIZE)
        self.former = Writer(seed=9).grow(SIZE)  # the same origin and key, another history

    def cosigned(self, writer: Writer, size: int, by: note.Ed25519Signer = PLATFORM) -> note.Note:
        head = writer.head(size).signed_by(writer.signer)
        return head.cosigned_by(by, START_US // 10**6)

    def receipts(self) -> dict[str, tuple[Callable[[Random], bytes], Lie]]:
        """Whole cosigned checkpoints, false ones."""
        unknown = ("not cosigned by a platform",)
        true = self.cosigned(self.writer, SIZE).encode()
        longer = written().grow(SIZE + 50)

        def cut(random: Random) -> bytes:
            return true[: random.randrange(1, len(true))]

        return {
            "old receipt": (lambda _: self.cosigned(self.writer, KNOWN).encode(), Lie()),
            "another gateway's receipt": (
                lambda _: self.cosigned(self.foreign, SIZE).encode(), Lie(("but this log is",)),
            ),
            "another platform's receipt": (
                lambda _: self.cosigned(self.writer, SIZE, FALSE_PLATFORM).encode(), Lie(unknown),
            ),
            "receipt of a platform of another name": (
                lambda _: self.cosigned(self.writer, SIZE, signer("other.example", 2)).encode(), Lie(unknown),
            ),
            "truncated receipt": (cut, Lie(("not a", "a checkpoint", *unknown))),
            "checkpoint without a receipt": (
                lambda _: self.writer.head(SIZE).signed_by(self.writer.signer).encode(), Lie(unknown),
            ),
            "receipt of a former log": (
                lambda _: self.cosigned(self.former, SIZE).encode(), Lie(("this log has another root",)),
            ),
            "receipt for more than the log holds": (
                lambda _: self.cosigned(longer, SIZE + 50).encode(), Lie(("was published",)),
            ),
            "empty receipt": (lambda _: b"", Lie(("not a signed note",))),
            "login page": (lambda _: LOGIN, Lie(("not a",))),
        }  # fmt: skip


class Site:
    """One gateway and its platform as they stand, with what the way between them shows."""

    def __init__(self, place: Path, forger: Forger) -> None:
        self.writer = forger.writer
        self.log = LogStore(place / "gateway", ORIGIN, ballast=0)
        self.central = Store(place / "central")
        self.intake = intake(self.central, self.writer)
        self.receipts = Receipts(self.log, (KEY,), SetClock())

    def close(self) -> None:
        self.central.close()
        self.log.close()

    @property
    def stored(self) -> list[bytes]:
        (one,) = self.central.gateways()
        return list(self.central.entries(one))

    async def wrong(self) -> str:
        """What was counted or pruned that the platform has not; empty if nothing."""
        stored = self.stored
        if stored != self.writer.entries[: len(stored)]:
            return "the platform holds what is not the true log"
        acknowledged = max((r.size for r in self.log.receipts()), default=0)
        if acknowledged > len(stored) or self.receipts.sizes.get("platform", 0) > len(stored):
            return f"{acknowledged} count as delivered, {len(stored)} are stored"
        for kept in self.log.receipts():
            if note.Note.parse(kept.note).cosigned_at(PLATFORM.cosigner) is None:
                return "what the platform never signed is kept as its receipt"
        await prune(self.log, self.receipts, (KEY,), FOREVER_US)
        here = [entry for _, entry in self.log.entries(acknowledged, self.writer.size)]
        if here != self.writer.entries[acknowledged:]:
            return "entries without a receipt were pruned"
        return ""

    def whole(self) -> str:
        """Why what stands after all are honest again is not the end that it must come to; empty if it is."""
        if self.stored != self.writer.entries:
            return f"the platform holds {len(self.stored)} of {self.writer.size} entries after all were honest again"
        if self.receipts.sizes.get("platform", 0) != self.writer.size:
            return "the receipt did not come after all were honest again"
        return ""


# -- push ------------------------------------------------------------------------------------------------------

Answer = Callable[[Random, "Proxy", httpx.Request], Awaitable[httpx.Response]]


class Proxy(httpx.AsyncBaseTransport):
    """Between a gateway that pushes and its platform."""

    def __init__(self, application: object, lie: Answer | None, where: str, random: Random) -> None:
        self._inner = httpx.ASGITransport(application)  # type: ignore[arg-type]
        self.lie, self.where, self.random = lie, where, random

    async def honest(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        body = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        kept = [(n, v) for n, v in request.headers.multi_items() if n.lower() != "transfer-encoding"]
        request = httpx.Request(request.method, request.url, headers=kept, content=content)
        if self.lie is not None and request.url.path == f"/{self.where}":
            return await self.lie(self.random, self, request)
        return await self.honest(request)


class _Dripping(httpx.AsyncByteStream):
    """A body byte by byte; without an end if ``endless``."""

    def __init__(self, body: bytes, *, endless: bool = False) -> None:
        self._body, self._endless = body, endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(len(self._body)):
            await asyncio.sleep(0)
            yield self._body[at : at + 1]
        while self._endless:
            await asyncio.sleep(0)
            yield self._body or b"\n"


class _Crawling(httpx.AsyncByteStream):
    """A body that goes on and on, half a minute of the loop's time before each byte."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        real, late = loop.time, 0.0
        loop.time = lambda: real() + late  # type: ignore[method-assign]
        for _ in range(500):
            late += 30.0
            await asyncio.sleep(0.001)  # what was to end meanwhile ends now
            yield b"x"


async def _crawls(_: Random, __: Proxy, ___: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=_Crawling())


def _constant(status: int, body: bytes = b"", **headers: str) -> Answer:
    """The request swallowed, this answered."""

    async def answer(_: Random, __: Proxy, ___: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers=headers)

    return answer


def _passed(change: Callable[[Random, bytes], tuple[bytes, dict[str, str]]]) -> Answer:
    """The request handed on, the answer to it changed."""

    async def answer(random: Random, proxy: Proxy, request: httpx.Request) -> httpx.Response:
        true = await proxy.honest(request)
        body, headers = change(random, true.content)
        return httpx.Response(true.status_code, content=body, headers=headers)

    return answer


async def _dripped(_: Random, proxy: Proxy, request: httpx.Request) -> httpx.Response:
    true = await proxy.honest(request)
    return httpx.Response(true.status_code, stream=_Dripping(true.content))


async def _endless(_: Random, __: Proxy, ___: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=_Dripping(b"x" * 997, endless=True))


async def _lost(random: Random, proxy: Proxy, request: httpx.Request) -> httpx.Response:
    await proxy.honest(request)
    raise httpx.ReadError("the connection was reset")


def _cut_gzip(random: Random, body: bytes) -> tuple[bytes, dict[str, str]]:
    packed = gzip.compress(body)
    return packed[: random.randrange(1, len(packed))], {"content-encoding": "gzip"}


_PORTAL = ("stands between", "answers in the platform's place")


class Push:
    """A gateway that pushes over HTTPS."""

    name = "push"

    def __init__(self, forger: Forger) -> None:
        none = ("its receipt is none",)
        portal: dict[str, tuple[Answer, Lie]] = {
            "204": (_constant(204), Lie(("answered 204",))),
            "304": (_constant(304), Lie(("answered 304", *_PORTAL))),
            "redirect": (_constant(302, location="http://login.example/"), Lie(("login.example",))),
            "redirect that keeps the method": (
                _constant(307, location="http://login.example/"), Lie(("login.example",)),
            ),
            "login page": (_constant(200, LOGIN, **{"content-type": "text/html"}), Lie(("web page",))),
            "login page, 511": (_constant(511, LOGIN), Lie(("511 with a web page",))),
            "login page, 422": (_constant(422, LOGIN), Lie(("422 with a web page",))),
            "page without an end": (_endless, Lie(("more than",))),
            "a byte each half minute": (_crawls, Lie(("no answer in time",))),
            "502": (_constant(502, b"bad gateway"), Lie(("answered 502",))),
            "answer lost": (_lost, Lie(("reset",))),
            "answer byte by byte": (_dripped, Lie()),
        }  # fmt: skip
        self.lies: dict[str, tuple[str, Answer, Lie]] = {}
        for name, (answer, lie) in portal.items():
            self.lies[f"checkpoint: {name}"] = ("add-checkpoint", answer, lie)
            self.lies[f"entries: {name}"] = ("add-entries", answer, lie)
        self.lies["checkpoint: swallowed, 200"] = ("add-checkpoint", _constant(200), Lie())
        self.lies["checkpoint: a longer one is known"] = (
            "add-checkpoint", _constant(409, b"99999\n"), Lie(("here are 700",)),
        )  # fmt: skip
        for name, (make, lie) in forger.receipts().items():
            if name in ("login page", "empty receipt"):
                continue
            whole = make(Random(1))
            lines = whole.rpartition(b"\n\n")[2]
            if name == "truncated receipt":
                continue
            self.lies[f"entries: {name}, whole"] = ("add-entries", _constant(200, whole), Lie(none))
            self.lies[f"entries: {name}, its lines"] = ("add-entries", _constant(200, lines), Lie(none))
            del lie
        more: dict[str, tuple[Answer, Lie]] = {
            "swallowed, 200": (_constant(200), Lie(none)),
            "swallowed, ok": (_constant(200, b"OK\n"), Lie(none)),
            "truncated receipt": (
                _passed(lambda random, body: (body[: random.randrange(len(body))], {})),
                Lie((*none, "no platform says")),
            ),
            "receipt flipped": (
                _passed(lambda random, body: (flipped(body, random)[0], {})),
                Lie((*none, "no platform says"), may_pass=True),
            ),
            "truncated gzip": (_passed(_cut_gzip), Lie((*none, "no platform says", "rror"), may_pass=True)),
            "said to be gzip": (
                _passed(lambda _, body: (body, {"content-encoding": "gzip"})), Lie(("cannot be unpacked",)),
            ),
            "more is known": (_constant(409, b"99999\n99999\n\n"), Lie(("here are 700",))),
            "all is here, 202": (_constant(202, b"700\n700\n\n"), Lie(("takes no further",))),
            "begin again, 202": (_constant(202, b"700\n0\n\n"), Lie(("takes no further",))),
            "no number, 409": (_constant(409, b"all\nis\nwell\n"), Lie(("no platform says",))),
        }  # fmt: skip
        for name, (answer, lie) in more.items():
            self.lies[f"entries: {name}"] = ("add-entries", answer, lie)
        self.kinds = {name: lie for name, (_, _, lie) in self.lies.items()}

    async def tell(self, site: Site, kind: str, random: Random) -> list[str]:
        where, answer, _ = self.lies[kind]
        proxy = Proxy(receive.application(site.intake), answer, where, random)
        pusher = Pusher(site.log, site.receipts, Target(KEY, "http://mirror"), Leaping(), transport=proxy)
        said = []
        for _ in range(3):  # it goes on trying while the lie lasts
            try:
                await pusher.push_once()
            except PushError as error:
                said.append(str(error))
            self.acknowledged = pusher.acknowledged
        self.pusher, self.proxy = pusher, proxy
        return said

    async def honest(self, site: Site, random: Random) -> None:
        self.proxy.lie = None
        for _ in range(4):
            with suppress(PushError):
                await self.pusher.push_once()
        await self.pusher.close()


# -- MQTT ------------------------------------------------------------------------------------------------------


class Line:
    """In the broker's place: hands on what a gateway publishes, or swallows it and answers itself."""

    def __init__(self, site: Site, lie: Callable[[], bytes] | None) -> None:
        self.site, self.lie = site, lie
        self.coming: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()
        self.topic = f"gw/{mqtt.topic_id(ORIGIN)}"
        self.lies = 0

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def subscribe(self, *_: object, **__: object) -> None:
        pass

    @property
    async def messages(self) -> AsyncIterator[aiomqtt.Message]:
        while True:
            yield await self.coming.get()

    def say(self, payload: bytes) -> None:
        self.coming.put_nowait(aiomqtt.Message(f"{self.topic}/ack", payload, 1, False, 1, None))

    async def publish(self, topic: str, payload: bytes, **_: object) -> None:
        if "/bundle/" not in topic:
            return
        if self.lie is not None:
            self.lies += 1
            self.say(self.lie())
            return
        try:
            standing, _ = self.site.intake.deliver(ORIGIN, [Delivery.parse(payload)])
        except Refused as refused:
            raise AssertionError(f"the platform refused the honest gateway: {refused.body}") from refused
        self.say(acknowledgement(standing))


class Kept(logging.Handler):
    """What is told to a journal."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Broker:
    """A gateway that publishes through a broker."""

    name = "mqtt"

    def __init__(self, forger: Forger) -> None:
        self.lies: dict[str, tuple[Callable[[Random], bytes], Lie]] = {}
        stands = b"%d\n%d\n\n" % (SIZE, SIZE)
        again = ("what follows is sent again",)
        for name, (make, lie) in forger.receipts().items():
            self.lies[name] = (lambda random, make=make: stands + make(random), lie)
        self.lies["old receipt"] = (self.lies["old receipt"][0], Lie(again))
        self.lies["empty receipt"] = (lambda _: stands, Lie(again))
        self.lies["empty"] = (lambda _: b"", Lie(("begins with three lines",)))
        self.lies["login page"] = (lambda _: LOGIN, Lie(("begins with three lines", "says of itself")))
        self.lies["no numbers"] = (lambda _: b"all\nis\nwell\n", Lie(("says of itself",)))
        self.lies["more is known"] = (lambda _: b"99999\n99999\n\n", Lie(("here are 700",)))
        self.lies["begin again"] = (lambda _: b"%d\n0\n\n" % SIZE, Lie(again, may_pass=True))
        self.kinds = {name: lie for name, (_, lie) in self.lies.items()}

    async def tell(self, site: Site, kind: str, random: Random) -> list[str]:
        make = self.lies[kind][0]
        self.line = Line(site, lambda: make(random))
        self.journal = Kept()
        self.pusher = mqtt.MqttPusher(
            site.log, site.receipts, mqtt.Broker(KEY, "broker", 1883, live=False), Leaping(),
            back_off=BackOff(random=Random(1)),
        )  # fmt: skip
        await self._at_work(lambda: self.line.lies >= 4)
        return self.journal.lines

    async def honest(self, site: Site, random: Random) -> None:
        self.line.lie = None
        await self._at_work(lambda: self.pusher.acknowledged == SIZE)

    async def _at_work(self, until: Callable[[], bool]) -> None:
        journal = logging.getLogger("suyuan.mqtt")
        before = journal.propagate
        journal.propagate = False
        journal.addHandler(self.journal)
        try:
            with patch.object(mqtt, "Connection", lambda *_, **__: self.line):
                running = asyncio.ensure_future(self.pusher.run())
                try:
                    with suppress(TimeoutError):  # what stands then is judged
                        async with asyncio.timeout(20):
                            while not until():
                                if running.done():
                                    running.result()
                                await asyncio.sleep(0.001)
                finally:
                    running.cancel()
                    await asyncio.wait([running])
        finally:
            journal.removeHandler(self.journal)
            journal.propagate = before


# -- pull ------------------------------------------------------------------------------------------------------


class Way(httpx.AsyncBaseTransport):
    """From a platform that pulls to the gateway; ``lie`` answers in its place, or changes what it answers."""

    def __init__(self, application: object) -> None:
        self._inner = httpx.ASGITransport(application)  # type: ignore[arg-type]
        self.lie: Callable[[str, str, httpx.Response], httpx.Response] | None = None
        self.swallows = False  # receipts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.lstrip("/")
        swallowed = request.method == "POST" and self.swallows
        headers = {"accept-encoding": "identity"} if request.method == "GET" else dict(request.headers)
        headers.pop("content-length", None)
        plain = httpx.Request(request.method, request.url, headers=headers, content=await request.aread())
        if swallowed:
            answer = httpx.Response(204)
        else:
            found = await self._inner.handle_async_request(plain)
            answer = httpx.Response(found.status_code, content=await found.aread())
        return answer if self.lie is None else self.lie(request.method, path, answer)


def _everywhere(answer: Callable[[], httpx.Response]) -> Callable[..., httpx.Response]:
    return lambda _, __, ___: answer()


class Pull:
    """A platform that pulls, and receipts that are handed in at the gateway's door."""

    name = "pull"

    def __init__(self, forger: Forger) -> None:
        place = ("answers in the gateway's place",)
        self.handed = forger.receipts()
        self.lies: dict[str, tuple[Callable[[Random], Callable[..., httpx.Response]], Lie]] = {
            "304": (lambda _: _everywhere(lambda: httpx.Response(304)), Lie(place)),
            "redirect": (
                lambda _: _everywhere(lambda: httpx.Response(302, headers={"location": "http://l.example"})),
                Lie(place),
            ),
            "login page": (lambda _: _everywhere(lambda: httpx.Response(200, content=LOGIN)), Lie(("web page",))),
            "login page, 511": (
                lambda _: _everywhere(lambda: httpx.Response(511, content=LOGIN)), Lie(("answered 511",)),
            ),
            "empty": (lambda _: _everywhere(lambda: httpx.Response(200)), Lie(("not a signed note",))),
            "without an end": (
                lambda _: _everywhere(lambda: httpx.Response(200, stream=_Dripping(b"x" * 997, endless=True))),
                Lie(("longer than",)),
            ),
            "a byte each half minute": (
                lambda _: _everywhere(lambda: httpx.Response(200, stream=_Crawling())), Lie(("no answer within",)),
            ),
            "truncated gzip": (self._gzip, Lie(("bundle", "note", "rror", "tile"), may_pass=True)),
            "bundles in another order": (self._reordered, Lie(("bundle", "do not lead to the signed root"))),
            "byte by byte": (self._dripped, Lie()),
            "receipt swallowed, 204": (self._swallowed(204, b""), Lie()),
            "receipt swallowed, 200": (self._swallowed(200, b""), Lie(("did not take it (200)",))),
            "receipt swallowed, login page": (self._swallowed(200, LOGIN), Lie(("did not take it (200",))),
            "receipt swallowed, redirect": (self._swallowed(303, b""), Lie(("did not take it (303)",))),
        }  # fmt: skip
        self.kinds = {name: lie for name, (_, lie) in self.lies.items()}
        self.kinds |= {f"handed in: {name}": lie for name, (_, lie) in self.handed.items()}

    @staticmethod
    def _gzip(random: Random) -> Callable[..., httpx.Response]:
        def lie(method: str, path: str, answer: httpx.Response) -> httpx.Response:
            if method == "POST" or answer.status_code != 200:
                return answer
            body, headers = _cut_gzip(random, answer.content)
            return httpx.Response(200, content=body, headers=headers)

        return lie

    @staticmethod
    def _dripped(_: Random) -> Callable[..., httpx.Response]:
        def lie(method: str, path: str, answer: httpx.Response) -> httpx.Response:
            return answer if method == "POST" else httpx.Response(200, stream=_Dripping(answer.content))

        return lie

    def _reordered(self, _: Random) -> Callable[..., httpx.Response]:
        seen: list[bytes] = []
        last = b""

        def lie(method: str, path: str, answer: httpx.Response) -> httpx.Response:
            nonlocal last
            if "entries" not in path:
                return answer
            seen.append(answer.content)
            before, last = last, answer.content
            return httpx.Response(200, content=before or self.other)

        return lie

    @staticmethod
    def _swallowed(status: int, body: bytes) -> Callable[[Random], Callable[..., httpx.Response]]:
        def lie(method: str, path: str, answer: httpx.Response) -> httpx.Response:
            return httpx.Response(status, content=body) if method == "POST" else answer

        return lambda _: lie

    async def tell(self, site: Site, kind: str, random: Random) -> list[str]:
        self.way = Way(serve.application(site.log, site.receipts, lambda: None))  # type: ignore[arg-type, return-value]
        if kind.startswith("handed in: "):
            make, _ = self.handed[kind.removeprefix("handed in: ")]
            async with httpx.AsyncClient(transport=self.way, base_url="http://gateway") as http:
                answer = await http.post("/receipt", content=make(random))
            return [] if answer.status_code == 204 else [f"{answer.status_code}: {answer.text}"]
        body = site.log.bundle(0, 256)
        assert body is not None
        self.other = body.plain()
        self.way.lie = self.lies[kind][0](random)
        self.way.swallows = kind.startswith("receipt swallowed")
        outcome = await self._collect(site, random)
        return [] if outcome.ok else [outcome.error or outcome.alarm]

    async def honest(self, site: Site, random: Random) -> None:
        self.way.lie, self.way.swallows = None, False
        await self._collect(site, random)
        if site.whole():  # it believes that it handed it in: the next checkpoint's goes further
            site.writer = written()
            grow(site.log, site.writer, SIZE + 20)
            await self._collect(site, random)

    async def _collect(self, site: Site, random: Random) -> collect.Outcome:
        collector = Collector(
            site.central, "http://gateway", site.writer.signer.verifier, lambda: START_US, PLATFORM,
            patience=patience(random), transport=self.way,
        )  # fmt: skip
        try:
            return await collector.collect_once()
        finally:
            await collector.close()


# -- the campaign ----------------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Forger], Push | Broker | Pull]] = {"pull": Pull, "push": Push, "mqtt": Broker}


async def _one(
    way: Push | Broker | Pull, kind: str, own: str, base: Path, forger: Forger, tally: Tally
) -> None:
    random = Random(own)
    tally.tried += 1
    lie = way.kinds[kind]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, "site")
        shutil.copytree(base, place)
        site = Site(place, forger)
        try:
            said = await way.tell(site, kind, random)
            wrong = await site.wrong()
            if way.name == "mqtt":
                await way.honest(site, random)  # and there it may be said as late as that
            fitting = [line for line in said if any(word in line for word in lie.words)]
            if not wrong and said and not fitting and lie.words:
                wrong = f"said: {said[:2]}"
            if not wrong and not said and lie.words and not lie.may_pass:
                wrong = "nothing was said"
            if way.name != "mqtt":
                await way.honest(site, random)
            wrong = wrong or await site.wrong() or site.whole()
        finally:
            site.close()
    if wrong:
        tally.escaped.append(f"{own}: {wrong}")
    elif fitting:
        tally.told += 1
        tally.words = tally.words or fitting[0]
    else:
        tally.same += 1


async def campaign(
    seed: int, each: int, *, ways: Collection[str] = tuple(WAYS), kinds: Collection[str] = ()
) -> dict[tuple[str, str], Tally]:
    """``each`` lies of every kind (or of ``kinds``) on every way."""
    found: dict[tuple[str, str], Tally] = {}
    forger = Forger()
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory, "base")
        writer = Writer(seed=5)
        log = LogStore(base / "gateway", ORIGIN, ballast=0)
        with Store(base / "central") as central:
            grow(log, writer, KNOWN)
            transport = httpx.ASGITransport(receive.application(intake(central, writer)))
            pusher = Pusher(
                log, Receipts(log, (KEY,), SetClock()), Target(KEY, "http://mirror"), Leaping(),
                transport=transport,
            )  # fmt: skip
            await pusher.push_once()
            await pusher.close()
        grow(log, writer, SIZE)
        log.close()
        for way in (WAYS[name](forger) for name in ways):
            for kind in kinds or way.kinds:
                tally = found[way.name, kind] = Tally()
                for number in range(each):
                    await _one(way, kind, f"{seed} {way.name} {kind} {number}", base, forger, tally)
    return found


def main(arguments: list[str]) -> int:
    """Run the campaign and print its counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=5, help="lies of each kind on each way")
    given = parser.parse_args(arguments)
    found = asyncio.run(campaign(given.seed, given.each))
    for (way, kind), tally in found.items():
        print(
            f"{way:5} {kind:56} {tally.tried:4} told {tally.told:4} true or known {tally.same:4}  {tally.words}"
        )
        for escaped in tally.escaped[:5]:
            print(f"{'':5} ESCAPED {escaped}")
    tried = sum(t.tried for t in found.values())
    told = sum(t.told for t in found.values())
    same = sum(t.same for t in found.values())
    escaped = sum(len(t.escaped) for t in found.values())
    print(f"told on the way back: {tried} lies, {told} named, {same} true or known, {escaped} believed")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
