"""Answers that may still be on their way, where an answer does not say what it answers (Modbus RTU and ASCII). Pure.

Such an answer is recognised by its shape alone: unit, function, bytes of data. A request that was not answered leaves a
*stray*: until it has come, or its time is over, no other request of the same shape may be asked, whatever else the
meter has answered meanwhile. A frame of the shape accounts for the oldest stray of that shape.

The same request again is another matter: the late answer to it holds the same registers, only read a little earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from drivers import modbus
from drivers.points import Query
from drivers.protocols import Request

Shape: TypeAlias = tuple[int, int | None]

_MOST = 16  # strays of one meter: with more, it is asked nothing more for a while


def shape(request: Request) -> Shape | None:
    """What an answer can be recognised by, where that is not the item: function and bytes of data (Modbus RTU)."""
    if isinstance(request, modbus.Request) and request.framing != "tcp":
        return request.function, request.answer_bytes
    return None


def halves(query: Query) -> Iterator[tuple[Query, Query]]:
    """All ways to ask a block of registers in two parts, no value in both."""
    points = query.points if query.protocol == "modbus" else ()
    for n in range(1, len(points)):
        yield _part(query, slice(None, n)), _part(query, slice(n, None))


def _part(query: Query, which: slice) -> Query:
    points = query.points[which]
    start = min(point.start for point in points)
    return replace(query, points=points, start=start, count=max(point.end for point in points) - start)


@dataclass(frozen=True, slots=True)
class _Stray:
    address: str
    request: Request
    shape: Shape
    asked: float  # loop time
    until: float


class Strays:
    """What may still come, of all meters of one line. Times are the loop's, in seconds."""

    def __init__(self) -> None:
        self._strays: list[_Stray] = []

    def __bool__(self) -> bool:
        return bool(self._strays)

    def asked(self, address: str, request: Request, now: float, fear_s: float) -> None:
        """A request goes out; its answer may come within ``fear_s``."""
        told = shape(request)
        if told is not None:
            self._strays = [stray for stray in self._strays if stray.until > now]
            self._strays.append(_Stray(address, request, told, now, now + fear_s))

    def answered(self, address: str, request: Request, *, refused: bool) -> None:
        """A frame was taken for the answer. A refusal may be a late one to another request: then nothing is over."""
        told = shape(request)
        mine = [stray for stray in self._strays if stray.address == address]
        if told is None or (refused and len(mine) > 1):
            return
        self._over(address, told)

    def came(self, raw: bytes) -> None:
        """A frame came that answered nothing asked then, whole or with a broken checksum (RTU)."""
        if len(raw) >= 5 and len(raw) == raw[2] + 5:
            self._over(str(raw[0]), (raw[1], raw[2]))

    def held_s(self, address: str, request: Request, now: float, since: float) -> float:
        """How long ``request`` must not be asked; 0 if it may. What was asked since ``since`` may be asked again."""
        told = shape(request)
        if told is None:
            return 0.0
        mine = [stray for stray in self._strays if stray.address == address and stray.until > now]
        if len(mine) < _MOST:
            mine = [s for s in mine if s.shape == told and not (s.request == request and s.asked >= since)]
        return max((stray.until - now for stray in mine), default=0.0)

    def shapes(self, address: str) -> set[Shape]:
        """The shapes that may still come from a meter."""
        return {stray.shape for stray in self._strays if stray.address == address}

    def _over(self, address: str, told: Shape) -> None:
        for n, stray in enumerate(self._strays):
            if (stray.address, stray.shape) == (address, told):
                del self._strays[n]
                return
