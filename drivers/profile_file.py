"""Reading a profile file: every mistake is told with its line, what is wrong, and what to do.

Strict on purpose: a key that nobody knows, a float where a number must be exact, registers that two points share, a
counter without a resolution, or numbers without a source are refused, because each of them ends as a wrong value that
looks right.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

from drivers import cjt188, dlms_points, nameplate, obis
from drivers.points import Point, Probe, Profile, ProfileError, Vector
from drivers.profile_points import check_points, read_point
from drivers.profile_reader import Reader, nearest

__all__ = ["PROTOCOLS", "nearest", "parse"]

PROTOCOLS = (
    "modbus",
    "dlt645-2007",
    "dlt645-1997",
    "cjt188",
    "hj212",
    "mbus",
    "iec62056-21",
    "dlt698",
    "dlms",
)
_TOP = {"protocol", "probe", "model", "source", "ask", "side", "identity", "point", "vector"}
_MODEL = {"maker", "name", "kind", "firmware"}
_SOURCE = {"title", "edition", "url", "page", "note"}


def parse(text: str, name: str, file: str = "") -> Profile:
    """A profile from the text of its file; ProfileError says where and what."""
    file = file or f"{name}.toml"
    reader = Reader(text, file)
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
    longest, of = (32, "a DL/T 698.45 request carries 1 to 32 OADs") if protocol == "dlt698" else (125, "")
    most = reader.integer(tables["ask"], "most", "ask", 0, 8 if protocol == "dlt698" else 125)
    if not 1 <= most <= longest:
        hint = of or "a Modbus request reads 1 to 125 registers"
        raise reader.fail(f"most = {most}", hint, "ask", 0, "most")
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
    points = tuple(read_point(reader, protocol, kind, side, raw, n) for n, raw in enumerate(raw_points))
    check_points(reader, points)
    vectors = tuple(
        _vector(reader, protocol, points, raw, n) for n, raw in enumerate(found.get("vector", []))
    )
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
        None if protocol == "dlms" else nameplate.read(reader, protocol, found.get("identity")),
        *(_objects(reader, found.get("identity", {})) if protocol == "dlms" else ()),
    )


def _objects(reader: Reader, raw: object) -> tuple[str, str]:
    """DLMS: where the meter tells its number, and its clock if that is to be checked (``clock = true``)."""
    if not isinstance(raw, dict):
        raise reader.fail("'identity' must be a table", "write [identity]", "", 0, "identity")
    reader.keys(raw, {"number", "clock"}, "identity")
    number = reader.text(raw, "number", "identity", 0, dlms_points.NUMBER.partition("/")[2])
    if obis.to_bytes(number) is None:
        raise reader.fail(
            f"number {number!r} is no OBIS code", "all value groups: 0-0:96.1.0", "identity", 0, "number"
        )
    clock = raw.get("clock", False)
    if not isinstance(clock, bool):
        raise reader.fail(f"clock = {clock!r}", "true or false", "identity", 0, "clock")
    return f"1/{number.removesuffix('*255')}", dlms_points.CLOCK if clock else ""


def _vector(reader: Reader, protocol: str, points: Sequence[Point], raw: object, n: int) -> Vector:
    if not isinstance(raw, dict):
        raise reader.fail("a vector must be a table", "write [[vector]]")
    pushed = protocol == "hj212"
    reader.keys(
        raw, {"packet", "expect", "note"} if pushed else {"request", "answer", "expect", "note"}, "vector", n
    )
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
    if pushed:
        packet = reader.text(raw, "packet", "vector", n).strip() + "\r\n"
        return Vector(b"", packet.encode(), wanted)
    return Vector(reader.frame(raw, "request", n), reader.frame(raw, "answer", n), wanted)


def _probe(reader: Reader, points: Sequence[Point], raw: object) -> Probe | None:
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
