"""The agent renews its certificate by itself: the real door over TLS, certificates that TLS takes, a clock by hand.

The story begins 60 days ago, so that old and new certificate are both valid while real connections are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from central.authority import Authority, write_secret
from central.enrolment import Enrolments
from central.enrolment_door import application
from central.receive import serve
from central.registry import Registered, Registry
from evidence.enrolment import Application
from evidence.note import fingerprint
from evidence.record import Event
from gateway import keys
from gateway.agent import Agent
from gateway.clock import SECOND_US, ClockQuality, ClockState, SetClock, SystemClock, moment
from gateway.config import SiteFile
from gateway.enrolling import CLOCK_S, EXPIRING, FIRST_S, LONGEST_S, LOOK_S, PERSON_S, REFUSED, Renewal
from gateway.enrolment import Enrolment, EnrolmentError
from gateway.mqtt import Broker, MqttPusher
from gateway.pacing import BackOff
from gateway.planning import serving
from gateway.push import Pusher
from gateway.receipts import PlatformKey
from gateway.site_keys import log_key
from gateway.supervision import ended
from gateway.tls import ClientTls, ServerTls, TlsFiles
from gateway.uplink import targets
from sim.ports import free_port
from tests.gateway.test_agent import PERIOD, Running, fast, records, until
from tests.rigs.agent_process import PLATFORM, plan
from tests.rigs.farm import Farm

DAY_US = 86_400 * SECOND_US
DAYS = 90
ORIGIN = "platform.example/gw/rig"
SITE = """
[site]
name = "rig"
origin = "{origin}"

[enrolment]
url = "https://127.0.0.1:{port}"
ca = "platform-ca.pem"

[serve]
listen = "127.0.0.1:0"
enrolled = true

[[bus]]
name = "line"
protocol = "modbus-tcp"
port = "tcp://127.0.0.1:1"

[[bus.instrument]]
id = "m1"
address = "1"
profile = "schneider-iem3000"

[[platform]]
name = "centre"
push = "https://127.0.0.1:{elsewhere}"
"""


def background(work):
    return asyncio.get_running_loop().create_task(work)


class World:
    """A platform with its door, and a site that is enrolled there; ``clock`` is both sides' time."""

    def __init__(self, directory):
        self.directory = directory
        begun = moment() - timedelta(days=60)
        self.clock = SetClock(round(begun.timestamp() * SECOND_US))
        self.platform = directory / "platform"
        self.platform.mkdir()
        self.authority = Authority.create(self.platform / "ca", "Smelter", begun)
        witness = keys.create(self.platform / "platform.key", "platform.example/receipts", receipts=True)
        (self.platform / "policy").write_text(f"witness centre {witness.vkey}\nquorum centre\n")
        made, key = self.authority.for_platform("door", ("127.0.0.1",), begun, 3650)
        write_secret(self.platform / "server.pem", made.encode() + key)
        self.registry = Registry(self.platform / "gateways")
        self.enrolments = Enrolments(
            self.platform, self.registry, self.now, authority=self.authority, days=DAYS
        )
        self.port, self.elsewhere = free_port(), free_port()
        (directory / "platform-ca.pem").write_text(self.authority.platform_pem)
        (directory / "site.toml").write_text(
            SITE.format(origin=ORIGIN, port=self.port, elsewhere=self.elsewhere)
        )
        self.site = SiteFile(directory / "site.toml")
        self.enrolment = Enrolment(self.site.data, ORIGIN)
        self.refused = []

    def now(self):
        return datetime.fromtimestamp(self.clock.now().utc_us / SECOND_US, UTC)

    def key(self):
        return log_key(self.site)

    def enrol(self):
        signer = self.key().signer
        note = self.enrolment.apply(signer, (), self.clock.now().utc_us)
        self.enrolments.approve(note, fingerprint(signer.verifier.vkey))
        self.enrolment.take(self.enrolments.take(note).encode(), self.now())

    def renewal(self, agent, **more):
        return Renewal(self.site, agent, self.clock, self.key, **more)

    @property
    def serial(self):
        return x509.load_pem_x509_certificate(self.enrolment.identity.read_bytes()).serial_number

    @property
    def issued(self):
        """The certificate that the door has given out last."""
        (path,) = self.platform.glob("enrolments/*/certificate.pem")
        return x509.load_pem_x509_certificate(path.read_bytes()).serial_number

    @contextlib.asynccontextmanager
    async def door(self):
        stop = asyncio.Event()
        tls = ServerTls(TlsFiles(self.platform / "server.pem"))
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            app = application(self.enrolments, self.refused.append)
            group.create_task(
                serve(app, "127.0.0.1", self.port, stop, tls=tls.context, ready=lambda _: ready.set())
            )
            await ready.wait()
            try:
                yield
            finally:
                stop.set()

    @contextlib.asynccontextmanager
    async def agent(self, **more):
        """An agent at work that keeps this site's log."""
        async with Farm(1) as farm:
            made = fast(plan(self.site.data, PERIOD, farm.ports), signer=self.key().signer, **more)
            async with Running(Agent(made, SystemClock())) as agent:
                yield agent


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.enrol()
    return made


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, logger="suyuan.enrolment")


def events(world):
    return [(r.kind, r.detail) for r in records(world.site.data) if isinstance(r, Event)]


async def test_with_a_third_of_its_life_left_it_is_renewed_once_and_logged(world):
    first = world.serial
    async with world.door(), world.agent() as agent:
        renewal = world.renewal(agent)
        assert await renewal.look() == LOOK_S
        await world.clock.advance(59 * DAY_US)
        await renewal.look()
        assert world.serial == first, "it has more than a third of its life left"
        await world.clock.advance(2 * DAY_US)
        assert await renewal.look() == LOOK_S
        second = world.serial
        assert second != first
        assert await renewal.look() == LOOK_S
        assert world.serial == second, "one that is fresh is not renewed"
        ends = world.enrolment.validity().ends
        assert ends == (world.now() + timedelta(days=DAYS)).replace(microsecond=0)
    assert [d["until"] for k, d in events(world) if k == "certificate_renewed"] == [
        f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    ]


class Hasty:
    """Sleeps by setting the world's clock on, and notes for how long; after so many it waits for ``go``."""

    def __init__(self, clock, most):
        self.clock, self.most, self.pauses, self.go = clock, most, [], asyncio.Event()

    def now(self):
        return self.clock.now()

    def state(self):
        return self.clock.state()

    async def sleep_until(self, boot_us):
        pause_us = boot_us - self.clock.now().boot_us
        self.pauses.append(pause_us / SECOND_US)
        if len(self.pauses) == self.most:
            await self.go.wait()
        await self.clock.advance(pause_us)


async def test_it_runs_by_itself_and_outlives_a_platform_that_is_down(world):
    first = world.serial
    due = world.enrolment.validity().renew - world.now() - timedelta(hours=1)
    await world.clock.advance(round(due.total_seconds() * SECOND_US))
    async with world.agent() as agent:
        clock = Hasty(world.clock, 6 + 12)
        task = background(Renewal(world.site, agent, clock, world.key).run())
        await until(lambda: len(clock.pauses) == clock.most)
        fine = [pause for pause in clock.pauses if pause == LOOK_S]
        tries = clock.pauses[-10:]
        assert len(fine) >= 5
        assert FIRST_S / 2 <= tries[0] < tries[-1] <= LONGEST_S, "later each time"
        assert world.serial == first
        assert EXPIRING not in agent.status().alarms, "the end is weeks away"
        async with world.door():
            clock.go.set()
            await until(lambda: world.serial != first)
            task.cancel()
            await asyncio.wait((task,))


async def test_near_the_end_it_is_an_alarm_that_a_renewal_ends(world):
    async with world.agent() as agent:
        renewal = world.renewal(agent)
        await world.clock.advance((DAYS - 13) * DAY_US)
        assert await renewal.look() <= FIRST_S
        assert agent.status().alarms == (EXPIRING,)
        async with world.door():
            await renewal.look()
        assert agent.status().alarms == ()
    (alarm,) = [d for k, d in events(world) if k == "alarm"]
    assert alarm["alarm"] == EXPIRING
    assert alarm["until"].startswith("20")


async def test_a_door_that_refuses_is_told_at_once_with_its_words(world):
    first = world.serial
    async with world.door(), world.agent() as agent:
        renewal = world.renewal(agent)
        await world.clock.advance(61 * DAY_US)
        world.registry.put(Registered(world.key().signer.verifier, active=False))
        assert await renewal.look() <= FIRST_S
        assert agent.status().alarms == (REFUSED,)
        assert world.serial == first, "the old one is used on"
        world.registry.put(Registered(world.key().signer.verifier))
        await renewal.look()
        assert agent.status().alarms == ()
        assert world.serial != first
    (alarm,) = [d for k, d in events(world) if k == "alarm"]
    assert "suspended by the platform's operator" in alarm["why"]


async def test_a_certificate_that_ended_while_the_agent_was_off_is_renewed_at_its_start(world):
    await world.clock.advance((DAYS + 30) * DAY_US)
    async with world.door(), world.agent() as agent:
        assert await world.renewal(agent).look() == LOOK_S
    assert world.enrolment.validity().ends > world.now()


async def test_a_clock_ahead_gets_one_certificate_and_not_one_each_minute(world):
    """The battery of the clock is old: the box believes to be a few months ahead of the door."""
    door_now = world.now()
    world.enrolments._now = lambda: door_now
    world.clock.step(61 * DAY_US)
    given = set()
    async with world.door(), world.agent() as agent:
        renewal = world.renewal(agent)
        for _ in range(50):
            pause = await renewal.look()
            assert pause >= FIRST_S / 2
            await world.clock.advance(round(pause * SECOND_US))
            given.add(world.issued)
        assert len(given) == 1
        world.clock.step(-61 * DAY_US)
        assert await renewal.look() == LOOK_S


async def test_a_clock_far_ahead_refuses_what_comes_and_costs_the_door_one_certificate(world):
    door_now = world.now()
    world.enrolments._now = lambda: door_now
    world.clock.step(10 * 365 * DAY_US)
    given, first = set(), world.serial
    async with world.door(), world.agent() as agent:
        renewal = world.renewal(agent)
        for _ in range(20):
            await world.clock.advance(round(await renewal.look() * SECOND_US))
            given.add(world.issued)
        assert len(given) == 1, "the same application gets the same answer"
        assert world.serial == first
        world.clock.step(-10 * 365 * DAY_US)
        assert await renewal.look() == LOOK_S


@pytest.mark.parametrize("years", [-50, 50])
async def test_a_clock_that_nobody_has_set_yet_is_waited_for(world, years):
    first = world.serial
    async with world.door(), world.agent() as agent:
        world.clock._state = ClockState(ClockQuality.UNKNOWN, None)
        world.clock.step(years * 365 * DAY_US)
        renewal = world.renewal(agent)
        assert 0 < await renewal.look() <= FIRST_S
        assert world.serial == first
        world.clock.step(-years * 365 * DAY_US)
        await world.clock.advance(round(CLOCK_S * SECOND_US))
        assert await renewal.look() == LOOK_S
        assert world.serial == first
        await world.clock.advance(61 * DAY_US)
        await renewal.look()
        assert world.serial != first, "where nothing ever sets the clock it is believed in the end"


async def test_a_first_enrolment_is_asked_for_every_few_minutes(tmp_path):
    world = World(tmp_path)
    async with world.door(), world.agent() as agent:
        renewal = world.renewal(agent)
        for _ in range(12):
            assert await renewal.look() <= PERSON_S
        signer = world.key().signer
        (waiting,) = world.enrolments.waiting
        assert waiting.source == "127.0.0.1"
        world.enrolments.approve(waiting.data, fingerprint(signer.verifier.vkey))
        assert await renewal.look() == LOOK_S
    assert "certificate_enrolled" in dict(events(world))


async def test_what_nobody_expected_stops_no_measurement(world, monkeypatch):
    async with world.agent() as agent:
        renewal = world.renewal(agent)
        await world.clock.advance((DAYS - 1) * DAY_US)
        tried = []

        def broken(*_):
            tried.append(1)
            raise RuntimeError("a certificate like no other")

        monkeypatch.setattr(Enrolment, "apply", broken)
        task = background(renewal.run())
        await until(lambda: EXPIRING in agent.status().alarms)
        assert not task.done()
        task.cancel()
        await asyncio.wait((task,))


# ── who uses it ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def shown_by(address, world):
    """The serial number of the certificate that a TLS server shows to the platform."""
    context = ClientTls(TlsFiles(world.platform / "server.pem")).context
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"GET /checkpoint HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200"), "our certificate was taken"
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


class Listener:
    """A TLS server of the platform that notes whose certificate came and hangs up."""

    def __init__(self, world):
        self.world, self.https, self.mqtt = world, [], []

    async def _client(self, reader, writer):
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        seen = self.https if (await reader.read(1000)).startswith(b"POST") else self.mqtt
        seen.append(x509.load_der_x509_certificate(der).serial_number)
        writer.write(
            bytes.fromhex("2003008800")
        )  # MQTT 5's CONNACK: the server is unavailable; to HTTP it is nothing
        writer.close()

    async def __aenter__(self):
        ca = self.world.platform / "ca" / "gateways-ca.pem"
        tls = ServerTls(TlsFiles(self.world.platform / "server.pem", None, ca))
        self.server = await asyncio.start_server(
            self._client, "127.0.0.1", self.world.elsewhere, ssl=tls.context
        )
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()


async def test_the_running_listener_and_the_pushing_clients_show_the_new_one_from_their_next_connection_on(
    world,
):
    listen, tls = serving(world.site)
    first = world.serial
    (target,) = targets(world.site)
    broker = Broker(
        PlatformKey("platform", PLATFORM.cosigner),
        "127.0.0.1",
        world.elsewhere,
        ClientTls(world.enrolment.files),
    )
    async with world.door(), Listener(world) as listener, world.agent(listen=listen, tls=tls) as agent:
        clock = SystemClock()
        pushers = (
            Pusher(agent.store, agent.receipts, target, clock, back_off=BackOff(0.01, 0.02)),
            MqttPusher(agent.store, agent.receipts, broker, clock, back_off=BackOff(0.01, 0.02)),
        )
        assert await shown_by(agent.address, world) == first
        await world.clock.advance(60 * DAY_US)
        tasks = [background(pusher.run()) for pusher in pushers]
        await until(lambda: len(listener.https) > 2 and len(listener.mqtt) > 2)
        assert {*listener.https, *listener.mqtt} == {first}
        await world.renewal(agent).look()
        second = world.serial
        assert second != first
        await until(lambda: second in listener.https and second in listener.mqtt)
        assert not await ended(tasks, 1.0, 30)  # as the agent does: a library may swallow one cancel
        await pushers[0].close()
        assert await shown_by(agent.address, world) == second


# ── power cuts ───────────────────────────────────────────────────────────────────────────────────────────────────────


class PowerCut(BaseException):
    """The box is dark."""


def dark_after(monkeypatch, steps):
    """Let so many renames and removals of files happen, then none."""
    left = [steps]

    def counted(what):
        def step(*arguments, **more):
            if not left[0]:
                raise PowerCut
            left[0] -= 1
            return what(*arguments, **more)

        return step

    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


@pytest.mark.parametrize("steps", range(12))
async def test_whenever_the_power_fails_there_is_a_pair_that_fits_and_the_renewal_goes_on(world, steps):
    first = world.serial
    await world.clock.advance(60 * DAY_US)
    signer, utc_us = world.key().signer, world.clock.now().utc_us

    def renew():
        note = world.enrolment.apply(signer, (), utc_us)
        return world.enrolment.take(world.enrolments.take(note).encode(), world.now())

    with pytest.MonkeyPatch.context() as patch:
        dark_after(patch, steps)
        with contextlib.suppress(PowerCut):
            renew()
    ServerTls(world.enrolment.files)  # certificate and key belong together
    ClientTls(world.enrolment.files)
    cut = world.serial
    renew()
    assert world.serial not in (first, cut) or world.serial == world.issued
    assert world.serial != first
    ServerTls(world.enrolment.files)
    assert not (world.enrolment.directory / "next.key").exists()


async def test_a_key_that_is_certified_already_is_not_asked_for_again(world):
    """The power failed after the certificate was taken, and the key's file was still there."""
    first = world.serial
    private = world.enrolment.identity.read_bytes()
    (world.enrolment.directory / "next.key").write_bytes(private[private.index(b"-----BEGIN PRIVATE") :])
    await world.clock.advance(60 * DAY_US)
    note = world.enrolment.apply(world.key().signer, (), world.clock.now().utc_us)
    world.enrolment.take(world.enrolments.take(note).encode(), world.now())
    assert world.serial != first


def test_an_identity_that_is_no_certificate_is_told(world):
    world.enrolment.identity.write_text("nothing")
    with pytest.raises(EnrolmentError, match="enrol again"):
        world.enrolment.validity()
    assert Application.parse((world.enrolment.directory / "application").read_bytes()).origin == ORIGIN
