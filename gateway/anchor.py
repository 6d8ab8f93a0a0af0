"""The newest checkpoint once more, beside the log: so that a log which lost its end does not sign another one.

A database that was damaged, or put back from an image, can be sound and yet end before a checkpoint that has left the
box; appending would then sign a second history. The anchor is a small file of two slots, written in turn and synced
after the COMMIT and before the checkpoint is published. A torn write spoils one slot, never both.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from evidence.errors import ParseError
from evidence.note import Checkpoint, Note

_SLOT: Final = 4096


class Anchor:
    """The file, in the log's directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0

    def read(self) -> Checkpoint | None:
        """The newest checkpoint that was written here; None if none can be read."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        found = [(slot, self._slot(data[at : at + _SLOT])) for slot, at in enumerate((0, _SLOT))]
        newest = max(((c.size, slot, c) for slot, c in found if c is not None), default=None)
        if newest is None:
            return None
        self._next = 1 - newest[1]
        return newest[2]

    def write(self, note: bytes) -> None:
        """Keep a checkpoint's note durably. Raises OSError."""
        block = hashlib.sha256(note).hexdigest().encode() + b"\n" + note
        if len(block) > _SLOT:
            raise ValueError(f"a checkpoint of {len(note)} bytes does not fit")
        new = not self._path.exists()
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(handle, block.ljust(_SLOT, b"\0"), self._next * _SLOT)
            os.fsync(handle) if new else os.fdatasync(handle)
        finally:
            os.close(handle)
        if new:
            sync(self._path.parent)
        self._next = 1 - self._next

    @staticmethod
    def _slot(data: bytes) -> Checkpoint | None:
        digest, _, note = data.rstrip(b"\0").partition(b"\n")
        if hashlib.sha256(note).hexdigest().encode() != digest:
            return None
        try:
            return Checkpoint.parse(Note.parse(note).text)
        except ParseError:
            return None


def sync(path: Path) -> None:
    """Make a file's bytes, or a directory's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
