"""What an OPC UA server notified of an instrument's values: node, value, StatusCode and SourceTimestamp as text. Pure.

A notification is a binary structure that a library takes apart; what is recorded of it is one line of UTF-8, of which
there is exactly one form, so that every value can be computed again from it::

    node TAB type TAB value TAB StatusCode TAB SourceTimestamp LF
    ns=2;s=Press.Power  Double  12.5  00000000  2026-06-21T00:00:00.250000Z

``node`` is the node id as the site file names it, ``type`` the built-in type (OPC 10000-6, 5.1.2; ``[]`` behind it: an
array), ``value`` the number as the shortest decimal that gives the same number of its type back, a String as JSON
writes it, nothing for what is no scalar; the code is 8 hex digits; the time is empty if the server gave none.

The severity of the StatusCode decides (OPC 10000-4, 7.39): bad is missing with a reason. Good and uncertain are
values, and everything but a plain good is a flag of the record. What the code calls a last, first, simulated or
substituted value is no measurement, whatever its severity, and neither is one whose unit may have changed.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from drivers import registers
from drivers.codec import Indication, Missing
from drivers.json_points import LONGEST, number
from drivers.points import Point

INTEGERS = {
    "SByte": (-(1 << 7), (1 << 7) - 1),
    "Byte": (0, (1 << 8) - 1),
    "Int16": (-(1 << 15), (1 << 15) - 1),
    "UInt16": (0, (1 << 16) - 1),
    "Int32": (-(1 << 31), (1 << 31) - 1),
    "UInt32": (0, (1 << 32) - 1),
    "Int64": (-(1 << 63), (1 << 63) - 1),
    "UInt64": (0, (1 << 64) - 1),
}
FLOATS = {"Float": (">f", "f32"), "Double": (">d", "f64")}

STATUS = {
    0x80050000: ("BadCommunicationError", Missing.LINK_DOWN),
    0x80310000: ("BadNoCommunication", Missing.LINK_DOWN),
    0x80340000: ("BadNodeIdUnknown", Missing.NOT_SUPPORTED),
    0x80350000: ("BadAttributeIdInvalid", Missing.NOT_SUPPORTED),
    0x803C0000: ("BadOutOfRange", Missing.OUT_OF_RANGE),
    0x803D0000: ("BadNotSupported", Missing.NOT_SUPPORTED),
    0x808A0000: ("BadNotConnected", Missing.LINK_DOWN),
    0x808B0000: ("BadDeviceFailure", Missing.FAULT),
    0x808C0000: ("BadSensorFailure", Missing.FAULT),
    0x808D0000: ("BadOutOfService", Missing.FLAGGED),
    0x00960000: ("GoodLocalOverride", Missing.FLAGGED),
    0x408F0000: ("UncertainNoCommunicationLastUsableValue", Missing.FLAGGED),
    0x40900000: ("UncertainLastUsableValue", Missing.FLAGGED),
    0x40910000: ("UncertainSubstituteValue", Missing.FLAGGED),
    0x40920000: ("UncertainInitialValue", Missing.FLAGGED),
    0x42090000: ("UncertainSimulatedValue", Missing.FLAGGED),
}
"""Codes that say more than their severity: the name, and why there is no measurement (OPC 10000-6, annex A)."""

_CODE = 0xFFFF0000
_SEMANTICS_CHANGED = 0x4000  # OPC 10000-8, 5.2: unit or range may be others now
_PLAIN = 0xFFFFFB7F  # without the overflow of a queue (0x0080) and the mark that such bits are there (0x0400)

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII)
_FLOAT = re.compile(r"0|-?(0|[1-9][0-9]{0,308})(\.[0-9]{0,399}[1-9])?", re.ASCII)
_NO_FLOAT = ("NaN", "Infinity", "-Infinity")
_TYPE = re.compile(r"[A-Z][A-Za-z0-9]{0,31}(\[\])?", re.ASCII)
_STATUS = re.compile(r"[0-9A-F]{8}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII)
_NODE = re.compile(r"(?:(ns=[0-9]{1,5}|nsu=[^;]+);)?([isgb])=(.+)")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US = 253_402_300_799_999_999  # the end of the year 9999
_LONGEST_TEXT = 200  # characters of a String: no number is longer


@dataclass(frozen=True, slots=True)
class Notification:
    """One DataValue of one node. ``value`` is text as it is recorded; ``source_us``: SourceTimestamp in UTC."""

    node: str
    type: str
    value: str
    status: int
    source_us: int | None


class NamespaceError(ValueError):
    """What should name a namespace and does not."""


def node_id(namespace: str, path: str) -> str:
    """A node id from the instrument's namespace (``ns=2``, or its URI) and a path (``s=Press.Power``); ValueError.

    A path with a namespace of its own stands for itself. The URI is the safer one: a server may number its namespaces
    anew when it is restarted, and the number then leads to somebody else's node.
    """
    found = _NODE.fullmatch(path)
    if not found or not path.isprintable():
        raise ValueError(
            f"'{path}' is no node id: write s=…, i=…, g=… or b=…, with ns=…; or nsu=…; before it if need be"
        )
    kind, name = found[2], found[3]
    wrong = (
        (kind == "i" and not (name.isascii() and name.isdigit() and int(name) < 1 << 32))
        or (kind == "g" and not _GUID.fullmatch(name))
        or (kind == "b" and not _base64(name))
    )
    if wrong:
        forms = {"i": "a number below 2^32", "g": "8-4-4-4-12 hex digits", "b": "bytes as base64"}
        raise ValueError(f"'{path}' is no node id: behind {kind}= stands {forms[kind]}")
    if found[1]:
        _checked_index(found[1])
        return path
    if re.fullmatch(r"ns=[0-9]{1,5}", namespace):
        _checked_index(namespace)
        return f"{namespace};{kind}={name}"
    if not namespace.isprintable() or " " in namespace or ":" not in namespace:
        raise NamespaceError(
            f"'{namespace}' is no namespace: write the address as ns=2, or as the namespace's URI"
        )
    return f"nsu={namespace.replace('%', '%25').replace(';', '%3B')};{kind}={name}"


def _checked_index(namespace: str) -> None:
    if namespace.startswith("ns=") and int(namespace[3:]) > 0xFFFF:
        raise NamespaceError(f"'{namespace}' is no namespace: its index is at most 65535")


def _base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def namespace(node: str) -> tuple[str, str]:
    """The namespace of a node id of ``node_id`` and the rest: the index as ``ns=2``, or the URI unescaped."""
    space, _, rest = node.partition(";")
    if not space.startswith("nsu="):
        return space, rest
    return space[4:].replace("%3B", ";").replace("%25", "%"), rest


def value_text(kind: str, value: object) -> str:
    """A value of a built-in type as it is recorded: ``12.5``, ``NaN``, ``"text"``; nothing for what is no scalar."""
    if kind == "Boolean" and isinstance(value, bool):
        return "true" if value else "false"
    if kind in INTEGERS and isinstance(value, int):
        return str(int(value))
    if kind in FLOATS and isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        layout, register = FLOATS[kind]
        exact = registers.decode(struct.pack(layout, value), register)
        return f"{exact:f}" if isinstance(exact, Decimal) else "NaN"
    if kind == "String" and isinstance(value, str) and len(value) <= _LONGEST_TEXT:
        return json.dumps(value)
    return ""


def encode(notification: Notification) -> bytes:
    """The line that stands for it."""
    time = "" if notification.source_us is None else _time_text(notification.source_us)
    parts = (notification.node, notification.type, notification.value, f"{notification.status:08X}", time)
    return "\t".join(parts).encode() + b"\n"


def _time_text(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parsed(payload: bytes) -> tuple[Notification, ...]:
    """The notifications of some lines. ValueError if one is not written in the one form there is."""
    if len(payload) > LONGEST:
        raise ValueError(f"{len(payload)} bytes are more than {LONGEST}")
    if not payload.endswith(b"\n"):
        raise ValueError("the last line does not end")
    return tuple(_parsed(line) for line in payload.decode("utf-8").removesuffix("\n").split("\n"))


def _parsed(line: str) -> Notification:
    parts = line.split("\t")
    if len(parts) != 5:
        raise ValueError("a line has five parts")
    node, kind, value, status, time = parts
    if not node or not node.isprintable():
        raise ValueError("no node id")
    if not _TYPE.fullmatch(kind) or not _value_of_type(kind, value):
        raise ValueError(f"no value of a {kind[:40]!r}")
    if not _STATUS.fullmatch(status):
        raise ValueError("no StatusCode")
    source_us = None
    if time:
        if not _TIME.fullmatch(time):
            raise ValueError("no SourceTimestamp")
        source_us = (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1)
    return Notification(node, kind, value, int(status, 16), source_us)


def _value_of_type(kind: str, text: str) -> bool:
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return bool(_INTEGER.fullmatch(text)) and low <= int(text) <= high
    if kind in FLOATS:
        return text in _NO_FLOAT or (
            bool(_FLOAT.fullmatch(text)) and text == value_text(kind, _as_float(kind, text))
        )
    if kind == "Boolean":
        return text in ("true", "false")
    if kind == "String" and text:
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return isinstance(said, str) and text == value_text(kind, said)
    return not text


def _as_float(kind: str, text: str) -> float | None:
    try:
        layout = FLOATS[kind][0]
        return float(struct.unpack(layout, struct.pack(layout, float(text)))[0])
    except OverflowError:
        return None


def stamp_us(notifications: Sequence[Notification]) -> int | None:
    """The latest SourceTimestamp of all: no value is newer than the whole claims; None if none has one."""
    stamps = [n.source_us for n in notifications if n.source_us is not None]
    return max(stamps) if stamps else None


def timestamp_us(told: datetime | None) -> int | None:
    """A timestamp as microseconds of UTC since 1970; None if there is none (1601 is how a null one is written)."""
    if told is None:
        return None
    aware = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    us = (aware - _EPOCH) // timedelta(microseconds=1)
    return us if 0 <= us <= _LAST_US else None


# ---- values ----------------------------------------------------------------------------------------------------------


def decode(points: Sequence[Point], payload: bytes) -> tuple[Indication, ...]:
    """One indication per point, in the point's unit: from the recorded lines."""
    try:
        told = _by_node(parsed(payload))
    except ValueError as error:
        detail = f"no notifications: {error}"
        return tuple(Indication(p.item, p.measurand, None, p.unit, Missing.CORRUPT, detail) for p in points)
    return tuple(_indication(point, told.get(point.item)) for point in points)


def _by_node(notifications: Sequence[Notification]) -> dict[str, Notification]:
    return {notification.node: notification for notification in reversed(notifications)}


def _indication(point: Point, told: Notification | None) -> Indication:
    def none(reason: Missing, detail: str) -> Indication:
        return Indication(point.item, point.measurand, None, point.unit, reason, detail)

    if told is None:
        return none(Missing.TIMEOUT, f"the server notified nothing of {point.item}")
    name, reason = judged(told.status)
    if reason is not None:
        return none(reason, f"{told.value[:80] or 'nothing'} with StatusCode {told.status:08X}: {name}")
    if told.value in _NO_FLOAT and told.type in FLOATS:
        return none(Missing.NOT_A_NUMBER, told.value)
    if told.type in INTEGERS or told.type in FLOATS:
        exact: Decimal | None = Decimal(told.value)
    elif told.type == "String" and told.value:
        exact = number(json.loads(told.value))
    elif told.type == "Null":
        return none(Missing.NOT_SUPPORTED, "the node has no value")
    else:
        exact = None
    if exact is None:
        return none(Missing.NOT_NUMERIC, f"{told.type} {told.value[:80]}")
    return Indication(point.item, point.measurand, registers.scaled(exact, point.scale), point.unit)


def judged(status: int) -> tuple[str, Missing | None]:
    """What a StatusCode is called, and why a value with it is none; None if it is one."""
    severity = ("Good", "Uncertain", "Bad", "Bad")[status >> 30]
    name, reason = STATUS.get(status & _CODE, (severity, None))
    if reason is None and status & _SEMANTICS_CHANGED:
        return f"{name}, semantics changed", Missing.FLAGGED
    if reason is None and severity == "Bad":
        reason = Missing.ERROR_ANSWER
    return name, reason


def record_flags(points: Sequence[Point], payload: bytes) -> tuple[str, ...]:
    """What a record keeps beside values: every code that is no plain good, and who told no time.

    ``status:power.active.total=40930000``, ``no_source_timestamp:power.active.total``.
    """
    try:
        told = _by_node(parsed(payload))
    except ValueError:
        return ()
    found: list[str] = []
    for point in points:
        notification = told.get(point.item)
        if notification is None:
            continue
        if notification.status & _PLAIN:
            found.append(f"status:{point.measurand}={notification.status:08X}")
        if notification.source_us is None:
            found.append(f"no_source_timestamp:{point.measurand}")
    return tuple(found)
