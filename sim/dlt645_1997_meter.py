"""A DL/T 645-1997 meter: the same frames as 2007's, with two-byte DIs and the functions 01, 02, 04 (annex A of 1997).

It shows magnitudes: the edition has no sign for power and power factor. What the meter does not have is refused;
writing as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from sim.dlt645_meter import bcd
from sim.framing import PREAMBLE, dlt645_frame, dlt645_request
from sim.instrument import Indications, Meter

ILLEGAL_DATA, NO_SUCH_ITEM = 0x01, 0x02
_READ, _BROADCAST_TIME = 0x01, 0x08
_REFUSED = frozenset((0x02, 0x03, 0x04, 0x0A, 0x0C, 0x0F, 0x10))
_ENERGIES: Mapping[int, str] = MappingProxyType(
    {
        0x901: "energy.active.import",
        0x902: "energy.active.export",
        0x911: "energy.reactive.import",
        0x912: "energy.reactive.export",
    }
)
# DI without its lowest digit -> measurand without its phase; octets, decimals; is digit 0 the total?
_VARIABLES: Mapping[int, tuple[str, int, int, bool]] = MappingProxyType(
    {
        0xB61: ("voltage", 2, 0, False),
        0xB62: ("current", 2, 2, False),
        0xB63: ("power.active", 3, 4, True),
        0xB64: ("power.reactive", 2, 2, True),
        0xB65: ("power_factor", 2, 3, True),
    }
)


class Dlt645Of1997Meter:
    """The answering side of one meter. ``hours`` is what its clock is ahead of UTC."""

    protocol = "dlt645-1997"

    def __init__(self, meter: Meter, address: str, *, hours: int = 8) -> None:
        digits = address.rjust(12, "0")
        if len(digits) != 12 or not digits.isdecimal():
            raise ValueError(f"{meter.id}: a DL/T 645 address has up to 12 decimal digits, not {address!r}")
        self.meter = meter
        self.address = digits
        self._wire = bytes.fromhex(digits)[::-1]
        self._hours = hours

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a sound request, or None for silence. ``show`` is called only when values are needed."""
        request = dlt645_request(frame)
        wanted = request.address.rstrip(b"\xaa")
        if not self._wire.startswith(wanted) or request.control == _BROADCAST_TIME:
            return None
        if request.control in _REFUSED:
            return self._frame(request.control | 0xC0, bytes((ILLEGAL_DATA,)))
        if request.control != _READ:
            return None  # a function that this edition does not know
        if len(request.data) != 2:
            return self._frame(0xC1, bytes((ILLEGAL_DATA,)))
        data = self._item(int.from_bytes(request.data, "little"), show, t_us)
        if data is None:
            return self._frame(0xC1, bytes((NO_SUCH_ITEM,)))
        return self._frame(0x81, request.data + data)

    def _frame(self, control: int, data: bytes) -> bytes:
        return dlt645_frame(self._wire, control, data, PREAMBLE)

    def _item(self, di: int, show: Callable[[], Indications], t_us: int) -> bytes | None:
        family, last = di >> 4, di & 0xF
        if family in _ENERGIES and last <= 4:
            # A meter without time-of-use: everything is counted in tariff 1.
            return bcd(show().values[_ENERGIES[family]], 4, 2) if last <= 1 else bytes(4)
        if family in _VARIABLES:
            name, octets, decimals, with_total = _VARIABLES[family]
            if last > 3 or not (last or with_total):
                return None
            value = show().values.get(f"{name}.l{last}" if last else f"{name}.total")
            return b"\xff" * octets if value is None else bcd(abs(value), octets, decimals)
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=self.meter.clock.shown(t_us), hours=self._hours
        )
        if di == 0xC010:
            return bytes((local.isoweekday() % 7,)) + bytes.fromhex(local.strftime("%d%m%y"))
        if di == 0xC011:
            return bytes.fromhex(local.strftime("%S%M%H"))
        if di == 0xC032:
            return bytes.fromhex(show().number.rjust(12, "0"))[::-1]
        return None
