"""`suyuan verify`: whether a log, or a copy of one, is whole, unchanged, and signed by the key that you trust."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evidence.command import UsageError as KeyRefused
from evidence.command import directory_reader, known_checkpoint, load_key, load_revocations, previous_head
from evidence.errors import EvidenceError, ParseError
from evidence.findings import Report, instant
from evidence.note import COSIGNATURE
from evidence.policy import Policy
from evidence.verify import Read, verify_log
from gateway.cli import DONE, NO, connecting
from gateway.cli.output import UsageError, emit, say
from gateway.cli.recomputing import entries_of, joined, recomputed
from gateway.cli.remote_log import remote_reader
from gateway.words import phrase

if TYPE_CHECKING:
    from central.audit import Recomputed

EPILOG = """The key comes from whoever answers for the gateway, by another way than the data: a key that lies with
the data is refused, because whoever changed the data could have changed the key. `suyuan key show`
prints it on the gateway.

examples:
  suyuan verify ./mirror --key "platform.example/gw/0001+1a2b3c4d+AU8c…"
  suyuan verify http://gateway:8475 --key gateway.vkey --json
  suyuan verify ./mirror --key gateway.vkey --recompute
  suyuan verify meter.html --policy auditor.policy      an audit bundle (suyuan bundle)

Exit code 0: verified. 1: not verified; every finding names its entry or tile. 2: the question was wrong."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument(
        "source",
        metavar="PATH|URL",
        help="a log's directory (checkpoint, tile/…) or its address, or an audit bundle (FILE.html)",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VKEY|FILE",
        help="the log's key; more than one after a change of keys",
    )
    parser.add_argument(
        "--witness", action="append", default=[], metavar="VKEY|FILE", help="demand this platform's receipt"
    )
    parser.add_argument(
        "--receipt", action="append", default=[], metavar="FILE", help="a receipt that was kept"
    )
    parser.add_argument(
        "--known", metavar="FILE", type=Path, help="an earlier checkpoint that the log must continue"
    )
    parser.add_argument(
        "--previous",
        metavar="FILE",
        type=Path,
        help="last receipt of the log that this one must continue (after a lost key)",
    )
    parser.add_argument(
        "--revoked",
        action="append",
        default=[],
        metavar="TEXT|FILE",
        help="a revoked key: 'VKEY size N', 'VKEY witnessed-before TIME', or a file of such lines",
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        type=Path,
        help="an audit bundle: logs, witnesses and quorum (C2SP tlog-policy)",
    )
    parser.add_argument(
        "--recompute", action="store_true", help="decode and correct every reading again, add up every energy"
    )
    parser.add_argument(
        "--structure",
        action="store_true",
        help="hashes, signatures, numbers and links only: faster, but what readings say is not read",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    connecting.arguments(parser)


def run(_command: str, given: argparse.Namespace) -> int:
    """Verify and report."""
    remote = "://" in given.source
    data = Path(given.source)
    if given.structure and (given.recompute or (not remote and data.is_file())):
        raise UsageError(
            "--structure passes over what readings say: it is for a log, and not with --recompute"
        )
    if not remote and data.is_file():
        return _bundle(data, given)
    if given.policy or not given.key:
        raise UsageError("a log is verified with --key; --policy is for an audit bundle (FILE.html)")
    if not remote and not data.is_dir():
        raise UsageError(f"{data}: there is no such directory")
    try:
        verifiers = [load_key(text, data) for text in given.key]
        witnesses = [load_key(text, data) for text in given.witness]
        known = known_checkpoint(given.known, verifiers) if given.known else None
        receipts = [Path(name).read_bytes() for name in given.receipt]
        revoked = [one for text in given.revoked for one in load_revocations(text, data)]
        previous = previous_head(given.previous, witnesses) if given.previous else None
    except (KeyRefused, EvidenceError) as error:
        raise UsageError(str(error)) from None
    with _reader(given, data, verifiers[0].name, remote=remote) as read:
        report = verify_log(
            read,
            *verifiers,
            witnesses=witnesses,
            known=known,
            receipts=receipts,
            revoked=revoked,
            previous=previous,
            structure=given.structure,
            jobs=os.cpu_count() or 1,
        )
        computed = recomputed(entries_of(read)) if given.recompute else None
    return _told(report, computed, as_json=given.json)


def _bundle(file: Path, given: argparse.Namespace) -> int:
    """`suyuan verify FILE.html`: the page's own checks, without its page."""
    from evidence.bundle import decode as decode_bundle
    from evidence.bundle_page import extract
    from evidence.bundle_verify import verify_page

    if given.known or given.receipt:
        raise UsageError(f"{file}: --known and --receipt are for a log; a bundle brings its receipts")
    try:
        policy = _policy(given, file)
        text = file.read_bytes()
        report = verify_page(text, policy)
    except (KeyRefused, EvidenceError) as error:
        raise UsageError(str(error)) from None
    computed = None
    if given.recompute and report.size:
        computed = recomputed(decode_bundle(extract(text)).entries, partial=True)
    return _told(report, computed, as_json=given.json)


def _policy(given: argparse.Namespace, file: Path) -> Policy:
    """Whom the reader of a bundle believes."""
    keys = [load_key(text, file) for text in given.key]
    witnesses = [load_key(text, file) for text in given.witness]
    revoked = [one for text in given.revoked for one in load_revocations(text, file)]
    if given.policy is None:
        if not keys:
            raise UsageError("whom do you believe? give the log's key (--key) or your policy (--policy FILE)")
        if any(witness.kind != COSIGNATURE for witness in witnesses):
            raise UsageError("--witness: a log's key, not one for receipts")
        return Policy.of_keys(keys, witnesses, revoked)
    if keys or witnesses or revoked:
        raise UsageError("--policy says all: give no --key, --witness or --revoked beside it")
    try:
        return Policy.parse(given.policy.read_bytes())
    except OSError as error:
        raise UsageError(f"--policy {given.policy}: cannot be read: {error.strerror}") from None
    except ParseError as error:
        raise UsageError(f"{given.policy}: {error}") from None


def _told(report: Report, computed: Recomputed | None, *, as_json: bool) -> int:
    """Print a report, with what was computed again; the exit code."""
    if computed is not None:
        report = joined(report, computed)
    if as_json:
        again = {} if computed is None else {"recomputed": computed.to_json()}
        emit(report.to_json() | {"entries": report.size} | again)
    else:
        if computed is not None:
            print(computed.to_text())
        print(report.to_text().rstrip())
        for line in _verdict(report):
            say(line)
    return DONE if report.ok else NO


@contextmanager
def _reader(given: argparse.Namespace, data: Path, origin: str, *, remote: bool) -> Iterator[Read]:
    """Reads an address, a directory of files, or the data directory of a gateway that is not running."""
    if remote:
        tls = connecting.client(given).context if given.source.startswith("https://") else None
        yield remote_reader(given.source, tls, connecting.name_of(given, origin))
    elif (data / "log.db").exists():
        from gateway.cli.stored import stored_reader

        with stored_reader(data, origin) as read:
            yield read
    else:
        yield directory_reader(data)


def _verdict(report: Report) -> Iterator[str]:
    """The answer in one line; of a bundle, what was disclosed, and in another what of its period is not covered."""
    shown = report.disclosed
    if not report.ok:
        yield phrase("verify.no", findings=len(report.findings))
    elif shown is None:
        yield phrase("verify.yes", entries=report.size)
    else:
        first, last = shown.numbers or ("–", "–")
        yield phrase(
            "verify.bundle",
            disclosed=shown.entries,
            entries=report.size,
            instrument=shown.instrument,
            first=first,
            last=last,
        )
    if shown is not None and not shown.whole:
        (start, end), (begin, until) = map(_instants, (shown.asked, shown.covered))
        yield phrase(
            "verify.uncovered", instrument=shown.instrument, begin=begin, until=until, start=start, end=end
        )


def _instants(period: tuple[int, int]) -> tuple[str, str]:
    return instant(period[0]), instant(period[1])
