"""A platform that was told of a revoked key: what it takes, pulled and pushed."""

from __future__ import annotations

import pytest

from central.delivery import Delivery
from central.intake import Intake, Refused
from central.log_keys import RevokedFile
from central.packages import Upload
from evidence import note, record
from evidence.errors import ParseError
from evidence.revocation import Revocation
from tests.central.both_stores import postgres_server, store  # noqa: F401 - fixtures
from tests.central.pushing import PLATFORM, entries_body, offer
from tests.central.test_collect import clock, collector, served, slept  # noqa: F401 - fixtures
from tests.evidence.logs import ORIGIN, START_US, Writer, files, signer

OLD = Writer().signer
NEW = signer(ORIGIN, 7)
THIEF = signer(ORIGIN, 66)
KEY = OLD.verifier


def announce(writer, new, old=OLD):
    statement = note.key_statement(ORIGIN, new, old)
    writer.add(
        record.Key(salt=bytes(12), vkey=new.verifier.vkey, replaces=KEY.vkey, statement=statement, utc_us=1)
    )


def revoke(text):
    return lambda: (Revocation.parse(f"{KEY.vkey} {text}"),)


async def test_a_revoked_key_moves_no_head_beyond_its_size(collector, served, store):  # noqa: F811
    writer = Writer().grow(50)
    served.contents = writer.files()
    assert (await collector.collect_once()).ok
    size = writer.size
    collector.revoked = revoke(f"size {size}")
    assert (await collector.collect_once()).ok, "what is here stays"
    served.contents = writer.grow(100).files()
    outcome = await collector.collect_once()
    assert "revoked" in outcome.error
    assert outcome.size == size


async def test_the_receipt_says_what_was_seen_before_the_key_was_copied(collector, served):  # noqa: F811
    writer = Writer().grow(50)
    served.contents = writer.files()
    assert (await collector.collect_once()).ok  # cosigned at START_US: 2026-09-21T14:13:20Z
    collector.revoked = revoke("witnessed-before 2026-09-21T14:13:21Z")
    assert (await collector.collect_once()).ok
    served.contents = writer.grow(100).files()
    assert "revoked" in (await collector.collect_once()).error
    collector.revoked = revoke("witnessed-before 2026-09-21T14:13:20Z")
    served.contents = files(writer.entries[:50], ORIGIN, OLD)
    assert "revoked" in (await collector.collect_once()).error


async def test_a_key_vouched_for_in_time_goes_on_and_one_vouched_for_by_a_thief_does_not(
    collector, served, store  # noqa: F811
):  # fmt: skip
    writer = Writer().grow(50)
    announce(writer, NEW)
    bound = writer.size
    announce(writer, THIEF)
    served.contents = writer.grow(100).files()
    assert (await collector.collect_once()).ok, "nobody knew yet"
    collector.revoked = revoke(f"size {bound}")
    served.contents = files(writer.grow(150).entries, ORIGIN, THIEF)
    assert "not signed" in (await collector.collect_once()).error
    served.contents = files(writer.entries, ORIGIN, NEW)
    assert (await collector.collect_once()).ok


async def test_a_log_whose_key_was_revoked_is_opened_by_the_one_that_a_person_gives(collector, served, store):  # noqa: F811
    writer = Writer().grow(50)
    served.contents = writer.files()
    assert (await collector.collect_once()).ok
    announce(writer, NEW)
    served.contents = files(writer.grow(100).entries, ORIGIN, NEW)
    collector.revoked = revoke("size 50")
    assert "not signed" in (await collector.collect_once()).error
    collector.verifier = NEW.verifier
    assert (await collector.collect_once()).ok
    assert len(store.gateways()) == 1


def test_a_gateway_that_pushes_is_refused_likewise(store):  # noqa: F811
    writer = Writer().grow(300)
    intake = Intake(
        store, lambda: {ORIGIN: KEY}, PLATFORM, lambda: START_US, revoked=revoke(f"size {writer.size - 1}")
    )
    with pytest.raises(Refused, match="signed by a revoked key") as refused:
        intake.add_checkpoint(offer(writer, writer.size, 0))
    assert refused.value.status == 403
    assert intake.add_checkpoint(offer(writer, 200, 0)).size == 200
    intake.begin(Upload(ORIGIN, 0, 200))


def test_one_that_pushes_through_a_broker_too(store):  # noqa: F811
    writer = Writer().grow(200).grow(300)
    revoked = revoke(f"size {writer.size - 1}")
    intake = Intake(store, lambda: {ORIGIN: KEY}, PLATFORM, lambda: START_US, revoked=revoked)
    for size in (200, 300):
        message = offer(writer, size, 0)
        body = entries_body(writer, 0, size, packed=True)
        one = Delivery.parse(len(message).to_bytes(4, "big") + message + body)
        if size < writer.size:
            standing, ahead = intake.deliver(ORIGIN, [one])
            assert (standing.next, ahead) == (size, ())
            assert standing.receipt is not None
        else:
            with pytest.raises(Refused, match="signed by a revoked key"):
                intake.deliver(ORIGIN, [one])
    (known,) = store.gateways()
    assert list(store.entries(known)) == writer.entries[:200]


def test_the_file_is_read_again_and_a_mistake_changes_nothing(tmp_path):
    path, told = tmp_path / "revoked", []
    with pytest.raises(ParseError, match="cannot be read"):
        RevokedFile(path)
    path.write_text(f"{KEY.vkey} size 5\n")
    revoked = RevokedFile(path, told.append)
    assert [one.size for one in revoked()] == [5]
    path.write_text("nonsense, and longer than before\n")
    assert [one.size for one in revoked()] == [5]
    assert "line 1" in told[0]
    path.write_text(f"{KEY.vkey} size 3   # copied\n")
    assert [one.size for one in revoked()] == [3]
