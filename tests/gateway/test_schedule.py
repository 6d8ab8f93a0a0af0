from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codec import Instant
from gateway.schedule import Agenda, Ticker, next_multiple, polls_between

S = 1_000_000


def at(utc: float, boot: float) -> Instant:
    return Instant(int(utc * S), int(boot * S))


def test_polls_fall_on_whole_multiples_of_the_period_in_utc():
    ticker = Ticker(10 * S, at(1003, 50))
    assert ticker.take(at(1009.999, 56.999)) is None
    tick = ticker.take(at(1010.2, 57.2))
    assert (tick.due_us, tick.due_boot_us, tick.missed) == (1010 * S, 57 * S, 0)
    assert ticker.due_us == 1020 * S


def test_a_late_poll_is_made_once_and_what_was_missed_is_counted_with_its_times():
    ticker = Ticker(S, at(100, 0))
    tick = ticker.take(at(103.5, 3.5))
    assert (tick.due_us, tick.missed, tick.missed_from_us, tick.missed_to_us) == (
        103 * S,
        3,
        100 * S,
        102 * S,
    )
    assert ticker.take(at(103.6, 3.6)) is None, "no burst to catch up"


def test_a_step_of_utc_makes_neither_a_burst_nor_a_hole():
    for step in (3600, -3600, 0.4, -0.4, 12345.678):
        ticker = Ticker(S, at(1000, 0))
        ticker.take(at(1000, 0))
        boots = []
        for boot in range(0, 10 * S, S // 100):
            tick = ticker.take(Instant(1000 * S + boot + int(step * S), boot))
            if tick:
                assert tick.missed == 0
                boots.append(tick.due_boot_us)
                if len(boots) > 1:
                    assert tick.due_us % S == 0
        spaces = [b - a for a, b in pairwise(boots)]
        assert all(S // 2 <= space <= 3 * S // 2 for space in spaces)
        assert spaces[2:] == [S] * len(spaces[2:]), "aligned again after one move"


@given(
    period=st.integers(1000, 900 * S),
    waits=st.lists(st.integers(0, 5000 * S), min_size=1, max_size=40),
    steps=st.lists(st.integers(-10_000 * S, 10_000 * S), min_size=40, max_size=40),
)
def test_every_scheduled_poll_is_made_or_counted_whatever_the_clock_does(period, waits, steps):
    boot, offset = 0, 2_000_000 * S
    ticker = Ticker(period, Instant(offset, boot))
    start, polls, moves = ticker.due_boot_us, 0, 0
    for wait, step in zip(waits, steps, strict=False):
        boot += wait
        offset += step
        due_before = ticker.due_boot_us
        tick = ticker.take(Instant(boot + offset, boot))
        if tick is None:
            assert boot < due_before
            continue
        assert tick.due_boot_us <= boot < tick.due_boot_us + period
        polls += 1 + tick.missed
        moves += 1
        assert ticker.due_us % period == 0
        assert abs(ticker.due_boot_us - tick.due_boot_us - period) <= period // 2 + 1
    assert abs(ticker.due_boot_us - start - polls * period) <= moves * (period // 2 + 1)


def test_without_steps_the_ticker_never_drifts():
    ticker = Ticker(20_000, Instant(7, 0))
    for n in range(1, 10_001):
        now = Instant(20_000 * n + 1234, 20_000 * n + 1227)  # always a little late
        assert ticker.take(now).due_us == 20_000 * n


@given(st.integers(0, 10**15), st.integers(1, 10**9))
def test_next_multiple_is_the_first_at_or_after(utc, period):
    found = next_multiple(utc, period)
    assert found % period == 0
    assert 0 <= found - utc < period


def test_polls_between_excludes_both_ends_and_knows_no_negative_count():
    assert polls_between(10 * S, 11 * S, S) == 0
    assert polls_between(10 * S, 14 * S, S) == 3
    assert polls_between(10 * S, 5 * S, S) == 0


def test_a_period_must_be_positive():
    with pytest.raises(ValueError, match="period"):
        Ticker(0, at(0, 0))


def test_the_longest_due_comes_first_then_priority_then_the_longest_unserved():
    agenda = Agenda()
    agenda.add("slow", Ticker(10 * S, at(100, 0)))
    agenda.add("b", Ticker(S, at(100, 0)))
    agenda.add("alarm", Ticker(S, at(100, 0)), priority=1)
    agenda.add("late", Ticker(2 * S, at(99.5, -0.5)))
    agenda.add("overdue", Ticker(7 * S, at(98, -2)))
    assert agenda.next_boot_us() == -2 * S
    now = at(100.5, 0.5)
    assert [agenda.take(now)[0] for _ in range(5)] == ["overdue", "alarm", "slow", "b", "late"]
    assert agenda.take(now) is None
    assert agenda.next_boot_us() == S
    assert [agenda.take(at(101, 1))[0] for _ in range(2)] == ["alarm", "b"]


def test_an_overloaded_line_gives_every_instrument_its_turn():
    agenda = Agenda()
    for n in range(5):
        agenda.add(f"m{n}", Ticker(S, at(0, 0)))
    polled = dict.fromkeys((f"m{n}" for n in range(5)), 0)
    numbers = dict(polled)
    now = 0.0
    while now < 300:
        taken = agenda.take(at(now, now))
        if taken is None:
            now += 0.1
            continue
        name, tick = taken
        polled[name] += 1
        numbers[name] += 1 + tick.missed
        now += 0.7  # five instruments at 1 s need 3.5 s of line
    assert max(polled.values()) - min(polled.values()) <= 1
    assert all(295 <= n <= 301 for n in numbers.values())


def test_a_replaced_or_removed_ticker_leaves_nothing_behind():
    agenda = Agenda()
    agenda.add("a", Ticker(S, at(0, 0)))
    agenda.add("a", Ticker(10 * S, at(5, 5)))
    assert agenda.next_boot_us() == 10 * S
    agenda.remove("a")
    assert agenda.next_boot_us() is None
    assert agenda.take(at(100, 100)) is None
