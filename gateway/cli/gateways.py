"""`suyuan gateways`: whose log a platform takes, decided by a person who compares fingerprints."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE
from gateway.cli.output import UsageError, read_text, say
from gateway.cli.stopping import SERVED_S, Stopping, until, until_stopped
from gateway.words import phrase

if TYPE_CHECKING:
    from central.enrolment import Enrolments
    from central.registry import Registry
    from central.waiting import Waiting

EPILOG = """examples:
  suyuan gateways serve 0.0.0.0:8444 --store ./platform --certificate server.pem    the door where gateways enrol
  suyuan gateways list --store ./platform
  suyuan gateways approve platform.example/gw/0001 --store ./platform --fingerprint "1a2b 3c4d 5e6f 7a8b 9c0d"
  suyuan gateways refuse platform.example/gw/0001 --store ./platform --fingerprint "1a2b 3c4d 5e6f 7a8b 9c0d"
  suyuan gateways suspend platform.example/gw/0001 --store ./platform        until it is approved again
  suyuan gateways remove platform.example/gw/0001 --store ./platform         what is stored of its log stays

Approve before it asks, by the fingerprint that the technician reads out (and the addresses that it may have):
  suyuan gateways approve platform.example/gw/0001 --store ./platform --fingerprint "1a2b …" --address gw.example

The keys that a log has had, and the newest one put into the registry:
  suyuan gateways keys platform.example/gw/0001 --store ./platform
  suyuan gateways rekey platform.example/gw/0001 --store ./platform --fingerprint "1a2b 3c4d 5e6f 7a8b 9c0d"

An application that came as a file, and its answer:
  suyuan gateways approve gateway.enrol --store ./platform --fingerprint "1a2b 3c4d 5e6f 7a8b 9c0d"
  suyuan gateways answer platform.example/gw/0001 --store ./platform > gateway.answer

With certificates of another authority (no `suyuan platform ca new`; put its root, which vouches for the
platform's own certificates, into DIR/ca/platform-ca.pem):
  suyuan gateways request platform.example/gw/0001 --store ./platform > gateway.csr
  suyuan gateways certificate platform.example/gw/0001 gateway.pem --store ./platform

--fingerprint takes what the technician read out, or the text that a scanner found in the QR code.
DIR/policy (C2SP tlog-policy) says whose receipts count: "witness centre VKEY", then "quorum centre".
A platform at work (suyuan collect --listen) sees a change at the next request."""
ACTIONS = (
    "list", "approve", "refuse", "suspend", "remove", "keys", "rekey", "answer", "request", "certificate", "serve",
)  # fmt: skip


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument(
        "which",
        metavar="ORIGIN|FILE|HOST:PORT",
        nargs="?",
        help="a gateway's origin, an application's file, or where to serve",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?",
        help="certificate: what the other authority issued (PEM); rekey: an application that the newer key has signed",
    )  # fmt: skip
    parser.add_argument("--store", required=True, metavar="DIR", type=Path, help="the platform's directory")
    parser.add_argument(
        "--gateways", metavar="FILE", type=Path, help="the file of gateways (default: DIR/gateways)"
    )
    parser.add_argument("--fingerprint", metavar="TEXT", help="as the gateway's technician read it out")
    parser.add_argument(
        "--address", action="append", default=[], metavar="HOST",
        help="approve, before it asks: an address that its certificate may have; more than one may be given",
    )  # fmt: skip
    parser.add_argument(
        "--days", metavar="N", type=int, default=365, help="how long certificates count (365)"
    )
    parser.add_argument("--policy", metavar="FILE", type=Path, help="what gateways get (default: DIR/policy)")
    parser.add_argument(
        "--certificate", metavar="PEM", type=Path, help="serve: the server's certificate chain"
    )
    parser.add_argument("--private-key", metavar="PEM", type=Path, help="its key (default: in the same file)")


def run(_command: str, given: argparse.Namespace) -> int:
    """Do it."""
    from central.authority import AuthorityError
    from central.enrolment import EnrolmentRefused
    from central.registry import Registry, RegistryError
    from central.revoked_certificates import LedgerError

    if not 1 <= given.days <= 3650:
        raise UsageError(phrase("gateways.days"))
    try:
        registry = Registry(given.gateways or given.store / "gateways", say)
        enrolments = _enrolments(given, registry)
        if given.action == "list":
            return _list(registry, enrolments)
        if given.which is None:
            raise UsageError(phrase("gateways.which", action=given.action))
        if given.action == "serve":
            return _serve(given, enrolments)
        if given.action in ("keys", "rekey"):
            from gateway.cli import gateway_keys

            return (gateway_keys.show if given.action == "keys" else gateway_keys.change)(
                given, registry, enrolments
            )
        return _decide(given, registry, enrolments)
    except EnrolmentRefused as error:
        told = phrase(f"refused.{error.kind}", **error.about) if error.kind else str(error)
        raise UsageError(told) from None
    except (AuthorityError, LedgerError, RegistryError) as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None


def _enrolments(given: argparse.Namespace, registry: Registry) -> Enrolments:
    from central.authority import GATEWAYS, Authority
    from central.enrolment import Enrolments
    from gateway.clock import moment

    own = given.store / "ca"
    authority = Authority(own) if (own / f"{GATEWAYS}.key").exists() else None
    return Enrolments(
        given.store, registry, moment, authority=authority, policy=given.policy, days=given.days
    )


def _list(registry: Registry, enrolments: Enrolments) -> int:
    for one in registry.gateways:
        name = one.verifier.name
        until = enrolments.certified(name)
        certificate = ""
        if until is not None:
            certificate = phrase("gateways.until", until=f"{until:%Y-%m-%d}")
        elif enrolments.approved(name) is not None:
            certificate = phrase("gateways.unissued")
        _row("active" if one.active else "inactive", name, one.fingerprint, certificate)
    for expected in enrolments.expected:
        _row("awaited", expected.origin, expected.fingerprint, _at(expected.addresses))
    for waiting in enrolments.waiting:
        application = waiting.application
        source = phrase("gateways.from", source=waiting.source) if waiting.source else ""
        asked = phrase("gateways.asked", asked=f"{waiting.asked:%Y-%m-%d %H:%M}")
        _row("waiting", application.origin, application.fingerprint, _at(waiting.addresses), source, asked)
    return DONE


def _row(state: str, origin: str, fingerprint: str, *more: str) -> None:
    print("  ".join([f"{phrase(f'gateways.{state}'):<9}", origin, fingerprint, *filter(None, more)]))


def _at(addresses: Sequence[str]) -> str:
    return phrase("gateways.at", addresses=", ".join(addresses)) if addresses else ""


def _decide(given: argparse.Namespace, registry: Registry, enrolments: Enrolments) -> int:
    which: str = given.which
    known = next((one for one in registry.gateways if one.verifier.name == which), None)
    if given.action == "suspend":
        if known is None:
            raise UsageError(phrase("gateways.unknown", origin=which, store=given.store))
        enrolments.suspend(known)
        say(phrase("gateways.suspended", origin=which))
        _certificate(enrolments, enrolments.certified(which))
    elif given.action == "remove":
        until = enrolments.certified(which)
        if not enrolments.forget(which):
            raise UsageError(phrase("gateways.unknown", origin=which, store=given.store))
        say(phrase("gateways.removed", origin=which))
        _certificate(enrolments, until)
    elif given.action == "refuse":
        for one in _waiting(given, enrolments):
            enrolments.refuse(one)
            say(phrase("gateways.refused", origin=which, fingerprint=one.application.fingerprint))
    elif given.action == "approve":
        _approve(given, registry, enrolments)
    elif given.action == "answer":
        print(enrolments.answer(which).encode().decode())
    elif given.action == "request":
        print(enrolments.request(which).pem, end="")
    else:
        if given.file is None:
            raise UsageError(phrase("gateways.which_certificate"))
        enrolments.imported(which, read_text(given.file))
        say(phrase("gateways.imported", origin=which))
    return DONE


def _certificate(enrolments: Enrolments, until: datetime | None) -> None:
    """What becomes of the TLS certificate of who was suspended or removed."""
    from gateway.clock import moment

    if until is None or until <= moment():
        return
    revoked = enrolments.revoked_list
    if revoked is None:
        say(f"  → {phrase('gateways.foreign_certificate', until=f'{until:%Y-%m-%d}')}")
    else:
        say(f"  → {phrase('gateways.revoked_certificate', file=revoked)}")


def _approve(given: argparse.Namespace, registry: Registry, enrolments: Enrolments) -> None:
    which: str = given.which
    known = next((one for one in registry.gateways if one.verifier.name == which), None)
    waiting = [one for one in enrolments.waiting if one.application.origin == which]
    if known is not None and not waiting:  # one that was suspended: its key was looked at before
        enrolments.reinstate(known)
    elif which == "-" or Path(which).is_file():
        which = enrolments.approve(read_text(which).encode(), given.fingerprint or "").origin
    elif known is None and given.fingerprint and not _told(given, waiting):
        enrolments.expect(which, given.fingerprint, given.address)
        say(phrase("gateways.expected", origin=which))
        if waiting:
            theirs = "; ".join(one.application.fingerprint for one in waiting)
            say(f"  → {phrase('gateways.expected_other', origin=which, theirs=theirs)}")
        return
    else:
        enrolments.approve(_waiting(given, enrolments)[0].data, given.fingerprint or "")
    say(phrase("gateways.approved", origin=which))


def _told(given: argparse.Namespace, waiting: Sequence[Waiting]) -> list[Waiting]:
    """Those that the fingerprint names."""
    from evidence.enrolment import is_told

    return [one for one in waiting if is_told(given.fingerprint or "", one.application.verifier.vkey)]


def _waiting(given: argparse.Namespace, enrolments: Enrolments) -> list[Waiting]:
    """The waiting applications of an origin that a fingerprint names; one alone for a refusal needs none."""
    found = [one for one in enrolments.waiting if one.application.origin == given.which]
    right = _told(given, found)
    if right or (given.action == "refuse" and len(found) == 1 and not given.fingerprint):
        return right or found
    theirs = "; ".join(one.application.fingerprint for one in found) or "-"
    raise UsageError(phrase("gateways.compare", theirs=theirs))


def _serve(given: argparse.Namespace, enrolments: Enrolments) -> int:
    from central.enrolment_door import application
    from central.receive import serve
    from gateway.tls import ServerTls, TlsError, TlsFiles

    host, _, port = given.which.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(phrase("gateways.address", address=given.which))
    if given.certificate is None:
        raise UsageError(phrase("gateways.no_certificate"))
    try:
        tls = ServerTls(TlsFiles(given.certificate, given.private_key), say)
        enrolments.check()
    except TlsError as error:
        raise UsageError(str(error)) from None

    async def main(stopping: Stopping) -> None:
        stop = asyncio.Event()
        stopping.calls(stop.set)

        def ready(bound: int) -> None:
            say(phrase("gateways.serving", url=f"https://{given.which.rpartition(':')[0]}:{bound}"))

        app = application(enrolments, say)
        serving = serve(app, host, int(port), stop, tls=tls.context, ready=ready)
        await until(stopping, serving, grace_s=SERVED_S)

    try:
        until_stopped(main)
    except OSError as error:
        raise UsageError(f"{given.which}: {error.strerror or error}") from None
    return DONE
