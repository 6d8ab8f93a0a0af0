"""The commits of a log: what is pending becomes durable, then it is signed for, then it may be shown.

One commit at a time. A full disk loses what was pending and says so in the log; a key whose device does not answer
loses nothing: what was read is kept, and signed for when it answers again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from evidence.note import SignerUnavailable
from gateway.alarms import Alarms
from gateway.clock import Clock
from gateway.logfile import StoreFull
from gateway.open_log import OpenLog
from gateway.pending import Batch
from gateway.pipeline import DISK_FULL, Pipeline
from gateway.signing import Signing

_log = logging.getLogger("suyuan.agent")

KEY_UNAVAILABLE = "key_unavailable"
NO_SECOND = "second_signature_missing"
LOW_DISK = "low_disk"
T = TypeVar("T")

_HEADS = 512  # sizes that no receipt covers, of which the instant is remembered


class Commits:
    """Commits what a pipeline has built to the log that is open."""

    def __init__(
        self, log: OpenLog, pipeline: Pipeline, signing: Signing, alarms: Alarms, clock: Clock
    ) -> None:
        self._log, self._pipeline, self._signing = log, pipeline, signing
        self._alarms, self._clock = alarms, clock
        self._waiting: list[asyncio.Future[bool]] = []  # for the commit that holds what is pending
        self._heads: list[tuple[int, int]] = []  # (size, UTC) of checkpoints that no receipt covers yet
        self._disk = ThreadPoolExecutor(1, "log")
        self.running = asyncio.Lock()
        self.sealed_us = 0  # since boot: when the last seal was made

    async def on_disk(self, work: Callable[..., T], *given: object) -> T:
        """Do it in the thread that is the log's alone: no look-up of a host that is away takes its place."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *given)

    def close(self) -> None:
        """No more is done in that thread."""
        self._disk.shutdown(wait=False)

    @property
    def wanted(self) -> bool:
        """Whether something is pending, or somebody waits for what is."""
        return bool(self._pipeline.pending or self._waiting)

    def sealed_after(self, size: int) -> int | None:
        """When the oldest checkpoint beyond a size was made (UTC); None if there is none."""
        return min((utc_us for sealed, utc_us in self._heads if sealed > size), default=None)

    async def durable(self) -> bool:
        """Wait for the commit that holds what is pending now; False if the disk was full and it is lost."""
        if not self._pipeline.pending and not self.running.locked():
            return True
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return await waiting

    async def commit(self, *, seal: bool) -> None:
        """Make durable what is pending; with ``seal`` under a seal and a checkpoint. Raises StoreError."""
        async with self.running:
            waiting, self._waiting = self._waiting, []
            kept = False
            try:
                kept = await self._write(seal=seal)
            finally:
                for future in waiting:
                    if not future.done():
                        future.set_result(kept)

    async def _write(self, *, seal: bool) -> bool:
        """Commit what is pending; False if the disk is full and it is lost."""
        store, pipeline, alarms = self._log.store, self._pipeline, self._alarms
        if seal:
            pipeline.seal(self._log.receipts.head, alarms.standing)
        batch = pipeline.take(checkpoint=seal)
        try:
            await self._keep(batch, seal=seal)
        except StoreFull as error:
            pipeline.lost(store.size, DISK_FULL)
            if DISK_FULL not in alarms:
                alarms.begin(DISK_FULL)
                _log.error("%s", error)
            return False
        pipeline.committed()
        alarms.end(DISK_FULL)
        if store.ballast_spent and LOW_DISK not in alarms:
            alarms.begin(LOW_DISK)
            # what the platform has confirmed is safe there: its room is needed here
            await self.on_disk(store.prune, store.size)
        if seal:
            now = self._clock.now()
            self.sealed_us = now.boot_us
            self._note_head(store.size, now.utc_us)
        return True

    async def _keep(self, batch: Batch, *, seal: bool) -> None:
        """Commit a batch; without a checkpoint if the key's device does not answer: nothing is lost meanwhile."""
        store, alarms = self._log.store, self._alarms
        sign = self._signing.sign if seal else None
        try:
            await self.on_disk(store.commit, batch.entries, sign, batch.state)
        except SignerUnavailable as error:
            if KEY_UNAVAILABLE not in alarms:
                _log.error("nothing is signed until the key's device answers: %s", error)
            await self.on_disk(store.commit, batch.entries, None, batch.state)
            alarms.begin(KEY_UNAVAILABLE, {"error": str(error)})
            return
        if not seal:
            return
        alarms.end(KEY_UNAVAILABLE)
        if self._signing.second_failed:
            alarms.begin(NO_SECOND, {"error": self._signing.second_failed})
        else:
            alarms.end(NO_SECOND)

    def _note_head(self, size: int, utc_us: int) -> None:
        """Remember when each unacknowledged size was sealed; thin out so that memory stays bounded."""
        head = self._log.receipts.head
        covered = 0 if head is None else head.size
        self._heads = [entry for entry in self._heads if entry[0] > covered]
        self._heads.append((size, utc_us))
        if len(self._heads) > _HEADS:
            self._heads = [self._heads[0], *self._heads[1:-1:2], self._heads[-1]]
