"""`suyuan due`: which instruments have to be calibrated, the most urgent first."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from gateway.cli import DONE, NO
from gateway.cli.output import UsageError, emit, say
from gateway.cli.register_file import (
    answered,
    day,
    days,
    reading,
    register_arguments,
    table,
    today,
    write_out,
)
from gateway.register_words import told
from gateway.words import language

EPILOG = """Instruments in use: never calibrated first, then by due date. The due date is the certificate's own or
the agreed interval's, whichever is earlier; an ad-hoc calibration does not move it.

examples:
  suyuan due
  suyuan due --within 90d -o due.xlsx
  suyuan due --within 0d --strict      for a nightly check

Exit code 1 with --strict: something is overdue or was never calibrated."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--within", metavar="90d", help="only what is due by then, overdue or never calibrated"
    )
    parser.add_argument("--on", metavar="DATE", help="as seen on that day (default: today)")
    parser.add_argument("--kind", metavar="KIND", help="meter, ct, pt, reference_standard …")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if anything is overdue")
    parser.add_argument(
        "-o", "--output", metavar="FILE.csv|.xlsx", type=Path, help="write the list as a table"
    )
    register_arguments(parser)


def run(command: str, given: argparse.Namespace) -> int:
    """List what is due."""
    return answered(_run, command, given)


def _run(given: argparse.Namespace) -> int:
    from calibration.certificate import InstrumentKind
    from calibration.intervals import Urgency, due_list
    from calibration.plain import to_plain
    from calibration.tables import due_rows, write_csv, write_excel

    on = day(given.on) if given.on else today()
    until = None
    if given.within:
        span = days(given.within)
        until = on + span if span < date.max - on else date.max
    try:
        kind = InstrumentKind(given.kind) if given.kind else None
    except ValueError:
        raise UsageError(f"--kind {given.kind}: there are {', '.join(InstrumentKind)}") from None
    with reading(given) as register:
        found = due_list(register.instruments(kind=kind), register.certificates(), on)
    if until is not None:
        found = tuple(
            each
            for each in found
            if each.urgency is Urgency.NEVER or (each.due is not None and each.due <= until)
        )
    late = sum(each.urgency in {Urgency.OVERDUE, Urgency.NEVER} for each in found)
    header, rows = due_rows(found, language())
    if given.output is not None:
        excel = given.output.suffix.lower() == ".xlsx"
        if not excel and given.output.suffix.lower() != ".csv":
            raise UsageError(f"{given.output}: .csv and .xlsx are written")
        write_out(given.output, write_excel({"due": (header, rows)}) if excel else write_csv(header, rows))
    if given.json:
        emit(
            [
                to_plain(each) | {"instrument": each.instrument.id, "place": each.instrument.place}
                for each in found
            ]
        )
    elif given.output is None:
        table([header, *rows])
        say(told("due.summary", count=len(found), overdue=late))
    return NO if given.strict and late else DONE
