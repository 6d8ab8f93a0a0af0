"""Captures to frames and items in one shape."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import decode, dlt645, modbus, profile
from drivers.codec import LocalProtocolError
from drivers.decode import decode_capture, parse_hex_or_text, parse_input

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
NAMES = {
    "DL/T 645-2007": "dlt645-2007",
    "DL/T 645-1997": "dlt645-1997",
    "Modbus RTU": "modbus-rtu",
    "Modbus TCP": "modbus-tcp",
}
GOOD = [v for v in FRAMES["vectors"] if v["protocol"] in NAMES]
BAD = [v for v in FRAMES["must_reject"] if v["protocol"] in NAMES]
METER = "123456789012"


def shown(protocol: str, data: bytes, registers: profile.Profile | None = None) -> dict[str, Any]:
    found = decode_capture(protocol, data, registers).to_json()
    assert json.loads(json.dumps(found)) == found
    return found


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_the_shape_and_the_values_of_a_captured_frame(vector):
    found = shown(NAMES[vector["protocol"]], parse_hex_or_text(vector["hex"]))
    assert set(found) == {"frames", "rejected"}
    assert found["rejected"] == []
    (frame,) = found["frames"]
    assert {"address", "function", "items", "error"} <= set(frame)
    assert frame["direction"] == vector["direction"]
    for item in frame["items"]:
        assert {"item", "measurand", "value", "unit"} <= set(item)
        assert item["value"] is None or Decimal(item["value"]).is_finite()
        assert item["value"] is not None or item["missing"]
    if vector["direction"] == "request":
        assert frame["items"] == []
        assert frame["request"]["what"]
        return
    items = {item["item"]: item for item in frame["items"]}
    if vector["protocol"].startswith("DL/T"):
        assert frame["address"] == vector["decoded"]["address"]
        assert frame["function"] == vector["decoded"]["control"]
        for item, expected in vector["expected"].items():
            if item == "error":
                assert frame["error"].startswith(expected[:4])
            elif item == "time":
                assert items["04000102"]["text"] == expected
            elif item == "must":
                assert all(i["value"] is None for i in frame["items"])
            else:
                assert items[item]["value"] == (expected and expected.split()[0])


@pytest.mark.parametrize("vector", BAD, ids=lambda v: v["id"])
def test_a_frame_that_must_be_refused_is_told_with_offset_and_reason(vector):
    found = shown(NAMES[vector["protocol"]], parse_hex_or_text(vector["hex"]))
    assert found["frames"] == []
    assert found["rejected"][0]["offset"] == 0
    assert found["rejected"][0]["reason"] in ("checksum", "end_byte", "truncated")


def test_frames_and_rubbish_of_one_capture_come_in_order_with_their_offsets():
    good = dlt645.build(METER, 0x91, bytes.fromhex("0000010056341200"))
    bad = good[:-2] + bytes((good[-2] ^ 1, 0x16))
    found = shown("dlt645", b"\x01\x02" + good + bad + b"\xfe\xfe" + good)
    assert [f["offset"] for f in found["frames"]] == [2, 2 + 2 * len(good) + 2]
    assert [(r["offset"], r["reason"]) for r in found["rejected"]] == [
        (0, "noise"),
        (2 + len(good), "checksum"),
    ]


def test_an_address_is_told_as_printed():
    found = shown("dlt645", dlt645.build("000010604867", 0x93, bytes.fromhex("674860100000")))
    (item,) = found["frames"][0]["items"]
    assert (item["item"], item["value"], item["text"]) == ("address", "000010604867", "000010604867")


def test_a_long_answer_is_decoded_at_its_last_part():
    asked = dlt645.Request(METER, item="0001FF00")
    parts = [bytes.fromhex("29010000 6200"), bytes.fromhex("0000 60000000")]
    stream = dlt645.encode(asked) + dlt645.answer(asked, parts[0], more=True)
    following = dlt645.Request(METER, dlt645.FOLLOW, "0001FF00", 1)
    stream += dlt645.encode(following) + dlt645.answer(following, parts[1])
    frames = shown("dlt645-2007", stream)["frames"]
    assert [f["function"] for f in frames] == ["11", "B1", "12", "92"]
    assert [len(f["items"]) for f in frames] == [0, 0, 0, 3]
    assert [i["value"] for i in frames[3]["items"]] == ["1.29", "0.62", "0.60"]


@pytest.mark.parametrize("sequence", [0, 2, 255])
def test_a_part_out_of_sequence_gives_no_value(sequence):
    asked = dlt645.Request(METER, item="0001FF00")
    following = dlt645.Request(METER, dlt645.FOLLOW, "0001FF00", sequence)
    stream = dlt645.answer(asked, bytes(4), more=True) + dlt645.answer(following, bytes(4))
    last = shown("dlt645-2007", stream)["frames"][-1]
    assert [(i["value"], i["missing"]) for i in last["items"]] == [(None, "mismatch")]


def test_an_answer_that_does_not_fit_the_request_before_it_is_marked():
    asked = dlt645.encode(dlt645.Request(METER, item="02030100"))
    answered = dlt645.build(METER, 0x91, bytes.fromhex("00000302563412"))
    assert shown("dlt645", asked + answered)["frames"][1]["mismatch"]["reason"] == "item"


SDM = profile.load("eastron-sdm630")
ANSWER = bytes.fromhex("01 04 04 43 C9 AA 46 C1 6C")
REQUEST = bytes.fromhex("01 04 00 0C 00 02 B1 C8")


def test_with_request_and_profile_registers_become_measurands():
    frames = shown("modbus-rtu", REQUEST + ANSWER, SDM)["frames"]
    (item,) = frames[1]["items"]
    assert item == {"item": "4:12", "measurand": "power.active.l1", "value": "0.40333026", "unit": "kW"}


def test_without_a_profile_registers_have_their_addresses_if_the_request_is_there():
    frames = shown("modbus-rtu", REQUEST + ANSWER)["frames"]
    assert [(i["item"], i["value"]) for i in frames[1]["items"]] == [("12", "17353"), ("13", "43590")]
    frames = shown("modbus-rtu", ANSWER)["frames"]
    assert [(i["item"], i["value"]) for i in frames[0]["items"]] == [("0", "17353"), ("1", "43590")]


def test_of_a_lone_answer_no_measurand_is_guessed_where_several_fit():
    (frame,) = shown("modbus-rtu", ANSWER, SDM)["frames"]
    assert [i["measurand"] for i in frame["items"]] == ["", ""]
    assert "several places" in frame["note"]


def test_of_a_lone_answer_the_only_place_that_fits_is_taken_and_said():
    text = (
        'protocol = "modbus"\n[model]\nmaker = "m"\nname = "n"\nkind = "electricity"\n[source]\ntitle = "t"\n'
        '[[point]]\nmeasurand = "power.active.l1"\nfunction = 4\naddress = 12\ntype = "f32"\nunit = "W"\n'
    )
    (frame,) = shown("modbus-rtu", ANSWER, profile.parse(text, "one"))["frames"]
    assert [(i["measurand"], i["value"]) for i in frame["items"]] == [("power.active.l1", "403.33026")]
    assert "taken for 12" in frame["note"]


def test_an_answer_of_another_length_than_asked_gets_no_measurand():
    asked = modbus.encode(modbus.Request("1", 4, 12, 4))
    frames = shown("modbus-rtu", asked + ANSWER, SDM)["frames"]
    assert frames[1]["mismatch"]["reason"] == "length"
    assert [i["measurand"] for i in frames[1]["items"]] == ["", ""]


def test_a_tcp_answer_belongs_to_the_request_of_its_transaction():
    requests = [modbus.Request("1", 4, start, 2, "tcp", n) for n, start in enumerate((12, 0x48), 1)]
    stream = b"".join(map(modbus.encode, requests))
    stream += modbus.answer(requests[1], bytes.fromhex("41200000")) + modbus.answer(requests[0], bytes(4))
    frames = shown("modbus-tcp", stream, SDM)["frames"]
    assert [i["measurand"] for f in frames[2:] for i in f["items"]] == [
        "energy.active.import",
        "power.active.l1",
    ]


def test_coils_are_told_one_by_one():
    request = modbus.Request("17", 1, 0x13, 3)
    frames = shown(
        "modbus-ascii",
        b"".join(
            modbus.wrap(17, pdu, "ascii") for pdu in (bytes.fromhex("0100130003"), bytes.fromhex("010105"))
        ),
    )["frames"]
    assert [(i["item"], i["value"]) for i in frames[1]["items"]] == [("19", "1"), ("20", "0"), ("21", "1")]
    assert request.answer_bytes == 1


def test_the_identification_that_a_device_tells_is_text():
    """The example of the Modbus application protocol V1.1b3, 6.21 (read device identification, basic)."""
    texts = (b"Company identification", b"Product code XX", b"V2.11")
    objects = b"".join(bytes((n, len(text))) + text for n, text in enumerate(texts))
    asked = modbus.wrap(17, bytes.fromhex("2B 0E 01 00"), "rtu")
    answered = modbus.wrap(17, bytes.fromhex("2B 0E 01 01 00 00 03") + objects, "rtu")
    frames = shown("modbus-rtu", asked + answered)["frames"]
    assert [(i["item"], i["value"], i["text"]) for i in frames[1]["items"]] == [
        ("VendorName", None, "Company identification"),
        ("ProductCode", None, "Product code XX"),
        ("MajorMinorRevision", None, "V2.11"),
    ]


def test_an_exception_is_an_error_without_items():
    (frame,) = shown("modbus-rtu", bytes.fromhex("FF 83 02 A1 01"))["frames"]
    assert (frame["function"], frame["error"], frame["items"]) == (
        "131",
        "exception 2: illegal data address",
        [],
    )


def test_a_profile_of_another_protocol_is_refused():
    with pytest.raises(LocalProtocolError):
        decode_capture("modbus-rtu", b"", profile.load("dlt645-2007-three-phase"))
    with pytest.raises(LocalProtocolError):
        decode_capture("dlt645-2007", b"", SDM)


def test_an_unknown_protocol_is_told_with_those_that_exist():
    with pytest.raises(ValueError, match="modbus-rtu"):
        decode_capture("profinet", b"")


@pytest.mark.parametrize(
    "name", ["DL/T 645-2007", "dlt645", "DLT645-1997", "dlt645_2007", "Modbus RTU", "modbus"]
)
def test_common_spellings_of_a_protocol_are_understood(name):
    assert decode_capture(name, b"").to_json() == {"frames": [], "rejected": []}


@given(st.sampled_from(decode.NAMES), st.binary(max_size=300))
def test_any_bytes_can_be_shown(protocol, data):
    shown(protocol, data)


@pytest.mark.parametrize(
    "text",
    [
        "68 12 90 78 16", "6812907816", "0x68, 0x12, 0x90, 0x78, 0x16", "68:12:90:78:16", "68-12-90-78-16",
        "[0x68 0x12\n0x90\t0x78 0x16]", "\\x68\\x12\\x90\\x78\\x16".replace("\\x", " \\x"), "  68 12 90 78 16\r\n",
        "6812 9078 16", "{0X68,0X12,0X90,0X78,0X16};",
        "68H 12H 90H 78H 16H", "68，12，90，78，16", "（68 12　90、78：16）。",
    ],
)  # fmt: skip
def test_hex_is_understood_in_any_dress(text):
    assert parse_hex_or_text(text) == bytes.fromhex("6812907816")


def test_text_frames_are_understood():
    assert parse_hex_or_text(":010300000001FB") == b":010300000001FB\r\n"
    assert parse_hex_or_text("##0000&&1C80\\r\\n") == b"##0000&&1C80\r\n"
    assert parse_hex_or_text("##0000&&1C80\r\n##0000&&1C80\r\n") == b"##0000&&1C80\r\n##0000&&1C80\r\n"
    assert parse_hex_or_text("/?!\\r\\n") == b"/?!\r\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no bytes"),
        ("  ", "no bytes"),
        ("[]", "no bytes"),
        ("68 1G", "at character 4"),
        ("681", "odd number"),
        ("68 H", "at character 4"),
        ("hello", "'h'"),
    ],
)
def test_what_is_neither_is_told_with_its_place(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_hex_or_text(text)


@given(st.binary(min_size=1, max_size=40), st.sampled_from([" ", "", ":", ", ", "\n"]))
def test_printed_bytes_are_read_back(data, between):
    text = between.join(f"{byte:02X}" for byte in data)
    assert parse_hex_or_text(text) == data


def test_a_capture_from_a_pipe_may_be_bytes_hex_or_text():
    frame = dlt645.build(METER, 0x91, bytes.fromhex("0000010056341200"))
    for piped in (
        frame,
        frame.hex(" ").encode(),
        b"\xef\xbb\xbf" + frame.hex().encode() + b"\r\n",
        b"\xfe\xfe" + frame,
    ):
        assert parse_input(piped).endswith(frame)
    assert parse_input(ANSWER) == ANSWER
    assert parse_input("，".join(f"{b:02X}" for b in frame).encode()) == frame
    assert parse_input(b"\x023:171.0(0)\x03\x12") == b"\x023:171.0(0)\x03\x12"
    chinese = "##0010CP=&&a=中&&ABCD"
    assert parse_input(chinese.encode()) == (chinese + "\r\n").encode()
    assert parse_input(chinese.encode("gb18030")) == chinese.encode("gb18030")
    with pytest.raises(ValueError, match="no hex"):
        parse_input(b"no frame")


@given(st.binary(max_size=40).filter(lambda b: b and not set(b) <= set(range(0x80))))
def test_bytes_that_cannot_be_typed_are_taken_as_they_are(data):
    if not data.startswith((b"##", b"\xef\xbb\xbf")):
        assert parse_input(data) == data
