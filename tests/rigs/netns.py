"""Network namespaces for a test: hosts of their own on one lossy switch. Whatever happens, they are taken down again.

    suyuan-<process>-<host> ── veth ── suyuan-<process>-switch

All are made and removed by `ip` (Debian package iproute2), which needs root.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
PREFIX = "suyuan"
SIOCETHTOOL = 0x8946
OFFLOADS = (0x17, 0x1F, 0x24)  # ETHTOOL_STXCSUM, _STSO, _SGSO: linux/ethtool.h


def absent() -> str:
    """Why there are no namespaces here; empty if there are."""
    if os.geteuid() != 0:
        return "network namespaces are made by root only"
    if IP is None:
        return "ip is not installed (Debian package iproute2)"
    name = f"{PREFIX}-{os.getpid()}-try"
    veth = f"sy{os.getpid()}"
    try:
        commands = (
            f"netns add {name}",
            f"link add {veth} type veth peer name e0 netns {name}",
            f"netns exec {name} true",  # in a directory that only poses as the root nothing can be mounted
        )
        for command in commands:
            done = subprocess.run([IP, *command.split()], capture_output=True, text=True, check=False)
            if done.returncode:
                return f"ip {command}: {done.stderr.strip()}"
        return ""
    finally:
        subprocess.run([IP, "netns", "delete", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    assert IP is not None
    done = subprocess.run([IP, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"


def _whole_frames(interface: str) -> None:
    """No offloads: a frame that leaves is a frame as on a wire, its checksums counted and no longer than its MTU."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for what in OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", what, 0))
            asked = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
            fcntl.ioctl(any_socket, SIOCETHTOOL, asked)


@dataclass
class Network:
    """Hosts, each in a namespace of its own, at 10.77.0.<n>."""

    hosts: tuple[str, ...]
    switch: Process | None = None

    def namespace(self, host: str) -> str:
        return f"{PREFIX}-{os.getpid()}-{host}"

    def address(self, host: str) -> str:
        return f"10.77.0.{self.hosts.index(host) + 1}"

    def inside(self, host: str, *command: str | Path) -> list[str]:
        """The command that runs another one in the host's namespace (it becomes that one: same process)."""
        assert IP is not None
        return [IP, "netns", "exec", self.namespace(host), *map(str, command)]

    def build(self) -> None:
        _ip("netns", "add", self.namespace("switch"))
        for number, host in enumerate(self.hosts):
            here, there = f"sy{os.getpid()}h{number}", f"sy{os.getpid()}s{number}"
            _ip("netns", "add", self.namespace(host))
            _ip("link", "add", here, "type", "veth", "peer", "name", there)
            try:
                for name in (here, there):
                    _whole_frames(name)
                _ip("link", "set", "dev", here, "netns", self.namespace(host), "name", "eth0")
                _ip("link", "set", "dev", there, "netns", self.namespace("switch"), "name", host)
            except BaseException:
                subprocess.run([str(IP), "link", "delete", here], capture_output=True, check=False)
                raise
            inside = ("-n", self.namespace(host))
            _ip(*inside, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "lo", "up")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip("-n", self.namespace("switch"), "link", "set", "dev", host, "up")

    def remove(self) -> None:
        for host in (*self.hosts, "switch"):
            subprocess.run(
                [str(IP), "netns", "delete", self.namespace(host)], capture_output=True, check=False
            )

    async def impair(self, **change: Any) -> dict[str, int]:
        """What the network is like from now on (``lossy_switch``); the counts of frames so far."""
        assert self.switch is not None
        assert self.switch.stdin is not None
        assert self.switch.stdout is not None
        self.switch.stdin.write(json.dumps(change).encode() + b"\n")
        line = await asyncio.wait_for(self.switch.stdout.readline(), 30)
        assert line, "the switch has ended"
        found: dict[str, int] = json.loads(line)
        return found


@asynccontextmanager
async def network(*hosts: str, seed: int = 1) -> AsyncIterator[Network]:
    """The hosts and the switch between them, perfect at first."""
    made = Network(hosts)
    sweep()
    try:
        made.build()
        made.switch = await asyncio.create_subprocess_exec(
            *made.inside("switch", sys.executable, "-m", "tests.rigs.lossy_switch", str(seed), *hosts),
            stdin=PIPE, stdout=PIPE, cwd=ROOT,
        )  # fmt: skip
        await made.impair()
        yield made
    finally:
        if made.switch is not None and made.switch.returncode is None:
            made.switch.kill()
            await made.switch.wait()
        made.remove()


def sweep() -> None:
    """Take down what a run that was killed has left."""
    for name in left():
        process = name.split("-")[1]
        if not Path(f"/proc/{process}").exists():
            subprocess.run([str(IP), "netns", "delete", name], capture_output=True, check=False)


def left() -> Sequence[str]:
    """The namespaces that there are of any such network."""
    done = subprocess.run([str(IP), "netns", "list"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines() if line.startswith(f"{PREFIX}-")]
