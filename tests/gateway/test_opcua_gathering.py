"""Notifications of single nodes become one delivery per period: the nearest of each, and no more than came."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codec import Instant, Missing
from drivers.json_points import LONGEST
from drivers.opcua_points import Notification
from drivers.points import Point, Profile, Query
from gateway.opcua_gathering import Gathering, Monitored

S = 1_000_000
T = 1_782_000_000 * S  # a multiple of 10 s
POWER, VOLTAGE = "ns=2;s=P", "ns=2;s=U"


def monitored(*items, period_s=10, close_s=5):
    points = tuple(Point(f"input.{n}", "1", item=item) for n, item in enumerate(items or (POWER, VOLTAGE)))
    profile = Profile("press", "opcua", "any", "any", "published", "test", points)
    return Monitored("press", profile, Query("opcua", points), period_s * S, close_s * S, S)


@pytest.fixture
def gathering():
    made = Gathering(monitored())
    made.begin(T - 9 * S)
    return made


def told(node, at_s, value="1", *, own=True):
    return Notification(node, "Double", value, 0, T + round(at_s * S) if own else None)


def at(seconds):
    return Instant(T + round(seconds * S), round(seconds * S) + 100 * S)


def values(delivery):
    return [i.value for i in delivery.scan.indications]


def test_a_slot_is_delivered_once_every_node_has_told_something_at_its_time_or_after(gathering):
    assert gathering.take(told(POWER, 0.1, "7"), at(0.2)) == ""
    assert gathering.ready(T + S // 4) == ()
    assert gathering.take(told(VOLTAGE, 0.2, "8"), at(0.3)) == ""
    (made,) = gathering.ready(T + S // 3)
    assert values(made) == [Decimal(7), Decimal(8)]
    assert made.stamp_us == T + S // 5, "no value is newer than the reading says"
    assert [exchange.request.decode() for exchange in made.scan.exchanges] == [POWER, VOLTAGE]
    assert (made.scan.started, made.scan.finished) == (at(0.2), at(0.3))
    assert gathering.ready(T + 20 * S) == (), "a slot is delivered once"


def test_of_several_the_nearest_counts_and_of_two_as_near_the_earlier(gathering):
    for seconds, value in ((-4, "1"), (-2, "2"), (2, "3"), (3, "4")):
        gathering.take(told(POWER, seconds, value), at(seconds))
    gathering.take(told(VOLTAGE, 1, "9"), at(3))
    (made,) = gathering.ready(T + 3 * S)
    assert values(made) == [Decimal(2), Decimal(9)]


def test_a_slot_that_is_over_is_delivered_with_what_came_and_the_rest_is_missing(gathering):
    gathering.take(told(POWER, -1, "7"), at(-0.9))
    assert gathering.next_us == T + 5 * S
    assert gathering.ready(T + 5 * S - 1) == ()
    (made,) = gathering.ready(T + 5 * S)
    assert values(made) == [Decimal(7), None]
    assert made.scan.indications[1].missing == Missing.TIMEOUT
    assert gathering.next_us is None


def test_nothing_is_delivered_of_a_slot_in_which_nothing_came(gathering):
    assert gathering.ready(T + 100 * S) == ()


def test_what_was_told_before_the_run_began_is_not_taken(gathering):
    assert gathering.take(told(POWER, -3600), at(-8)) == "surplus"
    assert gathering.ready(T + 100 * S) == ()


def test_what_a_server_tells_again_after_a_new_connection_is_recognised(gathering):
    gathering.take(told(POWER, 0), at(0))
    assert gathering.take(told(POWER, 0), at(8)) == "repeated"
    assert gathering.take(told(POWER, -1), at(8)) == "repeated"


def test_what_comes_for_a_slot_that_was_delivered_is_surplus(gathering):
    gathering.take(told(POWER, 0), at(0))
    gathering.ready(T + 5 * S)
    assert gathering.take(told(POWER, 4), at(6)) == "surplus"


def test_a_stamp_far_ahead_is_not_believed(gathering):
    assert gathering.take(told(POWER, 301), at(0)) == "stamp_ahead"
    assert gathering.take(told(POWER, 299), at(0)) == ""


def test_what_a_server_has_when_it_is_connected_to_is_of_unknown_age_unless_it_bears_a_time(gathering):
    assert gathering.take(told(POWER, 0, "7", own=False), at(0)) == "no_time"
    assert gathering.take(told(POWER, 0, "7", own=False), at(1)) == "repeated"
    assert gathering.take(told(POWER, 0, "8", own=False), at(2)) == ""
    gathering.connected()
    assert gathering.take(told(POWER, 0, "9", own=False), at(3)) == "no_time"
    assert gathering.take(told(VOLTAGE, 0, "9"), at(3)) == ""


def test_what_has_no_time_of_its_own_is_of_the_time_when_it_came(gathering):
    for node in (POWER, VOLTAGE):
        gathering.take(told(node, 0, "1", own=False), at(-1))
    gathering.take(told(POWER, 0, "7", own=False), at(1))
    gathering.take(told(VOLTAGE, 0, "8", own=False), at(2))
    (made,) = gathering.ready(T + 2 * S)
    assert made.stamp_us is None
    assert set(made.flags) == {"no_source_timestamp:input.0", "no_source_timestamp:input.1"}


def test_slots_are_delivered_in_order_also_after_a_long_silence(gathering):
    for seconds in (30, 10, 20):
        gathering.take(told(POWER if seconds != 10 else VOLTAGE, seconds), at(31))
    made = gathering.ready(T + 36 * S)
    assert [d.stamp_us for d in made] == sorted(d.stamp_us for d in made)
    assert len(made) == 2, "20 came after 30 of the same node: the newest was told already"


def test_what_would_not_fit_into_an_entry_is_missing():
    nodes = [f"ns=2;s={n:04d}{'x' * 400}" for n in range(60)]
    made = Gathering(monitored(*nodes))
    made.begin(T - 9 * S)
    for node in nodes:
        made.take(told(node, 0), at(0))
    (delivery,) = made.ready(T)
    assert sum(len(e.answer) for e in delivery.scan.exchanges) <= LONGEST
    found = values(delivery)
    assert found[0] == 1
    assert found[-1] is None
    assert delivery.scan.indications[-1].missing == Missing.TIMEOUT


@given(
    st.lists(
        st.tuples(st.sampled_from([POWER, VOLTAGE]), st.integers(-200, 600), st.integers(0, 40)), max_size=60
    )
)
def test_however_notifications_come_each_slot_is_delivered_once_and_in_order(events):
    gathering = Gathering(monitored())
    gathering.begin(T - 9 * S)
    made, now = [], -20.0
    for node, tenths, later in events:
        now = max(now, tenths / 10) + later / 10
        gathering.take(told(node, tenths / 10), at(now))
        made += gathering.ready(at(now).utc_us)
    made += gathering.ready(T + 10_000 * S)
    slots = [(d.stamp_us + 5 * S) // (10 * S) for d in made]
    assert slots == sorted(set(slots))
    assert gathering.open == {}
