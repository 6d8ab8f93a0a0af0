"""The application layer of M-Bus (EN 13757-3): header, data records, error answers. Pure: no I/O, no clock, no float.

::

    72  78 56 34 12  24 40  01  02  55  00  00 00 | 0B 2A 56 34 12 | 8C 10 04 52 12 00 00 | 1F
    CI  id (BCD)     maker  ver med acc st  config| DIF VIF  data  | DIF DIFE VIF …       | more follows

* A value is ``data * factor``, both exact. The unit and the factor come from VIF and VIFE, never from elsewhere.
* No value: function 3 (value during error state), a nibble above 9 in BCD, the most negative integer, a record error,
  a coding or an extension that is not known here.
* Records that don't fit into the telegram, more than 10 DIFEs or VIFEs: ``Malformed``; no value of such a telegram is
  told, for where one record ends wrongly the next begins wrongly.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date as calendar_date
from decimal import Decimal

from drivers.codec import Indication, Missing
from drivers.mbus_tables import (
    APPLICATION_ERRORS,
    BITS,
    ELECTRIC,
    FB,
    FD,
    FIXED,
    FIXED_MEDIA,
    HEAT,
    MAIN,
    MEDIA,
    MOMENT,
    RECORD_ERRORS,
    Quantity,
    extend,
    status_words,
)
from drivers.registers import decode as register
from drivers.registers import scaled

_LIMIT = 10  # DIFEs, VIFEs
_FUNCTIONS = ("", "maximum", "minimum", "error")
_LENGTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 8, 8: 0, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
_MOMENT_CODINGS = (2, 3, 4, 6)
LONG, SHORT, BARE = (0x72, 0x76), (0x7A,), (0x78,)
FIXED_CI = (0x73, 0x77)
ERROR_CI = 0x70


class Malformed(ValueError):
    """The telegram's application data cannot be what the standard asks for; ``at`` is the byte in it."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(f"byte {at} of the application data: {why}")
        self.at = at


@dataclass(frozen=True, slots=True)
class Header:
    """Who answers. ``identity``: 8 digits (hex digits occur), empty where the telegram has no long header."""

    identity: str = ""
    manufacturer: str = ""
    version: int | None = None
    medium_code: int | None = None
    medium: str = ""
    access: int | None = None
    status: int | None = None
    configuration: int = 0

    @property
    def conditions(self) -> list[str]:
        """The status byte in words."""
        return [] if self.status is None else status_words(self.status)


@dataclass(frozen=True, slots=True)
class Telegram:
    """What a slave said: header, indications in the order of the records, an application error, more to come."""

    header: Header
    indications: tuple[Indication, ...] = ()
    error: str = ""
    more: bool = False


def manufacturer(code: int) -> str:
    """Three letters out of 15 bits.

    >>> manufacturer(0x4024)
    'PAD'
    """
    letters = [(code >> shift & 0x1F) + 64 for shift in (10, 5, 0)]
    return "".join(map(chr, letters)) if all(65 <= c <= 90 for c in letters) else f"{code:04X}"


def decode(ci: int, data: bytes) -> Telegram | None:
    """The application data after CI of an answer; None for a CI that carries no readings. Malformed if it is broken."""
    if ci == ERROR_CI:
        code = data[0] if data else 0
        return Telegram(Header(), error=APPLICATION_ERRORS.get(code, f"application error {code}"))
    if ci in FIXED_CI:
        return _fixed(data, "big" if ci == 0x77 else "little")
    if ci in LONG:
        big = ci == 0x76
        if len(data) < 12:
            raise Malformed(len(data), f"the header has 12 bytes, {len(data)} came")
        one = data[:4] if big else data[3::-1]
        order = "big" if big else "little"
        medium = data[7]
        maker = manufacturer(int.from_bytes(data[4:6], "big" if big else "little") & 0x7FFF)
        head = Header(
            one.hex().upper(), maker, data[6], medium, MEDIA.get(medium, ""), data[8], data[9],
            int.from_bytes(data[10:12], "big" if big else "little"),
        )  # fmt: skip
        return _variable(head, data, 12, order)
    if ci in SHORT:
        if len(data) < 4:
            raise Malformed(len(data), f"the header has 4 bytes, {len(data)} came")
        head = Header(access=data[0], status=data[1], configuration=int.from_bytes(data[2:4], "little"))
        return _variable(head, data, 4, "little")
    if ci in BARE:
        return _variable(Header(), data, 0, "little")
    return None


# ---- variable data structure ----------------------------------------------------------------------------------------


def _variable(head: Header, data: bytes, at: int, order: str) -> Telegram:
    mode = head.configuration >> 8 & 0x1F
    if mode in (5, 7) and len(data) > at and data[at : at + 2] != b"\x2f\x2f":
        detail = f"encrypted (mode {mode}): {data[at:].hex(' ').upper()}"
        return Telegram(head, (Indication("encrypted data", "", None, "", Missing.UNKNOWN_FORMAT, detail),))
    found, more, _ = records(data, at, head.medium_code, order)
    return Telegram(head, found, more=more)


def records(
    data: bytes, at: int = 0, medium: int | None = None, order: str = "little"
) -> tuple[tuple[Indication, ...], bool, int]:
    """The records from ``at`` on: indications, whether more telegrams follow, where it ended."""
    found: list[Indication] = []
    more = False
    while at < len(data):
        dif = data[at]
        if dif == 0x2F:
            at += 1
            continue
        if dif in (0x0F, 0x1F):
            more = dif == 0x1F
            rest = data[at + 1 :]
            if rest:
                shown = rest.hex(" ").upper()
                found.append(
                    Indication("manufacturer specific data", "", None, "", Missing.UNKNOWN_FORMAT, shown)
                )
            return _unambiguous(found), more, len(data)
        if dif & 0x0F == 0x0F:
            if dif == 0x7F:
                at += 1
                continue
            raise Malformed(at, f"DIF {dif:02X} is reserved")
        indication, at = _record(data, at, medium, order)
        found.append(indication)
    return _unambiguous(found), more, at


def _unambiguous(found: list[Indication]) -> tuple[Indication, ...]:
    """A measurand that several records of one telegram claim (three phases told alike) is none of theirs."""
    often = {name for name, n in Counter(i.measurand for i in found).items() if n > 1}
    return tuple(replace(i, measurand="") if i.measurand in often else i for i in found)


@dataclass(slots=True)
class _Meaning:
    """What the value information block says."""

    quantity: Quantity | None
    words: list[str]
    problem: str = ""
    record_error: int = 0
    direction: str = "import"
    phase: str = ""
    plain: bool = True  # nothing that would make it another quantity than the VIF's


def _record(data: bytes, start: int, medium: int | None, order: str) -> tuple[Indication, int]:
    at = start
    dif = data[at]
    storage, tariff, subunit = dif >> 6 & 1, 0, 0
    tariffed = False
    n = 0
    while data[at] & 0x80:
        at += 1
        if at >= len(data):
            raise Malformed(start, "the data information ends after a DIFE that announces another")
        if n == _LIMIT:
            raise Malformed(start, "more than 10 DIFEs")
        dife = data[at]
        storage |= (dife & 0x0F) << (1 + 4 * n)
        tariff |= (dife >> 4 & 3) << (2 * n)
        subunit |= (dife >> 6 & 1) << n
        tariffed = True
        n += 1
    at += 1
    meaning, at = _value_information(data, at, start, order)
    coding = dif & 0x0F
    size, skip = _size(data, at, coding, start)
    raw = data[at + skip : at + skip + size]
    if at + skip + size > len(data):
        raise Malformed(start, f"the data has {size} bytes, {max(0, len(data) - at - skip)} are left")
    lvar = data[at] if coding == 0x0D else 0
    function = dif >> 4 & 3
    where = [f"storage={storage}"] if storage else []
    where += [f"tariff={tariff}"] if tariff else []
    where += [f"subunit={subunit}"] if subunit else []
    where += [f"function={_FUNCTIONS[function]}"] if function else []
    name = meaning.quantity.name if meaning.quantity else "unknown quantity"
    item = " ".join([name, *[f"({word})" for word in meaning.words if word], *where])
    named = meaning.plain and not (storage or subunit or function) and meaning.quantity is not None
    measurand = _measurand(meaning, medium, tariff if tariffed else 0) if named else ""
    unit = meaning.quantity.unit if meaning.quantity else ""
    little = raw if order == "little" else raw[::-1]
    whole = data[start : at + skip + size].hex(" ").upper()
    end = at + skip + size

    def missing(reason: Missing, detail: str) -> tuple[Indication, int]:
        return Indication(item, measurand, None, unit, reason, detail), end

    if function == 3:
        return missing(Missing.ERROR_ANSWER, f"value during error state: {whole}")
    if meaning.record_error:
        reason = Missing.NOT_SUPPORTED if meaning.record_error == 0x15 else Missing.ERROR_ANSWER
        return missing(reason, f"{RECORD_ERRORS[meaning.record_error]}: {whole}")
    if meaning.quantity is None or meaning.problem:
        return missing(Missing.UNKNOWN_FORMAT, f"{meaning.problem}: {whole}")
    if coding in (0, 8):
        return missing(Missing.NOT_SUPPORTED, f"the record carries no data: {whole}")
    if meaning.quantity.kind == MOMENT:
        text = moment(little) if coding in _MOMENT_CODINGS else None
        if text is None:
            return missing(Missing.NOT_A_NUMBER, f"no valid date or time: {whole}")
        return missing(Missing.NOT_NUMERIC, text)
    if coding == 0x0D and lvar < 0xC0:
        return missing(Missing.NOT_NUMERIC, _text(little))
    value = _number(little, coding, lvar, meaning.quantity.kind == BITS)
    if isinstance(value, Missing):
        return missing(value, whole)
    return Indication(item, measurand, scaled(value, meaning.quantity.factor), unit), end


def _size(data: bytes, at: int, coding: int, start: int) -> tuple[int, int]:
    """Bytes of the data, and bytes before it (the LVAR)."""
    if coding != 0x0D:
        return _LENGTHS[coding], 0
    if at >= len(data):
        raise Malformed(start, "the variable length is not there")
    lvar = data[at]
    if lvar < 0xC0:
        return lvar, 1
    if lvar < 0xF0:
        if lvar & 0x0F > 9 and lvar < 0xE0:
            raise Malformed(at, f"variable length {lvar:02X} is reserved")
        return lvar & 0x0F, 1
    if lvar <= 0xF4:
        return 4 * (lvar - 0xEC), 1
    if lvar in (0xF5, 0xF6):
        return 48 if lvar == 0xF5 else 64, 1
    raise Malformed(at, f"variable length {lvar:02X} is reserved")


def _value_information(data: bytes, at: int, start: int, order: str) -> tuple[_Meaning, int]:
    def byte(position: int) -> int:
        if position >= len(data):
            raise Malformed(start, "the value information is not complete")
        return data[position]

    vif = byte(at)
    at += 1
    code, more = vif & 0x7F, bool(vif & 0x80)
    meaning = _Meaning(MAIN.get(code), [])
    extensions = 0
    if code == 0x7C:
        length = byte(at)
        if length > 0xBF or at + 1 + length > len(data):
            raise Malformed(at, f"the plain-text unit has {length} bytes, {len(data) - at - 1} are left")
        raw = data[at + 1 : at + 1 + length]
        meaning.quantity = Quantity(_text(raw if order == "little" else raw[::-1]) or "plain text")
        meaning.plain = False
        at += 1 + length
    elif code in (0x7B, 0x7D) and more:
        table = FB if code == 0x7B else FD
        extension = byte(at)
        at += 1
        extensions += 1
        code, more = extension & 0x7F, bool(extension & 0x80)
        meaning.quantity = table.get(code)
        if meaning.quantity is None:
            meaning.problem = f"VIF {vif:02X} {extension:02X} is not known"
    elif code == 0x7F:
        meaning.quantity = Quantity("manufacturer specific quantity")
        meaning.plain = False
    elif meaning.quantity is None:
        meaning.problem = f"VIF {vif:02X} is not known"
    makers, second = code == 0x7F and vif & 0x7F == 0x7F, False
    while more:
        vife = byte(at)
        at += 1
        extensions += 1
        if extensions > _LIMIT:
            raise Malformed(start, "more than 10 VIFEs")
        code, more = vife & 0x7F, bool(vife & 0x80)
        if makers:
            meaning.words.append(f"maker {code:02X}")
            meaning.plain = False
        elif code == 0x7F:
            makers = True
            meaning.plain = False
            if not more:  # nothing of the maker's follows: still it is not the quantity that the VIF names
                meaning.words.append("maker")
        elif code == 0x7C and not second and more:
            second = True
        else:
            _extend(meaning, code, second)
            second = False
    return meaning, at


def _extend(meaning: _Meaning, code: int, second: bool) -> None:
    if not second and code in RECORD_ERRORS:
        meaning.record_error = code
        return
    extended = extend(meaning.quantity or Quantity("unknown quantity"), code, second=second)
    if extended is None:
        meaning.problem = meaning.problem or f"VIFE {'FC ' if second else ''}{code:02X} is not known"
        return
    if meaning.quantity is not None:
        meaning.quantity, word = extended
        meaning.words.append(word)
        if word.startswith("phase "):
            meaning.phase = "." + word[6:].lower()
        elif word == "backward":
            meaning.direction = "export"
        elif word not in ("", "forward"):
            meaning.plain = False


_MEASURANDS = {
    "volume": "volume.total",
    "mass": "mass.total",
    "volume flow": "flow.volume",
    "mass flow": "flow.mass",
    "flow temperature": "temperature.supply",
    "return temperature": "temperature.return",
    "temperature difference": "temperature.difference",
    "external temperature": "temperature.external",
    "pressure": "pressure",
    "operating time": "time.operation",
    "time point": "clock",
    "fabrication number": "serial",
    "frequency": "frequency",
}


def _measurand(meaning: _Meaning, medium: int | None, tariff: int) -> str:
    """Our name, where the record says enough for one."""
    name = meaning.quantity.name if meaning.quantity else ""
    tariff_suffix = f".t{tariff}" if tariff else ""
    if medium in ELECTRIC:
        of = meaning.phase or ".total"
        if name in ("energy", "reactive energy", "apparent energy"):
            kind = {"energy": "active"}.get(name, name.split()[0])
            return f"energy.{kind}.{meaning.direction}{meaning.phase}{tariff_suffix}"
        powers = {"power": "active", "reactive power": "reactive", "apparent power": "apparent"}
        if name in powers and meaning.direction == "import" and not tariff:
            return f"power.{powers[name]}{of}"
        if name in ("voltage", "current") and meaning.phase and not tariff:
            return name + meaning.phase
    elif medium in HEAT and meaning.direction == "import":
        if name == "energy":
            return "energy.heat.total" + tariff_suffix
        if name == "power" and not tariff:
            return "power.heat"
    if meaning.direction == "export" or meaning.phase:
        return ""
    known = _MEASURANDS.get(name, "")
    return known + tariff_suffix if known == "volume.total" else "" if tariff else known


def _text(raw: bytes) -> str:
    """Characters come last first."""
    return raw[::-1].decode("latin-1")


def _number(raw: bytes, coding: int, lvar: int, bits: bool) -> Decimal | Missing:
    """``raw`` low byte first."""
    if coding == 0x05:
        return register(raw[::-1], "f32")
    if coding in (9, 10, 11, 12, 14):
        return _bcd(raw)
    if coding == 0x0D:
        if not raw:
            return Missing.WRONG_LENGTH
        if lvar < 0xE0:
            text = raw[::-1].hex()
            if not text.isdecimal():
                return Missing.NOT_A_NUMBER
            return scaled(Decimal(int(text)), Decimal(-1 if lvar & 0x10 else 1))
        # Whether a long binary number has a sign is said differently by the editions: told where both agree.
        return Missing.UNKNOWN_FORMAT if lvar >= 0xF0 or raw[-1] & 0x80 else _unsigned(raw)
    if bits:
        return _unsigned(raw)
    if raw[-1] == 0x80 and not any(raw[:-1]):
        return Missing.NOT_SUPPORTED
    return Decimal(int.from_bytes(raw, "little", signed=True))


def _unsigned(raw: bytes) -> Decimal:
    return Decimal(int.from_bytes(raw, "little"))


def _bcd(raw: bytes) -> Decimal | Missing:
    """Type A: digits, low byte first; F in the highest place is a minus sign."""
    text = raw[::-1].hex()
    if set(text) == {"f"}:
        return Missing.NOT_SUPPORTED
    digits = text[1:] if text[0] == "f" else text
    if not digits.isdecimal():
        return Missing.NOT_A_NUMBER
    value = int(digits)
    return Decimal(-value if text[0] == "f" else value)


def moment(raw: bytes) -> str | None:
    """Types G (2 bytes, date), J (3, time), F (4, date and minute), I (6, date and second), low byte first: ISO 8601.

    None if marked invalid or impossible. It is the meter's local time; summer time is marked ``DST``.
    """
    if len(raw) == 2:
        return _date(raw[0], raw[1], 0)
    if len(raw) == 3:
        return _clock(raw[2] & 0x1F, raw[1] & 0x3F, raw[0] & 0x3F)
    if len(raw) == 4:
        if raw[0] & 0x80:
            return None
        date, clock = _date(raw[2], raw[3], raw[1] >> 5 & 3), _clock(raw[1] & 0x1F, raw[0] & 0x3F, None)
        summer = raw[1] & 0x80
    elif len(raw) == 6:
        if raw[1] & 0x80:
            return None
        date = _date(raw[3], raw[4], 0)
        clock = _clock(raw[2] & 0x1F, raw[1] & 0x3F, raw[0] & 0x3F)
        summer = raw[0] & 0x40
    else:
        return None
    return None if date is None or clock is None else f"{date}T{clock}" + (" DST" if summer else "")


def _date(low: int, high: int, hundreds: int) -> str | None:
    day, month, year = low & 0x1F, high & 0x0F, low >> 5 | high >> 4 << 3
    if year > 99:
        return None
    century = 1900 + 100 * hundreds if hundreds else 2000 if year <= 80 else 1900
    try:
        return calendar_date(century + year, month, day).isoformat()
    except ValueError:
        return None


def _clock(hour: int, minute: int, second: int | None) -> str | None:
    if hour > 23 or minute > 59 or (second or 0) > 59:
        return None
    return f"{hour:02d}:{minute:02d}:{second or 0:02d}"


# ---- fixed data structure -------------------------------------------------------------------------------------------


def _fixed(data: bytes, order: str) -> Telegram:
    """CI 73, 77: two counters of four bytes. The unit codes stand at two bits of the medium each."""
    if len(data) != 16:
        detail = f"the fixed data structure has 16 bytes, {len(data)} came: {data.hex(' ').upper()}"
        return Telegram(Header(), (Indication("counters", "", None, "", Missing.WRONG_LENGTH, detail),))
    turn = slice(None, None, -1 if order == "little" else 1)
    status = data[5]
    codes = data[6:8] if order == "little" else data[7:5:-1]
    medium = FIXED_MEDIA[codes[0] >> 6 | (codes[1] >> 6) << 2]
    # Here the low three bits of the status say how the counters are coded; the rest is as everywhere.
    head = Header(data[0:4][turn].hex().upper(), medium=medium, access=data[4], status=status & 0xFC)
    found: list[Indication] = []
    previous = FIXED.get(codes[0] & 0x3F)
    for n, code in enumerate((codes[0] & 0x3F, codes[1] & 0x3F), 1):
        historic = code == 0x3E or bool(status & 2)
        quantity = previous if code == 0x3E else FIXED.get(code)
        raw = data[4 + 4 * n : 8 + 4 * n]
        raw = raw if order == "little" else raw[::-1]
        name = f"counter {n}" + (f" {quantity.name}" if quantity else "") + (" storage=1" if historic else "")
        if quantity is None:
            detail = f"unit code {code:02X}: {raw.hex(' ').upper()}"
            found.append(Indication(name, "", None, "", Missing.UNKNOWN_FORMAT, detail))
            continue
        value = _unsigned(raw) if status & 1 else _bcd(raw)
        if isinstance(value, Missing):
            found.append(Indication(name, "", None, quantity.unit, value, raw.hex(" ").upper()))
            continue
        found.append(Indication(name, "", scaled(value, quantity.factor), quantity.unit))
    return Telegram(head, tuple(found))
