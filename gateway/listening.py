"""From a prepared port to one where the agent listens: to loggers, to meters that publish, to servers that notify."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drivers.codec import Instant
from drivers.opcua_points import FLOATS, INTEGERS, Notification, judged
from gateway.hj212_receiver import Hj212Receiver, Station, Target
from gateway.opcua_gathering import Monitored
from gateway.plan import InstrumentPlan, PushPlan
from gateway.prepared import Prepared, PreparedMeter, PreparedPush
from gateway.pushed import Source
from gateway.site_values import offset_minutes
from gateway.toml_source import Problem

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
    late_us = None if config.late is None else round(config.late * 1e6)
    meters = [meter for meter in push.meters if meter.queries]
    plans = instrument_plans(meters)
    if config.protocol == "hj212":
        stations = _stations(push, meters)
        offset = offset_minutes(config.utc_offset)
        lags = {meter.config.id: INTERVALS_US[meter.config.data] for meter in meters}
        host, port = _host_port(push.port)
        return PushPlan(
            config.name,
            lambda now: Hj212Receiver(host, port, stations, now, offset),
            plans,
            late_us,
            lags,
        )
    if config.protocol == "opcua":
        return PushPlan(config.name, _opcua(push, meters), plans, late_us, {})
    from gateway.mqtt_subscriber import MqttSubscriber, Subscription  # without MQTT: no client in memory

    subscriptions = tuple(
        Subscription(
            meter.config.id, meter.config.address, meter.profile, meter.queries[0], meter.config.time
        )
        for meter in meters
    )
    # what tells no time of its own belongs to the period in which it comes: that is over with its end
    lags = {meter.config.id: 0 if meter.config.time else round(meter.config.period * 1e6) for meter in meters}
    host, port = _host_port(push.port)
    return PushPlan(
        config.name,
        lambda now: MqttSubscriber(host, port, subscriptions, now, config.username, config.password),
        plans,
        late_us,
        lags,
    )


def _host_port(url: str) -> tuple[str, int]:
    host, _, port = url.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def _opcua(push: PreparedPush, meters: Iterable[PreparedMeter]) -> Callable[[Callable[[], Instant]], Source]:
    from gateway.opcua_subscriber import (
        OpcuaSubscriber,
    )  # an extra, and large: who has none has none in memory

    assert push.access is not None  # ``prepare`` tells why there is none
    access, monitored = push.access, tuple(_monitored(push, meter) for meter in meters)
    return lambda now: OpcuaSubscriber(access, monitored, now)


def _monitored(push: PreparedPush, meter: PreparedMeter) -> Monitored:
    """As often as the meter renews what it shows, at least twice a period; open no longer than silence is no gap."""
    period_us, refresh_us = round(meter.config.period * 1e6), round(meter.config.refresh * 1e6)
    late_us = period_us if push.config.late is None else round(push.config.late * 1e6)
    sampling_us = min(refresh_us or period_us // 10, period_us // 2)
    close_us = min(period_us, late_us) // 2
    return Monitored(meter.config.id, meter.profile, meter.queries[0], period_us, close_us, sampling_us)


_WRONG_NODE = {
    0x801F0000: "BadUserAccessDenied",
    0x80330000: "BadNodeIdInvalid",
    0x80340000: "BadNodeIdUnknown",
    0x80350000: "BadAttributeIdInvalid",
    0x803A0000: "BadNotReadable",
}
"""OPC UA: what no change at the plant mends. Any other bad StatusCode is a state of the plant."""


async def unheard(prepared: Prepared) -> list[Problem]:
    """Ask each OPC UA server for each value once: the servers that let nobody in, the nodes that have no value."""
    found: list[Problem] = []
    buses = prepared.file.site.buses
    for push in prepared.pushes:
        meters = [meter for meter in push.meters if meter.queries]
        if push.access is None or not meters:
            continue
        from gateway.opcua_subscriber import OpcuaSubscriber

        b = buses.index(push.config)
        source = OpcuaSubscriber(push.access, tuple(_monitored(push, meter) for meter in meters), _no_clock)
        try:
            told = await source.look()
        except OSError as error:
            hint = "does the server run at this address, are user and password right, does it trust our certificate?"
            found.append(prepared.file.source.problem(("bus", b, "port"), str(error), hint, "C118"))
            continue
        for meter in meters:
            i = push.config.instruments.index(meter.config)
            for point in meter.queries[0].points:
                why = _no_value(told[point.item])
                if why:
                    place = ("bus", b, "instrument", i, "value", point.measurand)
                    hint = "is it the right node, may this user read it?"
                    found.append(prepared.file.source.problem(place, f"{point.item}: {why}", hint, "C147"))
    return found


def _no_value(told: Notification | str) -> str:
    if isinstance(told, str):
        return told
    if told.status & 0xFFFF0000 in _WRONG_NODE:
        return _WRONG_NODE[told.status & 0xFFFF0000]
    if judged(told.status)[1] is not None or told.type in ("Null", *INTEGERS, *FLOATS, "String"):
        return ""
    return f"no number but {told.type}"


def _no_clock() -> Instant:
    raise AssertionError("who looks once takes no time")  # pragma: no cover


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
