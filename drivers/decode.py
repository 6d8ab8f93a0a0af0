"""Captured bytes to frames and values: what ``suyuan decode`` shows, what an auditor runs years later.

``decode_capture`` gives one shape for every protocol (``Decoded.to_json``)::

    {"frames":   [{"address", "function", "items": [{"item", "measurand", "value", "unit"}], "error"}],
     "rejected": [{"offset", "reason"}]}

``function`` is the control code in hex for DL/T 645, CJ/T 188 and M-Bus (``91``), the decimal function code as on the
wire for Modbus (``3``, ``131`` for an exception), the command number for HJ 212 (``2011``). ``value`` is exact decimal
text, or null with ``missing`` (the reason) and ``text`` (a date, a time, an identity) or ``detail``; of an address it
is the digits as printed. A request has no items; what it asks stands under ``request``. Modbus registers are named by
their absolute address if the request that was answered stands in the same capture, else counted from 0; a profile
gives measurands only where the address is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from drivers import (
    captures,
    captures_104,
    captures_698,
    captures_dlms,
    captures_sml,
    cjt188,
    dlt645,
    dlt645_items,
    hj212,
    modbus,
)
from drivers import profile as profiles
from drivers.codec import Answer, Indication, LocalProtocolError, Mismatch, Missing, Reject
from drivers.decoded import Decoded, DecodedFrame
from drivers.profile import Profile

# ---- DL/T 645 -------------------------------------------------------------------------------------------------------


class _Dialogue645:
    """Joins the parts of a long answer; notes whether an answer fits the request before it."""

    def __init__(self) -> None:
        self._asked: dlt645.Request | None = None
        self._parts: list[bytes] = []
        self._of: tuple[str, str] = ("", "")

    def frame(self, frame: dlt645.Frame) -> DecodedFrame:
        extra: dict[str, Any] = {}
        if frame.sequence is not None:
            extra["seq"] = frame.sequence
        if frame.more:
            extra["more"] = True
        indications: tuple[Indication, ...] = ()
        if frame.from_meter:
            if self._asked is not None:
                verdict = dlt645.match(self._asked, frame)
                if isinstance(verdict, Mismatch):
                    extra["mismatch"] = {"reason": str(verdict.reason), "detail": verdict.detail}
            indications = self._indications(frame)
        else:
            self._asked = dlt645.request_of(frame)
            what = dlt645.FUNCTIONS.get(frame.function, "unknown function")
            extra["request"] = {"what": what, "item": frame.item, "data": frame.payload.hex(" ").upper()}
        return DecodedFrame(
            frame.offset,
            frame.raw,
            frame.address,
            f"{frame.control:02X}",
            "response" if frame.from_meter else "request",
            indications,
            frame.error,
            extra,
        )

    def _indications(self, frame: dlt645.Frame) -> tuple[Indication, ...]:
        if frame.failed:
            return ()
        if frame.function == dlt645.READ_ADDRESS:
            return (_address(frame.data),)
        if frame.function not in dlt645.READING:
            return ()
        if not frame.item:
            detail = f"{len(frame.data)} bytes hold no data identifier: {frame.data.hex(' ').upper()}"
            return (Indication("", "", None, "", Missing.WRONG_LENGTH, detail),)
        following = frame.function in (dlt645.FOLLOW, dlt645.FOLLOW_1997)
        if not following:
            self._of, self._parts = (frame.address, frame.item), []
        elif self._of != (frame.address, frame.item) or not self._parts or not self._next(frame):
            self._parts = []
            detail = f"a following part without the parts before it: {frame.payload.hex(' ').upper()}"
            return (Indication(frame.item, "", None, "", Missing.MISMATCH, detail),)
        self._parts.append(frame.payload)
        if frame.more:
            return ()
        payload, self._parts = b"".join(self._parts), []
        return dlt645_items.decode(frame.item, payload)

    def _next(self, frame: dlt645.Frame) -> bool:
        return frame.sequence is None or frame.sequence == len(self._parts)


def _address(data: bytes) -> Indication:
    digits = data[::-1].hex().upper()
    if len(data) != 6:
        return Indication("address", "address", None, "", Missing.WRONG_LENGTH, data.hex(" ").upper())
    if not digits.isdecimal():
        return Indication("address", "address", None, "", Missing.NOT_A_NUMBER, data.hex(" ").upper())
    return Indication("address", "address", None, "", Missing.NOT_NUMERIC, digits)


def _decode_645(data: bytes, profile: Profile | None) -> Decoded:
    if profile is not None and profile.protocol == "modbus":
        raise LocalProtocolError(f"{profile.name} is a Modbus profile; DL/T 645 items need none")
    decoder = dlt645.Decoder()
    dialogue = _Dialogue645()
    found = [*decoder.feed(data), *decoder.finish()]
    return Decoded(
        tuple(dialogue.frame(f) for f in found if isinstance(f, dlt645.Frame)),
        tuple(r for r in found if isinstance(r, Reject)),
    )


# ---- Modbus ---------------------------------------------------------------------------------------------------------


class _DialogueModbus:
    """Remembers requests, so that an answer's registers get their addresses."""

    def __init__(self, framing: modbus.Framing, profile: Profile | None) -> None:
        self._framing = framing
        self._profile = profile
        self._asked: dict[int | None, modbus.Request] = {}

    def frame(self, frame: modbus.Frame) -> DecodedFrame:
        extra: dict[str, Any] = {}
        if frame.transaction is not None:
            extra["transaction"] = frame.transaction
        indications: tuple[Indication, ...] = ()
        request = modbus.request_of(frame)
        if request is not None:
            self._asked[frame.transaction] = request
            extra["request"] = _request_json(request, frame.data)
        elif not frame.failed:
            asked = self._asked.pop(frame.transaction, None)
            verdict = modbus.match(asked, frame) if asked is not None else None
            if isinstance(verdict, Mismatch):
                extra["mismatch"] = {"reason": str(verdict.reason), "detail": verdict.detail}
                asked = None
            indications, note = self._values(frame, asked)
            if note:
                extra["note"] = note
        else:
            self._asked.pop(frame.transaction, None)
        return DecodedFrame(
            frame.offset,
            frame.raw,
            frame.address,
            str(frame.function),
            "request" if request is not None else "response",
            indications,
            frame.error,
            extra,
        )

    def _values(
        self, frame: modbus.Frame, asked: modbus.Request | None
    ) -> tuple[tuple[Indication, ...], str]:
        if frame.function == 43:
            return _device_identification(frame.data), ""
        values = frame.values
        if values is None:
            return (), ""
        if frame.function in (1, 2):
            return _bits(values, asked), ""
        count = len(values) // 2
        start = asked.start if asked is not None else None
        note = ""
        if self._profile is not None and start is None:
            start, note = _only_range(self._profile, frame.function, count)
        if self._profile is not None and start is not None:
            function = 3 if frame.function == 23 else frame.function
            points = tuple(
                p
                for p in self._profile.points
                if p.function == function and start <= p.address and p.end <= start + count
            )
            if points:
                query = profiles.Query("modbus", points, "", function, start, count)
                answer = Answer(query.where, values, frame.raw, frame.address)
                return profiles.decode(self._profile, query, answer), note
            note = f"{self._profile.name} has no point in {start}..{start + count - 1}"
        first = start or 0
        return tuple(
            Indication(
                str(first + n), "", Decimal(int.from_bytes(values[2 * n : 2 * n + 2], "big")), "", None, ""
            )
            for n in range(count)
        ), note


def _only_range(profile: Profile, function: int, count: int) -> tuple[int | None, str]:
    """Where registers of a lone answer come from, if only one place of the profile has this shape."""
    single = {p.address for p in profile.points if p.function == function and p.length == count}
    planned = {q.start for q in profiles.plan(profile) if q.function == function and q.count == count}
    starts = single | planned
    if len(starts) == 1:
        start = starts.pop()
        return (
            start,
            f"no request in the capture: taken for {start}, the only place of {profile.name} with {count}",
        )
    why = "several places have" if starts else "no place has"
    return None, f"no request in the capture: the addresses are unknown ({why} {count} registers)"


_OBJECTS = (
    "VendorName",
    "ProductCode",
    "MajorMinorRevision",
    "VendorUrl",
    "ProductName",
    "ModelName",
    "UserApplicationName",
)


def _device_identification(data: bytes) -> tuple[Indication, ...]:
    """The objects of Read Device Identification (43/14; Modbus application protocol 6.21), as text."""
    found: list[Indication] = []
    at = 6  # MEI type, code, conformity, more follows, next object, count
    while at + 2 <= len(data):
        number, size = data[at], data[at + 1]
        name = _OBJECTS[number] if number < len(_OBJECTS) else f"object {number}"
        text = data[at + 2 : at + 2 + size].decode("utf-8", "replace")
        found.append(Indication(name, "", None, "", Missing.NOT_NUMERIC, text))
        at += 2 + size
    return tuple(found)


def _bits(values: bytes, asked: modbus.Request | None) -> tuple[Indication, ...]:
    count = asked.count if asked is not None else 8 * len(values)
    first = asked.start if asked is not None else 0
    return tuple(
        Indication(str(first + n), "", Decimal(values[n // 8] >> n % 8 & 1), "") for n in range(count)
    )


def _request_json(request: modbus.Request, data: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = {"what": modbus.FUNCTIONS.get(request.function, "unknown function")}
    if request.function in modbus.READING:
        return {**shown, "start": request.start, "count": request.count}
    return {**shown, "data": data.hex(" ").upper()}


def _decode_modbus(framing: modbus.Framing) -> Callable[[bytes, Profile | None], Decoded]:
    def decode(data: bytes, profile: Profile | None) -> Decoded:
        if profile is not None and profile.protocol != "modbus":
            raise LocalProtocolError(f"{profile.name} is a profile for {profile.protocol}, not Modbus")
        decoder = modbus.decoder(framing)
        dialogue = _DialogueModbus(framing, profile)
        found = [*decoder.feed(data), *decoder.finish()]
        return Decoded(
            tuple(dialogue.frame(f) for f in found if isinstance(f, modbus.Frame)),
            tuple(r for r in found if isinstance(r, Reject)),
        )

    return decode


# ---- CJ/T 188 and HJ 212 --------------------------------------------------------------------------------------------


def _frame_188(frame: cjt188.Frame) -> DecodedFrame:
    extra: dict[str, Any] = {
        "meter_type": f"{frame.meter_type:02X}",
        "meter": cjt188.TYPES.get(frame.meter_type, ""),
    }
    if frame.ser is not None:
        extra |= {"di_on_wire": frame.wire_order, "ser": frame.ser}
    indications: tuple[Indication, ...] = ()
    if not frame.from_meter:
        what = cjt188.FUNCTIONS.get(frame.function, "unknown function")
        extra["request"] = {"what": what, "item": frame.item, "data": frame.data[3:].hex(" ").upper()}
    elif not frame.failed and frame.function == cjt188.READ:
        indications = cjt188.decode(frame.meter_type, frame.item, frame.data[3:])
    return DecodedFrame(
        frame.offset,
        frame.raw,
        frame.address,
        f"{frame.control:02X}",
        "response" if frame.from_meter else "request",
        indications,
        frame.error,
        extra,
    )


def _decode_188(data: bytes, profile: Profile | None) -> Decoded:
    if profile is not None:
        raise LocalProtocolError(
            f"{profile.name}: CJ/T 188 answers carry their own units and need no profile"
        )
    decoder = cjt188.Decoder()
    found = [*decoder.feed(data), *decoder.finish()]
    return Decoded(
        tuple(_frame_188(f) for f in found if isinstance(f, cjt188.Frame)),
        tuple(r for r in found if isinstance(r, Reject)),
    )


def _frame_212(frame: hj212.Frame) -> DecodedFrame:
    flag = frame.flag
    extra: dict[str, Any] = {
        "command": hj212.COMMANDS.get(frame.head("CN"), ""),
        "header": dict(frame.header),
        "cp": [dict(group) for group in frame.groups],
        "crc": frame.crc,
    }
    if frame.opened:  # what a record keeps of it: anyone can check and decode this without the key
        extra["opened"] = frame.plain.hex(" ").upper()
    if flag is not None:
        extra["flag"] = {
            "version_bits": flag.version_bits,
            "has_packet_no": flag.has_packet_no,
            "ack_required": flag.ack_required,
        }
    return DecodedFrame(
        frame.offset,
        frame.raw,
        frame.head("MN"),
        frame.head("CN"),
        "",
        hj212.decode(frame.groups),
        "",
        extra,
    )


def _decode_212(data: bytes, profile: Profile | None, key: bytes = b"") -> Decoded:
    if profile is not None:
        raise LocalProtocolError(f"{profile.name} is a meter's profile; HJ 212 names its own quantities")
    decoder = hj212.Decoder()
    if key:
        from drivers import hj212_sm4  # only a key wants a cipher

        decoder = hj212_sm4.Decoder(lambda _mn: key)
    found = [*decoder.feed(data), *decoder.finish()]
    return Decoded(
        tuple(_frame_212(f) for f in found if isinstance(f, hj212.Frame)),
        tuple(r for r in found if isinstance(r, Reject)),
    )


# ---- protocols that need no profile ---------------------------------------------------------------------------------


def _plain(decode: Callable[[bytes], Decoded]) -> Callable[[bytes, Profile | None], Decoded]:
    def decode_plain(data: bytes, profile: Profile | None) -> Decoded:
        if profile is not None:
            raise LocalProtocolError(f"{profile.name}: the frames carry their own units and need no profile")
        return decode(data)

    return decode_plain


# ---- by name --------------------------------------------------------------------------------------------------------

_DECODERS: dict[str, Callable[[bytes, Profile | None], Decoded]] = {
    "dlt645-2007": _decode_645,
    "dlt645-1997": _decode_645,
    "modbus-rtu": _decode_modbus("rtu"),
    "modbus-tcp": _decode_modbus("tcp"),
    "modbus-ascii": _decode_modbus("ascii"),
    "cjt188": _decode_188,
    "hj212": _decode_212,
    "iec62056-21": _plain(captures.decode_62056),
    "mbus": _plain(captures.decode_mbus),
    "dlms-hdlc": _plain(captures_dlms.decode_dlms),
    "dlt698": _plain(captures_698.decode_698),
    "sml": _plain(captures_sml.decode_sml),
    "iec104": _plain(captures_104.decode_104),
}
_SPELLINGS = {
    "dlms": "dlms-hdlc",
    "dlmswrapper": "dlms-hdlc",  # it understands both
    "dlt645": "dlt645-2007",
    "dlt69845": "dlt698",
    "hdlc": "dlms-hdlc",
    "iec62056": "iec62056-21",
    "modbus": "modbus-rtu",
    "rtu": "modbus-rtu",
}
NAMES: Sequence[str] = tuple(_DECODERS)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def decode_capture(
    protocol: str, data: bytes, registers: Profile | None = None, *, sm4_key: bytes = b""
) -> Decoded:
    """Everything in ``data``: frames with their values, and what was refused, at which byte and why.

    ``protocol`` is one of ``NAMES``; DL/T 645 frames of both editions are told apart by their function code.
    ``registers`` is a Modbus profile, ``sm4_key`` the key of an HJ 212-2025 logger that encrypts: 16 octets.
    ValueError for an unknown protocol, or one whose frames no such key opens; nothing is raised for bad bytes.
    """
    known = {_bare(name): name for name in _DECODERS} | _SPELLINGS
    decoder = _DECODERS.get(known.get(_bare(protocol), ""))
    if decoder is None:
        raise ValueError(f"protocol {protocol!r} is not known; there are {', '.join(NAMES)}")
    if sm4_key:
        if decoder is not _decode_212:
            raise ValueError(f"an SM4 key opens packets of hj212, not of {protocol}")
        return _decode_212(data, registers, sm4_key)
    return decoder(data, registers)


# What stands between bytes in writing, in Chinese texts too.
_TOKEN = re.compile(r"[^\s,;:\-\[\]{}()\"'，；：、。（）【】]+")
_WRITTEN = re.compile(r"[\s0-9A-Fa-fxXhH,;:\-\[\]{}()\"'，；：、。（）【】]{8,}")
_ESCAPE = re.compile(r"\\(r|n|t|\\|x[0-9A-Fa-f]{2})")


def parse_hex_or_text(text: str) -> bytes:
    r"""Bytes from what somebody pasted: hex in any dress, or a text frame.

    Hex may have spaces, line ends, commas, colons, dashes, brackets (full-width too), 0x and H. Text is what begins
    with ``##`` (HJ 212), ``:`` and hex without gaps (Modbus ASCII), ``/`` or a control character of IEC 62056-21;
    ``\r``, ``\n`` and ``\x02`` in it are understood, and a missing CR LF at the end is added where the last line has no
    check character after ETX.
    ValueError tells where it is neither.
    """
    stripped = text.strip(" \t\r\n")
    if not stripped:
        raise ValueError("no bytes given: paste a frame as hex, like 68 12 90 78 56 34 12 68 …")
    if _is_text(stripped):
        plain = _ESCAPE.sub(lambda m: _unescape(m.group(1)), text.lstrip(" \t\r\n"))
        head, etx, check = plain.rpartition("\x03")
        if etx and check:
            # After the last ETX only its check character counts, be it a blank or a line end.
            return re.sub(r"(?<!\r)\n", "\r\n", head).encode("utf-8") + b"\x03" + check[:1].encode("utf-8")
        if plain[0] in "\x06\x15":
            return (
                plain.encode("utf-8") if plain.endswith("\n") or len(plain) == 1 else f"{plain}\r\n".encode()
            )
        lines = [line.rstrip("\r") for line in plain.split("\n")]
        while lines and not lines[-1].strip():
            lines.pop()
        keep = plain.startswith("/")  # there an empty line means something
        return "".join(line.strip(" ") + "\r\n" for line in lines if line or keep).encode("utf-8")
    out = bytearray()
    for found in re.finditer(_TOKEN, stripped):
        token = found.group()
        digits = token[2:] if token[:2] in ("0x", "0X", "\\x") else token
        if digits[-1:] in ("h", "H"):  # as standards print it: 68H
            digits = digits[:-1]
        if len(digits) == 1:
            digits = "0" + digits
        bad = re.search(r"[^0-9A-Fa-f]", digits)
        if bad or len(digits) % 2 or not digits:
            why = f"{bad.group()!r} is no hex digit" if bad else "it has an odd number of hex digits"
            raise ValueError(f"at character {found.start() + 1}: {token[:40]!r} is no hex: {why}")
        out += bytes.fromhex(digits)
    if not out:
        raise ValueError("no bytes given: paste a frame as hex, like 68 12 90 78 56 34 12 68 …")
    return bytes(out)


_TYPED = frozenset(b"\x01\x02\x03\x04\x06\t\n\r\x15") | frozenset(range(0x20, 0x7F))


def parse_input(data: bytes) -> bytes:
    """Bytes from a file or a pipe: what is written as hex or text is understood so, a binary capture is taken as it is.

    ValueError as of :func:`parse_hex_or_text`.
    """
    typed = data.removeprefix(b"\xef\xbb\xbf")  # some editors put it before the text
    if typed.startswith(b"##") and typed.count(b"&&") >= 2:  # HJ 212 may hold names in Chinese
        return parse_hex_or_text(typed.decode("utf-8")) if _is_utf8(typed) else typed
    if _TYPED.issuperset(typed):
        return parse_hex_or_text(typed.decode("ascii"))
    if _is_utf8(typed) and _WRITTEN.fullmatch(typed.decode("utf-8")):  # hex between full-width commas
        return parse_hex_or_text(typed.decode("utf-8"))
    return data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_text(stripped: str) -> bool:
    if stripped.startswith(("##", "/", "\x01", "\x02", "\x06", "\x15")):
        return True
    if re.match(r":[0-9A-Fa-f]{6,}(\s|\\|$)", stripped):
        return True
    escaped = re.match(r"\\x(0[126]|15)", stripped) is not None
    return escaped and re.fullmatch(r"(\\x[0-9A-Fa-f]{2}[\s,;]+)*\\x[0-9A-Fa-f]{2}", stripped) is None


def _unescape(code: str) -> str:
    if code.startswith("x"):
        return chr(int(code[1:], 16))
    return {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}[code]
