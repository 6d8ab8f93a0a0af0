"""Budgets: GTC as oracle, shares, degrees of freedom, higher orders, several outputs."""

from __future__ import annotations

import math
from typing import Any

import GTC
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from calibration.budget import Model, budget, budgets, correlation_matrix
from calibration.coverage import CoverageRule
from calibration.distributions import Quantity
from calibration.expression import ModelError
from calibration.uncertainty import Uncertain

close = pytest.approx

TREES = st.recursive(
    st.sampled_from(["x", "y", "z"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}/(3 + sin({t[1]})))"),
        inner.map(lambda t: f"exp(sin({t}))"),
        inner.map(lambda t: f"log(2 + cos({t}))"),
        inner.map(lambda t: f"sqrt(2 + sin({t}))"),
    ),
    max_leaves=10,
)
THEIRS = {name: getattr(GTC, name) for name in ("sin", "cos", "exp", "log", "sqrt")}
values = st.floats(-2, 2).map(lambda v: round(v, 4))
spreads = st.floats(0.001, 0.3).map(lambda v: round(v, 4))
dofs = st.one_of(st.just(math.inf), st.integers(2, 50).map(float))


@settings(max_examples=120, deadline=None)
@given(TREES, st.lists(st.tuples(values, spreads, dofs), min_size=3, max_size=3))
def test_random_models_agree_with_gtc(text: str, rows: list[tuple[float, float, float]]) -> None:
    names = [n for n in "xyz" if n in Model(text).inputs]
    inputs = dict(zip("xyz", rows, strict=True))
    ours = budget(text, [Quantity(n, *inputs[n][:2], dof=inputs[n][2]) for n in names])
    scope: dict[str, Any] = {n: GTC.ureal(*inputs[n]) for n in names}
    theirs = eval(text, THEIRS, scope)
    assert ours.y == close(GTC.value(theirs), rel=1e-12, abs=1e-12)
    scale = max(abs(r.contribution) for r in ours.rows)
    assume(scale > 1e-6)
    assert ours.u == close(GTC.uncertainty(theirs), rel=1e-12, abs=1e-13)
    if ours.u > 1e-3 * scale:
        assert min(ours.dof, 1e9) == close(min(GTC.dof(theirs), 1e9), rel=1e-9)
    for row in ours.rows:
        assert row.contribution == close(
            GTC.component(theirs, scope[row.name]) * np.sign(row.sensitivity), abs=1e-12
        )


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=9, max_size=9), st.lists(spreads, min_size=3, max_size=3))
def test_correlated_inputs_agree_with_gtc(loading: list[float], u: list[float]) -> None:
    factor = np.array(loading).reshape(3, 3) + np.eye(3) * 0.5
    matrix = factor @ factor.T
    scale = np.sqrt(np.diag(matrix))
    assume(bool(np.all(scale > 1e-3)))
    r = np.clip(matrix / np.outer(scale, scale), -1.0, 1.0)
    pairs = [("x", "y", float(r[0, 1])), ("x", "z", float(r[0, 2])), ("y", "z", float(r[1, 2]))]
    ours = budget(
        "x*y + sin(z)", [Quantity(n, v, s) for n, v, s in zip("xyz", (1.2, -0.7, 0.4), u, strict=True)], pairs
    )
    theirs = {
        n: GTC.ureal(v, s, independent=False) for n, v, s in zip("xyz", (1.2, -0.7, 0.4), u, strict=True)
    }
    for a, b, coefficient in pairs:
        GTC.set_correlation(coefficient, theirs[a], theirs[b])
    expected = GTC.uncertainty(theirs["x"] * theirs["y"] + GTC.sin(theirs["z"]))
    assert ours.u == close(expected, rel=1e-9, abs=1e-9)
    if ours.u > 1e-6:
        assert sum(row.share for row in ours.rows) == close(1.0, abs=1e-9)


def test_shares_show_that_correlated_inputs_may_help() -> None:
    found = budget("a - b", [Quantity("a", 1, 0.1), Quantity("b", 1, 0.05)], [("a", "b", 0.9)])
    shares = {row.name: row.share for row in found.rows}
    assert shares["b"] < 0.0 < shares["a"]
    assert sum(shares.values()) == close(1.0)
    assert found.rows[1].contribution == close(-0.05)


def test_the_higher_order_term_matters_for_a_product_with_zero_mean() -> None:
    inputs = [Quantity("a", 0.0, 0.1), Quantity("b", 0.0, 0.2)]
    assert budget("a*b", inputs).u == 0.0
    assert "vanish" in budget("a*b", inputs).notes[0]
    assert budget("a*b", inputs, order=2).u == close(0.02)
    # x² with normal x about μ: variance 4μ²u² + 2u⁴, exactly.
    assert budget("x^2", [Quantity("x", 1.5, 0.3)], order=2).u == close(
        math.sqrt(4 * 1.5**2 * 0.3**2 + 2 * 0.3**4)
    )
    # x³: of the exact 9μ⁴u² + 36μ²u⁴ + 15u⁶ all but the last is in the second-order formula.
    mu, u = 1.5, 0.01
    exact = math.sqrt(9 * mu**4 * u**2 + 36 * mu**2 * u**4)
    assert budget("x^3", [Quantity("x", mu, u)], order=2).u == close(exact, rel=1e-12)


def test_the_higher_order_variance_of_a_mixed_product_is_exact_to_the_fourth_order() -> None:
    # The variance of x·y² for independent normal variables, without its term 3·ux²·uy⁴.
    x, y, ux, uy = 1.3, 0.4, 0.05, 0.07
    exact = y**4 * ux**2 + 4 * x**2 * y**2 * uy**2 + 6 * y**2 * ux**2 * uy**2 + 2 * x**2 * uy**4
    found = budget("x*y^2", [Quantity("x", x, ux), Quantity("y", y, uy)], order=2)
    assert found.u == close(math.sqrt(exact), rel=1e-12)


def test_higher_orders_want_independent_inputs() -> None:
    inputs = [Quantity("a", 0.0, 0.1), Quantity("b", 0.0, 0.2)]
    with pytest.raises(ModelError, match="independent") as refused:
        budget("a*b", inputs, [("a", "b", 0.5)], order=2)
    assert refused.value.where == "order"


def test_correlated_inputs_without_a_common_dof_have_no_welch_satterthwaite() -> None:
    a, b = Quantity("a", 1.0, 0.1, dof=9), Quantity("b", 1.0, 0.1, dof=4)
    found = budget("a + b", [a, b], [("a", "b", 0.5)])
    assert found.dof == math.inf
    assert "Welch-Satterthwaite does not apply" in found.notes[0]
    assert budget("a + b", [a, b]).dof == close(0.02**2 / (0.01**2 / 9 + 0.01**2 / 4))


def test_one_ensemble_counts_once_beside_independent_inputs() -> None:
    inputs = [Quantity("a", 1.0, 0.1, dof=9), Quantity("b", 1.0, 0.1, dof=9), Quantity("c", 0.0, 0.1, dof=5)]
    found = budget("a + b + c", inputs, [("a", "b", 0.5)])
    assert found.dof == close(0.04**2 / (0.03**2 / 9 + 0.01**2 / 5))


def test_coverage_by_rule_fixed_factor_and_probability() -> None:
    inputs = [Quantity("x", 0.1, 0.0289, "uniform"), Quantity("e", 0.0, 0.006)]
    found = budget("x + e", inputs)
    assert found.k == 1.65
    assert "dominant rectangular" in found.notes[0]
    assert (found.lo, found.hi) == close((found.y - found.U, found.y + found.U))
    assert budget("x + e", inputs, rule=CoverageRule(rectangular=False)).k == close(1.95996, abs=1e-5)
    fixed = budget("x + e", inputs, k=2.0)
    assert fixed.k == 2.0
    assert 2.0 * fixed.u == fixed.U
    assert fixed.p == close(0.9545, abs=1e-4)
    # A correlated rectangular input is not an independent dominant term.
    assert budget("x + e", inputs, [("x", "e", 0.1)]).k == close(1.95996, abs=1e-5)


def test_an_expanded_uncertainty_goes_no_further_than_bounded_contributions_can() -> None:
    # A temperature that swings by ±0.5 K is never off by 1.96·0.354 K = 0.69 K.
    found = budget("x", [Quantity("x", 20.0, 0.5 / math.sqrt(2), "arcsine")])
    assert close(0.5) == found.U
    assert "bounded" in found.notes[0]
    drawn = budget("x", [Quantity("x", 20.0, 0.5 / math.sqrt(2), "arcsine")], method="mc", trials=200_000)
    assert drawn.k == close(math.sqrt(2) * math.sin(0.95 * math.pi / 2), abs=1e-3)
    assert drawn.notes == ()
    # With anything that has no bound, or with more room, k is the usual one.
    swing, noise = Quantity("x", 20.0, 0.5 / math.sqrt(2), "arcsine"), Quantity("e", 0.0, 0.01)
    assert budget("x + e", [swing, noise]).k == close(1.96, abs=1e-3)
    assert budget("x", [Quantity("x", 0.0, 1.0, "triangular")]).k == close(1.96, abs=1e-3)


def test_the_rule_of_the_rectangle_says_what_its_rest_would_need() -> None:
    found = budget("x + e", [Quantity("x", 0.0, 1.0, "uniform"), Quantity("e", 0.0, 0.29)])
    assert found.k == 1.65
    assert "k = 1.72 would cover 95 %" in found.notes[0]
    assert "would cover" not in budget("x", [Quantity("x", 0.0, 1.0, "uniform")]).notes[0]


def test_several_outputs_know_their_correlation() -> None:
    inputs = [Quantity("V", 10.0, 0.1), Quantity("I", 2.0, 0.01)]
    found = budgets("P = V*I; R = V/I; double = 2*P", inputs)
    assert [o.name for o in found.outputs] == ["P", "R", "double"]
    assert found["double"].u == close(2 * found["P"].u)
    assert found.correlation("P", "double") == close(1.0)
    a, b = 0.2, 0.1  # contributions to P; to R they are 0.05 and -0.025
    assert found.correlation("P", "R") == close(
        (a * 0.05 - b * 0.025) / (math.hypot(a, b) * math.hypot(0.05, 0.025))
    )
    monte_carlo = budgets({"P": "V*I", "R": "V/I"}, inputs, method="mc", trials=100_000)
    assert monte_carlo.correlation("P", "R") == close(found.correlation("P", "R"), abs=0.02)


@pytest.mark.parametrize(
    ("source", "outputs"),
    [
        ("a + b", ("y",)),
        ("\n a\n + b\n", ("y",)),
        ("P = a*b\nS = P/\n  a\n", ("P", "S")),
        ("P = a*b; S = P + a;", ("P", "S")),
    ],
)
def test_models_may_run_over_several_lines(source: str, outputs: tuple[str, ...]) -> None:
    model = Model(source)
    assert model.outputs == outputs
    assert model.inputs == ("a", "b")


def test_a_model_propagates_arrays_of_uncertain_readings() -> None:
    model = Model("phi/100*F*v")
    phi = Uncertain(np.array([12.0, 13.0]), {"bias": 0.12}, 0.09**2)
    area = Uncertain(12.566, {"F": 0.05})
    speed = Uncertain(np.array([15.0, 16.0]), {"v": 0.1})
    flow = model.propagate({"phi": phi, "F": area, "v": speed})["y"]
    by_hand = phi * speed * area / 100.0
    assert flow.y == close(by_hand.y)
    assert flow.sum().u == close(by_hand.sum().u, rel=1e-12)


def test_exact_inputs_may_stand_where_there_is_no_derivative() -> None:
    found = budget("x^n + abs(d)", [Quantity("x", -2.0, 0.1), Quantity("n", 2.0), Quantity("d", 0.0)])
    assert found.y == 4.0
    assert found.u == close(0.4)
    assert [row.name for row in found.rows] == ["x", "n", "d"]
    assert [row.share for row in found.rows] == [1.0, 0.0, 0.0]


def test_monte_carlo_says_when_the_gum_framework_fails() -> None:
    inputs = [Quantity("X1", 0.0, 0.005), Quantity("X2", 0.0, 0.005)]
    found = budget("(X1^2 + X2^2)*1e6", inputs, method="mc", trials=200_000)
    assert found.method == "mc"
    assert found.gum is not None
    assert found.validation is not None
    assert found.gum.u == 0.0
    assert not found.validation.valid
    assert found.y == close(50.0, abs=1.0)
    assert close(found.k * found.u) == found.U
    assert (found.hi - found.lo) / 2 == close(found.U)


def test_monte_carlo_confirms_a_linear_model() -> None:
    inputs = [Quantity("a", 1.0, 0.1), Quantity("b", 2.0, 0.2)]
    found = budget("a + b", inputs, method="mc", trials=1_000_000)
    assert found.validation is not None
    assert found.validation.valid
    assert found.u == close(math.hypot(0.1, 0.2), rel=0.01)


def test_adaptive_monte_carlo_reports_its_trials() -> None:
    found = budget("a^2", [Quantity("a", 1.0, 0.1)], method="mc", trials=None)
    assert found.monte_carlo is not None
    assert found.monte_carlo.stable
    assert found.monte_carlo.trials % 10_000 == 0


@pytest.mark.parametrize(
    ("arguments", "where", "message"),
    [
        ({"model": "a + c"}, "inputs", "the model uses c"),
        ({"model": "P = a; P = b"}, "model.P", "defined twice"),
        ({"model": "a; b"}, "model", "need names"),
        ({"model": " ; "}, "model", "empty"),
        ({"model": "a = b"}, "inputs[0]", "an output of the model"),
        ({"correlations": [("a", "x", 0.1)]}, "correlations[0]", "no input named x"),
        ({"correlations": [("a", "a", 1.0)]}, "correlations[0]", "itself"),
        ({"correlations": [("a", "b", 1.01)]}, "correlations[0]", "outside -1"),
        ({"correlations": [("a", "b", 0.1), ("b", "a", 0.1)]}, "correlations[1]", "twice"),
        ({"p": 95.0}, "p", "0.95 for 95 %"),
        ({"method": "bootstrap"}, "method", "gum or mc"),
        ({"order": 3}, "order", "1 or 2"),
        ({"k": -2.0}, "k", "positive"),
        ({"model": "1/(a - 1)"}, "model", "division by zero"),
        ({"model": "sqrt(a - 2)"}, "model", "outside its domain"),
        ({"model": "1e300*a*1e300"}, "model", "not finite"),
        ({"model": "log(b - 1.9)", "method": "mc", "trials": 1000}, "model", "trials leave"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_its_place(arguments: dict, where: str, message: str) -> None:
    inputs = [Quantity("a", 1.0, 0.1), Quantity("b", 2.0, 0.2)]
    with pytest.raises(ModelError, match=message) as refused:
        budget(**{"model": "a + b", "quantities": inputs, **arguments})
    assert refused.value.where == where


@pytest.mark.parametrize("u", [1e200, 1e-200])
def test_variances_beyond_the_machine_are_refused(u: float) -> None:
    with pytest.raises(ModelError, match="other units"):
        budget("a + b", [Quantity("a", 1.0, u), Quantity("b", 1.0, u)])


def test_small_units_keep_their_degrees_of_freedom() -> None:
    small = [Quantity("a", 0.0, 3e-100, dof=5), Quantity("b", 0.0, 4e-100, dof=7)]
    usual = [Quantity("a", 0.0, 3.0, dof=5), Quantity("b", 0.0, 4.0, dof=7)]
    assert budget("a + b", small).dof == close(budget("a + b", usual).dof)


def test_contradicting_correlations_are_refused() -> None:
    with pytest.raises(ModelError, match="contradict"):
        correlation_matrix(["a", "b", "c"], [("a", "b", 0.9), ("b", "c", 0.9), ("a", "c", -0.9)])


@pytest.mark.parametrize("name", ["", "2a", "a b", "sin", "pi", "a.b"])
def test_names_that_no_model_can_use(name: str) -> None:
    with pytest.raises(ModelError):
        budget("a", [Quantity(name, 1.0), Quantity("a", 1.0)])


def test_equal_names_are_refused() -> None:
    with pytest.raises(ModelError, match="given twice"):
        budget("a", [Quantity("a", 1.0), Quantity("a", 2.0)])
