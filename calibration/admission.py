"""What the register admits: checks on an instrument or a certificate by itself and against what is registered.

Each check yields its refusals, so that a form is corrected once; nothing is written while there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.refusals import (
    BadIdentity,
    CertificateRefused,
    CoverageFactorMissing,
    DatesReversed,
    PointsRefused,
    ReferenceRefused,
    Refusal,
    ShareTooLarge,
    UnknownUnit,
)
from calibration.units import is_known, known_units

_K_LOW, _K_HIGH = Decimal(1), Decimal(14)  # t at 95.45 % for one degree of freedom is 13.97 (GUM table G.2)
_SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_INTERVAL_MONTHS = 1200  # a hundred years: what is longer is a slip of the finger, not an agreement
LONGEST_LEAD_DAYS = 36525
RELATIVE = "%"
ANGLE_MINUTES = "min"  # the points' word for minutes of arc, see CalibrationPoint


def instrument_problems(instrument: Instrument) -> Iterator[Refusal]:
    """What is wrong with an instrument by itself."""
    where = f"instrument {instrument.id}"
    yield from id_problems(instrument.id, where)
    positive = ("mpe", "rated_voltage", "rated_current", "maximum_current", "ratio")
    finite: dict[str, Decimal] = {}
    for name in (*positive, "range_low", "range_high"):
        value: Decimal | None = getattr(instrument, name)
        if value is None:
            continue
        if not value.is_finite():
            yield BadIdentity("T123", where, field=name, value=value)
        elif name in positive and value <= 0:
            yield BadIdentity("T109", where, field=name, value=value, rule="> 0")
        else:
            finite[name] = value
    for low, high, strictly in (
        ("range_low", "range_high", True),
        ("rated_current", "maximum_current", False),
    ):
        if low not in finite or high not in finite:
            continue
        if finite[low] > finite[high] or (strictly and finite[low] == finite[high]):
            rule = f"{'<' if strictly else '<='} {high} {finite[high]}"
            yield BadIdentity("T109", where, field=low, value=finite[low], rule=rule)
    with_ratio = {InstrumentKind.CT, InstrumentKind.PT, InstrumentKind.OTHER}
    if finite.get("ratio", 1) != 1 and instrument.kind not in with_ratio:
        rule = "1: only a CT or PT has a ratio; register it as an instrument of its own"
        yield BadIdentity("T109", where, field="ratio", value=instrument.ratio, rule=rule)
    for name, most in (("interval_months", LONGEST_INTERVAL_MONTHS), ("lead_days", LONGEST_LEAD_DAYS)):
        number: int | None = getattr(instrument, name)
        if number is not None and not 0 < number <= most:
            yield BadIdentity("T109", where, field=name, value=number, rule=f"1 … {most}")
    if instrument.mpe is not None:
        yield from _unit_problems(instrument.mpe_unit, where)
    if instrument.range_low is not None or instrument.range_high is not None:
        yield from _unit_problems(instrument.range_unit, where)


def certificate_problems(certificate: Certificate, today: date) -> Iterator[Refusal]:
    """What is wrong with a certificate by itself; ``today`` is the register's date."""
    where = f"certificate {certificate.id}"
    yield from id_problems(certificate.id, where)
    if not certificate.laboratory.strip():
        yield CertificateRefused("T200", where)
    yield from _date_problems(certificate, today, where)
    yield from digest_problems(certificate.digest, where)
    if certificate.mpe is not None:
        if not certificate.mpe.is_finite():
            yield CertificateRefused("T123", where, field="mpe", value=certificate.mpe)
        elif certificate.mpe <= 0:
            yield CertificateRefused("T109", where, field="mpe", value=certificate.mpe, rule="> 0")
        yield from _unit_problems(certificate.mpe_unit, where)
    match certificate.kind:
        case CertificateKind.CALIBRATION:
            if not certificate.points:
                yield CertificateRefused("T203", where)
        case CertificateKind.VERIFICATION:
            yield from _conformity_problems(certificate, where)
        case CertificateKind.TEST:
            pass
    yield from points_problems(certificate.points, f"{where}, points")
    yield from points_problems(certificate.as_found, f"{where}, as_found")
    yield from _reference_problems(certificate, where)


def points_problems(points: Sequence[CalibrationPoint], where: str = "") -> Iterator[Refusal]:
    """What is wrong with a table of calibration points: each by itself, then their order and units."""
    before: dict[tuple[str, Decimal], CalibrationPoint] = {}
    first: dict[str, CalibrationPoint] = {}
    for number, point in enumerate(points, 1):
        here = f"{where}[{number}]" if where else f"[{number}]"
        wrong = list(point_problems(point, here))
        yield from wrong
        if any(problem.code == "T123" for problem in wrong):
            continue
        same = first.setdefault(point.quantity, point)
        if (point.unit, point.load_unit) != (same.unit, same.load_unit):
            unit, other = (
                (point.unit, same.unit) if point.unit != same.unit else (point.load_unit, same.load_unit)
            )
            yield PointsRefused("T208", here, unit=unit, other=other, quantity=point.quantity)
        key = (point.quantity, point.power_factor)
        if key in before and point.load == before[key].load:
            power_factor = point.power_factor
            yield PointsRefused(
                "T207", here, load=point.load, quantity=point.quantity, power_factor=power_factor
            )
        elif key in before and point.load < before[key].load:
            yield PointsRefused("T206", here, load=point.load, before=before[key].load)
        before[key] = point


def point_problems(point: CalibrationPoint, where: str) -> Iterator[Refusal]:
    """What is wrong with one calibration point."""
    numbers = ("load", "error", "U", "k", "power_factor", "reference", "indication", "dof")
    infinite = [n for n in numbers if (v := getattr(point, n)) is not None and not v.is_finite()]
    for name in infinite:
        yield PointsRefused("T123", where, field=name, value=getattr(point, name))
    if infinite:
        return
    if not point.quantity.strip():
        yield PointsRefused("T224", where)
    if not _K_LOW <= point.k <= _K_HIGH:
        yield CoverageFactorMissing("T204", where, k=point.k)
    if point.U <= 0:
        yield PointsRefused("T205", where, U=point.U)
    if point.dof is not None and point.dof < 1:
        yield PointsRefused("T223", where, dof=point.dof)
    if point.power_factor == 0 or abs(point.power_factor) > 1:
        yield PointsRefused("T209", where, value=point.power_factor)
    for unit in (point.unit, point.load_unit):
        yield from _unit_problems(unit, where)
    yield from _error_problems(point, where)


def id_problems(name: str, where: str) -> Iterator[Refusal]:
    """An id is read aloud, printed on labels and put into file names: keep it plain."""
    if not 0 < len(name) <= 80 or name != name.strip() or not name.isprintable():
        yield BadIdentity("T108", where, id=name)


def digest_problems(digest: str, where: str) -> Iterator[Refusal]:
    """A SHA-256 is 64 lower-case hexadecimal digits, or not given."""
    if digest and not _SHA256.fullmatch(digest):
        yield CertificateRefused("T221", where, value=digest)


def arranged(points: Sequence[CalibrationPoint]) -> tuple[CalibrationPoint, ...]:
    """Points as the register wants them where the paper lists the loads falling from Imax: each such run reversed.

    Runs (one quantity, one power factor) that neither rise nor fall are left alone: that is a slip to be
    shown.
    """
    runs: dict[tuple[str, Decimal], list[CalibrationPoint]] = {}
    for point in points:
        runs.setdefault((point.quantity, point.power_factor), []).append(point)
    made: list[CalibrationPoint] = []
    for run in runs.values():
        falling = all(a.load > b.load for a, b in pairwise(run))
        made += reversed(run) if falling else run
    return tuple(made)


def expected_error(point: CalibrationPoint) -> Decimal | None:
    """Indication minus reference in the point's unit, if both are given and that is how the unit works."""
    if point.reference is None or point.indication is None:
        return None
    difference = point.indication - point.reference
    if point.unit != RELATIVE or point.load_unit == RELATIVE:
        return difference
    return None if point.reference == 0 else difference / point.reference * 100


def share_problems(
    references: Sequence[ReferenceUse], points: Sequence[CalibrationPoint], where: str
) -> Iterator[Refusal]:
    """No share, nor all of them together, may exceed the standard uncertainty U/k of any point."""
    usable = [p for p in points if p.k.is_finite() and p.U.is_finite() and p.k > 0]
    shares = [
        (n, r, r.share) for n, r in enumerate(references, 1) if r.share is not None and r.share.is_finite()
    ]
    if not usable:
        return
    smallest = min(usable, key=lambda p: p.U / p.k)
    u = smallest.U / smallest.k
    for number, reference, share in shares:
        if share < 0:
            yield ShareTooLarge("T213", f"{where}, references[{number}]", share=share)
        elif share * smallest.k > smallest.U:
            standard = reference.standard or reference.certificate
            yield ShareTooLarge(
                "T211", f"{where}, references[{number}]", share=share, standard=standard, u=f"{u:.6g}"
            )
    squares = sum((share * share for _, _, share in shares), Decimal(0))
    if squares * smallest.k**2 > smallest.U**2 and all(
        share * smallest.k <= smallest.U for *_, share in shares
    ):
        yield ShareTooLarge("T212", where, share=f"{squares.sqrt():.6g}", u=f"{u:.6g}")


def _date_problems(certificate: Certificate, today: date, where: str) -> Iterator[Refusal]:
    performed = certificate.performed
    if performed > today:
        yield DatesReversed("T202", where, performed=performed, today=today)
    for name in ("issued", "valid_until"):
        later: date | None = getattr(certificate, name)
        if later is not None and later < performed:
            yield DatesReversed(
                "T201", where, later=name, later_date=later, earlier="performed", earlier_date=performed
            )


def _conformity_problems(certificate: Certificate, where: str) -> Iterator[Refusal]:
    if certificate.passed is None:
        yield CertificateRefused("T218", where)
    if not certificate.accuracy_class and certificate.mpe is None:
        yield CertificateRefused("T219", where)
    if certificate.passed and certificate.valid_until is None:
        yield CertificateRefused("T220", where)


def _reference_problems(certificate: Certificate, where: str) -> Iterator[Refusal]:
    seen = set()
    for number, reference in enumerate(certificate.references, 1):
        here = f"{where}, references[{number}]"
        if not (reference.standard or reference.certificate or reference.digest):
            yield ReferenceRefused("T214", here)
        if reference.standard and reference.standard == certificate.instrument:
            yield ReferenceRefused("T215", here)
        if reference.share is not None and not reference.share.is_finite():
            yield ReferenceRefused("T123", here, field="share", value=reference.share)
        yield from digest_problems(reference.digest, here)
        key = (reference.standard, reference.certificate, reference.digest)
        if key in seen:
            standard = reference.standard or "?"
            yield ReferenceRefused("T216", here, standard=standard, certificate=reference.certificate)
        seen.add(key)
    yield from share_problems(certificate.references, certificate.points, where)


def _error_problems(point: CalibrationPoint, where: str) -> Iterator[Refusal]:
    expected = expected_error(point)
    if expected is None or point.reference is None or point.indication is None:
        return
    # Each number is rounded on the paper: allow one unit of each last digit.
    factor = Decimal(1)
    if point.unit == RELATIVE and point.load_unit != RELATIVE:
        factor = abs(100 / point.reference)
    slack = _digit(point.error) + (_digit(point.reference) + _digit(point.indication)) * factor
    if abs(expected - point.error) > slack:
        yield PointsRefused(
            "T210", where, error=point.error, unit=point.unit, indication=point.indication,
            reference=point.reference, expected=f"{expected:.4g}",
        )  # fmt: skip


def _digit(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)


def _unit_problems(unit: str, where: str) -> Iterator[Refusal]:
    if unit != ANGLE_MINUTES and not is_known(unit):
        yield UnknownUnit("T110", where, unit=unit, known=", ".join(known_units()))
