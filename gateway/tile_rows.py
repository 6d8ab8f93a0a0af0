"""The hashes of a log's tree wherever they are: full tiles in the file, open ones in memory."""

from __future__ import annotations

from evidence.log import Tile, root_from, tile_hashes, tile_node_reader
from gateway.log_tables import tile_id
from gateway.logfile import LogFile
from gateway.tiles import OpenTiles


class TileRows:
    """Reads one file beside the right edge of its tree."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def hashes(self, tree: OpenTiles, level: int, n: int, width: int) -> list[bytes]:
        """The first hashes of a tile, from memory if it is the open one. Raises ValueError if they are not there."""
        if level < len(tree.open) and n == tree.full[level]:
            if width > len(tree.open[level]):
                raise ValueError(f"tile {level}/{n} has {len(tree.open[level])} hashes, not {width}")
            return tree.open[level][:width]
        blob = self._file.one("SELECT hashes FROM tile WHERE id = ?", (tile_id(level, n),))
        if blob is None:
            raise ValueError(f"tile {level}/{n} is not there")
        return tile_hashes(blob)[:width]

    def root_at(self, tree: OpenTiles, size: int) -> bytes:
        """The root that the log had at an earlier size. Raises ValueError beyond the end."""
        if not 0 <= size <= tree.size:
            raise ValueError(f"the log has {tree.size} entries, not {size}")

        def read(tile: Tile) -> bytes:
            return b"".join(self.hashes(tree, tile.level or 0, tile.index, tile.width))

        return root_from(size, tile_node_reader(read, size))
