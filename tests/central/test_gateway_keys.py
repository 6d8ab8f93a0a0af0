"""The keys that a gateway's log has had, as the platform's operator sees and enters them."""

from __future__ import annotations

import pytest

from central.registry import Registered, Registry
from central.store import Store
from evidence import record
from evidence.enrolment import Application
from evidence.note import fingerprint, key_statement
from gateway.cli import main
from gateway.enrolment import Enrolment
from tests.central.test_collect import clock, collector, served, slept, store  # noqa: F401 - fixtures
from tests.evidence.logs import ORIGIN, Writer, signer

OLD = Writer().signer
NEW, NEWEST, STRANGER = (signer(ORIGIN, n) for n in (7, 8, 66))


def shown(key):
    return fingerprint(key.verifier.vkey)


def statement_of(new, old):
    return key_statement(ORIGIN, new, old)


@pytest.fixture
def platform(tmp_path):
    registry = Registry(tmp_path / "platform" / "gateways")
    registry.put(Registered(OLD.verifier))
    return registry


@pytest.fixture
def gateways(tmp_path, platform, capsys):
    def run(*arguments, code=0):
        capsys.readouterr()
        assert main(["gateways", *map(str, arguments), "--store", str(platform.path.parent)]) == code
        return capsys.readouterr()

    return run


async def test_the_keys_that_the_stored_log_went_on_to_are_shown(
    collector, served, store, gateways, platform  # noqa: F811
):  # fmt: skip
    writer = Writer().grow(30)
    entry = writer.size
    writer.add(record.Key(
        salt=bytes(12), vkey=NEW.verifier.vkey, replaces=OLD.verifier.vkey, statement=statement_of(NEW, OLD),
        utc_us=1_795_000_000_000_000,
    ))  # fmt: skip
    served.contents = writer.grow(60).files()
    assert (await collector.collect_once()).ok
    path = store.path
    store.close()
    path.rename(platform.path.parent / "central.db")
    first, second = gateways("keys", ORIGIN).out.splitlines()
    assert first.split() == ["registered", *shown(OLD).split(), OLD.verifier.vkey]
    assert second == f"2026-11-18 11:06 UTC        {shown(NEW)}  {NEW.verifier.vkey}  entry {entry}"
    with Store(platform.path.parent):  # a platform at work has it for itself
        told = gateways("keys", ORIGIN)
        assert "the store is in use" in told.err
        assert len(told.out.splitlines()) == 1
    assert shown(NEW) in gateways("rekey", ORIGIN, "--fingerprint", shown(STRANGER), code=2).err
    gateways("rekey", ORIGIN, "--fingerprint", shown(NEW))
    assert platform() == {ORIGIN: NEW.verifier}


def test_a_key_that_came_by_a_carried_application_is_entered_and_the_old_ones_stay_visible(
    tmp_path, gateways, platform
):
    carried = tmp_path / "gateway.enrol"
    for new in (NEW, NEWEST):
        carried.write_bytes(Application(new.verifier).signed_by(new))
        assert gateways("rekey", ORIGIN, carried, code=2).err
        gateways("rekey", ORIGIN, carried, "--fingerprint", shown(new))
    gateways("rekey", ORIGIN, carried, "--fingerprint", shown(NEWEST), code=2)
    assert platform() == {ORIGIN: NEWEST.verifier}
    lines = gateways("keys", ORIGIN).out.splitlines()
    assert [line.split()[0] for line in lines] == ["until", "until", "registered"]
    assert [line.split()[-1] for line in lines] == [key.verifier.vkey for key in (OLD, NEW, NEWEST)]
    gateways("remove", ORIGIN)
    gateways("keys", ORIGIN, code=2)
    assert platform.path.read_text() == ""


def test_an_application_of_another_log_is_not_entered(tmp_path, gateways, platform):
    other = signer("platform.example/other", 3)
    (tmp_path / "other.enrol").write_bytes(Application(other.verifier).signed_by(other))
    told = gateways("rekey", ORIGIN, tmp_path / "other.enrol", "--fingerprint", shown(other), code=2).err
    assert "is an enrolment of platform.example/other" in told
    assert platform() == {ORIGIN: OLD.verifier}


def test_what_an_approved_application_says_of_its_keys_is_shown_where_no_store_is(
    tmp_path, gateways, platform
):
    told = tuple(statement_of(new, old) for new, old in ((NEW, OLD), (NEWEST, NEW)))
    note = Enrolment(tmp_path / "box", ORIGIN).apply(NEWEST, (), 1_795_000_000_000_000, told)
    (tmp_path / "gateway.enrol").write_bytes(note)
    gateways("approve", tmp_path / "gateway.enrol", "--fingerprint", shown(NEWEST))
    assert platform() == {ORIGIN: OLD.verifier}, "the log is followed from the key that was entered"
    lines = gateways("keys", ORIGIN).out.splitlines()
    assert [line.split()[-1] for line in lines] == [key.verifier.vkey for key in (OLD, NEW, NEWEST)]
    assert [line.split()[0] for line in lines] == ["registered", "application", "application"]
