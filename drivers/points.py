"""What a profile says of a meter: its points, its golden exchanges, and one exchange's worth of questions.

Plain immutable values; ``drivers.profile_file`` reads them, ``drivers.profile`` plans and decodes with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

COUNTERS = ("energy.", "volume.", "mass.")
"""Measurands that count up; what happens between two readings is their difference, so their resolution counts."""

BY_SITE = "site"
"""A unit or basis that no profile can know: the site file has to state it."""

_MANTISSA = {"f32": 23, "f64": 52}
_DIGITS = Context(prec=15, rounding=ROUND_HALF_EVEN)


class ProfileError(ValueError):
    """A profile that cannot be used as it stands: which file and line, what is wrong, what to do."""

    def __init__(self, file: str, line: int | None, what: str, hint: str = "") -> None:
        self.file, self.line, self.what, self.hint = file, line, what, hint
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {what}" + (f" ({hint})" if hint else ""))


@dataclass(frozen=True, slots=True)
class Span:
    """A transmitter on an analogue input: ``signal_low`` to ``signal_high`` stand for ``low`` to ``high``.

    Signal limits after NAMUR NE 43 (configurable): beyond ``fault_low`` or ``fault_high`` the transmitter says that it
    is out of order; between those and ``under`` to ``over`` it is at the end of its range. Either way no value.
    """

    low: Decimal
    high: Decimal
    signal_low: Decimal = Decimal(4)
    signal_high: Decimal = Decimal(20)
    under: Decimal = Decimal("3.8")
    over: Decimal = Decimal("20.5")
    fault_low: Decimal = Decimal("3.6")
    fault_high: Decimal = Decimal(21)

    def __post_init__(self) -> None:
        limits = (self.fault_low, self.under, self.over, self.fault_high)
        if self.low == self.high or self.signal_low >= self.signal_high or list(limits) != sorted(limits):
            raise ValueError(
                "a span needs low ≠ high, signal_low < signal_high, and fault_low ≤ under ≤ over ≤ fault_high"
            )
        if not (self.under <= self.signal_low and self.signal_high <= self.over):
            raise ValueError("the signal's range lies outside its own limits under and over")

    @property
    def gain(self) -> Decimal:
        """Units of the quantity per unit of the signal."""
        return _DIGITS.divide(self.high - self.low, self.signal_high - self.signal_low)

    def value(self, signal: Decimal) -> Decimal:
        """What a signal stands for, to 15 digits."""
        with localcontext(_DIGITS):
            part = (signal - self.signal_low) * (self.high - self.low) / (self.signal_high - self.signal_low)
            return self.low + part

    def signal(self, value: Decimal) -> Decimal:
        """The signal that stands for a value: the inverse."""
        with localcontext(_DIGITS):
            part = (value - self.low) * (self.signal_high - self.signal_low) / (self.high - self.low)
            return self.signal_low + part


@dataclass(frozen=True, slots=True)
class Point:
    """One measurand of a meter: where it is, how its bytes are read, what it may be.

    DL/T 645 points have ``item`` (and ``block``); Modbus points ``function``, ``address`` (0-based) and ``length`` in
    registers. value = raw * ``scale`` in ``unit``; where ``scale_at`` is set, the register there holds a further power
    of ten (SunSpec). ``modulus`` is where a counter begins again, in ``unit``. ``sentinels`` are raw unsigned register
    values that mean "not available". ``basis`` of a gas concentration: ``wet`` or ``dry``. ``span``: the register is an
    analogue input, its value the signal of a transmitter.
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
    scale_at: int | None = None
    basis: str = ""
    span: Span | None = None
    note: str = ""

    @property
    def start(self) -> int:
        """The first register that its value needs."""
        return self.address if self.scale_at is None else min(self.address, self.scale_at)

    @property
    def end(self) -> int:
        """The first register after all that its value needs."""
        after = self.address + self.length
        return after if self.scale_at is None else max(after, self.scale_at + 1)

    @property
    def counts(self) -> bool:
        """Whether it is a counter: energy, volume, mass."""
        return self.measurand.startswith(COUNTERS)

    @property
    def spacing(self) -> Decimal:
        """How far two neighbouring register values lie apart just below the modulus, in ``unit``; 0 if unknown.

        A float32 register shows the ends of 2^24 steps and no more: at 1 000 000 kWh they are 0.0625 kWh apart,
        whatever the maker says of the meter's resolution.
        """
        if self.type not in _MANTISSA or self.modulus is None or self.modulus <= 0:
            return Decimal(0)
        with localcontext() as context:
            context.prec = 60
            raw, power = self.modulus / self.scale, 0
            while Decimal(2) ** power < raw:
                power += 1
            while power > -126 and Decimal(2) ** (power - 1) >= raw:
                power -= 1
            return Decimal(2) ** (power - 1 - _MANTISSA[self.type]) * self.scale

    def resolved(self) -> Point:
        """With the resolution that its register really has: the stated one, or the register's spacing if that is wider.

        An integer counter that states none counts in steps of its scale.
        """
        stated = self.resolution
        if (
            stated is None
            and self.counts
            and self.type
            and self.type not in _MANTISSA
            and self.scale_at is None
        ):
            stated = self.scale
        if stated is None or stated >= self.spacing:
            return self if stated == self.resolution else replace(self, resolution=stated)
        return replace(self, resolution=self.spacing)

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
class Nameplate:
    """Where a Modbus meter tells its number (``drivers.nameplate``), who says so, and a golden exchange."""

    function: int
    address: int
    length: int
    type: str
    word_order: str
    source: str
    request: bytes = b""
    answer: bytes = b""
    number: str = ""

    @property
    def where(self) -> str:
        """As of a point: ``3:64512``."""
        return f"{self.function}:{self.address}"


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
    nameplate: Nameplate | None = None
    number_at: str = ""  # DLMS: the attribute with the meter's number
    clock_at: str = ""  # DLMS: the one with its clock, if that is to be checked

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
    reader: object = field(
        default=None, init=False, compare=False, repr=False
    )  # how its answer is read, once known

    @property
    def where(self) -> str:
        """What is asked, in the protocol's own words."""
        return self.item or f"{self.function}:{self.start}+{self.count}"
