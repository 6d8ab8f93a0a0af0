"""A profile's golden exchanges, tried on the codecs: what ``suyuan profiles check`` and the tests run.

Each exchange goes the whole way: its bytes are decoded as one capture, the answer must match the request, the request
must be the one that would be sent for these points, and the values must be those expected, to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from drivers import (
    dlms,
    dlms_get,
    dlms_reading,
    dlt645,
    dlt698_get,
    hdlc,
    hj212,
    iec62056,
    iec62056_reading,
    mbus,
    modbus,
    nameplate,
    protocols,
)
from drivers import profile as profiles
from drivers.codec import Answer, Indication, Mismatch, Onward, Reject
from drivers.profile import Profile, Query, Vector
from drivers.protocols import Codec, Request


def check(profile: Profile) -> tuple[str, ...]:
    """What is wrong with the profile's exchanges, one sentence each; empty: all is as it says."""
    complaints: list[str] = []
    if not profile.vectors:
        complaints.append(f"{profile.name} has no [[vector]]: add an exchange, best one captured on a meter")
    for n, vector in enumerate(profile.vectors, 1):
        complaints += [f"{profile.name}, vector {n}: {text}" for text in _complaints(profile, vector)]
    complaints += [f"{profile.name}, identity: {text}" for text in _nameplate_complaints(profile)]
    return tuple(complaints)


def _nameplate_complaints(profile: Profile) -> list[str]:
    """The exchange in which a meter tells its number."""
    place = profile.nameplate
    if place is None:
        return []
    if not place.request:
        return ["no exchange: add request, answer and the number that it tells"]
    decoder = modbus.decoder("rtu")
    found = [*decoder.feed(place.request + place.answer), *decoder.finish()]
    frames = [f for f in found if isinstance(f, modbus.Frame)]
    request = modbus.request_of(frames[0]) if len(frames) == len(found) == 2 else None
    if request is None:
        return ["request and answer are not two sound frames"]
    if (request.function, request.start, request.count) != (place.function, place.address, place.length):
        return [f"{request.function}:{request.start}+{request.count} is asked, the profile says otherwise"]
    answer = modbus.match(request, frames[1])
    if isinstance(answer, Mismatch):
        return [f"the answer does not answer the request: {answer.detail}"]
    told = nameplate.number(place, answer.payload)
    return [] if told == place.number else [f"the number is {told or 'missing'}, expected {place.number}"]


def codec_for(profile: Profile, vector: Vector) -> Codec:
    """The codec of a vector; a Modbus exchange may be RTU or TCP, its request shows which."""
    if profile.protocol != "modbus":
        return protocols.codec(profile.protocol)
    found = modbus.decoder("rtu")
    sound = [f for f in [*found.feed(vector.request), *found.finish()] if isinstance(f, modbus.Frame)]
    return protocols.codec("modbus-rtu" if sound else "modbus-tcp")


def query_for(profile: Profile, request: Request) -> Query:
    """The query that a request stands for: its item or range, with every point of the profile in it."""
    if isinstance(request, dlt645.Request):
        points = tuple(p for p in profile.points if request.item in (p.item, p.block))
        return Query(profile.protocol, points, request.item)
    if isinstance(request, modbus.Request):
        end = request.start + request.count
        points = tuple(
            p
            for p in profile.points
            if p.function == request.function and request.start <= p.start and p.end <= end
        )
        return Query(profile.protocol, points, "", request.function, request.start, request.count)
    if isinstance(request, dlms_reading.Request):
        asked = tuple(p for p in profile.points if p.item in request.plan)
        return Query(profile.protocol, asked, item="+".join(request.plan))
    if isinstance(request, mbus.Request | iec62056_reading.Request):
        return Query(profile.protocol, profile.points)
    if isinstance(request, dlt698_get.Request):
        oads = [f"{request.record}/{oad[:6]}" for oad in request.oads] if request.record else request.oads
        asked = tuple(
            p
            for p in profile.points
            if p.item in oads or p.block in oads or (request.record and p.item[:-2] in oads)
        )
        return Query(profile.protocol, asked, request.item)
    return Query(profile.protocol, profile.points, request.item, kind=profile.kind)


def _complaints(profile: Profile, vector: Vector) -> list[str]:
    if profile.protocol == "hj212":
        return _packet_complaints(profile, vector)
    if profile.protocol == "mbus":
        return _telegram_complaints(profile, vector)
    if profile.protocol == "iec62056-21":
        return _session_complaints(profile, vector)
    if profile.protocol == "dlms":
        return _dialogue_complaints(profile, vector)
    codec = codec_for(profile, vector)
    decoder = codec.decoder()
    found = [*decoder.feed(vector.request + vector.answer), *decoder.finish()]
    frames = [f for f in found if not isinstance(f, Reject)]
    if len(frames) != 2 or len(found) != 2:
        rejects = "; ".join(f"byte {r.offset}: {r.reason} {r.detail}" for r in found if isinstance(r, Reject))
        return [f"request and answer are not two sound frames ({rejects or f'{len(frames)} frames'})"]
    request = protocols.request_of(frames[0])
    if request is None:
        return ["the request is no request"]
    answer = codec.match(request, frames[1])
    if isinstance(answer, Onward):
        return ["the answer ends before its data"]
    if isinstance(answer, Mismatch):
        return [f"the answer does not answer the request: {answer.detail}"]
    query = query_for(profile, request)
    return _differences(vector, profiles.decode(profile, query, answer))


def _packet_complaints(profile: Profile, vector: Vector) -> list[str]:
    """A packet that a logger pushes: nothing asks for it."""
    decoder = hj212.Decoder()
    found = [*decoder.feed(vector.answer), *decoder.finish()]
    if len(found) != 1 or isinstance(found[0], Reject):
        rejects = "; ".join(f"byte {r.offset}: {r.reason} {r.detail}" for r in found if isinstance(r, Reject))
        return [f"the packet is not one sound frame ({rejects or f'{len(found)} frames'})"]
    (query,) = profiles.plan(profile)
    answer = Answer("", vector.answer, vector.answer)
    return _differences(vector, profiles.decode(profile, query, answer))


def _telegram_complaints(profile: Profile, vector: Vector) -> list[str]:
    """An M-Bus exchange: REQ_UD2 and the slave's telegram, each a capture of its own."""
    decoder = mbus.Decoder()
    asked = [*decoder.feed(vector.request), *decoder.finish()]
    decoder = mbus.Decoder()
    told = [*decoder.feed(vector.answer), *decoder.finish()]
    if len(asked) != 1 or len(told) != 1 or isinstance(asked[0], Reject) or isinstance(told[0], Reject):
        return ["request and answer are not two sound frames"]
    if asked[0].unit is None or asked[0].control is None:
        return ["the request is no request"]
    answer = mbus.match(mbus.Request(asked[0].unit, asked[0].control), told[0])
    if isinstance(answer, Mismatch):
        return [f"the answer does not answer the request: {answer.detail}"]
    (query,) = profiles.plan(profile)
    answer = replace(answer, more=False)  # what follows in further telegrams is not in the vector
    return _differences(vector, profiles.decode(profile, query, answer))


def _session_complaints(profile: Profile, vector: Vector) -> list[str]:
    """An IEC 62056-21 session: sign-on (and option select), identification and blocks, each side in its own capture."""
    sides: list[list[iec62056.Frame]] = []
    for name, raw in (("request", vector.request), ("answer", vector.answer)):
        decoder = iec62056.Decoder()
        found = [*decoder.feed(raw), *decoder.finish()]
        if rejects := [item for item in found if isinstance(item, Reject)]:
            return [
                f"the {name} is not sound: byte {rejects[0].offset}: {rejects[0].reason} {rejects[0].detail}"
            ]
        sides.append([item for item in found if not isinstance(item, Reject)])
    asked, told = sides
    request = iec62056_reading.request_of(asked[0]) if asked else None
    if request is None:
        return ["the request does not begin with a sign-on"]
    answers: list[Answer] = []
    step = request
    for frame in told:
        got = iec62056_reading.match(step, frame)
        if isinstance(got, Onward):
            assert isinstance(got.request, iec62056_reading.Request)
            step = got.request
            continue
        if isinstance(got, Mismatch):
            return [f"the answer does not answer the request: {got.detail}"]
        answers.append(got)
        step = iec62056_reading.follow(request, got) or step
    if not answers or answers[-1].more:
        return ["the answer ends before its data"]
    if asked[1:] and asked[1].raw != iec62056_reading.encode(
        replace(step, stage=iec62056_reading.Stage.SELECT)
    ):
        return ["the option select is not the one that would be sent"]
    (query,) = profiles.plan(profile)
    return _differences(vector, profiles.decode(profile, query, iec62056_reading.join(answers)))


def _dialogue_complaints(profile: Profile, vector: Vector) -> list[str]:
    """A DLMS session over HDLC or in the wrapper: all that is asked and all that is answered, in two captures."""
    name = "dlms-hdlc" if vector.request[:1] == b"\x7e" else "dlms-wrapper"
    codec = protocols.codec(name)
    sides: list[list[protocols.Frame]] = []
    for side, raw in (("request", vector.request), ("answer", vector.answer)):
        decoder = codec.decoder()
        found = [*decoder.feed(raw), *decoder.finish()]
        if rejects := [item for item in found if isinstance(item, Reject)]:
            return [
                f"the {side} is not sound: byte {rejects[0].offset}: {rejects[0].reason} {rejects[0].detail}"
            ]
        sides.append([item for item in found if not isinstance(item, Reject)])
    asked, told = sides
    opening = protocols.request_of(asked[0]) if asked else None
    if not isinstance(opening, dlms_reading.Request):
        return ["the request does not open a session"]
    plan = _attributes(asked)
    step: protocols.Request = codec.request(opening.address, Query("dlms", (), item="+".join(plan)))
    answers: list[Answer] = []
    for n, (sent, frame) in enumerate(zip(asked, told, strict=False), start=1):
        if sent.raw.strip(b"\x7e") != codec.encode(step).strip(b"\x7e"):
            return [f"request {n} is not the one that would be sent"]
        got = codec.match(step, frame)
        if not isinstance(got, Answer):
            return [
                f"answer {n} does not answer request {n}: {got.detail if isinstance(got, Mismatch) else ''}"
            ]
        answers.append(got)
        following = codec.follow(step, got)
        if following is None:
            break
        step = following
    if not answers or answers[-1].more:
        return ["the answer ends before its data"]
    query = query_for(profile, step)
    return _differences(vector, profiles.decode(profile, query, codec.join(answers)))


def _attributes(asked: Sequence[protocols.Frame]) -> list[str]:
    """What the GET requests of a session ask for, in order."""
    found = []
    for frame in asked:
        apdu = frame.information[3:] if isinstance(frame, hdlc.Frame) else frame.raw[8:]
        if apdu[:2] == b"\xc0\x01":
            found += [dlms_get.item_of(one) for one in dlms.parse(apdu).attributes]
    return found


def _differences(vector: Vector, indications: tuple[Indication, ...]) -> list[str]:
    shown = {i.measurand: (None if i.value is None else f"{i.value:f}") for i in indications}
    return [
        f"{measurand} is {shown.get(measurand, 'not in the answer') or 'missing'}, expected {expected or 'missing'}"
        for measurand, expected in vector.expect.items()
        if measurand not in shown or shown[measurand] != expected
    ]
