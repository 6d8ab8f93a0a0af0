"""A site as its log records it: what an auditor needs to decode the raw frames again and to add up energies."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

from gateway.prepared import Prepared, PreparedBus, PreparedMeter, PreparedPush


def configuration(prepared: Prepared) -> bytes:
    """What an auditor needs to decode the raw frames again and to add up energies, as canonical JSON.

    Sorted keys, no floats. What meters of one model are asked stands once, under ``profiles``: an entry has 65 535
    bytes. A query holds what was asked and the points that its answer carries.
    """
    profiles: dict[str, dict[str, object]] = {}
    body = {
        "format": "suyuan/configuration/1",
        "site": prepared.file.site.site.name,
        "origin": prepared.file.site.site.origin,
        "aggregate_us": round(prepared.file.site.log.aggregate * 1e6),
        "instruments": {
            meter.config.id: {
                "bus": bus.config.name,
                "protocol": meter.config.protocol or bus.config.protocol,
                "address": meter.meter.address,
                "period_us": round(meter.config.period * 1e6),
                "refresh_us": round(meter.config.refresh * 1e6),
                "serial": meter.config.serial,
                "ct": meter.config.ct or "",
                "pt": meter.config.pt or "",
                "profile": _shared(profiles, meter),
                **_frozen(bus, meter),
            }
            for bus in prepared.lines
            for meter in bus.meters
        },
        "profiles": profiles,
    }
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _frozen(bus: PreparedBus | PreparedPush, meter: PreparedMeter) -> dict[str, object]:
    """Where a meter is read by broadcast freeze: who allowed it, how often it is ordered, what is asked after it."""
    plan = bus.freeze if isinstance(bus, PreparedBus) else None
    if plan is None or meter.config.id not in plan.queries:
        return {}
    queries = [_plain_fields(query) for query in plan.queries[meter.config.id]]
    return {"freeze": {**plan.plain(), "queries": queries}}


def _shared(profiles: dict[str, dict[str, object]], meter: PreparedMeter) -> str:
    """The key under which what this meter is asked stands in ``profiles``; entered if it is new."""
    asked: dict[str, object] = {
        "name": meter.profile.name,
        "protocol": meter.profile.protocol,
        "kind": meter.profile.kind,
        "maker": meter.profile.maker,
        "model": meter.profile.model,
        "source": meter.profile.source,
        "queries": [_plain_fields(query) for query in meter.queries],
    }
    number = 1
    while (
        profiles.setdefault(key := meter.profile.name + (f"/{number}" if number > 1 else ""), asked) != asked
    ):
        number += 1
    return key


def _plain_fields(value: Any) -> dict[str, object]:
    """The fields of one of the drivers' values that differ from their defaults, decimals as text."""
    return {
        field.name: _plain(part)
        for field in fields(value)
        if field.init and (part := getattr(value, field.name)) != field.default
    }


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if is_dataclass(value):
        return _plain_fields(value)
    return value if isinstance(value, bool | int | str) else str(value)
