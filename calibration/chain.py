"""The metrological traceability chain (VIM 2.42): every path from an instrument up, with its evidence and its breaks.

A chain is asked for at a moment: the instrument's certificates in force then are its first steps. Each certificate
names the reference standards that it used; *their* certificate must have been valid on the day that the child's
calibration was **performed**, not today. A path ends at a national metrology institute (VALID), or honestly before
one: at an accredited laboratory whose own chain is not in the register (INCOMPLETE, or VALID where the policy accepts
such ends), at a standard that nobody registered, at a certificate that names none (INCOMPLETE). What is expired,
withdrawn, failed, found out of tolerance, or whose file is not the one stated, is BROKEN. A step is as good as the
worst of what it leans on: a calibration with two standards needs both.

``known_at`` asks what the register knew at a moment; without it everything known today counts, for good and for bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from calibration.certificate import Certificate, Instrument, ReferenceUse
from calibration.holdings import ChainSource, WithCandidate
from calibration.records import CertificateRecord, Finding, InstrumentRecord, in_force, standing_due
from calibration.refusals import UnknownInstrument
from calibration.words import say

DEPTH_LIMIT = 24
"""More steps than any hierarchy of standards has."""


class Status(StrEnum):
    """How good a step, an edge or a chain is."""

    VALID = "valid"
    INCOMPLETE = "incomplete"
    BROKEN = "broken"


class Evidence(StrEnum):
    """What an edge to a standard's certificate rests on."""

    HASH = "hash"  # the child states the SHA-256 of the parent's file, and it is that
    REFERENCE = "reference"  # the child names the parent certificate
    MANUAL = "manual"  # only the standard is named; its certificate in force was taken


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step or an edge is not valid, or where it ends: a code of ``calibration.words`` with its facts."""

    code: str
    status: Status
    facts: tuple[tuple[str, str], ...] = ()

    def text(self, language: str = "en") -> str:
        """The reason in words."""
        return say(self.code, language, **dict(self.facts))


@dataclass(frozen=True, slots=True)
class Edge:
    """From a certificate up to the certificate of a standard that it used."""

    child: str
    standard: str
    parent: str
    evidence: Evidence
    verified_by: str
    share: str
    status: Status  # the worst of the edge's own reasons and of all above it
    reasons: tuple[Reason, ...]
    above: Step | None


@dataclass(frozen=True, slots=True)
class Step:
    """A certificate that speaks for an instrument on the day ``at``, and the edges up from it."""

    instrument: Instrument
    certificate: Certificate
    at: date
    due: date | None
    status: Status  # the worst of the step's own reasons and of its edges
    reasons: tuple[Reason, ...]
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What ends a chain well.

    ``accept_accredited``: an accredited laboratory (ILAC-MRA) outside the register is a good end (ILAC-P10); True for
    all, or the accreditation numbers that are accepted.
    """

    accept_accredited: bool | frozenset[str] = False

    def accepts(self, accreditation: str) -> bool:
        """Whether an accreditation ends a chain well."""
        if isinstance(self.accept_accredited, bool):
            return self.accept_accredited
        return accreditation in self.accept_accredited


@dataclass(frozen=True, slots=True)
class Chain:
    """The chain of one instrument at a moment: a step per certificate in force, each with all paths above it."""

    instrument: Instrument
    at: date
    known_at: datetime | None
    steps: tuple[Step, ...]
    reasons: tuple[Reason, ...] = ()

    @property
    def status(self) -> Status:
        """The worst of everything in the chain."""
        return worst(self.reasons, [step.status for step in self.steps])

    def paths(self) -> Iterator[tuple[Step, ...]]:
        """Every path, from the instrument's certificate up to where it ends."""
        for step in self.steps:
            yield from _paths(step)

    def all_reasons(self) -> tuple[Reason, ...]:
        """Every reason met, once, in the order of the tree."""
        found: dict[Reason, None] = dict.fromkeys(self.reasons)
        for step in _each(self.steps):
            found |= dict.fromkeys(step.reasons)
            for edge in step.edges:
                found |= dict.fromkeys(edge.reasons)
        return tuple(found)

    def to_plain(self, language: str = "en") -> dict[str, Any]:
        """The chain as JSON-ready data; texts in the language. A step met again has ``repeated`` and no edges."""
        seen: set[int] = set()
        return {
            "instrument": self.instrument.id,
            "at": self.at.isoformat(),
            "known_at": None if self.known_at is None else self.known_at.isoformat(),
            "status": self.status.value,
            "reasons": [_plain_reason(reason, language) for reason in self.reasons],
            "steps": [_plain_step(step, language, seen) for step in self.steps],
        }

    def tree(self, language: str = "en") -> str:
        """The chain as lines of text, the instrument first, standards indented under what they calibrated."""
        lines = [f"{_label(self.instrument)}  {_mark(self.status, language)}  {self.at.isoformat()}"]
        lines += [f"   ! {reason.text(language)}" for reason in self.reasons]
        seen: set[int] = set()
        for number, step in enumerate(self.steps, 1):
            lines += _branch(step, "", number == len(self.steps), language, seen)
        return "\n".join(lines) + "\n"


def trace(
    source: ChainSource,
    instrument: str,
    at: date,
    *,
    known_at: datetime | None = None,
    policy: Policy | None = None,
) -> Chain:
    """The traceability chain of an instrument for a reading taken at ``at``.

    Raises:
        UnknownInstrument: the instrument itself is not in the register (a missing standard is a reason instead).
    """
    day = at.date() if isinstance(at, datetime) else at
    tracer = _Tracer(source, known_at, policy or Policy())
    record = source.instrument_record(instrument)
    records = source.certificate_records(instrument=instrument)
    standing = in_force(records, day, known_at)
    reasons = [] if standing else [_nothing_in_force(record.instrument, records, day)]
    reasons += tracer.instrument_reasons(record, day)
    steps = tuple(tracer.step(record.instrument, one, day, ()) for one in standing)
    return Chain(record.instrument, day, known_at, steps, tuple(reasons))


def preview(
    source: ChainSource, certificate: Certificate, at: datetime, *, policy: Policy | None = None
) -> Chain:
    """The chain that the instrument would have if the certificate were registered: to warn before it is.

    A standard that was past due on the day of the calibration shows as BROKEN here; whether that blocks is the
    caller's policy.

    Raises:
        UnknownInstrument: the certificate's instrument is not in the register.
    """
    candidate = CertificateRecord(certificate, 1_000_000, at, "")
    return trace(
        WithCandidate(source, candidate), certificate.instrument, certificate.performed, policy=policy
    )


def worst(reasons: Iterable[Reason], others: Iterable[Status] = ()) -> Status:
    """The worst status of reasons and further statuses; VALID if there are none."""
    found = {reason.status for reason in reasons} | set(others)
    return next((s for s in (Status.BROKEN, Status.INCOMPLETE) if s in found), Status.VALID)


@dataclass(frozen=True, slots=True)
class _Tracer:
    source: ChainSource
    known_at: datetime | None
    policy: Policy
    made: dict[tuple[str, int, date], Step] = field(default_factory=dict)  # shared standards are traced once
    circular: list[Step] = field(default_factory=list)

    def step(
        self, instrument: Instrument, record: CertificateRecord, day: date, below: tuple[str, ...]
    ) -> Step:
        """The step of a certificate on a day; ``below`` are the certificates that lean on it."""
        certificate = record.certificate
        key = (certificate.id, record.revision, day)
        if key in self.made:
            return self.made[key]
        due = standing_due(record, self.source.certificate_records(instrument=instrument.id), instrument)
        reasons = self.certificate_reasons(record, due, day)
        edges: tuple[Edge, ...] = ()
        whole = True
        if certificate.id in below:
            reasons.append(_reason("cycle", Status.BROKEN, certificate=certificate.id))
            whole = False
        elif len(below) >= DEPTH_LIMIT:
            reasons.append(_reason("too_deep", Status.BROKEN, limit=DEPTH_LIMIT, instrument=instrument.id))
            whole = False
        elif certificate.national:
            reasons.append(_reason("national_end", Status.VALID))
        else:
            path = (*below, certificate.id)
            edges = tuple(e for use in certificate.references for e in self.edges(record, use, path))
            if not edges:
                reasons.append(self.end(certificate))
        status = worst(reasons, [edge.status for edge in edges])
        made = Step(instrument, certificate, day, due, status, tuple(reasons), edges)
        if whole and not any(edge.above is one for edge in edges for one in self.circular):
            self.made[key] = made
        else:  # what leans on a circle depends on where it was entered: it is not shared
            self.circular.append(made)
        return made

    def edges(self, record: CertificateRecord, use: ReferenceUse, below: tuple[str, ...]) -> Iterator[Edge]:
        """The edges of one reference use: one, or one per certificate in force where none is named."""
        child = record.certificate
        known = self.standard(use.standard)
        found, evidence, reasons = self.parents(child, use)
        if use.standard and known is None:
            reasons.append(_unknown_standard(child, use.standard))
        if not found:
            if not reasons:
                name = use.certificate or f"SHA-256 {use.digest[:16]}…"
                reasons.append(
                    _parent_unknown(use.standard, name) if use.standard else _unknown_standard(child, name)
                )
            yield self.edge(record, use, use.certificate, evidence, reasons, None)
        for parent in found:
            owner = self.standard(parent.certificate.instrument)
            own = [*reasons, *self.hash_reasons(child, use, parent.certificate)]
            if use.standard and parent.certificate.instrument != use.standard:
                facts = {"parent": parent.certificate.id, "owner": parent.certificate.instrument}
                own.append(_reason("parent_foreign", Status.BROKEN, standard=use.standard, **facts))
            above = None
            if owner is None:
                own.append(_unknown_standard(child, parent.certificate.instrument))
            else:
                own += self.instrument_reasons(owner, child.performed)
                above = self.step(owner.instrument, parent, child.performed, below)
            confirmed = bool(use.digest) and not any(r.code.startswith("hash") for r in own)
            best = Evidence.HASH if confirmed else evidence
            yield self.edge(record, use, parent.certificate.id, best, own, above)

    def edge(
        self, record: CertificateRecord, use: ReferenceUse, parent: str, evidence: Evidence,
        reasons: Sequence[Reason], above: Step | None,
    ) -> Edge:  # fmt: skip
        by = "sha256" if evidence is Evidence.HASH else record.registered_by
        share = "" if use.share is None else str(use.share)
        status = worst(reasons, [] if above is None else [above.status])
        return Edge(
            record.certificate.id, use.standard, parent, evidence, by, share, status, tuple(reasons), above
        )

    def parents(
        self, child: Certificate, use: ReferenceUse
    ) -> tuple[Sequence[CertificateRecord], Evidence, list[Reason]]:
        """The certificates that a reference use leads to, what says so, and what is wrong with that."""
        if use.certificate:
            return (
                self.best(self.source.certificate_records(certificate=use.certificate)),
                Evidence.REFERENCE,
                [],
            )
        if use.digest:
            return self.best(self.source.by_digest(use.digest)), Evidence.REFERENCE, []
        records = self.source.certificate_records(instrument=use.standard)
        standing = in_force(records, child.performed, self.known_at)
        known = self.standard(use.standard)
        if standing or known is None:
            return standing, Evidence.MANUAL, []
        return (), Evidence.MANUAL, [_nothing_in_force(known.instrument, records, child.performed)]

    def best(self, records: Sequence[CertificateRecord]) -> Sequence[CertificateRecord]:
        """The revision in use, or the newest withdrawn one: then the chain shows why it is broken."""
        newest = sorted(records, key=lambda r: r.revision, reverse=True)
        known = [r for r in newest if r.known_at(self.known_at)]
        if known or self.known_at is None:
            return (known or newest)[:1]
        return [r for r in newest if r.registered <= self.known_at][:1]

    def standard(self, instrument_id: str) -> InstrumentRecord | None:
        try:
            return self.source.instrument_record(instrument_id)
        except UnknownInstrument:
            return None

    def certificate_reasons(self, record: CertificateRecord, due: date | None, day: date) -> list[Reason]:
        """What is wrong with a certificate by itself on a day."""
        certificate = record.certificate
        name = certificate.id
        found = []
        if record.withdrawn is not None and not record.known_at(self.known_at):
            found.append(_reason("withdrawn", Status.BROKEN, certificate=name, why=record.withdrawn.reason))
        if certificate.performed > day:
            found.append(
                _reason("not_yet", Status.BROKEN, certificate=name, performed=certificate.performed, at=day)
            )
        if due is not None and due < day:
            found.append(_reason("expired", Status.BROKEN, certificate=name, until=due, at=day))
        if certificate.passed is False:
            found.append(_reason("failed", Status.BROKEN, certificate=name))
        found += _finding_reasons(self.source.findings(certificate=name, known_at=self.known_at), day)
        return found

    def instrument_reasons(self, record: InstrumentRecord, day: date) -> list[Reason]:
        """What is wrong with an instrument by itself on a day."""
        name = record.instrument.id
        found = _finding_reasons(self.source.findings(instrument=name, known_at=self.known_at), day)
        gone = record.withdrawn
        if gone is not None and gone.at.date() < day and (self.known_at is None or gone.at <= self.known_at):
            found.append(_reason("instrument_withdrawn", Status.BROKEN, instrument=name, why=gone.reason))
        return found

    def hash_reasons(self, child: Certificate, use: ReferenceUse, parent: Certificate) -> list[Reason]:
        """Whether the parent's file is the one that the child states."""
        if not use.digest:
            return []
        held = self.source.digests(parent.id)
        if not held:
            return [_reason("hash_unchecked", Status.INCOMPLETE, parent=parent.id)]
        if use.digest not in held:
            return [_reason("hash_differs", Status.BROKEN, parent=parent.id, certificate=child.id)]
        return []

    def end(self, certificate: Certificate) -> Reason:
        """Why there is nothing above a certificate."""
        if not certificate.accreditation:
            return _reason("no_reference", Status.INCOMPLETE, certificate=certificate.id)
        if self.policy.accepts(certificate.accreditation):
            return _reason("accredited_end", Status.VALID, accreditation=certificate.accreditation)
        facts = {"certificate": certificate.id, "accreditation": certificate.accreditation}
        return _reason("accredited_outside", Status.INCOMPLETE, **facts)


def _reason(code: str, status: Status, **facts: object) -> Reason:
    return Reason(code, status, tuple((name, str(value)) for name, value in facts.items()))


def _unknown_standard(child: Certificate, standard: str) -> Reason:
    return _reason("standard_unknown", Status.INCOMPLETE, standard=standard, certificate=child.id)


def _parent_unknown(standard: str, parent: str) -> Reason:
    return _reason("parent_unknown", Status.INCOMPLETE, standard=standard, parent=parent)


def _nothing_in_force(instrument: Instrument, records: Sequence[CertificateRecord], day: date) -> Reason:
    gone = [r for r in records if r.withdrawn is not None and r.certificate.performed <= day]
    if gone:
        last = max(gone, key=lambda r: (r.certificate.performed, r.revision))
        assert last.withdrawn is not None
        return _reason("withdrawn", Status.BROKEN, certificate=last.certificate.id, why=last.withdrawn.reason)
    return _reason("no_certificate", Status.INCOMPLETE, instrument=instrument.id, at=day)


def _finding_reasons(findings: Sequence[Finding], day: date) -> list[Reason]:
    return [
        _reason(
            "out_of_tolerance",
            Status.BROKEN,
            subject=finding.subject,
            first=finding.first,
            last=finding.last or "…",
            why=finding.reason,
        )
        for finding in findings
        if finding.covers(day)
    ]


def _paths(step: Step) -> Iterator[tuple[Step, ...]]:
    tops = [edge.above for edge in step.edges if edge.above is not None]
    if len(tops) < len(step.edges) or not step.edges:
        yield (step,)
    for top in tops:
        for path in _paths(top):
            yield (step, *path)


def _each(steps: Iterable[Step], seen: set[int] | None = None) -> Iterator[Step]:
    """Every step of a chain once, those that are leant on after those that lean."""
    seen = set() if seen is None else seen
    for step in steps:
        if id(step) not in seen:
            seen.add(id(step))
            yield step
            yield from _each((edge.above for edge in step.edges if edge.above is not None), seen)


def _plain_reason(reason: Reason, language: str) -> dict[str, Any]:
    return {
        "code": reason.code,
        "status": reason.status.value,
        "facts": dict(reason.facts),
        "text": reason.text(language),
    }


def _plain_step(step: Step, language: str, seen: set[int]) -> dict[str, Any]:
    certificate = step.certificate
    repeated = id(step) in seen
    seen.add(id(step))
    return {
        "instrument": step.instrument.id,
        "certificate": certificate.id,
        "kind": certificate.kind.value,
        "laboratory": certificate.laboratory,
        "accreditation": certificate.accreditation,
        "national": certificate.national,
        "performed": certificate.performed.isoformat(),
        "due": None if step.due is None else step.due.isoformat(),
        "digest": certificate.digest,
        "at": step.at.isoformat(),
        "status": step.status.value,
        "reasons": [_plain_reason(reason, language) for reason in step.reasons],
        "repeated": repeated,
        "edges": [] if repeated else [_plain_edge(edge, language, seen) for edge in step.edges],
    }


def _plain_edge(edge: Edge, language: str, seen: set[int]) -> dict[str, Any]:
    return {
        "standard": edge.standard,
        "certificate": edge.parent,
        "evidence": edge.evidence.value,
        "verified_by": edge.verified_by,
        "share": edge.share,
        "status": edge.status.value,
        "reasons": [_plain_reason(reason, language) for reason in edge.reasons],
        "above": None if edge.above is None else _plain_step(edge.above, language, seen),
    }


_ICONS = {Status.VALID: "✔", Status.INCOMPLETE: "◐", Status.BROKEN: "✘"}


def _mark(status: Status, language: str) -> str:
    return f"[{_ICONS[status]} {say(status.value, language)}]"


def _label(instrument: Instrument) -> str:
    return " ".join(part for part in (instrument.id, instrument.model, instrument.serial) if part)


def _branch(step: Step, indent: str, last: bool, language: str, seen: set[int]) -> list[str]:
    certificate = step.certificate
    due = "…" if step.due is None else step.due.isoformat()
    span = f"{certificate.performed.isoformat()} … {due}" if step.due else certificate.performed.isoformat()
    head = f"{certificate.id} · {certificate.laboratory} · {span}  {_mark(step.status, language)}"
    lines = [f"{indent}{'└─ ' if last else '├─ '}{head}"]
    if id(step) in seen:
        lines[0] += " ↑"
        return lines
    seen.add(id(step))
    deeper = indent + ("   " if last else "│  ")
    for reason in step.reasons:
        sign = "·" if reason.status is Status.VALID else "!"
        lines.append(f"{deeper}{sign} {reason.text(language)}")
    for number, edge in enumerate(step.edges, 1):
        final = number == len(step.edges)
        how = say(edge.evidence.value, language)
        name = edge.standard or (edge.above.instrument.id if edge.above else edge.parent or "?")
        lines.append(f"{deeper}{'└─ ' if final else '├─ '}{name} ({how})  {_mark(edge.status, language)}")
        below = deeper + ("   " if final else "│  ")
        lines += [f"{below}! {reason.text(language)}" for reason in edge.reasons]
        if edge.above is not None:
            lines += _branch(edge.above, below, True, language, seen)
    return lines
