"""Reading a meter by DL/T 645: one item or block asked, answered, followed to its end. Pure; it only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers import dlt645, dlt645_items
from drivers.codec import Answer, LocalProtocolError, Mismatch, Said, own
from drivers.points import Query


@dataclass(frozen=True, slots=True)
class Dlt645:
    """DL/T 645 of one edition; it only reads."""

    name: str

    def address(self, text: str) -> str:
        """12 digits, zeros on the left."""
        return dlt645.address(text)

    def request(self, address: str, query: Query) -> dlt645.Request:
        """Read one DI or block."""
        old = len(query.item) == 4
        if query.protocol != self.name:
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return dlt645.Request(self.address(address), dlt645.READ_1997 if old else dlt645.READ, query.item)

    def encode(self, request: object) -> bytes:
        """With preamble."""
        return dlt645.encode(own(request, dlt645.Request, "a DL/T 645 request"))

    def decoder(self) -> dlt645.Decoder:
        """Both editions: the framing is the same."""
        return dlt645.Decoder()

    def match(self, request: object, frame: object) -> Answer | Mismatch:
        """By direction, address, function, DI, SEQ."""
        return dlt645.match(
            own(request, dlt645.Request, "a DL/T 645 request"), own(frame, dlt645.Frame, "a DL/T 645 frame")
        )

    def numbered(self, request: Said, n: int) -> Said:  # noqa: ARG002 - the protocol has no numbers
        """Unchanged."""
        return request

    def expected_length(self, request: object) -> int | None:
        """12 bytes around DI and item; None for blocks, whose length the meter decides."""
        asked = own(request, dlt645.Request, "a DL/T 645 request")
        if asked.function == dlt645.READ_ADDRESS:
            return 18
        item = dlt645_items.describe(asked.item) if asked.item else None
        return 12 + len(asked.item) // 2 + item.size if item else None

    def follow(self, request: object, answer: Answer) -> dlt645.Request | None:
        """C = 12 with the next SEQ (02 in 1997)."""
        return dlt645.follow(own(request, dlt645.Request, "a DL/T 645 request"), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order and SEQ."""
        return dlt645.join(answers)
