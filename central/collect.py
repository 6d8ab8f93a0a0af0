"""Collecting a gateway's log: pull, verify, store, then say so by cosigning.

One round: fetch the checkpoint; check its signature; compare it with the stored head; pull only what is new, in steps
of some thousand entries; verify each step against the *signed* tree (by a consistency proof out of the gateway's
tiles), and every entry in it (strict structure, running numbers, references, seals); store the step in one transaction.
When the head is stored to its last entry, and only then, the platform cosigns it and brings the receipt to the gateway.

A round ends with an Outcome. What goes wrong is of two kinds: it may pass (nobody answers, a bundle is damaged on the
way), then the next round goes on where this one stopped; or it is an alarm, and both notes and the data are kept apart:

========== =========================================================================================================
rollback   a smaller tree than the one stored: an old image restored, or an old checkpoint replayed
fork       a signed tree that does not contain the stored one: two histories. Held until a person releases it
unsound    rightly signed, but not a log as a gateway writes it: no record, numbers missing, a seal that miscounts
stale      no new checkpoint for longer than agreed
========== =========================================================================================================
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx

from evidence import log, note
from evidence.errors import ParseError
from evidence.findings import Finding
from evidence.revocation import open_honoured

from .advance import HELD, Course, LogAlarm, receipt_for
from .fetch import FetchError, LogClient, Patience
from .holding import Holding
from .log_keys import LogKeys, Revoked, gateway_of, log_keys, none_revoked
from .rows import Advance, Gateway

STEP: Final = 32  # bundles in one transaction
AT_ONCE: Final = 8  # requests under way


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round went. ``alarm`` names what a person must look into; ``error`` what may pass by itself."""

    origin: str
    before: int
    size: int  # entries verified and stored now
    signed: int  # entries under the checkpoint that was served
    alarm: str = ""
    error: str = ""
    findings: tuple[Finding, ...] = ()
    receipt: bool = False  # whether the gateway has the receipt for all that is stored
    seconds: float = 0.0
    sealed_us: int = 0  # UTC of the last seal stored

    @property
    def ok(self) -> bool:
        """Whether the stored log is the signed one, to its last entry, without alarm."""
        return not self.alarm and not self.error

    @property
    def records(self) -> int:
        """Entries that this round stored."""
        return self.size - self.before

    @property
    def exit_code(self) -> int:
        """0: done. 1: an alarm, or it could not be finished."""
        return 0 if self.ok else 1


@dataclass(slots=True)
class Collector:
    """The platform's side for one gateway.

    ``verifier``: the gateway's key, got at enrolment. ``signer``: the platform's key for receipts; without it none are
    made out. ``utc_us``: the platform's clock. ``stale_after_s``: silence that is an alarm. One store serves several
    collectors in one process.
    """

    store: Holding
    url: str
    verifier: note.Verifier
    utc_us: Callable[[], int]
    signer: note.Ed25519Signer | None = None
    stale_after_s: float = 120.0
    patience: Patience = field(default_factory=Patience)
    tls: ssl.SSLContext | None = None
    tls_name: str | None = None  # whose certificate the gateway must show; None: its host's
    transport: httpx.AsyncBaseTransport | None = None
    revoked: Revoked = none_revoked
    _client: LogClient | None = None

    @property
    def origin(self) -> str:
        """Whose log."""
        return self.verifier.name

    async def collect_once(self) -> Outcome:
        """One round. Raises StoreError only: the store is ours, and must work."""
        started = asyncio.get_running_loop().time()
        revoked = self.revoked()
        gateway = gateway_of(self.store, self.verifier, revoked)
        before = gateway.size
        if self._client is None:
            self._client = LogClient(
                self.url, self.patience, tls=self.tls, tls_name=self.tls_name, transport=self.transport
            )
        served = b""
        signed = 0
        alarm = error = ""
        findings: tuple[Finding, ...] = ()
        receipt = False
        cosigner = None if self.signer is None else self.signer.cosigner
        keys = log_keys(self.store, gateway, self.verifier, revoked, cosigner)
        pull = _Pull(self.store, gateway, self._client, keys, self.utc_us)
        try:
            if gateway.alarm in HELD:
                raise LogAlarm(gateway.alarm, "held since an earlier alarm; look into it, then release it")
            served = await self._client.checkpoint()
            head, signed_note = open_honoured(served, keys.keys, keys.limits)
            signed = head.size
            gateway = await pull.to(head, signed_note)
            receipt = await self._receipt(gateway)
        except LogAlarm as found:
            alarm, error, findings = found.kind, str(found), found.findings
            if served:
                ours = self.store.last_head(gateway)
                notes = (b"" if ours is None else ours.note, served)
                self.store.quarantine(gateway, alarm, error, notes, pull.fetched.items(), self.utc_us())
        except (FetchError, ParseError, note.VerifyError) as failure:
            error = str(failure)
        after = self.store.gateway(gateway.origin, gateway.vkey)
        silent_us = self.utc_us() - after.advanced_us
        if not alarm and after.advanced_us and silent_us > self.stale_after_s * 1_000_000:
            alarm = "stale"
            error = error or f"no new checkpoint for {silent_us // 1_000_000} s"
        return Outcome(
            self.origin,
            before,
            after.size,
            signed,
            alarm,
            error,
            findings,
            receipt,
            asyncio.get_running_loop().time() - started,
            after.sealed_us,
        )

    async def collect_forever(
        self, every_s: float, report: Callable[[Outcome], None], stop: asyncio.Event | None = None
    ) -> None:
        """Rounds, ``every_s`` apart while all is well, further and further apart (with jitter) while it is not."""
        failures = 0
        while stop is None or not stop.is_set():
            outcome = await self.collect_once()
            report(outcome)
            failures = failures + 1 if outcome.error else 0
            pause = every_s if not failures else max(every_s, self.patience.pause(failures))
            await self.patience.sleep(pause)

    async def close(self) -> None:
        """Close the connections; the store stays open."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _receipt(self, gateway: Gateway) -> bool:
        """Cosign the head that is stored, keep the receipt, bring it. Only ever called after the COMMIT returned."""
        if self.signer is None or self._client is None:
            return False
        head = receipt_for(self.store, gateway, self.signer, self.utc_us)
        if head is None or head.receipt is None:
            return False
        if not head.posted:
            await self._client.post_receipt(head.receipt)
            self.store.receipt(gateway, head.size, head.receipt, posted=True)
        return True


@dataclass(slots=True)
class _Pull:
    """Brings the store from its head to a signed one."""

    store: Holding
    began: Gateway  # as it was stored when the pull began
    client: LogClient
    keys: LogKeys
    utc_us: Callable[[], int]
    fetched: dict[str, bytes] = field(default_factory=dict)  # of the step under way: what an alarm keeps
    _tiles: dict[log.Tile, bytes] = field(default_factory=dict)

    async def to(self, head: note.Checkpoint, signed: note.Note) -> Gateway:
        gateway = self.began
        course = Course.of(self.store, gateway, self.keys)
        tree = course.tree
        if head.size < tree.size:
            raise LogAlarm("rollback", f"the gateway shows {head.size} entries; {tree.size} are stored here")
        if head.size == tree.size:
            if head.root != tree.root():
                raise LogAlarm("fork", f"another root hash for the same {head.size} entries")
            last = self.store.last_head(gateway)
            if last is None or last.size != head.size:  # the entries came in under a longer checkpoint
                return self.store.advance(gateway, course.step(head, signed), self.utc_us())
            return gateway
        ends = [*range((tree.size // 256 + STEP) * 256, head.size, STEP * 256), head.size]
        loop = asyncio.get_running_loop()
        storing: asyncio.Future[Gateway] | None = None
        try:
            async with asyncio.TaskGroup() as ahead:
                # While one step is verified, the next one's bundles come and the one before is committed in a thread.
                coming = ahead.create_task(self._bundles(tree.size, ends[0]))
                for end, following in zip(ends, [*ends[1:], None], strict=True):
                    data = await coming
                    if following is not None:
                        coming = ahead.create_task(self._bundles(end, following))
                    step = await self._step(course, data, end, head, signed)
                    if storing is not None:
                        gateway = await storing
                    storing = loop.run_in_executor(None, self.store.advance, gateway, step, self.utc_us())
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            if storing is not None:  # a commit under way is never left behind
                await asyncio.wait([storing])
                storing.exception()
        return gateway if storing is None else storing.result()

    async def _bundles(self, start: int, end: int) -> list[tuple[log.Tile, bytes]]:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(tile: log.Tile) -> tuple[log.Tile, bytes]:
            async with limit:
                return tile, await self.client.tile(tile)

        wanted = list(log.bundles(end, start))
        try:
            async with asyncio.TaskGroup() as tasks:
                coming = [tasks.create_task(one(tile)) for tile in wanted]
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return [task.result() for task in coming]

    async def _step(
        self,
        course: Course,
        data: list[tuple[log.Tile, bytes]],
        end: int,
        head: note.Checkpoint,
        signed: note.Note,
    ) -> Advance:
        self.fetched = {tile.path: bundle for tile, bundle in data}
        start = course.tree.size
        new: list[bytes] = []
        for tile, bundle in data:
            entries = log.decode_bundle(bundle, tile.width)
            new += entries[max(0, start - tile.start) :]
        course.grow(new)
        await self._belongs(course.tree, start, end, head)
        step = course.step(head, signed)
        self.fetched = {}
        return step

    async def _belongs(self, tree: log.Tree, start: int, end: int, head: note.Checkpoint) -> None:
        """That the tree so far, stored entries and new ones, is a beginning of the signed tree.

        If it is not, the gateway's own tiles tell which: a signed tree with another beginning is a fork; anything
        else was damaged on the way or on the gateway's disk, and may come right.
        """
        if end == head.size and tree.root() == head.root:
            return
        began = self.began
        node = await self._nodes(began.size, end, head.size)
        try:
            if end < head.size:
                proof = log.consistency_proof(end, head.size, node)
                if log.check_consistency(end, head.size, tree.root(), head.root, proof):
                    return
            stored = log.root_from(began.size, node)
            proof = log.consistency_proof(began.size, head.size, node)
        except (ParseError, ValueError) as error:
            raise FetchError(f"tiles that cannot be read: {error}") from error
        proven = log.check_consistency(began.size, head.size, stored, head.root, proof)
        if began.size and proven and stored != log.root_of_peaks(began.peaks):
            raise LogAlarm(
                "fork",
                f"the signed tree of {head.size} entries does not begin with the {began.size} entries stored here",
            )
        raise FetchError(
            f"entries {start} to {end - 1} do not lead to the signed root hash: damaged on the way, or on the "
            "gateway's disk"
        )

    async def _nodes(self, stored: int, end: int, size: int) -> log.NodeReader:
        """A reader over the tiles that proofs of ``stored`` and ``end`` in ``size`` need, fetched beforehand."""
        wanted: set[log.Tile] = set()

        def note_down(tile: log.Tile) -> bytes:
            wanted.add(tile)
            return bytes(tile.width * log.HASH_SIZE)

        dry = log.tile_node_reader(note_down, size)
        for old in {stored, end} - {size}:
            log.consistency_proof(old, size, dry)
        log.root_from(stored, dry)
        for tile in wanted - self._tiles.keys():
            self._tiles[tile] = await self.client.tile(tile)
        return log.tile_node_reader(self._tiles.__getitem__, size)
