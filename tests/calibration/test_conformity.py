"""Conformity: published risks, the same integrals by scipy, and the bounds that every rule must keep."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, stats

from calibration.certificate import CalibrationPoint, Instrument, InstrumentKind
from calibration.conformity import (
    GUARD_BAND,
    GUARD_BAND_BINARY,
    ONE_THIRD,
    RULES,
    SIMPLE,
    Decision,
    DecisionRule,
    acceptance_limits,
    decide,
    global_risk,
    guard_for_risk,
    judge,
    limits,
    probability_of_conformity,
    spread_for_reliability,
)

Make = Callable[..., Any]
D = Decimal
VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "metrology.json").read_text("utf-8"))[
    "vectors"
]


def vector(name: str) -> tuple[dict[str, Any], dict[str, float], dict[str, float]]:
    (found,) = [v for v in VECTORS if v["id"] == name]
    return {i["name"]: i for i in found["inputs"]}, found["recomputed"], found["tolerance"]


class TestPublished:
    def test_jcgm_106_zener(self) -> None:
        inputs, expected, _ = vector("jcgm106-zener")
        p = probability_of_conformity(inputs["y"]["value"], inputs["y"]["u"], upper=inputs["TU"]["value"])
        assert p == pytest.approx(expected["p_conform"], abs=1e-12)

    def test_ilac_g8_guard_bands(self) -> None:
        inputs, expected, _ = vector("ilac-g8-guardband-binary")
        for factor, key in (("g_over_u", "p2"), ("g_over_u_b", "p1645")):
            g = inputs[factor]["value"]
            rule = DecisionRule("test", guard=g / 2)
            verdict = decide(1 - g * 0.01, u=0.01, k=2, upper=1.0, rule=rule)
            assert verdict.decision is Decision.PASS
            assert verdict.risk == pytest.approx(expected[key], abs=1e-9)
            assert guard_for_risk(expected[key]) == pytest.approx(g, abs=1e-9)

    @pytest.mark.parametrize("name", [v["id"] for v in VECTORS if v["id"].startswith("rp19-pfa")])
    def test_rp_19_false_accepts(self, name: str) -> None:
        inputs, expected, tolerance = vector(name)
        spread = spread_for_reliability(inputs["itp"]["value"], 1.0)
        risk = global_risk(spread=spread, u=spread / inputs["sigma_ratio"]["value"], lower=-1, upper=1)
        assert 100 * risk.consumer == pytest.approx(expected["pfa_pct"], abs=tolerance["pfa_pct"] / 100)
        assert 100 * risk.out_among_accepted == pytest.approx(
            expected["cpfa_pct"], abs=tolerance["cpfa_pct"] / 100
        )
        assert risk.conforming == pytest.approx(inputs["itp"]["value"], abs=1e-12)


numbers = st.floats(-3, 3)
widths = st.floats(0.01, 2)


@given(numbers, widths, st.floats(0.05, 2), st.sampled_from([math.inf, 3.0, 11.0]))
def test_probability_of_conformity_is_that_of_scipy(error: float, u: float, half: float, dof: float) -> None:
    theirs = stats.norm if math.isinf(dof) else stats.t(dof)
    expected = theirs.cdf((half - error) / u) - theirs.cdf((-half - error) / u)
    ours = probability_of_conformity(error, u, lower=-half, upper=half, dof=dof)
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("mean", "spread", "u", "low", "high"),
    [
        (0.0, 0.6, 0.15, -1, 1),
        (0.3, 1.0, 0.4, -0.8, 0.8),
        (-0.5, 0.3, 0.01, -0.9, 1.1),
        (0.0, 0.02, 0.3, -0.7, 0.7),
    ],
)
def test_global_risks_are_those_of_scipy(
    mean: float, spread: float, u: float, low: float, high: float
) -> None:
    prior = stats.norm(mean, spread)

    def taken(x: float) -> float:
        return float(stats.norm.cdf((high - x) / u) - stats.norm.cdf((low - x) / u))

    def integral(f: Callable[[float], float], a: float, b: float) -> float:
        cuts = sorted({a, b, *(c for c in (low, high, mean, mean - spread, mean + spread) if a < c < b)})
        return sum(integrate.quad(f, s, t, epsabs=1e-13, limit=200)[0] for s, t in pairwise(cuts))

    risk = global_risk(mean=mean, spread=spread, u=u, lower=-1, upper=1, accept_low=low, accept_high=high)
    far = 10 * spread + 3
    consumer = integral(lambda x: prior.pdf(x) * taken(x), -far, -1) + integral(
        lambda x: prior.pdf(x) * taken(x), 1, far
    )
    producer = integral(lambda x: prior.pdf(x) * (1 - taken(x)), -1, 1)
    assert risk.consumer == pytest.approx(consumer, abs=1e-9)
    assert risk.producer == pytest.approx(producer, abs=1e-9)


def test_a_perfect_measurement_carries_no_risk() -> None:
    risk = global_risk(spread=0.5, u=0, lower=-1, upper=1)
    assert (risk.consumer, risk.producer) == pytest.approx((0, 0), abs=1e-12)
    assert risk.accepted == pytest.approx(risk.conforming, abs=1e-9)


@given(st.floats(0.2, 2), st.floats(0.02, 0.4), st.floats(0, 0.8))
def test_a_guard_band_moves_risk_from_consumer_to_producer(spread: float, u: float, band: float) -> None:
    free = global_risk(spread=spread, u=u, lower=-1, upper=1)
    low, high = acceptance_limits(-1, 1, band)
    guarded = global_risk(spread=spread, u=u, lower=-1, upper=1, accept_low=low, accept_high=high)
    assert guarded.consumer <= free.consumer + 1e-12
    assert guarded.producer >= free.producer - 1e-12
    balance = guarded.accepted + guarded.producer - guarded.consumer
    assert balance == pytest.approx(
        guarded.conforming, abs=1e-9
    )  # accepted = conforming - producer + consumer


@given(st.floats(-2, 2), st.floats(0.01, 0.24), st.sampled_from(sorted(RULES)))
def test_what_a_guard_band_of_U_passes_is_out_with_at_most_2_3_percent(
    error: float, u: float, name: str
) -> None:
    verdict = decide(error, u=u, k=2, lower=-1, upper=1, rule=RULES[name])
    mirrored = decide(-error, u=u, k=2, lower=-1, upper=1, rule=RULES[name])
    assert verdict.decision is mirrored.decision
    if verdict.decision is Decision.PASS and verdict.guard_band > 0:
        assert verdict.risk <= 0.0229
    if verdict.passed:
        assert verdict.probability >= 0.47
    assert verdict.rule.name


@pytest.mark.parametrize(
    ("error", "rule", "decision"),
    [
        (0.49, SIMPLE, Decision.PASS),
        (0.51, SIMPLE, Decision.FAIL),
        (0.40, GUARD_BAND_BINARY, Decision.PASS),
        (0.41, GUARD_BAND_BINARY, Decision.FAIL),
        (-0.40, GUARD_BAND, Decision.PASS),
        (-0.41, GUARD_BAND, Decision.CONDITIONAL_PASS),
        (-0.51, GUARD_BAND, Decision.CONDITIONAL_FAIL),
        (-0.61, GUARD_BAND, Decision.FAIL),
        (0.49, ONE_THIRD, Decision.PASS),
        (0.51, ONE_THIRD, Decision.FAIL),
    ],
)
def test_decisions_at_the_limits(error: float, rule: DecisionRule, decision: Decision) -> None:
    """MPE 0.5, U = 0.1 (k = 2): the acceptance limit with guard band is 0.4, and U < MPE/3."""
    assert decide(error, u=0.05, k=2, lower=-0.5, upper=0.5, rule=rule).decision is decision


def test_an_uncertainty_above_a_third_is_not_left_aside() -> None:
    assert (
        decide(0.49, u=0.1, k=2, lower=-0.5, upper=0.5, rule=ONE_THIRD).decision is Decision.CONDITIONAL_PASS
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"u": 0.0}, "uncertainty must be positive"),
        ({"u": math.nan}, "uncertainty must be positive"),
        ({"k": 0.0}, "coverage factor"),
        ({"lower": 1.0}, "lower below the upper"),
        ({"lower": -math.inf, "upper": math.inf}, "give one or both"),
        ({"u": 0.6, "rule": GUARD_BAND}, "too large"),
    ],
)
def test_what_cannot_be_judged_is_refused(changes: dict[str, Any], said: str) -> None:
    arguments = {"u": 0.05, "k": 2.0, "lower": -0.5, "upper": 0.5} | changes
    with pytest.raises(ValueError, match=said):
        decide(0.1, **arguments)


@given(st.floats(0.01, 0.99), st.floats(0.1, 9))
def test_spread_and_reliability_are_inverse(share: float, limit: float) -> None:
    spread = spread_for_reliability(share, limit)
    assume(spread > 1e-6)
    assert probability_of_conformity(0, spread, lower=-limit, upper=limit) == pytest.approx(share, abs=1e-9)


class TestCertificatePoints:
    def test_points_are_judged_against_the_class_at_their_load(self, a_point: Make) -> None:
        meter = Instrument("M1", accuracy_class="0.5S", rated_current=D("1.5"), maximum_current=D(6))
        points = (
            a_point("0.03", error=D("0.9")),  # 0.02 In: MPE 1.0
            a_point("1.5", error=D("0.9")),  # In: MPE 0.5
            a_point("1.5", error=D("0.55"), power_factor=D("0.5")),  # MPE 0.6
            a_point("0.001"),  # below the class's range
            a_point("1.5", quantity="voltage"),
        )
        judged = judge(points, limits(meter))
        assert [verdict.limit for verdict in judged] == [D("1.0"), D("0.5"), D("0.6"), None, None]
        decisions = [verdict.verdict.decision if verdict.verdict else None for verdict in judged]
        assert decisions == [Decision.PASS, Decision.FAIL, Decision.PASS, None, None]

    def test_a_stated_mpe_goes_before_the_class(self, a_point: Make, a_certificate: Make) -> None:
        meter = Instrument("M1", accuracy_class="0.5S", mpe=D("0.7"), rated_current=D("1.5"))
        assert limits(meter)(a_point("1.5")) == D("0.7")
        assert limits(meter, a_certificate(mpe=D("0.3")))(a_point("1.5")) == D("0.3")
        assert limits(meter)(a_point("1.5", unit="A")) is None

    def test_transformer_limits_are_linear_between_rows(self) -> None:
        ct = Instrument("CT", InstrumentKind.CT, accuracy_class="0.2S", rated_current=D(5), ratio=D(4000))
        limit = limits(ct)

        def at(load: str) -> Decimal | None:
            return limit(CalibrationPoint("ratio", D(load), "A", D("0.1"), D("0.02"), D(2)))

        one, twenty, hundred = at("0.05"), at("1"), at("5")
        assert one is not None
        assert twenty is not None
        assert hundred is not None
        assert one > twenty >= hundred
        between = at("3")
        assert between is not None
        assert hundred <= between <= twenty
        assert at("0.0001") is None
        assert limit(CalibrationPoint("phase", D(5), "A", D(3), D(1), D(2), "min")) is not None
        assert limit(CalibrationPoint("phase", D(5), "A", D(3), D(1), D(2), "%")) is None

    def test_an_uncertainty_too_large_to_judge_is_never_a_pass(self, a_point: Make) -> None:
        meter = Instrument("M1", mpe=D("0.5"))
        (judged,) = judge([a_point(error=D("0.1"), U=D("0.8"))], limits(meter), GUARD_BAND_BINARY)
        assert judged.verdict is not None
        assert judged.verdict.decision is Decision.FAIL
        (judged,) = judge([a_point(error=D("0.1"), U=D("0.8"))], limits(meter), GUARD_BAND)
        assert judged.verdict is not None
        assert judged.verdict.decision is Decision.CONDITIONAL_PASS
