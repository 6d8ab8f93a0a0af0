"""A meter read by IEC 62056-21 (modes A, B and C): what it answers, and the rate at which it does.

Written apart from ``drivers`` on purpose (see ``sim.framing``). A meter waits at 300 baud; the option select (mode C)
or its own identification (mode B) takes it to another rate until its readout is over (see ``sim.iec62056_line``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import reduce
from operator import xor
from types import MappingProxyType

from sim.instrument import Indications, Meter

FIRST_BAUD = 300
BITS = 10  # of one character: 7E1
_ACK, _NAK = b"\x06", b"\x15"
_BAUDS_C: Mapping[str, int] = MappingProxyType(
    dict(zip("0123456", (300 << n for n in range(7)), strict=True))
)
_BAUDS_B: Mapping[str, int] = MappingProxyType(dict(zip("ABCDEF", (600 << n for n in range(6)), strict=True)))
_RATES = tuple(_BAUDS_C.values())
_LINE = re.compile(
    rb"/\?[^!\r\n]{0,32}!\r\n|\x06[0-9][0-9A-Z]{2}\r\n|\x01[A-Z][0-9][^\x03]*\x03.|[\x06\x15]", re.DOTALL
)
_BEGUN = re.compile(
    rb"(/(\?[^!\r\n]{0,32}(!\r?)?)?|\x06[0-9]([0-9A-Z]([0-9A-Z]\r?)?)?|\x01[^\x03]*\x03?)\Z", re.DOTALL
)


def sealed(text: str, *, more: bool = False) -> bytes:
    """STX, text, ETX (EOT if blocks follow) and the BCC: XOR of all behind STX."""
    body = text.encode("ascii") + (b"\x04" if more else b"\x03")
    check = 0
    for byte in body:
        check ^= byte
    return b"\x02" + body + bytes((check,))


def _resealed(answer: bytes, text: str) -> bytes:
    return sealed(text, more=answer[-2] == 4)


class Iec62056Framing:
    """Messages of the master, and how an answer can be wrong: a readout says whose it is by the number in it."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Whole messages anywhere in the stream."""
        found = []
        while heard:
            if (whole := _LINE.match(heard)) and not (heard[:1] == _ACK and _BEGUN.match(heard)):
                found.append(whole.group())
                del heard[: whole.end()]
            elif _BEGUN.match(heard):
                break
            else:
                del heard[:1]
        return found

    def readdressed(self, answer: bytes) -> bytes:
        """The number in the readout changed; of an identification the last character of the type."""
        if answer[:1] == b"/":
            return answer[:-3] + bytes((answer[-3] ^ 1,)) + answer[-2:]
        text = _text(answer)
        return _resealed(answer, re.sub(r"(C\.1\.0[^(]*\()(\d+)", lambda m: f"{m[1]}{m[2][::-1]}7", text))

    def other_item(self, answer: bytes) -> bytes:
        """Each register's first tariff in place of its total; of an identification: a refusal."""
        if answer[:1] == b"/":
            return sealed("(ER01)")
        return _resealed(answer, re.sub(r"\.([78])\.0(?=[*(])", r".\1.1", _text(answer)))

    def shortened(self, answer: bytes) -> bytes:
        """The last line of the readout missing; of an identification the last character."""
        if answer[:1] == b"/":
            return answer[:-3] + answer[-2:]
        lines = _text(answer).splitlines(keepends=True)
        at = -2 if lines[-1:] == ["!\r\n"] else -1
        return _resealed(answer, "".join(lines[:at] + lines[len(lines) + at + 1 :]))

    def unsealed(self, answer: bytes) -> bytes:
        """Another BCC; an identification, which has none, without its end."""
        return answer[:-1] + (b"" if answer[:1] == b"/" else bytes((answer[-1] ^ 1,)))


def _text(answer: bytes) -> str:
    return answer[1:-2].decode("ascii")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a readout: code as printed, what it shows, its unit, digits before and behind the point.

    ``per_unit``: what the line counts in one of the meter's units (kWh told in Wh: 1000).
    """

    code: str
    measurand: str
    unit: str
    whole: int
    decimals: int
    per_unit: Decimal = Decimal(1)

    def text(self, value: Decimal) -> str:
        """``1-0:1.8.0*255(0000502.853*kWh)``. Registers are cut and roll over."""
        counter = self.measurand.startswith("energy.")
        steps = (value * self.per_unit).scaleb(self.decimals)
        number = int(steps.to_integral_value(ROUND_FLOOR if counter else ROUND_HALF_EVEN))
        if counter:
            number %= 10 ** (self.whole + self.decimals)
        digits = f"{abs(number):0{self.whole + self.decimals}d}"
        point = len(digits) - self.decimals
        shown = digits[:point] + ("." + digits[point:] if self.decimals else "")
        return f"{self.code}({'-' if number < 0 else ''}{shown}{self.unit and '*'}{self.unit})\r\n"


_UNITS: Mapping[str, tuple[str, Decimal]] = MappingProxyType(
    {
        "kvar.h": ("kvarh", Decimal(1)),
        "kV.A": ("kVA", Decimal(1)),
        "kV.A.h": ("kVAh", Decimal(1)),
        "W": ("W", Decimal(1000)),
        "Wh": ("Wh", Decimal(1000)),
        "1": ("", Decimal(1)),
    }
)


def line_of(item: str, measurand: str, unit: str, step: Decimal) -> Line:
    """How a value of a profile is printed: registers in steps of ``step`` kWh, the rest with one or two decimals."""
    printed, per_unit = _UNITS.get(unit, (unit, Decimal(1)))
    code = item if ":" in item else f"1-0:{item}*255"
    if measurand.startswith("energy."):
        decimals = max(0, -(step * per_unit).normalize().adjusted())
        return Line(code, measurand, printed, 7, decimals, per_unit)
    decimals = 1 if measurand.startswith("voltage") else 3 if unit in ("kW", "kvar", "kV.A", "1") else 2
    return Line(code, measurand, printed, 3, decimals, per_unit)


class Iec62056Meter:
    """The answering side of one meter; the line tells it when a session has lapsed.

    ``address``: the number it hears to besides the empty one (the last digits of its number where empty). ``offer``:
    its baud character (0 to 6: mode C, A to F: mode B, else mode A). ``fixed``: a rate that it never leaves. ``block``:
    characters of one block of the readout, at most; 0: all in one.
    """

    protocol = "iec62056-21"

    def __init__(
        self,
        meter: Meter,
        address: str,
        lines: Sequence[Line],
        *,
        offer: str = "5",
        fixed: int = 0,
        block: int = 0,
        maker: str = "ISk",
        model: str = "MT174-0001",
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9 ]{0,32}", address):
            raise ValueError(
                f"{meter.id}: an IEC 62056-21 address is empty or up to 32 letters, digits and spaces, not {address!r}"
            )
        self.meter = meter
        self.address = address
        self.idle_baud = fixed or FIRST_BAUD
        self.baud = self.idle_baud
        """The rate of what it says next, and at which it listens after that."""
        self.unasked = False
        """Whether data follow what it has just said, without a further request."""
        self._lines = tuple(lines)
        self.bauds = frozenset((fixed,) if fixed else _RATES)
        self._offer, self._fixed, self._block = offer, bool(fixed), block
        self._greeting = f"/{maker}{offer}{model}\r\n".encode("ascii")
        self._selecting = False
        self._programming = False
        self._left: list[bytes] = []
        self._last = b""

    @property
    def over(self) -> bool:
        """Whether nothing of a session is left: it returns to its first rate."""
        return not (self._selecting or self._programming or self._left or self.unasked)

    def hang_up(self) -> None:
        """The session has lapsed."""
        self._selecting, self.unasked, self._left, self.baud = False, False, [], self.idle_baud
        self._programming = False

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a message, or None for silence. ``show`` is called only when values are needed."""
        if frame[:2] == b"/?":
            return self._sign_on(frame[2:-3].decode("latin-1").strip(), t_us)
        if len(frame) == 6 and self._selecting:
            return self._select(frame.decode("latin-1"), show(), t_us)
        if frame == _ACK and self._left:
            return self._next()
        if frame == _NAK and self._last:
            return self._last
        if frame[:1] == b"\x01":
            return self._command(frame, show)
        return None

    def _command(self, frame: bytes, show: Callable[[], Indications]) -> bytes | None:
        """The programming mode: R1 and R5 tell one register by its code, B0 ends it, nothing else is known."""
        asked = re.fullmatch(rb"\x01R[15]\x02([^()]*)\(\)\x03.", frame, re.DOTALL)
        if not self._programming or asked is None:
            self.hang_up()
            return None
        code, values = asked.group(1).decode("latin-1"), show().values
        for one in self._lines:
            if code in (one.code, one.code.rpartition(":")[2].partition("*")[0]) and one.measurand in values:
                return sealed(one.text(values[one.measurand]).rstrip("\r\n"))
        return sealed("(ER02)")

    def data(self, show: Callable[[], Indications], t_us: int) -> bytes:
        """Modes A and B: what follows the identification by itself."""
        self.unasked = False
        self.baud = self.idle_baud if self._fixed else _BAUDS_B.get(self._offer, self.idle_baud)
        self._left = self._blocks(show(), t_us)
        return self._next()

    def _sign_on(self, asked: str, t_us: int) -> bytes | None:
        self.hang_up()
        number = self.meter.number_at(t_us)
        own = self.address or number[-8:]
        if asked and asked.lstrip("0") != own.lstrip("0"):
            return None
        self._selecting = self._offer in _BAUDS_C
        self.unasked = not self._selecting
        return self._greeting

    def _select(self, option: str, shown: Indications, t_us: int) -> bytes | None:
        self._selecting = False
        if option[1] != "0" or option[3] not in "01":  # another protocol
            return None
        if not self._fixed:
            # Another rate than its own is not taken: it goes on at the first one.
            self.baud = _BAUDS_C[self._offer] if option[2] == self._offer else FIRST_BAUD
        if option[3] == "1":
            self._programming = True
            body = b"P0\x02(00000000)\x03"
            return b"\x01" + body + bytes((reduce(xor, body),))
        self._left = self._blocks(shown, t_us)
        return self._next()

    def _next(self) -> bytes:
        self._last = self._left.pop(0)
        return self._last

    def _blocks(self, shown: Indications, t_us: int) -> list[bytes]:
        number = self.meter.number_at(t_us)
        lines = [f"1-0:C.1.0*255({number[-8:]})\r\n"]
        lines += [
            one.text(shown.values[one.measurand]) for one in self._lines if one.measurand in shown.values
        ]
        text = "".join(lines) + "!\r\n"
        size = self._block or len(text)
        parts = [text[n : n + size] for n in range(0, len(text), size)]
        return [sealed(part, more=n < len(parts)) for n, part in enumerate(parts, start=1)]
