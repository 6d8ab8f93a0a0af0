"""Meters that publish: times, stale messages, and a real broker on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import aiomqtt
import pytest

from drivers.codec import Instant
from evidence.record import Gap, Reading, decode
from gateway.agent import Agent
from gateway.clock import SystemClock
from gateway.config import SiteFile
from gateway.mqtt_subscriber import Subscription, delivery, stamp
from gateway.planning import plan_of
from gateway.prepare import prepare
from gateway.pushed import Delivery
from gateway.site_keys import log_key
from gateway.store import LogStore
from gateway.toml_source import ConfigError
from sim.ports import free_port

S = 1_000_000
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")

SITE = """
[site]
name = "workshop"
origin = "platform.example/gw/mqtt"

[log]
commit = "20ms"
checkpoint = "60ms"

[serve]
listen = "127.0.0.1:0"

[[bus]]
name = "broker"
protocol = "mqtt"
port = "mqtt://127.0.0.1:1883"
late = "50ms"

[[bus.instrument]]
id = "press"
address = "meters/press"
period = "200ms"
accuracy_class = "1"
rated_current = "5"

[bus.instrument.value."energy.active.import"]
path = "energy.total"
unit = "kWh"
resolution = "0.001"

[bus.instrument.value."power.active.total"]
path = "power"
unit = "kW"
scale = "0.001"
"""


def today():
    return datetime.fromtimestamp(SystemClock().now().utc_us / 1e6, UTC)


def site(tmp_path, text=SITE):
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return SiteFile(path)


@pytest.mark.parametrize(
    ("message", "path", "us"),
    [
        ({"t": 1782000000}, "t", 1782000000 * S),
        ({"t": "1782000000.25"}, "t", 1782000000 * S + 250_000),
        ({"t": 1782000000123}, "t", 1782000000 * S + 123_000),
        ({"t": "2026-06-21T00:00:00Z"}, "t", 1782000000 * S),
        ({"t": "2026-06-21T08:00:00.5+08:00"}, "t", 1782000000 * S + 500_000),
        ({"t": "2026-06-21T00:00:00"}, "t", None),
        ({"t": "noon"}, "t", None),
        ({"t": -1}, "t", None),
        ({"t": True}, "t", None),
        ({}, "t", None),
    ],
)
def test_a_messages_own_time_is_believed_only_if_it_says_whose_it_is(message, path, us):
    assert stamp(message, path) == us


@pytest.fixture
def subscription(tmp_path):
    (meter,) = prepare(site(tmp_path), today).pushes[0].meters
    return Subscription("press", "meters/press", meter.profile, meter.queries[0])


def test_a_message_is_a_scan_of_its_instrument(subscription):
    made = delivery(subscription, b'{"energy":{"total":12.345},"power":1500}', False, Instant(S, 0))
    assert isinstance(made, Delivery)
    assert {i.measurand: i.value for i in made.scan.indications} == {
        "energy.active.import": Decimal("12.345"),
        "power.active.total": Decimal("1.5"),
    }
    (exchange,) = made.scan.exchanges
    assert (exchange.request, exchange.answer[:9]) == (b"meters/press", b'{"energy"')


@pytest.mark.parametrize(
    ("payload", "time", "retained", "cause"),
    [
        (b'{"power":1}', "", True, "retained"),
        (b'{"power":1}', "t", False, "no_time"),
        (b"no json", "t", False, "no_time"),
        (b"x" * 20_000, "", False, "too_long"),
    ],
)
def test_what_has_no_time_of_its_own_must_be_fresh(subscription, payload, time, retained, cause):
    assert delivery(replace(subscription, time=time), payload, retained, Instant(S, 0)) == cause


def test_a_retained_message_that_tells_its_time_is_taken_for_that_time(subscription):
    made = delivery(replace(subscription, time="t"), b'{"power":1,"t":1782000000}', True, Instant(S, 0))
    assert made.stamp_us == 1782000000 * S


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('resolution = "0.001"\n', "", "states no resolution"),
        ('unit = "kWh"', 'unit = "V"', "energy.active.import in 'V'"),
        ("mqtt://127.0.0.1:1883", "127.0.0.1:1883", "no port of mqtt"),
        ("mqtt://127.0.0.1:1883", "mqtts://127.0.0.1:1883", "no port of mqtt"),
        ('scale = "0.001"', 'scale = "0"', "scale 0"),
        (
            '[bus.instrument.value."power.active.total"]',
            '[bus.instrument.value."Power"]',
            "no measurand's name",
        ),
    ],
)
def test_what_a_site_file_says_wrongly_of_a_published_meter_is_told(tmp_path, old, new, what):
    assert old in SITE
    with pytest.raises(ConfigError) as caught:
        prepare(site(tmp_path, SITE.replace(old, new, 1)), today)
    assert what in str(caught.value)


# ---- with a broker ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def broker(tmp_path, port):
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n", "utf-8")
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO, "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto here: apt-get install mosquitto")
async def test_what_meters_publish_is_in_the_log_and_a_lost_broker_is_a_gap(tmp_path):
    port = free_port()
    file = site(tmp_path, SITE.replace(":1883", f":{port}"))
    made = plan_of(prepare(file, today), log_key(file))
    agent = Agent(replace(made, ballast=0), SystemClock())
    source = agent.pushed[0].source
    source.waits_s = (0.05,)

    def received():
        return agent.status().instruments[0].received

    async with broker(tmp_path, port):
        task = asyncio.get_running_loop().create_task(agent.run())
        await until(lambda: source.connected)
        sent = 0
        async with aiomqtt.Client("127.0.0.1", port) as meter:
            while received() < 5:
                sent += 1
                body = {"energy": {"total": f"{100 + sent}.125"}, "power": 1500}
                await meter.publish("meters/press", json.dumps(body), qos=1)
                await asyncio.sleep(0.05)
    await until(lambda: not source.connected)
    before, missed = received(), agent.status().instruments[0].missed
    await until(lambda: agent.status().instruments[0].missed > missed + 3)
    assert received() == before, "no last value is told again"
    async with broker(tmp_path, port):
        await until(lambda: source.connected)
        async with aiomqtt.Client("127.0.0.1", port) as meter:
            while received() == before:
                await meter.publish("meters/press", '{"energy":{"total":"900.5"},"power":"off"}', qos=1)
                await asyncio.sleep(0.05)
        agent.stop()
        await asyncio.wait((task,))
        task.result()
    store = LogStore(tmp_path / "data", file.site.site.origin, ballast=0)
    found = [decode(data) for _, data in store.entries(0)]
    store.close()
    readings = [r for r in found if isinstance(r, Reading)]
    assert [r.due_us % 200_000 for r in readings] == [0] * len(readings)
    assert len({r.due_us for r in readings}) == len(readings), "one reading per period"
    assert readings[0].indications["energy.active.import"].endswith(".125")
    assert readings[0].results["power.active.total"][0] == "1.5"
    assert readings[-1].missing == {"power.active.total": "not_a_number"}
    gaps = [r for r in found if isinstance(r, Gap)]
    assert {r.reason for r in gaps} == {"timeout"}
    assert sum(r.last - r.first + 1 for r in gaps) > 3
    numbers = [
        (r.number, r.number) if isinstance(r, Reading) else (r.first, r.last)
        for r in found
        if isinstance(r, Reading | Gap)
    ]
    assert [first for first, _ in numbers[1:]] == [last + 1 for _, last in numbers[:-1]]
