"""`suyuan key`: signing keys of a gateway's log or of a platform, and the change of a log's key."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, say
from gateway.words import phrase

EPILOG = """The verification key (vkey) is what others need to verify; hand it over by another way than the data.
`rotate` makes a new key for a site's log. A running agent sees it, records it signed by both keys, signs with both
until every platform has the record and the overlap ([log] key_overlap) is over, and then with the new key alone.

examples:
  suyuan key new platform.key --name platform.example/receipts --receipts
  suyuan key show data/log.key
  suyuan key rotate site.toml"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("action", choices=["new", "show", "rotate"])
    parser.add_argument("file", metavar="FILE", type=Path, help="the key file (0600); rotate: the site file")
    parser.add_argument("--name", help="new: the key's name; a log's key bears its origin")
    parser.add_argument(
        "--receipts", action="store_true", help="new: a platform's key, for receipts (cosignature/v1)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """Make, show or change; never overwrites a key."""
    from gateway.keys import create, load

    if given.action == "rotate":
        from gateway.config import SiteFile
        from gateway.running import key_ring

        ring = key_ring(SiteFile(given.file))
        key = ring.prepare()
        say(phrase("key.rotate", file=ring.next_path))
    elif given.action == "new":
        if not given.name:
            raise UsageError("a new key needs --name, for example platform.example/gw/0001")
        key = create(given.file, given.name, receipts=given.receipts)
        say(f"written: {given.file} (mode 0600; keep it, and no copy elsewhere)")
    else:
        key = load(given.file)
    if given.json:
        emit({"name": key.name, "vkey": key.vkey})
    else:
        print(key.vkey)
    return DONE
