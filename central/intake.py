"""The platform as a mirror of several gateways (C2SP tlog-mirror): what is accepted, whatever carries it.

A gateway first shows a signed checkpoint that follows from what is known of its log (add-checkpoint: it becomes
*pending*), then brings the entries up to it in packages that prove themselves (add-entries). Packages are verified and
committed as they come, so that an interruption costs at most the one under way. When the last entry is durable, and
only then, the checkpoint is cosigned: the receipt.

Calls block (they verify and commit) and may come from many threads: those for one gateway are made one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from evidence import log, note
from evidence.errors import ParseError
from evidence.revocation import open_honoured

from .advance import HELD, Course, LogAlarm, receipt_for
from .delivery import Delivery, following
from .holding import Holding
from .log_keys import LogKeys, Revoked, gateway_of, log_keys, none_revoked
from .offer import Offer
from .packages import Package, Upload, check_subtree, subtree_root, subtree_roots
from .rows import Gateway, Head, Pending

MAX_EXCESS: Final = 32 * log.TILE_WIDTH  # entries sent again that are still looked at
MIRROR_INFO: Final = "text/x.tlog.mirror-info"


class Refused(Exception):
    """Why a request was not carried out: HTTP status, and the body that says where the mirror stands."""

    def __init__(self, status: int, body: str, media: str = "text/plain; charset=utf-8") -> None:
        super().__init__(body.strip())
        self.status = status
        self.body = body
        self.media = media


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a log stands at the mirror: the checkpoint to complete, and the first entry that is wanted."""

    size: int
    next: int
    receipt: bytes | None = None  # the cosigned checkpoint of ``size``, once all entries are durable

    @property
    def text(self) -> str:
        """As ``text/x.tlog.mirror-info``: tree size, next entry, ticket (none is needed here)."""
        return f"{self.size}\n{self.next}\n\n"


@dataclass(slots=True)
class _Gate:
    """What is kept of one gateway between its requests."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    course: Course | None = None
    passed: tuple[int, bytes] = (0, log.EMPTY_ROOT)  # a size that a late checkpoint had, and the root here


class Intake:
    """Takes checkpoints and entries of known gateways into the store.

    ``keys``: the logs that are accepted, by origin; asked each time, so that one may be approved or suspended at work.
    ``signer``: the platform's key for receipts. ``report`` is told of alarms: origin, kind, what.
    ``revoked``: the keys that were revoked; asked each time too.
    """

    def __init__(
        self,
        store: Holding,
        keys: Callable[[], Mapping[str, note.Verifier]],
        signer: note.Ed25519Signer,
        utc_us: Callable[[], int],
        report: Callable[[str, str, str], None] = lambda *_: None,
        revoked: Revoked = none_revoked,
    ) -> None:
        self.store = store
        self.signer = signer
        self._keys = keys
        self._utc_us = utc_us
        self._report = report
        self._revoked = revoked
        self._gates: dict[str, _Gate] = {}
        self._opening = threading.Lock()

    def origins(self) -> tuple[str, ...]:
        """Whose logs are taken."""
        return tuple(self._keys())

    def silent(self, for_us: int) -> tuple[str, ...]:
        """The gateways that have brought something before, and nothing for so long."""
        active, now_us = self._keys(), self._utc_us()
        return tuple(
            g.origin
            for g in self.store.gateways()
            if g.origin in active and g.advanced_us and now_us - g.advanced_us > for_us
        )

    # ── add-checkpoint ──────────────────────────────────────────────────────────────────────────────────────

    def add_checkpoint(self, body: bytes) -> Standing:
        """Make a checkpoint pending. Raises Refused with the statuses of tlog-witness: 400, 403, 404, 409, 422."""
        try:
            offer = Offer.parse(body)
        except ParseError as error:
            raise Refused(400, f"{error}\n") from None
        return self.offer(offer)

    def offer(self, offer: Offer) -> Standing:
        """The same, of an offer that was read already."""
        head = offer.checkpoint
        with self._gate(head.origin).lock:
            gateway, keys = self._open(head.origin)
            self._signed(offer, keys)
            self._not_held(gateway)
            self._offered(gateway, offer)
            return Standing(head.size, gateway.size)

    def _signed(self, offer: Offer, keys: LogKeys) -> None:
        try:
            open_honoured(offer.note.encode(), keys.keys, keys.limits)
        except (note.VerifyError, ParseError) as error:
            raise Refused(403, f"{error}\n") from None

    def _offered(self, gateway: Gateway, offer: Offer) -> None:
        """Make an offer pending, or complete it if its entries are here."""
        head = offer.checkpoint
        if offer.old > head.size:
            raise Refused(400, f"old size {offer.old} is beyond the checkpoint's {head.size}\n")
        if not head.size and head.root != log.EMPTY_ROOT:
            raise Refused(422, "a checkpoint of no entries has the root hash of the empty tree\n")
        pending = {one.size: one.root for one in self.store.pending(gateway)}
        known = pending | self.store.roots(gateway, [head.size])
        known[gateway.size] = log.root_of_peaks(gateway.peaks)
        if (
            head.size < gateway.size and head.size not in known
        ):  # an old copy of the log that was put back signs anew
            known[head.size] = self._passed(gateway, head.size)
        if known.get(head.size, head.root) != head.root:
            self._alarm(
                gateway,
                LogAlarm("fork", f"another root hash for the same {head.size} entries"),
                offer.note.encode(),
            )
        newest = max(pending.keys() | {gateway.size})
        if offer.old != newest:
            raise Refused(409, f"{newest}\n", "text/x.tlog.size")
        self._follows(gateway, offer, known[newest])
        if head.size > gateway.size:
            self.store.add_pending(gateway, Pending(head.size, head.root, offer.note.encode()))
        elif head.size == gateway.size:
            self._complete(gateway, head, offer.note)

    def _passed(self, gateway: Gateway, size: int) -> bytes:
        """The root of the first entries here, of a size that no checkpoint had."""
        gate = self._gates[gateway.origin]
        if gate.passed[0] != size:
            tree = log.Tree()
            tree.extend(map(log.leaf_hash, self.store.entries(gateway, 0, size)))
            gate.passed = size, tree.root()
        return gate.passed[1]

    def _follows(self, gateway: Gateway, offer: Offer, root: bytes) -> None:
        """That the offered tree begins with the one known here. If the proof shows another beginning, it is a fork."""
        old, head = offer.old, offer.checkpoint
        if old == 0 or old == head.size:  # equal sizes have had their roots compared
            if offer.proof:
                raise Refused(
                    422, f"from {old} to {head.size} entries no proof is needed, and none may be there\n"
                )
            return
        found = subtree_roots(0, old, head.size, root, offer.proof)
        if found == (root, head.root):
            return
        if found is not None and found[1] == head.root:
            what = f"the signed tree of {head.size} entries does not begin with the {old} entries known here"
            alarm = LogAlarm("fork", what)
        else:
            alarm = LogAlarm("inconsistent", f"no proof that it begins with the {old} entries known here")
        self._alarm(gateway, alarm, offer.note.encode())

    # ── add-entries ─────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, upload: Upload) -> None:
        """Whether an upload can be taken, before its packages have come. Raises Refused: 404, 403, 409, 422."""
        with self._gate(upload.origin).lock:
            gateway, _ = self._open(upload.origin)
            self._not_held(gateway)
            self._target(gateway, upload)
            if min(upload.end, gateway.size) - upload.start > MAX_EXCESS:
                raise Refused(409, Standing(upload.end, gateway.size).text, MIRROR_INFO)

    def take(self, upload: Upload, packages: Sequence[Package]) -> Standing:
        """Verify packages, commit them in one transaction, and cosign if they were the last ones.

        Those before one that does not verify are kept. Raises Refused (404, 403, 409, 422).
        """
        gate = self._gate(upload.origin)
        with gate.lock:
            gateway, keys = self._open(upload.origin)
            self._not_held(gateway)
            head, signed = self._target(gateway, upload)
            gateway = self._taken(gate, gateway, keys, head, signed, packages)
            if gateway.size < head.size:
                return Standing(head.size, gateway.size)
            self._complete(gateway, head, signed)
            made = receipt_for(self.store, gateway, self.signer, self._utc_us)
            return Standing(head.size, gateway.size, None if made is None else made.receipt)

    def _course(self, gate: _Gate, gateway: Gateway, keys: LogKeys) -> Course:
        """Where the log stands. It is kept for the next time only if all goes well."""
        course, gate.course = gate.course, None
        if course is None or course.tree.size != gateway.size or course.keys != keys:
            course = Course.of(self.store, gateway, keys)
        course.began = gateway
        return course

    def _taken(
        self,
        gate: _Gate,
        gateway: Gateway,
        keys: LogKeys,
        head: note.Checkpoint,
        signed: note.Note,
        packages: Sequence[Package],
    ) -> Gateway:
        """The packages that verify, committed."""
        course = self._course(gate, gateway, keys)
        wrong = ""
        for package in packages:
            wrong = self._wrong(gateway, course, package, head)
            if wrong:
                break
            course.grow(package.entries[max(0, course.tree.size - package.start) :])
        if course.tree.size > gateway.size:
            if course.tree.size == head.size and course.tree.root() != head.root:
                what = "the stored entries and the new ones do not lead to its root hash"
                self._alarm(gateway, LogAlarm("fork", what), signed.encode(), packages)
            gateway = self._advanced(course, gateway, head, signed, packages)
        gate.course = course
        if wrong:
            raise Refused(422, f"{wrong}\n")
        return gateway

    def _advanced(
        self,
        course: Course,
        gateway: Gateway,
        head: note.Checkpoint,
        signed: note.Note,
        packages: Sequence[Package],
    ) -> Gateway:
        try:
            step = course.step(head, signed)
        except LogAlarm as alarm:
            self._alarm(gateway, alarm, signed.encode(), packages)
        gateway = self.store.advance(gateway, step, self._utc_us())
        course.began = gateway
        return gateway

    # ── both at once ────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, origin: str, deliveries: Sequence[Delivery]) -> tuple[Standing, tuple[Delivery, ...]]:
        """Take what came of one log, checkpoints and entries together, as far as it follows.

        Returns where the log then stands, and the deliveries whose entries come after ones that are not here yet.
        Raises Refused (404, 403, 422), StoreError; Overtaken if another process moved the log meanwhile: then it may be
        delivered again, and what is here by then is passed over.
        """
        gate = self._gate(origin)
        with gate.lock:
            gateway, keys = self._open(origin)
            self._not_held(gateway)
            made: Head | None = None
            for end in sorted({one.upload.end for one in deliveries}):
                same = [one for one in deliveries if one.upload.end == end]
                packages = following(gateway.size, same)
                root = same[0].offer.checkpoint.root
                if not packages and (end > gateway.size or self.store.roots(gateway, [end]).get(end) == root):
                    continue
                whole = self._whole(gate, gateway, keys, same[0].offer, packages)
                if whole is not None:
                    gateway, made = whole
                else:
                    gateway = self._piece(gate, gateway, keys, same[0], packages)
                    made = None
            ahead = tuple(one for one in deliveries if one.ahead_of(gateway.size))
            return self._standing(gateway, made, posted=True), ahead

    def _whole(
        self, gate: _Gate, gateway: Gateway, keys: LogKeys, offer: Offer, packages: Sequence[Package]
    ) -> tuple[Gateway, Head] | None:
        """Take entries that lead to the very root that is signed: that proves them all, and needs no pending head.

        None if they do not lead there.
        """
        head = offer.checkpoint
        if not packages or packages[-1].end != head.size:
            return None
        if any(one.size == head.size and one.root != head.root for one in self.store.pending(gateway)):
            return None
        self._signed(offer, keys)
        course = self._course(gate, gateway, keys)
        for package in packages:
            course.grow(package.entries[max(0, course.tree.size - package.start) :])
        if course.tree.size != head.size or course.tree.root() != head.root:
            return None
        gateway = self._advanced(course, gateway, head, offer.note, packages)
        gate.course = course
        return gateway, Head(head.size, head.root, offer.note.encode(), None, False)

    def _piece(
        self, gate: _Gate, gateway: Gateway, keys: LogKeys, one: Delivery, packages: Sequence[Package]
    ) -> Gateway:
        """Take entries by the proofs that came with them."""
        self._signed(one.offer, keys)
        try:
            self._offered(gateway, one.offer)
        except Refused as refused:
            if refused.status != 409:  # 409: known already, or passed
                raise
        if not packages:
            return gateway
        try:
            target = self._target(gateway, one.upload)
            return self._taken(gate, gateway, keys, *target, packages)
        except Refused as refused:
            if refused.status != 409:
                raise
            return gateway

    def _wrong(self, gateway: Gateway, course: Course, package: Package, head: note.Checkpoint) -> str:
        """Why a package is not of the checkpoint's tree, or ''."""
        before: list[bytes] = []
        if package.start > package.subtree:
            before = list(self.store.entries(gateway, package.subtree, package.start))
        if package.start > course.tree.size or len(before) != package.start - package.subtree:
            return f"entries before {package.start} are not here yet"
        leaves = list(map(log.leaf_hash, (*before, *package.entries)))
        root = subtree_root(leaves)
        if check_subtree(package.subtree, package.end, head.size, root, head.root, package.proof):
            return ""
        return f"entries {package.start} to {package.end - 1} are not shown to be in the tree of {head.size} entries"

    def _target(self, gateway: Gateway, upload: Upload) -> tuple[note.Checkpoint, note.Note]:
        """The checkpoint that an upload completes."""
        pending = self.store.pending(gateway)
        last = self.store.last_head(gateway)
        notes = {one.size: one.note for one in pending}
        if last is not None and last.size == gateway.size:
            notes[last.size] = last.note
        if not notes and not gateway.size:
            raise Refused(422, "no checkpoint of this log has come yet: add-checkpoint comes first\n")
        found = notes.get(upload.end)
        size = upload.end if found is not None else max(notes, default=gateway.size)
        if found is None or upload.start > gateway.size:
            raise Refused(409, Standing(size, gateway.size).text, MIRROR_INFO)
        signed = note.Note.parse(found)
        return note.Checkpoint.parse(signed.text), signed

    def _complete(self, gateway: Gateway, head: note.Checkpoint, signed: note.Note) -> None:
        """Enter a head whose entries had come under a longer checkpoint."""
        last = self.store.last_head(gateway)
        if last is not None and last.size == gateway.size:
            return
        gate = self._gates[gateway.origin]
        gate.course = None
        _, keys = self._open(gateway.origin)
        try:
            step = Course.of(self.store, gateway, keys).step(head, signed)
        except LogAlarm as alarm:
            self._alarm(gateway, alarm, signed.encode())
        self.store.advance(gateway, step, self._utc_us())

    # ── what is known ───────────────────────────────────────────────────────────────────────────────────────

    def standing(self, origin: str) -> Standing:
        """Where a log stands: newest pending size, next entry, and the newest receipt. Raises Refused (404)."""
        with self._gate(origin).lock:
            gateway, _ = self._open(origin)
            return self._standing(gateway)

    def _standing(self, gateway: Gateway, newest: Head | None = None, *, posted: bool = False) -> Standing:
        """``newest``: the head at its end, if that is known. ``posted``: the gateway is told."""
        pending = self.store.pending(gateway)
        head = receipt_for(self.store, gateway, self.signer, self._utc_us, newest, posted=posted)
        head = head or self.store.last_head(gateway)
        size = max((one.size for one in pending), default=gateway.size)
        return Standing(size, gateway.size, None if head is None else head.receipt)

    def posted(self, origin: str, size: int) -> None:
        """Note down that the gateway was given the receipt for a size."""
        with self._gate(origin).lock:
            gateway, _ = self._open(origin)
            head = self.store.last_head(gateway)
            if head is not None and head.size == size and head.receipt is not None and not head.posted:
                self.store.receipt(gateway, size, head.receipt, posted=True)

    def _gate(self, origin: str) -> _Gate:
        if origin not in self._keys():
            raise Refused(404, f"{origin[:200]}: no gateway of this platform has this origin\n")
        with self._opening:
            return self._gates.setdefault(origin, _Gate())

    def _open(self, origin: str) -> tuple[Gateway, LogKeys]:
        verifier = self._keys().get(origin)
        if verifier is None:
            raise Refused(404, f"{origin[:200]}: no gateway of this platform has this origin\n")
        revoked = self._revoked()
        gateway = gateway_of(self.store, verifier, revoked)
        return gateway, log_keys(self.store, gateway, verifier, revoked, self.signer.cosigner)

    def _not_held(self, gateway: Gateway) -> None:
        if gateway.alarm in HELD:
            raise Refused(403, f"held since an alarm ({gateway.alarm}): a person must look into it\n")

    def _alarm(
        self, gateway: Gateway, alarm: LogAlarm, theirs: bytes, packages: Sequence[Package] = ()
    ) -> NoReturn:
        ours = self.store.last_head(gateway)
        files = [
            (log.Tile(None, one.start // 256, len(one.entries)).path, log.encode_bundle(one.entries))
            for one in packages
        ]
        notes = (b"" if ours is None else ours.note, theirs)
        self.store.quarantine(gateway, alarm.kind, str(alarm), notes, files, self._utc_us())
        self._report(gateway.origin, alarm.kind, str(alarm))
        raise Refused(422, f"{alarm.kind}: {alarm}\n")
