"""`suyuan budget`: a measurement model evaluated, and its uncertainty budget."""

from __future__ import annotations

import argparse
import json
import tomllib
from typing import Any

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, read_text

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
    try:
        document = json.loads(text) if text.lstrip()[:1] in ("{", "[") else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: {error}") from None
    except RecursionError:
        raise UsageError(f"{file}: is nested too deeply") from None
    if not isinstance(document, dict):
        raise UsageError(f"{file}: a model file is one table with 'model' and 'inputs'")
    return document


def _show(result: dict[str, Any], name: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("input", "value", "u", "sensitivity", "contribution", "share %", title=name or None)
    for row in result["budget"]:
        share = f"{100 * row['share']:.1f}" if row["share"] is not None else ""
        table.add_row(
            row["name"],
            f"{row['value']:.8g}",
            f"{row['u']:.4g}",
            f"{row['sensitivity']:.5g}",
            f"{row['contribution']:.4g}",
            share,
        )
    Console().print(table)
    dof = "∞" if result["dof"] is None else f"{result['dof']:.1f}"
    print(
        f"y = {result['y']:.10g}   u = {result['u']:.5g}   ν = {dof}   k = {result['k']:.4g}   U = {result['U']:.5g}"
    )
    print(
        f"{100 * result['p']:g} % interval: {result['lo']:.10g} … {result['hi']:.10g}   ({result['method']})"
    )
