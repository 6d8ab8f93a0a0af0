"""Reverse traceability: what leans on something that was found wrong, and how far that puts it out.

A finding says that a standard, a certificate or an instrument had a further error of indication δ (indication minus
truth, beyond what was known) over some days. Every calibration *performed with it on those days* stated errors that are
too low by δ, and so on downward: what counts is the calibration, not the item, so a meter calibrated with the same
standard before or after is not touched. In the results the standard is an uncertainty source i; its contribution c_i is
the change of the result for one standard uncertainty u_i of the standard, so the result changes by

    effect = (c_i / u_i) · δ              (corrected value = reported value + effect)

Where a row has no contribution for the source, or u_i is not known, the effect follows from the value itself for
relative errors: -value · δ / 100 (error in the result of an error e: y = indication / (1 + e/100)). An aggregate over
several instruments of which only some were calibrated in the bad time gives an upper bound, and says so.

Nothing is edited: the outcome is the content of an ``advice`` record, and aggregates to be superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from calibration.certificate import Certificate, ReferenceUse
from calibration.curve import family_of
from calibration.records import Finding
from calibration.uncertainty import UncertaintySource

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StateView(Protocol):
    """What is asked of a calibration state: ``calibration.state.CalibrationState`` is one."""

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON."""

    @property
    def instrument(self) -> str:
        """Whose state it is."""

    @property
    def certificates(self) -> Sequence[Any]:
        """Certificates in use, each with an ``id``."""

    @property
    def sources(self) -> Mapping[str, UncertaintySource]:
        """Uncertainty sources by id."""


class ReachSource(Protocol):
    """What is asked of the register."""

    def certificate(self, certificate_id: str, /) -> Certificate:
        """A certificate."""

    def certificates(self, instrument: str = "") -> Sequence[Certificate]:
        """Certificates in use of an instrument, or all."""

    def uses(
        self, standard: str, *, first: date | None = None, last: date | None = None
    ) -> Sequence[Certificate]:
        """Certificates performed in the time that name the standard."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A calibration that the finding reaches (or, with no ``use``, the finding's own subject).

    ``first`` to ``last`` are the days for which the instrument's results lean on it; ``level`` counts from the finding.
    """

    instrument: str
    certificate: str
    level: int
    via: str
    use: ReferenceUse | None
    u: Decimal | None
    first: date
    last: date | None
    quantities: frozenset[str] = frozenset()

    def speaks_of(self, measurand: str) -> bool:
        """Whether the calibration enters the results of a measurand; a CT's or PT's enters all electrical ones."""
        if not self.quantities or family_of(measurand) in self.quantities or measurand in self.quantities:
            return True
        electrical = measurand.startswith(("energy.", "power.", "demand.", "current.", "voltage."))
        return electrical and bool(self.quantities & {"ratio", "phase"})


@dataclass(frozen=True, slots=True)
class Row:
    """A reading's result or an aggregate, as plain as it travels.

    ``contributions``: by source id, in ``unit``; ``states``: digests of the calibration states it was made with.
    """

    index: int
    kind: str  # "reading" | "aggregate"
    instruments: tuple[str, ...]
    measurand: str
    unit: str
    begin: datetime
    end: datetime
    value: Decimal
    contributions: Mapping[str, Decimal]
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AffectedRow:
    """A row with its effect; ``exact`` False: an upper bound (see above) or, with ``effect`` None, to be recomputed."""

    row: Row
    effect: Decimal | None
    exact: bool
    sources: tuple[str, ...]

    @property
    def corrected(self) -> Decimal | None:
        """The value that the row should have had."""
        return None if self.effect is None or not self.exact else self.row.value + self.effect


@dataclass(frozen=True, slots=True)
class Affected:
    """Everything that a finding reaches."""

    finding: Finding
    reached: tuple[Reached, ...]
    states: tuple[str, ...]
    rows: tuple[AffectedRow, ...]

    @property
    def instruments(self) -> tuple[str, ...]:
        """Instruments whose results lean on it, in the order they were reached."""
        return tuple(dict.fromkeys(reached.instrument for reached in self.reached))

    def totals(self) -> dict[tuple[str, str, str], Decimal]:
        """Sum of the known effects by kind of row, measurand and unit."""
        made: dict[tuple[str, str, str], Decimal] = {}
        for affected in self.rows:
            if affected.effect is not None:
                key = (affected.row.kind, affected.row.measurand, affected.row.unit)
                made[key] = made.get(key, Decimal(0)) + affected.effect
        return made

    def advice(self) -> dict[str, Any]:
        """The content of an advice record: plain data, decimals as text, times in microseconds of UTC."""
        begin = min((a.row.begin for a in self.rows), default=_day_start(self.finding.first))
        ends = [a.row.end for a in self.rows]
        end = max(ends, default=_day_start(self.finding.last or self.finding.first) + timedelta(days=1))
        detail = {
            "finding": self.finding.id,
            "subject": f"{self.finding.about} {self.finding.subject}",
            "found wrong": f"{self.finding.first.isoformat()}/{(self.finding.last or '..')}",
            "shift": f"{self.finding.shift} {self.finding.unit}",
            "certificates": " ".join(r.certificate for r in self.reached if r.certificate),
            "states": " ".join(self.states),
            "readings": str(sum(a.row.kind == "reading" for a in self.rows)),
            "aggregates": str(sum(a.row.kind == "aggregate" for a in self.rows)),
        }
        for (kind, measurand, unit), total in self.totals().items():
            detail[f"effect on {kind}s of {measurand}"] = f"{_shown(total)} {unit}"
        unsettled = [str(a.row.index) for a in self.rows if not a.exact]
        if unsettled:
            detail["bounds only"] = " ".join(unsettled)
        return {
            "instruments": list(self.instruments),
            "reason": self.finding.reason,
            "from_us": _micros(begin),
            "to_us": _micros(end),
            "supersedes": sorted({a.row.index for a in self.rows if a.row.kind == "aggregate"}),
            "detail": detail,
        }


def reach(register: ReachSource, finding: Finding) -> tuple[Reached, ...]:
    """The subject of a finding and every calibration below it that was performed while it was wrong, level by level.

    Below the first level all uses of a bad calibration count for as long as that calibration was in force.
    """
    found: list[Reached] = []
    pending: list[tuple[str, str, date, date | None, int]] = []
    if finding.about == "instrument":
        found.append(Reached(finding.subject, "", 0, "", None, None, finding.first, finding.last))
        pending.append((finding.subject, "", finding.first, finding.last, 1))
    else:
        certificate = register.certificate(finding.subject)
        first, last = _common(_in_force(register, certificate), (finding.first, finding.last))
        quantities = frozenset(point.quantity for point in certificate.points)
        found.append(
            Reached(certificate.instrument, certificate.id, 0, "", None, None, first, last, quantities)
        )
        pending.append((certificate.instrument, certificate.id, first, last, 1))
    seen: set[tuple[str, str]] = set()
    while pending:
        standard, parent, first, last, level = pending.pop(0)
        for child in register.uses(standard, first=first, last=last):
            for use in child.references:
                named = not (parent and use.certificate) or use.certificate == parent
                if use.standard != standard or not named or (child.id, standard) in seen:
                    continue
                seen.add((child.id, standard))
                begin, end = _in_force(register, child)
                u = _standard_uncertainty(register, child, use)
                quantities = frozenset(point.quantity for point in child.points)
                via = parent or standard
                found.append(Reached(child.instrument, child.id, level, via, use, u, begin, end, quantities))
                pending.append((child.instrument, child.id, begin, end, level + 1))
    return tuple(found)


def affected(
    finding: Finding,
    reached: Sequence[Reached],
    states: Iterable[StateView],
    rows: Iterable[Row] | Callable[[Sequence[str], date, date | None], Iterable[Row]],
) -> Affected:
    """Which of the rows are affected by a finding, and by how much.

    Args:
        finding: with its ``shift`` δ in ``unit``.
        reached: from ``reach``.
        states: calibration states that the rows name (others are left aside).
        rows: the rows, or a callable that gives those of instruments between two days.

    Raises:
        ValueError: the finding states no shift.
    """
    if finding.shift is None:
        raise ValueError(f"finding {finding.id} states no shift: enter how far {finding.subject} was out")
    touched, clean = _sources(states, reached)
    if callable(rows):
        first = min(r.first for r in reached)
        last = None if any(r.last is None for r in reached) else max(r.last for r in reached if r.last)
        rows = rows(tuple(dict.fromkeys(r.instrument for r in reached)), first, last)
    hit = [found for row in rows if (found := _affect(row, finding, reached, touched, clean)) is not None]
    named = {digest for found in hit for digest in found.row.states if digest in touched}
    return Affected(finding, tuple(reached), tuple(sorted(named)), tuple(hit))


def rows_of(record: Mapping[str, Any], index: int) -> Iterator[Row]:
    """The rows in a plain ``reading`` or ``aggregate`` record of the evidence log; other records have none.

    A reading's cumulative registers (``energy.*``) are left out: they are standings, not corrected by a calibration.
    """
    match record.get("type"):
        case "aggregate" if record["value"] is not None:
            contributions = {source: Decimal(c) for source, c in record["contributions"].items()}
            yield Row(
                index, "aggregate", tuple(record["instruments"]), record["measurand"], record["unit"],
                _moment(record["from_us"]), _moment(record["to_us"]), Decimal(record["value"]), contributions,
                tuple(digest for _, digest in record["states"]),
            )  # fmt: skip
        case "reading":
            at = _moment(record["utc_us"])
            state = record.get("state")
            for measurand, (value, _) in record["results"].items():
                if not measurand.startswith("energy."):
                    yield Row(
                        index, "reading", (record["instrument"],), measurand, "", at, at, Decimal(value), {},
                        () if state is None else (state[1],),
                    )  # fmt: skip


Touched = dict[str, dict[str, Reached]]
"""By a state's digest: the reached calibration of each source id in it; ``""`` for a calibration reached directly."""


def _sources(states: Iterable[StateView], reached: Sequence[Reached]) -> tuple[Touched, dict[str, set[str]]]:
    """Touched sources by state, and by source id the states in which the same source is clean."""
    touched: Touched = {}
    all_sources: dict[str, set[str]] = {}
    for state in states:
        used = {certificate.id for certificate in state.certificates}
        sources = state.sources
        for source_id in sources:
            all_sources.setdefault(source_id, set()).add(state.digest)
        for one in reached:
            if one.certificate not in used:
                continue
            if one.use is None:
                touched.setdefault(state.digest, {})[""] = one
                continue
            ids = [i for i, s in sources.items() if _is_of(s, one.use)]
            for source_id in ids or [""]:
                touched.setdefault(state.digest, {})[source_id] = one
    dirty = {source_id for found in touched.values() for source_id in found}
    clean = {i: {d for d in all_sources.get(i, ()) if i not in touched.get(d, {})} for i in dirty}
    return touched, clean


def _is_of(source: UncertaintySource, use: ReferenceUse) -> bool:
    owner = use.standard or use.certificate
    return source.kind == "ref_standard" and source.owner == owner and source.epoch in {"", use.certificate}


def _affect(
    row: Row, finding: Finding, reached: Sequence[Reached], touched: Touched, clean: Mapping[str, set[str]]
) -> AffectedRow | None:
    assert finding.shift is not None
    direct = [r for r in reached if r.use is None and not r.certificate and r.instrument in row.instruments]
    if any(_overlaps(row, r) for r in direct):
        return _directly(row, finding, direct)
    hits: dict[str, Reached] = {}
    for digest in row.states:
        hits |= {i: r for i, r in touched.get(digest, {}).items() if r.speaks_of(row.measurand)}
    if not hits:
        return None
    counted = {source_id: one for source_id, one in hits.items() if source_id in row.contributions}
    if not counted or any(not one.u for one in counted.values()):
        return _directly(row, finding, tuple(hits.values()))
    exact, effect = True, Decimal(0)
    for source_id, one in counted.items():
        assert one.u
        if any(digest in clean.get(source_id, ()) for digest in row.states):
            exact = False  # part of this contribution comes from calibrations made in good time
        effect += row.contributions[source_id] / one.u * finding.shift
    return AffectedRow(row, effect, exact, tuple(sorted(counted)))


def _directly(row: Row, finding: Finding, reached: Sequence[Reached]) -> AffectedRow:
    """From the value itself: only for one instrument, a relative error, and one calibration that was bad.

    A transformer's ratio enters power and energy as a meter's error does; whether it enters a current or a voltage
    depends on the transformer, and its phase displacement on the power factor: those are to be recomputed.
    """
    assert finding.shift is not None
    alone = len(row.instruments) == 1 and len({(r.instrument, r.certificate) for r in reached}) == 1
    known = all(_enters_as_it_is(one, row.measurand) for one in reached)
    if not alone or not known or finding.unit != "%":
        return AffectedRow(row, None, False, ())
    return AffectedRow(row, -row.value * finding.shift / (100 + finding.shift), True, ())


def _enters_as_it_is(one: Reached, measurand: str) -> bool:
    if not one.quantities or not one.quantities & {"ratio", "phase"}:
        return True
    return "phase" not in one.quantities and measurand.startswith(("energy.", "power.", "demand."))


def _overlaps(row: Row, one: Reached) -> bool:
    begins = _day_start(one.first)
    ends = None if one.last is None else _day_start(one.last) + timedelta(days=1)
    return row.end >= begins and (ends is None or row.begin < ends)


def _in_force(register: ReachSource, certificate: Certificate) -> tuple[date, date | None]:
    """From a calibration to the day before the next one that gives all of its quantities anew; None: still."""
    wanted = {point.quantity for point in certificate.points}
    for later in sorted(register.certificates(certificate.instrument), key=lambda c: c.performed):
        if later.performed > certificate.performed and wanted:
            wanted -= {point.quantity for point in later.points}
            if not wanted:
                return certificate.performed, later.performed - timedelta(days=1)
    return certificate.performed, None


def _common(one: tuple[date, date | None], other: tuple[date, date | None]) -> tuple[date, date | None]:
    lasts = [last for last in (one[1], other[1]) if last is not None]
    return max(one[0], other[0]), min(lasts, default=None)


def _standard_uncertainty(register: ReachSource, child: Certificate, use: ReferenceUse) -> Decimal | None:
    """u_i of the standard in the child: its share; else by its own certificate; else U/k if all points agree."""
    if use.share is not None:
        return use.share
    parents = (
        [c for c in register.certificates(use.standard) if c.id == use.certificate] if use.certificate else []
    )
    units = {(p.quantity, p.unit) for p in child.points}
    known = [p.U / p.k for parent in parents for p in parent.points if (p.quantity, p.unit) in units]
    if known:
        return max(known)
    own = {p.U / p.k for p in child.points}
    return own.pop() if len(own) == 1 else None


def _day_start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _shown(number: Decimal) -> str:
    return f"{number:.6g}"
