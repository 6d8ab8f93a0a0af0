"""A line's meters are frozen at one instant, and nothing passes for frozen then that was not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import dlt645, dlt645_items, freeze
from drivers.bus import Bus, Meter
from drivers.codec import Answer, Indication, Missing
from drivers.line import Timing
from drivers.profile import decode, load, plan
from drivers.protocols import codec

from .conftest import ScriptedMeter, loop_now

BEIJING_US = 8 * 3_600_000_000
PROFILE = load("dlt645-2007-three-phase")
ENERGY = plan(PROFILE, ["energy.active.import", "power.active.total", "voltage.l1"])


def told_at(utc_us: int, ahead_us: int = 0) -> str:
    """What a meter's clock shows, to the minute."""
    local = datetime(1970, 1, 1) + timedelta(microseconds=utc_us + BEIJING_US + ahead_us)  # noqa: DTZ001
    return local.strftime("%Y-%m-%d %H:%M")


def frozen(stamp: str | None, value: Decimal | None = Decimal("1.23")) -> list[Indication]:
    when = (
        Indication(freeze.TIME, freeze.STAMP, None, "", Missing.NOT_NUMERIC, stamp)
        if stamp is not None
        else Indication(freeze.TIME, freeze.STAMP, None, "", Missing.TIMEOUT)
    )
    energy = Indication("05010101", "energy.active.import", value, "kWh", None if value else Missing.CORRUPT)
    return [when, energy]


def test_the_order_is_a_broadcast_of_function_16_with_99_for_now() -> None:
    # 68 99×6 68, C = 16, L = 4, data 99 + 33 = CC
    assert freeze.order(preamble=0).hex(" ") == "68 99 99 99 99 99 99 68 16 04 cc cc cc cc b0 16"


def test_the_order_is_sent_by_nothing_that_only_reads() -> None:
    request = dlt645.Request(dlt645.BROADCAST, dlt645.FREEZE, payload=b"\x99" * 4)
    with pytest.raises(ValueError, match="freeze changes the meter"):
        codec("dlt645-2007").encode(request)


@pytest.mark.parametrize(
    ("register", "asked", "told"),
    [
        ("00010000", "05010101", "05010101"),
        ("00020300", "05010201", "05010201.t3"),
        ("00080000", "05010801", "05010801"),
        ("02030000", "05011001", "05011001.active.total"),
        ("02040200", "05011001", "05011001.reactive.l2"),
        ("00000000", "", ""),  # the combined active energy is not among what is frozen
        ("02010100", "", ""),
        ("00010001", "", ""),  # a settlement day's
        ("9010", "", ""),
    ],
)
def test_registers_and_powers_have_a_frozen_item(register: str, asked: str, told: str) -> None:
    assert freeze.frozen_item(register) == ((asked, told) if asked else None)


def test_what_is_asked_is_the_time_first_and_then_what_is_frozen() -> None:
    asked = freeze.queries(ENERGY)
    assert [q.item for q in asked] == ["05010001", "05010101", "05011001"]
    assert [p.measurand for q in asked[1:] for p in q.points] == [
        "energy.active.import",
        "power.active.total",
    ]


def test_a_meter_without_frozen_values_is_asked_nothing() -> None:
    assert freeze.queries(plan(PROFILE, ["voltage.l1"])) == ()


def test_frozen_tariffs_are_read_out_of_one_item() -> None:
    (query,) = [q for q in freeze.queries(plan(PROFILE)) if q.item == "05010101"]
    values = {"05010101": Decimal("100.01"), **{f"05010101.t{n}": Decimal(n) for n in range(1, 5)}}
    payload = b"".join(dlt645_items.encode("00010000", {"00010000": values[k]}) or b"" for k in values)
    got = {i.measurand: i.value for i in decode(PROFILE, query, Answer("05010101", payload, b""))}
    assert got["energy.active.import"] == Decimal("100.01")
    assert all(got[p.measurand] is not None for p in query.points)


@given(
    ordered=st.integers(1_600_000_000_000_000, 2_000_000_000_000_000),
    ahead=st.integers(-3_600_000_000, 3_600_000_000),
    tolerance=st.integers(0, 3_600_000_000),
)
def test_the_time_is_right_within_what_the_clock_may_be_off(ordered: int, ahead: int, tolerance: int) -> None:
    apart = freeze.apart_us(told_at(ordered, ahead), ordered, BEIJING_US)
    assert apart is not None
    assert abs(ahead) - 60_000_000 < apart <= abs(ahead)
    (taken,) = freeze.judged(frozen(told_at(ordered, ahead)), ordered, tolerance, BEIJING_US)
    assert (taken.value is not None) == (apart <= tolerance)


@given(
    ordered=st.integers(1_600_000_000_000_000, 2_000_000_000_000_000),
    period=st.integers(3, 24 * 60).map(lambda minutes: minutes * 60_000_000),
    ahead=st.integers(-86_400_000_000, 86_400_000_000),
    share=st.fractions(0, 1),
)
def test_no_clock_that_is_let_pass_makes_the_freeze_before_pass_for_this_one(
    ordered: int, period: int, ahead: int, share: Any
) -> None:
    tolerance = int(freeze.widest_us(period) * share)
    (heard,) = freeze.judged(frozen(told_at(ordered, ahead)), ordered, tolerance, BEIJING_US)
    (missed,) = freeze.judged(frozen(told_at(ordered, ahead)), ordered + period, tolerance, BEIJING_US)
    assert heard.value is None or missed.value is None


@pytest.mark.parametrize("stamp", [None, "", "2000-00-00 00:00", "nonsense"])
def test_who_does_not_say_when_it_froze_has_no_value(stamp: str | None) -> None:
    (taken,) = freeze.judged(frozen(stamp), 1_800_000_000_000_000, 60_000_000, BEIJING_US)
    assert taken.missing is Missing.NOT_FROZEN


def test_what_is_missing_for_a_reason_of_its_own_keeps_it() -> None:
    (taken,) = freeze.judged(frozen("nonsense", None), 1_800_000_000_000_000, 0, BEIJING_US)
    assert taken.missing is Missing.CORRUPT


def test_the_order_takes_the_lines_time_and_is_over_with_its_last_character(
    virtual: Callable[[Callable[[], Awaitable[Any]]], Any],
) -> None:
    async def main() -> None:
        meter = ScriptedMeter(lambda request, n: [(0.0, request)])  # a line with an echo
        await meter.start()
        bus = Bus("b", codec("dlt645-2007"), meter.link, loop_now, Timing(2400, "8E1"))
        one = Meter("m1", "1", PROFILE)
        reply = await bus.broadcast(freeze.order(), one)
        assert reply.exchange is not None
        assert meter.heard == [freeze.order()]
        assert reply.exchange.received.boot_us - reply.exchange.sent.boot_us == round(20 * 11 / 2400 * 1e6)
        assert (
            loop_now().boot_us - reply.exchange.received.boot_us >= 500_000
        )  # then the meters have their time
        assert bus.line.echoes
        assert bus.counts.total() == 0

    virtual(main)


def test_a_line_that_is_down_orders_nothing(virtual: Callable[[Callable[[], Awaitable[Any]]], Any]) -> None:
    class Broken(ScriptedMeter):
        pass

    async def main() -> None:
        meter = Broken(lambda request, n: [])
        await meter.start()

        async def no() -> None:
            from drivers.link import LinkDown

            raise LinkDown("line", "no such port")

        meter.link.open = no  # type: ignore[method-assign]
        bus = Bus("b", codec("dlt645-2007"), meter.link, loop_now, Timing(2400, "8E1"))
        reply = await bus.broadcast(freeze.order(), Meter("m1", "1", PROFILE))
        assert reply.exchange is None
        assert reply.failure is Missing.LINK_DOWN
        assert meter.heard == []

    virtual(main)
