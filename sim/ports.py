"""Loopback ports for simulated devices."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

# Where the kernel takes the near ends of outgoing connections from: a port chosen there, and bound only later, may by
# then be some connection's own.
_OUTGOING: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 20_000
_TRIES: Final = 200


def free_port(outgoing: Path = _OUTGOING) -> int:
    """A loopback TCP port that nothing listens at and that no outgoing connection will be given."""
    choice = random.SystemRandom()
    below = _first_outgoing(outgoing)
    for port in (choice.randrange(_LOWEST, below) for _ in range(_TRIES if below > _LOWEST else 0)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first_outgoing(path: Path) -> int:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0  # not Linux, or hidden: the kernel's own choice is the best there is
