"""A bad network between hosts of their own: short forms here, the long ones by `make network`."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from tests.rigs import netns
from tests.rigs.bad_network import Weather, measure
from tests.rigs.broker import ABSENT, MOSQUITTO

NONE = netns.absent()
namespaces = pytest.mark.skipif(bool(NONE), reason=NONE or "there are")
with_broker = pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)


@namespaces
@pytest.mark.timeout(330)
@pytest.mark.parametrize("how", ["pull", "push", pytest.param("mqtt", marks=with_broker)])
async def test_what_arrives_over_a_bad_network_is_what_was_written_once(tmp_path, how):
    weather = Weather(loss=0.03, delay_ms=5, jitter_ms=3, reorder=0.02, cut_s=0.3)
    result = await measure(tmp_path, how, weather, gateways=2, kills=1)
    assert result.alike
    assert (result.lost, result.twice) == (0, 0)
    assert result.readings > 0
    # So short a cut may fall between two exchanges: that it cuts is shown by the switch's own test.
    assert min(result.frames_lost, result.frames_overtook) > 0, "the network was good"
    assert result.broker_kills == (1 if how == "mqtt" else 0)


@pytest.mark.long
@namespaces
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["pull", "push", pytest.param("mqtt", marks=with_broker)])
@pytest.mark.parametrize("loss", [0.01, 0.1])
async def test_with_a_partition_of_half_a_minute_and_twenty_restarts_of_the_broker(tmp_path, how, loss):
    result = await measure(tmp_path, how, Weather(loss=loss))
    assert result.alike
    assert (result.lost, result.twice) == (0, 0)


@namespaces
async def test_the_switch_does_what_it_says():
    async with netns.network("here", "there", seed=5) as net:
        process = await asyncio.create_subprocess_exec(
            *net.inside("there", sys.executable, "-c", ANSWERING, net.address("there")),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        assert await ask(net) == 40, "a perfect network loses nothing"
        await net.impair(loss=0.5)
        assert 0 < await ask(net) < 30
        counts = await net.impair(loss=0.0, cut=["here"])
        assert counts["lost"] > 10
        assert await ask(net) == 0
        counts = await net.impair(cut=[])
        assert counts["cut"] >= 1
        process.kill()
        await process.wait()


@namespaces
async def test_nothing_is_left_of_a_network_whose_maker_was_killed():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAKING, cwd=netns.ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"made\n"
    mine = [name for name in netns.left() if name.split("-")[1] == str(process.pid)]
    assert len(mine) == 2
    process.send_signal(signal.SIGKILL)
    await process.wait()
    netns.sweep()
    assert not set(mine) & set(netns.left())


async def ask(net: netns.Network) -> int:
    """How many of forty datagrams come back."""
    process = await asyncio.create_subprocess_exec(
        *net.inside("here", sys.executable, "-c", ASKING, net.address("there")),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return int(out)


ANSWERING = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 7)); print("ready", flush=True)
while True:
    data, who = s.recvfrom(100); s.sendto(data, who)
"""
ASKING = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1.0); n = 0
for i in range(40):
    s.sendto(b"%d" % i, (sys.argv[1], 7))
try:
    while n < 40: s.recv(100); n += 1
except TimeoutError: pass
print(n)
"""
MAKING = """
import time
from tests.rigs import netns
netns.Network(("only",)).build()
print("made", flush=True)
time.sleep(600)
"""
