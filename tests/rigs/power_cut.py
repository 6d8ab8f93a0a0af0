"""A file layer for SQLite that loses power: what was not synced may be there, in part, or not.

Per file it keeps the durable image, the image that SQLite sees, and the writes and truncations since the last
xSync. It counts every operation, syncs included, and is dead from a given number on: everything fails then, closing
too. A cut leaves of the pending operations nothing, a random prefix, or a random subset with torn writes.

Not modelled: shared memory and a second connection (the log is opened exclusively), and a directory whose names
go back in time once the set-up was made durable.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from enum import Enum

import apsw

_names = itertools.count()


class Keep(Enum):
    """What of the unsynced operations survives a cut."""

    NOTHING = "nothing"
    PREFIX = "prefix"
    SUBSET = "subset, torn"


class Disk:
    """Files by path: what would be there after a cut."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})


class _File:
    def __init__(self, durable: bytes | None) -> None:
        self.durable = durable
        self.seen = bytearray(durable or b"")
        self.pending: list[tuple[str, int, bytes]] = []

    def survives(self, keep: Keep, chance: random.Random) -> bytes | None:
        if keep is Keep.NOTHING:
            kept: Sequence[tuple[str, int, bytes]] = ()
        elif keep is Keep.PREFIX:
            kept = self.pending[: chance.randint(0, len(self.pending))]
        else:
            kept = [p for p in self.pending if chance.random() < 0.5]
        if self.durable is None and not kept:
            return None
        image = bytearray(self.durable or b"")
        for kind, at, data in kept:
            if kind == "truncate":
                del image[at:]
                continue
            if keep is Keep.SUBSET and len(data) > 512 and chance.random() < 0.3:
                data = data[: 512 * chance.randint(0, len(data) // 512)]  # torn at a sector
            if len(image) < at:
                image.extend(bytes(at - len(image)))
            image[at : at + len(data)] = data
        return bytes(image)


class Vfs(apsw.VFS):
    """One power supply: dies at operation ``cut``; ``full_after`` bytes of growth the disk is full."""

    def __init__(
        self,
        disk: Disk,
        cut: int | None = None,
        *,
        lies: bool = False,
        full_after: int | None = None,
        fail_sync: int | None = None,
    ) -> None:
        self.name = f"power-cut-{next(_names)}"
        super().__init__(name=self.name, base="")
        self.disk = disk
        self.cut = cut
        self.lies = lies
        self.room = full_after
        self.fail_sync = fail_sync
        self.syncs = 0
        self.operations = 0
        self.written = 0
        self.open_files: dict[str, _File] = {path: _File(data) for path, data in disk.files.items()}

    @property
    def dead(self) -> bool:
        return self.cut is not None and self.operations >= self.cut

    def operation(self) -> None:
        if self.dead:
            raise apsw.IOError("the power is off")
        self.operations += 1

    def after_cut(self, keep: Keep, chance: random.Random) -> Disk:
        """The disk that is found when the power is back."""
        left = {path: file.survives(keep, chance) for path, file in self.open_files.items()}
        return Disk({path: data for path, data in left.items() if data is not None})

    def whole(self) -> Disk:
        """The disk after a clean shutdown."""
        return Disk({path: bytes(file.seen) for path, file in self.open_files.items()})

    # -- what SQLite calls

    def xOpen(self, name, flags):
        self.operation()
        path = name.filename() if isinstance(name, apsw.URIFilename) else (name or f"temporary-{id(flags)}")
        flags[1] = flags[0]
        file = self.open_files.get(path)
        if file is None:
            file = self.open_files[path] = _File(None)
        return _Handle(self, file)

    def xDelete(self, name, syncdir):
        self.operation()
        if self.open_files.pop(name, None) is None:
            raise apsw.IOError(f"{name} is not there")

    def xAccess(self, name, flags):
        return name in self.open_files

    def xFullPathname(self, name):
        return name


class _Handle:
    def __init__(self, vfs: Vfs, file: _File) -> None:
        self.vfs, self.file = vfs, file

    def xRead(self, amount, offset):
        return bytes(self.file.seen[offset : offset + amount])

    def xWrite(self, data, offset):
        self.vfs.operation()
        seen = self.file.seen
        growth = max(0, offset + len(data) - len(seen))
        if self.vfs.room is not None:
            if growth > self.vfs.room:
                raise apsw.FullError("the disk is full")
            self.vfs.room -= growth
        if len(seen) < offset:
            seen.extend(bytes(offset - len(seen)))
        seen[offset : offset + len(data)] = data
        self.vfs.written += len(data)
        self.file.pending.append(("write", offset, bytes(data)))

    def xTruncate(self, size):
        self.vfs.operation()
        if self.vfs.room is not None:
            self.vfs.room += max(0, len(self.file.seen) - size)
        del self.file.seen[size:]
        self.file.pending.append(("truncate", size, b""))

    def xSync(self, flags):
        self.vfs.operation()
        self.vfs.syncs += 1
        if self.vfs.fail_sync is not None and self.vfs.syncs >= self.vfs.fail_sync:
            raise apsw.IOError("fsync failed")
        if not self.vfs.lies:
            self.file.durable = bytes(self.file.seen)
            self.file.pending.clear()

    def xFileSize(self):
        return len(self.file.seen)

    def xLock(self, level):
        pass

    def xUnlock(self, level):
        pass

    def xCheckReservedLock(self):
        return False

    def xFileControl(self, op, pointer):
        return False

    def xSectorSize(self):
        return 4096

    def xDeviceCharacteristics(self):
        return 0

    def xClose(self):
        pass
