"""Type A evaluation against GUM H.5, EN 14181's table and scipy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from calibration.coverage import chi_square_cdf, chi_square_quantile, f_tail
from calibration.type_a import anova, anova_of_summaries, evaluate, pooled, variability, variability_factor

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "metrology.json").read_text(encoding="utf-8"))[
    "vectors"
]
close = pytest.approx


def test_gum_h_5() -> None:
    (vector,) = (v for v in VECTORS if v["kind"] == "anova")
    means, deviations = (i["data"] for i in vector["inputs"])
    found = anova_of_summaries(means, [s * 1e-6 for s in deviations], 5)
    expected, tolerance = vector["expected"], vector["tolerance"]
    assert found.mean == close(expected["y"], abs=tolerance["y"])
    assert found.s_means * 1e6 == close(expected["s_means_uV"], abs=tolerance["s_means_uV"])
    assert found.s_within * 1e6 == close(expected["s_within_uV"], abs=tolerance["s_within_uV"])
    assert close(expected["F"], abs=tolerance["F"]) == found.F
    assert found.s_between * 1e6 == close(expected["sB_uV"], abs=tolerance["sB_uV"])
    assert found.u_mean * 1e6 == close(expected["u_mean_uV"], abs=tolerance["u_mean_uV"])
    assert 0.025 < found.p_value < 0.05  # H.5.2.2: significant at 5 %, not at 2.5 %
    assert found.dof == 9


def test_anova_agrees_with_scipy() -> None:
    series = np.random.default_rng(3).normal(10, 1, (6, 4)) + np.arange(6)[:, None] * 0.3
    found = anova(series.tolist())
    reference = scipy.stats.f_oneway(*series)
    assert close(reference.statistic, rel=1e-12) == found.F
    assert found.p_value == close(reference.pvalue, rel=1e-9)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["kind"] == "statistics"], ids=lambda v: v["id"])
def test_variability_factors_of_en_14181(vector: dict) -> None:
    found = variability_factor(vector["inputs"][0]["value"])
    assert found == close(vector["expected"]["kv"], abs=vector["tolerance"]["kv"])
    assert found == close(vector["recomputed"]["kv"], rel=1e-12)


def test_variability_and_annual_surveillance() -> None:
    differences = [1.0, -1.0, 2.0, 0.5, -0.5]
    s = float(np.std(differences, ddof=1))
    exactly = s / variability_factor(5)
    assert variability(differences, exactly * 1.0001).variability_passed
    assert not variability(differences, exactly * 0.9999).variability_passed
    assert variability(differences, exactly / 1.4, factor=1.5).variability_passed
    found = variability(differences, 1.0)
    assert found.mean_limit == close(scipy.stats.t.ppf(0.95, 4) * s / math.sqrt(5) + 1.0)
    assert found.calibration_valid
    assert not variability([d + 20.0 for d in differences], 1.0).calibration_valid


@pytest.mark.parametrize("dof", [1, 2, 4.5, 30, 400])
def test_chi_square_and_f_agree_with_scipy(dof: float) -> None:
    for p in (1e-6, 0.01, 0.5, 0.95, 0.9999):
        x = float(scipy.stats.chi2.ppf(p, dof))
        assert chi_square_quantile(p, dof) == close(x, rel=1e-10)
        assert chi_square_cdf(x, dof) == close(p, rel=1e-10)
        assert f_tail(1.0 + p, dof, 7.0) == close(float(scipy.stats.f.sf(1.0 + p, dof, 7.0)), rel=1e-10)
    assert chi_square_cdf(-1.0, dof) == 0.0
    assert f_tail(0.0, dof, 3.0) == 1.0


def test_repeated_observations() -> None:
    found = evaluate([5.007, 4.994, 5.005, 4.99, 4.999])
    assert (found.mean, found.u, found.dof) == (close(4.999), close(0.0032093613071761794, rel=1e-9), 4)
    assert pooled([(1.0, 4), (2.0, 4)]) == (close(math.sqrt(2.5)), 8)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: evaluate([1.0]),
        lambda: pooled([]),
        lambda: anova([[1.0, 2.0]]),
        lambda: anova([[1.0, 2.0], [1.0]]),
        lambda: anova([[1.0, 1.0], [2.0, 2.0]]),
        lambda: variability_factor(1),
        lambda: variability([1.0, 2.0], 0.0),
    ],
)
def test_too_little_is_refused(wrong) -> None:
    with pytest.raises(ValueError):
        wrong()
