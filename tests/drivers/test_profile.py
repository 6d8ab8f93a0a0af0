"""Profiles: errors in the reader's words, plans, golden exchanges, and the meter's side as the inverse."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import dlt645, golden, hj212, hj212_points, modbus, profile, protocols, registers
from drivers.codec import Answer, LocalProtocolError, Missing
from drivers.profile import Profile, ProfileError, Span
from drivers.protocols import Codec, Request

SHIPPED = profile.names()
LOADED = {name: profile.load(name) for name in SHIPPED}
OWN_WAY = ("hj212", "mbus", "iec62056-21", "dlms")  # pushed, or asked in sessions
ASKED = [name for name in SHIPPED if LOADED[name].protocol not in OWN_WAY]
MADE = [
    name for name in ASKED if LOADED[name].protocol != "dlt698"
]  # a meter can be made of the profile alone
VECTORS = [(name, n) for name, p in LOADED.items() if name in ASKED for n in range(len(p.vectors))]


def codec_of(p: Profile) -> Codec:
    return protocols.codec("modbus-rtu" if p.protocol == "modbus" else p.protocol)


def exchanged(p: Profile, request: bytes, answer: bytes) -> tuple[Request, Answer]:
    """Request and matched answer out of their bytes, as in a capture."""
    decoder = codec_of(p).decoder()
    asked, answered = [*decoder.feed(request + answer), *decoder.finish()]
    found = protocols.request_of(asked)  # type: ignore[arg-type]
    assert found is not None
    verdict = codec_of(p).match(found, answered)  # type: ignore[arg-type]
    assert isinstance(verdict, Answer)
    return found, verdict


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_says_where_its_numbers_come_from_and_has_golden_exchanges(name):
    p = LOADED[name]
    assert p.source
    assert golden.check(p) == ()
    for point in p.points:
        assert not point.counts or point.resolution, f"{point.measurand} states no resolution"
    assert p.probe is None or p.point(p.probe.point)


@pytest.mark.parametrize(("name", "n"), VECTORS)
def test_a_golden_exchange_is_what_the_bus_would_ask_and_gives_what_it_must(name, n):
    p = LOADED[name]
    vector = p.vectors[n]
    request, answer = exchanged(p, vector.request, vector.answer)
    query = golden.query_for(p, request)
    shown = {i.measurand: i.value for i in profile.decode(p, query, answer)}
    for measurand, expected in vector.expect.items():
        value = shown[measurand]
        assert (None if value is None else f"{value:f}") == expected
    codec = codec_of(p)
    assert codec.encode(codec.request(request.address, query)) == vector.request


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"0.40333026"', '"0.4033303"', "power.active.l1 is 0.40333026, expected 0.4033303"),
        ('answer = "01 04 04 43', 'answer = "01 04 04 44', "not two sound frames"),
        ('request = "01 04 00 0C 00 02 B1 C8"', 'request = "01 04 00 0C 00 03 70 08"', "does not answer"),
        ('request = "01 04 00 0C 00 02 B1 C8"', 'request = "01 04 04 43 C9 AA 46 C1 6C"', "is no request"),
        (
            'expect = { "power.active.l1" = "0.4',
            'expect = { "frequency" = "0.4',
            "frequency is not in the answer",
        ),
    ],
)
def test_a_golden_exchange_that_is_not_true_is_told(old, new, complaint):
    text = Path(profile.__file__).with_name("profiles").joinpath("eastron-sdm630.toml").read_text("utf-8")
    assert text.count(old) == 1
    complaints = golden.check(profile.parse(text.replace(old, new), "t"))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_a_profile_without_golden_exchanges_is_told():
    assert "no [[vector]]" in golden.check(profile.parse(HEAD + register("voltage.l1", 0), "t"))[0]


@pytest.mark.parametrize("name", ASKED)
def test_every_point_of_a_shipped_profile_is_asked_exactly_once(name):
    p = LOADED[name]
    queries = profile.plan(p)
    planned = [point for query in queries for point in query.points]
    assert sorted(profile.measurands(planned)) == sorted(profile.measurands(p.points))
    for query in queries:
        if p.protocol == "modbus":
            assert query.count <= 125
            assert all(query.start <= q.start and q.end <= query.start + query.count for q in query.points)
            assert {q.function for q in query.points} == {query.function}


@given(st.sampled_from(MADE), st.data())
def test_a_meter_made_of_a_profile_is_read_back_exactly(name, data):
    p = LOADED[name]
    values: dict[str, Decimal] = {}
    for point in p.points:
        low, high = point.low or Decimal(0), point.high or Decimal(7)
        if point.type in ("f32", "f64"):
            raw = data.draw(st.floats(float(low), float(high), width=32))
            exact = registers.decode(registers.encode(Decimal(repr(raw)), "f32"), "f32")
            assert isinstance(exact, Decimal)
            values[point.measurand] = registers.scaled(exact, point.scale) if point.scale == 1 else low
        else:
            step = point.resolution or (point.scale if p.protocol == "modbus" else Decimal("0.01"))
            assert step is not None
            values[point.measurand] = data.draw(st.integers(int(low / step), int(high / step))) * step
    codec = codec_of(p)
    for query in profile.plan(p):
        request = codec.request("1", query)
        frame = profile.encode_answer(p, request, values)
        decoder = codec.decoder()
        (found,) = [*decoder.feed(frame), *decoder.finish()]
        answer = codec.match(request, found)  # type: ignore[arg-type]
        assert isinstance(answer, Answer)
        shown = {i.measurand: i.value for i in profile.decode(p, query, answer)}
        assert shown == {q.measurand: values[q.measurand] for q in query.points}
        assert codec.expected_length(request) in (None, len(frame))


@pytest.mark.parametrize("name", SHIPPED)
def test_an_error_answer_makes_every_point_of_the_query_missing(name):
    p = LOADED[name]
    for query in profile.plan(p):
        error = Answer(query.where, b"", b"", "1", "exception 2: illegal data address", 2)
        for indication in profile.decode(p, query, error):
            assert indication.missing is Missing.ERROR_ANSWER
            assert indication.value is None


@given(st.sampled_from(SHIPPED), st.binary(max_size=60))
def test_a_payload_of_the_wrong_length_gives_no_value(name, payload):
    p = LOADED[name]
    for query in profile.plan(p):
        found = profile.decode(p, query, Answer(query.where, payload, b""))
        assert [i.measurand for i in found] == list(profile.measurands(query.points))
        if p.protocol == "modbus":
            for point, indication in zip(query.points, found, strict=True):
                if 2 * (point.end - query.start) > len(payload):
                    assert indication.missing is Missing.WRONG_LENGTH


def test_a_long_answer_is_joined_before_it_is_decoded():
    p = LOADED["dlt645-2007-three-phase"]
    (query,) = profile.plan(p, ["energy.active.import"])
    with pytest.raises(LocalProtocolError, match="join"):
        profile.decode(p, query, Answer(query.item, bytes(4), b"", more=True))


WATER = LOADED["cjt188-water"]


def test_a_water_meters_unit_must_be_the_profiles():
    (query,) = profile.plan(WATER)
    litres = bytes.fromhex("29 00 00 00 29 29 00 00 00 29") + bytes(9)
    (found,) = profile.decode(WATER, query, Answer("901F", litres, b""))
    assert (found.value, found.missing) == (None, Missing.UNKNOWN_FORMAT)
    assert "tells L" in found.detail


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('kind = "water"', 'kind = "beer"', "kind 'beer'"),
        ('item = "current_cumulative"', 'item = "power"', "item 'power'"),
        ('unit = "m3"', 'unit = "m3"\nscale = "0.1"', "no meaning in cjt188"),
        ('unit = "m3"', 'unit = "kWh"', "volume.water in 'kWh'"),
    ],
)
def test_a_water_profile_is_checked_too(old, new, what):
    text = Path(profile.__file__).with_name("profiles").joinpath("cjt188-water.toml").read_text("utf-8")
    with pytest.raises(ProfileError) as caught:
        profile.parse(text.replace(old, new, 1), "t")
    assert what in str(caught.value)


def test_phases_are_asked_as_a_block_and_a_single_one_alone():
    p = LOADED["dlt645-2007-three-phase"]
    assert [q.item for q in profile.plan(p, ["voltage.l1", "voltage.l2", "voltage.l3"])] == ["0201FF00"]
    assert [q.item for q in profile.plan(p, ["voltage.l2"])] == ["02010200"]
    assert [q.item for q in profile.plan(p, ["energy.active.import", "voltage.l1"])] == [
        "00010000",
        "02010100",
    ]


# ---- a profile of one's own -----------------------------------------------------------------------------------------

HEAD = """protocol = "modbus"

[model]
maker = "Test"
name = "T1"
kind = "electricity"

[source]
title = "A document"
"""


def register(measurand: str, address: int, kind: str = "u16", unit: str = "V", more: str = "") -> str:
    return (
        f'\n[[point]]\nmeasurand = "{measurand}"\nfunction = 3\naddress = {address}\n'
        f'type = "{kind}"\nunit = "{unit}"\n{more}'
    )


def test_neighbours_are_merged_and_a_value_never_stands_in_two_requests():
    text = HEAD + "[ask]\nholes = 2\nmost = 6\n"
    for n, address in enumerate((0, 2, 4, 6, 10, 13)):
        text += register(f"voltage.l{n}", address, "u32")
    queries = profile.plan(profile.parse(text, "t"))
    assert [(q.start, q.count) for q in queries] == [(0, 6), (6, 6), (13, 2)]


def test_functions_are_not_mixed():
    text = (
        HEAD + register("voltage.l1", 0) + register("voltage.l2", 1).replace("function = 3", "function = 4")
    )
    assert [(q.function, q.start, q.count) for q in profile.plan(profile.parse(text, "t"))] == [
        (3, 0, 1),
        (4, 1, 1),
    ]


@pytest.mark.parametrize(
    ("more", "raw", "value", "missing"),
    [
        ("sentinels = [0xFFFF]", "FFFF", None, Missing.NOT_SUPPORTED),
        ("sentinels = [0xFFFF]", "FFFE", "65534", None),
        ('low = "100"\nhigh = "300"', "0063", None, Missing.OUT_OF_RANGE),
        ('low = "100"\nhigh = "300"', "012D", None, Missing.OUT_OF_RANGE),
        ('low = "100"\nhigh = "300"', "012C", "300", None),
        ('scale = "0.1"', "08FD", "230.1", None),
        ('word_order = "BADC"', "0100", "1", None),
    ],
)
def test_what_a_point_says_of_its_register_is_heeded(more, raw, value, missing):
    p = profile.parse(HEAD + register("voltage.l1", 0, more=more), "t")
    (query,) = profile.plan(p)
    (found,) = profile.decode(p, query, Answer(query.where, bytes.fromhex(raw), b""))
    assert (None if found.value is None else f"{found.value:f}") == value
    assert found.missing is missing


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "hint"),
    [
        ('type = "u16"', 'tipe = "u16"', 15, "unknown key 'tipe'", "did you mean 'type'?"),
        ('type = "u16"', 'type = "u15"', 15, "type 'u15'", "u16"),
        ("address = 0", "address = 70000", 14, "address 70000", "0-based"),
        ("address = 0", "address = 0.5", 14, "whole number", ""),
        ("address = 0\n", "", 11, "'address' is missing", "address"),
        ('unit = "V"', 'unit = "kWh"', 16, "voltage.l1 in 'kWh'", "V"),
        ('unit = "V"', 'unit = "V"\nscale = 0.1', 17, "must be exact", '"0.1"'),
        ('unit = "V"', 'unit = "V"\nscale = "0"', 17, "scale 0", "above zero"),
        ('unit = "V"', 'unit = "V"\nside = "left"', 17, "side 'left'", "primary or secondary"),
        ('unit = "V"', 'unit = "V"\nword_order = "ABDC"', 17, "word order", "CDAB"),
        ('unit = "V"', 'unit = "V"\nsentinels = [65536]', 17, "sentinels", "raw unsigned"),
        ('unit = "V"', 'unit = "V"\nitem = "00010000"', 17, "no meaning in Modbus", "function and address"),
        ("function = 3", "function = 6", 13, "function 6", "3 (holding)"),
        ('measurand = "voltage.l1"', 'measurand = "Voltage L1"', 12, "no measurand's name", "voltage.l1"),
        ('protocol = "modbus"', 'protocol = "modbas"', 1, "protocol 'modbas'", "modbus"),
        ('[source]\ntitle = "A document"\n', "", None, "[source] is missing", "which document"),
        ('title = "A document"', 'title = ""', 8, "no title", "which document"),
        ('kind = "electricity"', "kind = 8E1", 6, "must be text", "quotes"),
        ('name = "T1"', "name = ", 5, "not TOML", ""),
        ("[source]", "colour = 3\n[source]", 8, "unknown key 'colour'", "known:"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(old, new, line, what, hint):
    text = HEAD + register("voltage.l1", 0)
    assert old in text
    with pytest.raises(ProfileError) as caught:
        profile.parse(text.replace(old, new, 1), "t")
    error = caught.value
    assert what in error.what
    assert hint in error.hint
    assert error.line == line
    assert str(error).startswith("t.toml")


def test_points_that_overlap_are_refused_naming_both():
    text = HEAD + register("voltage.l1", 0, "u32") + register("voltage.l2", 1)
    with pytest.raises(ProfileError, match=r"voltage\.l2 overlaps voltage\.l1") as caught:
        profile.parse(text, "t")
    assert caught.value.line == 21


def test_a_measurand_stands_only_once():
    with pytest.raises(ProfileError, match="there twice"):
        profile.parse(HEAD + register("voltage.l1", 0) + register("voltage.l1", 5), "t")


@pytest.mark.parametrize(
    ("point", "what"),
    [
        (
            'measurand = "voltage.l1"\nitem = "02010100"\nunit = "V"\nscale = "0.1"',
            "no meaning in dlt645-2007",
        ),
        ('measurand = "voltage.l1"\nitem = "0201"\nunit = "V"', "8 hex digits"),
        ('measurand = "voltage.l1"\nitem = "02010100"\nunit = "kV"', "the standard fixes the unit"),
        ('measurand = "voltage.l1"\nitem = "0201FF00"\nunit = "V"', "not in the table"),
        ('measurand = "voltage.l1"\nitem = "02010100"\nunit = "V"\nblock = "0202FF00"', "does not hold"),
        ('measurand = "clock"\nitem = "04000102"\nunit = "s"', "not in the table of numbers"),
    ],
)
def test_a_dl645_point_must_be_one_of_the_standards_numbers(point, what):
    text = HEAD.replace("modbus", "dlt645-2007") + "\n[[point]]\n" + point
    with pytest.raises(ProfileError) as caught:
        profile.parse(text, "t")
    assert what in str(caught.value)


def test_the_standards_counter_begins_again_at_a_million():
    assert LOADED["dlt645-2007-three-phase"].point("energy.active.import").modulus == Decimal(1000000)
    assert LOADED["dlt645-2007-three-phase"].point("energy.active.import").resolution == Decimal("0.01")


def test_a_users_directory_comes_before_what_is_shipped(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(HEAD + register("voltage.l1", 0), "utf-8")
    (tmp_path / "eastron-sdm630.toml").write_text(HEAD + register("voltage.l1", 0), "utf-8")
    assert "mine" in profile.names([tmp_path])
    assert profile.load("mine", [tmp_path]).maker == "Test"
    assert profile.load("eastron-sdm630", [tmp_path]).maker == "Test"
    assert profile.load("eastron-sdm630").maker == "Eastron"


@pytest.mark.parametrize("name", ["sdm630", "../profile", "", "eastron-sdm360"])
def test_a_profile_that_is_not_there_is_told_with_the_nearest(name):
    with pytest.raises(ProfileError, match="no such profile"):
        profile.load(name)


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path):
    (tmp_path / "t.toml").write_bytes(b'protocol = "modbus"\n# \xff\n')
    with pytest.raises(ProfileError, match="UTF-8") as caught:
        profile.load("t", [tmp_path])
    assert caught.value.line == 2


def test_a_measurand_that_the_model_does_not_have_cannot_be_planned():
    with pytest.raises(ProfileError, match=r"no 'voltage\.l4'"):
        profile.plan(LOADED["eastron-sdm630"], ["voltage.l4"])


def test_a_meter_refuses_what_it_does_not_have():
    p = LOADED["eastron-sdm630"]
    frame = profile.encode_answer(p, modbus.Request("1", 4, 0x2000, 2), {})
    assert frame == modbus.refusal(modbus.Request("1", 4, 0x2000, 2), 2)
    d = LOADED["dlt645-2007-three-phase"]
    request = dlt645.Request("000000000001", item="04000102")
    assert profile.encode_answer(d, request, {}) == dlt645.refusal(request, 2)


def test_a_meter_without_a_value_says_so_where_the_protocol_can():
    d = LOADED["dlt645-2007-three-phase"]
    (query,) = profile.plan(d, ["current.l1", "current.l2", "current.l3"])
    frame = profile.encode_answer(d, query, {"current.l1": Decimal("1.5")}, "000000000032")
    _, answer = exchanged(d, dlt645.encode(dlt645.Request("000000000032", item=query.item)), frame)
    shown = [(i.value, i.missing) for i in profile.decode(d, query, answer)]
    assert shown == [(Decimal("1.500"), None), (None, Missing.NOT_SUPPORTED), (None, Missing.NOT_SUPPORTED)]
    with pytest.raises(LocalProtocolError, match="no way to say so"):
        profile.encode_answer(LOADED["acrel-adl3000"], modbus.Request("1", 3, 97, 1), {})


# ---- counters: resolution and modulus -------------------------------------------------------------------------------


def counter(kind: str, more: str = "", measurand: str = "energy.active.import") -> str:
    return register(measurand, 0, kind, "m3" if measurand.startswith("volume") else "kWh", more)


@pytest.mark.parametrize("measurand", ["energy.active.import", "volume.water", "mass.steam"])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_a_float_counter_without_a_resolution_is_refused(measurand, kind):
    with pytest.raises(ProfileError, match="states no resolution") as caught:
        profile.parse(HEAD + counter(kind, "", measurand), "t")
    assert "smallest step" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "more", "resolution"),
    [
        ("u32", 'scale = "0.01"', "0.01"),  # an integer counts in steps of its scale
        ("u32", 'scale = "0.01"\nresolution = "0.1"', "0.1"),  # or in wider ones, if the maker says so
        ("f32", 'resolution = "0.01"', "0.01"),  # nothing is known of where it ends
        ("f32", 'resolution = "0.01"\nmodulus = "100000"', "0.01"),  # 2^17 > 100000: steps of 0.0078
        ("f32", 'resolution = "0.01"\nmodulus = "1000000"', "0.0625"),  # 2^19 < 1e6 <= 2^20
        ("f32", 'resolution = "0.01"\nmodulus = "1048576"', "0.0625"),  # the largest value is below 2^20
        ("f32", 'resolution = "0.01"\nmodulus = "1048577"', "0.125"),
        ("f32", 'scale = "0.001"\nresolution = "0.001"\nmodulus = "1000000"', "0.064"),
        ("f64", 'resolution = "0.01"\nmodulus = "1000000"', "0.01"),
    ],
)
def test_a_counter_has_the_wider_of_its_stated_step_and_its_registers_spacing(kind, more, resolution):
    p = profile.parse(HEAD + counter(kind, more), "t")
    assert p.points[0].resolution == Decimal(resolution)


@given(st.integers(1, 2**30), st.sampled_from(["1", "0.001", "0.1"]))
def test_the_spacing_is_that_of_the_floats_around_the_largest_below_the_modulus(modulus, scale):
    p = profile.parse(
        HEAD + counter("f32", f'scale = "{scale}"\nresolution = "0.000000001"\nmodulus = "{modulus}"'), "t"
    )
    raw = Decimal(modulus) / Decimal(scale)
    below = int.from_bytes(registers.encode(raw, "f32"), "big")
    while Decimal(struct.unpack(">f", below.to_bytes(4, "big"))[0]) >= raw:
        below -= 1
    (low,) = struct.unpack(">f", below.to_bytes(4, "big"))
    (high,) = struct.unpack(">f", (below + 1).to_bytes(4, "big"))
    assert p.points[0].resolution == max(
        Decimal("0.000000001"), (Decimal(high) - Decimal(low)) * Decimal(scale)
    )


# ---- SunSpec's powers of ten ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("power", "value", "missing"),
    [
        ("0001", "12340", None),
        ("0000", "1234", None),
        ("FFFE", "12.34", None),
        ("8000", None, Missing.NOT_SUPPORTED),
        ("000B", None, Missing.NOT_SUPPORTED),
    ],
)
def test_the_power_of_ten_is_read_with_the_value(power, value, missing):
    p = profile.parse(HEAD + register("voltage.l1", 10, more="scale_at = 12"), "t")
    (query,) = profile.plan(p)
    assert (query.start, query.count) == (10, 3)
    (found,) = profile.decode(p, query, Answer("", bytes.fromhex("04D20000" + power), b""))
    assert (None if found.value is None else f"{found.value:f}") == value
    assert found.missing is missing


def test_a_power_of_ten_may_stand_before_its_value_and_is_never_left_out_of_the_request():
    text = HEAD + "[ask]\nmost = 6\nholes = 2\n"
    text += register("voltage.l1", 10, more="scale_at = 5") + register("voltage.l2", 11, more="scale_at = 5")
    queries = profile.plan(profile.parse(text, "t"))
    assert [(q.start, q.count) for q in queries] == [(5, 6), (5, 7)]


# ---- HJ 212 ---------------------------------------------------------------------------------------------------------

CEMS = LOADED["hj212-cems-2017"]


def told(cp: str, command: str = "2011") -> dict[str, tuple[str | None, Missing | None]]:
    header = {"QN": "20261124080000000", "ST": "31", "CN": command, "PW": "1", "MN": "M", "Flag": "4"}
    groups = [dict(pair.split("=") for pair in group.split(",")) for group in cp.split(";")]
    (query,) = profile.plan(CEMS)
    found = profile.decode(CEMS, query, Answer("", hj212.build(header, groups), b""))
    return {i.measurand: (None if i.value is None else f"{i.value:f}", i.missing) for i in found}


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("N", ("12.3", None)),
        ("T", (None, Missing.OUT_OF_RANGE)),
        ("D", (None, Missing.FAULT)),
        ("B", (None, Missing.FAULT)),
        ("C", (None, Missing.FLAGGED)),
        ("M", (None, Missing.FLAGGED)),
        ("F", (None, Missing.FLAGGED)),
        ("S", (None, Missing.FLAGGED)),
        ("7", (None, Missing.FLAGGED)),
    ],
)
def test_a_value_whose_flag_is_not_n_is_no_measurement(flag, expected):
    assert (
        told(f"DataTime=20261124080000;a05001-Rtd=12.3,a05001-Flag={flag}")["concentration.co2"] == expected
    )


def test_each_command_means_its_own_value_of_a_factor():
    both = "DataTime=20261124080000;a01011-Rtd=1.5,a01011-Avg=2.5,a01011-Max=9,a01011-Flag=N"
    assert told(both)["velocity.gas"] == ("1.5", None)
    for command in ("2051", "2061", "2031"):
        assert told(both, command)["velocity.gas"] == ("2.5", None)
    assert told("a00000-Cou=7.25,a00000-Avg=1,a00000-Flag=N", "2051")["interval.volume.gas"] == ("7.25", None)


def test_a_factor_that_is_not_there_is_missing_and_a_wrong_number_is_none():
    found = told("DataTime=20261124080000;a01011-Rtd=12,5,a01011-Flag=N".replace("12,5", "1e5"))
    assert found["velocity.gas"] == (None, Missing.NOT_A_NUMBER)
    assert found["concentration.co2"] == (None, Missing.NOT_SUPPORTED)


@pytest.mark.parametrize(
    ("text", "offset", "expected"),
    [
        ("20240122170000", 480, "2024-01-22T09:00:00+00:00"),
        ("20240122170000500", 480, "2024-01-22T09:00:00.500000+00:00"),
        ("20240101000000", 480, "2023-12-31T16:00:00+00:00"),
        ("20240101000000", 0, "2024-01-01T00:00:00+00:00"),
        ("20240132000000", 480, None),
        ("2024", 480, None),
        ("00010101000000", 480, None),
        ("", 480, None),
    ],
)
def test_datatime_is_local_time(text, offset, expected):
    found = hj212_points.data_time(((("DataTime", text),),), offset)
    assert (None if found is None else _iso(found)) == expected


def _iso(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('basis = "site"', 'basis = "damp"', "basis 'damp'"),
        ('basis = "site"\n', "", "basis ''"),
        ('item = "a01011"', 'item = "a01011-Zs"', "no factor"),
        ('unit = "m/s"', 'unit = "m3"', "velocity.gas in 'm3'"),
        ('unit = "m/s"', 'unit = "m/s"\nbasis = "wet"', "velocity.gas has no basis"),
    ],
)
def test_a_factor_states_its_unit_and_a_concentration_its_basis(old, new, what):
    text = Path(profile.__file__).with_name("profiles").joinpath("hj212-cems-2017.toml").read_text("utf-8")
    assert old in text
    with pytest.raises(ProfileError) as caught:
        profile.parse(text.replace(old, new, 1), "t")
    assert what in str(caught.value)


def test_a_concentration_over_modbus_states_its_basis_too():
    text = HEAD + register("concentration.co2", 0, "f32", "%")
    with pytest.raises(ProfileError, match="basis"):
        profile.parse(text, "t")
    assert profile.parse(text + 'basis = "dry"\n', "t").points[0].basis == "dry"


# ---- analogue inputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "value", "missing"),
    [
        ("4", "-40", None),
        ("20", "160", None),
        ("12", "60", None),
        ("3.8", "-42.5", None),  # a little below zero is still told
        ("20.5", "166.25", None),
        ("3.799", None, Missing.OUT_OF_RANGE),
        ("20.501", None, Missing.OUT_OF_RANGE),
        ("3.6", None, Missing.FAULT),
        ("0", None, Missing.FAULT),
        ("21", None, Missing.FAULT),
    ],
)
def test_a_signal_is_a_value_only_within_namur_ne_43(signal, value, missing):
    point = replace(
        LOADED["analogue-inputs-4-20ma"].points[0],
        measurand="temperature.gas",
        unit="Cel",
        span=Span(Decimal(-40), Decimal(160)),
    )
    raw = registers.encode(Decimal(signal) * 1000, "u16")
    found = profile.register_value(point, 0, raw)
    assert found.value == (None if value is None else Decimal(value))
    assert found.missing is missing
    assert found.unit == "Cel"


@given(
    st.decimals(-1000, 1000, places=3),
    st.decimals(-1000, 1000, places=3),
    st.integers(3800, 20500),
)
def test_a_transmitters_span_and_its_inverse_agree(low, high, micro):
    if low == high:
        return
    span = Span(low, high)
    signal = Decimal(micro) / 1000
    assert abs(span.signal(span.value(signal)) - signal) < Decimal("1E-9")


@pytest.mark.parametrize(
    "wrong",
    [
        {"high": Decimal(0)},
        {"signal_low": Decimal(20)},
        {"under": Decimal("3.5")},
        {"over": Decimal(22)},
        {"under": Decimal("4.5")},
    ],
)
def test_a_span_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"span|signal"):
        Span(**{"low": Decimal(0), "high": Decimal(10), **wrong})


# ---- M-Bus ----------------------------------------------------------------------------------------------------------

HEAT = LOADED["mbus-heat"]


def telegram(records: str) -> dict[str, tuple[Decimal | None, Missing | None]]:
    payload = bytes.fromhex("72 78563412 2440 01 04 55 00 0000" + records)
    (query,) = profile.plan(HEAT)
    found = profile.decode(HEAT, query, Answer("", payload, b""))
    return {i.measurand: (i.value, i.missing) for i in found}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ("04 06 D2040000", (Decimal(1234), None)),  # kWh
        ("04 03 D2040000", (Decimal("1.234"), None)),  # Wh
        ("04 0E D2040000", (None, Missing.UNKNOWN_FORMAT)),  # MJ: another unit, never converted by guess
        ("34 06 D2040000", (None, Missing.ERROR_ANSWER)),  # value during error state
        ("04 06 D2040000 04 06 D3040000", (None, Missing.UNKNOWN_FORMAT)),  # which of the two?
        ("44 06 D2040000", (None, Missing.NOT_SUPPORTED)),  # of another day
        ("04 06 D204", (None, Missing.CORRUPT)),
    ],
)
def test_a_record_is_a_value_only_if_it_says_all_that_the_profile_wants(records, expected):
    assert telegram(records)["energy.heat"] == expected


def test_a_telegram_that_refuses_is_an_error_answer():
    (query,) = profile.plan(HEAT)
    (found, *_) = profile.decode(HEAT, query, Answer("", b"\x70\x08", b""))
    assert found.missing is Missing.ERROR_ANSWER


def test_an_mbus_profile_whose_answer_is_not_its_requests_is_told():
    text = Path(profile.__file__).with_name("profiles").joinpath("mbus-gas.toml").read_text("utf-8")
    for old, new, what in (
        ("10 5B 04 5F 16", "10 5B 05 60 16", "does not answer"),
        ("10 5B 04 5F 16", "10 5B 04 5E 16", "not two sound frames"),
        ('"0.26"', '"0.27"', "volume.gas is 0.26, expected 0.27"),
    ):
        assert old in text
        assert what in golden.check(profile.parse(text.replace(old, new), "t"))[0]
    with pytest.raises(ProfileError, match="states no resolution"):
        profile.parse(text.replace('resolution = "0.01"\n', ""), "t")
