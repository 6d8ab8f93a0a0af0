"""Reading by DL/T 698.45: GET requests of the client, and which frames answer them. Pure; it only reads.

One OAD is asked by GetRequestNormal, several by GetRequestNormalList, without a CONNECT before: a meter serves that on
its standing association. The last record of a freeze (50040200: daily) is asked by GetRequestRecord with selector 9
(the last one) and the columns wanted: ``50040200/20210200+00100200``.

An answer that goes on does so in one of two ways, and ``follow`` has the request for both:

* link fragments (C bit 5): each is confirmed by its number, and then the next one comes;
* GetResponseNext: a block of whole results, after which the next block is asked for by its number.

The OADs of an answer are those asked, in their order, or it is none. ``suyuan decode`` reads what is built here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from drivers import dlt698, dlt698_apdu
from drivers.axdr import Malformed
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, Said, own
from drivers.points import Query

GET, GET_RESPONSE, ERROR = 0x05, 0x85, 0xEE
SERVICE = 0x01
"""PIID of every request. What an answer answers is told by its OADs; a counted number would tell it less well."""
MOST_OADS = 32
MOST_PARTS = 64
"""Parts of one reading; a meter that promises more and more is not asked for ever."""
_LAST = bytes((9, 1))  # RSD: selector 9, the last record
_REQUEST, _CONFIRM = 0x43, 0x63  # from the client, begun by it, user data; the same with the fragment bit
_No: TypeAlias = Callable[[MismatchReason, str], Mismatch]
_ADDRESS = re.compile(r"([0-9Aa]{1,32})(?:@([0-9A-Fa-f]{1,2}))?")


def address(text: str) -> str:
    """``123456789012``, or with the client's address in hex behind it: ``123456789012@10`` (without: 00)."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is no DL/T 698.45 address: up to 32 decimal digits as printed, A for any digit; "
            "@ and two hex digits behind them are the client's address (000000000001@10)"
        )
    client = int(found[2] or "0", 16)
    return dlt698.address(found[1]) + (f"@{client:02X}" if client else "")


def parts_of(canonical: str) -> tuple[str, int, str]:
    """The server's digits, the client's number and the kind of a canonical address."""
    digits, _, client = canonical.partition("@")
    return digits, int(client or "0", 16), "wildcard" if "A" in digits else "single"


@dataclass(frozen=True, slots=True)
class Request:
    """GET of these OADs from ``address``; with ``record``, of these columns of its last row.

    ``fragment``: confirm this one; ``block``: ask what follows this one.
    """

    address: str
    oads: tuple[str, ...]
    fragment: int | None = None
    block: int | None = None
    record: str = ""

    @property
    def item(self) -> str:
        """The OADs in one text."""
        return (f"{self.record}/" if self.record else "") + "+".join(self.oads)

    @property
    def apdu(self) -> bytes:
        """The APDU; of a confirmation its two bytes."""
        if self.fragment is not None:
            return (self.fragment | 2 << 14).to_bytes(2, "little")
        if self.block is not None:
            return bytes((GET, 5, SERVICE)) + self.block.to_bytes(2, "big") + b"\0"
        if self.record:
            columns = b"".join(b"\0" + bytes.fromhex(oad) for oad in self.oads)
            head = bytes((GET, 3, SERVICE)) + bytes.fromhex(self.record) + _LAST
            return head + bytes((len(self.oads),)) + columns + b"\0"
        asked = b"".join(map(bytes.fromhex, self.oads))
        if len(self.oads) == 1:
            return bytes((GET, 1, SERVICE)) + asked + b"\0"
        return bytes((GET, 2, SERVICE, len(self.oads))) + asked + b"\0"


def request(canonical: str, item: str) -> Request:
    """The request for an item: OADs of 8 hex digits, joined by ``+``; before a ``/`` the record that holds them."""
    record, _, listed = item.upper().rpartition("/")
    oads = tuple(listed.split("+"))
    if record and not re.fullmatch("[0-9A-F]{8}", record):
        raise LocalProtocolError(f"{record!r} is no OAD of 8 hex digits")
    if not 1 <= len(oads) <= MOST_OADS or not all(re.fullmatch("[0-9A-F]{8}", oad) for oad in oads):
        raise LocalProtocolError(f"{item!r} is no OAD of 8 hex digits, or 2 to {MOST_OADS} of them")
    return Request(canonical, oads, record=record)


def encode(asked: Request, *, preamble: int = 4) -> bytes:
    """The frame, with preamble."""
    digits, client, kind = parts_of(asked.address)
    control = _REQUEST if asked.fragment is None else _CONFIRM
    return b"\xfe" * preamble + dlt698.build(digits, control, asked.apdu, client=client, kind=kind)


def request_of(frame: dlt698.Frame) -> Request | None:
    """The request that a frame carries, as the meter's side reads it; None if it is none that ``encode`` makes."""
    if frame.from_meter:
        return None
    canonical = frame.address + (f"@{frame.client:02X}" if frame.client else "")
    if frame.fragment:
        header = int.from_bytes(frame.apdu[:2], "little")
        return Request(canonical, (), fragment=header & 0x0FFF) if header >> 14 == 2 else None
    try:
        told = dlt698_apdu.parse(frame.apdu)
    except Malformed:
        return None
    if told.tag != GET or not (told.asked or "block" in told.detail):
        return None
    if "data" in told.detail:
        return _asked_record(canonical, frame.apdu)
    return Request(canonical, told.asked, block=told.detail.get("block"))


def _asked_record(canonical: str, apdu: bytes) -> Request | None:
    """The request for a last record, if it is one that ``encode`` makes."""
    oads = tuple(apdu[n : n + 4].hex().upper() for n in range(11, len(apdu) - 1, 5))
    found = Request(canonical, oads, record=apdu[3:7].hex().upper())
    return found if found.apdu == apdu else None


def _answered(told: dlt698_apdu.Apdu) -> str:
    """What an answer is about, as ``Request.item`` says it."""
    if not told.records:
        return "+".join(oad for oad, _ in told.values) or str(told.detail.get("item", ""))
    return ";".join(f"{one.oad}/{'+'.join(map('&'.join, one.columns))}" for one in told.records)


def match(asked: Request, frame: dlt698.Frame) -> Answer | Mismatch:
    """The answer, if the frame is from the meter asked, to this client, and carries what was asked.

    A refusal of the whole request is an answer with ``error``; refusals within a list stand in its payload. The
    payload is the APDU, or of a part the frame itself.
    """
    digits, client, kind = parts_of(asked.address)

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, frame.raw, detail)

    if not frame.from_meter:
        own = frame.raw == encode(asked, preamble=0)
        return no(MismatchReason.ECHO if own else MismatchReason.FUNCTION, "a request")
    if frame.kind != "single" or not _meant(digits, frame.address, kind):
        return no(MismatchReason.ADDRESS, f"{frame.address} answered, {digits} was asked")
    if frame.client != client:
        return no(MismatchReason.ADDRESS, f"for client {frame.client:02X}, we are {client:02X}")
    if not frame.control & 0x40:
        return no(MismatchReason.FUNCTION, "the meter reports by itself")
    if frame.fragment:
        return _fragment(asked, frame, no)
    if asked.fragment is not None:
        return no(MismatchReason.SEQUENCE, f"fragment {asked.fragment + 1} was expected, a whole frame came")
    try:
        told = dlt698_apdu.parse(frame.apdu)
    except Malformed as problem:
        return no(MismatchReason.LENGTH, str(problem))
    if told.tag == ERROR:
        return Answer(asked.item, b"", frame.raw, frame.address, told.error, 255)
    if told.tag != GET_RESPONSE or told.ciphered:
        return no(MismatchReason.FUNCTION, f"{told.name} came for a GET request")
    if (told.service or 0) & 0x3F != SERVICE:
        return no(MismatchReason.TRANSACTION, f"service {told.service}, {SERVICE} was asked")
    block = told.detail.get("block")
    if block is not None:
        return _block(asked, frame, told, block, no)
    if asked.block is not None:
        return no(MismatchReason.FUNCTION, "the next block was asked for, a whole answer came")
    answered = _answered(told)
    if answered != (asked.record if asked.record and told.error else asked.item):
        return no(MismatchReason.ITEM, f"{answered} came, {asked.item} was asked")
    return Answer(asked.item, frame.apdu, frame.raw, frame.address, told.error, 255 if told.error else None)


def _meant(asked: str, answered: str, kind: str) -> bool:
    if kind == "single":
        return asked.lstrip("0") == answered.lstrip("0")
    answered = answered.rjust(len(asked), "0")
    return len(asked) == len(answered) and all(a in ("A", b) for a, b in zip(asked, answered, strict=True))


def _fragment(asked: Request, frame: dlt698.Frame, no: _No) -> Answer | Mismatch:
    header = int.from_bytes(frame.apdu[:2], "little")
    number, part = header & 0x0FFF, header >> 14
    if len(frame.apdu) < 3 or part == 2:
        return no(MismatchReason.FUNCTION, "a fragment without content")
    expected = None if asked.fragment is None else (asked.fragment + 1) & 0x0FFF
    if (expected is None) != (part == 0) or (expected is not None and number != expected):
        return no(MismatchReason.SEQUENCE, f"fragment {number} came, {expected or 'the first'} was expected")
    return Answer(asked.item, frame.raw, frame.raw, frame.address, more=part != 1, sequence=number)


def _block(
    asked: Request, frame: dlt698.Frame, told: dlt698_apdu.Apdu, block: dict[str, int], no: _No
) -> Answer | Mismatch:
    number = block["number"]
    if asked.block is not None and number not in (asked.block, asked.block + 1):
        return no(MismatchReason.SEQUENCE, f"block {number} came after block {asked.block}")
    strangers = [oad for oad, _ in told.values if oad not in asked.oads]
    if told.records or strangers:
        return no(MismatchReason.ITEM, f"{'+'.join(strangers) or 'records'} came, {asked.item} was asked")
    if told.error:
        return Answer(asked.item, b"", frame.raw, frame.address, told.error, 255)
    return Answer(asked.item, frame.raw, frame.raw, frame.address, more=not block["last"], sequence=number)


def follow(asked: Request, answer: Answer) -> Request | None:
    """The request for what follows a part: a confirmation, or the next block."""
    if not answer.more:
        return None
    if _frames(answer.raw)[0].fragment:
        return replace(asked, fragment=answer.sequence, block=None)
    return replace(asked, fragment=None, block=answer.sequence)


def join(answers: Sequence[Answer]) -> Answer:
    """One answer out of its parts, in order; its payload are the frames, one after the other."""
    first = answers[0]
    if len(answers) == 1:
        return first
    if len(answers) > MOST_PARTS:
        raise LocalProtocolError(f"{len(answers)} parts of one answer")
    if [a.sequence for a in answers[1:]] != [a.sequence + 1 for a in answers[:-1]]:
        raise LocalProtocolError("the parts of the answer are not in order")
    if answers[-1].more:
        raise LocalProtocolError("the last part of the answer is missing")
    raw = b"".join(answer.raw for answer in answers)
    whole = replace(first, payload=raw, raw=raw, more=False, sequence=0)
    return _joined(whole, _frames(raw))


def _frames(raw: bytes) -> list[dlt698.Frame]:
    decoder = dlt698.Decoder()
    return [f for f in (*decoder.feed(raw), *decoder.finish()) if isinstance(f, dlt698.Frame)]


def _joined(whole: Answer, frames: Sequence[dlt698.Frame]) -> Answer:
    """Of link fragments the APDU that they carry, if it was asked for; of blocks, which were checked, the frames."""
    if not any(frame.fragment for frame in frames):
        return whole
    joiner = dlt698.Joiner()
    apdu = [joiner.add(frame) for frame in frames][-1]
    if apdu is None:
        raise LocalProtocolError(joiner.problem or "the fragments do not end")
    try:
        told = dlt698_apdu.parse(apdu)
    except Malformed as problem:
        raise LocalProtocolError(f"the joined fragments: {problem}") from None
    answered = _answered(told)
    if told.tag != GET_RESPONSE or "block" in told.detail or answered != whole.item:
        raise LocalProtocolError(f"the joined fragments carry {answered}, {whole.item} was asked")
    return replace(whole, payload=apdu, error=told.error, error_code=255 if told.error else None)


@dataclass(frozen=True, slots=True)
class Dlt698:
    """DL/T 698.45; it only reads."""

    name: str

    def address(self, text: str) -> str:
        """The digits, with @ and the client's address if that is not 00."""
        return address(text)

    def request(self, address: str, query: Query) -> Request:
        """GET of the query's OADs."""
        if query.protocol != "dlt698":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return request(self.address(address), query.item)

    def encode(self, request: object) -> bytes:
        """With preamble."""
        return encode(own(request, Request, "a DL/T 698.45 request"))

    def decoder(self) -> dlt698.Decoder:
        """All frames."""
        return dlt698.Decoder()

    def match(self, request: object, frame: object) -> Answer | Mismatch:
        """By direction, server, client, service and OADs."""
        return match(
            own(request, Request, "a DL/T 698.45 request"), own(frame, dlt698.Frame, "a DL/T 698.45 frame")
        )

    def numbered(self, request: Said, n: int) -> Said:  # noqa: ARG002 - the OADs tell what is answered
        """Unchanged."""
        return request

    def expected_length(self, request: object) -> int | None:  # noqa: ARG002
        """The meter's affair: types and elements are told by the answer."""
        return None

    def follow(self, request: object, answer: Answer) -> Request | None:
        """A fragment confirmed, or the next block."""
        return follow(own(request, Request, "a DL/T 698.45 request"), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order and for what was asked."""
        return join(answers)
