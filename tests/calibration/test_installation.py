"""A measuring point's history: who hung there from when to when, with the registers at each change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from calibration import refusals
from calibration.certificate import Instrument
from calibration.installation import Installations
from calibration.register import Register

Make = Callable[..., Any]
D = Decimal
DAY = timedelta(days=1)


@pytest.fixture
def places(register: Register) -> Installations:
    register.add(instruments=[Instrument("M1"), Instrument("M2"), Instrument("M3")], actor="Li Na")
    return Installations(register)


def test_a_replacement_keeps_both_sets_of_registers(places: Installations, clock: Make) -> None:
    start = clock()
    places.install("P1", "M1", at=start, registers={"energy.active.import": D("0.00")}, actor="Li Na")
    change = start + DAY
    old, new = places.replace(
        "P1", "M2", at=change, registers_out={"energy.active.import": D("1234.56")},
        registers_in={"energy.active.import": D("7.10")}, actor="Wang", reason="display dead",
    )  # fmt: skip
    assert (old.instrument, old.until, old.registers_end) == (
        "M1",
        change,
        {"energy.active.import": D("1234.56")},
    )
    assert (new.instrument, new.since, new.registers_start) == (
        "M2",
        change,
        {"energy.active.import": D("7.10")},
    )
    assert places.bindings(point="P1") == (old, new)
    event = places.events(instrument="M2")[-1]
    assert (event.kind, event.instrument, event.other, event.reason) == (
        "replaced",
        "M1",
        "M2",
        "display dead",
    )
    assert event.registers_out == {"energy.active.import": D("1234.56")}
    assert event == places.events(instrument="M1")[-1]


def test_who_held_a_point_when(places: Installations, clock: Make) -> None:
    start = clock()
    places.install("P1", "M1", at=start, actor="Li Na")
    places.replace("P1", "M2", at=start + DAY, actor="Li Na", reason="swap")
    places.remove("P1", at=start + 2 * DAY, actor="Li Na", reason="line closed")
    moments = [start - DAY, start, start + DAY - timedelta(microseconds=1), start + DAY, start + 2 * DAY]
    assert [places.bound("P1", at) for at in moments] == [None, "M1", "M1", "M2", None]
    assert places.points() == ("P1",)


def test_roles_at_one_point_are_apart(places: Installations, clock: Make) -> None:
    places.install("P1", "M1", at=clock(), actor="Li Na")
    places.install("P1", "M2", at=clock(), role="ct.l1", actor="Li Na")
    assert places.bound("P1", clock(), role="ct.l1") == "M2"


def test_a_taken_place_and_a_taken_instrument_are_refused(places: Installations, clock: Make) -> None:
    places.install("P1", "M1", at=clock(), actor="Li Na")
    with pytest.raises(refusals.BindingConflict, match="holds M1"):
        places.install("P1", "M2", at=clock() + DAY, actor="Li Na")
    with pytest.raises(refusals.BindingConflict, match="M1 is at P1"):
        places.install("P2", "M1", at=clock() + DAY, actor="Li Na")
    with pytest.raises(refusals.BindingConflict, match="holds no instrument"):
        places.remove("P2", at=clock(), actor="Li Na", reason="x")


def test_times_run_forward(places: Installations, clock: Make) -> None:
    places.install("P1", "M1", at=clock(), actor="Li Na")
    with pytest.raises(refusals.DatesReversed):
        places.remove("P1", at=clock() - DAY, actor="Li Na", reason="x")
    places.remove("P1", at=clock() + DAY, actor="Li Na", reason="x")
    with pytest.raises(refusals.DatesReversed):
        places.install("P1", "M2", at=clock(), actor="Li Na")
    with pytest.raises(refusals.DatesReversed):
        places.install("P2", "M1", at=clock(), actor="Li Na")


def test_a_refused_replacement_leaves_the_old_in_place(places: Installations, clock: Make) -> None:
    places.install("P1", "M1", at=clock(), actor="Li Na")
    with pytest.raises(refusals.UnknownInstrument):
        places.replace("P1", "M9", at=clock() + DAY, actor="Li Na", reason="swap")
    assert places.bound("P1", clock() + 2 * DAY) == "M1"
    assert [event.kind for event in places.events()] == ["installed"]


def test_a_register_reading_is_what_a_meter_can_show(places: Installations, clock: Make) -> None:
    for value in (D("-1"), D("NaN")):
        with pytest.raises(refusals.BadIdentity, match=r"energy\.active"):
            places.install("P1", "M1", at=clock(), registers={"energy.active.import": value}, actor="Li Na")


def test_a_withdrawn_instrument_is_not_installed(
    places: Installations, register: Register, clock: Make
) -> None:
    register.withdraw_instrument("M1", actor="Li Na", reason="scrapped")
    with pytest.raises(refusals.Withdrawn, match="scrapped"):
        places.install("P1", "M1", at=clock(), actor="Li Na")


def test_other_events_know_their_place(places: Installations, clock: Make) -> None:
    places.install("P1", "M1", at=clock(), actor="Li Na")
    event = places.note("seal-broken", "M1", at=clock() + DAY, actor="Wang", reason="found open")
    assert (event.point, event.role) == ("P1", "meter")
    assert [e.kind for e in places.events(point="P1")] == ["installed", "seal-broken"]
