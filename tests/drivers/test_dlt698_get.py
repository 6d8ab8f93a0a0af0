"""Reading by DL/T 698.45: what is asked, and which frames are the answer."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import dlt698, dlt698_get, profile
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, Missing
from drivers.dlt698_get import Request
from drivers.points import ProfileError
from drivers.profile_file import parse
from drivers.protocols import codec

PROFILE = profile.load("dlt698-three-phase")
ADDRESS = "123456789012@10"
VOLTAGES = "85 01 01 20 00 02 00 01 01 03 12 08 FD 12 08 FE 12 08 FF 00 00"
ASKED = Request(ADDRESS, ("20000200",))


def frame(
    apdu: str | bytes, control: int = 0xC3, address: str = "123456789012", client: int = 0x10
) -> dlt698.Frame:
    inner = bytes.fromhex(apdu) if isinstance(apdu, str) else apdu
    decoder = dlt698.Decoder()
    raw = dlt698.build(address, control, inner, client=client)
    (found,) = (*decoder.feed(raw), *decoder.finish())
    assert isinstance(found, dlt698.Frame)
    return found


def test_one_attribute_is_a_normal_get_and_several_are_a_list():
    assert dlt698_get.request(ADDRESS, "20000200").apdu == bytes.fromhex("05 01 01 20 00 02 00 00")
    assert dlt698_get.request(ADDRESS, "20000200+200f0200").apdu == bytes.fromhex(
        "05 02 01 02 20 00 02 00 20 0F 02 00 00"
    )
    for item in ("2000", "", "20000200+", "+".join(["20000200"] * 33)):
        with pytest.raises(LocalProtocolError):
            dlt698_get.request(ADDRESS, item)


def test_an_address_may_name_the_client():
    assert dlt698_get.address(" 12345 ") == "012345"
    assert dlt698_get.address("1@a1") == "01@A1"
    assert dlt698_get.address("1@00") == "01"
    for text in ("", "12 34", "1@", "1@100", "1@G", "x"):
        with pytest.raises(ValueError, match=r"is no DL/T 698\.45 address"):
            dlt698_get.address(text)


@given(
    st.text("0123456789", min_size=2, max_size=32).filter(lambda text: len(text) % 2 == 0),
    st.integers(0, 255),
    st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=32),
)
def test_what_is_asked_is_what_the_meters_side_reads(digits, client, oads):
    canonical = dlt698_get.address(f"{digits}@{client:02X}")
    asked = dlt698_get.request(canonical, "+".join(oad.hex() for oad in oads))
    decoder = dlt698.Decoder()
    (found,) = (*decoder.feed(dlt698_get.encode(asked)), *decoder.finish())
    assert isinstance(found, dlt698.Frame)
    assert dlt698_get.request_of(found) == asked


def test_an_answer_agrees_in_server_client_service_and_attribute():
    found = dlt698_get.match(ASKED, frame(VOLTAGES))
    assert isinstance(found, Answer)
    assert (found.payload, found.error, found.more) == (bytes.fromhex(VOLTAGES), "", False)
    for changed, reason in (
        (frame(VOLTAGES, address="123456789013"), MismatchReason.ADDRESS),
        (frame(VOLTAGES, client=0x11), MismatchReason.ADDRESS),
        (frame(VOLTAGES, control=0x83), MismatchReason.FUNCTION),
        (frame(VOLTAGES.replace("85 01 01", "85 01 02")), MismatchReason.TRANSACTION),
        (frame(VOLTAGES.replace("20 00 02 00", "20 01 02 00")), MismatchReason.ITEM),
        (frame(VOLTAGES[:-6]), MismatchReason.LENGTH),
        (frame("85 02 01 02 20 00 02 00 01 00 20 01 02 00 01 00 00 00"), MismatchReason.ITEM),
        (frame("82 01 00"), MismatchReason.LENGTH),
        (frame("86 01 01 20 00 02 00 00 00 00"), MismatchReason.FUNCTION),
    ):
        refused = dlt698_get.match(ASKED, changed)
        assert isinstance(refused, Mismatch)
        assert refused.reason is reason


def test_our_own_request_heard_back_is_an_echo():
    (own,) = dlt698.Decoder().feed(dlt698_get.encode(ASKED))
    assert isinstance(own, dlt698.Frame)
    refused = dlt698_get.match(ASKED, own)
    assert isinstance(refused, Mismatch)
    assert refused.reason is MismatchReason.ECHO


@pytest.mark.parametrize(
    ("apdu", "error"),
    [
        ("85 01 01 20 00 02 00 00 06 00 00", "DAR 6: object does not exist"),
        ("EE 01 02 00 00", "error answer: service not supported"),
    ],
)
def test_a_refusal_is_an_answer_and_no_value(apdu, error):
    found = dlt698_get.match(ASKED, frame(apdu))
    assert isinstance(found, Answer)
    assert found.error == error
    (query,) = profile.plan(PROFILE, ["voltage.l1", "voltage.l2"])
    told = profile.decode(PROFILE, query, found)
    assert {(i.missing, i.detail) for i in told} == {(Missing.ERROR_ANSWER, error)}


def test_a_wildcard_is_answered_by_the_meter_it_covers_and_by_no_other():
    asked = replace(ASKED, address="1234567890AA@10")
    assert isinstance(dlt698_get.match(asked, frame(VOLTAGES)), Answer)
    assert isinstance(dlt698_get.match(asked, frame(VOLTAGES, address="123456789112")), Mismatch)


# ---- answers that go on


def fragments(apdu: bytes, size: int) -> list[dlt698.Frame]:
    pieces = [apdu[n : n + size] for n in range(0, len(apdu), size)]
    last = len(pieces) - 1
    which = [0 if n == 0 else 1 if n == last else 3 for n in range(len(pieces))]
    return [
        frame((n | part << 14).to_bytes(2, "little") + piece, 0xE3)
        for n, (part, piece) in enumerate(zip(which, pieces, strict=True))
    ]


@given(st.integers(2, 9))
def test_fragments_are_confirmed_one_by_one_and_joined_to_what_was_cut(size):
    apdu = bytes.fromhex(VOLTAGES)
    asked, answers = ASKED, []
    for number, piece in enumerate(fragments(apdu, size)):
        found = dlt698_get.match(asked, piece)
        assert isinstance(found, Answer)
        answers.append(found)
        following = dlt698_get.follow(asked, found)
        if following is None:
            break
        assert (following.fragment, following.apdu) == (number, bytes((number, 0x80)))
        asked = following
    assert not answers[-1].more
    assert dlt698_get.join(answers).payload == apdu


def test_a_fragment_out_of_turn_or_of_something_else_is_no_value():
    first, second, third, *_ = fragments(bytes.fromhex(VOLTAGES), 6)
    assert isinstance(dlt698_get.match(ASKED, second), Mismatch)
    after_first = replace(ASKED, fragment=0)
    assert isinstance(dlt698_get.match(after_first, third), Mismatch)
    assert isinstance(dlt698_get.match(after_first, first), Mismatch)
    assert isinstance(dlt698_get.match(after_first, frame(VOLTAGES)), Mismatch)
    other = fragments(bytes.fromhex(VOLTAGES.replace("20 00 02", "20 01 02")), 40 // 2)
    parts = [
        dlt698_get.match(replace(ASKED, fragment=None if n == 0 else n - 1), f) for n, f in enumerate(other)
    ]
    with pytest.raises(LocalProtocolError, match="20010200, 20000200 was asked"):
        dlt698_get.join([p for p in parts if isinstance(p, Answer)])


def test_blocks_are_asked_for_by_number_and_hold_only_what_was_asked():
    asked = Request(ADDRESS, ("200F0200", "20000201"))
    first = dlt698_get.match(asked, frame("85 05 01 00 00 00 01 01 20 0F 02 00 01 12 13 88 00 00"))
    assert isinstance(first, Answer)
    following = dlt698_get.follow(asked, first)
    assert following is not None
    assert following.apdu == bytes.fromhex("05 05 01 00 00 00")
    second = dlt698_get.match(following, frame("85 05 01 01 00 01 01 01 20 00 02 01 01 12 08 FD 00 00"))
    assert isinstance(second, Answer)
    whole = dlt698_get.join([first, second])
    query = profile.Query("dlt698", (PROFILE.point("frequency"), PROFILE.point("voltage.l1")), asked.item)
    assert [i.value for i in profile.decode(PROFILE, query, whole)] == [Decimal("50.00"), Decimal("230.1")]
    strange = frame("85 05 01 01 00 01 01 01 20 00 02 02 01 12 08 FD 00 00")
    skipped = frame("85 05 01 01 00 02 01 01 20 00 02 01 01 12 08 FD 00 00")
    for wrong in (strange, skipped):
        assert isinstance(dlt698_get.match(following, wrong), Mismatch)
    with pytest.raises(LocalProtocolError, match="not in order"):
        dlt698_get.join([first, replace(second, sequence=5)])


# ---- the profile


def test_elements_of_one_attribute_are_asked_together_and_a_lone_one_by_itself():
    (query,) = profile.plan(PROFILE, ["voltage.l1", "voltage.l3", "current.l2", "frequency"])
    assert query.item == "20000200+20010202+200F0200"
    assert [q.item.count("+") + 1 for q in profile.plan(PROFILE)] == [4, 4, 2]
    assert codec("dlt698").request(ADDRESS, query) == Request(ADDRESS, tuple(query.item.split("+")))


def test_one_refused_attribute_of_a_list_takes_no_other_with_it():
    (query,) = profile.plan(PROFILE, ["voltage.l1", "voltage.l2", "frequency"])
    asked = dlt698_get.request(ADDRESS, query.item)
    apdu = "85 02 01 02 20 00 02 00 00 04 20 0F 02 00 01 12 13 88 00 00"
    answer = dlt698_get.match(asked, frame(apdu))
    assert isinstance(answer, Answer)
    told = {i.measurand: (i.value, i.missing) for i in profile.decode(PROFILE, query, answer)}
    assert told == {
        "voltage.l1": (None, Missing.ERROR_ANSWER),
        "voltage.l2": (None, Missing.ERROR_ANSWER),
        "frequency": (Decimal("50.00"), None),
    }


def test_what_is_no_array_of_numbers_gives_no_element():
    (query,) = profile.plan(PROFILE, ["voltage.l1", "voltage.l2"])
    for apdu, reason in (
        ("85 01 01 20 00 02 00 01 12 08 FD 00 00", Missing.UNKNOWN_FORMAT),  # a number where an array was due
        (
            "85 01 01 20 00 02 00 01 01 01 09 02 08 FD 00 00",  # octets: not this quantity's
            Missing.NOT_NUMERIC,
        ),
        ("85 01 01 20 00 02 00 01 01 00 00 00", Missing.NOT_SUPPORTED),
        ("85 01 01 20 00 02 00 01 00 00 00", Missing.NOT_SUPPORTED),
    ):
        answer = dlt698_get.match(ASKED, frame(apdu))
        assert isinstance(answer, Answer)
        found = profile.decode(PROFILE, query, answer)
        assert found[0].value is None
        assert found[1].value is None
        assert found[0].missing is reason


@pytest.mark.parametrize(
    ("point", "complaint"),
    [
        ('item = "2000020"', "8 hex digits"),
        ('item = "20000201"\nblock = "20010200"', "the same OAD with element 00"),
        ('item = "40000200"', "not in the table"),
        ('item = "20010201"', "the standard fixes the unit"),
        ('item = "20000201"\nscale = "0.1"', "the item decides the format"),
    ],
)
def test_a_profile_says_what_the_standard_says(point, complaint):
    text = f"""protocol = "dlt698"
[model]
maker = "any"
name = "x"
kind = "electricity"
[source]
title = "x"
[[point]]
measurand = "voltage.l1"
unit = "V"
{point}
"""
    with pytest.raises(ProfileError, match=complaint):
        parse(text, "x")
