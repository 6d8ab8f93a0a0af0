"""What evidence costs: encoding, strict decoding, verification of a whole log, collecting a backlog.

    python tests/bench/bench_evidence.py [--entries 100000]

A reading has 8 measurands and one exchange (about 1 kB of JSON). CPU is user and system time of this process. Beside
each figure stands its ceiling: the bare encoder, the bare hash.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from central.collect import Collector
from central.store import Store
from evidence import log, record
from evidence.command import directory_reader
from evidence.verify import verify_log
from tests.evidence.logs import Writer, write

MEASURANDS = (
    "energy.active.import",
    "power.active.total",
    "voltage.l1",
    "voltage.l2",
    "voltage.l3",
    "current.l1",
    "power_factor.total",
    "frequency",
)


class LargeWriter(Writer):
    """Readings of 8 measurands, of 50 instruments, a seal each 256 entries."""

    def reading(self, instrument: str) -> record.Reading:
        values = {name: f"{self.random.randrange(10**7) / 1000:.3f}" for name in MEASURANDS}
        return msgspec.structs.replace(
            super().reading(instrument),
            raw=(record.RawExchange(self.random.randbytes(16), self.random.randbytes(40), 0, 53_000),),
            indications=values,
            missing={},
            results={name: (value, "0.0123") for name, value in values.items()},
        )

    def grow(self, to: int) -> Writer:
        while self.size < to - 1:
            if self.size % 256 == 255:
                self.seal()
            else:
                self.read(self.instruments[self.size % len(self.instruments)])
        self.seal()
        return self


def each(what: str, do: Callable[[], object], count: int = 20_000) -> None:
    started = time.process_time()
    for _ in range(count):
        do()
    print(f"{what:44} {(time.process_time() - started) / count * 1e6:8.2f} µs CPU")


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    wall, used = time.perf_counter(), time.process_time()
    yield
    wall, used = time.perf_counter() - wall, time.process_time() - used
    print(
        f"{what:44} {count / wall:10.0f} /s  {wall / count * 1e6:8.2f} µs, {used / count * 1e6:.2f} µs CPU here"
    )


async def collect(url: str, writer: Writer, directory: Path) -> None:
    with Store(directory) as store:
        collector = Collector(store, url, writer.signer.verifier, lambda: 1)
        with timed("collect: pull, verify, store", writer.size):
            outcome = await collector.collect_once()
        await collector.close()
        assert outcome.ok, outcome
    print(f"{'platform store':44} {(directory / 'central.db').stat().st_size / writer.size:8.0f} B per entry")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=100_000)
    count = parser.parse_args().entries
    writer = LargeWriter(instruments=[f"M{i:03}" for i in range(50)])
    reading = writer.reading("M000")
    data = record.encode(reading)
    print(f"one reading: {len(data)} bytes, {len(MEASURANDS)} measurands")
    each("encode, checked", lambda: record.encode(reading))
    encoder = msgspec.json.Encoder()
    each("  ceiling: the bare encoder", lambda: encoder.encode(reading))
    each("decode, strict", lambda: record.decode(data))
    decoder = msgspec.json.Decoder(record.Record)
    each("  ceiling: the bare decoder", lambda: decoder.decode(data))
    each("leaf hash", lambda: log.leaf_hash(data))
    each("  ceiling: SHA-256 alone", lambda: sha256(data).digest())

    writer.grow(count)
    with tempfile.TemporaryDirectory() as name:
        directory = write(Path(name) / "log", writer.files())
        writer.entries, entries = [], writer.entries
        for jobs in dict.fromkeys((1, os.cpu_count() or 1)):
            with timed(f"verify a log of {count}, {jobs} process(es)", count):
                report = verify_log(directory_reader(directory), writer.signer.verifier, jobs=jobs)
            assert report.ok, report.to_text()
            with timed(f"  --structure, {jobs} process(es)", count):
                report = verify_log(
                    directory_reader(directory), writer.signer.verifier, structure=True, jobs=jobs
                )
            assert report.ok, report.to_text()
        with timed("  ceiling: read and hash the bundles", count):
            for tile in log.bundles(count):
                for entry in log.decode_bundle((directory / tile.path).read_bytes(), tile.width):
                    log.leaf_hash(entry)
        writer.entries = entries
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", str(directory), str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            asyncio.run(collect(f"http://127.0.0.1:{port}", writer, Path(name) / "store"))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
