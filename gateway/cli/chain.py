"""`suyuan chain`: the traceability chain of an instrument at a moment, as a tree, as SVG, as JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE, NO
from gateway.cli.instants import instant
from gateway.cli.output import emit
from gateway.cli.register_file import (
    answered,
    reading,
    register_arguments,
    today,
    write_out,
)
from gateway.words import language

EPILOG = """Every path from the instrument up, with its evidence and its breaks. A standard must have been in
calibration on the day on which it was used. --known-at asks what the register knew then; without it all
that is known today counts.

examples:
  suyuan chain potline-3-in
  suyuan chain potline-3-in --at 2026-08-01 --svg chain.svg
  suyuan chain potline-3-in --accept-accredited "CNAS L0000" --json

Exit code 1: the chain is not valid (incomplete or broken)."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("instrument", metavar="INSTRUMENT")
    parser.add_argument("--at", metavar="TIME", help="for a reading taken then (default: today)")
    parser.add_argument("--known-at", metavar="TIME", help="with what the register knew then")
    parser.add_argument(
        "--svg", metavar="FILE.svg", type=Path, help="write the drawing ('-': standard output)"
    )
    parser.add_argument(
        "--accept-accredited", metavar="NUMBER", action="append", nargs="?", const="", default=[],
        help="an accredited laboratory is a good end (ILAC-P10): this one, or any if no number is given",
    )  # fmt: skip
    register_arguments(parser)


def run(command: str, given: argparse.Namespace) -> int:
    """Trace and show."""
    return answered(_run, command, given)


def _run(given: argparse.Namespace) -> int:
    from calibration.chain import Policy, Status, trace
    from calibration.chain_svg import draw

    numbers = frozenset(given.accept_accredited)
    accepted: bool | frozenset[str] = True if "" in numbers else numbers
    at = instant(given.at).astimezone().date() if given.at and len(given.at) > 10 else None
    day = at or (instant(given.at).date() if given.at else today())
    known = instant(given.known_at) if given.known_at else None
    with reading(given) as register:
        chain = trace(register, given.instrument, day, known_at=known, policy=Policy(accepted))
    if given.svg is not None:
        write_out(given.svg, draw(chain, language()).encode())
    if given.json:
        emit(chain.to_plain(language()))
    elif str(given.svg) != "-":
        print(chain.tree(language()), end="")
    return DONE if chain.status is Status.VALID else NO
