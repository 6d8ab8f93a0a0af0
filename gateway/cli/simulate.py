"""`suyuan sim`: simulated meters behind a site file's ports, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from gateway.cli import DONE
from gateway.cli.output import say

EPILOG = """Serial ports of the site file become links to pseudo-terminals, so the file is the same on the desk and
on the box. A port that exists and is no such link is never touched. [simulation] in the site file shapes the plant; its
seed repeats it.

example:
  suyuan sim site.toml & suyuan run site.toml"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("site", metavar="SITE.toml", type=Path)
    parser.add_argument("--quiet", action="store_true", help="say nothing")


def run(_command: str, given: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from gateway.cli.simulated_site import simulated
    from gateway.config import SiteFile
    from sim.site import SimSite

    site = SimSite(simulated(SiteFile(given.site)))
    asyncio.run(_serve(site, quiet=given.quiet))
    return DONE


async def _serve(site: object, *, quiet: bool) -> None:
    from sim.site import SimSite

    assert isinstance(site, SimSite)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    await site.start()
    try:
        if not quiet:
            say(site.describe())
        await stop.wait()
    finally:
        await site.stop()
