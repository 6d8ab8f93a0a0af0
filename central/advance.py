"""How a gateway's log goes further here: one way for what was pulled and for what was pushed.

New entries grow the tree. That the grown tree is the beginning of a signed one is shown by whoever brought them: by a
proof out of the gateway's tiles, or by one that came with them. Then every entry is checked, strictly and as following
from those before it, and the step is written in one transaction. Nothing else moves a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from evidence import log, note
from evidence.continuity import Continuity, fact_of
from evidence.errors import ParseError
from evidence.findings import Finding, Severity
from evidence.numbered import sealed_all
from evidence.record import (
    CalibrationState,
    Configuration,
    Genesis,
    Key,
    PreviousLog,
    Record,
    Seal,
    decode,
)

from .holding import Holding
from .log_keys import LogKeys
from .rows import Advance, Gateway, Head

HELD = ("fork", "unsound")  # alarms that hold a gateway until a person releases it


class LogAlarm(Exception):
    """What a person must look into: kind (rollback, fork, unsound), what, and the findings that show it."""

    def __init__(self, kind: str, what: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(what)
        self.kind = kind
        self.findings = tuple(findings)


@dataclass(slots=True)
class Course:
    """Where a log stands and how it goes on: its tree, its running numbers, its references.

    It may run ahead of what is stored, while steps are committed in the background; one that raised is thrown away.
    """

    store: Holding
    began: Gateway  # as it was stored when this began
    tree: log.Tree
    follow: Continuity
    sealed_us: int
    keys: LogKeys
    _new: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, store: Holding, gateway: Gateway, keys: LogKeys) -> Course:
        """From what is stored. ``keys``: the log's."""
        seal = _last_seal(store, gateway)
        follow = Continuity(
            gateway.origin,
            keys.keys,
            store.places(gateway),
            store.references(gateway),
            vouched=gateway.size > 0,
            sealed=seal is not None,
            limits=keys.limits,
            numbers={} if not gateway.size else None if seal is None else sealed_all(seal),
        )
        return cls(store, gateway, log.Tree(gateway.size, gateway.peaks), follow, gateway.sealed_us, keys)

    def grow(self, entries: Sequence[bytes]) -> None:
        """Put new entries on the tree. They are neither believed nor kept before ``step``."""
        self.tree.extend(map(log.leaf_hash, entries))
        self._new += entries

    def step(self, head: note.Checkpoint, signed: note.Note) -> Advance:
        """Check the entries grown since the last step, and make of them what the store writes.

        The caller has shown that the tree is a beginning of ``head``'s. Raises LogAlarm ``unsound``.
        """
        new, self._new = self._new, []
        end = self.tree.size
        start = end - len(new)
        records = self._sound(new, start, head)
        self.sealed_us = max(
            (record.utc_us for _, record in records if isinstance(record, Seal)), default=self.sealed_us
        )
        return Advance(
            end,
            self.tree.peaks,
            self._bundles(new, start),
            records,
            {name: place for name, place in self.follow.places.items() if place.entry >= start},
            [
                (index, str(type(record).__struct_config__.tag), record.digest)
                for index, record in records
                if isinstance(record, Configuration | CalibrationState)
            ],
            [(index, record.vkey) for index, record in records if isinstance(record, Key)],
            self.sealed_us,
            (head.root, signed.encode()) if end == head.size else None,
        )

    def _bundles(self, new: list[bytes], start: int) -> list[tuple[int, int, bytes]]:
        """What to store. Of the bundle that was open, the entries stored before are kept as they were verified."""
        found = []
        for tile in log.bundles(start + len(new), start):
            part = log.encode_bundle(new[max(0, tile.start - start) : tile.start + tile.width - start])
            if tile.start < start:
                part = (self.store.bundle(self.began, tile.index) or b"") + part
            found.append((tile.index, tile.width, part))
        return found

    def _sound(self, new: list[bytes], start: int, head: note.Checkpoint) -> list[tuple[int, Record]]:
        follow = self.follow
        found: list[tuple[int, Record]] = []
        for index, entry in enumerate(new, start):
            try:
                record = decode(entry)
            except ParseError as error:
                follow.findings.add("record", str(error), index)
                continue
            found.append((index, record))
        named = {r.receipt.size for _, r in found if isinstance(r, Seal) and r.receipt is not None}
        follow.heads = self.store.roots(self.began, named)
        for index, record in found:
            follow.add(index, fact_of(record))
        if start + len(new) == head.size:
            follow.finish(head.size)
        if not start and found and isinstance(found[0][1], Genesis):
            self._continues(found[0][1].previous_log)
        errors = [f for f in follow.findings.all() if f.severity is Severity.ERROR]
        if errors:
            raise LogAlarm("unsound", str(errors[0]), errors)
        return found

    def _continues(self, named: PreviousLog | None) -> None:
        """That a log which continues another begins where this platform last saw that one. Raises LogAlarm."""
        old = None
        if named is not None:
            old = next((g for g in self.store.gateways() if g.origin == named.origin), None)
        if named is None or old is None:
            return
        newest = max(
            (h for h in self.store.heads(old) if h.receipt), key=lambda head: head.size, default=None
        )
        if newest is None or newest.size < named.size:  # another platform may have seen more of it
            return
        if newest.size > named.size:
            what = (
                f"continues {named.origin} from {named.size} entries; {newest.size} of it were cosigned here"
            )
            raise LogAlarm("rollback", what)
        if newest.root != named.root:
            raise LogAlarm("fork", f"continues another history of {named.origin} than was cosigned here")


def _last_seal(store: Holding, gateway: Gateway) -> Seal | None:
    """The seal that the stored log ends with, if it ends with one."""
    last = list(store.entries(gateway, gateway.size - 1)) if gateway.size else []
    try:
        found = decode(last[0]) if last else None
    except ParseError:
        return None
    return found if isinstance(found, Seal) else None


def receipt_for(
    store: Holding,
    gateway: Gateway,
    signer: note.Ed25519Signer,
    utc_us: Callable[[], int],
    newest: Head | None = None,
    *,
    posted: bool = False,
) -> Head | None:
    """The newest head with its receipt, made out and kept if there was none; None while entries are without a head.

    ``newest``: that head, if it is known. ``posted``: note down too that the gateway has the receipt.
    Only ever called after the COMMIT that holds the head returned.
    """
    head = newest or store.last_head(gateway)
    if head is None or head.size != gateway.size:
        return None
    receipt = head.receipt
    if receipt is None:
        receipt = note.Note.parse(head.note).cosigned_by(signer, utc_us() // 1_000_000).encode()
    posted = posted or head.posted
    if head.receipt is None or posted != head.posted:
        store.receipt(gateway, head.size, receipt, posted=posted)
        head = replace(head, receipt=receipt, posted=posted)
    return head
