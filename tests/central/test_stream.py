"""Every verified reading is handed on once, in the order of its log, whoever dies in between."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import nats
import pytest

from central.postgres import PostgresStore
from central.stream import HandOn, StreamError, connected, subject
from evidence import record
from sim.ports import free_port
from tests.central.test_postgres import bare
from tests.evidence.logs import START_US, Writer
from tests.rigs import engines


@pytest.fixture
def broker():
    with engines.nats() as running:
        yield running


def hold(store, writer, size=None):
    """A log stored as if it had been verified."""
    gateway = store.gateway(writer.origin, writer.signer.verifier.vkey)
    size = size or writer.size
    if size > gateway.size:
        store.advance(gateway, bare(writer, gateway.size, size), START_US)


def readings(writer):
    return [(i, r) for i, e in enumerate(writer.entries) if isinstance(r := record.decode(e), record.Reading)]


async def received(broker, count, name="SUYUAN"):
    """All that the stream holds, which is ``count`` messages: (subject, id, body) in order."""
    client = await nats.connect(broker)
    jetstream = client.jetstream()
    assert (await jetstream.stream_info(name)).state.messages == count
    subscription = await jetstream.subscribe(
        "suyuan.readings.*", ordered_consumer=True, pending_msgs_limit=100_000
    )
    found = []
    for _ in range(count):
        got = await subscription.next_msg(timeout=10)
        found.append((got.subject, got.headers["Nats-Msg-Id"], json.loads(got.data)))
    await client.close()
    return found


def check(found, *writers):
    """Each gateway's messages are its readings, once and in order."""
    for writer in writers:
        mine = [each for each in found if each[0] == subject("suyuan.readings", writer.origin)]
        assert [identity for _, identity, _ in mine] == [f"{writer.origin}/{i}" for i, _ in readings(writer)]
        for (_, _, body), (entry, reading) in zip(mine, readings(writer), strict=True):
            assert (body["origin"], body["entry"], body["instrument"]) == (
                writer.origin,
                entry,
                reading.instrument,
            )
            assert body["indications"] == reading.indications
            assert {name: tuple(result) for name, result in body["results"].items()} == reading.results
            assert body["missing"] == reading.missing


async def test_verified_readings_arrive_once_and_in_order_as_logs_grow(store, broker):
    one, two = Writer("platform.example/a", 1).grow(300), Writer("platform.example/b", 2).grow(150)
    hold(store, one, 70)
    hold(store, two)
    async with connected(broker) as stream:
        handing = HandOn(store, stream)
        assert await handing.round() == sum(i < 70 for i, _ in readings(one)) + len(readings(two))
        assert await handing.round() == 0
        hold(store, one)
        assert await handing.round() == sum(i >= 70 for i, _ in readings(one))
    check(await received(broker, len(readings(one)) + len(readings(two))), one, two)


async def test_a_publisher_whose_mark_was_lost_finds_it_in_the_stream(store, broker):
    writer = Writer().grow(200)
    hold(store, writer, 120)
    async with connected(broker) as stream:
        await HandOn(store, stream).round()
    with store.transaction() as db:
        db.execute("UPDATE handed SET next = 5")
    hold(store, writer)
    async with connected(broker) as stream:
        assert await HandOn(store, stream).round() == sum(i >= 120 for i, _ in readings(writer))
    check(await received(broker, len(readings(writer))), writer)


async def test_publishers_at_once_put_nothing_there_twice(store, url, broker):
    writers = [Writer(f"platform.example/{n}", n).grow(120) for n in range(6)]
    for writer in writers:
        hold(store, writer)
    with PostgresStore(url) as other:
        async with connected(broker) as one, connected(broker) as two:
            counts = await asyncio.gather(HandOn(store, one).round(), HandOn(other, two).round())
    assert sum(counts) == sum(len(readings(w)) for w in writers)
    check(await received(broker, sum(counts)), *writers)


CHILD = """
import asyncio, sys
from central.postgres import PostgresStore
from central.stream import HandOn, connected
async def main(url, broker):
    with PostgresStore(url) as store:
        async with connected(broker) as stream:
            publish = stream.publish
            async def told(new, after):
                taken = await publish(new, after)
                print(new.id, flush=True)
                return taken
            stream.publish = told
            await HandOn(store, stream).round()
asyncio.run(main(*sys.argv[1:]))
"""


def child(url, broker):
    return subprocess.Popen([sys.executable, "-c", CHILD, url, broker], stdout=subprocess.PIPE)


async def test_a_publisher_killed_between_acknowledgement_and_mark_repeats_nothing(store, url, broker):
    writers = [Writer(f"platform.example/{n}", n).grow(150) for n in range(3)]
    for writer in writers:
        hold(store, writer)
    for after in (1, 40, 111):
        process = child(url, broker)
        try:
            for _ in range(after):
                assert await asyncio.to_thread(process.stdout.readline)
            os.kill(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        assert store.rows("SELECT coalesce(max(next), 0) FROM handed") == [(0,)], (
            "killed before any mark moved"
        )
    async with connected(broker) as stream:
        left = await HandOn(store, stream).round()
    total = sum(len(readings(w)) for w in writers)
    assert left <= total - (1 + 40 + 111)
    check(await received(broker, total), *writers)


async def test_a_stream_that_goes_away_loses_nothing(store, broker):
    writer = Writer().grow(100)
    hold(store, writer)
    async with connected(broker) as stream:
        await stream._jetstream.delete_stream("SUYUAN")
        with pytest.raises(StreamError):
            await HandOn(store, stream).round()
    async with connected(broker) as stream:
        assert await HandOn(store, stream).round() == len(readings(writer))
    check(await received(broker, len(readings(writer))), writer)


async def test_no_broker_is_said_in_words():
    with pytest.raises(StreamError, match="nats://127"):
        async with connected(f"nats://127.0.0.1:{free_port()}"):
            pass
