"""When which instrument is asked: phase-aligned polls, and what was missed when the line was late.

A poll is due at whole multiples of its period in UTC, so that readings of different instruments and gateways
fall on the same instants. The ticker itself runs on time since boot: a step of UTC neither makes a burst of
polls nor a hole. After a step the next poll moves by at most half a period to the new phase. Each scheduled
poll has its own running number whether it was made or not.

Pure: nothing here waits or asks for the time.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count

from drivers.codec import Instant


def next_multiple(utc_us: int, period_us: int) -> int:
    """The first whole multiple of the period at or after an instant."""
    return -(-utc_us // period_us) * period_us


def polls_between(last_due_us: int, first_due_us: int, period_us: int) -> int:
    """How many polls of this period were due between two, both excluded; 0 if time went backwards."""
    return max(0, round((first_due_us - last_due_us) / period_us) - 1)


@dataclass(frozen=True, slots=True)
class Tick:
    """One poll that is due now, and the polls before it that nobody had time for.

    ``missed`` polls were due from ``missed_from_us`` to ``missed_to_us`` (UTC of the first and the last).
    """

    due_us: int
    due_boot_us: int
    missed: int = 0
    missed_from_us: int = 0
    missed_to_us: int = 0


class Ticker:
    """The polls of one instrument.

    A poll may start until the next one is due; from then on it is missed. The first is due at ``first`` or
    at the next multiple of the period after it.
    """

    __slots__ = ("due_boot_us", "due_us", "period_us")

    def __init__(self, period_us: int, first: Instant) -> None:
        if period_us <= 0:
            raise ValueError(f"a period is longer than 0 µs, not {period_us}")
        self.period_us = period_us
        self.due_us = next_multiple(first.utc_us, period_us)
        self.due_boot_us = first.boot_us + self.due_us - first.utc_us

    def take(self, now: Instant) -> Tick | None:
        """The poll to make now; None if none is due. Moves on to the next one."""
        late = now.boot_us - self.due_boot_us
        if late < 0:
            return None
        missed = late // self.period_us
        first_missed = self.due_us
        due_us = self.due_us + missed * self.period_us
        due_boot_us = self.due_boot_us + missed * self.period_us
        # One period on by time since boot, then to the nearest multiple of UTC as it is now.
        offset = now.utc_us - now.boot_us
        next_utc = due_boot_us + self.period_us + offset
        aligned = (next_utc + self.period_us // 2) // self.period_us * self.period_us
        self.due_us = aligned
        self.due_boot_us = aligned - offset
        if missed:
            return Tick(due_us, due_boot_us, missed, first_missed, due_us - self.period_us)
        return Tick(due_us, due_boot_us)


class Agenda:
    """The polls of all instruments of one bus: the one that has been due the longest comes first.

    Of instruments due at the same instant, higher priority comes first, then the one whose turn is longest
    ago: every instrument of an overloaded line gets as much of it as the others.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, str]] = []
        self._tickers: dict[str, Ticker] = {}
        self._priority: dict[str, int] = {}
        self._turn = count()

    def __len__(self) -> int:
        return len(self._tickers)

    def add(self, name: str, ticker: Ticker, priority: int = 0) -> None:
        """Put an instrument on the agenda, or give it another ticker."""
        self._priority[name] = priority
        self._tickers[name] = ticker
        self._push(name)

    def remove(self, name: str) -> None:
        """Take an instrument off the agenda."""
        self._tickers.pop(name, None)

    def next_boot_us(self) -> int | None:
        """When the next poll is due, in time since boot; None if there is nothing to poll."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def take(self, now: Instant) -> tuple[str, Tick] | None:
        """The instrument to poll now, with its tick; None if none is due."""
        self._clean()
        if not self._heap or self._heap[0][0] > now.boot_us:
            return None
        name = heapq.heappop(self._heap)[3]
        tick = self._tickers[name].take(now)
        self._push(name)
        return None if tick is None else (name, tick)

    def _push(self, name: str) -> None:
        key = (self._tickers[name].due_boot_us, -self._priority[name], next(self._turn), name)
        heapq.heappush(self._heap, key)

    def _clean(self) -> None:
        """Drop entries of tickers that were replaced or removed."""
        while self._heap:
            due, _, _, name = self._heap[0]
            ticker = self._tickers.get(name)
            if ticker is not None and ticker.due_boot_us == due:
                return
            heapq.heappop(self._heap)
