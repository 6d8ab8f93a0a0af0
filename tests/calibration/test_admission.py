"""Whatever is typed, it is admitted or refused in words of both languages; nothing else is raised."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.admission import (
    certificate_problems,
    expected_error,
    instrument_problems,
    points_problems,
    share_problems,
)
from calibration.certificate import CalibrationPoint, Certificate, Instrument, ReferenceUse
from calibration.units import known_units

D = Decimal
TODAY = date(2026, 11, 24)
numbers = st.decimals(-100, 100, places=3)
GOOD = CalibrationPoint("energy.active", D(5), "A", D("0.12"), D("0.06"), D(2))


@settings(max_examples=60)
@given(st.from_type(Certificate))
def test_any_certificate_is_admitted_or_refused_in_words(certificate: Certificate) -> None:
    for problem in certificate_problems(certificate, TODAY):
        assert problem.text("en")
        assert problem.text("zh")
        assert problem.where.startswith("certificate")


@given(st.from_type(Instrument))
def test_any_instrument_is_admitted_or_refused_in_words(instrument: Instrument) -> None:
    for problem in instrument_problems(instrument):
        assert problem.text("en")
        assert problem.text("zh")


@given(st.lists(numbers, min_size=1, max_size=6))
def test_only_strictly_rising_loads_pass(loads: list[Decimal]) -> None:
    points = [replace(GOOD, load=load) for load in loads]
    rising = all(a < b for a, b in pairwise(loads))
    assert (list(points_problems(points)) == []) == rising


@given(
    st.decimals("0.001", 10, places=3),
    st.decimals(1, 3, places=2),
    st.lists(st.decimals(0, 10, places=4), max_size=3),
)
def test_shares_pass_exactly_if_together_they_fit_into_the_standard_uncertainty(
    big: Decimal, k: Decimal, shares: list[Decimal]
) -> None:
    point = replace(GOOD, U=big, k=k)
    uses = [ReferenceUse(f"S{n}", share=share) for n, share in enumerate(shares)]
    fits = sum((share * share for share in shares), D(0)) * k * k <= big * big
    assert (list(share_problems(uses, [point], "c")) == []) == fits


@given(numbers.filter(bool), numbers)
def test_an_error_formed_from_its_parts_always_agrees_with_them(
    reference: Decimal, indication: Decimal
) -> None:
    point = replace(GOOD, reference=reference, indication=indication)
    expected = expected_error(point)
    assert expected is not None
    assert list(points_problems([replace(point, error=round(expected, 3))])) == []


@pytest.mark.parametrize("unit", known_units())
def test_every_unit_of_the_table_is_admitted(unit: str) -> None:
    assert list(points_problems([replace(GOOD, unit=unit, load_unit=unit)])) == []
