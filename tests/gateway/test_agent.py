"""The agent as a whole, on loopback: real lines, real commits, real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import replace

import httpx
import pytest

from drivers.codec import Instant
from evidence.findings import Severity
from evidence.log import parse_path
from evidence.note import Note
from evidence.record import CalibrationState, Event, Gap, Reading, Seal, decode
from evidence.verify import verify_log
from gateway.agent import Agent
from gateway.clock import SystemClock
from gateway.logfile import StoreError
from gateway.notify import Notifier
from gateway.store import LogStore
from tests.rigs.agent_process import PLATFORM, SIGNER, plan
from tests.rigs.farm import Farm
from tests.rigs.power_cut import Disk, Vfs

PERIOD = 20_000


async def until(condition):
    """Wait for something to become true; the test's own time limit bounds it."""
    async with asyncio.timeout(45):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


class Running:
    """An agent at work within a test."""

    def __init__(self, agent):
        self.agent = agent
        self.task = None

    async def __aenter__(self):
        self.task = asyncio.get_running_loop().create_task(self.agent.run())
        await until(lambda: self.task.done() or self.agent.address is not None)
        if self.task.done():
            self.task.result()
        return self.agent

    async def __aexit__(self, *_):
        self.agent.stop()
        await asyncio.wait((self.task,))


def fast(plan_, **more):
    return replace(plan_, commit_us=20_000, checkpoint_us=60_000, **more)


def records(directory):
    store = LogStore(directory, plan(directory, 1, []).origin, ballast=0)
    found = [decode(data) for _, data in store.entries(0)]
    store.close()
    return found


def verified(directory):
    """The log as the auditor sees it."""
    store = LogStore(directory, plan(directory, 1, []).origin, ballast=0)

    def read(path):
        if path == "checkpoint":
            return store.published.note
        tile = parse_path(path)
        if tile.level is None:
            body = store.bundle(tile.index, tile.width)
            return None if body is None else body.plain()
        return store.tile(tile.level, tile.index, tile.width)

    report = verify_log(read, SIGNER.verifier)
    store.close()
    assert [f for f in report.findings if f.severity is not Severity.INFO] == []
    return report


def received(agent, name="M00"):
    return next(i.received for i in agent.status().instruments if i.instrument == name)


def missed(agent, name="M00"):
    return next(i.missed for i in agent.status().instruments if i.instrument == name)


async def test_what_meters_said_is_polled_signed_served_and_verifies(tmp_path):
    async with Farm(3) as farm:
        async with Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports)), SystemClock())) as agent:
            await until(lambda: received(agent) > 30)
            host, port = agent.address
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
                status = (await http.get("/status")).json()
                shown = status["instruments"][0]["measurands"][0]
                assert int(shown["indication"]) > 0
                assert float(shown["value"]) == pytest.approx(float(shown["indication"]))
                assert float(shown["u"]) > 0
                assert (await http.get("/metrics")).status_code == 200
                await until(lambda: agent.store.published.size > 20)
                assert (await http.get("/checkpoint")).content.startswith(b"platform.example/gw/rig\n")
        served = farm.served
    found = records(tmp_path)
    assert isinstance(found[-1], Seal)
    assert [r.kind for r in found if isinstance(r, Event)] == ["start", "stop"]
    for n, count in enumerate(served):
        readings = [r for r in found if isinstance(r, Reading) and r.instrument == f"M{n:02}"]
        values = [int(r.indications["register.r07"]) for r in readings]
        assert values == sorted(set(values)), "no value twice, none out of order"
        assert len(values) >= count - 1, "at most the scan that the stop cut off"
    report = verified(tmp_path)
    assert report.instruments["M00"].received == received_of(found, "M00")


def received_of(found, name):
    return sum(isinstance(r, Reading) and r.instrument == name for r in found)


async def test_a_restart_goes_on_where_the_log_ends(tmp_path):
    async with Farm(1) as farm:
        for _ in range(3):
            async with Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports)), SystemClock())) as agent:
                await until(lambda agent=agent: agent.status().instruments[0].index is not None)
                size = agent.store.size
                await until(lambda agent=agent, size=size: agent.store.size > size + 5)
    found = records(tmp_path)
    starts = [r.detail["previous"] for r in found if isinstance(r, Event) and r.kind == "start"]
    assert starts == ["none", "clean", "clean"]
    assert len([r for r in found if isinstance(r, CalibrationState)]) == 1
    verified(tmp_path)


async def test_a_dead_meter_costs_the_others_nothing_and_is_a_gap(tmp_path):
    async with Farm(3) as farm:
        farm.meters[1].frozen = True
        async with Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports)), SystemClock())) as agent:
            await until(lambda: received(agent, "M00") > 60 and received(agent, "M02") > 60)
            stale = {i.instrument: i.stale for i in agent.status().instruments}
            assert stale["M01"]
    found = records(tmp_path)
    assert received_of(found, "M01") == 0
    reasons = {r.reason for r in found if isinstance(r, Gap) and r.instrument == "M01"}
    assert reasons <= {"timeout", "skipped", "no_time", "stopped"}
    verified(tmp_path)


class Broken:
    """A codec with a bug that shows after some requests."""

    def __init__(self, codec, after):
        self._codec, self._left = codec, after

    def __getattr__(self, name):
        return getattr(self._codec, name)

    def encode(self, request):
        self._left -= 1
        if self._left < 0:
            raise ZeroDivisionError("a bug of ours")
        return self._codec.encode(request)


async def test_a_bug_in_one_line_is_told_and_stops_no_other(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, logger="suyuan.agent")
    async with Farm(2) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports))
        first = replace(made.buses[0], codec=Broken(made.buses[0].codec, 5))
        async with Running(Agent(replace(made, buses=(first, made.buses[1])), SystemClock())) as agent:
            await until(lambda: agent.status().buses[0].failures >= 1 and received(agent, "M01") > 30)
            failures = agent.status().buses[0].failures
    found = records(tmp_path)
    told = [r for r in found if isinstance(r, Event) and r.kind == "task_failed"]
    assert len(told) >= failures
    assert told[0].detail["bus"] == "line-00"
    assert "a bug of ours" in told[0].detail["error"]
    assert any(isinstance(r, Gap) and (r.instrument, r.reason) == ("M00", "internal_error") for r in found)
    verified(tmp_path)


async def test_a_store_that_failed_ends_the_agent(tmp_path):
    async with Farm(1) as farm:
        running = Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports)), SystemClock()))
        async with running as agent:
            await until(lambda: received(agent) > 3)
            agent.store._file.dead = "the medium failed"
            await until(running.task.done)
        with pytest.raises(StoreError, match="medium failed"):
            running.task.result()


async def test_a_second_agent_on_the_same_log_is_refused(tmp_path):
    async with Farm(1) as farm, Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports)), SystemClock())):
        with pytest.raises(StoreError, match="another agent"):
            await Agent(fast(plan(tmp_path, PERIOD, farm.ports)), SystemClock()).run()


async def test_a_receipt_over_http_shrinks_the_rewrite_window_and_is_sealed(tmp_path):
    async with (
        Farm(1) as farm,
        Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports)), SystemClock())) as agent,
    ):
        host, port = agent.address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
            await until(lambda: received(agent) > 3)
            assert agent.status().rewrite_window_s > 0
            note = Note.parse((await http.get("/checkpoint")).content)
            receipt = note.cosigned_by(PLATFORM, 1_800_000_000).encode()
            assert (await http.post("/receipt", content=receipt)).status_code == 204
            size = int(note.text.split("\n")[1])
            assert agent.status().receipts[0].size == size
            checkpoint = agent.store.published.size
            await until(lambda: agent.store.published.size > checkpoint)
    seals = [r for r in records(tmp_path) if isinstance(r, Seal)]
    assert seals[-1].receipt.size == size


class SteppedClock(SystemClock):
    """The system's clock, with UTC set by hand."""

    offset_us = 0

    def now(self):
        now = super().now()
        return Instant(now.utc_us + self.offset_us, now.boot_us)


async def test_a_step_of_the_clock_is_an_event_and_loses_no_poll(tmp_path):
    clock = SteppedClock()
    async with Farm(1) as farm, Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports)), clock)) as agent:
        for step in (3600, -7200):
            before = received(agent)
            clock.offset_us += step * 1_000_000
            await until(lambda before=before: received(agent) > before + 20)
    found = records(tmp_path)
    steps = [r for r in found if isinstance(r, Event) and r.kind == "clock_step"]
    assert [round(int(r.detail["by_us"]) / 1e6) for r in steps] == [3600, -7200]
    assert sum(r.last - r.first + 1 for r in found if isinstance(r, Gap)) < 200, "an hour is 180 000 polls"
    verified(tmp_path)


async def test_a_new_state_is_logged_before_the_readings_that_it_corrects(tmp_path):
    async with Farm(1) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports))
        old = made.buses[0].instruments[0].state
        new = replace(old, flags=(*old.flags,), valid_until=old.valid_until.replace(year=2027))
        async with Running(
            Agent(replace(made, states=lambda day, known: {"M00": new}), SystemClock())
        ) as agent:
            await until(lambda: received(agent) > 3)
            agent.reload()
            await until(lambda: agent.status().instruments[0].state == new.digest)
            before = received(agent)
            await until(lambda: received(agent) > before + 3)
    used = [r.state.digest for r in records(tmp_path) if isinstance(r, Reading)]
    assert list(dict.fromkeys(used)) == [old.digest, new.digest]
    verified(tmp_path)


async def test_states_that_cannot_be_compiled_leave_those_in_force(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, logger="suyuan.agent")

    def broken(day, known):
        raise ValueError("certificate C-7 has no k")

    async with Farm(1) as farm:
        made = replace(fast(plan(tmp_path, PERIOD, farm.ports)), states=broken)
        async with Running(Agent(made, SystemClock())) as agent:
            agent.reload()
            await until(lambda: "states_refused" in agent.status().alarms)
            before = received(agent)
            await until(lambda: received(agent) > before + 3)
    assert any(isinstance(r, Event) and "C-7" in r.detail.get("error", "") for r in records(tmp_path))


async def test_systemd_is_told_of_readiness_life_and_end(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "5000000"})
        assert notifier.watchdog_us == 5_000_000
        messages = []

        def heard_enough():
            with contextlib.suppress(BlockingIOError):
                while True:
                    messages.append(heard.recv(100))
            return received(agent) > 3 and messages.count(b"WATCHDOG=1") > 2

        async with Farm(1) as farm:
            made = fast(plan(tmp_path / "data", PERIOD, farm.ports))
            async with Running(Agent(made, SystemClock(), notifier)) as agent:
                await until(heard_enough)
                agent.stop()
                await until(lambda: heard_enough() and b"STOPPING=1" in messages)
    assert messages[0] == b"READY=1"
    assert messages.count(b"READY=1") == messages.count(b"STOPPING=1") == 1
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).send("READY=1")


class CrampedAgent(Agent):
    """An agent whose disk is in memory and may be full."""

    def open_store(self):
        return LogStore(self.plan.data, self.plan.origin, vfs=self.vfs.name, ballast=0)


async def test_a_full_disk_becomes_gaps_and_an_alarm_and_ends_with_the_room(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL, logger="suyuan.agent")
    vfs = Vfs(Disk())
    async with Farm(1) as farm:
        agent = CrampedAgent(fast(plan(tmp_path, PERIOD, farm.ports), full_retry_us=100_000), SystemClock())
        agent.vfs = vfs
        async with Running(agent):
            await until(lambda: received(agent) > 10)
            before = missed(agent)
            vfs.room = 0
            # the first write to be refused may hold a seal alone: go on until one with readings was
            await until(lambda: "disk_full" in agent.status().alarms and missed(agent) > before + 20)
            vfs.room = None
            await until(lambda: "disk_full" not in agent.status().alarms)
            before = agent.status().instruments[0].index
            await until(lambda: agent.status().instruments[0].index > before + 5)
    survivor = Vfs(vfs.whole())
    store = LogStore(tmp_path, agent.plan.origin, vfs=survivor.name, ballast=0)
    found = [decode(data) for _, data in store.entries(0)]
    store.close()
    assert any(isinstance(r, Gap) and r.reason == "disk_full" for r in found)
    kinds = [(r.kind, r.detail.get("alarm")) for r in found if isinstance(r, Event)]
    assert ("alarm", "disk_full") in kinds
    assert ("alarm_ended", "disk_full") in kinds
    number = 0
    for record in found:
        if isinstance(record, Reading | Gap):
            first = record.number if isinstance(record, Reading) else record.first
            assert first == number + 1
            number = record.number if isinstance(record, Reading) else record.last


async def test_what_a_platform_has_confirmed_is_deleted_when_it_is_old_and_nothing_else(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("gateway.agent._CHECK_EVERY_US", 20_000)
    async with Farm(3) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports), keep_us=0)
        async with Running(Agent(made, SystemClock())) as agent:
            host, port = agent.address
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
                await until(lambda: agent.store.published.size > 600)
                assert agent.store.first_bundle() == 0, "without a receipt nothing goes"
                receipt = Note.parse(agent.store.published.note).cosigned_by(PLATFORM, 1_800_000_000)
                size = agent.store.published.size
                assert (await http.post("/receipt", content=receipt.encode())).status_code == 204
                await until(lambda: agent.store.first_bundle() == size // 256)
                assert (await http.get("/tile/entries/000")).status_code == 404
                assert (await http.get("/tile/0/000")).status_code == 200
        again = Agent(made, SystemClock())
        async with Running(again):
            await until(lambda: received(again) > 3)
            assert again.store.root_at(size) is not None


async def test_a_disk_without_room_for_the_ballast_is_an_alarm_from_the_start(tmp_path):
    async with (
        Farm(1) as farm,
        Running(Agent(fast(plan(tmp_path, PERIOD, farm.ports), ballast=1 << 55), SystemClock())) as agent,
    ):
        assert agent.status().alarms == ("low_disk",)
        await until(lambda: received(agent) > 3)
    verified(tmp_path)
    assert "low_disk" in [r for r in records(tmp_path) if isinstance(r, Seal)][-1].alarms
