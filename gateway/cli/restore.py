"""`suyuan restore`: a gateway's log put back from the platform's copy, where the box lost or damaged it."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE, NO
from gateway.cli.output import UsageError, say
from gateway.words import phrase

EPILOG = """The agent must be stopped. The copy is taken only as far as this log's own key has signed it, and only
if it is not older than what has left this box: going on from less would sign a second history. What was there is set
aside, not deleted.

examples:
  suyuan collect http://gateway:8475 --key "$VKEY" --store ./platform --mirror ./copy      (on the platform, before)
  suyuan restore site.toml --from ./copy"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("site", metavar="SITE.toml", type=Path)
    parser.add_argument(
        "--from", dest="source", required=True, metavar="PATH|URL", help="the copy: a directory or an address"
    )


def run(_command: str, given: argparse.Namespace) -> int:
    """Restore; 1 if the copy cannot take the log's place."""
    from evidence.command import directory_reader
    from gateway.cli.remote_log import remote_reader
    from gateway.config import SiteFile
    from gateway.logfile import StoreError
    from gateway.restore import restore
    from gateway.site_keys import key_ring

    site = SiteFile(given.site)
    ring = key_ring(site)
    if not ring.path.exists():
        raise UsageError(f"{ring.path}: is not there: a log is restored for the key that it goes on with")
    if "://" in given.source:
        read = remote_reader(given.source)
    elif Path(given.source).is_dir():
        read = directory_reader(Path(given.source))
    else:
        raise UsageError(f"{given.source}: there is no such directory")
    try:
        size = restore(site.data, [key.signer.verifier for key in ring.all()], read)
    except StoreError as error:
        say(f"suyuan restore: {error}")
        return NO
    print(phrase("restore.done", entries=size))
    return DONE
