"""What happens when a line's task fails: it is told and started again, later each time, while the others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from gateway.clock import SECOND_US, Clock
from gateway.logfile import StoreError

_log = logging.getLogger("suyuan.agent")

_BACK_OFF_S = (1, 2, 5, 10, 30, 60)
CANCEL_AGAIN_S = 3.0
_ORDINARY_LIFE_US = 300 * SECOND_US  # a task that lived so long begins its back-off anew

E = TypeVar("E", bound=Exception)


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


async def ended(tasks: Iterable[asyncio.Task[None]], again_s: float = CANCEL_AGAIN_S) -> None:
    """Cancel tasks until they have ended. What they raised is left in them.

    Once is not always enough: a library that is just connecting may take a cancellation for its own time-out, and the
    task goes on. Then the agent would never seal its log, and be killed.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=again_s)


def first_of(kind: type[E], error: BaseException) -> E | None:
    """The first error of a kind in a group of tasks' errors, however deep."""
    # not `except*`: before Python 3.11.4 that wraps what is raised in it in a group once more
    if isinstance(error, BaseExceptionGroup):
        return next((found for part in error.exceptions if (found := first_of(kind, part))), None)
    return error if isinstance(error, kind) else None
