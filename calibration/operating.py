"""The operating point of a scan: with which load and power factor each of its indications was taken.

An electricity meter's error depends on both, so its correction takes them from the same scan, never from
another one. What the scan does not tell is unknown, and the correction turns that into uncertainty.

* Load of a phase: its current, on the secondary side. Of a total: the mean of the phase currents.
* Power factor: as indicated, else from active with reactive or apparent power. Its sign follows calibration
  certificates: positive inductive, negative capacitive. Meters write the sign of the power factor in different
  ways (IEEE, IEC, direction of the energy), so where the reactive power is known its sign decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import NamedTuple, TypeAlias

from calibration.state import CalibrationState

OperatingPoint: TypeAlias = tuple[float | None, float | None]
"""Load in A on the secondary side, and signed power factor; None where unknown."""

_PHASES = ("l1", "l2", "l3")
_AMPERES = {"A": 1.0, "kA": 1000.0, "mA": 0.001}


def phase_of(measurand: str) -> str:
    """``l1`` … ``l3`` for a measurand of one phase, ``total`` for all others."""
    last = measurand.rpartition(".")[2]
    return last if last in _PHASES else "total"


def operating_point(
    phase: str, values: Mapping[str, float], units: Mapping[str, str], state: CalibrationState
) -> OperatingPoint:
    """Load and power factor of a phase, or of the total, from the values of one scan by measurand."""
    return OperatingPoints(units, state)(phase, values)


class _Currents(NamedTuple):
    """The currents that make up a phase's load: measurand, divisor to the secondary side, amperes per unit."""

    of: tuple[tuple[str, float, float], ...]
    phases: int


class _Powers(NamedTuple):
    """The measurands of a phase that say its power factor."""

    indicated: str
    active: str
    reactive: str
    apparent: str


class OperatingPoints:
    """:func:`operating_point` for scan after scan of one instrument: names, units and ratio are looked up once."""

    __slots__ = ("_known", "_state", "_units")

    def __init__(self, units: Mapping[str, str], state: CalibrationState) -> None:
        self._units = units
        self._state = state
        self._known: dict[str, tuple[_Currents, _Powers]] = {}

    def __call__(self, phase: str, values: Mapping[str, float]) -> OperatingPoint:
        """Load and power factor of a phase, or of the total, from the values of one scan by measurand."""
        known = self._known.get(phase)
        if known is None:
            known = self._known[phase] = self._names(phase)
        currents, powers = known
        return _load(currents, values), _power_factor(powers, values)

    def _names(self, phase: str) -> tuple[_Currents, _Powers]:
        state, units = self._state, self._units
        names = [f"current.{p}" for p in (_PHASES if phase == "total" else (phase,))]
        of = tuple(
            (name, float(state.ct_ratio) if name in state.primary else 1.0, amperes)
            for name in names
            if (amperes := _AMPERES.get(units.get(name, "A"))) is not None
        )
        powers = _Powers(
            f"power_factor.{phase}",
            f"power.active.{phase}",
            f"power.reactive.{phase}",
            f"power.apparent.{phase}",
        )
        return _Currents(of, len(names)), powers


def _load(currents: _Currents, values: Mapping[str, float]) -> float | None:
    total, found = 0.0, 0
    for name, ratio, amperes in currents.of:
        value = values.get(name)
        if value is not None:
            total += abs(value / ratio) * amperes
            found += 1
    # two currents of a three-wire meter are its load; one of three says nothing of the others
    return total / found if found == currents.phases or found == 2 else None


def _power_factor(powers: _Powers, values: Mapping[str, float]) -> float | None:
    get = values.get
    indicated, active = get(powers.indicated), get(powers.active)
    reactive, apparent = get(powers.reactive), get(powers.apparent)
    if indicated is not None:
        size: float | None = abs(indicated)
    elif active is not None and reactive is not None and (active or reactive):
        size = abs(active) / hypot(active, reactive)
    elif active is not None and apparent:
        size = abs(active) / abs(apparent)
    else:
        size = None
    if size is None or not 0.0 < size <= 1.0001:
        return None
    size = min(size, 1.0)
    if size > 0.9999:
        return size
    if active is not None and reactive is not None and active:
        return -size if reactive * active < 0 else size
    if indicated is None or (indicated < 0 and (active is None or active < 0)):
        return None  # the sign may be the direction of the energy: inductive or capacitive is unknown
    return indicated
