"""The plant's truth: feeders whose power, voltage, power factor and frequency are known at every instant.

Everything is a function of UTC alone, drawn once from a seed, and repeats each day: sums of sinusoids whose
periods divide the day, and smooth steps (quintic) that begin and end on whole minutes. So the truth is
analytic inside each whole minute, and Gauss-Legendre quadrature by minutes gives energies whose relative
error is far below 1e-9. Import and export never meet: an exporting feeder passes through a stretch of exactly
no load between them.

All quantities are on the primary side: W, var, V (phase to neutral), A, Hz; energies in kWh and kvar.h.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DAY_US = 86_400_000_000
EPOCH_US = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z, a UTC midnight: registers count from here
_CELL_S = 60
_CELLS = 86_400 // _CELL_S
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_UNIT_NODES: Array = (_NODES + 1) / 2
_UNIT_WEIGHTS: Array = _WEIGHTS / 2


@dataclass(frozen=True, slots=True)
class Sine:
    """One sinusoid: whole cycles per day (at most 720: no period under two minutes), phase in turns."""

    amplitude: float
    cycles: int
    phase: float


@dataclass(frozen=True, slots=True)
class Window:
    """0 outside, 1 inside, with quintic flanks; begin, end and flank are whole minutes, within one day."""

    begin: int
    end: int
    flank: int

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end <= 1440 or self.flank < 1 or 2 * self.flank > self.end - self.begin:
            raise ValueError(f"{self}: 0 <= begin < end <= 1440 minutes, and room for two flanks, are needed")

    def value(self, tau: Array) -> Array:
        """The window at ``tau`` seconds after midnight."""
        minute = tau / 60.0
        rise = np.clip((minute - self.begin) / self.flank, 0.0, 1.0)
        fall = np.clip((self.end - minute) / self.flank, 0.0, 1.0)
        u = np.minimum(rise, fall)
        return np.asarray(u * u * u * (10.0 + u * (6.0 * u - 15.0)))


@dataclass(frozen=True, slots=True)
class Signal:
    """A quantity over the day: offset, sinusoids and weighted windows, all multiplied by a gate (if any)."""

    offset: float
    sines: tuple[Sine, ...] = ()
    steps: tuple[tuple[float, Window], ...] = ()
    gate: Window | None = None

    def value(self, tau: Array) -> Array:
        """The signal at ``tau`` seconds after midnight."""
        total = np.full(tau.shape, self.offset)
        for sine in self.sines:
            turns = sine.cycles * tau / 86_400.0 + sine.phase
            total += sine.amplitude * np.sin(2 * math.pi * turns)
        for height, window in self.steps:
            total += height * window.value(tau)
        return total if self.gate is None else total * self.gate.value(tau)


@dataclass(frozen=True, slots=True)
class Phasors:
    """Three phases at n instants: voltage (V), complex power (VA, inductive positive), (3, n); frequency."""

    voltage: Array
    power: npt.NDArray[np.complex128]
    frequency: Array

    @property
    def current(self) -> Array:
        """Magnitude of the current of each phase, A."""
        return np.asarray(np.abs(self.power) / self.voltage)


class DailyIntegral:
    """The integral over time of a function that repeats each day: exact to rounding, however it is asked.

    ``rate`` maps seconds after midnight, shape (n,), to rates per second, shape (channels, n). It must be
    analytic inside each whole minute.
    """

    def __init__(self, rate: Callable[[Array], Array]) -> None:
        self._rate = rate
        self._table: Array | None = None

    def _cumulated(self) -> Array:
        if self._table is None:
            starts = np.arange(_CELLS, dtype=np.float64)[:, None] * _CELL_S
            rates = self._rate((starts + _UNIT_NODES * _CELL_S).ravel())
            cells = rates.reshape(rates.shape[0], _CELLS, -1) @ _UNIT_WEIGHTS * _CELL_S
            self._table = np.concatenate([np.zeros((rates.shape[0], 1)), np.cumsum(cells, axis=1)], axis=1)
        return self._table

    def day(self) -> Array:
        """The integral over one whole day, per channel."""
        return np.asarray(self._cumulated()[:, -1])

    def since_midnight(self, within_us: int) -> Array:
        """The integral over the first ``within_us`` microseconds of a day, per channel."""
        cell, rest_us = divmod(within_us, _CELL_S * 1_000_000)
        total = self._cumulated()[:, cell]
        if rest_us:
            span = rest_us / 1e6
            total = total + self._rate(cell * _CELL_S + _UNIT_NODES * span) @ _UNIT_WEIGHTS * span
        return np.asarray(total)

    def between(self, t0_us: int, t1_us: int) -> Array:
        """The integral from one instant to another (UTC microseconds), per channel."""
        day0, within0 = divmod(t0_us, DAY_US)
        day1, within1 = divmod(t1_us, DAY_US)
        part = self.since_midnight(within1) - self.since_midnight(within0)
        return np.asarray((day1 - day0) * self.day() + part)

    def quarter_hours(self) -> Array:
        """The integral over each of the day's 96 quarter-hours, shape (channels, 96)."""
        return np.asarray(np.diff(self._cumulated()[:, ::15], axis=1))


@dataclass(frozen=True, slots=True)
class Energy:
    """True energy of an interval, primary side: active in kWh, reactive in kvar.h, each by direction."""

    active_import: float
    active_export: float
    reactive_import: float
    reactive_export: float


@dataclass(frozen=True, slots=True)
class Values:
    """True values at one instant, primary side, tuples by phase; a single-phase feeder's others are 0."""

    voltage: tuple[float, float, float]  # V, phase to neutral
    current: tuple[float, float, float]  # A
    active: tuple[float, float, float]  # kW, negative when exporting
    reactive: tuple[float, float, float]  # kvar
    power: float  # kW, all phases
    reactive_power: float  # kvar
    apparent_power: float  # kV.A, vector sum
    power_factor: float
    frequency: float  # Hz


def register_rates(power: npt.NDArray[np.complex128]) -> Array:
    """What four registers take up per second (kWh, kWh, kvar.h, kvar.h) at a total power in VA."""
    p, q = power.real, power.imag
    sides = np.stack([np.maximum(p, 0), np.maximum(-p, 0), np.maximum(q, 0), np.maximum(-q, 0)])
    return np.asarray(sides / 3.6e6)


@dataclass(frozen=True)
class Feeder:
    """One feeder: what truly flows. Both ratings are on the primary side, the voltage phase to neutral."""

    name: str
    rated_voltage: float
    rated_current: float
    taken: Signal  # share of rated three-phase power that is imported
    given: Signal | None  # likewise exported; its gate never overlaps that of ``taken``
    shares: tuple[float, float, float]
    voltages: tuple[Signal, Signal, Signal]  # relative to rated
    angle: Signal  # rad, inductive positive
    angles: tuple[float, float, float]  # each phase's departure from ``angle``, rad
    frequency: Signal
    _energy: DailyIntegral = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        energy = DailyIntegral(lambda tau: register_rates(self.phasors(tau).power.sum(axis=0)))
        object.__setattr__(self, "_energy", energy)

    @property
    def phases(self) -> int:
        """How many phases carry load: 3 or 1."""
        return len(self.carried)

    @property
    def carried(self) -> tuple[int, ...]:
        """The phases that carry load, counted from 0."""
        return tuple(n for n, share in enumerate(self.shares) if share > 0)

    def phasors(self, tau: Array) -> Phasors:
        """Voltages and complex powers at ``tau`` seconds after midnight."""
        rated_w = self.phases * self.rated_voltage * self.rated_current
        total = self.taken.value(tau)
        if self.given is not None:
            total = total - self.given.value(tau)
        active = rated_w * total * np.array(self.shares)[:, None]
        angle = self.angle.value(tau) + np.array(self.angles)[:, None]
        voltage = self.rated_voltage * np.stack([signal.value(tau) for signal in self.voltages])
        return Phasors(voltage, active + 1j * np.abs(active) * np.tan(angle), self.frequency.value(tau))

    def at(self, t_us: int) -> Values:
        """True values at an instant (UTC microseconds)."""
        phasors = self.phasors(np.array([(t_us % DAY_US) / 1e6]))
        s = phasors.power[:, 0]
        total = complex(s.sum())
        apparent = abs(total)
        carried = self.carried
        v, i = (
            tuple(float(x) if n in carried else 0.0 for n, x in enumerate(row[:, 0]))
            for row in (phasors.voltage, phasors.current)
        )
        return Values(
            voltage=(v[0], v[1], v[2]),
            current=(i[0], i[1], i[2]),
            active=(float(s[0].real) / 1e3, float(s[1].real) / 1e3, float(s[2].real) / 1e3),
            reactive=(float(s[0].imag) / 1e3, float(s[1].imag) / 1e3, float(s[2].imag) / 1e3),
            power=total.real / 1e3,
            reactive_power=total.imag / 1e3,
            apparent_power=apparent / 1e3,
            power_factor=total.real / apparent if apparent else 1.0,
            frequency=float(phasors.frequency[0]),
        )

    def energy(self, t0_us: int, t1_us: int) -> Energy:
        """True energy from one instant to another (UTC microseconds)."""
        return Energy(*(float(e) for e in self._energy.between(t0_us, t1_us)))


PRESETS = ("potline", "mill", "solar", "steady")


class Plant:
    """A plant drawn from a seed: the same seed, name, preset and ratings give the same feeder."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.feeders: dict[str, Feeder] = {}

    def feeder(
        self, name: str, preset: str, *, rated_voltage: float, rated_current: float, phases: int = 3
    ) -> Feeder:
        """Draw a feeder and keep it by name. Raises ValueError for an unknown preset or phase count."""
        if preset not in PRESETS:
            raise ValueError(f"{name}: no feeder preset {preset!r}; there are {', '.join(PRESETS)}")
        if phases not in (1, 3):
            raise ValueError(f"{name}: a feeder has 1 or 3 phases, not {phases}")
        rng = random.Random(f"feeder/{self.seed}/{name}/{preset}")
        taken, given, angle = _LOADS[preset](rng)
        spread = 0.0 if preset == "steady" else 1.0
        a, b = (spread * rng.uniform(-0.02, 0.02) for _ in range(2))
        shares = (1 / 3 + a, 1 / 3 + b, 1 / 3 - a - b)
        angles = tuple(spread * rng.uniform(-0.03, 0.03) for _ in range(3))
        feeder = Feeder(
            name=name,
            rated_voltage=rated_voltage,
            rated_current=rated_current,
            taken=taken,
            given=given,
            shares=shares if phases == 3 else (1.0, 0.0, 0.0),
            voltages=(_voltage(rng), _voltage(rng), _voltage(rng)),
            angle=angle,
            angles=(angles[0], angles[1], angles[2]),
            frequency=Signal(50.0, _sines(rng, 0.015, (12, 96, 480))),
        )
        self.feeders[name] = feeder
        return feeder

    def energy(self, feeder: str, t0_us: int, t1_us: int) -> Energy:
        """True energy of a feeder, by name."""
        return self.feeders[feeder].energy(t0_us, t1_us)


def _sines(rng: random.Random, amplitude: float, cycles: tuple[int, ...]) -> tuple[Sine, ...]:
    """One sinusoid near each of the rates, whose amplitudes add up to at most ``amplitude``."""
    each = amplitude / len(cycles)
    return tuple(
        Sine(each * rng.uniform(0.5, 1.0), n + rng.randrange(-n // 4, n // 4 + 1), rng.random())
        for n in cycles
    )


def _voltage(rng: random.Random) -> Signal:
    return Signal(1.0 + rng.uniform(-0.01, 0.01), _sines(rng, 0.015, (2, 24, 144)))


_Load = tuple[Signal, Signal | None, Signal]


def _potline(rng: random.Random) -> _Load:
    """An aluminium potline's rectifier feeder: nearly constant day and night, high power factor."""
    taken = Signal(rng.uniform(0.80, 0.88), _sines(rng, 0.03, (3, 40, 240, 500)))
    return taken, None, Signal(rng.uniform(0.25, 0.35), _sines(rng, 0.02, (3, 60)))


def _mill(rng: random.Random) -> _Load:
    """A cashmere mill: a night base, two shifts, carding and spinning machines that come and go."""
    morning, noon, evening = rng.randrange(345, 375), rng.randrange(700, 740), rng.randrange(1290, 1320)
    steps = (
        (rng.uniform(0.28, 0.36), Window(morning, evening, 20)),
        (-rng.uniform(0.06, 0.10), Window(noon, noon + 50, 10)),
        (rng.uniform(0.05, 0.10), Window(morning + 60, noon - 10, 12)),
    )
    taken = Signal(rng.uniform(0.36, 0.42), _sines(rng, 0.10, (5, 31, 120, 400, 560)), steps)
    return taken, None, Signal(rng.uniform(0.45, 0.60), _sines(rng, 0.08, (5, 48, 288)))


def _solar(rng: random.Random) -> _Load:
    """A solar roof behind a meter: exports by day, takes its auxiliaries' power in the late evening."""
    sun = Window(rng.randrange(330, 390), rng.randrange(1050, 1110), 300)
    given = Signal(rng.uniform(0.75, 0.90), _sines(rng, 0.15, (20, 90, 300, 520)), gate=sun)
    auxiliaries = Window(1140, 1440, 20)
    taken = Signal(rng.uniform(0.10, 0.15), _sines(rng, 0.02, (10, 120)), gate=auxiliaries)
    return taken, given, Signal(rng.uniform(0.05, 0.15), _sines(rng, 0.02, (8,)))


def _steady(rng: random.Random) -> _Load:
    """A constant, balanced load at a constant power factor: a bench, for tests and commissioning."""
    return Signal(0.9), None, Signal(rng.uniform(0.2, 0.3))


_LOADS: dict[str, Callable[[random.Random], _Load]] = {
    "potline": _potline,
    "mill": _mill,
    "solar": _solar,
    "steady": _steady,
}
