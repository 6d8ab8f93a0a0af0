"""The one shape in which frames of every protocol are shown, and its JSON.

A protocol's dialogue makes ``DecodedFrame``s; ``Decoded`` is a whole capture: frames in order, and what was refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.codec import Indication, Missing, Reject


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame in plain words. ``extra`` holds what only some protocols have (SEQ, transaction, request …)."""

    offset: int
    raw: bytes
    address: str
    function: str
    direction: str
    indications: tuple[Indication, ...] = ()
    error: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The documented shape, with further keys."""
        return {
            "offset": self.offset,
            "address": self.address,
            "function": self.function,
            "direction": self.direction,
            "items": [item_json(i) for i in self.indications],
            "error": self.error or None,
            **self.extra,
            "raw": self.raw.hex(" ").upper(),
        }


@dataclass(frozen=True, slots=True)
class Decoded:
    """All frames of a capture in order, and the bytes that were none."""

    frames: tuple[DecodedFrame, ...]
    rejected: tuple[Reject, ...]

    def to_json(self) -> dict[str, Any]:
        """The documented shape."""
        return {
            "frames": [frame.to_json() for frame in self.frames],
            "rejected": [
                {
                    "offset": r.offset,
                    "reason": str(r.reason),
                    "detail": r.detail,
                    "raw": r.raw.hex(" ").upper(),
                }
                for r in self.rejected
            ],
        }


def item_json(indication: Indication) -> dict[str, Any]:
    """One indication; the digits of an address are its value."""
    value = indication.value
    shown: dict[str, Any] = {
        "item": indication.item,
        "measurand": indication.measurand,
        "value": None if value is None else f"{value:f}",
        "unit": indication.unit,
    }
    if indication.item == "address" and indication.missing is Missing.NOT_NUMERIC:
        return {**shown, "value": indication.detail, "text": indication.detail}
    if indication.missing is not None:
        shown["missing"] = str(indication.missing)
    if indication.detail:
        shown["text" if indication.missing is Missing.NOT_NUMERIC else "detail"] = indication.detail
    return shown
