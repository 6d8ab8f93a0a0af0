"""The points of a profile, read and checked: what each protocol can carry, in which units, at which places."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from drivers import (
    cjt188,
    dlms_get,
    dlms_points,
    dlt645_items,
    dlt698_tables,
    iec62056_points,
    obis,
    registers,
)
from drivers.dlms import Attribute
from drivers.points import BY_SITE, Point, ProfileError
from drivers.profile_reader import Reader

UNITS = {
    "energy.active": ("kWh", "Wh", "MWh", "GWh"),
    "energy.reactive": ("kvar.h", "var.h", "Mvar.h"),
    "energy.apparent": ("kV.A.h", "V.A.h"),
    "energy.heat": ("kWh", "Wh", "MWh", "MJ", "GJ", "kJ"),
    "power.active": ("kW", "W", "MW"),
    "power.reactive": ("kvar", "var", "Mvar"),
    "power.apparent": ("kV.A", "V.A", "MV.A"),
    "power.heat": ("kW", "W", "MW"),
    "demand.active": ("kW", "W"),
    "voltage": ("V", "kV"),
    "current": ("A", "kA", "mA"),
    "power_factor": ("1",),
    "frequency": ("Hz",),
    "temperature": ("Cel",),
    "volume": ("m3", "L", "Nm3"),
    "flow.volume": ("m3/s", "m3/h", "Nm3/h", "L/s", "L/min"),
    "flow.water": ("m3/h", "L/s", "L/min"),
    "flow.mass": ("kg/h", "t/h", "g/s", "kg/s"),
    "velocity": ("m/s",),
    "pressure": ("Pa", "hPa", "kPa", "MPa", "mbar", "bar"),
    "humidity": ("%",),
    "concentration": ("%", "[ppm]", "[ppb]", "mg/m3", "g/m3", "kg/m3"),
    "area": ("m2",),
    "input": ("mA", "V", "1"),
}
# CJ/T 188: the items of one answer to 901F, by kind of meter, with the decimals of their bytes.
_VOLUME_ITEMS = {"current_cumulative": 2, "settlement_or_reverse_cumulative": 2}
_HEAT_ITEMS = {
    "settlement_heat": 2,
    "current_heat": 2,
    "power": 2,
    "flow": 4,
    "current_cumulative": 2,
    "supply_temperature": 2,
    "return_temperature": 2,
    "working_time": 0,
}
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
    "scale_at",
    "resolution",
    "side",
    "modulus",
    "low",
    "high",
    "sentinels",
    "maker_name",
    "basis",
    "note",
    "class",
    "attribute",
}
_MEASURAND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_HJ212_ITEM = re.compile(r"[a-z0-9]{2,8}(-(Rtd|Avg|Min|Max|Cou))?", re.ASCII | re.IGNORECASE)


def unit_complaint(measurand: str, unit: str) -> tuple[str, str] | None:
    """What is wrong with a unit for a measurand, and what to do; None if nothing is."""
    if not _MEASURAND.fullmatch(measurand):
        return f"{measurand!r} is no measurand's name", "like voltage.l1 or energy.active.import"
    stems = [s for s in UNITS if measurand == s or measurand.startswith(s + ".")]
    if stems and unit not in (units := UNITS[max(stems, key=len)]):
        return f"{measurand} in {unit!r}", f"UCUM units for it: {', '.join(units)}"
    return None


def read_point(reader: Reader, protocol: str, kind: str, side: str, raw: object, n: int) -> Point:
    """The ``n``-th point of a file; ``side`` is the file's own. ProfileError says where and what."""
    if not isinstance(raw, dict):
        raise reader.fail("a point must be a table", "write [[point]]")
    reader.keys(raw, _POINT, "point", n)

    def fail(what: str, hint: str, key: str) -> ProfileError:
        return reader.fail(what, hint, "point", n, key)

    measurand = reader.text(raw, "measurand", "point", n)
    unit = reader.text(raw, "unit", "point", n)
    by_site = unit == BY_SITE and protocol == "hj212"
    complaint = unit_complaint(measurand, unit)
    if complaint is not None and not (by_site and complaint[0].startswith(f"{measurand} in")):
        raise fail(*complaint, "unit" if complaint[0].startswith(f"{measurand} in") else "measurand")
    side = reader.text(raw, "side", "point", n, side)
    if side not in ("primary", "secondary"):
        raise fail(f"side {side!r}", "primary or secondary: the maker's document decides", "side")
    common: dict[str, Any] = {
        "measurand": measurand,
        "unit": unit,
        "side": side,
        "maker_name": reader.text(raw, "maker_name", "point", n, ""),
        "note": reader.text(raw, "note", "point", n, ""),
        "basis": _basis(reader, raw, n, measurand, protocol),
        **{key: reader.decimal(raw, key, "point", n) for key in ("resolution", "modulus", "low", "high")},
    }
    scale = reader.decimal(raw, "scale", "point", n)
    if scale is not None and scale <= 0:
        raise fail(f"scale {scale}", "a scale is above zero", "scale")
    for key in ("class", "attribute") if protocol != "dlms" else ():
        if key in raw:
            raise fail(f"{key!r} has no meaning in {protocol}", "it is for dlms", key)
    if protocol == "modbus":
        return _register_point(reader, raw, n, common, Decimal(1) if scale is None else scale)
    for key in ("function", "address", "type", "length", "word_order", "scale", "scale_at", "sentinels"):
        if key in raw:
            raise fail(f"{key!r} has no meaning in {protocol}", "the item decides the format", key)
    if protocol == "cjt188":
        return _meter_point(reader, raw, n, kind, common)
    if protocol == "hj212":
        return _factor_point(reader, raw, n, common)
    if protocol == "mbus":
        return _record_point(reader, raw, n, common)
    if protocol == "iec62056-21":
        return _readout_point(reader, raw, n, common)
    if protocol == "dlms":
        return _object_point(reader, raw, n, common)
    if protocol == "dlt698":
        return _attribute_point(reader, raw, n, common)
    return _item_point(reader, raw, n, protocol, common)


def _register_point(
    reader: Reader, raw: Mapping[str, Any], n: int, common: dict[str, Any], scale: Decimal
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
    scale_at = reader.integer(raw, "scale_at", "point", n) if "scale_at" in raw else None
    if scale_at is not None and not 0 <= scale_at <= 0xFFFF:
        raise fail(
            f"scale_at {scale_at}", "the 0-based address of the register with the power of ten", "scale_at"
        )
    sentinels = raw.get("sentinels", [])
    if not isinstance(sentinels, list) or not all(
        isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 1 << 16 * length for s in sentinels
    ):
        raise fail(f"sentinels {sentinels!r}", "raw unsigned values: sentinels = [0xFFFFFFFF]", "sentinels")
    point = Point(
        **common,
        function=function,
        address=address,
        length=length,
        type=kind,
        word_order=order,
        scale=scale,
        sentinels=tuple(sentinels),
        scale_at=scale_at,
    )
    if point.counts and point.resolution is None and (kind in ("f32", "f64") or scale_at is not None):
        hint = 'the smallest step that the meter counts in: resolution = "0.01", with a note if no source says so'
        raise fail(f"{point.measurand} is a {kind} counter and states no resolution", hint, "measurand")
    return point.resolved()


def _item_point(
    reader: Reader, raw: Mapping[str, Any], n: int, protocol: str, common: dict[str, Any]
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


def _meter_point(reader: Reader, raw: Mapping[str, Any], n: int, kind: str, common: dict[str, Any]) -> Point:
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
    if common["resolution"] is None:
        common["resolution"] = Decimal(1).scaleb(-known[item])
    return Point(**common, item=item)


def _factor_point(reader: Reader, raw: Mapping[str, Any], n: int, common: dict[str, Any]) -> Point:
    """An HJ 212 factor: its code, and which of its values where that is not the command's own (``a00000-Cou``)."""
    if "block" in raw:
        raise reader.fail(
            "'block' has no meaning in hj212", "a packet carries what it carries", "point", n, "block"
        )
    item = reader.text(raw, "item", "point", n)
    if not _HJ212_ITEM.fullmatch(item):
        hint = "the code of HJ 212 table B.2 such as a05001, or with the value's name: a00000-Cou"
        raise reader.fail(f"item {item!r} is no factor", hint, "point", n, "item")
    return Point(**common, item=item)


def _record_point(reader: Reader, raw: Mapping[str, Any], n: int, common: dict[str, Any]) -> Point:
    """A record of an M-Bus telegram, by its name."""
    if "block" in raw:
        raise reader.fail(
            "'block' has no meaning in mbus", "one telegram has all records", "point", n, "block"
        )
    point = Point(**common, item=reader.text(raw, "item", "point", n))
    if point.counts and point.resolution is None:
        hint = 'the smallest step that the meter counts in: resolution = "1"'
        raise reader.fail(
            f"{point.measurand} is a counter and states no resolution", hint, "point", n, "measurand"
        )
    return point


def _attribute_point(reader: Reader, raw: Mapping[str, Any], n: int, common: dict[str, Any]) -> Point:
    """A DL/T 698.45 attribute or one element of it, by its OAD; ``block``: the attribute as a whole."""

    def fail(what: str, hint: str, key: str) -> ProfileError:
        return reader.fail(what, hint, "point", n, key)

    item = reader.text(raw, "item", "point", n).upper()
    block = reader.text(raw, "block", "point", n, "").upper()
    record, _, column = item.rpartition("/")
    if record and (not re.fullmatch("50[0-9A-F]{2}0200", record) or block):
        hint = "50040200/00100201: of the last daily freeze the forward active total; without block"
        raise fail(f"item {item!r}", hint, "item")
    if record and not common["measurand"].startswith("frozen."):
        hint = f"frozen.daily.{common['measurand']}: it is no present value"
        raise fail(f"measurand {common['measurand']!r} of a frozen value", hint, "measurand")
    whole, item = item, column
    for key, oad in (("item", item), ("block", block)):
        if oad and not re.fullmatch("[0-9A-F]{8}", oad):
            raise fail(f"{key} {oad!r}", "an OAD has 8 hex digits: 20000201 is the voltage of phase A", key)
    if block and (block != item[:6] + "00" or block == item):
        raise fail(
            f"block {block} does not hold {item}", f"the same OAD with element 00: {item[:6]}00", "block"
        )
    known = dlt698_tables.quantity(int(item[:4], 16), int(item[4:6], 16) & 0x1F)
    if known is None:
        raise fail(f"item {item} is not in the table of quantities", "see the standard's annex A", "item")
    if known.unit != common["unit"]:
        raise fail(f"{item} is in {known.unit}", "the standard fixes the unit", "unit")
    common["resolution"] = common["resolution"] or Decimal(1).scaleb(known.exponent)
    return Point(**common, item=whole, block=block)


def _object_point(reader: Reader, raw: Mapping[str, Any], n: int, common: dict[str, Any]) -> Point:
    """An attribute of a COSEM object, by class (3: register) and OBIS code; its scaler and unit are read with it."""

    def fail(what: str, hint: str, key: str) -> ProfileError:
        return reader.fail(what, hint, "point", n, key)

    if "block" in raw:
        raise fail("'block' has no meaning in dlms", "each attribute is asked for by itself", "block")
    code = reader.text(raw, "item", "point", n)
    class_id = reader.integer(raw, "class", "point", n, 3)
    number = reader.integer(raw, "attribute", "point", n, 2)
    if obis.to_bytes(code) is None:
        raise fail(f"item {code!r} is no OBIS code", "all value groups: 1-0:1.8.0", "item")
    item = dlms_get.item_of(Attribute(class_id, code.removesuffix("*255"), number))
    if (complaint := dlms_points.complaint(item)) is not None:
        raise fail(*complaint, "class" if "class" in raw else "attribute" if "attribute" in raw else "item")
    if not dlms_points.scaler_of(item) and common["unit"] != "1":
        hint = "an object of class 1 tells no unit: only a pure number (unit 1) may be read of it"
        raise fail(f"{common['measurand']} in {common['unit']} from class {class_id}", hint, "class")
    point = Point(**common, item=item)
    if point.counts and point.resolution is None:
        hint = 'the step in which the meter counts, as its scaler tells: resolution = "0.001"'
        raise fail(f"{point.measurand} is a counter and states no resolution", hint, "measurand")
    return point


def _readout_point(reader: Reader, raw: Mapping[str, Any], n: int, common: dict[str, Any]) -> Point:
    """A data set of an IEC 62056-21 readout, by its OBIS code."""
    if "block" in raw:
        hint = "one readout has all values"
        raise reader.fail("'block' has no meaning in iec62056-21", hint, "point", n, "block")
    point = Point(**common, item=reader.text(raw, "item", "point", n))
    if complaint := iec62056_points.code_complaint(point.item):
        hint = "as the meter prints it: 1.8.0, or 1-0:1.8.0"
        raise reader.fail(complaint, hint, "point", n, "item")
    if point.counts and point.resolution is None:
        hint = 'the step that the printed decimals show: resolution = "0.001"'
        raise reader.fail(
            f"{point.measurand} is a counter and states no resolution", hint, "point", n, "measurand"
        )
    return point


def _basis(reader: Reader, raw: Mapping[str, Any], n: int, measurand: str, protocol: str) -> str:
    """Wet or dry, of a gas concentration; nothing else has one."""
    basis = reader.text(raw, "basis", "point", n, "")
    gas = measurand.startswith("concentration.")
    if basis and not gas:
        raise reader.fail(
            f"{measurand} has no basis", "wet or dry is said of concentrations", "point", n, "basis"
        )
    known = ("wet", "dry", *((BY_SITE,) if protocol == "hj212" else ()))
    if gas and basis not in known:
        hint = f"basis = one of {', '.join(known)}: a concentration is of wet or of dry gas"
        raise reader.fail(
            f"basis {basis!r} of {measurand}", hint, "point", n, "basis" if basis else "measurand"
        )
    return basis


def check_points(reader: Reader, points: Sequence[Point]) -> None:
    """Refuse measurands that stand twice, limits that admit nothing, and points that share registers or items."""
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
            overlap = overlap and point.address < other.address + other.length
            overlap = overlap and other.address < point.address + point.length
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
