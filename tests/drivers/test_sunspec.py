"""SunSpec: the chain is followed, nothing is guessed, and what is found is read like any other meter."""

from __future__ import annotations

import asyncio
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import modbus, profile, sunspec
from drivers.bus import Bus, Meter
from drivers.codec import Instant, LocalProtocolError, Missing
from drivers.link import MemoryLink
from drivers.protocols import codec

INTEGERS = {3: 512, 4: 498, 5: 505, 6: -2, 8: 2301, 9: 2298, 10: 2305, 15: -1, 16: 4998, 17: -2, 18: -3400}
INTEGERS |= {19: -1100, 20: -1150, 21: -1150, 22: 1, 23: -0x8000, 27: 0, 28: 250, 32: 0, 54: 2}


def text(value: str, words: int) -> list[int]:
    return list(struct.unpack(f">{words}H", value.encode().ljust(2 * words, b"\0")))


def model_1() -> list[int]:
    return [1, 66, *text("Acme", 16), *text("SM3", 16), *text("", 8), *text("1.2", 8), *text("77", 16), 1, 0]


def model_203(import_: int = 12345, export: int = 0) -> list[int]:
    words = [203, 105] + [0] * 105
    for offset, value in INTEGERS.items():
        words[offset] = value & 0xFFFF
    words[46:48] = import_ >> 16, import_ & 0xFFFF
    words[38:40] = export >> 16, export & 0xFFFF
    return words


def model_213(**values: float) -> list[int]:
    shown = dict.fromkeys(range(2, 124, 2), float("nan"))
    shown |= {12: 230.5, 26: 50.0, 28: 3500.0, 60: 2500.0, 68: 1234500.0}
    words = [213, 124]
    for offset in range(2, 124, 2):
        words += struct.unpack(">2H", struct.pack(">f", shown[offset]))
    return [*words, 0, 0]


def image(base: int, *blocks: list[int], end: bool = True) -> dict[int, int]:
    words = [*struct.unpack(">2H", b"SunS"), *(word for block in blocks for word in block)]
    words += [0xFFFF, 0] if end else []
    return {base + n: word for n, word in enumerate(words)}


async def discovered(registers: dict[int, int], asked: list[tuple[int, int]] | None = None):
    async def ask(start: int, count: int) -> bytes | None:
        if asked is not None:
            asked.append((start, count))
        wanted = range(start, start + count)
        if count > 125 or not all(n in registers for n in wanted):
            return None
        return struct.pack(f">{count}H", *(registers[n] for n in wanted))

    return await sunspec.find(ask)


@pytest.mark.parametrize("base", sunspec.BASES)
async def test_the_chain_is_found_at_each_of_its_three_places(base):
    device = await discovered(image(base, model_1(), [99, 3, 0, 0, 0], model_203()))
    assert (device.base, [b.model for b in device.blocks]) == (base, [1, 99, 203])
    assert (device.maker, device.name, device.version, device.serial) == ("Acme", "SM3", "1.2", "77")
    assert device.meter.address == base + 2 + 68 + 5


async def test_nothing_is_asked_beyond_what_a_request_may_hold():
    asked: list[tuple[int, int]] = []
    await discovered(image(0, model_1(), model_213()), asked)
    assert max(count for _, count in asked) <= 125


@pytest.mark.parametrize(
    "registers",
    [
        {},
        {40000: 0x5375, 40001: 0x6E54},  # "SunT"
        image(40000, model_1(), end=False),  # the chain breaks off
        image(40000, [203, 5000]),  # a length that cannot be
        image(65400, [1, 200, *[0] * 100]),
    ],
)
async def test_what_is_no_chain_is_no_device(registers):
    assert await discovered(registers) is None


async def test_the_profile_states_steps_and_leaves_out_what_is_not_implemented():
    p = sunspec.profile_of(await discovered(image(40000, model_1(), model_203())), "m")
    assert (p.maker, p.model, p.firmware) == ("Acme", "SM3", "1.2")
    assert p.point("energy.active.import").resolution == Decimal("0.1"), "100 Wh"
    assert p.point("power.active.total").resolution == Decimal("0.01")
    measurands = profile.measurands(p.points)
    assert "power.apparent.total" not in measurands
    assert "power.reactive.total" in measurands
    f = sunspec.profile_of(await discovered(image(40000, model_213())), "f")
    assert profile.measurands(f.points) == (
        "energy.active.import",
        "energy.active.export",
        "power.active.total",
        "voltage.l1",
        "frequency",
    )


async def test_a_device_without_a_meter_is_told_with_what_it_has():
    device = await discovered(image(40000, model_1(), [103, 2, 0, 0]))
    with pytest.raises(LocalProtocolError, match="it has 1, 103"):
        sunspec.profile_text(device)


@given(st.text(max_size=16), st.text(max_size=16))
def test_no_text_of_a_device_breaks_its_profile(maker, name):
    about = [1, 66, *text_of(maker), *text_of(name), *[0] * 34]
    meter = sunspec.Block(203, 40070, tuple(model_203()))
    device = sunspec.Device(40000, (sunspec.Block(1, 40002, tuple(about)), meter))
    assert sunspec.profile_of(device, "m").points


def text_of(value: str) -> list[int]:
    raw = value.encode("utf-8", "replace")[:32].ljust(32, b"\0")
    return list(struct.unpack(">16H", raw))


class Registers:
    """A Modbus RTU device at the far end of a memory link."""

    def __init__(self, link: MemoryLink, registers: dict[int, int]) -> None:
        self.link, self.registers = link, registers

    async def serve(self) -> None:
        decoder = modbus.decoder("rtu")
        await self.link.open()
        while True:
            for frame in [*decoder.feed(await self.link.read()), *decoder.finish()]:
                request = modbus.request_of(frame)  # type: ignore[arg-type]
                if request is None:
                    continue
                wanted = range(request.start, request.start + request.count)
                if not all(n in self.registers for n in wanted):
                    await self.link.write(modbus.refusal(request, 2))
                    continue
                data = struct.pack(f">{request.count}H", *(self.registers[n] for n in wanted))
                await self.link.write(modbus.answer(request, data))


async def test_a_found_meter_is_read_over_the_bus_and_a_changed_power_is_heeded():
    ours, theirs = MemoryLink.pair()
    device = Registers(theirs, image(40000, model_1(), model_203()))
    serving = asyncio.get_running_loop().create_task(device.serve())
    bus = Bus("line", codec("modbus-rtu"), ours, lambda: Instant(0, 0))

    async def ask(start: int, count: int) -> bytes | None:
        reply = await bus.ask(modbus.Request("1", 3, start, count))
        return None if reply.answer is None or reply.answer.error else reply.answer.payload

    try:
        found = await sunspec.find(ask)
        p = sunspec.profile_of(found, "m")
        queries = profile.plan(p)
        assert len(queries) == 1

        async def read() -> dict[str, Decimal | None]:
            scan = await bus.scan(Meter("M", "1", p), queries)
            return {i.measurand: i.value for i in scan.indications}

        shown = await read()
        assert shown["energy.active.import"] == Decimal("1234.5")
        assert shown["energy.active.export"] == 0
        assert shown["power.active.total"] == Decimal(-34)
        assert shown["voltage.l1"] == Decimal("230.1")
        device.registers[found.meter.address + 54] = 0  # the meter counts in Wh now
        assert (await read())["energy.active.import"] == Decimal("12.345")
        device.registers[found.meter.address + 54] = 0x8000
        scan = await bus.scan(Meter("M", "1", p), queries)
        missing = {i.measurand: i.missing for i in scan.indications if i.missing is not None}
        assert missing == dict.fromkeys(
            ("energy.active.import", "energy.active.export"), Missing.NOT_SUPPORTED
        )
    finally:
        serving.cancel()
        await bus.close()


@pytest.mark.parametrize(("block", "kept"), [(model_203(), 54), (model_213(), 69), (model_203(), 2)])
async def test_a_meter_block_that_is_too_short_for_its_model_is_refused(block, kept):
    device = await discovered(image(0, model_1(), [block[0], kept - 2, *block[2:kept]]))
    with pytest.raises(LocalProtocolError, match=f"ends after {kept - 2} registers"):
        sunspec.profile_of(device, "found")


async def test_a_meter_that_implements_nothing_is_refused():
    block = [203, 105] + [0x8000] * 105
    device = await discovered(image(0, model_1(), block))
    with pytest.raises(LocalProtocolError, match="model 203 at 70 implements none of its values"):
        sunspec.profile_of(device, "found")
