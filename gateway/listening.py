"""From a prepared port to one at which the agent listens: to data loggers that push, to meters that publish."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.agent import InstrumentPlan, PushPlan
from gateway.config import offset_minutes
from gateway.hj212_receiver import Hj212Receiver, Station, Target
from gateway.prepare import PreparedMeter, PreparedPush

INTERVALS_US = {"2011": 0, "2051": 60_000_000, "2061": 3_600_000_000, "2031": 86_400_000_000}
"""HJ 212: how long the interval is that a command's data is about; DataTime is its start."""


def instrument_plans(meters: Iterable[PreparedMeter]) -> tuple[InstrumentPlan, ...]:
    """The instruments of a line, as the agent is told of them."""
    return tuple(
        InstrumentPlan(
            meter=meter.meter,
            queries=meter.queries,
            period_us=round(meter.config.period * 1e6),
            refresh_us=round(meter.config.refresh * 1e6),
            serial=meter.config.serial,
            manufacturer=meter.config.manufacturer,
            state=meter.state,
        )
        for meter in meters
    )


def push_plan(push: PreparedPush) -> PushPlan:
    """A port with its instruments. What each sends is due once per period of its own."""
    config = push.config
    host, _, port = push.port.partition("://")[2].rpartition(":")
    host = host.strip("[]")
    late_us = None if config.late is None else round(config.late * 1e6)
    meters = [meter for meter in push.meters if meter.queries]
    plans = instrument_plans(meters)
    if config.protocol == "hj212":
        stations = _stations(push, meters)
        offset = offset_minutes(config.utc_offset)
        lags = {meter.config.id: INTERVALS_US[meter.config.data] for meter in meters}
        return PushPlan(
            config.name,
            lambda now: Hj212Receiver(host, int(port), stations, now, offset),
            plans,
            late_us,
            lags,
        )
    from gateway.mqtt_subscriber import MqttSubscriber, Subscription  # without MQTT: no client in memory

    subscriptions = tuple(
        Subscription(
            meter.config.id, meter.config.address, meter.profile, meter.queries[0], meter.config.time
        )
        for meter in meters
    )
    # what tells no time of its own belongs to the period in which it comes: that is over with its end
    lags = {meter.config.id: 0 if meter.config.time else round(meter.config.period * 1e6) for meter in meters}
    return PushPlan(
        config.name,
        lambda now: MqttSubscriber(host, int(port), subscriptions, now, config.username, config.password),
        plans,
        late_us,
        lags,
    )


def _stations(push: PreparedPush, meters: Iterable[PreparedMeter]) -> dict[str, Station]:
    targets: dict[str, dict[str, Target]] = {}
    passwords: dict[str, str] = {}
    for meter in meters:
        mn = meter.config.address.strip()
        target = Target(meter.config.id, meter.profile, meter.queries[0])
        targets.setdefault(mn, {})[meter.config.data] = target
        passwords[mn] = meter.config.password or passwords.get(mn, "") or push.config.password
    return {
        mn: Station(mn, passwords[mn], by_command, push.keys.get(mn)) for mn, by_command in targets.items()
    }
