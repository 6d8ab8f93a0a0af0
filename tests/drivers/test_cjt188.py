"""CJ/T 188: captured frames, refusals, units from the wire, and whose answer it is."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import cjt188
from drivers.cjt188 import Decoder, Frame, Request
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, Missing, Reject
from drivers.decode import decode_capture

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
GOOD = [v for v in FRAMES["vectors"] if v["protocol"] == "CJ/T 188"]
BAD = [v for v in FRAMES["must_reject"] if v["protocol"] == "CJ/T 188"]


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_captured_frame_has_the_contents_that_were_noted(vector):
    found = decode_capture("cjt188", bytes.fromhex(vector["hex"])).to_json()
    (frame,) = found["frames"]
    assert found["rejected"] == []
    decoded, expected = vector["decoded"], vector["expected"]
    assert (frame["address"], frame["function"]) == (decoded["address"], decoded["control"])
    assert frame["meter_type"] == decoded["meter_type"]
    assert frame["direction"] == vector["direction"]
    items = {item["item"]: item for item in frame["items"]}
    for name, wanted in expected.items():
        if name in ("di_on_wire", "ser"):
            assert frame[name] == wanted
        elif name in ("meter_time", "status"):
            assert items[name].get("text") == wanted
        else:
            assert f"{items[name]['value']} {items[name]['unit']}" == wanted


@pytest.mark.parametrize("vector", BAD, ids=lambda v: v["id"])
def test_a_frame_that_must_be_refused_is_none(vector):
    found = all_of(bytes.fromhex(vector["hex"]))
    assert not [f for f in found if isinstance(f, Frame)]
    assert found


@pytest.mark.parametrize("vector", [v for v in GOOD if v["direction"] == "request"], ids=lambda v: v["id"])
def test_a_captured_request_is_the_one_that_we_would_send(vector):
    raw = bytes.fromhex(vector["hex"])
    (frame,) = all_of(raw)
    assert isinstance(frame, Frame)
    assert frame.ser is not None
    request = Request(
        frame.address, frame.meter_type, item="901F", ser=frame.ser, swapped=frame.wire_order == "1F90"
    )
    assert cjt188.encode(request, preamble=0) == raw


ASKED = Request("00924040000018", 0x10, ser=7)
PAYLOAD = bytes.fromhex("29 00 00 00 2C 29 00 00 00 2C 31 01 22 11 05 15 20 00 23")


def verdict(request: Request, raw: bytes) -> Answer | Mismatch:
    (frame,) = all_of(raw)
    assert isinstance(frame, Frame)
    return cjt188.match(request, frame)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_answer_is_accepted_whichever_order_its_identifier_has(swapped):
    raw = cjt188.answer(Request("00924040000018", 0x10, ser=7, swapped=swapped), PAYLOAD)
    found = verdict(ASKED, raw)
    assert isinstance(found, Answer)
    assert (found.item, found.payload) == ("901F", PAYLOAD)


@pytest.mark.parametrize(
    ("reason", "raw"),
    [
        (MismatchReason.ECHO, cjt188.encode(ASKED)),
        (MismatchReason.ADDRESS, cjt188.answer(Request("00924040000019", 0x10, ser=7), PAYLOAD)),
        (MismatchReason.ADDRESS, cjt188.answer(Request("00924040000018", 0x20, ser=7), PAYLOAD)),
        (MismatchReason.SEQUENCE, cjt188.answer(Request("00924040000018", 0x10, ser=6), PAYLOAD)),
        (MismatchReason.ITEM, cjt188.answer(Request("00924040000018", 0x10, item="D120", ser=7), PAYLOAD)),
        (MismatchReason.FUNCTION, cjt188.answer(Request("00924040000018", 0x10, function=3, ser=7), PAYLOAD)),
        (MismatchReason.LENGTH, cjt188.build(0x10, "00924040000018", 0x81, b"\x90")),
    ],
)
def test_what_differs_in_one_respect_is_no_answer(reason, raw):
    found = verdict(ASKED, raw)
    assert isinstance(found, Mismatch)
    assert found.reason is reason


def test_a_refusal_is_an_answer_without_payload():
    found = verdict(ASKED, cjt188.build(0x10, "00924040000018", 0xC1, bytes.fromhex("070020")))
    assert isinstance(found, Answer)
    assert (found.error, found.payload) == ("error answer: 07 00 20", b"")


def test_a_wildcard_is_answered_by_any_meter():
    asked = Request(cjt188.WILDCARD, cjt188.ANY, ser=cjt188.ANY)
    assert isinstance(verdict(asked, cjt188.answer(ASKED, PAYLOAD)), Answer)


def values(meter_type: int, payload: str) -> dict[str, tuple[str | None, str, Missing | None]]:
    return {
        i.item: (None if i.value is None else f"{i.value:f}", i.unit, i.missing)
        for i in cjt188.decode(meter_type, "901F", bytes.fromhex(payload))
    }


def test_a_heat_meter_by_the_standards_layout():
    found = values(
        0x20,
        "00 10 00 00 05  34 12 00 00 05  50 01 00 00 17  00 25 01 00 35  78 56 34 12 2C"
        "45 82 00 10 55 00 99 01 00  31 01 22 11 05 15 20  00 00",
    )
    assert found["settlement_heat"][:2] == ("10.00", "kWh")
    assert found["current_heat"][:2] == ("12.34", "kWh")
    assert found["power"][:2] == ("1.50", "kW")
    assert found["flow"][:2] == ("1.2500", "m3/h")
    assert found["current_cumulative"][:2] == ("123456.78", "m3")
    assert found["supply_temperature"][:2] == ("82.45", "Cel")
    assert found["return_temperature"][:2] == ("55.10", "Cel")
    assert found["working_time"][:2] == ("199", "h")


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("29 00 00 00 2C", ("0.29", "m3", None)),
        ("29 00 00 00 29", ("0.29", "L", None)),
        ("FF FF FF FF FF", (None, "", Missing.NOT_SUPPORTED)),
        ("FF FF FF FF 2C", (None, "", Missing.NOT_SUPPORTED)),
        ("2A 00 00 00 2C", (None, "m3", Missing.NOT_A_NUMBER)),
        ("29 00 00 00 00", (None, "", Missing.UNKNOWN_FORMAT)),
        ("29 00 00 00 05", (None, "", Missing.UNKNOWN_FORMAT)),  # a water meter has no kWh
    ],
)
def test_the_unit_is_the_one_on_the_wire_and_without_it_there_is_no_value(quantity, expected):
    assert (
        values(0x10, quantity + "29 00 00 00 2C 31 01 22 11 05 15 20 00 23")["current_cumulative"] == expected
    )


def test_a_unit_of_hundred_megawatt_hours_is_multiplied_out():
    found = cjt188.decode(0x20, "901F", bytes.fromhex("01000000 0A" * 2) + bytes(33))
    assert [(i.value, i.unit) for i in found[:2]] == [(Decimal("1.00"), "MWh")] * 2


@pytest.mark.parametrize(
    "time", ["00 00 00 00 00 00 00", "60 01 22 11 05 15 20", "FF FF FF FF FF FF FF", "31 01 22 11 00 15 20"]
)
def test_an_impossible_time_of_the_meters_clock_is_not_told(time):
    found = values(0x10, "29 00 00 00 2C 29 00 00 00 2C" + time + "00 23")
    assert found["meter_time"][2] is Missing.NOT_A_NUMBER


@pytest.mark.parametrize("size", [0, 18, 20, 43])
def test_a_wrong_length_gives_no_value(size):
    (only,) = cjt188.decode(0x10, "901F", bytes(size))
    assert (only.value, only.missing) == (None, Missing.WRONG_LENGTH)


def test_nothing_that_changes_a_meter_is_encoded_unless_writing_is_enabled():
    for function in set(cjt188.FUNCTIONS) - cjt188.READING:
        with pytest.raises(LocalProtocolError, match="only reads"):
            cjt188.encode(Request("1".rjust(14, "0"), 0x10, function))


@given(st.text("0123456789", min_size=14, max_size=14), st.integers(0x10, 0x49), st.binary(max_size=100))
def test_decoding_is_the_inverse_of_building(address, meter_type, data):
    (frame,) = all_of(b"\xfe\xfe\xfe" + cjt188.build(meter_type, address, 0x81, data))
    assert isinstance(frame, Frame)
    assert (frame.address, frame.meter_type, frame.control, frame.data) == (address, meter_type, 0x81, data)


@given(
    st.lists(
        st.one_of(st.binary(max_size=30), st.sampled_from([bytes.fromhex(v["hex"]) for v in GOOD + BAD])),
        max_size=5,
    ),
    st.data(),
)
def test_how_a_stream_is_cut_into_pieces_does_not_matter(parts, data):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = Decoder()
    found: list[Frame | Reject] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert found + decoder.finish() == all_of(stream)


@given(st.integers(0, 255), st.sampled_from(["901F", "D120", "8102"]), st.binary(max_size=60))
def test_no_payload_makes_trouble(meter_type, item, payload):
    for indication in cjt188.decode(meter_type, item, payload):
        assert (indication.value is None) != (indication.missing is None)


@pytest.mark.parametrize("text", ["", "x", "123456789012345", "AAAA"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="address"):
        cjt188.address(text)


def test_units_before_their_values_give_no_quantity_even_where_the_last_digits_look_like_a_unit():
    payload = bytes.fromhex(
        "0519285305 0519285300 1700000000 3500000000 2C42331800 190300 191000 276100" + "00" * 9
    )
    told = {i.item: i for i in cjt188.decode(0x20, "901F", payload)}
    quantities = ("settlement_heat", "current_heat", "power", "flow", "current_cumulative")
    assert [told[name].missing for name in quantities] == [Missing.UNKNOWN_FORMAT] * 5
    assert told["supply_temperature"].value == Decimal("3.19")
