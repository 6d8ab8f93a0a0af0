"""A cumulative register followed reading by reading: which growth is energy, and what else may have happened.

A register that goes down never becomes a negative energy. Depending on what is plausible it is a rollover
(the growth through the modulus is possible in the time), noise (no more than a few digits of its resolution:
the higher reading is kept until it is passed), or a reset: then a new segment begins and what was not seen is
not estimated. A register that grows faster than the largest power allows has been replaced or misread: a new
segment too. Each is flagged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

HOUR_US = 3_600_000_000
_ROLLOVER_SHARE = Decimal("0.01")


class RegisterFlag(StrEnum):
    """What happened to a register within an interval."""

    REGISTER_ROLLOVER = "REGISTER_ROLLOVER"  # passed its modulus; counted
    REGISTER_DECREASED = "REGISTER_DECREASED"  # by no more than noise; the higher reading was kept
    REGISTER_RESET = "REGISTER_RESET"  # fell; the energy between the two readings is not in the total
    REGISTER_REPLACED = "REGISTER_REPLACED"  # said by the caller; the same
    REGISTER_JUMPED = "REGISTER_JUMPED"  # grew faster than the largest power allows; the same
    CLOCK_STEPPED = "CLOCK_STEPPED"  # time went back between two readings
    GAP_BRIDGED = "GAP_BRIDGED"  # two totals were merged over time that neither saw: energy known, load not


@dataclass(frozen=True, slots=True)
class RegisterReading:
    """What a register showed: exact indication, instant (µs UTC), and how long a time it was sampled
    within.
    """

    value: Decimal
    utc_us: int
    window_us: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one register without a break. Powers are the register's growth per hour at either end."""

    start: RegisterReading
    last: RegisterReading
    turns: int = 0
    start_power: float | None = None
    last_power: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether it holds one reading only."""
        return self.start == self.last and not self.turns


class RegisterTrack:
    """The segments of one register, and what happened to it. All in the register's own unit and on its own
    side.

    Args:
        where: who and what, for messages.
        resolution: of the register.
        modulus: where it rolls over; None: not known, never.
        max_power: largest possible growth per hour; without it a rollover is taken for one only where no more
            than a
            hundredth of the modulus was passed.
        noise: largest decrease that is taken for noise; None: twice the resolution.
    """

    __slots__ = ("closed", "flags", "max_power", "missing", "modulus", "noise", "now", "resolution", "where")

    def __init__(
        self,
        where: str,
        *,
        resolution: Decimal = Decimal(0),
        modulus: Decimal | None = None,
        max_power: float | None = None,
        noise: Decimal | None = None,
    ) -> None:
        if modulus is not None and not (modulus.is_finite() and modulus > 0):
            raise ValueError(f"{where}: the modulus must be positive, it is {modulus}")
        self.where, self.resolution, self.modulus, self.max_power = where, resolution, modulus, max_power
        self.noise = 2 * resolution if noise is None else noise
        self.now: Segment | None = None
        self.closed: list[Segment] = []
        self.flags: dict[str, None] = {}
        self.missing = 0  # missed polls, and breaks

    def reading(self, value: Decimal, utc_us: int, window_us: int) -> RegisterReading:
        """A reading that can be one.

        Raises:
            ValueError: not a finite number of at least 0, or a negative window.
        """
        if not value.is_finite() or value < 0:
            raise ValueError(f"{self.where}: a register can't stand at {value}")
        if window_us < 0:
            raise ValueError(f"{self.where}: a sampling window can't be negative ({window_us} µs)")
        return RegisterReading(value, utc_us, window_us)

    def step(self, reading: RegisterReading) -> Decimal | None:
        """Follow the register to its next reading: the growth that counts, or None if there is none to
        count.
        """
        now = self.now
        if now is None:
            self.now = Segment(reading, reading)
            return None
        hours = (reading.utc_us - now.last.utc_us) / HOUR_US
        if hours <= 0:
            self.flag(RegisterFlag.CLOCK_STEPPED)
        grown = reading.value - now.last.value
        turns = 0
        if grown < 0:
            passed = None if self.modulus is None else grown + self.modulus
            if passed is not None and self._rolled_over(passed, hours):
                grown, turns = passed, 1
                self.flag(RegisterFlag.REGISTER_ROLLOVER)
            elif -grown <= self.noise:
                self.flag(RegisterFlag.REGISTER_DECREASED)
                return None
            else:
                self.break_at(reading, RegisterFlag.REGISTER_RESET)
                return None
        elif self.max_power is not None and hours > 0 and not self._possible(grown, hours):
            self.break_at(reading, RegisterFlag.REGISTER_JUMPED)
            return None
        power = float(grown) / hours if hours > 0 else now.last_power
        self.now = Segment(
            now.start,
            reading,
            now.turns + turns,
            power if now.start_power is None else now.start_power,
            power,
        )
        return grown

    def run(self, readings: Sequence[RegisterReading]) -> None:
        """Follow the register over readings that are known to ascend in value and time."""
        now = self.now
        assert now is not None
        before = readings[-2] if len(readings) > 1 else now.last
        first, last = readings[0], readings[-1]
        start_power = _power(now.last, first) if now.start_power is None else now.start_power
        self.now = Segment(now.start, last, now.turns, start_power, _power(before, last))

    def break_at(self, reading: RegisterReading, flag: RegisterFlag) -> None:
        """A new segment begins here; what came between is not known."""
        self.flag(flag)
        if self.now is not None:
            self.closed.append(self.now)
            self.missing += 1
        self.now = Segment(reading, reading)

    def join(self, later: RegisterTrack) -> None:
        """Take in a later track; where it starts at this one's last reading, the two segments become one."""
        assert later.now is not None
        chain = [*later.closed, later.now]
        if self.now is not None and self.now.last != chain[0].start:
            self.closed.append(self.now)
        elif self.now is not None:
            now, first = self.now, chain[0]
            chain[0] = Segment(
                now.start,
                first.last,
                now.turns + first.turns,
                first.start_power if now.start_power is None else now.start_power,
                now.last_power if first.start_power is None else first.last_power,
            )
        self.closed += chain[:-1]
        self.now = chain[-1]

    def flag(self, flag: str) -> None:
        """Remember what happened, once."""
        self.flags[str(flag)] = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, the open one last."""
        return (*self.closed, self.now) if self.now is not None else ()

    @property
    def grown(self) -> Decimal:
        """Growth over all segments: exact, end − start each."""
        total = Decimal(0)
        for segment in self.segments:
            total += segment.last.value - segment.start.value
            if segment.turns and self.modulus is not None:
                total += segment.turns * self.modulus
        return total

    def _rolled_over(self, passed: Decimal, hours: float) -> bool:
        if passed < 0 or self.modulus is None:
            return False
        if self.max_power is not None and hours > 0:
            return self._possible(passed, hours)
        return passed <= self.modulus * _ROLLOVER_SHARE

    def _possible(self, grown: Decimal, hours: float) -> bool:
        assert self.max_power is not None
        return float(grown - 2 * self.resolution) <= self.max_power * hours


def plain_segment(segment: Segment) -> dict[str, Any]:
    """A segment as plain JSON values."""
    return {
        "start": [str(segment.start.value), segment.start.utc_us, segment.start.window_us],
        "last": [str(segment.last.value), segment.last.utc_us, segment.last.window_us],
        "turns": segment.turns,
        "start_power": segment.start_power,
        "last_power": segment.last_power,
    }


def segment_of(plain: Mapping[str, Any]) -> Segment:
    """The inverse of :func:`plain_segment`."""

    def reading(triple: Sequence[Any]) -> RegisterReading:
        return RegisterReading(Decimal(triple[0]), int(triple[1]), int(triple[2]))

    power = plain["start_power"]
    return Segment(
        reading(plain["start"]),
        reading(plain["last"]),
        int(plain["turns"]),
        None if power is None else float(power),
        float(plain["last_power"]),
    )


def _power(before: RegisterReading, after: RegisterReading) -> float:
    return float(after.value - before.value) * HOUR_US / (after.utc_us - before.utc_us)
