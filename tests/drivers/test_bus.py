"""A bus scans its meters whatever they do: every indication is a value of the right meter, or missing with a reason."""

from __future__ import annotations

import asyncio
import itertools
import struct
from decimal import Decimal

import pytest

from drivers import dlt645, modbus, profile
from drivers.bus import Bus, Meter
from drivers.codec import Missing
from drivers.cycle_time import cycle_time_s
from drivers.line import Timing
from drivers.link import LinkDown, MemoryLink
from drivers.protocols import codec

RTU, DLT = codec("modbus-rtu"), codec("dlt645-2007")

BLOCKS = profile.parse(
    """
protocol = "modbus"
[model]
maker = "Nobody"
name = "Three blocks"
kind = "electricity"
[source]
title = "made for a test: each register holds its own address"
"""
    + "".join(
        f"""
[[point]]
measurand = "{measurand}"
function = 3
address = {address}
type = "u32"
scale = "1"
unit = "{unit}"
"""
        for measurand, address, unit in [
            ("energy.active.import", 1000, "kWh"),
            ("energy.active.export", 2000, "kWh"),
            ("power.active.total", 3000, "kW"),
        ]
    ),
    "three-blocks",
)
QUERIES = profile.plan(BLOCKS)


def truth(address: int) -> Decimal:
    return Decimal(address << 16 | (address + 1))


def asked(request: bytes) -> modbus.Request:
    (frame,) = modbus.decoder("rtu").feed(request)
    found = modbus.request_of(frame)
    assert found is not None
    return found


def right(request: bytes) -> bytes:
    what = asked(request)
    return modbus.answer(what, struct.pack(f">{what.count}H", *range(what.start, what.start + what.count)))


def values(scan) -> list[Decimal | None]:
    return [i.value for i in scan.indications]


def reasons(scan) -> list[Missing | None]:
    return [i.missing for i in scan.indications]


def meter(address: str = "1", **more) -> Meter:
    """Its answers are known to be 0.2 s late at most, unless a test says otherwise."""
    times = {"timeout_s": 0.2, "late_s": 0.2} | more
    return Meter(f"meter {address}", address, times.pop("profile", BLOCKS), **times)


@pytest.fixture
def on_bus(scripted, now):
    """A bus with a scripted meter, or several, at its far end."""

    async def make(respond, timing=None, protocol=RTU, **more):
        line, far = await scripted(respond, timing)
        return Bus("line 1", protocol, line.link, now, timing, **more), far

    return make


def alive(request, n):
    return [(0.02, right(request))]


def test_a_scan_carries_values_frames_and_instants(virtual, on_bus):
    async def main():
        bus, far = await on_bus(alive)
        scan = await bus.scan(meter(), QUERIES)
        assert values(scan) == [truth(1000), truth(2000), truth(3000)]
        assert [i.measurand for i in scan.indications] == [p.measurand for p in BLOCKS.points]
        assert [exchange.request for exchange in scan.exchanges] == far.heard
        assert all(scan.started <= e.sent < e.received <= scan.finished for e in scan.exchanges)
        assert scan.failure is None

    virtual(main)


def test_a_timeout_and_a_corrupt_answer_are_asked_again(virtual, on_bus):
    def stumbling(request, n):
        if n == 0:
            return []
        broken = bytearray(right(request))
        broken[-1] ^= 1
        return [(0.02, bytes(broken) if n == 2 else right(request))]

    async def main():
        bus, _ = await on_bus(stumbling)
        scan = await bus.scan(meter(retries=2), QUERIES)
        assert values(scan) == [truth(1000), truth(2000), truth(3000)]
        failures = [exchange.failure for exchange in scan.exchanges]
        assert Missing.TIMEOUT in failures
        assert Missing.CORRUPT in failures

    virtual(main)


def test_an_error_answer_is_not_asked_again(virtual, on_bus):
    def refusing(request, n):
        what = asked(request)
        return [(0.02, modbus.refusal(what, 2) if what.start == 2000 else right(request))]

    async def main():
        bus, far = await on_bus(refusing)
        scan = await bus.scan(meter(retries=3), QUERIES)
        assert values(scan) == [truth(1000), None, truth(3000)]
        assert scan.indications[1].missing is Missing.ERROR_ANSWER
        assert "illegal data address" in scan.indications[1].detail
        assert len(far.heard) == 3

    virtual(main)


def test_no_late_answer_reaches_a_value_over_many_scans(virtual, on_bus):
    """Every seventh answer is late, by more and more; meters answer in order. No indication is ever a wrong one."""
    free_at = 0.0

    def sometimes_late(request, n):
        nonlocal free_at
        at = asyncio.get_running_loop().time()
        free_at = max(free_at, at) + (0.15 + 0.01 * n if n % 7 == 3 else 0.01)
        return [(free_at - at, right(request))]

    async def main():
        bus, _ = await on_bus(sometimes_late)
        answered = 0
        for _ in range(60):
            scan = await bus.scan(meter(), QUERIES)
            for indication, address in zip(scan.indications, (1000, 2000, 3000), strict=True):
                assert indication.value in (None, truth(address))
                answered += indication.value is not None
            await asyncio.sleep(0.5)
        assert answered > 30
        assert bus.counts.total([Missing.TIMEOUT, Missing.MISMATCH]) > 5

    virtual(main)


# ---- dead meters ----------------------------------------------------------------------------------------------------


def test_a_dead_meter_is_left_out_of_1_2_4_to_60_scans_and_asked_one_query_between(virtual, on_bus):
    async def main():
        bus, far = await on_bus(lambda request, n: [])
        asked_in = []
        for cycle in range(250):
            before = len(far.heard)
            scan = await bus.scan(meter(retries=0), QUERIES)
            assert values(scan) == [None, None, None]
            if len(far.heard) > before:
                asked_in.append((cycle, len(far.heard) - before))
            else:
                assert reasons(scan) == [Missing.SKIPPED] * 3
                assert "scans" in scan.indications[0].detail
                assert scan.exchanges == ()
            await asyncio.sleep(60)
        cycles = [cycle for cycle, _ in asked_in]
        skipped = [b - a - 1 for a, b in itertools.pairwise(cycles[1:])]
        assert skipped == [1, 2, 4, 8, 16, 32, 60, 60]
        assert all(count == 1 for _, count in asked_in[2:])

    virtual(main)


def test_a_dead_meter_does_not_slow_the_living(virtual, on_bus):
    def one_dead(request, n):
        return [] if asked(request).address == "9" else alive(request, n)

    async def main():
        bus, _ = await on_bus(one_dead)
        loop = asyncio.get_running_loop()
        lost = 0.0
        for _ in range(200):
            began = loop.time()
            await bus.scan(meter("9"), QUERIES)
            for address in ("1", "2", "3"):
                assert None not in values(await bus.scan(meter(address), QUERIES))
            lost += loop.time() - began - 9 * 0.02
            await asyncio.sleep(1)
        assert lost < 200 * 0.05  # 0.2 s of waiting and 0.2 s of silence, in fewer than one scan of eight

    virtual(main)


def test_a_dead_meter_is_back_in_full_with_its_first_answer(virtual, on_bus):
    dead = True

    async def main():
        nonlocal dead
        bus, _ = await on_bus(lambda request, n: [] if dead else alive(request, n))
        for _ in range(4):
            await bus.scan(meter(), QUERIES)
        dead = False
        while bus.skips("meter 1"):
            assert reasons(await bus.scan(meter(), QUERIES)) == [Missing.SKIPPED] * 3
        assert values(await bus.scan(meter(), QUERIES)) == [truth(1000), truth(2000), truth(3000)]

    virtual(main)


def test_a_meter_that_is_silent_about_one_block_keeps_the_others(virtual, on_bus):
    """Some meters say nothing where others refuse: the two other blocks are read in every scan."""

    async def main():
        bus, _ = await on_bus(lambda request, n: [] if asked(request).start == 1000 else alive(request, n))
        why = []
        for _ in range(20):
            scan = await bus.scan(meter(), QUERIES)
            assert values(scan) == [None, truth(2000), truth(3000)]
            why.append("t" if scan.indications[0].missing is Missing.TIMEOUT else "-")
        assert (
            "".join(why) == "tt-t--t----t--------"
        )  # less and less often, for it costs a time-out each time

    virtual(main)


# ---- answers that come at any time, in any order --------------------------------------------------------------------


def pairs(blocks: int, points: int) -> profile.Profile:
    """Blocks of equal length, far apart, each of so many two-register values."""
    return profile.parse(
        'protocol = "modbus"\n[model]\nmaker = "Nobody"\nname = "Blocks"\n'
        'kind = "electricity"\n[source]\ntitle = "test"\n'
        + "".join(
            f'[[point]]\nmeasurand = "voltage.l{10 * b + p}"\nfunction = 3\naddress = {1000 * b + 2 * p}\n'
            'type = "u32"\nunit = "V"\n'
            for b in range(1, blocks + 1)
            for p in range(points)
        ),
        "blocks",
    )


def wandering(late_s: float):
    """The first answer is ``late_s`` late, and the others do not wait for it: no meter's order helps."""
    return lambda request, n: [(late_s if n == 0 else 0.02, right(request))]


@pytest.mark.parametrize("late_s", [0.25, 0.5, 0.9, 1.7, 2.4, 4.0])
@pytest.mark.parametrize("points", [1, 2, 5])
def test_nothing_is_asked_that_a_wandering_answer_would_fit(virtual, on_bus, late_s, points):
    known = pairs(3, points)
    queries = profile.plan(known)
    asker = Meter("m", "1", known, timeout_s=0.2, retries=0)

    async def main():
        bus, _ = await on_bus(wandering(late_s))
        for n in range(20):
            scan = await bus.scan(asker, queries)
            for indication, point in zip(scan.indications, known.points, strict=True):
                assert indication.value in (None, truth(point.address))
                assert n < 1 or indication.value is not None or indication.missing is Missing.SKIPPED
            await asyncio.sleep(0.3)
        assert None not in values(scan)

    virtual(main)


def test_a_block_is_asked_in_two_parts_while_an_answer_of_its_length_may_come(virtual, on_bus):
    """One block is silent; the others are read in the same scan, though they have its length."""
    known = pairs(3, 5)
    asker = Meter("m", "1", known, timeout_s=0.2, retries=0)

    async def main():
        bus, far = await on_bus(lambda request, n: [] if asked(request).start == 1000 else alive(request, n))
        scan = await bus.scan(asker, profile.plan(known))
        assert values(scan) == 5 * [None] + [truth(a) for b in (2000, 3000) for a in range(b, b + 10, 2)]
        lengths = [(asked(request).start, asked(request).count) for request in far.heard]
        assert lengths == [(1000, 10), (2000, 2), (2002, 8), (3000, 2), (3002, 8)]

    virtual(main)


def test_the_reason_is_told_where_a_value_waits_for_a_late_answer(virtual, on_bus):
    known = pairs(2, 1)

    async def main():
        bus, far = await on_bus(lambda request, n: [] if n == 0 else alive(request, n))
        scan = await bus.scan(Meter("m", "1", known, timeout_s=0.2, retries=0), profile.plan(known))
        assert reasons(scan) == [Missing.TIMEOUT, Missing.SKIPPED]
        assert "an answer of its length to an earlier request may come" in scan.indications[1].detail
        assert len(far.heard) == 1
        assert bus.skips("m") == 0

    virtual(main)


def test_a_late_answer_that_has_come_holds_nothing_up_any_more(virtual, on_bus):
    known = pairs(2, 1)

    async def main():
        bus, _ = await on_bus(wandering(0.3))
        asker = Meter("m", "1", known, timeout_s=0.2, retries=0)
        await bus.scan(asker, profile.plan(known))
        await asyncio.sleep(0.5)
        assert None not in values(await bus.scan(asker, profile.plan(known)))

    virtual(main)


def test_other_meters_need_not_wait_for_the_late_answer_of_one(virtual, on_bus):
    known = pairs(2, 1)

    async def main():
        bus, _ = await on_bus(lambda request, n: [] if asked(request).address == "1" else alive(request, n))
        await bus.scan(Meter("1", "1", known, timeout_s=0.2, retries=0), profile.plan(known))
        assert None not in values(await bus.scan(Meter("2", "2", known, timeout_s=0.2), profile.plan(known)))

    virtual(main)


def test_a_dead_meter_with_many_queries_costs_three_timeouts_at_first(virtual, on_bus):
    known = profile.load("dlt645-2007-three-phase")
    queries = [query for point in known.points for query in profile.plan(known, [point.measurand])]
    assert len(queries) > 10

    async def main():
        bus, far = await on_bus(lambda request, n: [], protocol=DLT)
        scan = await bus.scan(meter("12", profile=known, retries=1), queries)
        assert len(far.heard) == 4  # the first query twice
        assert reasons(scan)[:3] == [Missing.TIMEOUT] * 3
        assert set(reasons(scan)[3:]) == {Missing.SKIPPED}

    virtual(main)


def test_a_meter_that_is_silent_about_most_still_gives_the_rest_in_every_scan(virtual, on_bus):
    known = profile.load("dlt645-2007-three-phase")
    queries = [query for point in known.points for query in profile.plan(known, [point.measurand])]
    known_one = queries[4]

    def knows_only_one(request, n):
        (frame,) = dlt645.decoder().feed(request)
        what = dlt645.request_of(frame)
        return [(0.02, dlt645.refusal(what, 2))] if what.item == known_one.item else []

    async def main():
        bus, _ = await on_bus(knows_only_one, protocol=DLT)
        heard = []
        for _ in range(20):
            scan = await bus.scan(meter("12", profile=known), queries)
            heard.append(scan.indications[4].missing)
        assert heard == [Missing.SKIPPED] + 19 * [Missing.ERROR_ANSWER]

    virtual(main)


def test_an_address_that_is_none_gives_reasons(virtual, on_bus):
    async def main():
        bus, far = await on_bus(alive)
        scan = await bus.scan(meter("twelve"), QUERIES)
        assert reasons(scan) == [Missing.UNKNOWN_FORMAT] * 3
        assert "twelve" in scan.indications[0].detail
        assert far.heard == []

    virtual(main)


# ---- DL/T 645 -------------------------------------------------------------------------------------------------------

ENERGY = profile.load("dlt645-2007-three-phase")


def test_following_frames_are_joined(virtual, on_bus):
    queries = profile.plan(ENERGY, ["voltage.l1", "voltage.l2", "voltage.l3"])
    assert [q.item for q in queries] == ["0201FF00"]

    def in_two_parts(request, n):
        (frame,) = dlt645.decoder().feed(request)
        what = dlt645.request_of(frame)
        if what.function == dlt645.READ:
            return [(0.02, dlt645.answer(what, bytes.fromhex("0123 0223".replace(" ", "")), more=True))]
        return [(0.02, dlt645.answer(what, bytes.fromhex("0323")))]

    async def main():
        bus, far = await on_bus(in_two_parts, protocol=DLT)
        scan = await bus.scan(meter("12", profile=ENERGY), queries)
        assert values(scan) == [Decimal("230.1"), Decimal("230.2"), Decimal("230.3")]
        assert [exchange.request for exchange in scan.exchanges] == far.heard
        assert len(far.heard) == 2

    virtual(main)


def test_an_answer_whose_rest_never_comes_is_missing_altogether(virtual, on_bus):
    queries = profile.plan(ENERGY, ["voltage.l1", "voltage.l2", "voltage.l3"])

    def first_part_only(request, n):
        (frame,) = dlt645.decoder().feed(request)
        what = dlt645.request_of(frame)
        if what.function == dlt645.READ:
            return [(0.02, dlt645.answer(what, bytes.fromhex("01230223"), more=True))]
        return []

    async def main():
        bus, _ = await on_bus(first_part_only, protocol=DLT)
        scan = await bus.scan(meter("12", profile=ENERGY), queries)
        assert values(scan) == [None, None, None]
        assert reasons(scan) == [Missing.TIMEOUT] * 3

    virtual(main)


# ---- mistakes of ours, and the line ---------------------------------------------------------------------------------


def test_a_query_that_the_line_cannot_ask_is_missing_and_stops_nothing(virtual, on_bus):
    async def main():
        bus, far = await on_bus(alive)
        scan = await bus.scan(meter("1", profile=ENERGY), profile.plan(ENERGY, ["voltage.l1"]))
        assert reasons(scan) == [Missing.UNKNOWN_FORMAT]
        assert far.heard == []
        assert values(await bus.scan(meter(), QUERIES)) == [truth(1000), truth(2000), truth(3000)]

    virtual(main)


def test_a_line_that_falls_and_returns_within_a_scan_costs_one_exchange(virtual, on_bus):
    async def main():
        bus, far = await on_bus(alive)
        assert None not in values(await bus.scan(meter(), QUERIES))
        asyncio.get_running_loop().call_later(0.01, lambda: asyncio.ensure_future(far.link.close()))
        scan = await bus.scan(meter(), QUERIES)
        assert values(scan) == [truth(1000), truth(2000), truth(3000)]
        assert [exchange.failure for exchange in scan.exchanges] == [Missing.LINK_DOWN, None, None, None]

    virtual(main)


def test_a_babbling_line_gives_reasons_within_its_bound_and_marks_no_meter_dead(virtual, on_bus):
    async def main():
        bus, far = await on_bus(alive, Timing(drain_s=1.0))
        assert None not in values(await bus.scan(meter(), QUERIES))
        for k in range(2000):
            far.say(0.005 * k, b"\xaa")
        await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        for _ in range(4):
            began = loop.time()
            scan = await bus.scan(meter(), QUERIES)
            assert reasons(scan) == [Missing.SKIPPED] * 3
            assert "silent" in scan.indications[0].detail
            assert loop.time() - began < 1.1
        assert bus.skips("meter 1") == 0

    virtual(main)


def test_scans_of_one_line_wait_for_each_other(virtual, on_bus):
    async def main():
        bus, far = await on_bus(alive)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bus.scan(meter(str(n)), QUERIES)) for n in range(1, 6)]
        assert all(values(task.result()) == [truth(1000), truth(2000), truth(3000)] for task in tasks)
        assert [asked(request).address for request in far.heard] == [
            str(n) for n in range(1, 6) for _ in range(3)
        ]

    virtual(main)


def test_the_cycle_time_foretells_what_a_scan_takes(virtual, on_bus):
    timing, reply_s = Timing(baud=2400), 0.05

    def paced(request, n):
        answer = right(request)
        return [((len(request) + len(answer)) * timing.character_s + reply_s, answer)]

    async def main():
        bus, _ = await on_bus(paced, timing)
        await bus.scan(meter(), QUERIES)
        before = (bus.usage.busy_us, bus.usage.line_time_us)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await bus.scan(meter(), QUERIES)
        took = loop.time() - began
        estimate = cycle_time_s(RTU, meter(), QUERIES, timing, reply_s)
        assert took == pytest.approx(estimate, rel=0.05)
        assert bus.usage.busy_us - before[0] == pytest.approx(took * 1e6, rel=0.01)
        assert bus.usage.line_time_us - before[1] == pytest.approx(
            (8 + 9) * 3 * timing.character_s * 1e6, rel=0.01
        )

    virtual(main)


def test_the_cycle_time_of_a_645_block_counts_its_items():
    queries = profile.plan(ENERGY, ["voltage.l1", "voltage.l2", "voltage.l3"])
    one = cycle_time_s(DLT, meter("12", profile=ENERGY), queries, Timing(baud=2400), 0.1)
    characters = 3.5 + (4 + 16) + (4 + 16 + 6)  # silence; request and answer with preamble; three voltages
    assert one == pytest.approx(characters * 11 / 2400 + 0.1)


def test_a_link_that_was_never_there_gives_reasons_only(virtual, now):
    class Nowhere(MemoryLink):
        async def open(self):
            raise LinkDown("/dev/ttyUSB7", "no such port")

    async def main():
        bus = Bus("line 1", RTU, Nowhere(), now)
        scan = await bus.scan(meter(), QUERIES)
        assert reasons(scan) == [Missing.LINK_DOWN] * 3
        assert "/dev/ttyUSB7" in scan.indications[0].detail
        assert scan.failure is Missing.LINK_DOWN

    virtual(main)
