"""The log while it is open: its store, and the receipts for it. Before the start there is neither."""

from __future__ import annotations

from gateway.logfile import StoreError
from gateway.receipts import Receipts
from gateway.store import LogStore


class OpenLog:
    """What all that works on one log shares. Raises StoreError while it is not open."""

    def __init__(self) -> None:
        self._open: tuple[LogStore, Receipts] | None = None

    def begin(self, store: LogStore, receipts: Receipts) -> None:
        """It is open."""
        self._open = store, receipts

    @property
    def begun(self) -> bool:
        """Whether it is open."""
        return self._open is not None

    @property
    def store(self) -> LogStore:
        """Its entries, hashes and checkpoints."""
        return self._opened()[0]

    @property
    def receipts(self) -> Receipts:
        """What platforms have confirmed of it."""
        return self._opened()[1]

    @property
    def size(self) -> int:
        """Entries that are durable."""
        return self.store.size

    def _opened(self) -> tuple[LogStore, Receipts]:
        if self._open is None:
            raise StoreError("the log is not open yet: the agent has not started")
        return self._open
