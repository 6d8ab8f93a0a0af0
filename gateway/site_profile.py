"""A meter's profile as it is at this site: with the registers, inputs, factors and values that the site file states.

A profile knows a model; what hangs on a module's input, in which unit an analyser was set up, or where a message holds
its numbers is known at the site alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from drivers.opcua_points import NamespaceError, node_id
from drivers.points import BY_SITE, Point, Profile, Span
from drivers.profile_points import unit_complaint
from gateway.site_lines import BusConfig, FactorConfig, InputConfig, InstrumentConfig, ValueConfig


class SiteProfileError(ValueError):
    """What the site file states cannot be joined with the profile: at which key, why, and what to do."""

    def __init__(self, key: tuple[str, ...], what: str, hint: str = "") -> None:
        self.key, self.what, self.hint = key, what, hint
        super().__init__(what)


def site_profile(bus: BusConfig, config: InstrumentConfig, profile: Profile | None) -> Profile:
    """The profile that this instrument is read with. SiteProfileError tells the first thing that does not fit."""
    if bus.protocol in ("mqtt", "opcua"):
        return replace(_published(config, bus.protocol), points=tuple(_values(config, bus.protocol)))
    assert profile is not None
    points = tuple(_with_registers(config, point) for point in profile.points)
    if config.inputs:
        points = tuple(_inputs(config, profile))
    if profile.protocol == "hj212":
        points = tuple(_factors(config, points))
    seen: set[str] = set()
    for point in points:
        if point.measurand in seen:
            raise SiteProfileError((), f"{point.measurand} is there twice", "give one of them another name")
        seen.add(point.measurand)
    return replace(profile, points=points)


def _with_registers(config: InstrumentConfig, point: Point) -> Point:
    """What the site states of this meter's counters, in the register's unit."""
    if not point.counts:
        return point
    return replace(
        point,
        resolution=config.register_resolution or point.resolution,
        modulus=config.register_modulus or point.modulus,
    ).resolved()


# ---- modules ---------------------------------------------------------------------------------------------------------


def _inputs(config: InstrumentConfig, profile: Profile) -> Iterator[Point]:
    have = {point.measurand: point for point in profile.points}
    for name, stated in config.inputs.items():
        point = have.get(f"input.{name}")
        if point is None:
            known = ", ".join(m.removeprefix("input.") for m in have if m.startswith("input.")) or "none"
            raise SiteProfileError(
                ("input", name), f"profile '{profile.name}' has no input {name}", f"it has {known}"
            )
        yield _input(name, stated, point)


def _input(name: str, stated: InputConfig, point: Point) -> Point:
    key = ("input", name)
    _checked(key, stated.measurand, stated.unit, stated.basis)
    analogue = stated.range_low is not None or stated.range_high is not None
    if analogue == (stated.pulse is not None):
        hint = "range_low and range_high for a transmitter, pulse for a counter"
        raise SiteProfileError(key, f"input {name} needs either a range or a pulse", hint)
    if stated.pulse is not None:
        if stated.pulse <= 0 or point.type not in ("u16", "u32", "u64"):
            hint = "a pulse is worth more than 0, and its counter is u16, u32 or u64"
            raise SiteProfileError((*key, "pulse"), f"input {name} is no pulse counter", hint)
        modulus = Decimal(2) ** (16 * point.length) if point.modulus is None else point.modulus
        return replace(
            point,
            measurand=stated.measurand,
            unit=stated.unit,
            scale=point.scale * stated.pulse,
            resolution=stated.pulse,
            modulus=modulus * stated.pulse,
        )
    if stated.range_low is None or stated.range_high is None:
        raise SiteProfileError(key, f"input {name} needs both ends of its range", "range_low and range_high")
    try:
        span = Span(
            stated.range_low,
            stated.range_high,
            stated.signal_low,
            stated.signal_high,
            stated.under,
            stated.over,
            stated.fault_low,
            stated.fault_high,
        )
    except ValueError as error:
        raise SiteProfileError(key, str(error)) from None
    step = point.scale if point.resolution is None else point.resolution
    return replace(
        point,
        measurand=stated.measurand,
        unit=stated.unit,
        span=span,
        basis=stated.basis,
        resolution=abs(step * span.gain),
    )


# ---- HJ 212 ----------------------------------------------------------------------------------------------------------


def _factors(config: InstrumentConfig, points: tuple[Point, ...]) -> Iterator[Point]:
    wanted = config.measurands
    known = {point.item for point in points}
    for point in points:
        stated = config.factors.get(point.item, FactorConfig())
        told = replace(
            point,
            measurand=stated.measurand or point.measurand,
            unit=stated.unit or point.unit,
            basis=stated.basis or point.basis,
        )
        if told.unit == BY_SITE or told.basis == BY_SITE:
            if point.item in config.factors or (wanted is not None and told.measurand in wanted):
                lacking = "unit" if told.unit == BY_SITE else "basis"
                hint = f'[bus.instrument.factor.{point.item}] with unit = "…" and basis = "wet" or "dry"'
                raise SiteProfileError(
                    ("factor", point.item) if point.item in config.factors else ("measurands",),
                    f"{told.measurand} ({point.item}) has no {lacking}",
                    hint,
                )
            continue  # not stated and not wanted by name: nobody knows in what it is told, so it is not read
        if point.item in config.factors:
            _checked(("factor", point.item), told.measurand, told.unit, told.basis)
        yield told
    for code, stated in config.factors.items():
        if code in known:
            continue
        if not stated.measurand or not stated.unit:
            hint = "give it a measurand and a unit"
            raise SiteProfileError(("factor", code), f"the profile has no factor {code}", hint)
        if not re.fullmatch(r"[A-Za-z0-9]{2,8}(-(Rtd|Avg|Min|Max|Cou))?", code):
            raise SiteProfileError(("factor", code), f"'{code}' is no factor", "such as a05001 or a00000-Cou")
        _checked(("factor", code), stated.measurand, stated.unit, stated.basis)
        yield Point(stated.measurand, stated.unit, item=code, basis=stated.basis, side="primary")


# ---- MQTT, OPC UA ----------------------------------------------------------------------------------------------------


def _published(config: InstrumentConfig, protocol: str) -> Profile:
    return Profile(
        config.id,
        protocol,
        config.manufacturer or "any",
        config.model or "published",
        "published",
        "the site file",
        (),
    )


def _values(config: InstrumentConfig, protocol: str) -> Iterator[Point]:
    for measurand, stated in config.values.items():
        key = ("value", measurand)
        _checked(key, measurand, stated.unit, stated.basis)
        point = _value(measurand, stated)
        if protocol == "opcua":
            try:
                point = replace(point, item=node_id(config.address.strip(), stated.path))
            except NamespaceError as error:
                raise SiteProfileError(("address",), str(error)) from None
            except ValueError as error:
                raise SiteProfileError((*key, "path"), str(error)) from None
        if stated.scale <= 0:
            raise SiteProfileError((*key, "scale"), f"scale {stated.scale}", "a scale is above zero")
        if point.counts and point.resolution is None:
            hint = 'the smallest step that the meter counts in: resolution = "0.01"'
            raise SiteProfileError(key, f"{measurand} is a counter and states no resolution", hint)
        yield point


def _value(measurand: str, stated: ValueConfig) -> Point:
    return Point(
        measurand,
        stated.unit,
        item=stated.path,
        scale=stated.scale,
        resolution=stated.resolution,
        modulus=stated.modulus,
        side=stated.side,
        basis=stated.basis,
    )


def _checked(key: tuple[str, ...], measurand: str, unit: str, basis: str) -> None:
    complaint = unit_complaint(measurand, unit)
    if complaint is not None:
        raise SiteProfileError(key, *complaint)
    gas = measurand.startswith("concentration.")
    if gas != bool(basis):
        what = f"{measurand} states no basis" if gas else f"{measurand} has no basis"
        raise SiteProfileError(
            key, what, 'basis = "wet" or "dry" is said of concentrations, and of nothing else'
        )
