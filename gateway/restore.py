"""Putting a log back from the platform's copy, after this box lost it or found it damaged.

The copy is a log as tlog-tiles names it (a mirror's directory, or anything that gives the bytes at a path). It is
taken only as far as a checkpoint signed by this log's own key, every entry hashed to its root; and only if it is not
older than the newest checkpoint that is known to have left this box, because going on from an older one would sign a
second history. What was there is set aside, not deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from evidence.errors import EvidenceError, ParseError
from evidence.log import bundles, decode_bundle
from evidence.note import Verifier, open_checkpoint
from gateway.anchor import Anchor, sync
from gateway.logfile import StoreError
from gateway.store import LogStore

_FILES = ("log.db", "log.db-wal", "anchor")


class RestoreError(StoreError):
    """The copy cannot take the log's place: why."""


def restore(directory: Path, verifiers: Sequence[Verifier], read: Callable[[str], bytes | None]) -> int:
    """Rebuild the log in ``directory`` from a copy; its size. The agent must not be running.

    ``verifiers``: the log's own keys, two while they are changed. ``read`` gives the bytes at a path of the
    copy, or None. Raises RestoreError.
    """
    note = read("checkpoint")
    if note is None:
        raise RestoreError("the copy has no checkpoint: is it the directory of a log?")
    try:
        head, _ = open_checkpoint(note, *verifiers)
    except EvidenceError as error:
        raise RestoreError(f"the copy's checkpoint is not of this log: {error}") from None
    newest = Anchor(directory / "anchor").read()
    if newest is not None and newest.size > head.size:
        raise RestoreError(
            f"the copy has {head.size} entries, but a checkpoint over {newest.size} has left this box: going on from "
            "the copy would sign a second history. Find a newer copy, or begin a new origin"
        )
    building = directory / "restoring"
    _clear(building)
    store = LogStore(building, head.origin, ballast=0)
    try:
        for tile in bundles(head.size):
            data = read(tile.path)
            if data is None:
                raise RestoreError(f"the copy has no {tile.path}")
            try:
                entries = decode_bundle(data, tile.width)
            except ParseError as error:
                raise RestoreError(f"{tile.path}: {error}") from None
            store.commit(entries)
        if (store.size, store.root) != (head.size, head.root):
            raise RestoreError(
                "the copy's entries do not have the root that its checkpoint signs: it was changed"
            )
        if newest is not None and store.root_at(newest.size) != newest.root:
            raise RestoreError(
                "the copy is another history than the one whose checkpoint has left this box. If an old copy of this "
                "box has run and signed since: begin a log that continues the platform's, by suyuan key successor"
            )
        store.commit([], lambda *_: note)
    finally:
        store.close()
    _set_aside(directory)
    for name in _FILES:
        if (building / name).exists():
            (building / name).rename(directory / name)
    _clear(building)
    sync(directory)
    return head.size


def _set_aside(directory: Path) -> None:
    """Rename what is there to ``….damaged-1`` and so on."""
    number = 1
    while any((directory / f"{name}.damaged-{number}").exists() for name in _FILES):
        number += 1
    for name in _FILES:
        if (directory / name).exists():
            (directory / name).rename(directory / f"{name}.damaged-{number}")


def _clear(building: Path) -> None:
    if building.exists():
        for path in building.iterdir():
            path.unlink()
        building.rmdir()
