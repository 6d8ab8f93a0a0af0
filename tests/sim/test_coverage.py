"""The question that matters: does the stated interval hold the true value?

Simulated instruments, calibrated by simulated laboratories, corrected by ``calibration`` from their certificates
alone; then compared with the truth that only the simulator knows.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from calibration.state import compile_state
from sim.demo import demo_certificates, demo_instruments, demo_spec
from sim.site import SimSite
from sim.world import DAY_US, EPOCH_US

SEEDS = range(15)


@pytest.fixture(scope="module")
def deviations() -> dict[str, list[tuple[float, float]]]:
    """By meter: (corrected power − truth)/u and (uncorrected − truth)/u, over plants and times of the day."""
    found = defaultdict(list)
    for seed in SEEDS:
        site = SimSite(demo_spec(Path("ports"), seed), now_us=lambda: EPOCH_US)
        instruments = demo_instruments(site)
        papers = demo_certificates(site)
        rng = random.Random(seed)
        for id_, drawn in site.meters.items():
            meter = replace(drawn, electronics=replace(drawn.electronics, noise=0.0), refresh_us=1)
            own = next(i for i in instruments if i.id == id_)
            transformers = [i for i in instruments if i.id == own.parent]
            state = compile_state(own, papers, transformers, at=date(2026, 4, 1))
            for _ in range(4):
                t = EPOCH_US + 500 * DAY_US + rng.randrange(DAY_US)
                shown = {name: float(value) for name, value in meter.show(t).values.items()}
                ct = meter.ct.ratio if meter.ct and meter.shows_primary else 1.0
                power = shown["power.active.total"] / (meter.ratio if meter.shows_primary else 1.0)
                load = sum(shown[f"current.l{n}"] for n in (1, 2, 3)) / 3 / ct
                result = state.correct(
                    "power.active.total", power, load_a=load, power_factor=shown["power_factor.total"]
                )
                assert result is not None
                true = meter.feeder.at(t).power
                found[id_].append(((result.y - true) / result.u, (power * meter.ratio - true) / result.u))
    return found


def test_the_interval_of_k_2_holds_the_truth(deviations: dict[str, list[tuple[float, float]]]) -> None:
    for id_, pairs in deviations.items():
        held = sum(abs(d) <= 2 for d, _ in pairs) / len(pairs)
        assert held >= 0.93, id_


def test_the_interval_is_no_larger_than_it_need_be(deviations: dict[str, list[tuple[float, float]]]) -> None:
    for id_, pairs in deviations.items():
        assert np.sqrt(np.mean([d * d for d, _ in pairs])) > 0.1, id_


def test_without_the_correction_it_would_not_hold_it(
    deviations: dict[str, list[tuple[float, float]]],
) -> None:
    for id_ in ("spinning", "anode-shop", "potline-1"):
        lost = sum(abs(d) > 2 for _, d in deviations[id_]) / len(deviations[id_])
        assert lost > 0.4, id_


def test_corrections_are_unbiased_over_many_plants(deviations: dict[str, list[tuple[float, float]]]) -> None:
    for id_, pairs in deviations.items():
        per_plant = np.array([d for d, _ in pairs]).reshape(len(SEEDS), -1).mean(axis=1)
        assert abs(per_plant.mean()) < 3.5 * per_plant.std(ddof=1) / np.sqrt(len(SEEDS)), id_
