"""A meter read by IEC 62056-21 through the bus, in virtual time: rates, blocks, failures, and a line left as it was."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from drivers import golden, iec62056
from drivers.bus import Bus, Meter
from drivers.codec import Instant, Missing, Scan
from drivers.cycle_time import cycle_time_s
from drivers.iec62056_reading import Iec62056, Times
from drivers.line import Timing
from drivers.link import MemoryLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.virtual import VirtualLoop

MT174 = load("iskra-mt174")
LINES = "1-0:1.8.0*255(0000502.853*kWh)\r\n1-0:2.8.0*255(0098697.318*kWh)\r\n"
STANDARD = Times()
GARBAGE = b"\xd5\x91\x7f"


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(us, us)


class MeterAtHead:
    """A meter that hears and is heard at its own rate only; ``blocks`` is its readout."""

    def __init__(self, offer: str, blocks: list[bytes], *, fixed: int = 0, spoilt: int = 0) -> None:
        self.offer, self.blocks, self.fixed, self.spoilt = offer, blocks, fixed, spoilt
        self.baud = fixed or 300
        self.heard: list[tuple[int, bytes]] = []
        self.left: list[bytes] = []

    def answer(self, data: bytes) -> bytes:
        if data.startswith(b"/?"):
            self.left = list(self.blocks)
            return f"/ISk{self.offer}MT174-0001\r\n".encode()
        if data.startswith(b"\x06") and self.left:
            if len(data) == 6 and not self.fixed:
                self.baud = iec62056.BAUD_C[data[2:3].decode()]
            block = self.left.pop(0)
            if self.spoilt:
                self.spoilt -= 1
                return block[:-1] + bytes((block[-1] ^ 1,))
            return block
        return b""


class Head(MemoryLink):
    """The link to it: what is sent or heard at another rate than the meter's is garbage."""

    def __init__(self, meter: MeterAtHead) -> None:
        super().__init__("head")
        self.meter, self.set = meter, (9600, "8E1")

    def tune(self, baud: int, framing: str) -> None:
        self.set = (baud, framing)

    async def write(self, data: bytes) -> None:
        meter, loop = self.meter, asyncio.get_running_loop()
        meter.heard.append((self.set[0], data))
        if data.startswith(b"/?") and not meter.fixed:
            meter.baud = 300  # its session is over by then
        if self.set[0] != meter.baud:
            return
        sent_s = len(data) * 10 / self.set[0]
        began = meter.baud
        said = meter.answer(data)
        loop.call_later(sent_s + 0.2, self._say, said, meter.baud)
        if data.startswith(b"/?") and meter.offer in iec62056.BAUD_B:
            meter.baud = iec62056.BAUD_B[meter.offer]
        if data.startswith(b"/?") and not meter.offer.isdigit():
            at = sent_s + 0.2 + len(said) * 10 / began + 0.2
            loop.call_later(at, self._say, meter.left.pop(0), meter.baud)

    def _say(self, data: bytes, baud: int) -> None:
        """Character by character, each in its time."""
        loop = asyncio.get_running_loop()
        for n in range(len(data)):
            loop.call_later((n + 1) * 10 / baud, self._character, data[n : n + 1], baud)

    def _character(self, one: bytes, baud: int) -> None:
        self.arrived(one if self.set[0] == baud else GARBAGE)


def scanned(
    meter: MeterAtHead,
    protocol: str = "iec62056-21",
    timing: Timing | None = None,
    retries: int = 1,
    times: Times = STANDARD,
    kind: type[Head] = Head,
) -> tuple[Scan, Head]:
    async def main() -> tuple[Scan, Head]:
        link = kind(meter)
        spoken = codec(protocol)
        assert isinstance(spoken, Iec62056)
        bus = Bus("line", replace(spoken, times=times), link, now, timing or Timing(9600, "8E1"))
        return await bus.scan(Meter("m", "", MT174, retries=retries), plan(MT174)), link

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def value(scan: Scan, measurand: str = "energy.active.import") -> Decimal | None:
    (found,) = [i.value for i in scan.indications if i.measurand == measurand]
    return found


READOUT = [iec62056.message(LINES + "!\r\n")]


def test_the_profiles_capture_gives_what_the_meter_printed() -> None:
    assert golden.check(MT174) == ()


@pytest.mark.parametrize(("offer", "data_baud"), [("0", 300), ("3", 2400), ("5", 9600), ("6", 300)])
def test_mode_c_goes_to_the_rate_that_the_meter_offers_and_a_head_passes(offer: str, data_baud: int) -> None:
    meter = MeterAtHead(offer, READOUT)
    scan, link = scanned(meter)
    assert value(scan) == Decimal("502.853")
    assert [baud for baud, _ in meter.heard] == [300, 300]
    assert link.set == (data_baud, "7E1")


@pytest.mark.parametrize("offer", ["E", "!"])
def test_modes_a_and_b_are_only_listened_to(offer: str) -> None:
    meter = MeterAtHead(offer, READOUT)
    scan, _ = scanned(meter)
    assert value(scan) == Decimal("502.853")
    assert [data for _, data in meter.heard] == [b"/?!\r\n"]


def test_a_long_readout_in_several_blocks_is_joined_even_where_a_block_ends_inside_a_line() -> None:
    filler = "".join(f"1-0:1.8.{n}*{m:02d}(0000001.000*kWh)\r\n" for m in range(1, 30) for n in range(1, 5))
    text = filler + LINES + "!\r\n"
    cut = len(filler) + 9
    meter = MeterAtHead("5", [iec62056.message(text[:cut], more=True), iec62056.message(text[cut:])])
    scan, _ = scanned(meter)
    assert len(text) > 3000
    assert value(scan) == Decimal("502.853")


def test_a_long_readout_at_300_baud_is_waited_for() -> None:
    filler = "".join(f"0-0:96.{n}.0*255(00000000)\r\n" for n in range(100))
    scan, _ = scanned(MeterAtHead("0", [iec62056.message(filler + LINES + "!\r\n")]))
    assert value(scan) == Decimal("502.853")


def test_a_readout_with_a_wrong_bcc_is_no_value_and_the_session_is_begun_anew() -> None:
    meter = MeterAtHead("5", READOUT, spoilt=1)
    scan, _ = scanned(meter, retries=0)
    assert value(scan) is None
    assert {i.missing for i in scan.indications} == {Missing.CORRUPT}
    meter = MeterAtHead("5", READOUT, spoilt=1)
    scan, _ = scanned(meter)
    assert value(scan) == Decimal("502.853")
    assert [data for _, data in meter.heard].count(b"/?!\r\n") == 2


def test_at_a_fixed_rate_nothing_is_tuned() -> None:
    meter = MeterAtHead("5", READOUT, fixed=9600)
    scan, link = scanned(meter, "iec62056-21-fixed", Timing(9600, "7E1"))
    assert value(scan) == Decimal("502.853")
    assert link.set == (9600, "8E1")
    assert meter.heard[1][1] == b"\x06050\r\n"


def test_a_line_of_low_rate_is_never_left() -> None:
    meter = MeterAtHead("5", READOUT)
    scan, _ = scanned(meter, "iec62056-21-300")
    assert value(scan) == Decimal("502.853")
    assert meter.heard[1][1] == b"\x06000\r\n"


@pytest.mark.parametrize("spoilt", [0, 9])
def test_another_meter_of_the_line_is_asked_at_its_own_rate_whatever_came_before(spoilt: int) -> None:
    asked: list[tuple[int, str]] = []
    dlt = load("dlt645-2007-three-phase")

    async def main() -> None:
        link = Head(MeterAtHead("5", READOUT, spoilt=spoilt))
        bus = Bus("line", codec("dlt645-2007"), link, now, Timing(2400, "8E1"))
        await bus.scan(Meter("m", "", MT174, codec=codec("iec62056-21")), plan(MT174))

        async def noted(data: bytes) -> None:
            asked.append(link.set)

        link.write = noted  # type: ignore[method-assign]
        await bus.scan(Meter("d", "000000000001", dlt, retries=0), plan(dlt, ["voltage.l1"]))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    assert asked == [(2400, "8E1")]


def test_a_register_printed_in_coarser_steps_than_stated_is_no_value() -> None:
    meter = MeterAtHead("5", [iec62056.message("1.8.0(000502.8*kWh)\r\n2.8.0(098697318*Wh)\r\n!\r\n")])
    scan, _ = scanned(meter)
    assert value(scan) is None
    assert "steps of 0.1 kWh" in scan.indications[0].detail
    assert value(scan, "energy.active.export") == Decimal("98697.318")


def test_a_sessions_time_on_the_line_is_told_beforehand() -> None:
    """Characters, the pause before the option select, and two reply delays; a network has only the latter."""
    times = [
        cycle_time_s(codec(name), Meter("m", "", MT174), plan(MT174), Timing(baud, "7E1"), 0.2)
        for name, baud in (("iec62056-21", 9600), ("iec62056-21-300", 9600), ("iec62056-21-fixed", 0))
    ]
    assert times[0] == pytest.approx(40 / 30 + 10_000 / 9600 + 0.6)
    assert times[1] == pytest.approx(1040 / 30 + 0.6)
    assert times[2] == pytest.approx(0.6)


class Slow(Head):
    """An adapter that holds what it was given for 0.4 s longer than its characters take, and says when it has left."""

    def __init__(self, meter: MeterAtHead) -> None:
        super().__init__(meter)
        self.left_at = 0.0
        self.tuned: list[tuple[float, int]] = []

    async def write(self, data: bytes) -> None:
        clock = asyncio.get_running_loop().time
        baud = self.set[0]
        self.left_at = clock() + len(data) * 10 / baud + 0.4
        asyncio.get_running_loop().call_at(self.left_at - len(data) * 10 / baud, self._let_go, data, baud)

    def _let_go(self, data: bytes, baud: int) -> None:
        # what leaves the port at another rate than it was given for is garbage to the meter
        if self.set[0] == baud:
            asyncio.get_running_loop().create_task(super().write(data))

    async def drained(self) -> None:
        await asyncio.sleep(max(0.0, self.left_at - asyncio.get_running_loop().time()))

    def tune(self, baud: int, framing: str) -> None:
        super().tune(baud, framing)
        self.tuned.append((asyncio.get_running_loop().time(), baud))


class Lying(Slow):
    """The same without the delay, which says at once that everything has left, as some USB adapters do."""

    async def write(self, data: bytes) -> None:
        baud, loop = self.set[0], asyncio.get_running_loop()
        self.left_at = loop.time() + len(data) * 10 / baud
        loop.call_at(self.left_at - 1e-6, self._check, baud)
        await Head.write(self, data)

    def _check(self, baud: int) -> None:
        assert self.set[0] == baud, "the rate was changed while characters were on their way"

    async def drained(self) -> None:
        pass


@pytest.mark.parametrize("kind", [Slow, Lying])
def test_the_rate_is_changed_when_the_option_select_has_left_whatever_the_adapter_says(
    kind: type[Slow],
) -> None:
    meter = MeterAtHead("5", READOUT)
    scan, link = scanned(meter, kind=kind)
    assert value(scan) == Decimal("502.853")
    assert isinstance(link, Slow)
    turned = [at for at, baud in link.tuned if baud == 9600]
    assert turned
    assert turned[0] >= link.left_at + Times().turn_s - 1e-9


@pytest.mark.parametrize(("pause_s", "least_s"), [(0.02, 0.02), (0.2, 0.2), (1.0, 1.0)])
def test_our_reaction_time_is_as_stated(pause_s: float, least_s: float) -> None:
    scan, _ = scanned(MeterAtHead("5", READOUT), times=Times(pause_s=pause_s))
    identified, selected = scan.exchanges[:2]
    between = (selected.sent.boot_us - identified.received.boot_us) / 1e6
    assert least_s <= between < least_s + 0.1


@pytest.mark.parametrize(("idle_s", "read"), [(1.5, False), (4.0, True)])
def test_a_meter_that_pauses_within_its_readout_is_waited_for_as_stated(idle_s: float, read: bool) -> None:
    class Pausing(Head):
        def _say(self, data: bytes, baud: int) -> None:
            half = len(data) // 2 if data.startswith(b"\x02") else len(data)
            super()._say(data[:half], baud)
            if half < len(data):
                asyncio.get_running_loop().call_later(3.0, super()._say, data[half:], baud)

    scan, _ = scanned(MeterAtHead("5", READOUT), retries=0, times=Times(idle_s=idle_s), kind=Pausing)
    assert (value(scan) is not None) == read


@pytest.mark.parametrize(("reply_s", "read"), [(1.5, False), (3.0, True)])
def test_a_meter_that_reacts_late_is_waited_for_as_stated(reply_s: float, read: bool) -> None:
    class Late(Head):
        def _say(self, data: bytes, baud: int) -> None:
            asyncio.get_running_loop().call_later(2.0, super()._say, data, baud)

    scan, _ = scanned(MeterAtHead("5", READOUT), retries=0, times=Times(reply_s=reply_s), kind=Late)
    assert (value(scan) is not None) == read
