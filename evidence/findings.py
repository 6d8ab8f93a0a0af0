"""What verification found: findings, and the report that holds them. Bad evidence is its subject, not its
failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final


class Severity(StrEnum):
    """ERROR: the answer is no.

    WARNING: sound as far as it goes, but someone should know. INFO: said for the reader.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: what, at which entry (log index) if at one, and where (the path of a tile, an
    instrument).
    """

    code: str
    severity: Severity
    what: str
    entry: int | None = None
    where: str = ""

    def __str__(self) -> str:
        place = " ".join(
            part for part in (f"entry {self.entry}" if self.entry is not None else "", self.where) if part
        )
        return f"{self.severity.value:7} {self.code:20} {place + ': ' if place else ''}{self.what}"


class Findings:
    """A list of findings that a broken log cannot make endless: of each code the first hundred, then a count."""

    KEPT: Final = 100

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._counts: dict[str, int] = {}

    def add(self, code: str, what: str, entry: int | None = None, where: str = "") -> None:
        """Note an error."""
        self.note(Finding(code, Severity.ERROR, what, entry, where))

    def note(self, finding: Finding) -> None:
        """Note a finding of any severity."""
        count = self._counts.get(finding.code, 0) + 1
        self._counts[finding.code] = count
        if count <= self.KEPT:
            self._kept.append(finding)

    def __bool__(self) -> bool:
        return bool(self._kept)

    def __iter__(self) -> Any:
        return iter(self.all())

    def all(self) -> tuple[Finding, ...]:
        """Every finding kept, and a line for those that were only counted."""
        more = [
            Finding(code, Severity.INFO, f"{count - self.KEPT} more findings of this kind")
            for code, count in self._counts.items()
            if count > self.KEPT
        ]
        return (*self._kept, *more)


@dataclass(frozen=True, slots=True)
class Completeness:
    """One instrument's polls: how many were due (the last running number), gave a reading, are in gaps."""

    due: int
    received: int
    missed: int
    reasons: Mapping[str, int] = field(default_factory=dict)  # why polls were missed -> how many


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What an audit bundle shows of its log: how many entries, whose polls, and how far they reach in its period.

    ``asked``: the period that the bundle was made for; ``covered``: the part of it that the instrument's records
    reach over, narrower where the log begins or ends within (microseconds since 1970, the end not within).
    ``numbers``: the first and the last running number that is due in the period; None where there is none.
    """

    entries: int
    instrument: str
    asked: tuple[int, int]
    covered: tuple[int, int]
    numbers: tuple[int, int] | None

    @property
    def whole(self) -> bool:
        """Whether the records reach over the whole period."""
        return self.covered == self.asked

    def to_json(self) -> dict[str, Any]:
        """For machines: plain values only."""
        return {
            "entries": self.entries,
            "instrument": self.instrument,
            "from_us": self.asked[0],
            "to_us": self.asked[1],
            "covered_from_us": self.covered[0],
            "covered_to_us": self.covered[1],
            "first": self.numbers[0] if self.numbers else None,
            "last": self.numbers[1] if self.numbers else None,
        }

    def to_lines(self) -> list[str]:
        """For people: the period asked for, and what of it is not covered."""
        (start, end), (begin, until) = self.asked, self.covered
        lines = [f"asked    {instant(start)} to {instant(end)}"]
        if not self.whole:
            without = [
                *(["none before"] if begin > start else []),
                *(["none after"] if until < end else []),
            ]
            lines.append(
                f"covered  {instant(begin)} to {instant(until)} only: up to its checkpoint the log has of "
            )
            lines[-1] += f"{self.instrument} " + " and ".join(without)
        return lines


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(us: int) -> str:
    """An instant (microseconds since 1970) for people, to the second below; any whole number."""
    try:
        return f"{_EPOCH + timedelta(microseconds=us):%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        return f"{us} µs since 1970"


@dataclass(frozen=True, slots=True)
class Report:
    """The answer. ``ok`` is yes only if no finding is an error."""

    findings: tuple[Finding, ...]
    origin: str = ""
    size: int = 0
    root: bytes = b""
    counts: Mapping[str, int] = field(default_factory=dict)  # record type -> how many
    instruments: Mapping[str, Completeness] = field(default_factory=dict)
    cosigned: Mapping[str, tuple[int, int]] = field(
        default_factory=dict
    )  # witness -> size, seconds since 1970
    seconds: float = 0.0
    disclosed: Disclosure | None = None  # of an audit bundle; None where all entries are there

    @property
    def ok(self) -> bool:
        """Whether everything that was asked holds."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For machines: plain values only."""
        return {
            "ok": self.ok,
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "disclosed": self.disclosed.to_json() if self.disclosed else None,
            "counts": dict(self.counts),
            "instruments": {
                name: {"due": c.due, "received": c.received, "missed": c.missed, "reasons": dict(c.reasons)}
                for name, c in self.instruments.items()
            },
            "cosigned": {name: {"size": size, "at": at} for name, (size, at) in self.cosigned.items()},
            "findings": [
                {
                    "code": f.code,
                    "severity": f.severity.value,
                    "entry": f.entry,
                    "where": f.where,
                    "what": f.what,
                }
                for f in self.findings
            ],
        }

    def to_text(self) -> str:
        """For people: findings first, then what there is and what is missing, then the verdict."""
        lines = [str(finding) for finding in self.findings]
        if self.size:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items()))
            shown = self.disclosed
            some = f"{shown.entries} of {self.size}, the others as hashes" if shown else f"{self.size}"
            lines += [
                f"log      {self.origin}",
                f"entries  {some} ({kinds})",
                f"root     {self.root.hex()}",
                *(shown.to_lines() if shown else ()),
            ]
            for name, c in sorted(self.instruments.items()):
                share = f"{100 * c.received / c.due:.4g} %" if c.due else "-"
                why = ", ".join(f"{reason} {polls}" for reason, polls in sorted(c.reasons.items()))
                gaps = f"{c.missed} in gaps" + (f" ({why})" if why else "")
                lines.append(f"{name:8} {c.received} of {c.due} polls have a reading ({share}), {gaps}")
            for name, (size, at) in sorted(self.cosigned.items()):
                lines.append(f"cosigned {name}: the first {size} entries, at {instant(at * 1_000_000)}")
        lines.append("verdict  " + (self._yes() if self.ok else "NO"))
        return "\n".join(lines) + "\n"

    def _yes(self) -> str:
        shown = self.disclosed
        if shown is None:
            return "yes: nothing is missing, nothing was changed"
        numbers = ", numbers {} to {},".format(*shown.numbers) if shown.numbers else ""
        return f"yes: of {shown.instrument}{numbers} nothing is missing; nothing disclosed was changed"
