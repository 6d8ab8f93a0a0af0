"""Accuracy classes as a data table."""

from __future__ import annotations

from decimal import Decimal

import pytest

from calibration.accuracy import AccuracyClasses, AccuracyTableError

ROW = """
[[meter]]
class = "{name}"
quantity = "energy.active"
inductive = 0.5
capacitive = -0.8
rows = [{rows}]
"""


def table(rows: str, name: str = "X") -> str:
    return ROW.format(name=name, rows=rows)


@pytest.mark.parametrize("name", ["0.2S", "0.5S", "0.2", "0.5", "1", "2", "A", "B", "C", "D"])
def test_the_packages_table_knows_the_usual_meter_classes_and_says_where_each_comes_from(name: str) -> None:
    found = AccuracyClasses.default().meter(name, "energy.active")
    assert found is not None
    assert found.source
    assert found.widest >= found.base


@pytest.mark.parametrize(
    ("name", "kind"), [(n, "ct") for n in ("0.2S", "0.5S", "0.2", "0.5")] + [("0.2", "pt"), ("0.5", "pt")]
)
def test_the_packages_table_knows_the_usual_transformer_classes(name: str, kind: str) -> None:
    assert AccuracyClasses.default().transformer(name, kind) is not None


def test_numeric_classes_are_their_own_mpe_at_rated_load() -> None:
    for name in ("0.2S", "0.5S", "0.2", "0.5", "1", "2"):
        found = AccuracyClasses.default().meter(name, "energy.active")
        assert found is not None
        assert found.base == Decimal(name.rstrip("S"))


def test_the_packages_table_is_marked_as_not_checked_against_the_standards() -> None:
    assert AccuracyClasses.default().checked is False


def test_a_class_is_found_however_it_is_written() -> None:
    classes = AccuracyClasses.default()
    assert classes.meter(" 0.5s ", "energy.active") == classes.meter("0.5S", "energy.active")
    assert classes.meter("1.0", "energy.active") == classes.meter("1", "energy.active")
    assert classes.meter("0.5S", "voltage") is None
    assert classes.meter("7", "energy.active") is None


def test_a_table_of_ones_own_replaces_the_packages() -> None:
    classes = AccuracyClasses.from_toml("checked = true" + table('{ low = "0.1", unity = "3", other = "4" }'))
    found = classes.meter("X", "energy.active")
    assert found is not None
    assert (found.base, found.widest, classes.checked) == (3, 4, True)
    assert classes.meter("0.5S", "energy.active") is None


@pytest.mark.parametrize(
    "text",
    [
        "not toml at all [",
        table('{ low = "0.1", unity = "1" }'),
        table('{ low = "0.1", unity = "many", other = "1" }'),
        table('{ low = "0.1", unity = "0", other = "1" }'),
        table('{ low = "0.2", unity = "1", other = "1" }, { low = "0.1", unity = "1", other = "1" }'),
        table(""),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(AccuracyTableError, match="accuracy class"):
        AccuracyClasses.from_toml(text)
