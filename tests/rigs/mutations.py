"""The mutation campaign: random changes to logs, mirrors and audit bundles, each to be answered with its cause.

    python -m tests.rigs.mutations [--seed N] [--each N]

Every kind of change is tried on every target that it exists for. A change is *named* if the verdict is no (or, for the
page around a bundle's data, which is no evidence, a warning) with a code that this kind of change may give and, for
bit flips, with the place. It is *the same* only by a rule that says which bytes mean nothing: the rules are counted by
their names. Anything else escaped, and the campaign fails.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from random import Random

import msgspec

from evidence import bundle as bundles
from evidence import log, note, record
from evidence.bundle import Bundle, File, Receipt
from evidence.bundle_page import page
from evidence.bundle_proof import covering_hashes
from evidence.bundle_verify import verify_bundle, verify_page
from evidence.errors import ParseError
from evidence.findings import Report
from evidence.policy import Policy
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, Writer, files, signer

WRITER = Writer(seed=5).grow(270)
FOREIGN = Writer(origin="platform.example/gw/8", seed=6).grow(270)
KEY = WRITER.signer.verifier
STRANGER = signer(ORIGIN, 7)
PLATFORM = signer("platform.example/receipts", 9)
FALSE_PLATFORM = signer(PLATFORM.name, 10)
POLICY = Policy.parse(f"log {KEY.vkey}\nwitness platform {PLATFORM.cosigner.vkey}\nquorum platform\n")
AT = 1_790_000_999
Files = dict[str, bytes]
SAME_PERIOD = "the period asked for moved, within the polls that are shown"
SAME_STRANGERS_LINE = "a signature line of nobody whom the policy knows"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change: ``cause`` the codes found, ``same`` the rule by which it changes nothing."""

    named: bool
    cause: str = ""
    same: str = ""


@dataclass
class Tally:
    """Counts of one kind on one target."""

    tried: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)


Kind = Callable[[Random], Outcome]


def judged(report: Report, *causes: str, where: str = "", entry: int | None = None) -> Outcome:
    """Named if the answer is no, by one of these causes (any, if none are given), at this place (if one is given)."""
    errors = [f for f in report.findings if f.severity == "error"]
    fitting = [
        f for f in errors
        if (not causes or f.code in causes) and (not where or f.where == where) and (entry is None or f.entry == entry)
    ]  # fmt: skip
    told = ", ".join(sorted({f.code for f in fitting or errors}))
    return Outcome(not report.ok and bool(fitting), told or "nothing")


# -- what can be done to a list of entries -------------------------------------------------------------------


def dropped(entries: list[bytes], random: Random) -> None:
    del entries[random.randrange(len(entries))]


def swapped(entries: list[bytes], random: Random) -> None:
    one, other = random.sample(range(len(entries)), 2)
    entries[one], entries[other] = entries[other], entries[one]


def repeated(entries: list[bytes], random: Random) -> None:
    entries.insert(random.randrange(len(entries)), entries[random.randrange(len(entries))])


def overwritten(entries: list[bytes], random: Random) -> None:
    one, other = random.sample(range(len(entries)), 2)
    entries[one] = entries[other]


def cut(entries: list[bytes], random: Random) -> None:
    del entries[random.randrange(1, len(entries)) :]


def spaced(entries: list[bytes], random: Random) -> None:
    """White space between the tokens: another reader would see the same record; the signed bytes are others."""
    at = random.randrange(len(entries))
    places = [i for i, byte in enumerate(entries[at]) if byte in b",:{}[]" and i]
    place = random.choice(places)
    entries[at] = entries[at][:place] + b" " + entries[at][place:]


def value_edited(entries: list[bytes], random: Random) -> None:
    """A digit of some number changed: what a forger would do."""
    readings = [i for i, entry in enumerate(entries) if entry.startswith(b'{"type":"reading"')]
    at = random.choice(readings)
    start = entries[at].index(b'"indications"')
    digits = [i for i in range(start, len(entries[at])) if entries[at][i : i + 1].isdigit()]
    place = random.choice(digits)
    other = random.choice([d for d in b"123456789" if d != entries[at][place]])
    entries[at] = entries[at][:place] + bytes((other,)) + entries[at][place + 1 :]


def foreign_entry(entries: list[bytes], random: Random) -> None:
    entries[random.randrange(len(entries))] = FOREIGN.entries[random.randrange(len(FOREIGN.entries))]


EDITS: Mapping[str, Callable[[list[bytes], Random], None]] = {
    "entry dropped": dropped,
    "entries swapped": swapped,
    "entry repeated": repeated,
    "entry overwritten by another": overwritten,
    "tail of entries cut": cut,
    "white space in an entry": spaced,
    "digit of a value changed": value_edited,
    "entry of a foreign chain": foreign_entry,
}


def edited(edit: Callable[[list[bytes], Random], None], random: Random, like: list[bytes]) -> list[bytes]:
    """Entries after a change that did change them."""
    while True:
        entries = list(like)
        edit(entries, random)
        if entries != like:
            return entries


def flipped(data: bytes, random: Random) -> tuple[bytes, int]:
    at = random.randrange(8 * len(data))
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed), at // 8


# -- receipts ------------------------------------------------------------------------------------------------


def head_note(size: int, root: bytes | None = None, origin: str = ORIGIN) -> note.Note:
    root = WRITER.head(size).root if root is None else root
    return note.Note.parse(note.Checkpoint(origin, size, root).signed_by(WRITER.signer).encode())


def forged_receipt(random: Random) -> tuple[bytes, tuple[str, ...]]:
    """A receipt that is none, and the causes that may be told."""
    size = random.randrange(1, len(WRITER.entries))
    true = head_note(size).cosigned_by(PLATFORM, AT)
    how = random.randrange(6)
    if how == 0:  # the platform's name, another key under the platform's key id
        line = head_note(size).cosigned_by(FALSE_PLATFORM, AT).signatures[-1]
        fake = note.Signature(line.name, PLATFORM.cosigner.id, line.blob)
        return note.Note(true.text, (true.signatures[0], fake)).encode(), ("cosignature",)
    if how == 1:  # a key of the same name that nobody knows
        return head_note(size).cosigned_by(FALSE_PLATFORM, AT).encode(), (
            "receipt",
            "witness_missing",
            "quorum",
        )
    if how == 2:  # another time
        line = true.signatures[-1]
        blob = (int.from_bytes(line.blob[:8], "big") - random.randrange(1, 10**6)).to_bytes(
            8, "big"
        ) + line.blob[8:]
        late = note.Signature(line.name, line.key_id, blob)
        return note.Note(true.text, (true.signatures[0], late)).encode(), ("cosignature",)
    if how == 3:  # a history that both signed and that is not this one
        return head_note(size, random.randbytes(32)).cosigned_by(PLATFORM, AT).encode(), ("fork",)
    if how == 4:  # the line of another head
        other = head_note(size, random.randbytes(32)).cosigned_by(PLATFORM, AT).signatures[-1]
        return note.Note(true.text, (true.signatures[0], other)).encode(), ("cosignature",)
    data = true.encode()
    return data[: random.randrange(len(data))], ("receipt", "witness_missing", "quorum")


# -- logs and mirrors ----------------------------------------------------------------------------------------


class LogTarget:
    """A log as its gateway serves it, or (``mirror``) as a platform keeps it: cosigned, and its receipt demanded."""

    def __init__(self, *, mirror: bool) -> None:
        self.name = "mirror" if mirror else "log"
        self.mirror = mirror
        self.witnesses = (PLATFORM.cosigner,) if mirror else ()
        self.contents = WRITER.files()
        if mirror:
            self.contents["checkpoint"] = self.cosigned(self.contents["checkpoint"])
        self.kinds: dict[str, Kind] = {
            "bit flipped": self.flip,
            "file cut short": self.file_cut,
            "file gone": self.gone,
        }
        for name, edit in EDITS.items():
            self.kinds[name] = lambda random, edit=edit: self.edit(random, edit)
            self.kinds[f"{name}, signed again by another key"] = lambda random, edit=edit: self.other_key(
                random, edit
            )
            self.kinds[f"{name}, signed again by the log's key"] = lambda random, edit=edit: self.same_key(
                random, edit
            )
        self.kinds |= {
            "signed again by another key": lambda random: self.other_key(random, None),
            "files swapped": self.files_swapped,
            "forged receipt": self.receipt,
            "foreign chain": self.foreign,
            "rolled back": self.rolled_back,
            "forked": self.forked,
            "key record of a stranger": self.stranger,
        }

    @staticmethod
    def cosigned(checkpoint: bytes) -> bytes:
        return note.Note.parse(checkpoint).cosigned_by(PLATFORM, AT).encode()

    def verified(self, contents: Files, **options: object) -> Report:
        return verify_log(contents.get, KEY, witnesses=self.witnesses, **options)  # type: ignore[arg-type]

    def laid_out(self, entries: list[bytes], by: note.Signer = WRITER.signer, origin: str = ORIGIN) -> Files:
        made = files(entries, origin, by)
        if self.mirror:
            made["checkpoint"] = self.cosigned(made["checkpoint"])
        return made

    def flip(self, random: Random) -> Outcome:
        path = random.choice(sorted(self.contents))
        data, _ = flipped(self.contents[path], random)
        report = self.verified({**self.contents, path: data})
        if (
            path == "checkpoint"
        ):  # a witness's line that is the witness's no more is told as missing, by its name
            return judged(report, "checkpoint", "cosignature", "witness_missing", "receipt")
        return judged(report, where=path)

    def file_cut(self, random: Random) -> Outcome:
        path = random.choice(sorted(self.contents))
        data = self.contents[path][: random.randrange(len(self.contents[path]))]
        report = self.verified({**self.contents, path: data})
        return judged(report, where=path if path != "checkpoint" else "")

    def gone(self, random: Random) -> Outcome:
        path = random.choice([p for p in self.contents if p.startswith("tile/entries") or p == "checkpoint"])
        report = self.verified({p: d for p, d in self.contents.items() if p != path})
        return judged(report, "bundle", "checkpoint_missing")

    def files_swapped(self, random: Random) -> Outcome:
        one, other = random.sample([p for p in self.contents if p != "checkpoint"], 2)
        changed = {**self.contents, one: self.contents[other], other: self.contents[one]}
        return judged(self.verified(changed), "bundle", "tile", "entry", "root")

    def edit(self, random: Random, edit: Callable[[list[bytes], Random], None]) -> Outcome:
        entries = edited(edit, random, WRITER.entries)
        served = {**files(entries, ORIGIN, WRITER.signer), "checkpoint": self.contents["checkpoint"]}
        if random.random() < 0.5:  # the tiles as they were: they tell which entry it is
            served |= {p: d for p, d in self.contents.items() if p.startswith("tile/") and "entries" not in p}
        return judged(self.verified(served), "bundle", "entry", "root")

    def other_key(self, random: Random, edit: Callable[[list[bytes], Random], None] | None) -> Outcome:
        entries = edited(edit, random, WRITER.entries) if edit else WRITER.entries
        return judged(self.verified(self.laid_out(entries, STRANGER)), "checkpoint")

    def same_key(self, random: Random, edit: Callable[[list[bytes], Random], None]) -> Outcome:
        """Whoever holds the key signs what he likes: what was kept tells."""
        entries = edited(edit, random, WRITER.entries)
        made = files(entries, ORIGIN, WRITER.signer)
        if not self.mirror:
            return judged(self.verified(made, known=WRITER.head()), "fork", "rollback")
        receipt = head_note(len(WRITER.entries)).cosigned_by(PLATFORM, AT).encode()
        return judged(self.verified(made, receipts=[receipt]), "fork", "rollback")

    def receipt(self, random: Random) -> Outcome:
        data, causes = forged_receipt(random)
        contents = dict(self.contents) | {"checkpoint": WRITER.files()["checkpoint"]}
        report = verify_log(contents.get, KEY, witnesses=(PLATFORM.cosigner,), receipts=[data])
        return judged(report, *causes)

    def foreign(self, random: Random) -> Outcome:
        if random.random() < 0.5:  # another gateway's log in this one's place
            return judged(
                self.verified(self.laid_out(FOREIGN.entries, FOREIGN.signer, FOREIGN.origin)), "checkpoint"
            )
        entries = FOREIGN.entries[
            : random.randrange(5, len(FOREIGN.entries))
        ]  # relabelled, under the log's own key
        return judged(self.verified(self.laid_out(entries)), "genesis_origin", "genesis_key")

    def rolled_back(self, random: Random) -> Outcome:
        size = random.randrange(1, len(WRITER.entries))
        made = self.laid_out(WRITER.entries[:size])
        if self.mirror:
            receipt = head_note(len(WRITER.entries)).cosigned_by(PLATFORM, AT).encode()
            return judged(self.verified(made, receipts=[receipt]), "rollback")
        return judged(self.verified(made, known=WRITER.head()), "rollback")

    def forked(self, random: Random) -> Outcome:
        """The same beginning, then another history, as long or longer, signed by the log's own key."""
        size = random.randrange(6, len(WRITER.entries) - 1)
        other = Writer(seed=random.randrange(1 << 30)).grow(len(WRITER.entries) + random.randrange(3))
        entries = WRITER.entries[:size] + other.entries[size:]
        made = self.laid_out(entries)
        if self.mirror:
            receipt = head_note(len(WRITER.entries)).cosigned_by(PLATFORM, AT).encode()
            return judged(self.verified(made, receipts=[receipt]), "fork")
        return judged(self.verified(made, known=WRITER.head()), "fork")

    def stranger(self, random: Random) -> Outcome:
        """A key record that no older key signed, and the log signed by that key from there on."""
        thief = signer(ORIGIN, random.randrange(20, 200))
        statement = note.Note.parse(
            note.Checkpoint(ORIGIN, 1, bytes(32)).signed_by(thief).encode()
        ).encode().decode()  # fmt: skip
        entries = list(WRITER.entries)
        forged = record.Key(
            salt=random.randbytes(12), vkey=thief.verifier.vkey, replaces="", statement=statement,
            utc_us=WRITER.clock_us,
        )  # fmt: skip
        entries.insert(random.randrange(5, len(entries)), record.encode(forged))
        return judged(verify_log(files(entries, ORIGIN, thief).get, thief.verifier), "key_statement")


# -- bundles -------------------------------------------------------------------------------------------------

PAPER = b"certificate of calibration 0001"


@cache
def true_bundle() -> Bundle:
    """A bundle out of the middle of the log, with a certificate's file, cosigned by the platform."""
    receipt = head_note(len(SOURCE.entries), SOURCE.head().root).cosigned_by(PLATFORM, AT).encode()
    times = [
        found.due_us for entry in SOURCE.entries if isinstance(found := record.decode(entry), record.Reading)
    ]
    span = times[len(times) // 4], times[3 * len(times) // 4]
    read = SOURCE.files().get
    return bundles.make(
        read, "M2", *span, receipts=[receipt], files=[File("0001.pdf", "application/pdf", PAPER)]
    )


def _source() -> Writer:
    writer = Writer(seed=5)
    writer.add(
        record.Document(
            salt=writer.salt(), digest=sha256(PAPER).hexdigest(), kind="certificates", name="0001.pdf", size=len(PAPER),
            media_type="application/pdf", utc_us=writer.now(),
        )
    )  # fmt: skip
    return writer.grow(400)


SOURCE = _source()


class BundleTarget:
    """An audit bundle: its page, its data, and what a maker of bundles, or the log's key, could do."""

    name = "bundle"

    def __init__(self) -> None:
        self.true = true_bundle()
        self.data = bundles.encode(self.true)
        self.whole = gzip.decompress(self.data)
        self.page = page(self.data).encode()
        self.kinds: dict[str, Kind] = {
            "bit flipped in the page": self.page_flip,
            "bit flipped in the data": self.flip,
            "bit flipped in the unpacked data": self.unpacked_flip,
            "page cut short": self.page_cut,
            "data cut short": self.cut,
            "white space in the page": self.space,
            "forged receipt": self.receipt,
            "entry left out, with a right proof": self.left_out,
            "entry of another instrument, with a right proof": self.put_in,
            "hash changed": self.hash_changed,
            "foreign chain": self.foreign,
            "rolled back": self.rolled_back,
            "forked": self.forked,
            "signed again by another key": lambda random: self.other_key(random, None),
        }
        for name, edit in EDITS.items():
            if edit is not cut:
                self.kinds[name] = lambda random, edit=edit: self.edit(random, edit)
                self.kinds[f"{name}, signed again by another key"] = (
                    lambda random, edit=edit: self.other_key(random, edit)
                )  # fmt: skip
                self.kinds[f"{name}, signed again by the log's key"] = (
                    lambda random, edit=edit: self.same_key(random, edit)
                )  # fmt: skip
        self.kinds["tail of entries cut"] = lambda random: self.edit(random, cut)

    def verified(self, bundle: Bundle | bytes) -> Report:
        return verify_bundle(bundle if isinstance(bundle, bytes) else bundles.encode(bundle), POLICY)

    def page_flip(self, random: Random) -> Outcome:
        text, _ = flipped(self.page, random)
        return self._page(text)

    def page_cut(self, random: Random) -> Outcome:
        return self._page(self.page[: random.randrange(len(self.page))])

    def space(self, random: Random) -> Outcome:
        at = random.randrange(len(self.page))
        return self._page(self.page[:at] + random.choice([b" ", b"\n", b"\t"]) + self.page[at:])

    def _page(self, text: bytes) -> Outcome:
        try:
            report = verify_page(text, POLICY)
        except ParseError:
            return Outcome(True, "refused: no bundle's page")
        if report.ok and any(f.code == "page" for f in report.findings):
            return Outcome(True, "page")
        return judged(report)

    def flip(self, random: Random) -> Outcome:
        return self._judged(flipped(self.data, random)[0])

    def unpacked_flip(self, random: Random) -> Outcome:
        part = random.random()
        length = 8 + int.from_bytes(self.whole[4:8], "big")
        if (
            part < 0.5
        ):  # the head is small and holds what no hash covers by itself: look there as often as elsewhere
            head, _ = flipped(self.whole[:length], random)
            whole = head + self.whole[length:]
        else:
            whole, _ = flipped(self.whole, random)
        return self._judged(bundles.zipped(whole))

    def _judged(self, data: bytes) -> Outcome:
        report = self.verified(data)
        if report.ok and not report.findings:
            return Outcome(False, "nothing", self.same(bundles.decode(data)))
        if report.ok and any(f.code == "file_name" for f in report.findings):
            return Outcome(True, "file_name")
        return judged(report)

    def same(self, other: Bundle) -> str:
        """The rule by which a bundle says the same; empty if by none."""
        if replace(other, from_us=self.true.from_us, to_us=self.true.to_us) == self.true:
            return SAME_PERIOD
        notes = [(self.true.checkpoint, other.checkpoint)]
        notes += [(a.note, b.note) for a, b in zip(self.true.receipts, other.receipts, strict=False)]
        plain = replace(other, checkpoint=self.true.checkpoint, receipts=self.true.receipts)
        if plain == self.true and all(self._known_lines(a) <= self._known_lines(b) for a, b in notes):
            return SAME_STRANGERS_LINE
        return ""

    @staticmethod
    def _known_lines(data: bytes) -> set[note.Signature]:
        known = {(key.name, key.id) for key in (KEY, PLATFORM.cosigner)}
        return {line for line in note.Note.parse(data).signatures if (line.name, line.key_id) in known}

    def cut(self, random: Random) -> Outcome:
        return judged(self.verified(self.data[: random.randrange(2, len(self.data))]), "container")

    def receipt(self, random: Random) -> Outcome:
        data, causes = forged_receipt(random)
        forged = replace(self.true, receipts=(Receipt(data, self.true.receipts[0].consistency),))
        try:
            data.decode()
        except UnicodeDecodeError:
            return Outcome(True, "refused: no text")
        # A head of another size has no proof here that it is of this history: that is told first.
        return judged(self.verified(forged), *causes, "fork", "quorum", "receipt")

    def _proved(self, indexes: list[int], **changes: object) -> Bundle:
        leaves = [log.leaf_hash(entry) for entry in SOURCE.entries]

        def node(height: int, index: int) -> bytes:
            return log.full_root(leaves[index << height : (index + 1) << height])

        return replace(
            self.true, entries=tuple((i, SOURCE.entries[i]) for i in indexes),
            hashes=covering_hashes(indexes, len(SOURCE.entries), node), tags=(), **changes,
        )  # type: ignore[arg-type] # fmt: skip

    def left_out(self, random: Random) -> Outcome:
        indexes = [index for index, _ in self.true.entries]
        needed = [
            i
            for i, data in self.true.entries
            if not data.startswith((b'{"type":"seal"', b'{"type":"document"'))
        ]
        gone = random.choice(needed)
        return judged(
            self.verified(self._proved([i for i in indexes if i != gone])), "running_number", "back_link",
            "predecessor", "successor", "genesis", "configuration_reference", "calibration_state_reference",
        )  # fmt: skip

    def put_in(self, random: Random) -> Outcome:
        others = [
            i for i, data in enumerate(SOURCE.entries)
            if data.startswith((b'{"type":"reading"', b'{"type":"gap"')) and b'"instrument":"M2"' not in data
        ]  # fmt: skip
        more = random.choice(others)
        report = self.verified(self._proved(sorted({more, *(i for i, _ in self.true.entries)})))
        return judged(report, "foreign", entry=more)

    def hash_changed(self, random: Random) -> Outcome:
        hashes = list(self.true.hashes)
        at = random.randrange(len(hashes))
        how = random.randrange(4)
        if how == 0:
            hashes[at] = random.randbytes(32)
        elif how == 1:
            del hashes[at]
        elif how == 2:
            hashes.insert(at, hashes[at])
        else:
            other = (at + 1) % len(hashes)
            hashes[at], hashes[other] = hashes[other], hashes[at]
        return judged(self.verified(replace(self.true, hashes=tuple(hashes))), "root")

    def foreign(self, random: Random) -> Outcome:
        read = FOREIGN.files().get
        span = FOREIGN.clock_us - 100_000_000 - random.randrange(10**8), FOREIGN.clock_us
        other = bundles.make(read, "M2", *span)
        if random.random() < 0.5:
            other = replace(
                other, origin=ORIGIN, checkpoint=self.true.checkpoint, receipts=self.true.receipts
            )
            return judged(self.verified(other), "root", "entry", "indexes")
        return judged(self.verified(other), "checkpoint")

    def rolled_back(self, random: Random) -> Outcome:
        """The log's key signs an older, shorter tree under the same entries; or the cosigned head is an older one."""
        newest = self.true.entries[-1][0]
        if random.random() < 0.5:
            size = random.randrange(1, newest)
            checkpoint = head_note(size, SOURCE.head(size).root).cosigned_by(PLATFORM, AT).encode()
            return judged(
                self.verified(replace(self.true, checkpoint=checkpoint, receipts=())), "indexes", "root"
            )
        size = random.randrange(1, max(i for i, d in self.true.entries if b'"instrument":"M2"' in d))
        leaves = [log.leaf_hash(entry) for entry in SOURCE.entries]

        def node(height: int, index: int) -> bytes:
            return log.full_root(leaves[index << height : (index + 1) << height])

        old = Receipt(
            head_note(size, SOURCE.head(size).root).cosigned_by(PLATFORM, AT).encode(),
            log.consistency_proof(size, len(leaves), node),
        )
        return judged(self.verified(replace(self.true, receipts=(old,))), "quorum")

    def _relogged(self, entries: list[bytes], by: note.Signer, receipts: tuple[Receipt, ...]) -> Bundle:
        leaves = [log.leaf_hash(entry) for entry in entries]
        tree = log.Tree()
        tree.extend(leaves)

        def node(height: int, index: int) -> bytes:
            return log.full_root(leaves[index << height : (index + 1) << height])

        indexes = [i for i, _ in self.true.entries if i < len(entries)]
        return replace(
            self.true, entries=tuple((i, entries[i]) for i in indexes), receipts=receipts, tags=(),
            hashes=covering_hashes(indexes, len(entries), node),
            checkpoint=note.Checkpoint(ORIGIN, len(entries), tree.root()).signed_by(by).encode(),
        )  # fmt: skip

    def forked(self, random: Random) -> Outcome:
        """Another history from some entry on, signed by the log's key, with the receipt of the true one."""
        entries = list(SOURCE.entries)
        for at in range(random.randrange(6, len(entries)), len(entries)):
            found = record.decode(entries[at])
            entries[at] = record.encode(msgspec.structs.replace(found, salt=random.randbytes(12)))
        return judged(self.verified(self._relogged(entries, WRITER.signer, self.true.receipts)), "fork")

    def edit(self, random: Random, edit: Callable[[list[bytes], Random], None]) -> Outcome:
        true = [data for _, data in self.true.entries]
        entries = edited(edit, random, true)
        indexes = [i for i, _ in self.true.entries]
        indexes += range(indexes[-1] + 1, indexes[-1] + 1 + max(0, len(entries) - len(indexes)))
        pairs = tuple(zip(indexes, entries, strict=False))
        tags = self.true.tags if random.random() < 0.5 and len(entries) == len(true) else ()
        return judged(
            self.verified(replace(self.true, entries=pairs, tags=tags)),
            "entry",
            "root",
            "indexes",
            "container",
        )

    def other_key(self, random: Random, edit: Callable[[list[bytes], Random], None] | None) -> Outcome:
        entries = edited(edit, random, SOURCE.entries) if edit else SOURCE.entries
        return judged(self.verified(self._relogged(entries, STRANGER, self.true.receipts)), "checkpoint")

    def same_key(self, random: Random, edit: Callable[[list[bytes], Random], None]) -> Outcome:
        entries = edited(edit, random, SOURCE.entries)
        return judged(
            self.verified(self._relogged(entries, WRITER.signer, self.true.receipts)), "fork", "quorum"
        )


def targets() -> tuple[LogTarget | BundleTarget, ...]:
    """All of them."""
    return LogTarget(mirror=False), LogTarget(mirror=True), BundleTarget()


def campaign(seed: int, each: int) -> dict[tuple[str, str], Tally]:
    """``each`` changes of every kind to every target; bit flips ten times as many."""
    found: dict[tuple[str, str], Tally] = {}
    for target in targets():
        for kind, change in target.kinds.items():
            tally = found[target.name, kind] = Tally()
            for number in range(each * (10 if kind.startswith("bit") else 1)):
                own = f"{seed} {target.name} {kind} {number}"
                outcome = change(Random(own))
                tally.tried += 1
                if outcome.named:
                    tally.causes[outcome.cause] += 1
                elif outcome.same:
                    tally.same[outcome.same] += 1
                else:
                    tally.escaped.append(f"{own}: {outcome.cause}")
    return found


def main(arguments: list[str]) -> int:
    """Run the campaign and print its counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--each", type=int, default=100, help="changes of each kind on each target (bit flips: 10 x)"
    )
    given = parser.parse_args(arguments)
    found = campaign(given.seed, given.each)
    for (target, kind), tally in found.items():
        causes = "; ".join(f"{cause} {count}" for cause, count in tally.causes.most_common(4))
        print(f"{target:7} {kind:62} {tally.tried:6} named {sum(tally.causes.values()):6}  {causes}")
        for rule, count in tally.same.items():
            print(f"{'':7} {'':62} the same {count}: {rule}")
        for escaped in tally.escaped[:5]:
            print(f"{'':7} ESCAPED {escaped}")
    for target in ("log", "mirror", "bundle"):
        mine = [tally for (name, _), tally in found.items() if name == target]
        print(
            f"{target}: {sum(t.tried for t in mine)} changes of {len(mine)} kinds, "
            f"{sum(sum(t.causes.values()) for t in mine)} named, {sum(sum(t.same.values()) for t in mine)} the same, "
            f"{sum(len(t.escaped) for t in mine)} escaped"
        )
    total = sum(t.tried for t in found.values())
    escaped = sum(len(t.escaped) for t in found.values())
    print(f"all: {total} changes, {escaped} escaped")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
