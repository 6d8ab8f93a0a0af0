"""A broker that dies while nobody is listening: who was using the connection is told, asyncio has nothing to print."""

from __future__ import annotations

import asyncio
import gc

import pytest

from central.broker import Broker
from gateway.mqtt_connection import Connection
from tests.rigs.broker import ABSENT, MOSQUITTO, BrokerProcess

MAKE = {
    "gateway": lambda port: Connection("127.0.0.1", port, timeout=10.0),
    "platform": lambda port: Broker("127.0.0.1", port).client("front"),
}


class Stopped(Exception):
    """Something else that ends the use of the connection."""


@pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)
@pytest.mark.parametrize("side", MAKE)
async def test_a_loss_that_nobody_waited_for_is_not_printed(tmp_path, side):
    printed: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: printed.append(context))
    broker = BrokerProcess.make(tmp_path)
    await broker.start()

    async def used() -> None:
        async with MAKE[side](broker.port) as client:
            await broker.kill()
            await asyncio.wait([client._disconnected], timeout=20)
            raise Stopped  # as a task that is cancelled just then

    with pytest.raises(Stopped):
        await used()
    gc.collect()
    await asyncio.sleep(0)
    assert printed == []
