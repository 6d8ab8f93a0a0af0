"""Exact loss and duplicates: what meters served, what is in the log, what the platform has.

    python -m tests.rigs.loss_oracle [--period-ms 100] [--kill] [--steady 10] [--outage 30] [--tls]

Ten Modbus TCP meters of twenty registers, each value the serial number of its read. The platform collects, goes away
for the outage, comes back; with ``--kill`` the agent is killed in the middle of the outage and started again after two
seconds. In the end the meters fall silent, and the platform drains the rest. One reading is one register value.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from central.collect import Collector
from central.store import Store
from evidence.log import bundles, decode_bundle
from evidence.record import Gap, Reading, Record, decode
from gateway.clock import SystemClock
from gateway.tls import ClientTls, TlsFiles
from tests.rigs import authority
from tests.rigs.agent_process import PLATFORM, SIGNER
from tests.rigs.agent_under_test import AgentProcess, opened
from tests.rigs.farm import REGISTERS, FarmProcess


@dataclass
class Result:
    """One run, in readings (register values)."""

    served: int = 0
    in_log: int = 0
    at_platform: int = 0
    lost: int = 0
    lost_and_named: int = 0
    duplicates: int = 0
    drain_per_s: float = 0.0
    cpu_s_per_10000: float = 0.0
    steady_cpu_s_per_10000: float = 0.0
    peak_rss_mib: float = 0.0
    log_bytes_per_reading: float = 0.0


def values(records: list[Record]) -> Counter[tuple[str, int]]:
    """How often each served read is there; a scan counts only if all of its registers carry its serial number."""
    found: Counter[tuple[str, int]] = Counter()
    for record in records:
        if isinstance(record, Reading) and record.indications:
            assert len(record.indications) == REGISTERS
            assert len(set(record.indications.values())) == 1
            found[record.instrument, int(record.indications["register.r00"])] += 1
    return found


async def measure(
    data: Path,
    *,
    meters: int,
    period_us: int,
    steady_s: float,
    outage_s: float,
    kill: bool,
    checkpoint_us: int = 10_000_000,
    tls: bool = False,
) -> Result:
    """One run; ``tls``: pulled over HTTPS, certificates on both sides."""
    clock = SystemClock()
    result = Result()
    spent = 0.0
    store = Store(data / "platform")
    farm = await FarmProcess.start(meters)

    async def start() -> AgentProcess:
        return await AgentProcess.start(
            data / "gateway", period_us, farm.ports, checkpoint_us=checkpoint_us, tls=files
        )

    files: tuple[Path, ...] = ()
    context = None
    if tls:
        (data / "certificates").mkdir()
        ca, server, client, _ = authority.issue(data / "certificates")
        files = *server, ca
        context = ClientTls(TlsFiles(*client, ca)).context
    agent = await start()

    def collector() -> Collector:
        return Collector(store, agent.url, SIGNER.verifier, lambda: clock.now().utc_us, PLATFORM, tls=context)

    async def collect(platform: Collector, seconds: float) -> None:
        until = clock.now().boot_us + seconds * 1e6
        while clock.now().boot_us < until:
            outcome = await platform.collect_once()
            assert outcome.ok, outcome
            await asyncio.sleep(1.0)

    try:
        platform = collector()
        await collect(platform, 1.0)
        cpu, before = agent.cpu_s(), sum(await farm.served())
        await collect(platform, steady_s)
        readings = (sum(await farm.served()) - before) * REGISTERS
        result.steady_cpu_s_per_10000 = (agent.cpu_s() - cpu) / readings * 10_000
        await platform.close()
        await asyncio.sleep(outage_s / 2)  # the platform is away
        result.peak_rss_mib = agent.memory_mib()
        if kill:
            spent += agent.cpu_s()
            await agent.kill()
            await asyncio.sleep(min(2.0, outage_s / 4))
            agent = await start()
        await asyncio.sleep(outage_s / 2)
        platform = collector()
        outcome = await platform.collect_once()
        assert outcome.ok, outcome
        result.drain_per_s = outcome.records * REGISTERS / outcome.seconds
        await collect(platform, steady_s)
        counts = await farm.freeze()
        while True:  # until the platform has the last scan
            outcome = await platform.collect_once()
            assert outcome.ok, outcome
            at_platform = [decode(entry) for entry in stored(store)]
            if caught_up(at_platform, meters):
                break
            await asyncio.sleep(1.0)
        spent += agent.cpu_s()
        result.peak_rss_mib = max(result.peak_rss_mib, agent.memory_mib())
        await platform.close()
        assert await agent.end() == 0
    finally:
        await farm.end()
    store.close()
    judge(result, counts, data / "gateway", at_platform)
    result.cpu_s_per_10000 = spent / result.served * 10_000
    return result


def judge(result: Result, counts: list[int], gateway: Path, at_platform: list[Record]) -> None:
    """What was served against what the log and the platform hold."""
    served = {(f"M{n:02}", k) for n, count in enumerate(counts) for k in range(1, count + 1)}
    log = opened(gateway)
    records = [decode(entry) for _, entry in log.entries(0)]
    log.close()
    in_log, there = values(records), values(at_platform)
    assert set(in_log) <= served, "a value that nobody served"
    result.served = len(served) * REGISTERS
    result.in_log = len(in_log) * REGISTERS
    result.at_platform = len(there) * REGISTERS
    result.lost = len(served - set(there)) * REGISTERS
    result.duplicates = sum(n - 1 for n in (*in_log.values(), *there.values()))
    gaps = [r for r in records if isinstance(r, Gap)]
    result.lost_and_named = min(result.lost, sum(r.last - r.first + 1 for r in gaps) * REGISTERS)
    size = sum(path.stat().st_size for path in gateway.glob("log.db*"))
    result.log_bytes_per_reading = size / max(1, result.in_log)


def stored(store: Store) -> list[bytes]:
    """Every entry that the platform has."""
    (gateway,) = store.gateways()
    return [
        entry
        for tile in bundles(gateway.size)
        for entry in decode_bundle(store.bundle(gateway, tile.index) or b"", tile.width)
    ]


def caught_up(at_platform: list[Record], meters: int) -> bool:
    """Whether the silence of every meter has arrived, and with it all that came before."""
    newest = {r.instrument: i for i, r in enumerate(at_platform) if isinstance(r, Reading)}
    gaps = [(i, r) for i, r in enumerate(at_platform) if isinstance(r, Gap)]
    silent = {gap.instrument: i for i, gap in gaps if gap.reason in ("timeout", "no_time")}
    names = [f"M{n:02}" for n in range(meters)]
    return all(silent.get(name, -1) > newest.get(name, -1) for name in names)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--period-ms", type=int, nargs="*", default=[100, 20])
    asked.add_argument("--steady", type=float, default=10.0)
    asked.add_argument("--outage", type=float, default=30.0)
    asked.add_argument("--meters", type=int, default=10)
    asked.add_argument("--kill", action="store_true", help="only the runs with a kill")
    given = asked.parse_args()
    names = [f.name for f in fields(Result)]
    print(" | ".join(["period ms", "killed", *names]))
    for period_ms in given.period_ms:
        for kill in (True,) if given.kill else (False, True):
            with tempfile.TemporaryDirectory() as name:
                run = measure(
                    Path(name), meters=given.meters, period_us=period_ms * 1000,
                    steady_s=given.steady, outage_s=given.outage, kill=kill,
                )  # fmt: skip
                result = asyncio.run(run)
            shown = (f"{v:.2f}" if isinstance(v := getattr(result, n), float) else str(v) for n in names)
            print(" | ".join([str(period_ms), "yes" if kill else "no", *shown]), flush=True)


if __name__ == "__main__":
    main()
