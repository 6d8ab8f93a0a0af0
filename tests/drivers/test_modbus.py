"""Modbus: frames of the three framings, both directions, in one stream; and whose answer it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from drivers import modbus
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, Reject, RejectReason
from drivers.modbus import Frame, Request

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
FRAMING: dict[str, modbus.Framing] = {"Modbus RTU": "rtu", "Modbus TCP": "tcp"}
GOOD = [v for v in FRAMES["vectors"] if v["protocol"] in FRAMING]
BAD = [v for v in FRAMES["must_reject"] if v["protocol"] in FRAMING]
FOREIGN: dict[str, Any] = {"rtu": FramerRTU, "tcp": FramerSocket, "ascii": FramerAscii}

framings = st.sampled_from(["rtu", "tcp", "ascii"])
requests = st.builds(
    Request,
    st.integers(1, 247).map(str),
    st.sampled_from([1, 2, 3, 4]),
    st.integers(0, 0xFF00),
    st.integers(1, 125),
    framings,
    st.integers(0, 0xFFFF),
)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Request, bytes, bytes]:
    """A request, its bytes, and the bytes of an answer of the right length."""
    request = draw(requests)
    size = request.answer_bytes
    assert size is not None
    values = draw(st.binary(min_size=size, max_size=size))
    return request, modbus.encode(request), modbus.answer(request, values)


def all_of(data: bytes, framing: modbus.Framing = "rtu") -> list[Frame | Reject]:
    decoder = modbus.decoder(framing)
    return [*decoder.feed(data), *decoder.finish()]


def frames_of(found: Sequence[Frame | Reject]) -> list[Frame]:
    return [f for f in found if isinstance(f, Frame)]


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_printed_frame_has_the_contents_that_were_noted(vector):
    (frame,) = all_of(bytes.fromhex(vector["hex"]), FRAMING[vector["protocol"]])
    assert isinstance(frame, Frame)
    expected = vector["expected"]
    assert frame.direction == vector["direction"]
    if "tid" in expected:
        assert frame.transaction == expected["tid"]
    if frame.direction == "request":
        request = modbus.request_of(frame)
        assert request is not None
        assert request.unit == expected["unit"]
        assert (request.function, request.start, request.count) == (
            expected["fc"],
            expected["addr"],
            expected["count"],
        )
        assert modbus.encode(request) == frame.raw
    elif "exception" in expected:
        assert frame.failed
        assert frame.error.startswith(f"exception {expected['exception']}:")
    elif "registers" in expected:
        numbers = expected["registers"]
        wanted = list(range(1, 11)) if numbers == "1..10" else [int(n) for n in numbers.split(",")]
        assert frame.values == b"".join(n.to_bytes(2, "big") for n in wanted)
    elif "bits" in expected:
        assert frame.values == bytes.fromhex(expected["bits"])
    else:
        assert frame.values == bytes.fromhex("43C9AA46")


@pytest.mark.parametrize("vector", BAD, ids=lambda v: v["id"])
def test_a_frame_that_must_be_refused_gives_a_reason_and_no_frame(vector):
    found = all_of(bytes.fromhex(vector["hex"]), FRAMING[vector["protocol"]])
    assert frames_of(found) == []
    assert isinstance(found[0], Reject)
    assert (found[0].offset, found[0].reason) == (0, RejectReason.CHECKSUM)


def test_the_check_value_of_the_crc():
    assert modbus.crc(b"123456789") == bytes.fromhex("374B")  # CRC-16/MODBUS 4B37, low byte first


@given(exchanges())
def test_an_independent_framer_reads_what_we_write(exchange):
    request, asked, answered = exchange
    for raw, server in ((asked, True), (answered, False)):
        framer = FOREIGN[request.framing](DecodePDU(server))
        used, unit, transaction, pdu = framer.decode(raw)
        assert (used, unit) == (len(raw), request.unit)
        assert transaction == (request.transaction if request.framing == "tcp" else 0)
        (frame,) = all_of(raw, request.framing)
        assert isinstance(frame, Frame)
        assert bytes((frame.function,)) + frame.data == pdu


@given(exchanges())
def test_request_and_answer_in_one_capture_are_told_apart_and_matched(exchange):
    request, asked, answered = exchange
    first, second = all_of(asked + answered, request.framing)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert (first.direction, second.direction) == ("request", "response")
    again = modbus.request_of(first)
    assert again is not None
    assert modbus.encode(again) == asked
    answer = modbus.match(request, second)
    assert isinstance(answer, Answer)
    assert second.values == answer.payload
    assert modbus.expected_length(request) == len(answered)
    echo = modbus.match(request, first)
    assert isinstance(echo, Mismatch)
    assert echo.reason is MismatchReason.ECHO


@given(exchanges())
def test_an_answer_to_something_else_is_refused(exchange):
    request, _, answered = exchange
    (frame,) = all_of(answered, request.framing)
    assert isinstance(frame, Frame)
    others = [
        (replace(request, address=str(request.unit % 247 + 1)), MismatchReason.ADDRESS),
        (replace(request, function=request.function % 4 + 1), MismatchReason.FUNCTION),
        (replace(request, count=request.count + 8), MismatchReason.LENGTH),
    ]
    if request.framing == "tcp":
        others.append((modbus.numbered(request, request.transaction + 1), MismatchReason.TRANSACTION))
    for other, reason in others:
        found = modbus.match(other, frame)
        assert isinstance(found, Mismatch)
        assert found.reason is reason


def test_the_late_answer_of_another_length_is_refused_over_rtu():
    """What a master that trusts any sound frame gets wrong: asked 5 registers, 2 came late."""
    late = modbus.answer(Request("1", 3, 2000, 2), bytes.fromhex("0BB80BB8"))
    (frame,) = all_of(late)
    assert isinstance(frame, Frame)
    found = modbus.match(Request("1", 3, 4000, 5), frame)
    assert isinstance(found, Mismatch)
    assert found.reason is MismatchReason.LENGTH


@pytest.mark.parametrize("framing", ["rtu", "tcp", "ascii"])
@pytest.mark.parametrize(("code", "text"), modbus.EXCEPTIONS.items())
def test_an_exception_is_an_answer_in_words(framing, code, text):
    request = Request("17", 3, 0, 2, framing, 7)
    (frame,) = all_of(modbus.refusal(request, code), framing)
    assert isinstance(frame, Frame)
    answer = modbus.match(request, frame)
    assert isinstance(answer, Answer)
    assert (answer.error_code, answer.payload) == (code, b"")
    assert answer.error == f"exception {code}: {text}"


@given(
    st.lists(
        st.one_of(exchanges().map(lambda e: e[1:]), st.binary(max_size=20).map(lambda b: (b, b""))),
        max_size=5,
    ),
    framings,
    st.data(),
)
def test_how_a_stream_is_cut_into_pieces_does_not_matter(parts, framing, data):
    stream = b"".join(a + b for a, b in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = modbus.decoder(framing)
    found: list[Frame | Reject] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    found += decoder.finish()
    assert found == all_of(stream, framing)
    assert decoder.pending == 0


@given(st.binary(max_size=300), framings)
def test_every_byte_of_any_stream_is_accounted_for(stream, framing):
    covered: set[int] = set()
    for found in all_of(stream, framing):
        assert stream[found.offset : found.offset + len(found.raw)] == found.raw
        covered |= set(range(found.offset, found.offset + len(found.raw)))
    assert covered == set(range(len(stream)))


@given(exchanges(), st.data())
def test_a_frame_with_one_bit_changed_is_no_frame_over_rtu(exchange, data):
    request, asked, _ = exchange
    raw = modbus.encode(replace(request, framing="rtu")) if request.framing != "rtu" else asked
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not [f for f in frames_of(all_of(bytes(flipped))) if f.offset == 0 and len(f.raw) == len(raw)]


@pytest.mark.parametrize(
    "noise", ["00", "FF FF", "01", "01 03", "01 03 04", "01 83 02 00 00", "68 68", "0D 0A"]
)
def test_after_noise_the_frame_is_found_again(noise):
    asked = modbus.encode(Request("1", 3, 0, 2))
    found = all_of(bytes.fromhex(noise) + asked)
    assert [f.raw for f in frames_of(found)] == [asked]


def test_a_count_broken_by_noise_delays_the_next_frame_only_until_the_line_is_silent():
    asked = modbus.encode(Request("1", 3, 0, 2))
    decoder = modbus.decoder("rtu")
    assert frames_of(decoder.feed(bytes.fromhex("01 03 FA") + asked)) == []  # may be an answer of 255 bytes
    assert [f.raw for f in frames_of(decoder.finish())] == [asked]


@pytest.mark.parametrize("function", [3, 4, 23])
def test_half_a_register_is_no_answer_though_its_check_sum_fits(function):
    pdu = bytes((function, 3, 1, 2, 3))
    for framing in ("rtu", "tcp", "ascii"):
        assert frames_of(all_of(modbus.wrap(1, pdu, framing), framing)) == []


def test_the_answer_to_a_written_file_record_is_what_was_asked():
    """Application protocol 6.15: the normal answer is an echo of the request."""
    raw = modbus.wrap(17, bytes.fromhex("15 0D 06 00 04 00 07 00 03 06 AF 04 BE 10 0D"), "rtu")
    first, second = all_of(raw + raw)
    assert isinstance(first, modbus.Frame)
    assert isinstance(second, modbus.Frame)
    asked = modbus.request_of(first)
    assert asked is not None
    assert isinstance(modbus.match(asked, second), Answer)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("00 01 00 00 00 01 11", "length"), ("00 01 00 01 00 06 11", "header"), ("00 01 00 00 00", "truncated"),
        ("00 01 00 00 00 06 11", "truncated"), ("00 01 00 00 FF FF 11 03", "length"),
    ],
)  # fmt: skip
def test_a_header_cut_short_is_told_for_what_is_already_wrong_in_it(raw, reason):
    decoder = modbus.decoder("tcp")
    (reject,) = [*decoder.feed(bytes.fromhex(raw)), *decoder.finish()]
    assert isinstance(reject, Reject)
    assert reject.reason == reason


def test_a_write_and_its_echo_are_request_and_answer():
    write = bytes.fromhex("11 06 00 01 00 03 9A 9B")
    first, second, third = frames_of(all_of(write * 3))
    assert [f.direction for f in (first, second, third)] == ["request", "response", "request"]


def test_three_bytes_of_coils_are_an_answer_only_after_the_request_for_them():
    request = Request("17", 1, 0x13, 0x14)
    answered = modbus.answer(request, bytes.fromhex("CD 6B 02"))
    assert len(answered) == 8  # as long as a request
    first, second = frames_of(all_of(modbus.encode(request) + answered))
    assert (first.direction, second.direction) == ("request", "response")
    assert isinstance(modbus.match(request, second), Answer)


@pytest.mark.parametrize(
    ("function", "asked", "answered"),
    [
        (5, "00 AC FF 00", "00 AC FF 00"),
        (6, "00 01 00 03", "00 01 00 03"),
        (7, "", "6D"),
        (8, "00 00 A5 37", "00 00 A5 37"),
        (11, "", "FF FF 01 08"),
        (12, "", "08 00 00 01 08 01 21 20 00"),
        (15, "00 13 00 0A 02 CD 01", "00 13 00 0A"),
        (16, "00 01 00 02 04 00 0A 01 02", "00 01 00 02"),
        (17, "", "02 11 FF"),
        (22, "00 04 00 F2 00 25", "00 04 00 F2 00 25"),
        (23, "00 03 00 06 00 0E 00 03 06 00 FF 00 FF 00 FF", "0C 00 FE 0A CD 00 01 00 03 00 0D 00 FF"),
        (24, "04 DE", "00 06 00 02 01 B8 12 84"),
        (43, "0E 01 00", "0E 01 01 00 00 02 00 03 61 62 63 01 02 31 32"),
    ],
)
def test_the_specifications_examples_of_other_functions_are_frames(function, asked, answered):
    pdus = [bytes((function,)) + bytes.fromhex(text) for text in (asked, answered)]
    for framing in ("rtu", "tcp", "ascii"):
        stream = b"".join(modbus.wrap(17, pdu, framing, 9) for pdu in pdus)
        first, second = all_of(stream, framing)
        assert isinstance(first, Frame)
        assert isinstance(second, Frame)
        assert [f.data for f in (first, second)] == [pdu[1:] for pdu in pdus]
        assert (first.direction, second.direction) == ("request", "response")
        if function != 43:
            request = modbus.request_of(first)
            assert request is not None
            with pytest.raises(LocalProtocolError, match="only reads"):
                modbus.encode(request)
            assert modbus.encode(request, writes=True) == first.raw


@pytest.mark.parametrize(
    ("hex_", "reason"),
    [
        ("00 01 00 01 00 06 01 03 00 00 00 01", RejectReason.HEADER),
        ("00 01 00 00 00 01 01 03 00 00 00 01", RejectReason.LENGTH),
        ("00 01 00 00 01 00 01 03 00 00 00 01", RejectReason.LENGTH),
        ("00 01 00 00 00 07 01 03 06 00 00 00 01", RejectReason.LENGTH),
        ("00 01 00 00 00 03 01 63 00", RejectReason.UNKNOWN_FUNCTION),
        ("00 01 00 00 00 06 01 03 00 00", RejectReason.TRUNCATED),
        ("00 01 00", RejectReason.TRUNCATED),
    ],
)
def test_what_is_wrong_with_a_tcp_frame_is_said(hex_, reason):
    first = all_of(bytes.fromhex(hex_), "tcp")[0]
    assert isinstance(first, Reject)
    assert (first.offset, first.reason) == (0, reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (":010300000001FA\r\n", RejectReason.CHECKSUM),
        (":010300000001FB\n", RejectReason.END_BYTE),
        (":010300000001F\r\n", RejectReason.LENGTH),
        (":0103000000", RejectReason.TRUNCATED),
        (":01030400FA\r\n", RejectReason.CHECKSUM),
    ],
)
def test_what_is_wrong_with_an_ascii_frame_is_said(text, reason):
    first = all_of(text.encode(), "ascii")[0]
    assert isinstance(first, Reject)
    assert first.reason is reason


def test_an_ascii_frame_as_printed():
    assert modbus.encode(Request("1", 3, 0, 1, "ascii")) == b":010300000001FB\r\n"


@pytest.mark.parametrize(
    "request_",
    [Request("1", 3, 0, 0), Request("1", 3, 0, 126), Request("1", 1, 0, 2001), Request("1", 4, 65535, 2)],
)
def test_what_the_protocol_cannot_ask_is_our_mistake(request_):
    with pytest.raises(LocalProtocolError, match="cannot read"):
        modbus.encode(request_)


@pytest.mark.parametrize("text", ["0", "256", "-1", "x", "", "1.5", "²"])
def test_what_is_no_unit_is_refused(text):
    with pytest.raises(ValueError, match="unit"):
        modbus.address(text)


def test_a_unit_is_told_in_its_canonical_form():
    assert [modbus.address(t) for t in ("1", " 017 ", "255")] == ["1", "17", "255"]


@pytest.mark.parametrize("framing", ["rtu", "tcp", "ascii"])
@pytest.mark.parametrize("pattern", ["68", "00", "03", "3A", "01 03 FA", "01 04 10 00", "00 01 00 00 00 FE"])
def test_long_rubbish_makes_rejects_in_proportion(framing, pattern):
    """Linear: no byte is told twice, whatever its likeness to frames."""
    unit = bytes.fromhex(pattern)
    stream = unit * ((1 << 15) // len(unit))
    found = all_of(stream, framing)
    assert sum(len(f.raw) for f in found) == len(stream)


@given(
    st.integers(0, 0xFFFF),
    st.integers(1, 247),
    st.sampled_from([1, 3, 4]),
    st.integers(1, 125),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=2),
    st.integers(-3, 3),
)
def test_the_plain_answer_is_what_decoder_and_match_give_or_none(
    transaction: int, unit: int, function: int, count: int, changes: list[tuple[int, int]], longer: int
) -> None:
    request = modbus.Request(str(unit), function, 100, count, "tcp", transaction)
    size = request.answer_bytes
    assert size is not None
    data = bytearray(modbus.answer(request, bytes(n & 0xFF for n in range(size))))
    for at, value in changes:
        data[at % len(data)] = value
    heard = bytes(data[:longer] if longer < 0 else data + bytes(longer))
    plain = modbus.plain_answer(request, modbus.encode(request), heard)
    decoder = modbus.decoder("tcp")
    found = decoder.feed(heard)
    alone = len(found) == 1 and not decoder.pending and isinstance(found[0], modbus.Frame)
    matched = modbus.match(request, found[0]) if alone else None
    if plain is not None:
        assert plain == matched
    elif function != 1 and isinstance(matched, Answer):
        assert matched.error
