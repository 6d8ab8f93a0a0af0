"""Slots: one number per period for what nobody asked, whatever comes when."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from drivers.codec import Counts, Exchange, Instant, Scan
from gateway.pushed import AHEAD_US, Delivery, PushLine, Slots

S = 1_000_000


def slots(period_s=30, late_s=10, lag_s=0, now_s=1000):
    made = Slots(period_s * S, late_s * S, lag_s * S)
    made.begin(now_s * S)
    return made


def test_the_first_slot_is_the_next_whose_data_can_still_come():
    assert slots(now_s=1000).due_us == 1020 * S
    assert slots(now_s=1020).due_us == 1020 * S
    assert slots(lag_s=60, now_s=1000).due_us == 960 * S, "minute data of 16:00 comes at 17:00"


def test_a_stamp_belongs_to_the_nearest_slot_and_is_its_time():
    s = slots()
    tick = s.take(1021 * S, stamped=True)
    assert (tick.due_us, tick.missed) == (1021 * S, 0)
    assert s.due_us == 1050 * S
    tick = s.take(1110 * S - 1, stamped=True)
    assert (tick.missed, tick.missed_from_us, tick.missed_to_us) == (2, 1050 * S, 1080 * S)


def test_what_has_no_stamp_belongs_to_the_period_in_which_it_comes():
    s = slots()
    assert s.take(1049 * S, stamped=False).due_us == 1020 * S
    assert s.take(1049 * S + 1, stamped=False) is None, "the first of a period counts"
    assert s.take(1050 * S, stamped=False).due_us == 1050 * S


def test_silence_is_over_when_it_has_been_due_for_long_enough():
    s = slots(late_s=10)
    assert s.overdue(1030 * S - 1) is None
    tick = s.overdue(1030 * S)
    assert (tick.due_us, tick.missed) == (1020 * S, 0)
    tick = s.overdue(1150 * S)
    assert (tick.missed + 1, tick.missed_from_us, tick.due_us) == (4, 1050 * S, 1140 * S)
    assert s.take(1140 * S, stamped=True) is None, "given up: it has no number any more"


def test_a_restart_goes_on_behind_what_the_log_holds():
    s = slots(lag_s=60, now_s=1000)
    s.skip_to(963 * S)  # its data came at 963, a little beside its slot
    assert s.due_us == 990 * S
    s.skip_to(0)
    assert s.due_us == 990 * S


@given(
    st.lists(
        st.tuples(st.sampled_from(["data", "late", "wait"]), st.integers(0, 200 * S)), min_size=1, max_size=40
    )
)
def test_every_slot_is_counted_once_and_in_order(steps):
    s = slots()
    expected, now = s.due_us, 1000 * S
    for what, by in steps:
        if what == "data":
            now += by
            tick = s.take(now, stamped=True)
        elif what == "late":
            tick = s.take(max(0, now - by), stamped=True)
        else:
            now += by
            tick = s.overdue(now)
        if tick is None:
            continue
        count = tick.missed + 1
        first = tick.missed_from_us if tick.missed else s.due_us - s.period_us
        assert first == expected
        expected += count * s.period_us
        assert s.due_us == expected


@given(st.lists(st.integers(0, 50), max_size=200))
def test_a_stamp_is_recognised_when_it_comes_again(stamps):
    s, known = slots(), set()
    for stamp in stamps:
        assert s.again(stamp) == (stamp in known)
        known.add(stamp)


# ---- a line at work --------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self, now_s):
        self.us = now_s * S

    def now(self):
        return Instant(self.us, self.us)


class Written:
    """Stands where the pipeline is: what it is told."""

    def __init__(self):
        self.told = []

    def accept(self, name, tick, scan, flags):
        self.told.append(("reading", tick.due_us // S, tick.missed))

    def skip(self, name, tick, before, reason):
        self.told.append(("gap", tick.due_us // S, tick.missed, reason))

    def event(self, kind, detail):
        self.told.append((kind, int(detail["stamp_us"]) // S))

    def number(self, name):
        return 0


class Silent:
    def __init__(self):
        self.counts = Counts()


def line(kept=True, now_s=1021):
    clock, written = Clock(now_s), Written()

    async def durable():
        return kept

    made = PushLine("line", Silent(), {"M": slots()}, clock, written, durable)
    return made, clock, written


def pushed(stamp_s):
    at = Instant(0, 0)
    scan = Scan((), (Exchange(b"", b"bytes", at, at),), at, at)
    return Delivery("M", scan, None if stamp_s is None else stamp_s * S)


def deliver(made, *stamps):
    async def all_of():
        return [await made.deliver(pushed(stamp)) for stamp in stamps]

    return asyncio.run(all_of())


def test_what_comes_twice_changes_nothing():
    made, _, written = line()
    assert deliver(made, 1020, 1020) == [True, True]
    assert written.told == [("reading", 1020, 0)]
    assert made.source.counts.by_address == {"M": {"repeated": 1}}


def test_what_comes_for_a_number_that_is_gone_is_kept_as_an_event():
    made, clock, written = line()
    deliver(made, 1020)
    clock.us = 1111 * S
    deliver(made, 1110, 1050, 1050)
    assert written.told == [
        ("reading", 1020, 0),
        ("gap", 1080, 1, "timeout"),
        ("reading", 1110, 0),
        ("late_data", 1050),
    ]
    assert made.source.counts.by_address == {"M": {"late_data": 1, "repeated": 1}}


def test_a_clock_that_is_far_ahead_is_not_believed():
    made, clock, written = line()
    far = clock.us // S + AHEAD_US // S + 60
    assert deliver(made, far) == [True]
    assert written.told == [("stamp_ahead", far)]
    assert made.slots["M"].due_us == 1020 * S, "what is owed is still owed"


def test_what_was_not_kept_is_not_acknowledged_and_new_when_it_comes_again():
    made, _, written = line(kept=False)
    assert deliver(made, 1020, 1020) == [False, False]
    assert [told[0] for told in written.told] == ["reading", "late_data"]
