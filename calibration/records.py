"""What the register keeps beside an instrument or a certificate: when, by whom, withdrawn why, with which papers."""

from __future__ import annotations

import json
from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime
from decimal import Decimal
from typing import Any

from calibration.certificate import Certificate, CertificateKind, Instrument, SignatureCheck
from calibration.ledger import in_utc, unstamp
from calibration.plain import from_plain


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """When, by whom and why something was taken out of use."""

    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class InstrumentRecord:
    """An instrument as registered."""

    instrument: Instrument
    registered: datetime
    withdrawn: Withdrawal | None = None


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A certificate as registered; ``revision`` counts the typings of one paper from 1."""

    certificate: Certificate
    revision: int
    registered: datetime
    registered_by: str
    withdrawn: Withdrawal | None = None
    signature: SignatureCheck | None = None

    def known_at(self, moment: datetime | None) -> bool:
        """Whether the register held it as good at the moment (None: now, with all that is known)."""
        if moment is None:
            return self.withdrawn is None
        moment = in_utc(moment)
        return self.registered <= moment and (self.withdrawn is None or moment < self.withdrawn.at)


@dataclass(frozen=True, slots=True)
class Document:
    """A photo or paper, by its SHA-256; ``about`` is ``instrument`` or ``certificate``."""

    id: str
    digest: str
    about: str
    subject: str
    role: str
    name: str
    media_type: str
    size: int
    added: datetime
    withdrawn: Withdrawal | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """An instrument or certificate found out of tolerance for a time (``last`` None: until now).

    ``shift`` is the error found beyond what was known, in ``unit``; ``about`` is ``instrument`` or
    ``certificate``.
    """

    id: str
    about: str
    subject: str
    first: date
    last: date | None
    reason: str
    shift: Decimal | None = None
    unit: str = "%"
    found: datetime | None = None
    withdrawn: Withdrawal | None = None

    def known_at(self, moment: datetime | None) -> bool:
        """Whether the register held it as true at the moment (None: now, with all that is known)."""
        if moment is None:
            return self.withdrawn is None
        moment = in_utc(moment)
        known = self.found is not None and self.found <= moment
        return known and (self.withdrawn is None or moment < self.withdrawn.at)

    def covers(self, day: date) -> bool:
        """Whether the finding speaks of that day."""
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class CompileInputs:
    """What ``calibration.state.compile_state`` takes, read in one consistent view.

    ``certificates`` are all in use of the instrument and of its transformers, newest first (the compiler picks by
    date, and needs the next one to know where an epoch ends); ``standards`` those of every reference standard that
    they name. ``transformers`` are the CT and PT that the instrument stands behind, then those at its measuring point.
    ``token`` is the register's head that this was read at.
    """

    instrument: Instrument
    certificates: tuple[Certificate, ...]
    transformers: tuple[Instrument, ...]
    standards: tuple[Certificate, ...]
    token: str


def in_force(
    records: Iterable[CertificateRecord], on: date, known_at: datetime | None = None
) -> tuple[CertificateRecord, ...]:
    """Of one instrument's certificates, those that speak for it on a date, newest first.

    Performed by then, known and not withdrawn at ``known_at``, and not superseded: an older certificate stays in
    force for the quantities that no newer one gives values for; one without values (a verification) until any newer
    one. A test report without values never is. An overdue certificate stays in force: that is for others to flag.
    """
    kept: list[CertificateRecord] = []
    covered: set[str] = set()
    for record in sorted(records, key=lambda r: (r.certificate.performed, r.revision), reverse=True):
        certificate = record.certificate
        if certificate.performed > on or not record.known_at(known_at):
            continue
        quantities = {point.quantity for point in certificate.points}
        newer = any(k.certificate.performed > certificate.performed for k in kept)
        whole = not quantities and certificate.kind is not CertificateKind.TEST and not newer
        if whole or not quantities <= covered:
            kept.append(record)
            covered |= quantities
    return tuple(kept)


def due_date(certificate: Certificate, instrument: Instrument | None = None) -> date | None:
    """Until when a certificate counts: what it says itself, or the instrument's agreed interval; the earlier."""
    days = [] if certificate.valid_until is None else [certificate.valid_until]
    if instrument is not None and instrument.interval_months is not None:
        days.append(months_later(certificate.performed, instrument.interval_months))
    return min(days, default=None)


def standing_due(
    record: CertificateRecord, records: Iterable[CertificateRecord], instrument: Instrument | None = None
) -> date | None:
    """The due date of a certificate among all of its instrument: an ad-hoc calibration does not move the one before."""
    own = due_date(record.certificate, instrument)
    if record.certificate.resets_cycle:
        return own
    day = record.certificate.performed
    regular = [
        r.certificate
        for r in records
        if r.certificate.resets_cycle and r.certificate.performed <= day and r.withdrawn is None
    ]
    before = max(regular, key=lambda c: c.performed, default=None)
    dates = [d for d in (own, None if before is None else due_date(before, instrument)) if d is not None]
    return min(dates, default=None)


def months_later(day: date, months: int) -> date:
    """The same day of a later month, or that month's last day; the calendar's last day if there is no such year."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > MAXYEAR:
        return date.max
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def read_withdrawal(state: Mapping[str, Any]) -> Withdrawal | None:
    """The withdrawal in a state, if there is one."""
    found = state.get("withdrawn")
    return None if not found else Withdrawal(unstamp(found["at"]), found["by"], found["reason"])


def read_instrument(text: str) -> InstrumentRecord:
    """The record in an instrument's state."""
    state = json.loads(text)
    value = from_plain(Instrument, state["value"])
    return InstrumentRecord(value, unstamp(state["registered"]), read_withdrawal(state))


def read_certificate(text: str, revision: int, signature: str | None) -> CertificateRecord:
    """The record in a certificate's state, with its signature check."""
    state = json.loads(text)
    return CertificateRecord(
        from_plain(Certificate, state["value"]), revision, unstamp(state["registered"]), state["by"],
        read_withdrawal(state), None if signature is None else from_plain(SignatureCheck, json.loads(signature)),
    )  # fmt: skip


def read_document(text: str) -> Document:
    """The document in its state."""
    state = json.loads(text)
    state["added"], state["withdrawn"] = unstamp(state["added"]), read_withdrawal(state)
    return Document(**state)


def read_finding(text: str) -> Finding:
    """The finding in its state."""
    state = json.loads(text)
    withdrawal = read_withdrawal(state)
    state.pop("withdrawn", None)
    found = from_plain(Finding, state)
    return Finding(
        found.id, found.about, found.subject, found.first, found.last, found.reason, found.shift, found.unit,
        found.found, withdrawal,
    )  # fmt: skip
