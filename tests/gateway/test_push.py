"""The gateway pushes its log to a real mirror on loopback: in order, once, through refusals and broken connections."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from random import Random

import httpx
import pytest

from central.receive import application, serve
from central.store import Store
from drivers.codec import Instant
from evidence import note
from gateway.clock import ClockQuality, ClockState
from gateway.pacing import BackOff, TokenBucket
from gateway.push import Contradicted, Pusher, PushError, Target
from gateway.receipts import PlatformKey, Receipts
from gateway.store import LogStore
from gateway.tls import ServerTls, TlsFiles
from tests.central.pushing import PLATFORM, grow, intake
from tests.evidence.logs import ORIGIN, START_US, Writer
from tests.rigs import authority

KEY = PlatformKey("platform", PLATFORM.cosigner)


class Clock:
    """A clock that goes on when somebody sleeps."""

    boot_id = "test"

    def __init__(self):
        self.us = 0

    def now(self):
        return Instant(START_US + self.us, self.us)

    def state(self):
        return ClockState(ClockQuality.SYNCHRONISED, 1000)

    async def sleep_until(self, boot_us):
        self.us = max(self.us, boot_us)
        await asyncio.sleep(0)


@pytest.fixture
def log(tmp_path):
    store = LogStore(tmp_path / "gateway", ORIGIN, ballast=0)
    yield store
    store.close()


@pytest.fixture
def central(tmp_path):
    with Store(tmp_path / "central") as store:
        yield store


@contextlib.asynccontextmanager
async def mirror(app, tls=None):
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, "127.0.0.1", 0, stop, tls=tls, ready=port.set_result))
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{await port}"
        finally:
            stop.set()


@contextlib.asynccontextmanager
async def pusher(log, url, **more):
    clock = Clock()
    target = more.pop("target", None) or Target(KEY, url)
    made = Pusher(log, Receipts(log, [KEY], clock), target, clock, **more)
    try:
        yield made
    finally:
        await made.close()


def stored(central):
    (gateway,) = central.gateways()
    return list(central.entries(gateway))


@pytest.mark.parametrize("sizes", [[6], [255, 256, 257], [300, 1000], [40, 41, 5000]])
async def test_what_is_published_arrives_once_and_the_receipt_comes_back(log, central, sizes):
    writer = Writer()
    async with mirror(application(intake(central, writer))) as url, pusher(log, url) as push:
        for size in sizes:
            grow(log, writer, size)
            assert await push.push_once()
            assert push.acknowledged == writer.size
            assert not await push.push_once()
    assert stored(central) == writer.entries
    (kept,) = log.receipts()
    assert note.Note.parse(kept.note).is_signed_by(writer.signer.verifier)
    assert note.Note.parse(kept.note).cosigned_at(PLATFORM.cosigner) is not None


async def test_nothing_beyond_the_published_checkpoint_is_sent(log, central):
    writer = Writer()
    grow(log, writer, 300)
    writer.grow(500)
    log.commit(writer.entries[300:])  # durable, not sealed yet
    async with mirror(application(intake(central, writer))) as url, pusher(log, url) as push:
        await push.push_once()
    assert stored(central) == writer.entries[:300]


async def test_a_new_life_goes_on_where_the_platform_stands(log, central):
    writer = Writer()
    grow(log, writer, 3000)
    made = intake(central, writer)
    count = 0

    inner = application(made)

    async def app(scope, receive, send):
        nonlocal count
        if scope["type"] == "http" and scope["path"] == "/add-entries":
            count += 1
            if count == 3:
                raise ConnectionResetError("the platform went away")
        await inner(scope, receive, send)

    async with mirror(app) as url:
        async with pusher(log, url) as push:
            with pytest.raises(PushError):
                await push.push_once()
        begun = len(stored(central))
        assert 0 < begun < 3000
        grow(log, writer, 3500)
        async with pusher(log, url) as push:  # it knows nothing of the life before
            assert await push.push_once()
            assert push.acknowledged == 3500
    assert stored(central) == writer.entries


@pytest.mark.parametrize("seed", range(2))
async def test_connections_that_break_anywhere_cost_nothing_but_time(log, central, seed):
    """Each request may be cut on its way there, and each answer on its way back."""
    chance = Random(seed)
    writer = Writer()
    inner = application(intake(central, writer))

    async def app(scope, receive, send):
        left = chance.randrange(0, 90_000)
        lost = chance.random() < 0.3

        async def broken():
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left > 0 else {"type": "http.disconnect"}

        async def mute(message):
            if lost:
                raise ConnectionResetError
            await send(message)

        if scope["type"] == "http":
            await inner(scope, broken, mute)

    failures = 0
    async with mirror(app) as url, pusher(log, url) as push:
        for size in (700, 1500, 2600):
            grow(log, writer, size)
            while push.acknowledged < size:
                try:
                    await push.push_once()
                except PushError:
                    failures += 1
                    assert failures < 500
                assert (
                    stored(central) == writer.entries[: len(stored(central))] if central.gateways() else True
                )
    assert failures > 0
    assert stored(central) == writer.entries


async def test_run_waits_longer_after_each_failure_and_drains_when_the_platform_is_back(log, central):
    writer = Writer()
    grow(log, writer, 600)
    away = 5
    inner = application(intake(central, writer))

    async def app(scope, receive, send):
        nonlocal away
        if scope["type"] == "http" and away:
            away -= 1
            await httpx_answer(send, 503)
        elif scope["type"] == "http":
            await inner(scope, receive, send)

    async with mirror(app) as url, pusher(log, url, back_off=BackOff(1.0, 300.0, Random(1))) as push:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(push.run())
            while push.acknowledged < 600:  # noqa: ASYNC110 - the test's own waiting
                await asyncio.sleep(0.01)
            running.cancel()
        waited = push._clock.us / 1e6
    assert waited >= 0.5 + 1 + 2 + 4 + 8
    assert stored(central) == writer.entries


async def httpx_answer(send, status):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"away\n"})


async def test_a_platform_that_has_more_of_this_log_is_an_alarm_and_not_overwritten(tmp_path, log, central):
    writer = Writer()
    grow(log, writer, 300)
    grow(log, writer, 600)
    old = LogStore(tmp_path / "image", ORIGIN, ballast=0)
    image = Writer()
    grow(old, image, 300)
    async with mirror(application(intake(central, writer))) as url:
        async with pusher(log, url) as push:
            await push.push_once()
        async with pusher(old, url) as push:  # an old image of the box was put back
            with pytest.raises(Contradicted, match="600 entries"):
                await push.push_once()
    old.close()
    assert stored(central) == writer.entries


@pytest.mark.parametrize("size", [300, 900])  # an old image that signs anew is told before its log is longer
async def test_a_second_history_is_refused_and_both_sides_know(tmp_path, log, central, size):
    writer, other = Writer(), Writer(seed=9)
    grow(log, writer, 600)
    fork = LogStore(tmp_path / "fork", ORIGIN, ballast=0)
    grow(fork, other, size)
    alarms = []
    made = intake(central, writer, report=lambda *alarm: alarms.append(alarm))
    async with mirror(application(made)) as url:
        async with pusher(log, url) as push:
            await push.push_once()
        async with pusher(fork, url) as push:
            with pytest.raises(Contradicted, match="fork"):
                await push.push_once()
    fork.close()
    assert [kind for _, kind, _ in alarms] == ["fork"]
    assert stored(central) == writer.entries


async def test_a_receipt_of_somebody_else_is_not_believed(log, central):
    writer = Writer()
    grow(log, writer, 300)
    made = intake(central, writer)
    made.signer = Writer("else.example/x").signer
    async with mirror(application(made)) as url, pusher(log, url) as push:
        with pytest.raises(PushError, match="receipt"):
            await push.push_once()
        assert push.acknowledged == 0


async def test_the_token_bucket_keeps_to_its_rate():
    clock = Clock()
    bucket = TokenBucket(clock, 1000, burst=500)
    for _ in range(10):
        await bucket.take(1000)
    assert clock.us == (10_000 - 500) * 1000
    free = TokenBucket(clock, None)
    await free.take(10**9)
    assert clock.us == (10_000 - 500) * 1000


async def test_both_sides_show_certificates(tmp_path, log, central, certificates):
    writer = Writer()
    grow(log, writer, 300)
    ca, server, client, stranger = certificates
    tls = ServerTls(TlsFiles(*server, ca)).context
    async with mirror(application(intake(central, writer)), tls) as url:
        async with pusher(log, url, target=Target(KEY, url, ca, *stranger)) as push:
            with pytest.raises(PushError, match="client certificate of an authority that it knows"):
                await push.push_once()
        async with pusher(log, url, target=Target(KEY, url, ca, *client)) as push:
            assert await push.push_once()
        context = ssl.create_default_context(cafile=str(ca))
        async with httpx.AsyncClient(verify=context, trust_env=False) as nobody:
            with pytest.raises(httpx.TransportError):
                await nobody.get(url + "/x/checkpoint")
    assert stored(central) == writer.entries


@pytest.fixture
def certificates(tmp_path):
    return authority.issue(tmp_path)
