"""Whether an audit bundle holds one instrument whole, verifies by the auditor's key alone, and says no with a cause.

Each case is judged twice: by the base install (Python) and by the page's own script (in Node, WebCrypto).
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evidence
from evidence import bundle as bundles
from evidence import log, note, record
from evidence.bundle import Bundle, BundleError, File, Receipt
from evidence.bundle_page import DISPLAY, data_place, extract, page
from evidence.bundle_proof import covering_hashes, root_of
from evidence.bundle_text import as_bytes
from evidence.bundle_verify import verify, verify_bundle, verify_page
from evidence.errors import ParseError
from evidence.policy import Policy
from tests.evidence.logs import ORIGIN, START_US, Writer, files, signer

SECOND = 1_000_000
PAPER = b"certificate of calibration 0001"
PLATFORM = signer("platform.example/receipts", 9)
PAGE = Path(evidence.__file__).parent / "page"
NODE = shutil.which("node")


@cache
def written() -> Writer:
    """Three instruments, gaps, energies, an event, a certificate's digest; 700 entries."""
    writer = Writer()
    writer.add(
        record.Document(
            salt=writer.salt(), digest=sha256(PAPER).hexdigest(), kind="certificates", name="0001.pdf",
            media_type="application/pdf", size=len(PAPER), utc_us=writer.now(),
        )
    )  # fmt: skip
    while writer.size < 700:
        for instrument in writer.instruments:
            if writer.size % 29 == 17:
                writer.miss(instrument, 2)
            else:
                writer.read(instrument)
        if writer.size % 40 < 3:
            energy(writer, "M1")
            energy(writer, "M2")
        if writer.size % 64 < 3:
            writer.seal()
    writer.add(record.Event(salt=writer.salt(), kind="clock_step", utc_us=writer.now(), boot_us=1))
    writer.seal()
    return writer


ENDS: dict[tuple[int, str], int] = {}


def energy(writer: Writer, instrument: str) -> None:
    begin = ENDS.get((id(writer), instrument), START_US)
    end = ENDS[id(writer), instrument] = writer.clock_us
    last = writer.last[instrument][1]
    writer.add(
        record.Aggregate(
            salt=writer.salt(), instruments=(instrument,), measurand="energy.active.import", unit="kWh",
            from_us=begin, to_us=end, first=max(5, last - 6), last=last, count=2, missing=0, value="1.25", u="0.01",
            contributions={"ref_standard:1": "0.004"}, independent="0.000084", states=(writer.states[instrument],),
            method="register_difference/1",
        )
    )  # fmt: skip


PERIOD = (START_US + 200 * SECOND, START_US + 500 * SECOND)


@cache
def made() -> Bundle:
    """The bundle of M2, from the middle of the log, cosigned by the platform."""
    entries = written().entries
    served = files(entries, ORIGIN, written().signer)
    whole = note.Note.parse(served["checkpoint"])
    receipt = whole.cosigned_by(PLATFORM, 1_790_000_999).encode()
    return bundles.make(
        served.get, "M2", *PERIOD, receipts=[receipt], files=[File("0001.pdf", "application/pdf", PAPER)]
    )


KEY = written().signer.verifier.vkey
POLICY = f"log {KEY}\nquorum none\n"
WITNESSED = f"log {KEY}\nwitness platform {PLATFORM.cosigner.vkey}\nquorum platform\n"
OTHER = signer(ORIGIN, 5)


def judged(bundle: Bundle | bytes, policy: str = WITNESSED) -> tuple[bool, set[str]]:
    data = bundle if isinstance(bundle, bytes) else bundles.encode(bundle)
    report = verify_bundle(data, Policy.parse(policy))
    return report.ok, {f.code for f in report.findings}


# ── what is in it ───────────────────────────────────────────────────────────────────────────────────────────


def test_it_holds_the_instruments_polls_from_the_one_before_to_the_one_after():
    records = [record.decode(data) for _, data in made().entries]
    polls = [r for r in records if isinstance(r, record.Reading | record.Gap)]
    assert {p.instrument for p in polls} == {"M2"}
    starts = [p.due_us if isinstance(p, record.Reading) else p.from_us for p in polls]
    assert starts[0] < PERIOD[0] <= starts[1]
    assert starts[-2] < PERIOD[1] <= starts[-1]
    firsts = [p.number if isinstance(p, record.Reading) else p.first for p in polls]
    lasts = [p.number if isinstance(p, record.Reading) else p.last for p in polls]
    assert [n + 1 for n in lasts[:-1]] == firsts[1:]
    assert any(isinstance(p, record.Gap) for p in polls)


def of_period(start: int, end: int) -> Bundle:
    return bundles.make(files(written().entries, ORIGIN, written().signer).get, "M2", start, end)


def reach() -> tuple[int, int]:
    """When M2's first record is due, and its last."""
    polls = [
        r for r in map(record.decode, written().entries)
        if isinstance(r, record.Reading | record.Gap) and r.instrument == "M2"
    ]  # fmt: skip
    first, last = polls[0], polls[-1]
    return (
        first.due_us if isinstance(first, record.Reading) else first.from_us,
        last.due_us if isinstance(last, record.Reading) else last.to_us,
    )


DAY = 86_400 * SECOND
PERIODS = {
    "within": (PERIOD, PERIOD),
    "the log begins later": ((START_US - DAY, PERIOD[1]), (reach()[0], PERIOD[1])),
    "the log ends before": ((PERIOD[0], reach()[1] + DAY), (PERIOD[0], reach()[1])),
    "both": ((START_US - DAY, reach()[1] + DAY), reach()),
    "to the microsecond": ((reach()[0], reach()[1]), (reach()[0], reach()[1])),
}


@pytest.mark.parametrize("case", PERIODS)
def test_how_far_the_records_reach_in_the_period_is_said(case):
    asked, covered = PERIODS[case]
    report = verify(of_period(*asked), Policy.parse(POLICY))
    assert report.ok
    shown = report.disclosed
    assert shown is not None
    assert (shown.asked, shown.covered, shown.whole) == (asked, covered, asked == covered)
    told = report.to_text()
    assert ("only: up to its checkpoint the log has of M2 none" in told) is not shown.whole
    assert ("none before" in told) is (covered[0] > asked[0])
    assert ("none after" in told) is (covered[1] < asked[1])
    assert report.to_json()["disclosed"]["covered_from_us"] == covered[0]


def test_the_verdict_says_what_was_disclosed_and_which_numbers_follow_one_another():
    report = verify(made(), Policy.parse(WITNESSED))
    due = [
        r for _, data in made().entries
        if isinstance(r := record.decode(data), record.Reading) and PERIOD[0] <= r.due_us < PERIOD[1]
    ]  # fmt: skip
    assert report.disclosed is not None
    first, last = report.disclosed.numbers or (0, 0)
    assert last - first + 1 == report.instruments["M2"].due
    assert first <= due[0].number < due[-1].number <= last
    assert f"entries  {len(made().entries)} of {written().size}, the others as hashes (" in report.to_text()
    assert f"verdict  yes: of M2, numbers {first} to {last}, nothing is missing;" in report.to_text()
    assert (
        f"verdict  yes: of M2, numbers {first} to {last}, nothing is missing;"
        not in replace(report, disclosed=None).to_text()
    )


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_the_page_says_the_same_of_how_far_they_reach():
    all_ = [of_period(*asked) for asked, _ in PERIODS.values()]
    done = subprocess.run(
        [NODE, Path(__file__).with_name("bundle_runner.js"), PAGE / "verify.js"], env={**os.environ, "DISCLOSED": "1"},
        input=json.dumps([[base64.b64encode(bundles.encode(each)).decode(), POLICY] for each in all_]),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    for here, there in zip(all_, json.loads(done.stdout), strict=True):
        shown = verify(here, Policy.parse(POLICY)).disclosed
        assert shown is not None
        assert there == {
            "covered": [*shown.covered], "whole": shown.whole, "numbers": [*(shown.numbers or ())],
        }  # fmt: skip


def test_nothing_of_another_instrument_is_disclosed():
    whole = gzip.decompress(bundles.encode(made()))
    entries = dict(made().entries)
    for index, data in enumerate(written().entries):
        found = record.decode(data)
        whose = getattr(found, "instruments", (getattr(found, "instrument", None),))
        if "M1" in whose or "M3" in whose:
            assert index not in entries
            assert found.salt not in whole
            assert base64.b64encode(found.salt) not in whole


def test_what_the_polls_refer_to_is_with_them():
    records = [record.decode(data) for _, data in made().entries]
    kinds = {type(r) for r in records}
    assert kinds >= {
        record.Genesis, record.Configuration, record.CalibrationState, record.Document, record.Seal, record.Aggregate,
    }  # fmt: skip
    assert sum(isinstance(r, record.CalibrationState) for r in records) == 1, "its own state alone"
    assert made().files == (File("0001.pdf", "application/pdf", PAPER),)


def test_a_file_that_the_log_does_not_name_is_not_carried():
    served = files(written().entries, ORIGIN, written().signer)
    made_with = bundles.make(served.get, "M2", *PERIOD, files=[File("x.pdf", "", b"another")])
    assert made_with.files == ()


@pytest.mark.parametrize(
    ("instrument", "begin", "end", "why"),
    [
        ("M9", *PERIOD, "no readings of an instrument 'M9'"),
        ("M2", PERIOD[1], PERIOD[0], "ends before it begins"),
        ("M2", 5, 6, "no polls of 'M2' that were due"),
    ],
)
def test_what_cannot_be_bundled_is_refused_in_words(instrument, begin, end, why):
    served = files(written().entries, ORIGIN, written().signer)
    with pytest.raises(BundleError, match=why):
        bundles.make(served.get, instrument, begin, end)


def test_no_bundle_is_made_of_a_log_whose_tiles_do_not_lead_to_its_root():
    served = files(written().entries, ORIGIN, written().signer)
    served["tile/0/000"] = bytes(len(served["tile/0/000"]))
    with pytest.raises(BundleError, match="root hash"):
        bundles.make(served.get, "M2", *PERIOD)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 600), st.data())
def test_covering_hashes_lead_to_the_root_and_no_other_set_of_entries_does(size, data):
    entries = [b"%d" % n for n in range(size)]
    leaves = [log.leaf_hash(entry) for entry in entries]
    tree = log.Tree()
    tree.extend(leaves)
    chosen = sorted(data.draw(st.sets(st.integers(0, size - 1), max_size=20)))

    def node(height, index):
        return log.full_root(leaves[index << height : (index + 1) << height])

    hashes = covering_hashes(chosen, size, node)
    assert root_of(chosen, [leaves[i] for i in chosen], size, hashes) == tree.root()
    if chosen:
        assert root_of(chosen[:-1], [leaves[i] for i in chosen[:-1]], size, hashes) != tree.root()
    if hashes:
        assert root_of(chosen, [leaves[i] for i in chosen], size, hashes[:-1]) is None
        assert root_of(chosen, [leaves[i] for i in chosen], size, (*hashes, bytes(32))) is None


def test_encoding_comes_back_and_the_page_gives_its_bytes_back():
    data = bundles.encode(made())
    assert bundles.decode(data) == made()
    assert extract(page(data).encode()) == data
    assert extract(data) == data


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_true_bundle_verifies_and_says_what_there_is():
    report = verify(made(), Policy.parse(WITNESSED))
    assert report.ok, report.to_text()
    assert report.findings == ()
    place = report.instruments["M2"]
    assert place.due == place.received + place.missed > 50
    assert place.missed == sum(place.reasons.values()) > 0
    assert report.cosigned == {PLATFORM.name: (len(written().entries), 1_790_000_999)}


def without(bundle: Bundle, place: int) -> Bundle:
    tags = bundle.tags[:place] + bundle.tags[place + 1 :]
    return replace(bundle, entries=bundle.entries[:place] + bundle.entries[place + 1 :], tags=tags)


def place_of(kind: type, nth: int = 3) -> int:
    found = [i for i, (_, data) in enumerate(made().entries) if isinstance(record.decode(data), kind)]
    return found[min(nth, len(found) - 1)]


def edited(place: int, old: bytes, new: bytes, *, tag: bool = False) -> Bundle:
    index, data = made().entries[place]
    assert old in data
    entry = (index, data.replace(old, new, 1))
    entries = (*made().entries[:place], entry, *made().entries[place + 1 :])
    tags = made().tags
    if tag:
        tags = (*tags[:place], log.leaf_hash(entry[1])[: bundles.TAG_SIZE], *tags[place + 1 :])
    return replace(made(), entries=entries, tags=tags)


def swapped() -> Bundle:
    a = place_of(record.Reading)
    entries = list(made().entries)
    entries[a], entries[a + 1] = (entries[a][0], entries[a + 1][1]), (entries[a + 1][0], entries[a][1])
    return replace(made(), entries=tuple(entries))


def relogged(change, policy_key: bool = True) -> Bundle:
    """The bundle of a log that its own key signed, though its entries are not as they should be."""
    entries = change(list(written().entries))
    tree = log.Tree()
    leaves = [log.leaf_hash(entry) for entry in entries]
    tree.extend(leaves)
    signed = note.Checkpoint(ORIGIN, len(entries), tree.root()).signed_by(
        written().signer if policy_key else OTHER
    )
    indexes = [index for index, _ in made().entries]

    def node(height, index):
        return log.full_root(leaves[index << height : (index + 1) << height])

    return replace(
        made(),
        checkpoint=signed.cosigned_by(PLATFORM, 1).encode(),
        entries=tuple((i, entries[i]) for i in indexes),
        hashes=covering_hashes(indexes, len(entries), node),
        tags=(),
        receipts=(),
    )


def again(bundle: Bundle, indexes: list[int]) -> Bundle:
    """Another choice of entries with a right proof: what a maker of bundles could leave out or put in."""
    entries = written().entries
    leaves = [log.leaf_hash(entry) for entry in entries]

    def node(height, index):
        return log.full_root(leaves[index << height : (index + 1) << height])

    return replace(
        bundle, entries=tuple((i, entries[i]) for i in indexes),
        hashes=covering_hashes(indexes, len(entries), node), tags=(),
    )  # fmt: skip


def left_out(*places: int) -> Bundle:
    gone = {made().entries[place][0] for place in places}
    return again(made(), [index for index, _ in made().entries if index not in gone])


def foreign() -> Bundle:
    other = next(i for i, e in enumerate(written().entries) if b'"instrument":"M3"' in e and b"reading" in e)
    return again(made(), sorted({other, *(index for index, _ in made().entries)}))


def renumbered(entries: list[bytes]) -> list[bytes]:
    index = made().entries[place_of(record.Reading)][0]
    found = record.decode(entries[index])
    entries[index] = record.encode(msgspec.structs.replace(found, number=found.number + 1))
    return entries


def corrected_by_another(entries: list[bytes]) -> list[bytes]:
    index = made().entries[place_of(record.CalibrationState)][0]
    body = bytes(record.decode(entries[index]).body).replace(b'"M2"', b'"M1"')
    old = record.decode(entries[index])
    digest = sha256(body).hexdigest()
    entries[index] = record.encode(msgspec.structs.replace(old, body=msgspec.Raw(body), digest=digest))
    for at, data in enumerate(entries):
        entries[at] = data.replace(old.digest.encode(), digest.encode())
    return entries


def equal_keys(entries: list[bytes]) -> list[bytes]:
    index = made().entries[place_of(record.Reading)][0]
    entries[index] = entries[index].replace(b'"missing":{', b'"missing":{"x":"timeout","x":"skipped",', 1)
    return entries


def forged_receipt(how: str) -> Bundle:
    receipt = note.Note.parse(made().receipts[0].note)
    fine = made().receipts[0].consistency
    if how == "line":
        mine = signer(PLATFORM.name, 77)
        line = note.Note(receipt.text, receipt.signatures[:1]).cosigned_by(mine, 5).signatures[-1]
        forged = note.Note(
            receipt.text, (receipt.signatures[0], note.Signature(line.name, PLATFORM.cosigner.id, line.blob))
        )
    else:
        head = note.Checkpoint(ORIGIN, 300, bytes(32)).signed_by(written().signer)
        forged = head.cosigned_by(PLATFORM, 5)
    return replace(made(), receipts=(Receipt(forged.encode(), fine),))


READING = place_of(record.Reading)
INDEX = made().entries[READING][0]
AFTER = max(i for i, (_, d) in enumerate(made().entries) if b'"instrument":"M2","number"' in d)
BEFORE = min(i for i, (_, d) in enumerate(made().entries) if b'"instrument":"M2"' in d and b'"previous"' in d)
SEALS_AFTER = [i for i, (_, d) in enumerate(made().entries) if i > AFTER and d.startswith(b'{"type":"seal"')]

CASES = {
    "as made": (made, WITNESSED, None),
    "as made, no witness asked": (made, POLICY, None),
    "only a key": (made, KEY, None),
    "a value changed": (lambda: edited(READING, b'"M2"', b'"M3"'), POLICY, "entry"),
    "a value and its tag changed": (lambda: edited(READING, b'"M2"', b'"M3"', tag=True), POLICY, "root"),
    "a record taken out": (lambda: without(made(), READING), POLICY, "root"),
    "two records swapped": (swapped, POLICY, "entry"),
    "a poll left out with a right proof": (lambda: left_out(READING), POLICY, "running_number"),
    "a poll left out breaks the link": (lambda: left_out(READING), POLICY, "back_link"),
    "the poll before left out": (lambda: left_out(BEFORE), POLICY, "predecessor"),
    "the poll after left out": (lambda: left_out(AFTER), POLICY, "successor"),
    "the state left out": (lambda: left_out(place_of(record.CalibrationState)), POLICY, "calibration_state_reference"),
    "the configuration left out": (
        lambda: left_out(place_of(record.Configuration)), POLICY, "configuration_reference",
    ),
    "the genesis left out": (lambda: left_out(0), POLICY, "genesis"),
    "another instrument's record put in": (foreign, POLICY, "foreign"),
    "another instrument claimed": (lambda: replace(made(), instrument="M1"), POLICY, "foreign"),
    "a hash changed": (lambda: replace(made(), hashes=(bytes(32), *made().hashes[1:])), POLICY, "root"),
    "a hash taken out": (lambda: replace(made(), hashes=made().hashes[1:]), POLICY, "root"),
    "an index moved": (
        lambda: replace(made(), entries=((1, made().entries[0][1]), *made().entries[1:])), POLICY, "indexes",
    ),
    "another key": (made, f"log {OTHER.verifier.vkey}\nquorum none\n", "checkpoint"),
    "signed by another key": (lambda: relogged(lambda e: e, policy_key=False), POLICY, "checkpoint"),
    "another key that signed a like log": (
        lambda: relogged(lambda e: e, policy_key=False), f"log {OTHER.verifier.vkey}\nquorum none\n", "genesis_key",
    ),
    "a wider period claimed": (lambda: replace(made(), from_us=START_US), POLICY, "predecessor"),
    "signed, but a number skipped": (lambda: relogged(renumbered), POLICY, "running_number"),
    "signed, but with another's state": (lambda: relogged(corrected_by_another), POLICY, "state_foreign"),
    "signed, but with equal keys": (lambda: relogged(equal_keys), POLICY, "record"),
    "a forged cosignature": (lambda: forged_receipt("line"), WITNESSED, "cosignature"),
    "a receipt of another history": (lambda: forged_receipt("fork"), WITNESSED, "fork"),
    "no receipt though one is demanded": (lambda: replace(made(), receipts=()), WITNESSED, "quorum"),
    "another file": (lambda: replace(made(), files=(File("0001.pdf", "", b"forged"),)), POLICY, "file"),
    "another origin claimed": (lambda: replace(made(), origin="x.example"), POLICY, "checkpoint"),
    "signed by a key revoked later": (made, WITNESSED + f"revoked {KEY} size 100000\n", None),
    "signed by a key revoked before": (made, WITNESSED + f"revoked {KEY} size 10\n", "revoked"),
    "witnessed before its key was copied": (
        made, WITNESSED + f"revoked {KEY} witnessed-before 2026-09-21T14:30:00Z\n", None,
    ),
    "witnessed only after its key was copied": (
        made, WITNESSED + f"revoked {KEY} witnessed-before 2026-09-21T14:29:59Z\n", "revoked",
    ),
    "its key revoked, and no witness known": (
        made, POLICY + f"revoked {KEY} witnessed-before 2036-01-01T00:00:00Z\n", "revoked",
    ),
    "no gzip": (lambda: b"nothing", POLICY, "container"),
    "cut short": (lambda: bundles.encode(made())[:-9], POLICY, "container"),
    "another version": (
        lambda: bundles.zipped(gzip.decompress(bundles.encode(made())).replace(b"bundle/2", b"bundle/9")),
        POLICY, "container",
    ),
}  # fmt: skip


def bytes_of(made_by) -> bytes:
    found = made_by()
    return found if isinstance(found, bytes) else bundles.encode(found)


@cache
def in_node() -> dict[str, tuple[bool, list[list[object]]]]:
    """What the page's script says of every case: one process for all."""
    cases = [[base64.b64encode(bytes_of(made_by)).decode(), policy] for made_by, policy, _ in CASES.values()]
    done = subprocess.run(
        [NODE, Path(__file__).with_name("bundle_runner.js"), PAGE / "verify.js"],
        input=json.dumps(cases), capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_and_its_cause(case):
    made_by, policy, cause = CASES[case]
    if policy == KEY:
        policy = POLICY  # bare keys are the page's; the command line has --key
    ok, found = judged(bytes_of(made_by), policy)
    assert ok is (cause is None), found
    assert cause is None or cause in found


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
@pytest.mark.parametrize("case", CASES)
def test_the_page_says_the_same(case):
    _, policy, cause = CASES[case]
    ok, found = in_node()[case]
    assert ok is (cause is None), found
    codes = {code for code, _ in found}
    assert cause is None or cause in codes
    if policy != KEY:
        assert codes == judged(bytes_of(CASES[case][0]), policy)[1]


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_a_browser_without_ed25519_says_so_and_never_yes():
    case = [[base64.b64encode(bundles.encode(made())).decode(), WITNESSED]]
    done = subprocess.run(
        [NODE, Path(__file__).with_name("bundle_runner.js"), PAGE / "verify.js"], env={**os.environ, "NO_ED25519": "1"},
        input=json.dumps(case), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [[False, [["unsupported", None]]]]


def test_a_changed_record_is_named_by_its_index():
    report = verify(edited(READING, b'"M2"', b'"M3"'), Policy.parse(POLICY))
    assert [f.entry for f in report.findings if f.code == "entry"] == [INDEX]


def test_every_single_bit_of_the_unpacked_data_matters():
    """Whatever bit flips, the answer is no. The tags only point at entries; flipping one says no too."""
    whole = gzip.decompress(bundles.encode(made()))
    chance = random.Random(4)
    policy = Policy.parse(WITNESSED)
    places = {chance.randrange(8 * len(whole)) for _ in range(250)} | set(range(0, 64, 3))
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        report = verify_bundle(bundles.zipped(bytes(flipped)), policy)
        length = int.from_bytes(whole[4:8], "big")
        assert not report.ok or (place // 8 < 8 + length and harmless(bytes(flipped), length)), place


def harmless(flipped: bytes, length: int) -> bool:
    """The head's own words that no signature covers: the period within the polls shown, a file's name or media type."""
    changed = json.loads(flipped[8 : 8 + length])
    true = json.loads(gzip.decompress(bundles.encode(made()))[8 : 8 + length])
    differing = {name for name in true if changed.get(name) != true[name]}
    return differing <= {"from_us", "to_us", "files"}


def test_every_single_bit_of_the_file_matters():
    data = bundles.encode(made())
    chance = random.Random(5)
    policy = Policy.parse(WITNESSED)
    for _ in range(150):
        flipped = bytearray(data)
        place = chance.randrange(
            80, 8 * len(data)
        )  # behind gzip's own header, whose name and time say nothing
        flipped[place // 8] ^= 1 << place % 8
        assert not verify_bundle(bytes(flipped), policy).ok


def test_a_series_at_the_end_of_the_log_ends_with_the_seal_that_counts_it():
    served = files(written().entries, ORIGIN, written().signer)
    bundle = bundles.make(served.get, "M2", PERIOD[0], 2**52)
    assert judged(bundle, POLICY) == (True, set())
    last = len(written().entries) - 1
    indexes = [index for index, _ in bundle.entries if index != last]
    assert "successor" in judged(again(bundle, indexes), POLICY)[1]


def test_a_series_from_the_beginning_needs_no_poll_before():
    served = files(written().entries, ORIGIN, written().signer)
    assert judged(bundles.make(served.get, "M2", 0, PERIOD[1]), POLICY) == (True, set())


def test_energies_that_do_not_join_are_a_warning():
    served = files(written().entries, ORIGIN, written().signer)
    bundle = bundles.make(served.get, "M2", 0, 2**52)
    sums = [i for i, d in bundle.entries if isinstance(record.decode(d), record.Aggregate)]
    ok, found = judged(again(bundle, [i for i, _ in bundle.entries if i != sums[1]]), POLICY)
    assert (ok, found) == (True, {"energies_apart"})


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_loads_nothing_and_runs_its_own_script_alone():
    text = page(bundles.encode(made()))
    shown = text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in shown
    assert "https://" not in shown
    assert "default-src 'none'" in text
    start = text.split("<script>")[1].split("</script>")[0]
    style, *scripts = unpacked(text)
    policy = text.split("</head>")[0]
    assert policy.count("sha256-") == 3
    assert "url(" not in style
    for run in (start, *scripts):
        assert base64.b64encode(sha256(run.encode()).digest()).decode() in policy
        assert "http:" not in run.replace("http://www.w3.org/2000/svg", "")
        assert "https:" not in run
        assert "innerHTML" not in run
        assert "eval(" not in run


def unpacked(text: str) -> list[str]:
    """What a page unpacks into its document: style, verifier, display."""
    packed = text.split('id="page">')[1].split("</script>")[0]
    return gzip.decompress(as_bytes(packed.encode())).decode().split("\0")


def test_what_the_page_unpacks_is_the_source_as_it_stands():
    assert unpacked(page(bundles.encode(made()))) == [
        (PAGE / "page.css").read_text(encoding="utf-8"),
        (PAGE / "verify.js").read_text(encoding="utf-8"),
        "\n".join((PAGE / name).read_text(encoding="utf-8") for name in DISPLAY),
    ]


def test_no_character_set_line_end_or_lost_control_character_changes_a_page():
    bundle = replace(made(), instrument="温度计 №1")
    text = page(bundles.encode(bundle)).encode()
    assert set(text) <= {0x0A, *range(0x20, 0x7F)}
    for other in ("gbk", "windows-1252", "utf-8-sig", "shift_jis"):
        assert extract(text.decode("ascii").encode(other)) == bundles.encode(bundle)


def test_changed_line_ends_are_told_and_change_nothing():
    text = page(bundles.encode(made())).encode().replace(b"\n", b"\r\n")
    report = verify_page(text, Policy.parse(WITNESSED))
    (found,) = report.findings
    assert report.ok
    assert found.code == "page"
    assert "line ends" in found.what
    longer = verify_page(text.replace(b"</body>", b"<p></p></body>"), Policy.parse(WITNESSED))
    assert "do not believe" in longer.findings[0].what


def test_a_file_saved_as_utf_16_is_refused_with_what_to_do():
    with pytest.raises(ParseError, match=r"UTF-16.*as it came"):
        extract(page(bundles.encode(made())).encode("utf-16"))


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_file_cut_short_is_told_as_one(share):
    text = page(bundles.encode(made())).encode()
    first, after = data_place(text)
    with pytest.raises(ParseError, match="cut short"):
        extract(text[: first + round(share * (after - first))])


FORMAT_1 = Path(__file__).with_name("bundle-of-format-1.gz")


def test_a_bundle_of_the_first_format_verifies_in_its_page_too():
    data = FORMAT_1.read_bytes()
    element = b'<script type="application/vnd.suyuan.bundle" id="bundle">%s</script>'
    report = verify_page(element % base64.b64encode(data), Policy.parse(POLICY))
    assert report.ok
    assert [f.code for f in report.findings] == ["page"], "the page of another version is told"
    assert report.instruments["M2"].received > 10
    with pytest.raises(ParseError, match="base64"):
        extract(element % b"~~~~")
    again = bundles.decode(bundles.encode(bundles.decode(data)))
    old = bundles.decode(data)
    assert replace(again, tags=()) == replace(old, tags=())
    assert [tag[:2] for tag in old.tags] == list(again.tags)


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_a_bundle_of_the_first_format_verifies_with_the_pages_script():
    data = FORMAT_1.read_bytes()
    changed = gzip.decompress(data).replace(b'"M2"', b'"M3"')
    cases = [[base64.b64encode(each).decode(), POLICY] for each in (data, bundles.zipped(changed))]
    done = subprocess.run(
        [NODE, Path(__file__).with_name("bundle_runner.js"), PAGE / "verify.js"],
        input=json.dumps(cases), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (fine, codes), (wrong, _) = json.loads(done.stdout)
    assert (fine, codes, wrong) == (True, [], False)


def test_a_name_in_the_data_is_never_markup():
    bundle = replace(made(), instrument='<img src=x onerror="alert(1)">')
    assert "<img" not in page(bundles.encode(bundle)).replace("&lt;img", "")


@pytest.mark.parametrize("text", [b"<html></html>", b""])
def test_what_is_no_page_of_a_bundle_is_refused(text):
    with pytest.raises(ParseError, match="not an audit bundle"):
        extract(text)


def test_two_bundles_in_one_page_are_refused():
    text = page(bundles.encode(made()))
    element = text[text.index('<script type="application/vnd') : text.index("</script>") + 9]
    with pytest.raises(ParseError, match="more than one"):
        extract(text.replace(element, element + element).encode())


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_every_word_of_the_page_stands_in_both_languages_with_the_same_places():
    script = (
        "const fs=require('fs'),vm=require('vm');"
        "vm.runInThisContext(fs.readFileSync(process.argv[1],'utf8'));"
        "process.stdout.write(JSON.stringify(SuyuanWords))"
    )
    done = subprocess.run(
        [NODE, "-e", script, str(PAGE / "words.js")], capture_output=True, text=True, timeout=30, check=True
    )
    words = json.loads(done.stdout)
    for name, pair in words.items():
        assert len(pair) == 2, name
        assert all(pair), name
        places = [{part.split("}")[0] for part in text.split("{")[1:]} for text in pair]
        assert places[0] == places[1], name
    codes = {cause for _, _, cause in CASES.values() if cause} | {"receipt", "seal_counts", "energies_apart"}
    assert {f"f_{code}" for code in codes} <= words.keys()
    view = "".join((PAGE / name).read_text(encoding="utf-8") for name in DISPLAY)
    used = {part.split('"')[0] for part in view.split('say("')[1:]}
    assert used <= words.keys()
