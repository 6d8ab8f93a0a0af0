"""Identity carries correlation: GTC and closed forms as oracles, and what must never happen as tests."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import GTC
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.accumulator import Accumulator
from calibration.uncertainty import (
    SharedRandomPartError,
    Uncertain,
    UncertaintySource,
    combine,
    correlated,
    correlation,
    covariance,
    mean,
    semidefinite_factor,
    total,
)

REF = UncertaintySource("ref_standard", "STD-1")
OWN_A = UncertaintySource("cal_point", "CERT-A")
OWN_B = UncertaintySource("cal_point", "CERT-B")

close = pytest.approx


# ---------------------------------------------------------------------------------------------------- sources


def test_a_source_is_named_by_what_it_is() -> None:
    again = UncertaintySource("ref_standard", "STD-1")
    assert again.id == REF.id
    assert REF.id.startswith("ref_standard:")
    assert len(REF.id.partition(":")[2]) == 16


@pytest.mark.parametrize(
    "other",
    [
        UncertaintySource("drift", "STD-1"),
        UncertaintySource("ref_standard", "STD-2"),
        UncertaintySource("ref_standard", "STD-1", epoch="2026"),
        UncertaintySource("ref_standard", "STD-1", quantity="phase"),
        UncertaintySource("ref_standard", "STD-1", dist="uniform"),
        UncertaintySource("ref_standard", "STD-1", dof=9),
        UncertaintySource("ref_standard", "STD-1", ensemble="fit"),
    ],
)
def test_every_part_of_the_identity_counts(other: UncertaintySource) -> None:
    assert other.id != REF.id


def test_the_identity_does_not_depend_on_how_a_number_was_written() -> None:
    assert UncertaintySource("a", "b", dof=9).id == UncertaintySource("a", "b", dof=9.0).id
    assert UncertaintySource("a", "b", dof=math.inf).id == UncertaintySource("a", "b").id


def test_the_identity_is_frozen_for_ever() -> None:
    # Records in signed logs name sources by this id: it must never change.
    text = (
        '{"dist":"uniform","dof":"9.5","ensemble":"","epoch":"2026","kind":"ref_standard",'
        '"owner":"标准-1","quantity":"energy"}'
    )
    source = UncertaintySource("ref_standard", "标准-1", "2026", "energy", "uniform", 9.5)
    assert source.id == "ref_standard:" + hashlib.sha256(text.encode()).hexdigest()[:16]
    assert source.id == "ref_standard:2b8ab4ea62fff646"


def test_a_source_without_an_owner_is_refused() -> None:
    with pytest.raises(ValueError, match="owner"):
        UncertaintySource("drift", "")
    with pytest.raises(ValueError, match="positive"):
        UncertaintySource("drift", "M1", dof=0)


# ------------------------------------------------------------------------------------ the standards' examples


def test_ten_resistors_of_one_standard_add_linearly() -> None:
    # JCGM 100 5.2.2: 1 ohm, not 0.32 ohm.
    resistors = [Uncertain.of_source(1000.0, REF, 0.1) for _ in range(10)]
    series = total(resistors)
    assert series.y == 10_000.0
    assert series.u == close(1.0, abs=1e-12)


def test_a_total_of_registers_telescopes() -> None:
    u_res = 0.002886751345948129
    register = [
        Uncertain.of_source(2.5 * i, UncertaintySource("resolution", "M1", str(i)), u_res) for i in range(97)
    ]
    intervals = [after - before for before, after in itertools.pairwise(register)]
    energy = total(intervals)
    assert energy.y == close(240.0)
    assert energy.u == close(0.004082482904638631, abs=1e-12)  # not 0.04: the readings between cancel


def test_interpolated_errors_keep_the_shared_part_of_their_reference() -> None:
    e1 = Uncertain.of_source(0.12, OWN_A, 0.05) + Uncertain.of_source(0.0, REF, 0.04)
    e2 = Uncertain.of_source(0.3, OWN_B, 0.05) + Uncertain.of_source(0.0, REF, 0.04)
    error = e1 + (e2 - e1) * ((150.0 - 100.0) / (200.0 - 100.0))
    assert error.y == close(0.21, abs=1e-12)
    assert error.u == close(0.05338539126015656, abs=1e-12)


def test_a_stack_keeps_the_bias_of_24_hours_and_averages_the_noise() -> None:
    kv = Uncertain.of_source(1.02, "Kv", 0.015)
    area = Uncertain.of_source(12.566, "F", 0.05)
    phi = Uncertain(np.full(24, 12.0), {"phi_bias": 0.12}, 0.09**2)
    velocity = Uncertain.random(np.full(24, 15.2), 0.1)
    density = 273.15 / (273.15 + 55.0) * (88000.0 - 200.0) / 101325 * (1 - 0.085) * 1.977
    mass = (phi / 100.0 * 3600.0 * velocity * density).sum() * kv * area
    hourly = (phi / 100.0 * 3600.0 * velocity * density) * kv * area
    assert mass.u == close(hourly.sum().u, rel=1e-12)
    assert mass.y == close(2635543.973616829, abs=1e-3)
    assert mass.u == close(48327.75174356013, abs=1e-3)


def test_200_meters_for_a_month() -> None:
    rng = np.random.default_rng(7)
    energy = rng.uniform(5, 50, (200, 2880))
    u_cal = rng.uniform(5e-4, 1e-3, 200)
    r2 = 0.002886751345948129**2
    meters = [
        Uncertain(e, {"ref": 0.00025 * e, f"cal{m}": u_cal[m] * e, f"ct{m}": 0.001 * e}, r2).sum()
        for m, e in enumerate(energy)
    ]
    plant = total(meters)
    assert plant.y == close(15838325.926102668, abs=1e-3)
    assert plant.u / plant.y == close(0.00026517194487483476, abs=1e-12)
    # The other way round: the factors of a meter are the same for all its readings, so they can wait for the total.
    sums = Uncertain(energy, {}, r2).sum(axis=1)
    late = total(
        sums[m] * Uncertain(1.0, {"ref": 0.00025, f"cal{m}": u_cal[m], f"ct{m}": 0.001}) for m in range(200)
    )
    assert late.y == close(plant.y, rel=1e-14)
    assert late.u == close(plant.u, rel=1e-12)


def test_output_correlations_of_h_2() -> None:
    data = np.array(
        [
            [5.007, 4.994, 5.005, 4.99, 4.999],
            [0.019663, 0.019639, 0.01964, 0.019685, 0.019678],
            [1.0456, 1.0438, 1.0468, 1.0428, 1.0433],
        ]
    )
    v, j, phi = correlated(data.mean(axis=1), np.cov(data) / 5, ["z1", "z2", "z3"])
    z = v / j
    cos = combine(math.cos(phi.y), [(phi, -math.sin(phi.y))])
    sin = combine(math.sin(phi.y), [(phi, math.cos(phi.y))])
    r, x = z * cos, z * sin
    assert r.y == close(127.73216992810207, rel=1e-14)
    assert r.u == close(0.07107140739699543, rel=1e-9)
    assert correlation(r, x) == close(-0.5884297844235161, rel=1e-8)
    assert correlation(r, z) == close(-0.48525922420992745, rel=1e-8)
    assert correlation(x, z) == close(0.9925116489490166, rel=1e-8)


# --------------------------------------------------------------------------------- one random part, used once


def test_the_same_reading_used_twice_counts_fully() -> None:
    x = Uncertain.random(3.0, 0.1)
    assert (x + x).u == close(0.2)  # not 0.141
    assert (x - x).u == 0.0
    assert (x * x).u == close(0.6)
    assert (x / x).u == 0.0
    assert total([x]).u == close(0.1)
    assert combine(27.0, [(x, 9.0), (x, 9.0), (x, 9.0)]).u == close(2.7)


@pytest.mark.parametrize(
    "twice",
    [
        lambda x: (x + 1.0) - x,
        lambda x: (2.0 * x) * x,
        lambda x: total([x, x]),
        lambda x: total([x, Uncertain.random(1.0, 0.1), x * 2.0]),
        lambda x: covariance(x, x + 1.0),
        lambda x: combine(0.0, [(x, 1.0), (-x, 1.0)]),
    ],
)
def test_an_unnamed_random_part_in_two_values_is_refused(twice: Callable[[Uncertain], Any]) -> None:
    x = Uncertain.random(3.0, 0.1)
    with pytest.raises(SharedRandomPartError, match=r"[Pp]romote"):
        twice(x)


def test_a_promoted_random_part_may_be_used_as_often_as_one_likes() -> None:
    x = Uncertain.random(3.0, 0.1).promote(UncertaintySource("repeat", "M1", "reading 7"))
    assert x.r2 == 0.0
    assert x.u == close(0.1)
    assert ((x + 1.0) - x).u == 0.0
    assert total([x, x]).u == close(0.2)
    assert ((2.0 * x) * x).u == close(1.2)


def test_promotion_keeps_the_value_and_needs_a_name_of_its_own() -> None:
    x = Uncertain(1.0, {"a": 0.3}, 0.16)
    assert x.promote("b").u == close(x.u)
    with pytest.raises(ValueError, match="its own source"):
        x.promote("a")
    with pytest.raises(ValueError, match="independent"):
        Uncertain.random(np.ones(3), 0.1).promote("b")
    exact = Uncertain(1.0, {"a": 0.3})
    assert exact.promote("b") is exact


def test_a_single_random_value_does_not_spread_over_readings_unseen() -> None:
    readings = Uncertain.random(np.ones(4), 0.1)
    factor = Uncertain.random(2.0, 0.1)
    with pytest.raises(SharedRandomPartError, match="array"):
        readings * factor
    with pytest.raises(SharedRandomPartError, match="array"):
        factor + np.ones(4)
    named = readings * factor.promote("factor")
    assert named.sum().u == close(math.sqrt(4 * 0.2**2 + 0.4**2))


def test_readings_of_an_array_are_independent_of_each_other_and_not_of_themselves() -> None:
    x = Uncertain.random(np.array([1.0, 2.0, 3.0, 4.0]), 0.1)
    assert (x[0] - x[1]).u == close(0.1 * math.sqrt(2.0))
    assert total(x[i] for i in range(4)).u == close(0.2)
    assert total([x[:2].sum(), x[2:].sum()]).u == close(x.sum().u)
    for twice in (
        lambda: x[0] + x[0:2].sum(),
        lambda: x.sum() - x[0],
        lambda: x[1:] - x[:-1],
        lambda: x[1] + (2 * x)[1],
    ):
        with pytest.raises(SharedRandomPartError):
            twice()


def test_a_column_that_meets_a_table_counts_for_every_reading() -> None:
    table = Uncertain(np.ones((2, 3)), {"a": 0.1})
    column = Uncertain(np.array([[1.0], [2.0]]), {"b": np.array([[0.1], [0.2]])})
    assert (table + column).sum(axis=1).contributions["b"] == close(np.array([0.3, 0.6]))
    assert (table * column).sum().contributions["b"] == close(0.9)
    assert (table + column).sum().contributions["a"] == close(0.6)


def test_totals_over_two_axes_of_the_same_readings_are_not_independent() -> None:
    x = Uncertain.random(np.ones((2, 2)), 0.1)
    by_meter, by_hour = x.sum(axis=1), x.sum(axis=0)
    assert (by_meter[0] + by_meter[1]).u == close(0.2)
    with pytest.raises(SharedRandomPartError):
        by_meter + by_hour
    with pytest.raises(SharedRandomPartError):
        covariance(by_meter[0], x[0, 0])


# ---------------------------------------------------------------------------------------------- GTC as oracle


class Pair:
    """The same value in both worlds."""

    def __init__(self, ours: Uncertain, theirs: Any) -> None:
        self.ours, self.theirs = ours, theirs


finite = st.floats(-3.0, 3.0).map(lambda v: round(v, 3))
spreads = st.floats(1e-4, 0.2).map(lambda v: round(v, 5))
OPERATIONS = ["+", "-", "*", "/", "scale", "shift", "power"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_expressions_agree_with_gtc(data: st.DataObject) -> None:
    sources = data.draw(st.lists(spreads, min_size=1, max_size=4))
    roots = [GTC.ureal(0.0, 1.0) for _ in sources]
    pool: list[Pair] = []
    for _ in range(data.draw(st.integers(2, 5))):
        y = data.draw(finite)
        weights = data.draw(st.lists(finite, min_size=len(sources), max_size=len(sources)))
        u_own = data.draw(spreads)
        ours = Uncertain(
            y, {f"s{i}": w * u for i, (w, u) in enumerate(zip(weights, sources, strict=True))}, u_own**2
        ).promote(f"own{len(pool)}")
        theirs = GTC.ureal(y, u_own)
        for root, w, u in zip(roots, weights, sources, strict=True):
            theirs = theirs + root * (w * u)
        pool.append(Pair(ours, theirs))
    for _ in range(data.draw(st.integers(1, 8))):
        a, b = data.draw(st.sampled_from(pool)), data.draw(st.sampled_from(pool))
        operation = data.draw(st.sampled_from(OPERATIONS))
        if operation == "+":
            new = Pair(a.ours + b.ours, a.theirs + b.theirs)
        elif operation == "-":
            new = Pair(a.ours - b.ours, a.theirs - b.theirs)
        elif operation == "*":
            new = Pair(a.ours * b.ours, a.theirs * b.theirs)
        elif operation == "/" and abs(b.ours.y) > 0.1:
            new = Pair(a.ours / b.ours, a.theirs / b.theirs)
        elif operation == "power" and a.ours.y > 0.1:
            new = Pair(a.ours**2.5, a.theirs**2.5)
        elif operation == "scale":
            new = Pair(-2.5 * a.ours, -2.5 * a.theirs)
        else:
            new = Pair(1.0 - a.ours, 1.0 - a.theirs)
        if abs(new.ours.y) < 1e6:
            pool.append(new)
    result = pool[-1]
    scale = max(abs(c) for c in result.ours.contributions.values())
    assert result.ours.y == close(GTC.value(result.theirs), rel=1e-12, abs=1e-12)
    # Where contributions cancel, what is left has the rounding of what was there.
    assert result.ours.u == close(GTC.uncertainty(result.theirs), rel=1e-12, abs=1e-13 * scale + 1e-15)
    other = pool[0]
    if result.ours.u > 1e-6:
        assert correlation(result.ours, other.ours) == close(
            GTC.get_correlation(result.theirs, other.theirs), abs=1e-9
        )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(finite, finite, spreads), min_size=1, max_size=12),
    st.floats(1e-4, 0.1),
    st.floats(1e-4, 0.1),
)
def test_random_sums_with_shared_sources_agree_with_gtc(
    rows: list[tuple[float, float, float]], gain: float, offset: float
) -> None:
    g, o = GTC.ureal(1.0, gain), GTC.ureal(0.0, offset)
    theirs: Any = 0.0
    ours = []
    for y, _, noise in rows:
        theirs = theirs + (GTC.ureal(y, noise) * g + o)
        ours.append(Uncertain(y, {"gain": gain * y, "offset": offset}, noise**2))
    summed = total(ours)
    assert summed.u == close(GTC.uncertainty(theirs), rel=1e-12)
    array = Uncertain(
        np.array([r[0] for r in rows]),
        {"gain": gain * np.array([r[0] for r in rows]), "offset": offset},
        np.array([r[2] for r in rows]) ** 2,
    )
    assert array.sum().u == close(GTC.uncertainty(theirs), rel=1e-12)
    assert array.mean().u == close(GTC.uncertainty(theirs / len(rows)), rel=1e-12)


# ------------------------------------------------------------------------------------------------ metamorphic

arrays = st.lists(st.tuples(st.floats(-100, 100), st.floats(-1, 1), st.floats(0, 1)), min_size=2, max_size=30)


def _array(rows: list[tuple[float, float, float]]) -> Uncertain:
    y, c, u = (np.array(column) for column in zip(*rows, strict=True))
    return Uncertain(y, {"shared": c, "offset": 0.3}, u**2)


@given(arrays, st.data())
def test_a_total_does_not_depend_on_how_it_is_split_or_ordered(
    rows: list[tuple[float, float, float]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(rows) - 1))
    order = data.draw(st.permutations(range(len(rows))))
    x = _array(rows)
    whole = x.sum()
    parts = x[:cut].sum() + x[cut:].sum()
    assert parts.y == close(whole.y, abs=1e-9)
    assert parts.u == close(whole.u, rel=1e-12, abs=1e-12)
    assert x[list(order)].sum().u == close(whole.u, rel=1e-12, abs=1e-12)


@given(arrays, st.floats(1e-6, 1e6))
def test_another_unit_scales_everything(rows: list[tuple[float, float, float]], factor: float) -> None:
    x = _array(rows).sum()
    scaled = (_array(rows) * factor).sum()
    assert scaled.y == close(factor * x.y, rel=1e-9, abs=1e-9)
    assert scaled.u == close(factor * x.u, rel=1e-12)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), min_size=1, max_size=20))
def test_shared_and_independent_are_the_bounds(rows: list[tuple[float, float]]) -> None:
    shared = total(Uncertain.of_source(y, "ref", u) for y, u in rows).u
    independent = total(Uncertain.random(y, u) for y, u in rows).u
    mixed = total(Uncertain(y, {"ref": 0.8 * u}, (0.6 * u) ** 2) for y, u in rows).u
    assert independent <= mixed * (1 + 1e-12) + 1e-15
    assert mixed <= shared * (1 + 1e-12) + 1e-15


# ----------------------------------------------------------------------------------------- degrees of freedom


def test_welch_satterthwaite_of_g_4_1() -> None:
    sources = {f"x{n}": UncertaintySource("repeat", f"x{n}", dof=n) for n in (9, 4, 14)}
    y = Uncertain(1.0, {"x9": 0.0025, "x4": 0.0057, "x14": 0.0082})
    assert y.effective_dof(sources) == close(18.99874231426795, rel=1e-12)
    expanded = y.expanded(0.95, sources)
    assert expanded.k == close(2.093, abs=1e-3)  # t for 19, as the GUM prints
    assert close(expanded.k * y.u) == expanded.U


def test_the_random_part_has_its_own_degrees_of_freedom() -> None:
    x = Uncertain(1.0, {"known": 0.3}, 0.16)
    assert x.effective_dof() == math.inf
    assert x.effective_dof(r2_dof=4) == close(0.25**2 / (0.16**2 / 4))


def test_parameters_of_one_fit_share_its_degrees_of_freedom() -> None:
    # GUM H.3.4: prediction from intercept and slope of one fit; the result keeps the fit's 9.
    a, b = -0.17120379013135004, 0.0021826977398872894
    ua, ub, r = 0.0028775978351599563, 0.0006679387732278323, -0.9304296030934459
    sources = [UncertaintySource("fit", "thermometer", quantity=q, dof=9, ensemble="fit") for q in ("a", "b")]
    matrix = [[ua * ua, r * ua * ub], [r * ua * ub, ub * ub]]
    y1, y2 = correlated([a, b], matrix, sources)
    prediction = y1 + y2 * 10.0
    assert prediction.u == close(0.004138595752854951, rel=1e-12)
    assert prediction.effective_dof({s.id: s for s in sources}) == close(9.0)


def test_an_ensemble_has_one_number_of_degrees_of_freedom() -> None:
    sources = [
        UncertaintySource("fit", "t", quantity=q, dof=d, ensemble="f") for q, d in (("a", 9), ("b", 8))
    ]
    y = Uncertain(1.0, {s.id: 0.1 for s in sources})
    with pytest.raises(ValueError, match="one fit"):
        y.effective_dof({s.id: s for s in sources})


def test_a_dominant_rectangular_source_gives_1_65() -> None:
    display = UncertaintySource("resolution", "DMM", dist="uniform")
    y = Uncertain(0.1, {display.id: 0.05 / math.sqrt(3)}, 0.0064**2)
    assert y.expanded(0.95, {display.id: display}).k == 1.65
    assert y.expanded(0.95).k == close(1.95996, abs=1e-5)  # nobody said that it is rectangular


def test_an_array_has_no_single_coverage_factor() -> None:
    with pytest.raises(ValueError, match="sum the readings"):
        Uncertain.random(np.ones(3), 0.1).expanded()


# -------------------------------------------------------------------------------------------------- streaming


def test_an_accumulator_goes_on_after_a_restart_and_merges() -> None:
    rng = np.random.default_rng(3)
    y = rng.uniform(5, 50, 300)
    readings = Uncertain(y, {"ref": 0.00025 * y, "cal": 0.001 * y}, 0.003**2)
    first, second = Accumulator(), Accumulator()
    for n in range(100):
        first.add(readings[n], number=n + 1)
    first = Accumulator.restore(json.loads(json.dumps(first.state())))
    first.add(readings[100:200], number=200)
    second.add(readings[200:], number=300)
    first.merge(second)
    result = first.result()
    assert first.count == 300
    assert first.last == 300
    assert result.y == close(readings.sum().y, rel=1e-15)
    assert result.u == close(readings.sum().u, rel=1e-14)


def test_an_accumulator_refuses_a_reading_that_it_has() -> None:
    reading = Uncertain.random(1.0, 0.1)
    numbered = Accumulator()
    numbered.add(reading, number=7)
    restored = Accumulator.restore(numbered.state())
    with pytest.raises(ValueError, match="reading 7"):
        restored.add(reading, number=7)
    plain = Accumulator()
    plain.add(reading)
    with pytest.raises(SharedRandomPartError):
        plain.add(reading)
    other = Accumulator()
    other.add(reading)
    with pytest.raises(SharedRandomPartError):
        plain.merge(other)
    with pytest.raises(SharedRandomPartError):
        plain.merge(plain)
    assert plain.count == 1
    assert plain.result().u == close(0.1)


def test_power_becomes_energy_by_an_exact_factor() -> None:
    power = Uncertain(np.array([100.0, 110.0]), {"ref": np.array([0.1, 0.11])}, 0.04)
    energy = Accumulator()
    energy.add(power, factor=0.25)
    assert energy.result().y == close(52.5)
    assert energy.result().u == close((power * 0.25).sum().u)


def test_a_year_of_readings_loses_nothing_to_rounding() -> None:
    running = Accumulator()
    step = Uncertain(0.1, {"ref": 0.1})
    for _ in range(35_040):
        running.add(step)
    assert running.result().y == 3504.0
    assert running.result().u == 3504.0


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"count": 1, "last": None, "y": ["1", "0"], "r2": ["0", "0"]},
        {"count": "x", "last": 0, "y": ["1", "0"], "r2": ["0", "0"], "contributions": {}},
        {"count": 1, "last": 0, "y": ["1"], "r2": ["0", "0"], "contributions": {}},
        {"count": 1, "last": 0, "y": ["nan", "0"], "r2": ["0", "0"], "contributions": {}},
        {"count": 1, "last": 0, "y": ["1", "0"], "r2": ["0", "0"], "contributions": [1]},
    ],
)
def test_another_state_is_refused(state: dict) -> None:
    with pytest.raises(ValueError, match="not the state"):
        Accumulator.restore(state)


# ------------------------------------------------------------------------------------------------ small print


def test_exact_numbers_of_all_kinds_are_taken() -> None:
    x = Uncertain(Decimal("1.5"), {"a": Decimal("0.1")})
    assert (x * Decimal(2)).y == 3.0
    assert (3 / x).u == close(3 / 1.5**2 * 0.1)
    assert (np.array([1.0, 2.0]) * x).u == close(np.array([0.1, 0.2]))
    assert (-x).contributions["a"] == -0.1
    assert (x**2).u == close(0.3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Uncertain(math.nan),
        lambda: Uncertain(1.0, {"a": math.inf}),
        lambda: Uncertain(1.0, {}, -0.1),
        lambda: Uncertain(np.ones(3), {"a": np.ones(2)}),
        lambda: Uncertain(np.array([1.0, math.nan])),
        lambda: Uncertain.random(1.0, -0.1),
    ],
)
def test_what_is_no_uncertain_value_is_refused(wrong: Callable[[], Uncertain]) -> None:
    with pytest.raises(ValueError):
        wrong()


def test_huge_values_are_finite_values() -> None:
    assert Uncertain(np.array([1e200, 1e200])).sum().y == 2e200


def test_division_by_zero_and_means_of_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        Uncertain(1.0) / Uncertain(0.0, {"a": 0.1})
    with pytest.raises(ZeroDivisionError):
        1.0 / Uncertain(0.0)
    with pytest.raises(ValueError, match="no readings"):
        Uncertain(np.empty(0)).mean()
    with pytest.raises(ValueError, match="no values"):
        mean([])
    assert total([]).y == 0.0
    assert mean([Uncertain.random(1.0, 0.1), Uncertain.random(3.0, 0.1)]).u == close(0.1 / math.sqrt(2))


def test_a_value_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Uncertain(1.0).y = 2.0


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 0.5], [0.4, 1.0]], "symmetric"),
        ([[1.0, 1.1], [1.1, 1.0]], "semi-definite"),
        ([[-1.0, 0.0], [0.0, 1.0]], "semi-definite"),
        ([[math.nan, 0.0], [0.0, 1.0]], "finite"),
    ],
)
def test_impossible_covariance_is_refused(matrix: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        semidefinite_factor(np.array(matrix))


@given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_factor_multiplies_back_also_when_singular(rows: list[list[float]]) -> None:
    a = np.array(rows)
    matrix = a.T @ a  # singular for fewer than three rows
    factor = semidefinite_factor(matrix)
    assert factor @ factor.T == close(matrix, abs=1e-6)
