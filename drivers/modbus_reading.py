"""Reading a meter by Modbus: registers asked and answered in one exchange, in any framing. Pure; it only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from drivers import modbus
from drivers.codec import Answer, LocalProtocolError, Mismatch, own
from drivers.points import Query


@dataclass(frozen=True, slots=True)
class Modbus:
    """Modbus in one framing; it only reads."""

    name: str
    framing: modbus.Framing

    def address(self, text: str) -> str:
        """The unit."""
        return modbus.address(text)

    def request(self, address: str, query: Query) -> modbus.Request:
        """Read registers."""
        if query.protocol != "modbus":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return modbus.Request(self.address(address), query.function, query.start, query.count, self.framing)

    def encode(self, request: object) -> bytes:
        """A frame of this framing."""
        return modbus.encode(own(request, modbus.Request, "a Modbus request"))

    def decoder(self) -> modbus.RtuDecoder | modbus.TcpDecoder | modbus.AsciiDecoder:
        """For this framing."""
        return modbus.decoder(self.framing)

    def match(self, request: object, frame: object) -> Answer | Mismatch:
        """By transaction, unit, function and byte count."""
        return modbus.match(
            own(request, modbus.Request, "a Modbus request"), own(frame, modbus.Frame, "a Modbus frame")
        )

    def numbered(self, request: object, n: int) -> modbus.Request:
        """With transaction id (TCP)."""
        return modbus.numbered(own(request, modbus.Request, "a Modbus request"), n)

    def expected_length(self, request: object) -> int | None:
        """Known for every reading."""
        return modbus.expected_length(own(request, modbus.Request, "a Modbus request"))

    def follow(self, request: object, answer: Answer) -> modbus.Request | None:  # noqa: ARG002
        """Answers never go on."""
        return None

    def join(self, answers: Sequence[Answer]) -> Answer:
        """There is only one."""
        if len(answers) != 1:
            raise LocalProtocolError("a Modbus answer has one part")
        return replace(answers[0])
