"""DL/T 698.45: frames, fragments, APDUs, and quantities by their OAD."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import dlt698, dlt698_apdu
from drivers.codec import LocalProtocolError, Reject
from drivers.decode import decode_capture
from drivers.dlt698 import Decoder, Frame
from drivers.dlt698_tables import DAR

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
GOOD = [v for v in FRAMES["vectors"] if v["protocol"] == "DL/T 698.45"]
METER = "123456789012"


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


def shown(data: bytes) -> dict[str, Any]:
    return decode_capture("dlt698", data).to_json()


def answer(apdu: str, control: int = 0xC3) -> dict[str, Any]:
    found = shown(dlt698.build(METER, control, bytes.fromhex(apdu)))
    assert found["rejected"] == []
    (frame,) = found["frames"]
    return frame


def told(frame: dict[str, Any]) -> list[tuple[str, str, str | None, str]]:
    return [
        (i["item"], i["measurand"], i["value"] or i.get("text") or i.get("missing"), i["unit"])
        for i in frame["items"]
    ]


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_captured_frame_has_the_contents_that_were_noted(vector):
    found = shown(bytes.fromhex(vector["hex"]))
    assert found["rejected"] == []
    (frame,) = found["frames"]
    assert (frame["function"], frame["apdu_tag"]) == (
        vector["expected"]["control"],
        vector["expected"]["apdu_tag"],
    )
    assert frame["direction"] == vector["direction"]
    assert frame["items"] == []


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_no_bit_of_a_frame_may_change(vector):
    raw = bytes.fromhex(vector["hex"])
    for at in range(len(raw)):
        for bit in range(8):
            damaged = raw[:at] + bytes((raw[at] ^ 1 << bit,)) + raw[at + 1 :]
            assert not [f for f in all_of(damaged) if isinstance(f, Frame)]


def test_captured_frames_are_those_that_we_would_build():
    for vector in GOOD:
        raw = bytes.fromhex(vector["hex"])
        (frame,) = all_of(raw)
        assert isinstance(frame, Frame)
        assert dlt698.build(frame.address, frame.control, frame.apdu) == raw


@given(
    st.text("0123456789", min_size=1, max_size=32), st.integers(0, 255), st.binary(min_size=1, max_size=300),
    st.integers(0, 255), st.sampled_from(dlt698.KINDS),
)  # fmt: skip
def test_a_frame_is_read_back_as_built(address, control, apdu, client, kind):
    (frame,) = all_of(b"\xfe\xfe" + dlt698.build(address, control, apdu, client=client, kind=kind))
    assert isinstance(frame, Frame)
    assert (frame.control, frame.apdu, frame.client, frame.kind) == (control, apdu, client, kind)
    assert frame.address == dlt698.address(address)


SOUND = [bytes.fromhex(v["hex"]) for v in GOOD]


@given(st.lists(st.sampled_from([*SOUND, b"\xfe", b"\x68", b"\x00", b"\x68\x19\x00"]), max_size=6), st.data())
def test_how_a_stream_is_cut_does_not_matter(pieces, data):
    stream = b"".join(pieces)
    decoder = Decoder()
    found: list[Frame | Reject] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        found += decoder.feed(stream[at : at + size])
        at += size
    assert [*found, *decoder.finish()] == all_of(stream)


# ---- GET -------------------------------------------------------------------------------------------------------------


def test_energy_is_the_total_and_the_tariffs():
    frame = answer("85 01 05 00100200 01 01 05 06 0001E240 06 0000000A 06 00000000 06 FFFFFFFF 00 00 00")
    assert frame["address"] == METER
    assert told(frame) == [
        ("00100201", "energy.active.import", "1234.56", "kWh"),
        ("00100202", "energy.active.import.t1", "0.10", "kWh"),
        ("00100203", "energy.active.import.t2", "0.00", "kWh"),
        ("00100204", "energy.active.import.t3", "42949672.95", "kWh"),
        ("00100205", "energy.active.import.t4", "not_supported", ""),
    ]


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ("00100201 01 06 0001E240", ("00100201", "energy.active.import", "1234.56", "kWh")),
        ("00100401 01 15 0000000000BC614E", ("00100401", "energy.active.import", "1234.5678", "kWh")),
        ("00200202 01 06 00000001", ("00200202", "energy.active.export.t1", "0.01", "kWh")),
        ("00110201 01 06 00000001", ("00110201", "energy.active.import.l1", "0.01", "kWh")),
        ("00000201 01 05 FFFFFFFF", ("00000201", "", "-0.01", "kWh")),
        ("20000201 01 12 08FC", ("20000201", "voltage.l1", "230.0", "V")),
        ("20010203 01 05 FFFFFC18", ("20010203", "current.l3", "-1.000", "A")),
        ("20040201 01 05 FFFFD8F0", ("20040201", "power.active.total", "-1000.0", "W")),
        ("20040202 01 05 000003E8", ("20040202", "power.active.l1", "100.0", "W")),
        ("200A0201 01 10 03E7", ("200A0201", "power_factor.total", "0.999", "1")),
        ("200F0200 01 12 1387", ("200F0200", "frequency", "49.99", "Hz")),
        ("20100200 01 10 00E6", ("20100200", "temperature.meter", "23.0", "Cel")),
        ("40000200 01 1C 07EA0B18003216", ("40000200", "clock", "2026-11-24 00:50:22", "")),
        ("40010200 01 09 06 123456789012", ("40010200", "address", "123456789012", "")),
        ("40020200 01 0A 03 313233", ("40020200", "serial", "123", "")),
        ("F0010200 01 06 00000007", ("F0010200", "", "7", "")),  # unknown: as it stands
        ("20000201 01 09 02 08FC", ("20000201", "voltage.l1", "08 FC", "")),  # no number
        (
            "20000201 01 17 43660000",
            ("20000201", "voltage.l1", "unknown_format", "V"),
        ),  # a float is not to be scaled
        ("20000201 01 00", ("20000201", "voltage.l1", "not_supported", "")),
    ],
)
def test_a_quantity_has_unit_and_scale_of_its_oad(result, wanted):
    assert told(answer(f"85 01 05 {result} 00 00")) == [wanted]


def test_a_demand_is_its_value_and_the_time_of_it():
    frame = answer("85 01 05 10100200 01 01 01 02 02 06 00003039 1C 07EA0B18003216 00 00")
    assert told(frame) == [
        ("10100201", "demand.active.import", "1.2345", "kW"),
        ("10100201 time", "", "2026-11-24 00:50:22", ""),
    ]


def test_a_list_tells_values_and_refusals():
    frame = answer("85 02 05 02 20000201 01 12 08FC 20000202 00 06 00 00")
    assert told(frame) == [("20000201", "voltage.l1", "230.0", "V"), ("20000202", "", "error_answer", "")]
    assert frame["items"][1]["detail"] == "DAR 6: object does not exist"


RECORD = "50040200 02 00 20210200 00 00100200 01 01 1C 07EA0B18000000 01 02 06 0001E240 06 0000000A"


@pytest.mark.parametrize(
    "apdu", [f"85 03 05 {RECORD} 00 00", f"85 04 05 01 {RECORD} 00 00", f"88 02 05 01 {RECORD} 00 00"]
)
def test_what_was_frozen_has_its_unit_but_not_the_name_of_a_present_value(apdu):
    assert told(answer(apdu)) == [
        ("50040200 row 1 20210200", "", "2026-11-24 00:00:00", ""),
        ("50040200 row 1 00100201", "", "1234.56", "kWh"),
        ("50040200 row 1 00100202", "", "0.10", "kWh"),
    ]


def test_blocks_and_reports_are_told():
    frame = answer("85 05 05 01 0002 01 01 20000201 01 12 08FC 00 00")
    assert frame["block"] == {"last": True, "number": 2}
    assert told(frame)[0][2] == "230.0"
    frame = answer("88 01 05 01 20000201 01 12 08FC 00 01 07EA0B18003216 01 0005", 0x83)
    assert frame["time_tag"] == "2026-11-24 00:50:22"
    assert told(frame)[0][2] == "230.0"


@pytest.mark.parametrize("code", sorted(set(DAR) - {0}))
def test_a_refusal_is_an_error_without_values(code):
    frame = answer(f"85 01 05 00100200 00 {code:02X} 00 00")
    assert frame["items"] == []
    assert frame["error"] == f"DAR {code}: {DAR[code]}"


def test_other_refusals_are_errors_too():
    assert "cannot be parsed" in answer("EE 05 01 00 00")["error"]
    assert "cannot be parsed" in answer("EE 05 01 00")["error"]
    assert answer("86 01 05 40000200 03 00 00")["error"] == "40000200: DAR 3: reading or writing refused"
    assert answer("86 01 05 40000200 00 00 00")["error"] is None
    assert answer("90 02 17 00")["error"].startswith("DAR 23")


def test_a_secured_plain_answer_is_read_and_a_ciphered_one_is_not():
    inner = bytes.fromhex("85 01 05 20000201 01 12 08FC 00 00")
    frame = answer(f"90 00 {len(inner):02X} {inner.hex()} 01 00 04 01020304")
    assert told(frame)[0][2] == "230.0"
    frame = answer("90 01 04 01020304 00")
    assert [(i["value"], i["missing"]) for i in frame["items"]] == [(None, "unknown_format")]


@pytest.mark.parametrize(
    "apdu",
    ["85 01 05 20000201 01 12 08", "85 01 05 20000201 01 12 08FC 00", "85 01 05 20000201 01 12 08FC 00 00 00", "85",
     "85 09 05", "85 01 05 20000201 02", "85 02 05 7F 20000201", "85 01 05 20000201 01 13 00 00",
     "88 02 05 01 50040200 00 01 02"],
)  # fmt: skip
def test_a_broken_apdu_is_refused_whole(apdu):
    found = shown(dlt698.build(METER, 0xC3, bytes.fromhex(apdu)))
    assert found["frames"] == []
    assert [r["reason"] for r in found["rejected"]] == ["length"]


# ---- fragments, scrambling ------------------------------------------------------------------------------------------

LONG = bytes.fromhex("85 01 05 00100200 01 01 02 06 0001E240 06 0000000A 00 00")


def fragments(*headers: int) -> bytes:
    step = -(-len(LONG) // len(headers))
    return b"".join(
        dlt698.build(METER, 0xE3, header.to_bytes(2, "little") + LONG[n * step : (n + 1) * step])
        for n, header in enumerate(headers)
    )


def test_fragments_are_joined():
    frames = shown(fragments(0x0000, 0xC001, 0x4002))["frames"]
    assert [len(f["items"]) for f in frames] == [0, 0, 2]
    assert frames[2]["items"][0]["value"] == "1234.56"


@pytest.mark.parametrize("headers", [(0x0000, 0xC002, 0x4003), (0xC001, 0x4002), (0x0000, 0xC001, 0x4001)])
def test_a_missing_fragment_gives_no_value(headers):
    items = [i for f in shown(fragments(*headers))["frames"] for i in f["items"]]
    assert items
    assert {i["value"] for i in items} == {None}


def test_scrambled_data_are_read():
    plain = dlt698.build(METER, 0xC3, LONG)
    scrambled = dlt698.build(METER, 0xCB, LONG)
    assert LONG in plain
    assert LONG not in scrambled
    assert shown(scrambled)["frames"][0]["items"] == shown(plain)["frames"][0]["items"]


def test_an_impossible_address_is_refused():
    assert dlt698.address("12345") == "012345"
    for text in ("", "12x", "1" * 33):
        with pytest.raises(ValueError, match=r"698\.45 address"):
            dlt698.address(text)
    with pytest.raises(LocalProtocolError):
        dlt698.build(METER, 0xC3, b"")


@given(
    st.binary(min_size=1, max_size=100),
    st.sampled_from([0x85, 0x88, 0x82, 0x05, 0x86, 0x87, 0x89, 0x90, 0x01]),
)
def test_any_apdu_is_shown_or_refused(data, tag):
    found = shown(dlt698.build(METER, 0xC3, bytes((tag,)) + data))
    assert len(found["frames"]) + len(found["rejected"]) == 1
    for frame in found["frames"]:
        assert all(i["value"] is not None or i["missing"] for i in frame["items"])


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_scaled_value_is_exact(number):
    apdu = b"\x85\x01\x00\x20\x01\x02\x01\x01\x05" + number.to_bytes(4, "big", signed=True) + b"\0\0"
    (indication,) = dlt698_apdu.indications(dlt698_apdu.parse(apdu))
    assert indication.value == Decimal(number).scaleb(-3)
