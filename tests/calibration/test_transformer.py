"""CT and PT in the correction of a meter: ratio once, ratio error and phase displacement, their sources."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
    TraceabilityError,
)
from calibration.curve import Bound
from calibration.state import CalibrationState, Policy, compile_state
from calibration.uncertainty import UncertaintySource

D = Decimal
AT = date(2026, 11, 1)
NO_DRIFT = Policy(drift_fraction=D(0), transformer_drift_fraction=D(0))
METER = Instrument("M-1", rated_current=D(5), maximum_current=D(6), rated_voltage=D(100))
CT = Instrument("CT-1", InstrumentKind.CT, ratio=D(400), rated_current=D(5))
PT = Instrument("PT-1", InstrumentKind.PT, ratio=D(100), rated_voltage=D(100))
MINUTE = math.pi / 180 / 60 * 100  # one minute of arc in %
TINY = "0.000002"


def errors(
    quantity: str, *knots: tuple[str, str], U: str = TINY, unit: str = "%", load_unit: str = "%"
) -> tuple[CalibrationPoint, ...]:
    return tuple(CalibrationPoint(quantity, D(x), load_unit, D(e), D(U), D(2), unit) for x, e in knots)


def of(
    instrument: Instrument, *points: CalibrationPoint, references: tuple[ReferenceUse, ...] = ()
) -> Certificate:
    return Certificate(
        f"C-{instrument.id}",
        CertificateKind.CALIBRATION,
        instrument.id,
        "Lab",
        date(2026, 6, 1),
        points=points,
        references=references,
    )


def meter_certificate() -> Certificate:
    flat = [
        CalibrationPoint(quantity, D(x), "A", D(0), D(TINY), D(2), "%", D(pf))
        for quantity in ("energy.active", "energy.reactive")
        for pf in ("1", "0.1", "-0.1")
        for x in ("0.01", "6")
    ]
    return of(METER, *flat)


def state_with(
    *transformers: Instrument, certificates: tuple[Certificate, ...] = (), policy: Policy = NO_DRIFT
) -> CalibrationState:
    return compile_state(METER, [meter_certificate(), *certificates], transformers, at=AT, policy=policy)


def error(state: CalibrationState, measurand: str, pf: float, load: float = 5.0) -> float:
    result = state.correct(measurand, 1.0, load_a=load, power_factor=pf)
    assert result is not None
    table = state.tables[state.family(measurand) or ""]
    return 100 * (float(table.ratio) / result.y - 1)


def relative_u(state: CalibrationState, measurand: str, pf: float, load: float = 5.0) -> float:
    result = state.correct(measurand, 1.0, load_a=load, power_factor=pf)
    assert result is not None
    return 100 * result.u / result.y


def both_certificates() -> tuple[Certificate, Certificate]:
    return (
        of(CT, *errors("ratio", ("100", "0.12")), *errors("phase", ("100", "8"), unit="min")),
        of(PT, *errors("ratio", ("100", "-0.05")), *errors("phase", ("100", "-3"), unit="min")),
    )


@pytest.mark.parametrize("pf", [1.0, 0.8, 0.5, -0.8])
def test_ratio_errors_and_phase_displacements_add_up_in_active_energy(pf: float) -> None:
    """e = f_I + f_U + 0.0291·(δ_I − δ_U)·tan φ."""
    tan = math.copysign(math.tan(math.acos(abs(pf))), pf)
    state = state_with(CT, PT, certificates=both_certificates())
    expected = 0.12 - 0.05 + MINUTE * (8 + 3) * tan
    assert error(state, "power.active.total", pf) == pytest.approx(expected, rel=1e-9)


def test_a_composite_error_against_the_exact_phasor_calculation() -> None:
    """The first-order formula beside the exact product of phasors: they differ in second order only."""
    pf = 0.6
    phi = math.acos(pf)
    minute = math.pi / 180 / 60
    voltage, current = (
        (1 - 0.0005) * math.e ** (1j * -3 * minute),
        (1 + 0.0012) * math.e ** (1j * (8 * minute - phi)),
    )
    power = voltage * current.conjugate()
    state = state_with(CT, PT, certificates=both_certificates())
    assert error(state, "power.active.total", pf) == pytest.approx(100 * (power.real / pf - 1), abs=2e-3)
    assert error(state, "power.reactive.total", pf) == pytest.approx(
        100 * (power.imag / math.sin(phi) - 1), abs=2e-3
    )


def test_voltage_sees_the_pt_and_current_the_ct_alone() -> None:
    volts = errors("voltage", ("100", "0"), load_unit="V")
    amperes = errors("current", ("1", "0"), ("5", "0"), load_unit="A")
    meter = replace(meter_certificate(), id="C-VA", points=(*meter_certificate().points, *volts, *amperes))
    state = compile_state(METER, [meter, *both_certificates()], [CT, PT], at=AT, policy=NO_DRIFT)
    for measurand, value, ratio, expected in (
        ("voltage.l1", 100.0, 100, -0.05),
        ("current.l2", 5.0, 400, 0.12),
    ):
        result = state.correct(measurand, value)
        assert result is not None
        assert 100 * (value * ratio / result.y - 1) == pytest.approx(expected, rel=1e-9)
    assert error(state, "power.apparent.total", 1.0) == pytest.approx(0.12 - 0.05, rel=1e-9)


def test_a_cts_errors_go_over_the_load_and_its_loads_in_percent_are_of_the_rated_current() -> None:
    certificate = of(
        CT, *errors("ratio", ("20", "0.4"), ("100", "0.0")), *errors("phase", ("100", "0"), unit="min")
    )
    state = state_with(CT, certificates=(certificate,))
    assert error(state, "power.active.total", 1.0, load=3.0) == pytest.approx(0.2, rel=1e-6)


def test_a_pt_counts_at_rated_voltage() -> None:
    certificate = of(
        PT, *errors("ratio", ("80", "0.5"), ("120", "0.1")), *errors("phase", ("100", "0"), unit="min")
    )
    assert error(state_with(PT, certificates=(certificate,)), "power.active.total", 1.0) == pytest.approx(
        0.3, rel=1e-6
    )


def test_phase_displacement_costs_nothing_at_unity_and_much_at_low_power_factor() -> None:
    certificate = of(CT, *errors("ratio", ("100", "0")), *errors("phase", ("100", "0"), U="4", unit="min"))
    state = state_with(CT, certificates=(certificate,))
    assert relative_u(state, "power.active.total", 1.0) < 1e-5
    assert relative_u(state, "power.active.total", 0.5) == pytest.approx(2 * MINUTE * math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize(
    ("unit", "minutes"), [("min", 1.0), ("crad", 180 * 60 / math.pi / 100), ("deg", 60.0)]
)
def test_units_of_phase_displacement(unit: str, minutes: float) -> None:
    certificate = of(CT, *errors("ratio", ("100", "0")), *errors("phase", ("100", "0.5"), unit=unit))
    state = state_with(CT, certificates=(certificate,))
    assert error(state, "power.active.total", 0.5) == pytest.approx(
        0.5 * minutes * MINUTE * math.sqrt(3), rel=1e-8
    )


def test_a_class_gives_ratio_and_phase_limits_over_root_three_along_the_current() -> None:
    """Class 0.2S: 0.2 % and 10' from 0.2 In, 0.35 % and 15' at 0.05 In; linear between."""
    state = state_with(replace(CT, accuracy_class="0.2S"))
    assert relative_u(state, "power.active.total", 1.0) == pytest.approx(0.2 / math.sqrt(3), rel=1e-6)
    assert relative_u(state, "power.active.total", 1.0, load=0.625) == pytest.approx(
        0.275 / math.sqrt(3), rel=1e-6
    )
    expected = math.hypot(0.2, 10 * MINUTE * math.sqrt(3)) / math.sqrt(3)
    assert relative_u(state, "power.active.total", 0.5) == pytest.approx(expected, rel=1e-6)
    result = state.correct("power.active.total", 1.0, load_a=5.0, power_factor=1.0)
    assert result is not None
    assert result.flags == ("CLASS_ONLY",)


def test_two_cts_of_one_standard_are_correlated_through_it() -> None:
    """Ratio u = 0.05 %, 0.04 of it the standard's: 0.03 % each its own, 0.04 % common."""
    reference = (ReferenceUse("STD-CT", "S-CT", share=D("0.04")),)
    phase = errors("phase", ("100", "0"), U="0.2", unit="min")
    states = []
    for name in ("1", "2"):
        ct = replace(CT, id=f"CT-{name}")
        meter = replace(METER, id=f"M-{name}")
        flat = replace(
            meter_certificate(),
            id=f"C-M-{name}",
            instrument=meter.id,
            references=(ReferenceUse("S", "S", share=D(0)),),
        )
        found = [flat, of(ct, *errors("ratio", ("100", "0"), U="0.1"), *phase, references=reference)]
        states.append(compile_state(meter, found, [ct], at=AT, policy=NO_DRIFT))
    both = [state.contributions("power.active.total", 1.0, load_a=5.0, power_factor=1.0) for state in states]
    assert both[0] is not None
    assert both[1] is not None
    total = both[0] + both[1]
    assert 100 * float(total.u) / 400 == pytest.approx(math.hypot(0.08, 0.03 * math.sqrt(2)), rel=1e-6)
    ratio = UncertaintySource("ref_standard", "STD-CT", "S-CT", "ratio").id
    assert ratio in both[0].contributions
    assert ratio in both[1].contributions


def test_ratio_and_phase_may_come_from_different_certificates() -> None:
    ratio = of(CT, *errors("ratio", ("100", "0.2")))
    phase = replace(of(CT, *errors("phase", ("100", "10"), unit="min")), id="C-PHASE")
    state = state_with(CT, certificates=(ratio, phase))
    assert error(state, "power.active.total", 0.5) == pytest.approx(
        0.2 + 10 * MINUTE * math.sqrt(3), rel=1e-8
    )


def test_an_unknown_split_does_not_let_the_displacements_of_ct_and_pt_cancel() -> None:
    """Both from one laboratory that names no standard: r = 1 would cancel δ_I − δ_U, r = 0 is the larger and counts."""
    found = tuple(
        of(
            t,
            *errors("ratio", ("1", "0"), ("120", "0")),
            *errors("phase", ("1", "0"), ("120", "0"), U="4", unit="min"),
        )
        for t in (CT, PT)
    )
    state = state_with(CT, PT, certificates=found)
    expected = 40_000 * math.sqrt(2) * 2 * MINUTE / 100 * math.sqrt(3)
    result = state.correct("power.active.total", 1.0, load_a=5.0, power_factor=0.5)
    full = state.contributions("power.active.total", 1.0, load_a=5.0, power_factor=0.5)
    array = state.correct_array("power.active.total", [1.0], load_a=[5.0], power_factor=[0.5])
    unknown = state.correct("power.active.total", 1.0, power_factor=0.5)
    shared = state.contributions("power.active.total", 1.0, load_a=5.0, power_factor=0.5, bound=Bound.SHARED)
    assert result is not None
    assert full is not None
    assert array is not None
    assert unknown is not None
    assert shared is not None
    for u in (result.u, full.u, array[1][0], unknown.u):
        assert u == pytest.approx(expected, rel=1e-6)
    assert shared.u < expected / 1000


def test_three_cts_serve_their_phases_and_a_total_takes_their_mean() -> None:
    cts = [replace(CT, id=f"CT-{n}") for n in (1, 2, 3)]
    found = tuple(
        of(ct, *errors("ratio", ("100", str(0.3 * n)), U="0.1"), *errors("phase", ("100", "0"), unit="min"))
        for n, ct in enumerate(cts)
    )
    state = state_with(*cts, certificates=found)
    measured = [error(state, f"power.active.l{n}", 1.0) for n in (1, 2, 3)]
    assert measured == [pytest.approx(e, abs=1e-9) for e in (0.0, 0.3, 0.6)]
    assert error(state, "power.active.total", 1.0) == pytest.approx(0.3, rel=1e-6)
    assert relative_u(state, "power.active.l2", 1.0) == pytest.approx(0.05 / 1.003, rel=1e-6)
    shared = state.contributions("power.active.total", 1.0, load_a=5.0, power_factor=1.0)
    assert shared is not None  # no standard named: at most all three are one laboratory's
    assert 100 * float(shared.u) / 400 == pytest.approx(0.05 / 1.003**2, rel=1e-6)


def test_an_overdue_class_grows() -> None:
    due = Certificate(
        "V-CT",
        CertificateKind.VERIFICATION,
        "CT-1",
        "Institute",
        date(2014, 1, 1),
        valid_until=date(2023, 12, 31),
        passed=True,
        accuracy_class="0.2S",
    )
    policy = Policy(drift_fraction=D(0), transformer_drift_fraction=D("0.05"))
    state = state_with(CT, certificates=(due,), policy=policy)
    years = (date(2026, 12, 31) - date(2023, 12, 31)).days / 365.25
    grown = 0.2 * (1 + 2 * 0.05 * years) / math.sqrt(3)
    assert relative_u(state, "power.active.total", 1.0) == pytest.approx(grown, rel=1e-6)
    assert state.flags == ()  # the meter is not overdue, what goes through the CT is
    result = state.correct("power.active.total", 1.0, load_a=5.0, power_factor=1.0)
    assert result is not None
    assert result.flags == ("CLASS_ONLY", "CAL_OVERDUE")
    assert "V-CT" in [use.id for use in state.certificates]


def test_a_ct_of_which_nothing_is_known_leaves_no_result() -> None:
    assert state_with(CT).correct("power.active.total", 1.0, load_a=1.0, power_factor=1.0) is None


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (errors("ratio", ("100", "0")), "phase displacement"),
        (errors("phase", ("100", "0"), unit="min"), "ratio error"),
        (errors("ratio", ("100", "0"), ("100", "0")), "two ratio points"),
        (errors("ratio", ("100", "0"), unit="min"), "expected %"),
        (errors("ratio", ("100", "0"), load_unit="kA"), "secondary side"),
        (errors("ratio", ("NaN", "0")), "finite"),
    ],
)
def test_a_transformer_certificate_that_cannot_be_used_is_refused(
    points: tuple[CalibrationPoint, ...], message: str
) -> None:
    with pytest.raises(TraceabilityError, match=message):
        state_with(CT, certificates=(of(CT, *points),))


def test_transformers_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(TraceabilityError, match="different ratios"):
        state_with(
            replace(CT, accuracy_class="0.2S"), replace(CT, id="CT-2", ratio=D(300), accuracy_class="0.2S")
        )
    with pytest.raises(TraceabilityError, match="named twice"):
        state_with(CT, CT)
    with pytest.raises(TraceabilityError, match="not a positive number"):
        state_with(replace(CT, ratio=D(0)))
    with pytest.raises(TraceabilityError, match="as a transformer"):
        state_with(replace(CT, kind=InstrumentKind.METER))
