"""The log over MQTT: a real broker, killed and started again; the log arrives, once, and only the receipt counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from dataclasses import replace

import aiomqtt
import pytest

from central.delivery import Delivery
from central.mqtt import Broker as CentralBroker
from central.mqtt import Worker, acknowledgement
from central.store import Store
from evidence.errors import ParseError
from gateway.clock import SystemClock
from gateway.mirroring import offer, pack, packages, upload_head
from gateway.mqtt import Broker, MqttPusher, topic_id
from gateway.pacing import BackOff
from gateway.receipts import PlatformKey, Receipts
from gateway.status import AgentStatus, InstrumentStatus, MeasurandStatus
from gateway.store import LogStore
from gateway.tls import ClientTls, TlsFiles
from tests.central.pushing import PLATFORM, grow, intake
from tests.evidence.logs import ORIGIN, START_US, Writer
from tests.gateway.test_push import certificates
from tests.rigs.broker import ABSENT, MOSQUITTO, BrokerProcess

__all__ = ["certificates"]  # a fixture
KEY = PlatformKey("platform", PLATFORM.cosigner)
with_broker = pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)


@pytest.fixture
def log(tmp_path):
    store = LogStore(tmp_path / "gateway", ORIGIN, ballast=0)
    yield store
    store.close()


@pytest.fixture
def central(tmp_path):
    with Store(tmp_path / "central") as store:
        yield store


@pytest.fixture
async def broker(tmp_path):
    made = BrokerProcess.make(tmp_path / "broker")
    await made.start()
    yield made
    await made.kill()


async def short(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.05))


def stored(central):
    return [entry for gateway in central.gateways() for entry in central.entries(gateway)]


async def until(true, seconds=30.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - the test's own waiting
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(*coroutines):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in coroutines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def sides(log, central, writer, port, *, version="5", share="", **more):
    to = Broker(KEY, "127.0.0.1", port, version=version, **more.pop("to", {}))
    pusher = MqttPusher(
        log,
        Receipts(log, [KEY], SystemClock()),
        to,
        SystemClock(),
        back_off=BackOff(0.02, 0.1),
        patience_us=1_000_000,
        **more,
    )
    at = CentralBroker("127.0.0.1", port, version=5 if version == "5" else 3)
    return pusher, Worker(intake(central, writer), at, share=share, sleep=short)


@with_broker
@pytest.mark.parametrize(("version", "share"), [("5", ""), ("3.1.1", ""), ("5", "ingest")])
async def test_what_is_published_arrives_once_and_the_receipt_comes_back(
    log, central, broker, version, share
):
    writer = Writer()
    grow(log, writer, 300)
    pusher, worker = sides(log, central, writer, broker.port, version=version, share=share)
    async with running(pusher.run(), worker.run()):
        for size in (400, 401, 3000):
            grow(log, writer, size)
            await until(lambda size=size: pusher.acknowledged == size)
    assert stored(central) == writer.entries


@with_broker
async def test_two_workers_take_turns_and_neither_throws_the_other_out(log, central, broker):
    writer = Writer()
    grow(log, writer, 300)
    pusher, first = sides(log, central, writer, broker.port, share="ingest")
    at = CentralBroker("127.0.0.1", broker.port, version=5)
    second = Worker(intake(central, writer), at, share="ingest", sleep=short)
    subscribed: list[str] = []
    async with running(
        first.run(lambda: subscribed.append("first")), second.run(lambda: subscribed.append("second"))
    ):
        await until(lambda: sorted(set(subscribed)) == ["first", "second"])
        async with running(pusher.run()):
            for size in (400, 2000, 2001):
                grow(log, writer, size)
                await until(lambda size=size: pusher.acknowledged == size)
    assert sorted(subscribed) == ["first", "second"], "each came once, and stayed"
    assert stored(central) == writer.entries


@with_broker
async def test_a_broker_and_a_platform_that_are_killed_in_the_middle_cost_nothing(log, central, broker):
    writer = Writer()
    grow(log, writer, 600)
    chance = random.Random(3)
    pusher, worker = sides(log, central, writer, broker.port)
    async with running(pusher.run()):
        for _ in range(3):
            async with running(worker.run()):
                grow(log, writer, writer.size + 1500)
                await asyncio.sleep(chance.uniform(0.1, 0.8))
                await broker.kill()
                have = stored(central)
                assert have == writer.entries[: len(have)]
                grow(log, writer, writer.size + 100)
                await broker.start()
                await asyncio.sleep(chance.uniform(0.1, 0.8))
            # the worker is gone while the gateway goes on publishing
            grow(log, writer, writer.size + 100)
            await asyncio.sleep(chance.uniform(0, 0.3))
        async with running(worker.run()):
            await until(lambda: pusher.acknowledged == writer.size, 60)
    assert stored(central) == writer.entries


@with_broker
async def test_a_broker_that_acknowledges_and_delivers_to_nobody_is_not_believed(log, central, broker):
    writer = Writer()
    grow(log, writer, 600)
    pusher, worker = sides(log, central, writer, broker.port)
    async with running(pusher.run()):
        await until(lambda: pusher.sent >= 2)  # as much as goes out without an answer, and every PUBACK came
        await asyncio.sleep(0.1)
        assert pusher.acknowledged == 0
        assert log.receipts() == ()
        async with running(worker.run()):
            await until(lambda: pusher.acknowledged == 600, 40)
    assert stored(central) == writer.entries


@with_broker
async def test_over_tls_with_certificates_on_both_sides(tmp_path, log, central, certificates):
    ca, server, client, stranger = certificates
    broker = BrokerProcess.make(tmp_path / "secure")
    lines = f"cafile {ca}\ncertfile {server[0]}\nkeyfile {server[1]}\nrequire_certificate true\n"
    await broker.start(lines)
    writer = Writer()
    grow(log, writer, 300)

    pusher, _ = sides(log, central, writer, broker.port, to={"tls": ClientTls(TlsFiles(*client, ca))})
    worker = Worker(
        intake(central, writer),
        replace(
            CentralBroker.at(f"mqtts://127.0.0.1:{broker.port}", ca=ca),
            tls=ClientTls(TlsFiles(*client, ca)).context,
        ),
        sleep=short,
    )
    try:
        async with running(worker.run()):
            with pytest.raises(aiomqtt.MqttError):
                async with aiomqtt.Client(
                    "127.0.0.1",
                    broker.port,
                    tls_context=ClientTls(TlsFiles(*stranger, ca)).context,
                    timeout=1,
                ):
                    pass
            async with running(pusher.run()):
                await until(lambda: pusher.acknowledged == 300)
    finally:
        await broker.kill()
    assert stored(central) == writer.entries


@with_broker
async def test_messages_twice_out_of_order_and_of_others_change_nothing(log, central, broker):
    writer = Writer()
    grow(log, writer, 2000)
    published = log.published
    head = offer(log, published, 0)
    messages, start = [], 0
    for stop, body in packages(log, 0, 2000):
        messages.append(len(head).to_bytes(4, "big") + head + pack(upload_head(ORIGIN, start, 2000)) + body)
        start = stop
    topic = f"gw/{topic_id(ORIGIN)}"
    _, worker = sides(log, central, writer, broker.port)
    ready = asyncio.Event()
    chance = random.Random(4)
    async with running(worker.run(ready.set)), aiomqtt.Client("127.0.0.1", broker.port) as client:
        await ready.wait()
        async with asyncio.timeout(30):
            while len(stored(central)) < 2000:
                for message in chance.sample(messages, len(messages)):
                    await client.publish(f"{topic}/bundle/0", message, qos=1)
                    await client.publish(
                        f"{topic}/bundle/0", message[: chance.randrange(len(message))], qos=1
                    )
                await client.publish("gw/nobody/bundle/0", messages[0], qos=1)
                await asyncio.sleep(0.1)
    assert stored(central) == writer.entries


@with_broker
async def test_present_values_are_shown_and_promise_nothing(log, central, broker):
    writer = Writer()
    status = AgentStatus(
        origin=ORIGIN, software="t", utc_us=START_US, started_us=START_US, clock="ntp", clock_error_us=None, size=1,
        checkpoint=1, unacknowledged=1, rewrite_window_s=None, window_s=1.0, receipts=(), buffer_hours=None,
        bytes_per_record=None, log_bytes=0, alarms=(), buses=(),
        instruments=(
            InstrumentStatus(
                instrument="potline-1", bus="b", number=3, received=3, missed=0, utc_us=START_US, index=7,
                stale=False, state="", flags=(),
                measurands=(MeasurandStatus("power.active.total", "kW", "12.0", "12.1", "0.02", None),),
            ),
        ),
    )  # fmt: skip
    pusher, _ = sides(
        log, central, writer, broker.port, status=lambda: status, to={"home_assistant": "homeassistant"}
    )
    found = {}
    async with running(pusher.run()), aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("gw/+/live/#")
        await client.subscribe("homeassistant/#")
        async with asyncio.timeout(20):
            async for message in client.messages:
                found[message.topic.value] = json.loads(message.payload)
                if len(found) == 2:
                    break
    live = found[f"gw/{topic_id(ORIGIN)}/live/potline-1"]
    assert live["values"]["power.active.total"]["value"] == "12.1"
    assert live["entry"] == 7
    (config,) = (v for k, v in found.items() if k.startswith("homeassistant/sensor/"))
    assert config["state_topic"] == f"gw/{topic_id(ORIGIN)}/live/potline-1"
    assert (config["device_class"], config["unit_of_measurement"]) == ("power", "kW")


def test_a_message_is_whole_or_nothing(log):
    writer = Writer()
    grow(log, writer, 300)
    head = offer(log, log.published, 0)
    (_, body), *_ = packages(log, 0, 300)
    whole = len(head).to_bytes(4, "big") + head + pack(upload_head(ORIGIN, 0, 300)) + body
    read = Delivery.parse(whole)
    assert [p.entries for p in read.packages] == [tuple(writer.entries[:256])]
    for cut in (0, 3, 10, len(head), len(head) + 5, len(whole) // 2, len(whole) - 40):
        with pytest.raises(ParseError):
            Delivery.parse(whole[:cut])
    other = len(head).to_bytes(4, "big") + head + pack(upload_head("else.example/x", 0, 300)) + body
    with pytest.raises(ParseError, match="one log"):
        Delivery.parse(other)


@pytest.mark.parametrize(
    ("url", "found"),
    [("mqtts://b.example", ("b.example", 8883, True)), ("mqtt://127.0.0.1:1884", ("127.0.0.1", 1884, False))],
)
def test_addresses_of_brokers(url, found):
    assert Broker.address(url) == found
    with pytest.raises(ValueError, match="mqtts"):
        Broker.address("https://b.example")


def test_the_answer_is_mirror_info_and_the_receipt():
    from central.intake import Standing

    assert acknowledgement(Standing(300, 256)) == b"300\n256\n\n"
    assert acknowledgement(Standing(300, 300, b"note\n")) == b"300\n300\n\nnote\n"
