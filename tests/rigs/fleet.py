"""A fleet of gateways with real logs, collected by real workers into a real PostgreSQL, and what that costs.

    python tests/rigs/fleet.py --gateways 1000 --workers 2 [--kill] [--mqtt]

Every gateway has a log of its own, signed by its own key, served over HTTP from the memory of one process. Two
collections are measured: the backlog (``--backlog`` entries each, as after an outage), and one ordinary round
(``--news`` entries and one checkpoint more). ``--kill``: one worker is killed with SIGKILL amid the backlog. After
each the database is held against the logs: heads, receipts and the number of readings of all gateways, none twice, and
of some twenty gateways every entry, byte for byte.

Cost is CPU time of workers and of the database, by the kernel's account, so that a busy machine does not flatter or
spoil it; the clock on the wall is told beside. What the simulated gateways cost is not in it.

``--mqtt``: the gateways push through a broker instead, and ``--workers`` is how many front ends take turns
(``fleet_mqtt``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from central.postgres import PostgresStore  # noqa: E402
from central.workers import Duty, Roster, Worker  # noqa: E402
from evidence import record  # noqa: E402
from tests.evidence.logs import Writer, signer  # noqa: E402
from tests.rigs import engines, fleet_mqtt  # noqa: E402

HOUR_US = 3_600_000_000
PATIENCE_S = 600


def writer(number: int) -> Writer:
    return Writer(f"platform.example/gw/{number}", number)


# ── the gateways ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def gateways(count: int, backlog: int, news: int) -> None:
    """Serve the logs at /<number>/…, the backlog first; ``POST /grow`` brings the news. Says its port and readings."""
    readings = [0, 0]
    logs: list[dict[str, bytes]] = []
    grown: list[dict[str, bytes]] = []
    for number in range(count):
        made = writer(number).grow(backlog)
        logs.append(made.files())
        made.grow(backlog + news)
        grown.append(made.files())
        which = [isinstance(record.decode(e), record.Reading) for e in made.entries]
        readings[0] += sum(which[:backlog])
        readings[1] += sum(which)
    serving = logs
    receipts = 0

    async def answer(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        nonlocal serving, receipts
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, path, _ = head.split(" ", 2)
                length = next(
                    (line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length:")),
                    "0",
                )
                await reader.readexactly(int(length))
                status, body = b"200 OK", b""
                if method == "POST":
                    receipts += path.endswith("/receipt")
                    serving = grown if path == "/grow" else serving
                else:
                    _, number, rest = path.split("/", 2)
                    found = serving[int(number)].get(rest)
                    status, body = (b"200 OK", found) if found is not None else (b"404 Not Found", b"")
                out.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
                await out.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            out.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(json.dumps([server.sockets[0].getsockname()[1], readings]), flush=True)
    await server.serve_forever()


# ── the workers ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def work(url: str, name: str) -> None:
    """Collect until nothing is due, not even with others. First says what CPU time starting took."""
    print(time.process_time(), flush=True)
    heard: list[str] = []
    with PostgresStore(url) as store:
        worker = Worker(
            store,
            name,
            signer("platform.example", 2),
            lease_s=5,
            complain=lambda *said: heard.append(str(said)),
        )
        while True:
            await worker.round()
            if not Roster(store).due(store.now_us()):
                break
            await asyncio.sleep(0.05)
    if heard:
        print(len(heard), "complaints:", heard[:3], file=sys.stderr)


# ── the account ──────────────────────────────────────────────────────────────────────────────────────────────────────


def processor_s(pid: int) -> float:
    """CPU time of a process, of those of its children that live and of those that have ended."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        user, system, child_user, child_system = map(int, fields[11:15])
        if place.parent.name == str(pid):
            ticks += user + system + child_user + child_system
        elif fields[1] == str(pid):
            ticks += user + system
    return ticks / os.sysconf("SC_CLK_TCK")


def collect(server: engines.Postgres, url: str, workers: int, total: int, *, kill: bool) -> dict[str, float]:
    """Let workers collect what is due; what it took."""
    before = processor_s(server.process.pid)
    started = time.monotonic()
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", url, f"w{number}-{time.monotonic_ns()}"],
            stdout=subprocess.PIPE,
        )
        for number in range(workers)
    ]
    spent = 0.0
    with PostgresStore(url, connections=2) as store:
        if kill:
            while store.rows("SELECT count(*) FROM gateway WHERE size > 0")[0][0] < total * 0.4:
                time.sleep(0.01)
            running[0].kill()
        for process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.stdout is not None
            spent -= float(process.stdout.readline())
            process.stdout.close()
            assert process.returncode == 0 or (kill and process is running[0]), process.returncode
            spent += usage.ru_utime + usage.ru_stime
        wall = time.monotonic() - started
    return {
        "wall_s": wall,
        "workers_cpu_s": spent,
        "database_cpu_s": processor_s(server.process.pid) - before,
    }


def hold_against(url: str, count: int, size: int, readings: int) -> None:
    """The database against the logs: complete, and nothing twice."""
    with PostgresStore(url) as store:
        found = store.gateways()
        assert len(found) == count
        assert {g.size for g in found} == {size}, sorted({g.size for g in found})
        assert {g.alarm for g in found} == {""}
        rows = store.rows("SELECT count(*), count(DISTINCT (instrument, entry)) FROM reading")
        assert rows == [(readings, readings)], (rows, readings)
        assert store.rows("SELECT count(*) FROM head WHERE size=%s AND posted", (size,)) == [(count,)]
        for number in range(0, count, max(1, count // 20)):
            made = writer(number)
            gateway = store.known(made.origin)
            assert gateway is not None
            # as it was grown when it was served
            stages = sorted(
                {
                    size,
                    *(row[0] for row in store.rows("SELECT size FROM head WHERE gateway=%s", (gateway.id,))),
                }
            )
            for stage in stages:
                made.grow(stage)
            assert list(store.entries(gateway)) == made.entries


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gateways", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--backlog", type=int, default=300, help="entries of each log at first")
    parser.add_argument("--news", type=int, default=20, help="entries that come to it then")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--mqtt", action="store_true", help="pushed through a broker instead of pulled")
    parser.add_argument("--work", nargs=2, metavar=("URL", "NAME"), help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        asyncio.run(work(*given.work))
        return
    if given.serve:
        asyncio.run(gateways(given.gateways, given.backlog, given.news))
        return
    asked = given.gateways, given.workers, given.backlog, given.news
    if given.mqtt:
        told = fleet_mqtt.run(*asked, processor_s, hold_against, kill=given.kill)
    else:
        told = run(*asked, kill=given.kill)
    print(json.dumps(told, indent=1))


def run(count: int, workers: int, backlog: int, news: int, *, kill: bool = False) -> dict[str, object]:
    """Both collections; figures by collection. Raises AssertionError if anything is lost or twice."""
    asked = ["--serve", "--gateways", str(count), "--backlog", str(backlog), "--news", str(news)]
    site = subprocess.Popen([sys.executable, __file__, *asked], stdout=subprocess.PIPE)
    try:
        assert site.stdout is not None
        port, readings = json.loads(site.stdout.readline())
        with engines.postgres("shared_buffers=256MB", "max_wal_size=4GB") as server:
            url = server.database()
            duties = [
                Duty(made.origin, f"http://127.0.0.1:{port}/{number}", made.signer.verifier.vkey, HOUR_US)
                for number, made in ((n, writer(n)) for n in range(count))
            ]
            told: dict[str, object] = {"gateways": count, "workers": workers, "killed": kill}
            for name, size, before, now in (
                ("backlog", backlog, 0, readings[0]),
                ("round", backlog + news, *readings),
            ):
                with PostgresStore(url) as store:
                    Roster(store).enrol(duties)
                cost = collect(server, url, workers, count, kill=kill and not before)
                hold_against(url, count, size, now)
                cores = cost["workers_cpu_s"] + cost["database_cpu_s"]
                new = now - before
                told[name] = {
                    "readings": new,
                    **{key: round(value, 2) for key, value in cost.items()},
                    "readings_per_core_s": round(new / cores),
                    "readings_per_worker_core_s": round(new / cost["workers_cpu_s"]),
                    "core_ms_per_gateway": round(1000 * cores / count, 2),
                }
                if not before:
                    import httpx

                    httpx.post(f"http://127.0.0.1:{port}/grow").raise_for_status()
            with PostgresStore(url) as store:
                for what in ("bundle", "reading"):
                    parts = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent=%s::regclass"
                    told[f"{what}_bytes_per_reading"] = round(store.rows(parts, (what,))[0][0] / readings[1])
        return told
    finally:
        site.terminate()
        site.wait(30)
        if site.stdout is not None:
            site.stdout.close()


if __name__ == "__main__":
    main()
