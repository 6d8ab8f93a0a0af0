"""`suyuan gateways`: whose log a platform takes, decided by a person who compares fingerprints."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE
from gateway.cli.output import UsageError, read_text, say

if TYPE_CHECKING:
    from central.enrolment import Enrolments
    from central.registry import Registry
    from central.waiting import Waiting

EPILOG = """examples:
  suyuan gateways serve 0.0.0.0:8444 --store ./platform --certificate server.pem    the door where gateways enrol
  suyuan gateways list --store ./platform
  suyuan gateways approve platform.example/gw/0001 --store ./platform --fingerprint "1a2b 3c4d 5e6f 7a8b 9c0d"
  suyuan gateways refuse platform.example/gw/0001 --store ./platform --fingerprint "1a2b 3c4d 5e6f 7a8b 9c0d"
  suyuan gateways suspend platform.example/gw/0001 --store ./platform

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
ACTIONS = ("list", "approve", "refuse", "suspend", "answer", "request", "certificate", "serve")


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
    parser.add_argument("file", metavar="PEM", nargs="?", help="certificate: what the other authority issued")
    parser.add_argument("--store", required=True, metavar="DIR", type=Path, help="the platform's directory")
    parser.add_argument(
        "--gateways", metavar="FILE", type=Path, help="the file of gateways (default: DIR/gateways)"
    )
    parser.add_argument("--fingerprint", metavar="TEXT", help="as the gateway's technician read it out")
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
    from central.registry import Registry

    if not 1 <= given.days <= 3650:
        raise UsageError("--days: from 1 to 3650")
    registry = Registry(given.gateways or given.store / "gateways", say)
    try:
        enrolments = _enrolments(given, registry)
        if given.action == "list":
            return _list(registry, enrolments)
        if given.which is None:
            raise UsageError(f"{given.action} what? See: suyuan gateways --help")
        if given.action == "serve":
            return _serve(given, enrolments)
        return _decide(given, registry, enrolments)
    except (EnrolmentRefused, AuthorityError) as error:
        raise UsageError(str(error)) from None


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
        print(f"{'active   ' if one.active else 'suspended'}  {one.verifier.name}  {one.fingerprint}")
    for waiting in enrolments.waiting:
        application = waiting.application
        at = f"  at {', '.join(waiting.addresses)}" if waiting.addresses else ""
        print(f"waiting    {application.origin}  {application.fingerprint}{at}")
    return DONE


def _decide(given: argparse.Namespace, registry: Registry, enrolments: Enrolments) -> int:
    from central.registry import Registered

    which: str = given.which
    known = next((one for one in registry.gateways if one.verifier.name == which), None)
    if given.action == "suspend":
        if known is None:
            raise UsageError(f"{which}: is not registered; see: suyuan gateways list --store {given.store}")
        registry.put(Registered(known.verifier, active=False))
    elif given.action == "refuse":
        for one in _waiting(given, enrolments):
            enrolments.refuse(one)
            say(f"{one.application.origin}: the application {one.application.fingerprint} is dropped")
    elif given.action == "approve":
        waiting = [one for one in enrolments.waiting if one.application.origin == which]
        if waiting:
            data = _waiting(given, enrolments)[0].data
        elif known is not None:  # a gateway that was suspended: its key was looked at before
            registry.put(Registered(known.verifier))
            return DONE
        else:
            data = read_text(which).encode()
        application = enrolments.approve(data, given.fingerprint or "")
        say(f"{application.origin}: approved")
    elif given.action == "answer":
        print(enrolments.answer(which).encode().decode())
    elif given.action == "request":
        print(enrolments.request(which).pem, end="")
    else:
        if given.file is None:
            raise UsageError("which certificate? suyuan gateways certificate ORIGIN FILE.pem --store DIR")
        enrolments.imported(which, read_text(given.file))
        say(f"{which}: the certificate is kept; the gateway fetches it")
    return DONE


def _waiting(given: argparse.Namespace, enrolments: Enrolments) -> list[Waiting]:
    """The waiting applications of an origin that a fingerprint names; one alone for a refusal needs none."""
    from evidence.enrolment import is_told

    found = [one for one in enrolments.waiting if one.application.origin == given.which]
    told = given.fingerprint or ""
    right = [one for one in found if is_told(told, one.application.verifier.vkey)]
    if right or (given.action == "refuse" and len(found) == 1 and not told):
        return right or found
    theirs = "; ".join(one.application.fingerprint for one in found) or "none"
    raise UsageError(
        "compare the fingerprint with what the technician reads from the gateway, then give it with --fingerprint; "
        f"waiting under {given.which}: {theirs}" + (f", given was {told}" if told else "")
    )


def _serve(given: argparse.Namespace, enrolments: Enrolments) -> int:
    from central.enrolment_door import application
    from central.receive import serve
    from gateway.tls import ServerTls, TlsError, TlsFiles
    from gateway.words import phrase

    host, _, port = given.which.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{given.which}: write HOST:PORT, for example 0.0.0.0:8444")
    if given.certificate is None:
        raise UsageError("give the server's --certificate: suyuan platform ca issue makes one")
    try:
        tls = ServerTls(TlsFiles(given.certificate, given.private_key), say)
        enrolments.check()
    except TlsError as error:
        raise UsageError(str(error)) from None

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, stop.set)

        def ready(bound: int) -> None:
            say(phrase("gateways.serving", url=f"https://{given.which.rpartition(':')[0]}:{bound}"))

        await serve(application(enrolments, say), host, int(port), stop, tls=tls.context, ready=ready)

    try:
        asyncio.run(main())
    except OSError as error:
        raise UsageError(f"{given.which}: {error.strerror or error}") from None
    return DONE
