"""Time, and what is known about it.

Every record carries two clocks of one instant: UTC (``CLOCK_REALTIME``, may be stepped by NTP or by hand) and
time since boot (``CLOCK_BOOTTIME``, never stepped, counts suspension). Nothing else in the gateway asks what
time it is, so a test can hand in a clock of its own.

The quality of UTC is asked of the kernel (``adjtimex``), never assumed: chrony, ntpd and systemd-timesyncd
all report to it. What the kernel does not know is said to be unknown.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from itertools import count
from pathlib import Path
from typing import Protocol

from drivers.codec import Instant

SECOND_US = 1_000_000
STEP_LIMIT_US = 50_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_RTC = Path("/sys/class/rtc/rtc0")


class ClockQuality(IntEnum):
    """How UTC is known (OCMF's time status in finer steps)."""

    UNKNOWN = 0  # nothing sets this clock
    RTC = 1  # informative: a battery clock set it at boot
    SYNCHRONISED = 2  # the kernel says so and states a bound within the limit
    TRACED = 3  # authenticated or disciplined by hardware (NTS, GNSS, PTP): only if the site says so
    HOLDOVER = 4  # was synchronised since boot, is not now


@dataclass(frozen=True, slots=True)
class ClockState:
    """Quality of UTC, and the bound of its error in µs; None if nobody states one."""

    quality: ClockQuality
    error_us: int | None


class Clock(Protocol):
    """Where time comes from."""

    @property
    def boot_id(self) -> str:
        """Names this boot: boot times compare within one boot only."""
        ...

    def now(self) -> Instant:
        """The present instant on both clocks."""
        ...

    def state(self) -> ClockState:
        """What is known about UTC at this instant."""
        ...

    async def sleep_until(self, boot_us: int) -> None:
        """Return as soon as ``now().boot_us`` has reached ``boot_us``."""
        ...


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2), as far as it is read here; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_long * 40),
    )


_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


def kernel_discipline() -> tuple[bool, int] | None:
    """(synchronised, bound of the error in µs) by adjtimex(2); None where the kernel cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()  # modes 0: reads, sets nothing
        answer = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if answer < 0:
        return None
    # TIME_ERROR is also returned for PPS trouble alone; STA_UNSYNC is the bit that speaks of the clock itself
    synchronised = not timex.status & _STA_UNSYNC and answer != _TIME_ERROR
    return synchronised, int(timex.maxerror)


def quality_of(
    discipline: tuple[bool, int] | None, *, was_synchronised: bool, has_rtc: bool, limit_us: int
) -> ClockState:
    """What an answer of the kernel means. A bound is reported only while something keeps it true."""
    if discipline is not None and discipline[0]:
        error = discipline[1]
        quality = ClockQuality.SYNCHRONISED if error <= limit_us else ClockQuality.HOLDOVER
        return ClockState(quality, error)
    if was_synchronised:
        return ClockState(ClockQuality.HOLDOVER, None)
    return ClockState(ClockQuality.RTC if has_rtc else ClockQuality.UNKNOWN, None)


class SystemClock:
    """The machine's clocks. The kernel is asked for the quality at most once a second."""

    def __init__(self, limit_us: int = SECOND_US) -> None:
        self._limit_us = limit_us
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""
        self._was_synchronised = False
        self._asked_us = -SECOND_US
        self._state = ClockState(ClockQuality.UNKNOWN, None)

    @property
    def boot_id(self) -> str:
        """The kernel's identifier of this boot."""
        return self._boot_id

    def now(self) -> Instant:
        """CLOCK_REALTIME and CLOCK_BOOTTIME, read one after the other (well under 1 µs apart)."""
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return Instant(time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000, boot // 1000)

    def state(self) -> ClockState:
        """The kernel's view of UTC, at most one second old."""
        boot_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        if boot_us - self._asked_us >= SECOND_US:
            self._asked_us = boot_us
            self._state = quality_of(
                kernel_discipline(),
                was_synchronised=self._was_synchronised,
                has_rtc=_RTC.exists(),
                limit_us=self._limit_us,
            )
            self._was_synchronised |= self._state.quality is ClockQuality.SYNCHRONISED
        return self._state

    async def sleep_until(self, boot_us: int) -> None:
        """Sleep in pieces of at most 10 s: the loop's clock stands still while the machine is suspended."""
        while (left := boot_us - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000) > 0:  # noqa: ASYNC110
            # no event exists to wait for: this is the place where time is waited for
            await asyncio.sleep(min(left, 10 * SECOND_US) / SECOND_US)


class SetClock:
    """A clock that stands until it is moved: for tests and for replays.

    ``advance`` wakes sleepers in the order of their times; ``step`` moves UTC alone, as an NTP step does.
    """

    def __init__(
        self,
        utc_us: int = 1_800_000_000 * SECOND_US,
        boot_us: int = 1_000 * SECOND_US,
        *,
        boot_id: str = "00000000-0000-4000-8000-000000000000",
        state: ClockState | None = None,
    ) -> None:
        self._utc_us = utc_us
        self._boot_us = boot_us
        self._boot_id = boot_id
        self._state = state or ClockState(ClockQuality.SYNCHRONISED, 2_000)
        self._sleepers: list[tuple[int, int, asyncio.Event]] = []
        self._order = count()

    @property
    def boot_id(self) -> str:
        """As given."""
        return self._boot_id

    def now(self) -> Instant:
        """Where the clock was last set."""
        return Instant(self._utc_us, self._boot_us)

    def state(self) -> ClockState:
        """As given."""
        return self._state

    def step(self, by_us: int) -> None:
        """Move UTC; time since boot stays."""
        self._utc_us += by_us

    async def sleep_until(self, boot_us: int) -> None:
        """Wait for ``advance`` to reach the time."""
        if boot_us > self._boot_us:
            event = asyncio.Event()
            heapq.heappush(self._sleepers, (boot_us, next(self._order), event))
            await event.wait()

    async def advance(self, by_us: int) -> None:
        """Move both clocks on, stopping at each sleeper's time to let it run."""
        until = self._boot_us + by_us
        while True:
            for _ in range(20):  # let woken tasks reach their next sleep
                await asyncio.sleep(0)
            if not self._sleepers or self._sleepers[0][0] > until:
                break
            at, _, event = heapq.heappop(self._sleepers)
            if at > self._boot_us:
                self._utc_us += at - self._boot_us
                self._boot_us = at
            event.set()
        self._utc_us += until - self._boot_us
        self._boot_us = until


@dataclass(frozen=True, slots=True)
class ClockStep:
    """UTC jumped: what UTC would have been, and what it is."""

    expected_utc_us: int
    utc_us: int
    boot_us: int

    @property
    def by_us(self) -> int:
        """How far, forward positive."""
        return self.utc_us - self.expected_utc_us


class StepWatch:
    """Finds steps of UTC against time since boot (Δreal - Δboot over the limit between two looks).

    Each look becomes the new reference: slewing (at most 500 ppm) stays far below the limit.
    """

    def __init__(self, first: Instant, limit_us: int = STEP_LIMIT_US) -> None:
        self._offset_us = first.utc_us - first.boot_us
        self._limit_us = limit_us

    def look(self, now: Instant) -> ClockStep | None:
        """The step since the last look, if there was one."""
        expected = now.boot_us + self._offset_us
        self._offset_us = now.utc_us - now.boot_us
        if abs(now.utc_us - expected) <= self._limit_us:
            return None
        return ClockStep(expected, now.utc_us, now.boot_us)


def moment() -> datetime:
    """Now, by the machine's clock, as an aware moment: for what thinks in dates (registers, certificates)."""
    return datetime.fromtimestamp(SystemClock().now().utc_us / SECOND_US, UTC)
