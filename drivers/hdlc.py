"""HDLC frames as DLMS/COSEM uses them (IEC 62056-46, format type 3), and the TCP wrapper (IEC 62056-47). Pure.

::

    7E  A0 08        02 23   21   93       BD 64   7E
    flag type,S,len  server  client C      FCS     flag       with information: HCS after C, then the information, FCS

* The length (11 bits) counts from the type to the FCS. FCS and HCS are CRC-16/X.25, low byte first. Nothing is escaped.
* An address has 1, 2 or 4 bytes: the last one is odd. Two halves: logical device and physical device.
* One flag may end a frame and begin the next.
* A set S bit: the information goes on in the next I frame; ``Joiner`` puts the pieces together by N(S).
"""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass

from drivers.codec import LocalProtocolError, RejectReason
from drivers.stream import Refusal, Stream

FLAG = 0x7E
LLC_COMMAND, LLC_RESPONSE = bytes.fromhex("E6E600"), bytes.fromhex("E6E700")
_UNNUMBERED = {0x83: "SNRM", 0x43: "DISC", 0x63: "UA", 0x0F: "DM", 0x87: "FRMR", 0x03: "UI"}


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def fcs(data: bytes) -> bytes:
    """CRC-16/X.25, low byte first (the library's CRC-CCITT on turned bits).

    >>> fcs(b"123456789").hex()
    '6e90'
    """
    value = crc_hqx(data.translate(_TURNED), 0xFFFF) ^ 0xFFFF
    return bytes((_TURNED[value >> 8], _TURNED[value & 0xFF]))


@dataclass(frozen=True, slots=True)
class Address:
    """A station: ``upper`` (logical device, or the client) and ``lower`` (physical device; None if not given)."""

    upper: int
    lower: int | None = None
    size: int = 1

    def __str__(self) -> str:
        return str(self.upper) if self.lower is None else f"{self.upper}/{self.lower}"

    @property
    def raw(self) -> bytes:
        """Its bytes on the line."""
        if self.size == 1:
            return bytes((self.upper << 1 | 1,))
        lower = self.lower or 0
        if self.size == 2:
            return bytes((self.upper << 1, lower << 1 | 1))
        return bytes(
            (self.upper >> 7 << 1, (self.upper & 0x7F) << 1, lower >> 7 << 1, (lower & 0x7F) << 1 | 1)
        )


def _address(raw: bytes) -> Address | None:
    """The address at the beginning of ``raw``; None if it has no allowed length."""
    size = next((n for n in (1, 2, 3, 4) if len(raw) >= n and raw[n - 1] & 1), 0)
    parts = [byte >> 1 for byte in raw[:size]]
    if size == 1:
        return Address(parts[0])
    if size == 2:
        return Address(parts[0], parts[1], 2)
    if size == 4:
        return Address(parts[0] << 7 | parts[1], parts[2] << 7 | parts[3], 4)
    return None


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame. ``raw`` has the closing flag, and the opening one unless it ended the frame before."""

    offset: int
    raw: bytes
    destination: Address
    source: Address
    control: int
    information: bytes

    @property
    def segmented(self) -> bool:
        """The information goes on in the next frame."""
        body = self.raw[1:] if self.raw[0] == FLAG else self.raw
        return bool(body[0] & 0x08)

    @property
    def kind(self) -> str:
        """``I``, ``RR``, ``RNR``, ``SNRM``, ``UA``, ``DISC``, ``DM``, ``FRMR``, ``UI``; empty if unknown."""
        if not self.control & 1:
            return "I"
        if self.control & 0x0F == 0x01:
            return "RR"
        if self.control & 0x0F == 0x05:
            return "RNR"
        return _UNNUMBERED.get(self.control & 0xEF, "")

    @property
    def send_number(self) -> int:
        """N(S) of an I frame."""
        return self.control >> 1 & 7

    @property
    def final(self) -> bool:
        """P/F."""
        return bool(self.control & 0x10)

    @property
    def from_server(self) -> bool | None:
        """By kind, LLC, or the address that only a server has; None if nothing tells."""
        if self.kind in ("SNRM", "DISC"):
            return False
        if self.kind in ("UA", "DM", "FRMR"):
            return True
        if self.information[:3] == LLC_COMMAND:
            return False
        if self.information[:3] == LLC_RESPONSE:
            return True
        if self.source.size != self.destination.size:
            return self.source.size > self.destination.size
        return None

    @property
    def server(self) -> Address:
        """The meter's address."""
        return self.source if self.from_server else self.destination

    @property
    def client(self) -> Address:
        """The reader's address."""
        return self.destination if self.from_server else self.source


class Decoder(Stream[Frame]):
    """The frames of one line."""

    _preamble = b"\x7e"

    def __init__(self) -> None:
        super().__init__()
        self._closed = -1  # where the last frame's closing flag ended

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        offset, left = self._offset + at, len(held) - at
        lead = 1 if held[at] == FLAG else 0
        if not lead and offset != self._closed:
            return RejectReason.NOISE, 1, ""
        if left > lead and held[at + lead] & 0xF0 != 0xA0:
            return RejectReason.NOISE, 1, ""
        if left < lead + 2:
            if not final:
                return None
            return (RejectReason.TRUNCATED, left, "the stream ends inside the frame") if left > 1 else (
                RejectReason.NOISE, 1, "",
            )  # fmt: skip
        length = (held[at + lead] & 7) << 8 | held[at + lead + 1]
        if length < 7:
            return RejectReason.LENGTH, lead + 2, f"length {length} is below 7"
        size = lead + length + 1
        if left < size:
            return (RejectReason.TRUNCATED, left, "the stream ends inside the frame") if final else None
        if held[at + size - 1] != FLAG:
            return RejectReason.END_BYTE, size, f"{held[at + size - 1]:02X} stands where 7E should"
        raw = bytes(held[at : at + size])
        return self._frame(raw, lead, offset)

    def _frame(self, raw: bytes, lead: int, offset: int) -> Frame | Refusal:
        body = raw[lead:-1]
        if fcs(body[:-2]) != body[-2:]:
            said, wanted = body[-2:].hex().upper(), fcs(body[:-2]).hex().upper()
            return RejectReason.CHECKSUM, len(raw), f"FCS is {wanted}, frame says {said}"
        destination = _address(body[2:6])
        source = _address(body[2 + destination.size : 6 + destination.size]) if destination else None
        if destination is None or source is None:
            return RejectReason.HEADER, len(raw), "an address has 1, 2 or 4 bytes"
        at = 2 + destination.size + source.size
        rest = body[at + 1 : -2]
        if at >= len(body) - 2:
            return RejectReason.LENGTH, len(raw), "no room for the control byte"
        if rest:
            if len(rest) < 2 or fcs(body[: at + 1]) != rest[:2]:
                return RejectReason.CHECKSUM, len(raw), f"HCS is {fcs(body[: at + 1]).hex().upper()}"
            rest = rest[2:]
        self._closed = offset + len(raw)
        return Frame(offset, raw, destination, source, body[at], rest)


def build(
    destination: Address, source: Address, control: int, information: bytes = b"", *, segmented: bool = False
) -> bytes:
    """A frame from its parts: either side's."""
    head = destination.raw + source.raw + bytes((control,))
    length = 2 + len(head) + 2 + (len(information) + 2 if information else 0)
    if length > 0x7FF:
        raise LocalProtocolError(f"{len(information)} bytes do not fit one HDLC frame")
    head = (0xA000 | (0x0800 if segmented else 0) | length).to_bytes(2, "big") + head
    body = head + (fcs(head) + information if information else b"")
    return b"\x7e" + body + fcs(body) + b"\x7e"


class Joiner:
    """Segmented information, put together per direction. ``add`` gives what is whole; ``lost`` tells of a gap.

    Information frames count their segments. Meters that push in unnumbered frames (UI) segment them too.
    """

    _LARGEST = 1 << 20

    def __init__(self) -> None:
        self._parts: dict[tuple[Address, Address], tuple[int, bytes]] = {}
        self.lost = False

    def add(self, frame: Frame) -> bytes | None:
        """The whole information once its last segment is there; None before, and if a segment is missing."""
        way = (frame.destination, frame.source)
        self.lost = False
        begins = frame.information[:3] in (LLC_COMMAND, LLC_RESPONSE)
        if not frame.segmented and (way not in self._parts or (frame.kind == "UI" and begins)):
            self._parts.pop(way, None)
            return frame.information
        if frame.kind == "UI" and begins:  # unnumbered: the LLC header tells where a message begins
            self._parts.pop(way, None)
        number = frame.send_number if frame.kind != "UI" else 0
        expected, before = self._parts.pop(way, (number, b""))
        if not before and not begins:
            self.lost = True
            return None
        if frame.kind == "UI":
            expected = 0  # that a segment is missing shows only in the message, which is then too short
        if number != expected or len(before) > self._LARGEST:
            self.lost = True
            return None
        whole = before + frame.information
        if frame.segmented:
            self._parts[way] = ((number + 1) & 7, whole)
            return None
        return whole


_PARAMETERS = {
    5: "max_information_transmit",
    6: "max_information_receive",
    7: "window_transmit",
    8: "window_receive",
}


def negotiated(information: bytes) -> dict[str, int]:
    """The parameters in the information of SNRM and UA; empty if there are none."""
    out: dict[str, int] = {}
    if information[:2] != b"\x81\x80":
        return out
    at = 3
    while at + 2 <= len(information):
        code, size = information[at], information[at + 1]
        if code in _PARAMETERS and at + 2 + size <= len(information):
            out[_PARAMETERS[code]] = int.from_bytes(information[at + 2 : at + 2 + size], "big")
        at += 2 + size
    return out


@dataclass(frozen=True, slots=True)
class Wrapped:
    """One APDU in the TCP wrapper: version 1, ports of both sides."""

    offset: int
    raw: bytes

    @property
    def source(self) -> int:
        """The sender's wrapper port."""
        return int.from_bytes(self.raw[2:4], "big")

    @property
    def destination(self) -> int:
        """The receiver's wrapper port."""
        return int.from_bytes(self.raw[4:6], "big")

    @property
    def apdu(self) -> bytes:
        """What it carries."""
        return self.raw[8:]


class WrapperDecoder(Stream[Wrapped]):
    """The APDUs of one connection. TCP keeps bytes whole and in order: the header is looked for all the same."""

    def _candidate(self, held: memoryview, at: int, final: bool) -> Wrapped | Refusal | None:
        head = bytes(held[at : at + 8])
        if head[:2] != b"\0\1"[: len(head)]:
            return RejectReason.NOISE, 1, ""
        left = len(held) - at
        if left < 8:
            if not final:
                return None
            whole = left > 1
            return (
                (RejectReason.TRUNCATED if whole else RejectReason.NOISE),
                left,
                "the stream ends in a header",
            )
        size = 8 + int.from_bytes(head[6:8], "big")
        if size == 8:
            return RejectReason.LENGTH, 8, "an APDU of no bytes"
        if left < size:
            return (RejectReason.TRUNCATED, left, "the stream ends inside the APDU") if final else None
        return Wrapped(self._offset + at, bytes(held[at : at + size]))


def wrap(source: int, destination: int, apdu: bytes) -> bytes:
    """An APDU in the TCP wrapper, from one port to another."""
    if not 1 <= len(apdu) <= 0xFFFF:
        raise LocalProtocolError(f"{len(apdu)} bytes do not fit one wrapper")
    ports = source.to_bytes(2, "big") + destination.to_bytes(2, "big")
    return b"\0\1" + ports + len(apdu).to_bytes(2, "big") + apdu
