"""A block's plan gives what each point gives by itself, whatever the bytes."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from drivers import profile
from drivers.codec import Answer, Indication
from drivers.points import Point
from drivers.registers import TYPES, WORD_ORDERS


@st.composite
def points(draw: st.DrawFn) -> Point:
    kind = draw(st.sampled_from(list(TYPES)))
    length = TYPES[kind] or draw(st.integers(1, 4))
    bits = 16 * length
    special = st.sampled_from([0, 1, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1])
    low, high = draw(
        st.sampled_from(
            [(None, None), (Decimal(0), None), (None, Decimal(1000)), (Decimal(-5), Decimal("5.5"))]
        )
    )
    return Point(
        measurand="voltage.l1",
        unit="V",
        function=3,
        address=draw(st.integers(100, 110)),
        length=length,
        type=kind,
        word_order=draw(st.sampled_from(WORD_ORDERS)),
        scale=draw(
            st.sampled_from([Decimal(1), Decimal("0.1"), Decimal("0.001"), Decimal(1000), Decimal("-0.01")])
        ),
        low=low,
        high=high,
        sentinels=tuple(draw(st.lists(special, max_size=2))),
        scale_at=draw(st.sampled_from([None, None, None, 111])),
    )


def payloads() -> st.SearchStrategy[bytes]:
    words = st.sampled_from([b"\x00\x00", b"\xff\xff", b"\x80\x00", b"\x7f\xff", b"\x7f\x80", b"\x00\x01"])
    plain = st.binary(min_size=2, max_size=2)
    return st.lists(st.one_of(words, plain), min_size=0, max_size=16).map(b"".join)


@given(st.lists(points(), min_size=1, max_size=4), payloads())
def test_the_plan_of_a_block_gives_what_each_point_gives_by_itself(some: list[Point], payload: bytes) -> None:
    known = profile.Profile("p", "modbus", "", "", "electricity", "", tuple(some))
    query = profile.Query("modbus", tuple(some), "", 3, 100, 16)
    for _ in range(2):  # once to make the plan, once with the plan made
        found = profile.decode(known, query, Answer("3:100+16", payload, b""))
        singly = []
        for point in some:
            alone = profile.register_value(point, 100, payload)
            low = point.low is None or alone.value is None or alone.value >= point.low
            high = point.high is None or alone.value is None or alone.value <= point.high
            singly.append(alone if low and high else None)
        for one, own in zip(found, singly, strict=True):
            if own is None:
                assert one.value is None
                assert one.missing == "out_of_range"
            else:
                assert one == own
                assert str(one.value) == str(own.value)


def test_a_float_that_is_none_and_a_sentinel_have_no_value() -> None:
    some = (
        Point("voltage.l1", "V", function=3, address=0, length=2, type="f32"),
        Point("current.l1", "A", function=3, address=2, length=2, type="i32", sentinels=(0x80000000,)),
        Point("frequency", "Hz", function=3, address=4, length=1, type="i16", scale=Decimal("0.01")),
    )
    known = profile.Profile("p", "modbus", "", "", "electricity", "", some)
    query = profile.Query("modbus", some, "", 3, 0, 5)
    raw = struct.pack(">fih", math.nan, -(2**31), -5001)
    found = profile.decode(known, query, Answer("3:0+5", raw, b""))
    assert [i.missing for i in found] == ["not_a_number", "not_supported", None]
    assert found[2] == Indication("3:4", "frequency", Decimal("-50.01"), "Hz")
