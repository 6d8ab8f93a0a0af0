"""Meter profiles: which item or register carries which measurand, as data with its source and golden frames.

A profile is a TOML file (one per model)::

    protocol = "modbus"                  # or dlt645-2007, dlt645-1997
    [model]  maker, name, kind, firmware
    [source] title, edition, url         # where the numbers come from; obligatory
    [ask]    most = 125, holes = 8       # Modbus: registers per request; unused registers read to save a request
    [identity] function, address, type   # Modbus: where the meter tells its number (drivers.nameplate)
    [[point]]                            # addresses 0-based; exact numbers are strings
    measurand = "voltage.l1"; function = 3; address = 20; type = "u16"; scale = "0.1"; unit = "V"
    [[point]]                            # DL/T 645: the DI, and the block that may be asked in its place
    measurand = "voltage.l1"; item = "02010100"; block = "0201FF00"; unit = "V"
    [[vector]]
    request = "01 03 …"; answer = "01 03 …"; expect = { "voltage.l1" = "230.1" }

``plan`` merges neighbours into few queries and never spreads one value over two; ``decode`` turns a matched answer
into indications; ``encode_answer`` is the meter's side (``drivers.metered``). Only package data is read here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import cast

from drivers import (
    cjt188,
    dlms_points,
    dlt645_items,
    dlt698_points,
    hj212_points,
    iec62056_points,
    json_points,
    mbus_points,
    opcua_points,
    registers,
)
from drivers.codec import Answer, Indication, LocalProtocolError, Missing
from drivers.dlt698_tables import FREEZE_TIME
from drivers.metered import encode_answer, register_image
from drivers.points import Point, Probe, Profile, ProfileError, Query, Span, Vector
from drivers.profile_file import nearest, parse
from drivers.pushed import PROTOCOLS as PUSHED
from drivers.register_reader import Reader

__all__ = [
    "Point",
    "Probe",
    "Profile",
    "ProfileError",
    "Query",
    "Span",
    "Vector",
    "decode",
    "encode_answer",
    "load",
    "measurands",
    "missing",
    "names",
    "parse",
    "plan",
    "register_image",
    "register_value",
]

_POWERS = 10  # SunSpec: a scale factor is -10 to 10, 0x8000 where there is none


def load(name: str, extra_dirs: Sequence[Path] = ()) -> Profile:
    """The profile called ``name``: from ``extra_dirs`` in order, else one that is shipped."""
    for directory in extra_dirs:
        file = directory / f"{name}.toml"
        if file.is_file():
            return _read(file.read_bytes(), name, str(file))
    shipped = resources.files("drivers").joinpath("profiles", f"{name}.toml")
    if re.fullmatch(r"[\w.-]+", name) and shipped.is_file():
        return _read(shipped.read_bytes(), name, f"{name}.toml")
    known = names(extra_dirs)
    raise ProfileError(
        f"{name}.toml", None, "there is no such profile", nearest(name, known) if known else ""
    )


def _read(data: bytes, name: str, file: str) -> Profile:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProfileError(file, line, "not UTF-8", "save the file as UTF-8") from None
    return parse(text, name, file)


def names(extra_dirs: Sequence[Path] = ()) -> tuple[str, ...]:
    """The names of all profiles: shipped, and in ``extra_dirs``."""
    found = {file.name for file in resources.files("drivers").joinpath("profiles").iterdir()}
    for directory in extra_dirs:
        if directory.is_dir():
            found |= {file.name for file in directory.iterdir()}
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


# ---- planning -------------------------------------------------------------------------------------------------------


def plan(profile: Profile, measurands: Collection[str] | None = None) -> tuple[Query, ...]:
    """The fewest queries that carry the wanted measurands (all, if None), in the order of the profile.

    Raises ProfileError for a measurand that the profile does not have.
    """
    if measurands is not None:
        have = {point.measurand for point in profile.points}
        for measurand in measurands:
            if measurand not in have:
                hint = nearest(measurand, have)
                raise ProfileError(f"{profile.name}.toml", None, f"{profile.name} has no {measurand!r}", hint)
    wanted = [p for p in profile.points if measurands is None or p.measurand in measurands]
    if profile.protocol == "modbus":
        return _register_plan(profile, wanted)
    if profile.protocol == "cjt188":
        return (Query("cjt188", tuple(wanted), item="901F", kind=profile.kind),) if wanted else ()
    if (
        profile.protocol in ("mbus", "iec62056-21") or profile.protocol in PUSHED
    ):  # one telegram, or message, carries all of them
        return (Query(profile.protocol, tuple(wanted)),) if wanted else ()
    if profile.protocol == "dlms":  # one session carries all of them, and what scales them
        return (Query("dlms", tuple(wanted), item=dlms_points.asked(wanted)),) if wanted else ()
    if profile.protocol == "dlt698":
        return _attribute_plan(profile, wanted)
    queries: list[Query] = []
    blocks: dict[str, list[Point]] = {}
    for point in wanted:
        if point.block:
            blocks.setdefault(point.block, []).append(point)
    done: set[str] = set()
    for point in wanted:
        together = blocks.get(point.block, [point])
        if len(together) == 1:
            queries.append(Query(profile.protocol, (point,), item=point.item))
        elif point.block not in done:
            done.add(point.block)
            queries.append(Query(profile.protocol, tuple(together), item=point.block))
    return tuple(queries)


def _attribute_plan(profile: Profile, wanted: Sequence[Point]) -> tuple[Query, ...]:
    """Lists of OADs, ``profile.most`` in each; an attribute of which two elements are wanted is asked whole."""
    records: dict[str, list[Point]] = {}
    for point in wanted:
        if "/" in point.item:
            records.setdefault(point.item.partition("/")[0], []).append(point)
    wanted = [point for point in wanted if "/" not in point.item]
    blocks = [point.block for point in wanted if point.block]
    by_oad: dict[str, list[Point]] = {}
    for point in wanted:
        together = point.block and blocks.count(point.block) > 1
        by_oad.setdefault(point.block if together else point.item, []).append(point)
    oads = list(by_oad)
    return tuple(
        Query(profile.protocol, tuple(p for oad in some for p in by_oad[oad]), item="+".join(some))
        for some in (oads[n : n + profile.most] for n in range(0, len(oads), profile.most))
    ) + tuple(
        Query(profile.protocol, tuple(points), item=f"{record}/{'+'.join(_columns(points))}")
        for record, points in records.items()
    )


def _columns(points: Sequence[Point]) -> tuple[str, ...]:
    """The columns of a freeze's record, its time first: attributes whole, as meters keep them."""
    return tuple(dict.fromkeys((FREEZE_TIME, *(point.item[-8:-2] + "00" for point in points))))


def _register_plan(profile: Profile, wanted: Sequence[Point]) -> tuple[Query, ...]:
    groups: list[list[Point]] = []
    for point in sorted(wanted, key=lambda p: (p.function, p.start)):
        last = groups[-1] if groups else []
        end = max((p.end for p in last), default=0)
        near = (
            last
            and last[-1].function == point.function
            and point.start - end <= profile.holes
            and max(end, point.end) - last[0].start <= profile.most
        )
        if near:
            last.append(point)
        else:
            groups.append([point])
    order = {point.measurand: n for n, point in enumerate(wanted)}
    groups.sort(key=lambda group: min(order[point.measurand] for point in group))
    return tuple(
        Query(
            "modbus",
            tuple(group),
            "",
            group[0].function,
            group[0].start,
            max(point.end for point in group) - group[0].start,
        )
        for group in groups
    )


# ---- an answer to indications ---------------------------------------------------------------------------------------


def missing(query: Query, reason: Missing, detail: str = "") -> tuple[Indication, ...]:
    """Every point of the query, missing for one reason."""
    return tuple(Indication(p.where, p.measurand, None, p.unit, reason, detail) for p in query.points)


def decode(profile: Profile, query: Query, answer: Answer) -> tuple[Indication, ...]:
    """The indications of a matched answer, one per point of the query; an error answer makes all of them missing."""
    if query.protocol != profile.protocol:
        raise LocalProtocolError(f"{profile.name} speaks {profile.protocol}, the query {query.protocol}")
    if answer.error:
        return missing(query, Missing.ERROR_ANSWER, answer.error)
    if answer.more:
        raise LocalProtocolError(
            f"{query.where}: the answer goes on; ask for the rest and join before decoding"
        )
    if profile.protocol == "modbus":
        return _reader(query).read(answer.payload)
    if profile.protocol == "cjt188":
        told = cjt188.decode(cjt188.meter_type_of(profile.kind), query.item, answer.payload)
        return tuple(_limited(p, _told_value(p, {i.item: i for i in told}, query)) for p in query.points)
    if profile.protocol == "hj212":
        return tuple(map(_limited, query.points, hj212_points.decode(query.points, answer.payload)))
    if profile.protocol == "mbus":
        return tuple(map(_limited, query.points, mbus_points.decode(query.points, answer.payload)))
    if profile.protocol == "dlt698":
        return tuple(map(_limited, query.points, dlt698_points.decode(query.points, answer.payload)))
    if profile.protocol == "dlms":
        return tuple(map(_limited, query.points, dlms_points.decode(query.points, answer.payload)))
    if profile.protocol == "iec62056-21":
        return tuple(map(_limited, query.points, iec62056_points.decode(query.points, answer.payload)))
    if profile.protocol == "mqtt":
        return tuple(map(_limited, query.points, json_points.decode(query.points, answer.payload)))
    if profile.protocol == "opcua":
        return tuple(map(_limited, query.points, opcua_points.decode(query.points, answer.payload)))
    found = {i.item: i for i in dlt645_items.decode(query.item, answer.payload)}
    return tuple(_limited(p, _item_value(p, found, query)) for p in query.points)


def _reader(query: Query) -> Reader:
    """The query's reader, made with its first answer."""
    if query.reader is None:
        object.__setattr__(query, "reader", Reader(query.points, query.start, _limited_value))
    return cast(Reader, query.reader)


def _limited_value(point: Point, start: int, payload: bytes) -> Indication:
    return _limited(point, register_value(point, start, payload))


def register_value(point: Point, start: int, payload: bytes) -> Indication:
    """One point out of the bytes of the registers from ``start`` on."""

    def none(reason: Missing, detail: str) -> Indication:
        return Indication(point.where, point.measurand, None, point.unit, reason, detail)

    raw = _registers(payload, start, point.address, point.length)
    power = None if point.scale_at is None else _registers(payload, start, point.scale_at, 1)
    if raw is None or (point.scale_at is not None and power is None):
        return none(Missing.WRONG_LENGTH, f"{len(payload)} bytes from {start} do not hold it")
    big = registers.arrange(raw, point.word_order)
    if int.from_bytes(big, "big") in point.sentinels:
        return none(Missing.NOT_SUPPORTED, big.hex().upper())
    value = registers.decode(raw, point.type, point.word_order)
    if isinstance(value, Missing):
        return none(value, big.hex().upper())
    scale = point.scale
    if power is not None:
        exponent = int.from_bytes(power, "big", signed=True)
        if not -_POWERS <= exponent <= _POWERS:
            return none(
                Missing.NOT_SUPPORTED, f"register {point.scale_at} holds no power of ten: {power.hex()}"
            )
        scale = scale.scaleb(exponent)
    value = registers.scaled(value, scale)
    if point.span is not None:
        return _spanned(point, point.span, value)
    return Indication(point.where, point.measurand, value, point.unit)


def _registers(payload: bytes, start: int, address: int, count: int) -> bytes | None:
    at = 2 * (address - start)
    raw = payload[at : at + 2 * count] if at >= 0 else b""
    return raw if len(raw) == 2 * count else None


def _spanned(point: Point, span: Span, signal: Decimal) -> Indication:
    """What a transmitter's signal stands for, unless the signal says that it stands for nothing (NAMUR NE 43)."""
    reason = None
    if not span.fault_low < signal < span.fault_high:
        reason = Missing.FAULT
    elif not span.under <= signal <= span.over:
        reason = Missing.OUT_OF_RANGE
    if reason is not None:
        detail = f"the signal is {signal:f}"
        return Indication(point.where, point.measurand, None, point.unit, reason, detail)
    value = registers.scaled(span.value(signal), Decimal(1))
    return Indication(point.where, point.measurand, value, point.unit)


def _item_value(point: Point, found: Mapping[str, Indication], query: Query) -> Indication:
    indication = found.get(point.item)
    if indication is not None:
        return Indication(
            point.item, point.measurand, indication.value, point.unit, indication.missing, indication.detail
        )
    whole = found.get(query.item)  # the block as a whole could not be split
    reason = whole.missing if whole is not None and whole.missing else Missing.NOT_SUPPORTED
    detail = whole.detail if whole is not None else f"the block {query.item} ends before it"
    return Indication(point.item, point.measurand, None, point.unit, reason, detail)


def _told_value(point: Point, found: Mapping[str, Indication], query: Query) -> Indication:
    """As ``_item_value``, where the meter tells its unit: another one than the profile's is no value."""
    indication = _item_value(point, found, query)
    told = found[point.item].unit if point.item in found else ""
    if indication.value is None or told == point.unit:
        return indication
    detail = f"the meter tells {told}, the profile {point.unit}"
    return Indication(point.item, point.measurand, None, point.unit, Missing.UNKNOWN_FORMAT, detail)


def _limited(point: Point, indication: Indication) -> Indication:
    value = indication.value
    if value is None:
        return indication
    if (point.low is None or value >= point.low) and (point.high is None or value <= point.high):
        return indication
    detail = f"{value:f} is outside {point.low} to {point.high}"
    return Indication(point.where, point.measurand, None, point.unit, Missing.OUT_OF_RANGE, detail)


def measurands(points: Iterable[Point]) -> tuple[str, ...]:
    """The names of these points, in order."""
    return tuple(point.measurand for point in points)
