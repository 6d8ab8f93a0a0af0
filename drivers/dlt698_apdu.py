"""The APDUs of DL/T 698.45: connections, GET, REPORT, refusals; data by their type tags, quantities by their OAD.

``parse`` reads one APDU whole or raises ``Malformed``. Numbers of an OAD that is in the table are scaled exactly; of
any other they are told as they stand, without unit. What a record (a freeze) holds keeps its unit, but not the name of
a present value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date as calendar_date
from decimal import Decimal
from typing import Any, TypeAlias

from drivers.axdr import NULL, OCTETS, UNITS, VISIBLE, Data, Malformed, Reader
from drivers.codec import Indication, Missing
from drivers.dlt698_tables import TEXTS, Quantity, quantity, refusal
from drivers.registers import scaled

NAMES = {
    0x01: "LINK request", 0x81: "LINK response", 0x02: "CONNECT request", 0x82: "CONNECT response",
    0x03: "RELEASE request", 0x83: "RELEASE response", 0x84: "RELEASE notification", 0x05: "GET request",
    0x85: "GET response", 0x06: "SET request", 0x86: "SET response", 0x07: "ACTION request", 0x87: "ACTION response",
    0x08: "REPORT response", 0x88: "REPORT notification", 0x09: "PROXY request", 0x89: "PROXY response",
    0x10: "SECURITY request", 0x90: "SECURITY response", 0xEE: "ERROR response",
}  # fmt: skip
_KINDS = {1: "normal", 2: "normal list", 3: "record", 4: "record list", 5: "next", 6: "MD5"}
_LINK = ("login", "heartbeat", "logout")
_CONNECTED = {
    0: "",
    1: "password error",
    2: "symmetric decryption error",
    3: "asymmetric decryption error",
} | {
    4: "signature error",
    5: "version does not agree",
    255: "other",
}
_BYTES = {0x50: 2, 0x51: 4, 0x53: 4, 0x54: 3, 0x5F: 5}
_TIMES = {0x19: 10, 0x1A: 5, 0x1B: 3, 0x1C: 7}


def stamp(raw: bytes) -> str | None:
    """date_time (10 bytes), date (5), time (3) or date_time_s (7) as text; None if it is no possible one."""
    if len(raw) == 3:
        hour, minute, second = raw
        return f"{hour:02d}:{minute:02d}:{second:02d}" if hour < 24 and minute < 60 and second < 60 else None
    try:
        day = calendar_date(int.from_bytes(raw[:2], "big"), raw[2], raw[3]).isoformat()
    except ValueError:
        return None
    if len(raw) == 5:
        return day
    clock = stamp(raw[4:7] if len(raw) == 7 else raw[5:8])
    if clock is None:
        return None
    milliseconds = int.from_bytes(raw[8:10], "big") if len(raw) == 10 else 0
    return f"{day} {clock}" + (f".{milliseconds:03d}" if 0 < milliseconds < 1000 else "")


class Reader698(Reader):
    """Data of DL/T 698.45: the types of A-XDR with times of their own and a few more."""

    def _content(self, tag: int, depth: int) -> Data:
        if tag in _TIMES:
            raw = self.take(_TIMES[tag])
            text = stamp(raw)
            if text is None:
                return Data(NULL) if set(raw) == {0xFF} else Data(OCTETS, raw=raw)
            return Data(VISIBLE, raw=text.encode("ascii"))
        if tag in _BYTES:
            return Data(OCTETS, raw=self.take(_BYTES[tag]))
        if tag == 0x52:
            return Data(OCTETS, raw=self.take(4) + b"".join(self.take(4) for _ in range(self.sequence())))
        if tag in (0x55, 0x56, 0x57):
            return Data(OCTETS, raw=self.take(self.length()))
        if tag == 0x58:
            self.byte()
            return Data(2, parts=(self.value(depth + 1), self.value(depth + 1)))
        if tag == 0x59:
            scaler, unit = self.take(2)
            words = f"scaler {scaler - 256 if scaler > 127 else scaler}, unit {UNITS.get(unit, unit)}"
            return Data(VISIBLE, raw=words.encode("ascii"))
        if tag == 0x5B:
            return Data(OCTETS, raw=bytes.fromhex("".join(self.column())))
        if tag == 0x5D:
            return Data(OCTETS, raw=self.take(4) + self.take(self.length()))
        if tag == 0x60:
            columns = [self.column() for _ in range(self.sequence())]
            return Data(OCTETS, raw=bytes.fromhex("".join("".join(c) for c in columns)))
        if tag in (0x0D, 0x13) or tag > 0x1C:
            raise Malformed(f"tag {tag:02X} at byte {self.at - 1} is no type of DL/T 698.45 data")
        return super()._content(tag, depth)

    def sequence(self) -> int:
        """How many elements a SEQUENCE OF has; each takes a byte at least."""
        count = self.length()
        if count > self.left:
            raise Malformed(f"{count} elements are announced, {self.left} bytes are left")
        return count

    def oad(self) -> str:
        """Four bytes of an OAD (or OMD) as hex."""
        return self.take(4).hex().upper()

    def column(self) -> tuple[str, ...]:
        """A CSD: one OAD, or a record's OAD with its related ones."""
        choice = self.byte()
        if choice == 0:
            return (self.oad(),)
        if choice == 1:
            first = self.oad()
            return (first, *(self.oad() for _ in range(self.sequence())))
        raise Malformed(f"choice {choice} of a column does not exist")


Value: TypeAlias = Data | str  # a str: the refusal


@dataclass(frozen=True, slots=True)
class Record:
    """Rows of a table: columns by OAD."""

    oad: str
    columns: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[Data, ...], ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Apdu:
    """One message; ``values`` and ``records`` of an answer or report, ``asked`` the OADs of a request."""

    tag: int
    name: str
    service: int | None = None
    values: tuple[tuple[str, Value], ...] = ()
    records: tuple[Record, ...] = ()
    asked: tuple[str, ...] = ()
    error: str = ""
    ciphered: bytes = b""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def from_meter(self) -> bool:
        """Tags of answers and reports have the high bit."""
        return bool(self.tag & 0x80)


def parse(data: bytes, depth: int = 0) -> Apdu:
    """One APDU; Malformed if it is broken or bytes are left over."""
    reader = Reader698(data)
    tag = reader.byte()
    name = NAMES.get(tag, f"APDU {tag:02X}")
    if tag in (0x10, 0x90):
        return _security(tag, name, reader, depth)
    how = {
        0x01: _link_request,
        0x81: _link_response,
        0x02: _connect_request,
        0x82: _connect_response,
        0x05: _get_request,
        0x85: _get_response,
        0x88: _report,
        0x08: _report_response,
        0x86: _done,
        0x87: _done,
        0x89: _proxy,
        0xEE: _error,
    }.get(tag)
    if how is None:
        service = reader.byte() if reader.left else None
        detail = {"data": data[2:].hex(" ").upper()} if data[2:] else {}
        return Apdu(tag, name, service, detail=detail)
    found = how(tag, name, reader)
    if reader.left:
        raise Malformed(f"{reader.left} bytes are left over after the {name}")
    return found


def _tail(reader: Reader698, *, answer: bool) -> dict[str, Any]:
    """What may follow: a report beside an answer, and a time tag."""
    detail: dict[str, Any] = {}
    if answer and reader.byte():
        choice = reader.byte()
        if choice == 1:
            detail["follow"] = _values(reader)
        elif choice == 2:
            detail["follow_records"] = _records(reader)
        else:
            raise Malformed(f"choice {choice} of a following report does not exist")
    if reader.byte():
        told = stamp(reader.take(7))
        reader.take(3)
        detail["time_tag"] = told or ""
    return detail


def _link_request(tag: int, name: str, reader: Reader698) -> Apdu:
    service, kind, interval = reader.byte(), reader.byte(), reader.number(2)
    what = _LINK[kind] if kind < len(_LINK) else str(kind)
    detail = {"link": what, "heartbeat_s": interval, "time": stamp(reader.take(10)) or ""}
    return Apdu(tag, name, service, detail=detail)


def _link_response(tag: int, name: str, reader: Reader698) -> Apdu:
    service, result = reader.byte(), reader.byte()
    times = [stamp(reader.take(10)) or "" for _ in range(3)]
    error = {0: "", 1: "address repeated", 2: "illegal device", 3: "not enough capacity"}
    detail = {"clock_trusted": bool(result & 0x80), "times": times}
    return Apdu(tag, name, service, error=error.get(result & 7, f"result {result & 7}"), detail=detail)


def _conformance(reader: Reader698) -> dict[str, Any]:
    return {
        "version": reader.number(2),
        "protocol_conformance": reader.take(8).hex().upper(),
        "function_conformance": reader.take(16).hex().upper(),
        "max_send": reader.number(2),
        "max_receive": reader.number(2),
        "window": reader.byte(),
        "max_apdu": reader.number(2),
        "timeout_s": reader.number(4),
    }


def _connect_request(tag: int, name: str, reader: Reader698) -> Apdu:
    service, detail = reader.byte(), _conformance(reader)
    mechanism = reader.byte()
    if mechanism == 1:
        reader.take(reader.length())
    elif mechanism in (2, 3):
        reader.take(reader.length())
        reader.take(reader.length())
    elif mechanism:
        raise Malformed(f"mechanism {mechanism} of a connection does not exist")
    detail["mechanism"] = ("none", "password", "symmetric", "signature")[mechanism]
    return Apdu(tag, name, service, detail=detail | _tail(reader, answer=False))


def _connect_response(tag: int, name: str, reader: Reader698) -> Apdu:
    service = reader.byte()
    factory = reader.take(32).decode("latin-1")
    detail = {"factory": "".join(c for c in factory if c.isprintable()).strip(), **_conformance(reader)}
    result = reader.byte()
    if reader.byte():
        reader.take(reader.length())
        reader.take(reader.length())
    error = _CONNECTED.get(result, f"result {result}")
    return _answered(reader, Apdu(tag, name, service, error=error, detail=detail))


def _answered(reader: Reader698, apdu: Apdu) -> Apdu:
    """An answer with what follows it; reports beside it join its values."""
    tail = _tail(reader, answer=True)
    values = apdu.values + tail.pop("follow", ())
    records = apdu.records + tail.pop("follow_records", ())
    return Apdu(
        apdu.tag,
        apdu.name,
        apdu.service,
        values,
        records,
        apdu.asked,
        apdu.error,
        b"",
        {**apdu.detail, **tail},
    )


def _get_request(tag: int, name: str, reader: Reader698) -> Apdu:
    kind, service = reader.byte(), reader.byte()
    detail: dict[str, Any] = {"kind": _KINDS.get(kind, str(kind))}
    asked: tuple[str, ...] = ()
    if kind == 1:
        asked = (reader.oad(),)
    elif kind == 2:
        asked = tuple(reader.oad() for _ in range(reader.sequence()))
    elif kind == 5:
        detail["block"] = reader.number(2)
    elif kind in (3, 4, 6):  # selections have many shapes: shown as they came
        if kind == 3:
            asked = (reader.oad(),)
        detail["data"] = reader.take(reader.left).hex(" ").upper()
        return Apdu(tag, name, service, asked=asked, detail=detail)
    else:
        raise Malformed(f"GET request of kind {kind} does not exist")
    return Apdu(tag, name, service, asked=asked, detail=detail | _tail(reader, answer=False))


def _value(reader: Reader698) -> Value:
    choice = reader.byte()
    if choice == 0:
        return refusal(reader.byte())
    if choice == 1:
        return reader.value()
    raise Malformed(f"choice {choice} of a result does not exist")


def _values(reader: Reader698) -> tuple[tuple[str, Value], ...]:
    return tuple((reader.oad(), _value(reader)) for _ in range(reader.sequence()))


def _record(reader: Reader698) -> Record:
    oad = reader.oad()
    columns = tuple(reader.column() for _ in range(reader.sequence()))
    choice = reader.byte()
    if choice == 0:
        return Record(oad, columns, refused=refusal(reader.byte()))
    if choice != 1:
        raise Malformed(f"choice {choice} of a record does not exist")
    count = reader.length()
    if not columns or count > reader.left:
        if count:
            raise Malformed(
                f"{count} rows of {len(columns)} columns are announced, {reader.left} bytes are left"
            )
        return Record(oad, columns)
    rows = tuple(tuple(reader.value() for _ in columns) for _ in range(count))
    return Record(oad, columns, rows)


def _records(reader: Reader698) -> tuple[Record, ...]:
    return tuple(_record(reader) for _ in range(reader.sequence()))


def _get_response(tag: int, name: str, reader: Reader698) -> Apdu:
    kind, service = reader.byte(), reader.byte()
    detail: dict[str, Any] = {"kind": _KINDS.get(kind, str(kind))}
    values: tuple[tuple[str, Value], ...] = ()
    records: tuple[Record, ...] = ()
    error = ""
    if kind == 1:
        values = ((reader.oad(), _value(reader)),)
    elif kind == 2:
        values = _values(reader)
    elif kind == 3:
        records = (_record(reader),)
    elif kind == 4:
        records = _records(reader)
    elif kind == 5:
        detail["block"] = {"last": bool(reader.byte()), "number": reader.number(2)}
        choice = reader.byte()
        if choice == 0:
            error = refusal(reader.byte())
        elif choice == 1:
            values = _values(reader)
        elif choice == 2:
            records = _records(reader)
        else:
            raise Malformed(f"choice {choice} of a block does not exist")
    else:
        raise Malformed(f"GET response of kind {kind} does not exist")
    if kind == 1 and isinstance(values[0][1], str):
        detail["item"], error, values = values[0][0], values[0][1], ()
    if kind == 3 and records[0].refused:
        detail["item"], error, records = records[0].oad, records[0].refused, ()
    return _answered(reader, Apdu(tag, name, service, values, records, error=error, detail=detail))


def _report(tag: int, name: str, reader: Reader698) -> Apdu:
    kind, service = reader.byte(), reader.byte()
    detail: dict[str, Any] = {
        "kind": {1: "normal list", 2: "record list", 3: "transparent data"}.get(kind, str(kind))
    }
    if kind == 1:
        return _answered(reader, Apdu(tag, name, service, _values(reader), detail=detail))
    if kind == 2:
        return _answered(reader, Apdu(tag, name, service, records=_records(reader), detail=detail))
    detail["data"] = reader.take(reader.left).hex(" ").upper()
    return Apdu(tag, name, service, detail=detail)


def _report_response(tag: int, name: str, reader: Reader698) -> Apdu:
    kind, service = reader.byte(), reader.byte()
    asked = tuple(reader.oad() for _ in range(reader.sequence())) if kind in (1, 2) else ()
    return Apdu(tag, name, service, asked=asked, detail=_tail(reader, answer=False))


def _done(tag: int, name: str, reader: Reader698) -> Apdu:
    """SET and ACTION responses: a DAR per object, of ACTION perhaps with data."""
    kind, service = reader.byte(), reader.byte()
    if kind not in (1, 2):
        return Apdu(tag, name, service, detail={"data": reader.take(reader.left).hex(" ").upper()})
    results: dict[str, str] = {}
    values: list[tuple[str, Value]] = []
    for _ in range(reader.sequence() if kind == 2 else 1):
        oad, code = reader.oad(), reader.byte()
        results[oad] = refusal(code)
        if tag == 0x87 and reader.byte():
            values.append((oad, reader.value()))
    bad = [f"{oad}: {words}" for oad, words in results.items() if not words.startswith("DAR 0:")]
    error = "; ".join(bad)
    return _answered(
        reader, Apdu(tag, name, service, tuple(values), error=error, detail={"results": results})
    )


def _proxy(tag: int, name: str, reader: Reader698) -> Apdu:
    kind, service = reader.byte(), reader.byte()
    if kind != 1:
        return Apdu(tag, name, service, detail={"data": reader.take(reader.left).hex(" ").upper()})
    values: list[tuple[str, Value]] = []
    for _ in range(reader.sequence()):
        server = reader.take(reader.length())[1:].hex().upper()
        values += [(f"{server} {oad}", value) for oad, value in _values(reader)]
    return _answered(reader, Apdu(tag, name, service, tuple(values), detail={"kind": "proxy get list"}))


def _error(tag: int, name: str, reader: Reader698) -> Apdu:
    service, kind = reader.byte(), reader.byte()
    words = {1: "the APDU cannot be parsed", 2: "service not supported", 255: "other"}.get(
        kind, f"type {kind}"
    )
    # Every APDU of a server may be followed by a report; some leave that byte out here.
    detail = _tail(reader, answer=reader.left > 1)
    return Apdu(tag, name, service, error=f"error answer: {words}", detail=detail)


def _security(tag: int, name: str, reader: Reader698, depth: int) -> Apdu:
    """A plain APDU inside is read; a ciphered one is not. The authentication code is not checked here."""
    choice, inner = reader.byte(), b""
    if choice in (0, 1):
        inner = reader.take(reader.length())
    if choice == 2 and tag == 0x90:
        return Apdu(tag, name, error=refusal(reader.byte()))
    if choice == 0 and inner and depth == 0:
        found = parse(inner, 1)
        found.detail["secured"] = "plain, with an authentication code that is not checked here"
        return found
    return Apdu(tag, name, ciphered=reader.data)


# ---- from data to indications ---------------------------------------------------------------------------------------


def indications(apdu: Apdu) -> tuple[Indication, ...]:
    """Everything that an answer or a report says."""
    found: list[Indication] = []
    if apdu.ciphered:
        detail = f"ciphered: {apdu.ciphered.hex(' ').upper()}"
        found.append(Indication("ciphered", "", None, "", Missing.UNKNOWN_FORMAT, detail))
    for oad, value in apdu.values:
        prefix, _, code = oad.rpartition(" ")
        found += _of_oad(code, value, f"{prefix} " if prefix else "", present=not prefix)
    for record in apdu.records:
        if record.refused:
            found.append(Indication(record.oad, "", None, "", Missing.ERROR_ANSWER, record.refused))
        for n, row in enumerate(record.rows, 1):
            for column, data in zip(record.columns, row, strict=True):
                where = f"{record.oad} row {n} "
                if len(column) == 1:
                    found += _of_oad(column[0], data, where, present=False)
                else:
                    found += _elements(f"{where}{'+'.join(column)}", data)
    return tuple(found)


def _of_oad(oad: str, value: Value, where: str, *, present: bool) -> Iterator[Indication]:
    """The value of one OAD; an array's elements have OADs of their own."""
    if isinstance(value, str):
        yield Indication(where + oad, "", None, "", Missing.ERROR_ANSWER, value)
        return
    oi, attribute, element = int(oad[:4], 16), int(oad[4:6], 16) & 0x1F, int(oad[6:], 16)
    known = quantity(oi, attribute)
    if value.tag == 1 and element == 0:
        for n, part in enumerate(value.parts, 1):
            item = f"{where}{oad[:6]}{n:02X}" if n < 256 else f"{where}{oad}.{n}"
            yield from _scaled(item, part, known, n, oi, present=present)
        if not value.parts:
            yield Indication(where + oad, "", None, "", Missing.NOT_SUPPORTED, "an empty array")
        return
    yield from _scaled(where + oad, value, known, element or 1, oi, present=present)


def _scaled(
    item: str, data: Data, known: Quantity | None, element: int, oi: int, *, present: bool
) -> Iterator[Indication]:
    if data.container:
        # A demand is its value and the time at which it occurred.
        if known is not None and 0x1000 <= oi < 0x1200 and len(data.parts) == 2 and data.parts[0].numeric:
            yield from _scaled(item, data.parts[0], known, element, oi, present=present)
            yield _plain(f"{item} time", data.parts[1], "")
        else:
            yield from _elements(item, data)
        return
    if known is None or not data.numeric:
        name = TEXTS.get(oi, "") if present and known is None and data.number is None else ""
        name = known.name(element) if known is not None and present else name
        plain = _plain(item, data, name)
        if oi in (0x4001, 0x4002) and data.tag == OCTETS and data.raw:
            plain = Indication(item, name, None, "", Missing.NOT_NUMERIC, data.raw.hex().upper())
        yield plain
        return
    name = known.name(element) if present else ""
    if data.number is None or data.tag not in (5, 6, 0x0F, 0x10, 0x11, 0x12, 0x14, 0x15):
        detail = f"type {data.tag:02X} is none of {known.title}"
        yield Indication(item, name, None, known.unit, data.missing or Missing.UNKNOWN_FORMAT, detail)
        return
    yield Indication(item, name, scaled(data.number, Decimal(1).scaleb(known.exponent)), known.unit)


def _plain(item: str, data: Data, name: str) -> Indication:
    if data.missing is not None:
        return Indication(item, name, None, "", data.missing)
    if data.number is not None:
        return Indication(item, "", data.number, "", None, "unscaled: the OAD is not in the table")
    if data.tag == NULL or (data.tag == OCTETS and not data.raw):
        return Indication(item, name, None, "", Missing.NOT_SUPPORTED)
    return Indication(item, name, None, "", Missing.NOT_NUMERIC, data.text)


def _elements(item: str, data: Data) -> Iterator[Indication]:
    if not data.container:
        yield _plain(item, data, "")
        return
    for n, part in enumerate(data.parts, 1):
        yield from _elements(f"{item}.{n}", part)
