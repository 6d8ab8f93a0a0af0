"""The query API, described: an OpenAPI 3.1 document made of the same lists of columns as the answers."""

from __future__ import annotations

from typing import Any, Final

from .query import INTERVAL, READING, Quality

_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer", "format": "int64"}
_COUNTS: Final = frozenset(
    {"utc_us", "from_us", "to_us", "entry", "clock", "count", "supersedes", "superseded_by"}
)
_ABSENT: Final = frozenset({"value", "u", "indication", "missing", "unit", "supersedes", "superseded_by"})
_SAID: Final = {
    "value": "measurement result, exact decimal text",
    "u": "standard uncertainty of the value, decimal text in its unit",
    "indication": "what the instrument showed, before correction",
    "unit": "UCUM; null where the log does not say it",
    "utc_us": "microseconds since 1970, UTC",
    "entry": "index in the gateway's log: with the origin, the identity of the record",
    "clock": "clock quality: 0 unknown, 1 RTC, 2 NTP, 3 GNSS, 4 holdover",
}


def _row(columns: tuple[str, ...]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name in columns:
        whole = name in _COUNTS or (name == "missing" and columns is INTERVAL)
        kind = "integer" if whole else "array" if name == "flags" else "string"
        absent = name in _ABSENT and not (whole and name == "missing")
        about: dict[str, Any] = {"type": [kind, "null"] if absent else kind}
        if name == "flags":
            about["items"] = _TEXT
        if name in _SAID:
            about["description"] = _SAID[name]
        properties[name] = about
    return {"type": "object", "properties": properties, "required": list(columns)}


def _asked(name: str, said: str, schema: dict[str, Any] = _TEXT, *, needed: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": needed, "description": said, "schema": schema}


_INSTANT: Final = "ISO 8601 with offset, or whole microseconds since 1970"
_WHEN: Final = {
    "anyOf": [{"type": "string", "pattern": "^[0-9]{1,16}$"}, {"type": "string", "format": "date-time"}]
}
_PERIOD: Final = [
    _asked("from", f"begin of the period, included; {_INSTANT}", _WHEN),
    _asked("to", f"end of the period; {_INSTANT}", _WHEN),
]
_NAME: Final = {"type": "string", "pattern": r"^[^\u0000]+$"}
_INSTRUMENT: Final = {"type": "string", "pattern": r"^[^:\u0000]+::[^\u0000]+$"}
_MANY: Final = _asked(
    "instrument",
    "ORIGIN::NAME; ORIGIN::* for all of a gateway; may be given several times",
    {"type": "array", "items": _INSTRUMENT, "minItems": 1},
    needed=True,
)
_FORMAT: Final = _asked(
    "format", "of the answer", {"type": "string", "enum": ["json", "csv", "parquet"], "default": "json"}
)


def _answer(schema: dict[str, Any], *, files: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if files:
        content["text/csv"] = {"schema": _TEXT}
        content["application/vnd.apache.parquet"] = {"schema": {"type": "string", "format": "binary"}}
    wrong = {
        "description": "why not, in words",
        "content": {"application/json": {"schema": {"$ref": _REF + "Wrong"}}},
    }
    return {
        "200": {"description": "what there is", "content": content},
        "400": wrong,
        "401": wrong,
        "503": wrong,
    }


_REF: Final = "#/components/schemas/"


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": _REF + name}}


def document(version: str) -> dict[str, Any]:
    """The document. ``version``: of the program."""
    rows = {"type": "object", "properties": {"rows": _list("Reading"), "next": {"type": ["string", "null"]}}}
    limit = _asked(
        "limit",
        "rows in one JSON answer, about",
        {"type": "integer", "minimum": 1, "maximum": 50_000, "default": 1000},
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Suyuan platform",
            "version": version,
            "description": "Verified readings and totals with their uncertainty. Numbers are decimal text.",
        },
        "security": [{"token": []}],
        "paths": {
            "/v1/gateways": {
                "get": {
                    "summary": "Gateways, and how far their logs are verified and stored",
                    "responses": _answer(_list("Gateway")),
                }
            },
            "/v1/instruments": {
                "get": {
                    "summary": "Instruments of a gateway, and how complete they are",
                    "parameters": [_asked("origin", "the gateway", _NAME, needed=True)],
                    "responses": _answer(_list("Instrument")),
                }
            },
            "/v1/readings": {
                "get": {
                    "summary": "Readings of an instrument, in order of time. Files come whole, JSON in pages",
                    "parameters": [
                        _asked("instrument", "ORIGIN::NAME", _INSTRUMENT, needed=True),
                        _asked("measurand", "one of them; all if it is not given", _NAME),
                        *_PERIOD,
                        _asked(
                            "quality",
                            "all: also what is missing; result: with a result; clean: no flags, clock synchronised",
                            {"type": "string", "enum": [str(q) for q in Quality], "default": "all"},
                        ),
                        _asked(
                            "after",
                            "``next`` of the answer before: go on there",
                            {"type": "string", "pattern": "^[0-9]{1,16}-[0-9]{1,16}$"},
                        ),
                        limit,
                        _FORMAT,
                    ],
                    "responses": _answer(rows, files=True),
                }
            },
            "/v1/intervals": {
                "get": {
                    "summary": "What was recorded of each interval within the period; superseded ones only on request",
                    "parameters": [
                        _MANY,
                        _asked("measurand", "a cumulative one, as energy.active.import", _NAME, needed=True),
                        *_PERIOD,
                        _asked(
                            "superseded",
                            "also what a later one replaces",
                            {"type": "boolean", "default": False},
                        ),
                        _FORMAT,
                    ],
                    "responses": _answer(
                        {"type": "object", "properties": {"rows": _list("Interval")}}, files=True
                    ),
                }
            },
            "/v1/total": {
                "get": {
                    "summary": "The sum over instruments and intervals, correlations kept",
                    "parameters": [
                        _MANY,
                        _asked("measurand", "a cumulative one", _NAME, needed=True),
                        *_PERIOD,
                    ],
                    "responses": _answer({"$ref": _REF + "Total"}),
                }
            },
            "/openapi.json": {
                "get": {"summary": "This document", "responses": {"200": {"description": "it"}}}
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Reading": _row(READING),
                "Interval": _row(INTERVAL),
                "Gateway": {
                    "type": "object",
                    "properties": {
                        "origin": _TEXT,
                        "size": {**_WHOLE, "description": "entries verified and stored"},
                        "sealed_us": _WHOLE,
                        "advanced_us": _WHOLE,
                        "alarm": {**_TEXT, "description": "what holds it back, or empty"},
                    },
                },
                "Instrument": {
                    "type": "object",
                    "properties": {
                        "origin": _TEXT,
                        "instrument": _TEXT,
                        "polls": _WHOLE,
                        "received": _WHOLE,
                        "missed": _WHOLE,
                    },
                },
                "Total": {
                    "type": "object",
                    "properties": {
                        "measurand": _TEXT,
                        "unit": _TEXT,
                        "from_us": _WHOLE,
                        "to_us": _WHOLE,
                        "value": {"type": ["string", "null"], "description": _SAID["value"]},
                        "u": {"type": ["string", "null"], "description": _SAID["u"]},
                        "contributions": {
                            "type": "object",
                            "additionalProperties": _TEXT,
                            "description": "signed contribution by source of uncertainty, in the unit",
                        },
                        "independent": {**_TEXT, "description": "variance of what no source names"},
                        "intervals": _WHOLE,
                        "without_value": _WHOLE,
                        "missing": _WHOLE,
                        "complete": {
                            "type": "boolean",
                            "description": "whether nothing of the period is uncovered",
                        },
                        "uncovered_us": {
                            "type": "object",
                            "additionalProperties": _WHOLE,
                            "description": "by instrument: time of the period that no interval with a value covers",
                        },
                        "flags": {"type": "array", "items": _TEXT},
                    },
                },
                "Wrong": {"type": "object", "properties": {"error": _TEXT}, "required": ["error"]},
            },
        },
    }
