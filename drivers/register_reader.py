"""A block of registers read as one plan, made once: where each value stands, how it is unpacked, what scales it.

It gives what ``profile.register_value`` gives, point by point, in a fraction of the time; a test holds the two
together. What is out of the ordinary (other word orders, BCD, powers of ten in registers, transmitters) is left to it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from drivers import registers
from drivers.codec import Indication
from drivers.points import Point

Read = Callable[[Point, int, bytes], Indication]

_FORMATS = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "u64": ">Q", "i64": ">q", "f32": ">f"}


class _Place(NamedTuple):
    """One value. Without ``unpack`` it is read the long way."""

    point: Point
    where: str
    offset: int
    unpack: Callable[[bytes, int], tuple[float, ...]] | None
    float32: bool
    scale: Decimal | None
    sentinels: frozenset[float]
    low: Decimal | None
    high: Decimal | None


class Reader:
    """Reads the points of one query out of an answer's bytes."""

    __slots__ = ("_long_way", "_places", "_size", "_start")

    def __init__(self, points: Sequence[Point], start: int, long_way: Read) -> None:
        """``long_way`` reads any point out of bytes from a start address, limits included."""
        self._start = start
        self._long_way = long_way
        self._places = tuple(_place(point, start) for point in points)
        self._size = 2 * (max((point.end for point in points), default=start) - start)

    def read(self, payload: bytes) -> tuple[Indication, ...]:
        """One indication per point."""
        whole = len(payload) >= self._size
        found = []
        for point, where, offset, unpack, float32, scale, sentinels, low, high in self._places:
            if unpack is not None and whole:
                raw = unpack(payload, offset)[0]
                if raw not in sentinels and (not float32 or math.isfinite(raw)):
                    value = registers.shortest32(raw) if float32 else Decimal(raw)
                    if scale is not None:
                        value = registers.scaled(value, scale)
                    if (low is None or value >= low) and (high is None or value <= high):
                        found.append(Indication(where, point.measurand, value, point.unit))
                        continue
            found.append(self._long_way(point, self._start, payload))
        return tuple(found)


def _place(point: Point, start: int) -> _Place:
    form = _FORMATS.get(point.type)
    single = point.length == 1 and point.word_order in ("ABCD", "CDAB")
    ordinary = (
        form is not None
        and (point.word_order == "ABCD" or single)
        and struct.calcsize(form) == 2 * point.length
        and point.address >= start
        and point.scale_at is None
        and point.span is None
        and not (point.type == "f32" and point.sentinels)
    )
    bits = 16 * point.length
    signed = point.type.startswith("i")
    return _Place(
        point,
        point.where,
        2 * (point.address - start),
        struct.Struct(form).unpack_from if ordinary and form is not None else None,
        point.type == "f32",
        None if point.scale == 1 else point.scale,
        frozenset(s - (1 << bits) if signed and s >> (bits - 1) else s for s in point.sentinels),
        point.low,
        point.high,
    )
