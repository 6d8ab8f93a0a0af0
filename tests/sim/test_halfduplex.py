"""A line in virtual time: when bytes arrive, who answers, what collides. No clock is looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.profile import load
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Scenario
from sim.framing import Dlt645Framing, RtuFraming, crc16, dlt645_frame, rtu_frame
from sim.halfduplex import HalfDuplex, MeterStation, Timing, character_us
from sim.instrument import Meter
from sim.modbus_meter import ModbusMeter
from sim.site import registers

MakeMeter = Callable[..., Meter]
CHARACTER = character_us(9600, "8E1")
REPLY = 50_000


def wire(n: int) -> bytes:
    return bytes((n, 0, 0, 0, 0, 0))


def read_energy(address: bytes) -> bytes:
    return dlt645_frame(address, 0x11, bytes.fromhex("00000100"))


class Master:
    """A master that collects what reaches it, with the instants."""

    def __init__(self, line: HalfDuplex, utc_us: int) -> None:
        self.line, self.utc_us = line, utc_us

    def send(self, data: bytes, at_us: int, *, garbled: bool = False) -> None:
        self.line.hear(data, at_us, self.utc_us + at_us, garbled=garbled)

    def collect(self, until_us: int = 10**9) -> list[tuple[int, bytes]]:
        got = []
        while (due := self.line.due_us()) is not None and due <= until_us:
            got.append((due, self.line.take(due)))
        return got


@pytest.fixture
def bus(make_meter: MakeMeter, morning: int) -> Callable[..., Master]:
    """A DL/T 645 line with meters 1 to n."""

    def make(n: int = 2, scenario: Scenario | None = None, **timing: object) -> Master:
        stations = [MeterStation(Dlt645Meter(make_meter(f"m{k}"), f"{k:02d}")) for k in range(1, n + 1)]
        defaults: dict[str, object] = {"character_us": CHARACTER, "reply_us": REPLY, "silence_us": 500_000}
        line = HalfDuplex(
            Dlt645Framing(), stations, Timing(**(defaults | timing)), scenario or Scenario(), morning
        )
        return Master(line, morning)

    return make


def test_a_character_is_eleven_bits_at_8e1_and_ten_at_8n1() -> None:
    assert character_us(9600, "8E1") == pytest.approx(11e6 / 9600)
    assert character_us(2400, "8N1") == pytest.approx(10e6 / 2400)
    assert character_us(300, "7E1") == pytest.approx(10e6 / 300)
    assert character_us(9600, "8N2") == pytest.approx(11e6 / 9600)
    for baud, framing in ((9600, "8X1"), (9600, "8.0"), (0, "8E1")):
        with pytest.raises(ValueError, match="8E1"):
            character_us(baud, framing)


def test_an_answer_takes_the_time_of_a_real_line(bus: Callable[..., Master]) -> None:
    """20 characters asked, the reply delay, 24 characters answered: as a UART would, chunk by chunk."""
    master = bus()
    request = read_energy(wire(1))
    master.send(request, 1_000_000)
    got = master.collect()
    answer = b"".join(data for _, data in got)
    assert len(request) == 20
    assert len(answer) == 24
    begin = 1_000_000 + 20 * CHARACTER + REPLY
    assert [at for at, _ in got] == pytest.approx([begin + n * CHARACTER for n in (8, 16, 24)], abs=1)
    assert master.line.counts.answers == 1


def test_nothing_arrives_before_its_time(bus: Callable[..., Master]) -> None:
    master = bus()
    master.send(read_energy(wire(1)), 0)
    assert master.line.take(int(20 * CHARACTER + REPLY + 8 * CHARACTER) - 1) == b""
    assert len(master.line.take(int(20 * CHARACTER + REPLY + 8 * CHARACTER) + 1)) == 8


def test_a_converter_hands_over_whole_frames(bus: Callable[..., Master]) -> None:
    master = bus(chunk=512)
    master.send(read_energy(wire(1)), 0)
    ((at, data),) = master.collect()
    assert len(data) == 24
    assert at == pytest.approx(44 * CHARACTER + REPLY, abs=1)


def test_a_request_may_come_byte_by_byte_but_silence_ends_it(bus: Callable[..., Master]) -> None:
    master = bus()
    request = read_energy(wire(1))
    for n, byte in enumerate(request):
        master.send(bytes((byte,)), 10_000 * n)
    assert len(master.collect()) == 3
    master.send(request[:12], 5_000_000)
    master.send(request[12:], 6_000_000)
    assert master.collect() == []


def test_each_meter_answers_to_its_own_address(bus: Callable[..., Master]) -> None:
    master = bus(32)
    for k in range(1, 33):
        master.send(read_energy(bytes.fromhex(f"{k:02d}") + bytes(5)), k * 10**6)
        answer = b"".join(data for _, data in master.collect())
        assert answer[5:11] == bytes.fromhex(f"{k:02d}") + bytes(5)
    master.send(read_energy(wire(0x99)), 10**9)
    assert master.collect(2 * 10**9) == []
    assert master.line.counts.unanswered == 1


def test_a_request_during_an_answer_collides(bus: Callable[..., Master]) -> None:
    """What had arrived stays, the rest is garbage, and nobody has heard the second request."""
    clean = bus()
    clean.send(read_energy(wire(1)), 0)
    whole = b"".join(data for _, data in clean.collect())

    master = bus()
    master.send(read_energy(wire(1)), 0)
    midway = int(20 * CHARACTER + REPLY + 12 * CHARACTER)
    before = master.line.take(midway)
    master.send(read_energy(wire(2)), midway)
    after = b"".join(data for _, data in master.collect())
    assert before == whole[:8]
    assert len(before + after) == len(whole)
    assert before + after != whole
    assert master.line.counts.collisions == 1
    assert master.line.counts.requests == 1


def test_a_wildcard_that_two_meters_answer_collides(bus: Callable[..., Master]) -> None:
    ask = dlt645_frame(b"\xaa" * 6, 0x13, b"")
    alone = bus(1)
    alone.send(ask, 0)
    assert b"".join(data for _, data in alone.collect())[5:11] == wire(1)
    pair = bus(2)
    pair.send(ask, 0)
    garbage = b"".join(data for _, data in pair.collect())
    assert garbage
    assert Dlt645Framing().requests(bytearray(garbage)) == []
    assert pair.line.counts.collisions == 1


def test_an_echo_line_gives_the_request_back_before_the_answer(bus: Callable[..., Master]) -> None:
    master = bus(echo=True)
    request = read_energy(wire(1))
    master.send(request, 0)
    got = b"".join(data for _, data in master.collect())
    assert got.startswith(request[4:])
    assert got[len(request) - 4 :].startswith(b"\xfe\xfe\xfe\xfe\x68")
    assert master.line.counts.answers == 1


def test_another_baud_rate_is_not_understood(bus: Callable[..., Master]) -> None:
    master = bus()
    master.send(read_energy(wire(1)), 0, garbled=True)
    assert master.collect() == []
    master.send(read_energy(wire(1)), 1_000_000)
    assert master.collect() != []


def test_repeated_reads_of_a_still_register_agree_and_later_ones_grow(bus: Callable[..., Master]) -> None:
    def register(master: Master, at_us: int) -> bytes:
        master.send(read_energy(wire(1)), at_us)
        return b"".join(data for _, data in master.collect())[-6:-2]

    often, once = bus(), bus()
    series = [register(often, 10**6 * n) for n in range(0, 120, 20)]
    assert series[-1] == register(once, 100 * 10**6)
    assert series[0] != series[-1]


def test_an_rtu_line_drops_what_silence_has_ended(make_meter: MakeMeter, morning: int) -> None:
    meter = ModbusMeter(make_meter(), 1, registers(load("eastron-sdm630")))
    timing = Timing(CHARACTER, REPLY, silence_us=20_000)
    master = Master(HalfDuplex(RtuFraming(), [MeterStation(meter)], timing, Scenario(), morning), morning)
    request = rtu_frame(bytes.fromhex("010400000002"))
    master.send(b"\x00\x01\x02", 0)
    master.send(request, 5_000)  # still the same frame for the meter: no answer
    assert master.collect() == []
    master.send(request, 1_000_000)
    answer = b"".join(data for _, data in master.collect())
    assert crc16(answer) == 0
    assert len(answer) == 9
