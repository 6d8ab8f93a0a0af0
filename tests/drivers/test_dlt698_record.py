"""The last record of a freeze over DL/T 698.45: asked by its columns, believed only with the time of its freeze."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import dlt698, dlt698_get
from drivers.bus import Bus, Meter
from drivers.codec import Answer, Instant, LocalProtocolError, Mismatch, MismatchReason, Missing, Scan
from drivers.cycle_time import cycle_time_s
from drivers.line import Timing as LineTiming
from drivers.link import MemoryLink
from drivers.profile import ProfileError, decode, load, parse, plan
from drivers.protocols import codec
from sim import instrument
from sim.dlt698_meter import Dlt698Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Timing, character_us
from sim.line import Pump
from sim.virtual import VirtualLoop
from sim.world import DAY_US, EPOCH_US, Plant

PROFILE = load("dlt698-daily-freeze")
(QUERY,) = plan(PROFILE)
ADDRESS = "202611240001"
ASKED = "50040200/20210200+00100200+00200200"
START = EPOCH_US + 500 * DAY_US + 9 * 3_600_000_000  # 17:00 where the meter stands
COLUMNS = "03 0020210200 0000100200 0000200200"
WHEN = "1C 07EA 0B 18 00 00 00"


def answered(row: str, columns: str = COLUMNS, record: str = "50040200") -> Answer | Mismatch:
    apdu = bytes.fromhex(f"85 03 01 {record} {columns} {row} 00 00")
    frame = dlt698.Decoder().feed(dlt698.build(ADDRESS, 0xC3, apdu))[0]
    assert isinstance(frame, dlt698.Frame)
    return dlt698_get.match(dlt698_get.request(ADDRESS, ASKED), frame)


def values(answer: Answer | Mismatch) -> dict[str, Decimal | Missing | None]:
    assert isinstance(answer, Answer)
    return {i.measurand: i.missing or i.value for i in decode(PROFILE, QUERY, answer)}


def test_the_plan_asks_the_time_of_the_freeze_and_attributes_as_meters_keep_them() -> None:
    assert QUERY.item == ASKED
    # GET, record, PIID, 5004 attribute 2, RSD: selector 9, the last one, RCSD: three OADs, no time tag
    wanted = "05 03 01 50040200 09 01 03 0020210200 0000100200 0000200200 00"
    assert dlt698_get.request(ADDRESS, QUERY.item).apdu == bytes.fromhex(wanted)


oads = st.integers(0, 0xFFFFFFFF).map(lambda n: f"{n:08X}")


@given(record=oads, columns=st.lists(oads, min_size=1, max_size=8))
def test_a_request_is_read_back_as_it_was(record: str, columns: list[str]) -> None:
    asked = dlt698_get.request(ADDRESS, f"{record}/{'+'.join(columns)}")
    (frame,) = dlt698.Decoder().feed(dlt698_get.encode(asked))
    assert isinstance(frame, dlt698.Frame)
    assert dlt698_get.request_of(frame) == asked


def test_no_record_without_columns() -> None:
    with pytest.raises(LocalProtocolError):
        dlt698_get.request(ADDRESS, "50040200/")


def test_a_row_gives_its_values_exactly() -> None:
    row = f"01 01 {WHEN} 0102 060001E240 0600000001 0102 0600000064 0600000064"
    assert values(answered(row)) == {
        "frozen.daily.energy.active.import": Decimal("1234.56"),
        "frozen.daily.energy.active.export": Decimal(1),
    }


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("01 00", Missing.NOT_SUPPORTED),  # nothing frozen yet
        (f"01 01 {'00'} 0102 060001E240 0600000001 0101 0600000064", Missing.NOT_SUPPORTED),  # no time
        (f"01 01 {'1C FFFFFFFFFFFFFF'} 0101 060001E240 0101 0600000064", Missing.NOT_SUPPORTED),
        (f"01 01 {WHEN} 00 00", Missing.NOT_SUPPORTED),
        ("00 06", Missing.ERROR_ANSWER),  # the record does not exist
    ],
)
def test_what_is_not_there_is_missing(row: str, why: Missing) -> None:
    assert set(values(answered(row)).values()) == {why}


@pytest.mark.parametrize(
    ("columns", "record"),
    [
        ("03 0020210200 0000200200 0000100200", "50040200"),  # in another order
        ("02 0020210200 0000100200", "50040200"),
        (COLUMNS, "50060200"),  # the monthly one
    ],
)
def test_other_columns_or_another_record_is_no_answer(columns: str, record: str) -> None:
    count = int(columns[:2])
    row = f"01 01 {WHEN}" + " 0101 0600000064" * (count - 1)
    got = answered(row, columns, record)
    assert isinstance(got, Mismatch)
    assert got.reason is MismatchReason.ITEM


def test_a_frozen_value_may_not_be_named_as_a_present_one() -> None:
    text = """
protocol = "dlt698"
[model]
maker = "Nobody"
name = "x"
kind = "electricity"
[source]
title = "made for a test"
[[point]]
measurand = "energy.active.import"
unit = "kWh"
item = "50040200/00100201"
"""
    with pytest.raises(ProfileError, match="it is no present value"):
        parse(text, "x")


def meter(**more: object) -> Dlt698Meter:
    feeder = Plant(1).feeder("m", "mill", rated_voltage=220, rated_current=5, phases=3)
    electronics = instrument.Electronics.drawn("0.5S", "m")
    return Dlt698Meter(instrument.Meter("m", "1", feeder, "0.5S", electronics), ADDRESS, **more)  # type: ignore[arg-type]


def scanned(side: Dlt698Meter, *faults: Fault) -> Scan:
    timing = Timing(character_us(9600, "8E1"), 40_000, 500_000)
    line = HalfDuplex(FRAMINGS["dlt698"], [MeterStation(side)], timing, Scenario(1, faults), START)

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(START + us, us)

    async def main() -> Scan:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = pump.hear  # type: ignore[method-assign]
        await far.open()
        bus = Bus("line", codec("dlt698"), near, now, LineTiming(9600, "8E1"))
        scan = await bus.scan(Meter("m", ADDRESS, PROFILE), (QUERY,))
        pump.stop()
        return scan

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("side", [meter, lambda: meter(longest=40)], ids=["whole", "in fragments"])
def test_over_a_bus_the_last_midnights_registers_are_read(side: Callable[[], Dlt698Meter]) -> None:
    made = side()
    shown = made.meter.show(START - 17 * 3_600_000_000).values
    got = {i.measurand: i.value for i in scanned(made).indications}
    assert got == {
        f"frozen.daily.{name}": shown[name] for name in ("energy.active.import", "energy.active.export")
    }


@pytest.mark.parametrize("kind", [FaultKind.WRONG_CHECKSUM, FaultKind.WRONG_ADDRESS, FaultKind.SILENT])
def test_faults_give_no_value(kind: FaultKind) -> None:
    assert {i.value for i in scanned(meter(), Fault(kind)).indications} == {None}


def test_a_records_time_on_the_line_is_told_beforehand() -> None:
    taken = cycle_time_s(codec("dlt698"), Meter("m", ADDRESS, PROFILE), (QUERY,), LineTiming(9600, "8E1"))
    assert 0.1 < taken < 1
