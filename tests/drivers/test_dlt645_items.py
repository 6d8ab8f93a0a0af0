"""The table of data identifiers: formats, blocks, signs, and what gives no value."""

from __future__ import annotations

import importlib
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import bcd
from drivers import dlt645_items as items
from drivers.codec import LocalProtocolError, Missing

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
VALUES = [
    v
    for v in FRAMES["vectors"]
    if v["protocol"].startswith("DL/T 645")
    and "di" in v["decoded"]
    and v["direction"] == "response"
    and v["id"] != "dlt645-c-05"
]


def show(di: str, payload: str) -> list[tuple[str, str | None, str]]:
    return [
        (i.item, None if i.value is None else f"{i.value:f}", i.unit)
        for i in items.decode(di, bytes.fromhex(payload))
    ]


@pytest.mark.parametrize("vector", VALUES, ids=lambda v: v["id"])
def test_a_captured_answer_has_the_values_that_were_noted(vector):
    di, data = vector["decoded"]["di"], vector["decoded"]["data_minus_33"]
    found = {i.item: i for i in items.decode(di, bytes.fromhex(data)[len(di) // 2 :])}
    for item, expected in vector["expected"].items():
        if item == "time":
            assert found[di].detail == expected
        elif expected is None:
            assert found[item].missing is Missing.NOT_SUPPORTED
        else:
            value, _, unit = expected.partition(" ")
            assert found[item].value == Decimal(value)
            assert f"{found[item].value:f}" == value
            assert found[item].unit == {"": "1", "degC": "Cel"}.get(unit, unit)
    assert len(found) == len(vector["expected"])


def foreign(name: str) -> dict[str, list[str]]:
    """DI -> formats of an independent table."""
    module = importlib.import_module(f"dlt645.config.{name}")
    rows = [row for key, table in vars(module).items() if key.isupper() for row in table if "Di" in row]
    table: dict[str, list[str]] = {}
    for row in rows:
        table.setdefault(row["Di"], []).append(row["DataFormat"])
    return table


@pytest.mark.parametrize(
    ("name", "at_least"), [("variable_types", 167), ("parameter_types", 66), ("event_record_types", 31)]
)
def test_sizes_and_decimals_agree_with_an_independent_table(name, at_least):
    compared = 0
    for di, formats in foreign(name).items():
        item = items.describe(di)
        if item is None:
            continue
        compared += 1
        assert item.size == sum(len(f.replace(".", "").replace(",", "")) // 2 for f in formats), di
        if len(formats) == 1 and item.fields[0].kind is items.Kind.NUMBER and len(item.fields) == 1:
            assert item.fields[0].decimals == len(formats[0].partition(".")[2]), di
    assert compared >= at_least


@pytest.mark.parametrize(
    ("di", "payload", "expected"),
    [
        ("00000000", "64 02 75 80", [("00000000", "-7502.64", "kWh")]),  # combined: signed
        ("00010000", "64 02 75 80", [("00010000", "807502.64", "kWh")]),  # forward: unsigned, up to 999999.99
        ("00030000", "01 00 00 80", [("00030000", "-0.01", "kvar.h")]),
        ("00050100", "01 00 00 00", [("00050100", "0.01", "kvar.h")]),
        ("00090000", "01 00 00 00", [("00090000", "0.01", "kV.A.h")]),
        ("00150000", "01 00 00 00", [("00150000", "0.01", "kWh")]),
        ("000B0000", "01 00 00 00", [("000B0000", None, "")]),
        ("02040000", "87 26 80", [("02040000", "-0.2687", "kvar")]),  # on the wire BA 59 B3
        ("02060100", "99 09", [("02060100", "0.999", "1")]),
        ("02070300", "05 24", [("02070300", "240.5", "deg")]),
        ("02800002", "98 49", [("02800002", "49.98", "Hz")]),
        ("02800007", "39 82", [("02800007", "-23.9", "Cel")]),
        ("020A0103", "34 12", [("020A0103", "12.34", "%")]),
        ("04000306", "00 40 00", [("04000306", "4000", "1")]),
        ("03300D00", "27 00 00", [("03300D00", "27", "1")]),
        ("9020", "75 66 00 00", [("9020", "66.75", "kWh")]),
        ("9410", "75 66 00 00", [("9410", "66.75", "kWh")]),
        ("A010", "34 12 00", [("A010", "0.1234", "kW")]),
        ("B621", "34 12", [("B621", "12.34", "A")]),
        ("B630", "56 34 12", [("B630", "12.3456", "kW")]),
        ("B650", "99 09", [("B650", "0.999", "1")]),
    ],
)
def test_single_items_by_the_standards_format(di, payload, expected):
    assert show(di, payload) == expected


@pytest.mark.parametrize(
    ("di", "payload", "dis"),
    [
        ("0001FF00", "00" * 20, ["00010000", "00010100", "00010200", "00010300", "00010400"]),
        ("0001FF00", "00" * 4, ["00010000"]),
        ("0002FF03", "00" * 8, ["00020003", "00020103"]),
        ("000100FF", "00" * 52, [f"000100{n:02X}" for n in range(13)]),
        ("0201FF00", "00" * 6, ["02010100", "02010200", "02010300"]),
        ("0203FF00", "00" * 12, ["02030000", "02030100", "02030200", "02030300"]),
        ("0207FF00", "00" * 6, ["02070100", "02070200", "02070300"]),
        ("020A01FF", "00" * 42, [f"020A01{n:02X}" for n in range(1, 22)]),
        ("020BFF02", "00" * 6, ["020B0102", "020B0202", "020B0302"]),
        ("0101FF00", "00" * 16, ["01010000", "01010000.time", "01010100", "01010100.time"]),
        ("901F", "00" * 20, ["9010", "9011", "9012", "9013", "9014"]),
        ("B61F", "00" * 6, ["B611", "B612", "B613"]),
        ("B63F", "00" * 12, ["B630", "B631", "B632", "B633"]),
        ("05060101", "00" * 20, ["05060101", *(f"05060101.t{n}" for n in range(1, 5))]),
        ("05040101", "00" * 4, ["05040101"]),
        ("03010000", "00" * 18, [f"03010000.l{p}.{w}" for p in (1, 2, 3) for w in ("count", "time")]),
    ],
)
def test_a_block_is_split_into_its_items(di, payload, dis):
    assert [i.item for i in items.decode(di, bytes.fromhex(payload))] == dis


@pytest.mark.parametrize(
    ("di", "size"),
    [
        ("00010000", 3), ("00010000", 5), ("00010000", 0), ("02010100", 3), ("0001FF00", 7), ("0001FF00", 0),
        ("0201FF00", 2), ("0201FF00", 4), ("0201FF00", 8), ("0201FF00", 3), ("0203FF00", 9), ("01010000", 3),
        ("0101FF00", 12), ("000100FF", 56), ("B61F", 4), ("9010", 3), ("04000102", 2), ("05040101", 8),
        ("0001FF00", 4 * 65),
    ],
)  # fmt: skip
def test_a_wrong_length_gives_no_value_at_all(di, size):
    found = items.decode(di, b"\x11" * size)
    assert [(i.item, i.value, i.missing) for i in found] == [(di, None, Missing.WRONG_LENGTH)]
    assert f"{size} came" in found[0].detail


@pytest.mark.parametrize(
    "di", ["00FF0000", "0001FFFF", "02FFFF00", "06100101", "03300D01", "04010000", "FF010000", "B66F", "1234"]
)
def test_what_is_not_in_the_table_keeps_its_bytes_and_gets_no_value(di):
    (only,) = items.decode(di, bytes.fromhex("01 02 03"))
    assert (only.item, only.value, only.missing, only.detail) == (
        di,
        None,
        Missing.UNKNOWN_FORMAT,
        "01 02 03",
    )


@pytest.mark.parametrize(
    ("di", "payload", "reason"),
    [
        ("02010200", "FF FF", Missing.NOT_SUPPORTED),
        ("02020200", "FF FF FF", Missing.NOT_SUPPORTED),
        ("02020200", "FF FF 7F", Missing.NOT_A_NUMBER),
        ("00010000", "0A 00 00 00", Missing.NOT_A_NUMBER),
        ("00010000", "00 00 00 A0", Missing.NOT_A_NUMBER),
    ],
)
def test_fill_and_nibbles_above_nine_are_no_numbers(di, payload, reason):
    (only,) = items.decode(di, bytes.fromhex(payload))
    assert (only.value, only.missing) == (None, reason)


@pytest.mark.parametrize(
    ("di", "payload", "text"),
    [
        ("04000102", "55 53 21", "21:53:55"),
        ("04000101", "02 24 11 26", "2026-11-24 weekday 2"),
        ("0400010C", "55 53 21 02 24 11 26", "2026-11-24 21:53:55 weekday 2"),
        ("04000402", "12 00 00 00 10 20", "201000000012"),
        ("04000404", "00 00 56 30 32 32", "220V"),
        ("04000501", "04 80", "0x8004"),
        ("C011", "55 53 21", "21:53:55"),
        ("C032", "12 00 00 00 10 20", "201000000012"),
        ("B010", "30 12 24 11", "11-24 12:30"),
        ("05060001", "00 00 24 11 26", "2026-11-24 00:00"),
    ],
)
def test_dates_identities_and_words_are_text_not_values(di, payload, text):
    (only,) = items.decode(di, bytes.fromhex(payload))
    assert (only.value, only.missing, only.detail) == (None, Missing.NOT_NUMERIC, text)


@pytest.mark.parametrize("payload", ["60 53 21", "55 60 21", "55 53 25", "5A 53 21"])
def test_an_impossible_time_is_not_told(payload):
    (only,) = items.decode("04000102", bytes.fromhex(payload))
    assert only.missing is Missing.NOT_A_NUMBER


def test_demand_comes_with_its_time():
    value, time = items.decode("01010000", bytes.fromhex("56 34 12 30 12 24 11 26"))
    assert (value.item, value.value, value.unit) == ("01010000", Decimal("12.3456"), "kW")
    assert (time.item, time.missing, time.detail) == (
        "01010000.time",
        Missing.NOT_NUMERIC,
        "2026-11-24 12:30",
    )


@pytest.mark.parametrize(
    ("di", "measurand"),
    [
        ("00010000", "energy.active.import"),
        ("00020100", "energy.active.export.t1"),
        ("00030000", "energy.reactive.import"),
        ("00010001", "energy.active.import.settlement1"),
        ("01010000", "demand.active.import"),
        ("02010100", "voltage.l1"),
        ("02030000", "power.active.total"),
        ("02060000", "power_factor.total"),
        ("02800002", "frequency"),
        ("02800007", "temperature.meter"),
        ("9010", "energy.active.import"),
        ("9411", "energy.active.import.t1.settlement1"),
        ("05060101", "frozen.daily.energy.active.import"),
    ],
)
def test_the_houses_names(di, measurand):
    item = items.describe(di)
    assert item is not None
    assert item.measurand == measurand


def test_no_two_items_of_one_edition_share_a_name():
    dis = [
        f"{a:02X}{b:02X}{c:02X}{d:02X}"
        for a in (0, 1, 2)
        for b in range(256)
        for c in range(5)
        for d in (0, 1)
    ]
    names = [i.measurand for i in map(items.describe, dis) if i and i.measurand]
    assert len(names) == len(set(names)) > 450


numbers = st.tuples(st.integers(1, 6), st.integers(0, 4), st.booleans()).flatmap(
    lambda f: st.tuples(
        st.just(f),
        st.integers(
            -(8 * 10 ** (2 * f[0] - 1) - 1) if f[2] else 0, (8 if f[2] else 9) * 10 ** (2 * f[0] - 1) - 1
        ),
    )
)


@given(numbers)
def test_a_number_survives_its_bytes(case):
    (size, decimals, signed), steps = case
    value = Decimal(steps).scaleb(-decimals)
    raw = bcd.encode_number(value, size, decimals, signed)
    assert len(raw) == size
    assert bcd.number(raw, decimals, signed) == value


@given(st.binary(min_size=1, max_size=6), st.integers(0, 4), st.booleans())
def test_bytes_that_are_a_number_are_the_only_ones_for_it(raw, decimals, signed):
    value = bcd.number(raw, decimals, signed)
    if isinstance(value, Decimal) and value != 0:
        assert bcd.encode_number(value, len(raw), decimals, signed) == raw
        assert value.as_tuple().exponent == -decimals


def test_zero_with_a_sign_is_zero():
    assert str(bcd.number(bytes.fromhex("000080"), 3, signed=True)) == "0.000"


@pytest.mark.parametrize(
    ("value", "size", "signed"), [("1000000", 3, False), ("-1", 3, False), ("800000", 3, True)]
)
def test_a_number_too_large_for_its_bytes_is_refused(value, size, signed):
    with pytest.raises(LocalProtocolError, match="does not fit"):
        bcd.encode_number(Decimal(value), size, 0, signed)


@given(
    st.sampled_from(["0001FF00", "0201FF00", "0101FF00", "02030000", "04000102", "901F", "03010000"]),
    st.data(),
)
def test_a_meters_payload_is_decoded_to_the_values_that_it_was_made_of(di, data):
    one, block = items.describe(di), items.block(di)
    known = [one] if one else [i for i in map(items.describe, block[0]) if i][:5] if block else []
    values: dict[str, Decimal | str | None] = {}
    for item in known:
        for field in item.fields:
            name = f"{item.di}.{field.suffix}" if field.suffix else item.di
            if field.kind is items.Kind.NUMBER:
                values[name] = Decimal(data.draw(st.integers(0, 7999))).scaleb(-field.decimals)
            else:
                values[name] = "21:53:55" if field.layout == "smh" else "2026-11-24 12:30"
    payload = items.encode(di, values)
    assert payload is not None
    shown = {i.item: i.value if i.value is not None else i.detail for i in items.decode(di, payload)}
    assert shown == values


@given(st.text("0123456789ABCDEF", min_size=8, max_size=8), st.binary(max_size=60))
def test_no_bytes_under_any_identifier_make_trouble(di, payload):
    found = items.decode(di, payload)
    assert found
    assert all((i.value is None) != (i.missing is None) for i in found)


@given(st.text("0123456789ABCDEF", min_size=4, max_size=4), st.binary(max_size=60))
def test_nor_under_any_of_1997(di, payload):
    assert items.decode(di, payload)


@pytest.mark.parametrize(
    ("di", "payload", "text"),
    [
        ("01010000", "563412 3015290224", "2024-02-29 15:30"),
        ("01010000", "563412 3015290223", None),  # 2023 was no leap year
        ("01010000", "563412 3015310423", None),  # 31 April
        ("01010000", "000000 0000000000", "2000-00-00 00:00"),  # no maximum yet
        ("01010000", "563412 0024310323", "2023-03-31 24:00"),
        ("01010000", "563412 0124310323", None),  # 24:01
        ("B010", "30152902", "02-29 15:30"),  # of no stated year
        ("B010", "30153002", None),
        ("0400010C", "595923 06 311299", "2099-12-31 23:59:59 weekday 6"),
        ("0400010C", "605923 06 311299", None),
    ],
)
def test_a_date_is_one_of_the_calendar(di, payload, text):
    stamp = items.decode(di, bytes.fromhex(payload))[-1]
    assert (stamp.value, stamp.detail if text else None) == (None, text)
    assert (stamp.missing is Missing.NOT_NUMERIC) == (text is not None)


@pytest.mark.parametrize(
    ("di", "value", "unit"),
    [("0280000B", "0.5283", "CNY/kWh"), ("02800020", "0.5283", "CNY/kWh"), ("00900200", "52.83", "CNY")],
)
def test_prices_and_money_are_told_in_their_unit(di, value, unit):
    (found,) = items.decode(di, bytes.fromhex("83520000"))
    assert (found.value, found.unit) == (Decimal(value), unit)
