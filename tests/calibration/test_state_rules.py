"""The rules by which certificates become a calibration state: splits, classes, drift, epochs, refusals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from calibration.accuracy import AccuracyClasses
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
from calibration.epoch import last_day_of_interval
from calibration.state import CalibrationState, Policy, compile_state
from calibration.uncertainty import UncertaintySource

D = Decimal
AT = date(2026, 11, 1)
NO_DRIFT = Policy(drift_fraction=D(0), transformer_drift_fraction=D(0))
METER = Instrument("M-1", rated_current=D(5), maximum_current=D(6), accuracy_class="0.5S")
ACTIVE = "power.active.total"


def point(load: str = "5", error: str = "0", U: str = "0.1", k: str = "2", pf: str = "1", unit: str = "%",
          load_unit: str = "A", quantity: str = "energy.active") -> CalibrationPoint:  # fmt: skip
    return CalibrationPoint(quantity, D(load), load_unit, D(error), D(U), D(k), unit, D(pf))


def calibration(
    *points: CalibrationPoint,
    name: str = "C-1",
    instrument: str = "M-1",
    performed: date = date(2026, 6, 1),
    references: tuple[ReferenceUse, ...] = (ReferenceUse("STD-1", "S-2026", share=D("0.03")),),
    valid_until: date | None = None,
    laboratory: str = "Lab",
) -> Certificate:
    return Certificate(
        name,
        CertificateKind.CALIBRATION,
        instrument,
        laboratory,
        performed,
        points=points or (point("0.05"), point("6")),
        references=references,
        valid_until=valid_until,
    )


def verification(
    *,
    accuracy_class: str = "0.5S",
    passed: bool = True,
    performed: date = date(2026, 6, 1),
    valid_until: date | None = None,
) -> Certificate:
    return Certificate(
        "V-1",
        CertificateKind.VERIFICATION,
        "M-1",
        "Institute",
        performed,
        valid_until=valid_until,
        passed=passed,
        accuracy_class=accuracy_class,
    )


def relative_u(state: CalibrationState, load: float = 5.0, pf: float = 1.0, measurand: str = ACTIVE) -> float:
    result = state.correct(measurand, 100.0, load_a=load, power_factor=pf)
    assert result is not None
    return result.u


def parts(state: CalibrationState, bound: Bound = Bound.BOTH, measurand: str = ACTIVE) -> Mapping[str, float]:
    full = state.contributions(measurand, 100.0, load_a=5.0, power_factor=1.0, bound=bound)
    assert full is not None
    return {name: abs(float(c)) for name, c in full.contributions.items()}  # type: ignore[arg-type]


def ref_id(standard: str = "STD-1", epoch: str = "S-2026") -> str:
    return UncertaintySource("ref_standard", standard, epoch, "energy.active").id


# ------------------------------------------------------------------------------------------------- splitting U


def test_two_meters_on_one_standards_certificate_have_one_source_in_common() -> None:
    one = compile_state(METER, [calibration()], at=AT, policy=NO_DRIFT)
    two = compile_state(
        replace(METER, id="M-2"), [calibration(instrument="M-2", name="C-2")], at=AT, policy=NO_DRIFT
    )
    assert set(parts(one)) & set(parts(two)) == {ref_id()}
    later = (ReferenceUse("STD-1", "S-2027", share=D("0.03")),)
    three = compile_state(METER, [calibration(references=later)], at=AT, policy=NO_DRIFT)
    assert ref_id() not in parts(three)
    assert ref_id("STD-1", "S-2027") in parts(three)


@pytest.mark.parametrize("k", ["0", "-2", "NaN"])
def test_no_coverage_factor_no_import(k: str) -> None:
    with pytest.raises(TraceabilityError, match="no coverage factor k"):
        compile_state(METER, [calibration(point(k=k))], at=AT)


@pytest.mark.parametrize("U", ["0", "-0.1", "NaN", "Infinity"])
def test_an_uncertainty_that_is_none_is_refused(U: str) -> None:
    with pytest.raises(TraceabilityError, match="must be positive"):
        compile_state(METER, [calibration(point(U=U))], at=AT)


def test_the_coverage_factor_of_the_certificate_counts_not_two() -> None:
    state = compile_state(METER, [calibration(point(U="0.3", k="3"))], at=AT, policy=NO_DRIFT)
    assert relative_u(state) == pytest.approx(0.1)


def test_a_share_above_the_whole_is_refused_not_clamped() -> None:
    with pytest.raises(TraceabilityError, match="more than U/k"):
        compile_state(METER, [calibration(references=(ReferenceUse("S", "C", share=D("0.0501")),))], at=AT)
    whole = compile_state(
        METER, [calibration(references=(ReferenceUse("S", "C", share=D("0.05")),))], at=AT, policy=NO_DRIFT
    )
    assert parts(whole) == {ref_id("S", "C"): pytest.approx(0.05)}


def test_a_share_speaks_for_points_in_its_own_unit_only() -> None:
    """A share of 0.02 on a certificate in % and V is one of 0.02 %; how the volts split is not known."""
    mixed = calibration(point(), point("230", unit="V", load_unit="V", quantity="voltage"))
    state = compile_state(METER, [mixed], at=AT, policy=NO_DRIFT)
    for measurand, unknown in ((ACTIVE, False), ("voltage.l1", True)):
        correction = state.correction(measurand)
        assert correction is not None
        assert correction.split_unknown is unknown


def test_the_standards_own_certificate_splits_what_the_certificate_does_not() -> None:
    unknown = (ReferenceUse("STD-1", "S-2026"),)
    of_standard = calibration(
        point("1", U="0.05"), point("5", U="0.06"), name="S-2026", instrument="STD-1", laboratory="NMI"
    )
    state = compile_state(
        METER, [calibration(references=unknown)], standards=[of_standard], at=AT, policy=NO_DRIFT
    )
    assert parts(state)[ref_id()] == pytest.approx(0.03)  # the larger of its points
    assert relative_u(state) == pytest.approx(0.05)
    assert parts(state, Bound.OWN) == parts(state, Bound.SHARED)
    coarse = replace(of_standard, points=(point(U="0.2"),))
    with pytest.raises(TraceabilityError, match="more than U/k"):
        compile_state(METER, [calibration(references=unknown)], standards=[coarse], at=AT)


def test_a_standards_certificate_with_another_digest_than_stated_is_refused() -> None:
    stated = (ReferenceUse("STD-1", "S-2026", digest="aa" * 32),)
    other = replace(calibration(name="S-2026", instrument="STD-1"), digest="bb" * 32)
    with pytest.raises(TraceabilityError, match="different documents"):
        compile_state(METER, [calibration(references=stated)], standards=[other], at=AT)


def test_an_unknown_split_keeps_both_bounds() -> None:
    state = compile_state(
        METER, [calibration(references=(ReferenceUse("STD-1", "S-2026"),))], at=AT, policy=NO_DRIFT
    )
    own = UncertaintySource("cal_point", "C-1", quantity="energy.active").id
    assert parts(state, Bound.SHARED) == {ref_id(): pytest.approx(0.05)}
    assert parts(state, Bound.OWN) == {own: pytest.approx(0.05)}
    assert relative_u(state) == pytest.approx(0.05)


def test_certificates_that_name_no_standard_share_at_most_with_their_laboratory() -> None:
    states = [
        compile_state(
            replace(METER, id=name),
            [calibration(instrument=name, name=f"C-{name}", references=(), laboratory=lab)],
            at=AT,
            policy=NO_DRIFT,
        )
        for name, lab in (("A", "Lab 1"), ("B", "Lab 1"), ("C", "Lab 2"))
    ]
    a, b, c = (set(parts(state, Bound.SHARED)) for state in states)
    assert a == b
    assert not a & c
    assert not set(parts(states[0], Bound.OWN)) & set(parts(states[1], Bound.OWN))


def test_degrees_of_freedom_travel_with_the_source() -> None:
    few = replace(point(), dof=D(4)), replace(point("1"), dof=D(9))
    state = compile_state(METER, [calibration(*few)], at=AT, policy=NO_DRIFT)
    assert {source.dof for source in state.sources.values() if source.kind == "cal_point"} == {4.0}


# ------------------------------------------------------------------------------------------- which certificate


def test_the_latest_calibration_on_or_before_the_day_counts() -> None:
    several = [
        calibration(point(error="0.1"), name="C-1", performed=date(2024, 5, 1)),
        calibration(point(error="0.2"), name="C-2", performed=date(2026, 5, 1)),
        calibration(point(error="0.3"), name="C-3", performed=date(2026, 12, 1)),
    ]
    errors = {}
    for at in (date(2025, 1, 1), date(2026, 5, 1), AT, date(2026, 12, 1)):
        result = compile_state(METER, several, at=at).correct(ACTIVE, 100.0, load_a=5.0, power_factor=1.0)
        assert result is not None
        errors[at] = round(100 * (100 / result.y - 1), 6)
    assert list(errors.values()) == [0.1, 0.2, 0.2, 0.3]


def test_each_quantity_takes_its_own_latest_certificate() -> None:
    volts = calibration(
        point("230", "1", quantity="voltage", load_unit="V"), name="C-V", performed=date(2025, 1, 1)
    )
    state = compile_state(METER, [volts, calibration(point(error="0.2"))], at=AT)
    assert [use.id for use in state.certificates] == ["C-1", "C-V"]
    assert state.correct("voltage.l3", 232.3) is not None


def test_no_certificate_and_no_class_means_no_result_and_says_so() -> None:
    state = compile_state(Instrument("M-1"), [], at=AT)
    assert state.correct(ACTIVE, 100.0, load_a=5.0, power_factor=1.0) is None
    assert state.flags == ("UNCALIBRATED",)


def test_a_failed_verification_takes_the_class_away() -> None:
    assert compile_state(METER, [verification(passed=False)], at=AT).correct(ACTIVE, 1.0) is None
    kept = compile_state(METER, [verification(passed=False), calibration()], at=AT)
    assert kept.correct(ACTIVE, 1.0, load_a=1.0, power_factor=1.0) is not None  # errors found stay known


# ------------------------------------------------------------------------------------------------ class and MPE


@pytest.mark.parametrize(
    ("load", "pf", "mpe"),
    [
        (0.05, 1.0, 1.0),  # 0.01 In
        (0.2499, 1.0, 1.0),
        (0.25, 1.0, 0.5),  # 0.05 In
        (6.0, 1.0, 0.5),  # Imax
        (5.0, 0.5, 0.6),
        (0.3, 0.5, 1.0),
        (5.0, -0.8, 0.6),
        (5.0, 0.8, 0.5 + 0.1 * 0.75 / math.sqrt(3)),  # linear in tan φ between 1 and 0.5 L
    ],
)
def test_a_class_gives_its_mpe_over_root_three_by_load_and_power_factor(
    load: float, pf: float, mpe: float
) -> None:
    state = compile_state(METER, [verification()], at=AT)
    result = state.correct(ACTIVE, 100.0, load_a=load, power_factor=pf)
    assert result is not None
    assert result.y == 100.0
    assert result.u == pytest.approx(mpe / math.sqrt(3), rel=1e-10)
    assert result.flags == ("CLASS_ONLY",)


def test_a_class_is_one_systematic_source_of_its_instrument() -> None:
    source = UncertaintySource("mpe", "M-1", quantity="energy.active", dist="uniform").id
    assert set(parts(compile_state(METER, [verification()], at=AT))) == {source}
    assert set(parts(compile_state(METER, [], at=AT))) == {source}


def test_the_verifications_class_comes_before_the_makers_and_a_stated_mpe_before_a_class() -> None:
    assert relative_u(compile_state(METER, [verification(accuracy_class="1")], at=AT)) == pytest.approx(
        1 / math.sqrt(3)
    )
    stated = replace(METER, mpe=D("0.9"))
    assert relative_u(compile_state(stated, [], at=AT)) == pytest.approx(0.9 / math.sqrt(3))


def test_without_a_rated_current_the_widest_mpe_holds_everywhere() -> None:
    state = compile_state(Instrument("M-1", accuracy_class="0.5S"), [], at=AT)
    result = state.correct(ACTIVE, 100.0)
    assert result is not None
    assert result.u == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize("mpe", ["0", "NaN", "Infinity"])
def test_an_mpe_that_is_none_is_refused(mpe: str) -> None:
    for kind in (InstrumentKind.METER, InstrumentKind.ANALYSER):
        with pytest.raises(TraceabilityError, match="MPE"):
            compile_state(Instrument("M-1", kind, mpe=D(mpe)), [], at=AT)


def test_another_table_of_classes_can_be_given() -> None:
    text = """
        checked = true
        [[meter]]
        class = "0.5S"
        quantity = "energy.active"
        inductive = 0.5
        capacitive = -0.8
        rows = [{ low = "0.01", unity = "0.7", other = "0.7" }]
    """
    state = compile_state(METER, [], at=AT, classes=AccuracyClasses.from_toml(text))
    assert relative_u(state) == pytest.approx(0.7 / math.sqrt(3))


@pytest.mark.parametrize(
    ("unit", "mpe", "u", "at"), [("%", "2", 0.8, 40.0), ("%FS", "2", 4.0, 40.0), ("Cel", "0.5", 0.5, 40.0)]
)
def test_a_transmitter_with_an_mpe_alone(unit: str, mpe: str, u: float, at: float) -> None:
    sensor = Instrument(
        "T-1", InstrumentKind.TEMPERATURE, mpe=D(mpe), mpe_unit=unit, range_low=D(-50), range_high=D(150)
    )
    state = compile_state(sensor, [], at=AT)
    result = state.correct("temperature", at)
    beyond = state.correct("temperature", 151.0)
    assert result is not None
    assert beyond is not None
    assert result.u == pytest.approx(u / math.sqrt(3))
    assert (result.flags, beyond.flags) == (("CLASS_ONLY",), ("CLASS_ONLY", "OUTSIDE_CALIBRATED_RANGE"))


# ------------------------------------------------------------------------------------------ drift, epochs, due


def test_drift_grows_with_the_age_of_the_calibration() -> None:
    """0.2 of the base MPE 0.5 % per year as a rectangle, reckoned for the last day of the quarter."""
    old = calibration(performed=date(2020, 6, 1))
    us = [relative_u(compile_state(METER, [old], at=date(year, 11, 1))) for year in (2020, 2022, 2026)]
    assert us == sorted(us)
    years = (date(2026, 12, 31) - date(2020, 6, 1)).days / 365.25
    assert us[-1] == pytest.approx(math.hypot(0.05, 0.2 * 0.5 * years / math.sqrt(3)), rel=1e-9)


def test_the_rate_of_drift_is_the_metrologists_to_set() -> None:
    policy = Policy(drift_rates={"energy.active": D("0.4")})
    years = (date(2026, 12, 31) - date(2026, 6, 1)).days / 365.25
    state = compile_state(METER, [calibration()], at=AT, policy=policy)
    assert relative_u(state) == pytest.approx(math.hypot(0.05, 0.4 * years / math.sqrt(3)), rel=1e-9)
    with pytest.raises(ValueError, match="not negative"):
        Policy(drift_fraction=D(-1))


def test_overdue_is_flagged_and_wider_and_never_dropped() -> None:
    due = calibration(valid_until=date(2026, 10, 15))
    before = compile_state(METER, [due], at=date(2026, 10, 15))
    after = compile_state(METER, [due], at=date(2026, 10, 16))
    never_due = compile_state(METER, [calibration()], at=date(2026, 10, 16))
    assert (before.valid_until, after.valid_from) == (date(2026, 10, 15), date(2026, 10, 16))
    assert (before.flags, after.flags) == ((), ("CAL_OVERDUE",))
    assert relative_u(before) < relative_u(never_due) < relative_u(after)
    result = after.correct(ACTIVE, 100.0, load_a=5.0, power_factor=1.0)
    assert result is not None
    assert result.flags == ("CAL_OVERDUE",)


def test_an_overdue_verification_widens_its_mpe() -> None:
    due = verification(performed=date(2020, 1, 1), valid_until=date(2024, 12, 31))
    assert relative_u(compile_state(METER, [due], at=date(2024, 11, 1))) == pytest.approx(0.5 / math.sqrt(3))
    state = compile_state(METER, [due], at=date(2026, 11, 1))
    years = (date(2026, 12, 31) - date(2024, 12, 31)).days / 365.25
    assert relative_u(state) == pytest.approx((0.5 + 2 * 0.1 * years) / math.sqrt(3), rel=1e-9)
    assert state.flags == ("CAL_OVERDUE",)


def test_the_agreed_interval_makes_an_instrument_due_too() -> None:
    state = compile_state(replace(METER, interval_months=4), [calibration()], at=date(2026, 9, 30))
    assert state.valid_until == date(2026, 9, 30)
    assert compile_state(replace(METER, interval_months=4), [calibration()], at=date(2026, 10, 1)).flags == (
        "CAL_OVERDUE",
    )


@pytest.mark.parametrize(
    ("day", "months", "last"),
    [
        (date(2026, 6, 1), 4, date(2026, 9, 30)),
        (date(2024, 2, 29), 12, date(2025, 2, 27)),
        (date(2025, 8, 31), 6, date(2026, 2, 27)),
        (date(2025, 12, 15), 12, date(2026, 12, 14)),
        (date(2025, 11, 1), 1, date(2025, 11, 30)),
    ],
)
def test_last_day_of_an_interval_of_months(day: date, months: int, last: date) -> None:
    assert last_day_of_interval(day, months) == last


def test_a_check_that_does_not_reset_the_cycle_moves_no_due_date() -> None:
    ad_hoc = replace(calibration(name="C-2", performed=date(2026, 10, 1)), resets_cycle=False)
    state = compile_state(METER, [calibration(valid_until=date(2026, 9, 1)), ad_hoc], at=AT)
    assert "CAL_OVERDUE" in state.flags
    assert [use.id for use in state.certificates] == ["C-2"]


def test_every_day_of_an_epoch_gives_the_same_state_and_the_next_day_another() -> None:
    certificates = [calibration(), calibration(point(error="0.5"), name="C-2", performed=date(2026, 11, 20))]
    state = compile_state(METER, certificates, at=AT)
    assert (state.valid_from, state.valid_until) == (date(2026, 10, 1), date(2026, 11, 19))
    for day in (state.valid_from, date(2026, 10, 31), state.valid_until):
        assert compile_state(METER, certificates, at=day).digest == state.digest
        assert state.covers(day)
    after = compile_state(METER, certificates, at=date(2026, 11, 20))
    assert after.digest != state.digest
    assert not state.covers(after.valid_from)
    assert (after.valid_from, after.valid_until) == (date(2026, 11, 20), date(2026, 12, 31))


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ((point(), point()), "two points at one load"),
        ((point(), point("1", unit="kWh")), "different units"),
        ((point(unit="kWh"),), "expected in %"),
        ((point(load_unit="kA"),), "on the secondary side"),
        ((point(error="77"),), "not credible"),
        ((point(pf="0"),), "power factor"),
        ((point(pf="1.2"),), "power factor"),
        ((point(error="NaN"),), "finite"),
        ((point(load="NaN"), point()), "finite"),
        ((point(pf="NaN"),), "finite"),
    ],
)
def test_points_that_make_no_sense_are_refused(points: tuple[CalibrationPoint, ...], message: str) -> None:
    with pytest.raises(TraceabilityError, match=message):
        compile_state(METER, [calibration(*points)], at=AT)


def test_two_certificates_of_one_id_and_different_content_are_refused() -> None:
    twice = [replace(calibration(), digest="aa" * 32), replace(calibration(), digest="bb" * 32)]
    with pytest.raises(TraceabilityError, match="one id and different digests"):
        compile_state(METER, twice, at=AT)


def test_loads_as_shares_of_the_rated_current() -> None:
    shares = calibration(point("10", "0.2", load_unit="%"), point("1", "0.4", load_unit="In"))
    state = compile_state(METER, [shares], at=AT)
    result = state.correct(ACTIVE, 100.0, load_a=2.75, power_factor=1.0)
    assert result is not None
    assert result.y == pytest.approx(100 / 1.003)
    with pytest.raises(TraceabilityError, match="rated value"):
        compile_state(Instrument("M-1"), [shares], at=AT)
