"""`suyuan key`: signing keys of a gateway's log or of a platform."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, say

EPILOG = """The verification key (vkey) is what others need to verify; hand it over by another way than the data.

examples:
  suyuan key new platform.key --name platform.example/receipts --receipts
  suyuan key show data/log.key"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("action", choices=["new", "show"])
    parser.add_argument("file", metavar="FILE", type=Path, help="the key file (0600)")
    parser.add_argument("--name", help="new: the key's name; a log's key bears its origin")
    parser.add_argument(
        "--receipts", action="store_true", help="new: a platform's key, for receipts (cosignature/v1)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """Make or show; never overwrites a key."""
    from gateway.keys import create, load

    if given.action == "new":
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
