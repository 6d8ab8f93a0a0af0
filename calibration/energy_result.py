"""The energy of an interval as a result: its value, its uncertainty between two bounds, and how results add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from calibration.uncertainty import Uncertain, total


@dataclass(frozen=True, slots=True)
class EnergyResult:
    """Energy of an interval, of one instrument or several.

    Attributes:
        y: energy in the register's unit, primary side.
        uncertain: the same with its contributions; of two bounds, the one with the larger u.
        shared, own: both bounds of an unknown split (r = 1 and r = 0); equal where nothing is unknown.
        flags: what happened on the way.
        n: increments in it. ``missing``: polls that were missed and segments that were not seen.
        from_us, to_us: instants of the first and the last reading.
        instruments, states: ids of the instruments, digests of the calibration states.
    """

    y: float
    shared: Uncertain
    own: Uncertain
    flags: tuple[str, ...]
    n: int
    missing: int
    from_us: int
    to_us: int
    instruments: tuple[str, ...]
    states: tuple[str, ...]
    measurand: str

    @property
    def uncertain(self) -> Uncertain:
        """The bound with the larger standard uncertainty."""
        return larger(self.shared, self.own)

    @property
    def u(self) -> float:
        """Standard uncertainty, the larger of the two bounds."""
        return float(self.uncertain.u)


def larger(shared: Uncertain, own: Uncertain) -> Uncertain:
    """Of the two bounds of one quantity, the one with the larger standard uncertainty (rule 7)."""
    return own if own.u > shared.u else shared


def add_up(results: Iterable[EnergyResult]) -> EnergyResult:
    """The energy of several instruments or intervals together.

    Correlation comes by itself: what two results share has one identity. Both bounds are added over all, then
    the larger counts; mixtures of the two are not tried.

    Raises:
        ValueError: no results, or different measurands.
    """
    every = tuple(results)
    if not every:
        raise ValueError("there is nothing to add up")
    if len({result.measurand for result in every}) > 1:
        raise ValueError("different measurands can't be added up")
    shared = total([result.shared for result in every])
    own = total([result.own for result in every])
    return EnergyResult(
        y=float(shared.y),
        shared=shared,
        own=own,
        flags=tuple(dict.fromkeys(flag for result in every for flag in result.flags)),
        n=sum(result.n for result in every),
        missing=sum(result.missing for result in every),
        from_us=min(result.from_us for result in every),
        to_us=max(result.to_us for result in every),
        instruments=tuple(sorted({name for result in every for name in result.instruments})),
        states=tuple(sorted({digest for result in every for digest in result.states})),
        measurand=every[0].measurand,
    )
