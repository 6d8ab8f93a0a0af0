"""Files of the platform that are whole or not there, whatever is interrupted."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file durably, in one step."""
    partial = path.with_name(path.name + ".writing")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read."""
    write(path, data, 0o600)
