"""Documents in, results out: the published examples, and errors that name the place and what to do."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.model import ModelError, budget_from_document, result_document

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "metrology.json").read_text(encoding="utf-8"))
BY_ID = {v["id"]: v for v in VECTORS["vectors"]}
# Models that are sums over indexes or ask for correlations are tested in test_uncertainty.py, by the same
# ids' names.
SCHEMES = {
    "gum-5.2.2-ten-resistors",
    "gum-H.2-output-correlations",
    "own-200-meters-30-days",
    "own-register-telescoping",
    "own-cems-24h-sum",
    "own-interp-two-cal-points-shared-ref",
}
SINGLE = [
    v for v in VECTORS["vectors"] if v["kind"] in ("lpu", "lpu_second_order", "mc") and v["id"] not in SCHEMES
]
close = pytest.approx


def document_of(vector: dict[str, Any]) -> dict[str, Any]:
    document = {"model": vector["model"], "inputs": vector["inputs"], "correlations": vector["correlations"]}
    if vector["kind"] == "mc":
        document |= {"method": "mc", "seed": 20261124, "trials": 1_000_000}
    if vector["kind"] == "lpu_second_order":
        document["order"] = 2
    if "coverage_probability" in vector["recomputed"]:
        document["p"] = vector["recomputed"]["coverage_probability"]
    return document


def answer(**document: Any) -> dict[str, Any]:
    return result_document(budget_from_document(document))


X = {"name": "x", "value": 10.0, "u": 0.1}


@pytest.mark.parametrize("vector", SINGLE, ids=[v["id"] for v in SINGLE])
def test_published_examples(vector: dict[str, Any]) -> None:
    result = answer(**document_of(vector))
    flat = dict(result)
    for name, output in result.get("outputs", {}).items():
        flat |= {name: output["y"], f"u_{name}": output["u"]}
    assert vector["tolerance"]
    for key, tolerance in vector["tolerance"].items():
        assert flat[key] == close(vector["expected"][key], abs=tolerance), key
    if vector["kind"] != "mc":
        for key in ("y", "u", "dof"):
            if vector["recomputed"].get(key) is not None:
                assert flat[key] == close(vector["recomputed"][key], rel=1e-9), key


def test_gum_method_of_the_multimeter_has_the_factor_of_a_rectangle() -> None:
    vector = BY_ID["ea-4-02-S9-multimeter-100V"]
    result = answer(model=vector["model"], inputs=vector["inputs"])
    assert result["k"] == 1.65
    assert result["U"] == close(vector["recomputed"]["U"], abs=1e-4)
    assert result["U"] == close(0.0488, abs=5e-5)


def test_jcgm_101_9_2_4_is_not_validated() -> None:
    vector = BY_ID["jcgm101-9.2.4"]
    result = answer(**document_of(vector))
    assert result["validation"]["gum_valid"] is False
    assert result["validation"]["d_high"] == close(2.9, abs=0.1)


def test_h_2_from_its_observations() -> None:
    vector = BY_ID["gum-H.2-R"]
    inputs = [{"name": i["name"], "data": i["data"]} for i in vector["inputs"]]
    models = {"R": "V/J*cos(phi)", "X": "V/J*sin(phi)", "Z": "V/J"}
    found = budget_from_document({"models": models, "inputs": inputs, "correlations": vector["correlations"]})
    result = result_document(found)
    assert result["outputs"]["R"]["u"] == close(vector["recomputed"]["u"], rel=1e-9)
    assert result["outputs"]["R"]["dof"] is None  # correlated: no Welch-Satterthwaite
    expected = BY_ID["gum-H.2-output-correlations"]
    for a, b, r in result["correlations"]:
        assert r == close(expected["expected"][f"r{a}{b}"], abs=expected["tolerance"][f"r{a}{b}"])
        assert r == close(expected["recomputed"][f"r{a}{b}"], abs=1e-9)


def test_kessels_two_point_calibration_and_its_table() -> None:
    vector = BY_ID["kessel-2pt-calibration"]
    result = answer(model=vector["model"], inputs=vector["inputs"])
    a, b = result["outputs"]["a"], result["outputs"]["b"]
    assert (a["y"], a["u"]) == close((0.0, vector["expected"]["ua"]), abs=1e-12)
    assert (b["y"], b["u"]) == close((vector["expected"]["b"], vector["expected"]["ub"]), abs=1e-12)
    ((_, _, r),) = result["correlations"]
    assert r == close(vector["expected"]["r"], abs=1e-9)
    table = BY_ID["kessel-cal-function-table"]
    inputs = [i for i in table["inputs"] if i["name"] != "x"]
    for x, expected in zip(table["inputs"][-1]["data"], table["expected"]["U_table"], strict=True):
        result = answer(
            model="a+b*(x+e_res)+e_lin",
            inputs=[*inputs, {"name": "x", "value": x}],
            correlations=table["correlations"],
            k=2,
        )
        assert result["U"] == close(expected, rel=table["tolerance"]["max_rel_err"])


@pytest.mark.parametrize("dist", VECTORS["distributions"])
def test_half_widths_of_the_distributions(dist: str) -> None:
    divisor = float(VECTORS["distributions"][dist].removeprefix("a/sqrt(").removesuffix(")"))
    result = answer(model="x", inputs=[{"name": "x", "value": 0, "dist": dist, "a": 0.5}])
    assert result["u"] == close(0.5 / math.sqrt(divisor), rel=1e-15)
    assert result["budget"][0]["dist"] == dist


@pytest.mark.parametrize(
    ("entry", "u", "dof"),
    [
        ({"U": 0.4, "k": 2}, 0.2, None),
        ({"U": Decimal("0.4"), "k": "2"}, 0.2, None),
        ({"dist": "resolution", "a": 0.005}, 0.01 / math.sqrt(12), None),
        ({"dist": "rectangular", "u": 0.1}, 0.1, None),
        ({"dist": "u-shaped", "a": 1}, 1 / math.sqrt(2), None),
        ({"dist": "trapezoidal", "a": 1, "beta": 0.5}, math.sqrt(1.25 / 6), None),
        ({"dist": "ctrap", "a": 1, "d": 0.5}, math.sqrt(1 / 3 + 0.25 / 9), None),
        ({"dist": "curvilinear-trapezoidal", "a": 2, "d": 0}, 2 / math.sqrt(3), None),
        ({"u": 0.1, "dof": 7}, 0.1, 7.0),
        ({"u": 0.1, "dof": "inf"}, 0.1, None),
        ({"u": 0.1, "dof": None}, 0.1, None),
        ({}, 0.0, None),
    ],
)
def test_ways_to_state_an_uncertainty(entry: dict, u: float, dof: float | None) -> None:
    row = answer(model="x", inputs=[{"name": "x", "value": 1, **entry}])["budget"][0]
    assert row["u"] == close(u, rel=1e-14)
    assert row["dof"] == dof


def end_gauge(dist: str) -> dict[str, Any]:
    """JCGM 101 9.5: the end-gauge of GUM H.1 with the distributions that 9.5.3 gives to its inputs."""

    def limits(half_width: float, d: float) -> dict[str, Any]:
        return {"value": 0, "dist": dist, "a": half_width} | ({"d": d} if dist == "ctrap" else {})

    return {
        "model": "LS + D + d1 + d2 - LS*(da*(t0 + De) + aS*dt) - 50000000",
        "p": 0.99,
        "inputs": [
            {"name": "LS", "value": 50000623, "u": 25, "dof": 18},
            {"name": "D", "value": 215, "u": 6, "dof": 24},
            {"name": "d1", "value": 0, "u": 4, "dof": 5},
            {"name": "d2", "value": 0, "u": 7, "dof": 8},
            {"name": "aS", "value": 11.5e-6, "dist": "uniform", "a": 2e-6},
            {"name": "t0", "value": -0.1, "u": 0.2},
            {"name": "De", "value": 0, "dist": "arcsine", "a": 0.5},
            {"name": "da", **limits(1e-6, 0.1e-6)},
            {"name": "dt", **limits(0.05, 0.025)},
        ],
    }


def test_the_end_gauge_of_jcgm_101_with_limits_that_are_not_known_exactly() -> None:
    """JCGM 101:2008 9.5.4: 838 nm, u = 36 nm; limits taken as exact give 35.5 nm."""
    inexact = answer(**end_gauge("ctrap"), method="mc", seed=1, trials=400_000)
    exact = answer(**end_gauge("uniform"), method="mc", seed=1, trials=400_000)
    assert inexact["y"] == close(838, abs=0.5)
    assert inexact["u"] == close(35.8, abs=0.15)
    assert exact["u"] == close(35.45, abs=0.15)
    assert (inexact["lo"], inexact["hi"]) == (close(745, abs=2.0), close(932, abs=2.0))


def test_the_draws_count_where_a_rectangular_input_passes_a_curved_model() -> None:
    """ln X, X rectangular over 0.1 … 1.1 (NPL report DEM-ES-011, 9.2): GUM -0.511, 0.481; draws -0.665, 0.606."""
    logarithm = {"model": "log(x)", "inputs": [{"name": "x", "value": 0.6, "dist": "uniform", "a": 0.5}]}
    result = answer(**logarithm, method="mc", seed=1, trials=400_000)
    assert (result["guf_y"], result["guf_u"]) == (close(-0.511, abs=5e-4), close(0.481, abs=5e-4))
    assert (result["y"], result["u"]) == (close(-0.665, abs=3e-3), close(0.606, abs=2e-3))
    assert (result["short_lo"], result["short_hi"]) == (close(-1.895, abs=0.02), close(0.095, abs=2e-3))
    assert result["U"] == close((result["hi"] - result["lo"]) / 2)
    assert not any("rectangular" in note for note in result["notes"])


@pytest.mark.parametrize(("factor", "rest"), [(1.0, 0.0), (0.3, 0.0), (1.0, 0.2)])
def test_fully_correlated_contributions_that_cancel_leave_nothing(factor: float, rest: float) -> None:
    """GUM 5.2.2: with r = 1 contributions add signed, so that equal ones of opposite sign leave only the rest."""
    result = answer(
        model=f"a - {factor}*b + c",
        inputs=[
            {"name": "a", "value": 10, "u": 0.1, "dof": 5},
            {"name": "b", "value": 9, "u": 0.1 / factor, "dof": 5},
            {"name": "c", "value": 0, "u": rest},
        ],
        correlations=[["a", "b", 1]],
    )
    assert result["u"] == close(rest, rel=1e-12, abs=0.0)
    assert ("the correlated contributions cancel" in result["notes"]) == (rest == 0.0)


def test_repeated_observations_give_mean_deviation_and_degrees_of_freedom() -> None:
    data = [5.007, 4.994, 5.005, 4.99, 4.999]
    result = answer(model="x", inputs=[{"name": "x", "data": data}])
    assert result["y"] == close(4.999)
    assert result["u"] == close(0.0032093613071761794, rel=1e-9)
    assert result["dof"] == close(4.0)
    assert result["k"] == close(2.776, abs=1e-3)


def test_the_result_is_json_with_the_promised_keys() -> None:
    result = answer(
        model="x - z", inputs=[X, {"name": "z", "value": 1, "u": 0.1, "dof": 4}], unit="V", p=0.99
    )
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {"y", "u", "dof", "k", "U", "lo", "hi", "budget", "method", "p"} <= result.keys()
    assert {"name", "value", "u", "sensitivity", "contribution", "share"} <= result["budget"][0].keys()
    assert (result["p"], result["unit"], result["method"]) == (0.99, "V", "gum")
    assert result["budget"][0]["dof"] is None
    monte_carlo = answer(model="x", inputs=[X], method="mc", trials=10_000, seed=1)
    assert json.loads(json.dumps(monte_carlo, allow_nan=False)) == monte_carlo
    assert {"short_lo", "short_hi", "trials", "validation"} <= monte_carlo.keys()
    assert monte_carlo == answer(model="x", inputs=[X], method="mc", trials=10_000, seed=1)
    assert monte_carlo["y"] != answer(model="x", inputs=[X], method="mc", trials=10_000, seed=2)["y"]
    assert answer(model="x", inputs=[X], method="mc", trials="adaptive")["stable"] is True


def test_an_unused_input_is_noted() -> None:
    result = answer(model="x", inputs=[X, {"name": "z", "value": 1, "u": 0.1}])
    assert result["notes"] == ["z is not used by the model"]
    assert result["u"] == close(0.1)


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"modell": "x"}, "document.modell", "unknown key"),
        ({"model": None}, "model", "expression such as"),
        ({"models": {"a": "x"}}, "model", "under the key model"),
        ({"model": {"a": 1}}, "model.a", "as text"),
        ({"model": "x +"}, "model", "the end"),
        ({"model": "x + q"}, "inputs", "the model uses q"),
        ({"inputs": []}, "inputs", "a list of input quantities"),
        ({"inputs": "x"}, "inputs", "a list of input quantities"),
        ({"inputs": [X, X]}, "inputs[1]", "given twice"),
        ({"inputs": [3]}, "inputs[0]", "an object"),
        ({"inputs": [{"value": 1}]}, "inputs[0].name", "needs a name"),
        ({"inputs": [{**X, "name": "2x"}]}, "inputs[0].name", "no name"),
        ({"inputs": [{**X, "sigma": 1}]}, "inputs[0] (x).sigma", "unknown key"),
        ({"inputs": [{"name": "x", "u": 1}]}, "inputs[0] (x).value", "needs its value"),
        ({"inputs": [{**X, "u": -0.1}]}, "inputs[0] (x).u", "negative"),
        ({"inputs": [{**X, "u": math.nan}]}, "inputs[0] (x).u", "finite"),
        ({"inputs": [{**X, "value": math.inf}]}, "inputs[0] (x).value", "finite"),
        ({"inputs": [{**X, "value": "ten"}]}, "inputs[0] (x).value", "a number"),
        ({"inputs": [{**X, "value": True}]}, "inputs[0] (x).value", "a number"),
        ({"inputs": [{**X, "dist": "weibull"}]}, "inputs[0] (x).dist", "known are normal"),
        ({"inputs": [{"name": "x", "value": 1, "dist": "uniform"}]}, "inputs[0] (x).a", "half-width"),
        ({"inputs": [{"name": "x", "value": 1, "a": 1}]}, "inputs[0] (x).a", "add dist"),
        (
            {"inputs": [{"name": "x", "value": 1, "dist": "trapezoidal", "a": 1}]},
            "inputs[0] (x).beta",
            "beta",
        ),
        ({"inputs": [{**X, "beta": 0.5}]}, "inputs[0] (x).beta", "only a trapezoidal"),
        ({"inputs": [{**X, "d": 0.5}]}, "inputs[0] (x).d", "only a curvilinear"),
        ({"inputs": [{"name": "x", "value": 1, "dist": "ctrap", "a": 1}]}, "inputs[0] (x).d", "needs d"),
        ({"inputs": [{"name": "x", "value": 1, "dist": "ctrap", "d": 1}]}, "inputs[0] (x).a", "needs a"),
        (
            {"inputs": [{"name": "x", "value": 1, "dist": "ctrap", "a": 1, "d": 2}]},
            "inputs[0] (x).d",
            "more than",
        ),
        ({"inputs": [{"name": "x", "value": 1, "U": 1}]}, "inputs[0] (x).k", "not assumed"),
        ({"inputs": [{"name": "x", "value": 1, "k": 2}]}, "inputs[0] (x).U", "k is given"),
        ({"inputs": [{"name": "x", "value": 1, "U": 1, "k": 0}]}, "inputs[0] (x).k", "greater than 0"),
        ({"inputs": [{**X, "U": 1, "k": 2}]}, "inputs[0] (x)", "state one of them"),
        ({"inputs": [{**X, "dof": 0.5}]}, "inputs[0] (x).dof", "1 or more"),
        ({"inputs": [{"name": "x", "data": [1]}]}, "inputs[0] (x).data", "at least two"),
        ({"inputs": [{"name": "x", "data": "12"}]}, "inputs[0] (x).data", "a list"),
        ({"inputs": [{"name": "x", "data": [1, None]}]}, "inputs[0] (x).data[1]", "a number"),
        ({"inputs": [{"name": "x", "value": 3, "data": [1, 2]}]}, "inputs[0] (x).value", "not the mean"),
        ({"inputs": [{"name": "x", "u": 3, "data": [1, 2]}]}, "inputs[0] (x)", "state one of them"),
        ({"inputs": [{**X, "unit": 3}]}, "inputs[0] (x).unit", "text"),
        ({"correlations": [["x", "q", 0.1]]}, "correlations[0]", "no input named q"),
        ({"correlations": [["x", "x"]]}, "correlations[0]", "name, name, r"),
        ({"correlations": [["x", 1, 0]]}, "correlations[0]", "two inputs"),
        ({"correlations": "x"}, "correlations", "a list"),
        ({"p": 95}, "p", "0.95 for 95 %"),
        ({"p": "high"}, "p", "a number"),
        ({"method": "magic"}, "method", "gum or mc"),
        ({"method": 3}, "method", "gum or mc"),
        ({"k": 0}, "k", "greater than 0"),
        ({"k": 1e6}, "k", "at most 1000"),
        ({"inputs": [{"name": "x", "value": 1, "U": 1e308, "k": 1e-9}]}, "inputs[0] (x)", "finite"),
        ({"inputs": [{"name": "x", "data": [1e308, 1e308, 1e308]}]}, "inputs[0] (x).data", "other units"),
        ({"inputs": [{**X, "u": 1e160}]}, "model", "other units"),
        ({"inputs": [{**X, "u": 10**400}]}, "inputs[0] (x).u", "a number"),
        ({"inputs": [{**X, "value": 1e200}], "method": "mc", "trials": 1000}, "model", "trials leave"),
        ({"inputs": [{**X, "value": 0, "u": 1e90}], "model": "x^2", "order": 2}, "model", "other units"),
        ({"trials": 10}, "trials", "whole number"),
        ({"trials": 1e12}, "trials", "whole number"),
        ({"seed": -1}, "seed", "whole number"),
        ({"seed": 1.5}, "seed", "whole number"),
        ({"order": 3}, "order", "whole number"),
        ({"unit": 3}, "unit", "text"),
    ],
)
def test_mistakes_are_named_with_their_place(change: dict, where: str, message: str) -> None:
    document = {"model": "x", "inputs": [X], **change}
    with pytest.raises(ModelError, match=message) as refused:
        budget_from_document(document)
    assert refused.value.where == where
    assert str(refused.value).startswith(f"{where}: ")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["x", "x*2", "mc", "uniform"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "u", "a", "k"]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["model", "inputs", "correlations", "p", "k", "seed", "unit"]), JSON))
def test_no_document_brings_it_down(document: dict) -> None:
    try:
        result = result_document(budget_from_document(document))
    except ModelError:
        return  # refused with a place: test_mistakes_are_named_with_their_place
    json.dumps(result, allow_nan=False)


# EA-4/02 M:2022, the budgets of the supplements as printed: standard uncertainty, sensitivity, distribution, dof;
# then u, k and U. Where k = 2 is printed (for about 95 %), 95.45 % is asked for.
EA_4_02 = {
    "S2 weight 10 kg, g": (
        [
            (22.5e-3, 1, "normal"), (8.95e-3, 1, "uniform"), (14.4e-3, 1, "normal", 2),
            (5.77e-3, 1, "uniform"), (5.77e-3, 1, "uniform"),
        ],
        0.9545, 29.3e-3, None, None,
    ),
    "S3 resistor 10 kOhm, Ohm": (
        [
            (2.5e-3, 1, "normal"), (5.8e-3, 1, "uniform"), (1.6e-3, 1, "uniform"), (3.2e-3, 1, "uniform"),
            (4.1e-7, 1e4, "triangular"), (7e-8, 1e4, "normal", 4),
        ],
        0.9545, 8.33e-3, 2.0, 17e-3,
    ),
    "S4 gauge block, nm": (
        [
            (15.0, 1, "normal"), (17.3, 1, "uniform"), (5.37, 1, "normal", 4), (18.5, 1, "uniform"),
            (0.0289, -575, "uniform"), (0.236, 50, "triangular"), (3.87, -1, "uniform"),
        ],
        0.9545, 36.4, 2.0, 73.0,
    ),
    "S5 thermocouple, K": (
        [
            (0.1, 1, "normal"), (1, 0.077, "normal"), (0.29, 0.077, "uniform"), (1.15, 0.077, "uniform"),
            (0.058, -0.407, "uniform"), (0.15, 1, "normal"), (0.173, 1, "uniform"), (0.577, 1, "uniform"),
        ],
        0.9545, 0.641, 2.0, 1.3,
    ),
    "S6 power sensor": (
        [
            (9e-3, 1, "normal"), (2.5e-3, 1, "uniform"), (1.1e-3, 1, "arcsine"), (20e-3, 1, "arcsine"),
            (1.7e-3, 1, "arcsine"), (0.3e-3, -1, "arcsine"), (0.3e-3, 1, "uniform"), (2e-3, -1, "uniform"),
            (2e-3, 1, "normal"),
        ],
        0.9545, 22.4e-3, 2.0, 45e-3,
    ),
    "S9 multimeter, V": (
        [(1e-3, -1, "normal"), (29e-3, 1, "uniform"), (6.4e-3, -1, "uniform")],
        0.95, 0.030, 1.65, 0.05,
    ),
    "S10 caliper, um": (
        [(0.46, -1, "uniform"), (1.15, 1.7, "uniform"), (14.43, 1, "uniform"), (28.87, 1, "uniform")],
        0.95, 33.0, 1.83, 60.0,
    ),
    "S11 temperature block calibrator, mK": (
        [
            (15, 1, "normal"), (10, 1, "normal"), (23, 1, "uniform"), (29, -1, "uniform"), (58, 1, "uniform"),
            (144, 1, "uniform"), (29, 1, "uniform"), (17, 1, "uniform"),
        ],
        0.95, 164.0, 1.83, 300.0,  # k = 1.81 is printed, of the trapezoid alone
    ),
    "S12 water meter": ([(0.6e-3, 1, "normal", 2), (0.68e-3, 1, "normal")], 0.9545, 0.91e-3, 2.28, 2e-3),
}  # fmt: skip


@pytest.mark.parametrize("title", EA_4_02)
def test_the_budgets_of_ea_4_02(title: str) -> None:
    rows, p, u, k, expanded = EA_4_02[title]
    inputs = [
        {"name": f"x{n}", "value": 0, "u": row[0], "dist": row[2], "dof": row[3] if len(row) > 3 else "inf"}
        for n, row in enumerate(rows)
    ]
    result = answer(model="+".join(f"({row[1]})*x{n}" for n, row in enumerate(rows)), inputs=inputs, p=p)
    assert result["u"] == close(u, rel=0.025)
    if k is not None:
        assert result["k"] == close(k, abs=0.006)
    if expanded is not None:
        digits = 1 if title[:3] in ("S9 ", "S10", "S11", "S12") else 2
        assert float(f"{result['U']:.{digits - 1}e}") == close(expanded, rel=1e-9)
