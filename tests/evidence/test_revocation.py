from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import note, record
from evidence.command import main
from evidence.errors import ParseError
from evidence.policy import Policy
from evidence.revocation import Revocation, bounds, read_revocations
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, Writer, files, signer

OLD = Writer().signer
NEW = signer(ORIGIN, 9)
THIEF = signer(ORIGIN, 66)
PLATFORM = signer("platform.example/receipts", 2)
KEY = OLD.verifier
DAY = 86_400
NOON = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp())


def announce(writer, new, old):
    statement = note.key_statement(ORIGIN, new, old)
    writer.add(
        record.Key(salt=bytes(12), vkey=new.verifier.vkey, replaces=KEY.vkey, statement=statement, utc_us=1)
    )


def verify(contents, *keys, revoked, receipts=(), witnesses=(PLATFORM.cosigner,)):
    read = (Revocation.parse(revoked),)
    report = verify_log(
        contents.get, *keys, revoked=read, receipts=receipts, witnesses=witnesses if receipts else ()
    )
    return {f.code for f in report.findings if f.code != "tiles_absent"}


@given(size=st.integers(0, 10**12))
def test_a_revocation_is_read_as_it_is_written(size):
    by_size = Revocation(KEY, size=size)
    by_time = Revocation(KEY, before=size % 2**32)
    assert Revocation.parse(by_size.text) == by_size
    assert Revocation.parse(by_time.text) == by_time


@pytest.mark.parametrize(
    "bound", ["", "size", "size -1", "size 1 2", "before 1", "witnessed-before 2026-02-30T00:00:00Z",
              "witnessed-before 2026-11-24T12:00:00+08:00", "witnessed-before 2026-11-24"]
)  # fmt: skip
def test_another_spelling_is_refused(bound):
    with pytest.raises(ParseError, match="write 'VKEY size N'"):
        Revocation.parse(f"{KEY.vkey} {bound}")


def test_a_witness_is_not_revoked_but_left_out():
    with pytest.raises(ParseError, match="leave it out"):
        Revocation.parse(f"{PLATFORM.cosigner.vkey} size 1")


def test_of_two_revocations_the_stricter_holds():
    both = read_revocations(f"# why\n{KEY.vkey} size 9\n\nrevoked {KEY.vkey} size 7  # twice\n")
    assert bounds(both, []) == {KEY: 7}
    with pytest.raises(ParseError, match="line 2"):
        read_revocations(f"\n{KEY.vkey} size x\n")


def test_what_a_revoked_key_signed_is_believed_up_to_the_size_and_not_beyond():
    writer = Writer().grow(300)
    assert verify(writer.files(), KEY, revoked=f"{KEY.vkey} size {writer.size}") == set()
    assert verify(writer.files(), KEY, revoked=f"{KEY.vkey} size {writer.size - 1}") == {"revoked"}


def test_what_was_witnessed_before_the_time_is_believed_and_what_was_witnessed_since_is_not():
    writer = Writer().grow(300)
    at = f"{KEY.vkey} witnessed-before 2026-11-24T12:00:00Z"
    whole = writer.head().signed_by(OLD)
    for when, found in ((NOON - 1, set()), (NOON, {"revoked"})):
        receipt = whole.cosigned_by(PLATFORM, when).encode()
        assert verify(writer.files(), KEY, revoked=at, receipts=[receipt]) == found
    early = writer.head(128).signed_by(OLD).cosigned_by(PLATFORM, NOON - DAY).encode()
    assert verify(writer.files(), KEY, revoked=at, receipts=[early]) == {"revoked"}, "the tail is the thief's"
    assert verify(writer.files(), KEY, revoked=at) == {"revoked"}, "nobody witnessed it"


def test_a_new_key_that_the_old_one_vouched_for_in_time_signs_on():
    writer = Writer().grow(50)
    announce(writer, NEW, OLD)
    size = writer.size
    writer.grow(100)
    contents = files(writer.entries, ORIGIN, NEW)
    assert verify(contents, NEW.verifier, KEY, revoked=f"{KEY.vkey} size {size}") == set()


def test_a_key_that_a_thief_vouched_for_is_none():
    writer = Writer().grow(50)
    size = writer.size
    announce(writer, THIEF, OLD)
    writer.grow(100)
    contents = files(writer.entries, ORIGIN, OLD)
    assert verify(contents, KEY, revoked=f"{KEY.vkey} size {size}") == {"revoked", "key_statement"}


def test_a_policy_says_what_is_revoked():
    line = f"revoked {KEY.vkey} size 12"
    policy = Policy.parse(f"log {KEY.vkey}\n{line}\nquorum none\n")
    assert policy.revoked == (Revocation(KEY, size=12),)
    with pytest.raises(ParseError, match="line 2"):
        Policy.parse(f"log {KEY.vkey}\n{line} 3\nquorum none\n")


def test_the_command_honours_it(tmp_path, capsys):
    contents = Writer().grow(40).files()
    for path, data in contents.items():
        (tmp_path / "log" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "log" / path).write_bytes(data)
    asked = [str(tmp_path / "log"), "--key", KEY.vkey, "--jobs", "1", "--revoked"]
    assert main([*asked, f"{KEY.vkey} size 1000"]) == 0
    assert main([*asked, f"{KEY.vkey} size 10"]) == 1
    assert "signed by a revoked key alone, whose word counts up to 10" in capsys.readouterr().out
    listed = tmp_path / "revoked"
    listed.write_text(f"{KEY.vkey} size 10\n")
    assert main([*asked, str(listed)]) == 1
    (tmp_path / "log" / "revoked").write_text("")
    for wrong in (f"{KEY.vkey} size", str(tmp_path / "log" / "revoked"), "nothing"):
        assert main([*asked, wrong]) == 2
