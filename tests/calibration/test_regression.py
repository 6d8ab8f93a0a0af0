"""Straight lines against ISO/TS 28037, QUAM A5, GUM H.3, GTC and brute force."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import GTC
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.regression import fit_line
from calibration.uncertainty import Uncertain, correlation

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "metrology.json").read_text(encoding="utf-8"))
BY_ID = {v["id"]: v for v in VECTORS["vectors"]}
close = pytest.approx


def within(vector: dict[str, Any], found: dict[str, float], reference: str = "expected") -> None:
    for key, tolerance in vector["tolerance"].items():
        assert found[key] == close(vector[reference][key], abs=tolerance), key


@pytest.mark.parametrize(("name", "u0"), [("iso28037-wls1", 0.5), ("iso28037-wls2", 1.0)])
def test_weighted_lines_of_iso_28037(name: str, u0: float) -> None:
    vector = BY_ID[name]
    x, y = vector["inputs"]
    line = fit_line(x["data"], y["data"], y["u"])
    x0 = line.solve(Uncertain.random(10.5, u0), "line")
    found = {"a": line.a, "ua": line.ua, "b": line.b, "ub": line.ub, "cov": line.cov, "chi2": line.chi2}
    within(vector, {**found, "x0": x0.y, "u_x0": x0.u})
    assert line.dof == math.inf


def test_generalised_distance_regression_gives_the_published_figures() -> None:
    vector = BY_ID["iso28037-gdr"]
    x, y = vector["inputs"]
    line = fit_line(x["data"], y["data"], y["u"], x["u"])
    expected = vector["expected"]
    # All printed digits of ISO/TS 28037, not only the wide tolerance.
    assert (line.a, line.ua, line.b, line.ub) == close((0.5788, 0.4764, 2.1597, 0.1355), abs=5.1e-5)
    assert line.cov == close(expected["cov"], abs=5e-5)
    assert line.chi2 == close(expected["chi2"], abs=5e-4)


def test_calibration_curve_of_quam_a5() -> None:
    vector = BY_ID["eurachem-A5-calibration-curve"]
    c, absorbance, observed = (i["data"] for i in vector["inputs"])
    line = fit_line(c, absorbance)
    c0 = line.solve(line.observed(observed), "AAS")
    found = {"B0": line.a, "uB0": line.ua, "B1": line.b, "uB1": line.ub, "r": line.correlation}
    within(vector, {**found, "c0": c0.y, "u_c0": c0.u})
    assert line.dof == vector["recomputed"]["dof"]
    assert c0.u == close(vector["recomputed"]["u_c0"], rel=1e-9)


def test_prediction_of_gum_h_3() -> None:
    # Table H.6: thermometer readings and corrections.
    t = [21.521, 22.012, 22.512, 23.003, 23.507, 23.999, 24.513, 25.002, 25.503, 26.010, 26.511]
    c = [-0.171, -0.169, -0.166, -0.159, -0.164, -0.165, -0.156, -0.157, -0.159, -0.161, -0.160]
    line = fit_line(np.array(t) - 20.0, c)
    assert (line.a, line.b) == close((-0.1712, 0.00218), abs=5e-5)
    assert (line.ua, line.ub) == close((0.0029, 0.00067), abs=5e-5)
    assert line.correlation == close(-0.930, abs=5e-4)
    assert line.s == close(0.0035, abs=5e-5)
    at_30 = line.at(10.0, "thermometer")
    assert at_30.y == close(-0.1494, abs=5e-5)
    assert at_30.u == close(0.0041, abs=5e-5)
    _, _, sources = line.parameters("thermometer")
    assert at_30.effective_dof({s.id: s for s in sources}) == close(9.0)


def test_predictions_of_one_line_are_correlated_and_those_of_two_are_not() -> None:
    line = fit_line([1, 2, 3, 4, 5], [1.1, 1.9, 3.2, 3.9, 5.1])
    assert correlation(line.at(4.0, "A"), line.at(5.0, "A")) > 0.9
    assert correlation(line.at(4.0, "A"), line.at(5.0, "B")) == 0.0
    assert line.at(2.0, "A", "2025").contributions.keys() != line.at(2.0, "A", "2026").contributions.keys()


points = st.lists(
    st.tuples(st.floats(-10, 10), st.floats(-10, 10), st.floats(0.1, 2.0), st.floats(0.0, 0.3)),
    min_size=4,
    max_size=12,
    unique_by=lambda p: round(p[0], 1),
)


@settings(max_examples=60, deadline=None)
@given(points)
def test_lines_agree_with_gtc(rows: list[tuple[float, float, float, float]]) -> None:
    x, y, u, _ = (list(column) for column in zip(*rows, strict=True))
    ours = fit_line(x, y, u)
    theirs = GTC.type_a.line_fit_wls(x, y, u)
    assert (ours.a, ours.b) == close(
        (GTC.value(theirs.intercept), GTC.value(theirs.slope)), rel=1e-9, abs=1e-9
    )
    assert ours.ua == close(GTC.uncertainty(theirs.intercept), rel=1e-9)
    assert ours.ub == close(GTC.uncertainty(theirs.slope), rel=1e-9)
    plain = fit_line(x, y)
    theirs = GTC.type_a.line_fit(x, y)
    assert (plain.a, plain.b) == close(
        (GTC.value(theirs.intercept), GTC.value(theirs.slope)), rel=1e-9, abs=1e-9
    )
    assert plain.ub == close(GTC.uncertainty(theirs.slope), rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(points, st.floats(-2, 2), st.floats(-5, 5))
def test_distance_regression_finds_the_least_distance(
    rows: list[tuple[float, float, float, float]], b: float, a: float
) -> None:
    x, noise, u, ux = (np.array(column) for column in zip(*rows, strict=True))
    y = a + b * x + 0.05 * noise
    line = fit_line(x, y, u, ux)

    def distance(p: np.ndarray) -> float:
        return float(np.sum((y - p[0] - p[1] * x) ** 2 / (u**2 + p[1] ** 2 * ux**2)))

    best = scipy.optimize.minimize(distance, [line.a, line.b], method="Nelder-Mead", options={"xatol": 1e-9})
    assert line.chi2 == close(distance(np.array([line.a, line.b])), rel=1e-9, abs=1e-12)
    assert line.chi2 <= best.fun * (1 + 1e-9) + 1e-9


def test_a_common_offset_in_y_moves_the_intercept_alone() -> None:
    x, y = np.arange(1.0, 7.0), np.array([3.3, 5.6, 7.1, 9.3, 10.7, 12.1])
    independent = fit_line(x, y, np.full(6, 0.5))
    shared = fit_line(x, y, np.eye(6) * 0.25 + 0.3**2)
    assert (shared.a, shared.b) == close((independent.a, independent.b))
    assert shared.ub == close(independent.ub)
    assert shared.ua == close(math.hypot(independent.ua, 0.3))


def test_errors_common_to_both_axes_may_cancel() -> None:
    # x and y carry the same error e in both coordinates; on the line y = x it moves points along the line only.
    x = np.arange(1.0, 7.0)
    common = np.eye(6) * 0.04
    own = np.eye(6) * 0.01
    with_covariance = fit_line(x, x + 0.1 * (-1) ** np.arange(6), common + own, common, common)
    without = fit_line(x, x + 0.1 * (-1) ** np.arange(6), own)
    assert with_covariance.ub == close(without.ub, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2]), "too few"),
        (([1, 2, 3], [1, 2]), "one length"),
        (([1, 1, 1], [1, 2, 3]), "no slope"),
        (([1, 2, math.nan], [1, 2, 3]), "not finite"),
        (([1, 2, 3], [1, 2, 3], [1, 1, -1]), "negative"),
        (([1, 2, 3], [1, 2, 3], [1, 1]), "covariance matrix"),
        (([1, 2, 3], [1, 2, 3], [1, 0, 1]), "exact"),
        (([1, 2, 3], [1, 2, 3], None, [1, 1, 1]), "need the uncertainties in y"),
        (([1, 2, 3], [1, 2, 3], [1, 1, 1], [1, 1, 1], np.eye(3) * 2), "semi-definite"),
        (([1, 2, 3], [1, 2, 3], [1, 1, 1], None, np.eye(2)), "shape"),
    ],
)
def test_what_defines_no_line_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_line(*arguments)


def test_a_fit_with_known_uncertainties_does_not_tell_the_scatter() -> None:
    line = fit_line([1, 2, 3], [1, 2, 3], [0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match="own u"):
        line.observed([1.0])
    with pytest.raises(ValueError, match="at least one"):
        line.observed([])
