"""Correction curves: interpolation, steps, the phase variable, merged grids."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.certificate import CalibrationPoint, Certificate, CertificateKind, Instrument, ReferenceUse
from calibration.curve import (
    T_LIMIT,
    T_UNKNOWN,
    Angle,
    Bound,
    Curve,
    Grid,
    Part,
    Table,
    family_of,
    operating_t,
    phase_variable,
)
from calibration.state import compile_state
from calibration.uncertainty import UncertaintySource

D = Decimal
OWN = UncertaintySource("cal_point", "C-1")
REF = UncertaintySource("ref_standard", "STD")


def curve(
    *knots: tuple[str, str, str], phase: bool = False, weight: str = "1", parts: tuple[Part, ...] = ()
) -> Curve:
    loads, power_factors, errors = (tuple(map(D, column)) for column in zip(*knots, strict=True))
    return Curve(
        "meter",
        loads,
        power_factors,
        errors,
        parts,
        D(weight),
        phase,
        bounds_load=not phase,
        bounds_phase=not phase,
    )


def error_at(grid: Grid, x: float, t: float = 0.0) -> float:
    i, j, a, b = grid.cell(x, t)
    nx, nt = len(grid.xs), len(grid.ts)
    i1, j1 = min(i + 1, nx - 1), min(j + 1, nt - 1)
    e = grid.errors
    low = e[i * nt + j] * (1 - a) + e[i1 * nt + j] * a
    high = e[i * nt + j1] * (1 - a) + e[i1 * nt + j1] * a
    return low * (1 - b) + high * b


def test_error_is_linear_between_two_knots_and_constant_outside() -> None:
    grid = Grid(Table((curve(("1", "1", "0.12"), ("3", "1", "0.30")),)))
    assert error_at(grid, 1.5) == pytest.approx(0.165, abs=1e-15)
    assert error_at(grid, 0.2) == 0.12
    assert error_at(grid, 9.0) == pytest.approx(0.30, abs=1e-15)
    assert (grid.low, grid.high) == (1.0, 3.0)


def test_between_two_power_factors_the_error_is_linear_in_tan_phi() -> None:
    """A phase displacement makes an error proportional to tan φ; a meter calibrated at cos φ 1 and 0.5 L shows it."""
    grid = Grid(Table((curve(("5", "1", "0"), ("5", "0.5", "0.3")),), angle=Angle.TAN))
    tan = math.tan(math.acos(0.8))
    assert error_at(grid, 5, tan) == pytest.approx(0.3 * tan / math.sqrt(3), rel=1e-12)


def test_each_power_factor_keeps_its_own_loads_in_the_merged_grid() -> None:
    table = Table(
        (curve(("1", "1", "0.1"), ("5", "1", "0.5"), ("2", "0.5", "0.8"), ("4", "0.5", "0.2")),),
        angle=Angle.TAN,
    )
    grid = Grid(table)
    assert error_at(grid, 3, 0.0) == pytest.approx(0.3)  # between 1 A and 5 A at cos φ = 1
    assert error_at(grid, 3, math.sqrt(3)) == pytest.approx(0.5)  # between 2 A and 4 A at 0.5 L
    assert error_at(grid, 1, math.sqrt(3)) == pytest.approx(0.8)  # held below 2 A


def test_a_doubled_knot_is_a_step_and_its_right_side_holds_at_the_load_itself() -> None:
    grid = Grid(Table((curve(("1", "1", "1"), ("2", "1", "1"), ("2", "1", "0.5"), ("9", "1", "0.5")),)))
    assert error_at(grid, math.nextafter(2.0, 0.0)) == pytest.approx(1.0)
    assert error_at(grid, 2.0) == 0.5
    assert error_at(grid, 5.0) == 0.5


def test_a_step_of_one_curve_is_not_smeared_by_the_knots_of_another() -> None:
    step = curve(("1", "1", "1"), ("2", "1", "1"), ("2", "1", "0"), ("9", "1", "0"))
    ramp = curve(("1", "1", "0"), ("9", "1", "8"))
    grid = Grid(Table((step, ramp)))
    assert error_at(grid, math.nextafter(2.0, 0.0)) == pytest.approx(2.0)
    assert error_at(grid, 2.0) == pytest.approx(1.0)


def test_a_phase_curve_goes_on_with_tan_phi_where_a_meters_curve_is_held() -> None:
    meter = curve(("5", "1", "0.1"), ("5", "0.5", "0.2"))
    displacement = curve(("5", "1", "10"), phase=True, weight="0.0290888")
    grid = Grid(Table((meter, displacement), angle=Angle.TAN))
    assert error_at(grid, 5, 3.0) == pytest.approx(0.2 + 0.290888 * 3.0, rel=1e-12)
    assert error_at(grid, 5, -3.0) == pytest.approx(0.1 - 0.290888 * 3.0, rel=1e-12)


def test_bounds_of_an_unknown_split_are_kept_apart_and_parts_of_one_source_add() -> None:
    alpha = (D("0.03"), D("0.03"))
    known = Part(REF, (D("0.01"), D("0.02")))
    parts = (known, Part(OWN, alpha, Bound.OWN), Part(REF, alpha, Bound.SHARED))
    grid = Grid(Table((curve(("1", "1", "0"), ("2", "1", "0"), parts=parts),)))
    shared, own = dict(grid.bound(Bound.SHARED)), dict(grid.bound(Bound.OWN))
    assert shared == {REF.id: pytest.approx((0.04, 0.05))}
    assert own == {OWN.id: pytest.approx((0.03, 0.03)), REF.id: pytest.approx((0.01, 0.02))}


@pytest.mark.parametrize(
    ("angle", "power_factor", "expected"),
    [
        (Angle.TAN, 1.0, 0.0),
        (Angle.TAN, 0.5, math.sqrt(3)),
        (Angle.TAN, -0.8, -0.75),
        (Angle.TAN, -1.0, 0.0),
        (Angle.TAN, 0.0, T_LIMIT),
        (Angle.TAN, 0.001, T_LIMIT),
        (Angle.TAN, -0.001, -T_LIMIT),
        (Angle.COT, 0.5, 1 / math.sqrt(3)),
        (Angle.COT, -0.8, -4 / 3),
        (Angle.COT, 1.0, T_LIMIT),
        (Angle.COT, -1.0, -T_LIMIT),
        (Angle.COT, 0.0, 0.0),
    ],
)
def test_phase_variable_of_an_operating_point(angle: Angle, power_factor: float, expected: float) -> None:
    assert operating_t(angle, power_factor) == pytest.approx(expected, abs=1e-12)


@given(st.floats(0.02, 1.0), st.booleans())
def test_a_certificate_point_and_the_operating_point_of_the_same_angle_agree(
    cos: float, capacitive: bool
) -> None:
    signed = -cos if capacitive else cos
    assert operating_t(Angle.TAN, signed) == pytest.approx(phase_variable(signed), rel=1e-12, abs=1e-12)
    sin = math.copysign(math.sqrt(1 - cos * cos), signed)
    if abs(sin) > 0.02:
        assert operating_t(Angle.COT, signed) == pytest.approx(phase_variable(sin), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("measurand", "family"),
    [
        ("power.active.total", "energy.active"),
        ("energy.active.import.t1", "energy.active"),
        ("demand.active.import", "energy.active"),
        ("power.reactive.l2", "energy.reactive"),
        ("power.apparent.total", "power.apparent"),
        ("power.activeless", "power.activeless"),
        ("voltage.l1", "voltage.l1"),
    ],
)
def test_families(measurand: str, family: str) -> None:
    assert family_of(measurand) == family


def test_a_curve_refuses_missing_entries_and_impossible_power_factors() -> None:
    with pytest.raises(ValueError, match="every knot"):
        Curve("meter", (D(1),), (D(1),), (), ())
    with pytest.raises(ValueError, match="coefficient per knot"):
        curve(("1", "1", "0"), parts=(Part(OWN, ()),))
    with pytest.raises(ValueError, match="power factor"):
        curve(("1", "0", "0"))


@settings(max_examples=60)
@given(
    load=st.floats(0, 20, allow_nan=False),
    errors=st.lists(st.decimals("-2", "2", places=3), min_size=6, max_size=6),
    own=st.booleans(),
)
def test_a_known_load_at_an_unknown_angle_is_the_range_over_every_angle_to_the_last_bit(load, errors, own):
    """The short way over the angles against the point of each angle by itself."""
    points = tuple(
        CalibrationPoint(
            "energy.active", Decimal(a), "A", error, Decimal("0.1"), Decimal(2), "%", Decimal(pf)
        )
        for (a, pf), error in zip(
            [("0.05", "1"), ("1", "1"), ("6", "1"), ("0.1", "0.5"), ("1", "0.5"), ("6", "0.5")],
            errors,
            strict=True,
        )
    )
    meter = Instrument(
        "M-1", rated_current=Decimal(5), maximum_current=Decimal(6), rated_voltage=Decimal("57.7")
    )
    paper = Certificate(
        "C-1", CertificateKind.CALIBRATION, "M-1", "Lab", date(2026, 6, 1), points=points,
        references=(ReferenceUse("STD-1", "S-2026", share=Decimal("0.03")),),
    )  # fmt: skip
    correction = compile_state(meter, [paper], at=date(2026, 11, 1)).correction("power.active.total")
    assert correction.needs_t
    bound = Bound.OWN if own else Bound.SHARED
    reach = {-T_UNKNOWN, 0.0, T_UNKNOWN, *(t for t in correction.grid.ts if -T_UNKNOWN <= t <= T_UNKNOWN)}
    each = [correction.at(load, t, bound) for t in sorted(reach)]
    found = correction.at(load, None, bound)
    both = [point.error for point in each]
    assert found.error == (max(both) + min(both)) / 2.0
    assert found.operating_point == (max(both) - min(both)) / 2.0 / 3.0**0.5
    assert found.extrapolation == max(point.extrapolation for point in each)
    assert found.coefficients == tuple(
        max(map(abs, column)) for column in zip(*(point.coefficients for point in each), strict=True)
    )
