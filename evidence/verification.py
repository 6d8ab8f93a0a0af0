"""Verification of a log: from its paths and a key that came another way, to a report.

In order: the checkpoint's signature and origin; every entry bundle, hashed to the root; every stored hash
tile against the one that the entries give; every record, strictly; what follows from what (``continuity``);
the seal at the end; cosignatures of witnesses; receipts and an earlier checkpoint, which must be of the same
history.

Bad evidence is the subject: it makes findings, never exceptions. ``read`` gives the bytes at a path, or None;
a directory, a mirrored copy, an archive or a server are the caller's business.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from . import note
from .continuity import Continuity
from .errors import ParseError
from .findings import Finding, Findings, Report, Severity
from .following import Followed, follow_keys
from .revocation import Revocation, bounds, refuse_revoked
from .walk import Read, Walk

VALUES_UNREAD: Final = (
    "hashes, signatures, running numbers, links and seals were checked, as was asked for; the values, times and bytes "
    "of readings were not read"
)
PARALLEL_FROM: Final = 20_000  # entries; below, starting processes costs more than it gives


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles: verification makes a dozen objects an entry, and no cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def verify_log(
    read: Read,
    *verifiers: note.Verifier,
    witnesses: Sequence[note.Verifier] = (),
    known: note.Checkpoint | None = None,
    receipts: Iterable[bytes] = (),
    revoked: Sequence[Revocation] = (),
    previous: note.Checkpoint | None = None,
    structure: bool = False,
    jobs: int = 1,
) -> Report:
    """Verify a whole log.

    ``verifiers``: the log's keys, from outside; if a newer one signs, the log's key records lead to it, and a finding
    says so. ``witnesses``: cosigners whose line on the checkpoint is
    demanded, or on one of ``receipts`` (cosigned checkpoint notes kept from earlier). ``known``: an earlier
    checkpoint that the caller believes. ``revoked``: keys whose word counts up to a size only. ``previous``:
    the last head of the log that this one must continue. ``structure``: hashes, signatures, numbers and links only;
    what readings say is passed over, and the report says so. ``jobs``: processes that hash and read. Returns the
    report; raises nothing for bad evidence.
    """
    findings = Findings()
    data = read("checkpoint")
    if data is None:
        findings.add("checkpoint_missing", "there is no checkpoint here: is this the directory of a log?")
        return Report(findings.all())
    given = verifiers
    for followed in follow_keys(read, data, given, bounds(revoked, ())):
        verifiers = (*verifiers, followed.key)
        findings.note(_followed(followed))
    try:
        checkpoint, signed = note.open_checkpoint(data, *verifiers)
    except (ParseError, note.VerifyError) as error:
        findings.add("checkpoint", str(error), where="checkpoint")
        return Report(findings.all())
    wanted = _Heads(verifiers, witnesses, findings)
    wanted.receipt(signed.encode(), "checkpoint", demanded=False)
    for number, receipt in enumerate(receipts, 1):
        wanted.receipt(receipt, f"receipt {number}", demanded=True)
    if known is not None:
        wanted.known(known)
    for witness in witnesses:
        if witness.name not in wanted.cosigned:
            findings.add(
                "witness_missing",
                "no cosignature of this witness, on the checkpoint or a receipt",
                None,
                witness.name,
            )

    limits = bounds(revoked, wanted.witnessed)
    try:
        refuse_revoked(checkpoint, signed, verifiers, limits)
    except note.VerifyError as error:
        findings.add("revoked", str(error), where="checkpoint")
    follow = Continuity(checkpoint.origin, given, findings=findings, limits=limits, previous=previous)
    walk = Walk(checkpoint, read, follow, findings, structure)
    if structure:
        findings.note(Finding("values_unread", Severity.INFO, VALUES_UNREAD))
    parallel = jobs > 1 and checkpoint.size >= PARALLEL_FROM
    with _uncollected():
        if parallel:
            with ProcessPoolExecutor(jobs) as pool:
                walk.follow(wanted.sizes, pool, 3 * jobs)
        else:
            walk.follow(wanted.sizes, None, 1)
    walk.compare()
    wanted.compare(walk.roots, checkpoint)
    follow.finish(checkpoint.size)
    return Report(
        findings.all(),
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        dict(sorted(follow.counts.items())),
        follow.completeness(),
        wanted.cosigned,
    )


def _followed(followed: Followed) -> Finding:
    what = (
        f"the log goes on with a newer key, {note.fingerprint(followed.key.vkey)}, which this record gives, signed by "
        f"itself and by a key before it, from the one that was given on: {followed.key.vkey}"
    )
    return Finding("key_followed", Severity.INFO, what, followed.entry)


@dataclass(slots=True)
class _Heads:
    """Tree heads that others vouch for: each must be of the history that the entries give."""

    verifiers: Sequence[note.Verifier]
    witnesses: Sequence[note.Verifier]
    findings: Findings
    cosigned: dict[str, tuple[int, int]] = field(default_factory=dict)
    heads: list[tuple[str, note.Checkpoint]] = field(default_factory=list)
    witnessed: list[tuple[int, int]] = field(default_factory=list)  # size, and when (s), of every cosignature

    @property
    def sizes(self) -> set[int]:
        return {head.size for _, head in self.heads}

    def receipt(self, data: bytes, where: str, *, demanded: bool) -> None:
        try:
            head, signed = note.open_checkpoint(data, *self.verifiers)
        except (ParseError, note.VerifyError) as error:
            self.findings.add("receipt", str(error), where=where)
            return
        self.heads.append((where, head))
        found = False
        for witness in self.witnesses:
            at = signed.cosigned_at(witness)
            if at is not None:
                found = True
                self.witnessed.append((head.size, at))
                self.cosigned[witness.name] = max(self.cosigned.get(witness.name, (0, 0)), (head.size, at))
            elif signed.by(witness):
                self.findings.add("cosignature", "the cosignature is wrong", None, f"{where}, {witness.name}")
        if demanded and not found:
            self.findings.add("receipt", "none of the given witnesses cosigned it", where=where)

    def known(self, head: note.Checkpoint) -> None:
        self.heads.append(("the known checkpoint", head))

    def compare(self, roots: dict[int, bytes], checkpoint: note.Checkpoint) -> None:
        for where, head in self.heads:
            if head.origin != checkpoint.origin:
                self.findings.add("fork", f"is of another log, {head.origin}", where=where)
            elif head.size > checkpoint.size:
                what = f"is over {head.size} entries, the log has only {checkpoint.size}: it was cut back"
                self.findings.add("rollback", what, where=where)
            elif head.size in roots and roots[head.size] != head.root and where != "checkpoint":
                what = f"has another root hash for the first {head.size} entries: there are two histories"
                self.findings.add("fork", what, where=where)
