"""Energy of an interval: telescoping, correction by load, registers that misbehave, sums that keep correlation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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
from calibration.energy import EnergyResult, EnergyTotal, NoUncertaintyError, add_up, larger
from calibration.state import CalibrationState, Policy, compile_state
from calibration.uncertainty import UncertaintySource

D = Decimal
VECTORS = {
    v["id"]: v
    for v in json.loads((Path(__file__).parents[1] / "vectors" / "metrology.json").read_bytes())["vectors"]
}
AT = date(2026, 11, 1)
NO_DRIFT = Policy(drift_fraction=D(0), transformer_drift_fraction=D(0))
REGISTER = "energy.active.import"
HOUR = 3_600_000_000
T0 = 1_790_000_000_000_000


def point(
    load: str, error: str, U: str = "0.1", pf: str = "1", quantity: str = "energy.active", unit: str = "%"
) -> CalibrationPoint:
    return CalibrationPoint(quantity, D(load), "A", D(error), D(U), D(2), unit, D(pf))


def state_of(
    points: Sequence[CalibrationPoint] = (point("0.05", "0"), point("6", "0")),
    *,
    instrument: str = "M-1",
    references: tuple[ReferenceUse, ...] = (ReferenceUse("STD-1", "S-2026", share=D("0.03")),),
    resolution: str = "0.01",
    ratio: str = "1",
    performed: date = date(2026, 6, 1),
    policy: Policy = NO_DRIFT,
    at: date = AT,
) -> CalibrationState:
    made = Certificate(
        f"C-{instrument}-{performed}",
        CertificateKind.CALIBRATION,
        instrument,
        "Lab",
        performed,
        points=tuple(points),
        references=references,
    )
    transformers, certificates = [], [made]
    if ratio != "1":
        transformers.append(
            Instrument(f"CT-{instrument}", InstrumentKind.CT, ratio=D(ratio), rated_current=D(5))
        )
        exact = tuple(
            point(load, "0", "0.000001", quantity=q, unit=u)
            for q, u in (("ratio", "%"), ("phase", "min"))
            for load in ("0.01", "10")
        )
        certificates.append(
            Certificate(
                "C-CT", CertificateKind.CALIBRATION, f"CT-{instrument}", "Lab", performed, points=exact
            )
        )
    return compile_state(
        Instrument(instrument, rated_current=D(5)),
        certificates,
        transformers,
        at=at,
        resolution={REGISTER: D(resolution)},
        policy=policy,
    )


def feed(total: EnergyTotal, *readings: str, start: int = 0, load: float | None = 2.0) -> EnergyTotal:
    for k, value in enumerate(readings, start):
        total.add(D(value), T0 + k * HOUR, load_a=load, power_factor=1.0)
    return total


def result_of(total: EnergyTotal) -> EnergyResult:
    result = total.result()
    assert result is not None
    return result


# -------------------------------------------------------------------------------------------- worked examples


def test_a_total_of_96_intervals_has_the_resolution_of_two_readings() -> None:
    vector = VECTORS["own-register-telescoping"]
    exact = (point("0.05", "0", "1e-12"), point("6", "0", "1e-12"))
    total = EnergyTotal(state_of(exact, references=()), REGISTER)
    for k in range(97):
        total.add(D("1000.37") + D("2.5") * k, T0 + k * HOUR // 4, load_a=2.0, power_factor=1.0)
    result = result_of(total)
    assert result.y == pytest.approx(vector["expected"]["y"], abs=1e-9)
    assert result.u == pytest.approx(vector["expected"]["u"], abs=1e-12)
    assert result.n == 96


def test_each_increment_is_corrected_at_its_own_load() -> None:
    """100 kWh at +1 % and 50 kWh at +0.5 %: 100/1.01 + 50/1.005 kWh."""
    state = state_of((point("1", "1.0"), point("5", "0.5")))
    total = EnergyTotal(state, REGISTER)
    total.add(D("500"), T0)
    total.add(D("600"), T0 + HOUR, load_a=1.0, power_factor=1.0)
    total.add(D("650"), T0 + 2 * HOUR, load_a=5.0, power_factor=1.0)
    result = result_of(total)
    assert result.y == pytest.approx(100 / 1.01 + 50 / 1.005, rel=1e-14)
    g = 100 / 1.01 / 101 + 50 / 1.005 / 100.5
    ref = UncertaintySource("ref_standard", "STD-1", "S-2026", "energy.active").id
    own = UncertaintySource("cal_point", "C-M-1-2026-06-01", quantity="energy.active").id
    assert result.uncertain.contributions[ref] == pytest.approx(-0.03 * g, rel=1e-11)
    assert result.uncertain.contributions[own] == pytest.approx(-0.04 * g, rel=1e-11)


def test_ratio_and_resolution_come_out_on_the_primary_side() -> None:
    total = feed(EnergyTotal(state_of(ratio="40"), REGISTER), "10.00", "12.50")
    result = result_of(total)
    assert result.y == pytest.approx(100.0, rel=1e-12)
    assert result.u == pytest.approx(math.sqrt(2 * (0.4**2 / 12) + 0.05**2), rel=1e-9)


def test_the_time_of_sampling_is_uncertain_by_half_its_window_times_the_power() -> None:
    """A window of 3 s sent…received and 3 s refresh: ±3 s, u = 3/√3 s; at 360 kW that is 0.1·√3 kWh at each end."""
    exact = (point("0.05", "0", "1e-12"), point("6", "0", "1e-12"))
    total = EnergyTotal(state_of(exact, references=(), resolution="1e-9"), REGISTER, refresh_us=3_000_000)
    for k in range(3):
        total.add(D(360) * k, T0 + k * HOUR, load_a=2.0, power_factor=1.0, window_us=3_000_000)
    assert result_of(total).u == pytest.approx(math.sqrt(2) * 360 / 3600 * 3 / math.sqrt(3), rel=1e-9)


def test_the_month_of_200_meters_on_one_standard() -> None:
    """Treating meters as independent would say 0.90e-4, readings as independent 0.019e-4."""
    vector = VECTORS["own-200-meters-30-days"]
    given = {i["name"]: i for i in vector["inputs"]}
    random = np.random.default_rng(7)
    energy = random.uniform(5, 50, (200, 2880))
    u_cal = random.uniform(5e-4, 1e-3, 200)
    u_ref, u_ct = D(str(given["ref"]["u"])) * 100, D(str(given["ct_m"]["u"])) * 100
    results = []
    for m in range(200):
        own = D(repr(float(u_cal[m]))) * 100
        U = 2 * (own**2 + u_ref**2).sqrt()
        meter = Certificate(
            f"C-{m}", CertificateKind.CALIBRATION, f"M-{m}", "Lab", date(2026, 6, 1),
            points=(CalibrationPoint("energy.active", D(5), "A", D(0), U, D(2)),),
            references=(ReferenceUse("STD-1", "S-2026", share=u_ref),),
        )  # fmt: skip
        ct = Certificate(
            f"T-{m}", CertificateKind.CALIBRATION, f"CT-{m}", "Lab", date(2026, 6, 1),
            points=tuple(
                CalibrationPoint(q, D(5), "A", D(0), u, D(2), unit)
                for q, u, unit in (("ratio", 2 * u_ct, "%"), ("phase", D(1), "min"))
            ),
            references=(ReferenceUse("STD-CT", "S-CT", share=D(0)),),
        )  # fmt: skip
        state = compile_state(
            Instrument(f"M-{m}"),
            [meter, ct],
            [Instrument(f"CT-{m}", InstrumentKind.CT)],
            at=AT,
            policy=NO_DRIFT,
        )
        total = EnergyTotal(state, REGISTER)
        register = D(0)
        total.add(register, T0)
        for day in range(30):
            register += D(float(energy[m, day * 96 : (day + 1) * 96].sum()))
            total.add(register, T0 + (day + 1) * 24 * HOUR, load_a=5.0, power_factor=1.0)
        results.append(result_of(total))
    month = add_up(results)
    assert month.y == pytest.approx(vector["expected"]["y"], abs=vector["tolerance"]["y"])
    # The vector gives each reading a rounding of its own; a register telescopes, so that part is added here by hand.
    rounding = 200 * 2880 * given["res_mt"]["u"] ** 2
    u_rel = math.sqrt(month.u**2 + rounding) / month.y
    assert u_rel == pytest.approx(vector["expected"]["u_rel"], abs=vector["tolerance"]["u_rel"])


# ------------------------------------------------------------------------------------------------ telescoping


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.floats(0.02, 9), st.floats(0.1, 1)), min_size=2, max_size=20),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_the_sum_of_the_parts_is_the_whole(
    increments: list[tuple[int, float, float]], data: st.DataObject
) -> None:
    points = [
        point(x, e, pf=pf) for x, e, pf in (("0.1", "0.8", "1"), ("5", "-0.3", "1"), ("1", "0.5", "0.5"))
    ]
    state = state_of(points, references=())
    whole = EnergyTotal(state, REGISTER)
    part = EnergyTotal(state, REGISTER)
    parts = [part]
    register = D("99000")
    whole.add(register, T0)
    part.add(register, T0)
    cut = data.draw(st.integers(1, len(increments) - 1))
    for k, (grown, load, factor) in enumerate(increments, 1):
        register += D(grown) / 100
        for each in (whole, parts[-1]):
            each.add(register, T0 + k * HOUR, load_a=load, power_factor=factor)
        if k == cut:
            parts.append(parts[-1].next())
    together = add_up(result_of(each) for each in parts)
    alone = result_of(whole)
    assert together.y == pytest.approx(alone.y, rel=1e-12, abs=1e-12)
    assert together.u == pytest.approx(alone.u, rel=1e-9, abs=1e-12)
    assert together.n == alone.n
    parts[0].merge(parts[1])
    merged = result_of(parts[0])
    assert merged.y == pytest.approx(alone.y, rel=1e-12, abs=1e-12)
    assert merged.u == pytest.approx(alone.u, rel=1e-12, abs=1e-12)
    assert (merged.n, merged.flags, merged.from_us, merged.to_us) == (
        alone.n,
        alone.flags,
        alone.from_us,
        alone.to_us,
    )


def test_a_change_of_state_in_the_interval_is_the_sum_of_two_parts() -> None:
    before = state_of((point("5", "1"),), performed=date(2026, 6, 1))
    after = state_of((point("5", "0.2"),), performed=date(2026, 10, 20))
    first = feed(EnergyTotal(before, REGISTER), "100", "201")
    second = first.next(after)
    feed(second, "251.1", start=2)
    both = add_up([result_of(first), result_of(second)])
    assert both.y == pytest.approx(101 / 1.01 + 50.1 / 1.002, rel=1e-13)
    assert both.states == tuple(sorted({before.digest, after.digest}))
    ends = [name for name in both.uncertain.contributions if name.startswith("resolution:")]
    seam = UncertaintySource("resolution", "M-1", str(T0 + HOUR), REGISTER, "uniform").id
    assert seam in ends
    assert both.uncertain.contributions[seam] == pytest.approx(0.0, abs=1e-15)


def test_totals_over_a_gap_are_bridged_by_the_register_at_an_unknown_load() -> None:
    state = state_of((point("1", "1.0"), point("5", "0.0")))
    a = feed(EnergyTotal(state, REGISTER), "100", "110")
    b = feed(EnergyTotal(state, REGISTER), "150", "160", start=5)
    u_known = result_of(b).u
    a.merge(b)
    result = result_of(a)
    # 20 kWh at 2 A (e = 0.75 %), 40 kWh at an error between 0 and 1 %
    assert result.y == pytest.approx(20 / 1.0075 + 40 / 1.005, rel=1e-13)
    assert result.u > 40 * 0.005 / math.sqrt(3) > u_known
    assert set(result.flags) == {"GAP_BRIDGED", "LOAD_UNKNOWN", "POWER_FACTOR_UNKNOWN"}


def test_a_total_that_begins_a_digit_lower_than_the_other_ended_counts_nothing_twice_and_nothing_down() -> (
    None
):
    a = feed(EnergyTotal(state_of(), REGISTER), "100", "110")
    a.merge(feed(EnergyTotal(state_of(), REGISTER), "109.99", "120", start=5))
    result = result_of(a)
    assert result.y == pytest.approx(20.01)
    assert result.flags == ("GAP_BRIDGED", "REGISTER_DECREASED")


def test_an_unknown_load_costs_the_whole_curve() -> None:
    state = state_of((point("1", "1.0"), point("5", "0.0")))
    total = feed(EnergyTotal(state, REGISTER), "0", "100.5", load=None)
    result = result_of(total)
    assert result.y == pytest.approx(100.0)
    assert result.flags == ("LOAD_UNKNOWN",)
    expected = math.hypot(0.05, 0.5 / math.sqrt(3)) * 100 / 100.5
    assert result.u == pytest.approx(math.hypot(expected, math.sqrt(2) * 0.01 / math.sqrt(12)), rel=1e-6)


def test_missed_polls_are_counted_and_lose_no_energy() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER), "100", "101")
    total.miss(3)
    feed(total, "105", start=5)
    result = result_of(total)
    assert (result.missing, result.n) == (3, 2)
    assert result.y == pytest.approx(5.0)


# ----------------------------------------------------------------------------------- registers that misbehave


def test_a_rollover_is_counted_and_flagged() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER, modulus=D(1_000_000)), "999990", "15", "20")
    result = result_of(total)
    assert result.y == pytest.approx(30.0)
    assert result.flags == ("REGISTER_ROLLOVER",)


def test_the_largest_power_tells_a_rollover_from_a_reset() -> None:
    slow = feed(EnergyTotal(state_of(), REGISTER, modulus=D(1000), max_power=50.0), "995", "40")
    fast = feed(EnergyTotal(state_of(), REGISTER, modulus=D(1000), max_power=40.0), "995", "40", "45")
    assert result_of(slow).y == pytest.approx(45.0)
    assert result_of(slow).flags == ("REGISTER_ROLLOVER",)
    assert result_of(fast).y == pytest.approx(5.0)
    assert result_of(fast).flags == ("REGISTER_RESET",)


def test_without_a_largest_power_only_a_small_step_through_the_modulus_is_a_rollover() -> None:
    near = feed(EnergyTotal(state_of(), REGISTER, modulus=D(1000)), "995", "5")
    far = feed(EnergyTotal(state_of(), REGISTER, modulus=D(1000)), "985", "5")
    assert (result_of(near).y, result_of(near).flags) == (pytest.approx(10.0), ("REGISTER_ROLLOVER",))
    assert (result_of(far).y, result_of(far).flags) == (0.0, ("REGISTER_RESET",))


def test_a_reset_begins_a_new_segment_and_is_not_estimated() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER), "500", "510", "3", "7")
    result = result_of(total)
    assert result.y == pytest.approx(14.0)
    assert result.flags == ("REGISTER_RESET",)
    assert result.missing == 1
    assert sum(name.startswith("resolution:") for name in result.uncertain.contributions) == 4


def test_a_replaced_meter_is_said_and_both_parts_count() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER), "500", "510")
    total.replace(D("0.1"), T0 + 90 * 60_000_000)
    feed(total, "10.1", start=2)
    result = result_of(total)
    assert result.y == pytest.approx(20.0)
    assert result.flags == ("REGISTER_REPLACED",)


def test_a_decrease_by_noise_is_flagged_and_counted_neither_down_nor_twice_up() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER), "100", "100.02", "100.00", "100.05")
    result = result_of(total)
    assert result.y == pytest.approx(0.05)
    assert result.flags == ("REGISTER_DECREASED",)
    dipped = feed(EnergyTotal(state_of(), REGISTER), "100", "99.99")
    assert result_of(dipped).y == 0.0
    following = feed(dipped.next(), "100.03", start=2)
    assert result_of(following).y == pytest.approx(0.03)


def test_a_jump_beyond_the_largest_power_is_not_energy() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER, max_power=20.0), "100", "110", "5000", "5010")
    result = result_of(total)
    assert result.y == pytest.approx(20.0)
    assert result.flags == ("REGISTER_JUMPED",)


@given(
    st.lists(st.integers(0, 99_999), min_size=1, max_size=30), st.sampled_from([None, 1000.0]), st.booleans()
)
@settings(max_examples=80, deadline=None)
def test_no_sequence_of_readings_gives_a_negative_energy(
    readings: list[int], power: float | None, rolls: bool
) -> None:
    total = EnergyTotal(state_of(), REGISTER, modulus=D(1000) if rolls else None, max_power=power)
    for k, centi in enumerate(readings):
        total.add(D(centi) / 100, T0 + k * HOUR, load_a=2.0, power_factor=1.0)
    result = result_of(total)
    assert result.y >= 0.0
    if any(b < a for a, b in pairwise(readings)):
        assert result.flags


def test_readings_that_cannot_be_are_refused() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER), "1", "2")
    for wrong in ("-1", "NaN", "Infinity"):
        with pytest.raises(ValueError, match="can't stand at"):
            total.add(D(wrong), T0 + 9 * HOUR)
    with pytest.raises(ValueError, match="already"):
        total.add(D(2), T0 + HOUR)
    with pytest.raises(ValueError, match="window"):
        total.add(D(3), T0 + 9 * HOUR, window_us=-1)
    with pytest.raises(ValueError, match="modulus"):
        EnergyTotal(state_of(), REGISTER, modulus=D(0))


def test_a_clock_that_steps_back_is_flagged_and_loses_no_energy() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER), "1", "2", "3")
    total.add(D(4), T0 + HOUR // 2, load_a=2.0, power_factor=1.0)
    result = result_of(total)
    assert result.y == pytest.approx(3.0)
    assert result.flags == ("CLOCK_STEPPED",)


def test_energy_without_any_stated_uncertainty_is_refused() -> None:
    with pytest.raises(NoUncertaintyError, match="neither a certificate nor a class"):
        EnergyTotal(state_of(), "energy.reactive.import")


def test_totals_that_do_not_belong_together_do_not_merge_or_add() -> None:
    state, other = state_of(), state_of(instrument="M-2")
    a = feed(EnergyTotal(state, REGISTER), "1", "2")
    with pytest.raises(ValueError, match="different registers"):
        a.merge(feed(EnergyTotal(other, REGISTER), "3", "4", start=3))
    with pytest.raises(ValueError, match="before this one ends"):
        a.merge(feed(EnergyTotal(state, REGISTER), "1", "2"))
    with pytest.raises(ValueError, match="itself"):
        a.merge(a)
    with pytest.raises(ValueError, match="nothing"):
        add_up([])


# ---------------------------------------------------------------------------------------- correlation in sums


def test_two_meters_on_one_standard_share_its_part_and_nothing_else() -> None:
    one, two = (
        feed(EnergyTotal(state_of(instrument=name, resolution="1e-9"), REGISTER), "0", "100")
        for name in ("M-1", "M-2")
    )
    both = add_up([result_of(one), result_of(two)])
    assert both.u == pytest.approx(math.hypot(0.06, math.sqrt(2) * 0.04), rel=1e-9)
    assert both.instruments == ("M-1", "M-2")


def test_an_unknown_split_reports_the_larger_bound_of_a_sum_and_keeps_both() -> None:
    unknown = (ReferenceUse("STD-1", "S-2026"),)
    results = [
        result_of(
            feed(
                EnergyTotal(state_of(instrument=f"M-{n}", references=unknown, resolution="1e-9"), REGISTER),
                "0",
                "100",
            )
        )
        for n in range(4)
    ]
    month = add_up(results)
    assert month.u == pytest.approx(4 * 0.05, rel=1e-9)  # r = 1
    assert month.own.u == pytest.approx(2 * 0.05, rel=1e-9)  # r = 0
    assert "SPLIT_UNKNOWN" in month.flags
    # In a difference it is the other way round.
    difference = results[0].shared - results[1].shared, results[0].own - results[1].own
    assert difference[0].u < 1e-6
    assert difference[1].u == pytest.approx(math.sqrt(2) * 0.05, rel=1e-9)
    assert larger(*difference) is difference[1]


# ---------------------------------------------------------------------------------------------------- restart


POINTS = [point(x, e, pf=pf) for x, e, pf in (("0.1", "0.8", "1"), ("5", "-0.3", "1"), ("1", "0.5", "0.5"))]


@given(
    st.lists(
        st.tuples(
            st.integers(-30, 5000),
            st.one_of(st.none(), st.floats(0.02, 9)),
            st.one_of(st.none(), st.floats(-1, 1)),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 11),
    st.sampled_from([(), (ReferenceUse("STD-1", "S-2026", share=D("0.03")),)]),
)
@settings(max_examples=60, deadline=None)
def test_a_total_goes_on_after_a_restart_as_if_there_had_been_none(
    increments: list[tuple[int, float | None, float | None]],
    restart: int,
    references: tuple[ReferenceUse, ...],
) -> None:
    policy = Policy(repeatability={"energy.active": D("0.02")})
    state = state_of(POINTS, references=references, policy=policy)
    steady = EnergyTotal(state, REGISTER, modulus=D(1000), refresh_us=1_000_000)
    broken = EnergyTotal(state, REGISTER, modulus=D(1000), refresh_us=1_000_000)
    register = D("970.55")
    for k, (grown, load, factor) in enumerate(increments):
        for each in (steady, broken):
            each.add(register, T0 + k * HOUR, load_a=load, power_factor=factor, window_us=500_000)
        register = max(register + D(grown) / 100, D(0)) % 1000
        if k == restart:
            plain: Any = json.loads(json.dumps(broken.to_plain(), allow_nan=False))
            broken = EnergyTotal.from_plain(plain, CalibrationState.from_json(state.to_json()))
    assert broken.to_plain() == steady.to_plain()
    a, b = result_of(steady), result_of(broken)
    assert (a.y, a.u, a.flags, a.n, a.missing) == (b.y, b.u, b.flags, b.n, b.missing)


def test_a_kept_total_is_not_taken_up_under_another_state_or_from_other_values() -> None:
    total = feed(EnergyTotal(state_of(), REGISTER), "1", "2")
    with pytest.raises(ValueError, match="calibration state"):
        EnergyTotal.from_plain(total.to_plain(), state_of(instrument="M-2"))
    for key in total.to_plain():
        plain = total.to_plain()
        del plain[key]
        with pytest.raises(ValueError, match="energy total"):
            EnergyTotal.from_plain(plain, state_of())


@given(
    st.lists(
        st.tuples(st.integers(-3, 5000), st.floats(0.02, 9), st.floats(0.05, 1), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_many_readings_at_once_are_the_readings_one_by_one(
    rows: list[tuple[int, float, float, bool]],
) -> None:
    state = state_of(
        POINTS, references=(), ratio="40", policy=Policy(repeatability={"energy.active": D("0.02")})
    )
    loads = [math.nan if unknown and k % 5 == 4 else load for k, (_, load, _, unknown) in enumerate(rows)]
    factors = [factor for _, _, factor, _ in rows]
    values = [D("500") + D(sum(grown for grown, *_ in rows[: k + 1])) / 100 for k in range(len(rows))]
    times = [T0 + k * HOUR for k in range(len(rows))]
    single, many = EnergyTotal(state, REGISTER), EnergyTotal(state, REGISTER)
    for value, time, load, factor in zip(values, times, loads, factors, strict=True):
        single.add(value, time, load_a=None if math.isnan(load) else load, power_factor=factor, window_us=7)
    cut = len(rows) // 2
    many.extend(values[:cut], times[:cut], load_a=loads[:cut], power_factor=factors[:cut], window_us=7)
    many.extend(values[cut:], times[cut:], load_a=loads[cut:], power_factor=factors[cut:], window_us=7)
    a, b = result_of(single), result_of(many)
    assert b.y == pytest.approx(a.y, rel=1e-13, abs=1e-12)
    assert b.u == pytest.approx(a.u, rel=1e-12)
    assert (a.n, a.missing, set(a.flags), a.from_us, a.to_us) == (
        b.n,
        b.missing,
        set(b.flags),
        b.from_us,
        b.to_us,
    )
