"""Recomputation: every number of a log again from its own records, and compared with what stands there.

For each reading: the configuration that it names says what was asked and how an answer is read, so the raw bytes are
decoded anew by the drivers' codec and must give the indications; the calibration state that it names must give the
results, at the operating point of the same scan, text for text. Energies are added up again from the readings and
must give the aggregates: value, uncertainty, contributions.

Nothing is taken from installed profiles, a database or a network. The gateway's own rule, how intervals are cut, is
handed over as ``aggregator``. Whether the records are authentic is another question: ``evidence.verify`` answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, TypeAlias

from calibration.operating import OperatingPoint
from evidence import record as records
from evidence.errors import ParseError
from evidence.findings import Finding, Findings, Severity
from evidence.record import Reading, Reference

from .audit_energy import Energies, NewAggregator
from .audit_readings import Readings


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What was computed again, and what came out otherwise. ``skipped``: what could not be, and why."""

    findings: tuple[Finding, ...]
    readings: int = 0
    indications: int = 0
    results: int = 0
    aggregates: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything that was computed again agrees."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": self.ok,
            "readings": self.readings,
            "indications": self.indications,
            "results": self.results,
            "aggregates": self.aggregates,
            "skipped": dict(self.skipped),
        }

    def to_text(self) -> str:
        """One line for people; the findings are listed with the report."""
        text = (
            f"recomputed {self.readings} readings ({self.indications} indications, {self.results} results), "
            f"{self.aggregates} energies"
        )
        return text + "".join(f"; {count} {what}" for what, count in self.skipped.items())


def recompute(
    entries: Iterable[tuple[int, bytes]], aggregator: NewAggregator, *, partial: bool = False, jobs: int = 1
) -> Recomputed:
    """Compute everything again from ``entries`` (log index and bytes, ascending).

    ``partial``: entries of the log are left out (an audit bundle), so an interval whose beginning is not there is
    counted as skipped. ``jobs``: processes that decode and correct; the energies are added up in this one.
    """
    audit = Audit(aggregator, partial=partial)
    source = iter(entries)
    first = list(islice(source, PARALLEL_FROM))
    if jobs <= 1 or len(first) < PARALLEL_FROM:
        for index, data in chain(first, source):
            audit.add(index, data)
        return audit.finish()
    with ProcessPoolExecutor(jobs) as pool:
        for chunks in _rounds(chain(first, source), 2 * jobs):
            context: list[tuple[int, bytes]] = list(audit.context)
            work = []
            for chunk in chunks:
                context += [each for each in chunk if each[1].startswith(_CONTEXT)]
                work.append((tuple(context), chunk))
            for chunk, checked in zip(chunks, pool.map(_check_chunk, work), strict=True):
                audit.take(chunk, checked)
    return audit.finish()


PARALLEL_FROM: Final = 2048  # entries; below, starting processes costs more than it gives
_CHUNK: Final = 512
_CONTEXT: Final = (b'{"type":"configuration"', b'{"type":"calibration_state"')
_Chunk: TypeAlias = list[tuple[int, bytes]]


def _rounds(entries: Iterator[tuple[int, bytes]], many: int) -> Iterator[list[_Chunk]]:
    while chunks := [chunk for _ in range(many) if (chunk := list(islice(entries, _CHUNK)))]:
        yield chunks


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a process found in the readings of a chunk."""

    findings: tuple[Finding, ...]
    counts: Sequence[int]
    skipped: Mapping[str, int]
    points: Mapping[int, OperatingPoint]


def _check_chunk(work: tuple[tuple[tuple[int, bytes], ...], _Chunk]) -> _Checked:
    context, chunk = work
    checker = Readings(Findings())
    for index, data in context:
        with suppress(ParseError):
            checker.know(index, records.decode(data))
    own = Findings()
    checker.findings = own
    points = {}
    for index, data in chunk:
        if data.startswith(b'{"type":"reading"'):
            try:
                reading = records.decode(data)
            except ParseError:
                continue  # told where the entries are followed
            if isinstance(reading, Reading):
                point = checker.check(index, reading)
                if point is not None:
                    points[index] = point
    return _Checked(own.all(), checker.counts, checker.skipped, points)


class Audit:
    """Follows a log entry by entry."""

    def __init__(self, aggregator: NewAggregator, *, partial: bool = False) -> None:
        self._findings = Findings()
        self._readings = Readings(self._findings)
        self._energies = Energies(aggregator, self._readings.registers, self._findings, partial=partial)
        self.context: list[tuple[int, bytes]] = []  # the configurations and states so far

    def add(self, index: int, data: bytes) -> None:
        """Compute one entry again."""
        record = self._decoded(index, data)
        if isinstance(record, Reading):
            self._counted(index, record, self._readings.check(index, record))
        elif record is not None:
            self._other(index, record, data)

    def take(self, chunk: _Chunk, checked: _Checked) -> None:
        """Follow entries whose readings have been computed elsewhere."""
        for finding in checked.findings:
            self._findings.note(finding)
        self._readings.counts = [a + b for a, b in zip(self._readings.counts, checked.counts, strict=True)]
        for what, count in checked.skipped.items():
            self._readings.skipped[what] = self._readings.skipped.get(what, 0) + count
        for index, data in chunk:
            record = self._decoded(index, data)
            if isinstance(record, Reading):
                self._counted(index, record, checked.points.get(index))
            elif record is not None:
                self._other(index, record, data)

    def finish(self) -> Recomputed:
        """What came out."""
        self._energies.finish()
        skipped = dict(self._readings.skipped)
        if self._energies.skipped:
            skipped["energies whose beginning is not among the entries"] = self._energies.skipped
        readings, indications, results = self._readings.counts
        return Recomputed(
            self._findings.all(), readings, indications, results, self._energies.agreed, skipped
        )

    def _decoded(self, index: int, data: bytes) -> records.Record | None:
        try:
            return records.decode(data)
        except ParseError as error:
            self._findings.add("record", str(error), index)
            return None

    def _counted(self, index: int, reading: Reading, point: OperatingPoint | None) -> None:
        if point is not None:
            units, state = self._readings.about(reading)
            self._energies.reading(index, reading, point, units, (state, reading.state))

    def _other(self, index: int, record: records.Record, data: bytes) -> None:
        match record:
            case records.Configuration():
                self.context.append((index, data))
                body = self._readings.know(index, record)
                period = None if body is None else body.get("aggregate_us")
                self._energies.period_us = period if isinstance(period, int) and period > 0 else None
                if body is not None and self._energies.period_us is None:
                    self._findings.add("configuration_lacks", "says nothing of aggregate_us", index)
            case records.CalibrationState():
                self.context.append((index, data))
                self._readings.know(index, record)
                state = self._readings.states[index, record.digest]
                if state is not None:
                    self._energies.use(state, Reference(index, record.digest))
            case records.Aggregate():
                self._energies.stated(index, record)
            case records.Gap():
                self._energies.gap(record)
            case records.Event(kind="start"):
                self._energies.restart()
            case _:
                pass
