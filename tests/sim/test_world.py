"""The truth: repeatable from its seed, and its energies are the integral of its powers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from sim.world import DAY_US, EPOCH_US, PRESETS, Feeder, Plant, Signal, Sine, Window

MINUTE_US = 60_000_000
instants = st.integers(EPOCH_US - 3 * DAY_US, EPOCH_US + 1000 * DAY_US)


def feeder(preset: str, seed: int = 1, phases: int = 3) -> Feeder:
    return Plant(seed).feeder("f", preset, rated_voltage=220, rated_current=1000, phases=phases)


FEEDERS = {preset: feeder(preset) for preset in PRESETS}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_seed_repeats_the_truth_and_another_seed_does_not(preset: str) -> None:
    t = EPOCH_US + 12_345_678_901
    assert feeder(preset).at(t) == feeder(preset).at(t)
    assert feeder(preset).energy(t, t + DAY_US // 3) == feeder(preset).energy(t, t + DAY_US // 3)
    assert feeder(preset, seed=2).at(t) != feeder(preset).at(t)


@pytest.mark.parametrize("preset", PRESETS)
def test_energy_is_the_integral_of_power(preset: str) -> None:
    """Against an adaptive quadrature that knows nothing of minutes, over an hour from an odd instant."""
    f = FEEDERS[preset]
    start = EPOCH_US + 10 * DAY_US + 6 * 60 * MINUTE_US + 12_345_678
    imported = exported = 0.0
    for n in range(60):
        t = start + n * MINUTE_US

        def power(s: float, t: int = t) -> float:
            return f.at(t + round(s * 1e6)).power / 3600

        # a whole minute of the clock is where a quintic flank may begin: the reference is told of it
        edge = (MINUTE_US - t % MINUTE_US) / 1e6
        energy, _ = quad(power, 0, 60, points=[edge], epsabs=1e-12, epsrel=1e-11, limit=200)
        imported += max(energy, 0)
        exported += max(-energy, 0)
    true = f.energy(start, start + 60 * MINUTE_US)
    # the reference rounds its instants to microseconds: 1e-8 is what it can tell
    assert true.active_import == pytest.approx(imported, rel=1e-8, abs=1e-9)
    assert true.active_export == pytest.approx(exported, rel=1e-8, abs=1e-9)
    assert true.active_import + true.active_export > 0


def test_a_sum_of_sinusoids_integrates_to_its_closed_form() -> None:
    """The quadrature alone against the antiderivative, to 1e-12."""
    sines = (Sine(0.1, 560, 0.3), Sine(0.05, 31, 0.9), Sine(0.2, 3, 0.0))
    taken = Signal(0.5, sines)
    base = FEEDERS["steady"]
    f = Feeder(
        "closed", 220, 1000, taken, None, base.shares, base.voltages, base.angle, base.angles, base.frequency
    )

    def antiderivative(t_us: int) -> float:
        s = t_us / 1e6
        total = 0.5 * s
        for sine in sines:
            rate = 2 * np.pi * sine.cycles / 86_400
            total -= sine.amplitude / rate * np.cos(rate * (s % 86_400) + 2 * np.pi * sine.phase)
        return total

    for t0, t1 in ((7_000_001, 67_000_001), (0, 3_600_000_000), (123, 5 * DAY_US + 77_777_777)):
        expected = (antiderivative(t1) - antiderivative(t0)) * 660_000 / 3.6e6
        assert f.energy(EPOCH_US + t0, EPOCH_US + t1).active_import == pytest.approx(expected, rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(preset=st.sampled_from(PRESETS), a=instants, b=instants, c=instants)
def test_energies_of_adjoining_intervals_add_up(preset: str, a: int, b: int, c: int) -> None:
    f = FEEDERS[preset]
    first, second, both = f.energy(a, b), f.energy(b, c), f.energy(a, c)
    assert first.active_import + second.active_import == pytest.approx(both.active_import, rel=1e-9, abs=1e-6)
    assert first.active_export + second.active_export == pytest.approx(both.active_export, rel=1e-9, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(preset=st.sampled_from(PRESETS), t=instants)
def test_the_values_of_an_instant_fit_together(preset: str, t: int) -> None:
    v = FEEDERS[preset].at(t)
    assert v.power == pytest.approx(sum(v.active), abs=1e-9)
    assert v.apparent_power == pytest.approx((v.power**2 + v.reactive_power**2) ** 0.5, abs=1e-9)
    for n in range(3):
        apparent = v.voltage[n] * v.current[n] / 1e3
        assert apparent == pytest.approx((v.active[n] ** 2 + v.reactive[n] ** 2) ** 0.5, abs=1e-9)
    assert 210 < v.voltage[0] < 230
    assert max(v.current) < 1250
    assert 49.9 < v.frequency < 50.1


def test_phases_are_unbalanced_but_for_the_bench_load() -> None:
    assert len(set(FEEDERS["mill"].shares)) == 3
    assert sum(FEEDERS["mill"].shares) == pytest.approx(1)
    assert len({round(share, 12) for share in FEEDERS["steady"].shares}) == 1


def test_solar_exports_by_day_imports_in_the_evening_and_rests_in_between() -> None:
    f = FEEDERS["solar"]
    noon, dusk, evening = (EPOCH_US + minute * MINUTE_US for minute in (12 * 60, 18 * 60 + 45, 21 * 60))
    assert f.at(noon).power < 0 < f.at(evening).power
    assert f.at(dusk).power == 0
    assert f.at(dusk).power_factor == 1
    assert f.energy(noon, noon + 60 * MINUTE_US).active_import == 0
    assert f.energy(evening, evening + 60 * MINUTE_US).active_export == 0


def test_a_single_phase_feeder_loads_one_phase() -> None:
    v = feeder("mill", phases=1).at(EPOCH_US)
    assert v.voltage[1:] == v.current[1:] == v.active[1:] == (0, 0)
    assert v.power == v.active[0] > 0


def test_what_cannot_be_drawn_is_refused_with_what_can() -> None:
    with pytest.raises(ValueError, match="potline"):
        feeder("smelter")
    with pytest.raises(ValueError, match="1 or 3 phases"):
        feeder("mill", phases=2)
    with pytest.raises(ValueError, match="two flanks"):
        Window(100, 130, 16)
