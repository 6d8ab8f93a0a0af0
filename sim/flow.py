"""Water, gas and heat meters in software: what flows, and what a meter shows of it.

The flow has a mean and goes up and down once a day; heat is carried by it from supply to return temperature. As
``sim.instrument`` does for electricity, registers are functions of time alone, and they truncate. A meter's error is
one relative error, drawn within its class.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType

from sim.instrument import Clockwork, Indications, RegisterEvent, whole_steps
from sim.world import DAY_US, EPOCH_US

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "water": "water",
        "cold water": "water",
        "hot water": "water",
        "drinking water": "water",
        "reclaimed water": "water",
        "heat": "water",
        "gas": "gas",
    }
)
"""A profile's kind to what flows: ``volume.water``, ``volume.gas``."""

HEAT_UNITS: Mapping[str, float] = MappingProxyType({"kWh": 1.0, "MWh": 1e-3, "MJ": 3.6, "GJ": 3.6e-3})
"""What one kWh is in a heat meter's unit."""

_SWING = 0.4  # of the mean flow
_HEAT_KWH = 1.163  # that one cubic metre of water carries per kelvin
_DAY_H = 24.0


@dataclass(frozen=True, slots=True)
class Pipe:
    """What truly flows: ``mean`` m3/h over a day, and how many kelvin the water loses (0: no heat is measured)."""

    mean: float
    phase: float = 0.0
    kelvin: float = 0.0

    def flow(self, t_us: int) -> float:
        """Flow at an instant, m3/h."""
        return self.mean * (1 + _SWING * math.sin(self._angle(t_us)))

    def volume(self, t0_us: int, t1_us: int) -> float:
        """What flowed between two instants, m3."""
        hours = (t1_us - t0_us) / 3.6e9
        swing = (
            _SWING * _DAY_H / (2 * math.pi) * (math.cos(self._angle(t0_us)) - math.cos(self._angle(t1_us)))
        )
        return self.mean * (hours + swing)

    def heat(self, t0_us: int, t1_us: int) -> float:
        """Heat given off between two instants, kWh."""
        return self.volume(t0_us, t1_us) * self.kelvin * _HEAT_KWH

    def supply(self, t_us: int) -> float:
        """Supply temperature at an instant, Cel."""
        return 70.0 + 5.0 * math.sin(2 * math.pi * (t_us % DAY_US) / DAY_US)

    def _angle(self, t_us: int) -> float:
        return 2 * math.pi * ((t_us - EPOCH_US) % DAY_US) / DAY_US + self.phase

    @staticmethod
    def drawn(mean: float, *, heat: bool, seed: str) -> Pipe:
        """A pipe with its own time of day, and its own cooling."""
        rng = random.Random(f"pipe/{seed}")
        return Pipe(mean, rng.uniform(0, 2 * math.pi), rng.uniform(15, 30) if heat else 0.0)


@dataclass(frozen=True)
class FlowMeter:
    """A meter on a pipe. Its main register is heat in ``heat_unit`` if ``kind`` is heat, else volume in m3.

    ``step`` and ``modulus`` are the main register's (and the volume's of a heat meter, in m3); ``start`` is where it
    began. ``error`` is relative.
    """

    id: str
    number: str
    kind: str
    pipe: Pipe
    error: float = 0.0
    heat_unit: str = "kWh"
    step: Decimal = Decimal("0.01")
    modulus: Decimal = Decimal(1_000_000)
    start: Decimal = Decimal(0)
    refresh_us: int = 1_000_000
    clock: Clockwork = field(default_factory=Clockwork)
    events: tuple[RegisterEvent, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"{self.id}: no flow meter is of kind {self.kind!r}; there are {', '.join(KINDS)}"
            )
        if self.heat_unit not in HEAT_UNITS:
            raise ValueError(f"{self.id}: heat in {self.heat_unit!r}? there are {', '.join(HEAT_UNITS)}")

    def gone(self, t0_us: int, t1_us: int) -> float:
        """What the main register counts between two instants, before truncation."""
        if self.kind == "heat":
            return self.pipe.heat(t0_us, t1_us) * HEAT_UNITS[self.heat_unit] * (1 + self.error)
        return self.pipe.volume(t0_us, t1_us) * (1 + self.error)

    def _last_event(self, t_us: int) -> RegisterEvent:
        past = [event for event in self.events if event.at_us <= t_us]
        return past[-1] if past else RegisterEvent(EPOCH_US, self.start, self.number)

    def counted_from(self, t_us: int) -> int:
        """The instant from which the registers in place at ``t_us`` have counted."""
        return self._last_event(t_us).at_us

    def restarted(self, since_us: int, start: Decimal) -> FlowMeter:
        """The same meter, its main register having begun at ``start`` where it began counting."""
        if not any(event.at_us == since_us for event in self.events):
            return replace(self, start=start)
        events = (replace(e, start_kwh=start) if e.at_us == since_us else e for e in self.events)
        return replace(self, events=tuple(events))

    def number_at(self, t_us: int) -> str:
        """The meter number that the meter in place at an instant shows."""
        later = [event.number for event in self.events if event.at_us <= t_us and event.number]
        return later[-1] if later else self.number

    def refreshed(self, t_us: int) -> int:
        """The latest instant, up to ``t_us``, at which the indications were renewed."""
        return t_us - t_us % self.refresh_us

    def show(self, t_us: int) -> Indications:
        """All indications at an instant, as of the last refresh: m3, ``heat_unit``, kW, m3/h, Cel."""
        at = self.refreshed(t_us)
        event = self._last_event(at)
        until = max(at, event.at_us)
        main = (event.start_kwh + whole_steps(self.gone(event.at_us, until), self.step)) % self.modulus
        medium = KINDS[self.kind]
        if self.kind != "heat":
            values = {f"volume.{medium}": main}
        else:
            volume = self.pipe.volume(event.at_us, until) * (1 + self.error)
            supply = self.pipe.supply(at)
            power = self.pipe.flow(at) * self.pipe.kelvin * _HEAT_KWH * (1 + self.error)
            values = {
                "energy.heat": main,
                "volume.water": whole_steps(volume, self.step) % self.modulus,
                "power.heat": Decimal(repr(power)),
                "temperature.supply": Decimal(repr(supply)),
                "temperature.return": Decimal(repr(supply - self.pipe.kelvin)),
            }
        values[f"flow.{medium}"] = Decimal(repr(self.pipe.flow(at) * (1 + self.error)))
        return Indications(at, MappingProxyType(values), self.number_at(at))
