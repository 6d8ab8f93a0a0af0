"""Strangers may fill the room in which applications wait, and keep nobody out of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from central.waiting import KEPT, RESERVED, NewerWaits, WaitingRoom, source_of
from evidence.enrolment import Application
from evidence.note import Ed25519Signer

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Door:
    """A room of ten places, and a clock that goes on with each application."""

    def __init__(self, directory, most=10):
        self.at = NOW
        self.room = WaitingRoom(directory, lambda: self.at, most)

    def comes(self, origin, source, signer=None, number=1):
        signer = signer or Ed25519Signer.generate(origin)
        application = Application(signer.verifier, number, b"request")
        self.at += timedelta(seconds=1)
        self.room.put(application, application.signed_by(signer), source)
        return signer

    def flood(self, count, source):
        for n in range(count):
            self.comes(f"stranger.example/{source}/{n}", source)

    @property
    def there(self):
        return [one.application.origin for one in self.room]


@pytest.fixture
def door(tmp_path):
    return Door(tmp_path)


def test_a_flood_from_one_address_pushes_out_only_its_own(door):
    door.comes("honest.example/a", "10.0.0.1")
    door.comes("honest.example/b", "10.0.0.1")
    door.flood(50, "192.0.2.1")
    assert {"honest.example/a", "honest.example/b"} <= set(door.there)
    assert len(door.there) == 10
    door.comes("honest.example/c", "10.0.0.2")
    assert "honest.example/c" in door.there, "the full room turns nobody away"
    assert len(door.there) == 10


def test_of_many_addresses_that_one_gives_way_which_has_not_asked_for_longest(door):
    signer = door.comes("honest.example/a", "10.0.0.1")
    for n in range(30):
        door.comes(f"stranger.example/{n}", f"192.0.2.{n}")
        if n % 5 == 0:
            door.comes("honest.example/a", "10.0.0.1", signer)
    assert "honest.example/a" in door.there
    assert len(door.there) == 10


def test_who_was_pushed_out_is_back_with_its_next_question(door):
    signer = door.comes("honest.example/a", "10.0.0.1")
    door.flood(20, "10.0.0.1")
    assert "honest.example/a" not in door.there
    door.comes("honest.example/a", "10.0.0.1", signer)
    assert "honest.example/a" in door.there


def test_whom_the_operator_expects_keeps_its_place_beside_the_others(door):
    door.comes("honest.example/a", RESERVED)
    for n in range(30):
        door.comes(f"stranger.example/{n}", f"192.0.2.{n}")
    assert "honest.example/a" in door.there
    assert len(door.there) == 11


def test_what_has_not_asked_for_a_month_goes_by_itself_and_leaves_nothing(door, tmp_path):
    door.comes("honest.example/a", "10.0.0.1")
    door.at += KEPT + timedelta(days=1)
    door.comes("honest.example/b", "10.0.0.1")
    assert door.there == ["honest.example/b"]
    assert len(list(tmp_path.iterdir())) == 1


def test_an_older_application_does_not_take_a_newer_ones_place(door):
    signer = door.comes("honest.example/a", "10.0.0.1", number=7)
    with pytest.raises(NewerWaits):
        door.comes("honest.example/a", "10.0.0.1", signer, number=6)
    door.comes("honest.example/a", "10.0.0.2", signer, number=8)
    (one,) = door.room
    assert (one.application.number, one.source, one.asked) == (8, "10.0.0.2", door.at)


def test_a_place_without_a_source_is_one_too(door, tmp_path):
    door.comes("honest.example/a", "10.0.0.1")
    for path in tmp_path.glob("*/asked-*"):
        path.write_text("?")
    assert [one.source for one in door.room] == [""]


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somebody", ""),
    ],
)
def test_a_source_is_an_address_or_a_network_of_one_customer(host, source):
    assert source_of(host) == source
