"""`suyuan platform ca`: the platform's own small certification authority."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE
from gateway.cli.output import UsageError, say

EPILOG = """examples:
  suyuan platform ca new --store ./platform --name "Smelter"
  suyuan platform ca issue server.pem --store ./platform --name platform.example --address platform.example
  suyuan platform ca issue collector.pem --store ./platform --name collector

`new` makes DIR/ca: gateways-ca.pem vouches for gateways (give it to collect as --clients and --ca), platform-ca.pem
for the platform's own servers and collectors (bring it to each gateway, as [enrolment] ca). Their keys stay there.
`issue` writes certificate and key into one file, mode 0600."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("deed", choices=("new", "issue"))
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="issue: where to write it")
    parser.add_argument("--store", required=True, metavar="DIR", type=Path, help="the platform's directory")
    parser.add_argument("--name", required=True, metavar="TEXT", help="who it is")
    parser.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="HOST",
        help="issue: a DNS name or IP address at which it is reached; more than one may be given",
    )
    parser.add_argument("--days", metavar="N", type=int, default=365, help="how long it counts (365)")


def run(given: argparse.Namespace) -> int:
    """Do it."""
    from central.authority import Authority, AuthorityError, write_secret
    from gateway.clock import moment

    directory = given.store / "ca"
    if not 1 <= given.days <= 3650:
        raise UsageError("--days: from 1 to 3650")
    try:
        if given.deed == "new":
            Authority.create(directory, given.name, moment())
            say(f"{directory}: made; bring {directory / 'platform-ca.pem'} to the gateways, keep the keys")
            return DONE
        if given.file is None:
            raise UsageError("where to? suyuan platform ca issue FILE --store DIR --name TEXT")
        if given.file.exists():
            raise UsageError(
                f"{given.file}: exists already; write to another file, then rename it in its place"
            )
        made, key = Authority(directory).for_platform(given.name, given.address, moment(), given.days)
        write_secret(given.file, made.encode() + key)
    except AuthorityError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    say(f"{given.file}: written")
    return DONE
