"""Quantiles against scipy, the choice of k against the GUM and EA-4/02, rounding against GUM 7.2.6."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from calibration.coverage import (
    CoverageRule,
    choose_factor,
    coverage_factor,
    coverage_probability,
    normal_cdf,
    normal_quantile,
    rectangular_factor,
    rounded,
    t_cdf,
    t_quantile,
    trapezoidal_factor,
    truncated_dof,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "metrology.json").read_text(encoding="utf-8"))[
    "vectors"
]
ROUNDING = [v for v in VECTORS if v["kind"] == "rounding"]

PROBABILITIES = [1e-9, 1e-4, 0.005, 0.025, 0.2, 0.4999, 0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.99999, 1 - 1e-9]


@pytest.mark.parametrize(
    "dof", [1, 1.05, 1.5, 2, 3, 4.2, 9, 16.7, 50, 109.6, 999.5, 1000, 1000.5, 1e4, 1e6, 1e9]
)
def test_t_quantiles_agree_with_scipy(dof: float) -> None:
    for p in PROBABILITIES:
        expected = float(scipy.stats.t.ppf(p, dof))
        assert t_quantile(p, dof) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert t_cdf(expected, dof) == pytest.approx(p, rel=1e-9)


@given(p=st.floats(0.001, 0.999), dof=st.floats(1.0, 1e5))
def test_t_quantile_is_the_inverse_of_the_distribution_function(p: float, dof: float) -> None:
    assert t_cdf(t_quantile(p, dof), dof) == pytest.approx(p, abs=1e-11)


def test_normal_quantiles_agree_with_scipy() -> None:
    for p in PROBABILITIES:
        x = normal_quantile(p)
        assert x == pytest.approx(float(scipy.stats.norm.ppf(p)), rel=1e-12, abs=1e-15)
        assert normal_cdf(x) == pytest.approx(p, rel=1e-12)


def test_known_coverage_factors() -> None:
    assert coverage_factor(0.95) == pytest.approx(1.959963984540054, abs=1e-12)
    assert coverage_factor(0.9545) == pytest.approx(2.0, abs=1e-4)
    assert coverage_factor(0.99, 16) == pytest.approx(2.92, abs=0.005)  # GUM H.1
    assert coverage_probability(2.0) == pytest.approx(0.9545, abs=1e-4)
    assert coverage_probability(coverage_factor(0.9, 7.0), 7.0) == pytest.approx(0.9, abs=1e-12)


@pytest.mark.parametrize(
    ("dof", "used"),
    # The GUM prints 18.9987 as 19 before it truncates; a plain floor would give 18 and a larger k.
    [(18.9987, 19), (18.94, 18), (16.656, 16), (109.66, 109), (2.0, 2), (0.4, 1), (math.inf, math.inf)],
)
def test_effective_dof_are_rounded_to_one_decimal_and_truncated(dof: float, used: float) -> None:
    assert truncated_dof(dof) == used


def test_one_dominant_rectangular_term_gives_1_65() -> None:
    rest = 0.0064
    assert choose_factor(0.95, math.inf, (0.0289, 0.0063), math.hypot(0.0289, rest)) == 1.65


def test_the_border_of_dominance_is_where_the_rule_says() -> None:
    assert choose_factor(0.95, math.inf, (1.0,), math.hypot(1.0, 0.2999)) == 1.65
    # Beyond it, as far as two terms may go together, k is that of the distribution itself; then the normal one.
    assert choose_factor(0.95, math.inf, (1.0,), math.hypot(1.0, 0.3001)) == 1.73
    assert choose_factor(0.95, math.inf, (1.0,), math.hypot(1.0, 0.3499)) == 1.75
    assert choose_factor(0.95, math.inf, (1.0,), math.hypot(1.0, 0.3501)) == pytest.approx(1.96, abs=1e-3)
    wider = CoverageRule(dominance=0.5)
    assert choose_factor(0.95, math.inf, (1.0,), math.hypot(1.0, 0.3001), wider) == 1.65
    off = CoverageRule(rectangular=False)
    assert choose_factor(0.95, math.inf, (1.0,), 1.0, off) == pytest.approx(1.96, abs=1e-3)
    assert choose_factor(0.95, 5.0, (1.0,), 1.0, CoverageRule(fixed_k=2.0)) == 2.0


def test_two_rectangular_terms_that_dominate_together_are_a_trapezoid() -> None:
    # EA-4/02 S10, vernier caliper: 15 µm and 29 µm of 33 µm, k = 1.83.
    u = math.sqrt(14.43**2 + 28.87**2 + 2.05**2)
    assert choose_factor(0.95, math.inf, (14.43, 28.87), u) == 1.83


def test_a_trapezoid_with_a_rest_is_reported_as_one_up_to_the_border() -> None:
    # EA-4/02 S11, temperature block calibrator at 180 °C, in mK: k = 1.81 and U = 0.3 K are printed; Monte Carlo
    # says 1.832, and 94.5 % for 1.81.
    rest = (15.0, 10.0, 23.1, 28.9, 28.9, 17.3)
    u = math.hypot(144.34, 57.74, *rest)
    k = choose_factor(0.95, math.inf, (144.34, 57.74, *rest[2:]), u)
    assert k == 1.83
    assert round(k * u / 1000, 1) == 0.3
    # EA-4/02 S5, thermocouple at 1000 °C: k = 2 is printed, and the normal factor is kept.
    terms = (0.577, 0.173, 0.0886, 0.0236, 0.0223)
    u = math.hypot(0.1, 0.077, 0.15, *terms)
    assert choose_factor(0.95, math.inf, terms, u) == pytest.approx(1.96, abs=1e-3)


@given(st.floats(0.5, 0.999), st.floats(0.0, 1.0), st.floats(0.0, 0.35))
def test_two_rectangles_and_a_normal_rest_cover_what_is_claimed(p: float, ratio: float, share: float) -> None:
    rest = share * math.hypot(1.0, ratio)
    half = trapezoidal_factor(p, 1.0, ratio, rest) * math.hypot(1.0, ratio, rest)
    grid = (np.arange(2000) + 0.5) / 1000 - 1.0
    x = math.sqrt(3.0) * grid[:, None] + math.sqrt(3.0) * ratio * grid[::20][None, :]
    if rest > 1e-6:
        inside = scipy.stats.norm.cdf((half - x) / rest) - scipy.stats.norm.cdf((-half - x) / rest)
    else:
        inside = np.abs(x) <= half
    assert float(np.mean(inside)) == pytest.approx(p, abs=0.008)  # the grid, and k to two decimals


@given(st.floats(0.01, 0.999), st.floats(0.0, 1.0))
def test_trapezoid_factor_covers_what_it_claims(p: float, ratio: float) -> None:
    k = trapezoidal_factor(p, 1.0, ratio)
    a, b = math.sqrt(3.0), ratio * math.sqrt(3.0)
    half = k * math.hypot(1.0, ratio)
    grid = (
        np.arange(4000) + 0.5
    ) / 4000 * 2 * b - b  # exact in the first variable, midpoint rule in the second
    low = np.clip((-half - grid + a) / (2 * a), 0, 1)
    high = np.clip((half - grid + a) / (2 * a), 0, 1)
    assert float(np.mean(high - low)) == pytest.approx(p, abs=0.006)  # k has two decimals


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99, 0.9973])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3])
def test_rectangular_with_normal_rest_covers_what_it_claims(p: float, ratio: float) -> None:
    half = rectangular_factor(p, ratio, 1.0) * math.hypot(1.0, ratio)
    a = math.sqrt(3.0)
    x = (np.arange(20000) + 0.5) / 20000 * 2 * a - a
    if ratio:
        inside = scipy.stats.norm.cdf((half - x) / ratio) - scipy.stats.norm.cdf((-half - x) / ratio)
    else:
        inside = np.abs(x) <= half
    assert float(np.mean(inside)) == pytest.approx(p, abs=2e-4)


@pytest.mark.parametrize("vector", ROUNDING, ids=[v["id"] for v in ROUNDING])
def test_rounding_vectors(vector: dict) -> None:
    given_ = {entry["name"]: entry["value"] for entry in vector["inputs"]}
    assert rounded(given_["y"], given_["u"]) == (vector["expected"]["y"], vector["expected"]["u"])


@pytest.mark.parametrize(
    ("y", "u", "text"),
    [
        ("10.05762", "0.0271", ("10.058", "0.027")),
        ("9.9999", "0.0996", ("10.00", "0.10")),  # two digits, not three
        ("123456", "1234", ("123500", "1200")),
        ("2.5", "10.5", ("2", "11")),  # U half up, the value half to even
        ("3.5", "10.4", ("4", "10")),
        ("-0.0004", "0.12", ("0.00", "0.12")),  # no negative zero
        ("1.25", "0", ("1.25", "0")),
        ("1E+3", "0.05", ("1000.000", "0.050")),
        (0.1 + 0.2, 0.01, ("0.300", "0.010")),
        (Decimal("1e-9"), Decimal("2.345e-11"), ("0.000000001000", "0.000000000023")),
    ],
)
def test_rounding_for_reports(
    y: Decimal | float | str, u: Decimal | float | str, text: tuple[str, str]
) -> None:
    assert rounded(y, u) == text


@given(st.decimals(-(10**12), 10**12, places=9), st.decimals(Decimal("1e-9"), 10**9, places=9))
def test_rounding_moves_a_value_by_at_most_half_its_last_place(y: Decimal, u: Decimal) -> None:
    y_text, u_text = rounded(y, u)
    place = Decimal(1).scaleb(Decimal(u_text).normalize().adjusted() - 1)
    assert abs(Decimal(y_text) - y) <= place / 2
    assert abs(Decimal(u_text) - u) / u <= Decimal("0.05")
    assert len(Decimal(u_text).as_tuple().digits) - len(str(int(Decimal(u_text)))) <= 12


@pytest.mark.parametrize(("y", "u"), [("nan", "1"), ("1", "inf"), ("1", "-1"), ("x", "1")])
def test_rounding_refuses_what_is_no_result(y: str, u: str) -> None:
    with pytest.raises(ValueError):
        rounded(y, u)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 95.0, math.nan])
def test_a_probability_is_no_percentage(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        coverage_factor(p)


def test_fewer_than_one_degree_of_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        t_quantile(0.9, 0.5)
