"""`suyuan budget`: a measurement model evaluated, and its uncertainty budget."""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from typing import Any

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, read_text
from gateway.words import phrase

EPILOG = """A model file (TOML or JSON):
  model = "V / I * cos(phi)"
  p = 0.95
  [[inputs]]
  name = "V"
  value = 4.999
  u = 0.0032            # or: dist = "uniform" and a = its half-width; or U and k; or data = [...]
  dof = 4
  ...
  correlations = [["V", "I", -0.36]]     (before the tables)
Before the tables too, where wanted: unit = "W", k = 2, method = "mc", order = 2 (higher-order terms).

example:
  suyuan budget model.toml --json"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("file", metavar="FILE", help="the model, JSON or TOML; '-' reads standard input")
    parser.add_argument(
        "--method", choices=["gum", "mc"], help="propagation (JCGM 100) or Monte Carlo (JCGM 101)"
    )
    parser.add_argument("--p", type=float, help="coverage probability (0.95)")
    parser.add_argument("--trials", type=int, help="Monte Carlo trials (10^6 if not given)")
    parser.add_argument("--seed", type=int, help="Monte Carlo seed")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """Evaluate and print."""
    from calibration.model import ModelError, budget_from_document, result_document

    document = _parse(read_text(given.file), given.file)
    for option in ("method", "p", "trials", "seed"):
        if getattr(given, option) is not None:
            document[option] = getattr(given, option)
    try:
        result = result_document(budget_from_document(document))
    except ModelError as error:
        raise UsageError(f"{given.file}: {error}") from None
    if given.json:
        emit(result)
    else:
        for name, output in result.get("outputs", {"": result}).items():
            _show(output, name)
        for a, b, r in result.get("correlations", []):
            print(f"r({a}, {b}) = {r:.4f}")
    return DONE


def _parse(text: str, file: str) -> dict[str, Any]:
    """JSON if it begins like JSON, else TOML."""
    json_like = text.lstrip()[:1] in ("{", "[")
    try:
        document = json.loads(text, object_pairs_hook=_once) if json_like else tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{file}: is nested too deeply") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UsageError) as error:
        raise UsageError(f"{file}: {error}") from None
    except ValueError:  # Python's bound for whole numbers
        raise UsageError(f"{file}: a whole number of thousands of digits: write it as 1.2e3") from None
    if not isinstance(document, dict):
        raise UsageError(f"{file}: a model file is one table with 'model' and 'inputs'")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: JSON would take the last of two, and nobody would see it."""
    for name in (names := [name for name, _ in pairs]):
        if names.count(name) > 1:
            raise UsageError(f"the key {name!r} is given twice in one object: state one of them")
    return dict(pairs)


def _show(result: dict[str, Any], name: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    # Without frames and folded, never cut: the last digits of a number that is cut are its exponent.
    table = Table(title=name or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for head in ("input", "value", "dist", "u", "dof", "sensitivity", "contribution", "share"):
        table.add_column(phrase(f"budget.{head}"), overflow="fold")
    for row in result["budget"]:
        table.add_row(
            row["name"],
            f"{row['value']:.8g} {row['unit']}".rstrip(),
            phrase(f"budget.dist-{row['dist']}"),
            f"{row['u']:.4g}",
            _dof(row["dof"]),
            f"{row['sensitivity']:.5g}",
            f"{row['contribution']:.4g}",
            "" if row["share"] is None else f"{100 * row['share']:.1f}",
        )
    Console().print(table)
    print(
        f"y = {result['y']:.10g}   u = {result['u']:.5g}   ν = {_dof(result['dof'])}   k = {result['k']:.4g}"
        f"   U = {result['U']:.5g}"
    )
    print(
        phrase(
            "budget.interval",
            p=_percent(result["p"]),
            lo=f"{result['lo']:.10g}",
            hi=f"{result['hi']:.10g}",
            method=phrase(f"budget.method-{result['method']}"),
        )
    )
    verdict = result.get("validation")
    if verdict is not None:
        print(phrase("budget.agrees" if verdict["gum_valid"] else "budget.disagrees", **_rounded(verdict)))
    print(_statement(result, name or "y"))
    for note in result["notes"]:
        print(phrase("budget.note", note=note))


def _statement(result: dict[str, Any], name: str) -> str:
    """The result as a certificate states it: U to two digits, y to match, k and p (GUM 7.2; JJF 1059.1 5.3).

    Where the draws lie to one side, y ± U would claim what is not so: then it is the interval (JCGM 101 5.5).
    """
    from calibration.coverage import rounded

    y, expanded = rounded(_computed(result["y"], result["U"]), f"{result['U']:.12g}")
    verdict, middle = result.get("validation"), 0.5 * (result["lo"] + result["hi"])
    if verdict is not None and abs(middle - result["y"]) > verdict["delta"]:
        return phrase(
            "budget.one-sided",
            name=name,
            y=y,
            lo=rounded(_computed(result["lo"], result["U"]), result["U"])[0],
            hi=rounded(_computed(result["hi"], result["U"]), result["U"])[0],
            unit=f" {result['unit']}" if result["unit"] else "",
            p=_percent(result["p"]),
        )
    unit = f" {result['unit']}" if result["unit"] else ""
    if not result["U"]:
        return phrase("budget.exact", name=name, y=f"{result['y']:.10g}", unit=unit)
    return phrase(
        "budget.result",
        name=name,
        y=y,
        expanded=expanded,
        unit=unit,
        k=f"{result['k']:.2f}",
        p=f"{100 * result['covered']:.1f}" if result.get("covered") is not None else _percent(result["p"]),
    )


def _computed(y: float, expanded: float) -> str:
    """The value to eight digits of U: 150.1 - 150 + 0.0075 is half-way at 0.1075, not 0.10749999999999432."""
    if not expanded:
        return repr(y)
    return f"{y:.{max(0, 8 - math.floor(math.log10(expanded)))}f}"


def _rounded(verdict: dict[str, Any]) -> dict[str, str]:
    return {key: f"{verdict[key]:.2g}" for key in ("d_low", "d_high", "delta")}


def _percent(p: float) -> str:
    return f"{100 * p:.4g}" if p < 0.9999 else f"{100 * p:.7g}"


def _dof(dof: float | None) -> str:
    return "∞" if dof is None else f"{dof:.1f}".removesuffix(".0")
