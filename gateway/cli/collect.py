"""`suyuan collect`: the platform's side: pull a gateway's log, verify every entry, store it, then acknowledge it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import DONE, INTERRUPTED, asking, connecting, listening
from gateway.cli.output import UsageError, emit, say
from gateway.cli.platform_keys import receipts_key, revoked_of
from gateway.cli.stopping import Stopping, until, until_stopped
from gateway.words import phrase

if TYPE_CHECKING:
    from central.collect import Collector, Outcome
    from gateway.tls import ClientTls

EPILOG = """The receipt (a cosignature of the checkpoint) is given only after the entries are stored durably.

examples:
  suyuan key new platform.key --name platform.example/receipts --receipts
  suyuan collect http://gateway:8475 --key "$VKEY" --store ./platform --sign platform.key --every 10s
  suyuan collect http://gateway:8475 --key gateway.vkey --store ./platform --once --mirror ./copy
  suyuan collect https://gateway:8475 --key "$VKEY" --store ./platform --sign platform.key --every 10s \\
                 --ca gateways-ca.pem --certificate collector.pem --tls-name log
  suyuan collect --listen 0.0.0.0:8443 --gateways gateways --store ./platform --sign platform.key \\
                 --certificate server.pem --private-key server.key --clients gateways-ca.pem
  suyuan collect http://gateway:8475 --key "$VKEY" --store ./platform --every 10s --ask 127.0.0.1:8480

Exit code 1: an alarm (fork, rollback, a log that is not sound), or the round could not be finished. With --every the
code tells how things stand at the stop: 1 if an alarm stands, else 0. A gateway that could not be reached for a while
was told of then, and is no reason for a service manager to call an orderly stop a failure."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("url", metavar="URL", nargs="?", help="the gateway's address")
    parser.add_argument("--key", metavar="VKEY|FILE", help="the gateway's key, got by another way")
    parser.add_argument(
        "--store", required=True, metavar="DIR", type=Path, help="where verified entries are kept"
    )
    parser.add_argument("--sign", metavar="FILE", type=Path, help="the platform's key for receipts")
    parser.add_argument(
        "--revoked",
        metavar="FILE",
        type=Path,
        help="revoked keys, a line each: VKEY size N (see docs/keys.md)",
    )
    rhythm = parser.add_mutually_exclusive_group()
    rhythm.add_argument("--once", action="store_true", help="one round, then stop (default)")
    rhythm.add_argument("--every", metavar="10s", help="go on, with this pause between rounds")
    parser.add_argument(
        "--mirror", metavar="DIR", type=Path, help="also keep the log as files that anybody's tools read"
    )
    parser.add_argument(
        "--release", action="store_true", help="look at the gateway again after a fork was dealt with"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document a round on stdout")
    connecting.arguments(parser, certificate=False)
    listening.arguments(parser)
    asking.arguments(parser)


def run(_command: str, given: argparse.Namespace) -> int:
    """Collect once, or until told to stop."""
    from central.collect import Collector
    from central.store import Store, StoreError
    from central.totals import FromLog
    from evidence.command import UsageError as KeyRefused
    from evidence.command import load_key
    from evidence.errors import EvidenceError
    from gateway.clock import SystemClock
    from gateway.edge import seconds
    from gateway.supervision import first_of

    if given.listen is not None:
        if given.url is not None or given.key is not None:
            raise UsageError(
                "either a URL is pulled from, or --listen takes what is pushed: run two, each with its store"
            )
        return listening.listen(given)
    if given.url is None or given.key is None:
        raise UsageError("give the gateway's address and --key, or --listen HOST:PORT for gateways that push")
    if not given.url.startswith(("http://", "https://")):
        raise UsageError(f"{given.url}: give the gateway's http:// or https:// address")
    every = seconds(given.every) if given.every else None
    if given.ask is not None and every is None:
        raise UsageError(
            "--ask goes with --every or --listen; to answer from what is stored: suyuan platform ask --store DIR"
        )
    tls = connecting.client(given) if given.url.startswith("https://") else None
    try:
        verifier = load_key(given.key, given.store)
    except (KeyRefused, EvidenceError) as error:
        raise UsageError(str(error)) from None
    signer = receipts_key(given.sign) if given.sign else None
    clock = SystemClock()
    try:
        with Store(given.store) as store:
            if given.release:
                store.release(verifier.name)
            collector = Collector(
                store,
                given.url,
                verifier,
                lambda: clock.now().utc_us,
                signer.signer if signer else None,
                tls=None if tls is None else tls.context,
                tls_name=connecting.name_of(given, verifier.name),
                revoked=revoked_of(given.revoked),
            )
            collecting = partial(_collect, collector, every, given.mirror, tls, as_json=given.json)
            if given.ask is None:
                return until_stopped(collecting)
            answering = partial(asking.served, store, FromLog(store), given.ask, given.tokens)
            return until_stopped(partial(collecting, answering=answering))
    except (StoreError, BaseExceptionGroup) as failed:
        if (told := first_of(StoreError, failed)) is None:
            raise
        raise UsageError(str(told)) from None


async def _collect(
    collector: Collector,
    every_s: float | None,
    mirror: Path | None,
    tls: ClientTls | None,
    stopping: Stopping,
    *,
    as_json: bool,
    answering: Callable[[asyncio.Event], Coroutine[Any, Any, None]] | None = None,
) -> int:
    code = DONE

    def report(outcome: Outcome) -> None:
        nonlocal code
        code = DONE if every_s is not None and not outcome.alarm else outcome.exit_code
        if as_json:
            emit(plain(outcome))
        else:
            tell(outcome)
        if mirror is not None and outcome.ok:
            _write_mirror(collector, mirror)
        if tls is not None and (wrong := tls.refresh()):
            say(f"{wrong}: the certificate from before is used")

    try:
        if every_s is None:
            code = INTERRUPTED  # unless the round comes to its end

            async def once() -> None:
                report(await collector.collect_once())

            await until(stopping, once())
            return code
        stop = asyncio.Event()
        stopping.calls(stop.set)
        beside = () if answering is None else (answering(stop),)
        await until(stopping, collector.collect_forever(every_s, report, stop), *beside)
    finally:
        await collector.close()
    return code


def _write_mirror(collector: Collector, directory: Path) -> None:
    from central.mirror import mirror

    gateway = next(g for g in collector.store.gateways() if g.origin == collector.origin)
    mirror(collector.store, gateway, directory)


def plain(outcome: Outcome) -> dict[str, object]:
    """A round as plain data."""
    return {
        "ok": outcome.ok,
        "origin": outcome.origin,
        "before": outcome.before,
        "size": outcome.size,
        "records": outcome.records,
        "signed": outcome.signed,
        "receipt": outcome.receipt,
        "alarm": outcome.alarm,
        "error": outcome.error,
        "findings": [
            {"code": f.code, "entry": f.entry, "where": f.where, "what": f.what} for f in outcome.findings
        ],
    }


def tell(outcome: Outcome) -> None:
    """A round in a line or two."""
    if outcome.alarm or outcome.error:
        say(f"{outcome.origin}: {outcome.alarm.upper() or 'not finished'}: {outcome.error}")
        for finding in outcome.findings:
            say(f"  {finding}")
        return
    accepted = phrase("collect.receipt.accepted" if outcome.receipt else "collect.receipt.refused")
    print(
        phrase(
            "collect.advanced",
            origin=outcome.origin,
            entries=outcome.records,
            size=outcome.size,
            receipt=accepted,
        ),
        flush=True,
    )
