"""Verification of an audit bundle by an auditor's policy: the same checks that the page makes in a browser.

In order: the data unpack; the checkpoint is signed by a log of the policy; every entry, with the hidden hashes, leads
to its root; receipts are of the same history and the policy's quorum has cosigned a head that covers the entries;
every record reads strictly; the instrument's polls follow one another without a hole, from the one before the period
to the one after it; what they refer to is there. Bad evidence makes findings, never exceptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

import msgspec

from . import log, note, record
from .bundle import Bundle, decode
from .bundle_page import data_place, extract, page
from .bundle_proof import root_of
from .errors import ParseError
from .findings import Completeness, Disclosure, Finding, Findings, Report, Severity
from .numbered import ENERGY, EVENT, Numbered, Series, holes, series_of
from .policy import Policy
from .revocation import bounds, honoured, refuse_revoked

Poll = record.Reading | record.Gap


def verify_bundle(data: bytes, policy: Policy) -> Report:
    """Verify the gzipped bytes of a bundle. ``policy`` is the auditor's, from elsewhere."""
    try:
        bundle = decode(data)
    except ParseError as error:
        findings = Findings()
        findings.add("container", str(error))
        return Report(findings.all())
    return verify(bundle, policy)


def verify_page(text: bytes, policy: Policy) -> Report:
    """Verify a bundle's page (or its bytes alone): its data, and whether what is around them is this version's page.

    The data alone are evidence. A page around them that is not byte for byte the one that this version writes is a
    warning that says which bytes were covered: what such a page shows may be anything. Raises ParseError for what is
    no bundle.
    """
    data = extract(text)
    report = verify_bundle(data, policy)
    if data is text:
        return report
    try:
        written = page(data).encode()
    except ParseError:
        return report  # the data are damaged, and the report says so
    if written == text:
        return report
    if written == text.replace(b"\r\n", b"\n"):
        what = "a program changed the file's line ends on its way; its data and the page around them are the same"
    else:
        first, after = data_place(text)
        what = (
            f"of the file's {len(text)} bytes, the data from byte {first} to {after - 1} were verified; the page "
            "around them is not the one that this version writes: do not believe what it shows, only what is said here"
        )
    return replace(report, findings=(*report.findings, Finding("page", Severity.WARNING, what)))


def verify(bundle: Bundle, policy: Policy) -> Report:
    """Verify a bundle that has been unpacked."""
    findings = Findings()
    try:
        head, signed = note.open_checkpoint(bundle.checkpoint, *policy.logs)
    except (ParseError, note.VerifyError) as error:
        findings.add("checkpoint", str(error), where="checkpoint")
        return Report(findings.all(), bundle.origin)
    if head.origin != bundle.origin:
        findings.add(
            "checkpoint", f"is of {head.origin}, the bundle says {bundle.origin}", where="checkpoint"
        )
    found = {}
    if _included(bundle, head, findings):
        found = _records(bundle, findings)
    series = _Series(bundle, head.size, found, findings)
    series.check()
    cosigned, witnessed = _cosigned(bundle, head, signed, policy, series.last + 1, findings)
    limits = bounds(policy.revoked, witnessed)
    try:
        refuse_revoked(head, signed, policy.logs, limits)
    except note.VerifyError as error:
        findings.add("revoked", str(error), where="checkpoint")
    _genesis(found, head.origin, policy, limits, findings)
    _files(bundle, found, findings)
    counts: dict[str, int] = {}
    for each in found.values():
        kind = str(type(each).__struct_config__.tag)
        counts[kind] = counts.get(kind, 0) + 1
    return Report(
        findings.all(),
        head.origin,
        head.size,
        head.root,
        dict(sorted(counts.items())),
        {bundle.instrument: series.completeness()},
        cosigned,
        disclosed=series.disclosed(),
    )


def _included(bundle: Bundle, head: note.Checkpoint, findings: Findings) -> bool:
    """Whether the entries, with the hashes of what is hidden, lead to the signed root."""
    indexes = [index for index, _ in bundle.entries]
    if any(b <= a for a, b in zip([-1, *indexes], indexes, strict=False)) or (
        indexes and indexes[-1] >= head.size
    ):
        findings.add("indexes", f"the entries' indexes do not ascend below the size of {head.size}")
        return False
    leaves = [log.leaf_hash(data) for _, data in bundle.entries]
    tags = bundle.tags if len(bundle.tags) == len(leaves) else ()
    wrong = [i for i, leaf, tag in zip(indexes, leaves, tags, strict=False) if leaf[: len(tag)] != tag]
    for index in wrong:
        findings.add("entry", "the entry was changed, or another put in its place", index)
    if root_of(indexes, leaves, head.size, bundle.hashes) == head.root:
        return not wrong
    what = "the entries and hashes do not lead to the signed root hash"
    if not wrong:
        what += ": one of them was changed, taken out or put in"
    findings.add("root", what)
    return False


def _records(bundle: Bundle, findings: Findings) -> dict[int, record.Record]:
    found = {}
    for index, data in bundle.entries:
        try:
            found[index] = record.decode(data)
        except ParseError as error:
            findings.add("record", str(error), index)
    return found


def _cosigned(
    bundle: Bundle,
    head: note.Checkpoint,
    signed: note.Note,
    policy: Policy,
    needed: int,
    findings: Findings,
) -> tuple[dict[str, tuple[int, int]], list[tuple[int, int]]]:
    """Which witnesses of the policy cosigned a head over the entries: name to size and time; and all that they did."""
    cosigned: dict[str, tuple[int, int]] = {}
    witnessed: list[tuple[int, int]] = []
    there: set[note.Verifier] = set()
    notes = [("checkpoint", head, signed)]
    for number, receipt in enumerate(bundle.receipts, 1):
        where = f"receipt {number}"
        try:
            other, its = note.open_checkpoint(receipt.note, *policy.logs)
        except (ParseError, note.VerifyError) as error:
            findings.add("receipt", str(error), where=where)
            continue
        if not log.check_consistency(other.size, head.size, other.root, head.root, receipt.consistency):
            findings.add("fork", "is not shown to be of the history of the checkpoint", where=where)
            continue
        notes.append((where, other, its))
    for where, other, its in notes:
        for witness in policy.witnesses.values():
            at = its.cosigned_at(witness)
            if at is None:
                if its.by(witness):
                    findings.add("cosignature", "the cosignature is wrong", None, f"{where}, {witness.name}")
                continue
            witnessed.append((other.size, at))
            cosigned[witness.name] = max(cosigned.get(witness.name, (0, 0)), (other.size, at))
            if other.size >= needed:
                there.add(witness)
    if not policy.met_by(there):
        names = ", ".join(sorted(witness.name for witness in there)) or "none"
        what = (
            f"the policy's quorum has not cosigned a tree that holds these entries; of its witnesses: {names}"
        )
        findings.add("quorum", what)
    return cosigned, witnessed


def _genesis(
    found: dict[int, record.Record],
    origin: str,
    policy: Policy,
    limits: dict[note.Verifier, int],
    findings: Findings,
) -> None:
    """The log's beginning must name the origin and, directly or by key records, a key of the policy."""
    first = found.get(0)
    if not isinstance(first, record.Genesis):
        findings.add("genesis", "the log's first entry is not in the bundle, or is no genesis record", 0)
        return
    if first.origin != origin:
        findings.add("genesis_origin", f"this log began as {first.origin}, the checkpoint is of {origin}", 0)
    keys = list(_keys(first.keys))
    for index, each in sorted(found.items()):
        if isinstance(each, record.Key):
            older = honoured((*keys, *policy.logs), limits, index + 1)
            if note.check_key_statement(each.statement, origin, each.vkey, *older):
                keys += _keys((each.vkey,))
            else:
                what = "the new key is not vouched for by an older one and by itself"
                findings.add("key_statement", what, index)
    if not any(key in policy.logs for key in keys):
        findings.add("genesis_key", "no key of the policy is one that the log began with or took over to", 0)


def _keys(vkeys: Iterable[str]) -> Iterable[note.Verifier]:
    for vkey in vkeys:
        try:
            yield note.Verifier.parse(vkey)
        except ParseError:
            continue  # of a type that is not checked here


def _files(bundle: Bundle, found: dict[int, record.Record], findings: Findings) -> None:
    named = {each.digest: each for each in found.values() if isinstance(each, record.Document)}
    for file in bundle.files:
        document = named.get(sha256(file.data).hexdigest())
        if document is None:
            findings.add("file", "no document record of the bundle has this file's digest", None, file.name)
        elif (file.name, file.media_type) != (document.name, document.media_type):
            what = f"its record names it {document.name} ({document.media_type or 'no media type'})"
            findings.note(Finding("file_name", Severity.WARNING, what, None, file.name))


def _first(poll: Poll) -> int:
    return poll.number if isinstance(poll, record.Reading) else poll.first


def _last(poll: Poll) -> int:
    return poll.number if isinstance(poll, record.Reading) else poll.last


def _span(poll: Poll) -> tuple[int, int]:
    """When it was due, from the first to the last."""
    return (poll.due_us, poll.due_us) if isinstance(poll, record.Reading) else (poll.from_us, poll.to_us)


class _Series:
    """The instrument's polls, one after the other."""

    def __init__(
        self, bundle: Bundle, size: int, found: dict[int, record.Record], findings: Findings
    ) -> None:
        self._bundle, self._size, self._found, self._findings = bundle, size, found, findings
        self._polls: list[tuple[int, Poll]] = [
            (index, each)
            for index, each in sorted(found.items())
            if isinstance(each, record.Reading | record.Gap) and each.instrument == bundle.instrument
        ]

    @property
    def last(self) -> int:
        """The newest entry that the bundle is about."""
        return self._polls[-1][0] if self._polls else 0

    def check(self) -> None:
        """Everything that must hold of the series."""
        if not self._found:
            return
        self._foreign()
        if not self._polls:
            self._findings.add(
                "no_polls", "there is no poll of the instrument", None, self._bundle.instrument
            )
            return
        for (index, one), (after, other) in zip(self._polls, self._polls[1:], strict=False):
            self._follows(index, one, after, other)
        self._bounds()
        self._references()
        self._seals()
        self._numbered()
        self._energies()

    def completeness(self) -> Completeness:
        """Polls due within the period, readings, missed, and why."""
        received, reasons = 0, dict[str, int]()
        for _, each in self._polls:
            if isinstance(each, record.Reading):
                received += self._bundle.from_us <= each.due_us < self._bundle.to_us
            elif each.from_us < self._bundle.to_us and each.to_us >= self._bundle.from_us:
                reasons[each.reason] = reasons.get(each.reason, 0) + each.last - each.first + 1
        missed = sum(reasons.values())
        return Completeness(received + missed, received, missed, reasons)

    def disclosed(self) -> Disclosure:
        """How much of the log is here, and how much of the period its polls reach over."""
        bundle, polls = self._bundle, [poll for _, poll in self._polls]
        start, end = bundle.from_us, bundle.to_us
        covered, numbers = (start, start), None
        if polls:
            covered = max(start, _span(polls[0])[0]), min(end, _span(polls[-1])[1])
        due = [p for p in polls if (span := _span(p))[0] < end and span[1] >= start]
        if due:
            numbers = _first(due[0]), _last(due[-1])
        return Disclosure(len(bundle.entries), bundle.instrument, (start, end), covered, numbers)

    def _foreign(self) -> None:
        name = self._bundle.instrument
        for index, each in self._found.items():
            whose: Sequence[str] = (name,)
            if isinstance(each, record.Reading | record.Gap):
                whose = (each.instrument,)
            elif isinstance(each, record.Aggregate | record.Advice):
                whose = each.instruments
            if name not in whose:
                self._findings.add("foreign", f"is of {', '.join(whose)}, not of {name}", index)

    def _follows(self, index: int, one: Poll, after: int, other: Poll) -> None:
        last, first = _last(one), _first(other)
        where = self._bundle.instrument
        if first != last + 1:
            what = f"running number {first} follows {last}: " + (
                "polls are missing from the bundle" if first > last else "a number came twice"
            )
            self._findings.add("running_number", what, after, where)
        if other.previous != index:
            what = f"names entry {other.previous} as the one before; the bundle has entry {index}"
            self._findings.add("back_link", what, after, where)

    def _bounds(self) -> None:
        bundle = self._bundle
        _, first = self._polls[0]
        if _span(first)[0] >= bundle.from_us and not (_first(first) == 1 and first.previous == -1):
            what = "the poll before the period is not in the bundle: nobody sees whether some are missing"
            self._findings.add("predecessor", what, self._polls[0][0], bundle.instrument)
        index, last = self._polls[-1]
        if _span(last)[1] >= bundle.to_us:
            return
        final = self._found.get(self._size - 1)
        number = _last(last)
        tally = final.counts.get(bundle.instrument) if isinstance(final, record.Seal) else None
        if tally is None or tally.last != number:
            what = "neither the poll after the period nor a last seal that counts to it is in the bundle"
            self._findings.add("successor", what, index, bundle.instrument)

    def _references(self) -> None:
        known: dict[str, set[tuple[int, str]]] = {"configuration": set(), "calibration_state": set()}
        owners: dict[tuple[int, str], str] = {}
        for index, each in self._found.items():
            if isinstance(each, record.Configuration):
                known["configuration"].add((index, each.digest))
            elif isinstance(each, record.CalibrationState):
                known["calibration_state"].add((index, each.digest))
                owners[index, each.digest] = instrument_of(each)
        for index, each in self._found.items():
            wanted: list[tuple[str, record.Reference]] = []
            if isinstance(each, record.Reading):
                wanted = [("calibration_state", each.state), ("configuration", each.configuration)]
            elif isinstance(each, record.Aggregate):
                wanted = [("calibration_state", state) for state in each.states]
            for kind, reference in wanted:
                key = (reference.index, reference.digest)
                if key not in known[kind] or reference.index >= index:
                    what = f"entry {reference.index} is no earlier {kind.replace('_', ' ')} in the bundle"
                    self._findings.add(f"{kind}_reference", what, index)
                elif kind == "calibration_state" and owners[key] not in ("", self._bundle.instrument):
                    what = f"was corrected with the calibration state of {owners[key]}"
                    self._findings.add("state_foreign", what, index)

    def _seals(self) -> None:
        name = self._bundle.instrument
        for index, each in self._found.items():
            if not isinstance(each, record.Seal) or not self._polls[0][0] < index:
                continue
            before = [poll for at, poll in self._polls if at < index]
            after = any(at > index for at, _ in self._polls)
            last = _last(before[-1])
            tally = each.counts.get(name)
            said = 0 if tally is None else tally.last
            # Behind the last poll of the bundle the instrument goes on: there a seal can only say more.
            if (said != last if after else said < last) or (
                tally is not None and tally.received + tally.missed != tally.last
            ):
                what = f"the seal counts to {said}; the bundle's polls before it to {last}"
                self._findings.add("seal_counts", what, index, name)

    def _numbered(self) -> None:
        """Energies and events, as far as they carry numbers: none is missing."""
        rows: dict[Series, list[tuple[int, Numbered]]] = {}
        for index, each in sorted(self._found.items()):
            series = series_of(each)
            if series is not None and isinstance(each, record.Aggregate | record.Event):
                rows.setdefault(series, []).append((index, each))
        seals = {i: each for i, each in sorted(self._found.items()) if isinstance(each, record.Seal)}
        name, period = self._bundle.instrument, (self._bundle.from_us, self._bundle.to_us)
        for series in (Series(ENERGY, name), Series(EVENT, name), Series(EVENT, "")):
            for hole in holes(series, rows.get(series, []), seals, period, self._size):
                self._findings.add(hole.code, hole.what, hole.entry, series.whose)

    def _energies(self) -> None:
        """Of energies without numbers (older logs) a bundle can only show that they join: a hole is a warning."""
        ends: dict[str, int] = {}
        replaced = {each.supersedes for each in self._found.values() if isinstance(each, record.Aggregate)}
        for index, each in sorted(self._found.items()):
            if not isinstance(each, record.Aggregate) or index in replaced or each.supersedes is not None:
                continue
            end = ends.get(each.measurand)
            if end is not None and each.from_us != end:
                what = "does not begin where the energy before it ends: between them none is stated"
                self._findings.note(Finding("energies_apart", Severity.WARNING, what, index, each.measurand))
            ends[each.measurand] = each.to_us


def instrument_of(state: record.CalibrationState) -> str:
    """Whose calibration state it is; empty if the body does not say."""
    try:
        body = msgspec.json.decode(state.body)
    except msgspec.MsgspecError:
        return ""
    name = body.get("instrument", "") if isinstance(body, dict) else ""
    return name if isinstance(name, str) else ""
