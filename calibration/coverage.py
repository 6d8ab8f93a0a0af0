"""Coverage factors and the way a result is written down.

Quantiles of the normal and of Student's t distribution without scipy, the choice of the coverage factor k
(包含因子), and rounding for reports. Nothing here changes what is stored: rounding produces text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from statistics import NormalDist

_NORMAL = NormalDist()
_EXACT = Context(prec=400)
_SERIES_FROM = 1000.0  # dof above which the expansion about the normal quantile is exact to 1e-12


@dataclass(frozen=True, slots=True)
class Expanded:
    """Coverage factor, expanded uncertainty and effective degrees of freedom (``inf``: known exactly)."""

    k: float
    U: float
    dof: float


@dataclass(frozen=True, slots=True)
class CoverageRule:
    """Which coverage factor is chosen; the defaults follow GUM G.4, G.6.4 and EA-4/02 M:2022 S9 to S11.

    ``fixed_k``: always this k (a policy of k = 2, say). ``rectangular``: where one rectangular term
    dominates, that is where the rest's standard uncertainty is at most ``dominance`` times that of the term,
    the result is all but rectangular itself and k = 1.65 is right for 95 % (EA-4/02 S9; JJF 1059.1 4.5.3 has
    the same number, and no t for a result that is not normal). Where the rest is at most ``pair_dominance``
    times the two largest rectangular terms together, the result is a trapezoid blurred by the rest, and k is
    that distribution's.

    EA-4/02 states 0.3 for one term and no number for two. 0.35 takes in S10 (0.06) and S11 (0.34), which are
    reported as trapezoids, and leaves out S5 (0.36), which is reported with the k of a normal distribution: that
    is the safe side, as the normal k is the larger one.
    """

    fixed_k: float | None = None
    rectangular: bool = True
    dominance: float = 0.3
    pair_dominance: float = 0.35


DEFAULT_RULE = CoverageRule()


def normal_quantile(probability: float) -> float:
    """The value that a standard normal variable falls below with this probability (0 < probability < 1)."""
    _check_probability(probability)
    return _NORMAL.inv_cdf(probability)


def normal_cdf(x: float) -> float:
    """The probability that a standard normal variable falls below x."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def t_cdf(t: float, dof: float) -> float:
    """The probability that a t variable with ``dof`` degrees of freedom (> 0, ``inf`` too) falls below t."""
    _check_dof(dof)
    tail = _t_tail(abs(t), dof)
    return tail if t < 0 else 1.0 - tail


def t_quantile(probability: float, dof: float) -> float:
    """The value that a t variable falls below with this probability; any dof >= 1, fractional ones included.

    Raises:
        ValueError: probability outside (0, 1), or dof below 1.
    """
    _check_probability(probability)
    if not dof >= 1.0:
        raise ValueError(f"degrees of freedom must be at least 1, got {dof:g}")
    if probability == 0.5:
        return 0.0
    if probability > 0.5:
        return _t_upper(1.0 - probability, dof)
    return -_t_upper(probability, dof)


def chi_square_cdf(x: float, dof: float) -> float:
    """The probability that a chi-square variable with ``dof`` degrees of freedom falls below x."""
    _check_dof(dof)
    return _incomplete_gamma(0.5 * dof, 0.5 * x) if x > 0.0 else 0.0


def chi_square_quantile(probability: float, dof: float) -> float:
    """The value that a chi-square variable falls below with this probability."""
    _check_probability(probability)
    _check_dof(dof)
    low, high = 0.0, max(1.0, dof)
    while chi_square_cdf(high, dof) < probability:
        low, high = high, 2.0 * high
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            return middle
        if chi_square_cdf(middle, dof) < probability:
            low = middle
        else:
            high = middle


def f_tail(f: float, dof_between: float, dof_within: float) -> float:
    """The probability that a ratio of two estimates of one variance exceeds f (F test)."""
    _check_dof(dof_between)
    _check_dof(dof_within)
    if f <= 0.0:
        return 1.0
    denominator = dof_within + dof_between * f
    return _incomplete_beta(
        0.5 * dof_within, 0.5 * dof_between, dof_within / denominator, dof_between * f / denominator
    )


def coverage_factor(p: float, dof: float = math.inf) -> float:
    """The k such that an interval y ± k·u covers with probability p: the two-sided t quantile (GUM G.3).

    ``dof`` is taken as it is; pass it through :func:`truncated_dof` first where it is an effective one.
    """
    _check_probability(p)
    if math.isinf(dof):
        return -_NORMAL.inv_cdf((1.0 - p) / 2.0)
    if not dof >= 1.0:
        raise ValueError(f"degrees of freedom must be at least 1, got {dof:g}")
    return _t_upper((1.0 - p) / 2.0, dof)


def coverage_probability(k: float, dof: float = math.inf) -> float:
    """The probability that y ± k·u covers: the inverse of :func:`coverage_factor`."""
    return 1.0 - 2.0 * _t_tail(k, dof)


def truncated_dof(dof: float) -> float:
    """Effective degrees of freedom as used for k: to one decimal, then down, at least 1 (GUM G.4.1).

    Straight truncation would turn the GUM's own 18.9987, printed there as 19, into 18.
    """
    if math.isinf(dof):
        return dof
    return max(1.0, float(math.floor(round(dof, 1))))


def rectangular_factor(p: float, u_rest: float, u_dominant: float) -> float:
    """The k for a rectangular term with a small rest: 1.65 for 95 % (EA-4/02 S9, JJF 1059.1 4.5.3).

    For other probabilities: the exact quantile of the sum of a rectangular and a normal variable.
    """
    if 0.945 <= p <= 0.956:  # "95 %", also when stated as 95.45 %
        return 1.65
    return blurred_factor(p, u_dominant, 0.0, u_rest)


def trapezoidal_factor(p: float, u_large: float, u_small: float, u_rest: float = 0.0) -> float:
    """The k for the sum of two rectangular terms and a small rest, to two decimals.

    The rest is taken as normal, so that the interval covers p and not a little less, as a bare trapezoid's
    would. EA-4/02 S10 (2 : 1, hardly any rest): 1.83, as printed; S11 (5 : 2, rest 0.34): 1.83, where 1.81 is
    printed for the bare trapezoid.
    """
    return round(blurred_factor(p, u_large, u_small, u_rest), 2)


def choose_factor(
    p: float,
    dof: float,
    rectangular: tuple[float, ...] = (),
    u: float | None = None,
    rule: CoverageRule = DEFAULT_RULE,
) -> float:
    """The coverage factor of a result.

    Args:
        p: coverage probability.
        dof: effective degrees of freedom, not yet truncated.
        rectangular: standard uncertainties that independent rectangular terms contribute to the result.
        u: combined standard uncertainty of the result (needed to judge dominance).
        rule: the policy.
    """
    if rule.fixed_k is not None:
        return rule.fixed_k
    if rule.rectangular and u is not None and u > 0.0 and rectangular:
        first, second = (*sorted((abs(c) for c in rectangular), reverse=True), 0.0)[:2]
        rest = math.sqrt(max(0.0, u * u - first * first))
        if rest <= rule.dominance * first:
            return rectangular_factor(p, rest, first)
        pair = math.hypot(first, second)
        rest = math.sqrt(max(0.0, u * u - pair * pair))
        if rest <= rule.pair_dominance * pair:
            return trapezoidal_factor(p, first, second, rest)
    return coverage_factor(p, truncated_dof(dof))


def rounded(
    value: Decimal | float | str, uncertainty: Decimal | float | str, digits: int = 2
) -> tuple[str, str]:
    """Value and uncertainty as text for a report: two digits of U, the value to match (GUM 7.2.6).

    The uncertainty is rounded half up (never down by 5 % or more), the value half to even (JJF 1059.1). Exact
    decimal arithmetic; a float is taken as its shortest decimal text. An uncertainty of zero leaves the value
    as it is.

    Raises:
        ValueError: not a finite number, a negative uncertainty, or digits below 1.
    """
    if digits < 1:
        raise ValueError(f"digits must be 1 or more, got {digits}")
    y, u = _finite_decimal(value, "value"), _finite_decimal(uncertainty, "uncertainty")
    if u < 0:
        raise ValueError(f"an uncertainty can't be negative: {uncertainty}")
    if u == 0:
        return format(y, "f"), "0"
    place = u.adjusted() - digits + 1
    u_text = u.quantize(Decimal(1).scaleb(place), ROUND_HALF_UP, _EXACT)
    if u_text.adjusted() > u.adjusted():  # 0.0996 became 0.100: one place less says the same with two digits
        place += 1
        u_text = u.quantize(Decimal(1).scaleb(place), ROUND_HALF_UP, _EXACT)
    y_text = y.quantize(Decimal(1).scaleb(place), ROUND_HALF_EVEN, _EXACT)
    if y_text == 0:
        y_text = abs(y_text)  # "-0.00" says nothing
    return format(y_text, "f"), format(u_text, "f")


def _finite_decimal(number: Decimal | float | str, what: str) -> Decimal:
    if isinstance(number, float):
        number = repr(float(number))  # float(): a numpy scalar writes itself differently
    try:
        result = Decimal(number)
    except ArithmeticError:
        raise ValueError(f"{what} is not a number: {number!r}") from None
    if not result.is_finite():
        raise ValueError(f"{what} is not a finite number: {number}")
    return result


def _check_probability(p: float) -> None:
    if not 0.0 < p < 1.0:
        raise ValueError(f"a probability lies between 0 and 1 (0.95 for 95 %), got {p:g}")


def _check_dof(dof: float) -> None:
    if not dof > 0.0:
        raise ValueError(f"degrees of freedom must be positive, got {dof:g}")


def blurred_factor(p: float, u_large: float, u_small: float, u_rest: float) -> float:
    """The quantile, over its u, of the sum of two rectangular variables and a normal one: the k that covers p."""
    u = math.hypot(u_large, u_small, u_rest)
    a, b = math.sqrt(3.0) * u_large, math.sqrt(3.0) * u_small
    low, high = 0.0, a + b + 40.0 * u_rest
    for _ in range(100):
        middle = 0.5 * (low + high)
        if _coverage(middle, a, b, u_rest) < p:
            low = middle
        else:
            high = middle
    return high / u


def _coverage(x: float, a: float, b: float, sigma: float) -> float:
    """P(abs(A + B + N) <= x) for A, B rectangular over ±a, ±b (a >= b) and N normal."""
    if sigma < 1e-3 * a:  # the differences below would have no digits; what is left out is (sigma/a)²
        if x <= a - b:
            return x / a
        return 1.0 - max(0.0, a + b - x) ** 2 / (4.0 * a * b) if b > 0.0 else 1.0
    if b < 1e-3 * a:
        rise = _primitive((x + a) / sigma) - _primitive((x - a) / sigma)
        return rise * sigma / a - 1.0
    below = (
        _second_primitive((x + a + b) / sigma)
        - _second_primitive((x + a - b) / sigma)
        - _second_primitive((x - a + b) / sigma)
        + _second_primitive((x - a - b) / sigma)
    )
    return 0.5 * below * sigma * sigma / (a * b) - 1.0


def _primitive(z: float) -> float:
    """The primitive of the normal distribution function."""
    return z * normal_cdf(z) + math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def _second_primitive(z: float) -> float:
    """The primitive of that."""
    return 0.5 * (normal_cdf(z) + z * _primitive(z))


def _t_tail(t: float, dof: float) -> float:
    """P(T > t) for t >= 0."""
    if math.isinf(dof):
        return 0.5 * math.erfc(t / math.sqrt(2.0))
    if dof > _SERIES_FROM:
        return _tail_by_expansion(t, dof)
    square = t * t
    return 0.5 * _incomplete_beta(0.5 * dof, 0.5, dof / (dof + square), square / (dof + square))


def _tail_by_expansion(t: float, dof: float) -> float:
    """P(T > t) for a large dof: the normal deviate with that tail, by Newton on the expanded quantile."""
    z = t
    for _ in range(50):
        step = 1e-6 * max(1.0, abs(z))
        slope = (_expanded_quantile(z + step, dof) - _expanded_quantile(z - step, dof)) / (2.0 * step)
        change = (_expanded_quantile(z, dof) - t) / slope
        z -= change
        if abs(change) <= 1e-15 * max(1.0, abs(z)):
            break
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _expanded_quantile(z: float, dof: float) -> float:
    """Quantile of t from the normal quantile z, in powers of 1/dof (Abramowitz and Stegun 26.7.5)."""
    s = z * z
    g1 = (s + 1.0) * z / 4.0
    g2 = ((5.0 * s + 16.0) * s + 3.0) * z / 96.0
    g3 = (((3.0 * s + 19.0) * s + 17.0) * s - 15.0) * z / 384.0
    g4 = ((((79.0 * s + 776.0) * s + 1482.0) * s - 1920.0) * s - 945.0) * z / 92160.0
    return z + (g1 + (g2 + (g3 + g4 / dof) / dof) / dof) / dof


def _t_upper(tail: float, dof: float) -> float:
    """The t that is exceeded with probability ``tail`` (0 < tail <= 0.5)."""
    if tail <= 0.0:
        raise ValueError("the probability is too close to 1 to be told from it")
    z = -_NORMAL.inv_cdf(tail)
    if math.isinf(dof):
        return z
    if dof > _SERIES_FROM:
        return _expanded_quantile(z, dof)
    low, high = 0.0, max(1.0, z)
    while _t_tail(high, dof) > tail:
        low, high = high, 2.0 * high
    log_scale = math.lgamma(0.5 * (dof + 1.0)) - math.lgamma(0.5 * dof) - 0.5 * math.log(dof * math.pi)
    t = 0.5 * (low + high)
    for _ in range(300):
        excess = _t_tail(t, dof) - tail
        if excess > 0.0:
            low = t
        else:
            high = t
        density = math.exp(log_scale - 0.5 * (dof + 1.0) * math.log1p(t * t / dof))
        # Newton on the tail, kept inside the bracket: far out it would leap, so that bisection takes over.
        following = t + excess / density if density > 0.0 else math.inf
        if not low < following < high:
            following = 0.5 * (low + high)
        if abs(following - t) <= 4e-16 * abs(t) or low == high:
            return following
        t = following
    return t


def _incomplete_beta(a: float, b: float, x: float, complement: float) -> float:
    """Regularised incomplete beta function I_x(a, b); ``complement`` is 1 - x, with its own digits."""
    if x <= 0.0:
        return 0.0
    if complement <= 0.0:
        return 1.0
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(complement)
    )
    front = math.exp(log_front)
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, complement) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function by Lentz's method (DLMF 8.17.22)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            result *= d * c
        if abs(d * c - 1.0) < 1e-16:
            break
    return result


def _incomplete_gamma(a: float, x: float) -> float:
    """Regularised lower incomplete gamma function P(a, x): series or continued fraction (DLMF 8.7.1, 8.9.2)."""
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1.0:
        term = total = 1.0 / a
        n = a
        while abs(term) > 1e-17 * abs(total):
            n += 1.0
            term *= x / n
            total += term
        return front * total
    b = x + 1.0 - a
    c, d = 1e300, 1.0 / b
    fraction = d
    for n in range(1, 100_000):
        numerator = n * (a - n)
        b += 2.0
        d = 1.0 / (numerator * d + b or 1e-300)
        c = b + numerator / c or 1e-300
        fraction *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return 1.0 - front * fraction
