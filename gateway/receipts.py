"""Receipts: a platform's cosignature over one of our checkpoints, checked before it is believed and kept.

A receipt acknowledges that the platform has verified and durably stored the log up to that size. It licenses
pruning, so nothing but a right cosignature of a configured platform, over a size and root of this very log, is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evidence.errors import ParseError
from evidence.note import COSIGNATURE, Checkpoint, Note, Verifier
from evidence.record import Head
from gateway.clock import Clock
from gateway.log_tables import StoredReceipt
from gateway.store import LogStore

LIMIT = 64 * 1024  # bytes of a receipt


class ReceiptRefused(ValueError):
    """Why a note is no receipt for this log. ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A platform whose receipts count. Its vkey came by another way than its data."""

    name: str
    verifier: Verifier

    @classmethod
    def parse(cls, name: str, vkey: str) -> PlatformKey:
        """From the site file. Raises ValueError."""
        verifier = Verifier.parse(vkey)
        if verifier.kind != COSIGNATURE:
            raise ValueError(
                f"the key of platform {name!r} is no cosignature key (type 0x04): it can sign no receipt"
            )
        return cls(name, verifier)


class Receipts:
    """Takes receipts for one log."""

    def __init__(self, store: LogStore, platforms: Sequence[PlatformKey], clock: Clock) -> None:
        self._store = store
        self._platforms = tuple(platforms)
        self._clock = clock
        self._newest = store.receipts()

    @property
    def newest(self) -> tuple[StoredReceipt, ...]:
        """The newest receipt of each platform."""
        return self._newest

    @property
    def sizes(self) -> dict[str, int]:
        """How many entries each platform has confirmed, by its name."""
        return {receipt.platform: receipt.size for receipt in self._newest}

    @property
    def head(self) -> Head | None:
        """Size and root of the receipt that covers most, for the seal."""
        best = max(self._newest, key=lambda receipt: receipt.size, default=None)
        return None if best is None else Head(best.size, best.root)

    def take(self, data: bytes) -> StoredReceipt:
        """Check a cosigned checkpoint and keep it durably. Raises ReceiptRefused, or StoreError."""
        if len(data) > LIMIT:
            raise ReceiptRefused(413, f"a receipt has at most {LIMIT} bytes")
        try:
            note = Note.parse(data)
            checkpoint = Checkpoint.parse(note.text)
        except ParseError as error:
            raise ReceiptRefused(400, str(error)) from None
        if checkpoint.origin != self._store.origin:
            raise ReceiptRefused(
                403, f"a receipt for {checkpoint.origin!r}, but this log is {self._store.origin!r}"
            )
        platform = next((p for p in self._platforms if note.cosigned_at(p.verifier) is not None), None)
        if platform is None:
            known = (
                ", ".join(p.verifier.name for p in self._platforms)
                or "nobody: the site file has no [[platform]]"
            )
            raise ReceiptRefused(
                403, f"not cosigned by a platform of this site; it takes receipts of {known}"
            )
        now = self._clock.now().utc_us
        receipt = StoredReceipt(platform.name, checkpoint.size, checkpoint.root, now, data)
        try:
            # one that says no more than the platform's newest is checked, and not written again
            self._store.add_receipt(receipt)
        except ValueError as error:
            raise ReceiptRefused(409, str(error)) from None
        self._newest = self._store.receipts()
        return receipt
