"""Meter profiles: which item or register carries which measurand, as data with its source and golden frames.

A profile is a TOML file (one per model)::

    protocol = "modbus"                  # or dlt645-2007, dlt645-1997
    [model]  maker, name, kind, firmware
    [source] title, edition, url         # where the numbers come from; obligatory
    [ask]    most = 125, holes = 8       # Modbus: registers per request; unused registers read to save a request
    [[point]]                            # addresses 0-based; exact numbers are strings
    measurand = "voltage.l1"; function = 3; address = 20; type = "u16"; scale = "0.1"; unit = "V"
    [[point]]                            # DL/T 645: the DI, and the block that may be asked in its place
    measurand = "voltage.l1"; item = "02010100"; block = "0201FF00"; unit = "V"
    [[vector]]
    request = "01 03 …"; answer = "01 03 …"; expect = { "voltage.l1" = "230.1" }

``plan`` merges neighbours into few queries and never spreads one value over two; ``decode`` turns a matched answer
into indications; ``encode_answer`` is the meter's side. Loading is pure; only package data is read here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any

from drivers import cjt188, dlt645, dlt645_items, modbus, registers
from drivers.codec import Answer, Indication, LocalProtocolError, Missing

PROTOCOLS = ("modbus", "dlt645-2007", "dlt645-1997", "cjt188")
UNITS = {
    "energy.active": ("kWh", "Wh", "MWh"),
    "energy.reactive": ("kvar.h", "var.h", "Mvar.h"),
    "energy.apparent": ("kV.A.h", "V.A.h"),
    "power.active": ("kW", "W", "MW"),
    "power.reactive": ("kvar", "var", "Mvar"),
    "power.apparent": ("kV.A", "V.A", "MV.A"),
    "demand.active": ("kW", "W"),
    "voltage": ("V", "kV"),
    "current": ("A", "kA", "mA"),
    "power_factor": ("1",),
    "frequency": ("Hz",),
    "temperature": ("Cel",),
    "volume": ("m3", "L"),
}
# CJ/T 188: the items of one answer to 901F, by kind of meter, with the decimals of their bytes.
_VOLUME_ITEMS = ("current_cumulative", "settlement_or_reverse_cumulative")
_HEAT_ITEMS = (
    "settlement_heat",
    "current_heat",
    "power",
    "flow",
    "current_cumulative",
    "supply_temperature",
    "return_temperature",
    "working_time",
)


class ProfileError(ValueError):
    """A profile that cannot be used as it stands: which file and line, what is wrong, what to do."""

    def __init__(self, file: str, line: int | None, what: str, hint: str = "") -> None:
        self.file, self.line, self.what, self.hint = file, line, what, hint
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {what}" + (f" ({hint})" if hint else ""))


@dataclass(frozen=True, slots=True)
class Point:
    """One measurand of a meter: where it is, how its bytes are read, what it may be.

    DL/T 645 points have ``item`` (and ``block``); Modbus points ``function``, ``address`` (0-based) and ``length`` in
    registers. value = raw * ``scale`` in ``unit``. ``modulus`` is where a counter begins again, in ``unit``.
    ``sentinels`` are raw unsigned register values that mean "not available".
    """

    measurand: str
    unit: str
    item: str = ""
    block: str = ""
    function: int = 0
    address: int = 0
    length: int = 0
    type: str = ""
    word_order: str = "ABCD"
    scale: Decimal = Decimal(1)
    resolution: Decimal | None = None
    side: str = "secondary"
    modulus: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    sentinels: tuple[int, ...] = ()
    maker_name: str = ""

    @property
    def end(self) -> int:
        """The first register after this point."""
        return self.address + self.length

    @property
    def where(self) -> str:
        """The protocol's own identifier: the DI, or ``4:12``."""
        return self.item or f"{self.function}:{self.address}"


@dataclass(frozen=True, slots=True)
class Vector:
    """A golden exchange: what is sent, what comes back, what it must give."""

    request: bytes
    answer: bytes
    expect: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Probe:
    """How to see that this model answers: one point and the range in which it is plausible."""

    point: str
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Profile:
    """One meter model."""

    name: str
    protocol: str
    maker: str
    model: str
    kind: str
    source: str
    points: tuple[Point, ...]
    vectors: tuple[Vector, ...] = ()
    probe: Probe | None = None
    firmware: str = ""
    most: int = 125
    holes: int = 8

    def point(self, measurand: str) -> Point:
        """The point that carries ``measurand``; KeyError names what there is."""
        for point in self.points:
            if point.measurand == measurand:
                return point
        have = ", ".join(point.measurand for point in self.points)
        raise KeyError(f"{self.name} has no {measurand!r}; it has {have}")


@dataclass(frozen=True, slots=True)
class Query:
    """One exchange's worth: what to ask (a DI, or ``count`` registers from ``start``) and the points it carries."""

    protocol: str
    points: tuple[Point, ...]
    item: str = ""
    function: int = 0
    start: int = 0
    count: int = 0
    kind: str = ""  # CJ/T 188: the meter's kind decides its type byte

    @property
    def where(self) -> str:
        """What is asked, in the protocol's own words."""
        return self.item or f"{self.function}:{self.start}+{self.count}"


# ---- loading --------------------------------------------------------------------------------------------------------

_TOP = {"protocol", "probe", "model", "source", "ask", "side", "point", "vector"}
_MODEL = {"maker", "name", "kind", "firmware"}
_SOURCE = {"title", "edition", "url", "page", "note"}
_POINT = {
    "measurand",
    "unit",
    "item",
    "block",
    "function",
    "address",
    "type",
    "length",
    "word_order",
    "scale",
    "resolution",
    "side",
    "modulus",
    "low",
    "high",
    "sentinels",
    "maker_name",
}
_MEASURAND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


class _Reader:
    """Checks one parsed file and finds the lines that errors speak of."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = text.splitlines()

    def fail(self, what: str, hint: str = "", table: str = "", index: int = 0, key: str = "") -> ProfileError:
        return ProfileError(self.file, self.line(table, index, key), what, hint)

    def line(self, table: str, index: int = 0, key: str = "") -> int | None:
        """The line of ``key`` in the ``index``-th ``[table]`` or ``[[table]]`` ('' = top of the file)."""
        header = re.compile(r"\s*\[\[?\s*([\w.]+)\s*\]\]?")
        assign = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
        current, seen, start = "", -1, 1
        for number, line in enumerate(self.lines, 1):
            found = header.match(line)
            if found:
                current = found.group(1)
                if current == table:
                    seen += 1
                    start = number if seen == index else start
                continue
            here = current == table and (not table or seen == index)
            if here and key and assign.match(line):
                return number
        return start if table else None

    def keys(self, found: Mapping[str, Any], known: set[str], table: str, index: int = 0) -> None:
        for key in found:
            if key not in known:
                raise self.fail(f"unknown key {key!r}", _nearest(key, known), table, index, key)

    def text(
        self, found: Mapping[str, Any], key: str, table: str, index: int = 0, default: str | None = None
    ) -> str:
        value = found.get(key, default)
        if value is None:
            raise self.fail(f"{key!r} is missing", f'add {key} = "…"', table, index)
        if not isinstance(value, str):
            raise self.fail(f"{key!r} must be text, not {value!r}", "put it in quotes", table, index, key)
        return value

    def integer(
        self, found: Mapping[str, Any], key: str, table: str, index: int, default: int | None = None
    ) -> int:
        value = found.get(key, default)
        if value is None:
            raise self.fail(f"{key!r} is missing", f"add {key} = …", table, index)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fail(f"{key!r} must be a whole number, not {value!r}", "", table, index, key)
        return value

    def decimal(self, found: Mapping[str, Any], key: str, table: str, index: int) -> Decimal | None:
        value = found.get(key)
        if value is None:
            return None
        if isinstance(value, float):
            raise self.fail(f"{key!r} must be exact", f'write it in quotes: "{value}"', table, index, key)
        try:
            number = Decimal(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():
            raise self.fail(
                f"{key!r} must be a decimal number in quotes, not {value!r}", "", table, index, key
            )
        return number

    def frame(self, found: Mapping[str, Any], key: str, index: int) -> bytes:
        text = self.text(found, key, "vector", index)
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise self.fail(f"{key!r} is no hex", "pairs of hex digits", "vector", index, key) from None


def _nearest(key: str, known: Collection[str]) -> str:
    def distance(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            row, before = [i], row
            for j, y in enumerate(b, 1):
                row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
        return row[-1]

    best = min(sorted(known), key=lambda name: distance(key, name))
    return f"did you mean {best!r}?" if distance(key, best) <= 3 else f"known: {', '.join(sorted(known))}"


def parse(text: str, name: str, file: str = "") -> Profile:
    """A profile from the text of its file; ProfileError says where and what."""
    file = file or f"{name}.toml"
    reader = _Reader(text, file)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        raise ProfileError(file, int(at.group(1)) if at else None, f"not TOML: {error}") from None
    reader.keys(found, _TOP, "")
    protocol = reader.text(found, "protocol", "")
    if protocol not in PROTOCOLS:
        raise reader.fail(
            f"protocol {protocol!r} is not known", f"one of {', '.join(PROTOCOLS)}", "", 0, "protocol"
        )
    tables = {key: found.get(key, {}) for key in ("model", "source", "ask")}
    for key, table in tables.items():
        if not isinstance(table, dict):
            raise reader.fail(f"{key!r} must be a table", f"write [{key}]", "", 0, key)
    if not tables["source"]:
        raise reader.fail("[source] is missing", "say in which document the numbers below are found")
    reader.keys(tables["model"], _MODEL, "model")
    reader.keys(tables["source"], _SOURCE, "source")
    reader.keys(tables["ask"], {"most", "holes"}, "ask")
    source = "; ".join(
        reader.text(tables["source"], key, "source", 0, "")
        for key in ("title", "edition", "page", "url", "note")
        if key == "title" or key in tables["source"]
    )
    if not source.strip("; "):
        raise reader.fail(
            "the source has no title", "say in which document the numbers are found", "source", 0
        )
    most = reader.integer(tables["ask"], "most", "ask", 0, 125)
    if not 1 <= most <= 125:
        raise reader.fail(f"most = {most}", "a Modbus request reads 1 to 125 registers", "ask", 0, "most")
    side = reader.text(found, "side", "", 0, "secondary")
    kind = reader.text(tables["model"], "kind", "model")
    if protocol == "cjt188":
        try:
            cjt188.meter_type_of(kind)
        except ValueError as error:
            raise reader.fail(str(error), "", "model", 0, "kind") from None
    raw_points = found.get("point", [])
    if not isinstance(raw_points, list) or not raw_points:
        raise reader.fail("the profile has no points", "add a [[point]]")
    points = tuple(_point(reader, protocol, kind, side, raw, n) for n, raw in enumerate(raw_points))
    _check_points(reader, points)
    vectors = tuple(_vector(reader, points, raw, n) for n, raw in enumerate(found.get("vector", [])))
    return Profile(
        name,
        protocol,
        reader.text(tables["model"], "maker", "model"),
        reader.text(tables["model"], "name", "model"),
        kind,
        source,
        points,
        vectors,
        _probe(reader, points, found.get("probe")),
        reader.text(tables["model"], "firmware", "model", 0, ""),
        most,
        reader.integer(tables["ask"], "holes", "ask", 0, 8),
    )


def _point(reader: _Reader, protocol: str, kind: str, side: str, raw: object, n: int) -> Point:
    if not isinstance(raw, dict):
        raise reader.fail("a point must be a table", "write [[point]]")
    reader.keys(raw, _POINT, "point", n)

    def fail(what: str, hint: str, key: str) -> ProfileError:
        return reader.fail(what, hint, "point", n, key)

    measurand = reader.text(raw, "measurand", "point", n)
    if not _MEASURAND.fullmatch(measurand):
        raise fail(
            f"{measurand!r} is no measurand's name", "like voltage.l1 or energy.active.import", "measurand"
        )
    unit = reader.text(raw, "unit", "point", n)
    for stem, units in UNITS.items():
        if (measurand == stem or measurand.startswith(stem + ".")) and unit not in units:
            raise fail(f"{measurand} in {unit!r}", f"UCUM units for it: {', '.join(units)}", "unit")
    side = reader.text(raw, "side", "point", n, side)
    if side not in ("primary", "secondary"):
        raise fail(f"side {side!r}", "primary or secondary: the maker's document decides", "side")
    common: dict[str, Any] = {
        "measurand": measurand,
        "unit": unit,
        "side": side,
        "maker_name": reader.text(raw, "maker_name", "point", n, ""),
        **{key: reader.decimal(raw, key, "point", n) for key in ("resolution", "modulus", "low", "high")},
    }
    scale = reader.decimal(raw, "scale", "point", n)
    if scale is not None and scale <= 0:
        raise fail(f"scale {scale}", "a scale is above zero", "scale")
    if protocol == "modbus":
        return _register_point(reader, raw, n, common, Decimal(1) if scale is None else scale)
    for key in ("function", "address", "type", "length", "word_order", "scale", "sentinels"):
        if key in raw:
            raise fail(f"{key!r} has no meaning in {protocol}", "the item decides the format", key)
    if protocol == "cjt188":
        return _meter_point(reader, raw, n, kind, common)
    return _item_point(reader, raw, n, protocol, common)


def _register_point(
    reader: _Reader, raw: Mapping[str, Any], n: int, common: dict[str, Any], scale: Decimal
) -> Point:
    def fail(what: str, hint: str, key: str) -> ProfileError:
        return reader.fail(what, hint, "point", n, key)

    for key in ("item", "block"):
        if key in raw:
            raise fail(f"{key!r} has no meaning in Modbus", "give function and address", key)
    function = reader.integer(raw, "function", "point", n)
    if function not in (3, 4):
        raise fail(f"function {function}", "registers are read by 3 (holding) or 4 (input)", "function")
    kind = reader.text(raw, "type", "point", n)
    if kind not in registers.TYPES:
        raise fail(f"type {kind!r}", f"one of {', '.join(registers.TYPES)}", "type")
    length = reader.integer(raw, "length", "point", n, registers.TYPES[kind] or None)
    if (registers.TYPES[kind] and length != registers.TYPES[kind]) or not 1 <= length <= 4:
        raise fail(f"length {length} for {kind}", "registers that the value has", "length")
    address = reader.integer(raw, "address", "point", n)
    if not 0 <= address <= 0x10000 - length:
        raise fail(
            f"address {address}",
            "0-based, 0 to 65535; manuals that begin with 40001 or 30001 count from 1",
            "address",
        )
    order = reader.text(raw, "word_order", "point", n, "ABCD")
    if order not in registers.WORD_ORDERS:
        raise fail(f"word order {order!r}", f"one of {', '.join(registers.WORD_ORDERS)}", "word_order")
    sentinels = raw.get("sentinels", [])
    if not isinstance(sentinels, list) or not all(
        isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 1 << 16 * length for s in sentinels
    ):
        raise fail(f"sentinels {sentinels!r}", "raw unsigned values: sentinels = [0xFFFFFFFF]", "sentinels")
    return Point(
        **common,
        function=function,
        address=address,
        length=length,
        type=kind,
        word_order=order,
        scale=scale,
        sentinels=tuple(sentinels),
    )


def _item_point(
    reader: _Reader, raw: Mapping[str, Any], n: int, protocol: str, common: dict[str, Any]
) -> Point:
    def fail(what: str, hint: str, key: str) -> ProfileError:
        return reader.fail(what, hint, "point", n, key)

    size = 8 if protocol == "dlt645-2007" else 4
    item = reader.text(raw, "item", "point", n).upper()
    block = reader.text(raw, "block", "point", n, "").upper()
    for key, di in (("item", item), ("block", block)):
        if di and not re.fullmatch(f"[0-9A-F]{{{size}}}", di):
            raise fail(f"{key} {di!r}", f"a DI of {protocol} has {size} hex digits", key)
    described = dlt645_items.describe(item)
    if described is None or described.fields[0].kind is not dlt645_items.Kind.NUMBER:
        raise fail(f"item {item} is not in the table of numbers", "see the standard's annex A", "item")
    if described.fields[0].unit != common["unit"]:
        raise fail(f"{item} is in {described.fields[0].unit}", "the standard fixes the unit", "unit")
    if block:
        known = dlt645_items.block(block)
        if known is None or item not in known[0]:
            raise fail(f"block {block} does not hold {item}", "the DI with FF where items differ", "block")
    field = described.fields[0]
    step = Decimal(1).scaleb(-field.decimals)
    common["resolution"] = common["resolution"] or step
    if common["modulus"] is None and common["measurand"].startswith("energy.") and not field.signed:
        common["modulus"] = Decimal(10) ** (2 * field.size - field.decimals)
    return Point(**common, item=item, block=block, length=field.size)


def _meter_point(reader: _Reader, raw: Mapping[str, Any], n: int, kind: str, common: dict[str, Any]) -> Point:
    """A CJ/T 188 point: all stand in the one answer to 901F, and bring their unit with them."""
    if "block" in raw:
        raise reader.fail(
            "'block' has no meaning in cjt188", "all items stand in one answer", "point", n, "block"
        )
    item = reader.text(raw, "item", "point", n)
    known = _HEAT_ITEMS if 0x20 <= cjt188.meter_type_of(kind) <= 0x29 else _VOLUME_ITEMS
    if item not in known:
        raise reader.fail(
            f"item {item!r} of a {kind} meter", f"one of {', '.join(known)}", "point", n, "item"
        )
    if common["modulus"] is None and item.endswith(("cumulative", "_heat")):
        common["modulus"] = Decimal(1000000)
    return Point(**common, item=item)


def _check_points(reader: _Reader, points: Sequence[Point]) -> None:
    seen: dict[str, int] = {}
    for n, point in enumerate(points):
        if point.measurand in seen:
            raise reader.fail(
                f"{point.measurand} is there twice", "one point for one measurand", "point", n, "measurand"
            )
        seen[point.measurand] = n
        if point.low is not None and point.high is not None and point.low >= point.high:
            raise reader.fail(f"low {point.low} is not below high {point.high}", "", "point", n, "low")
        for m, other in enumerate(points[:n]):
            same_item = bool(point.item) and point.item == other.item
            overlap = not point.item and point.function == other.function
            overlap = overlap and point.address < other.end and other.address < point.end
            if same_item or overlap:
                key = "item" if same_item else "address"
                other_line = reader.line("point", m, key)
                raise reader.fail(
                    f"{point.measurand} overlaps {other.measurand} (line {other_line})",
                    "check address, type and length against the maker's document",
                    "point",
                    n,
                    key,
                )


def _vector(reader: _Reader, points: Sequence[Point], raw: object, n: int) -> Vector:
    if not isinstance(raw, dict):
        raise reader.fail("a vector must be a table", "write [[vector]]")
    reader.keys(raw, {"request", "answer", "expect", "note"}, "vector", n)
    expect = raw.get("expect")
    if not isinstance(expect, dict) or not expect:
        raise reader.fail("'expect' is missing", 'expect = { "voltage.l1" = "230.1" }', "vector", n)
    known = {point.measurand for point in points}
    wanted: dict[str, str | None] = {}
    for measurand, value in expect.items():
        if measurand not in known or not isinstance(value, str):
            raise reader.fail(
                f"expect {measurand} = {value!r}",
                "a measurand of this profile, its value as text",
                "vector",
                n,
                "expect",
            )
        wanted[measurand] = None if value == "missing" else value
    return Vector(reader.frame(raw, "request", n), reader.frame(raw, "answer", n), wanted)


def _probe(reader: _Reader, points: Sequence[Point], raw: object) -> Probe | None:
    if raw is None:
        return None
    hint = 'probe = { point = "voltage.l1", plausible = ["80", "300"] }'
    if not isinstance(raw, dict) or set(raw) != {"point", "plausible"}:
        raise reader.fail("probe needs 'point' and 'plausible'", hint, "", 0, "probe")
    plausible = raw["plausible"]
    if raw["point"] not in {point.measurand for point in points}:
        raise reader.fail(f"probe names {raw['point']!r}, which is no point", hint, "", 0, "probe")
    if not isinstance(plausible, list) or len(plausible) != 2:
        raise reader.fail("plausible must be two numbers in quotes", hint, "", 0, "probe")
    bounds = [reader.decimal({"plausible": value}, "plausible", "probe", 0) for value in plausible]
    assert bounds[0] is not None
    assert bounds[1] is not None
    return Probe(raw["point"], bounds[0], bounds[1])


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
        f"{name}.toml", None, "there is no such profile", _nearest(name, known) if known else ""
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
                hint = _nearest(measurand, have)
                raise ProfileError(f"{profile.name}.toml", None, f"{profile.name} has no {measurand!r}", hint)
    wanted = [p for p in profile.points if measurands is None or p.measurand in measurands]
    if profile.protocol == "modbus":
        return _register_plan(profile, wanted)
    if profile.protocol == "cjt188":
        return (Query("cjt188", tuple(wanted), item="901F", kind=profile.kind),) if wanted else ()
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


def _register_plan(profile: Profile, wanted: Sequence[Point]) -> tuple[Query, ...]:
    groups: list[list[Point]] = []
    for point in sorted(wanted, key=lambda p: (p.function, p.address)):
        last = groups[-1] if groups else []
        near = (
            last
            and last[-1].function == point.function
            and point.address - last[-1].end <= profile.holes
            and point.end - last[0].address <= profile.most
        )
        if near:
            last.append(point)
        else:
            groups.append([point])
    order = {point.measurand: n for n, point in enumerate(wanted)}
    groups.sort(key=lambda group: min(order[point.measurand] for point in group))
    return tuple(
        Query(
            "modbus", tuple(group), "", group[0].function, group[0].address, group[-1].end - group[0].address
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
        return tuple(_limited(p, register_value(p, query.start, answer.payload)) for p in query.points)
    if profile.protocol == "cjt188":
        told = cjt188.decode(cjt188.meter_type_of(profile.kind), query.item, answer.payload)
        return tuple(_limited(p, _told_value(p, {i.item: i for i in told}, query)) for p in query.points)
    found = {i.item: i for i in dlt645_items.decode(query.item, answer.payload)}
    return tuple(_limited(p, _item_value(p, found, query)) for p in query.points)


def register_value(point: Point, start: int, payload: bytes) -> Indication:
    """One point out of the bytes of the registers from ``start`` on."""
    at = 2 * (point.address - start)
    raw = payload[at : at + 2 * point.length] if at >= 0 else b""
    if len(raw) != 2 * point.length:
        detail = f"{len(payload)} bytes from {start} do not hold it"
        return Indication(point.where, point.measurand, None, point.unit, Missing.WRONG_LENGTH, detail)
    big = registers.arrange(raw, point.word_order)
    if int.from_bytes(big, "big") in point.sentinels:
        reason = Missing.NOT_SUPPORTED
        return Indication(point.where, point.measurand, None, point.unit, reason, big.hex().upper())
    value = registers.decode(raw, point.type, point.word_order)
    if isinstance(value, Missing):
        return Indication(point.where, point.measurand, None, point.unit, value, big.hex().upper())
    return Indication(point.where, point.measurand, registers.scaled(value, point.scale), point.unit)


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


# ---- the meter's side -----------------------------------------------------------------------------------------------


def encode_answer(
    profile: Profile,
    query_or_request: Query | dlt645.Request | modbus.Request | cjt188.Request,
    values: Mapping[str, Decimal],
    address: str = "",
) -> bytes:
    """The frame with which a meter of this model answers: the inverse of ``decode`` (no preamble).

    A request decides unit, framing and transaction; a query is answered by ``address`` (RTU; 1 or 000000000000).
    What the meter has no value for: FF in DL/T 645; a sentinel or NaN in Modbus, else LocalProtocolError. What the
    model does not have at all is refused as a meter would refuse it (error word 02, exception 2). ``address`` also
    replaces a wildcard of a DL/T 645 request.
    """
    request = query_or_request
    if isinstance(request, Query):
        if profile.protocol == "modbus":
            request = modbus.Request(address or "1", request.function, request.start, request.count)
        elif profile.protocol == "cjt188":
            request = cjt188.Request(address or "0" * 14, cjt188.meter_type_of(profile.kind))
        else:
            function = dlt645.READ if len(request.item) == 8 else dlt645.READ_1997
            request = dlt645.Request(address or "0" * 12, function, request.item)
    if isinstance(request, modbus.Request):
        image = register_image(profile, request.function, request.start, request.count, values)
        return modbus.refusal(request, 2) if image is None else modbus.answer(request, image)
    if isinstance(request, cjt188.Request):
        told = {p.item: values[p.measurand] for p in profile.points if p.measurand in values}
        meter_type = cjt188.meter_type_of(profile.kind)
        if request.item != "901F" or 0x20 <= meter_type <= 0x29:
            raise LocalProtocolError(f"no model of a {profile.kind} meter's answer to {request.item}")
        payload = cjt188.encode_payload(told, profile.points[0].unit)
        return cjt188.answer(request, payload, address_text=address, meter_type=meter_type)
    by_item = {p.item: values[p.measurand] for p in profile.points if p.measurand in values}
    known = {p.item for p in profile.points}
    block = dlt645_items.block(request.item)
    asked = set(block[0]) if block else {request.item}
    data = dlt645_items.encode(request.item, by_item) if asked & known else None
    if data is None:
        return dlt645.refusal(request, 0x02, address_text=address)
    return dlt645.answer(request, data, address_text=address)


def register_image(
    profile: Profile, function: int, start: int, count: int, values: Mapping[str, Decimal]
) -> bytes | None:
    """The registers of a meter with these values; None if it has none of them. Unused registers are 0."""
    image = bytearray(2 * count)
    hit = False
    for point in profile.points:
        if point.function != function or point.end <= start or point.address >= start + count:
            continue
        hit = True
        raw = _register_bytes(point, values.get(point.measurand))
        for n, byte in enumerate(raw):
            at = 2 * (point.address - start) + n
            if 0 <= at < len(image):
                image[at] = byte
    return bytes(image) if hit else None


def _register_bytes(point: Point, value: Decimal | None) -> bytes:
    if value is not None:
        raw_value = registers.unscaled(value, point.scale)
        return registers.encode(raw_value, point.type, point.word_order, point.length)
    if point.sentinels:
        big = point.sentinels[0].to_bytes(2 * point.length, "big")
    elif point.type in ("f32", "f64"):
        big = bytes.fromhex("7FC00000" if point.type == "f32" else "7FF8000000000000")
    else:
        raise LocalProtocolError(f"{point.measurand} has no value, and {point.type} no way to say so")
    return registers.arrange(big, point.word_order)


def measurands(points: Iterable[Point]) -> tuple[str, ...]:
    """The names of these points, in order."""
    return tuple(point.measurand for point in points)
