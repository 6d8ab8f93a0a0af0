"""DLMS/COSEM application messages (IEC 62056-5-3): associations, GET, notifications, refusals. Pure.

``parse`` reads one APDU whole or raises ``Malformed``; ``readings`` finds in pushed data which value belongs to which
OBIS code and applies the scaler and unit that stand beside it. Ciphered APDUs are told as such and give no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from drivers import obis
from drivers.axdr import ARRAY, NULL, OCTETS, STRUCTURE, Data, Malformed, Reader, moment, scaler_unit
from drivers.codec import Indication, Missing
from drivers.registers import scaled

NAMES = {
    0x01: "initiate request", 0x08: "initiate response", 0x0E: "confirmed service error",
    0x0F: "data notification", 0x60: "AARQ", 0x61: "AARE", 0x62: "RLRQ", 0x63: "RLRE",
    0xC0: "GET request", 0xC1: "SET request", 0xC2: "event notification", 0xC3: "ACTION request",
    0xC4: "GET response", 0xC5: "SET response", 0xC7: "ACTION response", 0xD8: "exception response",
    0xE0: "general block transfer",
}  # fmt: skip
CIPHERED = frozenset((*range(0xC8, 0xD8), 0x21, 0x28, 0xDB, 0xDC, 0xDD, 0xDF))
RESULTS = {
    1: "hardware-fault", 2: "temporary-failure", 3: "read-write-denied", 4: "object-undefined",
    9: "object-class-inconsistent", 11: "object-unavailable", 12: "type-unmatched", 13: "scope-of-access-violated",
    14: "data-block-unavailable", 15: "long-get-aborted", 16: "no-long-get-in-progress", 17: "long-set-aborted",
    18: "no-long-set-in-progress", 19: "data-block-number-invalid", 250: "other-reason",
}  # fmt: skip
_STATE = {1: "service-not-allowed", 2: "service-unknown"}
_SERVICE = {
    1: "operation-not-possible", 2: "service-not-supported", 3: "other-reason", 4: "pdu-too-long",
    5: "deciphering-error", 6: "invocation-counter-error",
}  # fmt: skip
GENERAL_BLOCK = 0xE0
_PUSH_SETUP = 40  # its class
_INTEGER, _LONG_UNSIGNED = 0x0F, 0x12
_CONTEXTS = {1: "LN", 2: "SN", 3: "LN ciphered", 4: "SN ciphered"}
_DIAGNOSTICS = {
    0: "", 1: "no-reason-given", 2: "application-context-name-not-supported", 11: "mechanism-name-not-recognised",
    12: "mechanism-name-required", 13: "authentication-failure", 14: "authentication-required",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attribute:
    """A COSEM attribute: class, OBIS code as text, number."""

    class_id: int
    code: str
    attribute: int

    @property
    def item(self) -> str:
        """The code; with the attribute's number if it is not the value (2)."""
        return self.code if self.attribute == 2 else f"{self.code} attribute {self.attribute}"


@dataclass(frozen=True, slots=True)
class Block:
    """Part of a long answer."""

    number: int
    last: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Apdu:
    """One message. ``results``: of an answer, Data or the name of the data-access-result, in order."""

    tag: int
    name: str
    invoke: int | None = None
    attributes: tuple[Attribute, ...] = ()
    results: tuple[Data | str, ...] = ()
    block: Block | None = None
    listed: bool = False
    error: str = ""
    moment: str = ""
    ciphered: bytes = b""
    detail: dict[str, object] = field(default_factory=dict)

    @property
    def request(self) -> bool:
        """Whether a client sends it."""
        return from_client(self.tag)


def from_client(tag: int) -> bool:
    """Whether a client sends APDUs of this tag, where the tag says so."""
    return tag in (0x60, 0x62, 0xC0, 0xC1, 0xC3, 0x01, 0xC8, 0xC9, 0xCB, 0xD0, 0xD1, 0xD3, 0x21)


def parse(data: bytes) -> Apdu:
    """One APDU; Malformed if it is broken or bytes are left over."""
    reader = Reader(data)
    tag = reader.byte()
    name = NAMES.get(tag, "ciphered" if tag in CIPHERED else f"APDU {tag:02X}")
    if tag in CIPHERED:
        return Apdu(tag, name, ciphered=data)
    if tag in (0x60, 0x61, 0x62, 0x63):
        return _association(tag, name, reader)
    known = {
        0xC0: _get_request,
        0xC4: _get_response,
        0x0F: _notification,
        0xC2: _event,
        0xD8: _exception,
        0xE0: _general_block,
        0x0E: _service_error,
    }.get(tag)
    if known is None:
        return Apdu(tag, name, detail={"data": data[1:].hex(" ").upper()})
    found = known(tag, name, reader)
    if reader.left:
        raise Malformed(f"{reader.left} bytes are left over after the {name}")
    return found


def _descriptor(reader: Reader) -> Attribute:
    class_id, code, number = reader.number(2), obis.of_bytes(reader.take(6)), reader.number(1)
    return Attribute(class_id, code, number)


def _selected(reader: Reader) -> Attribute:
    found = _descriptor(reader)
    if reader.byte():
        reader.byte()
        reader.value()
    return found


def _get_request(tag: int, name: str, reader: Reader) -> Apdu:
    kind, invoke = reader.byte(), reader.byte()
    if kind == 1:
        return Apdu(tag, name, invoke, (_selected(reader),))
    if kind == 2:
        return Apdu(tag, name, invoke, detail={"next block": reader.number(4)})
    if kind == 3:
        count = reader.length()
        return Apdu(
            tag, name, invoke, tuple(_selected(reader) for _ in range(min(count, reader.left))), listed=True
        )
    raise Malformed(f"GET request of kind {kind} does not exist")


def result_list(reader: Reader) -> tuple[Data | str, ...]:
    """The results of a GET with list."""
    count = reader.length()
    if count > reader.left:
        raise Malformed(f"{count} results are announced, {reader.left} bytes are left")
    return tuple(_result(reader) for _ in range(count))


def _result(reader: Reader) -> Data | str:
    choice = reader.byte()
    if choice == 0:
        return reader.value()
    if choice == 1:
        return refusal(reader.byte())
    raise Malformed(f"choice {choice} of a result does not exist")


def refusal(code: int) -> str:
    """A data-access-result in words."""
    return RESULTS.get(code, f"data-access-result {code}")


def _get_response(tag: int, name: str, reader: Reader) -> Apdu:
    kind, invoke = reader.byte(), reader.byte()
    if kind == 1:
        result = _result(reader)
        return Apdu(tag, name, invoke, results=(result,), error=result if isinstance(result, str) else "")
    if kind == 2:
        last, number = bool(reader.byte()), reader.number(4)
        if reader.byte():
            return Apdu(tag, name, invoke, error=refusal(reader.byte()))
        return Apdu(tag, name, invoke, block=Block(number, last, reader.take(reader.length())))
    if kind == 3:
        return Apdu(tag, name, invoke, results=result_list(reader), listed=True)
    raise Malformed(f"GET response of kind {kind} does not exist")


def _notification(tag: int, name: str, reader: Reader) -> Apdu:
    invoke, length = reader.number(4), reader.length()
    if length == OCTETS:  # Kaifa meters write the tag of an octet string before the length 12
        length = reader.length()
    if length not in (0, 12):
        raise Malformed(f"the date-time of a {name} has 0 or 12 bytes, not {length}")
    when = reader.take(length)
    return Apdu(tag, name, invoke, results=(reader.value(),), moment=(moment(when) or "") if when else "")


def _event(tag: int, name: str, reader: Reader) -> Apdu:
    when = reader.take(reader.length()) if reader.byte() else b""
    attribute = _descriptor(reader)
    return Apdu(
        tag,
        name,
        attributes=(attribute,),
        results=(reader.value(),),
        moment=(moment(when) or "") if when else "",
    )


def _exception(tag: int, name: str, reader: Reader) -> Apdu:
    state, service = reader.byte(), reader.byte()
    if service == 6 and reader.left:
        reader.take(4)
    words = f"{_STATE.get(state, f'state {state}')}, {_SERVICE.get(service, f'service error {service}')}"
    return Apdu(tag, name, error=f"exception: {words}")


def _general_block(tag: int, name: str, reader: Reader) -> Apdu:
    """A block of any APDU, or (without data) the confirmation of the other side's (IEC 62056-5-3, clause 7)."""
    control, number, confirmed = reader.byte(), reader.number(2), reader.number(2)
    data = reader.take(reader.length())
    block = Block(number, bool(control & 0x80), data) if data else None
    return Apdu(tag, name, block=block, detail={} if data else {"confirmed": confirmed})


def _service_error(tag: int, name: str, reader: Reader) -> Apdu:
    service, kind, code = reader.byte(), reader.byte(), reader.byte()
    return Apdu(tag, name, error=f"confirmed service error: service {service}, kind {kind}, code {code}")


def _association(tag: int, name: str, reader: Reader) -> Apdu:
    """AARQ, AARE and their release: BER; what matters of them."""
    inner = Reader(reader.take(reader.length()))
    if reader.left:
        raise Malformed(f"{reader.left} bytes are left over after the {name}")
    detail: dict[str, object] = {}
    error = ""
    while inner.left:
        field_tag = inner.byte()
        content = inner.take(inner.length())
        if field_tag == 0xA1 and tag in (0x60, 0x61) and content:
            detail["context"] = _CONTEXTS.get(content[-1], content.hex(" ").upper())
        elif field_tag == 0x8B and content and tag == 0x60:
            detail["mechanism"] = content[-1]
        elif field_tag == 0xA2 and tag == 0x61 and content[:2] == b"\x02\x01" and len(content) == 3:
            detail["accepted"] = content[2] == 0
            if content[2]:
                error = {1: "rejected-permanent", 2: "rejected-transient"}.get(
                    content[2], f"result {content[2]}"
                )
        elif field_tag == 0xA3 and tag == 0x61 and content:
            said = _DIAGNOSTICS.get(content[-1], f"diagnostic {content[-1]}")
            if said:
                detail["diagnostic"] = said
            error = f"{error}: {said}" if error and said else error
        elif field_tag == 0xBE and content[:1] == b"\x04" and len(content) > 2:
            detail |= _initiate(content[2:])
    return Apdu(tag, name, error=error, detail=detail)


def _initiate(data: bytes) -> dict[str, object]:
    """Of an InitiateResponse (08): what was negotiated."""
    if data[:1] == b"\x08" and len(data) >= 14 and data[1] == 0 and data[3:6] == b"\x5f\x1f\x04":
        return {
            "version": data[2],
            "conformance": data[7:10].hex().upper(),
            "max_pdu": int.from_bytes(data[10:12], "big"),
        }
    return {}


# ---- from data to indications ---------------------------------------------------------------------------------------


def indication(item: str, data: Data, scale: tuple[int, str] | None = None, *, code: str = "") -> Indication:
    """One value; a number without scaler and unit is told as it stands, without a name."""
    unit = scale[1] if scale else ""
    name = obis.measurand(code, unit) if code and (scale or not data.numeric) else ""
    if data.missing is not None:
        return Indication(item, name, None, unit, data.missing)
    if data.number is not None:
        if scale is None:
            return Indication(item, "", data.number, "", None, "unscaled: no scaler and unit in the capture")
        return Indication(item, name, scaled(data.number, Decimal(1).scaleb(scale[0])), unit)
    if data.tag == NULL or (data.tag == OCTETS and not data.raw):
        return Indication(item, name, None, unit, Missing.NOT_SUPPORTED)
    if data.container:
        return Indication(item, "", None, "", Missing.UNKNOWN_FORMAT, f"{len(data.parts)} elements")
    return Indication(item, name, None, unit, Missing.NOT_NUMERIC, data.text)


def _code(data: Data) -> str:
    """The OBIS code that an octet string of six bytes is; empty if it is none."""
    if data.tag != OCTETS or len(data.raw) != 6 or data.raw[0] > 15:
        return ""
    return obis.of_bytes(data.raw)


def captured(data: Data) -> Attribute | None:
    """The attribute that a capture object definition (class, code, attribute, index) names; None if it is none."""
    if data.tag != STRUCTURE or len(data.parts) != 4:
        return None
    class_id, code, number, index = data.parts
    if (class_id.tag, number.tag, index.tag) != (_LONG_UNSIGNED, _INTEGER, _LONG_UNSIGNED) or not _code(code):
        return None
    if class_id.number is None or number.number is None:
        return None
    return Attribute(int(class_id.number), _code(code), int(number.number))


def _described(parts: tuple[Data, ...]) -> Iterator[Indication] | None:
    """A push that begins with the list of what it holds: each value by its place in that list.

    The list is itself the first of its objects (a push setup's), or describes only what follows it.
    """
    objects = [captured(one) for one in parts[0].parts] if parts and parts[0].tag == ARRAY else []
    first = objects[0] if objects else None
    if first is not None and (first.class_id, first.attribute) == (_PUSH_SETUP, 2):
        objects = objects[1:]
    told = [(a, v) for a, v in zip(objects, parts[1:], strict=False) if a is not None]
    if first is None or not len(told) == len(objects) == len(parts) - 1:
        return None
    scales = {a.code: s for a, v in told if a.attribute in (3, 4) and (s := scaler_unit(v)) is not None}
    return (
        i for attribute, value in told for i in _of_attribute(attribute, value, scales.get(attribute.code))
    )


def _of_attribute(attribute: Attribute, value: Data, scale: tuple[int, str] | None) -> Iterator[Indication]:
    if attribute.attribute in (3, 4) and (own := scaler_unit(value)) is not None:
        text = f"scaler {own[0]}, unit {own[1]}"
        yield Indication(attribute.item, "", None, "", Missing.NOT_NUMERIC, text)
    elif value.container:
        yield from readings(value, attribute.item)
    elif attribute.attribute == 2:
        yield indication(attribute.item, value, scale, code=attribute.code)
    else:
        yield indication(attribute.item, value)


def readings(data: Data, path: str = "") -> Iterator[Indication]:
    """Pushed data to indications: an OBIS code names the value after it, a scaler_unit after that scales it.

    Values without a code are named by their place, as in ``2.1``. What a list of capture objects names is no value.
    """
    parts = data.parts if data.container else (data,)
    if data.tag == STRUCTURE and (described := _described(parts)) is not None:
        yield from described
        return
    if (named := captured(data)) is not None:
        detail = f"class {named.class_id}, attribute {named.attribute}: named, not told"
        yield Indication(path or "1", "", None, "", Missing.NOT_NUMERIC, f"{named.code} {detail}")
        return
    at = 0
    while at < len(parts):
        one = parts[at]
        place = f"{path}.{at + 1}" if path else str(at + 1)
        following = parts[at + 1] if at + 1 < len(parts) else None
        code = _code(one)
        if code and following is not None and not following.container and not _code(following):
            scale = scaler_unit(parts[at + 2]) if at + 2 < len(parts) else None
            yield indication(code, following, scale, code=code)
            at += 3 if scale else 2
            continue
        if one.container:
            yield from readings(one, place)
        else:
            yield indication(place, one)
        at += 1
