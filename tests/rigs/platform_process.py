"""The real platform, ``suyuan collect --listen``, as a process of its own, to be killed and started again."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import Path

import httpx

from central.monitor import origin_hash
from evidence import log, note
from gateway.keys import Key, _encode
from tests.rigs.agent_process import ORIGIN, PLATFORM, SIGNER

ROOT = Path(__file__).parents[2]


@dataclass
class PlatformProcess:
    """A platform that takes what the rig's agent pushes. It comes back at the same port."""

    directory: Path
    port: int
    broker: str = ""
    vkey: str = SIGNER.verifier.vkey
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        key = self.directory / "platform.key"
        if not key.exists():
            key.touch(0o600)
            key.write_text(_encode(Key(PLATFORM, True, bytes(range(32)))))
        (self.directory / "gateways").write_text(self.vkey + "\n")
        more = ["--broker", self.broker] if self.broker else []
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.cli", "collect", "--listen", f"127.0.0.1:{self.port}", "--plain",
            "--store", str(self.directory), "--sign", str(key), *more,
            stdout=DEVNULL, stderr=PIPE, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stderr is not None
        line = await asyncio.wait_for(self.process.stderr.readline(), 30)
        assert b"127.0.0.1" in line, line + await self.process.stderr.read()

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        await asyncio.wait_for(self.process.wait(), 30)

    async def head(self) -> note.Checkpoint | None:
        """The checkpoint that the platform vouches for; None while it is away or has none."""
        try:
            async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
                answer = await http.get(f"/{origin_hash(ORIGIN)}/checkpoint")
        except httpx.TransportError:
            return None
        if answer.status_code != 200:
            return None
        head, signed = note.open_checkpoint(answer.content, SIGNER.verifier)
        assert signed.cosigned_at(PLATFORM.cosigner) is not None
        return head

    async def entries(self) -> list[bytes]:
        """Every entry under that checkpoint, as anybody may read it."""
        head = await self.head()
        found: list[bytes] = []
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            for tile in log.bundles(0 if head is None else head.size):
                answer = await http.get(f"/{origin_hash(ORIGIN)}/{tile.path}")
                found += log.decode_bundle(answer.content, tile.width)
        assert head is None or tree(found) == head.root
        return found


def tree(entries: list[bytes]) -> bytes:
    made = log.Tree()
    made.extend(map(log.leaf_hash, entries))
    return made.root()
