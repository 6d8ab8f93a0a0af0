"""The table of units is closed, consistent and exact."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.units import (
    UNITS,
    UnitError,
    convert,
    convert_difference,
    from_dsi,
    is_known,
    known_units,
    ratio,
    unit,
)

PAIRS = [(a.key, b.key) for a in UNITS.values() for b in UNITS.values() if a.quantity == b.quantity]


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        ("1.5", "MWh", "kWh", "1500"),
        ("1", "kWh", "MJ", "3.6"),
        ("25.0", "Cel", "K", "298.15"),
        ("0", "K", "Cel", "-273.15"),
        ("2", "t/h", "kg/h", "2000"),
        ("1", "m3/s", "m3/h", "3600"),
        ("60", "L/min", "m3/h", "3.6"),
        ("150", "mg/m3", "g/m3", "0.15"),
        ("0.5", "%", "[ppm]", "5000"),
        ("1", "bar", "kPa", "100"),
        ("30", "'", "deg", "0.5"),
        ("1", "MJ", "kWh", "0.2777777777777777777777777777777778"),  # no finite decimal: 34 digits
    ],
)
def test_conversions(value: str, source: str, target: str, result: str) -> None:
    assert convert(Decimal(value), source, target) == Decimal(result)


def test_a_difference_has_no_zero_point() -> None:
    assert convert_difference(Decimal("0.3"), "Cel", "K") == Decimal("0.3")
    assert convert_difference(Decimal("0.3"), "K", "Cel") == Decimal("0.3")


@pytest.mark.parametrize(
    ("source", "target"),
    [("kWh", "kvar.h"), ("kW", "kV.A"), ("m3", "Nm3"), ("kWh", "kW"), ("min", "'"), ("%", "Cel")],
)
def test_different_quantities_do_not_convert(source: str, target: str) -> None:
    with pytest.raises(UnitError, match="can't be converted"):
        convert(Decimal(1), source, target)


def test_an_unknown_unit_is_refused_and_a_near_miss_named() -> None:
    assert not is_known("KWH")
    with pytest.raises(UnitError, match="did you mean kWh"):
        unit("KWH")
    with pytest.raises(UnitError, match="known are"):
        unit("furlong")


@given(st.sampled_from(PAIRS), st.decimals(-(10**9), 10**9, places=6))
def test_a_conversion_and_its_inverse_give_the_value_back(pair: tuple[str, str], value: Decimal) -> None:
    a, b = pair
    assert ratio(a, b) * ratio(b, a) == 1
    there = convert(value, a, b)
    back = convert(there, b, a)
    assert abs(back - value) <= abs(value) * Decimal("1e-30") + Decimal("1e-25")


def test_every_quantity_has_one_base_unit_or_none_in_use_and_names_in_both_languages() -> None:
    for row in UNITS.values():
        assert row.factor > 0
        assert isinstance(row.factor, Fraction)
        assert row.zh
        assert row.en
        assert is_known(row.key)
    assert known_units() == tuple(UNITS)
    bases = [row.quantity for row in UNITS.values() if row.base]
    assert sorted(bases) == sorted(set(bases))
    assert set(bases) == {row.quantity for row in UNITS.values()}


def test_d_si_strings_lead_back_to_their_unit() -> None:
    assert from_dsi(r"\kilo\watt\hour").key == "kWh"
    assert from_dsi(r"\metre\tothe{3}\per\hour").key == "m3/h"
    assert from_dsi(r" \degreecelsius ").key == "Cel"
    with pytest.raises(UnitError, match="say which"):
        from_dsi(r"\kilo\volt\ampere")
    with pytest.raises(UnitError, match="unknown"):
        from_dsi(r"\furlong")
    with pytest.raises(UnitError, match="unknown"):
        from_dsi("")
