"""How many readings a core takes from scan to durable commit, beside SQLite with SHA-256 alone.

    python -m tests.bench.bench_pipeline [--seconds 5]

One reading is one scan of 20 measurands (or of one, or of eight), of 200 meters in turn at one scan a second each:
correct, encode, salt, add up energy, hash, sign, commit. CPU is user and system time of the whole process, fsync
and compression included; a commit has 5000 readings. By class: only energy and power have an uncertainty.
Calibrated: every measurand is corrected by its certificate's points, behind a CT.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import apsw

from calibration.state import CalibrationState
from drivers.codec import Instant, Scan
from evidence.note import Checkpoint, Ed25519Signer
from gateway.clock import SetClock
from gateway.lanes import Channel
from gateway.schedule import Tick
from gateway.store import LogStore
from tests.rigs.meters import ORIGIN, UNITS, VALUES, S, calibrated, pipeline, scan, state

LAST = list(VALUES)[-8:]
EIGHT = (
    "energy.active.import",
    "power.active.total",
    "voltage.l1",
    "current.l1",
    "current.l2",
    "current.l3",
    "power_factor.total",
    "frequency",
)
ROWS: tuple[tuple[str, tuple[str, ...], Callable[[str], CalibrationState]], ...] = (
    ("1 measurand, by class", ("frequency",), state),
    ("8 measurands, by class", tuple(LAST), state),
    ("8 measurands, calibrated", EIGHT, calibrated),
    ("20 measurands, by class", tuple(VALUES), state),
    ("20 measurands, calibrated", tuple(VALUES), calibrated),
)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def bare(directory: Path, payload: bytes, seconds: float, batch: int) -> tuple[float, float]:
    """SHA-256 and one row per record, WAL, FULL: nothing else."""
    db = apsw.Connection(str(directory / "bare.db"))
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "locking_mode=EXCLUSIVE"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    db.execute("CREATE TABLE r (n INTEGER PRIMARY KEY, hash BLOB, data BLOB)")
    n, started, began = 0, cpu(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        rows = [(n + i, hashlib.sha256(b"\0" + payload).digest(), payload) for i in range(batch)]
        db.execute("BEGIN")
        db.executemany("INSERT INTO r VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")
        n += batch
    spent, took = cpu() - started, time.perf_counter() - began
    db.close()
    return n / spent, n / took


def whole(
    directory: Path,
    values: Mapping[str, str],
    compiled: Callable[[str], CalibrationState],
    seconds: float,
    batch: int,
    meters: int = 200,
) -> tuple[float, float, int, float]:
    """Scans of these values through the pipeline into the store, each corrected by its meter's state."""
    clock = SetClock()
    names = [f"M{n:03}" for n in range(meters)]
    line = pipeline(clock, *(Channel(name, S, compiled(name), UNITS) for name in names))
    store = LogStore(directory, ORIGIN, ballast=0)
    signer = Ed25519Signer.generate(ORIGIN)

    def sign(size: int, root: bytes) -> bytes:
        return Checkpoint(ORIGIN, size, root).signed_by(signer).encode()

    line.begin(store, {})
    made = scan(clock.now(), dict(values))
    start = clock.now()

    def commit(first: int, count: int) -> None:
        for i in range(first, first + count):
            second, meter = divmod(i, meters)
            at = Instant(start.utc_us + second * S + meter, start.boot_us + second * S + meter)
            tick = Tick(start.utc_us + second * S, start.boot_us + second * S)
            line.accept(names[meter], tick, Scan(made.indications, made.exchanges, at, at))
        line.seal(None)
        taken = line.take(checkpoint=True)
        store.commit(taken.entries, sign, taken.state)
        line.committed()

    commit(0, meters)  # each meter's correction is compiled with its first reading
    n, started, began = meters, cpu(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        commit(n, batch)
        n += batch
    n -= meters
    spent, took = cpu() - started, time.perf_counter() - began
    length = len(next(iter(store.entries(store.size - 300)))[1])
    store.close()
    return n / spent, n / took, length, rss_mib()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=4.0)
    seconds = asked.parse_args().seconds
    print(f"{'':34}{'per s of CPU':>14}{'per s':>10}{'bytes':>8}{'RSS MiB':>9}")
    for what, measurands, compiled in ROWS:
        values = {name: VALUES[name] for name in measurands}
        with tempfile.TemporaryDirectory() as name:
            cpu_rate, rate, length, memory = whole(Path(name), values, compiled, seconds, 5000)
            print(f"{f'pipeline, {what}':34}{cpu_rate:14.0f}{rate:10.0f}{length:8}{memory:9.1f}")
            cpu_rate, rate = bare(Path(name), os.urandom(length // 2).hex().encode(), seconds, 5000)
            print(f"{'  bare SQLite + SHA-256':34}{cpu_rate:14.0f}{rate:10.0f}{length:8}")


if __name__ == "__main__":
    main()
