"""Propagation of distributions by the Monte Carlo method (JCGM 101, JJF 1059.2), vectorised and reproducible.

It validates what the stream computes by propagation of uncertainty, and replaces it where that fails:
strongly nonlinear models, zero sensitivities, a dominant rectangular term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from calibration.distributions import NORMAL, Quantity, correlated_groups, ensemble_dof
from calibration.uncertainty import semidefinite_factor

Array: TypeAlias = npt.NDArray[np.float64]
Evaluate: TypeAlias = Callable[[Sequence[Array]], Sequence[Array]]

DEFAULT_TRIALS = 1_000_000
DEFAULT_SEED = 101
MAX_TRIALS = 10_000_000
_LARGEST = 1e150  # squares of larger results could not be summed
_BLOCK = 50_000  # trials evaluated at once: the columns of a block stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Distributed:
    """An output quantity as the Monte Carlo method gives it.

    ``lo`` and ``hi`` bound the probabilistically symmetric coverage interval, ``short_lo`` and ``short_hi``
    the shortest one, both for probability p. ``stable``: the adaptive procedure reached its tolerance (True
    where trials were fixed).
    """

    y: float
    u: float
    lo: float
    hi: float
    short_lo: float
    short_hi: float
    p: float
    trials: int
    stable: bool = True


@dataclass(frozen=True, slots=True)
class Validation:
    """The comparison of JCGM 101 8.1: whether the end points of both methods agree to ``delta``."""

    valid: bool
    d_low: float
    d_high: float
    delta: float
    ndig: int


def simulate(
    quantities: Sequence[Quantity],
    correlations: Array,
    evaluate: Evaluate,
    trials: int,
    seed: int = DEFAULT_SEED,
) -> Array:
    """Draw the inputs and evaluate the model; one row per output (outputs, trials).

    Args:
        quantities: the inputs.
        correlations: their correlation matrix.
        evaluate: the model on arrays: one array of trials per input -> one per output.
        trials: number of Monte Carlo trials.
        seed: the same seed gives the same draws.

    Raises:
        ValueError: some trials lie outside the model's domain.
    """
    rng = np.random.default_rng(seed)
    plan = _plan(quantities, correlations)
    blocks = [
        _block(quantities, plan, evaluate, min(_BLOCK, trials - start), rng)
        for start in range(0, trials, _BLOCK)
    ]
    return np.concatenate(blocks, axis=1)


def simulate_adaptively(
    quantities: Sequence[Quantity],
    correlations: Array,
    evaluate: Evaluate,
    p: float,
    *,
    ndig: int = 2,
    seed: int = DEFAULT_SEED,
    max_trials: int = MAX_TRIALS,
) -> tuple[Array, bool]:
    """Draw blocks until y, u and the end points are stable to ``ndig`` significant digits of u (JCGM 101 7.9).

    Returns:
        All trials, shape (outputs, trials), and whether the tolerance was reached within ``max_trials``.
    """
    rng = np.random.default_rng(seed)
    plan = _plan(quantities, correlations)
    size = max(10_000, math.ceil(100.0 / (1.0 - p)))
    blocks: list[Array] = []
    figures: list[Array] = []  # per block: (outputs, [y, u, lo, hi])
    while True:
        block = _block(quantities, plan, evaluate, size, rng)
        blocks.append(block)
        rows = []
        for output in block:
            part = summarise(output, p)
            rows.append([part.y, part.u, part.lo, part.hi])
        figures.append(np.array(rows))
        if len(blocks) > 1:
            spread = 2.0 * np.std(figures, axis=0, ddof=1) / math.sqrt(len(figures))
            u = np.sqrt(np.mean(np.square([f[:, 1] for f in figures]), axis=0))
            stable = all(
                v == 0.0 or float(np.max(s)) < tolerance(float(v), ndig)
                for s, v in zip(spread, u, strict=True)
            )
            if stable or (len(blocks) + 1) * size > max_trials:
                return np.concatenate(blocks, axis=1), stable


def summarise(sample: Array, p: float, stable: bool = True) -> Distributed:
    """Estimate, standard uncertainty and coverage intervals of one output (JCGM 101 7.6, 7.7).

    Args:
        sample: the trials, shape (trials,).
        p: coverage probability.
        stable: what the adaptive procedure said.
    """
    trials = len(sample)
    ordered = np.sort(sample)
    covered = min(trials - 1, math.floor(p * trials + 0.5))
    below = (trials - covered) // 2
    widths = ordered[covered:] - ordered[: trials - covered]
    shortest = int(np.argmin(widths))
    return Distributed(
        y=float(np.mean(sample)),
        u=float(np.std(sample, ddof=1)),
        lo=float(ordered[below]),
        hi=float(ordered[min(trials - 1, below + covered)]),
        short_lo=float(ordered[shortest]),
        short_hi=float(ordered[shortest + covered]),
        p=p,
        trials=trials,
        stable=stable,
    )


def tolerance(u: float, ndig: int = 2) -> float:
    """Numerical tolerance: half a unit in the last of ``ndig`` digits of u (JCGM 101 7.9.2); 0 for u = 0."""
    if u <= 0.0:
        return 0.0
    exponent = math.floor(math.log10(u)) - (ndig - 1)
    if round(u / 10.0**exponent) >= 10**ndig:  # 0.996 is written 1.0
        exponent += 1
    return 0.5 * 10.0**exponent


def validate(y: float, U: float, u: float, output: Distributed, ndig: int = 2) -> Validation:  # noqa: N803
    """Compare y ± U of the GUM framework with the Monte Carlo interval for the same probability (JCGM 101 8.1)."""
    d_low, d_high = abs(y - U - output.lo), abs(y + U - output.hi)
    delta = tolerance(u, ndig)
    return Validation(d_low <= delta and d_high <= delta, d_low, d_high, delta, ndig)


@dataclass(frozen=True, slots=True)
class _Group:
    """Correlated inputs that are drawn together."""

    members: tuple[int, ...]
    factor: Array  # lower triangular, of their correlation matrix
    dof: float  # of the multivariate t distribution; inf: normal
    by_rank: bool  # marginals of other shapes, joined by a Gaussian copula


def _plan(quantities: Sequence[Quantity], correlations: Array) -> list[_Group | int]:
    plan: list[_Group | int] = []
    for members in correlated_groups(correlations):
        chosen = [quantities[i] for i in members]
        if len(members) == 1:
            plan.append(members[0])
            continue
        factor = semidefinite_factor(correlations[np.ix_(members, members)])
        dof = ensemble_dof(chosen)
        by_rank = dof is None or any(q.dist != NORMAL for q in chosen)
        plan.append(_Group(tuple(members), factor, math.inf if dof is None else dof, by_rank))
    return plan


@np.errstate(all="ignore")  # what is not finite is counted and refused below
def _block(
    quantities: Sequence[Quantity],
    plan: list[_Group | int],
    evaluate: Evaluate,
    count: int,
    rng: np.random.Generator,
) -> Array:
    columns: list[Array] = [np.empty(0)] * len(quantities)
    for group in plan:
        if isinstance(group, int):
            quantity = quantities[group]
            columns[group] = quantity.draw(rng, count) if quantity.u > 0.0 else np.full(count, quantity.value)
            continue
        normal = group.factor @ rng.standard_normal((len(group.members), count))
        if not group.by_rank and math.isfinite(group.dof):
            normal /= np.sqrt(rng.chisquare(group.dof, count) / group.dof)
        for row, i in enumerate(group.members):
            quantity = quantities[i]
            if group.by_rank:
                # The n-th smallest draw goes where the n-th smallest normal deviate is: a Gaussian copula
                # with exactly the marginal asked for, without its quantile function.
                column = np.empty(count)
                column[np.argsort(normal[row])] = np.sort(quantity.draw(rng, count))
                columns[i] = column
            else:
                columns[i] = quantity.value + quantity.u * normal[row]
    outputs = np.stack(
        [np.broadcast_to(np.asarray(o, dtype=np.float64), (count,)) for o in evaluate(columns)]
    )
    bad = int(np.count_nonzero(~(np.abs(outputs) < _LARGEST).all(axis=0)))
    if bad:
        raise ValueError(
            f"{bad} of {count} trials leave the model's domain (division by zero, root or logarithm of a negative "
            "number, or too large): check the inputs' distributions"
        )
    return outputs
