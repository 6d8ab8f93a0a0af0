"""The agent's process, seen from outside: start it, look at what it costs, end it, kill it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evidence.log import parse_path
from gateway.store import LogStore
from tests.rigs.agent_process import ORIGIN

ROOT = Path(__file__).parents[2]


@dataclass
class AgentProcess:
    """A running agent. ``port`` is where it serves."""

    process: Process
    port: int
    secure: bool = False

    @classmethod
    async def start(
        cls,
        data: Path,
        period_us: int,
        ports: list[int],
        *,
        commit_us: int = 1_000_000,
        checkpoint_us: int = 10_000_000,
        push: str = "",
        tls: Sequence[Path] = (),
    ) -> AgentProcess:
        times = (period_us, commit_us, checkpoint_us)
        pushed = ["--push", push] if push else []
        if tls:
            pushed = ["--tls", *map(str, tls)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.rigs.agent_process", str(data), *map(str, (*times, *ports)), *pushed,
            stdout=PIPE, stderr=PIPE, cwd=ROOT,
        )  # fmt: skip
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line:
            assert process.stderr is not None
            raise RuntimeError((await process.stderr.read()).decode())
        return cls(process, json.loads(line)["port"], bool(tls))

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self, what: str = "VmHWM") -> float:
        """Resident memory: its peak, or ``VmRSS`` for now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(f"{what}:")[1].split()[0]) / 1024

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)


def reader(store: LogStore):
    """The log as ``verify_log`` reads it."""

    def read(path: str) -> bytes | None:
        if path == "checkpoint":
            return store.published.note if store.published else None
        tile = parse_path(path)
        if tile.level is not None:
            return store.tile(tile.level, tile.index, tile.width)
        body = store.bundle(tile.index, tile.width)
        return None if body is None else body.plain()

    return read


def opened(data: Path) -> LogStore:
    return LogStore(data, ORIGIN, ballast=0)
