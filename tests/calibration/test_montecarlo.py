"""Draws have the moments and the dependence that were asked for; intervals cover; the adaptive procedure stops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from calibration.budget import correlation_matrix
from calibration.distributions import DISTRIBUTIONS, Quantity, correlated_groups, divisor, ensemble_dof
from calibration.montecarlo import simulate, simulate_adaptively, summarise, tolerance, validate

N = 200_000


def draw(
    quantities: Sequence[Quantity], correlations: list[tuple[str, str, float]] | None = None
) -> np.ndarray:
    matrix = correlation_matrix([q.name for q in quantities], correlations or [])
    return simulate(quantities, matrix, lambda columns: columns, N, seed=5)


REFERENCE = {
    "normal": scipy.stats.norm(),
    "uniform": scipy.stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "triangular": scipy.stats.triang(0.5, -math.sqrt(6), 2 * math.sqrt(6)),
    "arcsine": scipy.stats.arcsine(-math.sqrt(2), 2 * math.sqrt(2)),
}


@pytest.mark.parametrize("dist", REFERENCE)
def test_draws_follow_their_distribution(dist: str) -> None:
    sample = draw([Quantity("x", 10.0, 2.0, dist)])[0]
    assert scipy.stats.kstest((sample - 10.0) / 2.0, REFERENCE[dist].cdf).pvalue > 1e-3


def test_a_trapezoid_lies_between_triangle_and_rectangle() -> None:
    beta = 1.0 / 3.0
    a = divisor("trapezoidal", beta)
    sample = draw([Quantity("x", 0.0, 1.0, "trapezoidal", beta=beta)])[0]
    reference = scipy.stats.trapezoid((1 - beta) / 2, (1 + beta) / 2, -a, 2 * a)
    assert scipy.stats.kstest(sample, reference.cdf).pvalue > 1e-3
    assert divisor("trapezoidal", 0.0) == pytest.approx(divisor("triangular"))
    assert divisor("trapezoidal", 1.0) == pytest.approx(divisor("uniform"))


def test_a_curvilinear_trapezoid_is_a_rectangle_whose_limits_are_rectangular() -> None:
    """JCGM 101 6.4.3.2: the density falls as the logarithm between a(1 - beta) and a(1 + beta)."""
    beta = 0.4
    a = divisor("curvilinear-trapezoidal", beta)
    sample = np.abs(draw([Quantity("x", 0.0, 1.0, "curvilinear-trapezoidal", beta=beta)])[0]) / a

    def cdf(x: np.ndarray) -> np.ndarray:
        flat = math.log((1 + beta) / (1 - beta)) / (2 * beta)
        upper = np.clip(x, 1 - beta, 1 + beta)
        # the integral of ln((1 + beta)/t)/(2 beta) from 1 - beta to x
        grown = upper * (np.log((1 + beta) / upper) + 1) - (1 - beta) * (
            math.log((1 + beta) / (1 - beta)) + 1
        )
        return np.minimum(x, 1 - beta) * flat + grown / (2 * beta)

    assert scipy.stats.kstest(sample, cdf).pvalue > 1e-3
    assert divisor("curvilinear-trapezoidal", 0.0) == pytest.approx(divisor("uniform"))


def test_a_finite_number_of_degrees_of_freedom_widens_to_t() -> None:
    sample = draw([Quantity("x", 1.0, 0.5, dof=5.0)])[0]
    assert scipy.stats.kstest((sample - 1.0) / 0.5, scipy.stats.t(5).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dist", sorted(set(DISTRIBUTIONS.values())))
def test_half_width_and_standard_uncertainty_belong_together(dist: str) -> None:
    quantity = Quantity("x", 0.0, 0.7, dist, beta=0.2 if dist == "trapezoidal" else 0.0)
    sample = draw([quantity])[0]
    assert float(np.std(sample)) == pytest.approx(0.7, rel=0.01)
    assert float(np.max(np.abs(sample))) <= quantity.half_width


def test_correlated_normals_have_their_correlation() -> None:
    quantities = [
        Quantity("a", 1.0, 2.0),
        Quantity("b", 0.0, 0.1),
        Quantity("c", 5.0, 1.0),
        Quantity("d", 0.0, 0.0),
    ]
    sample = draw(quantities, [("a", "b", -0.6), ("b", "c", 0.3)])
    r = np.corrcoef(sample[:3])
    assert r[0, 1] == pytest.approx(-0.6, abs=0.01)
    assert r[1, 2] == pytest.approx(0.3, abs=0.01)
    assert r[0, 2] == pytest.approx(0.0, abs=0.01)
    assert np.std(sample, axis=1) == pytest.approx([2.0, 0.1, 1.0, 0.0], rel=0.01)


def test_full_correlation_is_the_same_draw() -> None:
    sample = draw([Quantity("a", 0.0, 1.0), Quantity("b", 0.0, 2.0)], [("a", "b", 1.0)])
    assert sample[1] == pytest.approx(2.0 * sample[0])


def test_correlated_shapes_keep_their_marginals() -> None:
    quantities = [
        Quantity("a", 0.0, 1.0, "uniform"),
        Quantity("b", 0.0, 1.0, "arcsine"),
        Quantity("c", 0.0, 1.0, dof=3),
    ]
    sample = draw(quantities, [("a", "b", 0.7), ("b", "c", -0.4)])
    assert scipy.stats.kstest(sample[0], REFERENCE["uniform"].cdf).pvalue > 1e-3
    assert scipy.stats.kstest(sample[1], REFERENCE["arcsine"].cdf).pvalue > 1e-3
    # A Gaussian copula's rank correlation is 6/π·asin(r/2).
    rank = scipy.stats.spearmanr(sample[0], sample[1]).statistic
    assert rank == pytest.approx(6 / math.pi * math.asin(0.35), abs=0.01)
    assert scipy.stats.spearmanr(sample[0], sample[2]).statistic == pytest.approx(0.0, abs=0.01)


def test_parameters_of_one_fit_share_the_chi_square_of_their_t() -> None:
    quantities = [Quantity("a", 0.0, 1.0, dof=5), Quantity("b", 0.0, 1.0, dof=5)]
    a, b = draw(quantities, [("a", "b", 0.5)])
    combined = (a + b) / math.sqrt(3.0)
    assert scipy.stats.kstest(combined, scipy.stats.t(5).cdf).pvalue > 1e-3


def test_the_same_seed_gives_the_same_result() -> None:
    q = [Quantity("x", 0.0, 1.0)]
    one, two = (simulate(q, np.eye(1), lambda c: c, 1000, seed=s) for s in (7, 7))
    other = simulate(q, np.eye(1), lambda c: c, 1000, seed=8)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_intervals_of_a_skewed_output() -> None:
    sample = np.random.default_rng(1).exponential(1.0, 400_000)
    result = summarise(sample, 0.95)
    assert (result.lo, result.hi) == pytest.approx((-math.log(0.975), -math.log(0.025)), rel=0.02)
    assert result.short_lo == pytest.approx(0.0, abs=1e-3)
    assert result.short_hi == pytest.approx(-math.log(0.05), rel=0.01)
    inside = np.mean((sample >= result.short_lo) & (sample <= result.short_hi))
    assert inside == pytest.approx(0.95, abs=1e-4)
    assert result.short_hi - result.short_lo < result.hi - result.lo


@pytest.mark.parametrize(
    ("u", "ndig", "delta"),
    # JCGM 101 7.9.2 examples: 0.00035 and 2 digits -> 0.000005; 2 with 1 digit -> 0.5.
    [(0.00035, 2, 0.000005), (2.0, 1, 0.5), (0.996, 2, 0.05), (10.1, 2, 0.5), (0.0, 2, 0.0)],
)
def test_numerical_tolerance(u: float, ndig: int, delta: float) -> None:
    assert tolerance(u, ndig) == pytest.approx(delta, rel=1e-12)


def test_the_adaptive_procedure_stops_when_the_digits_are_stable() -> None:
    q = [Quantity("x", 5.0, 1.0), Quantity("y", 1.0, 0.5, "uniform")]
    samples, stable = simulate_adaptively(q, np.eye(2), lambda c: [c[0] + c[1]], 0.95, ndig=2, seed=3)
    result = summarise(samples[0], 0.95, stable)
    assert stable
    assert result.u == pytest.approx(math.sqrt(1.25), abs=0.01)
    finer, stable = simulate_adaptively(
        q, np.eye(2), lambda c: [c[0] + c[1]], 0.95, ndig=3, seed=3, max_trials=200_000
    )
    assert finer.shape[1] <= 200_000
    assert not stable  # three digits need more trials than were allowed, and it says so
    assert finer.shape[1] > samples.shape[1]


def test_validation_compares_end_points() -> None:
    sample = np.random.default_rng(2).standard_normal(1_000_000)
    assert validate(0.0, 1.95996, 1.0, summarise(sample, 0.95)).valid
    verdict = validate(0.0, 2.2, 1.0, summarise(sample, 0.95))
    assert not verdict.valid
    assert verdict.d_low == pytest.approx(0.24, abs=0.01)
    assert verdict.delta == 0.05


def test_trials_outside_the_domain_are_counted_and_refused() -> None:
    with pytest.raises(ValueError, match="of 1000 trials leave the model's domain"):
        simulate([Quantity("x", 0.1, 1.0)], np.eye(1), lambda c: [np.where(c[0] > 0, c[0], np.nan)], 1000)


def test_groups_follow_chains_of_correlation() -> None:
    matrix = correlation_matrix(list("abcde"), [("a", "c", 0.5), ("c", "e", 0.5)])
    assert correlated_groups(matrix) == [[0, 2, 4], [1], [3]]


def test_ensembles() -> None:
    nine, also, other = Quantity("a", 0, 1, dof=9), Quantity("b", 0, 1, dof=9), Quantity("c", 0, 1, dof=4)
    counted = Quantity("d", 0, 1, dof=9, common_dof=False)
    assert ensemble_dof([nine, also]) == 9
    assert ensemble_dof([nine, other]) is None
    assert ensemble_dof([nine, counted]) is None
    assert ensemble_dof([Quantity("a", 0, 1), Quantity("b", 0, 1)]) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": math.nan},
        {"u": -1.0},
        {"dof": 0.0},
        {"dist": "weibull"},
        {"beta": 2.0},
    ],
)
def test_impossible_quantities_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="x: "):
        Quantity(**{"name": "x", "value": 0.0, **wrong})
