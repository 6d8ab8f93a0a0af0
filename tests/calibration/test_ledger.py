"""Whoever edits, removes or reorders anything in the register file behind its back is found out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from calibration.certificate import Instrument
from calibration.installation import Installations
from calibration.ledger import GENESIS, stamp, unstamp
from calibration.register import Register

Make = Callable[..., Any]


@contextmanager
def raw(path: Path, *, guarded: bool = False) -> Iterator[sqlite3.Connection]:
    """The file in the hands of someone with SQL; the triggers are no obstacle to him."""
    connection = sqlite3.connect(path)
    if not guarded:
        connection.execute("DROP TRIGGER audit_is_append_only_update")
        connection.execute("DROP TRIGGER audit_is_append_only_delete")
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def kinds(register: Register) -> set[str]:
    return {fault.kind for fault in register.check_audit()}


def test_an_honest_register_has_no_fault(hierarchy: Register, clock: Make) -> None:
    places = Installations(hierarchy)
    places.install("P1", "M1", at=clock(), actor="Li Na")
    hierarchy.attach(b"photo", name="a.jpg", media_type="image/jpeg", instrument="M1", actor="Li Na")
    hierarchy.withdraw_certificate("CAL-1", actor="Li Na", reason="typed wrongly")
    assert hierarchy.check_audit() == ()


def test_each_entry_names_the_one_before(hierarchy: Register) -> None:
    entries = hierarchy.audit()
    assert [e.number for e in entries] == [1, 2, 3, 4, 5, 6]
    assert [e.previous for e in entries] == [GENESIS, *(e.hash for e in entries[:-1])]
    assert hierarchy.head() == f"6-{entries[-1].hash}"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "2020-01-01T00:00:00.000000Z"),
        ("actor", "Nobody"),
        ("action", "change"),
        ("kind", "event"),
        ("subject", "M2"),
        ("revision", 7),
        ("old", "{}"),
        ("new", "{}"),
        ("reason", "because"),
        ("previous", "00"),
        ("hash", "00"),
    ],
)
def test_an_edited_entry_is_found(path: Path, hierarchy: Register, column: str, value: object) -> None:
    with raw(path) as file:
        file.execute(f"UPDATE audit SET {column} = ? WHERE number = 3", (value,))
    assert any(
        fault.number == 3 and fault.kind in {"edited", "unlinked"} for fault in hierarchy.check_audit()
    )


def test_a_removed_entry_is_found(path: Path, hierarchy: Register) -> None:
    with raw(path) as file:
        file.execute("DELETE FROM audit WHERE number = 2")
    assert {"gap", "unlinked", "unaudited"} <= kinds(hierarchy)


def test_entries_in_another_order_are_found(path: Path, hierarchy: Register) -> None:
    with raw(path) as file:
        file.execute("UPDATE audit SET number = 99 WHERE number = 2")
        file.execute("UPDATE audit SET number = 2 WHERE number = 3")
        file.execute("UPDATE audit SET number = 3 WHERE number = 99")
    assert {"edited", "unlinked"} <= kinds(hierarchy)


def test_removal_with_a_chain_computed_anew_is_found_by_the_head_kept_elsewhere(
    path: Path, clock: Make, hierarchy: Register
) -> None:
    kept = hierarchy.head()
    with raw(path) as file:
        file.execute("DELETE FROM audit WHERE number = 6")
        file.execute("DELETE FROM certificate WHERE id = 'CAL-1'")
        file.execute("DELETE FROM reference_use WHERE certificate = 'CAL-1'")
    assert hierarchy.check_audit() == ()  # what a chain inside the file can't show
    assert [fault.kind for fault in hierarchy.check_audit(kept)] == ["head"]


def test_a_head_kept_earlier_is_still_in_the_trail(hierarchy: Register) -> None:
    kept = hierarchy.head()
    hierarchy.add_instrument(Instrument("M9"), actor="Li Na")
    assert hierarchy.check_audit(kept) == ()
    assert hierarchy.check_audit(f"0-{GENESIS}") == ()
    assert [fault.kind for fault in hierarchy.check_audit(kept.replace("6-", "60-"))] == ["head"]


def test_the_newest_entry_alone_cannot_be_cut_off(path: Path, hierarchy: Register) -> None:
    with raw(path) as file:
        file.execute("DELETE FROM audit WHERE number = 6")
    assert kinds(hierarchy) == {"unaudited"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE certificate SET state = replace(state, '0.06', '0.01') WHERE id = 'CAL-1'",
        "UPDATE instrument SET state = replace(state, '123', '124') WHERE id = 'M1'",
    ],
)
def test_a_value_edited_behind_the_trail_is_found(path: Path, hierarchy: Register, statement: str) -> None:
    with raw(path, guarded=True) as file:
        assert file.execute(statement).rowcount == 1
    assert kinds(hierarchy) == {"state"}


def test_an_index_of_reference_uses_that_was_edited_is_found(path: Path, hierarchy: Register) -> None:
    with raw(path, guarded=True) as file:
        file.execute("UPDATE reference_use SET standard = 'RS' WHERE standard = 'WS'")
    assert kinds(hierarchy) == {"state"}


def test_a_row_deleted_or_smuggled_in_is_found(path: Path, hierarchy: Register) -> None:
    with raw(path, guarded=True) as file:
        file.execute("UPDATE certificate SET id = 'CAL-X' WHERE id = 'CAL-1'")
    assert kinds(hierarchy) == {"lost", "unaudited"}


def test_changed_or_lost_document_bytes_are_found(path: Path, hierarchy: Register) -> None:
    photo = hierarchy.attach(b"photo", name="a", media_type="image/jpeg", instrument="M1", actor="Li Na")
    hierarchy.attach(b"paper", name="b", media_type="application/pdf", instrument="M1", actor="Li Na")
    with raw(path, guarded=True) as file:
        file.execute("UPDATE content SET bytes = x'00' WHERE digest = ?", (photo.digest,))
        file.execute("DELETE FROM content WHERE digest <> ?", (photo.digest,))
    assert [fault.kind for fault in hierarchy.check_audit()] == ["document", "document"]


def test_the_audit_table_itself_refuses_slips(path: Path, hierarchy: Register) -> None:
    with raw(path, guarded=True) as file:
        for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                file.execute(statement)


def test_a_transaction_that_fails_writes_nothing(hierarchy: Register) -> None:
    head = hierarchy.head()
    with pytest.raises(ZeroDivisionError), hierarchy.ledger.writing("Li Na", "") as writer:
        writer.put("register", "instrument", "X", {"registered": "2026-11-24T08:00:00.000000Z", "value": {}})
        raise ZeroDivisionError
    assert hierarchy.head() == head
    assert hierarchy.check_audit() == ()


def test_moments_sort_as_text(clock: Make) -> None:
    one, other = clock(), clock.forward(microseconds=1)
    assert stamp(one) < stamp(other)
    assert unstamp(stamp(other)) == other
