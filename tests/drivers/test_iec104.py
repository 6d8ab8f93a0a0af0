"""IEC 60870-5-104: frames, objects, and quality bits that take a value away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import iec104
from drivers.codec import Reject
from drivers.decode import decode_capture
from drivers.iec104 import Decoder, Frame


def shown(data: bytes) -> dict[str, Any]:
    return decode_capture("iec104", data).to_json()


def told(asdu: str) -> list[tuple[str, str | None, str]]:
    found = shown(iec104.build(bytes.fromhex(asdu)))
    assert found["rejected"] == []
    return [(i["item"], i["value"], i.get("detail", "")) for i in found["frames"][0]["items"]]


@pytest.mark.parametrize(
    ("asdu", "items"),
    [
        ("0D 01 03 00 0100 010000 00006643 00", [("1", "230", "")]),
        ("0D 01 03 00 0100 010000 0000C07F 00", [("1", None, "")]),
        ("0D 01 03 00 0100 010000 00006643 80", [("1", None, "invalid: 230")]),
        ("0D 01 03 00 0100 010000 00006643 40", [("1", None, "not topical: 230")]),
        ("0D 01 03 00 0100 010000 00006643 31", [("1", None, "substituted, blocked, overflow: 230")]),
        ("0D 01 83 00 0100 010000 00006643 00", [("1", None, "test: 230")]),
        ("0D 01 43 00 0100 010000 00006643 00", [("1", None, "refused: 230")]),
        ("0B 82 14 00 0100 0A0000 FFFF 00 0100 00", [("10", "-1", ""), ("11", "1", "")]),
        ("09 01 03 00 0100 010000 0040 00", [("1", "0.5", "")]),
        ("09 01 03 00 0100 010000 0100 00", [("1", "0.000030517578125", "")]),
        ("0F 01 25 00 0100 010000 40E20100 05", [("1", "123456", "")]),
        ("0F 01 25 00 0100 010000 40E20100 85", [("1", None, "invalid: 123456")]),
        ("01 02 14 00 0100 010000 01 070000 00", [("1", "1", ""), ("7", "0", "")]),
        ("03 01 14 00 0100 010000 02", [("1", "2", "")]),
        ("05 01 14 00 0100 010000 7F 00", [("1", "-1", "")]),
        ("24 01 03 00 0100 010000 00006643 00 16271600180B1A", [("1", "230", "")]),
        ("0E 01 03 00 0100 010000 00006643 00 162716", [("1", "230", "")]),
    ],
)
def test_an_object_is_its_number_or_missing(asdu, items):
    assert told(asdu) == items


def test_frames_without_values_are_told():
    stream = bytes.fromhex("68 04 07 00 00 00 68 04 0B 00 00 00 68 04 01 00 02 00")
    assert [f["function"] for f in shown(stream)["frames"]] == ["STARTDT act", "STARTDT con", "S"]
    (frame,) = shown(iec104.build(bytes.fromhex("64 01 06 00 0100 000000 14")))["frames"]
    assert (frame["direction"], frame["address"], frame["request"]["data"]) == ("request", "1", "00 00 00 14")


@pytest.mark.parametrize(
    "asdu",
    ["0D 02 03 00 0100 010000 00006643 00", "0D 00 03 00 0100", "0D 01 03 00 0100 010000 00006643 00 00",
     "0D 81 03 00 0100 0100"],
)  # fmt: skip
def test_objects_that_do_not_fill_the_frame_are_refused(asdu):
    found = shown(iec104.build(bytes.fromhex(asdu)))
    assert (found["frames"], [r["reason"] for r in found["rejected"]]) == ([], ["length"])


@pytest.mark.parametrize(
    "raw", ["68 04 08 00 00 00", "68 04 07 01 00 00", "68 05 01 00 00 00 00", "68 04 03 00 00 00"]
)
def test_an_impossible_control_field_is_refused(raw):
    assert shown(bytes.fromhex(raw))["frames"] == []


VALUE = iec104.build(bytes.fromhex("0D 01 03 00 0100 010000 00006643 00"))
PIECES = [VALUE, bytes.fromhex("680407000000"), b"\x68", b"\0"]


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.data())
def test_how_a_stream_is_cut_does_not_matter(pieces, data):
    stream = b"".join(pieces)
    decoder, whole = Decoder(), Decoder()
    found: list[Frame | Reject] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 20))
        found += decoder.feed(stream[at : at + size])
        at += size
    assert [*found, *decoder.finish()] == [*whole.feed(stream), *whole.finish()]


@given(st.binary(min_size=6, max_size=100))
def test_any_asdu_is_shown_or_refused(data):
    found = shown(iec104.build(data))
    assert len(found["frames"]) + len(found["rejected"]) == 1
    for frame in found["frames"]:
        assert all(i["value"] is not None or i["missing"] for i in frame["items"])
