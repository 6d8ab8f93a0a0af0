"""DLMS/COSEM: HDLC frames, segments, APDUs, data types, and scalers wherever in a capture they stand."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import axdr, dlms, hdlc
from drivers.axdr import Malformed, Reader
from drivers.codec import LocalProtocolError, Missing, Reject
from drivers.decode import decode_capture
from drivers.hdlc import Address, Decoder, Frame

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
GOOD = [v for v in FRAMES["vectors"] if v["protocol"].startswith("DLMS")]
CLIENT, SERVER = Address(16), Address(1, 17, 2)


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


def shown(data: bytes) -> dict[str, Any]:
    return decode_capture("dlms-hdlc", data).to_json()


def asks(apdu: str, control: int = 0x10) -> bytes:
    return hdlc.build(SERVER, CLIENT, control, hdlc.LLC_COMMAND + bytes.fromhex(apdu))


def answers(apdu: str, control: int = 0x30) -> bytes:
    return hdlc.build(CLIENT, SERVER, control, hdlc.LLC_RESPONSE + bytes.fromhex(apdu))


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_captured_frame_has_the_contents_that_were_noted(vector):
    found = shown(bytes.fromhex(vector["hex"]))
    assert found["rejected"] == []
    (frame,) = found["frames"]
    assert frame["direction"] == vector["direction"]
    items = {i["item"]: i for i in frame["items"]}
    for name, wanted in vector["expected"].items():
        if name == "control":
            assert frame["function"] == wanted
        elif name == "error":
            assert (frame["error"], frame["items"]) == (wanted, [])
        elif name == "clock":
            assert items["0-0:1.0.0"]["text"] == wanted
        else:
            number, unit = wanted.removesuffix(" (scaler -1)").replace(" x10^-1", "e-1", 1).split()
            assert Decimal(items[name]["value"]) == Decimal(number)
            assert items[name]["unit"] == unit.replace("varh", "var.h")


@pytest.mark.parametrize("vector", [v for v in GOOD if v["hex"].startswith("7E")], ids=lambda v: v["id"])
def test_no_bit_of_a_frame_may_change(vector):
    raw = bytes.fromhex(vector["hex"])
    for at in range(0, len(raw), 1 if len(raw) < 40 else 17):
        for bit in range(8):
            damaged = raw[:at] + bytes((raw[at] ^ 1 << bit,)) + raw[at + 1 :]
            assert not [f for f in all_of(damaged) if isinstance(f, Frame)]


def test_one_flag_may_end_a_frame_and_begin_the_next():
    one = bytes.fromhex("7E A0 08 02 23 21 93 BD 64 7E")
    assert [f.offset for f in all_of(one + one[1:] + b"\x7e\x7e" + one)] == [0, 10, 21]
    assert all(isinstance(f, Frame) for f in all_of(one + one[1:] + b"\x7e\x7e" + one))


ADDRESSES = st.one_of(
    st.builds(Address, st.integers(0, 127)),
    st.builds(Address, st.integers(0, 127), st.integers(0, 127), st.just(2)),
    st.builds(Address, st.integers(0, 16383), st.integers(0, 16383), st.just(4)),
)


@given(ADDRESSES, ADDRESSES, st.integers(0, 255), st.binary(max_size=200), st.booleans())
def test_a_frame_is_read_back_as_built(destination, source, control, information, segmented):
    raw = hdlc.build(destination, source, control, information, segmented=segmented)
    assert all_of(raw) == [Frame(0, raw, destination, source, control, information)]
    assert all_of(raw)[0].segmented is segmented


def test_what_does_not_fit_is_not_built():
    with pytest.raises(LocalProtocolError):
        hdlc.build(CLIENT, SERVER, 0x10, bytes(2040))


SOUND = [bytes.fromhex(v["hex"]) for v in GOOD if v["hex"].startswith("7E")]


@given(
    st.lists(st.sampled_from([*SOUND, SOUND[0][1:], b"\x7e", b"\xa0", b"\x00", b"\x7e\xa0"]), max_size=6),
    st.data(),
)
def test_how_a_stream_is_cut_does_not_matter(pieces, data):
    stream = b"".join(pieces)
    decoder = Decoder()
    found: list[Frame | Reject] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 100))
        found += decoder.feed(stream[at : at + size])
        at += size
    assert [*found, *decoder.finish()] == all_of(stream)


# ---- GET -------------------------------------------------------------------------------------------------------------

ASK_VALUE = "C0 01 C1 0003 0100010800FF 02 00"
ASK_SCALER = "C0 01 C2 0003 0100010800FF 03 00"
VALUE = "C4 01 C1 00 06 00BC614E"
SCALER = "C4 01 C2 00 02 02 0F FD 16 1E"


@pytest.mark.parametrize("scaler_first", [False, True])
def test_the_scaler_is_applied_wherever_in_the_capture_it_stands(scaler_first):
    pairs = [asks(ASK_VALUE) + answers(VALUE), asks(ASK_SCALER) + answers(SCALER)]
    frames = shown(b"".join(pairs[::-1] if scaler_first else pairs))["frames"]
    (item,) = frames[3 if scaler_first else 1]["items"]
    assert item == {
        "item": "1-0:1.8.0",
        "measurand": "energy.active.import",
        "value": "12345.678",
        "unit": "Wh",
    }
    assert [f["direction"] for f in frames] == ["request", "response"] * 2
    assert {f["address"] for f in frames} == {"1/17"}


def test_a_scaler_of_another_meter_or_object_is_not_applied():
    other = Address(1, 18, 2)
    scaler = hdlc.build(other, CLIENT, 0x10, hdlc.LLC_COMMAND + bytes.fromhex(ASK_SCALER))
    scaler += hdlc.build(CLIENT, other, 0x30, hdlc.LLC_RESPONSE + bytes.fromhex(SCALER))
    scaler += asks(ASK_SCALER.replace("0100010800", "0100020800")) + answers(SCALER)
    (item,) = shown(scaler + asks(ASK_VALUE) + answers(VALUE))["frames"][-1]["items"]
    assert (item["measurand"], item["value"], item["unit"]) == ("", "12345678", "")
    assert "unscaled" in item["detail"]


def test_an_answer_without_its_request_has_no_name():
    (frame,) = shown(answers(VALUE))["frames"]
    assert [(i["item"], i["measurand"], i["value"]) for i in frame["items"]] == [("1", "", "12345678")]


def test_an_answer_to_another_invocation_is_marked():
    frames = shown(asks(ASK_VALUE) + answers(SCALER))["frames"]
    assert frames[1]["mismatch"]["reason"] == "sequence"


def test_a_list_is_named_in_the_order_of_the_request():
    ask = "C0 03 C1 03 0003 0100010800FF 02 00 0003 0100010800FF 03 00 0003 0100020800FF 02 00"
    answer = "C4 03 C1 03 00 06 0000000A 00 02 02 0F 01 16 1E 01 04"
    frames = shown(asks(ask) + answers(answer))["frames"]
    items = frames[1]["items"]
    assert [(i["item"], i["value"], i["unit"]) for i in items] == [
        ("1-0:1.8.0", "100", "Wh"),
        ("1-0:1.8.0 attribute 3", None, ""),
        ("1-0:2.8.0", None, ""),
    ]
    assert (items[2]["missing"], items[2]["detail"]) == ("error_answer", "object-undefined")


def test_blocks_are_joined_in_order():
    whole = "01 02 06 00000001 06 00000002"
    data = bytes.fromhex(whole)
    ask = asks("C0 01 C1 0007 0100630100FF 02 00")
    parts = [f"C4 02 C1 00 00000001 00 05 {data[:5].hex()}", f"C4 02 C1 01 00000002 00 07 {data[5:].hex()}"]
    frames = shown(ask + answers(parts[0]) + asks("C0 02 C1 00000001") + answers(parts[1]))["frames"]
    assert [i["value"] for i in frames[3]["items"]] == ["1", "2"]
    assert frames[1]["items"] == []
    wrong = shown(ask + answers(parts[1]))["frames"][1]
    assert [(i["value"], i["missing"]) for i in wrong["items"]] == [(None, "mismatch")]


def segments(apdu: str, cuts: tuple[int, ...], numbers: tuple[int, ...]) -> bytes:
    data = hdlc.LLC_RESPONSE + bytes.fromhex(apdu)
    pieces = [data[a:b] for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True)]
    return b"".join(
        hdlc.build(CLIENT, SERVER, 0x10 | n << 1, piece, segmented=at < len(pieces) - 1)
        for at, (piece, n) in enumerate(zip(pieces, numbers, strict=True))
    )


def test_segmented_information_is_joined():
    frames = shown(asks(ASK_VALUE) + segments(VALUE, (5, 9), (0, 1, 2)))["frames"]
    assert [len(f["items"]) for f in frames] == [0, 0, 0, 1]
    assert frames[3]["items"][0]["value"] == "12345678"


@pytest.mark.parametrize("numbers", [(0, 2, 3), (0, 0, 1), (1, 1, 2), (6, 7, 1)])
def test_a_missing_segment_gives_no_value(numbers):
    found = shown(asks(ASK_VALUE) + segments(VALUE, (5, 9), numbers))
    values = [i["value"] for f in found["frames"] for i in f["items"]]
    assert values
    assert set(values) == {None}


def test_the_send_number_runs_from_seven_to_zero():
    frames = shown(asks(ASK_VALUE) + segments(VALUE, (5, 9), (6, 7, 0)))["frames"]
    assert frames[3]["items"][0]["value"] == "12345678"


PUSHED = bytes.fromhex(
    "0F 001851DE 0C 07E802010408141900FFC400 02 04"
    "02 03 09 06 0100010800FF 06 00554FDC 02 02 0F 00 16 1E"
    "02 03 09 06 0100020800FF 06 007547FA 02 02 0F 00 16 1E"
    "02 03 09 06 0100200700FF 12 08DB 02 02 0F FF 16 23"
    "02 03 09 06 01001F0700FF 12 0040 02 02 0F FE 16 21"
)


def pushed(*kept: int) -> bytes:
    """Registers as an Iskra AM550 pushes them: UI frames, segmented (values of a capture in p1parser's README)."""
    data = hdlc.LLC_RESPONSE + PUSHED
    cuts = [0, 40, 85, len(data)]
    pieces = [data[a:b] for a, b in pairwise(cuts)]
    return b"".join(
        hdlc.build(CLIENT, SERVER, 0x03 if n < 2 else 0x13, pieces[n], segmented=n < 2) for n in kept
    )


def test_segments_in_unnumbered_frames_are_joined_from_one_llc_header_to_the_next():
    for stream in (pushed(0, 1, 2), pushed(1, 2, 0, 1, 2), pushed(0, 1, 0, 1, 2)):
        frames = shown(stream)["frames"]
        assert [(i["item"], i["value"], i["unit"]) for i in frames[-1]["items"]] == [
            ("1-0:1.8.0", "5591004", "Wh"),
            ("1-0:2.8.0", "7686138", "Wh"),
            ("1-0:32.7.0", "226.7", "V"),
            ("1-0:31.7.0", "0.64", "A"),
        ]
        assert all(i["value"] is None for f in frames[:-1] for i in f["items"])


@pytest.mark.parametrize("kept", [(0, 2), (1, 2), (2,), (0, 1), (0, 1, 1, 2), (0, 2, 1), (1, 0, 2)])
def test_unnumbered_segments_that_are_not_all_there_give_no_value(kept):
    found = shown(pushed(*kept))
    assert all(i["value"] is None for f in found["frames"] for i in f["items"])


@pytest.mark.parametrize(
    ("apdu", "error"),
    [
        ("C4 01 C1 01 03", "read-write-denied"),
        ("C4 02 C1 01 00000001 01 0F", "long-get-aborted"),
        ("D8 01 02", "exception: service-not-allowed, service-not-supported"),
        ("D8 02 06 00000010", "exception: service-unknown, invocation-counter-error"),
        ("0E 01 06 01", "confirmed service error: service 1, kind 6, code 1"),
        ("61 1F A1 09 06 07 60857405080101 A2 03 02 01 01 A3 05 A1 03 02 01 0D BE 06 04 04 0E 01 06 01",
         "rejected-permanent: authentication-failure"),
    ],
)  # fmt: skip
def test_a_refusal_is_an_error_without_values(apdu, error):
    (frame,) = shown(answers(apdu))["frames"]
    assert (frame["error"], frame["items"]) == (error, [])


def test_an_accepted_association_tells_what_was_negotiated():
    apdu = (
        "61 29 A1 09 06 07 60857405080101 A2 03 02 01 00 A3 05 A1 03 02 01 00 "
        "BE 10 04 0E 08 00 06 5F 1F 04 00 00 7C 1F 04 00 00 07"
    )
    (frame,) = shown(answers(apdu))["frames"]
    assert frame["error"] is None
    assert (frame["accepted"], frame["context"], frame["max_pdu"]) == (True, "LN", 1024)
    assert frame["conformance"] == "007C1F"


def test_a_ciphered_message_gives_no_value():
    (frame,) = shown(answers("CC 1F 30 00000001 0102030405060708090A0B0C"))["frames"]
    assert [(i["value"], i["missing"]) for i in frame["items"]] == [(None, "unknown_format")]


def test_a_date_time_with_the_tag_of_an_octet_string_is_one_as_kaifa_meters_write_it():
    """List 1 of a Kaifa MA304H3E, as captured (public tests of amshan, the Norwegian HAN reader)."""
    frame = bytes.fromhex(
        "7EA027010201105A87E6E7000F40000000 090C07E4020F06010830FF800000 0201 0600001FC7 CEC37E"
    )
    (found,) = shown(frame)["frames"]
    assert found["time"] == "2020-02-15 01:08:48"
    assert [(i["item"], i["value"]) for i in found["items"]] == [("1", "8135")]


def _named(*attributes: str) -> str:
    """Capture object definitions, as the list that a push begins with."""
    return f"01 {len(attributes):02X}" + "".join(
        f"02 04 12 {a[:4]} 09 06 {a[4:16]} 0F {a[16:]} 12 0000" for a in attributes
    )


LISTED = (
    "0F 40000000 00 02 04"
    + _named("00280000190900FF02", "00010000600100FF02", "00030100010800FF02", "00030100010800FF03")
    + "09 03 313233 06 0000002A 02 02 0F 01 16 1E"
)


def listed_in_blocks(whole: bytes, sizes: tuple[int, ...], first: int = 1) -> list[bytes]:
    """HDLC frames of a general block transfer as a Landis+Gyr E450 pushes it: only the first has the LLC header."""
    frames = []
    for n, (begin, end) in enumerate(pairwise((0, *sizes, len(whole)))):
        piece = whole[begin:end]
        head = bytes((0xE0, 0xC0 if end == len(whole) else 0x40)) + (first + n).to_bytes(2, "big") + bytes(2)
        apdu = head + bytes((len(piece),)) + piece
        llc = hdlc.LLC_RESPONSE if n == 0 else b""
        frames.append(hdlc.build(Address(103, 127, 2), Address(1), 0x13, llc + apdu))
    return frames


def test_a_general_block_transfer_is_read_once_its_last_block_is_there():
    frames = shown(b"".join(listed_in_blocks(bytes.fromhex(LISTED), (40, 80))))["frames"]
    assert [f["direction"] for f in frames] == ["response"] * 3
    assert [f["block"] for f in frames] == [{"number": n, "last": n == 3} for n in (1, 2, 3)]
    assert [f["apdu"] for f in frames] == ["general block transfer"] * 2 + ["data notification"]
    assert [len(f["items"]) for f in frames] == [0, 0, 3]


@pytest.mark.parametrize("kept", [(0, 2), (1, 2), (1, 0, 2)])
def test_a_general_block_transfer_that_is_not_all_there_gives_no_value(kept):
    frames = listed_in_blocks(bytes.fromhex(LISTED), (40, 80))
    found = shown(b"".join(frames[n] for n in kept))["frames"]
    assert all(i["value"] is None for f in found for i in f["items"])
    assert any(i["missing"] == "mismatch" for f in found for i in f["items"])


def test_a_block_transfer_inside_another_is_refused():
    found = shown(answers("E0 C0 0001 0000 08 E0 C0 0001 0000 01 0F"))
    assert (found["frames"], [r["reason"] for r in found["rejected"]]) == ([], ["length"])


def test_the_confirmation_of_a_block_has_no_items():
    (frame,) = shown(asks("E0 80 0001 0003 00"))["frames"]
    assert (frame["apdu"], frame["confirmed"], frame["items"]) == ("general block transfer", 3, [])


def test_a_push_that_lists_its_objects_has_each_value_under_its_own_name():
    (frame,) = shown(answers(LISTED))["frames"]
    assert [(i["item"], i["value"], i["unit"], i.get("text")) for i in frame["items"]] == [
        ("0-0:96.1.0", None, "", "123"),
        ("1-0:1.8.0", "420", "Wh", None),
        ("1-0:1.8.0 attribute 3", None, "", "scaler 1, unit Wh"),
    ]
    (other,) = shown(answers(LISTED.replace("02 02 0F 01 16 1E", "06 00000007")))["frames"]
    assert [(i["item"], i["value"]) for i in other["items"]] == [
        ("0-0:96.1.0", None), ("1-0:1.8.0", "42"), ("1-0:1.8.0 attribute 3", "7"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "values", "items"),
    [
        (("00030100010800FF02",), "06 0000002A", [("1-0:1.8.0", "42")]),  # the list does not count itself
        (("00280000190900FF02",), "06 0000002A", [("1", None), ("2", "42")]),  # more came than is listed
        (
            ("00030100010800FF02", "00030100020800FF02"),
            "06 0000002A",
            [("1", None), ("1", None), ("2", "42")],
        ),
    ],
)
def test_a_list_names_values_only_where_it_has_as_many_objects(objects, values, items):
    (frame,) = shown(answers("0F 40000000 00 02 02" + _named(*objects) + values))["frames"]
    assert [
        (i["item"].partition(".")[0] if i["value"] is None else i["item"], i["value"]) for i in frame["items"]
    ] == items


def test_what_a_list_of_objects_names_is_no_value():
    """Attribute 3 of a profile: the number of an attribute must not pass for what the attribute holds."""
    columns = _named("00080000010000FF02", "00030100010800FF02")
    ask = "C0 01 C1 0007 0100630100FF 03 00"
    (_, frame) = shown(asks(ask) + answers("C4 01 C1 00 " + columns))["frames"]
    assert [i["value"] for i in frame["items"]] == [None, None]
    assert [i["text"].partition(",")[0] for i in frame["items"]] == ["0-0:1.0.0 class 8", "1-0:1.8.0 class 3"]


def test_a_message_cut_short_without_a_frame_is_told_as_that():
    for cut in ("C4 01 C1 00 09 06 01", "0001 0001 0010 0007 C4 01 C1 00 09 06 01"):
        found = shown(bytes.fromhex(cut))
        assert (found["frames"], [r["reason"] for r in found["rejected"]]) == ([], ["length"])


def test_a_general_block_transfer_is_named_and_gives_no_value():
    (frame,) = shown(answers("E0 40 0001 0000 02 DB 08"))["frames"]
    assert (frame["apdu"], frame["items"]) == ("general block transfer", [])


@pytest.mark.parametrize(
    "apdu",
    ["C4 01 C1 00 06 00BC61", VALUE + "00", "C4 09 C1", "C4 01 C1 02 00", "C4 01 C1 00 63", "C4 01 C1 00 01 82 FFFF 00",
     "C4 01 C1 00" + "02 01" * 40 + "00", "C4", "0F 00",
     "0F 40000000 09 0B 07E4020F06010830FF8000 06 00000001",
     "0F 40000000 09 09 0C 07E4020F06010830FF800000 06 00000001"],
)  # fmt: skip
def test_a_broken_message_is_refused_whole(apdu):
    found = shown(answers(apdu))
    assert found["frames"] == []
    assert [r["reason"] for r in found["rejected"]] == ["length"]


def test_the_wrapper_and_a_bare_message_are_understood():
    apdus = [bytes.fromhex(ASK_VALUE), bytes.fromhex(VALUE)]
    ports = [b"\0\x10\0\x01", b"\0\x01\0\x10"]
    stream = b"".join(b"\0\1" + p + len(a).to_bytes(2, "big") + a for p, a in zip(ports, apdus, strict=True))
    frames = shown(stream)["frames"]
    assert [(f["address"], f["direction"]) for f in frames] == [("1", "request"), ("1", "response")]
    assert frames[1]["items"][0]["item"] == "1-0:1.8.0"
    cut = shown(stream[:-1])
    assert [f["direction"] for f in cut["frames"]] == ["request"]
    assert [r["reason"] for r in cut["rejected"]] == ["truncated"]


# ---- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("05 FFFFFFFF", "-1"), ("06 FFFFFFFF", "4294967295"), ("0F 80", "-128"), ("10 8000", "-32768"),
        ("11 FF", "255"), ("12 FFFF", "65535"), ("14 8000000000000000", "-9223372036854775808"),
        ("15 FFFFFFFFFFFFFFFF", "18446744073709551615"), ("16 05", "5"), ("03 01", "1"), ("03 00", "0"),
        ("17 43C9AA46", "403.33026"), ("18 3FB999999999999A", "0.1"), ("1C FF", "-1"), ("20 FFFF", "65535"),
    ],
)  # fmt: skip
def test_a_number_is_exact(data, value):
    read = Reader(bytes.fromhex(data)).value()
    assert read.number == Decimal(value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("0A 03 414243", "ABC"),
        ("09 03 00FF10", "00 FF 10"),
        ("04 0A A540", "1010010101"),
        ("19 07E3 0C 10 01 07 3B 28 FF 8000 FF", "2019-12-16 07:59:40"),
        ("09 0C 07E3 0C 10 01 07 3B 28 FF FFC4 00", "2019-12-16 07:59:40 deviation -60 min"),
        ("19 07E3 0C 10 01 07 3B 28 FF 8000 01", "07 E3 0C 10 01 07 3B 28 FF 80 00 01"),  # marked invalid
        ("1A 07E3 02 1D FF", "07 E3 02 1D FF"),  # 29 February 2019
        ("1B 17 3B 3B 05", "23:59:59.05"),
    ],
)
def test_what_is_no_number_is_told_as_text(data, text):
    indication = dlms.indication("x", Reader(bytes.fromhex(data)).value())
    assert (indication.missing, indication.detail) == (Missing.NOT_NUMERIC, text)


@pytest.mark.parametrize("data", ["00", "09 00", "17 7FC00000", "18 7FF0000000000000"])
def test_no_value_is_missing(data):
    indication = dlms.indication("x", Reader(bytes.fromhex(data)).value())
    assert indication.value is None


def test_a_compact_array_reads_like_the_array_that_it_stands_for():
    compact = Reader(bytes.fromhex("13 02 02 12 0F 06 0001 02 0003 04")).value()
    plain = Reader(bytes.fromhex("01 02 02 02 12 0001 0F 02 02 02 12 0003 0F 04")).value()
    assert compact == plain


@pytest.mark.parametrize(
    "data", ["13 00 01 00", "13 02 00 01 00", "13 01 0000 12 01 00", "13 01 FFFF 12 01 00"]
)
def test_a_compact_array_cannot_stand_for_more_than_its_bytes(data):
    with pytest.raises(Malformed):
        Reader(bytes.fromhex(data)).value()


def test_a_flat_list_pairs_each_code_with_the_value_after_it():
    body = "02 05 0A 03 4B4D50 09 06 0101010700FF 06 00000064 09 06 0101200700FF 12 00E6"
    got = [(i.item, i.value) for i in dlms.readings(Reader(bytes.fromhex(body)).value())]
    assert got == [("1", None), ("1-1:1.7.0", 100), ("1-1:32.7.0", 230)]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_is_the_shortest_decimal_that_is_it(value):
    raw = struct.pack(">f", value)
    number = Reader(b"\x17" + raw).value().number
    assert number is not None
    assert struct.pack(">f", float(number)) == (raw if value else bytes(4))


@given(st.binary(max_size=120))
def test_any_bytes_are_data_or_malformed(data):
    reader = Reader(data)
    try:
        value = reader.value()
    except Malformed:
        return
    assert reader.at <= len(data)
    assert all(i.value is not None or i.missing for i in dlms.readings(value))


@given(st.binary(max_size=80))
def test_any_apdu_is_shown_or_refused(data):
    found = shown(answers(data.hex()))
    assert len(found["frames"]) + len(found["rejected"]) == 1


@given(st.integers(-128, 127), st.sampled_from(sorted(axdr.UNITS)))
def test_a_scaler_and_unit_are_part_of_the_value(scaler, unit):
    body = b"\x02\x03\x09\x06" + bytes.fromhex("0100010700FF") + b"\x06\x00\x00\x00\x07\x02\x02\x0f"
    body += (scaler & 0xFF).to_bytes(1, "big") + b"\x16" + bytes((unit,))
    (indication,) = dlms.readings(Reader(body).value())
    assert (indication.value, indication.unit) == (Decimal(7).scaleb(scaler), axdr.UNITS[unit])
