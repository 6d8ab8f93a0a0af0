"""What a gateway behind a broker brings in one message: a signed checkpoint, and entries under it. Pure.

The payload is an add-checkpoint body (its length before it, four bytes) and an add-entries body, gzip. A message proves
itself, so it may come in any order, twice, or to another front end than the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from evidence import log
from evidence.errors import ParseError

from .offer import Offer
from .packages import Body, Inflater, Package, Upload

MAX_UNPACKED: Final = log.TILE_WIDTH * (log.MAX_ENTRY + 2) + 4096


@dataclass(frozen=True, slots=True)
class Delivery:
    """A bundle message that was read."""

    offer: Offer
    upload: Upload
    packages: tuple[Package, ...]

    @classmethod
    def parse(cls, payload: bytes) -> Delivery:
        """Read one. Raises ParseError."""
        length = int.from_bytes(payload[:4], "big")
        if len(payload) < 4 + length:
            raise ParseError("the message ends within its checkpoint")
        offer = Offer.parse(payload[4 : 4 + length])
        body = Body()
        packages: list[Package] = []
        for piece in Inflater(MAX_UNPACKED).feed(payload[4 + length :]):
            packages += body.feed(piece)
        if body.upload is None or body.pending:
            raise ParseError("the message ends within its entries")
        if body.upload.origin != offer.checkpoint.origin or body.upload.end != offer.checkpoint.size:
            raise ParseError("checkpoint and entries are not of one log and size")
        return cls(offer, body.upload, tuple(packages))

    @property
    def weight(self) -> int:
        """Bytes of the entries."""
        return sum(len(entry) for package in self.packages for entry in package.entries)

    def ahead_of(self, size: int) -> bool:
        """Whether entries are missing between ``size`` and its own."""
        return bool(self.packages) and self.packages[0].start > size


def following(size: int, deliveries: Iterable[Delivery]) -> tuple[Package, ...]:
    """The packages that lead on from ``size`` entries without a break, in order."""
    found: list[Package] = []
    for package in sorted((p for one in deliveries for p in one.packages), key=lambda p: (p.start, -p.end)):
        if package.start > size:
            break
        if package.end > size:
            found.append(package)
            size = package.end
    return tuple(found)
