"""Gateways with real stores, pulled each minute; one of them is put back from an older image of its disk in between.

The gateways are the product's own log stores behind the product's own ASGI application, the platform is the product's
collector on its own store: only wire and time are the rig's. ``image`` copies a gateway's whole directory, its anchor
too, so nothing on the box can tell that it was put back; that is the case in which the platform alone can.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from central.collect import Collector, Outcome
from central.holding import Holding
from gateway.clock import SetClock
from gateway.receipts import PlatformKey, Receipts
from gateway.serve import application
from gateway.status import AgentStatus
from gateway.store import LogStore
from tests.central.pushing import PLATFORM, grow
from tests.evidence.logs import START_US, Writer

MINUTE_US = 60_000_000
KEY = PlatformKey("platform", PLATFORM.cosigner)


def _nothing() -> AgentStatus:
    raise AssertionError("nobody asks for the status of these")


@dataclass
class Box:
    """One gateway: its disk, what it writes, and what it serves."""

    directory: Path
    writer: Writer
    clock: SetClock

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.store = LogStore(self.directory, self.writer.origin, ballast=0)
        self.receipts = Receipts(self.store, [KEY], self.clock)
        self.contradictions: list[str] = []
        self.served = application(self.store, self.receipts, _nothing, self.contradictions.append)

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        """Whatever stands on this box now answers at its address."""
        await self.served(scope, receive, send)  # type: ignore[arg-type]

    def minute(self) -> None:
        """A reading of each instrument and a seal, durable, under a checkpoint."""
        self.writer.clock_us = self.clock.now().utc_us
        for instrument in self.writer.instruments:
            self.writer.read(instrument)
        grow(self.store, self.writer, self.writer.size + 1)  # the seal

    def image(self, place: Path, *, without: str = "") -> Writer:
        """Copy the disk; returns what writes on from there, other readings than those that follow here."""
        self.store.close()
        shutil.copytree(self.directory, place, ignore=shutil.ignore_patterns(without) if without else None)
        self.open()
        made = copy.deepcopy(self.writer)
        made.random = Random(1 << 20)
        return made

    def restore(self, place: Path, writer: Writer) -> None:
        """Put the disk back."""
        self.store.close()
        shutil.rmtree(self.directory)
        shutil.copytree(place, self.directory)
        self.writer = writer
        self.open()


@dataclass
class Fleet:
    """Gateways and the platform that pulls from them."""

    directory: Path
    store: Holding
    count: int
    clock: SetClock = field(default_factory=lambda: SetClock(START_US))

    def __post_init__(self) -> None:
        writers = [Writer(f"platform.example/gw/{number}", number) for number in range(self.count)]
        self.boxes = [Box(self.directory / f"gateway-{n}", w, self.clock) for n, w in enumerate(writers)]
        self.collectors = [
            Collector(
                self.store,
                f"http://gateway-{number}.example",
                box.writer.signer.verifier,
                lambda: self.clock.now().utc_us,
                PLATFORM,
                transport=httpx.ASGITransport(box),
            )
            for number, box in enumerate(self.boxes)
        ]

    async def minute(self) -> Mapping[int, Outcome]:
        """A minute passes: each gateway measures, each is pulled. Outcomes by gateway."""
        self.clock.step(MINUTE_US)
        for box in self.boxes:
            box.minute()
        return {number: await each.collect_once() for number, each in enumerate(self.collectors)}

    async def close(self) -> None:
        for each in self.collectors:
            await each.close()
        for box in self.boxes:
            box.store.close()
