"""A simulated site in a thread of its own, for programs that block while they read meters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sim.site import SimSite


@contextmanager
def in_background(site: SimSite) -> Iterator[SimSite]:
    """Start the site in a thread with its own event loop; stop it at the end. Raises what starting raises."""
    started = threading.Event()
    failures: list[BaseException] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        ending = asyncio.Event()
        try:
            await site.start()
        except Exception as error:
            failures.append(error)
            return
        stop.append((asyncio.get_running_loop(), ending))
        started.set()
        try:
            await ending.wait()
        finally:
            await site.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    thread = threading.Thread(target=run, name="simulated site", daemon=True)
    thread.start()
    started.wait()
    if failures:
        thread.join()
        raise failures[0]
    try:
        yield site
    finally:
        for loop, ending in stop:
            loop.call_soon_threadsafe(ending.set)
        thread.join()
