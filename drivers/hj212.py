"""HJ 212 (2005, 2017, 2025): what a CEMS data logger sends. Pure: no socket, no clock, no float.

::

    ##0149QN=2026…;ST=31;CN=2011;PW=…;MN=…;Flag=9;CP=&&DataTime=…;a05001-Rtd=196429.0,a05001-Flag=N&&95C1 CR LF
    | length   segment of 149 bytes: header ;            items ;      fields ,                       | CRC  | end

* The four digits count the bytes of the segment; the CRC (four hex digits, either case) is computed over it.
* The CRC is the standard's own (annex A): ``crc = (crc >> 8) ^ byte``, then eight shifts with A001: not Modbus's.
* ``Flag``: bit 0 an answer is wanted, bit 1 the segment is one of several (PNUM, PNO), bits 2..7 the edition
  (0 = 2005, 1 = 2017, 2 = 2025).
* A value never stands without its data flag (N ok, F stopped, M maintenance, S manual, D fault, C calibrating,
  T over range, B no communication; 2017 table 8): it is told beside the value, and the reader must heed it.
* The unit of a pollutant is configured per measuring point; units are told only where the standard has but one.
* DataTime is the sampling instant for 2011 and 2021, the *start* of the interval for 2051, 2061 and 2031.

An encrypted 2025 segment (SM4) is refused here: its CRC is over the plain text, which only the key gives
(:mod:`drivers.hj212_sm4`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from drivers.codec import Indication, LocalProtocolError, Missing, Reject, RejectReason
from drivers.stream import Refusal, Stream

COMMANDS = {
    "1000": "set time-outs and resends",
    "1001": "logger serial number",
    "1011": "field time",
    "1012": "set the field time",
    "1013": "request for the time",
    "1014": "key renewal",
    "2011": "real-time data",
    "2013": "raw data",
    "2021": "equipment state",
    "2031": "day data",
    "2041": "equipment run time of the day",
    "2051": "minute data",
    "2061": "hour data",
    "2062": "automatic standard check",
    "2081": "logger start time",
    "3020": "field information",
    "9011": "request accepted or refused",
    "9012": "operation done",
    "9013": "notification acknowledged",
    "9014": "data acknowledged",
    "9015": "heartbeat",
}
DATA_FLAGS = {
    "N": "normal",
    "F": "stopped",
    "M": "maintenance",
    "S": "set by hand",
    "D": "fault",
    "C": "calibrating",
    "T": "over the measuring limit",
    "B": "no communication",
}
# Codes whose unit the standard fixes (2017 table B.2): name, unit of a reading, unit of the accumulated quantity.
CODES: dict[str, tuple[str, str, str]] = {
    "a00000": ("flow.stack", "m3/s", "m3"),
    "a01006": ("pressure.ambient", "kPa", ""),
    "a01011": ("velocity.stack", "m/s", ""),
    "a01012": ("temperature.stack", "Cel", ""),
    "a01013": ("pressure.stack", "kPa", ""),
    "a01014": ("humidity.stack", "%", ""),
    "a01016": ("area.stack", "m2", ""),
    "a19001": ("fraction.o2", "%", ""),
    "a05001": ("concentration.co2", "", ""),
    "a05002": ("concentration.ch4", "", ""),
}
_READINGS = ("Rtd", "Min", "Avg", "Max")
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")
_HEAD = 6
_LONGEST = 9999
_ENCRYPTED = re.compile(rb"CP=(?:&&)?\{0[xX]")
_LONGEST_ENCRYPTED = 8192  # 1024 octets, five characters each, and what stands around them
NEEDS_KEY = "encrypted (SM4): its CRC is over the plain text, which needs the logger's key"


def crc(data: bytes) -> int:
    """The check of annex A.

    >>> f"{crc(b'QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&'):04X}"
    '2200'
    """
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


@dataclass(frozen=True, slots=True)
class Flag:
    """The header's Flag: edition (0 = 2005, 1 = 2017, 2 = 2025), packet numbers, answer wanted."""

    version_bits: int
    has_packet_no: bool
    ack_required: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame. ``header``: fields before CP in order; ``groups``: the items of CP, each its fields in order."""

    offset: int
    raw: bytes
    header: tuple[tuple[str, str], ...]
    groups: tuple[tuple[tuple[str, str], ...], ...]
    opened: bytes = b""  # the plain packet, if ``raw`` is encrypted

    @property
    def plain(self) -> bytes:
        """The packet as anyone can read it."""
        return self.opened or self.raw

    def head(self, key: str) -> str:
        """One header field, empty if it is not there."""
        return dict(self.header).get(key, "")

    @property
    def crc(self) -> str:
        """The four digits as they came."""
        return self.raw[-6:-2].decode("ascii")

    @property
    def flag(self) -> Flag | None:
        """The Flag field; None if there is none (2005) or it is no number."""
        text = self.head("Flag")
        if not text.isascii() or not text.isdigit() or int(text) > 255:
            return None
        bits = int(text)
        return Flag(bits >> 2, bool(bits & 2), bool(bits & 1))

    @property
    def packet(self) -> tuple[int, int]:
        """(number, of how many) of a segment that is one of several; else (1, 1)."""
        one, of = self.head("PNO"), self.head("PNUM")
        both = one.isascii() and one.isdigit() and of.isascii() and of.isdigit()
        return (int(one), int(of)) if both else (1, 1)


class Decoder(Stream[Frame]):
    """The frames of one connection."""

    _start = b"##"

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        left = len(held) - at
        digits = bytes(held[at + 2 : at + _HEAD])
        if not all(0x30 <= byte <= 0x39 for byte in digits):
            return RejectReason.NOISE, 1, ""
        size = _HEAD + int(digits) + 6 if len(digits) == 4 else _HEAD
        if left < size:
            return None if not final else (RejectReason.TRUNCATED, left, "the stream ends inside the frame")
        raw = bytes(held[at : at + size])
        if encrypted(raw):
            return self._encrypted(held, at, final)
        if raw[-2:] != b"\r\n":
            return RejectReason.END_BYTE, size, "no CR LF after the length that the frame tells"
        said = raw[-6:-2]
        segment = raw[_HEAD:-6]
        if not re.fullmatch(rb"[0-9A-Fa-f]{4}", said):
            return RejectReason.CHECKSUM, size, f"{said!r} is no CRC"
        if int(said, 16) != crc(segment):
            return (
                RejectReason.CHECKSUM,
                size,
                f"CRC is {crc(segment):04X}, frame says {said.decode('ascii')}",
            )
        parsed = parse(segment)
        if parsed is None:
            return RejectReason.HEADER, size, "the segment has no CP=&&…&&, or a field without ="
        return Frame(self._offset + at, raw, *parsed)

    def _encrypted(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        """Its length may count the plain text, which is shorter: CR LF ends it, for it has no other."""
        whole = bytes(held[at : at + _LONGEST_ENCRYPTED])
        end = whole.find(b"\r\n")
        if end < 0:
            if not final and len(whole) < _LONGEST_ENCRYPTED:
                return None
            return RejectReason.TRUNCATED, len(whole), "encrypted (SM4), and no CR LF ends it"
        raw = whole[: end + 2]
        plain = self._open(raw)
        if isinstance(plain, str):
            return RejectReason.CHECKSUM, len(raw), plain
        parsed = parse(plain[_HEAD:-6])
        if parsed is None:
            return RejectReason.HEADER, len(raw), "the opened segment has no CP=&&…&&, or a field without ="
        return Frame(self._offset + at, raw, *parsed, opened=plain)

    def _open(self, raw: bytes) -> bytes | str:  # noqa: ARG002 - who has the key reads it
        """The plain packet of an encrypted one; or why there is none."""
        return NEEDS_KEY

    def _scan(self, *, final: bool) -> list[Frame | Reject]:
        # A single # at the end may be the first of two: keep it until more has come.
        if not final and self._held.endswith(b"#") and not self._held.endswith(b"##"):
            del self._held[-1:]
            found = super()._scan(final=False)
            self._held += b"#"
            return found
        return super()._scan(final=final)


def encrypted(raw: bytes) -> bool:
    """Whether a packet's CP is encrypted."""
    return _ENCRYPTED.search(raw) is not None


def parse(
    segment: bytes,
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[tuple[str, str], ...], ...]] | None:
    """Header and items of a data segment (2017 tables 3 and 4); None if it is malformed."""
    try:
        text = segment.decode("utf-8")
    except UnicodeDecodeError:
        text = segment.decode("gb18030", errors="replace")
    head, begin, rest = text.partition("CP=&&")
    body, end, after = rest.rpartition("&&")
    if not begin or not end or after or "&&" in body:
        return None
    header = _fields(head, ";")
    groups = tuple(_fields(part, ",") for part in body.split(";") if part)
    if header is None or any(group is None for group in groups):
        return None
    return header, tuple(group for group in groups if group)


def _fields(text: str, between: str) -> tuple[tuple[str, str], ...] | None:
    fields = []
    for part in text.split(between):
        if not part:
            continue
        key, equals, value = part.partition("=")
        if not equals or not key:
            return None
        fields.append((key, value))
    return tuple(fields)


def build(header: Mapping[str, str], groups: Sequence[Mapping[str, str]] = ()) -> bytes:
    """A frame from its fields, CRC in capitals; LocalProtocolError if they cannot stand in one."""
    for key, value in [*header.items(), *(pair for group in groups for pair in group.items())]:
        if not key or re.search(r"[;,=&#\r\n]", key) or re.search(r"[;,&#\r\n]", value):
            raise LocalProtocolError(f"{key}={value} cannot stand in a segment")
    head = "".join(f"{key}={value};" for key, value in header.items())
    body = ";".join(",".join(f"{key}={value}" for key, value in group.items()) for group in groups)
    segment = f"{head}CP=&&{body}&&".encode()
    if len(segment) > 1024:
        raise LocalProtocolError(f"a segment has at most 1024 bytes, not {len(segment)}: split it")
    return b"##%04d" % len(segment) + segment + b"%04X\r\n" % crc(segment)


def acknowledge(frame: Frame) -> bytes | None:
    """The answer that a frame wants: 9014 to data, 9013 to a notification; None if it wants none."""
    flag = frame.flag
    command = frame.head("CN")
    if flag is None or not flag.ack_required or command.startswith("9"):
        return None
    fields = {
        "QN": frame.head("QN"),
        "ST": "91",
        "CN": "9014" if command.startswith("2") else "9013",
        "PW": frame.head("PW"),
        "MN": frame.head("MN"),
        "Flag": str(flag.version_bits << 2),
    }
    return build(fields)


def join(frames: Sequence[Frame]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """The items of segments that belong together, in order; LocalProtocolError if one is missing or foreign."""
    if not frames:
        raise LocalProtocolError("no segments to join")
    first = frames[0]
    for n, frame in enumerate(frames, 1):
        same = all(frame.head(key) == first.head(key) for key in ("QN", "ST", "CN", "MN"))
        if not same or frame.packet != (n, len(frames)):
            raise LocalProtocolError(f"segment {n} of {len(frames)} is not there: {frame.packet} came")
    return tuple(group for frame in frames for group in frame.groups)


def decode(groups: Sequence[Sequence[tuple[str, str]]]) -> tuple[Indication, ...]:
    """The indications of CP's items: numbers exact as written, each with its data flag; everything else as text."""
    found: list[Indication] = []
    anywhere = flags_of(groups)  # some loggers put the flag into an item of its own, after a semicolon
    for group in groups:
        flags = anywhere | flags_of([group])
        for key, value in group:
            code, _, what = key.partition("-")
            if what == "Flag":
                continue
            found.append(_indication(key, code, what, value, flags.get(code, "")))
    return tuple(found)


def flags_of(groups: Sequence[Sequence[tuple[str, str]]]) -> dict[str, str]:
    """The data flags by factor code. Of flags that contradict each other the one that is not N counts."""
    flags: dict[str, str] = {}
    for group in groups:
        for key, value in group:
            if key.endswith("-Flag") and flags.get(key.removesuffix("-Flag"), "N") == "N":
                flags[key.removesuffix("-Flag")] = value
    return flags


def _indication(key: str, code: str, what: str, value: str, flag: str) -> Indication:
    name, unit, accumulated = CODES.get(code, ("", "", ""))
    detail = f"flag {flag}: {DATA_FLAGS.get(flag, 'of this site')}" if flag else ""
    if what == "Cou":
        # What is accumulated of a concentration is a mass, of most other readings nothing: they get no name here.
        unit, measurand = accumulated, f"{name}.accumulated" if accumulated else ""
    elif what in _READINGS:
        measurand = f"{name}.{what.lower()}" if name and what != "Rtd" else name
    else:
        unit = measurand = ""
    is_time = key == "DataTime" or what == "SampleTime"
    if what and not is_time and _NUMBER.fullmatch(value):
        return Indication(key, measurand, Decimal(value), unit, None, detail)
    if what in (*_READINGS, "Cou"):
        return Indication(key, measurand, None, unit, Missing.NOT_A_NUMBER, f"{value!r} {detail}".strip())
    if is_time and not _possible(value):
        return Indication(key, "", None, "", Missing.NOT_A_NUMBER, f"no possible time: {value!r}")
    return Indication(key, "", None, "", Missing.NOT_NUMERIC, value)


def _possible(text: str) -> bool:
    """Whether a time as written (YYYYMMDDhhmmss, perhaps with milliseconds) is one."""
    try:
        datetime.strptime(f"{text[:14]}+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        return False
    return text.isascii() and text.isdigit() and 14 <= len(text) <= 17
