"""Reading a meter by CJ/T 188: its current data asked and answered in one exchange. Pure; it only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers import cjt188
from drivers.codec import Answer, LocalProtocolError, Mismatch, Said, own
from drivers.points import Query


@dataclass(frozen=True, slots=True)
class Cjt188:
    """CJ/T 188; it only reads. The DI goes out as 90 1F (2004); it is taken in either order."""

    name: str

    def address(self, text: str) -> str:
        """14 digits, zeros on the left."""
        return cjt188.address(text)

    def request(self, address: str, query: Query) -> cjt188.Request:
        """Read 901F of a meter of the query's kind."""
        if query.protocol != "cjt188":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        meter_type = cjt188.meter_type_of(query.kind)
        return cjt188.Request(self.address(address), meter_type, item=query.item)

    def encode(self, request: object) -> bytes:
        """With preamble."""
        return cjt188.encode(own(request, cjt188.Request, "a CJ/T 188 request"))

    def decoder(self) -> cjt188.Decoder:
        """Both editions: the framing is the same."""
        return cjt188.Decoder()

    def match(self, request: object, frame: object) -> Answer | Mismatch:
        """By direction, type, address, function, DI in either order, SER."""
        return cjt188.match(
            own(request, cjt188.Request, "a CJ/T 188 request"), own(frame, cjt188.Frame, "a CJ/T 188 frame")
        )

    def numbered(self, request: Said, n: int) -> Said:  # noqa: ARG002 - not every meter repeats SER
        """Unchanged."""
        return request

    def expected_length(self, request: object) -> int | None:
        """35 bytes of a water or gas meter, 59 of a heat meter."""
        asked = own(request, cjt188.Request, "a CJ/T 188 request")
        return 59 if 0x20 <= asked.meter_type <= 0x29 else 35 if asked.meter_type != cjt188.ANY else None

    def follow(self, request: object, answer: Answer) -> cjt188.Request | None:  # noqa: ARG002
        """Answers never go on."""
        return None

    def join(self, answers: Sequence[Answer]) -> Answer:
        """There is only one."""
        if len(answers) != 1:
            raise LocalProtocolError("a CJ/T 188 answer has one part")
        return answers[0]
