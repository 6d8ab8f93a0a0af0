"""Tables: what is written is read back; a wrong cell is named by its place, and nothing of the table is taken."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from calibration import tables
from calibration.certificate import CalibrationPoint, Instrument, InstrumentKind
from calibration.intervals import due_list
from calibration.refusals import TableRefused
from calibration.tables import (
    due_rows,
    instrument_rows,
    instruments_from,
    point_rows,
    points_from,
    read_csv,
    read_excel,
    write_csv,
    write_excel,
)

Make = Callable[..., Any]
D = Decimal

words = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co")), max_size=12
).map(lambda t: " ".join(t.split()).lstrip("'"))
numbers = st.decimals("0.0001", 10000, allow_nan=False, allow_infinity=False, places=4)
instruments = st.builds(
    Instrument,
    id=words.filter(bool),
    kind=st.sampled_from([InstrumentKind.CT, InstrumentKind.PT, InstrumentKind.OTHER]),
    serial=words,
    tag=words,
    mpe=st.none() | numbers,
    ratio=numbers,
    mpe_unit=st.sampled_from(["%", "A"]),
    interval_months=st.none() | st.integers(1, 120),
    note=words,
)
points = st.builds(
    CalibrationPoint, quantity=words.filter(bool), load=numbers, load_unit=st.just("A"),
    error=st.decimals(-9, 9, places=3), U=numbers, k=st.decimals(1, 14, places=2),
    power_factor=st.sampled_from([D(1), D("-0.8")]), reference=st.none() | numbers,
    dof=st.none() | st.decimals(1, 90, places=1),
)  # fmt: skip
rising = st.lists(points, min_size=1, max_size=5, unique_by=lambda p: p.load).map(
    lambda made: sorted(made, key=lambda p: p.load)
)


def sheet(header: list[Any], *rows: list[Any], name: str = "points") -> bytes:
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        page = book.add_worksheet(name)
        for number, row in enumerate([header, *rows]):
            page.write_row(number, 0, row)
    return made.getvalue()


@settings(deadline=None)
@given(st.lists(instruments, min_size=1, max_size=5), st.sampled_from(["en", "zh"]))
def test_instruments_survive_csv(given_: list[Instrument], language: str) -> None:
    assert list(instruments_from(read_csv(write_csv(*instrument_rows(given_, language))))) == given_


@settings(deadline=None, max_examples=25)
@given(rising, st.sampled_from(["en", "zh"]))
def test_points_survive_csv_and_excel(given_: list[CalibrationPoint], language: str) -> None:
    header, rows = point_rows(given_, language)
    for grid in (read_csv(write_csv(header, rows)), read_excel(write_excel({"points": (header, rows)}))):
        again = points_from(grid)
        assert list(again) == given_
        assert [p.U.as_tuple() for p in again] == [p.U.as_tuple() for p in given_]


POINTS = ["quantity", "load", "load_unit", "error", "U", "k"]


def test_what_excel_holds_as_binary_numbers_reads_as_it_shows() -> None:
    (point,) = points_from(read_excel(sheet(POINTS, ["energy.active", 0.1, "A", -0.07, 0.06, 2])))
    assert (point.load, point.error, point.U, point.k) == (D("0.1"), D("-0.07"), D("0.06"), D(2))


def test_a_correction_becomes_an_error() -> None:
    data = "被测量,负载,负载单位,修正值,扩展不确定度,包含因子\nenergy.active,5,A,-0.12,0.06,2\n".encode()
    (point,) = points_from(read_csv(data))
    assert point.error == D("0.12")


@pytest.mark.parametrize("heads", [["error", "correction"], []])
def test_error_or_correction_must_be_said(heads: list[str]) -> None:
    header = ",".join(["quantity", "load", "load_unit", "U", "k", *heads])
    row = ",".join(["voltage", "5", "V", "0.1", "2", *("0.1" for _ in heads)])
    with pytest.raises(TableRefused, match="one of them"):
        points_from(read_csv(f"{header}\n{row}\n".encode()))


def test_every_wrong_cell_is_named_and_nothing_is_taken() -> None:
    data = sheet(
        POINTS,
        ["energy.active", 0.5, "A", 0.1, 0.06, 2],
        ["energy.active", "5 A", "A", 0.1, 0.06, None],
        ["energy.active", 60, "A", "0,1", 0.06, 2],
    )
    with pytest.raises(TableRefused) as refused:
        points_from(read_excel(data))
    assert [problem.where for problem in refused.value.all] == ["points!B3", "points!F3", "points!D4"]
    assert "'5 A' is not a number" in str(refused.value)
    assert "k" in str(refused.value.all[1])
    assert "单元格为空" in refused.value.all[1].text("zh")


def test_what_a_certificate_could_not_say_is_named_by_its_cell() -> None:
    data = sheet(
        [*POINTS, "unit"],
        ["energy.active", 0.5, "A", 0.1, 0.06, 0, "%"],
        ["energy.active", 0.5, "A", 0.1, 0, 2, "%"],
        ["energy.active", 5, "B", 0.1, 0.06, 2, "pct"],
    )
    with pytest.raises(TableRefused) as refused:
        points_from(read_excel(data))
    where = {(problem.where, problem.code) for problem in refused.value.all}
    assert {
        ("points!F2", "T204"),
        ("points!E3", "T205"),
        ("points!B3", "T207"),
        ("points!G4", "T110"),
    } <= where
    assert ("points!C4", "T110") in where


def test_what_an_instrument_cannot_be_is_named_by_its_cell() -> None:
    data = sheet(["id", "kind", "ratio", "range_low", "range_unit"], ["M1", "meter", 4000, None, None],
                 ["F1", "flow", None, 0, "furlong"])  # fmt: skip
    with pytest.raises(TableRefused) as refused:
        instruments_from(read_excel(data))
    assert [(p.where, p.code) for p in refused.value.all] == [("points!C2", "T109"), ("points!E3", "T110")]


@pytest.mark.parametrize(
    ("column", "cell", "code", "said", "in_chinese"),
    [
        (
            "mpe",
            "0,5",
            "T409",
            "'0,5' is not a number (with a point, not a comma)",
            "'0,5' 不是数（小数点用点，不用逗号）",
        ),
        ("mpe", "NaN", "T409", "'NaN' is not a number", "'NaN' 不是数"),
        ("lead_days", "1.5", "T410", "'1.5' is not a whole number", "'1.5' 不是整数"),
    ],
)
def test_what_is_no_number_is_told_in_both_languages(
    column: str, cell: str, code: str, said: str, in_chinese: str
) -> None:
    with pytest.raises(TableRefused) as refused:
        instruments_from(read_excel(sheet(["id", "kind", column], ["M1", "meter", cell])))
    (problem,) = refused.value.all
    assert (problem.code, problem.where.endswith("C2")) == (code, True)
    assert said in problem.text("en")
    assert in_chinese in problem.text("zh")


def test_csv_cells_are_named_by_row_and_column() -> None:
    data = b"quantity,load,load_unit,error,U,k\nvoltage,1,V,0.1,0.06,2\n\nvoltage,2,V,0.1,0.06\n"
    with pytest.raises(TableRefused) as refused:
        points_from(read_csv(data))
    assert refused.value.where == "row 4, column k"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (["quantity", "load", "load_unit", "error", "U"], "T400"),
        ([*POINTS, "colour"], "T401"),
        ([*POINTS, "K"], "T406"),
    ],
)
def test_headings_must_be_known(header: list[str], code: str) -> None:
    with pytest.raises(TableRefused) as refused:
        points_from(read_excel(sheet(header, ["voltage", 1, "V", 0.1, 0.06, 2, 2][: len(header)])))
    assert refused.value.code == code


def test_a_value_beside_the_headings_is_not_dropped_silently() -> None:
    with pytest.raises(TableRefused):
        points_from(read_csv(b"quantity,load,load_unit,error,U,k\nvoltage,1,V,0.1,0.06,2,7\n"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators_of_the_field(encoding: str, separator: str) -> None:
    lines = [["编号", "类别", "地点"], ["M1", "电能表", "三号柜"]]
    data = "\r\n".join(separator.join(line) for line in lines).encode(encoding)
    assert instruments_from(read_csv(data)) == (Instrument("M1", place="三号柜"),)


def test_units_in_brackets_beside_a_heading() -> None:
    data = "编号,类别,额定电流（A）\nCT1,电流互感器,5\n".encode()
    (ct,) = instruments_from(read_csv(data))
    assert ct.rated_current == 5


def test_a_serial_number_that_excel_took_for_a_number() -> None:
    (meter,) = instruments_from(read_excel(sheet(["id", "kind", "serial"], ["M1", "meter", 20261124001])))
    assert meter.serial == "20261124001"


@pytest.mark.parametrize(("cell", "expected"), [("meters", "one of meter 电能表"), ("检测器", "电流互感器")])
def test_an_unknown_kind_is_told_the_known_ones(cell: str, expected: str) -> None:
    with pytest.raises(TableRefused, match=expected):
        instruments_from(read_csv(f"id,kind\nM1,{cell}\n".encode()))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n , ,\n", "empty"),
        (b"\xff\xfe\x00\x01", "neither|zero"),
        (b"PK\x03\x04\x00\x00", "Excel"),
    ],
)
def test_what_is_no_csv(data: bytes, said: str) -> None:
    with pytest.raises(TableRefused, match=said):
        read_csv(data)


def test_what_is_no_excel_file() -> None:
    for data in (b"", b"id,kind\n", b"PK\x03\x04broken"):
        with pytest.raises(TableRefused, match="not an Excel"):
            read_excel(data)
    with pytest.raises(TableRefused, match="no such sheet; there are points"):
        read_excel(sheet(POINTS), "results")


def test_a_formula_without_its_value_is_not_an_empty_cell() -> None:
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        page = book.add_worksheet("points")
        page.write_row(0, 0, [*POINTS, "dof"])
        page.write_row(1, 0, ["voltage", 1, "V", 0.1, 0.06, 2])
        page.write_formula("G2", "=1+1", value="")
    with pytest.raises(TableRefused) as refused:
        read_excel(made.getvalue())
    assert refused.value.where == "points!G2"


def test_a_formula_with_its_value_reads_as_that() -> None:
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        page = book.add_worksheet("points")
        page.write_row(0, 0, POINTS)
        page.write_row(1, 0, ["voltage", 1, "V", 0.1, 0.06])
        page.write_formula("F2", "=1+1", value=2)
    (point,) = points_from(read_excel(made.getvalue()))
    assert point.k == 2


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_LIMIT", 2)
    rows = b"id,kind\n" + b"M,meter\n" * 3
    with pytest.raises(TableRefused, match="at most 2"):
        read_csv(rows)


def test_text_cannot_become_a_formula() -> None:
    evil = Instrument("=HYPERLINK(1)", note="@SUM(A1)", range_low=D("-1"), range_unit="Cel")
    header, rows = instrument_rows([evil])
    lines = write_csv(header, rows).decode("utf-8-sig").splitlines()
    assert lines[1].startswith("'=HYPERLINK")
    assert ",-1," in lines[1]
    book = load_workbook(io.BytesIO(write_excel({"x": (header, rows)})))
    assert book["x"]["A2"].data_type == "s"
    assert instruments_from(read_csv(write_csv(header, rows))) == (evil,)


@pytest.mark.parametrize(("language", "state"), [("en", "overdue"), ("zh", "已过期")])
def test_due_lists(a_certificate: Make, language: str, state: str) -> None:
    due = due_list([Instrument("M1", interval_months=6)], [a_certificate()], date(2026, 11, 24))
    header, rows = due_rows(due, language)
    assert len(header) == len(rows[0])
    assert rows[0][0] == "M1"
    assert rows[0][-3:] == ["2026-09-02", "-83", state]
