"""What a meter shows: the truth through its transformers and its own errors, as registers and displays do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from sim.instrument import (
    ARC_MINUTE,
    CLASS_LIMITS,
    Clockwork,
    Electronics,
    ErrorCurve,
    Meter,
    RegisterEvent,
    Transformer,
    rounded,
)
from sim.laboratory import LOADS, true_energy_error
from sim.world import DAY_US, EPOCH_US, Plant

MakeMeter = Callable[..., Meter]
HOUR_US = 3_600_000_000


def ideal(make: MakeMeter, **given: object) -> Meter:
    return make(**({"electronics": Electronics(), "ct": None} | given))


def test_an_ideal_meter_shows_the_truth(make_meter: MakeMeter, morning: int) -> None:
    meter = ideal(make_meter)
    shown, true = meter.show(morning), meter.feeder.at(meter.refreshed(morning))
    assert float(shown.values["power.active.total"]) == pytest.approx(true.power, rel=1e-12)
    assert float(shown.values["power.reactive.total"]) == pytest.approx(true.reactive_power, rel=1e-12)
    assert float(shown.values["voltage.l2"]) == pytest.approx(true.voltage[1], rel=1e-12)
    assert float(shown.values["current.l3"]) == pytest.approx(true.current[2], rel=1e-12)
    assert float(shown.values["power_factor.total"]) == pytest.approx(true.power_factor, rel=1e-12)
    indicated = meter.indicated_energy(morning, morning + HOUR_US)[0]
    assert indicated == pytest.approx(
        meter.feeder.energy(morning, morning + HOUR_US).active_import, rel=1e-12
    )


def test_registers_integrate_the_indicated_power(make_meter: MakeMeter, morning: int) -> None:
    """Without noise, the register's growth is the integral of the power that the meter shows."""
    meter = make_meter(refresh_us=1)
    meter = replace(meter, electronics=replace(meter.electronics, noise=0.0))

    def shown(s: float) -> float:
        return float(meter.show(morning + round(s * 1e6)).values["power.active.total"]) / 3600

    expected, _ = quad(shown, 0, 60, epsrel=1e-9)
    assert meter.indicated_energy(morning, morning + 60_000_000)[0] == pytest.approx(expected, rel=1e-8)


def test_errors_of_the_transformers_add_as_the_composite_error_formula_says(
    make_meter: MakeMeter, morning: int
) -> None:
    """e = f_I + f_U + 0.0291 (delta_I - delta_U) tan(phi), in percent and minutes."""
    ct = Transformer("ct", 1000, 5, "0.2S", ErrorCurve(gain=0.0007, angle=5 * ARC_MINUTE))
    pt = Transformer("pt", 220, 100, "0.2", ErrorCurve(gain=-0.0004, angle=-3 * ARC_MINUTE))
    meter = ideal(make_meter, preset="steady", ct=ct, pt=pt)
    true = meter.feeder.energy(morning, morning + HOUR_US)
    error = meter.indicated_energy(morning, morning + HOUR_US)[0] * meter.ratio / true.active_import - 1
    tan = true.reactive_import / true.active_import
    # the formula is of first order: products of the errors are left out
    assert error * 100 == pytest.approx(0.07 - 0.04 + 0.0291 * (5 + 3) * tan, abs=5e-4)


@pytest.mark.parametrize("accuracy_class", CLASS_LIMITS)
@pytest.mark.parametrize("seed", range(12))
def test_drawn_meters_and_transformers_are_within_their_class(
    make_meter: MakeMeter, accuracy_class: str, seed: int
) -> None:
    limit = CLASS_LIMITS[accuracy_class]
    meter = make_meter(electronics=Electronics.drawn(accuracy_class, f"s{seed}"))
    for load in LOADS:
        assert abs(true_energy_error(meter, float(load), 1.0)) / 100 <= limit
        assert abs(true_energy_error(meter, float(load), 0.5)) / 100 <= 1.6 * limit
    ct = Transformer.drawn("ct", 1000, 5, accuracy_class, f"s{seed}")
    factors = ct.curve.factor(np.array([float(load) for load in LOADS]))
    assert np.all(np.abs(np.abs(factors) - 1) <= limit)
    assert 0.1 * limit < abs(true_energy_error(meter, 1.0, 1.0)) / 100


def test_the_registers_do_not_depend_on_when_they_are_read(make_meter: MakeMeter, morning: int) -> None:
    often, seldom = make_meter(), make_meter()
    for n in range(50):
        often.registers(morning + n * 7_777_777)
    assert often.registers(morning + HOUR_US) == seldom.registers(morning + HOUR_US)


METER = Meter(
    id="r",
    number="1",
    feeder=Plant(3).feeder("r", "solar", rated_voltage=220, rated_current=100),
    accuracy_class="1",
    electronics=Electronics.drawn("1", "r"),
    rated_current=100.0,
)


@settings(max_examples=80, deadline=None)
@given(t=st.integers(EPOCH_US, EPOCH_US + 400 * DAY_US), later=st.integers(0, 3 * DAY_US))
def test_registers_never_run_backwards_and_are_cut_to_their_step(t: int, later: int) -> None:
    before, after = METER.registers(t), METER.registers(t + later)
    for a, b in zip(before, after, strict=True):
        assert a <= b
        assert a == rounded(a, METER.step)
    exact = float(METER.accumulated(t)[1])
    assert 0 <= exact - float(before[1]) < 0.01 + 1e-9


def test_a_register_rolls_over_at_its_modulus(make_meter: MakeMeter, morning: int) -> None:
    free = make_meter(start_kwh=Decimal(0), modulus=Decimal(10**9))
    small = make_meter(start_kwh=Decimal(0), modulus=Decimal(100))
    shown = free.registers(morning)[0]
    assert shown > 1000
    assert small.registers(morning)[0] == shown % 100


def test_a_primary_register_is_the_secondary_one_times_the_rated_ratio(
    make_meter: MakeMeter, morning: int
) -> None:
    primary, secondary = make_meter(shows_primary=True), make_meter()
    p, s = (m.indicated_energy(morning, morning + HOUR_US)[0] for m in (primary, secondary))
    assert p == pytest.approx(200 * s, rel=1e-12)
    shown = [m.show(morning).values for m in (primary, secondary)]
    assert float(shown[0]["current.l1"]) == pytest.approx(200 * float(shown[1]["current.l1"]), rel=1e-12)
    assert float(shown[0]["voltage.l1"]) == pytest.approx(float(shown[1]["voltage.l1"]), rel=1e-12)


def test_indications_are_renewed_at_the_meters_own_beat(make_meter: MakeMeter, morning: int) -> None:
    meter = make_meter(refresh_us=1_000_000)
    at = meter.refreshed(morning)
    assert at <= morning < at + 1_000_000
    assert meter.show(at) == meter.show(at + 999_999)
    assert meter.show(at).values != meter.show(at + 1_000_000).values


def test_drift_grows_by_the_day(make_meter: MakeMeter) -> None:
    meter = make_meter(preset="steady")
    drifting = replace(meter, electronics=replace(meter.electronics, drift_per_day=1e-5))
    for day in (0, 1, 40):
        t = EPOCH_US + day * DAY_US + HOUR_US
        plain, drifted = (m.indicated_energy(t, t + HOUR_US)[0] for m in (meter, drifting))
        assert drifted / plain - 1 == pytest.approx(day * 1e-5, abs=1e-9)
    start, end = EPOCH_US + HOUR_US, EPOCH_US + 3 * DAY_US + 2 * HOUR_US
    parts = [start, EPOCH_US + DAY_US, EPOCH_US + 2 * DAY_US, EPOCH_US + 3 * DAY_US, end]
    whole = drifting.indicated_energy(start, end)[0]
    daily = [meter.indicated_energy(a, b)[0] for a, b in pairwise(parts)]
    assert whole == pytest.approx(sum(e * (1 + 1e-5 * n) for n, e in enumerate(daily)), rel=1e-12)


def test_a_reset_and_a_swap_begin_the_register_anew(make_meter: MakeMeter, morning: int) -> None:
    swap = RegisterEvent(morning + HOUR_US, Decimal("7.50"), number="77")
    meter = make_meter(events=(RegisterEvent(morning, Decimal(0)), swap))
    assert meter.registers(morning)[0] == 0
    assert meter.number_at(morning) == "42"
    gone = meter.indicated_energy(morning, morning + HOUR_US - 1)[0]
    assert float(meter.registers(morning + HOUR_US - 1)[0]) == pytest.approx(gone, abs=0.01)
    assert meter.registers(morning + HOUR_US)[0] == Decimal("7.50")
    assert meter.number_at(morning + HOUR_US) == "77"
    assert make_meter().registers(morning - 1) == meter.registers(morning - 1)


def test_events_out_of_order_are_refused(make_meter: MakeMeter) -> None:
    with pytest.raises(ValueError, match="in order of time"):
        make_meter(events=(RegisterEvent(2, Decimal(0)), RegisterEvent(1, Decimal(0))))


def test_the_maximum_demand_is_the_largest_quarter_hour_of_the_day(make_meter: MakeMeter) -> None:
    meter = make_meter()
    midnight = EPOCH_US + 5 * DAY_US
    kw, ended = meter.maximum_demand(midnight + DAY_US - 1)
    quarter = DAY_US // 96
    means = [
        meter.indicated_energy(midnight + n * quarter, midnight + (n + 1) * quarter)[0] * 4 for n in range(95)
    ]
    assert kw == pytest.approx(max(means), rel=1e-9)
    assert ended == midnight + (means.index(max(means)) + 1) * quarter
    assert meter.maximum_demand(midnight + 1) == (0.0, midnight)


def test_a_clock_is_right_until_it_drifts() -> None:
    clock = Clockwork(offset_us=5_000_000, ppm=20, since_us=1_000)
    assert clock.shown(999) == 999
    assert clock.shown(1_000 + DAY_US) == 1_000 + DAY_US + 5_000_000 + 1_728_000


def test_a_single_phase_meter_has_no_other_phases(make_meter: MakeMeter, morning: int) -> None:
    values = ideal(make_meter, phases=1).show(morning).values
    assert "voltage.l1" in values
    assert not any(name.endswith((".l2", ".l3")) for name in values)


def test_an_unknown_class_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"0\.2S"):
        Electronics.drawn("3.7", "x")
