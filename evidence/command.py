"""The auditor's command: ``python -m evidence.verify PATH --key VKEY``. Exit 0 yes, 1 no, 2 wrong use."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import note
from .errors import EvidenceError, ParseError
from .revocation import Revocation, read_revocations
from .verification import verify_log
from .walk import Read


class UsageError(ValueError):
    """The question cannot be asked so: what, and what to do."""


def directory_reader(directory: Path) -> Read:
    """A ``read`` for a log kept as files, as tlog-tiles names them."""

    def read(path: str) -> bytes | None:
        try:
            return (directory / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    return read


def load_key(text: str, data: Path) -> note.Verifier:
    """A key given as a vkey, or as a file that holds one. Raises UsageError, also for a key that lies with the data.

    Whoever can change the data can change a key beside it; then a forged log would verify.
    """
    if "://" in text:
        raise UsageError(
            f"--key {text}: a key is not fetched. Get it from whoever answers for the gateway, by another way than "
            "the data, compare its fingerprint, and give it here"
        )
    if "+" in text and not Path(text).exists():
        return note.Verifier.parse(text)
    path = _apart(text, data, "--key")
    try:
        lines = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--key {text}: neither a vkey (NAME+KEYID+BASE64) nor a file that holds one"
        ) from error
    return note.Verifier.parse(lines)


def load_revocations(text: str, data: Path) -> tuple[Revocation, ...]:
    """Revocations given as text (``VKEY size N``) or as a file of such lines, which may not lie with the data.

    Raises UsageError or ParseError.
    """
    if " " in text and not Path(text).exists():
        return (Revocation.parse(text),)
    try:
        return read_revocations(_apart(text, data, "--revoked").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--revoked {text}: neither 'VKEY size N' nor a file of such lines") from error


def _apart(text: str, data: Path, option: str) -> Path:
    path = Path(text)
    for place in (path.absolute(), path.resolve()):
        if place.is_relative_to(data.absolute()) or place.is_relative_to(data.resolve()):
            raise UsageError(
                f"{option} {text} lies with the data that it is to verify: whoever changed the data could have changed "
                "the key. Get the key another way, compare its fingerprint, and keep it elsewhere"
            )
    return path


def known_checkpoint(path: Path, verifiers: Sequence[note.Verifier]) -> note.Checkpoint:
    """An earlier checkpoint from a file. It must be signed by the same log. Raises UsageError."""
    try:
        return note.open_checkpoint(path.read_bytes(), *verifiers)[0]
    except (OSError, EvidenceError) as error:
        raise UsageError(f"--known {path}: {error}") from error


def previous_head(path: Path, witnesses: Sequence[note.Verifier]) -> note.Checkpoint:
    """The last head of an older log, from its last receipt: one of the witnesses cosigned it. Raises UsageError.

    The older log's own key is lost, so that its signature alone shows nothing.
    """
    try:
        signed = note.Note.parse(path.read_bytes())
        head = note.Checkpoint.parse(signed.text)
    except (OSError, EvidenceError) as error:
        raise UsageError(f"--previous {path}: {error}") from error
    if note.best_cosignature(signed, witnesses) is None:
        raise UsageError(
            f"--previous {path}: not cosigned by a --witness: give the key of the platform whose receipt it is"
        )
    return head


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(
        prog="evidence.verify",
        description="Verify a log: is it whole, unchanged, and signed by the key that you trust? "
        "Exit code 0: yes. 1: no. 2: the question was wrong.",
    )
    options.add_argument("path", help="directory of the log (checkpoint, tile/...)")
    options.add_argument(
        "--key", action="append", required=True, metavar="VKEY|FILE", help="the log's key, got another way"
    )
    options.add_argument(
        "--witness", action="append", default=[], metavar="VKEY|FILE", help="demand this cosignature"
    )
    options.add_argument(
        "--receipt", action="append", default=[], metavar="FILE", help="cosigned checkpoint kept earlier"
    )
    options.add_argument(
        "--known", metavar="FILE", help="earlier checkpoint: the log must be a continuation of it"
    )
    options.add_argument(
        "--previous",
        metavar="FILE",
        help="last receipt of the log that this one must continue (after a lost key)",
    )
    options.add_argument(
        "--revoked",
        action="append",
        default=[],
        metavar="TEXT|FILE",
        help="a revoked key: 'VKEY size N', 'VKEY witnessed-before TIME', or a file of such lines",
    )
    options.add_argument(
        "--structure",
        action="store_true",
        help="hashes, signatures, numbers and links only: faster, but what readings say is not read",
    )
    options.add_argument("--json", action="store_true", help="report as JSON")
    options.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: all)"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    try:
        if "://" in options.path:
            raise UsageError(
                f"{options.path}: this command reads files. Copy the log first (suyuan collect), then verify"
            )
        data = Path(options.path)
        if not data.is_dir():
            raise UsageError(f"{data}: no such directory")
        verifiers = [load_key(text, data) for text in options.key]
        witnesses = [load_key(text, data) for text in options.witness]
        known = known_checkpoint(Path(options.known), verifiers) if options.known else None
        receipts = [Path(path).read_bytes() for path in options.receipt]
        revoked = [one for text in options.revoked for one in load_revocations(text, data)]
        previous = previous_head(Path(options.previous), witnesses) if options.previous else None
    except (UsageError, ParseError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        report = verify_log(
            directory_reader(data),
            *verifiers,
            witnesses=witnesses,
            known=known,
            receipts=receipts,
            revoked=revoked,
            previous=previous,
            structure=options.structure,
            jobs=max(1, options.jobs),
        )
    except OSError as error:  # not evidence: a disk or a permission
        sys.stderr.write(f"{data}: cannot be read: {error}\n")
        return 2
    text = (
        json.dumps(report.to_json(), ensure_ascii=False, indent=2) + "\n"
        if options.json
        else report.to_text()
    )
    sys.stdout.write(text)
    return 0 if report.ok else 1
