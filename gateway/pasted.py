"""Calibration points as people hand them in: typed line by line, pasted from Excel, or as a CSV or Excel table.

Columns may have headings (in English or Chinese) or stand in the order that their number implies; what a paper says
once for all points (quantity, units, k) is filled in. Loads that fall from Imax are turned round. Every wrong cell
is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibration.admission import arranged, points_problems
from calibration.certificate import CalibrationPoint, GivenAs
from calibration.refusals import Refusal, TableRefused, refuse
from calibration.tables import Cell, Grid, headless, point_rows, points_from

BARE: Mapping[int, tuple[str, ...]] = {
    3: ("load", "error", "U"),
    4: ("load", "power_factor", "error", "U"),
    5: ("load", "power_factor", "error", "U", "k"),
}
"""What the columns are where no headings say so, by their number."""
DEFAULTS = ("quantity", "unit", "load_unit", "k")
"""Columns that a paper states once for all points."""
_CORRECTION = {"correction", "修正值"}


@dataclass(frozen=True, slots=True)
class Pasted:
    """Points read, and whether the paper states errors or corrections (the points hold errors)."""

    points: tuple[CalibrationPoint, ...]
    given_as: GivenAs


def read_points(text: str, defaults: Mapping[str, str]) -> Pasted:
    """The points in typed or pasted text: one line a point, cells parted by tab, semicolon, comma or spaces.

    Args:
        text: the lines; headings may stand in the first.
        defaults: what holds for all points that do not say it themselves: ``quantity``, ``unit``, ``load_unit``, ``k``.

    Raises:
        TableRefused: every wrong cell, by line and column.
    """
    lines = [(n, _cells(line)) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        return Pasted((), GivenAs.ERROR)
    first, cells = lines[0]
    if any(_starts_a_word(cell) for cell in cells):
        headings = tuple(Cell(cell, f"line {first}") for cell in cells)
        lines = lines[1:]
    else:
        names = BARE.get(len(cells))
        if names is None:
            shapes = "; ".join(" ".join(shape) for shape in BARE.values())
            raise headless(f"line {first}", len(cells), shapes)
        headings = tuple(Cell(name, f"line {first}") for name in names)
    rows = tuple(
        tuple(
            Cell(value, f"line {n}, {headings[i].text if i < len(headings) else i + 1}")
            for i, value in enumerate(values)
        )
        for n, values in lines
    )
    return table_points(Grid("points", headings, rows), defaults)


def table_points(grid: Grid, defaults: Mapping[str, str]) -> Pasted:
    """The points of a table that was read; see ``read_points``."""
    known = _names()
    bare = [re.split(r"[(（]", cell.text)[0].strip() for cell in grid.headings]
    present = {known.get(name.lower(), known.get(name, name)) for name in bare}
    missing = [name for name in DEFAULTS if name not in present and defaults.get(name)]
    headings = (*grid.headings, *(Cell(name, grid.name) for name in missing))
    points: list[CalibrationPoint] = []
    problems: list[Refusal] = []
    for row in grid.rows:
        where = row[0].where.partition(",")[0] if row else grid.name
        padded = [*row, *(Cell(None, where) for _ in range(len(grid.headings) - len(row)))]
        more = [Cell(defaults[name], where) for name in missing]
        width = len(grid.headings)
        try:
            points += points_from(Grid(grid.name, headings, ((*padded[:width], *more, *padded[width:]),)))
        except TableRefused as error:
            problems += error.all
    refuse(list(dict.fromkeys(problems)))
    made = arranged(points)
    refuse(list(points_problems(made, grid.name)))
    corrections = bool(_CORRECTION & {name.lower() for name in bare})
    return Pasted(made, GivenAs.CORRECTION if corrections else GivenAs.ERROR)


def point_lines(pasted: Pasted) -> str:
    """Points as text that ``read_points`` reads back, with their headings; corrections stay corrections."""
    header, rows = point_rows(pasted.points, "en")
    if pasted.given_as is GivenAs.CORRECTION:
        at = header.index("error")
        header[at] = "correction"
        rows = [
            [*row[:at], str(-point.error), *row[at + 1 :]]
            for row, point in zip(rows, pasted.points, strict=True)
        ]
    return "\n".join("\t".join(row) for row in (header, *rows))


def listed_points(points: Sequence[CalibrationPoint], language: str = "en") -> list[list[str]]:
    """Points as rows of text under their headings, for a screen: only columns that say something."""
    header, rows = point_rows(points, language)
    kept = [n for n in range(len(header)) if any(row[n] for row in rows)]
    return [[header[n] for n in kept], *([row[n] for n in kept] for row in rows)]


def _cells(line: str) -> list[str]:
    for separator in "\t;,":
        if separator in line:
            return [cell.strip() for cell in line.rstrip("\t\r\n").split(separator)]
    return line.split()


def _starts_a_word(cell: str) -> bool:
    return bool(re.match(r"[^\W\d_]", cell))


def _names() -> dict[str, str]:
    """Headings in either language to field names."""
    english, _ = point_rows((), "en")
    chinese, _ = point_rows((), "zh")
    return {name.lower(): name for name in english} | dict(zip(chinese, english, strict=True))
