"""A line's ``freeze`` out of the site file: can it be done as allowed, and what is asked after it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from drivers import freeze
from gateway.config import SiteFile
from gateway.freezing import FreezePlan
from gateway.prepared import PreparedMeter
from gateway.site_values import offset_minutes
from gateway.toml_source import Problem

_USUAL_CLOCK_US = 300_000_000
"""What a meter's clock may be off by before it is set again, by usual rules of operation; less for short periods."""


def freeze_plan(
    site: SiteFile, b: int, meters: Sequence[PreparedMeter], now: datetime, problems: list[Problem]
) -> FreezePlan | None:
    """What the agent is told; None, and why, if it cannot be done so."""
    bus = site.site.buses[b]
    config = bus.freeze
    assert config is not None
    place = ("bus", b, "freeze")

    def wrong(message: str, hint: str, key: str = "") -> None:
        at: tuple[str | int, ...] = (*place, key) if key else place
        problems.append(site.source.problem(at, message, hint, "C148"))

    before = len(problems)
    period_us = round(config.period * 1e6)
    widest = freeze.widest_us(period_us)
    clock_us = min(_USUAL_CLOCK_US, widest) if config.clock is None else round(config.clock * 1e6)
    if period_us < freeze.LEAST_PERIOD_US:
        wrong("a meter tells its frozen time to the minute only", 'a period of "3min" or more', "period")
    elif clock_us > widest:
        message = "with clocks so far off, an older freeze could pass for a new one"
        wrong(message, f"{widest // 1_000_000} s at most, or a longer period", "clock")
    if config.allowed_on > now.date():
        wrong(f"{config.allowed_on} has not come yet", "the day on which it was allowed", "allowed_on")
    queries = {}
    speeds = {}
    for meter in meters:
        if not meter.config.freeze or (meter.config.protocol or bus.protocol) != freeze.PROTOCOL:
            continue
        asked = freeze.queries(meter.queries)
        if not asked:
            continue
        queries[meter.config.id] = asked
        speeds[meter.meter.baud or bus.baud, meter.meter.framing or bus.framing] = meter.config.id
        if period_us % round(meter.config.period * 1e6):
            message = f"'{meter.config.id}' is not read at each freeze: its period does not go into this one"
            wrong(message, "a multiple of the period of each of its instruments", "period")
    if not queries:
        hint = "meters of DL/T 645-2007 freeze energies and powers"
        wrong("no instrument of this line has a value that is frozen", hint)
    elif len(speeds) > 1:
        message = f"{' and '.join(speeds.values())} hear at different speeds: one order does not reach both"
        wrong(message, "freeze = false for the one, or a line of its own")
    if len(problems) > before:
        return None
    return FreezePlan(
        queries,
        period_us,
        clock_us,
        offset_minutes(bus.utc_offset) * 60_000_000,
        config.pause,
        config.allowed_by,
        config.allowed_on.isoformat(),
    )
