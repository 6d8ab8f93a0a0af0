"""Modbus ASCII on a serial line: each byte as two hex digits between a colon and CR LF, guarded by an LRC.

Written a second time on purpose (see ``sim.framing``). Modbus over serial line V1.02, clause 2.5.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sim.framing import ReframedRtu, rtu_frame
from sim.instrument import Indications, Meter
from sim.modbus_meter import ModbusMeter

_MESSAGE = re.compile(rb":((?:[0-9A-F]{2}){4,255})\r\n")


def ascii_frame(body: bytes) -> bytes:
    """Unit, function and data with their LRC, as characters."""
    return b":%s%02X\r\n" % (body.hex().upper().encode("ascii"), -sum(body) & 0xFF)


def _body(frame: bytes) -> bytes:
    return bytes.fromhex(frame[1:-4].decode("ascii"))


@dataclass(frozen=True, slots=True)
class AsciiFraming(ReframedRtu):
    """Modbus ASCII: a colon begins a message wherever it stands. What is changed in an answer is as of RTU."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Whole messages; what stands before a colon is dropped."""
        found = []
        while (end := heard.find(b"\n")) >= 0:
            message = _MESSAGE.fullmatch(bytes(heard[heard.rfind(b":", 0, end) : end + 1]))
            if message and not sum(bytes.fromhex(message[1].decode("ascii"))) & 0xFF:
                found.append(message[0])
            del heard[: end + 1]
        return found

    def _changed(self, change: Callable[[bytes], bytes], answer: bytes) -> bytes:
        return ascii_frame(change(rtu_frame(_body(answer)))[:-2])

    def unsealed(self, answer: bytes) -> bytes:
        """LRC off by one."""
        return answer[:-4] + b"%02X\r\n" % ((int(answer[-4:-2], 16) + 1) & 0xFF)


class ModbusAsciiMeter:
    """The answering side of a meter that is set to ASCII."""

    protocol = "modbus-ascii"

    def __init__(self, served: ModbusMeter) -> None:
        self._served = served
        self.address = served.address

    @property
    def meter(self) -> Meter:
        """Whose indications it tells."""
        return self._served.meter

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a sound request, or None if it is for another unit."""
        answer = self._served.answer(rtu_frame(_body(frame)), show, t_us)
        return answer and ascii_frame(answer[:-2])
