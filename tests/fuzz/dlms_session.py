"""A DLMS session against a meter that says anything: what is accepted must be what was asked, by the meter asked.

The first byte says how the rest is meant: 0, a stream as it comes over HDLC; 1, the same in the wrapper; 2 and
3, pieces of ``control, length, information`` that are sealed here, since no fuzzer guesses a check sequence.
"""

from __future__ import annotations

from drivers import dlms_points, dlms_reading, hdlc
from drivers.codec import Answer, LocalProtocolError, Reject
from drivers.dlms_reading import Request, Stage
from drivers.points import Point

POINTS = (Point("voltage.l1", "V", item="1-0:32.7.0"), Point("frequency", "Hz", item="1-0:14.7.0"))
ADDRESS = "1/17"
_CLIENT = hdlc.Address(16)
_MOST = 4 * dlms_reading.MOST_PARTS * 8  # messages of a session of four attributes, generously


def fcs(data: bytes) -> bytes:
    """CRC-16/X.25 bit by bit: not the codec's table."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x8408 if value & 1 else value >> 1
    return (value ^ 0xFFFF).to_bytes(2, "little")


def session(data: bytes) -> None:
    """Whatever comes: no exception, no value without reason, no answer from elsewhere or out of turn."""
    kind, rest = (data[0] % 4, data[1:]) if data else (0, b"")
    wrapped = bool(kind & 1)
    asked = dlms_reading.request(
        "1" if wrapped else ADDRESS, dlms_points.asked(POINTS), wrapped=wrapped, password=None
    )
    answers: list[Answer] = []
    for frame in _frames(_sealed(rest, wrapped) if kind & 2 else rest, wrapped):
        found = dlms_reading.match(asked, frame)
        if not isinstance(found, Answer):
            continue
        _checked(asked, frame, found)
        answers.append(found)
        assert len(answers) < _MOST, "a session without an end"
        if found.error:
            return
        try:
            following = dlms_reading.follow(asked, found)
        except LocalProtocolError:
            return
        if following is None:
            break
        assert following.step == asked.step + 1, "steps"
        asked = following
    if not answers or answers[-1].more:
        return
    told = dlms_points.decode(POINTS, dlms_reading.join(answers).payload)
    assert [one.measurand for one in told] == [point.measurand for point in POINTS], "points"
    assert all(one.value is None or one.value.is_finite() for one in told), "a value that is no number"


def _frames(data: bytes, wrapped: bool) -> list[dlms_reading.Frame]:
    decoder = hdlc.WrapperDecoder() if wrapped else hdlc.Decoder()
    return [one for one in (*decoder.feed(data), *decoder.finish()) if not isinstance(one, Reject)]


def _sealed(data: bytes, wrapped: bool) -> bytes:
    server = dlms_reading.ends(ADDRESS).server
    out, at = b"", 0
    while at + 2 <= len(data):
        control, size, more = data[at], data[at + 1] & 0x7F, data[at + 1] > 0x7F
        piece, at = data[at + 2 : at + 2 + size], at + 2 + size
        if wrapped:
            out += hdlc.wrap(1, 16, piece) if piece else b""
        else:
            out += hdlc.build(_CLIENT, server, control, piece, segmented=more)
    return out


def _checked(asked: Request, frame: dlms_reading.Frame, found: Answer) -> None:
    """What the accepted bytes say, read by position."""
    raw = frame.raw
    if isinstance(frame, hdlc.Wrapped):
        assert raw[:6] == bytes.fromhex("000100010010"), "ports"
        assert len(raw) == 8 + int.from_bytes(raw[6:8], "big"), "length"
        apdu = raw[8:]
    else:
        body = raw[raw[0] == 0x7E : -1]
        assert fcs(body[:-2]) == body[-2:], "FCS"
        assert body[2:5] == bytes.fromhex("210223"), "addresses"
        control = body[5]
        if asked.stage in (Stage.ASSOCIATE, Stage.GET) and found.error_code != dlms_reading.HUNG_UP:
            acknowledges = asked.send if asked.poll else (asked.send + 1) % 8
            assert control >> 5 == acknowledges, "N(R)"
            assert control & 1 or control >> 1 & 7 == asked.receive, "N(S)"
        apdu = asked.held[3:] + body[8:-2] if asked.held else body[11:-2]
    if found.payload:
        assert asked.stage is Stage.GET, "a value before the association"
        assert apdu[0] != 0xC4 or apdu[2] & 0x0F == asked.invoke, "invoke id"
        assert found.payload[:9] == asked.apdu[3:12] or asked.block, "the attribute"


def seeds() -> list[bytes]:
    """Whole sessions, over HDLC and in the wrapper, as streams and in pieces: plain, in segments, in blocks."""
    aare = bytes.fromhex(
        "6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F0400001010040000" + "07"
    )
    values = [bytes.fromhex(t) for t in ("02020FFF1623", "02020FFE162C", "0600000898", "121388")]
    gets = [bytes((0xC4, 1, 0xC0 | n, 0)) + value for n, value in enumerate(values, 1)]
    refused = [*gets[:3], bytes.fromhex("C401C401FA")]
    blocks = [
        *gets[:2],
        bytes.fromhex("C402C3000000000100030600" + "00"),
        bytes.fromhex("C402C3010000000200020898"),
        gets[3],
    ]
    found = [b""]
    for apdus in ([aare, *gets], [aare, *refused], [aare, *blocks], [aare, bytes.fromhex("D80102")]):
        found.append(b"\x03" + b"".join(bytes((0, len(a))) + a for a in apdus))
        link = b"\x73\x00"
        for n, apdu in enumerate(apdus):
            information = hdlc.LLC_RESPONSE + apdu
            link += bytes((((n + 1) % 8) << 5 | 0x10 | (n % 8) << 1, len(information))) + information
        found.append(b"\x02" + link)
        found.append(b"\x00" + _sealed(link, False))
        found.append(b"\x01" + _sealed(found[-3][1:], True))
    head, tail = (hdlc.LLC_RESPONSE + aare)[:20], (hdlc.LLC_RESPONSE + aare)[20:]
    found.append(b"\x02\x73\x00\x30\x94" + head + b"\x32" + bytes((len(tail),)) + tail + b"\x51\x00\x1f\x00")
    return found
