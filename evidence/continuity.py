"""Does one entry follow from those before it: running numbers, back-links, references, seals.

The Merkle tree shows that nothing was changed, moved or taken out after signing. This shows that nothing was
missing when it was signed: every scheduled poll of every instrument is a reading or in a gap, every reading
names a state and a configuration that stand in this log, and each seal counts what there is. It goes on from
where it stopped: what it knows is ``places`` and ``references``, plain and small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from . import note
from .errors import ParseError
from .findings import Completeness, Finding, Findings, Severity
from .numbered import Series, sealed_all, series_of
from .record import (
    Advice,
    Aggregate,
    CalibrationState,
    Configuration,
    Event,
    Gap,
    Genesis,
    Key,
    PreviousLog,
    Reading,
    Record,
    Reference,
    Seal,
)
from .revocation import honoured
from .structure import Bound


class Place(NamedTuple):
    """Where an instrument's series stands: last running number, index of its last entry, readings, missed
    polls.
    """

    number: int
    entry: int
    received: int
    missed: int


class ReadingFact(NamedTuple):
    """All of a reading that continuity asks for: small enough to hand between processes."""

    instrument: str
    number: int
    previous: int
    state: tuple[int, str]
    configuration: tuple[int, str]


Fact: TypeAlias = ReadingFact | Bound | Record  # a reading, or what binds it, may stand for its fact
START = Place(0, -1, 0, 0)
_new: Final = tuple.__new__  # what a named tuple's own constructor calls, at half the time


def fact_of(record: Bound | Record) -> Fact:
    """What continuity needs to know of a record."""
    if type(record) is Reading or type(record) is Bound:
        state, configuration = record.state, record.configuration
        fact = (
            record.instrument,
            record.number,
            record.previous,
            (state.index, state.digest),
            (configuration.index, configuration.digest),
        )
        return _new(ReadingFact, fact)
    return record


@dataclass(slots=True)
class Continuity:
    """Follows a log entry by entry. ``origin`` and ``verifiers`` are those of its checkpoint."""

    origin: str
    verifiers: Sequence[note.Verifier] = ()
    places: dict[str, Place] = field(default_factory=dict)
    references: dict[str, set[tuple[int, str]]] = field(
        default_factory=lambda: {"configuration": set(), "calibration_state": set()}
    )
    heads: dict[int, bytes] = field(default_factory=dict)  # size -> root, where a seal ends
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, dict[str, int]] = field(
        default_factory=dict
    )  # instrument -> why polls were missed -> how many
    findings: Findings = field(default_factory=Findings)
    sealed: bool = False  # whether the last entry seen was a seal
    vouched: bool = (
        False  # whether one of ``verifiers`` is a key that the log began with, or one vouched for since
    )
    holes: bool = False
    limits: dict[note.Verifier, int] = field(
        default_factory=dict
    )  # up to which size a revoked key's word counts
    previous: note.Checkpoint | None = None  # the last head of the log that this one is to continue
    numbers: dict[Series, int] | None = field(
        default_factory=dict
    )  # last number of each row of energies and events; None until a seal tells them
    _unknown: set[str] | None = None
    _receipt: tuple[int, bytes] | None = None  # the last one that a seal named
    _keys: list[note.Verifier] = field(default_factory=list)

    def hole(self) -> None:
        """Entries that could not be read lie between: what was known of numbers no longer holds."""
        self.holes = True
        self.sealed = False
        self._unknown = set(self.places)
        self.numbers = None

    def follow(self, start: int, facts: Iterable[Fact]) -> None:
        """Follow the entries from ``start`` on."""
        places, readings = self.places, 0
        states, configurations = self.references["calibration_state"], self.references["configuration"]
        for index, fact in enumerate(facts, start):
            if type(fact) is Reading or type(fact) is Bound:
                instrument, number, previous = fact.instrument, fact.number, fact.previous
                state = (fact.state.index, fact.state.digest)
                configuration = (fact.configuration.index, fact.configuration.digest)
            elif type(fact) is ReadingFact:
                instrument, number, previous, state, configuration = fact
            else:
                self.add(index, fact)
                continue
            last, entry, received, missed = place = places.get(instrument, START)
            if number != last + 1 or previous != entry:
                self._number(index, instrument, number, previous, place)
            if state not in states:
                self._reference(index, "calibration_state", state)
            if configuration not in configurations:
                self._reference(index, "configuration", configuration)
            places[instrument] = _new(Place, (number, index, received + 1, missed))
            readings += 1
            self.sealed = False
            if index == 0:
                self._first(fact)
        if readings:
            self.counts["reading"] = self.counts.get("reading", 0) + readings

    def add(self, index: int, fact: Fact) -> None:
        """Follow one entry."""
        if isinstance(fact, ReadingFact | Bound | Reading):
            self.follow(index, (fact,))
            return
        kind = str(type(fact).__struct_config__.tag)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.sealed = False
        if index == 0 or isinstance(fact, Genesis):
            self._first(fact, index)
        match fact:
            case Configuration() | CalibrationState():
                self.references[kind].add((index, fact.digest))
            case Gap():
                place = self.places.get(fact.instrument, START)
                if fact.first != place.number + 1 or fact.previous != place.entry:
                    self._number(index, fact.instrument, fact.first, fact.previous, place)
                polls = fact.last - fact.first + 1
                self.places[fact.instrument] = Place(fact.last, index, place.received, place.missed + polls)
                reasons = self.reasons.setdefault(fact.instrument, {})
                reasons[fact.reason] = reasons.get(fact.reason, 0) + polls
            case Aggregate():
                self._aggregate(index, fact)
                self._numbered(index, fact)
            case Event():
                self._numbered(index, fact)
            case Advice():
                self._backwards(index, fact.supersedes, "supersedes")
            case Key():
                self._key(index, fact)
            case Seal():
                self._seal(index, fact)
                self.sealed = True
            case _:
                pass

    def finish(self, size: int) -> None:
        """Say what only the end shows: whether the last of ``size`` entries is a seal, and whose key it is."""
        if self.holes or not size:
            return
        if not self.sealed:
            self.findings.add("seal_missing", "the last entry under the checkpoint is no seal", size - 1)
        if self.verifiers and not self.vouched:
            what = "the key that was asked for is neither one that the log began with nor vouched for since"
            self.findings.add("genesis_key", what, 0)

    def completeness(self) -> dict[str, Completeness]:
        """Per instrument: polls due, readings received, polls missed."""
        return {
            name: Completeness(p.number, p.received, p.missed, self.reasons.get(name, {}))
            for name, p in sorted(self.places.items())
        }

    def _trust(self, vkeys: Iterable[str]) -> None:
        for vkey in vkeys:
            try:
                key = note.Verifier.parse(vkey)
            except ParseError:
                continue  # of a type that is not checked here
            self.vouched = self.vouched or key in self.verifiers
            self._keys.append(key)

    def _key(self, index: int, fact: Key) -> None:
        older = honoured((*self._keys, *self.verifiers), self.limits, index + 1)
        if note.check_key_statement(fact.statement, self.origin, fact.vkey, *older):
            self._trust((fact.vkey,))
        else:
            self.findings.add(
                "key_statement", "the new key is not vouched for by an older one and by itself", index
            )

    def _first(self, fact: Fact, index: int = 0) -> None:
        if not isinstance(fact, Genesis):
            self.findings.add("genesis", "the first entry is no genesis record", index)
        elif index:
            self.findings.add("genesis", "a genesis record that is not the first entry", index)
        else:
            if fact.origin != self.origin:
                self.findings.add(
                    "genesis_origin",
                    f"this log began as {fact.origin}, the checkpoint is of {self.origin}",
                    0,
                )
            self._trust(fact.keys)
            self._continues(fact.previous_log)

    def _continues(self, named: PreviousLog | None) -> None:
        known = self.previous
        if known is None:
            if named is not None:
                what = f"continues {named.origin} from its {named.size} entries: compare that with its last receipt"
                self.findings.note(Finding("previous_log_unknown", Severity.WARNING, what, 0))
            return
        last = f"the last head of {known.origin} that was given has {known.size} entries"
        if named is None:
            self.findings.add("previous_log", f"this log continues no other; {last}", 0)
        elif named.origin != known.origin:
            self.findings.add("previous_log", f"continues {named.origin}, not {known.origin}", 0)
        elif (named.size, named.root) != (known.size, known.root):
            other = f"{named.size} entries" + (" with another root hash" if named.size == known.size else "")
            self.findings.add("previous_log", f"continues {known.origin} from {other}; {last}", 0)

    def _number(self, index: int, instrument: str, number: int, previous: int, place: Place) -> None:
        if self._unknown is not None and instrument in self._unknown:
            self._unknown.discard(instrument)
            return
        if self.holes and instrument not in self.places:
            return
        if number != place.number + 1:
            self.findings.add(
                "running_number",
                f"running number {number} follows {place.number}: "
                + (
                    "polls are missing without a gap record"
                    if number > place.number
                    else "a number came twice"
                ),
                index,
                instrument,
            )
        if previous != place.entry:
            self.findings.add(
                "back_link",
                f"names entry {previous} as the one before; it is entry {place.entry}",
                index,
                instrument,
            )

    def _reference(self, index: int, kind: str, reference: tuple[int, str]) -> None:
        if self.holes and reference[0] < index:
            return
        self.findings.add(
            f"{kind}_reference",
            f"entry {reference[0]} is no earlier {kind.replace('_', ' ')} with the digest {reference[1][:16]}…",
            index,
        )

    def _backwards(self, index: int, named: Iterable[int], what: str) -> None:
        for other in named:
            if other >= index:
                self.findings.add("order", f"{what} entry {other}, which is not before it", index)

    def _aggregate(self, index: int, fact: Aggregate) -> None:
        for state in fact.states:
            if (state.index, state.digest) not in self.references["calibration_state"]:
                self._reference(index, "calibration_state", (state.index, state.digest))
        self._backwards(index, () if fact.supersedes is None else (fact.supersedes,), "supersedes")
        if fact.first > fact.last or fact.last >= index:
            self.findings.add(
                "order", f"is over entries {fact.first} to {fact.last}, which are not before it", index
            )

    def _numbered(self, index: int, fact: Aggregate | Event) -> None:
        row = series_of(fact)
        if self.numbers is None or row is None:
            return
        last = self.numbers.get(row, 0)
        if fact.number is None:
            if last:
                self.findings.add(f"{row.kind}_number", f"has no number; it follows {last}", index, row.whose)
            return
        if fact.number != last + 1:
            self.findings.add(f"{row.kind}_number", f"number {fact.number} follows {last}", index, row.whose)
        self.numbers[row] = fact.number

    def _sealed_numbers(self, index: int, seal: Seal) -> None:
        said = sealed_all(seal)
        if self.numbers is None:
            self.numbers = said
            return
        for row in sorted(said.keys() | self.numbers.keys()):
            if said.get(row, 0) != (there := self.numbers.get(row, 0)):
                what = f"the seal counts {row.kind} records to {said.get(row, 0)}; the entries to {there}"
                self.findings.add("seal_counts", what, index, row.whose)

    def _seal(self, index: int, seal: Seal) -> None:
        self._sealed_numbers(index, seal)
        if isinstance(seal.configuration, Reference):
            reference = (seal.configuration.index, seal.configuration.digest)
            if reference not in self.references["configuration"]:
                self._reference(index, "configuration", reference)
        if not self.holes:
            for name in sorted(seal.counts.keys() | self.places.keys()):
                place = self.places.get(name, START)
                tally = seal.counts.get(name)
                said = (0, 0, 0) if tally is None else (tally.last, tally.received, tally.missed)
                there = (place.number, place.received, place.missed)
                if said != there:
                    self.findings.add(
                        "seal_counts",
                        "the seal says last number, received, missed = {}, {}, {}; ".format(*said)
                        + "the entries say {}, {}, {}".format(*there),
                        index,
                        name,
                    )
        receipt = seal.receipt
        if receipt is None or (receipt.size, receipt.root) == self._receipt:
            return  # one receipt is named by each seal until the next one comes: told once, what is wrong is not buried
        self._receipt = (receipt.size, receipt.root)
        if self.heads.get(receipt.size, receipt.root) != receipt.root:
            self.findings.add(
                "seal_receipt", f"names a receipt for {receipt.size} entries with another root hash", index
            )
