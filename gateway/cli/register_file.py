"""The register behind a command: which file, who acts and why; refusals told whole, tables on the screen."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from gateway.cli import DONE, WRONG_USE
from gateway.cli.output import UsageError, emit, say
from gateway.clock import moment
from gateway.words import language

if TYPE_CHECKING:
    from calibration.register import Register
    from gateway.form import Form

VARIABLE = "SUYUAN_REGISTER"
DEFAULT = "register.sqlite"

Work = Callable[[argparse.Namespace], int]


def register_arguments(parser: argparse.ArgumentParser, *, writes: bool = False) -> None:
    """Declare which register, and for commands that write: who and why."""
    parser.add_argument(
        "--register", metavar="FILE", type=Path, default=Path(os.environ.get(VARIABLE) or DEFAULT),
        help=f"the register (default: ${VARIABLE}, else {DEFAULT})",
    )  # fmt: skip
    if writes:
        parser.add_argument(
            "--actor", metavar="NAME", default="", help="who does it (default: the login name)"
        )
        parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the audit trail")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],  # argparse names its own type so
    name: str,
    does: str,
    examples: str,
    work: Work,
    *,
    writes: bool = False,
) -> argparse.ArgumentParser:
    """Declare an action of a command, with its help and what it runs."""
    parser = actions.add_parser(
        name, help=does, description=does, epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    register_arguments(parser, writes=writes)
    parser.set_defaults(work=work)
    return parser


@contextmanager
def reading(given: argparse.Namespace) -> Iterator[Register]:
    """The register, for questions."""
    from calibration.register import Register

    if not given.register.exists():
        raise UsageError(
            f"{given.register}: there is no register; name it with --register or {VARIABLE}, "
            "or begin one with `suyuan instrument add`"
        )
    with Register.open(given.register, now=moment, read_only=True) as register:
        yield register


@contextmanager
def writing(given: argparse.Namespace) -> Iterator[Register]:
    """The register, for changes; made if it is not there."""
    from calibration.register import Register

    directory = given.register.parent
    if not directory.is_dir():
        raise UsageError(f"{given.register}: there is no directory {directory}")
    with Register.open(given.register, now=moment) as register:
        yield register


def actor(given: argparse.Namespace) -> str:
    """Who acts, for the audit trail."""
    if given.actor.strip():
        return str(given.actor).strip()
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("who does this? give --actor NAME (this login has no name)") from None


def on_terminal() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def answered(work: Work, command: str, given: argparse.Namespace) -> int:
    """Run an action; what the register refuses is told whole, in the reader's language. 2 if it was refused."""
    from calibration.certificate import TraceabilityError
    from calibration.refusals import Refusal
    from gateway.forms import FormRefused

    try:
        return work(given)
    except Refusal as error:
        problems = [
            {"code": each.code, "where": each.where, "text": each.text(language())} for each in error.all
        ]
    except FormRefused as error:
        problems = [{"code": each.code, "where": each.field, "text": each.text} for each in error.wrong]
    except TraceabilityError as error:
        problems = [{"code": error.code, "where": "", "text": error.text(language())}]
    if given.json:
        emit({"ok": False, "problems": problems})
    for problem in problems:
        where, text = problem["where"], problem["text"]
        text = text if not where or text.startswith(where) else f"{where}: {text}"
        say(f"suyuan {command}: {text}" + (f" [{problem['code']}]" if problem["code"] else ""))
    return WRONG_USE


def form_arguments(parser: argparse.ArgumentParser, form: Form, skip: Sequence[str] = ()) -> None:
    """One option for each field of a form."""
    for field in form.fields:
        if field.name in skip:
            continue
        about = f"{field.titled(language())}: {field.meaning[language() == 'zh']}"
        if field.example:
            about += f" ({field.example})"
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", dest=f"field_{field.name}", metavar="…",
            help=about.replace("%", "%%"), action="append" if field.lines else "store",
        )  # fmt: skip


def form_answers(form: Form, given: argparse.Namespace) -> dict[str, str]:
    """What the options say, by field name."""
    found: dict[str, str] = {}
    for field in form.fields:
        value = getattr(given, f"field_{field.name}", None)
        if value is not None:
            found[field.name] = "\n".join(value) if isinstance(value, list) else value
    return found


def day(text: str) -> date:
    """A date on the command line. Raises UsageError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a date: write 2026-11-01") from None


def days(text: str) -> timedelta:
    """A span of days such as ``90d``, ``90`` or ``2w``. Raises UsageError."""
    number = text[:-1] if text[-1:] in "dw" else text
    if not number.isdecimal() or len(number) > 5:
        raise UsageError(f"{text!r} is not a span of days: write 90d")
    return timedelta(days=int(number) * (7 if text.endswith("w") else 1))


def today() -> date:
    """The day now, where this machine stands."""
    return moment().astimezone().date()


def table(rows: Sequence[Sequence[object]], indent: str = "") -> None:
    """Rows under their headings on stdout, in columns that hold with Chinese too."""
    for line in aligned(rows):
        print(indent + line)


def aligned(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows as lines of text, their columns below each other."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max((width(row[n]) for row in texts if n < len(row)), default=0) for n in range(len(texts[0]))]
    return [
        "  ".join(cell + " " * (widths[n] - width(cell)) for n, cell in enumerate(row)).rstrip()
        for row in texts
    ]


def width(text: str) -> int:
    """Columns that a text takes on a screen."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def listed(values: Mapping[str, object], indent: str = "") -> None:
    """Named values that say something, one a line."""
    shown = {name: value for name, value in values.items() if value not in (None, "", (), {}, [])}
    widest = max((width(name) for name in shown), default=0)
    for name, value in shown.items():
        print(f"{indent}{name}{' ' * (widest - width(name))}  {value}")


def write_out(path: Path, content: bytes) -> int:
    """Write a result file, whole or not at all; '-' is standard output."""
    if str(path) == "-":
        sys.stdout.buffer.write(content)
        return DONE
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    from gateway.register_words import told

    say(told("written", path=path))
    return DONE


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, or of standard input for '-'. UsageError names what is wrong."""
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
