"""How long a Modbus PDU is, told by its first bytes, as a request and as an answer.

RTU has no length and no start mark, so this table is what finds its frames; TCP and ASCII use it to refuse a frame
whose contents don't fit. Source: Modbus Application Protocol V1.1b3, chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Direction = Literal["request", "response", ""]

FUNCTIONS = {
    1: "read coils",
    2: "read discrete inputs",
    3: "read holding registers",
    4: "read input registers",
    5: "write single coil",
    6: "write single register",
    7: "read exception status",
    8: "diagnostics",
    11: "get event counter",
    12: "get event log",
    15: "write multiple coils",
    16: "write multiple registers",
    17: "report server id",
    20: "read file record",
    21: "write file record",
    22: "mask write register",
    23: "read/write multiple registers",
    24: "read FIFO queue",
    43: "encapsulated interface",
}
READING = frozenset((1, 2, 3, 4))
MOST = {1: 2000, 2: 2000, 3: 125, 4: 125}
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge, still working",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}

UNKNOWN, WAIT, BAD = -1, -2, -3  # no such function here; more bytes needed; these bytes are no such PDU


def _fixed(size: int) -> Callable[[memoryview], int]:
    return lambda _pdu: size


def _counted(at: int, base: int, *, even: bool = False, low: int = 1) -> Callable[[memoryview], int]:
    """A PDU whose byte ``at`` counts the bytes after the first ``base``."""

    def size(pdu: memoryview) -> int:
        if len(pdu) <= at:
            return WAIT
        count = pdu[at]
        if count < low or count > 251 or (even and count % 2):
            return BAD
        return base + count

    return size


def _read_request(pdu: memoryview) -> int:
    if len(pdu) < 5:
        return WAIT
    count = pdu[3] << 8 | pdu[4]
    start = pdu[1] << 8 | pdu[2]
    return 5 if 1 <= count <= MOST[pdu[0]] and start + count <= 0x10000 else BAD


def _coil(pdu: memoryview) -> int:
    if len(pdu) < 5:
        return WAIT
    return 5 if (pdu[3], pdu[4]) in ((0xFF, 0), (0, 0)) else BAD


def _write_request(bits: bool) -> Callable[[memoryview], int]:
    def size(pdu: memoryview) -> int:
        if len(pdu) < 6:
            return WAIT
        count = pdu[3] << 8 | pdu[4]
        wanted = (count + 7) // 8 if bits else 2 * count
        return 6 + wanted if count and wanted == pdu[5] and pdu[5] <= 246 else BAD

    return size


def _write_answer(most: int) -> Callable[[memoryview], int]:
    def size(pdu: memoryview) -> int:
        if len(pdu) < 5:
            return WAIT
        return 5 if 1 <= (pdu[3] << 8 | pdu[4]) <= most else BAD

    return size


def _read_write_request(pdu: memoryview) -> int:
    if len(pdu) < 10:
        return WAIT
    read, write = pdu[3] << 8 | pdu[4], pdu[7] << 8 | pdu[8]
    return 10 + pdu[9] if 1 <= read <= 125 and 1 <= write <= 121 and pdu[9] == 2 * write else BAD


def _fifo_answer(pdu: memoryview) -> int:
    if len(pdu) < 3:
        return WAIT
    count = pdu[1] << 8 | pdu[2]
    return 3 + count if 2 <= count <= 64 and count % 2 == 0 else BAD


def _device_id_request(pdu: memoryview) -> int:
    if len(pdu) < 3:
        return WAIT
    return 4 if pdu[1] == 14 and 1 <= pdu[2] <= 4 else BAD


def _device_id_answer(pdu: memoryview) -> int:
    if len(pdu) < 7:
        return WAIT
    if pdu[1] != 14 or not 1 <= pdu[2] <= 4:
        return BAD
    size = 7
    for _ in range(pdu[6]):
        if len(pdu) < size + 2:
            return WAIT
        size += 2 + pdu[size + 1]
        if size > 253:
            return BAD
    return size


_REQUESTS: dict[int, Callable[[memoryview], int]] = {
    1: _read_request,
    2: _read_request,
    3: _read_request,
    4: _read_request,
    5: _coil,
    6: _fixed(5),
    7: _fixed(1),
    8: _fixed(5),
    11: _fixed(1),
    12: _fixed(1),
    15: _write_request(bits=True),
    16: _write_request(bits=False),
    17: _fixed(1),
    20: _counted(1, 2, low=7),
    21: _counted(1, 2, low=9),
    22: _fixed(7),
    23: _read_write_request,
    24: _fixed(3),
    43: _device_id_request,
}
_ANSWERS: dict[int, Callable[[memoryview], int]] = {
    1: _counted(1, 2),
    2: _counted(1, 2),
    3: _counted(1, 2, even=True),
    4: _counted(1, 2, even=True),
    5: _coil,
    6: _fixed(5),
    7: _fixed(2),
    8: _fixed(5),
    11: _fixed(5),
    12: _counted(1, 2, low=6),
    15: _write_answer(1968),
    16: _write_answer(123),
    17: _counted(1, 2),
    20: _counted(1, 2, low=4),
    21: _counted(1, 2, low=9),
    22: _fixed(7),
    23: _counted(1, 2, even=True),
    24: _fifo_answer,
    43: _device_id_answer,
}


def _exception_size(pdu: memoryview) -> int:
    if len(pdu) < 2:
        return WAIT
    return 2 if pdu[1] else BAD


def size_of(pdu: memoryview, direction: Direction) -> int:
    """How long the PDU that begins here is as a request or an answer, or UNKNOWN, WAIT, BAD."""
    if len(pdu) == 0:
        return WAIT
    function = pdu[0]
    if function & 0x80:
        known = function & 0x7F in _ANSWERS
        return _exception_size(pdu) if direction == "response" and known else UNKNOWN
    table = _REQUESTS if direction == "request" else _ANSWERS
    return table[function](pdu) if function in table else UNKNOWN
