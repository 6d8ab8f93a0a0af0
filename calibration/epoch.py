"""Which certificates of an instrument hold on a day, until when, and how long it has drifted by then.

An *epoch* is the span for which one calibration state is compiled: the calendar quarter of a day, cut where a
certificate of the instrument or of its transformers begins or becomes due. Two days of one epoch give the
same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, date, timedelta
from decimal import Decimal

from calibration.certificate import Certificate, CertificateKind, Instrument
from calibration.curve import family_of

_YEAR = Decimal("365.25")


@dataclass(frozen=True, slots=True)
class Epoch:
    """First and last day of a state."""

    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Standing:
    """An instrument's certificates on a day, the latest first, and the day on which it is due (None:
    never).
    """

    instrument: Instrument
    certificates: tuple[Certificate, ...]
    due: date | None

    @classmethod
    def on(cls, day: date, instrument: Instrument, certificates: Iterable[Certificate]) -> Standing:
        """From those performed by then. Due by the latest that resets the cycle: its validity, or the agreed
        interval.
        """
        mine = [c for c in certificates if c.instrument == instrument.id and c.performed <= day]
        mine.sort(key=lambda c: (c.performed, c.id), reverse=True)
        latest = next((c for c in mine if c.resets_cycle and c.passed is not False), None)
        if latest is None:
            return cls(instrument, tuple(mine), None)
        months = instrument.interval_months
        agreed = last_day_of_interval(latest.performed, months) if months else None
        due = min((d for d in (latest.valid_until, agreed) if d is not None), default=None)
        return cls(instrument, tuple(mine), due)

    def values(self, family: str) -> Certificate | None:
        """The latest calibration that has values for a family. A verification's figures carry no
        uncertainty.
        """
        for certificate in self.certificates:
            if certificate.kind is not CertificateKind.VERIFICATION and any(
                family_of(point.quantity) == family for point in certificate.points
            ):
                return certificate
        return None

    @property
    def verification(self) -> Certificate | None:
        """The latest verification, passed or not."""
        return next((c for c in self.certificates if c.kind is CertificateKind.VERIFICATION), None)

    @property
    def failed(self) -> bool:
        """Whether the latest verification was not passed: then no class can be relied on."""
        return self.verification is not None and self.verification.passed is False

    def overdue(self, epoch: Epoch) -> bool:
        """Whether it was due before the epoch began (an epoch never runs over a due date)."""
        return self.due is not None and epoch.start > self.due

    def drift_years(self, epoch: Epoch, since: date | None, overdue_factor: Decimal) -> Decimal:
        """Years of drift on the epoch's last day; every year past due counts ``overdue_factor`` times.

        ``since`` is the day of the calibration; None for the limit of a class, which holds until it is due:
        only what is past that counts.
        """
        days = Decimal(0) if since is None else Decimal(max((epoch.end - since).days, 0))
        if self.due is not None and self.overdue(epoch):
            late = Decimal((epoch.end - max(self.due, since or self.due)).days)
            days += late * (overdue_factor if since is None else max(overdue_factor - 1, Decimal(0)))
        return days / _YEAR


def epoch_of(day: date, certificates: Iterable[Certificate], standings: Mapping[str, Standing]) -> Epoch:
    """The epoch of a day for the instruments with these standings."""
    month = 3 * ((day.month - 1) // 3) + 1
    start = date(day.year, month, 1)
    following = date(day.year + 1, 1, 1) if month == 10 else date(day.year, month + 3, 1)
    end = following - timedelta(days=1)
    for certificate in certificates:
        if certificate.instrument not in standings:
            continue
        if certificate.performed <= day:
            start = max(start, certificate.performed)
        else:
            end = min(end, certificate.performed - timedelta(days=1))
    for standing in standings.values():
        if standing.due is None:
            continue
        if standing.due >= day:
            end = min(end, standing.due)
        else:
            start = max(start, standing.due + timedelta(days=1))
    return Epoch(start, end)


def last_day_of_interval(day: date, months: int) -> date:
    """The last day of an interval of whole months: the day before the same day of the month then."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year >= MAXYEAR:
        return date.max
    first = date(year, month + 1, 1)
    length = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - first).days
    return first + timedelta(days=min(day.day, length) - 2)
