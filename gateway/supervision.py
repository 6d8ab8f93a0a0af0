"""What happens when a line's task fails: it is told and started again, later each time, while the others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from gateway.clock import SECOND_US, Clock
from gateway.logfile import StoreError

_log = logging.getLogger("suyuan.agent")

_BACK_OFF_S = (1, 2, 5, 10, 30, 60)
CANCEL_AGAIN_S = 2.0
CANCEL_TIMES = 3  # then a task is left behind: 6 s
_ORDINARY_LIFE_US = 300 * SECOND_US  # a task that lived so long begins its back-off anew

E = TypeVar("E", bound=Exception)
T = TypeVar("T")


class Supervised(Protocol):
    """A line at work. ``failures``: how often it was started again."""

    failures: int

    @property
    def name(self) -> str:
        """What readers call it."""

    async def run(self) -> None:
        """Poll, or listen, until cancelled or done. Raises what a bug of ours raised."""


async def supervise(line: Supervised, clock: Clock, tell: Callable[[str, Mapping[str, str]], None]) -> None:
    """Keep a line at work. Raises StoreError: after that nothing may be acknowledged."""
    failures = 0
    while True:
        began = clock.now().boot_us
        try:
            await line.run()
            return
        except StoreError:
            raise
        except Exception as error:
            if clock.now().boot_us - began > _ORDINARY_LIFE_US:
                failures = 0
            wait_s = _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]
            failures += 1
            line.failures += 1
            _log.exception("bus %s: its task failed and starts again in %s s", line.name, wait_s)
            detail = {
                "bus": line.name,
                "error": f"{type(error).__name__}: {error}",
                "again_s": str(wait_s),
            }
            tell("task_failed", detail)
            await clock.sleep_until(clock.now().boot_us + wait_s * SECOND_US)


def begun(work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
    """A task that is ended by :func:`ended`: a task group would wait for one that takes no cancellation for ever."""
    return asyncio.get_running_loop().create_task(work, name=name)


async def ended(
    tasks: Iterable[asyncio.Task[Any]], again_s: float = CANCEL_AGAIN_S, times: int = CANCEL_TIMES
) -> tuple[asyncio.Task[Any], ...]:
    """Cancel tasks until they have ended; those that went on after ``times`` cancellations are returned, and left.

    Once is not always enough: a library that is just connecting may take a cancellation for its own time-out, and the
    task goes on. Then the agent would never seal its log, and be killed. What the tasks raised is left in them. Who is
    cancelled meanwhile still sees its tasks end, and is cancelled then.
    """
    known, cut = tuple(tasks), None
    for _ in range(times):
        if not (pending := [task for task in known if not task.done()]):
            break
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=again_s)
        except asyncio.CancelledError as error:
            cut = error
    if cut is not None:
        raise cut
    return tuple(task for task in known if not task.done())


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Run side by side until one fails, which ends the others, or all are done. Raises what the first one raised.

    A task group does not do here: cancelled for a second time, it does not cancel again the task in it that swallowed
    the first one; and when one of its tasks fails in the same moment, the cancellation is lost.
    """
    tasks = [begun(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await ended(tasks)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


def first_of(kind: type[E], error: BaseException) -> E | None:
    """The first error of a kind in a group of tasks' errors, however deep."""
    # not `except*`: before Python 3.11.4 that wraps what is raised in it in a group once more
    if isinstance(error, BaseExceptionGroup):
        return next((found for part in error.exceptions if (found := first_of(kind, part))), None)
    return error if isinstance(error, kind) else None
