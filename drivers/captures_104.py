"""Captures of IEC 60870-5-104 as shown frames."""

from __future__ import annotations

from typing import Any

from drivers import iec104
from drivers.axdr import Malformed
from drivers.codec import Indication, Reject, RejectReason
from drivers.decoded import Decoded, DecodedFrame


def _frame(frame: iec104.Frame) -> DecodedFrame:
    """Malformed if the ASDU is."""
    extra: dict[str, Any] = {}
    indications: tuple[Indication, ...] = ()
    address, error, direction = "", "", ""
    if frame.function == "I":
        asdu = iec104.parse(frame.asdu)
        address, indications = str(asdu.station), asdu.indications
        extra |= {"type": asdu.type_id, "what": asdu.name, "cause": asdu.cause}
        error = f"refused: {asdu.cause}" if asdu.negative else ""
        monitored = asdu.type_id < 45 or asdu.cause not in ("activation", "deactivation")
        direction = "response" if monitored else "request"
        if not monitored:
            extra["request"] = {"what": asdu.name, "data": frame.asdu[6:].hex(" ").upper()}
    return DecodedFrame(
        frame.offset, frame.raw, address, frame.function, direction, indications, error, extra
    )


def decode_104(data: bytes) -> Decoded:
    """IEC 60870-5-104; a frame whose objects do not fill it is refused whole."""
    decoder = iec104.Decoder()
    frames: list[DecodedFrame] = []
    rejected: list[Reject] = []
    for found in [*decoder.feed(data), *decoder.finish()]:
        if isinstance(found, Reject):
            rejected.append(found)
            continue
        try:
            frames.append(_frame(found))
        except Malformed as problem:
            rejected.append(Reject(found.offset, RejectReason.LENGTH, found.raw, str(problem)))
    rejected.sort(key=lambda r: r.offset)
    return Decoded(tuple(frames), tuple(rejected))
