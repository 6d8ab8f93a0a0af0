"""One exchange on a shared line: never another request's answer, never another meter's, never rubbish."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from drivers import dlt645, modbus
from drivers.codec import MismatchReason, Missing, RejectReason
from drivers.line import Patience, Timing
from drivers.link import LinkDown
from drivers.protocols import codec
from drivers.stray import shape

RTU, TCP, DLT = codec("modbus-rtu"), codec("modbus-tcp"), codec("dlt645-2007")
QUICK = Patience(reply_s=0.2, late_s=0.2)


def block(start: int, count: int = 2, unit: str = "1") -> modbus.Request:
    return modbus.Request(unit, 3, start, count)


def registers(start: int, count: int = 2) -> bytes:
    """A meter whose every register holds its own address: a wrong block shows."""
    return struct.pack(f">{count}H", *range(start, start + count))


def rtu_answer(request: bytes) -> bytes:
    """The right answer to a request as it came over the line."""
    (frame,) = modbus.decoder("rtu").feed(request)
    asked = modbus.request_of(frame)
    assert asked is not None
    return modbus.answer(asked, registers(asked.start, asked.count))


def volts(tenths: int, item: str = "02010100", address: str = "000000000001") -> bytes:
    payload = bytes.fromhex(f"{tenths:04d}")[::-1]
    return dlt645.answer(dlt645.Request(address, dlt645.READ, item), payload)


def item(di: str = "02010100") -> dlt645.Request:
    return dlt645.Request("000000000001", dlt645.READ, di)


def at_once(request, n):
    return [(0.02, rtu_answer(request))]


# ---- the plain case -------------------------------------------------------------------------------------------------


def test_an_exchange_keeps_the_very_bytes_and_both_instants(virtual, scripted):
    async def main():
        line, meter = await scripted(lambda request, n: [(0.030, b"\xfe\xfe" + volts(2301))])
        reply = await line.exchange(DLT, "000000000001", item(), QUICK)
        assert reply.answer.payload.hex() == "0123"
        assert reply.exchange.request == meter.heard[0]
        assert reply.exchange.answer == volts(2301)  # the frame, without the preamble
        assert reply.exchange.received.boot_us - reply.exchange.sent.boot_us == 30_000
        assert reply.exchange.received.utc_us - reply.exchange.sent.utc_us == 30_000
        assert line.counts.total() == 0

    virtual(main)


def test_an_error_answer_is_an_answer(virtual, scripted):
    async def main():
        line, _ = await scripted(lambda request, n: [(0.01, modbus.refusal(block(0), 2))])
        reply = await line.exchange(RTU, "1", block(0), QUICK)
        assert reply.answer.error_code == 2
        assert reply.failure is None

    virtual(main)


def test_silence_is_a_timeout_after_the_reply_time_and_not_later(virtual, scripted):
    async def main():
        line, _ = await scripted(lambda request, n: [])
        reply = await line.exchange(RTU, "1", block(0), QUICK)
        assert reply.answer is None
        assert reply.failure is Missing.TIMEOUT
        assert reply.exchange.answer == b""
        assert reply.exchange.received.boot_us - reply.exchange.sent.boot_us == 200_000
        assert line.counts.by_address == {"1": {Missing.TIMEOUT: 1}}

    virtual(main)


def test_bytes_that_keep_coming_do_not_stretch_the_deadline(virtual, scripted):
    """Rubbish every 10 ms: a time-out per read would wait for ever."""

    async def main():
        line, _ = await scripted(lambda request, n: [(0.01 * k, b"\x55") for k in range(2000)])
        reply = await line.exchange(RTU, "1", block(0), QUICK)
        assert reply.failure is Missing.CORRUPT
        assert reply.exchange.received.boot_us - reply.exchange.sent.boot_us <= 200_000 + 500_000
        assert line.counts.by_address["1"][RejectReason.NOISE] >= 1

    virtual(main)


def test_an_answer_that_begins_in_time_may_end_a_little_later(virtual, scripted):
    async def main():
        whole = rtu_answer(modbus.encode(block(7)))
        line, _ = await scripted(lambda request, n: [(0.19, whole[:3]), (0.25, whole[3:])])
        reply = await line.exchange(RTU, "1", block(7), QUICK)
        assert reply.answer.payload == registers(7)

    virtual(main)


# ---- split, merged, foreign, rubbish --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "address", "request_", "whole", "payload"),
    [
        (RTU, "1", block(5), modbus.answer(block(5), registers(5)), registers(5)),
        (DLT, "000000000001", item(), b"\xfe" * 4 + volts(2301), b"\x01\x23"),
    ],
)
def test_an_answer_may_come_one_byte_at_a_time(
    virtual, scripted, protocol, address, request_, whole, payload
):
    async def main():
        pieces = [(0.01 + 0.005 * k, whole[k : k + 1]) for k in range(len(whole))]
        line, _ = await scripted(lambda request, n: pieces)
        reply = await line.exchange(protocol, address, request_, QUICK)
        assert reply.answer.payload == payload
        assert line.counts.total() == 0

    virtual(main)


FOREIGN = {
    MismatchReason.ADDRESS: modbus.answer(block(5, unit="9"), b"\xde\xad\xbe\xef"),
    MismatchReason.FUNCTION: modbus.answer(modbus.Request("1", 4, 5, 2), b"\xde\xad\xbe\xef"),
    MismatchReason.LENGTH: modbus.answer(block(5, 3), b"\xde\xad\xbe\xef\xde\xad"),
}


@pytest.mark.parametrize("cause", FOREIGN)
def test_a_frame_that_is_not_the_answer_is_counted_and_passed_over(virtual, scripted, cause):
    """Wrong unit, wrong function, wrong length, merged with the right one behind it: only the right one counts."""

    async def main():
        line, _ = await scripted(lambda request, n: [(0.02, FOREIGN[cause] + rtu_answer(request))])
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.answer.payload == registers(5)
        assert line.counts.by_address == {"1": {cause: 1}}

    virtual(main)


@pytest.mark.parametrize("cause", FOREIGN)
def test_a_frame_that_is_not_the_answer_is_never_a_value(virtual, scripted, cause):
    async def main():
        line, _ = await scripted(lambda request, n: [(0.02, FOREIGN[cause])])
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.answer is None
        assert reply.failure is Missing.MISMATCH
        assert line.counts.by_address == {"1": {cause: 1, Missing.MISMATCH: 1}}

    virtual(main)


def test_another_item_of_the_same_dlt645_meter_is_never_a_value(virtual, scripted):
    async def main():
        line, _ = await scripted(lambda request, n: [(0.02, volts(9999, item="02010200"))])
        reply = await line.exchange(DLT, "000000000001", item(), QUICK)
        assert reply.failure is Missing.MISMATCH
        assert "02010200" in reply.detail
        assert line.counts.by_address["000000000001"][MismatchReason.ITEM] == 1

    virtual(main)


def test_noise_before_and_collision_garbage_do_not_hide_the_answer(virtual, scripted):
    async def main():
        garbage = bytes(range(0x80, 0xA0)) + b"\x00\xff\x55"
        line, _ = await scripted(lambda request, n: [(0.02, garbage), (0.03, rtu_answer(request))])
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.answer.payload == registers(5)
        assert line.counts.total(list(RejectReason)) >= 1

    virtual(main)


def test_an_answer_behind_what_looked_like_a_longer_frame_is_found_at_the_end(virtual, scripted):
    """A collision leaves the head of a 645 frame of 200 bytes; the true answer stands inside it."""

    async def main():
        head = bytes.fromhex("68 11 11 11 11 11 11 68 91 C8")
        line, _ = await scripted(lambda request, n: [(0.02, head + volts(2301))])
        reply = await line.exchange(DLT, "000000000001", item(), QUICK)
        assert reply.answer.payload.hex() == "0123"

    virtual(main)


def test_a_corrupt_answer_is_no_value_and_its_bytes_are_kept(virtual, scripted):
    async def main():
        broken = bytearray(rtu_answer(modbus.encode(block(5))))
        broken[4] ^= 0x01
        line, _ = await scripted(lambda request, n: [(0.02, bytes(broken))])
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.failure is Missing.CORRUPT
        assert reply.exchange.answer == bytes(broken)
        assert line.counts.by_address["1"][RejectReason.CHECKSUM] == 1

    virtual(main)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=30),
            st.sampled_from(
                [modbus.answer(block(9, unit="2"), b"\xff" * 4), modbus.answer(block(9, 4), b"\xff" * 8)]
            ),
        ),
        max_size=4,
    ),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=12),
)
def test_whatever_else_is_on_the_line_the_right_block_is_the_only_value(virtual, scripted, noise, cuts):
    async def main():
        stream = b"".join(noise) + modbus.answer(block(5), registers(5)) + b"".join(noise)
        pieces, at = [], 0
        for n, cut in enumerate([*cuts, len(stream)]):
            pieces.append((0.01 + 0.005 * n, stream[at : at + cut]))
            at += cut
        line, _ = await scripted(lambda request, n: [piece for piece in pieces if piece[1]])
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.answer is not None
        assert reply.answer.payload == registers(5)

    virtual(main)


# ---- echo -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [1, 7])
@pytest.mark.parametrize(
    ("protocol", "request_", "whole"),
    [(RTU, block(5), modbus.answer(block(5), registers(5))), (DLT, item(), b"\xfe" * 4 + volts(2301))],
)
def test_our_own_request_heard_back_is_dropped_by_count(virtual, scripted, protocol, request_, whole, split):
    async def main():
        def respond(request, n):
            return [(0.001, request[:split]), (0.002, request[split:] + whole[:2]), (0.03, whole[2:])]

        line, _ = await scripted(respond)
        reply = await line.exchange(protocol, request_.address, request_, QUICK)
        assert reply.answer is not None
        assert reply.exchange.answer == whole.lstrip(b"\xfe")
        assert line.counts.by_address == {request_.address: {MismatchReason.ECHO: 1}}
        assert line.echoes

    virtual(main)


def test_an_echo_alone_is_a_timeout(virtual, scripted):
    async def main():
        line, _ = await scripted(lambda request, n: [(0.001, request)])
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.failure is Missing.TIMEOUT
        assert "echo" in reply.detail

    virtual(main)


def test_an_echo_behind_a_glitch_does_not_hide_the_answer(virtual, scripted):
    async def main():
        line, _ = await scripted(lambda request, n: [(0.001, b"\x00" + request), (0.02, rtu_answer(request))])
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.answer.payload == registers(5)

    virtual(main)


# ---- late answers ---------------------------------------------------------------------------------------------------


async def naive_read(link, raw: bytes, sound, wait_s: float):
    """What a simple client does: write, then take the first sound frame of that unit and function."""
    await link.write(raw)
    held = b""
    try:
        async with asyncio.timeout(wait_s):
            while True:
                held += await link.read()
                if (found := sound(held)) is not None:
                    return found
    except TimeoutError:
        return None


def sound_rtu(held: bytes):
    for frame in modbus.decoder("rtu").feed(held):
        if (
            isinstance(frame, modbus.Frame)
            and (frame.unit, frame.function) == (1, 3)
            and frame.direction == "response"
        ):
            return frame.data[1:]
    return None


def sound_dlt645(held: bytes):
    for frame in dlt645.decoder().feed(held):
        if isinstance(frame, dlt645.Frame) and frame.control == 0x91 and frame.address == "000000000001":
            return frame.payload
    return None


class LateMeter:
    """Answers its first request ``late`` s after it came, the others in 10 ms; in order, as a meter does; rightly."""

    def __init__(self, late: float) -> None:
        self.late = late
        self.free_at = 0.0

    def delay(self, n: int) -> float:
        now = asyncio.get_running_loop().time()
        self.free_at = max(self.free_at, now) + (self.late if n == 0 else 0.01)
        return self.free_at - now

    def rtu(self, request: bytes, n: int):
        return [(self.delay(n), rtu_answer(request))]

    def dlt645(self, request: bytes, n: int):
        (frame,) = dlt645.decoder().feed(request)
        tenths = {"02010100": 2301, "02010200": 1111}[frame.item]
        return [(self.delay(n), volts(tenths, item=frame.item))]


# Late by less than the silence waited for, and by more than any: 0.2 s + 0.2 s here.
LATE = [0.25, 0.45, 0.50]


@pytest.mark.parametrize("late", LATE)
def test_rtu_late_answer_is_never_the_next_ones_and_a_naive_client_is_fooled(virtual, scripted, late):
    async def ours():
        line, _ = await scripted(LateMeter(late).rtu)
        assert (await line.exchange(RTU, "1", block(1000), QUICK)).failure is Missing.TIMEOUT
        for start in (2000, 3000, 4000):
            reply = await line.exchange(RTU, "1", block(start), QUICK)
            assert reply.answer is not None
            assert reply.answer.payload == registers(start)
        assert line.counts.total([MismatchReason.UNASKED, MismatchReason.LENGTH]) == 1  # the late one

    async def naive():
        line, _ = await scripted(LateMeter(0.25).rtu)
        await line.link.open()
        assert await naive_read(line.link, modbus.encode(block(1000)), sound_rtu, 0.2) is None
        got = await naive_read(line.link, modbus.encode(block(2000)), sound_rtu, 0.2)
        assert got == registers(1000)  # asked for 2000, shown 1000: the script does deceive

    virtual(ours)
    virtual(naive)


@pytest.mark.parametrize("late", LATE)
def test_dlt645_late_answer_is_never_the_next_ones_and_a_naive_client_is_fooled(virtual, scripted, late):
    async def ours():
        line, _ = await scripted(LateMeter(late).dlt645)
        address = "000000000001"
        assert (await line.exchange(DLT, address, item(), QUICK)).failure is Missing.TIMEOUT
        reply = await line.exchange(DLT, address, item("02010200"), QUICK)
        assert reply.answer is not None
        assert reply.answer.payload.hex() == "1111"
        assert line.counts.total([MismatchReason.UNASKED, MismatchReason.ITEM]) == 1

    async def naive():
        line, _ = await scripted(LateMeter(0.25).dlt645)
        await line.link.open()
        assert await naive_read(line.link, DLT.encode(item()), sound_dlt645, 0.2) is None
        got = await naive_read(line.link, DLT.encode(item("02010200")), sound_dlt645, 0.2)
        assert got.hex() == "0123"  # asked for phase B, shown phase A's 230.1 V

    virtual(ours)
    virtual(naive)


@pytest.mark.parametrize("pause_s", [0, 1, 100])
def test_a_converter_that_lags_one_answer_behind_is_never_believed(virtual, scripted, pause_s):
    """It gives each answer only when the next request comes. Silence never helps; another shape tells."""

    def lagging():
        held: list[bytes] = []

        def respond(request, n):
            held.append(rtu_answer(request))
            return [(0.01, held.pop(0))] if len(held) > 1 else []

        return respond

    async def ours():
        line, _ = await scripted(lagging())
        for start in range(1000, 1400, 10):
            reply = await line.exchange(RTU, "1", block(start), QUICK)
            assert reply.answer is None or reply.answer.payload == registers(start)
            await asyncio.sleep(pause_s)

    async def naive():
        line, _ = await scripted(lagging())
        await line.link.open()
        shown = [
            await naive_read(line.link, modbus.encode(block(n)), sound_rtu, 0.2) for n in (1000, 2000, 3000)
        ]
        assert shown == [None, registers(1000), registers(2000)]

    virtual(ours)
    virtual(naive)


def test_the_same_request_again_waits_until_the_late_answer_has_been_dropped(virtual, scripted):
    """The register counts up each time it is read: the retry must give the value read for the retry."""
    reads = iter(range(100))

    def counting(request, n):
        (frame,) = modbus.decoder("rtu").feed(request)
        asked = modbus.request_of(frame)
        payload = struct.pack(f">{asked.count}H", *[next(reads)] * asked.count)
        return [(0.35 if n == 0 else 0.01, modbus.answer(asked, payload))]

    async def main():
        line, meter = await scripted(counting)
        assert (await line.exchange(RTU, "1", block(7), QUICK)).failure is Missing.TIMEOUT
        reply = await line.exchange(RTU, "1", block(7), QUICK)
        assert reply.answer.payload != struct.pack(">2H", 0, 0)  # the value of the first, unanswered, reading
        assert reply.exchange.sent.boot_us > 1e6 * meter.heard_at[0] + 350_000

    virtual(main)


def test_modbus_tcp_drops_late_answers_by_number_without_waiting(virtual, scripted):
    def late_first(request, n):
        (frame,) = modbus.decoder("tcp").feed(request)
        asked = modbus.request_of(frame)
        return [(0.205 if n == 0 else 0.01, modbus.answer(asked, registers(asked.start, asked.count)))]

    async def main():
        line, meter = await scripted(late_first)
        asked = [modbus.Request("1", 3, start, 2, "tcp") for start in (1000, 2000)]
        assert (await line.exchange(TCP, "1", asked[0], QUICK)).failure is Missing.TIMEOUT
        reply = await line.exchange(TCP, "1", asked[1], QUICK)
        assert reply.answer.payload == registers(2000)
        assert meter.heard_at[1] - meter.heard_at[0] == pytest.approx(0.2)
        assert line.counts.by_address["1"][MismatchReason.TRANSACTION] == 1

    virtual(main)


def test_a_meter_that_is_silent_about_other_shapes_is_read_again(virtual, scripted):
    """It answers two registers at a time and nothing else; one request was lost."""

    def two_only(request, n):
        (frame,) = modbus.decoder("rtu").feed(request)
        return [] if n == 0 or modbus.request_of(frame).count != 2 else [(0.01, rtu_answer(request))]

    async def main():
        line, _ = await scripted(two_only)
        answers = []
        for start in range(1000, 1100, 10):
            reply = await line.exchange(RTU, "1", block(start), QUICK)
            answers.append(reply.answer.payload == registers(start) if reply.answer else None)
            await asyncio.sleep(1)
        assert answers[4:] == [True] * 6

    virtual(main)


@pytest.mark.parametrize("pieces", [[(0.205, 0, 5), (0.215, 5, 99)], [(0.19, 0, 5), (0.9, 5, 99)]])
def test_modbus_tcp_connects_anew_when_a_late_answer_is_torn(virtual, scripted, pieces):
    """Half of it comes while it is waited for or not, half later: what follows would be read at the wrong place."""

    def late_first(request, n):
        (frame,) = modbus.decoder("tcp").feed(request)
        asked = modbus.request_of(frame)
        answer = modbus.answer(asked, registers(asked.start, asked.count))
        return [(at, answer[a:b]) for at, a, b in pieces] if n == 0 else [(0.03, answer)]

    async def main():
        line, meter = await scripted(late_first)
        opened = 0
        open_link = meter.link.open

        async def counted() -> None:
            nonlocal opened
            opened += 1
            await open_link()

        meter.link.open = counted
        replies = []
        for start in (1000, 2000, 3000):
            asked = modbus.Request("1", 3, start, 2, "tcp")
            replies.append(await line.exchange(TCP, "1", asked, QUICK))
            await asyncio.sleep(0.006)
        assert replies[0].answer is None
        assert opened == 2
        assert replies[2].answer.payload == registers(3000)

    virtual(main)


def test_a_modbus_tcp_connection_on_which_nothing_comes_any_more_is_made_anew(virtual, scripted):
    """Half open: the device has forgotten the connection, or serves it no longer, and nobody hangs up."""

    async def main():
        forgotten = True

        def respond(request, n):
            (frame,) = modbus.decoder("tcp").feed(request)
            asked = modbus.request_of(frame)
            return [] if forgotten else [(0.01, modbus.answer(asked, registers(asked.start, asked.count)))]

        line, meter = await scripted(respond)
        open_link = meter.link.open

        async def anew() -> None:
            nonlocal forgotten
            forgotten = False
            await open_link()

        meter.link.open = anew
        asked = modbus.Request("1", 3, 1000, 2, "tcp")
        await open_link()
        replies = [await line.exchange(TCP, "1", asked, QUICK) for _ in range(4)]
        assert [reply.failure for reply in replies] == [Missing.TIMEOUT] * 3 + [None]
        assert replies[3].answer.payload == registers(1000)

    virtual(main)


@pytest.mark.parametrize("connection", [True, False])
def test_a_converter_that_is_silent_about_all_meters_is_connected_anew_a_serial_port_is_not(
    virtual, scripted, connection
):
    """Meters 1 and 2 answer until the converter forgets us; meter 3 has never been there."""

    async def main():
        forgotten = False

        def respond(request, n):
            return [] if forgotten or request[0] == 3 else [(0.01, rtu_answer(request))]

        line, meter = await scripted(respond)
        meter.link.connection = connection
        open_link = meter.link.open

        async def anew() -> None:
            nonlocal forgotten
            forgotten = False
            await open_link()

        meter.link.open = anew

        async def ask(*units):
            replies = [await line.exchange(RTU, u, modbus.Request(u, 3, 1000, 2), QUICK) for u in units]
            return [reply.failure for reply in replies]

        silent = Missing.TIMEOUT
        assert await ask("1", "2") == [None, None]
        assert await ask(*"333333333") == [silent] * 9  # one dead meter is no dead connection
        assert await ask("2", "1") == [None, None]
        assert line.openings == 1
        forgotten = True
        assert await ask("3", "2", "2", "3") == [silent] * 4  # nor is it while another one has not been asked
        assert line.openings == 1
        assert await ask("1", "1", "2") == ([silent, None, None] if connection else [silent] * 3)
        assert line.openings == 1 + connection

    virtual(main)


def test_where_all_meters_are_dead_the_connection_is_made_anew_ever_more_seldom(virtual, scripted):
    async def main():
        line, meter = await scripted(lambda request, n: [])
        meter.link.connection = True
        opened = []
        for _ in range(200):
            await line.exchange(RTU, "1", modbus.Request("1", 3, 1000, 2), QUICK)
            opened.append(line.openings)
        assert [opened.index(n) for n in range(1, line.openings + 1)] == [0, 3, 9, 21, 45, 93, 141, 189]

    virtual(main)


def test_a_late_exception_does_not_open_the_door_for_the_answer_behind_it(virtual, scripted):
    """1000 is refused late; the refusal is taken for 2000's; 2000's own answer must not become 3000's."""

    def respond(request, n):
        (frame,) = modbus.decoder("rtu").feed(request)
        asked = modbus.request_of(frame)
        if n == 0:
            return [(0.45, modbus.refusal(asked, 4))]
        return [(0.06 if n == 1 else 0.08, rtu_answer(request))]

    async def main():
        line, _ = await scripted(respond)
        await line.exchange(RTU, "1", block(1000), QUICK)
        for start in (2000, 3000, 4000):
            reply = await line.exchange(RTU, "1", block(start, 4), QUICK)
            assert reply.answer is None or reply.answer.error or reply.answer.payload == registers(start, 4)

    virtual(main)


def test_a_scan_given_up_in_the_middle_leaves_nothing_for_the_next(virtual, scripted):
    async def main():
        line, _ = await scripted(LateMeter(0.1).rtu)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.22):  # 0.2 s of the first silence, then 20 ms into the exchange
                await line.exchange(RTU, "1", block(1000), QUICK)
        reply = await line.exchange(RTU, "1", block(2000), QUICK)
        assert reply.answer.payload == registers(2000)

    virtual(main)


# ---- answers sent twice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [0.010, 0.011, 0.030, 0.055, 0.075])
def test_an_answer_sent_twice_is_never_the_next_ones(virtual, scripted, again):
    """The repetition comes with the answer, behind it, in the silence after it, or when the next has been asked."""

    def twice(request, n):
        answer = rtu_answer(request)
        return [(0.010, answer), (again, answer)] if n == 0 else [(0.1, answer)]

    async def main():
        line, _ = await scripted(twice)
        for start in (1000, 2000, 3000):
            reply = await line.exchange(RTU, "1", block(start), QUICK)
            assert reply.answer.payload == registers(start)

    virtual(main)


def test_after_trailing_bytes_the_line_is_left_silent(virtual, scripted):
    async def main():
        line, meter = await scripted(lambda request, n: [(0.010, rtu_answer(request) + b"\x00\xff")])
        for start in (1000, 2000):
            reply = await line.exchange(RTU, "1", block(start), QUICK)
            assert reply.answer.payload == registers(start)
        assert meter.heard_at[1] - meter.heard_at[0] >= 0.010 + 0.050 - 1e-9
        assert line.counts.total(list(RejectReason)) == 2

    virtual(main)


def test_equal_values_of_two_blocks_are_believed(virtual, scripted):
    """Two blocks of zeros have the same answer, byte for byte: no repetition, no loss."""

    def zeros(request, n):
        (frame,) = modbus.decoder("rtu").feed(request)
        asked = modbus.request_of(frame)
        return [(0.01, modbus.answer(asked, bytes(2 * asked.count)))]

    async def main():
        line, meter = await scripted(zeros)
        for start in (1000, 2000, 3000):
            reply = await line.exchange(RTU, "1", block(start), QUICK)
            assert reply.answer.payload == bytes(4)
        assert line.usage.resynchronised == 2
        assert len(meter.heard) == 1 + 3 + 3  # the price of equal bytes: another shape, and once more

    virtual(main)


# ---- all of it at once ----------------------------------------------------------------------------------------------


class Trouble:
    """A meter that answers in order and rightly, on a line where one thing after the other goes wrong."""

    KINDS = (
        "well",
        "well",
        "lost",
        "late",
        "corrupt",
        "twice",
        "twice later",
        "foreign before",
        "noise",
        "split",
    )

    def __init__(self, kinds: list[str], late_s: float, echo: bool, answer) -> None:
        self.kinds, self.late_s, self.echo, self.answer = kinds, late_s, echo, answer
        self.free_at = 0.0

    def __call__(self, request: bytes, n: int):
        kind = self.kinds[n] if n < len(self.kinds) else "well"
        now = asyncio.get_running_loop().time()
        self.free_at = max(self.free_at, now) + (self.late_s if kind == "late" else 0.02)
        at, answer = self.free_at - now, self.answer(request)
        if self.echo:
            yield 0.001, request
        if kind == "lost":
            return
        if kind == "corrupt":
            broken = bytearray(answer)
            broken[-3] ^= 0x40
            yield at, bytes(broken)
        elif kind == "split":
            for k in range(len(answer)):
                yield at + 0.002 * k, answer[k : k + 1]
            self.free_at += 0.002 * len(answer)
        else:
            if kind == "foreign before":
                yield at - 0.005, modbus.answer(block(9, unit="2"), b"\xff" * 4)
            if kind == "noise":
                yield at - 0.005, b"\x00\xf7\x01"
            yield at, answer
            if kind == "twice":
                yield at, answer
            if kind == "twice later":
                yield at + 0.015, answer
                self.free_at += 0.015


def equal_or_own(equal: bool):
    """Registers hold their own addresses, or all zero: then every block's answer is the same."""

    def answer(request: bytes) -> bytes:
        (frame,) = modbus.decoder("rtu").feed(request)
        asked = modbus.request_of(frame)
        return modbus.answer(asked, bytes(2 * asked.count)) if equal else rtu_answer(request)

    return answer


TROUBLES = {
    "kinds": st.lists(st.sampled_from(Trouble.KINDS), min_size=1, max_size=25),
    "late_s": st.floats(0.21, 1.5),
    "echo": st.booleans(),
    "equal": st.booleans(),
    "counts": st.lists(st.sampled_from([2, 2, 2, 4]), min_size=3, max_size=6),
}


def no_value_is_wrong_and_the_line_recovers(virtual, scripted, kinds, late_s, echo, equal, counts):
    async def main():
        line, _ = await scripted(Trouble(kinds, late_s, echo, equal_or_own(equal)))
        last = None
        for n in range(40):
            count = counts[n % len(counts)]
            start = 1000 * (n % len(counts) + 1)
            last = await line.exchange(RTU, "1", block(start, count), QUICK)
            right = bytes(2 * count) if equal else registers(start, count)
            assert last.answer is None or last.answer.payload == right
        assert last.answer is not None  # forty exchanges on, the troubles are long over

    virtual(main)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**TROUBLES)
@example(kinds=["twice later", "lost"], late_s=1.0, echo=False, equal=False, counts=[2, 2, 2])
@example(kinds=["well", "twice later", "late"], late_s=0.5, echo=False, equal=False, counts=[2, 4, 4])
def test_whatever_goes_wrong_no_value_is_wrong_and_the_line_recovers(virtual, scripted, **troubles):
    """The examples are those that once deceived an earlier master: a repetition, and then a loss or a lateness."""
    no_value_is_wrong_and_the_line_recovers(virtual, scripted, **troubles)


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(max_examples=4000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**TROUBLES)
def test_long_whatever_goes_wrong_no_value_is_wrong_and_the_line_recovers(virtual, scripted, **troubles):
    no_value_is_wrong_and_the_line_recovers(virtual, scripted, **troubles)


# ---- silence between frames -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timing", "patience", "least"),
    [
        (Timing(baud=9600), Patience(0.2, 0.0, 0.0), 0.050),  # never below 50 ms
        (Timing(baud=300, framing="7E1"), Patience(0.2, 0.0, 0.0), 3.5 * 10 / 300),  # 3.5 characters
        (Timing(baud=9600), Patience(0.2, 0.5, 0.0), 0.5),  # the meter's own lateness
    ],
)
def test_after_a_timeout_the_line_is_left_silent_as_long_as_an_answer_may_be_late(
    virtual, scripted, timing, patience, least
):
    async def main():
        line, meter = await scripted(lambda request, n: [], timing)
        await line.exchange(RTU, "1", block(1), patience)
        ended = asyncio.get_running_loop().time()
        await line.exchange(RTU, "1", block(2), patience)
        assert meter.heard_at[1] - ended >= least - 1e-9
        assert meter.heard_at[1] - ended < least + 0.002

    virtual(main)


def test_a_late_byte_begins_the_silence_anew(virtual, scripted):
    async def main():
        line, meter = await scripted(lambda request, n: [(0.25, b"\x01"), (0.40, b"\x03")] if n == 0 else [])
        await line.exchange(RTU, "1", block(1), QUICK)
        await line.exchange(RTU, "1", block(2), QUICK)
        assert meter.heard_at[1] - meter.heard_at[0] == pytest.approx(0.40 + 0.2, abs=0.002)

    virtual(main)


def test_time_that_passes_between_scans_counts_as_silence(virtual, scripted):
    async def main():
        line, meter = await scripted(lambda request, n: [])
        await line.exchange(RTU, "1", block(1), QUICK)
        await asyncio.sleep(10)
        asked = asyncio.get_running_loop().time()
        await line.exchange(RTU, "1", block(2), QUICK)
        assert meter.heard_at[1] == asked

    virtual(main)


def test_what_comes_while_nothing_is_asked_is_dropped_and_counted(virtual, scripted):
    async def main():
        line, meter = await scripted(at_once)
        assert (await line.exchange(RTU, "1", block(1), QUICK)).answer is not None
        meter.say(1.0, rtu_answer(modbus.encode(block(2))))
        meter.say(1.1, b"\x55\xaa\x55")
        await asyncio.sleep(5)
        reply = await line.exchange(RTU, "1", block(3), QUICK)
        assert reply.answer.payload == registers(3)
        assert line.counts.by_address["1"][MismatchReason.UNASKED] == 1
        assert line.counts.by_address["1"][RejectReason.NOISE] == 1

    virtual(main)


def test_a_line_that_never_falls_silent_is_not_written_to_and_made_anew(virtual, scripted):
    async def main():
        line, meter = await scripted(at_once, Timing(drain_s=1.0))
        await line.exchange(RTU, "1", block(1), QUICK)
        for k in range(300):
            meter.say(0.01 * k, b"\x55")
        await asyncio.sleep(0.005)
        reply = await line.exchange(RTU, "1", block(2), QUICK)
        assert reply.failure is Missing.SKIPPED
        assert reply.exchange is None
        assert len(meter.heard) == 1
        assert not line.link.is_open
        await asyncio.sleep(5)
        assert (await line.exchange(RTU, "1", block(3), QUICK)).answer.payload == registers(3)

    virtual(main)


def test_the_gap_between_frames_is_3_5_characters_or_what_the_meter_wants(virtual, scripted):
    async def main():
        for timing, gap_s, least in [
            (Timing(baud=9600), 0.0, 3.5 * 11 / 9600),
            (Timing(baud=115200), 0.0, 0.00175),
            (Timing(baud=9600), 0.1, 0.1),
            (Timing(), 0.0, 0.0),
        ]:
            line, meter = await scripted(at_once, timing)
            for start in (1, 2):
                assert (await line.exchange(RTU, "1", block(start), Patience(0.2, 0.2, gap_s))).answer
            silence = meter.heard_at[1] - (meter.heard_at[0] + 0.02)
            assert least - 1e-9 <= silence <= least + 0.0011

    virtual(main)


def test_a_9600_baud_line_is_used_to_95_percent_of_what_it_allows(virtual, scripted):
    """Each character takes its time in the script; the meter wants 30 ms; the line's own silence is 3.5 characters."""
    timing, reply_s = Timing(baud=9600, framing="8E1"), 0.030

    def respond(request, n):
        answer = rtu_answer(request)
        return [((len(request) + len(answer)) * timing.character_s + reply_s, answer)]

    async def main():
        line, _ = await scripted(respond, timing)
        loop = asyncio.get_running_loop()
        await line.exchange(RTU, "1", block(0, 10), QUICK)
        began = loop.time()
        for start in range(100):
            assert (await line.exchange(RTU, "1", block(start + 1, 10), QUICK)).answer is not None
        took = loop.time() - began
        least = 100 * ((8 + 25 + 3.5) * timing.character_s + reply_s)
        assert took <= least / 0.95
        assert line.usage.exchanges == 101
        assert line.usage.line_time_us == pytest.approx(101 * 33 * timing.character_s * 1e6, rel=1e-4)
        assert line.usage.busy_us <= round((took + 1) * 1e6)

    virtual(main)


def test_a_slow_line_gives_the_request_and_the_answer_their_time(virtual, scripted):
    """At 300 baud a request alone takes 0.3 s: the reply time begins when it has left the line."""
    timing = Timing(baud=300)

    def respond(request, n):
        return [(8 * timing.character_s + 0.19, rtu_answer(request))]

    async def main():
        line, _ = await scripted(respond, timing)
        assert (await line.exchange(RTU, "1", block(5), QUICK)).answer is not None

    virtual(main)


# ---- the link -------------------------------------------------------------------------------------------------------


class Unplugged:
    """A link whose port is not there until told."""

    def __init__(self, link) -> None:
        self.link, self.there, self.tries = link, False, 0

    def __getattr__(self, name):
        return getattr(self.link, name)

    async def open(self) -> None:
        self.tries += 1
        if not self.there:
            raise LinkDown("line", "no such port", "is the adapter plugged in?")
        await self.link.open()


def test_a_line_that_is_down_costs_nothing_and_is_opened_again_when_it_returns(virtual, scripted):
    async def main():
        line, _ = await scripted(at_once)
        line.link = port = Unplugged(line.link)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(50):
            reply = await line.exchange(RTU, "1", block(5), QUICK)
            assert (reply.failure, reply.exchange) == (Missing.LINK_DOWN, None)
        assert loop.time() == began
        assert port.tries == 1
        port.there = True
        await asyncio.sleep(1.1)
        assert (await line.exchange(RTU, "1", block(5), QUICK)).answer is not None

    virtual(main)


def test_a_link_that_falls_during_an_exchange_ends_it_at_once(virtual, scripted):
    async def main():
        line, meter = await scripted(lambda request, n: [])
        loop = asyncio.get_running_loop()
        loop.call_later(0.25, meter.link.fell, LinkDown("line", "the port hung up"))
        reply = await line.exchange(RTU, "1", block(5), QUICK)
        assert reply.failure is Missing.LINK_DOWN
        assert "hung up" in reply.detail
        assert line.counts.by_address["1"] == {Missing.LINK_DOWN: 1}

    virtual(main)


def test_only_frames_without_an_item_have_a_shape():
    assert shape(block(1000, 2)) == shape(block(2000, 2)) != shape(block(1000, 4))
    assert shape(block(1000)) != shape(modbus.Request("1", 4, 1000, 2))
    assert shape(modbus.Request("1", 3, 0, 2, "tcp")) is None
    assert shape(item()) is None
