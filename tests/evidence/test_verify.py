"""Verification says yes to a true log, and says what is wrong with any other. It never raises on bad evidence."""

import hashlib

import msgspec
import pytest

from evidence import note, record
from evidence.continuity import Continuity, fact_of
from evidence.findings import Report, Severity
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, Writer, files, signer

KEY = signer().verifier
PLATFORM = signer("platform.example", 2)


def verify(contents, *keys, **options):
    return verify_log(contents.get, *(keys or (KEY,)), **options)


def codes(report):
    return {finding.code for finding in report.findings if finding.severity is Severity.ERROR}


def forged(entries):
    """What the holder of the log's key could publish: any entries, rightly hashed and signed."""
    return files(entries, ORIGIN, signer())


@pytest.mark.parametrize("size", [6, 64, 255, 256, 257, 600])
def test_a_true_log_verifies(size):
    writer = Writer().grow(size)
    report = verify(writer.files())
    assert report.findings == ()
    assert report.ok
    assert (report.origin, report.size, report.root) == (ORIGIN, size, writer.head().root)
    assert sum(report.counts.values()) == size
    for name, place in report.instruments.items():
        last, _, received, missed = writer.last[name]
        assert (place.due, place.received, place.missed) == (last, received, missed)
        assert place.due == place.received + place.missed
        assert sum(place.reasons.values()) == place.missed
        assert set(place.reasons) <= {"timeout"}


def test_the_same_answer_from_several_processes(monkeypatch):
    monkeypatch.setattr("evidence.verification.PARALLEL_FROM", 1)
    contents = Writer().grow(700).files()
    assert verify(contents, jobs=2) == verify(contents)
    contents["tile/entries/001"] = contents["tile/entries/001"].replace(b"timeout", b"timeouT", 1)
    assert verify(contents, jobs=2) == verify(contents)
    assert not verify(contents).ok


# ── integrity: each finding names what was changed ───────────────────────────────────────────────────────────────────


def test_a_changed_entry_is_named():
    contents = Writer().grow(600).files()
    path = "tile/entries/001"
    contents[path] = contents[path].replace(b'"clock":2', b'"clock":3', 1)
    report = verify(contents)
    found = [f for f in report.findings if f.code == "entry"]
    assert not report.ok
    assert [(f.entry, f.where) for f in found] == [(256, path)]


def test_a_changed_tile_is_named():
    contents = Writer().grow(600).files()
    for path in ("tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"):
        broken = {**contents, path: contents[path][:-1] + bytes([contents[path][-1] ^ 4])}
        report = verify(broken)
        assert codes(report) == {"tile"}
        assert [f.where for f in report.findings] == [path]
        assert codes(verify({**contents, path: contents[path][:-1]})) == {"tile"}


def test_entry_and_tile_changed_together_do_not_lead_to_the_signed_root():
    contents = Writer().grow(300).files()
    entries = Writer().grow(300).entries
    entries[100] = entries[100].replace(b'"clock":2', b'"clock":3')
    other = forged(entries)
    report = verify({**other, "checkpoint": contents["checkpoint"]})
    assert codes(report) == {"root"}


def test_an_entry_bundle_that_is_not_there_is_an_error_and_a_tile_is_a_warning():
    contents = Writer().grow(600).files()
    assert "bundle" in codes(verify({p: d for p, d in contents.items() if p != "tile/entries/001"}))
    only_entries = {p: d for p, d in contents.items() if not p.startswith(("tile/0", "tile/1"))}
    report = verify(only_entries)
    assert report.ok
    assert [(f.code, f.severity) for f in report.findings] == [("tiles_absent", Severity.WARNING)]
    nothing = {"checkpoint": contents["checkpoint"]}
    assert codes(verify(nothing)) == {"bundle", "root"}


def test_a_size_that_no_disk_holds_is_answered_at_once():
    boast = note.Checkpoint(ORIGIN, 2**62, bytes(32)).signed_by(signer())
    assert codes(verify({**Writer().grow(20).files(), "checkpoint": boast.encode()})) == {"bundle", "root"}


def test_no_checkpoint_another_key_another_origin():
    contents = Writer().grow(20).files()
    assert codes(verify_log({}.get, KEY)) == {"checkpoint_missing"}
    assert codes(verify(contents, signer(seed=2).verifier)) == {"checkpoint"}
    assert codes(verify(contents, signer("other", 1).verifier)) == {"checkpoint"}
    assert verify(contents, signer("other", 1).verifier, KEY).ok


# ── completeness: what a gateway that holds the key could leave out ──────────────────────────────────────────────────


def test_a_reading_left_out_before_signing_shows_in_the_numbers():
    writer = Writer()
    writer.grow(60)
    writer.last["M1"] = (writer.last["M1"][0] + 1, *writer.last["M1"][1:])  # a poll that left no record
    writer.grow(120)
    report = verify(writer.files())
    assert codes(report) == {"running_number"}
    assert any(f.where == "M1" and f.entry is not None and f.entry >= 60 for f in report.findings)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"number": 99}, "running_number"),
        ({"previous": 3}, "back_link"),
        ({"state": record.Reference(3, "0" * 64)}, "calibration_state_reference"),
        ({"state": record.Reference(1, "0" * 64)}, "calibration_state_reference"),
        ({"configuration": record.Reference(9999, "0" * 64)}, "configuration_reference"),
    ],
)
def test_a_reading_that_does_not_follow_is_named(change, code):
    writer = Writer().grow(80)
    at = next(i for i in range(70, 80) if b'"type":"reading"' in writer.entries[i])
    entries = list(writer.entries)
    entries[at] = record.encode(msgspec.structs.replace(record.decode(entries[at]), **change))
    report = verify(forged(entries))
    assert code in codes(report)
    assert any(f.code == code and f.entry == at for f in report.findings)


def test_an_instruments_state_must_be_a_state():
    writer = Writer()
    writer.states["M1"] = writer.configuration
    writer.grow(12)
    assert codes(verify(writer.files())) == {"calibration_state_reference"}


def test_the_first_entry_is_the_genesis_of_this_log_and_no_other_is():
    writer = Writer().grow(30)
    assert "genesis" in codes(verify(forged(writer.entries[1:])))
    assert "genesis" in codes(verify(forged([*writer.entries[:9], writer.entries[0], *writer.entries[9:]])))
    other = Writer("platform.example/gw/8").grow(30)
    assert "genesis_origin" in codes(verify(forged(other.entries)))
    assert "genesis_key" in codes(verify(forged(other.entries)))


def test_the_last_entry_is_a_seal_that_counts_what_there_is():
    writer = Writer().grow(40)
    assert codes(verify(forged(writer.entries[:-1]))) == {"seal_missing"}
    seal = record.decode(writer.entries[-1])
    more = {**seal.counts, "M1": record.Tally(99, 99, 0)}
    for counts, where in ((more, "M1"), ({}, "M2"), ({**seal.counts, "M9": record.Tally(1, 1, 0)}, "M9")):
        wrong = record.encode(msgspec.structs.replace(seal, counts=counts))
        report = verify(forged([*writer.entries[:-1], wrong]))
        assert codes(report) == {"seal_counts"}
        assert where in {f.where for f in report.findings}


def test_a_seal_names_only_receipts_of_this_history():
    writer = Writer().grow(64)
    for root, expected in ((writer.head().root, set()), (bytes(32), {"seal_receipt"})):
        again = Writer().grow(64)
        seal = record.Seal(
            salt=bytes(12),
            utc_us=1,
            boot_us=1,
            boot_id="b",
            clock=0,
            clock_error_us=None,
            counts={n: record.Tally(p, r, m) for n, (p, _, r, m) in again.last.items()},
            software="",
            configuration=None,
            receipt=record.Head(64, root),
        )
        again.add(seal)
        assert codes(verify(again.files())) == expected


def test_what_is_no_record_is_named_with_the_reason():
    writer = Writer().grow(40)
    entries = list(writer.entries)
    entries[20] = b'{"type":"reading"}'
    report = verify(forged(entries))
    assert [(f.entry, "missing required field" in f.what) for f in report.findings if f.code == "record"] == [
        (20, True)
    ]


def test_references_only_look_back():
    writer = Writer().grow(40)
    aggregate = record.Aggregate(
        salt=bytes(12),
        instruments=("M1",),
        measurand="energy.active.import",
        unit="kWh",
        from_us=0,
        to_us=1,
        first=4,
        last=40,
        count=3,
        missing=0,
        value="1.0",
        u="0.1",
        contributions={},
        independent="0.01",
        states=(writer.states["M1"], record.Reference(1, "f" * 64)),
        method="register",
        supersedes=77,
    )
    writer.add(aggregate)
    writer.seal()
    assert codes(verify(writer.files())) == {"order", "calibration_state_reference"}


def test_a_new_key_must_be_vouched_for():
    for vouched in (True, False):
        writer = Writer().grow(20)
        new = signer(ORIGIN, 9)
        statement = note.key_statement(ORIGIN, new, *([writer.signer] if vouched else []))
        vkey = new.verifier.vkey
        writer.add(record.Key(salt=bytes(12), vkey=vkey, replaces=KEY.vkey, statement=statement, utc_us=1))
        writer.seal()
        assert codes(verify(writer.files())) == (set() if vouched else {"key_statement"})


def test_a_log_is_verified_with_the_newer_key_once_the_older_has_vouched_for_it():
    new = signer(ORIGIN, 9)
    for vouched in (True, False):
        writer = Writer().grow(20)
        if vouched:
            statement = note.key_statement(ORIGIN, new, writer.signer)
            writer.add(
                record.Key(
                    salt=bytes(12), vkey=new.verifier.vkey, replaces=KEY.vkey, statement=statement, utc_us=1
                )
            )
        writer.grow(30)
        contents = files(writer.entries, ORIGIN, new)
        assert codes(verify(contents, new.verifier)) == (set() if vouched else {"genesis_key"})


def test_continuity_goes_on_from_what_it_knew():
    entries = Writer().grow(200).entries
    whole = Continuity(ORIGIN, (KEY,))
    first = Continuity(ORIGIN, (KEY,))
    for index, entry in enumerate(entries):
        whole.add(index, fact_of(record.decode(entry)))
        if index == 99:
            first = Continuity(
                ORIGIN, (KEY,), dict(whole.places), {k: set(v) for k, v in whole.references.items()}
            )
        elif index > 99:
            first.add(index, fact_of(record.decode(entry)))
    assert not first.findings
    assert first.places == whole.places


# ── witnesses, receipts, earlier checkpoints ─────────────────────────────────────────────────────────────────────────


def test_a_witness_that_was_asked_for_must_have_signed_rightly():
    writer = Writer().grow(100)
    contents = writer.files()
    assert codes(verify(contents, witnesses=[PLATFORM.cosigner])) == {"witness_missing"}
    signed = note.Note.parse(contents["checkpoint"])
    cosigned = {**contents, "checkpoint": signed.cosigned_by(PLATFORM, 1_790_000_000).encode()}
    report = verify(cosigned, witnesses=[PLATFORM.cosigner])
    assert report.ok
    assert report.cosigned == {"platform.example": (100, 1_790_000_000)}
    line = note.Note.parse(cosigned["checkpoint"]).by(PLATFORM.cosigner)[0]
    wrong = note.Note(signed.text, (*signed.signatures, note.Signature(line.name, line.key_id, bytes(72))))
    assert "cosignature" in codes(
        verify({**contents, "checkpoint": wrong.encode()}, witnesses=[PLATFORM.cosigner])
    )


def test_receipts_kept_from_earlier_pin_the_history():
    writer = Writer().grow(300)
    contents = writer.files()
    earlier = writer.head(128).signed_by(writer.signer).cosigned_by(PLATFORM, 5).encode()
    report = verify(contents, witnesses=[PLATFORM.cosigner], receipts=[earlier])
    assert report.ok
    assert report.cosigned == {"platform.example": (128, 5)}
    fork = (
        note.Checkpoint(ORIGIN, 128, hashlib.sha256(b"x").digest())
        .signed_by(writer.signer)
        .cosigned_by(PLATFORM, 5)
    )
    assert codes(verify(contents, witnesses=[PLATFORM.cosigner], receipts=[fork.encode()])) == {"fork"}
    assert "receipt" in codes(verify(contents, witnesses=[PLATFORM.cosigner], receipts=[b"junk"]))
    unsigned = writer.head(128).signed_by(writer.signer).encode()
    assert "receipt" in codes(verify(contents, witnesses=[PLATFORM.cosigner], receipts=[unsigned]))


@pytest.mark.parametrize("size", [0, 1, 5, 255, 256, 257, 299, 300])
def test_an_earlier_checkpoint_of_this_history_is_continued(size):
    writer = Writer().grow(300)
    assert verify(writer.files(), known=writer.head(size)).ok


def test_another_history_a_cut_log_and_another_log_are_told_apart():
    writer = Writer().grow(300)
    contents = writer.files(200)
    assert "rollback" in codes(verify(contents, known=writer.head(300)))
    assert "fork" in codes(verify(contents, known=Writer(seed=2).grow(300).head(128)))
    elsewhere = note.Checkpoint("other", 5, bytes(32))
    assert "fork" in codes(verify(contents, known=elsewhere))


def test_a_log_broken_everywhere_makes_a_report_of_bounded_length():
    entries = [b"not a record %d" % i for i in range(2000)]
    report = verify(forged(entries))
    assert not report.ok
    assert len(report.findings) < 250
    assert any("more findings" in f.what for f in report.findings)
    assert report.to_json()["ok"] is False
    assert report.to_text().endswith("verdict  NO\n")


def test_of_a_pruned_log_it_says_what_was_checked_and_what_was_not():
    writer = Writer(seed=5).grow(600)
    contents = writer.files()
    pruned = {path: data for path, data in contents.items() if path != "tile/entries/000"}
    report = verify_log(pruned.get, writer.signer.verifier)
    assert not report.ok
    (missing,) = [f for f in report.findings if f.severity == "error"]
    assert (missing.code, missing.where) == ("bundle", "tile/entries/000")
    (told,) = [f for f in report.findings if f.code == "entries_absent"]
    assert "256 entries, between 0 and 255" in told.what
    assert "Not checked" in told.what
    forged = {**pruned, "tile/0/000": bytes(len(pruned["tile/0/000"]))}
    codes = {f.code for f in verify_log(forged.get, writer.signer.verifier).findings}
    assert "root" in codes
    assert "entries_absent" not in codes, "hashes that do not lead to the root show nothing"


def test_a_report_tells_when_a_platform_cosigned_as_a_date():
    told = Report((), "platform.example/gw/7", 3, cosigned={"centre": (3, 1_795_561_896)}).to_text()
    assert "cosigned centre: the first 3 entries, at 2026-11-24T23:11:36Z\n" in told
