"""A collected log written out as files, as tlog-tiles names them, for anyone to serve and ``suyuan verify`` to read."""

from __future__ import annotations

from pathlib import Path

from evidence import log

from .holding import Holding
from .rows import Gateway
from .store import StoreError


def mirror(store: Holding, gateway: Gateway, directory: Path) -> int:
    """Write the log under its newest complete checkpoint; what is there already is left. Returns its size.

    The checkpoint is written last, so that a mirror that was cut short still serves the older one whole.
    """
    head = store.last_head(gateway)
    if head is None:
        raise StoreError(f"{gateway.origin}: no checkpoint is stored to its last entry yet")
    row: list[bytes] = []
    for tile in log.bundles(head.size):
        data = store.bundle(gateway, tile.index)
        if data is None:
            raise StoreError(f"{gateway.origin}: bundle {tile.index} is not in the store")
        stored = min(256, gateway.size - tile.start)
        entries = log.decode_bundle(data, stored)[: tile.width]
        leaves = [log.leaf_hash(entry) for entry in entries]
        _write(directory / tile.path, log.encode_bundle(entries))
        _write(directory / log.Tile(0, tile.index, tile.width).path, b"".join(leaves))
        if tile.full:
            row.append(log.full_root(leaves))
    level = 1
    while row:
        for start in range(0, len(row), 256):
            part = row[start : start + 256]
            _write(directory / log.Tile(level, start // 256, len(part)).path, b"".join(part))
        row = [log.full_root(row[i : i + 256]) for i in range(0, len(row) - 255, 256)]
        level += 1
    _write(directory / "checkpoint", head.receipt or head.note, replace=True)
    return head.size


def _write(path: Path, data: bytes, *, replace: bool = False) -> None:
    if not replace and path.exists() and path.stat().st_size == len(data):
        return  # tiles and bundles never change
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".writing")
    partial.write_bytes(data)
    partial.replace(path)
