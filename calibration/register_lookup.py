"""What is looked up in the register: instruments, certificates, papers, findings, as they are or as known at a moment.

Two times are kept apart: the date on which a certificate speaks (``on``) and the moment at which the register knew of
it (``known_at``).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from calibration.certificate import Certificate, Instrument, InstrumentKind
from calibration.ledger import AuditEntry, AuditFault, Ledger, matching, stamp
from calibration.plain import from_plain
from calibration.records import (
    CertificateRecord,
    CompileInputs,
    Document,
    Finding,
    InstrumentRecord,
    in_force,
    read_certificate,
    read_document,
    read_finding,
    read_instrument,
)
from calibration.refusals import (
    BadDocument,
    UnknownCertificate,
    UnknownInstrument,
    UnknownSubject,
)

_T = TypeVar("_T")


class RegisterLookup:
    """What can be asked of the register file; ``calibration.register`` enters, changes and withdraws."""

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

    def _near(self, table: str, wanted: str) -> tuple[str, ...]:
        ids = [row[0] for row in self._rows(f"SELECT DISTINCT id FROM {table}")]  # noqa: S608 - a closed set
        return tuple(difflib.get_close_matches(wanted, ids, n=3, cutoff=0.6))


def _day(on: date) -> date:
    return on.date() if isinstance(on, datetime) else on
