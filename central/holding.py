"""What verification asks of a store, whichever engine keeps it: SQLite on one machine, PostgreSQL behind many workers.

An implementation owes two things. ``advance`` is one durable transaction: the entries, what was decoded of them, and
the head, or none of it. And it is a compare-and-set: it moves a head only from the size that the caller saw, so that of
two that verified the same entries one wins and the other is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from evidence.continuity import Place

from .rows import Advance, Alarm, Gateway, Head, Pending, Total, Value


class Holding(Protocol):
    """The platform's store. All methods block; all raise ``StoreError`` where the engine fails."""

    def close(self) -> None:
        """Close it; the next opening finds all that was committed."""

    def gateway(self, origin: str, vkey: str) -> Gateway:
        """The gateway of this origin, entered if it is new; refused if it is known with another key."""

    def gateways(self) -> tuple[Gateway, ...]:
        """All gateways, by origin."""

    def heads(self, gateway: Gateway, since: int = 0) -> tuple[Head, ...]:
        """Verified checkpoints, smallest first."""

    def last_head(self, gateway: Gateway) -> Head | None:
        """The newest checkpoint that is stored to its last entry."""

    def roots(self, gateway: Gateway, sizes: Iterable[int]) -> dict[int, bytes]:
        """Size to root of the verified checkpoints of these sizes, as far as there are any."""

    def places(self, gateway: Gateway) -> dict[str, Place]:
        """Where each instrument's series stands."""

    def references(self, gateway: Gateway) -> dict[str, set[tuple[int, str]]]:
        """Configurations and calibration states that later entries may name."""

    def keys(self, gateway: Gateway) -> tuple[tuple[int, str], ...]:
        """Keys (vkeys) that the log's own key records brought in, each with its entry."""

    def advance(self, gateway: Gateway, step: Advance, now_us: int) -> Gateway:
        """Store what was verified, in one durable transaction, and move the head from where ``gateway`` says it is."""

    def pending(self, gateway: Gateway) -> tuple[Pending, ...]:
        """Signed checkpoints whose entries are not all here yet, smallest first."""

    def add_pending(self, gateway: Gateway, pending: Pending, keep: int = 8) -> None:
        """Keep a signed checkpoint that follows from the newest one known, durably; the last ``keep`` are kept."""

    def receipt(self, gateway: Gateway, size: int, receipt: bytes, *, posted: bool) -> None:
        """Keep the receipt for a head, and whether the gateway has it."""

    def quarantine(
        self,
        gateway: Gateway,
        kind: str,
        what: str,
        notes: tuple[bytes, bytes],
        files: Iterable[tuple[str, bytes]],
        now_us: int,
    ) -> None:
        """Keep an alarm with both notes, and what was served, apart from the log. The same alarm is kept once."""

    def release(self, origin: str) -> bool:
        """Let a gateway go on after an alarm that a person has looked into; whether it was held."""

    def alarms(self) -> tuple[Alarm, ...]:
        """All alarms, oldest first."""

    def quarantined(self, alarm: Alarm) -> dict[str, bytes]:
        """What was served when an alarm was raised, by path."""

    def bundle(self, gateway: Gateway, number: int) -> bytes | None:
        """A stored bundle, as wide as it is."""

    def entries(self, gateway: Gateway, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Entries ``start`` to ``end`` (all if None)."""

    def values(
        self,
        origin: str,
        instrument: str,
        measurand: str | None = None,
        from_us: int = 0,
        to_us: int = 2**62,
    ) -> Iterator[Value]:
        """Values of one instrument with ``from_us <= utc_us < to_us``, in order of time."""

    def totals(
        self,
        origin: str,
        measurand: str | None = None,
        instrument: str | None = None,
        from_us: int = 0,
        to_us: int = 2**62,
        *,
        superseded: bool = False,
    ) -> Iterator[Total]:
        """Aggregates that lie within the period, without those that a later one replaces (unless ``superseded``)."""
