"""Reading a meter by DLMS/COSEM: one session per reading, over HDLC or in the TCP wrapper. Pure; it only reads.

Over HDLC: SNRM and UA, AARQ and AARE, a GET for each attribute, DISC. In the wrapper the same without the link, and
RLRQ at the end. What opens, carries and ends a session is one request each; all answers but the last value have
``more``. ``follow`` has the request after an answer:

* link: the window is 1, so each I frame is acknowledged by the next. N(S) and N(R) are checked: a repetition of an
  earlier frame is a mismatch. A segment (S bit) is followed by RR, as is an RR that acknowledges without answering.
* application: a block (GET-Response-With-Datablock) is followed by a request for the next one, by number.

A lost frame is asked again by the same bytes, as the bus repeats any request: a meter that has had it sends its own
last frame anew. DM or FRMR in place of an answer: the meter has lost the link, and the session is begun anew.

A password is in no ``repr``; ``recorded`` gives the bytes that may be kept of a request: with an empty one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from drivers import dlms_get, hdlc
from drivers.axdr import Malformed
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, Said, own
from drivers.dlms import Attribute
from drivers.points import Query

Frame: TypeAlias = hdlc.Frame | hdlc.Wrapped

PUBLIC = 16
"""The client that every meter serves without security."""
INFORMATION = 128
"""Bytes of information in one frame: what the standard presumes, and what we propose."""
HUNG_UP = 1
"""``error_code`` of an answer that says that the meter has lost the link."""
MOST_PARTS = 64  # frames and blocks of one attribute
_MOST_BYTES = 1 << 16  # of one attribute
_SNRM, _DISC, _RR, _POLL = 0x83, 0x43, 0x01, 0x10
_LLS = "+lls"
_ADDRESS = re.compile(r"(\d{1,5})(?:/(\d{1,5}))?(?::([124]))?(?:@(\d{1,5}))?(\+lls)?", re.IGNORECASE)


class Stage(StrEnum):
    """Where a session stands."""

    OPEN = "open"  # SNRM
    ASSOCIATE = "associate"  # AARQ
    GET = "get"
    CLOSE = "close"  # DISC, or RLRQ in the wrapper


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a session: the meter's HDLC address (its upper part: the wrapper port), our number, and whether
    the association has a password.
    """

    server: hdlc.Address
    client: int
    lls: bool


def ends(text: str) -> Ends:
    """``1``, ``1/17`` (logical/physical device), ``1/17:4`` (in four bytes), ``1@2`` (as client 2), ``…+lls``.

    ValueError in the reader's words.
    """
    found = _ADDRESS.fullmatch(text.strip())
    hint = "1, or 1/17 for logical and physical device; :4 behind it forces four bytes, @ and a number the client"
    if found is None:
        raise ValueError(f"{text!r} is no DLMS address: {hint}")
    upper, lower = int(found[1]), None if found[2] is None else int(found[2])
    client = int(found[4] or PUBLIC)
    largest = max(upper, lower or 0)
    least = 4 if largest > 127 and (lower is not None or upper <= 0x3FFF) else 1 if lower is None else 2
    size = int(found[3] or least)
    if size < least or largest > 0x3FFF or not 1 <= client <= 127 or (lower is not None and size == 1):
        raise ValueError(
            f"{text!r} is no DLMS address: parts up to 127 in one or two bytes, up to 16383 in four; the client is "
            f"1 to 127; {hint}"
        )
    return Ends(hdlc.Address(upper, 0 if lower is None and size > 1 else lower, size), client, bool(found[5]))


def address(text: str, *, lls: bool = False) -> str:
    """The canonical address; ``lls``: with a password."""
    told = ends(text)
    server = told.server
    parts = str(server.upper) if server.size == 1 else f"{server.upper}/{server.lower}"
    least = 4 if max(server.upper, server.lower or 0) > 127 else server.size if server.size < 4 else 2
    size = ":4" if server.size == 4 and least != 4 else ""
    client = f"@{told.client}" if told.client != PUBLIC else ""
    return parts + size + client + (_LLS if lls or told.lls else "")


@dataclass(frozen=True, slots=True)
class Request:
    """One message of a session, with all that is known of the session when it is sent.

    ``plan``: the attributes that are asked for, in order; ``at`` is the one that is asked now. ``send`` and ``receive``
    are V(S) and V(R); ``sent`` is how much of our own message has been acknowledged; ``poll``: an RR. ``held`` is what
    has come of a segmented message, ``blocks`` of a value in blocks, ``block`` the last one's number. ``step`` counts
    the messages of the session, ``part`` those of one attribute. ``longest``: bytes of one frame's
    information that the meter takes.
    """

    address: str
    wrapped: bool
    plan: tuple[str, ...]
    password: bytes | None = field(default=None, repr=False)
    stage: Stage = Stage.OPEN
    at: int = 0
    send: int = 0
    receive: int = 0
    sent: int = 0
    poll: bool = False
    held: bytes = b""
    blocks: bytes = b""
    block: int = 0
    step: int = 0
    part: int = 0
    longest: int = INFORMATION

    @property
    def asked(self) -> Attribute:
        """The attribute that is asked for now."""
        return dlms_get.attribute(self.plan[self.at])

    @property
    def invoke(self) -> int:
        """Counted through the session: neighbours never share one."""
        return (self.at + 1) & 0x0F

    @property
    def apdu(self) -> bytes:
        """What is said, without link or wrapper."""
        if self.stage is Stage.ASSOCIATE:
            return dlms_get.associate(self.password)
        if self.stage is Stage.CLOSE:
            return dlms_get.RELEASE
        if self.block:
            return dlms_get.next_block(self.invoke, self.block)
        return dlms_get.get(self.invoke, self.asked)

    @property
    def information(self) -> bytes:
        """The piece of it that goes into this frame."""
        return self._whole[self.sent : self.sent + self.longest]

    @property
    def segmented(self) -> bool:
        """Whether further pieces follow."""
        return self.sent + self.longest < len(self._whole)

    @property
    def _whole(self) -> bytes:
        return hdlc.LLC_COMMAND + self.apdu


def request(canonical: str, item: str, *, wrapped: bool, password: bytes | None = None) -> Request:
    """What opens the session that reads these items (joined by ``+``)."""
    plan = tuple(item.split("+"))
    for one in plan:
        dlms_get.attribute(one)
    secret = (password or b"") if ends(canonical).lls else None
    if secret is not None and not wrapped and len(dlms_get.associate(secret)) + 3 > INFORMATION:
        raise LocalProtocolError("the password is too long for one frame")
    stage = Stage.ASSOCIATE if wrapped else Stage.OPEN
    return Request(canonical, wrapped, plan, secret, stage)


def encode(asked: Request) -> bytes:
    """The bytes of a message."""
    told = ends(asked.address)
    if asked.wrapped:
        return hdlc.wrap(told.client, told.server.upper, asked.apdu)
    us = hdlc.Address(told.client)
    if asked.stage is Stage.OPEN:
        size = bytes((1, INFORMATION))
        information = b"\x05" + size + b"\x06" + size + bytes.fromhex("070400000001080400000001")
        information = b"\x81\x80" + bytes((len(information),)) + information
        return hdlc.build(told.server, us, _SNRM | _POLL, information)
    if asked.stage is Stage.CLOSE:
        return hdlc.build(told.server, us, _DISC | _POLL)
    acknowledged = asked.receive << 5 | _POLL
    if asked.poll:
        return hdlc.build(told.server, us, acknowledged | _RR)
    if asked.password and asked.segmented:
        raise LocalProtocolError("the meter takes frames too short for a password")
    control = acknowledged | asked.send << 1
    return hdlc.build(told.server, us, control, asked.information, segmented=asked.segmented)


def recorded(asked: Request) -> bytes:
    """The bytes of a message that may be kept: a password is left out, its place shown empty."""
    return encode(replace(asked, password=b"") if asked.password else asked)


def closing(asked: Request) -> Request:
    """What ends the session. Its answer matters to no value."""
    return Request(asked.address, asked.wrapped, asked.plan, None, Stage.CLOSE)


def match(asked: Request, frame: Frame) -> Answer | Mismatch:
    """The answer, if the frame comes from this meter to this client and is the one that is due."""
    found = _taken(asked, frame)
    return found if isinstance(found, Mismatch) else found[0]


def follow(asked: Request, answer: Answer) -> Request | None:
    """The request after an answer. LocalProtocolError for a value without an end."""
    if not answer.more:
        return None
    decoder = hdlc.WrapperDecoder() if asked.wrapped else hdlc.Decoder()
    for frame in (*decoder.feed(answer.raw), *decoder.finish()):
        if isinstance(frame, hdlc.Frame | hdlc.Wrapped):
            found = _taken(asked, frame)
            if not isinstance(found, Mismatch) and found[1] is not None:
                return _bounded(found[1])
    raise LocalProtocolError("the answer is not the one to this request")


def join(answers: Sequence[Answer]) -> Answer:
    """All results of a session as one payload (``dlms_get.packed``), in order and complete."""
    if [answer.sequence for answer in answers] != list(range(len(answers))) or answers[-1].more:
        raise LocalProtocolError("the answers of a session are not complete and in order")
    payload = b"".join(answer.payload for answer in answers)
    return replace(answers[-1], payload=payload, raw=b"".join(answer.raw for answer in answers))


def _bounded(asked: Request) -> Request:
    if asked.part > MOST_PARTS or len(asked.held) + len(asked.blocks) > _MOST_BYTES:
        raise LocalProtocolError(f"{asked.plan[asked.at]}: the value has no end")
    return asked


_Taken: TypeAlias = tuple[Answer, Request | None] | Mismatch


def _taken(asked: Request, frame: Frame) -> _Taken:
    """The answer with the request after it."""
    told = ends(asked.address)
    if isinstance(frame, hdlc.Wrapped):
        if (frame.source, frame.destination) == (told.client, told.server.upper) and frame.apdu == asked.apdu:
            return Mismatch(MismatchReason.ECHO, frame.raw, "our own request")
        if (frame.source, frame.destination) != (told.server.upper, told.client):
            detail = (
                f"from {frame.source} to {frame.destination}, {told.server.upper} was asked by {told.client}"
            )
            return Mismatch(MismatchReason.ADDRESS, frame.raw, detail)
        return _message(asked, frame.apdu, frame.raw, asked)
    if frame.raw.strip(b"\x7e") == encode(asked).strip(b"\x7e"):
        return Mismatch(MismatchReason.ECHO, frame.raw, "our own request")
    if (frame.source, frame.destination) != (told.server, hdlc.Address(told.client)):
        detail = f"from {frame.source} to {frame.destination}, {told.server} was asked by {told.client}"
        return Mismatch(MismatchReason.ADDRESS, frame.raw, detail)
    return _linked(asked, frame)


def _linked(asked: Request, frame: hdlc.Frame) -> _Taken:
    """The link's part: what a frame acknowledges, and whether it is the one that is due."""

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, frame.raw, detail)

    kind = frame.kind
    if asked.stage is Stage.CLOSE:
        if kind not in ("UA", "DM"):
            return no(MismatchReason.FUNCTION, f"UA was expected, {kind or 'an unknown frame'} came")
        return Answer("", b"", frame.raw, asked.address), None
    if kind in ("DM", "FRMR"):
        said = "disconnected mode" if kind == "DM" else "frame reject"
        return Answer("", b"", frame.raw, asked.address, said, HUNG_UP, sequence=asked.step), None
    if asked.stage is Stage.OPEN:
        if kind != "UA":
            return no(MismatchReason.FUNCTION, f"UA was expected, {kind or 'an unknown frame'} came")
        takes = hdlc.negotiated(frame.information).get("max_information_receive", INFORMATION)
        opened = replace(
            asked, stage=Stage.ASSOCIATE, longest=max(1, min(INFORMATION, takes)), step=asked.step + 1
        )
        return _onward(asked, frame.raw), opened
    if kind not in ("I", "RR", "RNR"):
        return no(MismatchReason.FUNCTION, f"an I frame was expected, {kind or 'an unknown frame'} came")
    due = asked.send if asked.poll else (asked.send + 1) & 7
    acknowledged = frame.control >> 5
    if acknowledged != due:
        return no(MismatchReason.SEQUENCE, f"N(R) is {acknowledged}, {due} was due")
    after = replace(asked, send=due, step=asked.step + 1, part=asked.part + 1)
    if not asked.poll and asked.segmented:
        if kind != "RR":
            return no(MismatchReason.FUNCTION, f"RR was expected for a segment, {kind} came")
        return _onward(asked, frame.raw), replace(after, sent=asked.sent + asked.longest)
    if kind != "I":
        return _onward(asked, frame.raw), replace(after, poll=True)
    if frame.send_number != asked.receive:
        return no(MismatchReason.SEQUENCE, f"N(S) is {frame.send_number}, {asked.receive} was due")
    after = replace(after, receive=(asked.receive + 1) & 7)
    whole = asked.held + frame.information
    if not whole.startswith(hdlc.LLC_RESPONSE):
        return no(MismatchReason.FUNCTION, "no LLC header of an answer")
    if frame.segmented:
        return _onward(asked, frame.raw), replace(after, held=whole, poll=True)
    return _message(asked, whole[3:], frame.raw, after)


def _onward(asked: Request, raw: bytes) -> Answer:
    return Answer("", b"", raw, asked.address, more=True, sequence=asked.step)


def _message(asked: Request, apdu: bytes, raw: bytes, after: Request) -> _Taken:
    """The application's part: the association, a value, or a block of one."""

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, raw, detail)

    after = replace(after, sent=0, poll=False, held=b"", step=asked.step + 1, part=asked.part + 1)
    if asked.stage is Stage.CLOSE:
        if apdu[:1] not in (b"\x63", b"\xd8", b"\x0e"):
            return no(MismatchReason.FUNCTION, "RLRE was expected")
        return Answer("", b"", raw, asked.address), None
    if asked.stage is Stage.ASSOCIATE:
        try:
            refused = dlms_get.associated(apdu)
        except Malformed as problem:
            return no(MismatchReason.FUNCTION, str(problem))
        if refused:
            return Answer("", b"", raw, asked.address, refused, sequence=asked.step), None
        return _onward(asked, raw), replace(after, stage=Stage.GET, password=None, part=0)
    try:
        told = dlms_get.got(apdu)
    except Malformed as problem:
        return no(MismatchReason.FUNCTION, str(problem))
    if told.invoke is not None and told.invoke != asked.invoke:
        return no(MismatchReason.TRANSACTION, f"invoke id {told.invoke}, {asked.invoke} was asked")
    if told.block and told.block != asked.block + 1:
        return no(MismatchReason.SEQUENCE, f"block {told.block} came, {asked.block + 1} was due")
    if asked.block and not told.block and told.how == dlms_get.VALUE:
        return no(MismatchReason.FUNCTION, "the next block was asked for, a whole value came")
    if told.how == dlms_get.VALUE and not told.last:
        return _onward(asked, raw), replace(after, block=told.block, blocks=asked.blocks + told.data)
    data = asked.blocks + told.data if told.how == dlms_get.VALUE else told.data
    more = asked.at + 1 < len(asked.plan)
    payload = dlms_get.packed(asked.asked, told.how, data)
    answer = Answer(asked.plan[asked.at], payload, raw, asked.address, more=more, sequence=asked.step)
    after = replace(after, at=asked.at + 1, block=0, blocks=b"", part=0)
    return answer, after if more else None


def request_of(frame: Frame) -> Request | None:
    """The request that opens a session; None of any other message: what it asks for is told later."""
    if isinstance(frame, hdlc.Wrapped):
        if frame.apdu[:1] != b"\x60":
            return None
        client = f"@{frame.source}" if frame.source != PUBLIC else ""
        return Request(f"{frame.destination}{client}", True, (), stage=Stage.ASSOCIATE)
    if frame.kind != "SNRM":
        return None
    server = frame.destination
    place = f"{server.upper}" + (f"/{server.lower}:{server.size}" if server.size > 1 else "")
    return Request(address(f"{place}@{frame.source.upper}"), False, ())


@dataclass(frozen=True, slots=True)
class Dlms:
    """DLMS/COSEM over HDLC or in the TCP wrapper; it only reads. A reading is a session, from association to release.

    ``password``: of low-level security (LLS), in no ``repr``.
    """

    name: str
    wrapped: bool = False
    password: bytes = field(default=b"", repr=False)

    def address(self, text: str) -> str:
        """Logical and physical device, and the client if that is not 16; with a password, +lls behind it."""
        if self.wrapped and ends(text).server.size == 2:
            raise ValueError(f"{text!r}: in the TCP wrapper a meter has one number, mostly 1")
        return address(text, lls=bool(self.password))

    def request(self, address: str, query: Query) -> Request:
        """What opens the session that reads the query's attributes."""
        if query.protocol != "dlms":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return request(self.address(address), query.item, wrapped=self.wrapped, password=self.password)

    def encode(self, request: object) -> bytes:
        """SNRM, AARQ, GET, RR, DISC or RLRQ."""
        return encode(own(request, Request, "a DLMS request"))

    def decoder(self) -> hdlc.Decoder | hdlc.WrapperDecoder:
        """HDLC frames, or APDUs in the wrapper."""
        return hdlc.WrapperDecoder() if self.wrapped else hdlc.Decoder()

    def match(self, request: object, frame: object) -> Answer | Mismatch:
        """By both addresses, N(S) and N(R), invoke id, block number."""
        kind: type[Frame] = hdlc.Wrapped if self.wrapped else hdlc.Frame
        return match(own(request, Request, "a DLMS request"), own(frame, kind, f"a frame of {self.name}"))

    def numbered(self, request: Said, n: int) -> Said:  # noqa: ARG002 - numbered within the session
        """Unchanged."""
        return request

    def expected_length(self, request: object) -> int | None:  # noqa: ARG002
        """The meter's affair."""
        return None

    def follow(self, request: object, answer: Answer) -> Request | None:
        """The next message of the session."""
        return follow(own(request, Request, "a DLMS request"), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """All results of the session."""
        return join(answers)
