"""An auditor who has the first key alone: the log's own key records lead to the one that signs; nothing else does."""

from __future__ import annotations

import pytest

from evidence import note, record
from evidence.command import main
from evidence.following import follow_keys
from evidence.revocation import Revocation
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, Writer, files, signer, write

OLD = Writer().signer
NEW = signer(ORIGIN, 9)
NEWEST = signer(ORIGIN, 10)
THIEF = signer(ORIGIN, 66)
STRANGER = signer("other.example/gw/1", 5)
KEY = OLD.verifier


def key_record(new, statement):
    return record.Key(
        salt=bytes(12), vkey=new.verifier.vkey, replaces=KEY.vkey, statement=statement, utc_us=1
    )


def rotated(*steps, by=NEW, to=300, spoil=lambda text: text):
    """A log with key records ``steps`` (the new key, who signed its statement), and a checkpoint by ``by``."""
    writer = Writer().grow(270)
    for new, signers in steps:
        text = note.Note(f"suyuan/key\n{ORIGIN}\n{new.verifier.vkey}\n").signed_by(*signers).format()
        writer.add(key_record(new, spoil(text)))
    writer.grow(to)
    return files(writer.entries, ORIGIN, by)


def verify(contents, *keys, **options):
    return verify_log(contents.get, *(keys or (KEY,)), **options)


def codes(report):
    return {finding.code for finding in report.findings}


def test_the_first_key_leads_to_the_one_that_signs_and_the_report_says_so():
    report = verify(rotated((NEW, (NEW, OLD))))
    assert report.ok
    (told,) = (finding for finding in report.findings if finding.code == "key_followed")
    assert told.entry == 270
    assert NEW.verifier.vkey in told.what
    assert note.fingerprint(NEW.verifier.vkey) in told.what


def test_a_chain_of_keys_is_followed_to_its_end():
    report = verify(rotated((NEW, (NEW, OLD)), (NEWEST, (NEWEST, NEW)), by=NEWEST))
    assert report.ok
    assert [f.entry for f in report.findings if f.code == "key_followed"] == [270, 271]


def test_who_has_the_key_that_signs_hears_nothing_of_it():
    assert codes(verify(rotated((NEW, (NEW, OLD))), NEW.verifier)) == set()


@pytest.mark.parametrize(
    ("steps", "by"),
    [
        ((), NEW),
        (((NEW, (NEW,)),), NEW),  # by itself alone
        (((NEW, (OLD,)),), NEW),  # by the older alone
        (((NEW, (THIEF, OLD)),), NEW),
        (((NEW, (NEW, THIEF)),), NEW),
        (((NEW, (NEW, STRANGER)),), NEW),
        (((THIEF, (THIEF, NEW)), (NEW, (NEW, OLD))), THIEF),  # vouched for by a key that is none yet
        (((NEW, (NEW, OLD)),), THIEF),
        (((STRANGER, (STRANGER, OLD)),), STRANGER),  # a key of another log's name
    ],
)
def test_a_key_that_the_older_and_itself_did_not_both_sign_for_is_refused(steps, by):
    report = verify(rotated(*steps, by=by))
    assert codes(report) == {"checkpoint"}
    assert not report.ok


@pytest.mark.parametrize("line", [1, 2])
@pytest.mark.parametrize("at", [6, 40, -2])
def test_a_statement_with_a_forged_signature_is_refused(line, at):
    def spoil(text):
        lines = text.split("\n")
        place = next(i for i, each in enumerate(lines) if each.startswith("— ")) + line - 1
        blob = lines[place].split(" ")
        blob[2] = blob[2][:at] + ("A" if blob[2][at] != "A" else "B") + blob[2][at + 1 :]
        lines[place] = " ".join(blob)
        return "\n".join(lines)

    assert codes(verify(rotated((NEW, (NEW, OLD)), spoil=spoil))) == {"checkpoint"}


def test_a_statement_for_another_log_or_another_key_is_refused():
    for spoil in (
        lambda t: t.replace(ORIGIN, ORIGIN + "0", 1),
        lambda t: t.replace("suyuan/key", "suyuan/kex", 1),
    ):
        assert codes(verify(rotated((NEW, (NEW, OLD)), spoil=spoil))) == {"checkpoint"}
    other = note.key_statement(ORIGIN, NEW, OLD)
    writer = Writer().grow(20)
    writer.add(key_record(THIEF, other))  # a true statement, borrowed
    writer.grow(30)
    assert codes(verify(files(writer.entries, ORIGIN, THIEF))) == {"checkpoint"}


def test_a_wrong_signature_of_the_key_that_was_given_is_not_gone_around():
    contents = rotated((NEW, (NEW, OLD)))
    signed = note.Note.parse(contents["checkpoint"])
    own = note.Note(signed.text.replace("\n300\n", "\n299\n")).signed_by(OLD).signatures[0]
    contents["checkpoint"] = note.Note(signed.text, (*signed.signatures, own)).encode()
    assert codes(verify(contents)) == {"checkpoint"}


def test_a_true_key_record_that_is_not_in_the_signed_tree_shows_nothing():
    contents = rotated((NEW, (NEW, OLD)))
    contents["checkpoint"] = note.Checkpoint(ORIGIN, 300, bytes(32)).signed_by(NEW).encode()
    assert "root" in codes(verify(contents))


@pytest.mark.parametrize(("size", "ok"), [(271, True), (270, False)])
def test_a_revoked_key_vouches_up_to_its_size_only(size, ok):
    report = verify(rotated((NEW, (NEW, OLD))), revoked=(Revocation(KEY, size=size),))
    assert report.ok is ok
    assert codes(report) == ({"key_followed"} if ok else {"checkpoint"})


def test_a_followed_key_that_was_revoked_signs_nothing():
    report = verify(rotated((NEW, (NEW, OLD))), revoked=(Revocation(NEW.verifier, size=280),))
    assert not report.ok


def test_a_key_that_the_log_never_had_leads_nowhere_though_it_vouches():
    """Who gives a key that neither began the log nor was vouched for hears that, as without key records."""
    report = verify(rotated((NEW, (NEW, THIEF))), THIEF.verifier)
    assert "genesis_key" in codes(report)


def test_what_is_no_log_is_followed_nowhere():
    for data in (b"", b"\xff", b"x\n1\n\n"):
        assert follow_keys({}.get, data, (KEY,), {}) == ()


def test_the_command_takes_the_old_key_and_names_the_new_one(tmp_path, capsys):
    directory = write(tmp_path / "log", rotated((NEW, (NEW, OLD))))
    assert main([str(directory), "--key", KEY.vkey]) == 0
    assert note.fingerprint(NEW.verifier.vkey) in capsys.readouterr().out
    directory = write(tmp_path / "forged", rotated((NEW, (NEW,))))
    assert main([str(directory), "--key", KEY.vkey]) == 1
