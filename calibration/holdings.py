"""Where a chain is read from: the register, or instruments and certificates at hand without one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from calibration.certificate import Certificate, Instrument
from calibration.records import CertificateRecord, Finding, InstrumentRecord
from calibration.refusals import UnknownInstrument


class ChainSource(Protocol):
    """What a chain is read from: the register, or the papers of an evidence bundle."""

    def instrument_record(self, instrument_id: str, /) -> InstrumentRecord:
        """The instrument. Raises UnknownInstrument."""

    def certificate_records(
        self, *, instrument: str = "", certificate: str = ""
    ) -> Sequence[CertificateRecord]:
        """Every revision of certificates of an instrument, or of a number."""

    def by_digest(self, digest: str, /) -> Sequence[CertificateRecord]:
        """Certificates whose file has this SHA-256."""

    def digests(self, certificate_id: str, /) -> frozenset[str]:
        """SHA-256 of the files of a certificate."""

    def findings(
        self, *, instrument: str = "", certificate: str = "", known_at: datetime | None = None
    ) -> Sequence[Finding]:
        """Out-of-tolerance findings in effect on a subject."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Instruments and certificates at hand without a register file: a ``ChainSource`` for an auditor."""

    records: tuple[InstrumentRecord, ...]
    certificates: tuple[CertificateRecord, ...]
    out_of_tolerance: tuple[Finding, ...] = ()

    @classmethod
    def of(
        cls,
        instruments: Iterable[Instrument],
        certificates: Iterable[Certificate],
        *,
        at: datetime,
        findings: Iterable[Finding] = (),
    ) -> Holdings:
        """Holdings of plain values, all known since ``at``."""
        return cls(
            tuple(InstrumentRecord(instrument, at) for instrument in instruments),
            tuple(CertificateRecord(certificate, 1, at, "") for certificate in certificates),
            tuple(findings),
        )

    def instrument_record(self, instrument_id: str, /) -> InstrumentRecord:
        """The instrument. Raises UnknownInstrument."""
        for record in self.records:
            if record.instrument.id == instrument_id:
                return record
        raise UnknownInstrument("T101", "", id=instrument_id, near="")

    def certificate_records(
        self, *, instrument: str = "", certificate: str = ""
    ) -> Sequence[CertificateRecord]:
        """Certificates of an instrument, or of a number."""
        return [
            r
            for r in self.certificates
            if instrument in {"", r.certificate.instrument} and certificate in {"", r.certificate.id}
        ]

    def by_digest(self, digest: str, /) -> Sequence[CertificateRecord]:
        """Certificates whose file has this SHA-256."""
        return [r for r in self.certificates if r.certificate.digest == digest]

    def digests(self, certificate_id: str, /) -> frozenset[str]:
        """SHA-256 of the files of a certificate."""
        found = self.certificate_records(certificate=certificate_id)
        return frozenset(r.certificate.digest for r in found if r.certificate.digest)

    def findings(
        self, *, instrument: str = "", certificate: str = "", known_at: datetime | None = None
    ) -> Sequence[Finding]:
        """Out-of-tolerance findings in effect on a subject."""
        about, subject = ("certificate", certificate) if certificate else ("instrument", instrument)
        return [
            f
            for f in self.out_of_tolerance
            if (f.about, f.subject) == (about, subject) and f.known_at(known_at)
        ]


@dataclass(frozen=True, slots=True)
class WithCandidate:
    """A source as it would be with one certificate more: to look before registering."""

    source: ChainSource
    candidate: CertificateRecord

    def instrument_record(self, instrument_id: str, /) -> InstrumentRecord:
        """The instrument. Raises UnknownInstrument."""
        return self.source.instrument_record(instrument_id)

    def certificate_records(
        self, *, instrument: str = "", certificate: str = ""
    ) -> Sequence[CertificateRecord]:
        """Certificates of an instrument, or of a number, the candidate among them."""
        found = list(self.source.certificate_records(instrument=instrument, certificate=certificate))
        own = self.candidate.certificate
        fits = instrument in {"", own.instrument} and certificate in {"", own.id}
        return [*found, self.candidate] if fits else found

    def by_digest(self, digest: str, /) -> Sequence[CertificateRecord]:
        """Certificates whose file has this SHA-256."""
        found = list(self.source.by_digest(digest))
        return [*found, self.candidate] if self.candidate.certificate.digest == digest else found

    def digests(self, certificate_id: str, /) -> frozenset[str]:
        """SHA-256 of the files of a certificate."""
        own = self.candidate.certificate
        if certificate_id == own.id:
            return frozenset({own.digest} - {""})
        return self.source.digests(certificate_id)

    def findings(
        self, *, instrument: str = "", certificate: str = "", known_at: datetime | None = None
    ) -> Sequence[Finding]:
        """Out-of-tolerance findings in effect on a subject."""
        return self.source.findings(instrument=instrument, certificate=certificate, known_at=known_at)
