"""IEC 62056-21 (IEC 1107), modes A to D: sign-on, identification, readout, programming mode. Pure: no I/O, no float.

::

    /?12345678!            CR LF     sign-on with address                       (300 baud, 7E1)
    /ISk5MT174-0001        CR LF     identification: maker, baud character, type
    06 0 5 0               CR LF     acknowledge: protocol, baud, mode (0 readout, 1 programming)
    STX 1.8.0(000123.4*kWh) CR LF … ! CR LF ETX BCC        readout
    SOH R5 STX 1.8.0() ETX BCC       command of the programming mode; the answer is STX (…) ETX BCC
    /ISk5… CR LF CR LF data ! [CRC] CR LF                  mode D: sent unasked, with a CRC-16 in newer meters

* BCC is the XOR after SOH or STX up to and with ETX (or EOT, if more blocks follow). It may be any character, ETX and
  EOT too: it is found by its place.
* ``1.6.1(0.12*kW)(2301011200)``: further values of one address are ``1.6.1#2`` …; a value before any address has the
  address of the command that was answered, if the capture shows it.
* Zeros before the sign-on wake meters with a battery up; they are no noise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from operator import xor

from drivers import obis
from drivers.codec import Indication, LocalProtocolError, Missing, RejectReason
from drivers.stream import Refusal, Stream

SOH, STX, ETX, EOT, ACK, NAK = 0x01, 0x02, 0x03, 0x04, 0x06, 0x15
LONGEST = 65_536  # characters of one message
_LONGEST_LINE = 80  # of a sign-on or an identification
_OUTSIDE = re.compile(rb"[^\x20-\x7e\t\r\n]")
_OUTSIDE_PUSH = re.compile(
    rb"[^\x20-\x2e\x30-\x7e\t\r\n]"
)  # no data set holds a /: there the next one begins
_SIGN_ON = re.compile(rb"/\?([A-Za-z0-9 ]{0,32})!\r\n")
_IDENTIFICATION = re.compile(rb"/([A-Za-z]{3})([\x20-\x7e])([\x20-\x7e]*)\r\n")
_OPTION = re.compile(rb"\x06([0-9])([0-9A-Z])([0-9A-Z])\r\n")
_COMMANDS = {
    "P": "password",
    "W": "write",
    "R": "read",
    "E": "execute",
    "B": "break",
}
BAUD_C = {str(n): baud for n, baud in enumerate((300, 600, 1200, 2400, 4800, 9600, 19200))}
BAUD_B = {chr(65 + n): baud for n, baud in enumerate((600, 1200, 2400, 4800, 9600, 19200))}


class Kind(StrEnum):
    """What a message is."""

    SIGN_ON = "sign-on"
    IDENTIFICATION = "identification"
    OPTION = "option select"
    ACKNOWLEDGE = "acknowledge"
    REFUSAL = "repeat request"
    COMMAND = "command"
    DATA = "data"
    PUSH = "data without sign-on"


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound message. ``before``: of a mode D telegram, the identification that it belongs to."""

    offset: int
    raw: bytes
    kind: Kind
    before: bytes = b""

    @property
    def text(self) -> str:
        """What stands between the control characters."""
        raw = self.raw
        if self.kind in (Kind.DATA, Kind.COMMAND):
            raw = raw[raw.index(STX) + 1 if STX in raw[:-2] else 3 : -2]
        elif self.kind is Kind.PUSH:
            raw = raw[: raw.rindex(b"!")]
        return raw.decode("latin-1")

    @property
    def command(self) -> str:
        """Of a command, its two characters: ``R5``, ``P1``, ``B0``."""
        return self.raw[1:3].decode("latin-1") if self.kind is Kind.COMMAND else ""

    @property
    def from_meter(self) -> bool:
        """Identification, data, and the request for a password (P0)."""
        return self.kind in (Kind.IDENTIFICATION, Kind.DATA, Kind.PUSH) or self.command == "P0"

    @property
    def address(self) -> str:
        """The address of a sign-on."""
        found = _SIGN_ON.fullmatch(self.raw)
        return found.group(1).decode("ascii").strip() if found else ""

    @property
    def identification(self) -> Identification | None:
        """Of an identification message, what it says."""
        found = _IDENTIFICATION.fullmatch(self.raw) if self.kind is Kind.IDENTIFICATION else None
        if found is None:
            return None
        return Identification(*(part.decode("latin-1") for part in found.groups()))

    @property
    def more(self) -> bool:
        """A block that ends with EOT: others follow."""
        return self.kind is Kind.DATA and self.raw[-2] == EOT

    @property
    def checked(self) -> bool:
        """Whether a check sum vouches for the contents (a mode D telegram may have none)."""
        return self.kind is not Kind.PUSH or self.raw.rstrip(b"\r\n")[-1:] != b"!"

    @property
    def error(self) -> str:
        """What a meter refuses with, or empty."""
        found = re.fullmatch(r"\(?(ER[^()]*)\)?\s*", self.text) if self.kind is Kind.DATA else None
        return f"error answer: {found.group(1)}" if found else ""


@dataclass(frozen=True, slots=True)
class Identification:
    """The meter's maker (3 letters), baud character, and type."""

    manufacturer: str
    baud_character: str
    name: str

    @property
    def mode(self) -> str:
        """``C``, ``B`` or ``A``, by the baud character."""
        return "C" if self.baud_character in BAUD_C else "B" if self.baud_character in BAUD_B else "A"

    @property
    def baud(self) -> int:
        """The rate that the meter offers."""
        return {**BAUD_C, **BAUD_B}.get(self.baud_character, 300)


def bcc(data: bytes) -> int:
    """The block check: XOR (ISO 1155)."""
    return reduce(xor, data, 0)


def _crc(data: bytes) -> int:
    """CRC-16/ARC of a mode D telegram, from / to !."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


class Decoder(Stream[Frame]):
    """The messages of one line, both directions. Characters have seven bits."""

    _preamble = b"\x00"

    def __init__(self) -> None:
        super().__init__()
        self._searched = (-1, 0)  # a message begun here has no end before there: not to be searched again
        self._identified = (-1, b"")  # where the last identification ended, and its bytes

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        first = held[at]
        if first == 0x2F:
            return self._line(held, at, final)
        if first in (STX, SOH):
            return self._block(held, at, final)
        if first == ACK:
            return self._acknowledge(held, at, final)
        offset = self._offset + at
        if first == NAK and offset >= self._told:
            return Frame(offset, b"\x15", Kind.REFUSAL)
        if first == 0x0D and offset == self._identified[0]:
            return self._push(held, at, final)
        return RejectReason.NOISE, 1, ""

    def _line(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        line = bytes(held[at : at + _LONGEST_LINE])
        end = line.find(b"\n")
        if end < 0:
            if len(line) == _LONGEST_LINE or _OUTSIDE.search(line):
                return RejectReason.NOISE, 1, ""
            return (RejectReason.TRUNCATED, len(line), "the stream ends inside the line") if final else None
        raw, offset = line[: end + 1], self._offset + at
        if _SIGN_ON.fullmatch(raw):
            return Frame(offset, raw, Kind.SIGN_ON)
        if _IDENTIFICATION.fullmatch(raw):
            self._identified = (offset + len(raw), raw)
            return Frame(offset, raw, Kind.IDENTIFICATION)
        return RejectReason.NOISE, 1, ""

    def _acknowledge(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        raw, offset = bytes(held[at : at + 6]), self._offset + at
        if _OPTION.fullmatch(raw):
            return Frame(offset, raw, Kind.OPTION)
        if not final and re.fullmatch(rb"\x06([0-9]([0-9A-Z]([0-9A-Z]\r?)?)?)?", raw):
            return None
        if offset < self._told:
            return RejectReason.NOISE, 1, ""
        return Frame(offset, raw[:1], Kind.ACKNOWLEDGE)

    def _block(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        command = held[at] == SOH
        left = len(held) - at
        search = at + 1
        if command:
            head = bytes(held[at + 1 : at + 4])
            if len(head) > 1 and not re.match(rb"[A-Z][0-9A-Z]", head):
                return RejectReason.NOISE, 1, ""
            if len(head) > 2 and head[2] not in (STX, ETX):
                return RejectReason.NOISE, 1, ""
            search = at + 4 if len(head) > 2 and head[2] == STX else at + 3
        offset = self._offset + at
        if self._searched[0] == offset:
            search = max(search, self._searched[1] - self._offset)
        found = _OUTSIDE.search(held, min(search, len(held)))
        if found is None:
            self._searched = (offset, self._offset + len(held))
        end = found.start() if found else len(held)
        if end - at > LONGEST:
            return RejectReason.LENGTH, 1, f"no end within {LONGEST} characters"
        if found and held[end] not in (ETX, EOT):
            return RejectReason.HEADER, end - at, f"{held[end]:02X} is no character of a message"
        if end + 2 > len(held):
            return (RejectReason.TRUNCATED, left, "the stream ends inside the message") if final else None
        raw = bytes(held[at : end + 2])
        wanted = bcc(raw[1:-1])
        if raw[-1] != wanted:
            return RejectReason.CHECKSUM, len(raw), f"BCC is {wanted:02X}, message says {raw[-1]:02X}"
        return Frame(offset, raw, Kind.COMMAND if command else Kind.DATA)

    def _push(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        """Mode D: an empty line after the identification, data, !, perhaps four hex digits."""
        if len(held) - at < 2:
            return (RejectReason.NOISE, 1, "") if final else None
        if held[at + 1] != 0x0A:
            return RejectReason.NOISE, 1, ""
        outside = _OUTSIDE_PUSH.search(held, at)
        stop = outside.start() if outside else len(held)
        stop = min(stop, at + LONGEST)
        body = bytes(held[at:stop])
        mark = re.search(rb"(?:^|\n)!", body)
        end = body.find(b"\n", mark.end()) if mark else -1
        if mark is None or end < 0:
            if outside or stop - at == LONGEST:
                return RejectReason.HEADER, stop - at, "the telegram has no end"
            return (
                (RejectReason.TRUNCATED, len(body), "the stream ends inside the telegram") if final else None
            )
        raw = body[: end + 1]
        check = raw[mark.end() :].strip()
        if check:
            wanted = _crc(self._identified[1] + raw[: mark.end()])
            if not re.fullmatch(rb"[0-9A-Fa-f]{4}", check) or int(check, 16) != wanted:
                said = check.decode("latin-1")
                return RejectReason.CHECKSUM, len(raw), f"CRC is {wanted:04X}, telegram says {said}"
        return Frame(self._offset + at, raw, Kind.PUSH, self._identified[1])


# ---- data ----------------------------------------------------------------------------------------------------------

_SET = re.compile(r"([^()!/\r\n]*)\(([^()]*)\)|([^\r\n]+)")


@dataclass(frozen=True, slots=True)
class DataSet:
    """One value as printed: address (empty if none was given before it), its place after the address, value, unit."""

    address: str
    place: int
    value: str
    unit: str

    @property
    def item(self) -> str:
        """``1.6.1``, and ``1.6.1#2`` for the second value of an address."""
        return self.address if self.place == 1 else f"{self.address}#{self.place}"


def data_sets(text: str, address: str = "") -> tuple[DataSet, ...]:
    """The data sets of a data message; ``address``: of values that come before any. What is no data set is left out."""
    found: list[DataSet] = []
    place = 0
    for match in _SET.finditer(text):
        if match.group(3) is not None:
            if match.group(3).strip() == "!":
                break
            continue
        named = match.group(1).strip()
        if named:
            address, place = named, 0
        # Landis+Gyr heat meters write several values into one pair of brackets: 9.4(094.4*C&092.9*C)
        inside = match.group(2)
        for one in inside.split("&") if "*" in inside else (inside,):
            place += 1
            value, star, unit = one.partition("*")
            found.append(DataSet(address, place, value.strip(), unit.strip() if star else ""))
    return tuple(found)


def decode(text: str, address: str = "") -> tuple[Indication, ...]:
    """The indications of a data message: numbers exact as printed, everything else as text or missing."""
    return tuple(_indication(one) for one in _with_units(data_sets(text, address)))


def _no_quantity(one: DataSet) -> bool:
    """Whether digits without a unit are a time or a number (10 digits or more), or a profile's head (P.01, P.98)."""
    return (one.value.isdecimal() and len(one.value) >= 10) or one.address.startswith("P.")


def _with_units(sets: Sequence[DataSet]) -> Iterator[DataSet]:
    """A load profile's head ``P.01(time)(status)(minutes)(n)(code)(unit)…`` gives the values after it their units."""
    at = 0
    while at < len(sets):
        end = at + 1
        while end < len(sets) and sets[end].place > 1:
            end += 1
        group = sets[at:end]
        at = end
        count = group[3].value if len(group) > 3 and group[0].address.startswith("P.") else ""
        columns = int(count) if count.isdecimal() and len(count) < 3 else 0
        head = 4 + 2 * columns
        yield from group[:head]
        for n, one in enumerate(group[head:]):
            unit = one.unit or (group[5 + 2 * (n % columns)].value if columns else "")
            yield DataSet(one.address, one.place, one.value, unit)


def _indication(one: DataSet) -> Indication:
    unit = obis.ucum(one.unit)
    measurand = obis.measurand(one.address, unit) if one.place == 1 else ""
    if one.value == "" or not one.value.strip("-*_? "):
        return Indication(one.item, measurand, None, unit, Missing.NOT_SUPPORTED, one.value)
    if re.fullmatch(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", one.value) and (
        one.unit or not (obis.identity(one.address) or _no_quantity(one))
    ):
        value = Decimal(one.value)
        return Indication(one.item, measurand, abs(value) if value == 0 else value, unit)
    reason = Missing.NOT_A_NUMBER if one.unit else Missing.NOT_NUMERIC
    return Indication(one.item, measurand, None, unit, reason, one.value)


# ---- writing messages ------------------------------------------------------------------------------------------------


def address(text: str) -> str:
    """The device address: up to 32 letters, digits or spaces; empty for the only meter of a line."""
    stripped = text.strip()
    if re.fullmatch(r"[A-Za-z0-9 ]{0,32}", stripped):
        return stripped
    raise ValueError(f"{text!r} is no IEC 62056-21 address: up to 32 letters, digits or spaces")


def sign_on(device: str = "", *, wake_up: int = 0) -> bytes:
    """``/?address!``; ``wake_up`` zero characters before it for meters with a battery (about 2.1 s: 65 at 300 baud)."""
    return bytes(wake_up) + f"/?{address(device)}!\r\n".encode("ascii")


def select(baud_character: str, *, programming: bool = False) -> bytes:
    """The acknowledge with option: protocol 0, the rate, and what is wanted."""
    return f"\x06{0}{baud_character}{int(programming)}\r\n".encode("ascii")


def command(name: str, data: str = "", *, writes: bool = False) -> bytes:
    """A command of the programming mode; LocalProtocolError for what changes the meter, unless ``writes``."""
    if name[:1] not in ("R", "P", "B") and not writes:
        raise LocalProtocolError(f"{name} changes the meter; this product only reads")
    body = name.encode("ascii") + (b"" if name[:1] == "B" else b"\x02" + data.encode("ascii")) + b"\x03"
    return b"\x01" + body + bytes((bcc(body),))


def message(data: str, *, more: bool = False) -> bytes:
    """A data message, as a meter sends it."""
    body = data.encode("ascii") + (b"\x04" if more else b"\x03")
    if _OUTSIDE.search(body[:-1]):
        raise LocalProtocolError("a message holds printable characters and line ends only")
    return b"\x02" + body + bytes((bcc(body),))


# ---- the client's side -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Wait ``pause_ms``, write ``data`` (may be empty), and once it has left go on at ``baud``."""

    data: bytes
    baud: int
    pause_ms: int = 200


@dataclass(frozen=True, slots=True)
class Done:
    """The readout is complete: its messages, in order."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The readout cannot go on."""

    why: str


class Client:
    """One readout of one meter: tells what to send and at which rate, given what was heard.

    ``start()``, then ``heard(frame)`` for each message and ``silent()`` at each time-out (1.5 s). With ``items`` the
    programming mode is entered and each address is read (R5, or ``read`` otherwise); ``password`` is given if wanted.
    Nothing is ever written. ``highest_baud`` bounds the rate; ``wake_up``: zero characters before the sign-on.
    """

    def __init__(
        self,
        device: str = "",
        *,
        items: tuple[str, ...] = (),
        password: str = "",
        read: str = "R5",
        wake_up: int = 0,
        highest_baud: int = 9600,
        first_baud: int = 300,
        retries: int = 2,
    ) -> None:
        if read[:1] != "R":
            raise LocalProtocolError(f"{read} is no reading")
        self._sign_on = sign_on(device, wake_up=wake_up)
        self._items, self._password, self._read = items, password, read
        self._highest, self._first, self._retries = highest_baud, first_baud, retries
        self._baud = first_baud
        self._stage = "identify"
        self._last = Send(self._sign_on, first_baud)
        self._left = retries
        self._frames: list[Frame] = []
        self._next = 0

    def start(self) -> Send:
        """The sign-on, at the first rate."""
        self._baud, self._stage, self._frames, self._next = self._first, "identify", [], 0
        return self._say(self._sign_on, 0)

    def silent(self) -> Send | Failed:
        """Nothing came in time: the last message again, or the end."""
        if self._left == 0:
            return Failed(f"no answer while waiting to {self._stage}")
        self._left -= 1
        if self._stage == "identify" or not self._last.data:
            again = self._left
            first = self.start()
            self._left = again
            return first
        return self._last

    def heard(self, frame: Frame) -> Send | Done | Failed | None:
        """What follows from a message; None: it is none that was waited for (an echo, say)."""
        if frame.kind is Kind.REFUSAL:
            return self.silent()
        if self._stage == "identify":
            return self._identified(frame)
        if self._stage == "read out" and frame.kind is Kind.DATA:
            if frame.error:
                return Failed(frame.error)
            self._frames.append(frame)
            return Done(tuple(self._frames)) if not frame.more else self._say(b"\x06")
        if self._stage == "enter":
            return self._entered(frame)
        if self._stage == "read" and frame.kind is Kind.DATA:
            self._frames.append(frame)
            if frame.more:
                return self._say(b"\x06")
            self._next += 1
            return self._ask()
        return None

    def _say(self, data: bytes, pause_ms: int = 200, baud: int | None = None) -> Send:
        self._left = self._retries
        self._baud = baud or self._baud
        self._last = Send(data, self._baud, pause_ms)
        return self._last

    def _identified(self, frame: Frame) -> Send | None:
        who = frame.identification
        if who is None:
            return None
        self._frames.append(frame)
        if who.mode != "C":
            self._stage = "read out"
            return self._say(b"", 200, who.baud if who.mode == "B" else None)
        rate = who.baud_character if who.baud <= self._highest else "0"
        self._stage = "enter" if self._items else "read out"
        return self._say(select(rate, programming=bool(self._items)), 200, BAUD_C[rate])

    def _entered(self, frame: Frame) -> Send | Done | Failed | None:
        if frame.command == "P0" and self._password:
            return self._say(command("P1", f"({self._password})"))
        if frame.command == "P0" or frame.kind is Kind.ACKNOWLEDGE:
            self._stage = "read"
            return self._ask()
        if frame.kind is Kind.DATA and frame.error:
            return Failed(frame.error)
        return None

    def _ask(self) -> Send | Done:
        if self._next < len(self._items):
            return self._say(command(self._read, f"{self._items[self._next]}()"))
        return Done(tuple(self._frames))

    def goodbye(self) -> Send:
        """The break that ends the programming mode: the meter goes back to 300 baud."""
        return Send(command("B0"), self._first)


def what(name: str) -> str:
    """A command in words."""
    return _COMMANDS.get(name[:1], "unknown command")
