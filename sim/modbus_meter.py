"""A Modbus meter: its register image, and what it answers on a serial line (Modbus application protocol V1.1b3).

The image comes from a profile's points (which register carries what); how a number is laid into registers is
written here a second time on purpose (see ``sim.framing``). Registers between the points read as 0, as
makers' reserved ones do; outside the map the answer is exception 2. An unknown function gets exception 1, an
impossible count exception 3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

from sim.framing import rtu_frame
from sim.instrument import Indications, Meter

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_MOST_REGISTERS = 125
_RESERVED = 40  # a gap between points longer than this is outside the map

# Our units to those that makers' registers use: multiply by.
_FACTORS: Mapping[tuple[str, str], Decimal] = MappingProxyType(
    {
        (base, prefix + base[1:]): factor
        for base in ("kWh", "kvar.h", "kW", "kvar", "kV.A", "kV.A.h")
        for prefix, factor in (("", Decimal(1000)), ("k", Decimal(1)), ("M", Decimal("0.001")))
    }
)
_BASE_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "energy.active": "kWh",
        "energy.reactive": "kvar.h",
        "power.active": "kW",
        "demand.active": "kW",
        "power.reactive": "kvar",
        "power.apparent": "kV.A",
    }
)
_TYPES = ("u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd")
_FLOATS: Mapping[str, str] = MappingProxyType({"f32": ">f", "f64": ">d"})


@dataclass(frozen=True, slots=True)
class Register:
    """One value of the map: where it stands and how it is written."""

    measurand: str
    function: int
    address: int
    type: str
    word_order: str
    scale: Decimal  # register times scale is the value in ``unit``
    unit: str
    count: int  # 16-bit registers
    absent: int | None = None  # what stands there if the meter has no such value; None: all ones
    constant: int | None = None  # always this, whatever the meter shows: a scale factor

    def __post_init__(self) -> None:
        if self.type not in _TYPES:
            raise ValueError(
                f"{self.measurand}: no register type {self.type!r}; there are {', '.join(_TYPES)}"
            )
        if self.type != "bcd" and int(self.type[1:]) != 16 * self.count:
            raise ValueError(f"{self.measurand}: {self.type} does not take {self.count} registers")

    def words(self, shown: Decimal | None) -> tuple[int, ...]:
        """The registers for a value in our base unit, or for its absence."""
        if self.constant is not None:
            packed = (self.constant % (1 << 16 * self.count)).to_bytes(2 * self.count, "big")
        elif shown is None:
            nothing = self.absent if self.absent is not None else 2 ** (16 * self.count) - 1
            packed = nothing.to_bytes(2 * self.count, "big")
        else:
            base = _BASE_UNITS.get(".".join(self.measurand.split(".")[:2]), self.unit)
            raw = shown * (Decimal(1) if base == self.unit else _FACTORS[base, self.unit]) / self.scale
            packed = _float(raw, self.type) if self.type in _FLOATS else self._integer(raw)
        return _ordered(struct.unpack(f">{self.count}H", packed), self.word_order)

    def _integer(self, raw: Decimal) -> bytes:
        """Energies are cut and roll over; what else is too large for its register shows as the largest."""
        bits = 16 * self.count
        energy = self.measurand.startswith("energy.")
        number = int(raw.to_integral_value(ROUND_FLOOR if energy else ROUND_HALF_EVEN))
        if self.type == "bcd":
            return bytes.fromhex(f"{max(0, number) % 10 ** (bits // 4):0{bits // 4}d}")
        signed = self.type.startswith("i")
        high = (1 << (bits - signed)) - 1
        low = -high - 1 if signed else 0
        number = number % (high + 1) if energy else max(low, min(high, number))
        return number.to_bytes(bits // 8, "big", signed=signed)


@dataclass(frozen=True, slots=True)
class Nameplate:
    """Where the meter's number stands: as text, or as many of its last digits as fit the registers."""

    function: int
    address: int
    type: str  # u16, u32, u64, bcd, text
    word_order: str
    count: int

    def words(self, number: str) -> tuple[int, ...]:
        """The registers that tell a number."""
        size = 2 * self.count
        if self.type == "text":
            packed = number.encode("ascii")[:size].ljust(size, b"\0")
        elif self.type == "bcd":
            packed = bytes.fromhex(number[-2 * size :].rjust(2 * size, "0"))
        else:
            digits = len(str(2 ** (8 * size) - 1)) - 1
            packed = int(number[-digits:]).to_bytes(size, "big")
        return _ordered(struct.unpack(f">{self.count}H", packed), self.word_order)


def _float(raw: Decimal, kind: str) -> bytes:
    return struct.pack(_FLOATS[kind], float(raw))


def _ordered(words: tuple[int, ...], order: str) -> tuple[int, ...]:
    if order in ("CDAB", "DCBA"):
        words = words[::-1]
    if order in ("BADC", "DCBA"):
        words = tuple((word & 0xFF) << 8 | word >> 8 for word in words)
    return words


class RegisterImage:
    """All registers of a meter, computed from its indications when they are read."""

    def __init__(self, registers: Sequence[Register], nameplate: Nameplate | None = None) -> None:
        numbers = (nameplate,) if nameplate else ()
        self._registers = sorted((*registers, *numbers), key=lambda r: (r.function, r.address))
        self.functions = frozenset(r.function for r in self._registers)
        self.spans = {function: self._spans(function) for function in self.functions}

    def _spans(self, function: int) -> tuple[tuple[int, int], ...]:
        """Readable stretches, (first address, one past the last)."""
        spans: list[tuple[int, int]] = []
        for register in self._registers:
            if register.function != function:
                continue
            end = register.address + register.count
            if spans and register.address - spans[-1][1] <= _RESERVED:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((register.address, end))
        return tuple(spans)

    def read(
        self, function: int, address: int, count: int, show: Callable[[], Indications]
    ) -> list[int] | int:
        """Registers, or the exception code as an int."""
        if function not in self.functions:
            return ILLEGAL_FUNCTION
        if not 1 <= count <= _MOST_REGISTERS:
            return ILLEGAL_VALUE
        if not any(first <= address and address + count <= end for first, end in self.spans[function]):
            return ILLEGAL_ADDRESS
        shown = show()
        words = [0] * count
        for register in self._registers:
            at = register.address - address
            if register.function != function or at >= count or at + register.count <= 0:
                continue
            if isinstance(register, Nameplate):
                told = register.words(shown.number)
            else:
                told = register.words(shown.values.get(register.measurand))
            for n, word in enumerate(told, start=at):
                if 0 <= n < count:
                    words[n] = word
        return words


class ModbusMeter:
    """The answering side of one meter on a serial line."""

    protocol = "modbus-rtu"

    def __init__(
        self, meter: Meter, unit: int, registers: Sequence[Register], nameplate: Nameplate | None = None
    ) -> None:
        if not 1 <= unit <= 247:
            raise ValueError(f"{meter.id}: a Modbus unit number is 1 to 247, not {unit}")
        self.meter = meter
        self.address = str(unit)
        self.unit = unit
        self.image = RegisterImage(registers, nameplate)

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:  # noqa: ARG002
        """The answer to a sound request, or None if it is for another unit (or for all)."""
        if frame[0] != self.unit:
            return None
        function = frame[1]
        address, count = struct.unpack(">HH", frame[2:6])
        result = self.image.read(function, address, count, show)
        if isinstance(result, int):
            return rtu_frame(bytes((self.unit, function | 0x80, result)))
        return rtu_frame(bytes((self.unit, function, 2 * count)) + struct.pack(f">{count}H", *result))
