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
from typing import TypeAlias

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
    return _load(phase, values, units, state), _power_factor(phase, values)


def _load(
    phase: str, values: Mapping[str, float], units: Mapping[str, str], state: CalibrationState
) -> float | None:
    names = [f"current.{p}" for p in (_PHASES if phase == "total" else (phase,))]
    found = [
        abs(state.secondary_load(name, values[name])) * _AMPERES[units.get(name, "A")]
        for name in names
        if name in values and units.get(name, "A") in _AMPERES
    ]
    if found and len(found) == len(names):
        return sum(found) / len(found)
    if phase == "total" and found:
        # two currents of a three-wire meter are its load; one of three says nothing of the others
        return sum(found) / len(found) if len(found) == 2 else None
    return None


def _power_factor(phase: str, values: Mapping[str, float]) -> float | None:
    indicated = values.get(f"power_factor.{phase}")
    active = values.get(f"power.active.{phase}")
    reactive = values.get(f"power.reactive.{phase}")
    apparent = values.get(f"power.apparent.{phase}")
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
