"""Until when a command runs that runs until it is told to stop: Ctrl-C, or the service manager's SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable


def stopped_by_signal(stop: Callable[[], object]) -> None:
    """SIGINT and SIGTERM call ``stop`` from now on, within the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
