"""The number of a meter's nameplate in its Modbus registers: where a profile says it stands, and how it reads.

A profile's ``[identity]``::

    [identity]
    function = 3
    address = 0xFC00                     # 0-based
    type = "u32"                         # u16, u32, u64, bcd with a length, or text with a length
    source = "…"                         # the document that says so; obligatory
    request = "01 03 …"; answer = "01 03 …"; number = "12345678"

A number of zeros alone, of ones alone, or with octets that are no text was never written: it tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers import registers
from drivers.codec import LocalProtocolError, Missing
from drivers.points import Nameplate

if TYPE_CHECKING:
    from drivers.profile_reader import Reader

TEXT = "text"
TYPES = ("u16", "u32", "u64", "bcd", TEXT)
_KEYS = {"function", "address", "type", "length", "word_order", "source", "request", "answer", "number"}
_LONGEST = 32  # registers


def number(place: Nameplate, payload: bytes) -> str:
    """What the registers say, as a nameplate would; empty if they say nothing."""
    if len(payload) != 2 * place.length or not payload.strip(b"\0") or not payload.strip(b"\xff"):
        return ""
    if place.type == TEXT:
        raw = registers.arrange(payload, place.word_order).split(b"\0")[0]
        text = raw.decode("ascii", "replace").strip()
        return text if text.isprintable() and "\ufffd" not in text and text.strip("0 ") else ""
    try:
        told = registers.decode(payload, place.type, place.word_order)
    except LocalProtocolError:
        return ""
    return "" if isinstance(told, Missing) else f"{told:f}"


def read(reader: Reader, protocol: str, raw: object) -> Nameplate | None:
    """A profile's ``[identity]``; None if it has none. ProfileError says where and what."""
    if raw is None:
        return None

    def fail(what: str, hint: str, key: str = "") -> Exception:
        return reader.fail(what, hint, "identity", 0, key)

    if not isinstance(raw, dict):
        raise reader.fail("'identity' must be a table", "write [identity]", "", 0, "identity")
    if protocol != "modbus":
        raise fail(f"{protocol} tells a meter's number by itself", "[identity] is for Modbus registers")
    reader.keys(raw, _KEYS, "identity")
    function = reader.integer(raw, "function", "identity", 0)
    if function not in (3, 4):
        raise fail(f"function {function}", "registers are read by 3 (holding) or 4 (input)", "function")
    kind = reader.text(raw, "type", "identity")
    if kind not in TYPES:
        raise fail(f"type {kind!r}", f"one of {', '.join(TYPES)}", "type")
    fixed = 0 if kind == TEXT else registers.TYPES[kind]
    length = reader.integer(raw, "length", "identity", 0, fixed or None)
    most = _LONGEST if kind == TEXT else 4
    if (fixed and length != fixed) or not 1 <= length <= most:
        raise fail(f"length {length} for {kind}", "registers that the number has", "length")
    address = reader.integer(raw, "address", "identity", 0)
    if not 0 <= address <= 0x10000 - length:
        raise fail(f"address {address}", "0-based, 0 to 65535", "address")
    order = reader.text(raw, "word_order", "identity", 0, "ABCD")
    if order not in registers.WORD_ORDERS:
        raise fail(f"word order {order!r}", f"one of {', '.join(registers.WORD_ORDERS)}", "word_order")
    source = reader.text(raw, "source", "identity")
    if not source.strip():
        raise fail("the source is empty", "say in which document the register is found", "source")
    return Nameplate(function, address, length, kind, order, source, *_exchange(reader, raw))


def _exchange(reader: Reader, raw: dict[str, Any]) -> tuple[bytes, bytes, str]:
    """The golden exchange: all of it, or nothing."""
    if not {"request", "answer", "number"} & set(raw):
        return b"", b"", ""
    request, answer = (reader.frame(raw, key, 0, "identity") for key in ("request", "answer"))
    return request, answer, reader.text(raw, "number", "identity")
