"""Our DL/T 645 master against the meter of the PyPI package dlt645."""

from __future__ import annotations

import asyncio

import pytest

from drivers import dlt645, profile
from drivers.bus import Bus, Meter
from drivers.codec import Instant, Missing
from drivers.line import Patience, Timing
from drivers.link import link
from drivers.protocols import codec

pytestmark = pytest.mark.peer

ADDRESS = "123456789012"
ON_THE_WIRE = "129078563412"
EXPECTED = {
    "energy.active.import": "123456.78",
    "energy.active.export": "0.12",
    "voltage.l1": "230.1",
    "voltage.l2": "229.8",
    "voltage.l3": "231.4",
    "current.l1": "12.345",
    "current.l2": "-1.500",
    "power.active.total": "8.1234",
    "power.active.l1": "-0.2687",
}


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(us, us)


@pytest.fixture(scope="session", params=["tcp", "serial"])
def port(request, python_peer, wire) -> str:
    near, far = wire() if request.param == "serial" else ("", "0")
    (port,) = python_peer("serve_dlt645.py", request.param, far, ON_THE_WIRE)
    return near or f"tcp://127.0.0.1:{port}"


@pytest.fixture
def bus(port) -> Bus:
    timing = None if port.startswith("tcp") else Timing(9600)
    return Bus("line", codec("dlt645-2007"), link(port, 9600, "8E1"), now, timing)


async def test_items_one_by_one_are_those_of_the_meter(bus):
    """One item per query: the package refuses the blocks 0201FF00 and 0001FF00."""
    known = profile.load("dlt645-2007-three-phase")
    meter = Meter("m", ADDRESS, known, timeout_s=2.0)
    queries = [query for measurand in EXPECTED for query in profile.plan(known, [measurand])]
    scan = await bus.scan(meter, queries)
    assert {i.measurand: f"{i.value:f}" for i in scan.indications if i.value is not None} == EXPECTED
    assert bus.counts.total() == 0
    await bus.close()


async def test_a_block_that_the_package_refuses_is_an_error_answer_asked_once(bus):
    known = profile.load("dlt645-2007-three-phase")
    queries = profile.plan(known, ["voltage.l1", "voltage.l2", "voltage.l3"])
    assert len(queries) == 1
    scan = await bus.scan(Meter("m", ADDRESS, known, timeout_s=2.0, retries=3), queries)
    assert [i.missing for i in scan.indications] == [Missing.ERROR_ANSWER] * 3
    assert "no requested data" in scan.indications[0].detail
    assert len(scan.exchanges) == 1
    await bus.close()


async def test_a_foreign_address_gives_no_value(bus):
    """The package answers it with an error from the asked address, where a meter would be silent."""
    reply = await bus.ask(dlt645.Request("000000000001", dlt645.READ, "00010000"), Patience(0.5, 0.1))
    assert reply.answer is None or reply.answer.error
    reply = await bus.ask(dlt645.Request(ADDRESS, dlt645.READ, "00010000"), Patience(2.0, 0.1))
    assert reply.answer is not None
    assert reply.answer.payload.hex() == "78563412"
    await bus.close()
