"""A log that continues another whose key was lost: its first entry names the last head that a platform cosigned.

The old log stays as it is, at the platform and on its medium. The new one has another origin, key and data directory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evidence.errors import EvidenceError
from evidence.note import Checkpoint, Note
from evidence.record import PreviousLog
from gateway.anchor import sync
from gateway.receipts import PlatformKey

FILE = "previous_log"


class SuccessorError(ValueError):
    """Why a log cannot continue the other one, and what to do."""


def begin(directory: Path, origin: str, receipt: bytes, platforms: Sequence[PlatformKey]) -> Checkpoint:
    """Lay the old log's last receipt into the data directory of a new one. Raises SuccessorError, OSError."""
    try:
        note = Note.parse(receipt)
        head = Checkpoint.parse(note.text)
    except EvidenceError as error:
        raise SuccessorError(f"the old log's last receipt is no cosigned checkpoint: {error}") from None
    if head.origin == origin:
        raise SuccessorError(
            f'the new log needs an origin of its own: write origin = "{origin}/2" into the site file, and another '
            "data directory"
        )
    if not any(note.cosigned_at(platform.verifier) is not None for platform in platforms):
        raise SuccessorError(
            f"the checkpoint of {head.origin} is not cosigned by a [[platform]] of this site: what the lost key alone "
            "has signed shows nothing. Take the receipt that the platform has"
        )
    if (directory / "log.db").exists():
        raise SuccessorError(
            f"{directory}: has a log already; write another data directory into the site file"
        )
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{FILE}.writing"
    with partial.open("wb") as file:
        file.write(receipt)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(directory / FILE)
    sync(directory)
    return head


def previous_log(directory: Path) -> PreviousLog | None:
    """The head that a log in this directory begins from, if it continues another. Raises SuccessorError."""
    try:
        data = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        head = Checkpoint.parse(Note.parse(data).text)
    except EvidenceError as error:
        raise SuccessorError(f"{directory / FILE}: {error}: run suyuan key successor again") from None
    return PreviousLog(head.origin, head.size, head.root)
