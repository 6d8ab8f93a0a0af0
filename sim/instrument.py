"""Instruments in software: what a meter behind its transformers shows, given what truly flows.

A meter's *indication* differs from the truth as a real one's does: CT and PT have ratio errors and phase
displacements that depend on their load; the meter has an error curve over current and power factor, drawn
from its seed within its class; registers truncate, instantaneous values round; both are refreshed at their
own beat. A register is a function of time alone (it integrates the *indicated* power since the epoch), so
reading it, or not, changes nothing.

Errors are relative (0.001 = 0.1 %), angles in radians; loads are relative to the rated current.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from sim.world import DAY_US, EPOCH_US, Array, DailyIntegral, Feeder, Phasors, register_rates

_QUARTER_US = DAY_US // 96
ARC_MINUTE = math.pi / (180 * 60)

# Errors at unity power factor that a class allows near rated current, relative (GB/T 17215.321 and .322, GB/T
# 20840.2, .3): the letter S names the same limit over a wider range of current.
CLASS_LIMITS: Mapping[str, float] = MappingProxyType(
    {"0.1": 0.001, "0.2": 0.002, "0.2S": 0.002, "0.5": 0.005, "0.5S": 0.005, "1": 0.01, "2": 0.02}
)


def class_limit(accuracy_class: str) -> float:
    """The relative error that a class allows; ValueError names the known classes."""
    if accuracy_class not in CLASS_LIMITS:
        raise ValueError(f"no accuracy class {accuracy_class!r}; there are {', '.join(CLASS_LIMITS)}")
    return CLASS_LIMITS[accuracy_class]


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """An amplitude error and a phase displacement, each a smooth function of the load.

    ``gain + low / (1 + load / 0.1)``: what remains at full load, and what is added towards no load.
    """

    gain: float = 0.0
    low: float = 0.0
    angle: float = 0.0
    low_angle: float = 0.0

    def factor(self, load: Array) -> npt.NDArray[np.complex128]:
        """The complex factor by which the curve changes a phasor at a load."""
        towards_none = 1.0 / (1.0 + load / 0.1)
        angle = self.angle + self.low_angle * towards_none
        return np.asarray((1.0 + self.gain + self.low * towards_none) * np.exp(1j * angle))

    @staticmethod
    def drawn(rng: random.Random, limit: float, angle_limit: float) -> ErrorCurve:
        """A curve inside a class: at most 80 % of its limits, mostly near half."""
        return ErrorCurve(
            gain=rng.choice((-1, 1)) * limit * rng.uniform(0.25, 0.6),
            low=limit * rng.uniform(-0.2, 0.2),
            angle=angle_limit * rng.uniform(-0.6, 0.6),
            low_angle=angle_limit * rng.uniform(-0.2, 0.2),
        )


@dataclass(frozen=True, slots=True)
class Transformer:
    """A set of three current or voltage transformers of one kind, alike in their errors.

    ``primary`` and ``secondary`` are its ratings (A or V, phase to neutral); the curve's angle is the phase
    displacement, positive where the secondary leads.
    """

    kind: str  # "ct" or "pt"
    primary: float
    secondary: float
    accuracy_class: str
    curve: ErrorCurve

    @property
    def ratio(self) -> float:
        """Rated ratio, primary over secondary."""
        return self.primary / self.secondary

    @staticmethod
    def drawn(kind: str, primary: float, secondary: float, accuracy_class: str, seed: str) -> Transformer:
        """A transformer whose errors are drawn within its class (phase: 3 minutes per 0.1 % of class)."""
        limit = class_limit(accuracy_class)
        curve = ErrorCurve.drawn(random.Random(f"{kind}/{seed}"), limit, limit / 0.001 * 3 * ARC_MINUTE)
        return Transformer(kind, primary, secondary, accuracy_class, curve)


@dataclass(frozen=True, slots=True)
class Clockwork:
    """How a meter's own clock runs: right until ``since_us``, then ahead by ``offset_us`` and gaining ``ppm``."""

    offset_us: int = 0
    ppm: float = 0.0
    since_us: int = EPOCH_US

    def shown(self, t_us: int) -> int:
        """What the clock shows at an instant, in microseconds since 1970 of the meter's own time."""
        if t_us < self.since_us:
            return t_us
        return t_us + self.offset_us + round((t_us - self.since_us) * self.ppm / 1e6)


@dataclass(frozen=True, slots=True)
class RegisterEvent:
    """Something that happened to the registers at an instant: from then on they count from ``start`` again.

    ``number`` is the meter number shown from then on (a swapped meter); empty leaves it.
    """

    at_us: int
    start_kwh: Decimal
    number: str = ""


@dataclass(frozen=True, slots=True)
class Electronics:
    """What a meter's inside does to its indications."""

    gain: tuple[ErrorCurve, ErrorCurve, ErrorCurve] = (ErrorCurve(), ErrorCurve(), ErrorCurve())
    voltage_error: tuple[float, float, float] = (0.0, 0.0, 0.0)
    current_error: tuple[float, float, float] = (0.0, 0.0, 0.0)
    frequency_error: float = 0.0
    noise: float = 0.0  # relative standard deviation of instantaneous values, new at each refresh
    drift_per_day: float = 0.0  # relative change of the gain per day since the epoch, in steps at midnight

    @staticmethod
    def drawn(accuracy_class: str, seed: str) -> Electronics:
        """Electronics whose error curve lies within the class."""
        rng = random.Random(f"meter/{seed}")
        limit = class_limit(accuracy_class)
        common = ErrorCurve.drawn(rng, limit, limit * 0.25)
        gains = tuple(
            replace(
                common,
                gain=common.gain + limit * rng.uniform(-0.1, 0.1),
                angle=common.angle * rng.uniform(0.8, 1.2),
            )
            for _ in range(3)
        )
        v, i = (tuple(limit * rng.uniform(-0.5, 0.5) for _ in range(3)) for _ in range(2))
        return Electronics(
            gain=(gains[0], gains[1], gains[2]),
            voltage_error=(v[0], v[1], v[2]),
            current_error=(i[0], i[1], i[2]),
            frequency_error=rng.uniform(-1e-4, 1e-4),
            noise=limit * 0.02,
        )


@dataclass(frozen=True, slots=True)
class Indications:
    """What a meter shows at one instant, by measurand, in kWh, kvar.h, kW, kvar, kV.A, V, A, Hz, 1, Cel.

    ``values`` holds floats rounded by nobody yet, except energies, which are exact multiples of the
    register's step. A measurand that the meter does not have (phases 2 and 3 of a single-phase meter) is
    absent.
    """

    t_us: int
    values: Mapping[str, Decimal]
    number: str


@dataclass(frozen=True)
class Meter:
    """A meter behind its transformers, on a feeder.

    ``rated_voltage`` and ``rated_current`` are the meter's own (secondary side). ``shows_primary``: its
    display and registers are already multiplied by the rated ratios. ``step`` is the register's resolution
    and ``modulus`` where it rolls over, both in kWh as shown.
    """

    id: str
    number: str
    feeder: Feeder
    accuracy_class: str
    electronics: Electronics
    rated_voltage: float = 220.0
    rated_current: float = 5.0
    ct: Transformer | None = None
    pt: Transformer | None = None
    shows_primary: bool = False
    step: Decimal = Decimal("0.01")
    modulus: Decimal = Decimal(1_000_000)
    start_kwh: Decimal = Decimal(0)
    refresh_us: int = 1_000_000
    clock: Clockwork = Clockwork()
    events: tuple[RegisterEvent, ...] = ()
    _registers: DailyIntegral = field(init=False, repr=False, compare=False)
    _beat_us: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if any(a.at_us >= b.at_us for a, b in zip(self.events, self.events[1:], strict=False)):
            raise ValueError(f"{self.id}: register events must be in order of time")
        object.__setattr__(self, "_registers", DailyIntegral(self._register_rates))
        object.__setattr__(self, "_beat_us", random.Random(f"beat/{self.id}").randrange(self.refresh_us))

    @property
    def ratio(self) -> float:
        """Rated ratio of CT times PT."""
        return (self.ct.ratio if self.ct else 1.0) * (self.pt.ratio if self.pt else 1.0)

    # ---- from the truth to what the electronics measure, secondary side, undrifted

    def terminals(self, primary: Phasors) -> Phasors:
        """What reaches the meter's terminals: the truth through CT and PT."""
        voltage, power = primary.voltage, primary.power
        if self.ct is not None:
            load = np.abs(power) / voltage / self.ct.primary
            power = power * np.conj(self.ct.curve.factor(load)) / self.ct.ratio
        if self.pt is not None:
            factor = self.pt.curve.factor(voltage / self.pt.primary)
            power = power * factor / self.pt.ratio
            voltage = voltage * np.abs(factor) / self.pt.ratio
        return Phasors(voltage, power, primary.frequency)

    def measured_power(self, terminals: Phasors) -> npt.NDArray[np.complex128]:
        """Complex power of each phase as the electronics measure it, VA, shape (3, n)."""
        load = terminals.current / self.rated_current
        factors = np.stack([curve.factor(x) for curve, x in zip(self.electronics.gain, load, strict=True)])
        return np.asarray(terminals.power * np.conj(factors))

    def _register_rates(self, tau: Array) -> Array:
        return register_rates(self.measured_power(self.terminals(self.feeder.phasors(tau))).sum(axis=0))

    # ---- registers

    def accumulated(self, t_us: int) -> Array:
        """What the electronics have integrated since the epoch: four channels, secondary side, kWh."""
        days, within = divmod(t_us - EPOCH_US, DAY_US)
        drift = self.electronics.drift_per_day
        whole = self._registers.day() * (days + drift * days * (days - 1) / 2)
        return np.asarray(whole + (1 + drift * days) * self._registers.since_midnight(within))

    def indicated_energy(self, t0_us: int, t1_us: int) -> Array:
        """Indicated energy between two instants as shown (side, ratio), before truncation; four channels."""
        scale = self.ratio if self.shows_primary else 1.0
        return np.asarray((self.accumulated(t1_us) - self.accumulated(t0_us)) * scale)

    def gone(self, t0_us: int, t1_us: int) -> float:
        """What the import register counts between two instants, before truncation."""
        return float(self.indicated_energy(t0_us, t1_us)[0])

    def _last_event(self, t_us: int) -> RegisterEvent:
        past = [event for event in self.events if event.at_us <= t_us]
        return past[-1] if past else RegisterEvent(EPOCH_US, self.start_kwh, self.number)

    def counted_from(self, t_us: int) -> int:
        """The instant from which the registers in place at ``t_us`` have counted."""
        return self._last_event(t_us).at_us

    def restarted(self, since_us: int, start_kwh: Decimal) -> Meter:
        """The same meter, its import register having begun at ``start_kwh`` where it began counting."""
        if not any(event.at_us == since_us for event in self.events):
            return replace(self, start_kwh=start_kwh)
        events = (replace(e, start_kwh=start_kwh) if e.at_us == since_us else e for e in self.events)
        return replace(self, events=tuple(events))

    def number_at(self, t_us: int) -> str:
        """The meter number that the meter in place at an instant shows."""
        later = [event.number for event in self.events if event.at_us <= t_us and event.number]
        return later[-1] if later else self.number

    def registers(self, t_us: int) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Active import, export, reactive import, export as shown: truncated to the step, rolled over."""
        event = self._last_event(t_us)
        shown = self.indicated_energy(event.at_us, max(t_us, event.at_us))
        starts = (event.start_kwh, Decimal(0), Decimal(0), Decimal(0))
        a, b, c, d = (
            (start + whole_steps(float(x), self.step)) % self.modulus
            for start, x in zip(starts, shown, strict=True)
        )
        return a, b, c, d

    # ---- the display

    def refreshed(self, t_us: int) -> int:
        """The latest instant, up to ``t_us``, at which the indications were renewed."""
        return t_us - (t_us - self._beat_us) % self.refresh_us

    def show(self, t_us: int) -> Indications:
        """All indications at an instant, as of the last refresh."""
        at = self.refreshed(t_us)
        days, within = divmod(at - EPOCH_US, DAY_US)
        terminals = self.terminals(self.feeder.phasors(np.array([within / 1e6])))
        power = self.measured_power(terminals)[:, 0] * (1 + self.electronics.drift_per_day * days)
        rng = random.Random(f"noise/{self.id}/{at}")

        def noisy(x: float) -> float:
            return x * (1 + self.electronics.noise * rng.gauss(0, 1))

        side_i = self.ct.ratio if self.ct and self.shows_primary else 1.0
        side_v = self.pt.ratio if self.pt and self.shows_primary else 1.0
        values: dict[str, float] = {}
        total = 0j
        for n in self.feeder.carried:
            s = complex(power[n]) * noisy(side_i * side_v) / 1e3
            total += s
            values[f"voltage.l{n + 1}"] = noisy(
                float(terminals.voltage[n, 0]) * (1 + self.electronics.voltage_error[n]) * side_v
            )
            values[f"current.l{n + 1}"] = noisy(
                float(terminals.current[n, 0]) * (1 + self.electronics.current_error[n]) * side_i
            )
            values |= _powers(s, f"l{n + 1}")
        values |= _powers(total, "total")
        values["frequency"] = float(terminals.frequency[0]) * (1 + self.electronics.frequency_error)
        values["temperature.meter"] = 25.0 + 5.0 * math.sin(2 * math.pi * within / DAY_US)
        exact = {name: Decimal(repr(value)) for name, value in values.items()}
        imported, exported, reactive_in, reactive_out = self.registers(at)
        exact |= {
            "energy.active.import": imported,
            "energy.active.export": exported,
            "energy.active.total": (imported + exported) % self.modulus,
            "energy.reactive.import": reactive_in,
            "energy.reactive.export": reactive_out,
            "demand.active.import": Decimal(repr(self.maximum_demand(at)[0])),
        }
        return Indications(at, MappingProxyType(exact), self.number_at(at))

    def maximum_demand(self, t_us: int) -> tuple[float, int]:
        """The largest quarter-hour's mean import of this UTC day so far, kW as shown, and when that ended."""
        done = (t_us % DAY_US) // _QUARTER_US
        midnight = t_us - t_us % DAY_US
        if not done:
            return 0.0, midnight
        quarters = self._registers.quarter_hours()[0][:done]
        largest = int(quarters.argmax())
        scale = self.ratio if self.shows_primary else 1.0
        return float(quarters[largest]) * 4 * scale, midnight + (largest + 1) * _QUARTER_US


def _powers(s: complex, suffix: str) -> dict[str, float]:
    magnitude = abs(s)
    return {
        f"power.active.{suffix}": s.real,
        f"power.reactive.{suffix}": s.imag,
        f"power.apparent.{suffix}": magnitude,
        f"power_factor.{suffix}": s.real / magnitude if magnitude else 1.0,
    }


def whole_steps(value: float, step: Decimal) -> Decimal:
    """``value`` cut down to whole steps: what an energy register does."""
    return (Decimal(repr(value)) / step).to_integral_value(ROUND_FLOOR) * step


def rounded(value: Decimal, step: Decimal) -> Decimal:
    """``value`` rounded to whole steps: what an instantaneous indication does."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step
