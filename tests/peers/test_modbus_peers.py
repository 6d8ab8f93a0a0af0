"""Our Modbus master against servers that this project did not write: pymodbus and libmodbus."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from drivers import modbus, profile
from drivers.bus import Bus, Meter
from drivers.codec import Instant, MismatchReason, Missing
from drivers.line import Patience, Timing
from drivers.link import link
from drivers.protocols import codec

pytestmark = pytest.mark.peer

OWN_ADDRESS = profile.parse(
    """
protocol = "modbus"
[model]
maker = "Nobody"
name = "Own address"
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
            ("frequency", 7999, "Hz"),  # one register too far: the server refuses
        ]
    ),
    "own-address",
)
QUERIES = profile.plan(OWN_ADDRESS)


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(us, us)


def truth(address: int) -> Decimal:
    return Decimal(address << 16 | (address + 1))


@pytest.fixture(
    scope="session",
    params=["pymodbus tcp", "pymodbus rtu-tcp", "pymodbus serial", "libmodbus tcp", "libmodbus rtu"],
)
def served(request, python_peer, peer, wire) -> tuple[str, str]:
    """A server, as protocol and port."""
    name, kind = request.param.split()
    serial = kind in ("serial", "rtu")
    near, far = wire() if serial else ("", "0")
    if name == "pymodbus":
        (port,) = python_peer("serve_pymodbus.py", kind, far)
    else:
        (port,) = peer(request.getfixturevalue("libmodbus_server"), kind, far)
    return ("modbus-tcp" if kind == "tcp" else "modbus-rtu"), (near or f"tcp://127.0.0.1:{port}")


@pytest.fixture
def bus(served) -> Bus:
    protocol, port = served
    timing = None if port.startswith("tcp") else Timing(9600)
    return Bus("line", codec(protocol), link(port, 9600, "8E1"), now, timing)


async def test_scans_give_the_servers_registers_and_its_refusal(bus):
    meter = Meter("m", "1", OWN_ADDRESS, timeout_s=2.0)
    for _ in range(3):
        scan = await bus.scan(meter, QUERIES)
        assert [i.value for i in scan.indications] == [truth(1000), truth(2000), truth(3000), None]
        assert scan.indications[3].missing is Missing.ERROR_ANSWER
        assert "illegal data address" in scan.indications[3].detail
        assert len(scan.exchanges) == 4
    assert bus.counts.total() == 0
    await bus.close()


async def test_blocks_of_every_length_come_whole(bus):
    for count in (1, 2, 3, 63, 124, 125):
        request = modbus.Request("1", 3, 500, count, bus.codec.framing)
        reply = await bus.ask(request, Patience(2.0, 0.1))
        assert reply.answer is not None
        assert reply.answer.payload == b"".join(n.to_bytes(2, "big") for n in range(500, 500 + count))
    await bus.close()


async def test_a_unit_that_is_not_there_is_missing_and_the_next_one_is_read(bus):
    nobody = Meter("nobody", "77", OWN_ADDRESS, timeout_s=0.3, retries=0)
    scan = await bus.scan(nobody, QUERIES[:1])
    assert scan.failure in (Missing.TIMEOUT, Missing.ERROR_ANSWER, None)
    if scan.failure is None:  # libmodbus answers any unit on TCP
        assert scan.indications[0].value == truth(1000)
    meter = Meter("m", "1", OWN_ADDRESS, timeout_s=2.0)
    scan = await bus.scan(meter, QUERIES[:3])
    assert [i.value for i in scan.indications] == [truth(1000), truth(2000), truth(3000)]
    await bus.close()


@pytest.mark.parametrize("kind", ["rtu-tcp", "serial", "tcp"])
async def test_a_late_answer_of_pymodbus_is_never_the_next_ones(python_peer, wire, kind):
    near, far = wire() if kind == "serial" else ("", "0")
    (port,) = python_peer("serve_pymodbus.py", kind, far, "0.25")
    protocol = codec("modbus-tcp" if kind == "tcp" else "modbus-rtu")
    where = near or f"tcp://127.0.0.1:{port}"
    bus = Bus("line", protocol, link(where, 9600, "8N1"), now)
    for late_s in (0.0, 0.1):  # shorter than the lateness, and the silence of 50 ms alone
        patience = Patience(0.1, late_s)
        request = modbus.Request("1", 3, 1000, 2, protocol.framing)
        first = await bus.ask(request, patience)
        assert first.answer is None or late_s
        for start in (2000, 3000, 4000, 5000):
            reply = await bus.ask(modbus.Request("1", 3, start, 2, protocol.framing), patience)
            right = b"".join(n.to_bytes(2, "big") for n in (start, start + 1))
            assert reply.answer is None or reply.answer.payload == right
    assert reply.answer is not None
    late = [MismatchReason.UNASKED, MismatchReason.LENGTH, MismatchReason.TRANSACTION]
    assert bus.counts.total(late) >= 1
    await bus.close()
