"""Reverse traceability: the effect that is computed is the one that calibrating rightly would have made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from calibration.affected import Row, affected, reach, rows_of
from calibration.certificate import Instrument, InstrumentKind, ReferenceUse
from calibration.records import Finding
from calibration.register import Register
from calibration.state import CalibrationState, compile_state

Make = Callable[..., Any]
D = Decimal
DELTA = D("0.30")
SHARE = D("0.02")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def plant(register: Register, a_certificate: Make) -> Register:
    """Working standard WS was bad from 2025-08 to 2026-04: M1 was calibrated in that time, M0 before, M2 after."""
    standard = InstrumentKind.REFERENCE_STANDARD
    use = (ReferenceUse("WS", "LAB-7", share=SHARE),)
    register.add(
        instruments=[Instrument("RS", standard), Instrument("WS", standard), *(Instrument(f"M{n}") for n in range(3))],
        certificates=[
            a_certificate("NIM-1", "RS", performed=date(2024, 5, 1), national=True),
            a_certificate(
                "LAB-7", "WS", performed=date(2025, 2, 1), references=(ReferenceUse("RS", "NIM-1", share=D("0.01")),)
            ),
            a_certificate("CAL-0", "M0", performed=date(2025, 7, 31), references=use),
            a_certificate("CAL-1", "M1", performed=date(2026, 3, 2), references=use),
            a_certificate("CAL-2", "M2", performed=date(2026, 4, 2), references=use),
        ],
        actor="Li Na",
    )  # fmt: skip
    return register


FINDING = Finding("F1", "instrument", "WS", date(2025, 8, 1), date(2026, 4, 1), "as-found +0.30 %", DELTA)


def states(register: Register, *meters: str) -> dict[str, CalibrationState]:
    made = {}
    for meter in meters:
        inputs = register.compile_inputs(meter, date(2026, 6, 1))
        made[meter] = compile_state(
            inputs.instrument, inputs.certificates, inputs.transformers, inputs.standards, at=date(2026, 6, 1)
        )
    return made


def aggregate(index: int, value: str, named: dict[str, float], used: list[CalibrationState]) -> Row:
    contributions = {source: D(repr(c)) for source, c in named.items()}
    return Row(
        index, "aggregate", tuple(s.instrument for s in used), "power.active.total", "kW",
        moment("2026-06-01"), moment("2026-06-02"), D(value), contributions, tuple(s.digest for s in used),
    )  # fmt: skip


def test_what_counts_is_the_calibration_not_the_item(plant: Register) -> None:
    found = reach(plant, FINDING)
    assert [(r.instrument, r.certificate, r.level) for r in found] == [("WS", "", 0), ("M1", "CAL-1", 1)]
    assert found[1].u == SHARE


def test_a_higher_standard_reaches_through_all_levels(plant: Register) -> None:
    finding = replace(FINDING, subject="RS", first=date(2025, 1, 1), last=date(2025, 3, 1))
    found = reach(plant, finding)
    assert [(r.instrument, r.certificate, r.level, r.via) for r in found[1:]] == [
        ("WS", "LAB-7", 1, "RS"),
        ("M0", "CAL-0", 2, "LAB-7"),
        ("M1", "CAL-1", 2, "LAB-7"),
        ("M2", "CAL-2", 2, "LAB-7"),
    ]


def test_a_bad_certificate_reaches_while_it_was_in_force(plant: Register, a_certificate: Make) -> None:
    plant.add_certificate(a_certificate("LAB-8", "WS", performed=date(2026, 3, 20)), actor="Li Na")
    finding = Finding("F", "certificate", "LAB-7", date(2020, 1, 1), None, "typing error", DELTA)
    assert [r.certificate for r in reach(plant, finding)] == ["LAB-7", "CAL-0", "CAL-1"]


def test_the_effect_is_what_a_right_calibration_would_have_made(plant: Register) -> None:
    state = states(plant, "M1")["M1"]
    reported = state.contributions("power.active.total", 1000, load_a=5)
    assert reported is not None
    row = aggregate(7, repr(float(reported.y)), dict(reported.contributions), [state])
    (hit,) = affected(FINDING, reach(plant, FINDING), [state], [row]).rows

    wrong = plant.certificate("CAL-1")
    right = replace(wrong, points=tuple(replace(p, error=p.error + DELTA) for p in wrong.points))
    truth = compile_state(plant.instrument("M1"), [right], at=date(2026, 6, 1))
    expected = truth.contributions("power.active.total", 1000, load_a=5)
    assert expected is not None
    assert hit.exact
    assert hit.effect is not None
    assert float(hit.effect) == pytest.approx(expected.y - reported.y, rel=0.005)  # first order
    assert hit.corrected is not None
    assert float(hit.corrected) == pytest.approx(expected.y, rel=1e-5)


def test_meters_calibrated_before_and_after_are_not_touched(plant: Register) -> None:
    made = states(plant, "M0", "M1", "M2")
    rows = []
    for number, state in enumerate(made.values()):
        result = state.contributions("power.active.total", 1000, load_a=5)
        assert result is not None
        rows.append(aggregate(number, repr(float(result.y)), dict(result.contributions), [state]))
    found = affected(FINDING, reach(plant, FINDING), made.values(), rows)
    assert [hit.row.instruments for hit in found.rows] == [("M1",)]
    assert found.states == (made["M1"].digest,)


def test_a_sum_with_clean_meters_gives_a_bound_and_says_so(plant: Register) -> None:
    made = states(plant, "M0", "M1")
    results = [state.contributions("power.active.total", 1000, load_a=5) for state in made.values()]
    first, second = results
    assert first is not None
    assert second is not None
    total = first + second
    row = aggregate(9, repr(float(total.y)), dict(total.contributions), list(made.values()))
    (hit,) = affected(FINDING, reach(plant, FINDING), made.values(), [row]).rows
    assert not hit.exact
    assert hit.corrected is None
    assert hit.effect is not None
    assert abs(hit.effect) > abs(D(repr(float(second.y))) * DELTA / 100) * D("1.9")


def test_readings_without_contributions_take_the_effect_from_their_value(plant: Register) -> None:
    state = states(plant, "M1")["M1"]
    record = {
        "type": "reading", "instrument": "M1", "utc_us": 1780272000000000, "state": [3, state.digest],
        "results": {
            "power.active.total": ["1000", "0.3"], "energy.active.import": ["5", "1"], "voltage.l1": ["220", "1"],
        },
    }  # fmt: skip
    rows = list(rows_of(record, 12))
    assert [row.measurand for row in rows] == ["power.active.total", "voltage.l1"]
    (hit,) = affected(FINDING, reach(plant, FINDING), [state], rows).rows
    assert hit.row.measurand == "power.active.total"  # CAL-1 speaks of active energy and power only
    assert hit.effect == -D(1000) * DELTA / (100 + DELTA)


def test_an_instrument_found_out_touches_its_own_readings_in_that_time(plant: Register) -> None:
    finding = Finding("F2", "instrument", "M2", date(2026, 5, 1), date(2026, 6, 1), "terminal loose", D("-1"))
    row = aggregate(1, "990", {}, [states(plant, "M2")["M2"]])
    inside = replace(row, begin=moment("2026-06-01T23:00:00"), end=moment("2026-06-02"))
    after = replace(row, begin=moment("2026-06-02"), end=moment("2026-06-03"))
    other = replace(row, instruments=("M1",))
    found = affected(finding, reach(plant, finding), [], [inside, after, other])
    assert [hit.row for hit in found.rows] == [inside]
    assert found.rows[0].corrected == D(1000)


def test_what_cannot_be_told_from_the_row_is_to_be_recomputed(plant: Register) -> None:
    finding = Finding("F2", "instrument", "M2", date(2026, 5, 1), None, "loose", D("-1"))
    row = aggregate(1, "990", {}, [])
    both = replace(row, instruments=("M1", "M2"))
    (hit,) = affected(finding, reach(plant, finding), [], [both]).rows
    assert (hit.effect, hit.exact) == (None, False)
    absolute = replace(finding, unit="kW")
    (hit,) = affected(absolute, reach(plant, finding), [], [replace(row, instruments=("M2",))]).rows
    assert hit.effect is None


def test_rows_may_be_fetched_for_the_instruments_and_days_that_matter(plant: Register) -> None:
    asked: list[Any] = []

    def fetch(instruments: Any, first: date, last: date | None) -> list[Row]:
        asked.append((tuple(instruments), first, last))
        return []

    affected(FINDING, reach(plant, FINDING), [], fetch)
    assert asked == [(("WS", "M1"), date(2025, 8, 1), None)]


def test_the_advice_names_all_that_it_concerns(plant: Register) -> None:
    state = states(plant, "M1")["M1"]
    result = state.contributions("power.active.total", 1000, load_a=5)
    assert result is not None
    record = {
        "type": "aggregate", "instruments": ["M1"], "measurand": "power.active.total", "unit": "kW",
        "from_us": 1780272000000000, "to_us": 1780275600000000, "value": repr(float(result.y)),
        "contributions": {s: repr(c) for s, c in result.contributions.items()}, "states": [[3, state.digest]],
    }  # fmt: skip
    (row,) = rows_of(record, 41)
    advice = affected(FINDING, reach(plant, FINDING), [state], [row]).advice()
    assert advice["supersedes"] == [41]
    assert advice["instruments"] == ["WS", "M1"]
    assert (advice["from_us"], advice["to_us"]) == (1780272000000000, 1780275600000000)
    assert advice["reason"] == "as-found +0.30 %"
    assert advice["detail"]["certificates"] == "CAL-1"
    assert advice["detail"]["effect on aggregates of power.active.total"].startswith("-2.99")
    assert all(isinstance(value, str) for value in advice["detail"].values())


def test_a_finding_without_a_shift_cannot_be_reckoned(plant: Register) -> None:
    finding = replace(FINDING, shift=None)
    with pytest.raises(ValueError, match="states no shift"):
        affected(finding, reach(plant, finding), [], [])


def test_other_records_hold_no_rows() -> None:
    assert list(rows_of({"type": "gap"}, 1)) == []
    missing = {"type": "aggregate", "value": None}
    assert list(rows_of(missing, 1)) == []
