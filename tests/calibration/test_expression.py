"""The model language: what it computes, its exact derivatives, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.expression import MAX_NESTING, ModelError, Series, parse


def value(text: str, **names: Any) -> Any:
    return parse(text).evaluate(names)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1 + 2*3", 7),
        ("(1 + 2)*3", 9),
        ("2^3^2", 512),  # powers group to the right
        ("2**-1", 0.5),
        ("-2^2", -4),  # and bind tighter than a sign
        ("(-2)^2", 4),
        ("--3", 3),
        ("8/4/2", 1),
        ("5 - 3 - 1", 1),
        ("2e3*.5", 1000),
        ("1.e-3", 0.001),
        ("sqrt(16) + abs(-1)", 5),
        ("ln(exp(2)) + log(exp(1)) + log10(1000)", 6),
        ("cos(pi) + sin(π/2)", 0),
        ("atan2(1, 1)*4", math.pi),
        ("arctan(1)*4 - acos(-1)", 0),
        ("asin(1) + tan(0)", math.pi / 2),
        ("min(3, 1, 2) + max(3, 1, 2)", 4),
        ("pow(2, 10)", 1024),
        ("sinh(0) + cosh(0) + tanh(0)", 1),
    ],
)
def test_arithmetic(text: str, result: float) -> None:
    assert value(text) == pytest.approx(result, abs=1e-12)


def test_names_are_unicode_and_listed_in_order_of_appearance() -> None:
    expression = parse("读数*as_ + Δt - 读数/x1")
    assert expression.names == ("读数", "as_", "Δt", "x1")
    assert expression.evaluate({"读数": 2.0, "as_": 3.0, "Δt": 1.0, "x1": 2.0}) == 6.0


def test_arrays_are_evaluated_at_once() -> None:
    x = np.array([1.0, 4.0, 9.0])
    assert value("2*sqrt(x) + min(x, 5)", x=x).tolist() == [3.0, 8.0, 11.0]
    assert value("atan2(x, 1)", x=x) == pytest.approx(np.arctan(x))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a +", "the end"),
        ("a b", "a product needs \\*"),
        ("2a", "a product needs \\*"),
        ("a(2)", "a is no function"),
        ("(a", "column 1"),
        ("a)", "unexpected '\\)'"),
        ("sin", "parentheses"),
        ("sin(1, 2)", "one argument"),
        ("atan2(1)", "two arguments"),
        ("min(1)", "two or more"),
        ("a $ b", "column 3"),
        ("a ++* b", "column 5"),
        ("1e999", "too large"),
        ("a.b", "no meaning"),
        ("a == b", "no meaning"),
        ("__import__('os')", "no meaning"),
        ("__import__(os)", "no function"),
        ("a[0]", "no meaning"),
        ("lambda: 1", "no meaning"),
        ("(" * 500 + "1" + ")" * 500, "nested more"),
        ("-" * 500 + "1", "nested more"),
        ("2" + "^2" * 500, "nested more"),
        ("1+" * 20_000 + "1", "characters"),
    ],
)
def test_what_is_no_model_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        parse(text, "models.P")
    assert refused.value.where == "models.P"


def test_an_error_shows_the_place_and_not_the_whole_text() -> None:
    with pytest.raises(ModelError) as refused:
        parse("a+" * 5000 + "$" + "+b" * 3000)
    assert "'$' has no meaning" in str(refused.value)
    assert "column 10001" in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_long_sum_is_no_deep_one() -> None:
    assert value("+".join(["1"] * 5000)) == 5000.0
    assert value("(" * (MAX_NESTING - 1) + "1" + ")" * (MAX_NESTING - 1)) == 1.0


@given(st.text("x+-*/^(), 1.e23absqrtpi", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        expression = parse(text)
    except ModelError:
        return
    assert expression.steps


@pytest.mark.parametrize(
    ("text", "x", "message"),
    [
        ("1/x", 0.0, "division by zero"),
        ("x^-1", 0.0, "power|division"),
        ("sqrt(x)", -1.0, "outside its domain"),
        ("ln(x)", 0.0, "outside its domain"),
        ("asin(x)", 2.0, "outside its domain"),
        ("x^0.5", -1.0, "power of a negative"),
        ("exp(x)", 1e6, "outside its domain"),
        ("10^x", 1e6, "outside its domain"),
        ("(1e200*x)^2", 1.0, "too large"),
        ("atan2(x, x)", 0.0, "no direction"),
        ("abs(x)", 0.0, "no derivative"),
        ("sqrt(x)", 0.0, "outside its domain"),
    ],
)
def test_values_outside_the_domain_are_named(text: str, x: float, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse(text).evaluate({"x": Series.variable(0, x)})


# ------------------------------------------------------------------------------------------------- derivatives

UNARY = [
    "sqrt",
    "exp",
    "log",
    "ln",
    "log10",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asin",
    "acos",
    "atan",
    "abs",
]


@pytest.mark.parametrize("name", UNARY)
def test_derivatives_of_every_function_to_the_third_order(name: str) -> None:
    x = 0.37
    series = parse(f"{name}(x)").evaluate({"x": Series.variable(0, x, 3)})
    assert isinstance(series, Series)
    # A polynomial through many points around x has these coefficients: an independent way to the derivatives.
    h = np.cos(np.pi * (2 * np.arange(12) + 1) / 24) * 0.1
    samples = parse(f"{name}(x)").evaluate({"x": x + h})
    fitted = np.polynomial.polynomial.polyfit(h / 0.1, samples, 11)
    for order in range(4):
        expected = fitted[order] / 0.1**order
        assert float(series.coefficient(*([0] * order))) == pytest.approx(expected, rel=1e-7, abs=1e-7)


TREES = st.recursive(
    st.sampled_from(["x", "y", "1.5", "0.3"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}/(2.5 + ({t[1]})^2))"),
        inner.map(lambda t: f"sin({t})"),
        inner.map(lambda t: f"exp(cos({t}))"),
        inner.map(lambda t: f"(1.1 + sin({t}))^1.7"),
        st.tuples(inner, inner).map(lambda t: f"atan2({t[0]}, 2 + cos({t[1]}))"),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(TREES, st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_gradients_of_random_models_agree_with_complex_steps(text: str, x: float, y: float) -> None:
    series = parse(text).evaluate({"x": Series.variable(0, x), "y": Series.variable(1, y)})
    if not isinstance(series, Series):
        return  # a constant
    assert series.value == pytest.approx(value(text, x=x, y=y), rel=1e-12, abs=1e-12)
    code = text.replace("^", "**").replace("atan2(", "angle(")
    scope = {"sin": np.sin, "cos": np.cos, "exp": np.exp, "angle": lambda a, b: np.arctan(a / b)}
    for index in (0, 1):
        point = {"x": complex(x), "y": complex(y)}
        point["xy"[index]] += 1e-30j
        expected = complex(eval(code, scope, point)).imag / 1e-30
        assert float(series.coefficient(index)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(TREES, st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_higher_terms_predict_the_value_nearby(text: str, x: float, y: float) -> None:
    series = parse(text).evaluate({"x": Series.variable(0, x, 3), "y": Series.variable(1, y, 3)})
    if not isinstance(series, Series):
        return
    h = 2e-3
    dx, dy = h, -0.7 * h
    predicted = sum(c * dx ** m.count(0) * dy ** m.count(1) for m, c in series.terms.items())
    scale = max(1.0, *(abs(float(c)) for c in series.terms.values()))
    assert predicted == pytest.approx(value(text, x=x + dx, y=y + dy), abs=3e3 * scale * h**4)


def test_mixed_terms_of_the_third_order_are_exact() -> None:
    point = {"x": Series.variable(0, 1.0, 3), "y": Series.variable(1, 2.0, 3)}
    series = parse("x*y^2").evaluate(point)
    terms = {m: c for m, c in series.terms.items() if c != 0.0}
    assert terms == {(): 4.0, (0,): 4.0, (1,): 4.0, (0, 1): 4.0, (1, 1): 1.0, (0, 1, 1): 1.0}
    e2 = math.exp(2.0)
    series = parse("exp(x*y)").evaluate(
        point
    )  # ∂³/∂x∂y² = (2x + x²y)·exp(xy), of which the coefficient is half
    assert series.coefficient(0, 1, 1) == pytest.approx(0.5 * (2.0 + 2.0) * e2)
    assert series.coefficient(0, 0, 1) == pytest.approx(0.5 * (2.0 * 2.0 + 4.0) * e2)


def test_a_power_with_an_uncertain_exponent() -> None:
    series = parse("x^y").evaluate({"x": Series.variable(0, 2.0), "y": Series.variable(1, 3.0)})
    assert series.value == pytest.approx(8.0)
    assert series.coefficient(0) == pytest.approx(12.0)
    assert series.coefficient(1) == pytest.approx(8.0 * math.log(2.0))


def test_a_square_has_derivatives_at_zero_and_below() -> None:
    at_zero = parse("x^2").evaluate({"x": Series.variable(0, 0.0, 3)})
    assert [at_zero.coefficient(*([0] * n)) for n in range(4)] == [0.0, 0.0, 1.0, 0.0]
    below = parse("x^3").evaluate({"x": Series.variable(0, -2.0, 3)})
    assert [below.coefficient(*([0] * n)) for n in range(4)] == [-8.0, 12.0, -6.0, 1.0]


def test_the_smaller_one_has_the_derivative() -> None:
    series = parse("min(x, 2*y)").evaluate({"x": Series.variable(0, 5.0), "y": Series.variable(1, 1.0)})
    assert (series.value, series.coefficient(0), series.coefficient(1)) == (2.0, 0.0, 2.0)
    x, y = np.array([1.0, 5.0]), np.array([1.0, 1.0])
    both = parse("max(x, 2*y)").evaluate({"x": Series.variable(0, x), "y": Series.variable(1, y)})
    assert both.value.tolist() == [2.0, 5.0]
    assert both.coefficient(0).tolist() == [0.0, 1.0]
    assert both.coefficient(1).tolist() == [2.0, 0.0]
