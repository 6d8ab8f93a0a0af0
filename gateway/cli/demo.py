"""`suyuan demo`: the main job on a simulated site, with a verdict.

Meters in a process of their own; the agent reads, corrects, signs and stores; a platform pulls over HTTP, verifies and
acknowledges. At the end the platform's verified entries, and nothing else, are held against the simulator's truth.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE, NO
from gateway.cli.output import emit, say
from gateway.cli.stopping import WITHIN_S, Stopping, until_stopped
from gateway.words import phrase

if TYPE_CHECKING:
    from central.collect import Collector, Outcome
    from gateway.agent import Agent
    from gateway.cli.demo_summary import Ran
    from gateway.config import SiteFile

EPILOG = """Five simulated meters on three lines (DL/T 645-2007, Modbus RTU, Modbus TCP) with certificates, an agent,
and a platform that pulls, verifies and acknowledges. Exit code 0 only if every entry is verified and nothing was
lost.

examples:
  suyuan demo --for 30s
  suyuan demo --for 1min --keep ./demo      keeps the site, its log and the platform's copy
  suyuan demo --for 30s --json"""

COLLECT_EVERY_S = 2.0
LINGER_S = 10.0
START_WITHIN_S = 30.0


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("--for", dest="duration", metavar="30s", help="how long (until Ctrl-C without it)")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another plant (1)")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep everything in this new directory")
    parser.add_argument(
        "--svg", metavar="FILE", type=Path, help="also write the last screen and the summary as SVG"
    )
    parser.add_argument("--json", action="store_true", help="the summary as one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """Run it; 0 only if all is verified and nothing lost."""
    from gateway.cli.output import UsageError
    from gateway.edge import seconds

    logging.basicConfig(level=logging.ERROR)
    duration = seconds(given.duration) if given.duration else None
    if given.keep is None:
        with tempfile.TemporaryDirectory(prefix="suyuan-demo-") as directory:
            return _demo(Path(directory), given, duration)
    if given.keep.exists() and any(given.keep.iterdir()):
        raise UsageError(f"{given.keep}: is not empty; name a new directory")
    given.keep.mkdir(parents=True, exist_ok=True)
    return _demo(given.keep.resolve(), given, duration)


def _demo(directory: Path, given: argparse.Namespace, duration: float | None) -> int:
    from gateway.cli.demo_summary import summarise
    from gateway.cli.demo_view import Screen
    from gateway.cli.simulated_site import write_demo
    from gateway.config import SiteFile
    from gateway.keys import create

    say(phrase("demo.starting", seed=given.seed))
    platform = create(directory / "platform" / "platform.key", "suyuan.example/platform", receipts=True)
    site = SiteFile(write_demo(directory, given.seed, platform.vkey))
    screen = Screen(
        live=sys.stdout.isatty() and not given.json, quiet=given.json, record=given.svg is not None
    )
    ran = until_stopped(
        partial(_run, site, directory / "platform", duration, screen), lambda: NO, WITHIN_S + LINGER_S
    )
    summary = summarise(site, ran, directory)
    if given.json:
        emit(summary.to_json())
    else:
        screen.summary(summary)
    if given.svg is not None:
        screen.save(given.svg)
    return DONE if summary.ok else NO


async def _run(
    site: SiteFile, platform: Path, duration: float | None, screen: object, stopping: Stopping
) -> Ran:
    from gateway.cli.demo_summary import Ran
    from gateway.cli.demo_view import Screen

    assert isinstance(screen, Screen)
    stop = asyncio.Event()
    stopping.calls(stop.set)
    async with (
        _simulator(site, stop),
        _agent(site) as (agent, vkey, running),
        _collector(site, platform, vkey) as collector,
    ):
        outcomes: list[Outcome] = []
        if duration is not None:
            asyncio.get_running_loop().call_later(duration, stopping.ask)
        async with asyncio.TaskGroup() as group:
            collecting = group.create_task(collector.collect_forever(COLLECT_EVERY_S, outcomes.append))
            showing = group.create_task(screen.show(agent))
            told = group.create_task(stop.wait())
            await asyncio.wait((told, running), return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            status = agent.status()
            agent.stop()
            await running
            showing.cancel()
            collecting.cancel()
        size = agent.store.size
        receipts = len({outcome.size for outcome in outcomes if outcome.receipt})
        last = outcomes[-1]
        return Ran(vkey, platform, size, last, receipts, status.alarms)


@asynccontextmanager
async def _simulator(site: SiteFile, stop: asyncio.Event) -> AsyncIterator[None]:
    """The meters, in a process of their own, ready when every port can be opened."""
    from gateway.clock import moment
    from gateway.prepare import prepare, unreachable
    from gateway.toml_source import ConfigError

    command = (sys.executable, "-m", "gateway.cli", "sim", str(site.path), "--quiet")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        prepared = prepare(site, moment)
        until = asyncio.get_running_loop().time() + START_WITHIN_S
        while problems := await unreachable(prepared):
            if process.returncode is not None or stop.is_set() or asyncio.get_running_loop().time() > until:
                raise ConfigError(problems)
            await asyncio.sleep(0.1)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def _agent(site: SiteFile) -> AsyncIterator[tuple[Agent, str, asyncio.Task[None]]]:
    """The agent at work, with the vkey of its log."""
    from gateway.agent import Agent
    from gateway.clock import SystemClock, moment
    from gateway.planning import plan_of
    from gateway.prepare import prepare
    from gateway.site_keys import log_key

    key = log_key(site)
    plan = replace(plan_of(prepare(site, moment), key), linger_us=round(LINGER_S * 1e6))
    agent = Agent(plan, SystemClock())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent.run())
        while agent.address is None and not running.done():  # noqa: ASYNC110 - a start of some milliseconds
            await asyncio.sleep(0.02)
        try:
            yield agent, key.vkey, running
        finally:
            agent.stop()


@asynccontextmanager
async def _collector(site: SiteFile, platform: Path, vkey: str) -> AsyncIterator[Collector]:
    """The platform, which knows of the gateway its address and its key."""
    from central.collect import Collector
    from central.store import Store
    from evidence.note import Verifier
    from gateway.clock import SystemClock
    from gateway.keys import load

    clock = SystemClock()
    with Store(platform / "store") as store:
        collector = Collector(
            store,
            f"http://{site.site.serve.listen}",
            Verifier.parse(vkey),
            lambda: clock.now().utc_us,
            load(platform / "platform.key").signer,
        )
        try:
            yield collector
        finally:
            await collector.close()
