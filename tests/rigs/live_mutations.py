"""The mutation campaign on the way: whoever stands between a gateway and its platform changes what passes.

    python -m tests.rigs.live_mutations [--seed N] [--each N]

Three ways: the platform pulls (``collect``) from the gateway's own web application, the gateway pushes over HTTPS to
the mirror's, and its messages come through a broker to the MQTT front end. For each change the platform has 300 entries
of the log with their receipt, and 400 more are on their way; one answer, request or message of them is changed.

A change is *refused* if the platform says no with a cause that this kind of change may give and its store is what it
was, or holds a longer beginning of the true log under true heads; *the same* if no cause was given and the platform
holds the true log to its last entry, or what it held before (``SAME``: by which rule); *escaped* otherwise. After each,
the honest gateway goes on: then the platform must hold the whole true log, and the gateway the receipt. Nobody without
the log's key may bring the platform to hold a gateway back until a person has looked; who has it must, and then the
person releases it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from unittest.mock import patch

import aiomqtt
import httpx

from central import collect, mqtt, receive
from central.collect import Collector
from central.delivery import Delivery
from central.fetch import Patience
from central.store import Store
from evidence import log, note
from gateway import serve
from gateway.clock import SetClock
from gateway.mirroring import offer, pack, packages, subtree_proof, upload_head
from gateway.receipts import PlatformKey, Receipts
from gateway.store import LogStore
from tests.central.pushing import PLATFORM, grow, intake
from tests.evidence.logs import ORIGIN, START_US, Writer, files, signer
from tests.rigs.mutations import EDITS, edited, flipped

KNOWN, SIZE = 300, 700
STRANGER = signer(ORIGIN, 7)
FALSE_PLATFORM = signer(PLATFORM.name, 10)
FOREIGN_ORIGIN = "platform.example/gw/8"
_BY_ANOTHER = ", signed by another key"
SAME = {
    "whole": "the true log came whole: what was changed is not needed (gzip framing, what follows the end, entries "
    "known before, a proof where the entries themselves lead to the signed root, the log's own line under a receipt)",
    "nothing": "what came is known already, or nothing of it is whole: nothing was taken, nothing acknowledged",
}


@dataclass
class Tally:
    """Counts of one kind on one way."""

    tried: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Told:
    """What the platform said: ``cause`` empty if it took all as true."""

    cause: str


class Gateway:
    """The honest one: its log in its own store, served by its own application, once as it was and as it is."""

    def __init__(self, directory: Path) -> None:
        self.writer = Writer(seed=5)
        self.foreign = Writer(FOREIGN_ORIGIN, seed=6).grow(SIZE)
        self.store = LogStore(directory, ORIGIN, ballast=0)
        grow(self.store, self.writer, KNOWN)
        self.older = [self.writer.head(n).signed_by(self.writer.signer).encode() for n in (64, 128, 192, 256)]
        self.first = offer(self.store, self.store.published, 0)
        grow(self.store, self.writer, SIZE)
        self.receipts = Receipts(self.store, (PlatformKey("p", PLATFORM.cosigner),), SetClock())
        self._roots: dict[int, bytes] = {}
        self.application = serve.application(self.store, self.receipts, lambda: None)  # type: ignore[arg-type, return-value]

    @property
    def entries(self) -> list[bytes]:
        return self.writer.entries

    def root(self, size: int) -> bytes:
        """The root of the first ``size`` entries."""
        if size not in self._roots:
            self._roots[size] = self.writer.head(size).root
        return self._roots[size]

    def other_history(self, random: Random) -> list[bytes]:
        """The log with its known part changed: what only the key's holder can sign."""
        edit = EDITS[random.choice(sorted(EDITS))]
        return edited(edit, random, self.entries[:KNOWN]) + self.entries[KNOWN:]


class Between(httpx.AsyncBaseTransport):
    """Carries requests to an application and answers back; ``change`` may touch one of either."""

    def __init__(self, application: object) -> None:
        self._inner = httpx.ASGITransport(application)  # type: ignore[arg-type]
        self.change: Callable[[str, bytes], bytes | int] | None = None  # answers to GET, by path
        self.request: Callable[[str, bytes], bytes] | None = None  # bodies of POST, by path
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.lstrip("/")
        if request.method == "POST":
            body = await request.aread()
            if self.request is not None:
                body = self.request(path, body)
            headers = {n: v for n, v in request.headers.items() if n != "content-length"}
            request = httpx.Request("POST", request.url, headers=headers, content=body)
            return await self._inner.handle_async_request(request)
        self.asked.append(path)
        plain = httpx.Request("GET", request.url, headers={"accept-encoding": "identity"})
        answer = await self._inner.handle_async_request(plain)
        data = await answer.aread()
        if self.change is None:
            return httpx.Response(answer.status_code, content=data)
        changed = self.change(path, data if answer.status_code == 200 else b"")
        if isinstance(changed, int):
            return httpx.Response(changed, headers={"location": "http://other.example/"})
        if not changed and answer.status_code != 200:
            return httpx.Response(answer.status_code)
        return httpx.Response(200, content=changed)


def state(store: Store) -> tuple[object, ...]:
    """All that the platform believes of the logs: entries, heads, receipts, where the series stand."""
    found: list[object] = []
    for one in store.gateways():
        whole = sha256(b"\n".join(store.entries(one))).digest()
        places = tuple(sorted(store.places(one).items()))
        found += [
            one.origin, one.vkey, one.size, one.peaks, whole, store.heads(one), store.pending(one), places,
            store.keys(one),
        ]  # fmt: skip
    return tuple(found)


def true_beginning(store: Store, gateway: Gateway) -> bool:
    """Whether what is stored is a beginning of the true log, under true heads."""
    (one,) = store.gateways()
    heads = [*store.heads(one), *store.pending(one)]
    return (
        list(store.entries(one)) == gateway.entries[: one.size]
        and one.size >= KNOWN
        and all(head.root == gateway.root(head.size) for head in heads)
    )


async def asleep(_: float) -> None:
    """No pause: what is waited for is a state."""


def patience(random: Random) -> Patience:
    return Patience(deadline_s=60, attempts=1, sleep=asleep, random=random)


def short(cause: str) -> str:
    """A cause as a word, as far as the campaign tells causes apart."""
    for words, name in CAUSES:
        if words in cause:
            return name
    return cause[:100]


CAUSES = (  # the first that fits: words of a message, and what the campaign calls it
    ("not signed", "signature"), ("is not valid", "signature"), ("signature", "signature"),
    ("does not begin", "fork"), ("another root hash", "fork"), ("fork", "fork"),
    ("not yet", "ahead"), ("not here yet", "ahead"), ("no proof that", "no proof"), ("proof line", "no proof"),
    ("no proof is needed", "no proof"), ("a proof of", "no proof"),
    ("rollback", "rollback"), ("entries; 300 are stored", "rollback"),
    ("do not lead to", "root"), ("not shown to be in", "root"), ("tiles that cannot be read", "tile"),
    ("not found", "missing"), ("answered", "status"), ("longer than", "too long"), ("bundle", "bundle"),
    ("no gateway of this platform", "origin"), ("passed over", "origin"), ("an origin", "origin"),
    ("is no text", "origin"), ("not a note", "note"), ("old size", "old size"), ("checkpoint", "checkpoint"),
    ("not text", "checkpoint"), ("utf-8", "checkpoint"), ("did not take it", "receipt"),
    ("not gzip", "gzip"), ("unpacked", "gzip"), ("ends within its", "cut"), ("did not come whole", "cut"),
    ("body ended before", "cut"), ("a ticket", "ticket"), ("an upload of", "interval"),
    ("stands at", "where it stands"), ("held", "held"),
)  # fmt: skip

_SIGNATURE, _ROOT, _ORIGIN, _FORK = (frozenset({c}) for c in ("signature", "root", "origin", "fork"))
_NOTE = frozenset({"signature", "note", "checkpoint", "origin"})  # a note of which something is not as it was
_BUNDLE = frozenset(
    {"bundle", "root", "tile", "too long"}
)  # a bundle or tile of which something is not as it was
_RECEIPT = frozenset({"receipt", "note", "signature"})
_BODY = _NOTE | {
    "no proof",
    "gzip",
    "cut",
    "root",
    "interval",
    "ticket",
    "old size",
    "where it stands",
    "rollback",
}
CAUGHT: dict[str, dict[str, frozenset[str]]] = {  # by way and kind, the causes that are right; edits: see ``right``
    "pull": {
        "bit flipped": _NOTE | _BUNDLE | {"fork"},
        "answer cut short": _NOTE | _BUNDLE,
        "answer lengthened": _NOTE | _BUNDLE,
        "another status": frozenset({"status", "missing", "checkpoint", "bundle"}),
        "another of the log's answers": _NOTE | _BUNDLE,
        "another gateway's answer": _NOTE | _BUNDLE | {"fork"},
        "another gateway's answers": _SIGNATURE,
        "older checkpoint": frozenset({"rollback"}),
        "receipt flipped": _RECEIPT,
        "receipt cut short": _RECEIPT,
        "receipt signed by another key": frozenset({"receipt"}),
        "entry dropped": frozenset({"root", "bundle"}),
        "tail of entries cut": frozenset({"root", "bundle"}),
    },
    "push": {
        "bit flipped": _BODY,
        "bit flipped in the unpacked entries": frozenset({"root", "cut", "bundle", "origin", "interval", "ticket",
                                                          "where it stands"}),
        "cut short": _NOTE | {"no proof", "cut", "gzip", "where it stands", "old size"},
        "lengthened": _NOTE | {"gzip"},
        "another gateway's checkpoint": _ORIGIN,
        "another gateway's entries": _ORIGIN,
        "another gateway's both": _ORIGIN,
        "older checkpoint": frozenset({"old size", "where it stands", "rollback", "no proof"}),
        "entry dropped": frozenset({"root", "cut"}),
        "tail of entries cut": frozenset({"root", "cut"}),
    },
    "mqtt": {
        "bit flipped": _BODY,
        "bit flipped in the message": _BODY,
        "bit flipped in the unpacked entries": frozenset({"root", "cut", "bundle", "origin", "interval", "ticket",
                                                          "checkpoint"}),
        "cut short": _NOTE | {"no proof", "cut", "gzip", "old size"},
        "lengthened": _NOTE | {"gzip"},
        "another gateway's checkpoint": frozenset({"origin", "checkpoint"}),
        "another gateway's entries": frozenset({"origin", "checkpoint"}),
        "another gateway's both": _ORIGIN,
        "older checkpoint": frozenset({"checkpoint", "old size", "rollback"}),
        "entry dropped": frozenset({"root", "cut"}),
        "tail of entries cut": frozenset({"root", "cut"}),
        "message of before, again": frozenset(),
    },
}  # fmt: skip
MAY_STAY = {  # the kinds that by chance change nothing that is needed, or nothing at all
    "bit flipped", "bit flipped in the message", "answer cut short", "answer lengthened", "lengthened", "cut short",
    "another of the log's answers", "another gateway's answer", "receipt flipped", "message of before, again",
}  # fmt: skip


def right(way: str, kind: str) -> frozenset[str]:
    """The causes with which this kind of change may be refused on this way."""
    if kind in CAUGHT[way]:
        return CAUGHT[way][kind]
    if kind.endswith(_BY_ANOTHER) or kind == "signed by another key":
        return _SIGNATURE
    return _FORK if kind == "another history, signed by the log's key" else _ROOT


# -- pull ----------------------------------------------------------------------------------------------------


class Pull:
    """``collect`` with somebody between."""

    name = "pull"

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.paths = ("checkpoint", "tile/entries/001", "tile/entries/002.p/188")
        # with steps of one bundle each is proven by tiles of hashes too
        self.hashes = ("tile/0/002.p/188", "tile/1/000.p/2")
        self.kinds: dict[str, tuple[bool, Callable[[Random, Between], None]]] = {
            "bit flipped": (False, self.one(lambda data, random: flipped(data, random)[0])),
            "answer cut short": (False, self.one(lambda data, random: data[: random.randrange(len(data))])),
            "answer lengthened": (False, self.one(lambda data, random: data + random.randbytes(9))),
            "another status": (False, self.one(lambda data, random: random.choice([204, 302, 403, 404, 500, 503]))),
            "another of the log's answers": (False, self.one(self.another)),
            "another gateway's answer": (False, self.one_path(self.foreign)),
            "another gateway's answers": (False, self.all_foreign),
            "older checkpoint": (False, self.older),
            "signed by another key": (False, self.other_key),
            "receipt flipped": (False, self.receipt(lambda data, random: flipped(data, random)[0])),
            "receipt cut short": (False, self.receipt(lambda data, random: data[: random.randrange(len(data))])),
            "receipt signed by another key": (False, self.receipt(self.false_receipt)),
            "another history, signed by the log's key": (True, self.same_key),
        }  # fmt: skip
        for name, edit in EDITS.items():
            self.kinds[name] = (False, lambda random, between, edit=edit: self.edit(random, between, edit))
            self.kinds[f"{name}{_BY_ANOTHER}"] = (
                False, lambda random, between, edit=edit: self.edit(random, between, edit, STRANGER),
            )  # fmt: skip

    def collector(self, store: Store, between: Between, random: Random) -> Collector:
        return Collector(
            store, "http://gateway.example", self.gateway.writer.signer.verifier, lambda: START_US, PLATFORM,
            patience=patience(random), transport=between,
        )  # fmt: skip

    async def changed(self, store: Store, kind: str, random: Random) -> Told:
        between = Between(self.gateway.application)
        self.kinds[kind][1](random, between)
        with patch.object(collect, "STEP", 1):
            outcome = await self.collector(store, between, random).collect_once()
        if outcome.ok:
            return Told("")
        return Told(outcome.error or outcome.alarm)

    async def honest(self, store: Store, random: Random) -> str:
        outcome = await self.collector(store, Between(self.gateway.application), random).collect_once()
        if not outcome.ok or not outcome.receipt:
            return (
                f"the honest gateway is not taken any more: {outcome.error or outcome.alarm or 'no receipt'}"
            )
        return ""

    def one(self, how: Callable[[bytes, Random], bytes | int]) -> Callable[[Random, Between], None]:
        return self.one_path(lambda _, data, random: how(data, random))

    def one_path(self, how: Callable[[str, bytes, Random], bytes | int]) -> Callable[[Random, Between], None]:
        def put(random: Random, between: Between) -> None:
            chosen = random.choice([*self.paths, *self.hashes])
            between.change = lambda path, data: how(path, data, random) if path == chosen and data else data

        return put

    def another(self, data: bytes, random: Random) -> bytes:
        others = [one for one in self.gateway.writer.files().values() if one != data]
        return random.choice(others)

    def foreign(self, path: str, data: bytes, _: Random) -> bytes:
        return self.gateway.foreign.files().get(path, b"")

    def all_foreign(self, _: Random, between: Between) -> None:
        served = self.gateway.foreign.files()
        between.change = lambda path, _: served.get(path, b"")

    def older(self, random: Random, between: Between) -> None:
        old = random.choice(self.gateway.older)
        between.change = lambda path, data: old if path == "checkpoint" else data

    def other_key(self, random: Random, between: Between) -> None:
        forged = self.gateway.writer.head().signed_by(signer(ORIGIN, random.randrange(2, 200))).encode()
        between.change = lambda path, data: forged if path == "checkpoint" else data

    def same_key(self, random: Random, between: Between) -> None:
        served = files(self.gateway.other_history(random), ORIGIN, self.gateway.writer.signer)
        between.change = lambda path, _: served.get(path, b"")

    def edit(
        self,
        random: Random,
        between: Between,
        edit: Callable[[list[bytes], Random], None],
        by: note.Signer | None = None,
    ) -> None:
        """Entries on their way changed, the tiles with them or not, under the true checkpoint or a forged one."""
        new = edited(edit, random, self.gateway.entries[KNOWN:])
        served = files(self.gateway.entries[:KNOWN] + new, ORIGIN, by or self.gateway.writer.signer)
        tiles = random.random() < 0.5
        full = self.gateway.entries[:KNOWN] + new
        for path in self.paths[1:]:  # as wide as asked, if there are so many
            first = 256 if path.endswith("001") else 512
            width = 256 if path.endswith("001") else 188
            served[path] = log.encode_bundle(full[first : first + width])

        def change(path: str, data: bytes) -> bytes:
            if path == "checkpoint":
                return data if by is None else served["checkpoint"]
            if path.startswith("tile/entries/") or tiles:
                return served.get(path, data)
            return data

        between.change = change

    def receipt(self, how: Callable[[bytes, Random], bytes]) -> Callable[[Random, Between], None]:
        def put(random: Random, between: Between) -> None:
            between.request = lambda path, body: how(body, random) if path == "receipt" else body

        return put

    def false_receipt(self, _: bytes, random: Random) -> bytes:
        published = note.Note.parse(self.gateway.store.published.note)
        return published.cosigned_by(random.choice([FALSE_PLATFORM, STRANGER]), START_US // 10**6).encode()


# -- push ----------------------------------------------------------------------------------------------------


class Bodies:
    """The two bodies of a push, honest and forged."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.offer = offer(gateway.store, gateway.store.published, KNOWN)
        self.entries = self.packed(KNOWN)
        self.foreign_offer = _offer(gateway.foreign.entries, FOREIGN_ORIGIN, gateway.foreign.signer)
        self.foreign_entries = _entries(gateway.foreign.entries, FOREIGN_ORIGIN)

    def packed(self, start: int) -> bytes:
        parts = [body for _, body in packages(self.gateway.store, start, SIZE)]
        return pack(upload_head(ORIGIN, start, SIZE)) + b"".join(parts)

    def changes(self) -> dict[str, tuple[bool, Callable[[Random], tuple[bytes, bytes]]]]:
        """By kind: whether the log's key is needed, and the two bodies after the change."""

        def either(how: Callable[[bytes, Random], bytes]) -> Callable[[Random], tuple[bytes, bytes]]:
            def change(random: Random) -> tuple[bytes, bytes]:
                if random.random() < 0.5:
                    return how(self.offer, random), self.entries
                return self.offer, how(self.entries, random)

            return change

        def unpacked(random: Random) -> tuple[bytes, bytes]:
            return self.offer, gzip.compress(flipped(gzip.decompress(self.entries), random)[0], 1)

        def edit(
            how: Callable[[list[bytes], Random], None], by: note.Signer | None
        ) -> Callable[[Random], tuple[bytes, bytes]]:
            def change(random: Random) -> tuple[bytes, bytes]:
                entries = self.gateway.entries[:KNOWN] + edited(how, random, self.gateway.entries[KNOWN:])
                if by is not None:
                    return _offer(entries, ORIGIN, by), _entries(entries, ORIGIN)
                count = min(SIZE, len(entries))
                return self.offer, _entries(entries[:count], ORIGIN, SIZE)

            return change

        def older(random: Random) -> tuple[bytes, bytes]:
            proof, _, _ = self.offer.partition(b"\n\n")
            lines = random.choice([proof, b"old 0", b"old %d" % random.randrange(KNOWN + 1)])
            return lines + b"\n\n" + random.choice(self.gateway.older), self.entries

        def history(random: Random) -> tuple[bytes, bytes]:
            entries = self.gateway.other_history(random)
            return _offer(entries, ORIGIN, self.gateway.writer.signer), _entries(entries, ORIGIN)

        def other_key(random: Random) -> tuple[bytes, bytes]:
            by = signer(ORIGIN, random.randrange(2, 200))
            return _offer(self.gateway.entries, ORIGIN, by), self.entries

        made: dict[str, tuple[bool, Callable[[Random], tuple[bytes, bytes]]]] = {
            "bit flipped": (False, either(lambda data, random: flipped(data, random)[0])),
            "bit flipped in the unpacked entries": (False, unpacked),
            "cut short": (False, either(lambda data, random: data[: random.randrange(len(data))])),
            "lengthened": (False, either(lambda data, random: data + random.randbytes(9))),
            "another gateway's checkpoint": (False, lambda _: (self.foreign_offer, self.entries)),
            "another gateway's entries": (False, lambda _: (self.offer, self.foreign_entries)),
            "another gateway's both": (False, lambda _: (self.foreign_offer, self.foreign_entries)),
            "older checkpoint": (False, older),
            "signed by another key": (False, other_key),
            "another history, signed by the log's key": (True, history),
        }
        for name, how in EDITS.items():
            made[name] = (False, edit(how, None))
            made[f"{name}{_BY_ANOTHER}"] = (False, edit(how, STRANGER))
        return made


def _nodes(entries: list[bytes]) -> log.NodeReader:
    leaves = [log.leaf_hash(entry) for entry in entries]
    return lambda height, index: log.full_root(leaves[index << height : (index + 1) << height])


def _offer(entries: list[bytes], origin: str, by: note.Signer) -> bytes:
    """An add-checkpoint body from the known entries on, written here once more."""
    proof = log.consistency_proof(KNOWN, len(entries), _nodes(entries))
    lines = [f"old {KNOWN}", *(base64.b64encode(step).decode() for step in proof)]
    tree = log.Tree()
    tree.extend(map(log.leaf_hash, entries))
    signed = note.Checkpoint(origin, tree.size, tree.root()).signed_by(by).encode()
    return ("\n".join(lines) + "\n\n").encode() + signed


def _entries(entries: list[bytes], origin: str, said: int | None = None) -> bytes:
    """An add-entries body from the known entries on; ``said``: the end that it states."""
    end = len(entries)
    node = _nodes(entries)
    parts = [upload_head(origin, KNOWN, end if said is None else said)]
    at = KNOWN
    while at < end:
        first = at - at % 256
        stop = min(end, first + 256)
        proof = subtree_proof(first, stop, end, node)
        parts += [log.encode_bundle(entries[at:stop]), bytes([len(proof)]), *proof]
        at = stop
    return gzip.compress(b"".join(parts), 1)


class Push:
    """A gateway that pushes over HTTPS, with somebody between."""

    name = "push"

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.bodies = Bodies(gateway)
        self.kinds = self.bodies.changes()

    @staticmethod
    async def _said(http: httpx.AsyncClient, path: str, body: bytes) -> httpx.Response:
        headers = {"content-type": "application/octet-stream", "content-encoding": "gzip"}
        return await http.post(path, content=body, headers=headers if path == "/add-entries" else {})

    @contextmanager
    def _platform(self, store: Store) -> Iterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(receive.application(intake(store, self.gateway.writer)))
        yield httpx.AsyncClient(transport=transport, base_url="http://mirror")

    async def changed(self, store: Store, kind: str, random: Random) -> Told:
        head, entries = self.kinds[kind][1](random)
        with self._platform(store) as http:
            first = await self._said(http, "/add-checkpoint", head)
            second = await self._said(http, "/add-entries", entries)
            for answer in (first, second):
                if answer.status_code >= 400 and answer.status_code != 409:
                    return Told(answer.text.strip() or str(answer.status_code))
            for answer in (first, second):
                if answer.status_code != 200:
                    return Told(f"stands at {answer.text.split()} ({answer.status_code})")
        return Told("")

    async def honest(self, store: Store, random: Random) -> str:
        """As the gateway's pusher does: what stands at the mirror is what it goes on from."""
        with self._platform(store) as http:
            old = KNOWN
            for _ in range(3):
                body = offer(self.gateway.store, self.gateway.store.published, old)
                answer = await self._said(http, "/add-checkpoint", body)
                if answer.status_code != 409:
                    break
                old = int(answer.text)
            if answer.status_code != 200:
                return f"the honest checkpoint is answered {answer.status_code}: {answer.text}"
            answer = await self._said(http, "/add-entries", self.bodies.entries)
            if answer.status_code == 409:
                answer = await self._said(
                    http, "/add-entries", self.bodies.packed(int(answer.text.split()[1]))
                )
            if answer.status_code != 200:
                return f"the honest entries are answered {answer.status_code}: {answer.text}"
        self.gateway.receipts.take(self.gateway.store.published.note + answer.content)
        return ""


class Wire:
    """Stands in the place of the broker: what it hands on is what was changed; what is said to the gateway is kept."""

    def __init__(self) -> None:
        self.coming: asyncio.Queue[aiomqtt.Message] = asyncio.Queue()
        self.said: list[tuple[str, bytes]] = []
        self.dealt = 0
        self.host, self.port = "wire", 0

    def client(self, _: str) -> Wire:
        return self

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def subscribe(self, *_: object, **__: object) -> None:
        pass

    @property
    async def messages(self) -> AsyncIterator[aiomqtt.Message]:
        while True:
            yield await self.coming.get()

    def taken(self, _: aiomqtt.Message) -> None:
        self.dealt += 1

    async def publish(self, topic: str, payload: bytes | str, **_: object) -> None:
        self.said.append(
            (topic.rpartition("/")[2], payload.encode() if isinstance(payload, str) else payload)
        )


class _Kept(logging.Handler):
    """What the front end tells its journal."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Broker:
    """A gateway behind a broker that changes what it carries."""

    name = "mqtt"

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.bodies = Bodies(gateway)
        self.kinds = self.bodies.changes()
        whole = self.payload(self.bodies.offer, self.bodies.entries)
        self.kinds["bit flipped in the message"] = (
            False, lambda random: self._split(flipped(whole, random)[0]),
        )  # fmt: skip
        self.first = self.payload(
            gateway.first,
            pack(upload_head(ORIGIN, 0, KNOWN))
            + b"".join(body for _, body in packages(gateway.store, 0, KNOWN)),
        )
        self.kinds["message of before, again"] = (False, lambda _: self._split(self.first))

    @staticmethod
    def payload(head: bytes, entries: bytes) -> bytes:
        return len(head).to_bytes(4, "big") + head + entries

    @staticmethod
    def _split(message: bytes) -> tuple[bytes, bytes]:
        """As a pair of which ``payload`` makes the message again: none, and all of it."""
        return b"", message

    async def _brought(self, store: Store, message: bytes) -> tuple[list[tuple[str, bytes]], list[str]]:
        """What is said to the gateway, and to the journal, about one message."""
        wire, kept = Wire(), _Kept()
        worker = mqtt.Worker(intake(store, self.gateway.writer), wire, sleep=asleep, random=Random(1))  # type: ignore[arg-type]
        journal = logging.getLogger("suyuan.central.mqtt")
        before = journal.propagate, journal.level
        journal.propagate = False
        journal.addHandler(kept)
        topic = f"gw/{mqtt.topic_id(ORIGIN)}/bundle/1"
        running = asyncio.ensure_future(worker.run())
        try:
            for number in range(
                2
            ):  # the second, of which nothing is understood, tells that the first is done with
                wire.coming.put_nowait(
                    aiomqtt.Message(topic, b"" if number else message, 1, False, number, None)
                )
                while wire.dealt <= number:
                    if running.done():
                        running.result()
                    await asyncio.sleep(0.0005)
        finally:
            running.cancel()
            await asyncio.wait([running])
            journal.removeHandler(kept)
            journal.propagate, journal.level = before
        return wire.said, kept.lines[:-1]

    async def changed(self, store: Store, kind: str, random: Random) -> Told:
        head, entries = self.kinds[kind][1](random)
        said, journal = await self._brought(store, self.payload(head, entries) if head else entries)
        refused = [text.decode() for topic, text in said if topic == "refused"]
        return Told((refused or journal or [""])[0])

    async def honest(self, store: Store, random: Random) -> str:
        message = self.payload(self.bodies.offer, self.bodies.entries)
        said, journal = await self._brought(store, message)
        acks = [text for topic, text in said if topic == "ack"]
        if not acks:
            return f"the honest message is not acknowledged: {said} {journal}"
        self.gateway.receipts.take(acks[-1].split(b"\n", 3)[3])
        return ""


# -- the campaign --------------------------------------------------------------------------------------------


async def _one(way: Pull | Push | Broker, kind: str, own: str, base: Path, tally: Tally) -> None:
    """One change, what became of it, and the honest gateway after it."""
    random = Random(own)
    gateway = way.gateway
    tally.tried += 1
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, "central")
        shutil.copytree(base, place)
        with Store(place) as store:
            before = state(store)
            told = await way.changed(store, kind, random)
            (held,) = (one.alarm in collect.HELD for one in store.gateways())
            after = state(store)
            (one,) = store.gateways()
            wrong = ""
            if after != before and not true_beginning(store, gateway):
                wrong = f"the store holds what is not the true log ({told.cause})"
            elif held != way.kinds[kind][0]:
                wrong = f"held: {held} ({told.cause})"
            elif not told.cause and one.size != SIZE and after != before:
                wrong = "taken in part without a word"
            elif told.cause and short(told.cause) not in right(way.name, kind):
                wrong = f"refused for another cause than its own: {told.cause}"
            elif not told.cause and kind not in MAY_STAY:
                wrong = "nothing was said of it"
            if held:
                store.release(ORIGIN)
            wrong = wrong or await way.honest(store, random)
            if not wrong and (
                not true_beginning(store, gateway) or len(list(store.entries(store.gateways()[0]))) != SIZE
            ):
                wrong = "after the honest gateway went on, the store does not hold its log"
    if wrong:
        tally.escaped.append(f"{own}: {wrong}")
    elif told.cause:
        tally.causes[short(told.cause)] += 1
    else:
        tally.same["whole" if one.size == SIZE else "nothing"] += 1


WAYS: dict[str, Callable[[Gateway], Pull | Push | Broker]] = {"pull": Pull, "push": Push, "mqtt": Broker}


async def campaign(
    seed: int,
    each: int,
    *,
    flips: int = 5,
    edits: Collection[str] = tuple(EDITS),
    ways: Collection[str] = tuple(WAYS),
) -> dict[tuple[str, str], Tally]:
    """``each`` changes of every kind on every way; bit flips ``flips`` times as many.

    ``edits``: which of the edits of single entries; ``ways``: which ways.
    """
    found: dict[tuple[str, str], Tally] = {}
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(Path(directory, "gateway"))
        base = Path(directory, "central")
        with Store(base) as store:
            mirror = intake(store, gateway.writer)
            mirror.deliver(ORIGIN, [Delivery.parse(Broker(gateway).first)])
        for way in (WAYS[name](gateway) for name in ways):
            passed_over = {f"{name}{more}" for name in set(EDITS) - set(edits) for more in ("", _BY_ANOTHER)}
            for kind in way.kinds:
                if kind in passed_over:
                    continue
                tally = found[way.name, kind] = Tally()
                for number in range(each * (flips if kind.startswith("bit") else 1)):
                    await _one(way, kind, f"{seed} {way.name} {kind} {number}", base, tally)
        gateway.store.close()
    return found


def main(arguments: list[str]) -> int:
    """Run the campaign and print its counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--each", type=int, default=25, help="changes of each kind on each way (bit flips: 5 x)"
    )
    given = parser.parse_args(arguments)
    found = asyncio.run(campaign(given.seed, given.each))
    for (way, kind), tally in found.items():
        causes = "; ".join(f"{cause} {count}" for cause, count in tally.causes.most_common(4))
        print(f"{way:5} {kind:56} {tally.tried:5} refused {sum(tally.causes.values()):5}  {causes}")
        for rule, count in tally.same.items():
            print(f"{'':5} {'':56} the same {count}: {SAME[rule]}")
        for escaped in tally.escaped[:5]:
            print(f"{'':5} ESCAPED {escaped}")
    tried = sum(t.tried for t in found.values())
    escaped = sum(len(t.escaped) for t in found.values())
    same = sum(sum(t.same.values()) for t in found.values())
    print(
        f"on the way: {tried} changes, {tried - escaped - same} refused, {same} the same, {escaped} escaped"
    )
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
