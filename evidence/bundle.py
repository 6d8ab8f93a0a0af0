"""The audit bundle: one instrument over a period, with all that proves it, and nothing of the others.

A bundle holds a checkpoint with its cosignatures; the entries that concern the instrument, from the one before the
period to the one after it; what they refer to (configuration, calibration states, documents); the log's genesis and
keys; the seals around; and the hashes of everything else, each hidden subtree as one hash (``bundle_proof``). Leaf
hashes are salted, so hidden entries cannot be guessed. Keys to believe are not inside: they are the auditor's.

As bytes (``encode``)::

    "SYB1"  length of head (4 bytes)  head, JSON  packed entries  tags  hashes  files

all of it gzipped. A tag is the first two bytes of a leaf hash (four in the first format): it tells which entry was
changed, and proves nothing.
``bundle_page`` puts those bytes into an HTML page that shows and verifies itself; ``bundle_verify`` is this side's
verification.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from . import log, note, record
from .bundle_packing import pack, unpack
from .bundle_proof import covering_hashes, root_of
from .errors import EvidenceError, ParseError
from .numbered import ENERGY, EVENT, Row, Series, series_of

FORMAT: Final = "suyuan-bundle/2"
TAG_SIZES: Final = {"suyuan-bundle/1": 4, FORMAT: 2}  # of each format that is read
TAG_SIZE: Final = TAG_SIZES[FORMAT]
MAGIC: Final = b"SYB1"
MAX_SIZE: Final = 256 * 1024 * 1024  # unpacked
BLOCK: Final = 256  # bytes of one kind that are worth a code of their own
HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"  # gzip: no name, no time, compressed best, no system
_SYSTEMS: Final = (b"\xff", b"\x03", b"\x0b")  # what versions before this one wrote: unknown, Unix, Windows


class BundleError(EvidenceError, ValueError):
    """No bundle can be made of this: what, and what to do."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that a ``document`` record names by its digest, carried along."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A cosigned checkpoint, and the proof that the bundle's checkpoint continues it (or is continued by it)."""

    note: bytes
    consistency: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds. Nothing in it is believed before it is verified."""

    origin: str
    instrument: str
    from_us: int
    to_us: int
    checkpoint: bytes
    entries: tuple[tuple[int, bytes], ...]
    hashes: tuple[bytes, ...]
    tags: tuple[bytes, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    files: tuple[File, ...] = ()


class _FileHead(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    name: str
    media_type: str
    size: int


class _ReceiptHead(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    note: str
    consistency: list[bytes]


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    origin: str
    instrument: str
    from_us: int
    to_us: int
    checkpoint: str
    indexes: list[int]  # the first, then the steps
    packed: int
    hashes: int
    receipts: list[_ReceiptHead]
    files: list[_FileHead]


_read_head: Final = msgspec.json.Decoder(_Head).decode


def encode(bundle: Bundle) -> bytes:
    """The bundle as gzipped bytes."""
    indexes = [index for index, _ in bundle.entries]
    packed = pack([data for _, data in bundle.entries])
    head = _Head(
        FORMAT,
        bundle.origin,
        bundle.instrument,
        bundle.from_us,
        bundle.to_us,
        bundle.checkpoint.decode(),
        [here - before for before, here in zip([0, *indexes], indexes, strict=False)],
        sum(map(len, packed)),
        len(bundle.hashes),
        [_ReceiptHead(receipt.note.decode(), list(receipt.consistency)) for receipt in bundle.receipts],
        [_FileHead(file.name, file.media_type, len(file.data)) for file in bundle.files],
    )
    text = msgspec.json.encode(head)
    tags = bundle.tags or tuple(log.leaf_hash(data)[:TAG_SIZE] for _, data in bundle.entries)
    return zipped(
        MAGIC + len(text).to_bytes(4, "big") + text,
        *packed,
        b"".join(tag[:TAG_SIZE] for tag in tags),
        b"".join(bundle.hashes),
        *(file.data for file in bundle.files),
    )


def zipped(*parts: bytes) -> bytes:
    """Bytes as gzip, each larger part with codes of its own: what is alike stands together, and shrinks the more.

    The header says nothing but that it is one: of what is not unpacked, no byte may vary.
    """
    machine = zlib.compressobj(9, wbits=-15, memLevel=9)
    packed, check, size, apart = [HEADER], 0, 0, False
    for part in parts:
        large = len(part) >= BLOCK
        if large or apart:
            packed.append(machine.flush(zlib.Z_BLOCK))
        packed.append(machine.compress(part))
        check, size, apart = zlib.crc32(part, check), size + len(part), large
    return b"".join((*packed, machine.flush(), check.to_bytes(4, "little"), size.to_bytes(4, "little")))


def decode(data: bytes) -> Bundle:
    """The bundle in gzipped bytes. Raises ParseError."""
    whole = _unzip(data)
    if whole[:4] != MAGIC:
        raise ParseError("not an audit bundle")
    start = 8 + int.from_bytes(whole[4:8], "big")
    try:
        head = _read_head(whole[8:start])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"not an audit bundle: its head: {error}") from error
    if head.format not in TAG_SIZES:
        raise ParseError(
            f"an audit bundle of another version, {head.format[:40]!r}: a newer program reads it"
        )
    count, tag_size = len(head.indexes), TAG_SIZES[head.format]
    sizes = [head.packed, tag_size * count, log.HASH_SIZE * head.hashes, *(f.size for f in head.files)]
    if min(sizes) < 0 or start + sum(sizes) != len(whole):
        raise ParseError("not a whole audit bundle: its parts have not the sizes that its head states")
    parts = []
    for size in sizes:
        parts.append(whole[start : start + size])
        start += size
    entries = unpack(parts[0])
    if len(entries) != count:
        raise ParseError(f"an audit bundle of {len(entries)} entries with {count} indexes")
    indexes, index = [], 0
    for step in head.indexes:
        index += step
        indexes.append(index)
    return Bundle(
        head.origin,
        head.instrument,
        head.from_us,
        head.to_us,
        head.checkpoint.encode(),
        tuple(zip(indexes, entries, strict=True)),
        tuple(log.tile_hashes(parts[2], head.hashes)),
        tuple(parts[1][i : i + tag_size] for i in range(0, len(parts[1]), tag_size)),
        tuple(Receipt(receipt.note.encode(), tuple(receipt.consistency)) for receipt in head.receipts),
        tuple(
            File(file.name, file.media_type, part) for file, part in zip(head.files, parts[3:], strict=True)
        ),
    )


def _unzip(data: bytes) -> bytes:
    if data[:9] != HEADER[:9] or data[9:10] not in _SYSTEMS:
        raise ParseError("the bundle's data are damaged: they do not begin as a bundle's")
    machine = zlib.decompressobj(wbits=31)
    try:
        whole = machine.decompress(data, MAX_SIZE)
    except zlib.error as error:
        raise ParseError(f"the bundle's data are damaged: they do not unpack ({error})") from error
    if not machine.eof or machine.unused_data:
        raise ParseError("the bundle's data are damaged: they are cut short, too long, or too large")
    return whole


# ── making one ──────────────────────────────────────────────────────────────────────────────────────────────


def make(
    read: Callable[[str], bytes | None],
    instrument: str,
    from_us: int,
    to_us: int,
    *,
    receipts: Iterable[bytes] = (),
    files: Iterable[File] = (),
) -> Bundle:
    """The bundle of one instrument for polls due from ``from_us`` to before ``to_us``, out of a log.

    ``read`` gives the bytes at a path of the log (tlog-tiles) or None. ``receipts``: cosigned checkpoints kept
    elsewhere. ``files``: only those that a document record names are taken, by its name. Raises BundleError.
    """
    checkpoint_data = read("checkpoint")
    if checkpoint_data is None:
        raise BundleError("there is no checkpoint here: is this a log?")
    if from_us >= to_us:
        raise BundleError("the period ends before it begins")
    signed = note.Note.parse(checkpoint_data)
    head = note.Checkpoint.parse(signed.text)
    chosen = _Choice(instrument, from_us, to_us)
    for index, data in _entries(read, head.size):
        chosen.add(index, data)
    entries = chosen.entries()
    node = log.tile_node_reader(_tile_reader(read), head.size)
    indexes = [index for index, _ in entries]
    try:
        hashes = covering_hashes(indexes, head.size, node)
        proofs = tuple(_receipt(data, head, node) for data in receipts)
    except ParseError as error:
        raise BundleError(f"the log's hash tiles are not as they should be: {error}") from error
    leaves = [log.leaf_hash(data) for _, data in entries]
    if root_of(indexes, leaves, head.size, hashes) != head.root:
        raise BundleError(
            "the log's tiles do not lead to its checkpoint's root hash: verify the log first (suyuan verify)"
        )
    return Bundle(
        head.origin,
        instrument,
        from_us,
        to_us,
        signed.encode(),
        entries,
        hashes,
        tuple(leaf[:TAG_SIZE] for leaf in leaves),
        tuple(proof for proof in proofs if proof is not None),
        tuple(
            File(document.name, document.media_type, file.data)
            for file in files
            if (document := chosen.documents.get(sha256(file.data).hexdigest())) is not None
        ),
    )


class _Choice:
    """The entries of a log that go into a bundle, as they come by."""

    def __init__(self, instrument: str, from_us: int, to_us: int) -> None:
        self._instrument, self._from, self._to = instrument, from_us, to_us
        self._mark = msgspec.json.encode(instrument)
        self._always: dict[int, bytes] = {}  # genesis, keys
        self._known: dict[int, bytes] = {}  # configurations, states and documents: taken where they are named
        self._before: tuple[int, bytes] | None = None
        self._inside: dict[int, bytes] = {}
        self._maybe: dict[int, bytes] = {}  # of the instrument, after the newest poll within the period
        self._after: tuple[int, bytes] | None = None
        self._seals: tuple[tuple[int, bytes] | None, tuple[int, bytes] | None] = (None, None)
        self._last_seal: tuple[int, bytes] | None = None
        self._named: set[tuple[int, str]] = set()
        self._others: dict[int, tuple[bytes, record.Record]] = {}
        self.documents: dict[str, record.Document] = {}  # by the digest of their file
        own = Series(ENERGY, instrument), Series(EVENT, instrument), Series(EVENT, "")
        self._rows = {series: Row(from_us, to_us) for series in own}
        self._any = False

    def add(self, index: int, data: bytes) -> None:
        """Look at one entry; what cannot matter is not even read."""
        kind = data[9 : data.find(b'"', 9)] if data.startswith(b'{"type":"') else b""
        if kind in (b"genesis", b"key"):
            self._always[index] = data
        elif kind in (b"configuration", b"calibration_state", b"document"):
            self._known[index] = data
        elif kind == b"seal":
            self._seal(index, data)
        elif kind in (b"event", b"advice") or self._mark in data:
            self._concerning(index, data)

    def _concerning(self, index: int, data: bytes) -> None:
        try:
            found = record.decode(data)
        except ParseError:
            return  # the log itself is unsound: its own verification says so
        row = self._rows.get(series) if (series := series_of(found)) is not None else None
        if (
            row is not None
            and isinstance(found, record.Aggregate | record.Event)
            and found.number is not None
        ):
            row.add(index, data, found)
            return
        match found:
            case record.Reading(instrument=self._instrument):
                self._poll(index, data, found.due_us, found.due_us)
            case record.Gap(instrument=self._instrument):
                self._poll(index, data, found.from_us, found.to_us)
            case record.Aggregate() if self._instrument in found.instruments:
                if found.from_us < self._to and found.to_us > self._from:
                    self._others[index] = data, found
            case record.Advice() if self._instrument in found.instruments:
                self._others[index] = data, found
            case record.Event() if found.detail.get("instrument", self._instrument) == self._instrument:
                if self._from <= found.utc_us < self._to:
                    self._others[index] = data, found
            case _:
                pass

    def _poll(self, index: int, data: bytes, first_us: int, last_us: int) -> None:
        self._any = True
        if first_us < self._to and last_us >= self._from:
            self._inside.update(self._maybe)
            self._maybe.clear()
            self._inside[index] = data
            self._after = None
        elif not self._inside and last_us < self._from:
            self._before = index, data
        elif self._after is None:
            self._after = index, data
            self._maybe[index] = data
        else:
            self._maybe[index] = data

    def _seal(self, index: int, data: bytes) -> None:
        self._last_seal = index, data
        if not self._inside and self._after is None:
            self._seals = (index, data), None
        elif self._after is not None and (self._seals[1] is None or self._seals[1][0] < self._after[0]):
            self._seals = self._seals[0], (index, data)

    def entries(self) -> tuple[tuple[int, bytes], ...]:
        """All that goes in, by index."""
        if not self._any:
            raise BundleError(f"the log has no readings of an instrument '{self._instrument}'")
        if not self._inside:
            raise BundleError(f"the log has no polls of '{self._instrument}' that were due in this period")
        taken = dict(self._inside)
        if self._before is not None:
            taken.update((self._before,))
        if self._after is not None:
            taken.update((self._after,))
        readings = [record.decode(data) for data in taken.values()]
        first, last = min(taken), max(taken)
        named: set[int] = set()
        for found in readings:
            if isinstance(found, record.Reading):
                named |= {found.state.index, found.configuration.index}
        for index, (data, other) in self._others.items():
            if isinstance(other, record.Aggregate):
                if other.first < first or other.last > last:
                    continue
                named |= {state.index for state in other.states}
            taken[index] = data
        for row in self._rows.values():
            for index, data in row.chosen():
                taken[index] = data
                numbered = record.decode(data)
                if isinstance(numbered, record.Aggregate):
                    named |= {state.index for state in numbered.states}
        wanted: set[str] = set()
        for index in named & self._known.keys():
            taken[index] = self._known[index]
            found = record.decode(self._known[index])
            if isinstance(found, record.CalibrationState):
                wanted |= certificates_named(bytes(found.body))
        taken.update(self._documents(wanted, last))
        taken.update(self._always)
        seals = [*self._seals]
        if self._after is None or any(row.open for row in self._rows.values()):
            seals.append(self._last_seal)
        taken.update(seal for seal in seals if seal is not None)
        return tuple(sorted(taken.items()))

    def _documents(self, wanted: set[str], last: int) -> dict[int, bytes]:
        """The certificates that the states name, by digest or by the name of the file; all, where none is found so."""
        found = {}
        for index, data in self._known.items():
            if index < last and data.startswith(b'{"type":"document"'):
                document = record.decode(data)
                if isinstance(document, record.Document):
                    found[index] = data, document
        named = {
            index: each
            for index, each in found.items()
            if each[1].digest in wanted or each[1].name.rpartition(".")[0] in wanted
        }
        chosen = named or {i: each for i, each in found.items() if each[1].kind == "certificates"}
        self.documents |= {document.digest: document for _, document in chosen.values()}
        return {index: data for index, (data, _) in chosen.items()}


def certificates_named(body: bytes) -> set[str]:
    """The certificates that a calibration state names: digests of files, and numbers."""
    try:
        found = msgspec.json.decode(body)
        return {
            str(each[name]) for each in found["certificates"] for name in ("digest", "id") if each.get(name)
        }
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return set()


def _entries(read: Callable[[str], bytes | None], size: int) -> Iterator[tuple[int, bytes]]:
    for tile in log.bundles(size):
        data = read(tile.path)
        if data is None:
            raise BundleError(f"the log has no {tile.path}: is the copy whole?")
        try:
            entries = log.decode_bundle(data, tile.width)
        except ParseError as error:
            raise BundleError(f"{tile.path}: {error}") from error
        yield from enumerate(entries, tile.start)


def _tile_reader(read: Callable[[str], bytes | None]) -> Callable[[log.Tile], bytes]:
    @lru_cache(maxsize=1024)
    def tile(wanted: log.Tile) -> bytes:
        data = read(wanted.path)
        if data is None:
            raise BundleError(f"the log has no hash tile {wanted.path}: is the copy whole?")
        return data

    return tile


def _receipt(data: bytes, head: note.Checkpoint, node: log.NodeReader) -> Receipt | None:
    signed = note.Note.parse(data)
    other = note.Checkpoint.parse(signed.text)
    if other.origin != head.origin or other.size > head.size:
        return None
    return Receipt(signed.encode(), log.consistency_proof(other.size, head.size, node))
