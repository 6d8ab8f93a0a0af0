"""What a DLMS/COSEM client that only reads says, and what GET is answered with (IEC 62056-5-3). Pure.

The association is one by logical names, without security, or with a password (LLS) that crosses the line readable. Of
the services only GET and its block transfer are proposed: a meter that keeps to that would refuse anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from drivers import dlms, obis
from drivers.axdr import Malformed, Reader
from drivers.codec import LocalProtocolError
from drivers.dlms import Attribute

RELEASE = bytes.fromhex("6203800100")  # RLRQ, reason normal
_CONFIRMED = 0xC0  # of invoke-id-and-priority: confirmed, high priority
_CONFORMANCE = bytes.fromhex("001010")  # block-transfer-with-get (bit 11) and get (bit 19)
_GET_BIT = 0x10  # of the third byte
_LONGEST_ANSWER = 0xFFFF
_ITEM = re.compile(r"(?:(\d{1,5})/)?(\d{1,3}-\d{1,3}:\d{1,3}\.\d{1,3}\.\d{1,3}(?:\*\d{1,3})?)(?:/(\d{1,3}))?")
VALUE, REFUSED, FAILED = 0, 1, 2
"""How an attribute was answered: data; a data-access-result; an exception or a service error in its place."""


def attribute(item: str) -> Attribute:
    """``1-0:1.8.0`` (class 3, attribute 2), ``4/1-0:1.6.0``, ``5/1-0:1.4.0/3``. LocalProtocolError if it is none."""
    found = _ITEM.fullmatch(item)
    if found is None:
        raise LocalProtocolError(
            f"{item!r} is no COSEM attribute: write 1-0:1.8.0, or CLASS/1-0:1.8.0/ATTRIBUTE"
        )
    class_id, number = int(found[1] or "3"), int(found[3] or "2")
    if obis.to_bytes(found[2]) is None or class_id > 0xFFFF or not 1 <= number <= 127:
        raise LocalProtocolError(
            f"{item!r}: value groups are 0 to 255, classes 1 to 65535, attributes 1 to 127"
        )
    return Attribute(class_id, found[2].removesuffix("*255"), number)


def item_of(one: Attribute) -> str:
    """The shortest way to write an attribute.

    >>> item_of(Attribute(5, "1-0:1.4.0", 3))
    '5/1-0:1.4.0/3'
    """
    tail = f"/{one.attribute}" if one.attribute != 2 else ""
    return (f"{one.class_id}/" if one.class_id != 3 else "") + one.code + tail


def descriptor(one: Attribute) -> bytes:
    """Class, instance and attribute, as a request names them: nine bytes."""
    raw = obis.to_bytes(one.code)
    if raw is None:
        raise LocalProtocolError(f"{one.code!r} is no OBIS code of six value groups")
    return one.class_id.to_bytes(2, "big") + raw + bytes((one.attribute,))


def associate(password: bytes | None) -> bytes:
    """AARQ: logical names, no ciphering; with a password (LLS) unless that is None."""
    inner = bytes.fromhex("A109060760857405080101")
    if password is not None:
        if len(password) > 64:
            raise LocalProtocolError("a password of more than 64 bytes")
        inner += bytes.fromhex("8A0207808B0760857405080201")
        inner += bytes((0xAC, len(password) + 2, 0x80, len(password))) + password
    initiate = bytes.fromhex("01000000065F1F0400") + _CONFORMANCE + _LONGEST_ANSWER.to_bytes(2, "big")
    inner += bytes((0xBE, len(initiate) + 2, 0x04, len(initiate))) + initiate
    return bytes((0x60, len(inner))) + inner


def associated(apdu: bytes) -> str:
    """What is wrong with the answer to an AARQ; empty if GET may follow. Malformed if it is no answer to one."""
    told = dlms.parse(apdu)
    if told.tag in (0xD8, 0x0E):
        return told.error or told.name
    if told.tag != 0x61:
        raise Malformed(f"{told.name} came for an AARQ")
    if told.error or not told.detail.get("accepted"):
        return f"association refused: {told.error or 'no reason given'}"
    if told.detail.get("diagnostic"):  # accepted so far, but authentication (HLS) is yet to come
        return f"association not complete: {told.detail['diagnostic']}"
    if told.detail.get("context", "LN") != "LN":
        return f"the meter associates by {told.detail['context']}, not by logical names"
    conformance = bytes.fromhex(str(told.detail.get("conformance", "")))
    if len(conformance) == 3 and not conformance[2] & _GET_BIT:
        return "the meter's association does not offer GET"
    return ""


def get(invoke: int, one: Attribute) -> bytes:
    """GET-Request-Normal of one attribute."""
    return bytes((0xC0, 1, _CONFIRMED | invoke & 0x0F)) + descriptor(one) + b"\0"


def next_block(invoke: int, number: int) -> bytes:
    """GET-Request-Next: block ``number`` has come, the next one is asked for."""
    return bytes((0xC0, 2, _CONFIRMED | invoke & 0x0F)) + number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Got:
    """A GET response: ``how`` it was answered and the bytes that say what; ``block`` 0: all at once.

    ``last``: no block follows. Data are not looked into: what is broken in them concerns one value only.
    """

    invoke: int | None
    how: int
    data: bytes
    block: int = 0
    last: bool = True


def got(apdu: bytes) -> Got:
    """A GET response taken apart. Malformed if the APDU is none."""
    reader = Reader(apdu)
    tag = reader.byte()
    if tag in (0xD8, 0x0E):
        if not reader.left:
            raise Malformed("an exception without content")
        return Got(None, FAILED, apdu)
    if tag != 0xC4:
        raise Malformed(f"APDU {tag:02X} came for a GET request")
    kind, invoke = reader.byte(), reader.byte() & 0x0F
    if kind == 1:
        choice = reader.byte()
        if choice == 0:
            return Got(invoke, VALUE, reader.take(reader.left))
        if choice != 1:
            raise Malformed(f"choice {choice} of a result does not exist")
        return Got(invoke, REFUSED, _all(reader, 1))
    if kind != 2:
        raise Malformed(f"a GET response of kind {kind} came for one attribute")
    last, number, choice = bool(reader.byte()), reader.number(4), reader.byte()
    if choice == 0:
        return Got(invoke, VALUE, _all(reader, reader.length()), number, last)
    if choice != 1:
        raise Malformed(f"choice {choice} of a block does not exist")
    return Got(invoke, REFUSED, _all(reader, 1), number)


def _all(reader: Reader, size: int) -> bytes:
    data = reader.take(size)
    if reader.left:
        raise Malformed(f"{reader.left} bytes are left over")
    return data


# ---- the results of a session as one payload


def packed(one: Attribute, how: int, data: bytes) -> bytes:
    """One attribute's result: its descriptor, how it was answered, the length in four bytes, and the data."""
    return descriptor(one) + bytes((how,)) + len(data).to_bytes(4, "big") + data


def unpacked(payload: bytes) -> dict[str, tuple[int, bytes]]:
    """The results by item, the first where one was asked twice. Malformed if the payload is none of ``packed``."""
    reader = Reader(payload)
    found: dict[str, tuple[int, bytes]] = {}
    while reader.left:
        class_id, code, number = reader.number(2), obis.of_bytes(reader.take(6)), reader.byte()
        how = reader.byte()
        found.setdefault(item_of(Attribute(class_id, code, number)), (how, reader.take(reader.number(4))))
    return found
