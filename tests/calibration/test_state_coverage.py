"""Does the stated interval cover the truth as often as it claims?

Everything here is generated without the code under test: true errors, what the laboratory found (with errors drawn from
the uncertainties that it states, those of its standard common to all), loads, what the meter shows. Only then the
certificates are compiled, the indications corrected, and the share of intervals y ± 1.96·u that hold the truth counted.

Resolutions are fine here, as in a standard meter: where a rectangle dominates, ± 1.96·u holds the truth always, and
k = 1.65 is the factor to use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.energy import EnergyTotal, add_up
from calibration.state import CalibrationState, Policy, compile_state

Array = npt.NDArray[np.float64]
D = Decimal
K = 1.959963984540054
LOADS = np.array([0.25, 1.0, 2.5, 5.0, 6.0])
TANS = {"-0.8": -0.75, "1": 0.0, "0.5": math.sqrt(3)}
CT_PERCENT = np.array([5.0, 20.0, 100.0, 120.0])
MINUTE_PERCENT = 100 * math.pi / 10800
RATIO = 40
U_REF, U_CT_REF, U_PHASE_REF = 0.03, 0.02, 1.0
REPEATABILITY = 0.02
HOUR_US = 3_600_000_000
REGISTER = "energy.active.import"
POWER = "power.active.total"


@dataclass
class Standards:
    """The unknown errors of one laboratory's standards, as long as they are in use."""

    active: float
    ratio: float
    phase: float

    @classmethod
    def drawn(cls, random: np.random.Generator) -> Standards:
        return cls(random.normal(0, U_REF), random.normal(0, U_CT_REF), random.normal(0, U_PHASE_REF))


@dataclass
class Site:
    """One meter behind one CT: what is true, and what the certificates say."""

    meter: Array  # true error in %, power factors × loads
    ratio: Array
    phase: Array
    state: CalibrationState
    u: tuple[float, float, float]  # the laboratory's own part: meter, ratio, phase

    def error(self, load: Array, tan: Array) -> Array:
        """True error of the chain in %, in this file's own arithmetic."""
        capacitive, unity, inductive = (np.interp(load, LOADS, row) for row in self.meter)
        below = unity + (capacitive - unity) * (tan / TANS["-0.8"])
        above = unity + (inductive - unity) * (tan / TANS["0.5"])
        share = 20.0 * load  # % of 5 A
        ratio = np.interp(share, CT_PERCENT, self.ratio)
        phase = np.interp(share, CT_PERCENT, self.phase)
        return np.where(tan < 0, below, above) + ratio + MINUTE_PERCENT * phase * tan

    def redrawn(self, old: Standards, new: Standards, random: np.random.Generator) -> Site:
        """Another truth behind the same certificates: what the laboratory found, less errors drawn afresh."""
        parts = []
        for true, before, after, u in (
            (self.meter, old.active, new.active, self.u[0]),
            (self.ratio, old.ratio, new.ratio, self.u[1]),
            (self.phase, old.phase, new.phase, self.u[2]),
        ):
            parts.append(true + before - after - random.normal(0, u))
        return Site(*parts, self.state, self.u)


def number(value: float, digits: int = 5) -> Decimal:
    return D(f"{value:.{digits}f}")


def built(random: np.random.Generator, standards: Standards, name: str = "M", own_zero: bool = False) -> Site:
    """A site with honest certificates. ``own_zero``: the laboratory's own errors happen to be 0 in these papers."""
    base = random.normal(0, 0.2, len(LOADS))
    slope = random.normal(0, 0.1, len(LOADS))
    meter = np.array([base + slope * tan + random.normal(0, 0.05, len(LOADS)) for tan in TANS.values()])
    ratio, phase = random.normal(0, 0.1, 4), random.normal(0, 6, 4)
    u = (random.uniform(0.03, 0.08), random.uniform(0.02, 0.04), random.uniform(1.0, 2.0))
    own = [0.0 if own_zero else random.normal(0, each) for each in u]

    def points(
        quantity: str, found: Array, knots: Array, unit: str, expanded: float, pf: str = "1"
    ) -> list[CalibrationPoint]:
        load_unit = "A" if quantity == "energy.active" else "%"
        return [
            CalibrationPoint(
                quantity, number(x), load_unit, number(e), number(expanded, 6), D(2), unit, D(pf)
            )
            for x, e in zip(knots, found, strict=True)
        ]

    def paper(kind: str, instrument: str, found: Sequence[CalibrationPoint], share: float) -> Certificate:
        use = (ReferenceUse(f"STD-{kind}", f"S-{kind}", share=number(share)),)
        return Certificate(
            f"{kind}-{name}",
            CertificateKind.CALIBRATION,
            instrument,
            "Lab",
            date(2026, 9, 1),
            points=tuple(found),
            references=use,
        )

    rows = zip(TANS, meter + standards.active + own[0], strict=True)
    expanded = 2 * math.hypot(U_REF, u[0])
    active = [p for pf, row in rows for p in points("energy.active", row, LOADS, "%", expanded, pf)]
    of_ratio = points(
        "ratio", ratio + standards.ratio + own[1], CT_PERCENT, "%", 2 * math.hypot(U_CT_REF, u[1])
    )
    of_phase = points(
        "phase", phase + standards.phase + own[2], CT_PERCENT, "min", 2 * math.hypot(U_PHASE_REF, u[2])
    )
    state = compile_state(
        Instrument(name, rated_current=D(5)),
        [
            paper("active", name, active, U_REF),
            paper("ratio", f"CT-{name}", of_ratio, U_CT_REF),
            paper("phase", f"CT-{name}", of_phase, U_PHASE_REF),
        ],
        [Instrument(f"CT-{name}", InstrumentKind.CT, ratio=D(RATIO), rated_current=D(5))],
        at=date(2026, 11, 1),
        resolution={REGISTER: D("0.0001"), POWER: D("0.00001")},
        policy=Policy(
            drift_fraction=D(0),
            transformer_drift_fraction=D(0),
            repeatability={"energy.active": D(str(REPEATABILITY))},
        ),
    )
    return Site(meter, ratio, phase, state, u)


def operation(random: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Loads in A on the secondary side and tan φ, within what was calibrated."""
    return random.uniform(0.3, 5.9, n), random.uniform(-0.7, 1.7, n)


def power_factor(tan: Array) -> Array:
    return np.copysign(1 / np.sqrt(1 + tan * tan), np.where(tan < 0, -1.0, 1.0))


def shown(register: Array) -> list[Decimal]:
    """A register of four decimals that truncates."""
    return [D(math.floor(value * 10_000)) / 10_000 for value in register]


def measured(site: Site, random: np.random.Generator, hours: Array, n: int, total: EnergyTotal) -> float:
    """Run a site for n increments, feed the total, and give back the true energy in kWh on the primary side."""
    load, tan = operation(random, n)
    true_power = load * 0.06 * RATIO * power_factor(tan) * np.where(tan < 0, -1.0, 1.0)  # kW
    window_us = 4_000_000
    off = random.uniform(-2, 2, n + 1) / 3600  # hours by which each reading is off its instant
    true = true_power * hours
    noise = random.normal(0, REPEATABILITY, n)
    seen = true * (1 + (site.error(load, tan) + noise) / 100) / RATIO
    register = random.uniform(0, 9e4) + np.concatenate(([0.0], np.cumsum(seen)))
    around = np.concatenate((true_power[:1], true_power)) / RATIO
    values = shown(register + around * off)
    times = [1_790_000_000_000_000 + k * int(hours[0] * HOUR_US) for k in range(n + 1)]
    loads, factors = np.concatenate(([1.0], load)), power_factor(np.concatenate(([0.0], tan)))
    total.extend(values, times, load_a=loads, power_factor=factors, window_us=window_us)
    return float(true.sum())


def assert_covers(hits: int, draws: int) -> None:
    """93 to 97 %, or what chance allows where the draws are few (3 standard deviations)."""
    share = hits / draws
    slack = max(0.02, 3 * math.sqrt(0.95 * 0.05 / draws))
    assert abs(share - 0.95) <= slack, f"{100 * share:.2f} % of {draws} intervals cover the truth"


def single_readings(draws: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(draws):
        site = built(random, Standards.drawn(random))
        load, tan = operation(random, 1)
        truth = float(load[0]) * 0.06 * RATIO * 0.8
        e = float(site.error(load, tan)[0]) + random.normal(0, REPEATABILITY)
        indicated = round(truth / RATIO * (1 + e / 100), 5)
        pf = float(power_factor(tan)[0])
        result = site.state.correct(POWER, indicated, load_a=float(load[0]), power_factor=pf)
        assert result is not None
        assert result.flags == ()
        hits += abs(result.y - truth) <= K * result.u
    assert_covers(hits, draws)


def energies(draws: int, increments: int, hours: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(draws):
        site = built(random, Standards.drawn(random))
        total = EnergyTotal(site.state, REGISTER)
        truth = measured(site, random, np.full(increments, hours), increments, total)
        result = total.result()
        assert result is not None
        assert result.flags == ()
        hits += abs(result.y - truth) <= K * result.u
    assert_covers(hits, draws)


def fleets(fleets: int, draws: int, meters: int, increments: int, seed: int) -> None:
    """Many meters on the standards of one laboratory; per fleet the certificates stay and the truth is drawn anew."""
    random = np.random.default_rng(seed)
    hits = naive = 0
    for _ in range(fleets):
        found = Standards.drawn(random)
        sites = [built(random, found, f"M-{m}", own_zero=True) for m in range(meters)]
        for _ in range(draws):
            standards = Standards.drawn(random)
            results, truth = [], 0.0
            for site in sites:
                total = EnergyTotal(site.state, REGISTER)
                other = site.redrawn(found, standards, random)
                truth += measured(other, random, np.full(increments, 24.0), increments, total)
                result = total.result()
                assert result is not None
                results.append(result)
            month = add_up(results)
            hits += abs(month.y - truth) <= K * month.u
            naive += abs(month.y - truth) <= K * math.sqrt(sum(result.u**2 for result in results))
    assert_covers(hits, fleets * draws)
    # Had the meters been taken as independent, the claim would be far from true.
    assert naive / (fleets * draws) < 0.8


def test_single_power_readings_short() -> None:
    single_readings(1000, seed=20260901)


def test_hourly_energies_short() -> None:
    energies(1000, increments=4, hours=0.25, seed=20260902)


def test_monthly_energies_short() -> None:
    energies(300, increments=720, hours=1.0, seed=20260903)


def test_a_fleet_on_one_standard_short() -> None:
    fleets(4, 75, meters=16, increments=4, seed=20260904)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_single_power_readings() -> None:
    single_readings(5000, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_hourly_energies() -> None:
    energies(5000, increments=4, hours=0.25, seed=2)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_monthly_energies() -> None:
    energies(2000, increments=720, hours=1.0, seed=3)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_month_of_200_meters_on_one_standard() -> None:
    fleets(8, 150, meters=200, increments=30, seed=4)
