"""What others' parsers say of the same frames: where both accept one, both say the same numbers.

Every peer is optional (an extra of the tests) and independent of this project. Where a peer is known to be wrong, that
is said here, and such frames are not compared.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from drivers.codec import Indication
from drivers.decoded import DecodedFrame

Peer = Callable[[DecodedFrame], int]
"""Compares one frame's values with the peer's: how many were; AssertionError if one differs."""

FORMATS: Mapping[str, str] = {
    "0201": "XXX.X", "0202": "XXX.XXX", "0203": "XX.XXXX", "0204": "XX.XXXX", "0206": "X.XXX",
}  # fmt: skip


def _alike(mine: Indication, theirs: float | Decimal | int, scale: float = 0.0) -> None:
    assert mine.value is not None
    ours, other = float(mine.value), float(theirs)
    assert abs(ours - other) <= 1e-9 * max(abs(ours), abs(other), scale), f"{mine}, the peer says {theirs}"


def modbus_words(frame: DecodedFrame) -> int:
    """pymodbus: the registers of an answer to functions 3 and 4."""
    from pymodbus.exceptions import ModbusException
    from pymodbus.pdu import DecodePDU

    if frame.direction != "response" or frame.function not in ("3", "4"):
        return 0
    pdu = frame.raw[7:] if "transaction" in frame.extra else frame.raw[1:-2]
    try:
        told = DecodePDU(False).decode(pdu)
    except ModbusException:
        return 0
    registers = getattr(told, "registers", None)
    if not registers or len(pdu) != 2 + 2 * len(registers):
        return 0
    numbers = [i for i in frame.indications if i.value is not None]
    assert len(numbers) == len(registers), "another number of registers"
    for mine, theirs in zip(numbers, registers, strict=True):
        _alike(mine, theirs)
    return len(numbers)


def dlt645_numbers(frame: DecodedFrame) -> int:
    """The package dlt645: address, control, data and the numbers of single items of 2007."""
    from dlt645.common.transform import bcd_to_float
    from dlt645.protocol.protocol import DLT645Protocol

    logging.getLogger("dlt645").setLevel(logging.CRITICAL)
    try:
        told = DLT645Protocol.deserialize(frame.raw)
    except ValueError:
        return 0
    if len(frame.raw) != len(frame.raw.lstrip(b"\xfe")) or told is None:
        return 0
    assert f"{told.ctrl_code:02X}" == frame.function, "another control code"
    if frame.function != "91" or len(frame.indications) != 1:
        return 0
    (mine,) = frame.indications
    item = told.data[3::-1].hex().upper()
    shape = "XXXXXX.XX" if item[:4] in ("0001", "0002") else FORMATS.get(item[:4], "")
    digits = told.data[4:]
    if mine.value is None or not shape or len(digits) != (sum(c == "X" for c in shape) + 1) // 2:
        return 0
    assert mine.item == item, "another item"
    _alike(mine, bcd_to_float(bytes(digits), shape, "little"))
    return 1


def mbus_records(frame: DecodedFrame) -> int:
    """pyMeterBus: plain integers and BCD; not its reals, times, vendors' records and extended units."""
    import meterbus

    if len(frame.raw) < 9 or frame.function not in ("08", "18", "28", "38") or frame.error:
        return 0
    try:
        theirs = [
            (list(r.dib.parts), list(r.vib.parts), r.parsed_value) for r in meterbus.load(frame.raw).records
        ]
    except Exception:
        return 0
    if len(theirs) != len(frame.indications):
        return 0
    compared = 0
    for mine, (dib, vib, told) in zip(frame.indications, theirs, strict=True):
        plain = (
            len(vib) == 1
            and vib[0] < 0x6C
            and vib[0] not in range(0x20, 0x28)
            and dib[0] & 15 in range(1, 13)
        )
        if mine.value is None or not plain or dib[0] & 15 in (5, 8) or mine.unit in ("", "1"):
            continue
        if isinstance(told, int | float | Decimal):
            _alike(mine, told)
            compared += 1
    return compared


def iec62056_data(frame: DecodedFrame) -> int:
    """The package iec62056-21: the data sets of a readout, one for one, their texts as numbers."""
    from iec62056_21 import exceptions, messages

    if not frame.raw.startswith(b"\x02"):
        return 0
    try:
        told = messages.ReadoutDataMessage.from_bytes(frame.raw)
    except (ValueError, exceptions.Iec6205621Exception):
        return 0
    sets = [one for line in told.data_block.data_lines for one in line.data_sets]
    if len(sets) != len(frame.indications):
        return 0
    compared = 0
    for mine, theirs in zip(frame.indications, sets, strict=True):
        if mine.value is None or not theirs.address or not mine.item.endswith(theirs.address):
            continue
        try:
            number = Decimal(theirs.value)
        except ArithmeticError:
            continue
        if theirs.unit in (mine.unit, None):
            assert mine.value == number, f"{mine}, the peer says {theirs}"
            compared += 1
    return compared


def dlt698_numbers(frame: DecodedFrame) -> int:
    """The package dlt698 (a C++ core): the digits of each of our numbers are those of an integer that it finds."""
    import dlt698

    try:
        apdu = dlt698.codec.decode_apdu(dlt698.codec.decode_frame(frame.raw.lstrip(b"\xfe")).payload)
    except Exception:
        return 0
    attributes = getattr(apdu, "attributes", None)
    if not attributes or frame.direction != "response":
        return 0
    found = {_digits(number) for one in attributes for number in _integers(one.result)}
    numbers = [i for i in frame.indications if i.value is not None]
    for mine in numbers:
        assert mine.value is not None
        assert _digits(mine.value) in found, f"{mine}, the peer finds {found}"
    return len(numbers)


def _integers(data: Any) -> Iterator[int]:
    """The integers in a value, its arrays and structures."""
    value = getattr(data, "value", None)
    if isinstance(value, list | tuple):
        for one in value:
            yield from _integers(one)
    elif isinstance(value, int):
        yield value


def _digits(number: int | Decimal) -> str:
    return str(Decimal(number).normalize().as_tuple()[:2]) if number else "0"


_ALL: Mapping[str, tuple[str, Peer]] = {
    "modbus-rtu": ("pymodbus", modbus_words),
    "modbus-tcp": ("pymodbus", modbus_words),
    "dlt645-2007": ("dlt645", dlt645_numbers),
    "mbus": ("meterbus", mbus_records),
    "iec62056-21": ("iec62056_21", iec62056_data),
    "dlt698": ("dlt698", dlt698_numbers),
}
PEERS: Mapping[str, Peer] = {
    name: peer for name, (package, peer) in _ALL.items() if importlib.util.find_spec(package) is not None
}
"""The peer of a protocol, where it is installed."""
