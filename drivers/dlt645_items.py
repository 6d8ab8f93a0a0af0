"""From an answer's payload to its items: blocks split, numbers exact, and nothing guessed.

``split(di, length)`` turns a block (a byte FF, or a nibble F in 1997) into the items it holds, only where the standard
fixes their order and number; ``decode`` gives their indications, ``encode`` the payload that a meter would send.
A length other than the format's: no value. An item outside the table is reported with its bytes and no value.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from drivers import bcd
from drivers.codec import Indication, LocalProtocolError, Missing
from drivers.dlt645_tables import VARIABLES, Field, Item, Kind, describe, di_bytes, dotted

__all__ = ["Field", "Item", "Kind", "block", "decode", "describe", "encode", "split"]


def block(di: str) -> tuple[tuple[str, ...], bool] | None:
    """The DIs that a block may hold, in order, and whether it must hold all of them; None if ``di`` is no known block.

    Tariffs, settlement days and harmonics are as many as the meter has, counted from the first; phases are all or
    nothing, because of a short answer nobody can say which phase is missing.
    """
    if len(di) == 4:
        return _block_old(di)
    b = di_bytes(di)
    if b.count(0xFF) != 1 or b[0] == 0xFF:
        return None
    at = b.index(0xFF)
    whole = False
    if b[0] in (0, 1) and at in (2, 3):
        values = range(0x40) if at == 2 else range(0x0D)
    elif b[0] == 2 and b[1] in VARIABLES and at == 2:
        values, whole = range(0 if VARIABLES[b[1]][5] else 1, 4), True
    elif b[0] == 2 and b[1] in (0x0A, 0x0B) and at in (2, 3):
        values, whole = (range(1, 4), True) if at == 2 else (range(1, 0x16), False)
    elif di == "040005FF":
        values, whole = range(1, 8), True
    else:
        return None
    items = tuple(bytes((*b[:at], value, *b[at + 1 :])).hex().upper() for value in values)
    return (items, whole) if all(describe(item) for item in items) else None


def _block_old(di: str) -> tuple[tuple[str, ...], bool] | None:
    if di[3] != "F" or "F" in di[:3]:
        return None
    whole = di.startswith("B6")
    items = tuple(di[:3] + f"{n:X}" for n in range(15 if not whole else 4))
    known = tuple(item for item in items if describe(item))
    return (known, whole) if known else None


def split(di: str, length: int) -> tuple[Item, ...] | None:
    """The items of a payload of ``length`` bytes; None: unknown format; empty: the length does not fit."""
    one = describe(di, length)
    if one is not None:
        return (one,) if one.size == length else ()
    known = block(di)
    if known is None:
        return None
    dis, whole = known
    items: list[Item] = []
    left = length
    for item in map(describe, dis):
        if left == 0 or item is None or item.size > left:
            break
        items.append(item)
        left -= item.size
    if left or not items or (whole and len(items) != len(dis)):
        return ()
    return tuple(items)


# ---- bytes to indications and back ----------------------------------------------------------------------------------


def _field(item: Item, field: Field, raw: bytes) -> Indication:
    name = dotted(item.di, field.suffix)
    measurand = dotted(item.measurand, field.suffix) if item.measurand else ""
    if field.kind is Kind.NUMBER:
        value = bcd.number(raw, field.decimals, field.signed)
        if isinstance(value, Missing):
            return Indication(name, measurand, None, field.unit, value, raw.hex(" ").upper())
        return Indication(name, measurand, value, field.unit)
    text: str | None
    if field.kind is Kind.BITS:
        return Indication(name, measurand, None, "", Missing.NOT_NUMERIC, f"0x{raw[::-1].hex().upper()}")
    if all(byte == 0xFF for byte in raw):
        return Indication(name, measurand, None, "", Missing.NOT_SUPPORTED, raw.hex(" ").upper())
    if field.kind is Kind.STAMP:
        text = bcd.stamp(raw, field.layout)
    elif field.kind is Kind.DIGITS:
        text = bcd.digits(raw)
    else:
        stripped = raw[::-1].strip(b"\x00 ")
        text = stripped.decode("ascii") if all(0x20 <= byte < 0x7F for byte in stripped) else None
    if text is None:
        return Indication(name, measurand, None, "", Missing.NOT_A_NUMBER, raw.hex(" ").upper())
    return Indication(name, measurand, None, "", Missing.NOT_NUMERIC, text)


def decode(di: str, payload: bytes) -> tuple[Indication, ...]:
    """The indications of one answer's payload (after the DI, +33 removed). Never raises, never guesses."""
    items = split(di, len(payload))
    raw = payload.hex(" ").upper()
    if items is None:
        return (Indication(di, "", None, "", Missing.UNKNOWN_FORMAT, raw),)
    if not items:
        one = describe(di, len(payload))
        wanted = f"{di} has {one.size} bytes" if one else f"{di} is a block"
        detail = f"{wanted}, {len(payload)} came: {raw}"
        return (Indication(di, one.measurand if one else "", None, "", Missing.WRONG_LENGTH, detail),)
    found: list[Indication] = []
    at = 0
    for item in items:
        for field in item.fields:
            found.append(_field(item, field, payload[at : at + field.size]))
            at += field.size
    return tuple(found)


def encode(di: str, values: Mapping[str, Decimal | str | None], count: int | None = None) -> bytes | None:
    """The payload a meter sends for ``di``, from values by item name; None if the format is unknown.

    What is not in ``values`` (or None there) is filled with FF: not supported. ``count`` limits a block of tariffs,
    settlement days or harmonics; without it the block ends at the last item that has a value.
    """
    one = describe(di)
    known = None if one else block(di)
    if one is None and known is None:
        return None
    items = [one] if one else [item for item in map(describe, known[0]) if item] if known else []
    if known and not known[1]:
        if count is None:
            named = [n for n, item in enumerate(items) if values.get(item.di) is not None]
            count = (max(named) + 1) if named else 1
        items = items[:count]
    out = bytearray()
    for item in items:
        for field in item.fields:
            out += _encode_field(values.get(dotted(item.di, field.suffix)), field)
    return bytes(out)


def _encode_field(value: Decimal | str | None, field: Field) -> bytes:
    if value is None:
        return b"\xff" * field.size
    if field.kind is Kind.NUMBER:
        return bcd.encode_number(Decimal(value), field.size, field.decimals, field.signed)
    if not isinstance(value, str):
        raise LocalProtocolError(f"a {field.kind} is given as text, not {value!r}")
    if field.kind is Kind.STAMP:
        return bcd.encode_stamp(value, field.layout)
    if field.kind is Kind.TEXT:
        return value.encode("ascii")[: field.size].ljust(field.size, b"\x00")[::-1]
    digits = value.removeprefix("0x").rjust(field.size * 2, "0")
    return bytes.fromhex(digits)[::-1]
