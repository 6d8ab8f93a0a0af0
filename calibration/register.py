"""The register of instruments, certificates and their lives: what an auditor asks, answered with who, when and why.

Everything is refused whole if it is bad, with every mistake named (``calibration.refusals``). Nothing is
deleted: an instrument or certificate is withdrawn with a reason, and a certificate that was typed wrongly is
withdrawn and registered again as a further revision under the same number. Two times are kept apart: the date
on which a certificate speaks (``on``) and the moment at which the register knew of it (``known_at``).
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from calibration import admission
from calibration.certificate import Certificate, Instrument, InstrumentKind, ReferenceUse, SignatureCheck
from calibration.ledger import AuditEntry, AuditFault, Ledger, Writer, matching, stamp
from calibration.plain import from_plain, to_plain
from calibration.records import (
    CertificateRecord,
    CompileInputs,
    Document,
    Finding,
    InstrumentRecord,
    Withdrawal,
    in_force,
    read_certificate,
    read_document,
    read_finding,
    read_instrument,
)
from calibration.refusals import (
    BadDocument,
    BadIdentity,
    CircularParent,
    DatesReversed,
    DuplicateId,
    NotAccountable,
    ReferenceRefused,
    Refusal,
    UnknownCertificate,
    UnknownInstrument,
    UnknownSubject,
    Withdrawn,
    refuse,
)

_T = TypeVar("_T")

DOCUMENT_LIMIT = 20 * 1024 * 1024
"""Largest document kept, bytes: a scan of some pages, not a film."""


class Register:
    """The register file, opened by ``Register.open``; use it as a context manager."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[
            tuple[Any, ...], Any
        ] = {}  # parsed values by their state's text: states are immutable

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        now: Callable[[], datetime],
        read_only: bool = False,
        busy_timeout_s: float = 5.0,
    ) -> Self:
        """Open or create a register file; ``now`` gives aware moments.

        Raises:
            RegisterError: not a register, of a newer version, locked, or (reading) not there.
        """
        return cls(Ledger(path, now=now, read_only=read_only, busy_timeout_s=busy_timeout_s))

    @property
    def ledger(self) -> Ledger:
        """The audited file underneath: for the parts of the register that live in other modules."""
        return self._ledger

    def close(self) -> None:
        """Close the file."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_instrument(self, instrument: Instrument, *, actor: str, reason: str = "") -> None:
        """Register an instrument."""
        self.add(instruments=(instrument,), actor=actor, reason=reason)

    def change_instrument(self, instrument: Instrument, *, actor: str, reason: str) -> None:
        """Put new values in the place of an instrument's; the audit trail keeps the old ones."""
        with self._ledger.writing(actor, _reason(reason)) as writer:
            record = self._in_use(instrument.id)
            if record.instrument == instrument:
                raise BadIdentity("T125", f"instrument {instrument.id}", id=instrument.id)
            refuse([*admission.instrument_problems(instrument), *self._instrument_conflicts(instrument)])
            state = {"registered": stamp(record.registered), "value": to_plain(instrument)}
            writer.put("change", "instrument", instrument.id, state)

    def withdraw_instrument(self, instrument_id: str, *, actor: str, reason: str) -> None:
        """Take an instrument out of use; it and its certificates stay readable."""
        with self._ledger.writing(actor, _reason(reason)) as writer:
            self._in_use(instrument_id)
            self._withdraw(writer, "instrument", instrument_id, 0, actor, reason)

    def instrument(self, instrument_id: str, *, known_at: datetime | None = None) -> Instrument:
        """The instrument, as it is or as the register had it at a moment.

        Raises:
            UnknownInstrument: none of that id (then); the message offers similar ids.
        """
        if known_at is None:
            return self.instrument_record(instrument_id).instrument
        state = self._ledger.state_at("instrument", instrument_id, known_at)
        if state is None:
            raise UnknownInstrument("T101", "", id=instrument_id, near=f" at {stamp(known_at)}")
        return from_plain(Instrument, state["value"])

    def instrument_record(self, instrument_id: str) -> InstrumentRecord:
        """The instrument with its registration and withdrawal."""
        row = self._row("SELECT state FROM instrument WHERE id = ?", instrument_id)
        if row is None:
            raise UnknownInstrument(
                "T101", "", id=instrument_id, near=self._near("instrument", instrument_id)
            )
        return self._parsed(row, read_instrument)

    def instruments(
        self,
        *,
        kind: InstrumentKind | None = None,
        place: str | None = None,
        text: str = "",
        include_withdrawn: bool = False,
    ) -> tuple[Instrument, ...]:
        """Instruments by id; ``text`` is looked for in id, tag, serial number, model and place."""
        rows = self._rows(
            "SELECT state FROM instrument WHERE (?1 OR withdrawn IS NULL) AND (?2 IS NULL OR kind = ?2)"
            " AND (?3 IS NULL OR place = ?3) AND (?4 = '' OR instr(lower(id || char(10) || tag || char(10) || serial"
            " || char(10) || model || char(10) || place), lower(?4)) > 0) ORDER BY id",
            include_withdrawn, None if kind is None else kind.value, place, text,
        )  # fmt: skip
        return tuple(self._parsed(row, read_instrument).instrument for row in rows)

    def find(self, *, manufacturer: str, model: str, serial: str) -> Instrument | None:
        """The instrument in use with this maker, model and serial number."""
        row = self._row(
            "SELECT state FROM instrument WHERE serial = ? AND manufacturer = ? AND model = ? AND withdrawn IS NULL",
            serial, manufacturer, model,
        )  # fmt: skip
        return None if row is None else self._parsed(row, read_instrument).instrument

    def add_certificate(
        self,
        certificate: Certificate,
        *,
        actor: str,
        reason: str = "",
        signature: SignatureCheck | None = None,
        paper: bytes | None = None,
        paper_name: str = "",
        media_type: str = "application/octet-stream",
    ) -> None:
        """Register a certificate, with its signature check and its paper if given: all of that, or none."""
        with self._ledger.writing(actor, reason):
            self.add(certificates=(certificate,), actor=actor, reason=reason)
            if signature is not None:
                self.record_signature(certificate.id, signature, actor=actor, reason=reason)
            if paper is not None:
                self.attach(
                    paper, name=paper_name or certificate.id, media_type=media_type, certificate=certificate.id,
                    actor=actor, reason=reason,
                )  # fmt: skip

    def add(
        self,
        *,
        instruments: Iterable[Instrument] = (),
        certificates: Iterable[Certificate] = (),
        actor: str,
        reason: str = "",
    ) -> None:
        """Register many at once: all of them, or none.

        Raises:
            Refusal: the first mistake; ``error.all`` has every mistake of all of them.
        """
        with self._ledger.writing(actor, reason) as writer:
            problems: list[Refusal] = []
            moment = self._ledger.moment()
            for instrument in _parents_first(instruments):
                found = [
                    *admission.instrument_problems(instrument),
                    *self._new_instrument_conflicts(instrument),
                ]
                problems += found
                if not found:
                    state = {"registered": stamp(moment), "value": to_plain(instrument)}
                    writer.put("register", "instrument", instrument.id, state)
            for certificate in certificates:
                found = [
                    *admission.certificate_problems(certificate, moment.date()),
                    *self._certificate_conflicts(certificate),
                ]
                problems += found
                if not found:
                    state = {"registered": stamp(moment), "by": actor.strip(), "value": to_plain(certificate)}
                    writer.put(
                        "register", "certificate", certificate.id, state, self._revisions(certificate.id) + 1
                    )
            refuse(problems)

    def withdraw_certificate(self, certificate_id: str, *, actor: str, reason: str) -> None:
        """Take a certificate out of use: wrongly typed, revoked by the laboratory, standard found bad."""
        with self._ledger.writing(actor, _reason(reason)) as writer:
            record = self.certificate_record(certificate_id)
            if record.withdrawn is not None:
                raise _withdrawn(certificate_id, record.withdrawn)
            self._withdraw(writer, "certificate", certificate_id, record.revision, actor, reason)

    def record_signature(
        self, certificate_id: str, check: SignatureCheck, *, actor: str, reason: str = ""
    ) -> None:
        """Keep the outcome of a signature check with the certificate; earlier outcomes stay in the audit trail."""
        with self._ledger.writing(actor, reason) as writer:
            record = self.certificate_record(certificate_id)
            writer.put("check signature", "signature", certificate_id, to_plain(check), record.revision)

    def certificate(self, certificate_id: str) -> Certificate:
        """The certificate, in use or withdrawn (its newest revision)."""
        return self.certificate_record(certificate_id).certificate

    def certificate_record(self, certificate_id: str) -> CertificateRecord:
        """The certificate with registration, withdrawal and signature check.

        Raises:
            UnknownCertificate: none of that id; the message offers similar ids.
        """
        records = self._records("c.id = ?", certificate_id)
        if not records:
            near = self._near("certificate", certificate_id)
            raise UnknownCertificate("T102", "", id=certificate_id, near=near)
        return records[0]

    def certificate_records(
        self, *, instrument: str = "", certificate: str = ""
    ) -> tuple[CertificateRecord, ...]:
        """Every revision, withdrawn ones too, newest performance first."""
        condition, values = matching(c__instrument=instrument, c__id=certificate)
        return self._records(condition, *values)

    def certificates(
        self, instrument: str = "", *, known_at: datetime | None = None, include_withdrawn: bool = False
    ) -> tuple[Certificate, ...]:
        """Certificates of one instrument or of all, newest performance first."""
        records = self.certificate_records(instrument=instrument)
        return tuple(r.certificate for r in records if include_withdrawn or r.known_at(known_at))

    def in_force(
        self, instrument: str, on: date, *, known_at: datetime | None = None
    ) -> tuple[Certificate, ...]:
        """The certificates that speak for an instrument on a date, newest first: see ``records.in_force``."""
        records = self.certificate_records(instrument=instrument)
        return tuple(record.certificate for record in in_force(records, _day(on), known_at))

    def by_digest(self, digest: str) -> tuple[CertificateRecord, ...]:
        """Certificates whose paper or file has this SHA-256."""
        return self._records("c.digest = ?", digest)

    def digests(self, certificate_id: str, /) -> frozenset[str]:
        """SHA-256 of the certificate's papers: what it states itself, and the papers attached to it."""
        papers = [d.digest for d in self.documents(certificate=certificate_id) if d.role == "paper"]
        stated = self.certificate(certificate_id).digest
        return frozenset([*papers, stated] if stated else papers)

    def uses(
        self, standard: str, *, first: date | None = None, last: date | None = None
    ) -> tuple[Certificate, ...]:
        """Reverse traceability, one level: certificates in use that name the standard, performed in the time."""
        rows = self._rows(
            "SELECT DISTINCT certificate FROM reference_use WHERE standard = ?1 AND withdrawn IS NULL"
            " AND (?2 IS NULL OR performed >= ?2) AND (?3 IS NULL OR performed <= ?3) ORDER BY performed, certificate",
            standard, None if first is None else first.isoformat(), None if last is None else last.isoformat(),
        )  # fmt: skip
        return tuple(self.certificate(row[0]) for row in rows)

    def compile_inputs(self, instrument: str, on: date, *, known_at: datetime | None = None) -> CompileInputs:
        """What a calibration state of the instrument on a date is compiled from."""
        with self._ledger.reading():
            subject = self.instrument(instrument, known_at=known_at)
            transformers = self._transformers(subject, on, known_at)
            certificates: list[Certificate] = []
            for each in (subject, *transformers):
                certificates += self.certificates(each.id, known_at=known_at)
            names = dict.fromkeys(use.standard for c in certificates for use in c.references if use.standard)
            standards = [c for name in names for c in self.certificates(name, known_at=known_at)]
            return CompileInputs(subject, tuple(certificates), transformers, tuple(standards), self.head())

    def attach(
        self,
        content: bytes,
        *,
        name: str,
        media_type: str,
        instrument: str = "",
        certificate: str = "",
        role: str = "paper",
        actor: str,
        reason: str = "",
    ) -> Document:
        """Keep a photo or paper of an instrument or a certificate, by its SHA-256.

        A certificate that states a digest takes only the file with that digest as its ``paper``.
        """
        if not content:
            raise BadDocument("T116", name)
        if len(content) > DOCUMENT_LIMIT:
            raise BadDocument("T117", name, size=len(content), limit=DOCUMENT_LIMIT)
        digest = hashlib.sha256(content).hexdigest()
        about, subject = ("certificate", certificate) if certificate else ("instrument", instrument)
        with self._ledger.writing(actor, reason) as writer:
            if about == "instrument":
                self.instrument_record(subject)
            else:
                stated = self.certificate(subject).digest
                if role == "paper" and stated and stated != digest:
                    raise BadDocument("T222", name, found=digest, stated=stated)
            document_id = f"{about}/{subject}/{digest[:16]}"
            if any(
                d.id == document_id and d.withdrawn is None for d in self._documents("id = ?", document_id)
            ):
                raise DuplicateId(
                    "T103", name, kind="document", id=document_id, todo="it need not be kept twice"
                )
            document = Document(
                document_id,
                digest,
                about,
                subject,
                role,
                name,
                media_type,
                len(content),
                self._ledger.moment(),
            )
            writer.keep(digest, content)
            state = to_plain(document)
            state["added"] = stamp(document.added)
            del state["withdrawn"]
            writer.put("attach", "document", document_id, state)
        return document

    def documents(self, *, instrument: str = "", certificate: str = "") -> tuple[Document, ...]:
        """Photos and papers of an instrument or certificate, those in use."""
        about, subject = ("certificate", certificate) if certificate else ("instrument", instrument)
        found = self._documents("about = ? AND subject = ?", about, subject)
        return tuple(document for document in found if document.withdrawn is None)

    def content(self, digest: str) -> bytes:
        """The bytes of a document, checked against their SHA-256 as they are read.

        Raises:
            UnknownSubject: none of that digest. BadDocument: the bytes are not what was kept.
        """
        row = self._row("SELECT bytes FROM content WHERE digest = ?", digest)
        if row is None:
            raise UnknownSubject("T118", "", digest=digest)
        content = bytes(row[0])
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise BadDocument("T222", "", found=found, stated=digest)
        return content

    def withdraw_document(self, document_id: str, *, actor: str, reason: str) -> None:
        """Take a document out of the lists; its bytes are kept."""
        with self._ledger.writing(actor, _reason(reason)) as writer:
            if not self._documents("id = ? AND withdrawn IS NULL", document_id):
                raise UnknownSubject("T118", "", digest=document_id)
            self._withdraw(writer, "document", document_id, 0, actor, reason)

    def report_finding(self, finding: Finding, *, actor: str) -> Finding:
        """Record that an instrument or certificate was found out of tolerance for a time."""
        with self._ledger.writing(actor, _reason(finding.reason)) as writer:
            refuse(list(admission.id_problems(finding.id, f"finding {finding.id}")))
            if self._row("SELECT 1 FROM finding WHERE id = ?", finding.id) is not None:
                raise DuplicateId("T103", "", kind="finding", id=finding.id, todo="choose another id")
            if finding.about == "instrument":
                self.instrument_record(finding.subject)
            elif finding.about == "certificate":
                self.certificate_record(finding.subject)
            else:
                rule = "instrument or certificate"
                raise BadIdentity(
                    "T109", f"finding {finding.id}", field="about", value=finding.about, rule=rule
                )
            if finding.last is not None and finding.last < finding.first:
                raise DatesReversed(
                    "T201", f"finding {finding.id}",
                    later="last", later_date=finding.last, earlier="first", earlier_date=finding.first,
                )  # fmt: skip
            state = to_plain(finding)
            state["found"] = stamp(self._ledger.moment())
            del state["withdrawn"]
            writer.put("report", "finding", finding.id, state)
        return self.findings(finding_id=finding.id)[0]

    def withdraw_finding(self, finding_id: str, *, actor: str, reason: str) -> None:
        """Take a finding back."""
        with self._ledger.writing(actor, _reason(reason)) as writer:
            if self._row("SELECT 1 FROM finding WHERE id = ? AND withdrawn IS NULL", finding_id) is None:
                raise UnknownSubject("T119", "", kind="finding", id=finding_id)
            self._withdraw(writer, "finding", finding_id, 0, actor, reason)

    def findings(
        self,
        *,
        instrument: str = "",
        certificate: str = "",
        finding_id: str = "",
        known_at: datetime | None = None,
    ) -> tuple[Finding, ...]:
        """Findings in effect, of a subject or of all."""
        subject = certificate or instrument
        about = ("certificate" if certificate else "instrument") if subject else ""
        condition, values = matching(about=about, subject=subject, id=finding_id)
        rows = self._rows(f"SELECT state FROM finding WHERE {condition} ORDER BY first, id", *values)  # noqa: S608
        return tuple(f for row in rows if (f := self._parsed(row, read_finding)).known_at(known_at))

    def head(self) -> str:
        """The audit trail's newest entry: the token of ``changed_since``, worth keeping outside the file."""
        return self._ledger.head()

    def changed_since(self, token: str) -> bool:
        """Whether anything was written since ``token`` (a ``head()``): one indexed look-up."""
        return self._ledger.head() != token

    def audit(self, kind: str = "", subject: str = "") -> tuple[AuditEntry, ...]:
        """The audit trail in order, all of it or one subject's."""
        return self._ledger.entries(kind, subject)

    def check_audit(self, expected_head: str = "") -> tuple[AuditFault, ...]:
        """Every place where the file is not what its audit trail says; empty if there is none."""
        return self._ledger.check(expected_head)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._ledger.reading() as connection:
            return connection.execute(query, values).fetchall()

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._rows(query, *values)
        return rows[0] if rows else None

    def _parsed(self, row: Sequence[Any], read: Callable[..., _T]) -> _T:
        """The value of a state; states are immutable text, so each is parsed once."""
        key = (read.__name__, *row)
        if key not in self._read:
            if len(self._read) > 20_000:
                self._read.clear()
            self._read[key] = read(*row)
        found: _T = self._read[key]
        return found

    def _records(self, condition: str, *values: object) -> tuple[CertificateRecord, ...]:
        rows = self._rows(
            "SELECT c.state, c.revision, s.state FROM certificate AS c LEFT JOIN signature AS s"  # noqa: S608
            f" ON s.id = c.id AND s.revision = c.revision WHERE {condition}"
            " ORDER BY c.performed DESC, c.id, c.revision DESC",
            *values,
        )
        return tuple(self._parsed(row, read_certificate) for row in rows)

    def _documents(self, condition: str, *values: object) -> tuple[Document, ...]:
        rows = self._rows(f"SELECT state FROM document WHERE {condition} ORDER BY rowid", *values)  # noqa: S608
        return tuple(self._parsed(row, read_document) for row in rows)

    def _revisions(self, certificate_id: str) -> int:
        row = self._row("SELECT count(*) FROM certificate WHERE id = ?", certificate_id)
        return 0 if row is None else int(row[0])

    def _in_use(self, instrument_id: str) -> InstrumentRecord:
        record = self.instrument_record(instrument_id)
        if record.withdrawn is not None:
            raise _withdrawn(instrument_id, record.withdrawn)
        return record

    def _withdraw(
        self, writer: Writer, kind: str, subject: str, revision: int, actor: str, reason: str
    ) -> None:
        row = self._row(f"SELECT state FROM {kind} WHERE id = ? AND revision = ?", subject, revision)  # noqa: S608
        assert row is not None
        state = json.loads(row[0])
        at = stamp(self._ledger.moment())
        state["withdrawn"] = {"at": at, "by": actor.strip(), "reason": reason.strip()}
        writer.put("withdraw", kind, subject, state, revision)

    def _transformers(
        self, subject: Instrument, on: date, known_at: datetime | None
    ) -> tuple[Instrument, ...]:
        """CT and PT of an instrument: those that it stands behind, then those at its measuring point, by role."""
        found: dict[str, Instrument] = {}
        parent, seen = subject.parent, {subject.id}
        while parent and parent not in seen:
            seen.add(parent)
            found[parent] = self.instrument(parent, known_at=known_at)
            parent = found[parent].parent
        day = _day(on).isoformat()
        for (beside,) in self._rows(
            "SELECT other.instrument FROM binding AS own JOIN binding AS other ON other.point = own.point"
            " WHERE own.instrument = ?1 AND date(own.since) <= ?2 AND (own.until IS NULL OR date(own.until) > ?2)"
            " AND date(other.since) <= ?2 AND (other.until IS NULL OR date(other.until) > ?2) ORDER BY other.role",
            subject.id, day,
        ):  # fmt: skip
            if beside != subject.id and beside not in found:
                found[beside] = self.instrument(beside, known_at=known_at)
        return tuple(i for i in found.values() if i.kind in {InstrumentKind.CT, InstrumentKind.PT})

    def _near(self, table: str, wanted: str) -> str:
        ids = [row[0] for row in self._rows(f"SELECT DISTINCT id FROM {table}")]  # noqa: S608 - a closed set
        close = difflib.get_close_matches(wanted, ids, n=3, cutoff=0.6)
        return f"; similar: {', '.join(close)}" if close else ""

    def _new_instrument_conflicts(self, instrument: Instrument) -> Iterator[Refusal]:
        where = f"instrument {instrument.id}"
        if self._row("SELECT 1 FROM instrument WHERE id = ?", instrument.id) is not None:
            todo = "change it, or choose another id"
            yield DuplicateId("T103", where, kind="instrument", id=instrument.id, todo=todo)
            return
        yield from self._instrument_conflicts(instrument)

    def _instrument_conflicts(self, instrument: Instrument) -> Iterator[Refusal]:
        where = f"instrument {instrument.id}"
        if instrument.serial:
            other = self.find(
                manufacturer=instrument.manufacturer, model=instrument.model, serial=instrument.serial
            )
            if other is not None and other.id != instrument.id:
                yield DuplicateId("T104", where, other=other.id)
        path, parent = [instrument.id], instrument.parent
        while parent:
            if parent in path:
                yield CircularParent("T111", where, id=instrument.id, path=" → ".join(path))
                return
            path.append(parent)
            row = self._row("SELECT parent FROM instrument WHERE id = ?", parent)
            if row is None:
                yield UnknownInstrument(
                    "T101", f"{where}, parent", id=parent, near=self._near("instrument", parent)
                )
                return
            parent = row[0]

    def _certificate_conflicts(self, certificate: Certificate) -> Iterator[Refusal]:
        where = f"certificate {certificate.id}"
        earlier = self._records("c.id = ?", certificate.id)
        if any(record.withdrawn is None for record in earlier):
            todo = "withdraw the registered one first, if it was typed wrongly"
            yield DuplicateId("T103", where, kind="certificate", id=certificate.id, todo=todo)
        row = self._row("SELECT state FROM instrument WHERE id = ?", certificate.instrument)
        if row is None:
            near = self._near("instrument", certificate.instrument)
            yield UnknownInstrument("T101", where, id=certificate.instrument, near=near)
        elif (withdrawal := self._parsed(row, read_instrument).withdrawn) is not None:
            yield _withdrawn(certificate.instrument, withdrawal, where)
        for number, use in enumerate(certificate.references, 1):
            yield from self._reference_conflicts(use, f"{where}, references[{number}]")

    def _reference_conflicts(self, use: ReferenceUse, where: str) -> Iterator[Refusal]:
        if use.standard and self._row("SELECT 1 FROM instrument WHERE id = ?", use.standard) is None:
            near = self._near("instrument", use.standard)
            yield UnknownInstrument("T101", f"{where}, standard", id=use.standard, near=near)
        owner = self._row("SELECT instrument FROM certificate WHERE id = ? LIMIT 1", use.certificate)
        if use.standard and owner is not None and owner[0] != use.standard:
            yield ReferenceRefused(
                "T217", where, certificate=use.certificate, owner=owner[0], standard=use.standard
            )


def _parents_first(instruments: Iterable[Instrument]) -> list[Instrument]:
    """The order in which each finds the one that it stands behind; a circle is left for the check to find."""
    waiting = list(instruments)
    ordered: list[Instrument] = []
    while waiting:
        names = {instrument.id for instrument in waiting}
        ready = [instrument for instrument in waiting if instrument.parent not in names] or waiting
        ordered += ready
        waiting = [instrument for instrument in waiting if instrument not in ready]
    return ordered


def _reason(reason: str) -> str:
    if not reason.strip():
        raise NotAccountable("T106", "")
    return reason


def _withdrawn(subject: str, withdrawal: Withdrawal, where: str = "") -> Withdrawn:
    return Withdrawn("T105", where, id=subject, at=withdrawal.at.date(), why=withdrawal.reason)


def _day(on: date) -> date:
    return on.date() if isinstance(on, datetime) else on
