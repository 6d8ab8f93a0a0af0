"""The platform is away for an hour, by an injected clock, over each transport: all arrives afterwards, each entry once.

The gateway writes on all the while. Nobody hammers: tries are counted. The stores, servers and the broker are real.
"""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import httpx
import pytest

from central.collect import Collector
from central.fetch import Patience
from central.mqtt import Broker as CentralBroker
from central.mqtt import Worker
from central.receive import application as mirror_application
from central.receive import serve as serve_mirror
from central.store import Store
from drivers.codec import Instant
from gateway.clock import ClockQuality, ClockState
from gateway.mqtt import Broker, MqttPusher
from gateway.pacing import BackOff
from gateway.push import Pusher, Target
from gateway.receipts import PlatformKey, Receipts
from gateway.store import LogStore
from gateway.tls import ClientTls, ServerTls, TlsFiles
from tests.central.pushing import PLATFORM, grow, intake
from tests.evidence.logs import ORIGIN, START_US, Writer
from tests.gateway.test_tls import served
from tests.rigs import authority
from tests.rigs.broker import ABSENT, MOSQUITTO, BrokerProcess

HOUR_US = 3600_000_000
SEAL_US = 60_000_000  # the gateway writes and seals each minute
KEY = PlatformKey("platform", PLATFORM.cosigner)


class Hour:
    """A clock that leaps while the platform is away, and meanwhile the gateway writes; then it runs as ours do."""

    boot_id = "test"

    def __init__(self, log, writer):
        self.us = 0
        self.log, self.writer = log, writer
        self.sealed = 0
        self.sleeps = 0
        self.over = asyncio.Event()

    def now(self):
        return Instant(START_US + self.us, self.us)

    def state(self):
        return ClockState(ClockQuality.SYNCHRONISED, 1000)

    async def sleep_until(self, boot_us):
        self.sleeps += 1
        if self.us < HOUR_US:
            self.us = max(self.us, boot_us)
            while self.us - self.sealed >= SEAL_US and not self.over.is_set():
                self.sealed += SEAL_US
                grow(self.log, self.writer, self.writer.size + 10)
            if self.us >= HOUR_US:
                self.over.set()
            await asyncio.sleep(0)
            return
        await asyncio.sleep(min(0.05, max(0, boot_us - self.us) / 1e6))
        self.us = max(self.us, boot_us)

    async def sleep(self, seconds):
        await self.sleep_until(self.us + round(seconds * 1e6))


@pytest.fixture
def site(tmp_path):
    log, writer = LogStore(tmp_path / "gateway", ORIGIN, ballast=0), Writer()
    grow(log, writer, 300)
    with Store(tmp_path / "central") as central:
        yield log, writer, central
    log.close()


async def until(true):
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - the test's own waiting
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def at_work(*coroutines):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in coroutines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def judge(log, writer, central):
    (gateway,) = central.gateways()
    assert writer.size >= 300 + 600, "an hour of writing"
    assert list(central.entries(gateway)) == writer.entries, "lost 0, twice 0, in order"
    assert max(receipt.size for receipt in log.receipts()) == writer.size


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "mutual-tls"])
async def test_pulled(tmp_path, site, secure):
    log, writer, central = site
    hour = Hour(log, writer)
    ca, server, client, _ = authority.issue(tmp_path)
    tls = ServerTls(TlsFiles(*server, ca)) if secure else None
    reached = asyncio.Event()
    asked = 0

    class Link(httpx.AsyncBaseTransport):
        """The way to the gateway: there is none for an hour."""

        def __init__(self):
            self.real = httpx.AsyncHTTPTransport(verify=ClientTls(TlsFiles(*client, ca)).context)

        async def handle_async_request(self, request):
            nonlocal asked
            asked += 1
            if not reached.is_set():
                raise httpx.ConnectError("no route")
            return await self.real.handle_async_request(request)

        async def aclose(self):
            await self.real.aclose()

    class Plain:
        context = None

    async with served(log, tls or Plain()) as url:
        collector = Collector(
            central, url if secure else url.replace("https", "http"), writer.signer.verifier,
            lambda: hour.now().utc_us, PLATFORM,
            patience=Patience(sleep=hour.sleep, random=Random(1)), transport=Link(),
        )  # fmt: skip
        outcomes = []
        async with at_work(collector.collect_forever(10.0, outcomes.append)):
            await until(hour.over.is_set)
            assert {outcome.size for outcome in outcomes} == {0}
            assert asked < 200, "it waits longer and longer"
            reached.set()
            await until(lambda: outcomes[-1].size == writer.size and outcomes[-1].receipt)
        await collector.close()
    judge(log, writer, central)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "mutual-tls"])
async def test_pushed_over_https(tmp_path, site, secure):
    log, writer, central = site
    hour = Hour(log, writer)
    ca, server, client, _ = authority.issue(tmp_path)
    context = ServerTls(TlsFiles(*server, ca)).context if secure else None
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    away, refused = True, 0
    inner = mirror_application(intake(central, writer))

    async def app(scope, receive, send):
        nonlocal refused
        if away and scope["type"] == "http":
            refused += 1
            raise ConnectionResetError("the platform is away")
        await inner(scope, receive, send)

    async with at_work(serve_mirror(app, "127.0.0.1", 0, stop, tls=context, ready=port.set_result)):
        url = f"{'https' if secure else 'http'}://127.0.0.1:{await port}"
        target = Target(KEY, url, ca, *client) if secure else Target(KEY, url)
        push = Pusher(log, Receipts(log, [KEY], hour), target, hour, back_off=BackOff(random=Random(1)))
        async with at_work(push.run()):
            await until(hour.over.is_set)
            assert central.gateways() == ()
            assert refused < 60, "it waits longer and longer"
            away = False
            await until(lambda: push.acknowledged == writer.size)
        await push.close()
        stop.set()
    judge(log, writer, central)


@pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)
@pytest.mark.parametrize("who", ["broker", "platform"])
async def test_pushed_over_mqtt(tmp_path, site, who):
    log, writer, central = site
    hour = Hour(log, writer)
    broker = BrokerProcess.make(tmp_path / "broker")
    worker = Worker(
        intake(central, writer), CentralBroker.at(f"mqtt://127.0.0.1:{broker.port}"), sleep=hour.sleep
    )
    receipts = Receipts(log, [KEY], hour)
    push = MqttPusher(
        log, receipts, Broker(KEY, "127.0.0.1", broker.port), hour, back_off=BackOff(random=Random(1))
    )
    try:
        if who == "platform":
            await broker.start()
        async with at_work(push.run()):
            await until(hour.over.is_set)
            assert push.acknowledged == 0
            assert hour.sleeps < 20_000
            if who == "broker":
                await broker.start()
            async with at_work(worker.run()):
                await until(lambda: push.acknowledged == writer.size)
    finally:
        await broker.kill()
    judge(log, writer, central)
