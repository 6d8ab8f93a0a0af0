"""Labels for instruments: 50 x 30 mm, with a QR code of the instrument's URN, what people read, and a short check.

The check is made of id, maker, model and serial number: read aloud over the telephone, or compared with the nameplate
in the hand, it shows a label that hangs on the wrong instrument. The code holds no address: it is true in any plant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from html import escape
from urllib.parse import quote, unquote

import segno

from calibration.certificate import Instrument
from gateway.register_words import told
from gateway.words import Language

SCHEME = "urn:suyuan:instrument:"
WIDTH_MM, HEIGHT_MM = 50, 30
COLUMNS, ROWS = 3, 8  # of labels on a sheet of A4
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none to be mistaken for another
_CODE_MM = 22
_QUIET = 4  # modules of white around a QR code (ISO/IEC 18004)


@dataclass(frozen=True, slots=True)
class Label:
    """What a label says. ``due`` None: no date is agreed."""

    urn: str
    instrument: str
    tag: str
    serial: str
    due: date | None
    check: str


def label_of(instrument: Instrument, due: date | None) -> Label:
    """The label of a registered instrument."""
    check = short_check(instrument)
    return Label(
        f"{SCHEME}{quote(instrument.id, safe='')}?=check={check}", instrument.id, instrument.tag,
        instrument.serial, due, check,
    )  # fmt: skip


def short_check(instrument: Instrument) -> str:
    """Four characters that differ if id, maker, model or serial number do (but for one in a million)."""
    identity = "\x1f".join((instrument.id, instrument.manufacturer, instrument.model, instrument.serial))
    number = int.from_bytes(sha256(identity.encode()).digest()[:3], "big") & 0xFFFFF
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in (15, 10, 5, 0))


def scanned(text: str) -> tuple[str, str] | None:
    """The instrument's id and the check in what a scanner read; None if it is no label of ours."""
    if not text.startswith(SCHEME):
        return None
    name, _, query = text.removeprefix(SCHEME).partition("?=")
    return unquote(name), query.removeprefix("check=")


def modules(urn: str) -> tuple[tuple[bool, ...], ...]:
    """The QR code's dark modules, row by row, without the white around it (error correction M)."""
    code = segno.make_qr(urn, error="m", boost_error=False)
    return tuple(tuple(bool(cell) for cell in row) for row in code.matrix)


def text(label: Label, language: Language = "en") -> str:
    """The label for a terminal: the code in half blocks, dark on light, and the words beside it."""
    dark = modules(label.urn)
    size = len(dark) + 2 * _QUIET

    def at(row: int, column: int) -> bool:
        row, column = row - _QUIET, column - _QUIET
        return 0 <= row < len(dark) and 0 <= column < len(dark) and dark[row][column]

    # the blocks are drawn for a dark screen: what is lit there is the white of the code
    blocks = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    lines = [
        "".join(blocks[at(row, column), at(row + 1, column)] for column in range(size))
        for row in range(0, size, 2)
    ]
    words = _words(label, language)
    beside = {len(lines) // 2 - len(words) // 2 + n: word for n, word in enumerate(words)}
    return "\n".join(f"{line}  {beside.get(n, '')}".rstrip() for n, line in enumerate(lines)) + "\n"


def svg(labels: Sequence[Label], language: Language = "en") -> str:
    """One label, or sheets of labels on A4, as an SVG document in millimetres."""
    if len(labels) == 1:
        return _document(WIDTH_MM, HEIGHT_MM, [_drawn(labels[0], 0, 0, language)])
    per_page = COLUMNS * ROWS
    pages = -(-len(labels) // per_page)
    left, top = (210 - COLUMNS * WIDTH_MM) / 2, (297 - ROWS * HEIGHT_MM) / 2
    drawn = [
        _drawn(
            label,
            left + n % COLUMNS * WIDTH_MM,
            n // per_page * 297 + top + n % per_page // COLUMNS * HEIGHT_MM,
            language,
        )
        for n, label in enumerate(labels)
    ]
    return _document(210, 297 * pages, drawn)


def _document(width: float, height: float, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}"'
        f" font-family=\"system-ui, 'Noto Sans SC', 'Microsoft YaHei', sans-serif\">\n"
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _drawn(label: Label, x: float, y: float, language: Language) -> str:
    dark = modules(label.urn)
    scale = _CODE_MM / (len(dark) + 2 * _QUIET)
    path = "".join(
        f"M{column},{row}h1v1h-1z"
        for row, cells in enumerate(dark)
        for column, cell in enumerate(cells)
        if cell
    )
    offset = _QUIET * scale
    parts = [
        f'<g transform="translate({x:g},{y:g})">',
        f"<title>{escape(label.urn)}</title>",
        f'<rect width="{WIDTH_MM}" height="{HEIGHT_MM}" fill="none" stroke="#999" stroke-width=".2"/>',
        f'<path transform="translate({1 + offset:.3f},{4 + offset:.3f}) scale({scale:.4f})" d="{path}" fill="#000"/>',
    ]
    for n, words in enumerate(_words(label, language)):
        size = 3.4 if n == 0 else 2.6
        room = WIDTH_MM - _CODE_MM - 3
        needed = sum(1.0 if ord(letter) > 0x2E80 else 0.58 for letter in words) * size
        fitted = f' textLength="{room}" lengthAdjust="spacingAndGlyphs"' if needed > room else ""
        weight = ' font-weight="600"' if n == 0 else ""
        parts.append(
            f'<text x="{_CODE_MM + 2}" y="{8 + 4.6 * n:g}" font-size="{size}"{weight}{fitted}>{escape(words)}</text>'
        )
    return "\n".join([*parts, "</g>"])


def _words(label: Label, language: Language) -> list[str]:
    due = label.due.isoformat() if label.due else told("label.none", language)
    named = (
        (told("label.serial", language), label.serial),
        (told("label.due", language), due),
        (told("label.check", language), label.check),
    )
    words = [label.instrument, *([label.tag] if label.tag else [])]
    return words + [f"{name} {value}" for name, value in named if value]
