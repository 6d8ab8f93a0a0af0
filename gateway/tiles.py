"""The right edge of the log's tree, tile by tile: what appending needs and no full tile holds.

A log of n entries has per level one open tile of fewer than 256 hashes. Appending fills level 0; a tile that
is full goes to the store and its root to the level above. The root of the whole tree folds the open tiles from
the bottom up, so that nothing below them is ever read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from evidence.log import EMPTY_ROOT, TILE_WIDTH, full_root, node_hash


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The RFC 6962 tree hash over leaf hashes, or over the roots of equal full subtrees; at least one."""
    level = list(hashes)
    while len(level) > 1:
        odd = level.pop() if len(level) % 2 else None
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
        if odd is not None:
            level.append(odd)
    return level[0]


class OpenTiles:
    """The right edge of the tree: per level the hashes of its open tile, and how many full tiles it has."""

    __slots__ = ("full", "open")

    def __init__(self, opened: list[list[bytes]] | None = None, full: list[int] | None = None) -> None:
        self.open: list[list[bytes]] = opened or [[]]
        self.full: list[int] = full or [0]

    def copy(self) -> OpenTiles:
        """The same edge, to be appended to on its own."""
        return OpenTiles([list(level) for level in self.open], list(self.full))

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self.full[0] * TILE_WIDTH + len(self.open[0])

    def root(self) -> bytes:
        """Root of the whole tree (RFC 6962 section 2.1)."""
        edge: bytes | None = None
        for hashes in self.open:
            hashes = hashes if edge is None else [*hashes, edge]
            edge = tree_root(hashes) if hashes else None
        return edge if edge is not None else EMPTY_ROOT

    def append(self, leaves: Sequence[bytes]) -> list[tuple[int, int, bytes, bytes]]:
        """Append leaf hashes; the tiles that became full, as (level, n, root, hashes), lowest level first."""
        filled = []
        done = 0
        while done < len(leaves):
            level = self.open[0]
            take = leaves[done : done + TILE_WIDTH - len(level)]
            level.extend(take)
            done += len(take)
            at = 0
            while len(self.open[at]) == TILE_WIDTH:
                root = full_root(self.open[at])
                filled.append((at, self.full[at], root, b"".join(self.open[at])))
                self.open[at] = []
                self.full[at] += 1
                at += 1
                if at == len(self.open):
                    self.open.append([])
                    self.full.append(0)
                self.open[at].append(root)
        return filled
