"""Tables in and out: instruments, certificate points and due lists as CSV or Excel.

A table is read whole or not at all: every wrong cell is named (``points!B7`` in Excel, ``row 7, column k`` in CSV).
Headings may be the field names or their Chinese names; order is free. Numbers are taken as printed: text, or what Excel
shows of a binary number where that is exact to 15 digits. A correction is turned into an error of indication: the
heading says which of the two the paper gives, and one of them must be there.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from calibration.admission import instrument_problems, points_problems
from calibration.certificate import CalibrationPoint, Instrument, InstrumentKind
from calibration.intervals import Due
from calibration.refusals import Refusal, TableRefused, refuse
from calibration.words import say

ROW_LIMIT = 20_000
"""Largest number of rows read."""
_BYTE_LIMIT = 20 * 1024 * 1024
_UNPACKED_LIMIT = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with its place, for the message that names it."""

    value: Any
    where: str

    @property
    def text(self) -> str:
        """The cell as text; empty if nothing is in it."""
        return "" if self.value is None else str(self.value).strip()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table read: its headings and the rows below that are not empty."""

    name: str
    headings: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    chinese: str
    read: Callable[[Cell], Any]
    needed: bool = False


def read_csv(data: bytes, name: str = "table") -> Grid:
    """A CSV table: UTF-8 (with or without mark) or GB 18030, separated by comma, semicolon or tab.

    Raises:
        TableRefused: empty, too large, or neither encoding.
    """
    if len(data) > _BYTE_LIMIT:
        raise TableRefused("T404", name, why=f"{len(data)} bytes; at most {_BYTE_LIMIT} are read")
    text = ""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        break
    else:
        raise TableRefused("T404", name, why="neither UTF-8 nor GB 18030 text")
    if "\x00" in text:
        raise TableRefused("T404", name, why="it holds zero bytes: is it an Excel file?")
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    headings = rows[0] if rows else []
    cells = [
        [
            Cell(value, f"row {number}, column {headings[n] if n < len(headings) else n + 1}")
            for n, value in enumerate(row)
        ]
        for number, row in enumerate(rows, 1)
    ]
    return _grid(name, cells)


def read_excel(data: bytes, sheet: str = "") -> Grid:
    """A sheet of an Excel file (.xlsx), the first if none is named; stored values, not formulas.

    Raises:
        TableRefused: not an Excel file, no such sheet, too large.
    """
    from openpyxl import load_workbook

    if len(data) > _BYTE_LIMIT:
        raise TableRefused("T404", sheet, why=f"{len(data)} bytes; at most {_BYTE_LIMIT} are read")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _UNPACKED_LIMIT:
            raise TableRefused(
                "T404", sheet, why=f"it unpacks to {unpacked} bytes; at most {_UNPACKED_LIMIT} are read"
            )
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        formulas = load_workbook(io.BytesIO(data), read_only=True, data_only=False)
    except TableRefused:
        raise
    except Exception as error:
        raise TableRefused("T404", sheet, why=f"not an Excel (.xlsx) file: {error}") from None
    try:
        if sheet and sheet not in book.sheetnames:
            raise TableRefused("T404", sheet, why=f"no such sheet; there are {', '.join(book.sheetnames)}")
        name = sheet or book.worksheets[0].title
        both = zip(
            book[name].iter_rows(max_row=ROW_LIMIT + 2),
            formulas[name].iter_rows(max_row=ROW_LIMIT + 2),
            strict=True,
        )
        rows: list[list[Cell]] = []
        unsettled: list[TableRefused] = []
        for number, (values, written) in enumerate(both, 1):
            row = [Cell(cell.value, f"{name}!{_letters(n)}{number}") for n, cell in enumerate(values)]
            for cell, source in zip(row, written, strict=False):
                if cell.value is None and source.value is not None:
                    unsettled.append(TableRefused("T408", cell.where))
            rows.append(row)
        refuse(unsettled)
        return _grid(name, rows)
    finally:
        book.close()
        formulas.close()


def instruments_from(grid: Grid) -> tuple[Instrument, ...]:
    """The instruments of a table.

    Raises:
        TableRefused: cells that can't be read or can't be; ``error.all`` names each.
    """
    lines = _read(grid, _INSTRUMENT)
    made = tuple(Instrument(**values) for values, _ in lines)
    refuse(
        [
            _at_cell(problem, cells, {"T108": "id", "T110": _unit_column(problem, instrument)})
            for instrument, (_, cells) in zip(made, lines, strict=True)
            for problem in instrument_problems(instrument)
        ]
    )
    return made


def headless(where: str, count: int, shapes: str) -> TableRefused:
    """The refusal of points without headings whose columns cannot be told by their number."""
    return TableRefused("T411", where, count=count, shapes=shapes)


def points_from(grid: Grid) -> tuple[CalibrationPoint, ...]:
    """The points of a certificate, in the table's order; corrections become errors of indication.

    Raises:
        TableRefused: cells that can't be read or can't be, no k, or neither or both of error and correction.
    """
    heads = [_known_as(cell.text, _POINT) for cell in grid.headings]
    if ("error" in heads) == ("correction" in heads):
        found = ", ".join(cell.text for cell in grid.headings)
        raise TableRefused(
            "T400", grid.name, column="error / 示值误差 or correction / 修正值 (one of them)", found=found
        )
    lines = _read(grid, _POINT)
    made = []
    for values, _ in lines:
        correction = values.pop("correction", None)
        if correction is not None:
            values["error"] = -correction
        made.append(CalibrationPoint(**values))
    _refuse_points(made, [cells for _, cells in lines])
    return tuple(made)


def write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV table that Excel opens in Chinese too (UTF-8 with mark); cells can't begin a formula."""
    made = io.StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(header)
    writer.writerows([[_harmless(value) for value in row] for row in rows])
    return made.getvalue().encode("utf-8-sig")


def write_excel(sheets: Mapping[str, tuple[Sequence[str], Iterable[Sequence[object]]]]) -> bytes:
    """An Excel file of sheets (name: header and rows); numbers are written as text, so that their digits stay."""
    import xlsxwriter

    made = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(made, options) as book:
        bold = book.add_format({"bold": True})
        for name, (header, rows) in sheets.items():
            sheet = book.add_worksheet(name)
            sheet.write_row(0, 0, header, bold)
            sheet.freeze_panes(1, 0)
            for number, row in enumerate(rows, 1):
                for n, value in enumerate(row):
                    sheet.write_string(number, n, _text(value))
            sheet.autofit()
    return made.getvalue()


def instrument_rows(
    instruments: Iterable[Instrument], language: str = "en"
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of instruments: the inverse of ``instruments_from``."""
    return _header(_INSTRUMENT, language), [
        [_text(getattr(instrument, column.name)) for column in _INSTRUMENT] for instrument in instruments
    ]


def point_rows(points: Iterable[CalibrationPoint], language: str = "en") -> tuple[list[str], list[list[str]]]:
    """Header and rows of points: the inverse of ``points_from``."""
    columns = [column for column in _POINT if column.name != "correction"]
    return _header(columns, language), [
        [_text(getattr(point, column.name)) for column in columns] for point in points
    ]


def due_rows(due: Iterable[Due], language: str = "en") -> tuple[list[str], list[list[str]]]:
    """Header and rows of a due list."""
    names = (
        ("instrument", "仪器"),
        ("kind", "类别"),
        ("model", "型号"),
        ("serial", "出厂编号"),
        ("place", "地点"),
        ("certificate", "证书"),
        ("performed", "校准日期"),
        ("due", "到期日期"),
        ("days_left", "剩余天数"),
        ("state", "状态"),
    )
    rows = []
    for one in due:
        what = one.instrument
        state = say(one.urgency.value, language)
        values = (
            what.id, what.kind.value, what.model, what.serial, what.place, one.certificate, one.performed, one.due,
            one.days_left, state,
        )  # fmt: skip
        rows.append([_text(value) for value in values])
    return [english if language == "en" else chinese for english, chinese in names], rows


def _grid(name: str, rows: Sequence[Sequence[Cell]]) -> Grid:
    filled = [tuple(row) for row in rows if any(cell.text for cell in row)]
    if not filled:
        raise TableRefused("T404", name, why="it is empty")
    if len(filled) - 1 > ROW_LIMIT:
        raise TableRefused("T405", name, rows=len(filled) - 1, limit=ROW_LIMIT)
    return Grid(name, filled[0], tuple(filled[1:]))


_POINT_CELLS = {
    "T204": "k", "T205": "U", "T206": "load", "T207": "load", "T208": "unit", "T209": "power_factor", "T210": "error",
    "T223": "dof", "T224": "quantity",
}  # fmt: skip


def _refuse_points(points: Sequence[CalibrationPoint], lines: Sequence[Mapping[str, str]]) -> None:
    """What a certificate could not say (k = 0, a load twice, …), named by the cell that says it."""
    problems = []
    for problem in points_problems(points):
        number = int(problem.where.strip("[]")) - 1
        unit = "unit" if problem.values.get("unit") == points[number].unit else "load_unit"
        names = _POINT_CELLS | {"T110": unit, "T208": unit}
        problems.append(_at_cell(problem, lines[number], names))
    refuse(problems)


def _unit_column(problem: Refusal, instrument: Instrument) -> str:
    return "mpe_unit" if problem.values.get("unit") == instrument.mpe_unit else "range_unit"


def _at_cell(problem: Refusal, cells: Mapping[str, str], names: Mapping[str, str]) -> TableRefused:
    """The same refusal, with the cell as its place (or the row's first cell, if the column is not there)."""
    name = names.get(problem.code) or str(problem.values.get("field", ""))
    if name == "error" and name not in cells:
        name = "correction"
    return TableRefused(problem.code, cells.get(name) or next(iter(cells.values())), **problem.values)


def _read(grid: Grid, columns: Sequence[_Column]) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Every row as values and places by field name; all wrong cells are named at once."""
    problems: list[Refusal] = []
    by_name = {column.name: column for column in columns}
    heads: list[_Column | None] = []
    for cell in grid.headings:
        name = _known_as(cell.text, columns)
        if name and any(head is not None and head.name == name for head in heads):
            problems.append(TableRefused("T406", cell.where, column=cell.text))
        elif not name and cell.text:
            problems.append(TableRefused("T401", cell.where, column=cell.text, known=", ".join(by_name)))
        heads.append(by_name.get(name))
    present = {head.name for head in heads if head is not None}
    found = ", ".join(cell.text for cell in grid.headings)
    problems += [
        TableRefused("T400", grid.name, column=column.name, found=found)
        for column in columns
        if column.needed and column.name not in present
    ]
    refuse(problems)
    made = []
    for row in grid.rows:
        values: dict[str, Any] = {}
        places: dict[str, str] = {}
        for n, head in enumerate(heads):
            cell = row[n] if n < len(row) else Cell(None, _beyond(grid, row, n))
            if head is None:
                if cell.text:
                    problems.append(TableRefused("T401", cell.where, column="", known=", ".join(by_name)))
                continue
            places[head.name] = cell.where
            try:
                if cell.text:
                    values[head.name] = head.read(cell)
                elif head.needed or (head.name in {"error", "correction"}):
                    problems.append(TableRefused("T403", cell.where, column=head.name))
            except Refusal as problem:
                problems.append(problem)
        problems += [
            TableRefused("T401", cell.where, column=cell.text, known=", ".join(by_name))
            for cell in row[len(heads) :]
            if cell.text
        ]
        made.append((values, places))
    refuse(problems)
    return made


def _beyond(grid: Grid, row: Sequence[Cell], n: int) -> str:
    """The place of a cell that a short CSV row does not have."""
    line = row[0].where.partition(",")[0] if row else grid.name
    return f"{line}, column {grid.headings[n].text}"


def _known_as(heading: str, columns: Sequence[_Column]) -> str:
    """The field of a heading: its own name in any case, or the Chinese one; a unit in brackets is left aside."""
    bare = heading.replace("（", "(").partition("(")[0].strip()
    for column in columns:
        if bare.lower().replace(" ", "_") == column.name.lower() or bare == column.chinese:
            return column.name
    return ""


def _header(columns: Sequence[_Column], language: str) -> list[str]:
    return [column.name if language == "en" else column.chinese for column in columns]


def _letters(n: int) -> str:
    letters = ""
    n += 1
    while n:
        n, rest = divmod(n - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case InstrumentKind():
            return value.value
        case Decimal():
            return f"{value:f}" if -20 < value.adjusted() < 20 else str(value)
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _harmless(value: object) -> str:
    """A cell that a spreadsheet would run as a formula gets an apostrophe; numbers do not."""
    text = _text(value)
    if text[:1] in {"=", "+", "-", "@", "\t", "\r"} and not _is_number(text):
        return "'" + text
    return text


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _words(cell: Cell) -> str:
    value = cell.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a serial number that Excel took for a number
    text = str(value).strip()
    guarded = text[:1] == "'" and text[1:2] in {"=", "+", "-", "@"}
    return text[1:] if guarded else text


def _decimal(cell: Cell) -> Decimal:
    value = cell.value
    if isinstance(value, bool | datetime | date):
        raise TableRefused("T409", cell.where, value=str(value))
    if isinstance(value, float):
        value = f"{value:.15g}"  # what Excel shows: 0.1 is 0.1
    text = str(value).strip().replace("−", "-").replace("－", "-").replace("．", ".")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise TableRefused("T409", cell.where, value=text) from None
    if not number.is_finite():
        raise TableRefused("T409", cell.where, value=text)
    return number


def _whole(cell: Cell) -> int:
    number = _decimal(cell)
    if number != number.to_integral_value():
        raise TableRefused("T410", cell.where, value=cell.text)
    return int(number)


def _kind(cell: Cell) -> InstrumentKind:
    names = {chinese: kind for kind, chinese in _KINDS.items()}
    try:
        return names.get(cell.text) or InstrumentKind(cell.text.lower().replace(" ", "_"))
    except ValueError:
        known = ", ".join(f"{kind.value} {chinese}" for kind, chinese in _KINDS.items())
        raise TableRefused("T402", cell.where, value=cell.text, known=known) from None


_KINDS = {
    InstrumentKind.METER: "电能表",
    InstrumentKind.CT: "电流互感器",
    InstrumentKind.PT: "电压互感器",
    InstrumentKind.ANALYSER: "分析仪",
    InstrumentKind.FLOW: "流量计",
    InstrumentKind.TEMPERATURE: "温度仪表",
    InstrumentKind.PRESSURE: "压力仪表",
    InstrumentKind.ANALOGUE_INPUT: "模拟量输入",
    InstrumentKind.REFERENCE_STANDARD: "标准器",
    InstrumentKind.OTHER: "其他",
}

_INSTRUMENT = (
    _Column("id", "编号", _words, needed=True),
    _Column("kind", "类别", _kind, needed=True),
    _Column("manufacturer", "厂商", _words),
    _Column("model", "型号", _words),
    _Column("serial", "出厂编号", _words),
    _Column("tag", "位号", _words),
    _Column("accuracy_class", "准确度等级", _words),
    _Column("mpe", "最大允许误差", _decimal),
    _Column("mpe_unit", "最大允许误差单位", _words),
    _Column("rated_voltage", "额定电压", _decimal),
    _Column("rated_current", "额定电流", _decimal),
    _Column("maximum_current", "最大电流", _decimal),
    _Column("ratio", "变比", _decimal),
    _Column("range_low", "量程下限", _decimal),
    _Column("range_high", "量程上限", _decimal),
    _Column("range_unit", "量程单位", _words),
    _Column("place", "地点", _words),
    _Column("owner", "责任部门", _words),
    _Column("parent", "上级仪器", _words),
    _Column("interval_months", "校准间隔月数", _whole),
    _Column("lead_days", "提前提醒天数", _whole),
    _Column("note", "备注", _words),
)

_POINT = (
    _Column("quantity", "被测量", _words, needed=True),
    _Column("load", "负载", _decimal, needed=True),
    _Column("load_unit", "负载单位", _words, needed=True),
    _Column("power_factor", "功率因数", _decimal),
    _Column("error", "示值误差", _decimal),
    _Column("correction", "修正值", _decimal),
    _Column("U", "扩展不确定度", _decimal, needed=True),
    _Column("k", "包含因子", _decimal, needed=True),
    _Column("unit", "单位", _words),
    _Column("reference", "参考值", _decimal),
    _Column("indication", "示值", _decimal),
    _Column("dof", "自由度", _decimal),
)
