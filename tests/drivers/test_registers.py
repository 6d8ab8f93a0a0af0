"""Registers to exact decimals."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers import registers
from drivers.codec import LocalProtocolError, Missing

orders = st.sampled_from(registers.WORD_ORDERS)


@pytest.mark.parametrize(
    ("raw", "kind", "order", "value"),
    [
        ("43C9AA46", "f32", "ABCD", "403.33026"),  # as captured on an SDM630
        ("AA4643C9", "f32", "CDAB", "403.33026"),
        ("C94346AA", "f32", "BADC", "403.33026"),
        ("46AAC943", "f32", "DCBA", "403.33026"),
        ("3DCCCCCD", "f32", "ABCD", "0.1"),
        ("80000000", "f32", "ABCD", "0"),
        ("00000001", "f32", "ABCD", "0.000000000000000000000000000000000000000000001"),
        ("42480000", "f32", "ABCD", "50"),
        ("FFFF", "u16", "ABCD", "65535"),
        ("FFFF", "i16", "ABCD", "-1"),
        ("0100", "u16", "BADC", "1"),
        ("0001E240", "u32", "ABCD", "123456"),
        ("E2400001", "u32", "CDAB", "123456"),
        ("FFFFFFFF", "i32", "ABCD", "-1"),
        ("FFFFFFFFFFFFFFFF", "u64", "ABCD", "18446744073709551615"),
        ("0000000000000001", "i64", "ABCD", "1"),
        ("0001000000000000", "i64", "CDAB", "1"),
        ("3FB999999999999A", "f64", "ABCD", "0.1"),
        ("12345678", "bcd", "ABCD", "12345678"),
        ("56781234", "bcd", "CDAB", "12345678"),
    ],
)
def test_values_by_type_and_word_order(raw, kind, order, value):
    found = registers.decode(bytes.fromhex(raw), kind, order)
    assert isinstance(found, Decimal)
    assert f"{found:f}" == value


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("7FC00000", "f32"),
        ("FFFFFFFF", "f32"),
        ("7F800000", "f32"),
        ("FF800000", "f32"),
        ("7FF8000000000000", "f64"),
        ("123A", "bcd"),
    ],
)
def test_what_is_no_number_is_missing(raw, kind):
    assert registers.decode(bytes.fromhex(raw), kind) is Missing.NOT_A_NUMBER


@given(st.binary(max_size=10), st.sampled_from([k for k in registers.TYPES if k != "bcd"]), orders)
def test_a_wrong_length_has_no_value(raw, kind, order):
    if len(raw) != 2 * registers.TYPES[kind]:
        assert registers.decode(raw, kind, order) is Missing.WRONG_LENGTH


@given(st.binary(min_size=4, max_size=4), orders)
@example(bytes.fromhex("7F7FFFFF"), "ABCD")  # the largest: rounded up it would be no float
@example(bytes.fromhex("00800000"), "ABCD")
def test_a_float_becomes_the_short_decimal_that_gives_it_back(raw, order):
    value = registers.decode(raw, "f32", order)
    (number,) = struct.unpack(">f", registers.arrange(raw, order))
    if not math.isfinite(number):
        assert value is Missing.NOT_A_NUMBER
        return
    assert isinstance(value, Decimal)
    assert struct.pack(">f", float(value)) == struct.pack(">f", number + 0.0)
    assert len(value.as_tuple().digits) <= 9 or value == value.to_integral_value()


@given(st.binary(min_size=4, max_size=4))
def test_no_shorter_decimal_gives_the_same_float(raw):
    value = registers.decode(raw, "f32")
    if not isinstance(value, Decimal) or value == 0:
        return
    digits = len("".join(map(str, value.as_tuple().digits)).strip("0"))
    for fewer in range(1, digits):
        try:
            assert struct.pack(">f", float(f"{float(value):.{fewer}g}")) != raw
        except OverflowError:
            continue


@given(st.data(), st.sampled_from(["u16", "i16", "u32", "i32", "u64", "i64", "bcd"]), orders)
def test_integers_survive_their_registers(data, kind, order):
    bits = 16 * (registers.TYPES[kind] or 2)
    if kind == "bcd":
        number = data.draw(st.integers(0, 99_999_999))
    elif kind.startswith("i"):
        number = data.draw(st.integers(-(1 << bits - 1), (1 << bits - 1) - 1))
    else:
        number = data.draw(st.integers(0, (1 << bits) - 1))
    raw = registers.encode(Decimal(number), kind, order, 2)
    assert registers.decode(raw, kind, order) == number


@given(st.binary(min_size=8, max_size=8), orders)
def test_a_double_survives_its_registers(raw, order):
    value = registers.decode(raw, "f64", order)
    if isinstance(value, Decimal) and value != 0:
        assert registers.encode(value, "f64", order) == raw


@given(st.integers(1, 4).flatmap(lambda n: st.binary(min_size=2 * n, max_size=2 * n)), orders)
def test_each_word_order_is_its_own_inverse(raw, order):
    assert registers.arrange(registers.arrange(raw, order), order) == raw


@given(st.integers(-(1 << 63), (1 << 64) - 1), st.integers(-9, 9))
def test_scaling_is_exact_beyond_the_usual_28_digits(number, exponent):
    scale = Decimal(1).scaleb(exponent)
    assert registers.scaled(Decimal(number), scale) == Decimal(number).scaleb(exponent)
    assert registers.unscaled(registers.scaled(Decimal(number), scale), scale) == number


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("65536", "u16"),
        ("-1", "u16"),
        ("32768", "i16"),
        ("1E+39", "f32"),
        ("-1", "bcd"),
        ("10000", "bcd"),
        ("NaN", "u16"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(value, kind):
    with pytest.raises(LocalProtocolError):
        registers.encode(Decimal(value), kind)


def test_unknown_names_are_refused():
    with pytest.raises(LocalProtocolError, match="word order"):
        registers.decode(b"\0\0\0\0", "u32", "ABDC")
    with pytest.raises(LocalProtocolError, match="type"):
        registers.decode(b"\0\0", "u8")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(1.401298464324817e-45)
@example(16777216.0)
@example(403.3302612304688)
def test_a_float_is_the_shortest_decimal_that_gives_it_back(value: float) -> None:
    """No decimal of fewer digits is nearest to this float; the sign of zero says nothing."""
    found = registers.shortest32(value)
    assert struct.pack(">f", float(found)) == struct.pack(">f", value + 0.0)
    digits = len(f"{found:f}".lstrip("-0.").replace(".", "").strip("0"))
    for fewer in range(1, digits):
        shorter = float(f"{value:.{fewer}g}")
        assert abs(shorter) > 3.4e38 or struct.pack(">f", shorter) != struct.pack(">f", value)
