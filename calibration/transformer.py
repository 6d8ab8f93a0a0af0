"""Current and voltage transformers: ratio error and phase displacement as curves in the meter's correction
tables.

With relative errors in % and phase displacements δ in minutes of arc, δ positive when the secondary phasor
leads (GB/T 20840, IEC 61869), to first order

    active energy and power:    e = e_meter + f_I + f_U + 0.0290888·(δ_I − δ_U)·tan φ
    reactive energy and power:  e = e_meter + f_I + f_U − 0.0290888·(δ_I − δ_U)·cot φ
    power factor:               e = e_meter             + 0.0290888·(δ_I − δ_U)·tan φ
    apparent power:             e = e_U + e_I + f_I + f_U
    voltage, current:           e = e_meter + f_U,  e = e_meter + f_I

(0.0290888 % is one minute in radian.) Products of two errors, some 1e-5 of a value, are left out. A CT's
errors go over its secondary current, which is the meter's load; a PT's are taken at rated voltage. Several
transformers of one kind that serve one quantity (three phases) contribute with equal weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from calibration.accuracy import TransformerClass
from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    Instrument,
    InstrumentKind,
    TraceabilityError,
)
from calibration.curve import Curve, Part
from calibration.split import SQRT3, rounded, split, standard_uncertainty
from calibration.uncertainty import UncertaintySource

MINUTE = Decimal("0.0290888208666")
"""One minute of arc in % (of a radian)."""

_WEIGHTS: Mapping[str, tuple[tuple[str, str, int], ...]] = {
    "energy.active": (("ct", "ratio", 1), ("pt", "ratio", 1), ("ct", "phase", 1), ("pt", "phase", -1)),
    "energy.reactive": (("ct", "ratio", 1), ("pt", "ratio", 1), ("ct", "phase", -1), ("pt", "phase", 1)),
    "power_factor": (("ct", "phase", 1), ("pt", "phase", -1)),
    "power.apparent": (("ct", "ratio", 1), ("pt", "ratio", 1)),
    "voltage": (("pt", "ratio", 1),),
    "current": (("ct", "ratio", 1),),
}

_MINUTES = {"min": Decimal(1), "'": Decimal(1), "crad": Decimal("34.3774677078"), "deg": Decimal(60)}


@dataclass(frozen=True, slots=True)
class Transformer:
    """A CT or PT with what is known of it.

    ``ratio`` and ``phase`` are the certificates with values of either, with the age that their drift is
    reckoned for: years times the policy's fraction of the limit per year. Without one the class counts, grown
    by ``overdue`` of itself. ``verification`` is the id of the certificate that the class rests on.
    """

    instrument: Instrument
    ratio: tuple[Certificate, Decimal] | None = None
    phase: tuple[Certificate, Decimal] | None = None
    accuracy: TransformerClass | None = None
    overdue: Decimal = Decimal(0)
    verification: str = ""

    @property
    def kind(self) -> str:
        """``ct`` or ``pt``."""
        return "ct" if self.instrument.kind is InstrumentKind.CT else "pt"

    @property
    def known(self) -> bool:
        """Whether anything states an uncertainty."""
        return self.ratio is not None or self.phase is not None or self.accuracy is not None

    def values(self, quantity: str) -> tuple[Certificate, Decimal] | None:
        """The certificate with values of ``ratio`` or ``phase``, and its drift."""
        return self.ratio if quantity == "ratio" else self.phase


def transformer_curves(
    family: str,
    transformers: Iterable[Transformer],
    standards: Mapping[str, Certificate],
    rated_current: Decimal | None,
    *,
    points_correlated: bool = True,
) -> tuple[Curve, ...]:
    """The curves that these transformers add to a family's table.

    Args:
        family: of the meter's quantity, without phase.
        transformers: those that serve it; equal weight within a kind.
        standards: certificates of standards, by id.
        rated_current: of the meter in A, for a CT that states none.
        points_correlated: as in :func:`calibration.split.split`.

    Raises:
        TraceabilityError: a transformer with ratio errors and neither phase displacement nor class, and the
            like.
    """
    everything = tuple(transformers)
    curves: list[Curve] = []
    for kind, quantity, sign in _WEIGHTS.get(family, ()):
        of_kind = [t for t in everything if t.kind == kind]
        for transformer in of_kind:
            weight = rounded(Decimal(sign) / len(of_kind) * (MINUTE if quantity == "phase" else 1))
            curves.append(_curve(transformer, quantity, weight, standards, rated_current, points_correlated))
    return tuple(curves)


def _curve(
    transformer: Transformer,
    quantity: str,
    weight: Decimal,
    standards: Mapping[str, Certificate],
    rated_current: Decimal | None,
    points_correlated: bool,
) -> Curve:
    instrument, kind = transformer.instrument, transformer.kind
    name = f"{kind}_{quantity}"
    rated = instrument.rated_voltage if kind == "pt" else instrument.rated_current or rated_current
    values = transformer.values(quantity)
    if values is not None:
        certificate, drift_years = values
        curve = _certificate_curve(
            transformer, certificate, drift_years, quantity, name, weight, standards, rated, points_correlated
        )
    elif transformer.accuracy is not None:
        curve = _class_curve(transformer, transformer.accuracy, quantity, name, weight, rated)
    else:
        what = "ratio error" if quantity == "ratio" else "phase displacement"
        raise TraceabilityError(
            f"{kind.upper()} {instrument.id}: no certificate has its {what} and it has no accuracy class known to "
            f"the table of classes; give either"
        )
    return _at_rated(curve, rated) if kind == "pt" else curve


def _certificate_curve(
    transformer: Transformer,
    certificate: Certificate,
    drift_years: Decimal,
    quantity: str,
    name: str,
    weight: Decimal,
    standards: Mapping[str, Certificate],
    rated: Decimal | None,
    points_correlated: bool,
) -> Curve:
    where = f"certificate {certificate.id}"
    points = [p for p in certificate.points if p.quantity == quantity]
    for p in points:
        standard_uncertainty(p, where)  # refuses what is not a number before anything is compared
    located = sorted(
        ((_load(p, rated, transformer.kind, where), p) for p in points), key=lambda pair: pair[0]
    )
    loads = [load for load, _ in located]
    if len(set(loads)) != len(loads):
        raise TraceabilityError(f"{where}: two {quantity} points at one load; give the burden in use only")
    ordered = [point for _, point in located]
    if len({point.unit for point in ordered}) > 1:
        raise TraceabilityError(f"{where}: the {quantity} points are in different units")
    factors = [_factor(point, quantity, where) for point in ordered]
    parts = list(
        split(
            certificate,
            ordered,
            quantity,
            name,
            standards,
            points_correlated=points_correlated,
            factors=factors,
        )
    )
    limit = _limit(transformer, quantity) or max(p.U * f for p, f in zip(ordered, factors, strict=True))
    drift = rounded(limit * drift_years / SQRT3)
    if drift:
        source = UncertaintySource(
            "drift", transformer.instrument.id, epoch=certificate.id, quantity=quantity, dist="uniform"
        )
        parts.append(Part(source, (drift,) * len(ordered)))
    return Curve(
        name=name,
        loads=tuple(loads),
        power_factors=(Decimal(1),) * len(loads),
        errors=tuple(rounded(p.error * f) for p, f in zip(ordered, factors, strict=True)),
        parts=tuple(parts),
        weight=weight,
        phase=quantity == "phase",
        bounds_load=True,
        certificate=certificate.id,
    )


def _class_curve(
    transformer: Transformer,
    accuracy: TransformerClass,
    quantity: str,
    name: str,
    weight: Decimal,
    rated: Decimal | None,
) -> Curve:
    limits = [row.ratio if quantity == "ratio" else row.phase for row in accuracy.rows]
    if rated is None:  # no load axis: the widest limit everywhere
        loads, limits = [Decimal(1)], [max(limits)]
    else:
        loads = [row.low * rated for row in accuracy.rows]
    source = UncertaintySource(name, transformer.instrument.id, quantity=quantity, dist="uniform")
    # Overdue limits widen like a drift, but are no second source: what drifts is the one unknown error.
    grown = 1 + transformer.overdue
    return Curve(
        name=name,
        loads=tuple(loads),
        power_factors=(Decimal(1),) * len(loads),
        errors=(Decimal(0),) * len(loads),
        parts=(Part(source, tuple(rounded(limit * grown / SQRT3) for limit in limits)),),
        weight=weight,
        phase=quantity == "phase",
        bounds_load=len(loads) > 1,
        certificate=transformer.verification,
    )


def _at_rated(curve: Curve, rated: Decimal | None) -> Curve:
    """A PT's curve as the constant that it is at rated voltage (the middle one of its points where none is
    stated).
    """
    at = rated if rated is not None else curve.loads[len(curve.loads) // 2]
    return Curve(
        name=curve.name,
        loads=(at,),
        power_factors=(Decimal(1),),
        errors=(_between(curve.loads, curve.errors, at),),
        parts=tuple(Part(p.source, (_between(curve.loads, p.alpha, at),), p.bound) for p in curve.parts),
        weight=curve.weight,
        phase=curve.phase,
        certificate=curve.certificate,
    )


def _between(xs: Sequence[Decimal], values: Sequence[Decimal], x: Decimal) -> Decimal:
    if x <= xs[0]:
        return values[0]
    for (x0, v0), (x1, v1) in zip(
        zip(xs, values, strict=True), zip(xs[1:], values[1:], strict=True), strict=False
    ):
        if x <= x1:
            return rounded(v0 + (v1 - v0) * (x - x0) / (x1 - x0))
    return values[-1]


def _load(point: CalibrationPoint, rated: Decimal | None, kind: str, where: str) -> Decimal:
    unit = "A" if kind == "ct" else "V"
    if point.load_unit == unit:
        return point.load
    if point.load_unit == "%":
        if rated is not None:
            return point.load * rated / 100
        if kind == "pt":  # one scale is as good as another: only the place of 100 % matters
            return point.load
    raise TraceabilityError(
        f"{where}: a {kind.upper()}'s load is given in {unit} on the secondary side, or in % of its rated value "
        f"(which the register must then hold); this point has {point.load} {point.load_unit}"
    )


def _factor(point: CalibrationPoint, quantity: str, where: str) -> Decimal:
    if quantity == "ratio" and point.unit == "%":
        return Decimal(1)
    if quantity == "phase" and point.unit in _MINUTES:
        return _MINUTES[point.unit]
    expected = "%" if quantity == "ratio" else "min, crad or deg"
    raise TraceabilityError(f"{where}: {quantity} in {point.unit!r}; expected {expected}")


def _limit(transformer: Transformer, quantity: str) -> Decimal | None:
    if transformer.accuracy is None:
        return None
    row = transformer.accuracy.rows[-1]
    return row.ratio if quantity == "ratio" else row.phase
