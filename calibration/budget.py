"""Uncertainty budgets (不确定度评定): a measurement model, its input quantities, and the result with U and k.

Propagation of uncertainty after JCGM 100 (JJF 1059.1) with exact derivatives, Monte Carlo after JCGM 101 (JJF
1059.2). Reading a budget from a document is the job of :mod:`calibration.model`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from calibration.coverage import (
    CoverageRule,
    blurred_factor,
    choose_factor,
    coverage_factor,
    coverage_probability,
    truncated_dof,
)
from calibration.distributions import NORMAL, UNIFORM, Quantity, correlated_groups, ensemble_dof
from calibration.equations import Model, check_name
from calibration.expression import ModelError, Number, Series
from calibration.montecarlo import (
    DEFAULT_SEED,
    DEFAULT_TRIALS,
    Distributed,
    Validation,
    simulate,
    simulate_adaptively,
    summarise,
    validate,
)
from calibration.uncertainty import semidefinite_factor, welch_satterthwaite

__all__ = ["Budget", "BudgetRow", "Budgets", "Model", "ModelError", "Quantity", "budget", "budgets"]

Array: TypeAlias = npt.NDArray[np.float64]
MAX_FACTOR = 1000.0
Correlations: TypeAlias = Sequence[tuple[str, str, float]]


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One input's line of the table.

    ``contribution`` is sensitivity times u, with its sign, in the unit of the result. ``share`` is the
    fraction of the variance; correlated inputs share their covariance equally, so that a share may be
    negative and all sum to 1.
    """

    name: str
    value: float
    u: float
    dist: str
    dof: float
    sensitivity: float
    contribution: float
    share: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """The result for one output quantity (被测量).

    For the method "mc", y, u, lo and hi are the Monte Carlo figures and U the half-width of the interval (k =
    U/u), except where k is fixed or comes from the dominant-rectangular rule; ``gum`` holds what propagation
    says, ``validation`` the comparison. ``covered``, where k is fixed: the share of the draws in y ± U; p
    remains that of lo and hi.
    """

    name: str
    y: float
    u: float
    dof: float
    k: float
    U: float
    p: float
    lo: float
    hi: float
    method: str
    rows: tuple[BudgetRow, ...]
    unit: str = ""
    notes: tuple[str, ...] = ()
    gum: Budget | None = None
    monte_carlo: Distributed | None = None
    validation: Validation | None = None
    covered: float | None = None


@dataclass(frozen=True, slots=True)
class Budgets:
    """Several output quantities of the same inputs, with the correlations that they have for it (GUM H.2)."""

    outputs: tuple[Budget, ...]
    correlations: Array  # (outputs, outputs)

    def __getitem__(self, name: str) -> Budget:
        for output in self.outputs:
            if output.name == name:
                return output
        raise KeyError(name)

    def with_unit(self, unit: str) -> Budgets:
        """The same results, in this unit for the reader."""
        return replace(self, outputs=tuple(replace(output, unit=unit) for output in self.outputs))

    def correlation(self, a: str, b: str) -> float:
        """The correlation coefficient of two outputs."""
        names = [output.name for output in self.outputs]
        return float(self.correlations[names.index(a), names.index(b)])


def budget(
    model: str | Model,
    quantities: Sequence[Quantity],
    correlations: Correlations = (),
    p: float = 0.95,
    method: str = "gum",
    *,
    order: int = 1,
    k: float | None = None,
    seed: int = DEFAULT_SEED,
    trials: int | None = DEFAULT_TRIALS,
    ndig: int = 2,
    rule: CoverageRule | None = None,
) -> Budget:
    """The budget of a model with one output; arguments as for :func:`budgets`."""
    found = budgets(
        model,
        quantities,
        correlations,
        p,
        method,
        order=order,
        k=k,
        seed=seed,
        trials=trials,
        ndig=ndig,
        rule=rule,
    )
    if len(found.outputs) != 1:
        raise ModelError("model", "the model has several outputs: ask for budgets")
    return found.outputs[0]


def budgets(
    model: str | Mapping[str, str] | Model,
    quantities: Sequence[Quantity],
    correlations: Correlations = (),
    p: float = 0.95,
    method: str = "gum",
    *,
    order: int = 1,
    k: float | None = None,
    seed: int = DEFAULT_SEED,
    trials: int | None = DEFAULT_TRIALS,
    ndig: int = 2,
    rule: CoverageRule | None = None,
) -> Budgets:
    """The uncertainty budget of every output.

    Args:
        model: see :class:`Model`.
        quantities: the inputs.
        correlations: (name, name, correlation coefficient).
        p: coverage probability.
        method: "gum" (propagation of uncertainty) or "mc" (Monte Carlo, with the comparison of both).
        order: 2 adds the next higher-order terms (GUM 5.1.2 note, H.1.7), for independent inputs.
        k: a fixed coverage factor in place of the computed one.
        seed: of the Monte Carlo method.
        trials: of the Monte Carlo method; None: adaptive (JCGM 101 7.9) to ``ndig`` digits.
        ndig: significant digits of u that the tolerance of the comparison refers to.
        rule: policy for the coverage factor.

    Raises:
        ModelError: where and why, and what to do.
    """
    parsed = model if isinstance(model, Model) else Model(model)
    if method not in ("gum", "mc"):
        raise ModelError("method", f"{method!r} is no method: gum or mc")
    if not 0.0 < p < 1.0:
        raise ModelError("p", f"a coverage probability lies between 0 and 1 (0.95 for 95 %), not {p:g}")
    if order not in (1, 2):
        raise ModelError("order", f"the order of propagation is 1 or 2, not {order}")
    if k is not None and not 0.0 < k <= MAX_FACTOR:
        raise ModelError("k", f"a coverage factor is a positive number of at most {MAX_FACTOR:g}, not {k:g}")
    _check_inputs(parsed, quantities)
    matrix = correlation_matrix([q.name for q in quantities], correlations)
    policy = rule or CoverageRule()
    if k is not None:
        policy = replace(policy, fixed_k=k)
    found = _propagate(parsed, quantities, matrix, p, order, policy)
    if method == "gum":
        return found
    return _simulate(parsed, quantities, matrix, p, found, policy.fixed_k, seed, trials, ndig)


def correlation_matrix(names: Sequence[str], correlations: Correlations) -> Array:
    """The correlation matrix of inputs from triples (name, name, r).

    Raises:
        ModelError: unknown name, r outside [-1, 1], a pair given twice, or coefficients that contradict each
            other.
    """
    matrix = np.eye(len(names))
    index = {name: i for i, name in enumerate(names)}
    seen: set[frozenset[str]] = set()
    for n, (a, b, r) in enumerate(correlations):
        where = f"correlations[{n}]"
        for name in (a, b):
            if name not in index:
                raise ModelError(where, f"no input named {name}; inputs are {', '.join(names)}")
        if a == b:
            raise ModelError(where, f"{a} with itself: an input is correlated with itself by 1, leave it out")
        if not -1.0 <= r <= 1.0:
            raise ModelError(where, f"the correlation coefficient of {a} and {b} is {r:g}, outside -1 … 1")
        if frozenset((a, b)) in seen:
            raise ModelError(where, f"the correlation of {a} and {b} is given twice")
        seen.add(frozenset((a, b)))
        matrix[index[a], index[b]] = matrix[index[b], index[a]] = r
    try:
        semidefinite_factor(matrix)
    except ValueError:
        raise ModelError(
            "correlations",
            "these coefficients contradict each other (the matrix is not positive semi-definite): check them, "
            "or give them with more digits",
        ) from None
    return matrix


def _check_inputs(model: Model, quantities: Sequence[Quantity]) -> None:
    names: set[str] = set()
    for n, quantity in enumerate(quantities):
        where = f"inputs[{n}]"
        check_name(quantity.name, where)
        if quantity.name in names:
            raise ModelError(where, f"{quantity.name} is given twice: an input has one name")
        names.add(quantity.name)
        if quantity.name in model.expressions and model.outputs != ("y",):
            raise ModelError(where, f"{quantity.name} is an output of the model: it can't be an input too")
    for name in model.inputs:
        if name not in names:
            raise ModelError(
                "inputs", f"the model uses {name}, which is not among them: add it or correct the model"
            )


def _taylor(model: Model, quantities: Sequence[Quantity], degree: int) -> dict[str, Series]:
    values: dict[str, Number] = {q.name: q.value for q in quantities}
    try:
        return model.expand(values, [q.name for q in quantities], degree)
    except ModelError:
        # An exact input may stand where a derivative does not exist (an exponent of a negative number, abs at
        # 0).
        exact = {q.name for q in quantities if q.u == 0.0}
        if not exact:
            raise
        variables = [q.name for q in quantities if q.name not in exact]
        found = model.expand(values, variables, degree)
    position = {i: [q.name for q in quantities].index(name) for i, name in enumerate(variables)}
    return {
        name: Series({tuple(position[i] for i in m): c for m, c in s.terms.items()}, degree)
        for name, s in found.items()
    }


def _propagate(
    model: Model, quantities: Sequence[Quantity], matrix: Array, p: float, order: int, rule: CoverageRule
) -> Budgets:
    u = np.array([q.u for q in quantities])
    groups = correlated_groups(matrix)
    if order == 2 and any(sum(u[i] > 0.0 for i in group) > 1 for group in groups):
        raise ModelError("order", "higher-order terms need independent inputs: use the method mc")
    series = _taylor(model, quantities, 3 if order == 2 else 1)
    contributions = []
    outputs = []
    for name, s in series.items():
        sensitivity = np.array([float(s.coefficient(i)) for i in range(len(quantities))])
        with np.errstate(all="ignore"):
            c = sensitivity * u
            shares = c * (matrix @ c)
            squares = c * c
        largest = float(np.max(squares, initial=0.0))
        if not largest < 1e300 or (largest == 0.0 and np.any(c != 0.0)):  # also where it is not a number
            raise ModelError(
                model.place(name), "the variance is too large or too small to be computed: use other units"
            )
        contributions.append(c)
        first = max(0.0, float(shares.sum()))
        if first < 1e-15 * float(squares.sum()):  # fully correlated contributions cancel but for rounding
            first = 0.0
        extra = _second_order_variance(s, u) if order == 2 else 0.0
        variance = max(0.0, first + extra)
        if not math.isfinite(first + extra):
            raise ModelError(model.place(name), "the higher-order terms are too large: use other units")
        rows = [
            BudgetRow(
                q.name,
                q.value,
                q.u,
                q.dist,
                q.dof,
                float(sensitivity[i]),
                float(c[i]),
                float(shares[i]) / variance if variance else 0.0,
                q.unit,
            )
            for i, q in enumerate(quantities)
        ]
        notes = [f"{q.name} is not used by the model" for q in quantities if q.name not in model.inputs]
        if order == 2:
            notes.append(
                f"higher-order terms (GUM 5.1.2 note) add {extra:.6g} to the first-order variance {first:.6g}"
            )
        elif variance == 0.0 and np.any(c != 0.0):
            notes.append("the correlated contributions cancel")
        elif variance == 0.0 and np.any(u > 0.0):
            notes.append("all sensitivities vanish at these values: use order 2 or the method mc")
        dof = _effective_dof(quantities, groups, matrix, c, variance, notes)
        alone = {group[0] for group in groups if len(group) == 1}
        rectangular = tuple(float(c[i]) for i, q in enumerate(quantities) if q.dist == UNIFORM and i in alone)
        result_u, y = math.sqrt(variance), float(s.value)
        k = choose_factor(p, dof, rectangular, result_u, rule)
        if rule.fixed_k is not None:
            p_stated = coverage_probability(k, truncated_dof(dof))
        else:
            p_stated = p
            if k != coverage_factor(p, truncated_dof(dof)):
                notes.append(_rectangular_note(p, k, rectangular, result_u))
            reach = sum(abs(float(c[i])) * q.reach for i, q in enumerate(quantities) if c[i] != 0.0)
            if order == 1 and reach < k * result_u:
                k = reach / result_u
                notes.append(
                    "k is limited: all contributions are bounded, and together reach no further than U"
                )
        if not math.isfinite(abs(y) + k * result_u):
            raise ModelError(model.place(name), "the interval is too large to be computed: use other units")
        outputs.append(
            Budget(
                name=name,
                y=y,
                u=result_u,
                dof=dof,
                k=k,
                U=k * result_u,
                p=p_stated,
                lo=y - k * result_u,
                hi=y + k * result_u,
                method="gum",
                rows=tuple(rows),
                notes=tuple(notes),
            )
        )
    return Budgets(tuple(outputs), _output_correlations(np.array(contributions), matrix))


def _rectangular_note(p: float, k: float, rectangular: Sequence[float], u: float) -> str:
    """Which rule gave k, and what the distribution itself has where the rule's number is another one."""
    text = "k of a dominant rectangular contribution, or of two (EA-4/02 S9 to S11)"
    first = max(abs(c) for c in rectangular)
    own = blurred_factor(p, first, 0.0, math.sqrt(max(0.0, u * u - first * first)))
    if k == 1.65 and own > 1.01 * k:
        text += f"; with the rest that it has, k = {own:.2f} would cover {100.0 * p:.4g} %"
    return text


def _second_order_variance(s: Series, u: Array) -> float:
    """Σᵢⱼ [½ f_ij² + f_i·f_ijj] u_i² u_j² (GUM 5.1.2 note), from Taylor coefficients."""
    total = 0.0
    spread = [float(v) for v in u]
    for i in range(len(spread)):
        for j in range(len(spread)):
            weight = spread[i] * spread[i] * spread[j] * spread[j]
            if weight == 0.0:
                continue
            f_i = float(s.coefficient(i))
            f_ij = float(s.coefficient(i, j)) * (2.0 if i == j else 1.0)
            f_ijj = float(s.coefficient(i, j, j)) * (6.0 if i == j else 2.0)
            total += (0.5 * f_ij * f_ij + f_i * f_ijj) * weight
    return total


def _effective_dof(
    quantities: Sequence[Quantity],
    groups: list[list[int]],
    matrix: Array,
    c: Array,
    variance: float,
    notes: list[str],
) -> float:
    terms = []
    for group in groups:
        part = c[group]
        share = float(part @ matrix[np.ix_(group, group)] @ part)
        if len(group) == 1:
            terms.append((share, quantities[group[0]].dof))
            continue
        dof = ensemble_dof([quantities[i] for i in group if c[i] != 0.0])
        if dof is None:
            names = ", ".join(quantities[i].name for i in group)
            notes.append(
                f"{names} are correlated and their degrees of freedom are not those of one ensemble, so that "
                "Welch-Satterthwaite does not apply: taken as infinite. State their common dof, or use the method mc"
            )
            return math.inf
        terms.append((share, dof))
    return welch_satterthwaite(variance, terms)


def _output_correlations(contributions: Array, matrix: Array) -> Array:
    covariance = contributions @ matrix @ contributions.T
    spread = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    scale = np.outer(spread, spread)
    result: Array = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0.0)
    np.fill_diagonal(result, 1.0)
    return result


def _simulate(
    model: Model,
    quantities: Sequence[Quantity],
    matrix: Array,
    p: float,
    found: Budgets,
    fixed_k: float | None,
    seed: int,
    trials: int | None,
    ndig: int,
) -> Budgets:
    names = [q.name for q in quantities]

    def evaluate(columns: Sequence[Array]) -> list[Array]:
        values: dict[str, Number] = dict(zip(names, columns, strict=True))
        return [np.asarray(o, dtype=np.float64) for o in model.evaluate(values).values()]

    try:
        if trials is None:
            samples, stable = simulate_adaptively(quantities, matrix, evaluate, p, ndig=ndig, seed=seed)
        else:
            samples, stable = simulate(quantities, matrix, evaluate, trials, seed), True
    except ModelError:
        raise
    except ValueError as error:
        raise ModelError("model", str(error)) from None
    outputs = []
    for gum, sample in zip(found.outputs, samples, strict=True):
        mc = summarise(sample, p, stable)
        # The comparison is with the GUM framework as it stands: t or normal, no rule for rectangular terms.
        plain = coverage_factor(p, truncated_dof(gum.dof)) * gum.u
        verdict = validate(gum.y, plain, gum.u, mc, ndig)
        half_width = 0.5 * (mc.hi - mc.lo)
        # The rule for rectangular terms supposes a linear model: where the draws contradict it, they count.
        linear = math.isclose(mc.u, gum.u, rel_tol=0.02) and abs(mc.y - gum.y) <= 0.02 * gum.u
        by_rule = fixed_k is None and linear and any("rectangular" in note for note in gum.notes)
        k = half_width / mc.u if mc.u > 0.0 else 0.0
        if by_rule or fixed_k is not None:
            k = gum.k
        notes = [n for n in gum.notes if by_rule or ("rectangular" not in n and "k is limited" not in n)]
        if not stable:
            notes.append(f"{mc.trials} trials did not reach the tolerance: the last digits are not stable")
        if any(q.dist == NORMAL and q.dof <= 2.0 and q.u > 0.0 for q in quantities):
            notes.append(
                "an input with two degrees of freedom or fewer has no finite variance: u depends on the draw"
            )
        outputs.append(
            replace(
                gum,
                y=mc.y,
                u=mc.u,
                dof=math.inf,
                k=k,
                U=k * mc.u,
                p=p,
                lo=mc.lo,
                hi=mc.hi,
                method="mc",
                notes=tuple(notes),
                gum=replace(
                    gum, k=plain / gum.u if gum.u else gum.k, U=plain, lo=gum.y - plain, hi=gum.y + plain
                ),
                monte_carlo=mc,
                validation=verdict,
                covered=None
                if fixed_k is None
                else float(np.count_nonzero(np.abs(sample - mc.y) <= k * mc.u)) / len(sample),
            )
        )
    correlations = np.eye(len(samples))
    if len(samples) > 1:
        spread = samples.std(axis=1)
        centred = samples - samples.mean(axis=1, keepdims=True)
        scale = np.outer(spread, spread)
        covariance = centred @ centred.T / samples.shape[1]
        correlations = np.divide(covariance, scale, out=np.eye(len(samples)), where=scale > 0.0)
    return Budgets(tuple(outputs), correlations)
