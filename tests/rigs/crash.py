"""Kill the real agent, again and again, and hold its log against all that it ever told.

    python -m tests.rigs.crash [--kills 50]

Between two kills every checkpoint and every reading that the agent shows is written down. In the end: each restart
came up; each checkpoint is an earlier state of the final log; each reading shown is in the log, where it was said to
be; no value is in the log that was not served, or twice; running numbers have no hole; the log verifies.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from evidence.note import open_checkpoint
from evidence.record import Event, Gap, Reading, decode
from evidence.verify import verify_log
from tests.rigs.agent_process import SIGNER
from tests.rigs.agent_under_test import AgentProcess, opened, reader
from tests.rigs.farm import Farm

Judgement = dict[str, int]
"""What was counted, by name."""


@dataclass
class Told:
    """What the agents of all lives told."""

    checkpoints: dict[int, bytes] = field(default_factory=dict)
    readings: dict[tuple[str, int], int] = field(default_factory=dict)
    starts: int = 0


async def listen(url: str, told: Told, seconds: float) -> None:
    """Write down what is shown until the time is over."""
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(seconds), httpx.AsyncClient(base_url=url) as http:
            while True:
                head, _ = open_checkpoint((await http.get("/checkpoint")).content, SIGNER.verifier)
                assert told.checkpoints.setdefault(head.size, head.root) == head.root, (
                    "two roots for one size"
                )
                for shown in (await http.get("/status")).json()["instruments"]:
                    if shown["index"] is not None:
                        serial = int(shown["measurands"][0]["indication"])
                        key = (shown["instrument"], serial)
                        assert told.readings.setdefault(key, shown["index"]) == shown["index"]
                await asyncio.sleep(0.02)


async def crash(
    data: Path, kills: int, seed: int, meters: int = 3, period_us: int = 20_000
) -> tuple[Told, Judgement]:
    """Kill as often as asked at random moments; the judgement, as counts."""
    chance = random.Random(seed)
    told = Told()
    async with Farm(meters) as farm:

        async def start() -> AgentProcess:
            # short commits: more of them for a kill to fall into
            return await AgentProcess.start(
                data, period_us, farm.ports, commit_us=50_000, checkpoint_us=200_000
            )

        for _ in range(kills):
            agent = await start()
            told.starts += 1
            await listen(agent.url, told, chance.uniform(0.05, 2.5))
            await agent.kill()
        agent = await start()
        told.starts += 1
        await listen(agent.url, told, 1.5)
        assert await agent.end() == 0
        served = farm.served
    return told, judge(data, told, served)


def judge(data: Path, told: Told, served: list[int]) -> dict[str, int]:
    store = opened(data)
    try:
        for size, root in told.checkpoints.items():
            assert store.root_at(size) == root, f"the checkpoint over {size} entries is contradicted"
        report = verify_log(reader(store), SIGNER.verifier)
        assert report.ok, report.findings
        records = [decode(entry) for _, entry in store.entries(0)]
    finally:
        store.close()
    found: dict[tuple[str, int], int] = {}
    for index, record in enumerate(records):
        if isinstance(record, Reading):
            key = (record.instrument, int(record.indications["register.r00"]))
            assert key not in found, f"{key} is in the log twice"
            found[key] = index
    for key, index in told.readings.items():
        assert found.get(key) == index, f"{key} was shown and is not in the log"
    total = sum(served)
    assert len(found) <= total
    starts = [r for r in records if isinstance(r, Event) and r.kind == "start"]
    assert len(starts) == told.starts
    unclean = [r for r in records if isinstance(r, Gap) and r.reason == "unclean_stop"]
    return {
        "lives": told.starts,
        "checkpoints seen": len(told.checkpoints),
        "readings shown": len(told.readings),
        "scans served": total,
        "scans in the log": len(found),
        "polls named in gaps of kills": sum(r.last - r.first + 1 for r in unclean),
        "acknowledged and lost": 0,
        "checkpoints contradicted": 0,
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=50)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _, counts = asyncio.run(crash(Path(name), given.kills, given.seed))
    for what, count in counts.items():
        print(f"{what:32}{count:10}")


if __name__ == "__main__":
    main()
