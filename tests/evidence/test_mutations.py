"""Any one change to a log, anywhere, is answered with no.

What the key's holder signs again is caught by what was kept.
"""

from dataclasses import replace
from random import Random

import pytest

from evidence import log, note
from evidence.bundle_page import data_place
from evidence.bundle_text import as_bytes
from evidence.bundle_verify import verify_page
from evidence.findings import Report
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, Writer, files, signer
from tests.rigs import mutations

KEY = signer().verifier
SMALL = Writer(instruments=("M1",)).grow(8)
LARGE = Writer(seed=5).grow(520)


def ok(contents, **options):
    return verify_log(contents.get, KEY, **options).ok


def entries_of(writer):
    return list(writer.entries)


def served(entries, checkpoint):
    """The entries and tiles of a tampered log under the checkpoint that was signed before."""
    return {**files(entries, ORIGIN, signer()), "checkpoint": checkpoint}


def flipped(contents, path, at, bit):
    data = bytearray(contents[path])
    data[at] ^= 1 << bit
    return {**contents, path: bytes(data)}


def test_every_byte_of_a_small_log_flipped():
    contents = SMALL.files()
    assert ok(contents)
    random = Random(1)
    for path, data in contents.items():
        for at in range(len(data)):
            report = verify_log(flipped(contents, path, at, random.randrange(8)).get, KEY)
            assert not report.ok, (path, at)
            named = {f.where for f in report.findings}
            assert path in named, (path, at, report.findings)


STRUCTURAL = {
    "dropped": lambda e, r: e.pop(r.randrange(len(e))),
    "cut": lambda e, r: e.__delitem__(slice(r.randrange(1, len(e)), None)),
    "repeated": lambda e, r: e.insert(i := r.randrange(len(e)), e[i]),
    "appended": lambda e, r: e.append(e[r.randrange(len(e))]),
    "swapped": lambda e, r: swap(e, r),
    "shortened": lambda e, r: change(e, r, lambda x: x[:-1]),
    "lengthened": lambda e, r: change(e, r, lambda x: x + b" "),
    "emptied": lambda e, r: change(e, r, lambda x: b""),
    "time edited": lambda e, r: change(e, r, lambda x: x.replace(b'_us":1790', b'_us":1791')),
    "from another log": lambda e, r: change(e, r, lambda x: LARGE.entries[r.randrange(5, 500)]),
}


def swap(entries, random):
    i, j = random.sample(range(len(entries)), 2)
    entries[i], entries[j] = entries[j], entries[i]


def change(entries, random, how):
    i = random.randrange(1, len(entries))
    entries[i] = how(entries[i])


@pytest.mark.parametrize("mutation", STRUCTURAL)
@pytest.mark.parametrize("seed", range(6))
def test_structural_mutations_under_the_signed_checkpoint(mutation, seed):
    writer = LARGE if seed % 2 else SMALL
    before = writer.files()
    entries = entries_of(writer)
    STRUCTURAL[mutation](entries, Random(seed))
    if entries != writer.entries:
        assert not ok(served(entries, before["checkpoint"]))


@pytest.mark.parametrize(
    "mutation", ["dropped", "cut", "repeated", "swapped", "time edited", "from another log"]
)
@pytest.mark.parametrize("seed", range(6))
def test_structural_mutations_signed_again_by_the_key_are_caught_by_a_known_checkpoint(mutation, seed):
    entries = entries_of(LARGE)
    STRUCTURAL[mutation](entries, Random(seed))
    assert not ok(files(entries, ORIGIN, signer()), known=LARGE.head())


@pytest.mark.parametrize("seed", range(4))
def test_a_log_signed_again_by_another_key_is_refused(seed):
    assert not ok(files(LARGE.entries, ORIGIN, signer(seed=seed + 2)))


def test_files_dropped_swapped_truncated():
    contents = LARGE.files()
    bundles = [p for p in contents if p.startswith("tile/entries/")]
    for path in contents:
        cut = {**contents, path: contents[path][:-1]}
        assert not ok(cut), path
        gone = {p: d for p, d in contents.items() if p != path}
        if path in bundles or path == "checkpoint":
            assert not ok(gone), path
    full = [p for p in bundles if ".p/" not in p]
    assert not ok({**contents, full[0]: contents[full[1]], full[1]: contents[full[0]]})
    assert not ok({**contents, "tile/0/000": contents["tile/0/001"]})


def test_an_old_checkpoint_over_newer_entries_is_sound_and_is_caught_by_a_newer_one():
    old = LARGE.head(320).signed_by(LARGE.signer).encode()
    rolled_back = {**LARGE.files(), **LARGE.files(320), "checkpoint": old}
    assert ok(rolled_back)
    assert not ok(rolled_back, known=LARGE.head())


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_thousand_single_bit_mutations_of_a_log_of_several_bundles():
    contents = Writer(seed=5).grow(270).files()
    random = Random(20_260_101)
    paths = sorted(contents)
    weights = [len(contents[p]) for p in paths]
    for _ in range(10_000):
        path = random.choices(paths, weights)[0] if random.random() < 0.7 else random.choice(paths)
        at, bit = random.randrange(len(contents[path])), random.randrange(8)
        report = verify_log(flipped(contents, path, at, bit).get, KEY)
        assert not report.ok, (path, at, bit)
        assert path in {f.where for f in report.findings}, (path, at, bit)


def test_the_campaign_would_notice_a_verifier_that_does_not_look():
    """A bit flipped where nothing is signed changes nothing: the campaign's no is not a no to everything."""
    contents = {**LARGE.files(), "tile/0/007": bytes(32), "README": b"x"}
    assert ok(contents)
    crowd = note.Note.parse(contents["checkpoint"])
    stranger = note.Signature("w.example", b"\xff\x00\x00\x01", b"anything")
    assert ok({**contents, "checkpoint": note.Note(crowd.text, (*crowd.signatures, stranger)).encode()})
    assert log.Tile(0, 7).path == "tile/0/007"


def test_the_campaign_names_the_cause_of_every_change_to_logs_mirrors_and_bundles():
    """Short form of ``make mutation``: one of each kind on each target, ten flipped bits."""
    found = mutations.campaign(seed=3, each=1)
    assert {target for target, _ in found} == {"log", "mirror", "bundle"}
    assert len(found) > 100
    assert [line for tally in found.values() for line in tally.escaped] == []
    assert all(
        tally.tried == sum(tally.causes.values()) + sum(tally.same.values()) for tally in found.values()
    )


def test_a_verifier_that_sees_nothing_lets_every_change_escape(monkeypatch):
    blind = Report(())
    monkeypatch.setattr(mutations, "verify_log", lambda *_, **__: blind)
    found = mutations.campaign(seed=3, each=1)
    escaped = [tally for (target, _), tally in found.items() if target != "bundle" and tally.escaped]
    assert len(escaped) == sum(target != "bundle" for target, _ in found)


def test_what_a_bundle_says_again_in_other_bytes_is_the_same_by_a_rule_with_a_name():
    target = mutations.BundleTarget()
    moved = replace(target.true, to_us=target.true.to_us - 1)
    assert target.verified(moved).ok
    assert target.same(moved) == mutations.SAME_PERIOD
    signed = note.Note.parse(target.true.checkpoint)
    stranger = note.Signature("w.example", b"\xff\x00\x00\x01", b"anything")
    noted = replace(target.true, checkpoint=note.Note(signed.text, (*signed.signatures, stranger)).encode())
    assert target.verified(noted).ok
    assert target.same(noted) == mutations.SAME_STRANGERS_LINE
    assert target.same(replace(moved, checkpoint=noted.checkpoint[:-1])) == ""


def test_of_a_page_the_data_are_covered_and_anything_else_around_them_is_told_by_its_bytes():
    target = mutations.BundleTarget()
    assert verify_page(target.page, mutations.POLICY).findings == ()
    forged = target.page.replace(b"</script>\n</body>", b"SuyuanPage.yes = true;\n</script>\n</body>")
    report = verify_page(forged, mutations.POLICY)
    first, after = data_place(forged)
    (found,) = report.findings
    assert report.ok
    assert found.code == "page"
    assert f"{len(forged)} bytes" in found.what
    assert f"byte {first} to {after - 1} " in found.what
    assert as_bytes(forged[first:after]) == target.data
