"""A running total of uncertain readings that survives a restart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from calibration.randompart import Seen, SharedRandomPartError
from calibration.uncertainty import Array, Uncertain


class Accumulator:
    """A running total that survives a restart: add readings, save :meth:`state`, go on from it, merge.

    It keeps the sums of y, of each source's contributions and of r2 (compensated, so that a year of readings
    loses nothing to rounding). A reading may enter once only: its running ``number`` tells, which must grow,
    also after a restart; without numbers the values added since the start are remembered and compared.
    """

    __slots__ = ("_contributions", "_r2", "_seen", "_y", "count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last: int | None = None
        self._seen = Seen()
        # Neumaier's compensated sums: [sum, what rounding lost].
        self._y, self._r2 = [0.0, 0.0], [0.0, 0.0]
        self._contributions: dict[str, list[float]] = {}

    def add(self, value: Uncertain, number: int | None = None, factor: float = 1.0) -> None:
        """Add one value, or an array of readings, times an exact factor.

        Args:
            value: the reading.
            number: its running number (of the last reading, for an array); refused unless greater than all before.
            factor: exact factor, such as the interval in hours where power becomes energy.
        """
        if number is None:
            self._seen.add(value.parts)
        elif self.last is not None and number <= self.last:
            raise ValueError(f"reading {number} comes after {self.last}: added before, or out of order")
        else:
            self.last = number
        single = value
        if value.is_array:
            single = value.sum()
            self.count += cast(Array, value.y).size
        else:
            self.count += 1
        _compensate(self._y, factor * cast(float, single.y))
        _compensate(self._r2, factor * factor * cast(float, single.r2))
        running = self._contributions
        for name, c in single.contributions.items():
            pair = running.get(name)
            if pair is None:
                pair = running[name] = [0.0, 0.0]
            _compensate(pair, factor * cast(float, c))

    def merge(self, other: Accumulator) -> None:
        """Add another accumulator's readings, which must be other readings than these."""
        if other is self:
            raise SharedRandomPartError("an accumulator merged with itself would count every reading twice")
        self._seen.add(other._seen.parts)
        self.count += other.count
        if other.last is not None:
            self.last = other.last if self.last is None else max(self.last, other.last)
        pairs = [(self._y, other._y), (self._r2, other._r2)]
        pairs += [(self._contributions.setdefault(s, [0.0, 0.0]), c) for s, c in other._contributions.items()]
        for mine, theirs in pairs:
            _compensate(mine, theirs[0])
            _compensate(mine, theirs[1])

    def result(self) -> Uncertain:
        """The total so far."""
        named = {name: sum(pair) for name, pair in self._contributions.items()}
        return Uncertain(sum(self._y), named, max(0.0, sum(self._r2)))

    def state(self) -> dict[str, Any]:
        """All of it as JSON-ready data: decimal text with every digit."""
        return {
            "count": self.count,
            "last": self.last,
            "y": [repr(n) for n in self._y],
            "r2": [repr(n) for n in self._r2],
            "contributions": {name: [repr(n) for n in pair] for name, pair in self._contributions.items()},
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Accumulator:
        """The accumulator that gave this state.

        Raises:
            ValueError: the state is not one of ours.
        """
        result = cls()
        try:
            result.count = int(state["count"])
            result.last = None if state["last"] is None else int(state["last"])
            result._y, result._r2 = _pair(state["y"]), _pair(state["r2"])
            result._contributions = {str(name): _pair(pair) for name, pair in state["contributions"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not the state of an accumulator ({error})") from None
        return result


def _compensate(pair: list[float], term: float) -> None:
    """Add a term to a compensated sum."""
    before = pair[0]
    after = before + term
    pair[1] += (before - after) + term if abs(before) >= abs(term) else (term - after) + before
    pair[0] = after


def _pair(texts: Sequence[str]) -> list[float]:
    total, lost = (float(text) for text in texts)
    if not math.isfinite(total) or not math.isfinite(lost):
        raise ValueError("a sum is not finite")
    return [total, lost]
