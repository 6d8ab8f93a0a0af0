"""Tables from a class or an MPE, where no errors are known: ``MPE/√3`` as one systematic source of the
instrument.

The rectangle of a maximum permissible error says nothing of the sign, so nothing is corrected; and it is one
and the same unknown error at every reading, so it does not average out. The MPE depends on load and power
factor: a step where the class's next row begins, linear in the phase variable between the power factors that
the class names.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from calibration.accuracy import MeterClass, MeterRow
from calibration.certificate import CalibrationPoint, Instrument, TraceabilityError
from calibration.curve import Angle, Axis, Curve, Flag, Part, Table
from calibration.split import SQRT3, rounded, standard_uncertainty
from calibration.uncertainty import UncertaintySource

ANYTHING = "*"
"""Family of an instrument that measures one thing only and has nothing but an MPE."""

_TAN_HALF = SQRT3  # tan φ at cos φ = 0.5, the inductive limit that the classes name


def positive_mpe(instrument: Instrument, mpe: Decimal) -> Decimal:
    """An MPE as its size.

    Raises:
        TraceabilityError: 0, or not a finite number.
    """
    if not mpe.is_finite() or mpe == 0:
        raise TraceabilityError(f"{instrument.id}: an MPE of {mpe} is none; state it as a positive number")
    return abs(mpe)


def flat_class(family: str, mpe: Decimal) -> MeterClass:
    """A stated MPE in %, the same at every load and power factor."""
    row = MeterRow(Decimal(0), mpe, mpe)
    return MeterClass("", family, "stated MPE", Decimal("0.5"), Decimal("-0.8"), (row,))


def class_table(
    family: str,
    limit: MeterClass,
    instrument: Instrument,
    *,
    angle: Angle,
    grown: Decimal = Decimal(0),
    repeatability: Decimal = Decimal(0),
    certificate: str = "",
) -> Table:
    """The table of a meter of which only the class is known.

    Args:
        family: its quantity.
        limit: the class.
        instrument: the meter; without a rated current the widest MPE of the class holds at every load.
        angle: phase variable of the family.
        grown: added to the MPE, in %: drift past due.
        repeatability: standard deviation of one indication, in %.
        certificate: id of the verification that says so.
    """
    loads, power_factors, limits = _knots(limit, instrument)
    source = UncertaintySource("mpe", instrument.id, quantity=family, dist="uniform")
    by_angle = len(set(power_factors)) > 1
    curve = Curve(
        name="class",
        loads=loads,
        power_factors=power_factors,
        errors=(Decimal(0),) * len(loads),
        parts=(Part(source, tuple(rounded((mpe + grown) / SQRT3) for mpe in limits)),),
        bounds_load=len(loads) > 1,
        bounds_phase=by_angle,
        certificate=certificate,
    )
    outside_load, outside_t = outside(limit, (), "")
    return Table(
        curves=(curve,),
        angle=angle,
        outside_load=outside_load,
        outside_t=outside_t if by_angle else Decimal(0),
        repeatability=repeatability,
        flags=(Flag.CLASS_ONLY,),
    )


def span_mpe(instrument: Instrument, mpe: Decimal, unit: str) -> tuple[Decimal, bool]:
    """An MPE of an analyser or transmitter as (limit, relative): ``%`` of the reading, ``%FS`` of its span,
    or absolute.

    Raises:
        TraceabilityError: ``%FS`` and no range.
    """
    if unit == "%":
        return mpe, True
    if unit.replace(" ", "") == "%FS":
        if instrument.range_low is None or instrument.range_high is None:
            raise TraceabilityError(f"{instrument.id}: an MPE in {unit} needs the instrument's range")
        return mpe / 100 * (instrument.range_high - instrument.range_low), False
    return mpe, False


def span_table(
    instrument: Instrument,
    limit: Decimal,
    relative: bool,
    *,
    grown: Decimal = Decimal(0),
    certificate: str = "",
) -> Table:
    """The table of an instrument with nothing but an MPE, over its range if it states one."""
    low, high = instrument.range_low, instrument.range_high
    span = (low, high) if low is not None and high is not None and low < high else (Decimal(0),)
    source = UncertaintySource("mpe", instrument.id, quantity=ANYTHING, dist="uniform")
    curve = Curve(
        name="class",
        loads=span,
        power_factors=(Decimal(1),) * len(span),
        errors=(Decimal(0),) * len(span),
        parts=(Part(source, (rounded((limit + grown) / SQRT3),) * len(span)),),
        bounds_load=len(span) > 1,
        certificate=certificate,
    )
    return Table(
        (curve,),
        relative=relative,
        axis=Axis.OWN,
        outside_load=rounded(limit / SQRT3),
        flags=(Flag.CLASS_ONLY,),
    )


def outside(
    limit: MeterClass | None, points: Sequence[CalibrationPoint], where: str
) -> tuple[Decimal, Decimal]:
    """Standard uncertainty outside the calibrated loads, and per unit of phase variable outside the power
    factors.

    From the class where it is known: its widest MPE over √3, and the MPE at 0.5 L over √3 per tan φ there.
    Else from the certificate itself: the range of its errors, or its largest u, whichever is larger.
    """
    if limit is not None:
        return rounded(limit.widest / SQRT3), rounded(limit.rows[-1].other / SQRT3 / _TAN_HALF)
    errors = [p.error for p in points]
    widening = max(max(errors) - min(errors), *(standard_uncertainty(p, where) for p in points), Decimal(0))
    return rounded(widening), rounded(widening)


def _knots(
    limit: MeterClass, instrument: Instrument
) -> tuple[tuple[Decimal, ...], tuple[Decimal, ...], tuple[Decimal, ...]]:
    """Loads, power factors and MPE: each row held up to the next, the last to the maximum current (1.2 In if
    unknown).
    """
    rated = instrument.rated_current
    if rated is None or len(limit.rows) == 1:  # no load axis: the widest holds everywhere
        return (rated or Decimal(1),), (Decimal(1),), (limit.widest,)
    top = instrument.maximum_current or rated * Decimal("1.2")
    knots: list[tuple[Decimal, Decimal, Decimal]] = []
    for pf in (limit.capacitive, Decimal(1), limit.inductive):
        for n, row in enumerate(limit.rows):
            mpe = row.unity if pf == 1 else row.other
            stop = limit.rows[n + 1].low * rated if n + 1 < len(limit.rows) else top
            knots += [(row.low * rated, pf, mpe), (max(stop, row.low * rated), pf, mpe)]
    return tuple(k[0] for k in knots), tuple(k[1] for k in knots), tuple(k[2] for k in knots)
