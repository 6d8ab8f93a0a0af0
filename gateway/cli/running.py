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
from gateway.clock import Clock, SystemClock, moment
from gateway.config import SiteFile
from gateway.logfile import StoreError
from gateway.notify import Notifier
from gateway.planning import plan_of
from gateway.prepare import prepare, unreachable
from gateway.serve import CannotListen
from gateway.site_keys import log_key
from gateway.supervision import begun, ended, first_of
from gateway.watches import watch_advice, watch_certificates, watch_keys
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
    key = log_key(site)
    say(phrase("run.key", origin=site.site.site.origin, key=key.vkey))
    plan = plan_of(prepared, key)
    if plan.listen:
        say(phrase("run.serving", url=f"{'http' if plan.tls is None else 'https'}://{plan.listen}"))
    _give_back()
    clock = SystemClock()
    agent = Agent(plan, clock, Notifier())

    def verdict() -> int:
        """Of an agent that has to be left behind: what counts is that its log is sealed."""
        if agent.ended():
            return DONE
        say_at_once(phrase("run.not_sealed"))
        return NO

    try:
        until_stopped(partial(_run, agent, site, clock, duration_s), verdict)
    except StoreError as error:
        return NO, f"suyuan run: {error}"
    except CannotListen as error:
        problem = site.source.problem(("serve", "listen"), str(error), phrase("run.listen"), "C118")
        return WRONG_USE, str(problem)
    size, signed = agent.size, agent.store.published.size if agent.store.published else 0
    stopped = "run.stopped" if signed == size else "run.stopped_unsigned"
    return DONE, phrase(stopped, entries=size, signed=signed)


def _give_back() -> None:
    """Give memory back that reading a large register took: the allocator of glibc keeps it otherwise."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such call, and no such need
        ctypes.CDLL(None).malloc_trim(0)


async def _run(
    agent: Agent, site: SiteFile, clock: Clock, duration_s: float | None, stopping: Stopping
) -> None:
    stopping.calls(agent.stop)
    if duration_s is not None:
        asyncio.get_running_loop().call_later(duration_s, stopping.ask)
    beside: dict[str, Coroutine[Any, Any, None]] = {
        watch.__name__: watch(site, agent) for watch in (watch_certificates, watch_advice, watch_keys)
    }
    if any(platform.push is not None for platform in site.site.platforms):
        from gateway.uplink import push_to, targets  # who is only pulled from needs no HTTP client

        beside |= {f"push to {t.platform.name}": push_to(t, agent, clock) for t in targets(site)}
    if site.site.enrolment is not None:
        from gateway.enrolling import Renewal

        beside["renewal"] = Renewal(site, agent, clock, partial(log_key, site)).run()
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


def _fell(stopping: Stopping, task: asyncio.Task[None]) -> None:
    """What fails beside the agent ends it, in its order."""
    if not task.cancelled() and task.exception() is not None:
        stopping.ask()
