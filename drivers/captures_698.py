"""Captures of DL/T 698.45 as shown frames."""

from __future__ import annotations

from typing import Any

from drivers import dlt698, dlt698_apdu
from drivers.axdr import Malformed
from drivers.codec import Indication, Missing, Reject, RejectReason
from drivers.decoded import Decoded, DecodedFrame


def _frame(frame: dlt698.Frame, joiner: dlt698.Joiner) -> DecodedFrame:
    """Malformed if the frame's APDU is."""
    extra: dict[str, Any] = {"client": frame.client, "logical": frame.logical}
    if frame.kind != "single":
        extra["address_kind"] = frame.kind
    indications: tuple[Indication, ...] = ()
    error = ""
    whole = joiner.add(frame)
    if frame.fragment:
        extra["fragment"] = True
    if joiner.problem:
        indications = (Indication("fragment", "", None, "", Missing.MISMATCH, joiner.problem),)
    elif whole is not None:
        apdu = dlt698_apdu.parse(whole)
        extra |= {"apdu_tag": f"{whole[0]:02X}", "apdu": apdu.name}
        if apdu.service is not None:
            extra["service"] = apdu.service
        indications, error = dlt698_apdu.indications(apdu), apdu.error
        if frame.from_meter:
            extra |= apdu.detail
        else:
            extra["request"] = {"what": apdu.name, "items": list(apdu.asked), **apdu.detail}
            indications = ()
    direction = "response" if frame.from_meter else "request"
    control = f"{frame.control:02X}"
    return DecodedFrame(frame.offset, frame.raw, frame.address, control, direction, indications, error, extra)


def decode_698(data: bytes) -> Decoded:
    """DL/T 698.45; a sound frame whose APDU is broken is refused whole."""
    decoder, joiner = dlt698.Decoder(), dlt698.Joiner()
    frames: list[DecodedFrame] = []
    rejected: list[Reject] = []
    for found in [*decoder.feed(data), *decoder.finish()]:
        if isinstance(found, Reject):
            rejected.append(found)
            continue
        try:
            frames.append(_frame(found, joiner))
        except Malformed as problem:
            rejected.append(Reject(found.offset, RejectReason.LENGTH, found.raw, str(problem)))
    rejected.sort(key=lambda r: r.offset)
    return Decoded(tuple(frames), tuple(rejected))
