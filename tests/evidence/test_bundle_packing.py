"""Whether packing gives back the very bytes, whatever the entries are, and refuses what is no pack."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import bundle_packing
from evidence.bundle_packing import unpack
from evidence.errors import ParseError
from tests.evidence.logs import Writer


def pack(entries):
    return b"".join(bundle_packing.pack(entries))


numbers = st.integers(-(10**17), 10**17).map(str)
decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
).map(lambda d: f'"{d}"')
odd = st.sampled_from(
    ['"-0.00"', '"007.1"', '"1E+3"', '"AAAA"', '"AAA="', '"AAB="', '"a\\"b"', '"温度"', "-0", "01"]
)
rows = st.lists(
    st.tuples(numbers, decimals, odd).map(lambda t: f'{{"n":{t[0]},"v":[{t[1]},{t[2]}],"k1":"x"}}'.encode()),
    max_size=30,
)


@given(rows)
def test_texts_of_one_skeleton_come_back_byte_for_byte(entries):
    assert unpack(pack(entries)) == entries


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_come_back(entries):
    assert unpack(pack(entries)) == entries


def test_records_come_back_and_shrink():
    entries = Writer().grow(400).entries
    packed = pack(entries)
    assert unpack(packed) == entries
    assert len(packed) < sum(map(len, entries)) / 2


@given(st.binary(max_size=200))
def test_what_is_no_pack_is_refused_with_parse_error_and_nothing_else(data):
    with suppress(ParseError):
        unpack(data)


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_pack_cut_short_or_grown_is_refused(cut):
    packed = pack(Writer().grow(100).entries)
    with pytest.raises(ParseError):
        unpack(packed[:-cut])
    with pytest.raises(ParseError):
        unpack(packed + bytes(cut))


def test_a_small_pack_cannot_become_an_endless_one():
    # one kind, a constant column of 100 000 bytes, a million rows
    bomb = bytearray(b"\x80\x80\x40\x01") + bytes(1 << 20) + b"\x01\0" + b"\0\xa0\x8d\x06" + b"x" * 100_000
    with pytest.raises(ParseError, match="unpack to more"):
        unpack(bytes(bomb))


def test_numbers_of_no_width_cannot_become_endless_columns(monkeypatch):
    # one kind of 16,384 rows and forty columns of numbers, each a rule and no bytes
    monkeypatch.setattr(bundle_packing, "MAX_UNPACKED", 1 << 20)
    bomb = bytearray(b"\x80\x80\x01\x01") + bytes(1 << 14) + b"\x28" + bytes(40) + bytes((6, 0, 0, 0)) * 40
    with pytest.raises(ParseError, match="unpack to more"):
        unpack(bytes(bomb))
