"""The agent run from the command line: checked first, stopped by a signal, told in words."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from gateway.agent import Agent
from gateway.cli import DONE, NO, WRONG_USE
from gateway.cli.output import say
from gateway.cli.stopping import Stopping, say_at_once, until_stopped
from gateway.cli.unread import logged
from gateway.clock import SECOND_US, Clock, SystemClock, moment
from gateway.config import SiteFile
from gateway.logfile import StoreError
from gateway.notify import Notifier
from gateway.planning import plan_of
from gateway.platforms import enrolment_of
from gateway.prepare import prepare, unreachable
from gateway.prepared import Prepared
from gateway.serve import CannotListen
from gateway.site_keys import log_key
from gateway.supervision import begun, ended, first_of
from gateway.watches import first_enrolment, watch_advice, watch_certificates, watch_keys
from gateway.words import phrase

_log = logging.getLogger("suyuan.agent")


def run_site(path: Path, duration_s: float | None) -> int:
    """Check the site, then run it. 2 if the site is wrong or its address taken, 1 if the log was not kept or sealed.

    A port that cannot be opened is told, and its instruments are missing until it can: after a power cut one converter
    that stays dark must not keep the others from being read.
    """
    with logged(logging.INFO):
        code, last = _run_site(path, duration_s)
    say_at_once(last)  # after all that was logged
    return code


def _run_site(path: Path, duration_s: float | None) -> tuple[int, str]:
    """The exit code, and what is said last."""
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
    clock, notifier = SystemClock(), Notifier()
    until_us = None if duration_s is None else clock.now().boot_us + round(duration_s * SECOND_US)
    while True:
        ended = _run_prepared(prepared, clock, notifier, until_us)
        if not isinstance(ended, Prepared):
            return ended
        prepared = ended
        say(phrase("run.enrolled"))


def _run_prepared(
    prepared: Prepared, clock: Clock, notifier: Notifier, until_us: int | None
) -> tuple[int, str] | Prepared:
    """Run an agent; the exit code and what is said last, or what is to be run in its place."""
    site = prepared.file
    key = log_key(site)
    say(phrase("run.key", origin=site.site.site.origin, key=key.vkey))
    plan = plan_of(prepared, key)
    if plan.listen:
        say(phrase("run.serving", url=f"{'http' if plan.tls is None else 'https'}://{plan.listen}"))
    _give_back()
    notifier.staying = False
    agent = Agent(plan, clock, notifier)

    def verdict() -> int:
        """Of an agent that has to be left behind: what counts is that its log is sealed."""
        if agent.ended():
            return DONE
        say_at_once(phrase("run.not_sealed"))
        return NO

    try:
        after = until_stopped(partial(_run, agent, site, clock, notifier, until_us), verdict)
    except StoreError as error:
        return NO, f"suyuan run: {error}"
    except CannotListen as error:
        problem = site.source.problem(("serve", "listen"), str(error), phrase("run.listen"), "C118")
        return WRONG_USE, str(problem)
    if after is not None:
        return after
    size, signed = agent.size, agent.store.published.size if agent.store.published else 0
    stopped = "run.stopped" if signed == size else "run.stopped_unsigned"
    return DONE, phrase(stopped, entries=size, signed=signed)


def _give_back() -> None:
    """Give memory back that reading a large register took: the allocator of glibc keeps it otherwise."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such call, and no such need
        ctypes.CDLL(None).malloc_trim(0)


async def _run(
    agent: Agent, site: SiteFile, clock: Clock, notifier: Notifier, until_us: int | None, stopping: Stopping
) -> Prepared | None:
    """Run the agent to its end. What follows it, if it ended because the gateway was enrolled meanwhile."""
    stopping.calls(agent.stop)
    asked = asyncio.Event()
    stopping.calls(asked.set)
    if until_us is not None:
        left_s = (until_us - clock.now().boot_us) / SECOND_US
        asyncio.get_running_loop().call_later(max(0.0, left_s), stopping.ask)
    beside: dict[str, Coroutine[Any, Any, None]] = {
        watch.__name__: watch(site, agent) for watch in (watch_certificates, watch_advice, watch_keys)
    }
    if any(platform.push is not None for platform in site.site.platforms):
        from gateway.uplink import push_to, targets  # who is only pulled from needs no HTTP client

        beside |= {f"push to {t.platform.name}": push_to(t, agent, clock) for t in targets(site)}
    if site.site.enrolment is not None:
        from gateway.enrolling import Renewal

        beside["renewal"] = Renewal(site, agent, clock, partial(log_key, site)).run()
    following: list[Prepared] = []
    if site.site.enrolment is not None and not enrolment_of(site).done:
        beside["first enrolment"] = _enrolled(site, agent, notifier, following)
    tasks = [begun(work, name=name) for name, work in beside.items()]
    running = begun(agent.run(), name="agent")
    for task in (running, *tasks):
        task.add_done_callback(partial(_fell, stopping))
    await asyncio.wait((running,))
    for task in await ended(tasks, times=2):
        _log.error("%s does not end, and is left behind", task.get_name())
    errors = [e for t in (running, *tasks) if t.done() and not t.cancelled() and (e := t.exception())]
    for kind in (StoreError, CannotListen):  # they end the agent alone, whatever the others then say
        for error in errors:
            if (told := first_of(kind, error)) is not None:
                raise told from None
    for error in errors:
        raise error
    return following[0] if following and not asked.is_set() else None


async def _enrolled(site: SiteFile, agent: Agent, notifier: Notifier, following: list[Prepared]) -> None:
    """End the agent when the gateway is enrolled; another takes its place, with the certificate."""
    following.append(await first_enrolment(site, agent))
    notifier.staying = True
    agent.stop()


def _fell(stopping: Stopping, task: asyncio.Task[None]) -> None:
    """What fails beside the agent ends it, in its order."""
    if not task.cancelled() and task.exception() is not None:
        stopping.ask()
