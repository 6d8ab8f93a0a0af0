"""What the log takes of its medium: bytes written in this run, bytes kept, and how long there is room for more."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gateway.clock import SECOND_US

_FIRST_US = 60 * SECOND_US  # before that no rate is known


class Medium:
    """The medium under a log's directory, since this run began."""

    def __init__(self, directory: Path, size: int) -> None:
        """``size``: the entries that the log has now."""
        self._directory = directory
        self._size_before = size
        self._written_before = written()

    def bytes_per_record(self, size: int) -> float | None:
        """Bytes written to the medium per entry; None before the first."""
        grown = size - self._size_before
        return (written() - self._written_before) / grown if grown > 0 else None

    def log_bytes(self) -> int:
        """Bytes of the log's files."""
        total = 0
        for path in self._directory.glob("log.db*"):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def hours_left(self, log_bytes: int, size: int, elapsed_us: int) -> float | None:
        """How long the free space lasts at the present rate; None in the first minute."""
        grown = size - self._size_before
        if elapsed_us < _FIRST_US or grown <= 0 or size <= 0:
            return None
        room = os.statvfs(self._directory)
        per_hour = log_bytes / size * grown * 3600 * SECOND_US / elapsed_us
        return room.f_bavail * room.f_frsize / per_hour


def written() -> int:
    """Bytes that this process caused to be written to media; 0 where the kernel does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    return 0
