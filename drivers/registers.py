"""Register words to exact decimals and back: integers, IEEE 754 floats and BCD in the four word orders.

A Modbus register is two bytes, high byte first. A value over several registers comes in one of four orders, named by
the bytes of a 32-bit value: ``ABCD`` (big-endian), ``CDAB`` (words swapped), ``BADC`` (bytes swapped within each word),
``DCBA`` (little-endian). A float becomes the shortest decimal that gives the same float back, as it would be typed:
43 C9 AA 46 is 403.33026 (403.3303 would be another float). NaN and infinity are missing, never a number.
"""

from __future__ import annotations

import math
import struct
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from drivers.codec import LocalProtocolError, Missing

_EXACT = Context(prec=60)  # no ambient precision or rounding reaches a value
_SUBNORMAL = 1.2e-38  # smaller floats have fewer digits

WORD_ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
# type -> registers; a BCD value states its own length
TYPES = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4, "f64": 4, "bcd": 0}


def arrange(raw: bytes, word_order: str) -> bytes:
    """Bytes as they came to big-endian, and back: each order is its own inverse."""
    if len(raw) == 0 or len(raw) % 2:
        raise LocalProtocolError(f"{len(raw)} bytes are no registers")
    if word_order == "ABCD":
        return raw
    if word_order == "DCBA":
        return raw[::-1]
    words = [raw[n : n + 2] for n in range(0, len(raw), 2)]
    if word_order == "CDAB":
        return b"".join(reversed(words))
    if word_order == "BADC":
        return b"".join(word[::-1] for word in words)
    raise LocalProtocolError(f"word order {word_order!r} is none of {', '.join(WORD_ORDERS)}")


def _plain(value: Decimal) -> Decimal:
    """Without exponent above zero, trailing zeros or minus zero, exactly."""
    if value == 0:
        return Decimal(0)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits)))
    while exponent < 0 and number % 10 == 0:
        number //= 10
        exponent += 1
    if exponent > 0:
        number *= 10**exponent
        exponent = 0
    return Decimal((sign, tuple(map(int, str(number))), exponent))


def shortest32(value: float) -> Decimal:
    """The shortest decimal that a 32-bit float is the nearest to; without exponent, trailing zeros or minus zero.

    Six digits, where they are enough, are also the shortest (they lie further apart than floats do).
    """
    raw = struct.pack(">f", value)
    for precision in range(6 if abs(value) > _SUBNORMAL else 1, 10):
        text = f"{value:.{precision}g}"
        try:
            again = struct.pack(">f", float(text))
        except OverflowError:
            continue  # rounded up beyond the largest float
        if again == raw:
            return _plain(Decimal(text)) if "e" in text or value == 0 else Decimal(text)
    raise AssertionError("nine digits tell every float32 apart")  # pragma: no cover


def decode(raw: bytes, kind: str, word_order: str = "ABCD") -> Decimal | Missing:
    """The number in ``raw`` (as it came): exact, unscaled; or why there is none."""
    size = TYPES.get(kind)
    if size is None:
        raise LocalProtocolError(f"type {kind!r} is none of {', '.join(TYPES)}")
    if len(raw) == 0 or len(raw) % 2 or (size and len(raw) != 2 * size):
        return Missing.WRONG_LENGTH
    big = arrange(raw, word_order)
    if kind == "f32":
        (value,) = struct.unpack(">f", big)
        return shortest32(value) if math.isfinite(value) else Missing.NOT_A_NUMBER
    if kind == "f64":
        (value,) = struct.unpack(">d", big)
        return _plain(Decimal(repr(value))) if math.isfinite(value) else Missing.NOT_A_NUMBER
    if kind == "bcd":
        text = big.hex()
        return Decimal(int(text)) if text.isdecimal() else Missing.NOT_A_NUMBER
    return Decimal(int.from_bytes(big, "big", signed=kind.startswith("i")))


def encode(value: Decimal, kind: str, word_order: str = "ABCD", registers: int | None = None) -> bytes:
    """The inverse of ``decode``; LocalProtocolError if the value has no such form."""
    if kind not in TYPES:
        raise LocalProtocolError(f"type {kind!r} is none of {', '.join(TYPES)}")
    size = 2 * (TYPES[kind] or registers or 1)
    try:
        if kind == "f32":
            big = struct.pack(">f", float(value))
        elif kind == "f64":
            big = struct.pack(">d", float(value))
        elif kind == "bcd":
            big = bytes.fromhex(str(_integer(value)).rjust(2 * size, "0"))
        else:
            big = _integer(value).to_bytes(size, "big", signed=kind.startswith("i"))
    except (OverflowError, ValueError, struct.error) as error:
        raise LocalProtocolError(f"{value} does not fit {kind}") from error
    if len(big) != size:
        raise LocalProtocolError(f"{value} does not fit {kind}")
    return arrange(big, word_order)


def _integer(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_EVEN))


def scaled(value: Decimal, scale: Decimal) -> Decimal:
    """``value * scale``, exact whatever the ambient precision; never minus zero."""
    product = _EXACT.multiply(value, scale)
    return product or product.copy_abs()


def unscaled(value: Decimal, scale: Decimal) -> Decimal:
    """The register value that stands for ``value``."""
    with localcontext() as context:
        context.prec = 60
        return value / scale
