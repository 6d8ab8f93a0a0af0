"""`suyuan key`: signing keys of a gateway's log or of a platform, and the change of a log's key."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, say
from gateway.words import phrase

if TYPE_CHECKING:
    from gateway.key_holder import LogKey

EPILOG = """The verification key (vkey) is what others need to verify; hand it over by another way than the data.
`rotate` makes a new key for a site's log. A running agent sees it, records it signed by both keys, signs with both
until every platform has the record and the overlap ([log] key_overlap) is over, and then with the new key alone.
`successor` is for a key that is lost: a site file with another origin and data directory, and the last receipt of
the old log (the platform's mirror has it as `checkpoint`), begin a log that names where the old one ended.

examples:
  suyuan key new platform.key --name platform.example/receipts --receipts
  suyuan key show data/log.key
  suyuan key show data/log.sm2.pem --name platform.example/gw/0001
  suyuan key rotate site.toml
  suyuan key rotate site.toml --sm2
  suyuan key successor site.toml --of ./copy/checkpoint"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("action", choices=["new", "show", "rotate", "successor"])
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="the key file (0600); rotate, successor: the site file"
    )
    parser.add_argument("--name", help="new: the key's name, for a log its origin; show: of an SM2 key")
    parser.add_argument(
        "--receipts", action="store_true", help="new: a platform's key, for receipts (cosignature/v1)"
    )
    parser.add_argument("--sm2", action="store_true", help="rotate: the key of the second signature")
    parser.add_argument("--of", metavar="NOTE", type=Path, help="successor: the last receipt of the old log")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """Make, show or change; never overwrites a key."""
    from evidence.note import Verifier
    from gateway.key_holder import read_reference
    from gateway.keys import create, load

    key: LogKey | None = None
    if given.action == "rotate":
        from gateway.config import SiteFile
        from gateway.site_keys import key_ring, second_ring

        site = SiteFile(given.file)
        if given.sm2 and not site.site.log.sm2:
            raise UsageError(f"{given.file}: the log has no second signature: [log] sm2 = true")
        ring = second_ring(site) if given.sm2 else key_ring(site)
        key = ring.prepare()
        say(phrase("key.rotate", file=ring.next_path))
    elif given.action == "successor":
        key = _successor(given)
    elif given.action == "new":
        if not given.name:
            raise UsageError("a new key needs --name, for example platform.example/gw/0001")
        key = create(given.file, given.name, receipts=given.receipts)
        say(f"written: {given.file} (mode 0600; keep it, and no copy elsewhere)")
    elif _is_pem(given.file):
        if not given.name:
            raise UsageError("an SM2 key has no name in its file: give the log's origin by --name")
        from gateway.sm2_key import Sm2Signer

        vkey = Sm2Signer(given.file, given.name).verifier.vkey
    else:
        reference = read_reference(given.file)
        vkey = load(given.file).vkey if reference is None else reference.vkey
    if key is not None:
        vkey = key.vkey
    if given.json:
        emit({"name": Verifier.parse(vkey).name, "vkey": vkey})
    else:
        print(vkey)
    return DONE


def _is_pem(path: Path) -> bool:
    try:
        return path.read_bytes().startswith(b"-----BEGIN")
    except OSError:
        return False  # whoever reads it next says why


def _successor(given: argparse.Namespace) -> LogKey:
    from gateway.config import SiteFile
    from gateway.platforms import platform_keys
    from gateway.site_keys import key_ring
    from gateway.successor import begin

    if given.of is None:
        raise UsageError("successor needs --of NOTE: the last receipt of the old log, from the platform")
    site = SiteFile(given.file)
    platforms = platform_keys(site)
    head = begin(site.data, site.site.site.origin, given.of.read_bytes(), platforms)
    say(phrase("key.successor", origin=site.site.site.origin, old=head.origin, size=head.size))
    return key_ring(site).current()
