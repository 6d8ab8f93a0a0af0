"""The site file's section on its simulation: how the plant behind it differs from what the file says of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from gateway.edge import Exact, Model
from gateway.site_values import Positive


class SimulatedMeter(Model):
    """How the simulated meter behind one instrument differs from what the site file says of it."""

    preset: str = "mill"
    accuracy_class: str = ""
    rated_voltage: str = ""
    rated_current: str = ""
    maximum_current: str = ""
    ct_class: str = ""
    pt_class: str = ""
    number: str = ""
    phases: Literal[1, 3] = 3
    start: Exact = Decimal(0)
    step: Exact = Decimal("0.01")
    modulus: Exact = Decimal(1_000_000)
    refresh: Positive = 1.0
    flow: Exact = Decimal(2)  # m3/h on average: of water, gas and heat meters


class SimulatedLine(Model):
    """How a simulated line answers."""

    reply: Positive = 0.04
    echo: bool = False


class Simulation(Model):
    """What `suyuan sim` needs beyond the site itself: a seed, and the plant's shape."""

    seed: int = 1
    scenario: str = ""
    meters: dict[str, SimulatedMeter] = Field(default_factory=dict, alias="meter")
    lines: dict[str, SimulatedLine] = Field(default_factory=dict, alias="bus")
