"""Captures of what meters speak beside DL/T 645, CJ/T 188 and Modbus, as shown frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drivers import dlms, iec62056, mbus
from drivers.codec import Indication, Missing, Reject, RejectReason
from drivers.decoded import Decoded, DecodedFrame
from drivers.mbus_records import Malformed


def _in_order(rejected: list[Reject]) -> tuple[Reject, ...]:
    return tuple(sorted(rejected, key=lambda r: r.offset))


# ---- M-Bus ----------------------------------------------------------------------------------------------------------


_DLMS_SEGMENTS = 0x20  # CI 00..1F: bits 0..3 the segment's number, bit 4 the last one


def _mbus_dlms(ci: int, data: bytes) -> dict[str, Any]:
    """A segment of a DLMS/COSEM message over M-Bus (EN 13757-3 7.2): its place, and whether it is ciphered."""
    shown: dict[str, Any] = {
        "application": "DLMS/COSEM segment",
        "segment": {"number": ci & 0x0F, "last": bool(ci & 0x10)},
    }
    if not ci & 0x0F and len(data) > 2:  # after the two transport addresses the message begins
        shown["apdu"] = (
            "ciphered" if data[2] in dlms.CIPHERED else dlms.NAMES.get(data[2], f"APDU {data[2]:02X}")
        )
    return shown


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
        if frame.ci < _DLMS_SEGMENTS:
            shown |= _mbus_dlms(frame.ci, frame.data)
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


# ---- IEC 62056-21 ---------------------------------------------------------------------------------------------------


class _Dialogue62056:
    """Remembers whom the sign-on called and what the last command asked for."""

    def __init__(self) -> None:
        self._address = ""
        self._asked = ""

    def frame(self, frame: iec62056.Frame) -> DecodedFrame:
        kind = iec62056.Kind
        extra: dict[str, Any] = {}
        indications: tuple[Indication, ...] = ()
        function = frame.command or str(frame.kind)
        who = frame.identification
        if who is not None:
            extra |= {
                "manufacturer": who.manufacturer,
                "baud_char": who.baud_character,
                "identification": who.name,
                "mode": who.mode,
                "baud": who.baud,
            }
            self._asked = ""
        elif frame.kind in (kind.DATA, kind.PUSH):
            if not frame.error:
                indications = iec62056.decode(frame.text, self._asked)
            if frame.more:
                extra["more"] = True
            if not frame.checked:
                extra["note"] = "no check sum vouches for this telegram"
        elif frame.command == "P0":
            extra["operand"] = frame.text.strip("()")
        elif frame.kind is not kind.ACKNOWLEDGE:
            extra["request"] = self._request(frame)
        direction = "response" if frame.from_meter else "request"
        if frame.kind in (kind.ACKNOWLEDGE, kind.REFUSAL):
            direction = ""
        return DecodedFrame(
            frame.offset, frame.raw, self._address, function, direction, indications, frame.error, extra
        )

    def _request(self, frame: iec62056.Frame) -> dict[str, Any]:
        if frame.kind is iec62056.Kind.SIGN_ON:
            self._address, self._asked = frame.address, ""
            return {"what": str(frame.kind), "address": frame.address}
        if frame.kind is iec62056.Kind.OPTION:
            protocol, baud, mode = list(frame.text[1:4])
            modes = {"0": "readout", "1": "programming", "2": "binary (HDLC)"}
            return {
                "what": f"{frame.kind}: {modes.get(mode, 'maker specific')}",
                "protocol": protocol,
                "baud_char": baud,
                "mode": mode,
            }
        if frame.kind is iec62056.Kind.COMMAND:
            text = frame.text if frame.command[0] != "B" else ""
            item, _, _ = text.partition("(")
            self._asked = item if frame.command[0] == "R" else ""
            shown = {"what": iec62056.what(frame.command), "command": frame.command, "item": item}
            return {**shown, "data": text.strip("()") if frame.command[0] == "P" else text}
        return {"what": str(frame.kind)}


_ODD = bytes(byte for byte in range(256) if byte.bit_count() % 2)
_SEVEN_BITS = bytes(byte & 0x7F for byte in range(256))


def _seven_bits(data: bytes) -> bytes:
    """The characters of a capture taken with eight data bits, where 7E1 was spoken: every byte is of even parity.

    As it is, where a single byte's parity is wrong: then the top bits say nothing, and no such byte is a character.
    """
    kept = any(byte & 0x80 for byte in data) and not set(_ODD).intersection(data)
    return data.translate(_SEVEN_BITS) if kept else data


def decode_62056(data: bytes) -> Decoded:
    """IEC 62056-21, both sides of a dialogue; parity bits that a capture kept are taken off where all of them hold.

    A check character has a parity bit like every other, so it is compared in seven bits too.
    """
    decoder, dialogue = iec62056.Decoder(), _Dialogue62056()
    plain = _seven_bits(data)
    found = [*decoder.feed(plain), *decoder.finish()]

    def as_captured(frame: iec62056.Frame) -> DecodedFrame:
        shown = dialogue.frame(frame)
        if plain is data:
            return shown
        raw = data[shown.offset : shown.offset + len(shown.raw)]
        return replace(shown, raw=raw, extra={**shown.extra, "parity": "even, in the top bit of each byte"})

    identified = {
        f.offset + len(f.raw)
        for f in found
        if isinstance(f, iec62056.Frame) and f.kind is iec62056.Kind.IDENTIFICATION
    }
    return Decoded(
        tuple(as_captured(f) for f in found if isinstance(f, iec62056.Frame)),
        tuple(_refused(r, data, identified) for r in found if isinstance(r, Reject)),
    )


def _refused(reject: Reject, data: bytes, identified: set[int]) -> Reject:
    """A reject with the bytes as captured; of a readout pasted without its control characters, what is missing."""
    raw = data[reject.offset : reject.offset + len(reject.raw)]
    if reject.reason is RejectReason.NOISE and reject.offset in identified and b"(" in raw:
        detail = "no STX after the identification, so no check character vouches for these data"
        return replace(reject, reason=RejectReason.HEADER, raw=raw, detail=detail)
    return replace(reject, raw=raw)
