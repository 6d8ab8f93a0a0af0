"""Any number of workers: every gateway is collected, by one at a time, and a dead worker's gateways by the next."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from central.collect import Collector
from central.fetch import Patience
from central.postgres import PostgresStore
from central.store import Overtaken
from central.workers import Duty, Roster, Worker
from evidence import note, record
from sim.ports import free_port
from tests.central.serving import serving
from tests.evidence.logs import START_US, Writer, signer

PLATFORM = signer("platform.example", 2)
HOUR_US = 3_600_000_000


@pytest.fixture
def fleet():
    """Five gateways, each behind its own server."""
    with ExitStack() as stack:
        found = []
        for number in range(5):
            writer = Writer(f"platform.example/gw/{number}", number).grow(200 + 100 * number)
            found.append((writer, stack.enter_context(serving(writer.files()))))
        yield found


def duty(writer, served, every_us=HOUR_US):
    return Duty(writer.origin, served.url, writer.signer.verifier.vkey, every_us)


def patience():
    async def sleep(_):
        await asyncio.sleep(0)

    return Patience(deadline_s=15, attempts=1, first_pause_s=600, sleep=sleep, random=random.Random(1))


def whole(store, fleet):
    """Every entry and every value of every gateway, once."""
    for writer, _ in fleet:
        gateway = store.known(writer.origin)
        assert list(store.entries(gateway)) == writer.entries
        readings = [r for e in writer.entries if isinstance(r := record.decode(e), record.Reading)]
        values = [v for m in writer.instruments for v in store.values(writer.origin, m)]
        assert len(values) == len({(v.entry, v.measurand) for v in values})
        assert len(values) == sum(len(r.indications) + len(r.missing) for r in readings)
        assert store.places(gateway)["M1"].number == writer.last["M1"][0]


async def test_what_is_due_is_collected_acknowledged_and_then_due_later(store, fleet):
    Roster(store).enrol(duty(*each) for each in fleet)
    rounds = []
    worker = Worker(store, "w", PLATFORM, at_once=2, patience=patience(), report=rounds.append)
    assert await worker.round() == 5
    assert all(outcome.ok and outcome.receipt for outcome in rounds), rounds
    whole(store, fleet)
    assert [len(served.receipts) for _, served in fleet] == [1] * 5
    assert await worker.round() == 0, "nothing is due before its time"
    assert Roster(store).due(store.now_us() + 2 * HOUR_US) == 5


async def test_what_cannot_be_reached_waits_longer_each_time_and_holds_up_nobody(store, fleet):
    away = Writer("platform.example/gw/away", 9)
    roster = Roster(store)
    roster.enrol([*(duty(*each) for each in fleet)])
    roster.enrol([Duty(away.origin, f"http://127.0.0.1:{free_port()}", away.signer.verifier.vkey, 0)])
    heard = []
    worker = Worker(store, "w", PLATFORM, patience=patience(), complain=lambda *said: heard.append(said))
    assert await worker.round() == 6
    whole(store, fleet)
    assert [origin for origin, _ in heard] == [away.origin]
    ((failures, said, due_us),) = store.rows(
        "SELECT failures, said, due_us FROM duty WHERE origin=%s", (away.origin,)
    )
    assert failures == 1
    assert said
    assert due_us > store.now_us() + 100_000_000, "tried again later, not at once"
    assert roster.dismiss(away.origin)
    assert not roster.dismiss(away.origin)


def test_a_gateway_is_held_by_one_worker_until_its_time_has_passed(store, fleet):
    roster = Roster(store)
    roster.enrol(duty(*each) for each in fleet)
    first = roster.claim("a", 3, START_US, 100)
    second = roster.claim("b", 9, START_US, 100)
    assert len(first) == 3
    assert len(second) == 2
    assert {d.origin for d in first}.isdisjoint(d.origin for d in second)
    assert roster.claim("c", 9, START_US + 99, 100) == []
    roster.done("b", second[0], START_US + 1000)
    taken = roster.claim("c", 9, START_US + 100, 100)
    assert {d.origin for d in taken} == {d.origin for d in (*first, second[1])}
    roster.done("a", first[0], START_US + 5)  # too late: it is c's now
    assert roster.claim("d", 9, START_US + 101, 100) == []


def test_a_key_of_another_log_is_not_enrolled(store):
    with pytest.raises(ValueError, match="is not one of"):
        Roster(store).enrol([Duty("a", "http://127.0.0.1:1", signer("b", 3).verifier.vkey, 1)])


async def test_two_that_collect_one_gateway_at_once_store_it_once(url, fleet):
    writer, served = fleet[4]
    with PostgresStore(url) as one, PostgresStore(url) as other:
        made = [
            Collector(
                store, served.url, writer.signer.verifier, lambda: START_US, PLATFORM, patience=patience()
            )
            for store in (one, other)
        ]
        ended = await asyncio.gather(*(each.collect_once() for each in made), return_exceptions=True)
        for each in made:
            await each.close()
        assert sum(isinstance(each, Overtaken) or each.records == 0 for each in ended) == 1, ended
        whole(one, [fleet[4]])


CHILD = """
import asyncio, random, sys
from central import collect
from central.fetch import Patience
from central.postgres import PostgresStore
from central.workers import Worker
from evidence import note
url, name, lease = sys.argv[1:]
collect.STEP = 1
async def main():
    with PostgresStore(url, connections=3) as store:
        signer = note.Ed25519Signer.from_seed("platform.example", bytes([2]) * 32)
        await Worker(store, name, signer, at_once=2, lease_s=float(lease)).run(asyncio.Event(), 0.05)
asyncio.run(main())
"""


def child(url, name, lease_s):
    return subprocess.Popen([sys.executable, "-c", CHILD, url, name, str(lease_s)])


async def test_a_worker_killed_at_any_request_loses_nothing_and_leaves_nothing_twice(url, store, fleet):
    chance = random.Random(4)
    roster = Roster(store)
    roster.enrol(duty(*each, every_us=0) for each in fleet)
    for round_ in range(4):
        left = [chance.randrange(3, 25)]
        killed = threading.Event()
        process = child(url, f"w{round_}", 0.2)

        def fault(path, data, process=process, left=left, killed=killed):
            left[0] -= 1
            if left[0] == 0:
                os.kill(process.pid, signal.SIGKILL)
                killed.set()
            return data

        for _, served in fleet:
            served.fault = fault
        try:
            assert await asyncio.to_thread(killed.wait, 60), "the worker asked for nothing"
        finally:
            process.kill()
            process.wait()
        for writer, served in fleet:
            gateway = store.known(writer.origin)
            promised = [note.Checkpoint.parse(note.Note.parse(r).text).size for r in served.receipts]
            assert (gateway.size if gateway else 0) >= max(promised, default=0), (
                "a receipt for what is not stored"
            )
            if gateway:
                assert list(store.entries(gateway)) == writer.entries[: gateway.size]
            if round_ % 2:
                served.contents = writer.grow(writer.size + chance.randrange(2, 600)).files()
    for _, served in fleet:
        served.fault = lambda path, data: data
    with store.transaction() as db:
        db.execute("UPDATE duty SET until_us = 0, due_us = 0, every_us = %s", (HOUR_US,))
    outcomes = []
    assert await Worker(store, "last", PLATFORM, patience=patience(), report=outcomes.append).round() == 5
    assert all(outcome.ok and outcome.receipt for outcome in outcomes), outcomes
    whole(store, fleet)
