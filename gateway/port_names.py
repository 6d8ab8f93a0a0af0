"""Names of serial ports that stay: /dev/ttyUSB0 is whatever adapter was found first at this start.

When an adapter is plugged again, or two are found in another order, the number moves to another line, and meters of
equal addresses would be read as each other's. udev keeps names that stay beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_MOVES: Final = re.compile(r"/dev/tty(USB|ACM)\d+")
_STAYS: Final = ("suyuan", "serial/by-id", "serial/by-path")  # the best first


def moves(port: str) -> bool:
    """Whether a port's name may be another adapter's after the next start."""
    return _MOVES.fullmatch(port) is not None


def lasting(port: str, devices: Path = Path("/dev")) -> tuple[str, ...]:
    """The names of the same adapter that stay, the best first; none if it is not plugged in."""
    device = Path(port)
    found = []
    for directory in _STAYS:
        try:
            links = sorted((devices / directory).iterdir())
        except OSError:
            continue
        found += [str(link) for link in links if link.resolve() == device]
    return tuple(found)
