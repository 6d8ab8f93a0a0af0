"""`suyuan platform ca`: the platform's own small certification authority."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE
from gateway.cli.output import UsageError, say
from gateway.words import phrase

EPILOG = """examples:
  suyuan platform ca new --store ./platform --name "Smelter"
  suyuan platform ca issue server.pem --store ./platform --name platform.example --address platform.example
  suyuan platform ca issue collector.pem --store ./platform --name collector
  suyuan platform ca crl --store ./platform          # after DIR/gateways was edited by hand

`new` makes DIR/ca: gateways-ca.pem vouches for gateways (give it to collect as --clients and --ca), platform-ca.pem
for the platform's own servers and collectors (bring it to each gateway, as [enrolment] ca). Their keys stay there.
`issue` writes certificate and key into one file, mode 0600.
gateways-ca.crl lists the certificates of gateways that are suspended or were removed; `suyuan gateways` keeps it, and
`crl` makes it anew after the file of gateways. Doors and brokers read it (--crl, Mosquitto's crlfile)."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("deed", choices=("new", "issue", "crl"))
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="issue: where to write it")
    parser.add_argument("--store", required=True, metavar="DIR", type=Path, help="the platform's directory")
    parser.add_argument("--name", metavar="TEXT", help="new, issue: who it is")
    parser.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="HOST",
        help="issue: a DNS name or IP address at which it is reached; more than one may be given",
    )
    parser.add_argument(
        "--gateways", metavar="FILE", type=Path, help="crl: the file of gateways (default: DIR/gateways)"
    )
    parser.add_argument("--days", metavar="N", type=int, default=365, help="how long it counts (365)")


def run(given: argparse.Namespace) -> int:
    """Do it."""
    from central.authority import AuthorityError
    from central.registry import RegistryError
    from central.revoked_certificates import LedgerError

    if not 1 <= given.days <= 3650:
        raise UsageError(phrase("authority.days"))
    if given.name is None and given.deed != "crl":
        raise UsageError(phrase("authority.name"))
    try:
        {"new": _new, "issue": _issue, "crl": _crl}[given.deed](given)
    except (AuthorityError, LedgerError, RegistryError) as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    return DONE


def _new(given: argparse.Namespace) -> None:
    from central.authority import PLATFORM, Authority
    from gateway.clock import moment

    directory = given.store / "ca"
    Authority.create(directory, given.name, moment())
    say(phrase("authority.made", directory=directory, root=directory / f"{PLATFORM}.pem"))


def _issue(given: argparse.Namespace) -> None:
    from central.authority import Authority
    from central.durable import write_secret
    from gateway.clock import moment

    if given.file is None:
        raise UsageError(phrase("authority.where"))
    if given.file.exists():
        raise UsageError(phrase("authority.exists", file=given.file))
    made, key = Authority(given.store / "ca").for_platform(given.name, given.address, moment(), given.days)
    write_secret(given.file, made.encode() + key)
    say(phrase("authority.written", file=given.file))


def _crl(given: argparse.Namespace) -> None:
    from central.authority import Authority
    from central.enrolment import Enrolments
    from central.registry import Registry
    from gateway.clock import moment

    registry = Registry(given.gateways or given.store / "gateways", say)
    enrolments = Enrolments(given.store, registry, moment, authority=Authority(given.store / "ca"))
    count = enrolments.settle()
    say(phrase("authority.listed", file=enrolments.revoked_list, count=count))
