"""A DL/T 645-2007 meter: what it answers to each request (annex A for the items, clause 7 for the exchanges).

It answers to its own address, to addresses whose high digits are AA, and to "read address" (13) with AA
throughout; 99 is broadcast and gets no answer. Ordered to freeze (16, data 99999999: now) it keeps what it shows, and
the last three of these are read as items 0501xxnn. What it does not have is refused with error word 02; writing
with 04.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from sim.framing import Dlt645Request, dlt645_frame, dlt645_request
from sim.instrument import Indications, Meter, rounded

NO_SUCH_DATA, UNAUTHORISED, OTHER_ERROR = 0x02, 0x04, 0x01
_READ, _FOLLOW, _READ_ADDRESS, _BROADCAST_TIME, _FREEZE = 0x11, 0x12, 0x13, 0x08, 0x16
_REFUSED = frozenset((0x03, 0x14, 0x15, 0x17, 0x18, 0x19, 0x1A, 0x1B))
_NOW = b"\x99" * 4
_INSTANT = 0x0501  # items of the instantaneous freeze
_PHASES = ("l1", "l2", "l3")

# DI3 DI2 -> measurand without its phase; octets, decimals, signed; does the block begin with the total?
_VARIABLES: Mapping[int, tuple[str, int, int, bool, bool]] = MappingProxyType(
    {
        0x0201: ("voltage", 2, 1, False, False),
        0x0202: ("current", 3, 3, True, False),
        0x0203: ("power.active", 3, 4, True, True),
        0x0204: ("power.reactive", 3, 4, True, True),
        0x0205: ("power.apparent", 3, 4, True, True),
        0x0206: ("power_factor", 2, 3, True, True),
    }
)
_ENERGIES: Mapping[int, tuple[str, bool]] = MappingProxyType(
    {
        0x0000: ("energy.active.total", True),
        0x0001: ("energy.active.import", False),
        0x0002: ("energy.active.export", False),
        0x0003: ("energy.reactive.import", True),
        0x0004: ("energy.reactive.export", True),
    }
)


def bcd(value: Decimal, octets: int, decimals: int, *, signed: bool = False) -> bytes:
    """Packed BCD, low byte first; too large a value shows as the largest (the display is full)."""
    steps = int(rounded(value, Decimal(1).scaleb(-decimals)).scaleb(decimals))
    most = 10 ** (2 * octets) - 1 if not signed else 8 * 10 ** (2 * octets - 1) - 1
    if not signed and steps < 0:
        steps = 0
    raw = bytearray.fromhex(f"{min(abs(steps), most):0{2 * octets}d}")
    if steps < 0:
        raw[0] |= 0x80
    return bytes(reversed(raw))


class Dlt645Meter:
    """The answering side of one meter.

    ``longest`` is how many data bytes an answer may hold before it is sent in parts (B1, then 92/B2).
    ``hours`` is what the meter's clock is ahead of UTC.
    """

    protocol = "dlt645-2007"

    def __init__(
        self, meter: Meter, address: str, *, preamble: int = 4, longest: int = 200, hours: int = 8
    ) -> None:
        digits = address.rjust(12, "0")
        if len(digits) != 12 or not digits.isdecimal():
            raise ValueError(f"{meter.id}: a DL/T 645 address has up to 12 decimal digits, not {address!r}")
        self.meter = meter
        self.address = digits
        self._wire = bytes.fromhex(digits)[::-1]
        self._preamble = b"\xfe" * preamble
        self._longest = longest
        self._hours = hours
        self._frozen: deque[tuple[datetime, Indications]] = deque(maxlen=3)  # the newest first
        self._parts: tuple[bytes, list[bytes]] = (b"", [])  # DI on the wire, what has not been fetched

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a sound request, or None for silence. ``show`` is called only when values are needed."""
        request = dlt645_request(frame)
        if request.control == _FREEZE and request.address in (b"\x99" * 6, self._wire):
            return self._freeze(request, show, t_us)
        if not self._addressed(request):
            return None
        if request.control == _READ_ADDRESS:
            return self._frame(0x93, self._wire)
        if request.address == b"\xaa" * 6 and request.control not in (_READ, _FOLLOW):
            return None
        if request.control == _READ:
            return self._read(request, show, t_us)
        if request.control == _FOLLOW:
            return self._follow(request)
        if request.control in _REFUSED:
            return self._error(request.control, UNAUTHORISED)
        return None  # broadcast time, and what the standard does not know

    def _freeze(self, request: Dlt645Request, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """At once only: what would be done each month, day or hour is not simulated."""
        if request.data == _NOW:
            self._frozen.appendleft((self._local(t_us), show()))
        return None if request.address == b"\x99" * 6 else self._frame(_FREEZE | 0x80, b"")

    def _frozen_item(self, which: int, n: int) -> bytes | None:
        """What was frozen at the ``n``-th last order; nothing yet: zeros."""
        if not 1 <= n <= 3:
            return None
        at, shown = self._frozen[n - 1] if len(self._frozen) >= n else (None, None)
        if which == 0:
            return bytes(5) if at is None else bytes.fromhex(at.strftime("%M%H%d%m%y"))
        if which == 0x10:
            if shown is None:
                return bytes(24)
            return b"".join(self._variable(family, 0xFF, shown) or b"" for family in (0x0203, 0x0204))
        if which not in _ENERGIES or not which:
            return None
        return bytes(20) if shown is None else self._energy(which, 0xFF, shown)

    def _addressed(self, request: Dlt645Request) -> bool:
        if request.address == b"\x99" * 6 or request.control in (_BROADCAST_TIME, _FREEZE):
            return False
        wanted = request.address
        significant = 6
        while significant and wanted[significant - 1] == 0xAA:
            significant -= 1
        return wanted[:significant] == self._wire[:significant]

    def _frame(self, control: int, data: bytes) -> bytes:
        return dlt645_frame(self._wire, control, data, self._preamble)

    def _error(self, control: int, word: int) -> bytes:
        return self._frame(control | 0xC0, bytes((word,)))

    def _read(self, request: Dlt645Request, show: Callable[[], Indications], t_us: int) -> bytes:
        if len(request.data) != 4:
            return self._error(_READ, OTHER_ERROR)
        data = self._item(int.from_bytes(request.data, "little"), show, t_us)
        if data is None:
            return self._error(_READ, NO_SUCH_DATA)
        room = self._longest - 4
        parts = [data[n : n + room] for n in range(0, len(data), room)]
        self._parts = (request.data, parts[1:])
        return self._frame(0xB1 if parts[1:] else 0x91, request.data + parts[0])

    def _follow(self, request: Dlt645Request) -> bytes:
        item, left = self._parts
        if len(request.data) != 5 or request.data[:4] != item or not left:
            return self._error(_FOLLOW, NO_SUCH_DATA)
        part, *rest = left
        self._parts = (item, rest)
        return self._frame(0xB2 if rest else 0x92, item + part + request.data[4:])

    def _item(self, di: int, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The data of an item or block, or None if the meter has no such thing."""
        family, which, last = di >> 16, di >> 8 & 0xFF, di & 0xFF
        if family in _ENERGIES and last == 0:
            return self._energy(family, which, show())
        if family == _INSTANT:
            return self._frozen_item(which, last)
        if family in _VARIABLES and last == 0:
            return self._variable(family, which, show())
        if di == 0x01010000:
            return self._demand(show())
        if di == 0x02800002:
            return bcd(show().values["frequency"], 2, 2)
        if di == 0x02800007:
            return bcd(show().values["temperature.meter"], 2, 1, signed=True)
        return self._parameter(di, show, t_us)

    def _energy(self, family: int, tariff: int, shown: Indications) -> bytes | None:
        name, signed = _ENERGIES[family]
        total = bcd(shown.values[name], 4, 2, signed=signed)
        if tariff == 0:
            return total
        if tariff != 0xFF and tariff > 4:
            return None
        # A meter without time-of-use: everything is counted in tariff 1.
        tariffs = [total, *[bytes(4)] * 3]
        return total + b"".join(tariffs) if tariff == 0xFF else tariffs[tariff - 1]

    @staticmethod
    def _variable(family: int, which: int, shown: Indications) -> bytes | None:
        name, octets, decimals, signed, with_total = _VARIABLES[family]
        places: tuple[str, ...] = ("total", *_PHASES) if with_total else _PHASES
        wanted: tuple[str, ...]
        if which == 0xFF:
            wanted = places
        elif which <= 3 and (which or with_total):
            wanted = (("total", *_PHASES)[which],)
        else:
            return None
        values = [shown.values.get(f"{name}.{place}") for place in wanted]
        return b"".join(
            b"\xff" * octets if v is None else bcd(v, octets, decimals, signed=signed) for v in values
        )

    def _demand(self, shown: Indications) -> bytes:
        ended = self._local(self.meter.maximum_demand(shown.t_us)[1])
        stamp = bytes.fromhex(ended.strftime("%M%H%d%m%y"))
        return bcd(shown.values["demand.active.import"], 3, 4) + stamp

    def _local(self, t_us: int) -> datetime:
        shown = self.meter.clock.shown(t_us)
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=shown, hours=self._hours)

    def _parameter(self, di: int, show: Callable[[], Indications], t_us: int) -> bytes | None:
        if di == 0x04000101:
            date = self._local(t_us)
            return bytes((date.isoweekday() % 7,)) + bytes.fromhex(date.strftime("%d%m%y"))
        if di == 0x04000102:
            return bytes.fromhex(self._local(t_us).strftime("%S%M%H"))
        if di == 0x04000401:
            return self._wire
        if di == 0x04000402:
            return bytes.fromhex(show().number.rjust(12, "0"))[::-1]
        if di == 0x04000306:
            return bcd(Decimal(round(self.meter.ct.ratio if self.meter.ct else 1)), 3, 0)
        if di == 0x04000307:
            return bcd(Decimal(round(self.meter.pt.ratio if self.meter.pt else 1)), 3, 0)
        return None
