"""What a profile says of a meter: its points, its golden exchanges, and one exchange's worth of questions.

Plain immutable values; ``drivers.profile_file`` reads them, ``drivers.profile`` plans and decodes with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


class ProfileError(ValueError):
    """A profile that cannot be used as it stands: which file and line, what is wrong, what to do."""

    def __init__(self, file: str, line: int | None, what: str, hint: str = "") -> None:
        self.file, self.line, self.what, self.hint = file, line, what, hint
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {what}" + (f" ({hint})" if hint else ""))


@dataclass(frozen=True, slots=True)
class Point:
    """One measurand of a meter: where it is, how its bytes are read, what it may be.

    DL/T 645 points have ``item`` (and ``block``); Modbus points ``function``, ``address`` (0-based) and ``length`` in
    registers. value = raw * ``scale`` in ``unit``. ``modulus`` is where a counter begins again, in ``unit``.
    ``sentinels`` are raw unsigned register values that mean "not available".
    """

    measurand: str
    unit: str
    item: str = ""
    block: str = ""
    function: int = 0
    address: int = 0
    length: int = 0
    type: str = ""
    word_order: str = "ABCD"
    scale: Decimal = Decimal(1)
    resolution: Decimal | None = None
    side: str = "secondary"
    modulus: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    sentinels: tuple[int, ...] = ()
    maker_name: str = ""

    @property
    def end(self) -> int:
        """The first register after this point."""
        return self.address + self.length

    @property
    def where(self) -> str:
        """The protocol's own identifier: the DI, or ``4:12``."""
        return self.item or f"{self.function}:{self.address}"


@dataclass(frozen=True, slots=True)
class Vector:
    """A golden exchange: what is sent, what comes back, what it must give."""

    request: bytes
    answer: bytes
    expect: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Probe:
    """How to see that this model answers: one point and the range in which it is plausible."""

    point: str
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Profile:
    """One meter model."""

    name: str
    protocol: str
    maker: str
    model: str
    kind: str
    source: str
    points: tuple[Point, ...]
    vectors: tuple[Vector, ...] = ()
    probe: Probe | None = None
    firmware: str = ""
    most: int = 125
    holes: int = 8

    def point(self, measurand: str) -> Point:
        """The point that carries ``measurand``; KeyError names what there is."""
        for point in self.points:
            if point.measurand == measurand:
                return point
        have = ", ".join(point.measurand for point in self.points)
        raise KeyError(f"{self.name} has no {measurand!r}; it has {have}")


@dataclass(frozen=True, slots=True)
class Query:
    """One exchange's worth: what to ask (a DI, or ``count`` registers from ``start``) and the points it carries."""

    protocol: str
    points: tuple[Point, ...]
    item: str = ""
    function: int = 0
    start: int = 0
    count: int = 0
    kind: str = ""  # CJ/T 188: the meter's kind decides its type byte

    @property
    def where(self) -> str:
        """What is asked, in the protocol's own words."""
        return self.item or f"{self.function}:{self.start}+{self.count}"
