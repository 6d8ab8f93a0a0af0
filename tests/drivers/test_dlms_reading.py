"""Reading by DLMS/COSEM: the session's state machine, what it refuses to believe, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import dlms_get, dlms_points, dlms_reading, hdlc, profile_file
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, Missing, Reject
from drivers.decode import decode_capture
from drivers.dlms import Attribute
from drivers.dlms_reading import Request, Stage
from drivers.points import Point, ProfileError, Query
from drivers.protocols import closing, codec, recorded

VOLTAGE = "1-0:32.7.0"
LINK, WRAPPER = codec("dlms-hdlc"), codec("dlms-wrapper")
AARE = bytes.fromhex(  # accepted, no security, GET and block transfer (the Green Book's example, its conformance less)
    "6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F040000101004000007"
)


def opening(*items: str, address: str = "1/17", wrapped: bool = False) -> Request:
    return dlms_reading.request(address, "+".join(items or (VOLTAGE,)), wrapped=wrapped)


def said(asked: Request, control: int, information: bytes = b"", *, segmented: bool = False) -> hdlc.Frame:
    """A frame of the meter that was asked."""
    told = dlms_reading.ends(asked.address)
    raw = hdlc.build(hdlc.Address(told.client), told.server, control, information, segmented=segmented)
    (frame,) = hdlc.Decoder().feed(raw)
    assert isinstance(frame, hdlc.Frame)
    return frame


def numbered(send: int, receive: int) -> int:
    return receive << 5 | 0x10 | send << 1


def after(asked: Request, frame: dlms_reading.Frame) -> Request:
    """The request that follows."""
    answer = dlms_reading.match(asked, frame)
    assert isinstance(answer, Answer), answer
    following = dlms_reading.follow(asked, answer)
    assert following is not None
    return following


def associated(*items: str, takes: int = 128) -> Request:
    """A session over HDLC as it stands before its first GET."""
    first = opening(*items)
    ua = (
        bytes.fromhex("818014050200800602")
        + takes.to_bytes(2, "big")
        + bytes.fromhex("070400000001080400000001")
    )
    second = after(first, said(first, 0x73, ua))
    while second.segmented:
        second = after(second, said(second, (second.send + 1 & 7) << 5 | 0x11))
    return after(second, said(second, numbered(0, second.send + 1 & 7), hdlc.LLC_RESPONSE + AARE))


def got(asked: Request, data: bytes) -> bytes:
    return hdlc.LLC_RESPONSE + b"\xc4\x01" + bytes((0xC0 | asked.invoke,)) + b"\0" + data


# ---- bytes as the standard and other programs write them


def test_link_and_association_are_asked_for_in_the_bytes_that_other_clients_send() -> None:
    first = opening(address="1")
    assert dlms_reading.encode(first).hex(" ").startswith("7e a0 1e 03 21 93")
    assert dlms_get.associate(None).hex().upper() == (
        "601DA109060760857405080101BE10040E01000000065F1F0400001010FFFF"
    )
    assert dlms_get.associate(b"12345678").hex().upper() == (
        "6036A1090607608574050801018A0207808B0760857405080201AC0A80083132333435363738"
        "BE10040E01000000065F1F0400001010FFFF"
    )
    assert dlms_get.get(1, Attribute(3, "1-0:1.8.0", 2)).hex().upper() == "C001C100030100010800FF0200"
    assert dlms_get.next_block(1, 2).hex().upper() == "C002C100000002"


@pytest.mark.parametrize(
    ("written", "canonical", "raw"),
    [
        ("1", "1", "03"),
        ("1/17", "1/17", "0223"),
        ("01/017@16", "1/17", "0223"),
        ("1/17:4", "1/17:4", "00020023"),
        ("1/4660", "1/4660", "00024869"),
        ("1/17@2", "1/17@2", "0223"),
        ("1+LLS", "1+lls", "03"),
    ],
)
def test_addresses_have_one_two_or_four_bytes(written: str, canonical: str, raw: str) -> None:
    assert LINK.address(written) == canonical
    assert LINK.address(canonical) == canonical
    assert dlms_reading.ends(canonical).server.raw.hex() == raw


@pytest.mark.parametrize("text", ["", "x", "1/2/3", "1/17:1", "128:1", "1/16384", "1@0", "1@128", "-1"])
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no DLMS address"):
        LINK.address(text)


def test_in_the_wrapper_a_meter_has_one_number() -> None:
    assert WRAPPER.address("1@2") == "1@2"
    with pytest.raises(ValueError, match="one number"):
        WRAPPER.address("1/17")


@given(st.integers(0, 127), st.none() | st.integers(0, 127), st.sampled_from(("", ":4")), st.integers(1, 127))
def test_addresses_come_back(upper: int, lower: int | None, size: str, client: int) -> None:
    text = f"{upper}" + ("" if lower is None else f"/{lower}") + size + f"@{client}"
    canonical = LINK.address(text)
    assert dlms_reading.ends(canonical) == dlms_reading.ends(text)
    assert LINK.address(canonical) == canonical


# ---- the link


def test_numbers_go_on_through_a_session_and_wrap_at_eight() -> None:
    asked = associated(*(f"1-0:{n}.8.0" for n in range(1, 21)))
    controls = []
    for n in range(19):
        controls.append(dlms_reading.encode(asked)[6])
        assert asked.asked.code == f"1-0:{n + 1}.8.0"
        asked = after(asked, said(asked, numbered(asked.receive, asked.send + 1 & 7), got(asked, b"\x11\1")))
    assert controls[:8] == [0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE, 0x10]
    assert controls[8:16] == controls[:8]


def test_the_answer_to_another_message_is_none() -> None:
    asked = associated()
    due = asked.send + 1 & 7
    sound = got(asked, b"\x12\x08\x98")
    assert isinstance(dlms_reading.match(asked, said(asked, numbered(asked.receive, due), sound)), Answer)
    repeated = dlms_reading.match(asked, said(asked, numbered(asked.receive - 1 & 7, due), sound))
    stale = dlms_reading.match(asked, said(asked, numbered(asked.receive, asked.send), sound))
    other = sound[:5] + bytes((sound[5] ^ 1,)) + sound[6:]
    invoked = dlms_reading.match(asked, said(asked, numbered(asked.receive, due), other))
    assert isinstance(repeated, Mismatch)
    assert isinstance(stale, Mismatch)
    assert isinstance(invoked, Mismatch)
    assert (repeated.reason, stale.reason) == (MismatchReason.SEQUENCE, MismatchReason.SEQUENCE)
    assert invoked.reason is MismatchReason.TRANSACTION


@pytest.mark.parametrize("address", ["1/18", "2/17", "1", "1/17:4", "1/17@17"])
def test_another_meters_answer_and_one_for_another_client_are_none(address: str) -> None:
    asked = associated()
    foreign = replace(asked, address=address)
    found = dlms_reading.match(
        asked, said(foreign, numbered(asked.receive, asked.send + 1 & 7), got(asked, b"\x11\1"))
    )
    assert isinstance(found, Mismatch)
    assert found.reason is MismatchReason.ADDRESS


def test_our_own_frame_is_an_echo() -> None:
    for asked in (opening(), associated()):
        (frame,) = hdlc.Decoder().feed(dlms_reading.encode(asked))
        assert isinstance(frame, hdlc.Frame)
        found = dlms_reading.match(asked, frame)
        assert isinstance(found, Mismatch)
        assert found.reason is MismatchReason.ECHO


def test_segments_are_acknowledged_and_joined() -> None:
    asked = associated()
    whole = got(asked, b"\x09\x28" + bytes(range(40)))
    due = asked.send + 1 & 7
    for n in range(0, len(whole), 20):
        piece, last = whole[n : n + 20], n + 20 >= len(whole)
        frame = said(asked, numbered(asked.receive, due), piece, segmented=not last)
        answer = dlms_reading.match(asked, frame)
        assert isinstance(answer, Answer)
        if last:
            assert dlms_get.unpacked(answer.payload) == {VOLTAGE: (0, b"\x09\x28" + bytes(range(40)))}
            assert not answer.more
        else:
            before, asked = asked, after(asked, frame)
            assert asked.receive == before.receive + 1 & 7
            assert dlms_reading.encode(asked)[6] == asked.receive << 5 | 0x11  # RR, poll
    lost = said(asked, numbered(asked.receive + 1 & 7, due), whole[-8:])
    assert isinstance(dlms_reading.match(asked, lost), Mismatch)


def test_a_meter_that_takes_short_frames_is_asked_in_segments() -> None:
    asked = associated(takes=9)
    assert asked.longest == 9
    sent = b""
    while asked.segmented:
        (frame,) = hdlc.Decoder().feed(dlms_reading.encode(asked))
        assert isinstance(frame, hdlc.Frame)
        assert frame.segmented
        assert len(frame.information) == 9
        sent += frame.information
        asked = after(asked, said(asked, (asked.send + 1 & 7) << 5 | 0x11))
    assert sent + asked.information == hdlc.LLC_COMMAND + asked.apdu


def test_a_meter_that_has_acknowledged_without_answering_is_polled() -> None:
    asked = associated()
    polled = after(asked, said(asked, (asked.send + 1 & 7) << 5 | 0x11))
    assert polled.poll
    again = after(polled, said(polled, polled.send << 5 | 0x15))  # RNR: busy
    assert again.poll
    found = dlms_reading.match(again, said(again, numbered(again.receive, again.send), got(again, b"\x11\7")))
    assert isinstance(found, Answer)
    with pytest.raises(LocalProtocolError, match="no end"):
        for _ in range(200):
            again = after(again, said(again, again.send << 5 | 0x11))


def test_dm_and_frmr_say_that_the_link_is_lost() -> None:
    asked = associated()
    for control, words in ((0x1F, "disconnected mode"), (0x97, "frame reject")):
        found = dlms_reading.match(asked, said(asked, control))
        assert isinstance(found, Answer)
        assert (found.error, found.error_code) == (words, dlms_reading.HUNG_UP)
        assert closing(asked, found) is None


def test_the_session_ends_with_disc_and_release_whatever_is_answered() -> None:
    asked = associated()
    end = dlms_reading.closing(asked)
    assert dlms_reading.encode(end)[6] == 0x53
    for control in (0x73, 0x1F):
        assert isinstance(dlms_reading.match(end, said(end, control)), Answer)
    assert (
        dlms_reading.encode(dlms_reading.closing(opening(address="1", wrapped=True)))[8:].hex()
        == "6203800100"
    )


# ---- the application


def wrapped_of(asked: Request, apdu: bytes) -> hdlc.Wrapped:
    told = dlms_reading.ends(asked.address)
    (frame,) = hdlc.WrapperDecoder().feed(hdlc.wrap(told.server.upper, told.client, apdu))
    assert isinstance(frame, hdlc.Wrapped)
    return frame


def test_blocks_are_asked_for_one_by_one_and_joined() -> None:
    asked = after(opening(address="1", wrapped=True), wrapped_of(opening(address="1", wrapped=True), AARE))
    head = b"\xc4\x02" + bytes((0xC0 | asked.invoke,))
    second = after(asked, wrapped_of(asked, head + bytes.fromhex("00 00000001 00 03 091001")))
    assert second.apdu == dlms_get.next_block(asked.invoke, 1)
    twice = dlms_reading.match(second, wrapped_of(second, head + bytes.fromhex("00 00000001 00 03 091001")))
    assert isinstance(twice, Mismatch)
    assert twice.reason is MismatchReason.SEQUENCE
    last = dlms_reading.match(
        second, wrapped_of(second, head + bytes.fromhex("01 00000002 00 0F 02030405060708090A0B0C0D0E0F10"))
    )
    assert isinstance(last, Answer)
    assert dlms_get.unpacked(last.payload)[VOLTAGE] == (0, b"\x09\x10" + bytes(range(1, 17)))
    whole = dlms_reading.match(second, wrapped_of(second, b"\xc4\1" + head[2:] + b"\0\x11\1"))
    assert isinstance(whole, Mismatch)


@pytest.mark.parametrize(
    ("apdu", "words"),
    [
        ("6117A109060760857405080101A203020101A305A10302010D", "authentication-failure"),
        (
            "6117A109060760857405080101A203020100A305A10302010E",
            "authentication-required",
        ),  # HLS: a third pass
        ("D80102", "service-not-supported"),
        ("0E010601", "confirmed service error"),
        (AARE.hex().replace("00001010", "00001000"), "does not offer GET"),
        (AARE.hex().replace("60857405080101", "60857405080102"), "by SN"),
    ],
)
def test_an_association_that_cannot_be_used_is_told_in_words(apdu: str, words: str) -> None:
    first = opening(address="1", wrapped=True)
    found = dlms_reading.match(first, wrapped_of(first, bytes.fromhex(apdu)))
    assert isinstance(found, Answer)
    assert words in found.error
    assert not found.more


@pytest.mark.parametrize(
    "apdu",
    ["", "C4", "C401", "C401C1", "C401C102", "C401C10101FF", "C403C100", "61", "C402C1010000000100", "60"],
)
def test_what_is_no_get_response_is_no_answer(apdu: str) -> None:
    asked = associated()
    frame = said(asked, numbered(asked.receive, asked.send + 1 & 7), hdlc.LLC_RESPONSE + bytes.fromhex(apdu))
    assert isinstance(dlms_reading.match(asked, frame), Mismatch)


def test_a_refusal_of_one_attribute_leaves_the_others() -> None:
    asked = associated(VOLTAGE, "1-0:52.7.0")
    refused = hdlc.LLC_RESPONSE + b"\xc4\1" + bytes((0xC0 | asked.invoke, 1, 250))
    following = after(asked, said(asked, numbered(asked.receive, asked.send + 1 & 7), refused))
    assert following.asked.code == "1-0:52.7.0"
    exception = hdlc.LLC_RESPONSE + bytes.fromhex("D80102")
    last = dlms_reading.match(
        following, said(following, numbered(following.receive, following.send + 1 & 7), exception)
    )
    assert isinstance(last, Answer)
    assert not last.error
    assert dlms_get.unpacked(last.payload) == {"1-0:52.7.0": (dlms_get.FAILED, b"\xd8\1\2")}


# ---- a password


def test_a_password_is_sent_and_kept_nowhere() -> None:
    secretive = replace(LINK, password=b"s3cret-pw")  # type: ignore[type-var]
    address = secretive.address("1/17")
    assert address == "1/17+lls"
    assert "s3cret" not in repr(secretive)
    first = secretive.request(address, Query("dlms", (), item=VOLTAGE))
    assert isinstance(first, Request)
    second = after(first, said(first, 0x73))
    assert second.stage is Stage.ASSOCIATE
    assert b"s3cret-pw" in secretive.encode(second)
    assert "s3cret" not in repr(second)
    kept = recorded(second, secretive.encode(second))
    assert b"s3cret" not in kept
    # who has no password, an auditor say, builds what was kept from the address alone
    bare = LINK.request(address, Query("dlms", (), item=VOLTAGE))
    assert isinstance(bare, Request)
    assert LINK.encode(after(bare, said(bare, 0x73))) == kept
    third = after(second, said(second, numbered(0, 1), hdlc.LLC_RESPONSE + AARE))
    assert third.password is None


# ---- what the numbers mean


def results(**told: bytes) -> bytes:
    """A payload with the value and the scaler_unit of the voltage."""
    one = dlms_get.attribute(VOLTAGE)
    payload = dlms_get.packed(one, dlms_get.VALUE, told.get("value", b"\x12\x08\x98"))
    scaler = told.get("scaler", bytes.fromhex("02020FFF1623"))
    return dlms_get.packed(replace(one, attribute=3), dlms_get.VALUE, scaler) + payload


POINT = Point("voltage.l1", "V", item=VOLTAGE)


def test_a_register_is_scaled_as_the_meter_says_exactly() -> None:
    (one,) = dlms_points.decode((POINT,), results())
    assert str(one.value) == "220.0"
    (kilo,) = dlms_points.decode((replace(POINT, unit="kV"),), results())
    assert str(kilo.value) == "0.2200"


@pytest.mark.parametrize(
    ("told", "reason", "words"),
    [
        ({"value": b"\0"}, Missing.NOT_SUPPORTED, "null-data"),
        ({"value": b"\x12\x08"}, Missing.WRONG_LENGTH, "left"),
        ({"value": b"\x12\x08\x98\0"}, Missing.WRONG_LENGTH, "left over"),
        ({"value": b"\x63"}, Missing.WRONG_LENGTH, "no type"),
        ({"value": b"\x0a\x03220"}, Missing.NOT_NUMERIC, "220"),
        ({"value": b"\x03\1"}, Missing.NOT_NUMERIC, ""),
        ({"value": b"\x16\1"}, Missing.NOT_NUMERIC, ""),
        ({"value": b"\x17\x7f\xc0\0\0"}, Missing.NOT_A_NUMBER, ""),
        ({"scaler": bytes.fromhex("02020FFF161E")}, Missing.UNKNOWN_FORMAT, "tells Wh"),
        ({"scaler": bytes.fromhex("02020FFF16C8")}, Missing.UNKNOWN_FORMAT, "unit 200"),
        ({"scaler": bytes.fromhex("02010FFF")}, Missing.UNKNOWN_FORMAT, "no scaler_unit"),
        ({"scaler": b"\0"}, Missing.UNKNOWN_FORMAT, "no scaler_unit"),
    ],
)
def test_what_is_no_number_is_missing_with_its_reason(
    told: dict[str, bytes], reason: Missing, words: str
) -> None:
    (one,) = dlms_points.decode((POINT,), results(**told))
    assert (one.value, one.missing) == (None, reason)
    assert words in one.detail


def test_without_its_scaler_a_value_is_none() -> None:
    payload = dlms_get.packed(dlms_get.attribute(VOLTAGE), dlms_get.VALUE, b"\x12\x08\x98")
    refused = dlms_get.packed(Attribute(3, VOLTAGE, 3), dlms_get.REFUSED, b"\x04")
    for given_ in (payload, refused + payload):
        (one,) = dlms_points.decode((POINT,), given_)
        assert (one.value, one.missing) == (None, Missing.UNKNOWN_FORMAT)
    (cut,) = dlms_points.decode((POINT,), results()[:-1])
    assert cut.missing is Missing.CORRUPT


@pytest.mark.parametrize(("code", "words"), [(4, "object-undefined"), (250, "other-reason"), (77, "77")])
def test_a_refused_attribute_is_missing_with_the_meters_reason(code: int, words: str) -> None:
    payload = dlms_get.packed(dlms_get.attribute(VOLTAGE), dlms_get.REFUSED, bytes((code,)))
    (one,) = dlms_points.decode((POINT,), payload)
    assert one.missing is Missing.ERROR_ANSWER
    assert words in one.detail


def test_a_counter_whose_steps_are_wider_than_stated_is_no_value() -> None:
    point = Point("energy.active.import", "kWh", item="1-0:1.8.0", resolution=Decimal("0.01"))
    one = dlms_get.attribute(point.item)
    value = dlms_get.packed(one, dlms_get.VALUE, b"\x06\0\0\x10\0")

    def read(scaler: str) -> tuple[object, object]:
        told = dlms_get.packed(replace(one, attribute=3), dlms_get.VALUE, bytes.fromhex(scaler))
        (found,) = dlms_points.decode((point,), told + value)
        return found.value, found.missing

    assert read("02020F01161E") == (Decimal("40.96"), None)
    assert read("02020F00161E") == (Decimal("4.096"), None)
    assert read("02020F02161E") == (None, Missing.UNKNOWN_FORMAT)


def test_other_classes_have_their_scaler_elsewhere_or_none() -> None:
    demand = Point("demand.active.import", "W", item="5/1-0:1.4.0/3")
    plain = Point("power_factor.total", "1", item="1/1-0:13.7.0")
    assert dlms_points.asked((demand, plain, POINT)) == (
        f"5/1-0:1.4.0/4+{VOLTAGE}/3+5/1-0:1.4.0/3+1/1-0:13.7.0+{VOLTAGE}"
    )
    payload = dlms_get.packed(Attribute(5, "1-0:1.4.0", 4), 0, bytes.fromhex("02020F01161B"))
    payload += dlms_get.packed(Attribute(5, "1-0:1.4.0", 3), 0, b"\x11\x07")
    payload += dlms_get.packed(Attribute(1, "1-0:13.7.0", 2), 0, b"\x11\1")
    first, second = dlms_points.decode((demand, plain), payload)
    assert (first.value, second.value) == (Decimal(70), Decimal(1))


scalars = st.one_of(
    st.tuples(st.just(0x06), st.integers(0, 2**32 - 1), st.just(4)),
    st.tuples(st.just(0x05), st.integers(-(2**31), 2**31 - 1), st.just(4)),
    st.tuples(st.just(0x12), st.integers(0, 2**16 - 1), st.just(2)),
    st.tuples(st.just(0x14), st.integers(-(2**63), 2**63 - 1), st.just(8)),
)


@given(scalars, st.integers(-6, 3), st.booleans(), st.integers(10, 200), st.sampled_from((0, 30, 90)))
def test_a_whole_session_gives_the_number_that_the_meter_meant(
    scalar: tuple[int, int, int], scaler: int, wrapped: bool, cut: int, block: int
) -> None:
    """However the meter cuts its answers into segments and blocks: what was meant is what is read, and kept."""
    tag, number, size = scalar
    data = bytes((tag,)) + number.to_bytes(size, "big", signed=number < 0)
    told = {3: b"\2\2\x0f" + scaler.to_bytes(1, "big", signed=True) + b"\x16\x23", 2: data}
    asked = dlms_reading.request("1", dlms_points.asked((POINT,)), wrapped=wrapped)
    answers: list[Answer] = []
    while True:
        answer = reply(asked, told, cut, block or 1000)
        answers.append(answer)
        following = dlms_reading.follow(asked, answer)
        if following is None:
            break
        asked = following
    (one,) = dlms_points.decode((POINT,), dlms_reading.join(answers).payload)
    assert one.value == Decimal(number).scaleb(scaler)
    assert (one.value.is_signed() and not one.value) is False
    with pytest.raises(LocalProtocolError):
        dlms_reading.join(answers[:-1])
    with pytest.raises(LocalProtocolError):
        dlms_reading.join(answers[1:])


def reply(asked: Request, told: dict[int, bytes], cut: int, block: int) -> Answer:
    """What a meter says that sends ``cut`` bytes in a frame and ``block`` bytes of data in an answer."""
    if asked.stage is Stage.OPEN:
        found = dlms_reading.match(asked, said(asked, 0x73))
    else:
        apdu = AARE
        if asked.stage is Stage.GET:
            data, head = told[asked.asked.attribute], bytes((0xC0 | asked.invoke,))
            apdu = b"\xc4\1" + head + b"\0" + data
            if len(data) > block // 10:
                start = asked.block * (block // 10)
                piece = data[start : start + block // 10]
                last = bytes((start + block // 10 >= len(data),))
                number = (asked.block + 1).to_bytes(4, "big")
                apdu = b"\xc4\2" + head + last + number + b"\0" + bytes((len(piece),)) + piece
        if asked.wrapped:
            found = dlms_reading.match(asked, wrapped_of(asked, apdu))
        else:
            whole = hdlc.LLC_RESPONSE + apdu
            start = len(asked.held)
            piece, more = whole[start : start + cut], start + cut < len(whole)
            due = asked.send if asked.poll else asked.send + 1 & 7
            found = dlms_reading.match(
                asked, said(asked, numbered(asked.receive, due), piece, segmented=more)
            )
    assert isinstance(found, Answer), found
    return found


@given(st.binary(max_size=200))
def test_the_wrapper_is_cut_alike_however_the_stream_is(data: bytes) -> None:
    whole = hdlc.wrap(1, 16, b"\xc4\1\xc1\0\x11\1") + data + hdlc.wrap(1, 16, b"\xd8\1\2")
    at_once, bytewise = hdlc.WrapperDecoder(), hdlc.WrapperDecoder()
    found: Sequence[object] = [*at_once.feed(whole), *at_once.finish()]
    pieces = [one for n in range(len(whole)) for one in bytewise.feed(whole[n : n + 1])]
    assert [*pieces, *bytewise.finish()] == found
    assert isinstance(found[0], hdlc.Wrapped)
    covered = sum(len(one.raw) for one in found if isinstance(one, hdlc.Wrapped | Reject))
    assert covered >= len(whole)


# ---- profiles

HEAD = """protocol = "dlms"
[model]
maker = "a"
name = "b"
kind = "electricity"
[source]
title = "its manual"
"""


def test_a_point_names_class_and_attribute_where_it_is_no_register() -> None:
    point = '[[point]]\nmeasurand = "demand.active.import"\nunit = "kW"\nitem = "1-0:1.4.0"\nclass = 5\nattribute = 3\n'
    profile = profile_file.parse(HEAD + '[identity]\nnumber = "0-0:96.1.1"\nclock = true\n' + point, "p")
    assert profile.points[0].item == "5/1-0:1.4.0/3"
    assert (profile.number_at, profile.clock_at) == ("1/0-0:96.1.1", "8/0-0:1.0.0")


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "32.7.0"', "no OBIS code"),
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "1-0:300.7.0"', "no OBIS code"),
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "1-0:32.7.0"\nclass = 7', "no value"),
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "1-0:32.7.0"\nattribute = 3', "no value"),
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "1-0:32.7.0"\nclass = -3', "no COSEM attribute"),
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "1-0:32.7.0"\nclass = 1', "from class 1"),
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "1-0:32.7.0"\nblock = "x"', "'block'"),
        ('measurand = "voltage.l1"\nunit = "V"\nitem = "1-0:32.7.0"\nscale = "0.1"', "'scale'"),
        ('measurand = "energy.active.import"\nunit = "kWh"\nitem = "1-0:1.8.0"', "no resolution"),
    ],
)
def test_what_a_profile_cannot_mean_is_refused(point: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        profile_file.parse(HEAD + f"[[point]]\n{point}\n", "p")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x09\x0812345678", ("12345678", "3132333435363738")),
        (b"\x09\x06\x20\x26\x00\x00\x00\x11", ("202600000011",)),
        (b"\x0a\x0bISK00012345", ("ISK00012345",)),
        (b"\x06\0\0\x30\x39", ("12345",)),
        (b"\x09\x06\0\0\0\0\0\0", ()),
        (b"\0", ()),
        (b"\x09\x04\xff\xfe\xfd\xfc", ()),
    ],
)
def test_a_number_is_told_as_a_nameplate_prints_it(data: bytes, told: tuple[str, ...]) -> None:
    assert dlms_points.numbers((dlms_get.VALUE, data)) == told


def test_a_clock_is_read_and_an_invalid_one_is_none() -> None:
    right = bytes.fromhex("090C07EA0B18020F1E2D00FE2000")
    assert str(dlms_points.clock((dlms_get.VALUE, right))) == "2026-11-24 15:30:45"
    invalid = right[:-1] + b"\1"
    assert dlms_points.clock((dlms_get.VALUE, invalid)) is None
    assert dlms_points.clock((dlms_get.REFUSED, b"\4")) is None


def test_decode_knows_the_protocol_by_the_name_that_a_site_file_has() -> None:
    raw = hdlc.wrap(16, 1, dlms_get.get(1, Attribute(3, VOLTAGE, 2)))
    (frame,) = decode_capture("dlms-wrapper", raw).frames
    assert frame.direction == "request"
    assert frame.extra["request"]["items"] == [VOLTAGE]
