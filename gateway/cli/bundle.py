"""`suyuan bundle`: the audit bundle, one HTML file that shows one instrument's data and verifies itself offline."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from evidence import bundle as bundles
from evidence.bundle_page import page
from evidence.verify import Read
from gateway.cli import DONE
from gateway.cli.instants import microseconds
from gateway.cli.output import UsageError, emit, say

EPILOG = """The file holds the instrument's readings with their certificates' digests, energies, gaps and events, and
the hashes of everything else: other instruments' data stay undisclosed. It verifies itself in a browser, offline,
with a key or policy that its reader brings, and on the command line: suyuan verify FILE.html --policy POLICY.

The source is a log's directory or address, a gateway's data directory, or a platform's store (--origin tells which
log, where it has several).

examples:
  suyuan bundle --instrument potline-1 --from 2026-11-01 --to 2026-12-01 -o potline-1.html --source ./mirror
  suyuan bundle --instrument M1 --from 2026-11-24T08:00+08:00 --to 2026-11-24T16:00+08:00 -o m1.html \\
      --source http://gateway:8475 --file certificates/m1.pdf"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("--instrument", required=True, metavar="ID", help="whose data")
    parser.add_argument(
        "--from", dest="begin", required=True, metavar="T", help="first instant: date or ISO 8601"
    )
    parser.add_argument("--to", dest="end", required=True, metavar="T", help="first instant after the period")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE.html")
    parser.add_argument(
        "--source",
        default=".",
        metavar="DIR|URL",
        help="log, address, data directory or platform's store (.)",
    )
    parser.add_argument("--origin", default="", help="which log, where the source has several")
    parser.add_argument(
        "--receipt",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a cosigned checkpoint that was kept",
    )
    parser.add_argument(
        "--file", action="append", default=[], type=Path, metavar="FILE",
        help="carry a certificate file along; the log must name its digest",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="what was written, as one JSON document on stdout"
    )


def run(_command: str, given: argparse.Namespace) -> int:
    """Make the bundle."""
    begin, end = microseconds(given.begin), microseconds(given.end)
    try:
        receipts = [path.read_bytes() for path in given.receipt]
        files = [bundles.File(path.name, _media_type(path), path.read_bytes()) for path in given.file]
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from None
    with _reader(given.source, given.origin) as read:
        made = bundles.make(read, given.instrument, begin, end, receipts=receipts, files=files)
    taken = {file.data for file in made.files}
    left = [file.name for file in files if file.data not in taken]
    if left:
        raise UsageError(f"{', '.join(left)}: the log names no document with this file's SHA-256")
    text = page(bundles.encode(made))
    given.output.write_text(text, encoding="utf-8")
    told = {
        "file": str(given.output),
        "bytes": len(text.encode()),
        "origin": made.origin,
        "instrument": made.instrument,
        "from_us": begin,
        "to_us": end,
        "entries": len(made.entries),
        "hashes": len(made.hashes),
        "files": [file.name for file in made.files],
    }
    if given.json:
        emit(told)
    say(
        f"{given.output}: {told['bytes']} bytes; {len(made.entries)} entries of {made.instrument} disclosed, "
        f"everything else as {len(made.hashes)} hashes"
    )
    return DONE


_MEDIA = {
    ".pdf": "application/pdf",
    ".xml": "application/xml",
    ".toml": "application/toml",
    ".json": "application/json",
}


def _media_type(path: Path) -> str:
    return _MEDIA.get(path.suffix.lower(), "application/octet-stream")


@contextmanager
def _reader(source: str, origin: str) -> Iterator[Read]:
    """Reads whatever the source is, as a log."""
    from evidence.command import directory_reader
    from gateway.cli.remote_log import remote_reader

    place = Path(source)
    with ExitStack() as stack:
        if "://" in source:
            yield remote_reader(source)
        elif (place / "central.db").exists():
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _copied(place, origin, copy)
            yield directory_reader(copy)
        elif (place / "log.db").exists():
            from gateway.cli.stored import stored_reader

            if not origin:
                raise UsageError(
                    f"{source}: a gateway's data directory is read with --origin (its log's name)"
                )
            yield stack.enter_context(stored_reader(place, origin))
        elif place.is_dir():
            yield directory_reader(place)
        else:
            raise UsageError(f"{source}: there is no such directory")


def _copied(place: Path, origin: str, copy: Path) -> None:
    from central.mirror import mirror
    from central.store import Store, StoreError

    try:
        with Store(place) as store:
            found = [each for each in store.gateways() if origin in ("", each.origin)]
            if len(found) != 1:
                known = ", ".join(each.origin for each in store.gateways()) or "none"
                raise UsageError(f"{place}: name one log by --origin; it has {known}")
            mirror(store, found[0], copy)
    except StoreError as error:
        raise UsageError(str(error)) from None
