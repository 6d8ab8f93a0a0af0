"""Measurement models as documents: what ``suyuan budget FILE`` reads, and what it answers.

The document is plain data (JSON or TOML, parsed by the caller)::

    model = "V/R"                       # or "P = V*I; S = V*J", or a table of several outputs
    p = 0.95
    correlations = [["V", "R", 0.3]]
    inputs = [
      { name = "V", value = 230.1, U = 0.4, k = 2, unit = "V" },
      { name = "R", data = [10.02, 10.01, 10.03] },
      { name = "d", value = 0, dist = "uniform", a = 0.05 },
      { name = "t", value = 0, dist = "ctrap", a = 0.05, d = 0.025 },   # limits known to ±d only (JCGM 101 6.4.3)
    ]

Errors name the place (``inputs[2].u``) and what to do. The computing is done by :mod:`calibration.budget`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from statistics import fmean, stdev
from typing import Any

from calibration.budget import Budget, BudgetRow, Budgets, Model, budget, budgets
from calibration.distributions import CURVILINEAR, DISTRIBUTIONS, NORMAL, TRAPEZOIDAL, Quantity, divisor
from calibration.equations import check_name
from calibration.expression import ModelError
from calibration.montecarlo import DEFAULT_SEED, DEFAULT_TRIALS, MAX_TRIALS

__all__ = [
    "Budget",
    "BudgetRow",
    "Budgets",
    "Model",
    "ModelError",
    "Quantity",
    "budget",
    "budget_from_document",
    "budgets",
    "check_name",
    "result_document",
]

_TEXT_KEYS = ("id", "title", "source", "notes", "unit")
_KEYS = (
    *("model", "models", "inputs", "correlations", "p", "method", "k", "seed", "trials", "ndig", "order"),
    *_TEXT_KEYS,
)
_INPUT_TEXT_KEYS = ("unit", "label", "source", "notes")
_INPUT_KEYS = ("name", "value", "u", "dist", "a", "beta", "d", "U", "k", "data", "dof", *_INPUT_TEXT_KEYS)


def budget_from_document(document: Mapping[str, Any]) -> Budgets:
    """The budgets of a document's model, one per output.

    Raises:
        ModelError: ``where`` names the place in the document, the text says what to do.
    """
    if not isinstance(document, Mapping):
        raise ModelError("document", "expected an object with the keys model and inputs")
    _refuse_unknown(document, _KEYS, "document")
    for key in _TEXT_KEYS:
        if document.get(key) is not None and not isinstance(document[key], str):
            raise ModelError(key, "expected text")
    model = _model(document)
    entries = document.get("inputs")
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise ModelError("inputs", "expected a list of input quantities, such as {name, value, u}")
    quantities = [_quantity(entry, f"inputs[{n}]") for n, entry in enumerate(entries)]
    correlations = _correlations(document.get("correlations", []))
    p = _number(document["p"], "p") if document.get("p") is not None else 0.95
    method = document.get("method", "gum")
    if not isinstance(method, str):
        raise ModelError("method", "expected gum or mc")
    trials: int | None
    if document.get("trials") == "adaptive":
        trials = None
    else:
        least = math.ceil(10.0 / (1.0 - p)) if 0.0 < p < 1.0 else 1
        trials = _integer(document.get("trials"), DEFAULT_TRIALS, "trials", max(100, least), MAX_TRIALS)
    found = budgets(
        model,
        quantities,
        correlations,
        p,
        method,
        order=_integer(document.get("order"), 1, "order", 1, 2),
        k=None if document.get("k") is None else _positive(document["k"], "k"),
        seed=_integer(document.get("seed"), DEFAULT_SEED, "seed", 0, 2**63 - 1),
        trials=trials,
        ndig=_integer(document.get("ndig"), 2, "ndig", 1, 6),
    )
    return found.with_unit(document["unit"]) if document.get("unit") else found


def result_document(found: Budgets) -> dict[str, Any]:
    """The result as JSON-ready data.

    One output: its keys ``y u dof k U lo hi p method budget …``. Several: ``outputs`` (name -> the same keys)
    and ``correlations`` ([name, name, r]). Infinite degrees of freedom are null.
    """
    if len(found.outputs) == 1:
        return _output_document(found.outputs[0])
    names = [output.name for output in found.outputs]
    return {
        "outputs": {output.name: _output_document(output) for output in found.outputs},
        "correlations": [
            [a, b, found.correlation(a, b)] for i, a in enumerate(names) for b in names[i + 1 :]
        ],
    }


def _output_document(output: Budget) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": output.name,
        "y": output.y,
        "u": output.u,
        "dof": _finite_or_none(output.dof),
        "k": output.k,
        "U": output.U,
        "lo": output.lo,
        "hi": output.hi,
        "p": output.p,
        "method": output.method,
        "unit": output.unit,
        "budget": [
            {
                "name": row.name,
                "value": row.value,
                "u": row.u,
                "unit": row.unit,
                "dist": row.dist,
                "dof": _finite_or_none(row.dof),
                "sensitivity": row.sensitivity,
                "contribution": row.contribution,
                "share": row.share,
            }
            for row in output.rows
        ],
        "notes": list(output.notes),
    }
    if output.monte_carlo is not None and output.gum is not None and output.validation is not None:
        mc, gum, verdict = output.monte_carlo, output.gum, output.validation
        result |= {
            "short_lo": mc.short_lo,
            "short_hi": mc.short_hi,
            "covered": output.covered,
            "trials": mc.trials,
            "stable": mc.stable,
            "guf_y": gum.y,
            "guf_u": gum.u,
            "guf_dof": _finite_or_none(gum.dof),
            "guf_k": gum.k,
            "guf_U": gum.U,
            "guf_lo": gum.lo,
            "guf_hi": gum.hi,
            "validation": {
                "gum_valid": verdict.valid,
                "d_low": verdict.d_low,
                "d_high": verdict.d_high,
                "delta": verdict.delta,
                "ndig": verdict.ndig,
            },
        }
    return result


def _finite_or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _model(document: Mapping[str, Any]) -> Model:
    if ("model" in document) == ("models" in document):
        raise ModelError(
            "model", "write the measurement model under the key model (or models, for several outputs)"
        )
    key = "model" if "model" in document else "models"
    source = document[key]
    if isinstance(source, str):
        return Model(source, key)
    if isinstance(source, Mapping) and source:
        for name, text in source.items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise ModelError(f"{key}.{name}", "expected an expression as text")
        return Model(source, key)
    raise ModelError(key, "expected an expression such as 'V/R', or an object {name: expression}")


def _quantity(entry: Any, where: str) -> Quantity:
    if not isinstance(entry, Mapping):
        raise ModelError(where, "expected an object such as {name, value, u}")
    name = entry.get("name")
    if not isinstance(name, str):
        raise ModelError(f"{where}.name", "every input needs a name, as it stands in the model")
    place = f"{where} ({name})"
    check_name(name, f"{where}.name")
    _refuse_unknown(entry, _INPUT_KEYS, place)
    for key in _INPUT_TEXT_KEYS:
        if entry.get(key) is not None and not isinstance(entry[key], str):
            raise ModelError(f"{place}.{key}", "expected text")
    # A key that holds null is a key that is not there: forms send it so.
    given = {key: value for key, value in entry.items() if value is not None}
    dist, beta = _distribution(given, place)
    stated = _stated(given, dist, beta, place)
    data = _data(given, place)
    dof = _degrees(given, data, place)
    if data is None:
        if "value" not in given:
            raise ModelError(f"{place}.value", "an input needs its value (the estimate), or data")
        value, u = _number(given["value"], f"{place}.value"), stated or 0.0
    else:
        value, u = _from_data(given, data, stated, place)
    try:
        return Quantity(name, value, u, dist, dof, beta, given.get("unit", ""), common_dof="dof" in given)
    except ValueError as error:  # U/k beyond the largest number, say
        raise ModelError(place, str(error).partition(": ")[2]) from None


def _distribution(given: Mapping[str, Any], place: str) -> tuple[str, float]:
    text = given.get("dist", NORMAL)
    if not isinstance(text, str) or text.lower() not in DISTRIBUTIONS:
        raise ModelError(
            f"{place}.dist", f"{text!r} is no distribution; known are {', '.join(DISTRIBUTIONS)}"
        )
    dist = DISTRIBUTIONS[text.lower()]
    if dist == CURVILINEAR:
        return dist, _inexactness(given, place)
    if "d" in given:
        raise ModelError(f"{place}.d", "only a curvilinear trapezoid (ctrap) has it")
    if dist != TRAPEZOIDAL:
        if "beta" in given:
            raise ModelError(f"{place}.beta", "only a trapezoidal distribution has it")
        return dist, 0.0
    if "beta" not in given:
        raise ModelError(f"{place}.beta", "a trapezoid needs beta, its top width over its base width (0 … 1)")
    beta = _number(given["beta"], f"{place}.beta")
    if not 0.0 <= beta <= 1.0:
        raise ModelError(f"{place}.beta", f"lies between 0 (triangle) and 1 (rectangle), not {beta:g}")
    return dist, beta


def _inexactness(given: Mapping[str, Any], place: str) -> float:
    """Of a curvilinear trapezoid (JCGM 101 6.4.3): d/a, where the half-width is known as a ± d."""
    for key, what in (("a", "its half-width"), ("d", "how far its half-width a may be off")):
        if key not in given:
            raise ModelError(f"{place}.{key}", f"a curvilinear trapezoid needs {key}, {what}")
    if "beta" in given:
        raise ModelError(f"{place}.beta", "only a trapezoidal distribution has it")
    a, d = _positive(given["a"], f"{place}.a"), _not_negative(given["d"], f"{place}.d")
    if d > a:
        raise ModelError(f"{place}.d", f"can't be more than the half-width a = {a:g}, got {d:g}")
    return d / a


def _stated(given: Mapping[str, Any], dist: str, beta: float, place: str) -> float | None:
    """The standard uncertainty as stated: u, or U/k, or from the half-width a; two statements must agree."""
    found: list[tuple[str, float]] = []
    if "u" in given:
        found.append(("u", _not_negative(given["u"], f"{place}.u")))
    if "U" in given:
        if "k" not in given:
            raise ModelError(
                f"{place}.k", "an expanded uncertainty needs its coverage factor k: k = 2 is not assumed"
            )
        found.append(("U/k", _not_negative(given["U"], f"{place}.U") / _positive(given["k"], f"{place}.k")))
    elif "k" in given:
        raise ModelError(f"{place}.U", "k is given, but not the expanded uncertainty U that it belongs to")
    if "a" in given:
        half_width = _not_negative(given["a"], f"{place}.a")
        if dist == NORMAL:
            raise ModelError(
                f"{place}.a", "a half-width needs a bounded distribution: add dist, such as uniform"
            )
        found.append(("a", half_width / divisor(dist, beta)))
    elif dist != NORMAL and not found:
        raise ModelError(f"{place}.a", f"a {dist} distribution needs its half-width a (or u)")
    if not found:
        return None
    for what, u in found[1:]:
        if not math.isclose(u, found[0][1], rel_tol=1e-6):
            raise ModelError(
                place,
                f"{found[0][0]} gives u = {found[0][1]:.6g}, but {what} gives {u:.6g}: state one of them",
            )
    return found[0][1]


def _data(given: Mapping[str, Any], place: str) -> list[float] | None:
    if "data" not in given:
        return None
    where = f"{place}.data"
    items = given["data"]
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ModelError(where, "expected a list of repeated observations")
    data = [_number(item, f"{where}[{n}]") for n, item in enumerate(items)]
    if len(data) < 2 and "u" not in given and "U" not in given and "a" not in given:
        raise ModelError(where, "a standard deviation needs at least two observations: give more, or state u")
    if not data:
        raise ModelError(where, "the list of observations is empty")
    return data


def _degrees(given: Mapping[str, Any], data: list[float] | None, place: str) -> float:
    if "dof" in given:
        number = given["dof"]
        dof = math.inf if number in ("inf", "∞", math.inf) else _positive(number, f"{place}.dof")
        if dof < 1.0:
            raise ModelError(f"{place}.dof", f"degrees of freedom are 1 or more, not {dof:g}")
        return dof
    return float(len(data) - 1) if data and len(data) > 1 else math.inf


def _from_data(
    given: Mapping[str, Any], data: list[float], stated: float | None, place: str
) -> tuple[float, float]:
    """Mean and standard deviation of the mean (GUM 4.2); a stated value or u must be what the data say."""
    try:
        value = fmean(data)
        spread = stdev(data) / math.sqrt(len(data)) if len(data) > 1 else 0.0
    except OverflowError:
        raise ModelError(
            f"{place}.data", "the observations are too large to be computed: use other units"
        ) from None
    if "value" in given:
        told = _number(given["value"], f"{place}.value")
        if abs(told - value) > max(1e-6 * spread, 1e-9 * abs(value)):
            raise ModelError(
                f"{place}.value", f"{told:.9g} is not the mean of the data, {value:.9g}: state one of them"
            )
        value = told
    if stated is None:
        return value, spread
    if len(data) > 1 and not math.isclose(stated, spread, rel_tol=1e-3):
        raise ModelError(
            place, f"the stated u = {stated:.6g} is not s/√n = {spread:.6g} of the data: state one of them"
        )
    return value, stated


def _correlations(entries: Any) -> list[tuple[str, str, float]]:
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ModelError("correlations", "expected a list of [name, name, r]")
    result = []
    for n, entry in enumerate(entries):
        where = f"correlations[{n}]"
        if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != 3:
            raise ModelError(where, "expected [name, name, r]")
        a, b, r = entry
        if not isinstance(a, str) or not isinstance(b, str):
            raise ModelError(where, "expected the names of two inputs, then r")
        result.append((a, b, _number(r, where)))
    return result


def _refuse_unknown(entry: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise ModelError(f"{where}.{key}", f"unknown key; known are {', '.join(known)}")


def _number(number: Any, where: str) -> float:
    if isinstance(number, bool) or not isinstance(number, (int, float, Decimal, str)):
        raise ModelError(where, f"expected a number, got {number!r}")
    if isinstance(number, str) and "_" in number:  # Python's way to group digits, nobody else's
        raise ModelError(where, f"expected a number, got {number!r}")
    try:
        result = float(number)  # text such as "10.05762" comes from forms
    except (ValueError, OverflowError):
        raise ModelError(where, f"expected a number, got {number!r}") from None
    if not math.isfinite(result):
        raise ModelError(where, f"expected a finite number, got {number}")
    return result


def _not_negative(number: Any, where: str) -> float:
    result = _number(number, where)
    if result < 0.0:
        raise ModelError(where, f"can't be negative, got {number}")
    return result


def _positive(number: Any, where: str) -> float:
    result = _number(number, where)
    if result <= 0.0:
        raise ModelError(where, f"must be greater than 0, got {number}")
    return result


def _integer(number: Any, default: int, where: str, low: int, high: int) -> int:
    if number is None:
        return default
    value = _number(number, where)
    if not value.is_integer() or not low <= value <= high:
        raise ModelError(where, f"expected a whole number from {low} to {high}, got {number}")
    return int(value)
