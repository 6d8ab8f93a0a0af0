"""Captures of SML as shown frames: one per transport file, with the values of all its lists."""

from __future__ import annotations

from typing import Any

from drivers import sml
from drivers.axdr import Malformed
from drivers.codec import Indication, Reject, RejectReason
from drivers.decoded import Decoded, DecodedFrame


def _frame(frame: sml.Frame) -> DecodedFrame:
    """Malformed if a message of the file is."""
    found: list[Indication] = []
    names: list[str] = []
    address = error = ""
    for message in sml.messages(frame.data):
        names.append(sml.NAMES.get(message.tag, f"{message.tag:04X}"))
        found += sml.readings(message)
        address = sml.server(message) or address
        if message.tag == sml.ATTENTION:
            code = message.body[1] if len(message.body) > 1 else None
            error = f"attention {code.hex().upper()}" if isinstance(code, bytes) else "attention"
    extra: dict[str, Any] = {"messages": names}
    function = "list" if "list" in names else names[0] if names else ""
    return DecodedFrame(frame.offset, frame.raw, address, function, "response", tuple(found), error, extra)


def decode_sml(data: bytes) -> Decoded:
    """SML; a sound file with a broken message is refused whole."""
    decoder = sml.Decoder()
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
