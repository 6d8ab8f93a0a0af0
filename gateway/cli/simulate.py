"""`suyuan sim`: simulated meters behind a site file's ports, until it is told to stop."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE
from gateway.cli.output import UsageError, say
from gateway.cli.stopping import Stopping, until_stopped

if TYPE_CHECKING:
    from sim.site import SimSiteSpec

EPILOG = """Serial ports of the site file become links to pseudo-terminals, so the file is the same on the desk and
on the box. A port that exists and is no such link is never touched. [simulation] in the site file shapes the plant; its
seed repeats it.

examples:
  suyuan sim site.toml & suyuan run site.toml
  suyuan sim site.toml --serial rs485-1=/dev/ttyUSB0"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("site", metavar="SITE.toml", type=Path)
    parser.add_argument(
        "--serial",
        metavar="[BUS=]/dev/ttyUSB0",
        action="append",
        default=[],
        help="let the meters of a bus answer on a real serial port, for another box to read over a cable",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing")


def run(_command: str, given: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from gateway.cli.simulated_site import simulated
    from gateway.config import SiteFile
    from sim.site import SimSite

    spec = _on_devices(simulated(SiteFile(given.site)), given.serial)
    try:
        site = SimSite(spec)
        until_stopped(partial(_serve, site, quiet=given.quiet))
    except ValueError as error:  # what this plant cannot simulate, in words
        raise UsageError(f"{given.site}: {error}") from error
    return DONE


def _on_devices(spec: SimSiteSpec, given: list[str]) -> SimSiteSpec:
    """The site with some of its serial lines on real ports. UsageError for a bus that is not there."""
    serial = [bus.name for bus in spec.buses if not bus.port.startswith("tcp://")]
    devices: dict[str, str] = {}
    for text in given:
        name, _, device = text.rpartition("=")
        if not name and len(serial) == 1:
            (name,) = serial
        if name not in serial:
            names = ", ".join(serial) or "none"
            raise UsageError(f"--serial {text}: which bus? write BUS=/dev/ttyUSB0; serial buses: {names}")
        devices[name] = device
    buses = tuple(replace(bus, device=devices.get(bus.name, "")) for bus in spec.buses)
    return replace(spec, buses=buses)


async def _serve(site: object, stopping: Stopping, *, quiet: bool) -> None:
    from sim.site import SimSite

    assert isinstance(site, SimSite)
    await site.start()
    try:
        if not quiet:
            say(site.describe())
        await stopping.wait()
    finally:
        await site.stop()
