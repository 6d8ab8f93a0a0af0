"""A simulated DL/T 645-2007 meter, read through a parser that this project did not write."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from dlt645 import DLT645Protocol
from dlt645.common.base_log import disable_logging
from dlt645.common.transform import bcd_to_float
from hypothesis import given
from hypothesis import strategies as st

from sim.dlt645_meter import Dlt645Meter, bcd
from sim.framing import Dlt645Framing, dlt645_frame
from sim.halfduplex import MeterStation
from sim.instrument import Clockwork, Meter

disable_logging()

MakeMeter = Callable[..., Meter]
ADDRESS = "123456789012"
WIRE = bytes.fromhex("129078563412")


def ask(
    station: MeterStation, control: int, data: bytes, t_us: int, address: bytes = WIRE
) -> tuple[int, bytes] | None:
    """Control and data of the answer, as the other project's parser reads them; None for silence."""
    raw = station.answer(dlt645_frame(address, control, data, b""), t_us)
    if raw is None:
        return None
    assert raw.startswith(b"\xfe\xfe\xfe\xfe\x68")
    frame = DLT645Protocol.deserialize(raw)
    assert bytes(frame.addr) == WIRE
    return frame.ctrl_code, bytes(frame.data)


def read(station: MeterStation, di: str, t_us: int) -> bytes:
    wire = bytes.fromhex(di)[::-1]
    answer = ask(station, 0x11, wire, t_us)
    assert answer is not None
    control, data = answer
    assert (control, data[:4]) == (0x91, wire)
    return data[4:]


@pytest.fixture
def meter(make_meter: MakeMeter) -> Meter:
    return make_meter(clock=Clockwork(offset_us=0))


@pytest.fixture
def station(meter: Meter) -> MeterStation:
    return MeterStation(Dlt645Meter(meter, ADDRESS))


@pytest.mark.parametrize(
    ("di", "measurand", "layout"),
    [
        ("00010000", "energy.active.import", "XXXXXX.XX"),
        ("00000000", "energy.active.total", "XXXXXX.XX"),
        ("00030000", "energy.reactive.import", "XXXXXX.XX"),
        ("02010200", "voltage.l2", "XXX.X"),
        ("02020300", "current.l3", "XXX.XXX"),
        ("02030000", "power.active.total", "XX.XXXX"),
        ("02040100", "power.reactive.l1", "XX.XXXX"),
        ("02050000", "power.apparent.total", "XX.XXXX"),
        ("02060000", "power_factor.total", "X.XXX"),
        ("02800002", "frequency", "XX.XX"),
        ("02800007", "temperature.meter", "XXX.X"),
    ],
)
def test_an_item_carries_what_the_meter_shows(
    station: MeterStation, meter: Meter, morning: int, di: str, measurand: str, layout: str
) -> None:
    data = read(station, di, morning)
    decimals = len(layout.partition(".")[2])
    shown = meter.show(morning).values[measurand]
    assert bcd_to_float(data, layout, "little") == float(round(shown, decimals))
    assert shown != 0


def test_blocks_hold_their_items_in_order(station: MeterStation, morning: int) -> None:
    for block, items in (
        ("0201FF00", ["02010100", "02010200", "02010300"]),
        ("0203FF00", ["02030000", "02030100", "02030200", "02030300"]),
        ("0001FF00", ["00010000", "00010100", "00010200", "00010300", "00010400"]),
    ):
        assert read(station, block, morning) == b"".join(read(station, di, morning) for di in items)


def test_a_single_phase_meter_fills_the_other_phases_with_ff(make_meter: MakeMeter, morning: int) -> None:
    station = MeterStation(Dlt645Meter(make_meter(phases=1), ADDRESS))
    block = read(station, "0202FF00", morning)
    assert block[3:] == b"\xff" * 6
    assert block[:3] != b"\xff" * 3
    assert read(station, "02010200", morning) == b"\xff\xff"


def test_export_is_negative_power_and_its_own_register(make_meter: MakeMeter, morning: int) -> None:
    meter = make_meter(preset="solar")
    station = MeterStation(Dlt645Meter(meter, ADDRESS))
    power = read(station, "02030000", morning)
    assert power[-1] & 0x80
    assert bcd_to_float(power, "XX.XXXX", "little") == float(
        round(meter.show(morning).values["power.active.total"], 4)
    )
    assert bcd_to_float(read(station, "00020000", morning), "XXXXXX.XX", "little") > 100


def test_identity_ratio_and_clock(make_meter: MakeMeter, morning: int) -> None:
    drifted = Clockwork(offset_us=61_000_000, since_us=morning)
    station = MeterStation(Dlt645Meter(make_meter(clock=drifted, number="987"), ADDRESS))
    assert read(station, "04000401", morning) == WIRE
    assert read(station, "04000402", morning)[::-1].hex() == "000000000987"
    assert read(station, "04000306", morning)[::-1].hex() == "000200"
    # 2026-05-16 09:01:01 UTC is 17:01:01 in China, a Saturday; ss mm hh and WW DD MM YY
    assert read(station, "04000102", morning).hex() == "010117"
    assert read(station, "04000101", morning).hex() == "06160526"


def test_the_demand_comes_with_the_time_of_its_end(station: MeterStation, meter: Meter, morning: int) -> None:
    data = read(station, "01010000", morning)
    kw, ended = meter.maximum_demand(meter.refreshed(morning))
    assert bcd_to_float(data[:3], "XX.XXXX", "little") == round(kw, 4)
    minute, hour = int(data[3:4].hex()), int(data[4:5].hex())
    assert (hour * 60 + minute) % 1440 == (ended // 60_000_000 + 8 * 60) % 1440


@pytest.mark.parametrize("address", ["AAAAAAAAAAAA", "12AAAAAAAAAA", "1290AAAAAAAA"])
def test_addresses_padded_with_aa_are_answered(station: MeterStation, morning: int, address: str) -> None:
    answer = ask(station, 0x11, bytes.fromhex("00000100"), morning, bytes.fromhex(address))
    assert answer is not None
    assert answer[0] == 0x91


@pytest.mark.parametrize("address", ["139078563412", "999999999999", "13AAAAAAAAAA", "AA9078563412"])
def test_other_addresses_and_broadcasts_are_not(station: MeterStation, morning: int, address: str) -> None:
    assert ask(station, 0x11, bytes.fromhex("00000100"), morning, bytes.fromhex(address)) is None


def test_read_address(station: MeterStation, morning: int) -> None:
    assert ask(station, 0x13, b"", morning, b"\xaa" * 6) == (0x93, WIRE)


def test_what_the_meter_has_not_is_refused_and_so_is_writing(station: MeterStation, morning: int) -> None:
    assert ask(station, 0x11, bytes.fromhex("01000605"), morning) == (0xD1, b"\x02")
    assert ask(station, 0x11, bytes.fromhex("000001"), morning) == (0xD1, b"\x01")
    assert ask(station, 0x14, bytes(12), morning) == (0xD4, b"\x04")
    assert ask(station, 0x1A, bytes(8), morning) == (0xDA, b"\x04")
    assert ask(station, 0x08, bytes(6), morning) is None
    assert ask(station, 0x1F, b"", morning) is None


def test_a_long_answer_comes_in_parts(make_meter: MakeMeter, morning: int) -> None:
    whole = read(MeterStation(Dlt645Meter(make_meter(), ADDRESS)), "0001FF00", morning)
    short = MeterStation(Dlt645Meter(make_meter(), ADDRESS, longest=12))
    di = bytes.fromhex("0001FF00")[::-1]
    control, data = ask(short, 0x11, di, morning) or (0, b"")
    assert control == 0xB1
    parts = [data[4:]]
    for sequence in (1, 2):
        control, data = ask(short, 0x12, di + bytes((sequence,)), morning) or (0, b"")
        assert (data[:4], data[-1]) == (di, sequence)
        parts.append(data[4:-1])
    assert control == 0x92
    assert b"".join(parts) == whole
    assert ask(short, 0x12, di + b"\x03", morning) == (0xD2, b"\x02")


@given(st.decimals("-799999", "799999", places=0), st.integers(0, 4))
def test_bcd_is_read_back_by_the_other_parser(steps: Decimal, decimals: int) -> None:
    value = steps.scaleb(-decimals)
    layout = "X" * (6 - decimals) + ("." + "X" * decimals if decimals else "")
    assert bcd_to_float(bcd(value, 3, decimals, signed=True), layout, "little") == float(value)


def test_bcd_shows_the_largest_where_the_display_is_full() -> None:
    assert bcd(Decimal(1000), 2, 1) == bytes.fromhex("9999")
    assert bcd(Decimal(-9999), 3, 4, signed=True)[::-1].hex() == "f99999"
    assert bcd(Decimal(-1), 2, 1) == bytes(2)


def test_requests_are_found_in_noise_and_answers_of_others_are_none() -> None:
    framing = Dlt645Framing()
    request, answer = dlt645_frame(WIRE, 0x11, bytes(4)), dlt645_frame(WIRE, 0x91, bytes(8))
    heard = bytearray(b"\x00\x16" + answer + b"\x55" + request + b"\xfe\xfe")
    assert framing.requests(heard) == [request[4:]]
    whole = bytearray()
    found = []
    for byte in request:
        whole.append(byte)
        found += framing.requests(whole)
    assert found == [request[4:]]


def test_an_address_has_up_to_twelve_digits(make_meter: MakeMeter) -> None:
    assert Dlt645Meter(make_meter(), "42").address == "000000000042"
    with pytest.raises(ValueError, match="12 decimal digits"):
        Dlt645Meter(make_meter(), "12AB")
