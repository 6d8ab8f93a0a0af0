"""`suyuan budget` as a metrologist reads it: the whole table, the result as certificates state it, refusals."""

from __future__ import annotations

import io
import json

import pytest

from gateway.cli import main

CALIPER = """
model = "lX - lS + dM + Dt"
unit = "mm"
inputs = [
  { name = "lX", value = 150.10, dist = "uniform", a = 0.025, unit = "mm" },
  { name = "lS", value = 150.0, dist = "uniform", a = 0.0008 },
  { name = "dM", value = 0, dist = "uniform", a = 0.05 },
  { name = "Dt", value = 0, u = 0.002, dof = 9 },
]
"""


@pytest.fixture
def suyuan(capsys, monkeypatch):
    def run(text: str, *options: str, language: str = "en") -> tuple[int, str, str]:
        monkeypatch.setenv("SUYUAN_LANG", language)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        code = main(["budget", "-", *options])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_result_is_stated_with_two_digits_k_and_p(suyuan) -> None:
    code, out, _ = suyuan(CALIPER)
    assert code == 0
    assert "result: y = (0.100 ± 0.059) mm, k = 1.83, p = 95 %" in out
    assert "note: k of a dominant rectangular contribution, or of two" in out
    assert "测量结果：y = (0.100 ± 0.059) mm，k = 1.83，p = 95 %" in suyuan(CALIPER, language="zh")[1]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_number_of_the_table_is_cut_on_80_columns(suyuan, language: str) -> None:
    out = suyuan(CALIPER, language=language)[1]
    table = out.partition("y = ")[0]
    assert "…" not in table
    row = next(line for line in table.splitlines() if " lS " in line)
    assert "-0.0004619" in row


def test_the_probability_of_a_fixed_factor_is_told(suyuan) -> None:
    assert "k = 2.00, p = 95.45 %" in suyuan("k = 2\n" + CALIPER)[1]


def test_monte_carlo_says_whether_propagation_agrees(suyuan) -> None:
    options = ("--method", "mc", "--trials", "20000")
    assert "does not agree" in suyuan(CALIPER, *options)[1]
    assert "GUM 法与之不一致" in suyuan(CALIPER, *options, language="zh")[1]


def test_what_has_no_uncertainty_by_propagation_is_not_rounded_away(suyuan) -> None:
    product = (
        '{"model": "a*b", "inputs": [{"name": "a", "value": 0, "u": 1}, {"name": "b", "value": 0, "u": 2}]}'
    )
    out = suyuan(product)[1]
    assert "it has no uncertainty" in out
    assert "use order 2" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"model": "a", "inputs": [{"name": "a", "value": 1, "u": 1, "u": 2}]}',
            "the key 'u' is given twice",
        ),
        ('{"model": "a", "inputs": [{"name": "a", "value": ' + "1" * 5000 + "}]}", "thousands of digits"),
        ('model = "a"\ninputs = [{name = "a", value = ' + "1" * 5000 + "}]", "thousands of digits"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "one table"),
        ('model = "a\n', "line 1, column"),
        (
            '{"model": "a", "inputs": [{"name": "a", "value": "1_000"}]}',
            "inputs[0] (a).value: expected a number",
        ),
    ],
)
def test_a_document_that_is_none_is_refused_in_words(suyuan, text: str, message: str) -> None:
    code, out, err = suyuan(text)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_every_distribution_has_its_word_in_both_languages(suyuan) -> None:
    kinds = {
        "uniform": {"a": 1},
        "triangular": {"a": 1},
        "arcsine": {"a": 1},
        "trapezoidal": {"a": 1, "beta": 0.5},
        "ctrap": {"a": 1, "d": 0.1},
        "normal": {"u": 1},
    }
    for language in ("en", "zh"):
        for dist, extra in kinds.items():
            document = {"model": "x", "inputs": [{"name": "x", "value": 1, "dist": dist, **extra}]}
            assert suyuan(json.dumps(document), language=language)[0] == 0


def test_a_lopsided_result_is_stated_as_its_interval(suyuan) -> None:
    # JCGM 101 9.4.2.2: 50, [0, 150] as shortest, [1, 184] as symmetric interval.
    inputs = [{"name": name, "value": 0, "u": 0.005} for name in ("a", "b")]
    document = {"model": "(a^2 + b^2)*1e6", "inputs": inputs, "method": "mc"}
    out = suyuan(json.dumps(document))[1]
    assert "result: y = 50, interval [1, 184], p = 95 %" in out
    assert "±" not in out.partition("result:")[2].partition(" (not")[0]


def test_a_fixed_factor_beside_draws_tells_what_it_covers(suyuan) -> None:
    flat = {
        "model": "x",
        "k": 1.5,
        "method": "mc",
        "inputs": [{"name": "x", "value": 1, "dist": "uniform", "a": 1}],
    }
    assert "k = 1.50, p = 86.6 %" in suyuan(json.dumps(flat))[1]


def test_half_way_is_half_way_whatever_the_machine_makes_of_it(suyuan) -> None:
    # 150.1 - 150 + 0.0075 = 0.10749999999999432 in binary; half to even is 0.108 (JJF 1059.1 5.3.8).
    rows = [("a", 150.1, 0.017), ("b", 150.0, 0.0), ("c", 0.0075, 0.0)]
    inputs = [{"name": name, "value": value, "u": u} for name, value, u in rows]
    out = suyuan(json.dumps({"model": "a - b + c", "inputs": inputs}))[1]
    assert "result: y = (0.108 ± 0.033), k = 1.96, p = 95 %" in out
