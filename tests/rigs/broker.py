"""Debian's mosquitto on a free loopback port, to be killed and started again."""

from __future__ import annotations

import asyncio
import shutil
import signal
from asyncio.subprocess import DEVNULL, Process
from dataclasses import dataclass
from pathlib import Path

from sim.ports import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
ABSENT = "mosquitto is not installed (Debian package mosquitto)"


@dataclass
class BrokerProcess:
    """A broker without persistence: what it held is gone when it is killed."""

    directory: Path
    port: int
    process: Process | None = None

    @classmethod
    def make(cls, directory: Path) -> BrokerProcess:
        directory.mkdir(parents=True, exist_ok=True)
        return cls(directory, free_port())

    async def start(self, more: str = "") -> None:
        assert MOSQUITTO is not None
        config = self.directory / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nuser root\nallow_anonymous true\npersistence false\n{more}"
        )
        self.process = await asyncio.create_subprocess_exec(
            MOSQUITTO, "-c", str(config), stdout=DEVNULL, stderr=DEVNULL
        )
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await asyncio.wait_for(self.process.wait(), 10)
