"""The agent run from the command line: checked first, stopped by a signal, told in words."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.agent import Agent
from gateway.cli import DONE, NO, WRONG_USE
from gateway.cli.output import say
from gateway.cli.stopping import stopped_by_signal
from gateway.clock import Clock, SystemClock, moment
from gateway.config import SiteFile
from gateway.logfile import StoreError
from gateway.notify import Notifier
from gateway.planning import plan_of
from gateway.prepare import prepare, unreachable
from gateway.serve import CannotListen
from gateway.site_keys import log_key
from gateway.supervision import ended, first_of
from gateway.watches import watch_advice, watch_certificates, watch_keys
from gateway.words import phrase


def run_site(path: Path, duration_s: float | None) -> int:
    """Check the site, then run it. 2 if the site is wrong or its address taken, 1 if the log could not be kept.

    A port that cannot be opened is told, and its instruments are missing until it can: after a power cut one converter
    that stays dark must not keep the others from being read.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(
        logging.WARNING
    )  # it tells each request: 17,000 lines a day that say nothing
    site = SiteFile(path)
    prepared = prepare(site, moment)
    problems = asyncio.run(unreachable(prepared))
    for problem in (*prepared.warnings, *problems):
        say(str(problem))
    if problems:
        say(phrase("run.unreachable", count=len(problems)))
    key = log_key(site)
    say(phrase("run.key", origin=site.site.site.origin, key=key.vkey))
    plan = plan_of(prepared, key)
    if plan.listen:
        say(phrase("run.serving", url=f"{'http' if plan.tls is None else 'https'}://{plan.listen}"))
    _give_back()
    clock = SystemClock()
    agent = Agent(plan, clock, Notifier())
    try:
        asyncio.run(_until_stopped(agent, site, clock, duration_s))
    except StoreError as error:
        say(f"suyuan run: {error}")
        return NO
    except CannotListen as error:
        say(str(site.source.problem(("serve", "listen"), str(error), phrase("run.listen"), "C118")))
        return WRONG_USE
    size, signed = agent.size, agent.store.published.size if agent.store.published else 0
    say(phrase("run.stopped" if signed == size else "run.stopped_unsigned", entries=size, signed=signed))
    return DONE


def _give_back() -> None:
    """Give memory back that reading a large register took: the allocator of glibc keeps it otherwise."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such call, and no such need
        ctypes.CDLL(None).malloc_trim(0)


async def _until_stopped(agent: Agent, site: SiteFile, clock: Clock, duration_s: float | None) -> None:
    stopped_by_signal(agent.stop)
    if duration_s is not None:
        asyncio.get_running_loop().call_later(duration_s, agent.stop)
    try:
        async with asyncio.TaskGroup() as group:
            watches = (watch_certificates, watch_advice, watch_keys)
            beside = [group.create_task(watch(site, agent)) for watch in watches]
            if any(platform.push is not None for platform in site.site.platforms):
                from gateway.uplink import push_to, targets  # who is only pulled from needs no HTTP client

                beside += [group.create_task(push_to(target, agent, clock)) for target in targets(site)]
            if site.site.enrolment is not None:
                from gateway.enrolling import Renewal

                renewal = Renewal(site, agent, clock, partial(log_key, site))
                beside.append(group.create_task(renewal.run()))
            try:
                await agent.run()
            finally:
                await ended(beside)
    except BaseExceptionGroup as failed:
        for kind in (StoreError, CannotListen):  # they end the agent alone, whatever the others then say
            if (told := first_of(kind, failed)) is not None:
                raise told from None
        raise
