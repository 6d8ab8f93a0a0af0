"""Type A evaluation (A 类评定): repeated observations, pooled series, and whether days differ (GUM 4.2, H.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from calibration.coverage import chi_square_quantile, f_tail, t_quantile


@dataclass(frozen=True, slots=True)
class Observed:
    """The mean of repeated observations: s of a single one, u = s/√n of the mean, degrees of freedom."""

    mean: float
    s: float
    u: float
    dof: int


def evaluate(observations: Sequence[float]) -> Observed:
    """Mean and its standard uncertainty (GUM 4.2).

    Raises:
        ValueError: fewer than two observations.
    """
    if len(observations) < 2:
        raise ValueError("a standard deviation needs at least two observations")
    s = stdev(observations)
    return Observed(fmean(observations), s, s / math.sqrt(len(observations)), len(observations) - 1)


def pooled(series: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """Pooled standard deviation and its degrees of freedom from pairs (s, dof) (GUM H.3.6, JJF 1059.1).

    Raises:
        ValueError: no series, or one without degrees of freedom.
    """
    if not series or any(dof < 1 for _, dof in series):
        raise ValueError("pooling needs at least one series, each with degrees of freedom of 1 or more")
    dof = sum(d for _, d in series)
    return math.sqrt(sum(d * s * s for s, d in series) / dof), dof


@dataclass(frozen=True, slots=True)
class Anova:
    """One-way analysis of variance of equally long series (GUM H.5).

    Attributes:
        mean: the grand mean.
        s_means: standard deviation of the series' means.
        s_within: pooled standard deviation within the series.
        F: the ratio K·s_means²/s_within², and ``p_value``, the chance of one as large if series do not
            differ.
        s_between: standard deviation between series (days), 0 where the means scatter less than the series.
        u_mean: standard uncertainty of the grand mean, from the scatter of the means.
        dof: degrees of freedom of u_mean.
    """

    mean: float
    s_means: float
    s_within: float
    F: float
    p_value: float
    s_between: float
    u_mean: float
    dof: int


def anova(series: Sequence[Sequence[float]]) -> Anova:
    """Analysis of variance of J series of K observations each.

    Raises:
        ValueError: fewer than two series, series of fewer than two observations or of different lengths.
    """
    lengths = {len(one) for one in series}
    if len(lengths) != 1:
        raise ValueError("the series must have the same number of observations")
    return anova_of_summaries([fmean(one) for one in series], [stdev(one) for one in series], lengths.pop())


def anova_of_summaries(means: Sequence[float], deviations: Sequence[float], count: int) -> Anova:
    """The same from each series' mean and standard deviation of ``count`` observations.

    Raises:
        ValueError: as for :func:`anova`.
    """
    j = len(means)
    if j < 2 or count < 2 or len(deviations) != j:
        raise ValueError("analysis of variance needs two or more series of two or more observations")
    s_means = stdev(means)
    within = math.fsum(s * s for s in deviations) / j
    if within == 0.0:
        raise ValueError(
            "the observations of a series do not scatter at all: there is nothing to compare with"
        )
    f = count * s_means * s_means / within
    return Anova(
        mean=fmean(means),
        s_means=s_means,
        s_within=math.sqrt(within),
        F=f,
        p_value=f_tail(f, j - 1, j * (count - 1)),
        s_between=math.sqrt(max(0.0, s_means * s_means - within / count)),
        u_mean=s_means / math.sqrt(j),
        dof=j - 1,
    )


def variability_factor(n: int) -> float:
    """The factor k_v of n pairs in the variability test of an emission monitor (EN 14181): √(χ²₀.₅(n-1)/(n-1)).

    Raises:
        ValueError: fewer than two pairs.
    """
    if n < 2:
        raise ValueError("a variability test needs at least two pairs of measurements")
    return math.sqrt(chi_square_quantile(0.5, n - 1) / (n - 1))


@dataclass(frozen=True, slots=True)
class Variability:
    """An emission monitor against reference measurements: scatter s_D and mean of the differences, with limits."""

    s: float
    s_limit: float
    mean: float
    mean_limit: float

    @property
    def variability_passed(self) -> bool:
        """Whether the scatter is within its limit (QAL2, AST)."""
        return self.s <= self.s_limit

    @property
    def calibration_valid(self) -> bool:
        """Whether the mean difference is within its limit (AST)."""
        return abs(self.mean) <= self.mean_limit


def variability(differences: Sequence[float], sigma0: float, factor: float = 1.0) -> Variability:
    """The tests of EN 14181 on differences between reference and calibrated monitor, same unit.

    Args:
        differences: reference minus monitor, for each pair.
        sigma0: the uncertainty that the law allows, as a standard deviation (P·E/1.96).
        factor: 1 for QAL2, 1.5 for the annual surveillance test.

    Raises:
        ValueError: fewer than two pairs, or sigma0 that is not positive.
    """
    if not sigma0 > 0.0:
        raise ValueError("sigma0, the allowed standard deviation, must be positive")
    observed = evaluate(differences)
    n = len(differences)
    return Variability(
        s=observed.s,
        s_limit=factor * sigma0 * variability_factor(n),
        mean=observed.mean,
        mean_limit=t_quantile(0.95, n - 1) * observed.u + sigma0,
    )
