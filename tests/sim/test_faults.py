"""Faults do what they say, when they say, and a seed repeats them."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import pytest

from drivers.profile import load
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Fault, FaultKind, Part, Scenario, ScenarioError, scenario, spoil
from sim.framing import Dlt645Framing, RtuFraming, crc16, dlt645_frame, dlt645_request, rtu_frame
from sim.halfduplex import HalfDuplex, MeterStation, Timing, character_us
from sim.instrument import Meter
from sim.modbus_meter import ModbusMeter
from sim.site import registers

MakeMeter = Callable[..., Meter]
ADDRESS = bytes((1, 0, 0, 0, 0, 0))
REQUEST = dlt645_frame(ADDRESS, 0x11, bytes.fromhex("00010102"))  # 02010100, voltage of phase 1
ANSWER = dlt645_frame(ADDRESS, 0x91, bytes.fromhex("00010102") + bytes.fromhex("0522"))
RTU_REQUEST = rtu_frame(bytes.fromhex("010400000004"))
RTU_ANSWER = rtu_frame(bytes.fromhex("010408") + bytes(range(8)))
REPLY = 40_000


def spoiled(kind: FaultKind, seed: int = 1, **sizes: object) -> tuple[Part, ...]:
    fault = Fault(kind, **sizes)  # type: ignore[arg-type]
    return spoil(ANSWER, REQUEST, (fault,), Dlt645Framing(), REPLY, random.Random(seed))


def spoiled_rtu(kind: FaultKind) -> bytes:
    parts = spoil(RTU_ANSWER, RTU_REQUEST, (Fault(kind),), RtuFraming(), REPLY, random.Random(1))
    return b"".join(part.data for part in parts)


def sound(answer: bytes) -> bool:
    body = answer.lstrip(b"\xfe")
    return sum(body[:-2]) & 0xFF == body[-2] and body[-1] == 0x16 and body[9] == len(body) - 12


def test_no_fault_no_change() -> None:
    assert spoil(ANSWER, REQUEST, (), Dlt645Framing(), REPLY, random.Random(1)) == (Part(REPLY, ANSWER),)


def test_silent_and_dead_meters_send_nothing() -> None:
    assert spoiled(FaultKind.SILENT) == spoiled(FaultKind.DEAD) == ()


def test_a_late_answer_is_the_right_one_later() -> None:
    assert spoiled(FaultKind.LATE, delay_ms=1500) == (Part(REPLY + 1_500_000, ANSWER),)
    (part,) = spoiled(FaultKind.SLOW_CARRIER)
    assert 1_600_000 <= part.pause_us - REPLY < 2_400_000


def test_a_wrong_address_item_or_length_is_under_a_right_checksum() -> None:
    for kind in (FaultKind.WRONG_ADDRESS, FaultKind.WRONG_ITEM, FaultKind.WRONG_LENGTH):
        (part,) = spoiled(kind)
        assert sound(part.data)
        assert part.data != ANSWER
        before, after = dlt645_request(ANSWER[4:]), dlt645_request(part.data[4:])
        assert (before.address != after.address) == (kind == FaultKind.WRONG_ADDRESS)
        assert (before.data[:4] != after.data[:4]) == (kind == FaultKind.WRONG_ITEM)
        assert (len(before.data) != len(after.data)) == (kind == FaultKind.WRONG_LENGTH)


def test_the_same_on_modbus() -> None:
    for kind in (FaultKind.WRONG_ADDRESS, FaultKind.WRONG_ITEM, FaultKind.WRONG_LENGTH):
        answer = spoiled_rtu(kind)
        assert crc16(answer) == 0
        assert answer != RTU_ANSWER
    assert spoiled_rtu(FaultKind.WRONG_ADDRESS)[0] == 2
    assert spoiled_rtu(FaultKind.WRONG_ITEM)[1] == 3
    assert spoiled_rtu(FaultKind.WRONG_LENGTH)[2] == 6
    assert len(spoiled_rtu(FaultKind.WRONG_LENGTH)) == len(RTU_ANSWER) - 2
    assert crc16(spoiled_rtu(FaultKind.WRONG_CHECKSUM)) != 0
    merged = spoiled_rtu(FaultKind.MERGED)
    assert merged.startswith(RTU_ANSWER)
    assert crc16(merged[len(RTU_ANSWER) :]) == 0


def test_a_wrong_checksum_is_the_only_thing_wrong() -> None:
    (part,) = spoiled(FaultKind.WRONG_CHECKSUM)
    assert not sound(part.data)
    assert part.data[:-2] == ANSWER[:-2]
    assert part.data[-1] == 0x16


def test_noise_echo_split_and_merge_leave_the_answer_whole() -> None:
    (before,) = spoiled(FaultKind.NOISE_BEFORE, count=7)
    assert before.data.endswith(ANSWER)
    assert len(before.data) == len(ANSWER) + 7
    (after,) = spoiled(FaultKind.NOISE_AFTER, count=3)
    assert after.data.startswith(ANSWER)
    assert len(after.data) == len(ANSWER) + 3
    first, second = spoiled(FaultKind.SPLIT, gap_ms=120)
    assert first.data + second.data == ANSWER
    assert min(len(first.data), len(second.data)) > 0
    assert second.pause_us == 120_000
    (merged,) = spoiled(FaultKind.MERGED)
    assert merged.data.startswith(ANSWER)
    assert sound(merged.data[len(ANSWER) :])
    echo, answer = spoiled(FaultKind.ECHO)
    assert (echo.data, answer.data) == (REQUEST, ANSWER)


def test_a_meter_at_another_baud_rate_gives_garbage() -> None:
    (part,) = spoiled(FaultKind.BAUD_MISMATCH)
    assert 0 < len(part.data) < len(ANSWER)
    assert ANSWER not in part.data


def test_a_seed_repeats_a_scenario_and_shares_are_kept() -> None:
    made = Scenario(5, (Fault(FaultKind.SILENT, share=0.3),))
    met = [bool(made.now("m1", 0, n)) for n in range(2000)]
    assert met == [bool(made.now("m1", 0, n)) for n in range(2000)]
    assert 500 < sum(met) < 700
    assert met != [bool(made.now("m2", 0, n)) for n in range(2000)]
    assert met != [bool(Scenario(6, made.faults).now("m1", 0, n)) for n in range(2000)]


def test_a_fault_meets_its_meter_in_its_time() -> None:
    made = Scenario(0, (Fault(FaultKind.DEAD, meter="m1", from_s=10, to_s=20),))
    for at_s, meter, there in (
        (9.9, "m1", False),
        (10, "m1", True),
        (19.9, "m1", True),
        (20, "m1", False),
        (15, "m2", False),
    ):
        assert bool(made.now(meter, round(at_s * 1e6), 0)) == there


# ---- faults of the meter


def one_meter_line(meter: Meter, made: Scenario, start_us: int) -> HalfDuplex:
    timing = Timing(character_us(9600, "8E1"), REPLY, 500_000)
    return HalfDuplex(Dlt645Framing(), [MeterStation(Dlt645Meter(meter, "1"))], timing, made, start_us)


def voltage(line: HalfDuplex, at_us: int, utc_us: int) -> bytes:
    line.hear(REQUEST, at_us, utc_us)
    return line.take(at_us + 10**7)[-4:-2]


def test_stuck_indications_stay_as_they_were(make_meter: MakeMeter, morning: int) -> None:
    made = Scenario(0, (Fault(FaultKind.STUCK, from_s=60, to_s=600),))
    line = one_meter_line(make_meter(), made, morning)
    shown = {s: voltage(line, s * 10**6, morning + s * 10**6) for s in (0, 40, 61, 300, 599, 700)}
    assert shown[61] == shown[300] == shown[599]
    assert len({shown[0], shown[61], shown[700]}) > 1


def test_a_reset_a_swap_and_a_drifting_clock(make_meter: MakeMeter, morning: int) -> None:
    made = Scenario(
        0,
        (
            Fault(FaultKind.SWAP, "m1", from_s=120, number="555", start_kwh=Decimal("3.00")),
            Fault(FaultKind.RESET, "m1", from_s=60),
            Fault(FaultKind.CLOCK_DRIFT, "m1", from_s=0, offset_s=30, ppm=100),
        ),
    )
    meter = made.changed(make_meter(), morning)
    at = [morning + s * 1_000_000 for s in (59, 60, 119, 120)]
    registers_ = [meter.registers(t)[0] for t in at]
    assert registers_[0] > 100
    assert registers_[1] == 0
    assert registers_[2] < 1
    assert registers_[3] == 3
    assert [meter.number_at(t) for t in at] == ["42", "42", "42", "555"]
    assert meter.clock.shown(morning + 10_000_000_000) - (morning + 10_000_000_000) == 31_000_000
    assert made.changed(make_meter("other"), morning) == make_meter("other")


def test_a_rollover_happens_at_its_instant_and_loses_nothing(make_meter: MakeMeter, morning: int) -> None:
    made = Scenario(0, (Fault(FaultKind.ROLLOVER, from_s=600),))
    meter = made.changed(make_meter(), morning)
    shown = [meter.registers(morning + s * 1_000_000)[0] for s in range(0, 1201, 60)]
    drops = [n for n, (a, b) in enumerate(pairwise(shown)) if b < a]
    assert drops == [9]
    gone = shown[-1] + meter.modulus - shown[0]
    exact = meter.indicated_energy(morning, morning + 1200 * 1_000_000)[0]
    assert float(gone) == pytest.approx(exact, abs=0.011)


def test_faults_meet_a_modbus_meter_on_its_line(make_meter: MakeMeter, morning: int) -> None:
    meter = ModbusMeter(make_meter(), 1, registers(load("eastron-sdm630")))
    made = Scenario(3, (Fault(FaultKind.WRONG_CHECKSUM, share=0.5),))
    timing = Timing(character_us(9600, "8E1"), REPLY, 20_000)
    line = HalfDuplex(RtuFraming(), [MeterStation(meter)], timing, made, morning)
    broken = 0
    for n in range(100):
        line.hear(RTU_REQUEST, n * 10**6, morning + n * 10**6)
        broken += crc16(line.take(n * 10**6 + 900_000)) != 0
    assert 30 < broken < 70
    assert line.counts.faults == {"wrong_checksum": broken}


# ---- scenarios from TOML


def test_a_scenario_is_read_from_toml() -> None:
    made = scenario(
        """
        seed = 7
        [[fault]]
        kind = "late"
        meter = "mill-a"
        from_s = 10
        to_s = 40.5
        share = 0.2
        delay_ms = 1500
        [[fault]]
        kind = "swap"
        number = "123"
        start_kwh = "17.25"
        """
    )
    assert made.seed == 7
    assert made.faults[0] == Fault(FaultKind.LATE, "mill-a", 10.0, 40.5, 0.2, delay_ms=1500.0)
    assert made.faults[1] == Fault(FaultKind.SWAP, number="123", start_kwh=Decimal("17.25"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed = ", "not TOML"),
        ("seeds = 1", "unknown seeds"),
        ("[[fault]]\nmeter = 'x'", "fault 1: needs a kind: late"),
        ("[[fault]]\nkind = 'loud'", "fault 1: kind is one of late"),
        ("[[fault]]\nkind = 'late'\n[[fault]]\nkind = 'late'\ndelay = 3", "fault 2: unknown 'delay'"),
        ("[[fault]]\nkind = 'late'\nshare = 2", "fault 1: late: share is between 0 and 1"),
        ("[[fault]]\nkind = 'late'\nfrom_s = 9\nto_s = 3", "from_s 9.0 is after to_s 3.0"),
        ("[[fault]]\nkind = 'late'\nfrom_s = true", "from_s is a number, not True"),
        ("[[fault]]\nkind = 'swap'\nstart_kwh = 'much'", "start_kwh is a decimal number"),
        ("[[fault]]\nkind = 'swap'\nnumber = 5", "number is text in quotes"),
        ("fault = 3", "faults are written"),
    ],
)
def test_a_scenario_that_cannot_be_read_says_where_and_what_would_do(text: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(text)
    assert told in str(caught.value)
