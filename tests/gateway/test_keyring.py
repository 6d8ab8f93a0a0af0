"""A log's key changed while its agent runs, over the network, to a platform that only knows the old one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from central.collect import Collector
from central.store import Store
from central.store import StoreError as PlatformStoreError
from evidence.note import Note, open_checkpoint
from evidence.record import Event, Key
from gateway.agent import Agent
from gateway.clock import SetClock, SystemClock
from gateway.counters import Counters
from gateway.keyring import KeyRing, look
from gateway.keys import KeyFileError, create
from gateway.logfile import StoreError
from gateway.pipeline import DISK_FULL
from gateway.receipts import PlatformKey
from gateway.restore import RestoreError, restore
from gateway.store import LogStore
from tests.gateway.test_agent import PERIOD, Running, fast, until
from tests.gateway.test_agent import records as records_of
from tests.gateway.test_restore import copy_of
from tests.rigs.agent_process import PLATFORM, plan
from tests.rigs.farm import Farm
from tests.rigs.meters import ORIGIN, channel, pipeline


def ring_of(directory):
    return KeyRing(directory, plan(directory, 1, []).origin)


def planned(directory, ports, ring):
    return fast(
        plan(directory, PERIOD, ports),
        signer=ring.current().signer,
        platforms=(PlatformKey("platform", PLATFORM.cosigner),),
    )


def signed_by(agent, *keys):
    """Whether the newest checkpoint has the lines of exactly these keys."""
    note = Note.parse(agent.store.published.note)
    return len(note.signatures) == len(keys) and all(note.is_signed_by(k.signer.verifier) for k in keys)


@contextlib.asynccontextmanager
async def collecting(agent, store, verifier):
    host, port = agent.address
    collector = Collector(
        store, f"http://{host}:{port}", verifier, lambda: SystemClock().now().utc_us, PLATFORM
    )
    try:
        yield collector
    finally:
        await collector.close()


async def test_both_keys_sign_until_the_platform_has_the_record_then_the_new_one_alone(tmp_path):
    ring = ring_of(tmp_path / "data")
    old = ring.current()
    async with Farm(1) as farm:
        agent = Agent(planned(tmp_path / "data", farm.ports, ring), SystemClock())
        with Store(tmp_path / "platform") as store:
            async with Running(agent), collecting(agent, store, old.signer.verifier) as collector:
                assert await look(ring, 0, agent.signing, None) is None, "nothing is to be changed"
                new = ring.prepare()
                coming = await look(ring, 0, agent.signing, None)
                assert coming.vkey == new.vkey
                await until(lambda: signed_by(agent, old, new))
                assert (await look(ring, 0, agent.signing, coming)).vkey == new.vkey, (
                    "no platform has the record yet"
                )
                assert ring.current().vkey == old.vkey
                await until(lambda: agent.store.published.size > agent._pipeline.keys[new.vkey].entry)
                outcome = await collector.collect_once()
                assert outcome.ok, outcome
                assert await look(ring, 3600_000_000, agent.signing, coming) is coming, (
                    "the overlap is not over"
                )
                assert await look(ring, 0, agent.signing, coming) is None
                assert ring.current().vkey == new.vkey
                assert not ring.next_path.exists(), "the old key is nowhere any more"
                await until(lambda: signed_by(agent, new))
                outcome = await collector.collect_once()
                assert outcome.ok, outcome
                assert outcome.records > 0, "the platform, who only knows the old key, follows its word"
                with pytest.raises(PlatformStoreError, match="stored with another key"):
                    store.gateway(agent.plan.origin, "a stranger's")
                known = store.gateway(agent.plan.origin, new.vkey)
                assert known.vkey == old.vkey, "the new key opens the same log"
            async with (
                Running(Agent(planned(tmp_path / "data", farm.ports, ring), SystemClock())) as agent,
                collecting(agent, store, new.signer.verifier) as collector,
            ):
                outcome = await collector.collect_once()
                assert outcome.ok, outcome
    found = records_of(tmp_path / "data")
    assert [r.replaces for r in found if isinstance(r, Key)] == [old.vkey], (
        "announced once, over restarts too"
    )
    assert [r.detail["vkey"] for r in found if isinstance(r, Event) and r.kind == "key_retired"] == [old.vkey]


async def test_a_change_of_keys_goes_on_after_a_restart(tmp_path):
    ring = ring_of(tmp_path)
    old, new = ring.current(), None
    async with Farm(1) as farm:
        async with Running(Agent(planned(tmp_path, farm.ports, ring), SystemClock())) as agent:
            new = ring.prepare()
            await look(ring, 0, agent.signing, None)
            await until(lambda: signed_by(agent, old, new))
        async with Running(Agent(planned(tmp_path, farm.ports, ring), SystemClock())) as agent:
            assert (await look(ring, 0, agent.signing, None)).vkey == new.vkey
            await until(lambda: signed_by(agent, old, new))
    assert len([r for r in records_of(tmp_path) if isinstance(r, Key)]) == 1


async def test_a_log_whose_key_is_gone_is_not_gone_on_with(tmp_path):
    ring = ring_of(tmp_path)
    async with Farm(1) as farm:
        async with Running(Agent(planned(tmp_path, farm.ports, ring), SystemClock())) as agent:
            size = agent.store.size
        ring.path.unlink()
        with pytest.raises(KeyFileError, match="put the key back"):
            ring.current()
        create(ring.path, ring.origin)
        with pytest.raises(StoreError, match=r"put back the file log\.key"):
            await Agent(planned(tmp_path, farm.ports, ring), SystemClock()).run()
    assert len(records_of(tmp_path)) >= size


def test_keys_are_neither_overwritten_nor_guessed(tmp_path):
    ring = KeyRing(tmp_path, "platform.example/gw/7")
    with pytest.raises(KeyFileError, match="no key yet"):
        ring.prepare()
    old = ring.current()
    new = ring.prepare()
    with pytest.raises(KeyFileError, match="under way"):
        ring.prepare()
    assert [key.vkey for key in ring.all()] == [old.vkey, new.vkey]
    ring.path.unlink()
    with pytest.raises(KeyFileError, match="put the old key back"):
        ring.current()
    with pytest.raises(KeyFileError, match="wanted is 'platform"):
        KeyRing(tmp_path, "platform.example/gw/8").next()


async def test_a_key_whose_record_was_lost_with_a_full_disk_is_announced_again(tmp_path):
    clock = SetClock()
    store = LogStore(tmp_path, ORIGIN, ballast=0)
    line = pipeline(clock, channel("M1"))
    line.begin(store, {})
    line.announce_key("new", "old", "statement")
    assert line.take(checkpoint=False).entries
    line.lost(0, DISK_FULL)
    line.seal(None)
    batch = line.take(checkpoint=True)
    store.commit(batch.entries, None, batch.state)
    line.committed()
    counters = Counters()
    counters.replay(store.entries(0))
    assert counters.keys == line.keys
    assert "new" in counters.keys
    store.close()


async def test_a_copy_signed_by_either_key_is_taken_back_while_they_are_changed(tmp_path):
    ring = ring_of(tmp_path / "data")
    ring.current()
    async with Farm(1) as farm, Running(Agent(planned(tmp_path / "data", farm.ports, ring), SystemClock())):
        await asyncio.sleep(0)
    new = ring.prepare()
    store = LogStore(tmp_path / "data", ring.origin, ballast=0)
    copy, size = copy_of(store), store.size
    head, _ = open_checkpoint(copy["checkpoint"], ring.current().signer.verifier)
    store.close()
    by_new = head.signed_by(new.signer).encode()
    keys = [key.signer.verifier for key in ring.all()]
    with pytest.raises(RestoreError):
        restore(tmp_path / "data", keys[:1], {**copy, "checkpoint": by_new}.get)
    assert restore(tmp_path / "data", keys, {**copy, "checkpoint": by_new}.get) == size
