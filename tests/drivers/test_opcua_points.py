"""What is recorded of an OPC UA notification: one form, values exact, StatusCodes judged, nothing guessed."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codec import Missing
from drivers.opcua_points import (
    FLOATS,
    INTEGERS,
    NamespaceError,
    Notification,
    decode,
    encode,
    namespace,
    node_id,
    parsed,
    record_flags,
    stamp_us,
    value_text,
)
from drivers.points import Point

NODE = "nsu=urn:plant.example:meters;s=Press.Power"
AT = 1_782_000_000_250_000
POINT = Point("power.active.total", "kW", item=NODE, scale=Decimal("0.001"))


def line(value="12.5", kind="Double", status=0, us=AT, node=NODE):
    return encode(Notification(node, kind, value, status, us))


def indicated(*lines):
    (found,) = decode([POINT], b"".join(lines))
    return found


def test_the_form_of_a_line_is_this_one():
    assert line() == NODE.encode() + b"\tDouble\t12.5\t00000000\t2026-06-21T00:00:00.250000Z\n"
    assert line(us=None, status=0x808C0000).endswith(b"\t12.5\t808C0000\t\n")


def test_a_good_value_is_scaled_into_the_points_unit():
    found = indicated(line("1500.25"))
    assert (found.value, found.unit, found.missing) == (Decimal("1.50025"), "kW", None)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0x00000000, None),
        (0x00000480, None),  # good, a queue overflowed: the value is sound
        (0x00300000, None),  # GoodClamped
        (0x00960000, Missing.FLAGGED),  # GoodLocalOverride: set by hand
        (0x40000000, None),  # Uncertain
        (0x40930000, None),  # UncertainSensorNotAccurate
        (0x408F0000, Missing.FLAGGED),  # the last value, and nobody knows how old
        (0x40900000, Missing.FLAGGED),
        (0x40910000, Missing.FLAGGED),
        (0x40920000, Missing.FLAGGED),
        (0x42090000, Missing.FLAGGED),  # simulated
        (0x00004000, Missing.FLAGGED),  # the unit may be another one
        (0x80000000, Missing.ERROR_ANSWER),
        (0x80320000, Missing.ERROR_ANSWER),
        (0xC0000000, Missing.ERROR_ANSWER),  # a severity that nobody has defined is not taken for a good one
        (0x80310000, Missing.LINK_DOWN),
        (0x808C0000, Missing.FAULT),
        (0x808C0480, Missing.FAULT),
        (0x803C0000, Missing.OUT_OF_RANGE),
        (0x80340000, Missing.NOT_SUPPORTED),
        (0x808D0000, Missing.FLAGGED),
    ],
)
def test_the_status_code_decides_whether_a_value_is_one(status, reason):
    found = indicated(line(status=status))
    assert found.missing == reason
    assert found.value == (None if reason else Decimal("0.0125"))


@pytest.mark.parametrize(
    ("lines", "flags"),
    [
        ([line()], ()),
        ([line(status=0x00000480)], ()),
        ([line(status=0x40930000)], ("status:power.active.total=40930000",)),
        ([line(status=0x00300000)], ("status:power.active.total=00300000",)),
        ([line(status=0x00000500)], ("status:power.active.total=00000500",)),  # at its lower limit
        ([line(status=0x808C0000)], ("status:power.active.total=808C0000",)),
        ([line(us=None)], ("no_source_timestamp:power.active.total",)),
        ([line(node="ns=2;s=other", status=0x40000000)], ()),
        ([b"no lines"], ()),
    ],
)
def test_every_code_but_a_plain_good_is_a_flag_of_the_record(lines, flags):
    assert record_flags([POINT], b"".join(lines)) == flags


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("Double", "NaN", Missing.NOT_A_NUMBER),
        ("Float", "-Infinity", Missing.NOT_A_NUMBER),
        ("Boolean", "true", Missing.NOT_NUMERIC),
        ("String", '"off"', Missing.NOT_NUMERIC),
        ("String", "", Missing.NOT_NUMERIC),
        ("DateTime", "", Missing.NOT_NUMERIC),
        ("Double[]", "", Missing.NOT_NUMERIC),
        ("Null", "", Missing.NOT_SUPPORTED),
    ],
)
def test_what_is_no_number_is_missing_with_its_reason(kind, value, reason):
    assert indicated(line(value, kind)).missing == reason


def test_a_number_that_is_told_as_text_counts():
    assert indicated(line('"230.10"', "String")).value == Decimal("0.23010")


def test_a_node_of_which_nothing_came_is_missing():
    assert indicated(line(node="ns=2;s=other")).missing == Missing.TIMEOUT


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\n",
        line()[:-1],
        line() + b"\n",
        line().replace(b"12.5", b"12.50"),
        line().replace(b"12.5", b"+12.5"),
        line().replace(b"12.5", b"012.5"),
        line().replace(b"12.5", b"-0"),
        line().replace(b"12.5", b"1e3"),
        line().replace(b"12.5", b"12.5000000000000000001"),
        line().replace(b"12.5", "\N{ARABIC-INDIC DIGIT ONE}".encode()),
        line("0.1", "Float").replace(b"0.1", b"0.10000000149011612"),
        line("255", "Byte").replace(b"255", b"256"),
        line("1", "Boolean"),
        line('"a"', "String").replace(b'"a"', b'"\\u0061"'),
        line().replace(b"00000000", b"0"),
        line("12.5", status=0x808C0000).replace(b"808C", b"808c"),
        line().replace(b"250000Z", b"25Z"),
        line().replace(b"250000Z", b"250000+00:00"),
        line().replace(b"2026-06-21", b"2026-06-31"),
        line().replace(b"Double", b"double"),
        line().replace(b"\t", b" "),
        line() + b"\xff\n",
        line() * 200,
    ],
)
def test_what_is_not_written_in_the_one_form_is_corrupt(payload):
    assert indicated(payload).missing == Missing.CORRUPT


@given(st.floats(width=64))
def test_a_double_is_the_shortest_decimal_that_gives_it_back(value):
    text = value_text("Double", value)
    again = float(text.replace("Infinity", "inf"))
    assert again == value or (math.isnan(value) and text == "NaN")
    assert parsed(line(text))[0].value == text


@given(st.floats(width=32))
def test_a_float_is_the_shortest_decimal_that_gives_it_back(value):
    text = value_text("Float", value)
    if math.isfinite(value):
        assert struct.pack(">f", float(text)) == struct.pack(">f", value + 0.0)
        assert len(text.strip("-0.").replace(".", "").rstrip("0")) <= 9
    assert parsed(line(text, "Float"))[0].value == text


@given(
    st.sampled_from(sorted(INTEGERS)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.integers(*INTEGERS[kind]))
    ),
    st.integers(0, 0xFFFFFFFF),
    st.none() | st.integers(0, 253_402_300_799_999_999),
)
def test_what_is_written_is_read_again(number, status, us):
    kind, value = number
    told = Notification(NODE, kind, value_text(kind, value), status, us)
    assert parsed(encode(told)) == (told,)
    assert stamp_us([told]) == us


@given(st.binary(max_size=200))
def test_no_bytes_whatever_are_a_value_by_mistake_or_an_error(payload):
    found = indicated(payload)
    assert found.value is None


@given(st.text(max_size=150))
def test_a_string_keeps_to_its_line(text):
    told = Notification(NODE, "String", value_text("String", text), 0, AT)
    assert parsed(encode(told)) == (told,)


def test_floats_and_integers_are_all_numeric_types():
    assert set(FLOATS) | set(INTEGERS) == {
        "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double",
    }  # fmt: skip


# ---- node ids --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "path", "node"),
    [
        ("ns=2", "s=Press.Power", "ns=2;s=Press.Power"),
        ("ns=2", "s=a;b=c d", "ns=2;s=a;b=c d"),
        ("urn:plant.example:meters", "i=1001", "nsu=urn:plant.example:meters;i=1001"),
        ("http://x.example/a;b%20c", "s=P", "nsu=http://x.example/a%3Bb%2520c;s=P"),
        ("press", "ns=3;s=P", "ns=3;s=P"),
        ("press", "nsu=urn:x:y;s=P", "nsu=urn:x:y;s=P"),
        (
            "ns=1",
            "g=09087e75-8e5e-499b-954f-f2a9603db28a",
            "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a",
        ),
        ("ns=1", "b=M/RbKBsRVkePCePcx24oRA==", "ns=1;b=M/RbKBsRVkePCePcx24oRA=="),
    ],
)
def test_a_node_id_is_its_namespace_and_its_path(space, path, node):
    assert node_id(space, path) == node
    if path[0] in "sigb":
        assert namespace(node) == (space, path)


@pytest.mark.parametrize(
    "path",
    ["", "Press.Power", "s=", "x=1", "i=4294967296", "i=-1", "i=one", "g=1", "b=%", "s=a\tb", "s=a\nb"],
)
def test_what_is_no_node_id_is_told(path):
    with pytest.raises(ValueError, match="is no node id"):
        node_id("ns=2", path)


@pytest.mark.parametrize(
    ("space", "path"), [("press 1", "s=P"), ("", "s=P"), ("ns=65536", "s=P"), ("ns=2", "ns=70000;s=P")]
)
def test_what_is_no_namespace_is_told(space, path):
    with pytest.raises(NamespaceError, match="is no namespace"):
        node_id(space, path)
