"""A simulated Modbus meter's registers, decoded by struct and by pymodbus."""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from drivers.profile import load
from sim.framing import RtuFraming, crc16, rtu_frame
from sim.halfduplex import MeterStation
from sim.instrument import Meter
from sim.modbus_meter import ModbusMeter, Register, RegisterImage
from sim.site import registers

MakeMeter = Callable[..., Meter]


def register(
    kind: str, *, measurand: str = "voltage.l1", scale: str = "1", unit: str = "V", order: str = "ABCD"
) -> Register:
    return Register(measurand, 3, 0, kind, order, Decimal(scale), unit, int(kind[1:]) // 16)


def ask(meter: ModbusMeter, body: bytes, t_us: int) -> bytes | None:
    answer = MeterStation(meter).answer(rtu_frame(body), t_us)
    if answer is not None:
        assert crc16(answer) == 0
    return answer


@pytest.mark.parametrize(
    ("kind", "pymodbus_type"),
    [
        ("u16", ModbusClientMixin.DATATYPE.UINT16),
        ("i16", ModbusClientMixin.DATATYPE.INT16),
        ("u32", ModbusClientMixin.DATATYPE.UINT32),
        ("i32", ModbusClientMixin.DATATYPE.INT32),
        ("u64", ModbusClientMixin.DATATYPE.UINT64),
        ("i64", ModbusClientMixin.DATATYPE.INT64),
    ],
)
@given(value=st.integers(0, 30_000), sign=st.sampled_from((1, -1)))
def test_integers_are_what_pymodbus_reads(
    kind: str, pymodbus_type: ModbusClientMixin.DATATYPE, value: int, sign: int
) -> None:
    number = value * (sign if kind.startswith("i") else 1)
    words = list(register(kind, scale="0.1").words(Decimal(number) / 10))
    assert ModbusClientMixin.convert_from_registers(words, pymodbus_type) == number


@given(st.floats(-1e6, 1e6, width=32))
def test_floats_are_what_pymodbus_reads(value: float) -> None:
    words = list(register("f32").words(Decimal(repr(value))))
    assert ModbusClientMixin.convert_from_registers(words, ModbusClientMixin.DATATYPE.FLOAT32) == value
    swapped = list(register("f32", order="CDAB").words(Decimal(repr(value))))
    assert (
        ModbusClientMixin.convert_from_registers(swapped, ModbusClientMixin.DATATYPE.FLOAT32, "little")
        == value
    )


def test_word_orders_of_a_32_bit_value() -> None:
    expected = {"ABCD": "11223344", "CDAB": "33441122", "BADC": "22114433", "DCBA": "44332211"}
    for order, laid in expected.items():
        words = register("u32", order=order).words(Decimal(0x11223344))
        assert struct.pack(">HH", *words).hex() == laid


def test_units_scales_and_sides_of_truncation() -> None:
    energy = register("u32", measurand="energy.active.import", scale="1", unit="Wh")
    assert energy.words(Decimal("1.2349")) == (0, 1234)  # cut, not rounded
    power = register("u16", measurand="power.active.total", scale="1", unit="W")
    assert power.words(Decimal("1.2349")) == (1235,)
    assert power.words(Decimal(100)) == (0xFFFF,)  # too large for its register
    wide = register("u32", measurand="energy.active.import", scale="0.01", unit="kWh")
    assert wide.words(Decimal("42949672.97")) == (0, 1)  # rolls over
    assert register("f32").words(None) == (0xFFFF, 0xFFFF)  # NaN
    bcd = Register("energy.active.import", 3, 0, "bcd", "ABCD", Decimal("0.01"), "kWh", 2)
    assert bcd.words(Decimal("1234.56")) == (0x0012, 0x3456)


@pytest.mark.parametrize("name", ["eastron-sdm630", "chint-dtsu666", "schneider-iem3000", "acrel-adl3000"])
def test_the_map_of_a_profile_carries_what_the_meter_shows(
    make_meter: MakeMeter, morning: int, name: str
) -> None:
    """Each point read alone, decoded with struct, scaled by the profile's numbers."""
    profile = load(name)
    meter = make_meter()
    served = ModbusMeter(meter, 7, registers(profile))
    shown = meter.show(morning).values
    checked = 0
    for point in profile.points:
        answer = ask(served, struct.pack(">BBHH", 7, point.function, point.address, point.length), morning)
        assert answer is not None
        assert answer[:3] == bytes((7, point.function, 2 * point.length))
        if point.measurand not in shown or point.word_order != "ABCD":
            continue
        code = {"f32": ">f", "f64": ">d", "i64": ">q", "u32": ">I", "i32": ">i", "u16": ">H", "i16": ">h"}[
            point.type
        ]
        (raw,) = struct.unpack(code, answer[3:-2])
        factor = {"W": 1000, "Wh": 1000, "var": 1000, "V.A": 1000}.get(point.unit, 1)
        expected = float(shown[point.measurand]) * factor
        step = float(point.scale) if point.type not in ("f32", "f64") else 0
        assert raw * float(point.scale) == pytest.approx(expected, rel=2e-7, abs=step)
        checked += 1
    assert checked >= 6


def test_exceptions_and_silence(make_meter: MakeMeter, morning: int) -> None:
    meter = ModbusMeter(make_meter(), 7, registers(load("eastron-sdm630")))

    def refused(function: int, address: int, count: int) -> int | None:
        answer = ask(meter, struct.pack(">BBHH", 7, function, address, count), morning)
        assert answer is not None
        return answer[2] if answer[1] == function | 0x80 else None

    assert refused(4, 0, 2) is None
    assert refused(3, 0, 2) == 1  # this meter has no holding registers
    assert refused(6, 0, 2) == 1
    assert refused(4, 5000, 2) == 2
    assert refused(4, 74, 60) == 2  # begins inside the map, ends outside
    assert refused(4, 0, 0) == 3
    assert refused(4, 0, 126) == 3
    assert ask(meter, struct.pack(">BBHH", 8, 4, 0, 2), morning) is None
    assert ask(meter, struct.pack(">BBHH", 0, 4, 0, 2), morning) is None


def test_registers_between_points_are_zero_and_values_can_be_read_in_halves(
    make_meter: MakeMeter, morning: int
) -> None:
    meter = make_meter()
    image = RegisterImage(registers(load("eastron-sdm630")))
    whole = image.read(4, 0, 76, lambda: meter.show(morning))
    assert isinstance(whole, list)
    assert whole[24:26] == [0, 0]
    assert image.read(4, 1, 3, lambda: meter.show(morning)) == whole[1:4]


def test_requests_with_a_wrong_crc_are_none() -> None:
    good = rtu_frame(bytes.fromhex("010400000002"))
    assert good.hex() == "01040000000271cb"
    heard = bytearray(good[:-1] + b"\x00")
    assert RtuFraming().requests(heard) == []
    split = bytearray(good[:5])
    assert RtuFraming().requests(split) == []
    split += good[5:] + good
    assert RtuFraming().requests(split) == [good, good]


def test_impossible_registers_and_units_are_refused(make_meter: MakeMeter) -> None:
    with pytest.raises(ValueError, match="u16"):
        Register("voltage.l1", 3, 0, "u24", "ABCD", Decimal(1), "V", 2)
    with pytest.raises(ValueError, match="2 registers"):
        Register("voltage.l1", 3, 0, "u16", "ABCD", Decimal(1), "V", 2)
    with pytest.raises(ValueError, match="1 to 247"):
        ModbusMeter(make_meter(), 248, registers(load("eastron-sdm630")))
