from __future__ import annotations

import asyncio
import time

from gateway.clock import ClockQuality, SetClock, StepWatch, SystemClock, quality_of

S = 1_000_000


def test_the_quality_is_what_the_kernel_says_and_nothing_is_invented():
    def q(discipline, was=False, rtc=False):
        state = quality_of(discipline, was_synchronised=was, has_rtc=rtc, limit_us=S)
        return state.quality, state.error_us

    assert q((True, 2500)) == (ClockQuality.SYNCHRONISED, 2500)
    assert q((True, 3 * S)) == (ClockQuality.HOLDOVER, 3 * S), "a bound over the limit is not synchronised"
    assert q((False, 16 * S)) == (ClockQuality.UNKNOWN, None), "the kernel's 16 s means: no idea"
    assert q((False, 16 * S), rtc=True) == (ClockQuality.RTC, None)
    assert q((False, 16 * S), was=True) == (ClockQuality.HOLDOVER, None)
    assert q(None) == (ClockQuality.UNKNOWN, None)


def test_the_system_clock_gives_both_clocks_of_one_instant():
    clock = SystemClock()
    before = time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000
    now = clock.now()
    assert before <= now.utc_us <= time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000
    assert 0 < now.boot_us <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    assert clock.state() == clock.state()


async def test_the_system_clock_sleeps_until_the_instant_and_not_shorter():
    clock = SystemClock()
    until = clock.now().boot_us + 2_000
    await clock.sleep_until(until)
    assert clock.now().boot_us >= until


def test_a_step_of_utc_is_found_once_and_slewing_is_none():
    clock = SetClock()
    watch = StepWatch(clock.now())
    clock.step(49_000)
    assert watch.look(clock.now()) is None
    clock.step(-60_000)
    step = watch.look(clock.now())
    assert step.by_us == -60_000
    assert step.utc_us == clock.now().utc_us
    assert watch.look(clock.now()) is None


async def test_a_set_clock_wakes_sleepers_in_the_order_of_their_times():
    clock = SetClock(boot_us=0)
    woken = []

    async def sleeper(name, *times):
        for t in times:
            await clock.sleep_until(t)
            woken.append((name, clock.now().boot_us))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("a", 3, 9))
        group.create_task(sleeper("b", 5))
        await clock.advance(4)
        assert woken == [("a", 3)]
        await clock.advance(10)
    assert woken == [("a", 3), ("b", 5), ("a", 9)]
    assert clock.now().boot_us == 14
