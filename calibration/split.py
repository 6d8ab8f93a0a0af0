"""A certificate's expanded uncertainty, split into its reference standard's part and its own.

``u = U/k`` (no k, no import). The part of a reference standard goes to a source that everything calibrated
against that standard's certificate shares; the rest belongs to the certificate:

* the certificate states the share → that, for points in the share's unit (that of all its points, ``%`` where
  it has several);
* the standard's own certificate is known → its ``U/k`` for the same quantity and unit, the largest of its
  points;
* neither → nobody knows. Both extremes are kept: :attr:`Bound.OWN` (the rest is the certificate's alone,
  r = 0) and :attr:`Bound.SHARED` (all of it is the standard's, r = 1). A certificate that names no standard
  is taken, for the second, to share with all of its laboratory's certificates that name none either. With
  several standards of unknown share, the first by name gets it.

A share larger than the whole is refused, never clamped. The rest is common to all points of the certificate
(one source, r = 1 between points) unless the policy says that it is independent from point to point: that is
the larger one for everything but differences along the curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    ReferenceUse,
    TraceabilityError,
)
from calibration.curve import Bound, Part, family_of
from calibration.uncertainty import UncertaintySource

_DIGITS = Context(prec=12)
SQRT3 = Decimal("1.73205080756887729")


def rounded(number: Decimal) -> Decimal:
    """Twelve significant digits: what a state keeps of a computed coefficient."""
    return _DIGITS.plus(number)


def standard_uncertainty(point: CalibrationPoint, where: str) -> Decimal:
    """``U/k`` of a point.

    Raises:
        TraceabilityError: k is missing or not positive (it is never assumed to be 2), or U is not positive.
    """
    place = f"{where}, {point.quantity} at {point.load} {point.load_unit}"
    if point.k is None or not point.k.is_finite() or point.k <= 0:
        raise TraceabilityError(
            f"{place}: U has no coverage factor k; ask the laboratory for it (k = 2 is not assumed)"
        )
    if point.U is None or not point.U.is_finite() or point.U <= 0:
        raise TraceabilityError(f"{place}: the expanded uncertainty U must be positive, it is {point.U}")
    if not point.error.is_finite() or not point.load.is_finite() or not point.power_factor.is_finite():
        raise TraceabilityError(f"{place}: error, load and power factor must be finite numbers")
    return point.U / point.k


def reference_source(reference: ReferenceUse, quantity: str) -> UncertaintySource:
    """The source that a reference standard is, under the certificate that was in force, for a quantity
    family.
    """
    owner = reference.standard or reference.certificate
    return UncertaintySource("ref_standard", owner, epoch=reference.certificate, quantity=quantity)


def unnamed_reference(certificate: Certificate) -> ReferenceUse:
    """What stands for the reference standard of a certificate that names none: its laboratory's."""
    return ReferenceUse(standard=f"laboratory {certificate.laboratory or certificate.id}")


def split(
    certificate: Certificate,
    points: Sequence[CalibrationPoint],
    quantity: str,
    kind: str,
    standards: Mapping[str, Certificate],
    *,
    points_correlated: bool,
    factors: Sequence[Decimal],
) -> tuple[Part, ...]:
    """The parts of uncertainty of a certificate's points.

    Args:
        certificate: theirs.
        points: those of one quantity, in the order of the curve's knots.
        quantity: name of the quantity in the sources.
        kind: of the certificate's own source (``cal_point``, ``ct_ratio``, …).
        standards: certificates of standards, by id.
        points_correlated: the certificate's own part is common to all points.
        factors: each point's coefficients are multiplied with this (a change of unit).

    Raises:
        TraceabilityError: no k; a share above the whole; a standard's certificate with another digest than
            stated.
    """
    where = f"certificate {certificate.id}"
    whole = [standard_uncertainty(point, where) for point in points]
    left = [u * u for u in whole]
    parts: list[Part] = []
    unknown: list[ReferenceUse] = []
    references = sorted(certificate.references, key=lambda r: (r.standard, r.certificate)) or [
        unnamed_reference(certificate)
    ]
    for reference in references:
        share = _share(reference, certificate, points[0], standards)
        if share is None:
            unknown.append(reference)
            continue
        left = [rest - share * share for rest in left]
        for point, u, rest in zip(points, whole, left, strict=True):
            if rest < 0:
                raise TraceabilityError(
                    f"{where}, {point.quantity} at {point.load} {point.load_unit}: the standard {reference.standard} "
                    f"contributes {share} {point.unit}, together more than U/k = {rounded(u)} {point.unit}; "
                    f"one of the two is wrong, ask the laboratory"
                )
        if share:
            alpha = tuple(rounded(share * factor) for factor in factors)
            parts.append(Part(reference_source(reference, quantity), alpha))
    rest_u = tuple(rounded(rest.sqrt() * factor) for rest, factor in zip(left, factors, strict=True))
    own = Bound.OWN if unknown else Bound.BOTH
    dofs = [point.dof for point in points if point.dof is not None]
    if points_correlated:
        source = UncertaintySource(
            kind, certificate.id, quantity=quantity, dof=float(min(dofs)) if dofs else None
        )
        parts.append(Part(source, rest_u, own))
    else:
        parts.extend(_per_point(certificate, points, quantity, kind, rest_u, own))
    if unknown:
        parts.append(Part(reference_source(unknown[0], quantity), rest_u, Bound.SHARED))
    return tuple(part for part in parts if any(part.alpha))


def _per_point(
    certificate: Certificate,
    points: Sequence[CalibrationPoint],
    quantity: str,
    kind: str,
    rest: Sequence[Decimal],
    bound: Bound,
) -> list[Part]:
    parts = []
    for n, (point, alpha) in enumerate(zip(points, rest, strict=True)):
        name = f"{quantity} {point.load.normalize():f} {point.load_unit} {point.power_factor.normalize():f}"
        dof = None if point.dof is None else float(point.dof)
        source = UncertaintySource(kind, certificate.id, quantity=name, dof=dof)
        column = tuple(alpha if m == n else Decimal(0) for m in range(len(points)))
        parts.append(Part(source, column, bound))
    return parts


def _share(
    reference: ReferenceUse,
    certificate: Certificate,
    point: CalibrationPoint,
    standards: Mapping[str, Certificate],
) -> Decimal | None:
    where = f"certificate {certificate.id}"
    if reference.share is not None and (not reference.share.is_finite() or reference.share < 0):
        raise TraceabilityError(
            f"{where}: the share of {reference.standard} is {reference.share}, not a number >= 0"
        )
    units = {each.unit for each in certificate.points}
    if reference.share is not None and point.unit == ("%" if len(units) > 1 else point.unit):
        return reference.share
    known = standards.get(reference.certificate)
    if known is None or known.kind is not CertificateKind.CALIBRATION:
        return None
    if reference.digest and known.digest and reference.digest.lower() != known.digest.lower():
        raise TraceabilityError(
            f"{where} names the certificate {known.id} with the digest {reference.digest}, "
            f"the one in the register has {known.digest}: they are different documents"
        )
    same = [
        p for p in known.points if family_of(p.quantity) == family_of(point.quantity) and p.unit == point.unit
    ]
    return max((standard_uncertainty(p, f"certificate {known.id}") for p in same), default=None)
