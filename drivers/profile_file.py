"""Reading a profile file: every mistake is told with its line, what is wrong, and what to do.

Strict on purpose: a key that nobody knows, a float where a number must be exact, registers that two points share, or
numbers without a source are refused, because each of them ends as a wrong value that looks right.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from drivers import cjt188, dlt645_items, registers
from drivers.points import Point, Probe, Profile, ProfileError, Vector

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
                raise self.fail(f"unknown key {key!r}", nearest(key, known), table, index, key)

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


def nearest(key: str, known: Collection[str]) -> str:
    """A hint for a name that is not known: the nearest one, or all."""

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
