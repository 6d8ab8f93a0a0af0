"""`suyuan platform`: the platform past one machine: workers on PostgreSQL, a stream, and questions over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import DONE, NO, asking, authority, connecting
from gateway.cli.output import UsageError, emit, read_text, say
from gateway.cli.platform_keys import receipts_key, revoked_of
from gateway.cli.stopping import SERVED_S, Stopping, until, until_stopped

if TYPE_CHECKING:
    from central.collect import Outcome
    from central.holding import Holding
    from central.postgres import PostgresStore
    from central.totals import Parts

EPILOG = """The database is a libpq URL, given by --database or SUYUAN_DATABASE (so that no password stands on a command
line). `prepare` lays its tables; `work`, `publish` and `ask` may run as often as needed, on any machine.

examples:
  suyuan platform prepare
  suyuan platform enrol gateways.txt              # lines: VKEY URL
  suyuan platform work --sign platform.key        # pull, verify, store, acknowledge, until it is told to stop
  suyuan platform publish nats://127.0.0.1:4222   # verified readings to JetStream, each once
  suyuan platform ask 127.0.0.1:8480              # the query API; its description at /openapi.json
  suyuan platform ask 127.0.0.1:8480 --store ./platform        # of a collector's directory: no database
  suyuan platform ca new --store ./platform --name Smelter     # certificates for gateways and servers; no database

Exit code 1: with --once, a gateway could not be finished, or an alarm."""


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
        "--store", metavar="DIR", type=Path, help="answer from a collector's directory instead of a database"
    )
    asking.tokens(ask)


def run(_command: str, given: argparse.Namespace) -> int:
    """Do it."""
    if given.action == "ca":  # needs no database, and none of its libraries
        return authority.run(given)
    if given.action == "ask" and given.store is not None:
        return _ask_of_files(given)
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
        "ask": lambda store, given: _ask(store, store, given),
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


def _ask(store: Holding, source: Parts, given: argparse.Namespace) -> int:
    async def main(stopping: Stopping) -> None:
        stop = asyncio.Event()
        stopping.calls(stop.set)
        serving = asking.served(store, source, given.listen, given.tokens, stop)
        await until(stopping, serving, grace_s=SERVED_S)

    until_stopped(main)
    return DONE


def _ask_of_files(given: argparse.Namespace) -> int:
    """Answer from the store that `suyuan collect` keeps in a directory, while no collector has it open."""
    from central.store import DATABASE, Store, StoreError
    from central.totals import FromLog

    if not (given.store / DATABASE).is_file():
        raise UsageError(f"{given.store}: no collector has stored anything there (no {DATABASE})")
    try:
        with Store(given.store) as store:
            return _ask(store, FromLog(store), given)
    except StoreError as refused:
        raise UsageError(str(refused)) from None


def _until_stopped(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Until SIGINT or SIGTERM; what is under way is cancelled, which loses nothing."""

    async def main(stopping: Stopping) -> None:
        stop = asyncio.Event()
        stopping.calls(stop.set)
        await until(stopping, work(stop))

    until_stopped(main)
