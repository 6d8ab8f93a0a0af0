"""Whether an energy or event that was left out is missed: by the log's verifier; in a bundle by Python and page."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import pytest

from evidence import bundle as bundles
from evidence import log, record
from evidence.bundle_proof import covering_hashes
from evidence.bundle_verify import verify
from evidence.policy import Policy
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, START_US, Writer, files
from tests.evidence.test_bundle import NODE, PAGE

SECOND = 1_000_000
PERIOD = (START_US + 150 * SECOND, START_US + 330 * SECOND)


class Numbering(Writer):
    """A log whose energies and events have numbers, and whose seals count them."""

    def __init__(self) -> None:
        super().__init__()
        self.energies: dict[str, int] = {}
        self.events: dict[str, int] = {}
        self.ends: dict[str, int] = {}

    def energy(self, instrument: str) -> int:
        number = self.energies[instrument] = self.energies.get(instrument, 0) + 1
        begin, self.ends[instrument] = self.ends.get(instrument, START_US), self.clock_us
        last = self.last[instrument][1]
        return self.add(
            record.Aggregate(
                salt=self.salt(), instruments=(instrument,), measurand="energy.active.import", unit="kWh",
                from_us=begin, to_us=self.clock_us, first=5, last=last, count=2, missing=0, value="1.25", u="0.01",
                contributions={}, independent="0.0001", states=(self.states[instrument],), method="m/1", number=number,
            )
        )  # fmt: skip

    def event(self, instrument: str = "") -> int:
        number = self.events[instrument] = self.events.get(instrument, 0) + 1
        detail = {"instrument": instrument} if instrument else {}
        return self.add(
            record.Event(
                salt=self.salt(), kind="door", utc_us=self.now(), boot_us=1, detail=detail, number=number
            )
        )

    def seal(self) -> int:
        at = super().seal()
        found = record.decode(self.entries[at])
        assert isinstance(found, record.Seal)
        counted = msgspec.structs.replace(found, energies=dict(self.energies), events=dict(self.events))
        self.entries[at] = record.encode(counted)
        return at


@cache
def writer() -> Numbering:
    found = Numbering()
    while found.size < 400:
        for instrument in found.instruments:
            found.read(instrument)
        if found.size % 20 < 3:
            found.energy("M1")
            found.energy("M2")
            found.event()
            found.event("M2")
            found.event("M3")
        if found.size % 60 < 4:
            found.seal()
    found.seal()
    return found


POLICY_TEXT = f"log {writer().signer.verifier.vkey}\nquorum none\n"
POLICY = Policy.parse(POLICY_TEXT)


@cache
def made() -> bundles.Bundle:
    return bundles.make(files(writer().entries, ORIGIN, writer().signer).get, "M2", *PERIOD)


def records_of(kind: type[record.Record]) -> list[tuple[int, record.Record]]:
    return [(i, r) for i, data in made().entries if isinstance(r := record.decode(data), kind)]


def again(gone: set[int]) -> bundles.Bundle:
    """The bundle without some entries, rightly proved."""
    leaves = [log.leaf_hash(entry) for entry in writer().entries]
    indexes = [i for i, _ in made().entries if i not in gone]

    def node(height: int, index: int) -> bytes:
        return log.full_root(leaves[index << height : (index + 1) << height])

    return replace(
        made(), entries=tuple((i, writer().entries[i]) for i in indexes),
        hashes=covering_hashes(indexes, len(leaves), node), tags=(),
    )  # fmt: skip


def in_node(bundle: bundles.Bundle) -> tuple[bool, set[str]]:
    done = subprocess.run(
        [NODE, Path(__file__).with_name("bundle_runner.js"), PAGE / "verify.js"],
        input=json.dumps([[base64.b64encode(bundles.encode(bundle)).decode(), POLICY_TEXT]]),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    ((ok, found),) = json.loads(done.stdout)
    return ok, {code for code, _ in found}


def test_a_bundle_has_the_energies_and_events_from_the_one_before_to_the_one_after_and_no_other_instruments():
    assert verify(made(), POLICY).findings == ()
    sums = [r for _, r in records_of(record.Aggregate)]
    assert {r.instruments for r in sums} == {("M2",)}
    assert [r.number for r in sums] == list(range(sums[0].number, sums[-1].number + 1))
    assert sums[0].to_us <= PERIOD[0] < sums[1].to_us
    assert sums[-2].from_us < PERIOD[1] <= sums[-1].from_us
    events = [r for _, r in records_of(record.Event)]
    assert {r.detail.get("instrument", "") for r in events} == {"", "M2"}


@pytest.mark.parametrize(
    ("kind", "code"), [(record.Aggregate, "energy_number"), (record.Event, "event_number")]
)
@pytest.mark.parametrize("which", ["first", "middle", "last", "all"])
@pytest.mark.parametrize("judge", ["python", "page"])
def test_whichever_is_left_out_is_missed(kind, code, which, judge):
    if judge == "page" and NODE is None:
        pytest.skip("Node is not installed")
    there = [i for i, _ in records_of(kind)]
    gone = {"first": there[:1], "middle": [there[len(there) // 2]], "last": there[-1:], "all": there}[which]
    bundle = again(set(gone))
    if judge == "python":
        report = verify(bundle, POLICY)
        ok, found = report.ok, {f.code for f in report.findings if f.severity == "error"}
    else:
        ok, found = in_node(bundle)
    assert (ok, found - {"energies_apart"}) == (False, {code})


@pytest.mark.parametrize("end", [PERIOD[1], 2**52])
def test_at_the_end_of_the_log_its_last_seal_shows_that_none_follows(end):
    bundle = bundles.make(files(writer().entries, ORIGIN, writer().signer).get, "M2", PERIOD[0], end)
    assert verify(bundle, POLICY).findings == ()
    if NODE is not None:
        assert in_node(bundle) == (True, set())


def log_findings(entries: list[bytes]) -> set[str]:
    report = verify_log(files(entries, ORIGIN, writer().signer).get, writer().signer.verifier)
    return {f.code for f in report.findings}


def test_a_whole_log_is_held_to_its_numbers_and_its_seals_to_what_they_count():
    entries = writer().entries
    assert log_findings(entries) == set()
    at, event = next((i, r) for i, r in records_of(record.Event) if "instrument" in r.detail)
    skipped, none = [
        [*entries[:at], record.encode(msgspec.structs.replace(event, number=n)), *entries[at + 1 :]]
        for n in (event.number + 1, None)
    ]
    assert log_findings(skipped) == {"event_number"}
    assert "event_number" in log_findings(none)
    seal = record.decode(entries[-1])
    less = msgspec.structs.replace(seal, energies={**seal.energies, "M2": seal.energies["M2"] - 1})
    assert log_findings([*entries[:-1], record.encode(less)]) == {"seal_counts"}


def test_a_log_that_had_none_may_begin_to_count_and_goes_on_with_one():
    old = Writer().grow(120)
    assert log_findings_of(old) == set()
    counts = {"energies": {}, "events": {"": 1}}
    old.add(record.Event(salt=old.salt(), kind="door", utc_us=old.now(), boot_us=1))
    old.add(record.Event(salt=old.salt(), kind="door", utc_us=old.now(), boot_us=1, number=1))
    at = old.seal()
    old.entries[at] = record.encode(msgspec.structs.replace(record.decode(old.entries[at]), **counts))
    assert log_findings_of(old) == set()


def log_findings_of(old: Writer) -> set[str]:
    return {f.code for f in verify_log(old.files().get, old.signer.verifier).findings}


def test_records_of_before_there_were_numbers_read_as_they_did():
    event = b'{"type":"event","salt":"AAAAAAAAAAAAAAAA","kind":"door","utc_us":1,"boot_us":1,"detail":{}}'
    found = record.decode(event)
    assert isinstance(found, record.Event)
    assert found.number is None
