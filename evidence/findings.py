"""What verification found: findings, and the report that holds them. Bad evidence is its subject, not its
failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
            lines += [
                f"log      {self.origin}",
                f"entries  {self.size} ({kinds})",
                f"root     {self.root.hex()}",
            ]
            for name, c in sorted(self.instruments.items()):
                share = f"{100 * c.received / c.due:.4g} %" if c.due else "-"
                why = ", ".join(f"{reason} {polls}" for reason, polls in sorted(c.reasons.items()))
                gaps = f"{c.missed} in gaps" + (f" ({why})" if why else "")
                lines.append(f"{name:8} {c.received} of {c.due} polls have a reading ({share}), {gaps}")
            for name, (size, at) in sorted(self.cosigned.items()):
                lines.append(f"cosigned {name}: the first {size} entries, at {at} s since 1970")
        lines.append("verdict  " + ("yes: nothing is missing, nothing was changed" if self.ok else "NO"))
        return "\n".join(lines) + "\n"
