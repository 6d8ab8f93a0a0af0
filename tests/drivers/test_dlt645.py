"""DL/T 645 frames: every captured frame, every refusal, and what holds for any stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from dlt645 import DLT645Protocol
from dlt645.common.base_log import disable_logging
from hypothesis import given
from hypothesis import strategies as st

from drivers import dlt645
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, Reject, RejectReason
from drivers.dlt645 import Decoder, Frame, Request

disable_logging()
FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
GOOD = [v for v in FRAMES["vectors"] if v["protocol"].startswith("DL/T 645")]
BAD = [v for v in FRAMES["must_reject"] if v["protocol"].startswith("DL/T 645")]

addresses = st.text("0123456789", min_size=12, max_size=12)
datas = st.binary(max_size=dlt645.LONGEST_DATA)
frames = st.builds(dlt645.build, addresses, st.integers(0, 255), datas)


def named(v: dict[str, str]) -> str:
    return v["id"]


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


def frames_of(found: Sequence[Frame | Reject]) -> list[Frame]:
    return [f for f in found if isinstance(f, Frame)]


def one(text: str) -> Frame:
    (frame,) = frames_of(all_of(bytes.fromhex(text)))
    return frame


@pytest.mark.parametrize("vector", GOOD, ids=named)
def test_a_frame_seen_in_the_field_has_the_address_control_and_data_that_were_noted(vector):
    found = all_of(bytes.fromhex(vector["hex"]))
    (frame,) = found  # nothing else: a preamble is no noise
    assert isinstance(frame, Frame)
    assert frame.address == vector["decoded"]["address"]
    assert f"{frame.control:02X}" == vector["decoded"]["control"]
    assert frame.data == bytes.fromhex(vector["decoded"]["data_minus_33"])
    assert frame.from_meter == (vector["direction"] == "response")
    if "di" in vector["decoded"]:
        assert frame.item == vector["decoded"]["di"]


@pytest.mark.parametrize("vector", BAD, ids=named)
def test_a_frame_that_must_be_refused_gives_a_reason_and_no_frame(vector):
    found = all_of(bytes.fromhex(vector["hex"]))
    assert frames_of(found) == []
    assert isinstance(found[0], Reject)
    expected = {"no 16 end": "end_byte", "short": "truncated"}.get(vector["reject_reason"], "checksum")
    assert found[0].reason == expected
    assert found[0].offset == 0


@pytest.mark.parametrize("vector", GOOD, ids=named)
def test_an_independent_parser_reads_the_same_frame(vector):
    raw = bytes.fromhex(vector["hex"])
    other = DLT645Protocol.deserialize(raw)
    (frame,) = frames_of(all_of(raw))
    assert other is not None
    assert bytes(other.addr)[::-1].hex().upper() == frame.address
    assert (other.ctrl_code, bytes(other.data)) == (frame.control, frame.data)


@given(addresses, st.integers(0, 255), datas, st.integers(0, 4))
def test_an_independent_encoder_builds_the_same_bytes(address, control, data, preamble):
    theirs = bytes(
        DLT645Protocol.build_frame(bytes.fromhex(address)[::-1], control, data, preamble_count=preamble)
    )
    assert theirs == b"\xfe" * preamble + dlt645.build(address, control, data)


@given(addresses, st.integers(0, 255), datas, st.integers(0, 40))
def test_decoding_is_the_inverse_of_building_whatever_the_preamble(address, control, data, preamble):
    (frame,) = all_of(b"\xfe" * preamble + dlt645.build(address, control, data))
    assert isinstance(frame, Frame)
    assert (frame.address, frame.control, frame.data) == (address, control, data)
    assert frame.offset == preamble


@given(st.lists(st.one_of(frames, st.binary(max_size=30), st.just(b"\xfe" * 3)), max_size=6), st.data())
def test_how_a_stream_is_cut_into_pieces_does_not_matter(parts, data):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = Decoder()
    found: list[Frame | Reject] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    found += decoder.finish()
    assert found == all_of(stream)
    assert decoder.pending == 0


@given(st.lists(frames, min_size=1, max_size=4), st.binary(max_size=20).filter(lambda b: 0x68 not in b))
def test_frames_that_a_converter_merged_are_all_found_behind_noise_without_a_start_byte(parts, noise):
    assert [f.raw for f in frames_of(all_of(noise + b"".join(parts)))] == parts


@given(frames, st.data())
def test_a_frame_with_one_byte_changed_is_never_taken_for_another_frame_of_its_place(frame, data):
    """The sum finds every change of one byte, 68, CS and 16 included; a changed L moves CS and 16 elsewhere.

    A sum mod 256 cannot promise more: with L changed, the bytes at the new place may fit by chance (1 in 65 536), and
    a true frame may stand inside the data.
    """
    at = data.draw(st.integers(0, len(frame) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda b: b != frame[at]))
    flipped = frame[:at] + bytes((new,)) + frame[at + 1 :]
    for found in frames_of(all_of(flipped)):
        assert at == 9 or found.offset > 0
        assert found.raw != frame


@given(st.binary(max_size=400))
def test_every_byte_of_any_stream_is_accounted_for_once_or_was_a_preamble(stream):
    covered = bytearray(len(stream))
    for found in all_of(stream):
        assert stream[found.offset : found.offset + len(found.raw)] == found.raw
        if isinstance(found, Frame):
            for n in range(found.offset, found.offset + len(found.raw)):
                covered[n] = 1
        else:
            for n in range(found.offset, found.offset + len(found.raw)):
                covered[n] = 1
    assert all(stream[n] == 0xFE for n in range(len(stream)) if not covered[n])


def test_a_false_start_does_not_swallow_the_frame_behind_it():
    false_start = bytes.fromhex("68 01 02 03 04 05 06 68 91 20")
    frame = dlt645.build("123456789012", 0x91, bytes(8))
    decoder = Decoder()
    assert decoder.feed(false_start + frame) == []  # may still become a frame of 44 bytes
    found = decoder.finish()
    assert [f.raw for f in frames_of(found)] == [frame]
    assert isinstance(found[0], Reject)
    assert (found[0].offset, found[0].reason) == (0, RejectReason.TRUNCATED)


def test_a_corrupt_frame_is_told_once_not_byte_by_byte():
    frame = bytearray(dlt645.build("123456789012", 0x91, bytes(8)))
    frame[-2] ^= 1
    (reject,) = all_of(bytes(frame) + b"\xfe\xfe")[:1]
    assert isinstance(reject, Reject)
    assert reject.reason is RejectReason.CHECKSUM
    assert reject.raw == bytes(frame)


def test_the_standards_length_limit_holds():
    head = bytes.fromhex("68 11 11 11 11 11 11 68 91 C9")
    body = head + bytes(0xC9)
    (first, *_) = all_of(body + bytes((sum(body) & 0xFF, 0x16)))
    assert isinstance(first, Reject)
    assert first.reason is RejectReason.LENGTH


@pytest.mark.parametrize("byte", [0x68, 0xFE, 0x16, 0x00])
def test_a_quarter_of_a_megabyte_of_one_byte_makes_work_and_rejects_in_proportion(byte):
    """Linear: each held byte is looked at a bounded number of times, and rejects do not repeat their bytes."""
    stream = bytes((byte,)) * (1 << 18)
    decoder = Decoder()
    found = [*decoder.feed(stream), *decoder.finish()]
    assert sum(len(f.raw) for f in found) <= len(stream)
    assert frames_of(found) == []
    assert decoder.pending == 0


# ---- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [v for v in GOOD if v["direction"] == "request"], ids=named)
def test_a_request_seen_in_the_field_is_the_one_that_we_would_send(vector):
    raw = bytes.fromhex(vector["hex"])
    (frame,) = frames_of(all_of(raw))
    request = dlt645.request_of(frame)
    assert request is not None
    assert dlt645.encode(request, preamble=len(raw) - len(frame.raw)) == raw


@pytest.mark.parametrize("function", [f for f in dlt645.FUNCTIONS if f not in dlt645.READING])
def test_nothing_that_changes_a_meter_is_encoded_unless_writing_is_enabled(function):
    request = Request(
        "123456789012", function, "04000102" if function == dlt645.WRITE else "", None, bytes(8)
    )
    with pytest.raises(LocalProtocolError, match="only reads"):
        dlt645.encode(request)
    assert frames_of(all_of(dlt645.encode(request, writes=True)))[0].control == function


def test_the_broadcast_of_the_time_is_the_standards_when_it_is_enabled():
    """Clause 7.1: C = 08, address 99…, data ss mm hh DD MM YY; here 2026-11-24 10:30:00."""
    request = Request(dlt645.BROADCAST, dlt645.SET_TIME, payload=bytes.fromhex("00 30 10 24 11 26"))
    expected = "68 99 99 99 99 99 99 68 08 06 33 63 43 57 44 59 41 16"
    assert dlt645.encode(request, writes=True, preamble=0) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("given", "canonical"), [("161", "000000000161"), (" aaaaaa123456 ", "AAAAAA123456")]
)
def test_a_short_address_is_padded(given, canonical):
    assert dlt645.address(given) == canonical


@pytest.mark.parametrize("text", ["", "1234567890123", "12345678901G", "12AA", "A1A1"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"address|wildcard"):
        dlt645.address(text)


@pytest.mark.parametrize(("function", "item"), [(0x11, "9010"), (0x01, "00010000"), (0x12, "")])
def test_a_request_with_the_wrong_kind_of_identifier_is_our_mistake(function, item):
    with pytest.raises(LocalProtocolError, match="hex digits"):
        dlt645.encode(Request("123456789012", function, item))


# ---- matching -------------------------------------------------------------------------------------------------------

ASKED = Request("123456789012", item="00010000")
ANSWER = bytes.fromhex("68 12 90 78 56 34 12 68 91 08 33 33 34 33 89 67 45 33 54 16")


def verdict(request: Request, raw: bytes) -> Answer | Mismatch:
    (frame,) = frames_of(all_of(raw))
    return dlt645.match(request, frame)


def test_the_answer_to_the_request_is_accepted():
    answer = verdict(ASKED, ANSWER)
    assert answer == Answer("00010000", bytes.fromhex("56 34 12 00"), ANSWER, "123456789012")


@pytest.mark.parametrize(
    ("reason", "raw"),
    [
        (MismatchReason.ECHO, dlt645.encode(ASKED)),
        (MismatchReason.FUNCTION, dlt645.encode(Request("123456789012", item="00020000"))),
        (MismatchReason.ADDRESS, dlt645.build("123456789013", 0x91, bytes.fromhex("0000010056341200"))),
        (MismatchReason.ADDRESS, dlt645.build("A" * 12, 0x91, bytes.fromhex("0000010056341200"))),
        (MismatchReason.ADDRESS, dlt645.build("123456789013", 0xD1, b"\x02")),
        (MismatchReason.ITEM, dlt645.build("123456789012", 0x91, bytes.fromhex("0000020056341200"))),
        (MismatchReason.FUNCTION, dlt645.build("123456789012", 0x94, b"")),
        (MismatchReason.FUNCTION, dlt645.build("123456789012", 0x92, bytes.fromhex("000001005634120001"))),
        (MismatchReason.FUNCTION, dlt645.build("123456789012", 0xD4, b"\x02")),
        (MismatchReason.LENGTH, dlt645.build("123456789012", 0x91, b"\x00\x00")),
    ],
)
def test_what_differs_in_one_respect_is_no_answer(reason, raw):
    found = verdict(ASKED, raw)
    assert isinstance(found, Mismatch)
    assert found.reason is reason


def test_the_captured_frame_with_another_item_than_asked_is_refused():
    (vector,) = [v for v in GOOD if v["id"] == "dlt645-c-09"]
    found = verdict(Request("000000000042", item="02030100"), bytes.fromhex(vector["hex"]))
    assert isinstance(found, Mismatch)
    assert found.reason is MismatchReason.ITEM


def test_the_captured_following_frame_with_a_wrong_sequence_is_refused():
    (vector,) = [v for v in GOOD if v["id"] == "dlt645-c-05"]
    asked = Request("000000000042", dlt645.FOLLOW, "03300D01", 1)
    found = verdict(asked, bytes.fromhex(vector["hex"]))
    assert isinstance(found, Mismatch)
    assert found.reason is MismatchReason.SEQUENCE


@pytest.mark.parametrize(
    ("asked", "answered", "accepted"),
    [
        ("AAAAAAAAAAAA", "123456789012", True),
        ("AAAAAAAAAAAA", "AAAAAAAAAAAA", True),
        ("AAAAAA789012", "123456789012", True),
        ("AAAAAA789012", "123456789013", False),
        ("AAAAAA789012", "AAAAAAAAAAAA", False),
        ("123456789012", "AAAAAAAAAAAA", False),
        ("000000789012", "123456789012", False),
    ],
)
def test_a_wildcard_is_an_answers_only_where_it_was_asked(asked, answered, accepted):
    raw = dlt645.build(answered, 0x91, bytes.fromhex("0000010056341200"))
    assert isinstance(verdict(Request(asked, item="00010000"), raw), Answer) == accepted


@pytest.mark.parametrize("word", range(256))
def test_every_bit_of_an_error_word_is_named(word):
    answer = verdict(ASKED, dlt645.build("123456789012", 0xD1, bytes((word,))))
    assert isinstance(answer, Answer)
    assert answer.error_code == word
    for bit, name in enumerate(dlt645.ERRORS_2007):
        assert (name in answer.error) == bool(word >> bit & 1)


def test_an_error_answer_of_1997_has_its_own_words():
    asked = Request("123456789012", dlt645.READ_1997, "9010")
    answer = verdict(asked, dlt645.build("123456789012", 0xC1, b"\x06"))
    assert isinstance(answer, Answer)
    assert answer.error == "0x06: wrong data identifier; wrong password"


def test_the_address_answer_gives_the_address():
    answer = verdict(
        Request(dlt645.WILDCARD, dlt645.READ_ADDRESS),
        dlt645.build("201000000012", 0x93, bytes.fromhex("120000001020")),
    )
    assert isinstance(answer, Answer)
    assert answer.payload[::-1].hex() == "201000000012"


def test_an_address_answer_whose_two_addresses_differ_is_refused():
    raw = dlt645.build("201000000013", 0x93, bytes.fromhex("120000001020"))
    assert isinstance(verdict(Request(dlt645.WILDCARD, dlt645.READ_ADDRESS), raw), Mismatch)


@given(st.lists(st.binary(min_size=1, max_size=150), min_size=2, max_size=5))
def test_a_long_answer_is_asked_on_and_joined_in_order(parts):
    request, answers = ASKED, []
    for n, part in enumerate(parts):
        raw = dlt645.answer(request, part, more=n < len(parts) - 1)
        answer = verdict(request, raw)
        assert isinstance(answer, Answer)
        answers.append(answer)
        if answer.more:
            request = dlt645.follow(request, answer)
            assert request.sequence == n + 1
    whole = dlt645.join(answers)
    assert whole.payload == b"".join(parts)
    assert not whole.more
    for wrong in (answers[:-1], answers[1:], answers[::-1], [answers[0], answers[0], *answers[1:]]):
        with pytest.raises(LocalProtocolError):
            dlt645.join(wrong)


def test_following_frames_of_1997_have_no_sequence():
    asked = Request("123456789012", dlt645.READ_1997, "9010")
    first = verdict(asked, dlt645.answer(asked, b"\x01", more=True))
    assert isinstance(first, Answer)
    following = dlt645.follow(asked, first)
    assert dlt645.encode(following, preamble=0) == dlt645.build("123456789012", 0x02, bytes.fromhex("1090"))
    second = verdict(following, dlt645.answer(following, b"\x02"))
    assert isinstance(second, Answer)
    assert dlt645.join([first, second]).payload == b"\x01\x02"


@given(
    addresses,
    st.sampled_from(["00010000", "0001FF00", "02010100"]),
    datas.filter(lambda d: len(d) < 190),
    st.booleans(),
)
def test_a_meters_answer_matches_the_request_that_it_answers(address, item, payload, more):
    request = Request(address, item=item)
    answer = verdict(request, dlt645.answer(request, payload, more=more))
    assert isinstance(answer, Answer)
    assert (answer.payload, answer.more, answer.item) == (payload, more, item)
