"""Statements of conformity: decision rules with guard bands, and the risks that they carry.

JCGM 106:2012 and ILAC-G8:09/2019. An error of indication e with standard uncertainty u stands against tolerance
limits (the MPE, both signs). The *probability of conformity* is the probability that the true error lies within them;
acceptance limits lie inside the tolerance limits by a guard band w = r·U. ISO/IEC 17025 7.8.6 wants the rule stated:
a ``Verdict`` carries it. Risks are *specific* (of this one item, given its result) or *global* (of all items that are
judged so, given how their errors are spread), for the consumer (accepted, yet out) and the producer (rejected, yet in).

>>> verdict = decide(0.42, u=0.05, k=2, upper=0.5, rule=GUARD_BAND)
>>> verdict.decision.value, round(verdict.probability, 3)
('conditional pass', 0.945)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from itertools import pairwise

import numpy as np

from calibration.accuracy import AccuracyClasses, MeterClass, TransformerClass
from calibration.certificate import CalibrationPoint, Certificate, Instrument, InstrumentKind
from calibration.coverage import normal_cdf, normal_quantile, t_cdf


class Decision(StrEnum):
    """ILAC-G8 4.2.3: with a guard band there are four answers, without one two."""

    PASS = "pass"  # noqa: S105 - a word of ILAC-G8
    CONDITIONAL_PASS = "conditional pass"  # noqa: S105 - inside, but not by the guard band
    CONDITIONAL_FAIL = "conditional fail"  # outside the limit, but not by the guard band
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How a measured error is judged.

    ``guard``: the guard band as a multiple r of the expanded uncertainty, w = r·U; negative widens (rejection only if
    surely out). ``binary``: answer pass or fail only (ILAC-G8 4.2.2), else with the two conditional answers.
    ``negligible``: where U is at most this fraction of the MPE, U is left aside and w = 0 (JJF 1094-2002 5.3.1.4: 1/3).
    ``name`` goes into the certificate's statement.
    """

    name: str
    guard: float = 0.0
    binary: bool = True
    negligible: float = 0.0


SIMPLE = DecisionRule("simple acceptance (w = 0), ILAC-G8:09/2019 4.2.1")
GUARD_BAND_BINARY = DecisionRule("guard band w = U, pass or fail, ILAC-G8:09/2019 4.2.2", guard=1.0)
GUARD_BAND = DecisionRule(
    "guard band w = U, with conditional results, ILAC-G8:09/2019 4.2.3", guard=1.0, binary=False
)
ONE_THIRD = DecisionRule(
    "U at most MPE/3 left aside, else guard band w = U, JJF 1094-2002",
    guard=1.0,
    binary=False,
    negligible=1 / 3,
)
RULES = {
    "simple": SIMPLE,
    "guard-band-binary": GUARD_BAND_BINARY,
    "guard-band": GUARD_BAND,
    "one-third": ONE_THIRD,
}
"""Rules by the names that a certificate's ``decision_rule`` and the command line use."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged result: the decision, the rule, the acceptance limits and the risk of this one decision.

    ``risk`` is the specific risk: that the item is out although passed (consumer's), or in although failed
    (producer's). All values are in the unit of the error.
    """

    decision: Decision
    rule: DecisionRule
    probability: float
    risk: float
    accept_low: float
    accept_high: float
    guard_band: float

    @property
    def passed(self) -> bool:
        """Pass or conditional pass."""
        return self.decision in {Decision.PASS, Decision.CONDITIONAL_PASS}


@dataclass(frozen=True, slots=True)
class GlobalRisk:
    """Risks over all items judged by the same acceptance limits (JCGM 106 9.5), as probabilities.

    ``consumer``: out of tolerance and accepted; ``producer``: in tolerance and rejected; ``accepted``: accepted at all;
    ``conforming``: in tolerance at all.
    """

    consumer: float
    producer: float
    accepted: float
    conforming: float

    @property
    def out_among_accepted(self) -> float:
        """Of the accepted items, the share that is out: the conditional probability of false accept."""
        return self.consumer / self.accepted if self.accepted > 0 else 0.0

    @property
    def in_among_rejected(self) -> float:
        """Of the rejected items, the share that is in."""
        return self.producer / (1.0 - self.accepted) if self.accepted < 1 else 0.0


def probability_of_conformity(
    error: float,
    u: float,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    dof: float = math.inf,
) -> float:
    """The probability that the true error lies in [lower, upper] (JCGM 106 7.3, 7.5), by normal or t distribution.

    Raises:
        ValueError: u not positive, limits in the wrong order or both missing.
    """
    _check(u, lower, upper)
    cdf = normal_cdf if math.isinf(dof) else lambda t: t_cdf(t, dof)
    low, high = (lower - error) / u, (upper - error) / u
    if low > 0:  # the far tail, without cancellation
        return _at(cdf, -low) - _at(cdf, -high)
    return _at(cdf, high) - _at(cdf, low)


def acceptance_limits(lower: float, upper: float, guard_band: float) -> tuple[float, float]:
    """Tolerance limits moved inward by the guard band (JCGM 106 8.3.2).

    Raises:
        ValueError: nothing is left between them: the uncertainty is too large for this rule.
    """
    low, high = lower + guard_band, upper - guard_band
    if low > high:
        raise ValueError(
            f"the guard band {guard_band:g} leaves no acceptance interval within {lower:g} … {upper:g}: "
            "the uncertainty is too large for this limit"
        )
    return low, high


def guard_for_risk(risk: float) -> float:
    """The guard band in units of u that keeps the specific consumer's risk at a single limit to at most ``risk``.

    2.275 % gives 2 (w = U at k = 2), 5 % gives 1.645.
    """
    return -normal_quantile(risk)


def decide(
    error: float,
    *,
    u: float,
    k: float = 2.0,
    lower: float = -math.inf,
    upper: float = math.inf,
    rule: DecisionRule = SIMPLE,
    dof: float = math.inf,
) -> Verdict:
    """Judge an error of indication against tolerance limits by a rule; U = k·u.

    Raises:
        ValueError: u or k not positive, limits missing or reversed, or a guard band that leaves no acceptance interval.
    """
    _check(u, lower, upper)
    if not k > 0:
        raise ValueError(f"the coverage factor must be positive, got {k:g}")
    expanded = k * u
    half_width = min(abs(lower), abs(upper)) if math.isinf(upper - lower) else (upper - lower) / 2
    band = 0.0 if expanded <= rule.negligible * half_width else rule.guard * expanded
    low, high = acceptance_limits(lower, upper, band)
    probability = probability_of_conformity(error, u, lower=lower, upper=upper, dof=dof)
    if low <= error <= high:
        decision = Decision.PASS
    elif rule.binary or band <= 0:
        decision = Decision.FAIL
    elif lower <= error <= upper:
        decision = Decision.CONDITIONAL_PASS
    elif lower - band <= error <= upper + band:
        decision = Decision.CONDITIONAL_FAIL
    else:
        decision = Decision.FAIL
    passed = decision in {Decision.PASS, Decision.CONDITIONAL_PASS}
    return Verdict(decision, rule, probability, 1.0 - probability if passed else probability, low, high, band)


def global_risk(
    *,
    spread: float,
    u: float,
    lower: float,
    upper: float,
    accept_low: float | None = None,
    accept_high: float | None = None,
    mean: float = 0.0,
) -> GlobalRisk:
    """Risks over items whose true errors are spread normally (``mean``, ``spread``), measured with u (JCGM 106 9.5.3).

    Args:
        spread: standard deviation of the true errors of such items (the prior), > 0.
        u: standard uncertainty of the measurement, >= 0.
        lower: lower tolerance limit, finite.
        upper: upper tolerance limit, finite.
        accept_low: lower acceptance limit; the tolerance limit if not given.
        accept_high: upper acceptance limit; the tolerance limit if not given.
        mean: mean true error of such items.

    Raises:
        ValueError: spread not positive, u negative, limits reversed or infinite.
    """
    low = lower if accept_low is None else accept_low
    high = upper if accept_high is None else accept_high
    if not spread > 0 or not u >= 0:
        raise ValueError("the spread must be positive and the uncertainty not negative")
    if not (math.isfinite(lower) and math.isfinite(upper)) or lower >= upper or low > high:
        raise ValueError("the limits must be finite, each lower one below its upper one")
    reach = 12.0 * spread
    edges = sorted({mean - reach, lower, upper, mean + reach, *_steps(low, u), *_steps(high, u)})
    edges = [edge for edge in edges if mean - reach <= edge <= mean + reach]
    consumer = producer = accepted = 0.0
    for a, b in pairwise(edges):
        chance, taken = _panel(a, b, mean, spread, u, low, high)
        accepted += taken
        if lower <= (a + b) / 2 <= upper:
            producer += chance - taken
        else:
            consumer += taken
    conforming = normal_cdf((upper - mean) / spread) - normal_cdf((lower - mean) / spread)
    return GlobalRisk(consumer, max(0.0, producer), min(1.0, accepted), conforming)


def spread_for_reliability(in_tolerance: float, limit: float) -> float:
    """The spread of centred true errors of which the share ``in_tolerance`` lies within ±limit.

    Raises:
        ValueError: the share is not between 0 and 1, or the limit not positive.
    """
    if not limit > 0:
        raise ValueError(f"the limit must be positive, got {limit:g}")
    return limit / normal_quantile((1.0 + in_tolerance) / 2.0)


@dataclass(frozen=True, slots=True)
class PointVerdict:
    """A point of a certificate, judged: ``limit`` is the MPE (±) in the point's unit; None where none is known."""

    point: CalibrationPoint
    limit: Decimal | None
    verdict: Verdict | None


def judge(
    points: Iterable[CalibrationPoint],
    limit: Callable[[CalibrationPoint], Decimal | None],
    rule: DecisionRule = SIMPLE,
) -> tuple[PointVerdict, ...]:
    """Judge each point of a certificate (as found or as left) against its MPE.

    Where the uncertainty leaves no acceptance interval the verdict is a fail: conformity can't be shown.
    """
    made = []
    for point in points:
        mpe = limit(point)
        made.append(PointVerdict(point, mpe, None if mpe is None else _judged(point, mpe, rule)))
    return tuple(made)


def limits(
    instrument: Instrument, certificate: Certificate | None = None, classes: AccuracyClasses | None = None
) -> Callable[[CalibrationPoint], Decimal | None]:
    """The MPE of a point: what the certificate states, else what the instrument states, else by accuracy class.

    None for a point whose unit is not the MPE's, or that no class speaks of.
    """
    table = AccuracyClasses.default() if classes is None else classes
    stated = [(source.mpe, source.mpe_unit) for source in (certificate, instrument) if source is not None]
    name = (certificate.accuracy_class if certificate is not None else "") or instrument.accuracy_class

    def limit(point: CalibrationPoint) -> Decimal | None:
        for mpe, unit in stated:
            if mpe is not None:
                return mpe if unit == point.unit else None
        if not name:
            return None
        if instrument.kind in {InstrumentKind.CT, InstrumentKind.PT}:
            transformer = table.transformer(name, instrument.kind.value)
            return None if transformer is None else _transformer_limit(transformer, instrument, point)
        meter = table.meter(name, point.quantity)
        return None if meter is None else _meter_limit(meter, instrument, point)

    return limit


def _judged(point: CalibrationPoint, mpe: Decimal, rule: DecisionRule) -> Verdict:
    error, u, k, edge = float(point.error), float(point.U / point.k), float(point.k), float(mpe)
    dof = math.inf if point.dof is None else float(point.dof)
    try:
        return decide(error, u=u, k=k, lower=-edge, upper=edge, rule=rule, dof=dof)
    except ValueError:
        probability = probability_of_conformity(error, u, lower=-edge, upper=edge, dof=dof)
        band = rule.guard * k * u
        inside = not rule.binary and abs(error) <= edge
        decision = Decision.CONDITIONAL_PASS if inside else Decision.FAIL
        risk = 1.0 - probability if inside else probability
        return Verdict(decision, rule, probability, risk, math.nan, math.nan, band)


def _meter_limit(meter: MeterClass, instrument: Instrument, point: CalibrationPoint) -> Decimal | None:
    if point.unit != "%" or point.load_unit != "A" or not instrument.rated_current:
        return None
    part = point.load / instrument.rated_current
    row = next((row for row in reversed(meter.rows) if row.low <= part), None)
    if row is None:
        return None
    return row.unity if abs(point.power_factor) == 1 else row.other


def _transformer_limit(
    table: TransformerClass, instrument: Instrument, point: CalibrationPoint
) -> Decimal | None:
    kinds = {"ratio": "%", "phase": "min"}
    if kinds.get(point.quantity) != point.unit:
        return None
    if point.load_unit == "%":
        part = point.load / 100
    else:
        rated = instrument.rated_current if instrument.kind is InstrumentKind.CT else instrument.rated_voltage
        if rated is None:
            return None
        part = point.load / rated
    rows = table.rows
    if part < rows[0].low:
        return None
    values = [row.ratio if point.quantity == "ratio" else row.phase for row in rows]
    for (a, b), (start, end) in zip(pairwise(rows), pairwise(values), strict=True):
        if part <= b.low:
            return start + (end - start) * (part - a.low) / (b.low - a.low)
    return values[-1]


def _at(cdf: Callable[[float], float], z: float) -> float:
    return float(z > 0) if math.isinf(z) else cdf(z)


def _check(u: float, lower: float, upper: float) -> None:
    if not u > 0:
        raise ValueError(f"the standard uncertainty must be positive, got {u:g}")
    if not lower < upper or (math.isinf(lower) and math.isinf(upper)):
        raise ValueError(
            f"tolerance limits {lower:g} … {upper:g}: give one or both, the lower below the upper"
        )


def _steps(limit: float, u: float) -> list[float]:
    """Edges of panels where the acceptance probability climbs: it is smooth between them at any u."""
    return [limit + z * u for z in (-9.0, -6.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 6.0, 9.0)]


def _panel(
    a: float, b: float, mean: float, spread: float, u: float, low: float, high: float
) -> tuple[float, float]:
    """Of items with a true error in [a, b]: their share of all, and the share of all that is them and accepted."""
    nodes, weights = _nodes()
    x = (a + b) / 2 + (b - a) / 2 * nodes
    density = np.exp(-0.5 * ((x - mean) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    if u == 0:
        taken = ((x >= low) & (x <= high)).astype(float)
    else:
        taken = np.array([normal_cdf((high - t) / u) - normal_cdf((low - t) / u) for t in x])
    scaled = weights * density * (b - a) / 2
    return float(scaled.sum()), float((scaled * taken).sum())


@cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(48)
    return nodes, weights
