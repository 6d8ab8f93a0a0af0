"""Published messages: numbers as they are written, paths, and what is no number."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import json_points, profile
from drivers.codec import Answer, Missing
from drivers.points import Point, Profile


def told(payload: bytes, path: str = "v", **more):
    (found,) = json_points.decode([Point("voltage.l1", "V", item=path, **more)], payload)
    return found


@pytest.mark.parametrize(
    ("payload", "path", "value"),
    [
        (b'{"v":230.10}', "v", "230.10"),
        (b'{"v":"230.1"}', "v", "230.1"),
        (b'{"a":{"b":[1,{"c":-5}]}}', "a.b.1.c", "-5"),
        (b'{"a.b":{"c/d":7}}', "/a.b/c~1d", "7"),
        (b'[{"value":0.1}]', "0.value", "0.1"),
        (b"12.5", "", "12.5"),
        (b"12345678901234567890.123456789", "", "12345678901234567890.123456789"),
        (b'{"v":1.5e3}', "v", "1500"),
    ],
)
def test_a_number_is_exactly_what_is_written(payload, path, value):
    assert told(payload, path).value == Decimal(value)


@pytest.mark.parametrize(
    ("payload", "path", "missing"),
    [
        (b'{"w":1}', "v", Missing.NOT_SUPPORTED),
        (b'{"v":null}', "v", Missing.NOT_SUPPORTED),
        (b"[1]", "1", Missing.NOT_SUPPORTED),
        (b"[1]", "-1", Missing.NOT_SUPPORTED),
        (b'{"v":true}', "v", Missing.NOT_A_NUMBER),
        (b'{"v":"off"}', "v", Missing.NOT_A_NUMBER),
        (b'{"v":{}}', "v", Missing.NOT_A_NUMBER),
        (b'{"v":1e999}', "v", Missing.NOT_A_NUMBER),
        (b'{"v":NaN}', "v", Missing.CORRUPT),
        (b'{"v":Infinity}', "v", Missing.CORRUPT),
        (b'{"v":1', "v", Missing.CORRUPT),
        (b"\xff", "v", Missing.CORRUPT),
        (b"", "", Missing.CORRUPT),
        (b"[" * 16000, "v", Missing.CORRUPT),
        (b'"' + b"x" * json_points.LONGEST + b'"', "", Missing.CORRUPT),
    ],
)
def test_what_is_no_number_is_missing_with_its_reason(payload, path, missing):
    found = told(payload, path)
    assert (found.value, found.missing) == (None, missing)


def test_scale_and_limits_of_a_point_hold():
    point = Point(
        "power.active.total", "kW", item="p", scale=Decimal("0.001"), low=Decimal(0), high=Decimal(9)
    )
    p = Profile("m", "mqtt", "any", "m", "published", "the site", (point,))
    (query,) = profile.plan(p)
    for payload, value, missing in (
        (b'{"p":4321}', Decimal("4.321"), None),
        (b'{"p":-1}', None, Missing.OUT_OF_RANGE),
    ):
        (found,) = profile.decode(p, query, Answer("", payload, payload))
        assert (found.value, found.missing) == (value, missing)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_any_decimal_comes_back_as_it_went(number):
    assert told(f'{{"v":{number:f}}}'.encode()).value == number
    assert told(json.dumps({"v": f"{number:f}"}).encode()).value == number


@given(st.binary(max_size=200))
def test_no_bytes_raise(payload):
    told(payload, "a.0.b")
