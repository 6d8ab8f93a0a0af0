"""Simulated meters for the tests of the simulator."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from sim.instrument import Electronics, Meter, Transformer
from sim.pytest_plugin import suyuan_site, suyuan_site_spec
from sim.world import DAY_US, EPOCH_US, Plant

__all__ = ["suyuan_site", "suyuan_site_spec"]

MORNING_US = EPOCH_US + 500 * DAY_US + 9 * 3_600_000_000


@pytest.fixture
def morning() -> int:
    """Nine o'clock UTC of some day, in microseconds."""
    return MORNING_US


@pytest.fixture
def make_meter() -> Callable[..., Meter]:
    """A 5 A meter behind a 1000/5 CT; keyword arguments replace what is given here."""

    def make(
        name: str = "m1", preset: str = "mill", phases: int = 3, seed: int = 1, **given: object
    ) -> Meter:
        feeder = Plant(seed).feeder(name, preset, rated_voltage=220, rated_current=1000, phases=phases)
        defaults: dict[str, object] = {
            "number": "42",
            "accuracy_class": "0.5S",
            "electronics": Electronics.drawn("0.5S", f"{seed}/{name}"),
            "ct": Transformer.drawn("ct", 1000, 5, "0.2S", f"{seed}/{name}"),
            "start_kwh": Decimal("100.00"),
        }
        return Meter(id=name, feeder=feeder, **(defaults | given))  # type: ignore[arg-type]

    return make
