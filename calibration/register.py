"""The register of instruments, certificates and their lives: what an auditor asks, answered with who, when and why.

Everything is refused whole if it is bad, with every mistake named (``calibration.refusals``). Nothing is
deleted: an instrument or certificate is withdrawn with a reason, and a certificate that was typed wrongly is
withdrawn and registered again as a further revision under the same number. Two times are kept apart: the date
on which a certificate speaks (``on``) and the moment at which the register knew of it (``known_at``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

from calibration import admission
from calibration.certificate import Certificate, Instrument, ReferenceUse, SignatureCheck
from calibration.ledger import Writer, stamp
from calibration.plain import to_plain
from calibration.records import (
    Document,
    Finding,
    InstrumentRecord,
    Withdrawal,
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
    UnknownInstrument,
    UnknownSubject,
    Withdrawn,
    refuse,
)
from calibration.register_lookup import RegisterLookup

DOCUMENT_LIMIT = 20 * 1024 * 1024
"""Largest document kept, bytes: a scan of some pages, not a film."""


class Register(RegisterLookup):
    """The register file, opened by ``Register.open``; use it as a context manager."""

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
                raise DuplicateId("T103", name, kind="document", id=document_id, todo="todo_once")
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
                raise DuplicateId("T103", "", kind="finding", id=finding.id, todo="todo_other_id")
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

    def _new_instrument_conflicts(self, instrument: Instrument) -> Iterator[Refusal]:
        where = f"instrument {instrument.id}"
        if self._row("SELECT 1 FROM instrument WHERE id = ?", instrument.id) is not None:
            todo = "todo_change_it"
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
            todo = "todo_withdraw"
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
