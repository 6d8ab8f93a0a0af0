"""kill -9 at any point: nothing twice, nothing lost, and no receipt for what was not stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from random import Random

import pytest

from central.collect import Collector
from central.store import Store
from evidence import note, record
from tests.central.serving import serving
from tests.evidence.logs import ORIGIN, START_US, Writer, signer

CHILD = """
import asyncio, sys
from pathlib import Path
from central import collect
from central.store import Store
from evidence import note
url, directory, vkey = sys.argv[1:]
collect.STEP = 1
async def main():
    with Store(Path(directory)) as store:
        signer = note.Ed25519Signer.from_seed("platform.example", bytes([2]) * 32)
        made = collect.Collector(store, url, note.Verifier.parse(vkey), lambda: 1_790_000_000_000_000, signer)
        while True:
            outcome = await made.collect_once()
            print(outcome, flush=True)
asyncio.run(main())
"""


def child(url, directory):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(directory), signer().verifier.vkey], stdout=subprocess.DEVNULL
    )


async def campaign(tmp_path, kills, seed):
    random = Random(seed)
    writer = Writer().grow(300)
    with serving(writer.files()) as served:
        for round_ in range(kills):
            killed = threading.Event()
            left = [random.randrange(1, 30)]
            process = child(served.url, tmp_path / "store")

            def fault(path, data, process=process, killed=killed, left=left):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(process.pid, signal.SIGKILL)
                    killed.set()
                return data

            served.fault = fault
            assert killed.wait(60), "the collector asked for nothing"
            process.wait()
            promised = max(
                (note.Checkpoint.parse(note.Note.parse(r).text).size for r in served.receipts), default=0
            )
            with Store(tmp_path / "store") as store:
                found = [g.size for g in store.gateways()]
                assert max(found, default=0) >= promised, "a receipt for entries that are not stored"
                for gateway in store.gateways():
                    assert list(store.entries(gateway)) == writer.entries[: gateway.size]
            if round_ % 2:
                served.contents = writer.grow(writer.size + random.randrange(2, 1500)).files()
        served.fault = lambda path, data: data
        with Store(tmp_path / "store") as store:
            made = Collector(
                store, served.url, signer().verifier, lambda: START_US, signer("platform.example", 2)
            )
            outcome = await made.collect_once()
            await made.close()
            assert outcome.ok, outcome
            assert outcome.receipt
            (gateway,) = store.gateways()
            assert list(store.entries(gateway)) == writer.entries
            readings = [r for e in writer.entries if isinstance(r := record.decode(e), record.Reading)]
            values = [v for m in writer.instruments for v in store.values(ORIGIN, m)]
            assert len(values) == len({(v.entry, v.measurand) for v in values})
            assert len(values) == sum(len(r.indications) + len(r.missing) for r in readings)
            assert store.places(gateway)["M1"].number == writer.last["M1"][0]


async def test_killed_at_random_requests(tmp_path):
    await campaign(tmp_path, 6, 1)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_killed_a_hundred_times(tmp_path):
    await campaign(tmp_path, 100, 2)
