"""An Ethernet switch that loses, delays and reorders frames, and can be cut: what `tc netem` does, outside the kernel.

    python -m tests.rigs.lossy_switch SEED INTERFACE…

Not every kernel has netem; this needs packet sockets only, and one seed gives one sequence of chances. Each line on
stdin is a JSON document that changes what the network is like:

========== =========================================================================================================
loss       share of frames that vanish
delay_ms   how long a frame is under way, each way
jitter_ms  so much more or less, by chance, in order
reorder    share of frames that overtake all that are under way
cut        the interfaces that reach nobody now
========== =========================================================================================================

Each line is answered with the counts so far. It ends when stdin does.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from random import Random

IGNORE_OUTGOING = 23  # PACKET_IGNORE_OUTGOING, linux/if_packet.h
ALL = 0x0003  # ETH_P_ALL
BURST = 64  # frames taken from one port before the others have their turn


class Switch:
    """Forwards frames between interfaces, each direction of each on its own."""

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        self.random = Random(seed)
        self.loss = self.delay_ms = self.jitter_ms = self.reorder = 0.0
        self.cut: frozenset[str] = frozenset()
        self.counts: Counter[str] = Counter(forwarded=0, lost=0, overtook=0, cut=0)
        self.ports: dict[str, socket.socket] = {}
        self.known: dict[bytes, str] = {}  # hardware address -> port
        self.last: dict[tuple[str, str], float] = {}  # when the newest frame of a direction arrives
        for name in names:
            port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
            port.bind((name, ALL))
            port.setsockopt(263, IGNORE_OUTGOING, struct.pack("i", 1))  # SOL_PACKET
            port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            port.setblocking(False)
            self.ports[name] = port

    def set(self, change: dict[str, object]) -> None:
        """What the network is like from now on."""
        for name, value in change.items():
            if name == "cut":
                assert isinstance(value, list)
                self.cut = frozenset(value)
            elif name in ("loss", "delay_ms", "jitter_ms", "reorder"):
                assert isinstance(value, int | float)
                setattr(self, name, float(value))
            else:
                raise ValueError(name)

    def readable(self, name: str) -> None:
        """Take what has come in at a port."""
        for _ in range(BURST):
            try:
                frame = self.ports[name].recv(65_536)
            except (BlockingIOError, OSError):
                return
            self.known[frame[6:12]] = name
            to = self.known.get(frame[:6])
            for other in [to] if to is not None else self.ports:
                if other != name:
                    self.forward(frame, name, other)

    def forward(self, frame: bytes, come: str, to: str) -> None:
        """One frame to one port, now, later or never."""
        if come in self.cut or to in self.cut:
            self.counts["cut"] += 1
            return
        if self.random.random() < self.loss:
            self.counts["lost"] += 1
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self.random.random() < self.reorder:
            self.counts["overtook"] += 1
            due = now
        else:
            delay_s = (self.delay_ms + self.random.uniform(-1, 1) * self.jitter_ms) / 1000
            due = self.last[come, to] = max(now + max(0.0, delay_s), self.last.get((come, to), 0.0))
        loop.call_at(due, self.send, frame, to)

    def send(self, frame: bytes, to: str) -> None:
        """Out. What was under way when the line was cut is gone."""
        if to in self.cut:
            self.counts["cut"] += 1
            return
        try:
            self.ports[to].send(frame)
            self.counts["forwarded"] += 1
        except OSError:
            self.counts["lost"] += 1  # a full queue loses, as everywhere


async def main(seed: int, names: Sequence[str]) -> None:
    switch = Switch(seed, names)
    loop = asyncio.get_running_loop()
    for name, port in switch.ports.items():
        loop.add_reader(port, switch.readable, name)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        switch.set(json.loads(line))
        print(json.dumps(switch.counts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
