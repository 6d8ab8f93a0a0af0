"""Captures of what meters speak beside DL/T 645, CJ/T 188 and Modbus, as shown frames."""

from __future__ import annotations

from typing import Any

from drivers import mbus
from drivers.codec import Indication, Missing, Reject, RejectReason
from drivers.decoded import Decoded, DecodedFrame
from drivers.mbus_records import Malformed


def _in_order(rejected: list[Reject]) -> tuple[Reject, ...]:
    return tuple(sorted(rejected, key=lambda r: r.offset))


# ---- M-Bus ----------------------------------------------------------------------------------------------------------


def _mbus_request(frame: mbus.Frame) -> dict[str, Any]:
    control = frame.control or 0
    counted = control & ~mbus.FCB if control & mbus.FCV else control
    shown: dict[str, Any] = {"what": mbus.CONTROLS.get(counted, f"C = {control:02X}")}
    if control & mbus.FCV:
        shown["fcb"] = control >> 5 & 1
    if frame.ci is not None:
        shown |= {"ci": f"{frame.ci:02X}", "application": mbus.CI_NAMES.get(frame.ci, "")}
        if frame.ci == 0x52 and len(frame.data) >= 8:
            shown["secondary"] = frame.data[3::-1].hex().upper() + frame.data[4:8].hex().upper()
        shown["data"] = frame.data.hex(" ").upper()
    return shown


def _mbus_frame(frame: mbus.Frame) -> DecodedFrame:
    """Malformed if the frame's application data is."""
    extra: dict[str, Any] = {}
    indications: tuple[Indication, ...] = ()
    error = ""
    function = "E5" if frame.control is None else f"{frame.control:02X}"
    if not frame.from_slave:
        extra["request"] = _mbus_request(frame)
    elif frame.acknowledge:
        extra["what"] = "acknowledge"
    else:
        telegram = frame.telegram()
        if frame.ci is not None:
            extra |= {"ci": f"{frame.ci:02X}", "application": mbus.CI_NAMES.get(frame.ci, "")}
        if telegram is None:
            if frame.data:
                detail = f"CI {frame.ci:02X}: {frame.data.hex(' ').upper()}"
                indications = (Indication("data", "", None, "", Missing.UNKNOWN_FORMAT, detail),)
        else:
            head = telegram.header
            known = {
                "identity": head.identity,
                "manufacturer": head.manufacturer,
                "version": head.version,
                "medium": head.medium,
                "access": head.access,
            }
            extra |= {key: value for key, value in known.items() if value not in ("", None)}
            if head.status is not None:
                extra |= {"status": f"{head.status:02X}", "conditions": head.conditions}
            if telegram.more:
                extra["more"] = True
            indications, error = telegram.indications, telegram.error
    direction = "response" if frame.from_slave else "request"
    return DecodedFrame(
        frame.offset, frame.raw, frame.address, function, direction, indications, error, extra
    )


def decode_mbus(data: bytes) -> Decoded:
    """M-Bus; a sound frame whose application data is broken is refused whole."""
    decoder = mbus.Decoder()
    frames: list[DecodedFrame] = []
    rejected: list[Reject] = []
    for found in [*decoder.feed(data), *decoder.finish()]:
        if isinstance(found, Reject):
            rejected.append(found)
            continue
        try:
            frames.append(_mbus_frame(found))
        except Malformed as problem:
            rejected.append(Reject(found.offset, RejectReason.LENGTH, found.raw, str(problem)))
    return Decoded(tuple(frames), _in_order(rejected))
