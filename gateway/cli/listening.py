"""`suyuan collect --listen`: the platform's side for gateways that push, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path

from gateway.cli import DONE, asking
from gateway.cli.output import UsageError, say
from gateway.cli.platform_keys import receipts_key, revoked_of
from gateway.cli.stopping import SERVED_S, Stopping, until, until_stopped
from gateway.words import phrase

LOOK_US = 5_000_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what belongs to listening."""
    group = parser.add_argument_group("gateways that push")
    group.add_argument("--listen", metavar="HOST:PORT", help="take what gateways push over HTTPS")
    group.add_argument(
        "--gateways", metavar="FILE", type=Path, help="their keys, a line each (default: DIR/gateways)"
    )
    group.add_argument(
        "--certificate",
        metavar="PEM",
        type=Path,
        help="our own certificate chain, of the server or, with a URL, of the client",
    )
    group.add_argument("--private-key", metavar="PEM", type=Path, help="its key (default: in the same file)")
    group.add_argument(
        "--clients", metavar="PEM", type=Path, help="only clients with a certificate of this CA get in"
    )
    group.add_argument(
        "--crl",
        metavar="PEM",
        type=Path,
        help="certificates of that CA that count no more (default: its file with .crl for .pem, if it is there)",
    )
    group.add_argument(
        "--broker", metavar="URL", help="also take what gateways publish over MQTT: mqtts://host:port"
    )
    group.add_argument("--broker-ca", metavar="PEM", type=Path, help="who vouches for the broker")
    group.add_argument("--broker-password", metavar="FILE", type=Path, help="user:password, in one line")
    group.add_argument(
        "--share", metavar="GROUP", default="", help="take turns with other workers of this name"
    )
    group.add_argument(
        "--stale",
        metavar="2min",
        default="2min",
        help="a gateway that is silent for so long is an alarm (2min)",
    )
    group.add_argument(
        "--database", metavar="URL", help="store in PostgreSQL instead, shared by any number of these"
    )
    group.add_argument("--plain", action="store_true", help="without TLS: behind a proxy that has it")


def _revoked_list(given: argparse.Namespace) -> Path | None:
    """The list of clients' certificates that count no more: the one that is given, or that lies beside the CA."""
    if given.clients is None:
        if given.crl is not None:
            raise UsageError(phrase("collect.crl_alone"))
        return None
    beside: Path = given.clients.with_suffix(".crl")
    found: Path | None = given.crl or (beside if beside.is_file() else None)
    said = "collect.no_crl" if found is None else "collect.crl"
    say(phrase(said, clients=given.clients, file=found or beside))
    return found


def listen(given: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from central.holding import Holding
    from central.intake import Intake
    from central.mqtt import Broker, Worker
    from central.receive import application, serve
    from central.registry import Registry
    from central.store import Store, StoreError
    from central.totals import FromLog, Parts
    from gateway.clock import SystemClock
    from gateway.edge import seconds
    from gateway.supervision import first_of
    from gateway.tls import ServerTls, TlsError, TlsFiles

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    host, _, port = given.listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{given.listen}: write --listen host:port, for example 0.0.0.0:8443")
    if given.sign is None:
        raise UsageError("a receipt is what a gateway waits for: give the platform's key, --sign FILE")
    key = receipts_key(given.sign)
    if given.certificate is None and given.private_key is not None:
        raise UsageError("--private-key belongs to a --certificate")
    if given.certificate is None and (not given.plain or given.clients is not None):
        raise UsageError("give --certificate and --private-key, or --plain if a proxy in front has the TLS")
    crl = _revoked_list(given)
    tls = None
    try:
        if given.certificate is not None:
            tls = ServerTls(TlsFiles(given.certificate, given.private_key, given.clients, crl), say)
        broker = None if given.broker is None else Broker.at(given.broker, ca=given.broker_ca)
    except TlsError as error:
        raise UsageError(str(error)) from None
    except (ValueError, OSError) as error:  # ssl names no file
        lost = given.broker_ca is not None and not given.broker_ca.is_file()
        what = f"{given.broker_ca}: not there" if lost else str(error)
        raise UsageError(
            f"{what}; certificates and keys are PEM files, a broker is mqtts://host:port"
        ) from None
    if broker is not None and given.broker_password is not None:
        user, _, password = given.broker_password.read_text(encoding="utf-8").strip().partition(":")
        broker = replace(broker, username=user, password=password)
    stale_us = round(seconds(given.stale) * 1e6)
    registry = Registry(given.gateways or given.store / "gateways", say)
    revoked = revoked_of(given.revoked)
    clock = SystemClock()

    def alarm(origin: str, kind: str, what: str) -> None:
        say(f"{origin}: {kind.upper()}: {what}")

    def opened() -> tuple[Holding, Parts]:
        if given.database is None:
            files = Store(given.store)
            return files, FromLog(files)
        from central.postgres import PostgresStore

        database = PostgresStore(given.database)
        return database, database

    async def watch(intake: Intake) -> None:
        """Say once when a gateway falls silent, and once when it is back."""
        silent: set[str] = set()
        while True:
            await clock.sleep_until(clock.now().boot_us + LOOK_US)
            found = set(await asyncio.to_thread(intake.silent, stale_us))
            for origin in sorted(found - silent):
                alarm(origin, "stale", f"nothing new for more than {given.stale}")
            for origin in sorted(silent - found):
                say(f"{origin}: is back")
            silent = found

    async def run(stopping: Stopping) -> None:
        stop = asyncio.Event()
        stopping.calls(stop.set)

        def ready(bound: int) -> None:
            scheme = "http" if tls is None else "https"
            say(phrase("collect.listening", url=f"{scheme}://{host}:{bound}", count=len(registry.gateways)))

        intake = Intake(store, registry, key.signer, lambda: clock.now().utc_us, alarm, revoked)
        context = None if tls is None else tls.context
        serving = serve(application(intake), host, int(port), stop, tls=context, ready=ready)
        working = [watch(intake)]
        if broker is not None:
            working.append(Worker(intake, broker, share=given.share).run())
        if given.ask is not None:
            working.append(asking.served(store, source, given.ask, given.tokens, stop))
        await until(stopping, serving, *working, grace_s=SERVED_S)

    try:
        store, source = opened()
        with contextlib.closing(store):
            if given.release:
                for held in (g.origin for g in store.gateways() if g.alarm):
                    store.release(held)
                    say(f"{held}: released")
            until_stopped(run)
    except (OSError, StoreError, BaseExceptionGroup) as failed:
        told = first_of(StoreError, failed) or first_of(OSError, failed)
        if told is None:
            raise
        raise UsageError(str(told)) from None
    return DONE
