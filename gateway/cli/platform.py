"""`suyuan platform`: the platform past one machine: workers on PostgreSQL, a stream, and questions over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli import DONE, NO, authority, connecting
from gateway.cli.output import UsageError, emit, read_text, say
from gateway.cli.platform_keys import receipts_key, revoked_of
from gateway.cli.stopping import SERVED_S, Stopping, until, until_stopped

if TYPE_CHECKING:
    from central.collect import Outcome
    from central.postgres import PostgresStore

EPILOG = """The database is a libpq URL, given by --database or SUYUAN_DATABASE (so that no password stands on a command
line). `prepare` lays its tables; `work`, `publish` and `ask` may run as often as needed, on any machine.

examples:
  suyuan platform prepare
  suyuan platform enrol gateways.txt              # lines: VKEY URL
  suyuan platform work --sign platform.key        # pull, verify, store, acknowledge, until it is told to stop
  suyuan platform publish nats://127.0.0.1:4222   # verified readings to JetStream, each once
  suyuan platform ask 127.0.0.1:8480              # the query API; its description at /openapi.json
  suyuan platform ca new --store ./platform --name Smelter     # certificates for gateways and servers; no database

Exit code 1: with --once, a gateway could not be finished, or an alarm."""
_TOKEN: Final = re.compile("[0-9a-f]{64}")


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, what: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=what, description=what)
        made.add_argument("--database", metavar="URL", default=os.environ.get("SUYUAN_DATABASE"))
        return made

    action("prepare", "lay the tables in an empty database")
    enrol = action("enrol", "say which gateways are pulled")
    enrol.add_argument("file", metavar="FILE", help="lines: VKEY URL; '-' is standard input")
    enrol.add_argument("--every", metavar="60s", default="60s", help="how often each is pulled")
    work = action("work", "collect what is due, until told to stop")
    work.add_argument("--sign", metavar="FILE", type=Path, help="the platform's key for receipts")
    work.add_argument("--revoked", metavar="FILE", type=Path, help="revoked keys, a line each: VKEY size N")
    work.add_argument("--name", default="", help="of this worker (default: host and process)")
    work.add_argument("--at-once", metavar="N", type=int, default=8, help="gateways at a time (8)")
    work.add_argument("--once", action="store_true", help="what is due now, then stop")
    connecting.arguments(work)
    publish = action("publish", "hand verified readings on to NATS JetStream")
    publish.add_argument("broker", metavar="nats://HOST:PORT")
    publish.add_argument("--stream", metavar="NAME", default="SUYUAN")
    publish.add_argument("--subject", metavar="PREFIX", default="suyuan.readings")
    publish.add_argument("--once", action="store_true", help="what there is now, then stop")
    what = "the platform's own certification authority"
    authority.arguments(actions.add_parser("ca", help=what, description=what))
    ask = action("ask", "answer questions over HTTP")
    ask.add_argument("listen", metavar="HOST:PORT")
    ask.add_argument(
        "--tokens", metavar="FILE", type=Path, help="SHA-256 (hex) of the tokens admitted, a line each"
    )


def run(_command: str, given: argparse.Namespace) -> int:
    """Do it."""
    if given.action == "ca":  # needs no database, and none of its libraries
        return authority.run(given)
    from central.postgres import PostgresStore
    from central.store import StoreError
    from central.stream import StreamError
    from gateway.supervision import first_of

    if not given.database:
        raise UsageError("which database? --database URL, or SUYUAN_DATABASE in the environment")
    actions: dict[str, Callable[[PostgresStore, argparse.Namespace], int]] = {
        "prepare": _prepare,
        "enrol": _enrol,
        "work": _work,
        "publish": _publish,
        "ask": _ask,
    }
    try:
        with PostgresStore(given.database) as store:
            return actions[given.action](store, given)
    except (StoreError, StreamError, BaseExceptionGroup) as failed:
        told = first_of(StoreError, failed) or first_of(StreamError, failed)
        if told is None:
            raise
        raise UsageError(str(told)) from None


def _prepare(store: PostgresStore, _given: argparse.Namespace) -> int:
    emit({"ready": True, "gateways": len(store.gateways())})
    return DONE


def _enrol(store: PostgresStore, given: argparse.Namespace) -> int:
    from central.workers import Duty, Roster
    from evidence.errors import ParseError
    from evidence.note import Verifier
    from gateway.edge import seconds

    duties = []
    for number, line in enumerate(read_text(given.file).splitlines(), 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        try:
            vkey, url = fields
            verifier = Verifier.parse(vkey)
        except (ValueError, ParseError):
            raise UsageError(f"{given.file}: line {number}: write VKEY URL, with a space between") from None
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{given.file}: line {number}: {url} is no http:// or https:// address")
        duties.append(Duty(verifier.name, url, vkey, round(seconds(given.every) * 1e6)))
    Roster(store).enrol(duties)
    emit({"enrolled": len(duties)})
    return DONE


def _work(store: PostgresStore, given: argparse.Namespace) -> int:
    from central.workers import Worker

    signer = receipts_key(given.sign) if given.sign else None
    if not 1 <= given.at_once <= 256:
        raise UsageError("--at-once: from 1 to 256")
    if given.tls_name not in (None, connecting.OF_THE_LOG):
        raise UsageError("--tls-name: only 'log': many gateways cannot share another name")
    tls = connecting.client(given)
    worst = DONE

    def report(outcome: Outcome) -> None:
        nonlocal worst
        worst = max(worst, outcome.exit_code)
        if wrong := tls.refresh():
            say(f"{wrong}: the certificate from before is used")

    worker = Worker(
        store,
        given.name or f"{socket.gethostname()}/{os.getpid()}",
        signer.signer if signer else None,
        given.at_once,
        tls=tls.context,
        by_log_name=given.tls_name == connecting.OF_THE_LOG,
        report=report,
        complain=lambda origin, what: say(f"{origin or 'database'}: {what}"),
        revoked=revoked_of(given.revoked),
    )
    if given.once:
        emit({"collected": asyncio.run(worker.round())})
        return NO if worst else DONE
    _until_stopped(worker.run)
    return DONE


def _publish(store: PostgresStore, given: argparse.Namespace) -> int:
    from central.stream import HandOn, StreamError, connected
    from gateway.clock import SystemClock

    clock = SystemClock()

    async def once() -> int:
        async with connected(given.broker, given.stream, given.subject) as stream:
            return await HandOn(store, stream).round()

    async def forever(stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with connected(given.broker, given.stream, given.subject) as stream:
                    handing = HandOn(store, stream)
                    while not stop.is_set():
                        await handing.round()
                        await clock.sleep_until(clock.now().boot_us + 1_000_000)
            except StreamError as error:  # nothing is lost: it goes on from where the stream stands
                say(str(error))
                await clock.sleep_until(clock.now().boot_us + 5_000_000)

    if given.once:
        emit({"published": asyncio.run(once())})
        return DONE
    _until_stopped(forever)
    return DONE


def _ask(store: PostgresStore, given: argparse.Namespace) -> int:
    from central.api import application
    from central.query import Questions
    from central.receive import serve

    host, _, port = given.listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{given.listen}: write HOST:PORT, for example 127.0.0.1:8480")
    tokens: list[str] = []
    if given.tokens is not None:
        tokens = read_text(str(given.tokens)).split()
        if not tokens or not all(map(_TOKEN.fullmatch, tokens)):
            raise UsageError(f"{given.tokens}: one SHA-256 a line: printf %s TOKEN | sha256sum | cut -c-64")
    elif host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(f"{host} is reached from outside: say who may ask, --tokens FILE")

    async def main(stopping: Stopping) -> None:
        stop = asyncio.Event()
        stopping.calls(stop.set)
        serving = serve(application(Questions(store, store), tokens), host, int(port), stop)
        await until(stopping, serving, grace_s=SERVED_S)

    try:
        until_stopped(main)
    except OSError as error:
        raise UsageError(f"{given.listen}: {error.strerror or error}") from None
    return DONE


def _until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Until SIGINT or SIGTERM; what is under way is cancelled, which loses nothing."""

    async def main(stopping: Stopping) -> None:
        stop = asyncio.Event()
        stopping.calls(stop.set)
        await until(stopping, work(stop))

    until_stopped(main)
