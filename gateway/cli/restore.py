"""`suyuan restore`: a gateway's log put back from the platform's copy, where the box lost or damaged it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE, NO, connecting
from gateway.cli.output import UsageError, say
from gateway.words import phrase

if TYPE_CHECKING:
    from evidence.verify import Read
    from gateway.config import SiteFile

EPILOG = """The agent must be stopped. The copy is taken only as far as this log's own key has signed it, and only
if it is not older than what has left this box: going on from less would sign a second history. What was there is set
aside, not deleted.

examples:
  suyuan collect http://gateway:8475 --key "$VKEY" --store ./platform --mirror ./copy      (on the platform, before)
  suyuan restore site.toml --from ./copy

A platform that gateways push to has the log at its own address, under the SHA-256 of the origin; a gateway that is
enrolled shows the certificate of its enrolment there, others name theirs (--certificate, --ca):
  suyuan restore site.toml --from https://platform.example:8443/$(printf %s ORIGIN | sha256sum | cut -c-64)"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("site", metavar="SITE.toml", type=Path)
    parser.add_argument(
        "--from", dest="source", required=True, metavar="PATH|URL", help="the copy: a directory or an address"
    )
    connecting.arguments(parser)


def run(_command: str, given: argparse.Namespace) -> int:
    """Restore; 1 if the copy cannot take the log's place."""
    from evidence.command import directory_reader
    from gateway.config import SiteFile
    from gateway.logfile import StoreError
    from gateway.restore import restore
    from gateway.site_keys import key_ring

    site = SiteFile(given.site)
    ring = key_ring(site)
    if not ring.path.exists():
        raise UsageError(f"{ring.path}: is not there: a log is restored for the key that it goes on with")
    if "://" in given.source:
        read = _address(given, site)
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


def _address(given: argparse.Namespace, site: SiteFile) -> Read:
    """A reader of the copy at an address, which is shown the certificate that is given, or that of the enrolment."""
    from gateway.cli.remote_log import remote_reader
    from gateway.enrolment import Enrolment
    from gateway.tls import ClientTls, TlsError

    tls = None
    if given.source.startswith("https://"):
        enrolment = Enrolment(site.data, site.site.site.origin)
        if given.certificate is None and given.ca is None and enrolment.done:
            try:
                tls = ClientTls(enrolment.files).context
            except TlsError as error:
                raise UsageError(str(error)) from None
        else:
            tls = connecting.client(given).context
    return remote_reader(given.source, tls, connecting.name_of(given, site.site.site.origin))
