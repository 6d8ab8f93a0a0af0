"""The calibration state: worked examples, exact agreement of its three forms, canonical bytes."""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import FrozenInstanceError
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.curve import Bound
from calibration.state import CalibrationState, Policy, StateError, compile_state, format_u, format_value
from calibration.uncertainty import UncertaintySource

D = Decimal
VECTORS = Path(__file__).parents[1] / "vectors" / "metrology.json"
AT = date(2026, 11, 1)
FROZEN = Path(__file__).parent / "frozen"
NO_DRIFT = Policy(drift_fraction=D(0), transformer_drift_fraction=D(0))
STANDARD = ReferenceUse("STD-1", "S-2026", share=D("0.03"))


def point(
    load: str,
    error: str,
    U: str = "0.1",
    *,
    pf: str = "1",
    quantity: str = "energy.active",
    unit: str = "%",
    load_unit: str = "A",
) -> CalibrationPoint:
    return CalibrationPoint(quantity, D(load), load_unit, D(error), D(U), D(2), unit, D(pf))


def certificate(
    *points: CalibrationPoint,
    instrument: str = "M-1",
    name: str = "C-1",
    performed: date = date(2026, 6, 1),
    references: tuple[ReferenceUse, ...] = (STANDARD,),
    digest: str = "",
) -> Certificate:
    return Certificate(
        name,
        CertificateKind.CALIBRATION,
        instrument,
        "Lab",
        performed,
        points=points,
        references=references,
        digest=digest,
    )


METER = Instrument("M-1", rated_current=D(5), maximum_current=D(6), rated_voltage=D("57.7"))
FLAT = certificate(point("0.05", "1"), point("6", "1"))


def ref_id(quantity: str = "energy.active", standard: str = "STD-1", epoch: str = "S-2026") -> str:
    return UncertaintySource("ref_standard", standard, epoch, quantity).id


# -------------------------------------------------------------------------------------------- worked examples


def test_an_error_of_one_percent_is_divided_out_and_the_uncertainty_is_the_certificates() -> None:
    """101 kW indicated with e = +1 % is 100 kW; U = 0.1 % (k = 2) is u = 0.05 % of the reference value.

    ∂y/∂e = −y/(100 + e) = −100/101 kW per %, so u = 0.05·100/101 = 0.0495050 kW.
    """
    state = compile_state(METER, [FLAT], at=AT, policy=NO_DRIFT)
    result = state.correct("power.active.total", D("101"), load_a=2.0, power_factor=1.0)
    assert result is not None
    assert result.y == pytest.approx(100.0, rel=1e-15)
    assert result.u == pytest.approx(0.05 * 100 / 101, rel=1e-11)
    assert result.flags == ()
    assert result.kind == "result"


def test_the_standards_share_and_the_certificates_own_rest_are_two_sources() -> None:
    """u = 0.05 %, of which 0.03 % is the standard's: the rest is √(0.05² − 0.03²) = 0.04 %."""
    state = compile_state(METER, [FLAT], at=AT, policy=NO_DRIFT)
    full = state.contributions("power.active.total", 101.0, load_a=2.0, power_factor=1.0)
    assert full is not None
    own = UncertaintySource("cal_point", "C-1", quantity="energy.active").id
    assert full.contributions == {
        ref_id(): pytest.approx(-0.03 * 100 / 101, rel=1e-11),
        own: pytest.approx(-0.04 * 100 / 101, rel=1e-11),
    }
    assert set(full.contributions) <= set(state.sources)


def test_the_ratio_is_applied_exactly_once_and_not_to_a_primary_indication() -> None:
    ct = Instrument("CT-1", InstrumentKind.CT, ratio=D(4000), accuracy_class="0.2S", rated_current=D(5))
    pt = Instrument("PT-1", InstrumentKind.PT, ratio=D(100), accuracy_class="0.2", rated_voltage=D("57.7"))
    points = (
        point("1", "0"),
        point("6", "0"),
        point("57.7", "0", quantity="voltage", load_unit="V"),
        point("5", "0", quantity="current"),
        point("50", "0", "0.001", quantity="frequency", load_unit="Hz", unit="Hz"),
    )
    state = compile_state(
        METER, [certificate(*points, references=())], [ct, pt], at=AT, primary=["power.active.l1"]
    )
    ratios = {
        "power.active.total": 400_000,
        "voltage.l1": 100,
        "current.l1": 4000,
        "frequency": 1,
        "power.active.l1": 1,
    }
    for measurand, ratio in ratios.items():
        value = 57.7 if measurand == "voltage.l1" else 5.0 if measurand == "current.l1" else 50.0
        result = state.correct(measurand, value, load_a=5.0, power_factor=1.0)
        assert result is not None, measurand
        assert result.y == pytest.approx(value * ratio, rel=1e-12), measurand
    assert (state.ct_ratio, state.pt_ratio) == (4000, 100)


def test_interpolation_between_two_points_with_a_common_reference_keeps_the_shared_part_whole() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    vector = next(v for v in vectors if v["id"] == "own-interp-two-cal-points-shared-ref")
    given = {i["name"]: i for i in vector["inputs"]}
    own, ref = D(str(given["e1"]["u"])), D(str(given["ref"]["u"]))
    U = str(2 * (own**2 + ref**2).sqrt())
    kPa = {"quantity": "pressure", "unit": "kPa", "load_unit": "kPa"}
    points = (
        point("100", str(given["e1"]["value"]), U, **kPa),
        point("200", str(given["e2"]["value"]), U, **kPa),
    )
    gauge = Instrument("P-1", InstrumentKind.PRESSURE)
    of_gauge = certificate(
        *points, instrument="P-1", references=(ReferenceUse("STD-1", "S-2026", share=ref),)
    )
    policy = Policy(drift_fraction=D(0), points_correlated=False)
    state = compile_state(gauge, [of_gauge], at=AT, policy=policy)
    result = state.correct("pressure", given["x"]["value"])
    assert result is not None
    assert given["x"]["value"] - result.y == pytest.approx(vector["expected"]["y"], abs=1e-12)
    assert result.u == pytest.approx(vector["expected"]["u"], abs=1e-12)


def test_points_common_to_their_certificate_are_the_larger_and_the_default() -> None:
    two = certificate(point("1", "0"), point("5", "0"))
    together = compile_state(METER, [two], at=AT, policy=NO_DRIFT)
    apart = compile_state(METER, [two], at=AT, policy=Policy(drift_fraction=D(0), points_correlated=False))
    a = together.correct("power.active.total", 100.0, load_a=3.0, power_factor=1.0)
    b = apart.correct("power.active.total", 100.0, load_a=3.0, power_factor=1.0)
    assert a is not None
    assert b is not None
    assert a.u == pytest.approx(0.05, rel=1e-11)
    assert b.u == pytest.approx(math.sqrt(0.03**2 + 0.04**2 / 2), rel=1e-11)


def test_errors_in_the_quantitys_own_unit_are_subtracted() -> None:
    sensor = Instrument("T-1", InstrumentKind.TEMPERATURE)
    points = [
        point(x, e, "0.2", quantity="temperature", unit="Cel", load_unit="Cel")
        for x, e in (("0", "0.1"), ("100", "0.3"))
    ]
    state = compile_state(
        sensor, [certificate(*points, instrument="T-1", references=())], at=AT, policy=NO_DRIFT
    )
    result = state.correct("temperature.meter", D(50))
    assert result is not None
    assert (result.y, result.u) == (pytest.approx(49.8), pytest.approx(0.1, rel=1e-11))


def test_below_zero_is_another_operating_point_for_a_temperature_but_not_for_a_current() -> None:
    celsius = {"quantity": "temperature", "unit": "Cel", "load_unit": "Cel"}
    sensor = Instrument("T-1", InstrumentKind.TEMPERATURE)
    points = [point("-40", "-0.4", **celsius), point("0", "0", **celsius), point("40", "0.4", **celsius)]
    state = compile_state(sensor, [certificate(*points, instrument="T-1")], at=AT, policy=NO_DRIFT)
    for shown, true in ((-20.2, -20.0), (20.2, 20.0)):
        result = state.correct("temperature", shown)
        full = state.contributions("temperature", shown)
        array = state.correct_array("temperature", [shown])
        assert result is not None
        assert full is not None
        assert array is not None
        assert result.y == full.y == array[0][0] == pytest.approx(true, abs=0.01)
    amperes = [point("1", "0.5", quantity="current"), point("5", "0.1", quantity="current")]
    state = compile_state(METER, [certificate(*amperes)], at=AT, policy=NO_DRIFT)
    forward, backward = state.correct("current.l1", 3.0), state.correct("current.l1", -3.0)
    assert forward is not None
    assert backward is not None
    assert (forward.y, forward.u) == (-backward.y, backward.u)


def test_resolution_and_repeatability_are_independent_parts() -> None:
    policy = Policy(drift_fraction=D(0), repeatability={"energy.active": D("0.02")})
    resolution = {"power.active.total": D("0.1")}
    state = compile_state(
        METER, [certificate(point("1", "0"), point("6", "0"))], at=AT, policy=policy, resolution=resolution
    )
    full = state.contributions("power.active.total", 100.0, load_a=2.0, power_factor=1.0)
    assert full is not None
    assert full.r2 == pytest.approx(0.1**2 / 12 + 0.02**2, rel=1e-12)


def test_apparent_power_is_corrected_through_voltage_and_current() -> None:
    """S = U·I: the errors of both add, and so do their parts."""
    points = (
        point("57.7", "0.2", "0.06", quantity="voltage", load_unit="V"),
        point("1", "0.1", "0.08", quantity="current"),
        point("5", "0.3", "0.08", quantity="current"),
    )
    references = (ReferenceUse("STD-1", "S-2026", share=D("0.03")),)
    state = compile_state(METER, [certificate(*points, references=references)], at=AT, policy=NO_DRIFT)
    result = state.correct("power.apparent.total", 1000.0, load_a=3.0)
    assert result is not None
    assert result.y == pytest.approx(1000 / 1.004, rel=1e-12)
    # voltage: 0.03 % all of it the standard's; current: 0.04 %, 0.03 of it the standard's (for another
    # quantity)
    assert result.u == pytest.approx(result.y / 100.4 * math.hypot(0.03, 0.04), rel=1e-9)


def test_a_register_is_a_standing_on_the_primary_side_not_a_corrected_result() -> None:
    ct = Instrument("CT-1", InstrumentKind.CT, ratio=D(40), accuracy_class="0.2S", rated_current=D(5))
    resolution = {"energy.active.import": D("0.01")}
    state = compile_state(METER, [FLAT], [ct], at=AT, resolution=resolution)
    result = state.correct("energy.active.import", D("123456.78"))
    assert result is not None
    assert result == (pytest.approx(4938271.2, rel=1e-15), pytest.approx(0.4 / math.sqrt(12)), (), "register")
    full = state.contributions("energy.active.import", D("123456.78"))
    assert full is not None
    assert (full.y, full.u, full.contributions) == (result.y, result.u, {})


# -------------------------------------------------------------------------------------- where little is known


def test_outside_the_calibrated_load_the_error_is_held_flagged_and_less_certain() -> None:
    state = compile_state(
        METER, [certificate(point("0.5", "0.4"), point("5", "0.1"))], at=AT, policy=NO_DRIFT
    )
    inside = state.correct("power.active.total", 100.0, load_a=5.0, power_factor=1.0)
    outside = state.correct("power.active.total", 100.0, load_a=5.001, power_factor=1.0)
    assert inside is not None
    assert outside is not None
    assert outside.y == inside.y
    assert inside.flags == ()
    assert outside.flags == ("OUTSIDE_CALIBRATED_RANGE",)
    assert outside.u > 2 * inside.u


def test_a_single_calibrated_load_says_nothing_of_another() -> None:
    state = compile_state(METER, [certificate(point("5", "0.4"))], at=AT, policy=NO_DRIFT)
    at, other, unknown = (
        state.correct("power.active.total", 100.0, load_a=load, power_factor=1.0) for load in (5.0, 2.0, None)
    )
    assert at is not None
    assert other is not None
    assert unknown is not None
    assert (at.flags, other.flags, unknown.flags) == ((), ("OUTSIDE_CALIBRATED_RANGE",), ("LOAD_UNKNOWN",))
    assert other.u == unknown.u == pytest.approx(math.sqrt(2) * at.u)


def test_a_single_point_of_an_own_span_holds_a_tenth_around_itself() -> None:
    points = [point("50", "0.001", "0.01", quantity="frequency", load_unit="Hz", unit="Hz")]
    state = compile_state(METER, [certificate(*points, references=())], at=AT)
    flags = [r.flags for f in (45.0, 49.98, 55.0, 55.1) if (r := state.correct("frequency", f)) is not None]
    assert flags == [(), (), (), ("OUTSIDE_CALIBRATED_RANGE",)]


def test_a_power_factor_that_was_not_calibrated_widens_with_its_distance() -> None:
    state = compile_state(METER, [FLAT], at=AT, policy=NO_DRIFT)
    at = {
        pf: state.correct("power.active.total", 100.0, load_a=2.0, power_factor=pf)
        for pf in (1.0, 0.999, 0.9, 0.5)
    }
    us = [r.u for r in at.values() if r is not None]
    assert us == sorted(us)
    assert len(set(us)) == 4
    assert [r.flags for r in at.values() if r is not None] == [(), (), *([("OUTSIDE_CALIBRATED_RANGE",)] * 2)]


def test_an_unknown_load_makes_the_whole_curve_uncertainty() -> None:
    """Errors from −0.2 to +0.4 %: mid 0.1 %, half range 0.3 %, as a rectangle 0.3/√3 %."""
    state = compile_state(
        METER, [certificate(point("0.5", "0.4"), point("5", "-0.2"))], at=AT, policy=NO_DRIFT
    )
    result = state.correct("power.active.total", 100.1, power_factor=1.0)
    assert result is not None
    assert result.y == pytest.approx(100.0)
    assert result.u == pytest.approx(math.hypot(0.05, 0.3 / math.sqrt(3)) * 100 / 100.1, rel=1e-10)
    assert result.flags == ("LOAD_UNKNOWN",)


def test_an_unknown_power_factor_counts_only_where_it_matters() -> None:
    points = [
        point("5", "0.0"),
        point("5", "0.3", pf="0.5"),
        point("50", "0.001", "0.01", quantity="frequency", load_unit="Hz", unit="Hz"),
    ]
    state = compile_state(METER, [certificate(*points, references=())], at=AT, policy=NO_DRIFT)
    power = state.correct("power.active.total", 100.0, load_a=5.0)
    frequency = state.correct("frequency", 50.0)
    assert power is not None
    assert frequency is not None
    assert power.flags == ("POWER_FACTOR_UNKNOWN",)
    assert frequency.flags == ()


def test_a_measurand_without_any_stated_uncertainty_has_no_result() -> None:
    state = compile_state(METER, [FLAT], at=AT)
    assert state.correct("voltage.l1", 230.0) is None
    assert state.contributions("voltage.l1", 230.0) is None
    assert state.correct_array("voltage.l1", [230.0]) is None
    assert state.correct("power.reactive.total", 1.0, load_a=1.0, power_factor=0.5) is None


@pytest.mark.parametrize(
    ("value", "load", "factor"),
    [(math.nan, 1.0, 1.0), (math.inf, 1.0, 1.0), (1.0, math.nan, 1.0), (1.0, 1.0, math.nan)],
)
def test_what_is_not_a_number_is_refused(value: float, load: float, factor: float) -> None:
    state = compile_state(
        METER, [certificate(point("1", "0"), point("6", "1"), point("6", "1", pf="0.5"))], at=AT
    )
    with pytest.raises(ValueError, match="not a number"):
        state.correct("power.active.total", value, load_a=load, power_factor=factor)


def test_load_on_the_secondary_side_from_a_current_indication() -> None:
    ct = Instrument("CT-1", InstrumentKind.CT, ratio=D(40), accuracy_class="0.2S", rated_current=D(5))
    state = compile_state(METER, [FLAT], [ct], at=AT, primary=["current.l1"])
    assert state.secondary_load("current.l1", D(120)) == 3.0
    assert state.secondary_load("current.l2", D(3)) == 3.0


def test_measurands_of_one_table_share_what_is_compiled_and_differ_only_in_ratio_and_resolution() -> None:
    ct = Instrument("CT-1", InstrumentKind.CT, ratio=D(40), accuracy_class="0.2S", rated_current=D(5))
    resolution = {"power.active.total": D("0.1"), "power.active.l1": D("0.001")}

    def fresh() -> CalibrationState:
        return compile_state(METER, [FLAT], [ct], at=AT, resolution=resolution, primary=["power.active.l2"])

    used = fresh()
    names = ("power.active.total", "power.active.l1", "power.active.l2", "energy.active.import")
    for name in names:
        together = used.correction(name)
        alone = fresh().correction(name)
        assert together is not None
        assert alone is not None
        assert together.grid is used.correction(names[0]).grid  # type: ignore[union-attr]
        for load, factor in ((2.0, 0.9), (None, 0.9), (7.0, None)):
            assert together(101.3, load, factor) == alone(101.3, load, factor)
    total, side = used.correction(names[0]), used.correction(names[2])
    assert total is not None
    assert side is not None
    assert (total.ratio, side.ratio) == (40.0, 1.0)


# -------------------------------------------------------------------------------------------- all three agree


@st.composite
def states(draw: st.DrawFn) -> CalibrationState:
    error = st.integers(-900, 900).map(lambda n: D(n) / 1000)
    loads = sorted(
        draw(
            st.sets(
                st.sampled_from([D(x) for x in ("0.05", "0.1", "0.25", "1", "2.5", "5", "6")]), min_size=1
            )
        )
    )
    factors = draw(
        st.lists(st.sampled_from(["1", "0.5", "-0.8", "0.8"]), min_size=1, max_size=3, unique=True)
    )
    points = [
        CalibrationPoint(
            quantity, load, "A", draw(error), D(draw(st.integers(60, 300))) / 1000, D(2), "%", D(pf)
        )
        for quantity in draw(st.sampled_from([("energy.active",), ("energy.active", "energy.reactive")]))
        for pf in factors
        for load in loads
        if draw(st.booleans()) or (load == loads[0] and pf == factors[0])
    ]
    share = draw(st.sampled_from([None, D(0), D("0.02")]))
    references = draw(st.sampled_from([(), (ReferenceUse("STD-1", "S-2026", share=share),)]))
    certificates = [certificate(*points, references=references, digest="ab" * 32)]
    transformers = []
    if draw(st.booleans()):
        ct = Instrument(
            "CT-1",
            InstrumentKind.CT,
            ratio=D(draw(st.integers(1, 4000))),
            accuracy_class="0.2S",
            rated_current=D(5),
        )
        transformers.append(ct)
        if draw(st.booleans()):
            found = [
                CalibrationPoint(
                    quantity, D(x), "%", draw(error), D("0.05") * (20 if unit == "min" else 1), D(2), unit
                )
                for quantity, unit in (("ratio", "%"), ("phase", "min"))
                for x in (1, 20, 120)
            ]
            certificates.append(certificate(*found, name="C-CT", instrument="CT-1", references=references))
    if draw(st.booleans()):
        transformers.append(Instrument("PT-1", InstrumentKind.PT, ratio=D(100), accuracy_class="0.5"))
    policy = Policy(
        points_correlated=draw(st.booleans()),
        repeatability=draw(st.sampled_from([{}, {"energy.active": D("0.01")}])),
    )
    meter = Instrument("M-1", rated_current=D(5), accuracy_class=draw(st.sampled_from(["", "0.5S"])))
    random.Random(draw(st.integers(0, 9))).shuffle(certificates)
    resolution = draw(
        st.sampled_from([{}, {"power.active.total": D("0.001"), "energy.active.import": D("0.01")}])
    )
    primary = draw(st.sampled_from([[], ["power.active.total"]]))
    return compile_state(
        meter, certificates, transformers, at=AT, policy=policy, resolution=resolution, primary=primary
    )


loads_a = st.one_of(st.none(), st.floats(-8, 8), st.sampled_from([0.0, 0.05, 1.0, 5.0, 6.0]))
power_factors = st.one_of(st.none(), st.floats(-1, 1), st.sampled_from([1.0, 0.5, -0.8, -1.0, 0.0, 1.001]))
measurands = st.sampled_from(
    ["power.active.total", "power.reactive.total", "power.active.l2", "energy.active.import"]
)


@given(states(), measurands, st.floats(-1e6, 1e6), loads_a, power_factors)
@settings(max_examples=150, deadline=None)
def test_the_hot_path_the_full_form_and_the_array_agree_to_the_last_bit(
    state: CalibrationState, measurand: str, value: float, load: float | None, factor: float | None
) -> None:
    result = state.correct(measurand, value, load_a=load, power_factor=factor)
    full = state.contributions(measurand, value, load_a=load, power_factor=factor)
    array = state.correct_array(
        measurand,
        [value, value],
        load_a=None if load is None else [load, load],
        power_factor=None if factor is None else [factor, factor],
    )
    if result is None:
        assert full is None
        assert array is None
        return
    assert full is not None
    assert array is not None
    assert (full.y, full.u) == (result.y, result.u)
    assert (array[0].tolist(), array[1].tolist()) == ([result.y] * 2, [result.u] * 2)
    assert set(full.contributions) <= set(state.sources)


@given(states(), st.floats(1, 1e6), st.floats(0.01, 8), st.floats(0.1, 1))
@settings(max_examples=60, deadline=None)
def test_the_reported_uncertainty_is_the_larger_of_both_bounds(
    state: CalibrationState, value: float, load: float, factor: float
) -> None:
    both = [
        state.contributions("power.active.total", value, load_a=load, power_factor=factor, bound=bound)
        for bound in (Bound.SHARED, Bound.OWN)
    ]
    result = state.correct("power.active.total", value, load_a=load, power_factor=factor)
    assert result is not None
    us = [each.u for each in both if each is not None]
    assert len(us) == 2
    assert result.u == pytest.approx(max(us), rel=1e-12)


@given(states())
@settings(max_examples=60, deadline=None)
def test_a_state_survives_the_way_through_its_bytes(state: CalibrationState) -> None:
    data = state.to_json()
    again = CalibrationState.from_json(data)
    assert again == state
    assert again.to_json() == data
    assert again.digest == state.digest
    assert b"." not in b"".join(data.split(b'"')[::2])  # no float between the texts
    one = state.correct("power.active.total", 12.5, load_a=1.7, power_factor=0.9)
    assert again.correct("power.active.total", 12.5, load_a=1.7, power_factor=0.9) == one


def test_an_array_marks_what_has_flags_of_its_own_and_takes_nan_for_unknown() -> None:
    state = compile_state(METER, [certificate(point("0.5", "0.4"), point("5", "0.1"))], at=AT)
    got = state.correct_array(
        "power.active.total", np.full(4, 100.0), load_a=[1.0, 9.0, np.nan, 5.0], power_factor=1.0
    )
    assert got is not None
    assert got[2].tolist() == [False, True, True, False]
    alone = state.correct("power.active.total", 100.0, power_factor=1.0)
    assert alone is not None
    assert got[1][2] == alone.u


# --------------------------------------------------------------------------- an auditor with the bytes alone


def along(knots: list[tuple[float, float]], x: float) -> float:
    """Piecewise linear, constant outside."""
    knots = sorted(knots)
    for (x0, v0), (x1, v1) in pairwise(knots):
        if x0 <= x <= x1:
            return v0 + (v1 - v0) * (x - x0) / (x1 - x0)
    return knots[0][1] if x < knots[0][0] else knots[-1][1]


def over(curve: dict[str, Any], column: list[str], x: float, t: float) -> float:
    """A curve's column at a load and a phase variable, straight from the definition."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for load, pf, value in zip(curve["loads"], curve["power_factors"], column, strict=True):
        rows.setdefault(pf, []).append((float(load), float(value)))
    by_angle = [(math.sqrt(1 - float(pf) ** 2) / float(pf), along(row, x)) for pf, row in rows.items()]
    return along(by_angle, t) * (t if curve["phase"] else 1.0)


@given(
    states(),
    st.floats(0.05, 6),
    st.floats(0.5, 0.99),
    st.booleans(),
    st.sampled_from([Bound.OWN, Bound.SHARED]),
)
@settings(max_examples=100, deadline=None)
def test_an_auditor_recomputes_the_result_from_the_states_bytes(
    state: CalibrationState, load: float, factor: float, capacitive: bool, bound: Bound
) -> None:
    body = json.loads(state.to_json())
    table = body["tables"]["energy.active"]
    pf = -factor if capacitive else factor
    t = math.sqrt(1 - pf * pf) / pf
    curves = [(body["curves"][place], float(weight)) for place, weight in table["curves"]]
    e = sum(weight * over(curve, curve["errors"], load, t) for curve, weight in curves)
    ratio = 1.0 if "power.active.total" in body["primary"] else float(table["ratio"])
    y = 250.0 * ratio / (1 + e / 100)
    expected: dict[str, float] = {}
    for curve, weight in curves:
        for part in curve["parts"]:
            if part["bound"] in ("", bound):
                c = -y / (100 + e) * weight * over(curve, part["alpha"], load, t)
                expected[part["source"]] = expected.get(part["source"], 0.0) + c
    full = state.contributions("power.active.total", 250.0, load_a=load, power_factor=pf, bound=bound)
    assert full is not None
    assert full.y == pytest.approx(y, rel=1e-12)
    found = {s: c for s, c in full.contributions.items() if not s.startswith("extrapolation:")}
    assert found == {s: pytest.approx(c, rel=1e-9, abs=1e-10 * y / 100) for s, c in expected.items()}


def test_a_state_of_the_first_format_gives_the_same_bits_for_ever() -> None:
    """Written once; whoever changes the arithmetic or the format makes a new format, and this stays as it
    is."""
    data = (FROZEN / "state_1.json").read_bytes()
    kept = json.loads((FROZEN / "state_1_results.json").read_bytes())
    state = CalibrationState.from_json(data)
    assert state.digest == kept["digest"] == hashlib.sha256(data).hexdigest()
    for measurand, value, load, factor, y, u, flags in kept["results"]:
        result = state.correct(measurand, D(value), load_a=load, power_factor=factor)
        assert result is not None
        assert (repr(result.y), repr(result.u), list(result.flags)) == (y, u, flags), measurand


# ------------------------------------------------------------------------------------------------------ bytes


def test_the_largest_installation_fits_into_one_record_of_the_log() -> None:
    """Every quantity, seven loads at three power factors, three CTs and three PTs with certificates of their
    own."""
    quantities = ("energy.active", "energy.reactive")
    loads = ("0.05", "0.25", "0.5", "1", "2.5", "5", "6")
    points = [
        point(x, "0.123", pf=pf, quantity=q) for q in quantities for pf in ("1", "0.5", "-0.8") for x in loads
    ]
    points += [point(x, "0.123", quantity="voltage", load_unit="V") for x in ("46", "57.7", "70")]
    points += [point(x, "0.123", quantity="current") for x in loads]
    points += [
        point(x, "0.001", quantity="power_factor", unit="1", load_unit="1") for x in ("0.5", "0.8", "1")
    ]
    certificates = [certificate(*points, references=(ReferenceUse("STD-1", "S-2026"),))]
    transformers = []
    for kind, ratio in ((InstrumentKind.CT, D(4000)), (InstrumentKind.PT, D(100))):
        for n in (1, 2, 3):
            name = f"{kind}-{n}"
            transformers.append(
                Instrument(name, kind, ratio=ratio, rated_current=D(5), rated_voltage=D("57.7"))
            )
            found = [
                CalibrationPoint(quantity, D(x), "%", D("0.123"), D("0.05"), D(2), unit)
                for quantity, unit in (("ratio", "%"), ("phase", "min"))
                for x in (1, 5, 20, 100, 120)
            ]
            certificates.append(certificate(*found, name=f"C-{name}", instrument=name, references=()))
    state = compile_state(METER, certificates, transformers, at=AT)
    assert {"energy.active@l1", "energy.reactive@l3", "power.apparent@l2", "voltage@l1"} <= set(state.tables)
    assert len(state.to_json()) < 40_000


def test_the_same_certificates_in_any_order_give_the_same_bytes() -> None:
    ct = Instrument("CT-1", InstrumentKind.CT, ratio=D(40), accuracy_class="0.2S", rated_current=D(5))
    volts = point("5", "0.1", quantity="voltage", load_unit="V", unit="V")
    of_ct = [
        point("100", "0.01", quantity="ratio", load_unit="%"),
        point("100", "3", "1", quantity="phase", load_unit="%", unit="min"),
    ]
    several = [
        FLAT,
        certificate(volts, name="C-0", performed=date(2025, 1, 1)),
        certificate(*of_ct, name="C-2", instrument="CT-1", references=()),
        certificate(point("1", "9"), name="C-9", instrument="another meter"),
    ]
    digests = {
        compile_state(METER, order, [ct], at=AT).digest
        for order in (several, several[::-1], several[2:] + several[:2])
    }
    assert len(digests) == 1
    assert (
        compile_state(METER, several, [ct], at=date(2026, 10, 15)).digest in digests
    )  # any day of the epoch
    assert compile_state(METER, several[:2], [ct], at=AT).digest not in digests


def test_points_in_any_order_and_decimals_in_any_notation_give_the_same_bytes() -> None:
    a = certificate(point("0.05", "1"), point("6", "1.0"))
    b = certificate(point("6.00", "1"), point("0.050", "1.00"))
    assert compile_state(METER, [a], at=AT).to_json() == compile_state(METER, [b], at=AT).to_json()


def test_a_state_is_immutable() -> None:
    state = compile_state(METER, [FLAT], at=AT)
    with pytest.raises(FrozenInstanceError):
        state.instrument = "M-2"  # type: ignore[misc]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body.pop("tables"),
        lambda body: body.update(format="suyuan/calibration-state/99"),
        lambda body: body.update(extra="field"),
        lambda body: body["ratio"].update(ct="1.0"),
        lambda body: body["ratio"].update(ct=1),
        lambda body: body["ratio"].update(ct="NaN"),
        lambda body: body["flags"].append("NO_SUCH_FLAG"),
        lambda body: next(iter(body["sources"].values())).update(owner="someone else"),
        lambda body: body["curves"][0]["errors"].pop(),
        lambda body: body["curves"].append(body["curves"][0]),
        lambda body: body["tables"]["energy.active"].update(curves=[[7, "1"]]),
        lambda body: body["tables"]["energy.active"].update(curves=[[True, "1"]]),
        lambda body: body["tables"]["energy.active"].update(curves=[["0", "1"]]),
        lambda body: body["tables"]["energy.active"].update(curves=[]),
        lambda body: body.update(valid_from="yesterday"),
    ],
)
def test_bytes_that_are_no_canonical_state_are_refused(spoil: Any) -> None:
    body = json.loads(compile_state(METER, [FLAT], at=AT).to_json())
    spoil(body)
    with pytest.raises(StateError):
        CalibrationState.from_json(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"format":1}'])
def test_bytes_that_are_nothing_at_all_are_refused(data: bytes) -> None:
    with pytest.raises(StateError):
        CalibrationState.from_json(data)


def test_a_state_written_with_spaces_is_refused_because_its_digest_would_name_other_bytes() -> None:
    data = json.dumps(json.loads(compile_state(METER, [FLAT], at=AT).to_json()), sort_keys=True).encode()
    with pytest.raises(StateError, match="canonical"):
        CalibrationState.from_json(data)


# ------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("number", "value", "u"),
    [
        (0.0, "0", "0"),
        (-0.0, "0", "0"),
        (100.0, "100", "100"),
        (1 / 3, "0.333333333333", "0.333333"),
        (4938271.23456789, "4938271.23457", "4938270"),
        (1e15, "1000000000000000", "1000000000000000"),
        (1.5e-9, "0.0000000015", "0.0000000015"),
        (-2.5, "-2.5", "-2.5"),
    ],
)
def test_text_of_results(number: float, value: str, u: str) -> None:
    assert format_value(number) == value
    assert format_u(number) == u


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_no_text(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        format_value(number)
    with pytest.raises(ValueError, match="finite"):
        format_u(number)
