"""SML: transport files with their escapes, messages with their check sums, and the values of lists."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import sml
from drivers.codec import Reject
from drivers.decode import decode_capture
from drivers.hdlc import fcs
from drivers.sml import Decoder, Frame


def message(tag: int, body: str) -> bytes:
    head = bytes.fromhex(f"76 05 0DE7EB4C 62 00 62 00 72 63 {tag:04X} {body}")
    return head + b"\x63" + fcs(head) + b"\x00"


OPENED = message(0x0101, "76 01 01 05 04A2A3C4 0B 0A0149534B000516465C 01 01")
CLOSED = message(0x0201, "71 01")


def listed(*entries: str) -> bytes:
    body = "77 01 0B 0A0149534B000516465C 07 0100620AFFFF 72 62 01 65 04A2A208"
    body += f"7{len(entries):X} {' '.join(entries)} 01 01"
    return sml.build(OPENED + message(0x0701, body) + CLOSED)


ENERGY = "77 07 0100010800FF 65 00800104 01 62 1E 52 FF 65 03FEC26A 01"
POWER = "77 07 0100100700FF 01 01 62 1B 52 00 53 FE7F 01"
MAKER = "77 07 010060320101 01 01 01 01 04 49534B 01"
NOTHING = "77 07 0100020800FF 01 01 62 1E 52 FF 01 01"


def shown(data: bytes) -> dict[str, Any]:
    return decode_capture("sml", data).to_json()


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


def test_a_list_tells_values_with_scaler_and_unit():
    found = shown(listed(ENERGY, POWER, MAKER, NOTHING))
    assert found["rejected"] == []
    (frame,) = found["frames"]
    assert (frame["address"], frame["function"]) == ("0A0149534B000516465C", "list")
    told = [
        (i["item"], i["measurand"], i["value"] or i.get("text") or i["missing"], i["unit"])
        for i in frame["items"]
    ]
    assert told == [
        ("1-0:1.8.0", "energy.active.import", "6702756.2", "Wh"),
        ("1-0:16.7.0", "power.active.total", "-385", "W"),
        ("1-0:96.50.1*1", "", "ISK", ""),
        ("1-0:2.8.0", "energy.active.export", "not_supported", "Wh"),
    ]


def test_no_bit_of_a_file_may_change():
    raw = listed(ENERGY)
    for at in range(len(raw)):
        for bit in range(8):
            assert not shown(raw[:at] + bytes((raw[at] ^ 1 << bit,)) + raw[at + 1 :])["frames"]


def test_a_message_s_own_check_sum_is_checked():
    broken = OPENED[:-2] + bytes((OPENED[-2] ^ 1,)) + b"\0"
    assert [r["reason"] for r in shown(sml.build(broken + CLOSED))["rejected"]] == ["length"]


ESCAPES = [b"\x1b", b"\x1b" * 4, b"\x01" * 4, b"\x1a", b"\x00", b"a"]


@given(st.lists(st.sampled_from(ESCAPES), max_size=40).map(b"".join))
def test_any_data_are_read_back_as_built(data):
    raw = sml.build(data)
    (frame,) = all_of(raw)
    assert isinstance(frame, Frame)
    assert (frame.raw, frame.data) == (raw, data)


PIECES = [
    listed(ENERGY),
    listed(POWER),
    b"\x1b" * 4,
    b"\x01" * 4,
    b"\x1b\x1b\x1b\x1b\x1a\x00",
    b"\x00",
    b"\x1b",
]


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.data())
def test_how_a_stream_is_cut_does_not_matter(pieces, data):
    stream = b"".join(pieces)
    decoder = Decoder()
    found: list[Frame | Reject] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 60))
        found += decoder.feed(stream[at : at + size])
        at += size
    assert [*found, *decoder.finish()] == all_of(stream)


@pytest.mark.parametrize(
    "entry",
    ["76 07 0100010800FF 01 01 01 01 01", "77 07 0100010800FF 01 01 62 1E 52 FF 65 03FE", "77 01 01 01 01 01 01 01",
     "77 07 0100010800FF 01 01 62 1E 53 7FFF 62 01 01", "77 07 0100010800FF 01 01 62 1E 52 00 32 01 01",
     "81 81 81 81 81 01"],
)  # fmt: skip
def test_a_broken_entry_spoils_the_file(entry):
    found = shown(listed(ENERGY, entry))
    assert (found["frames"], [r["reason"] for r in found["rejected"]]) == ([], ["length"])


@given(st.binary(max_size=100))
def test_any_messages_are_shown_or_refused(data):
    found = shown(sml.build(data))
    assert len(found["frames"]) + len(found["rejected"]) == 1
