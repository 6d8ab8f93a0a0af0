"""A gateway's own log file read as if it were served, for an auditor at the box. It is copied first, never touched."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from evidence.errors import ParseError
from evidence.log import parse_path
from evidence.verify import Read
from gateway.cli.output import UsageError
from gateway.logfile import StoreError
from gateway.store import LogStore

FILE = "log.db"


@contextmanager
def stored_reader(directory: Path, origin: str) -> Iterator[Read]:
    """A reader of the log in a data directory whose agent is not running."""
    try:
        with apsw.Connection(
            f"file:{directory / FILE}?mode=ro", flags=apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READONLY
        ) as db:
            db.execute("SELECT count(*) FROM log").fetchall()
    except apsw.BusyError:
        raise UsageError(
            f"{directory}: the agent is running; verify its address instead: suyuan verify http://…"
        ) from None
    except apsw.Error as error:
        raise UsageError(f"{directory / FILE}: cannot be read: {error}") from None
    with tempfile.TemporaryDirectory() as copy:
        for path in directory.glob(f"{FILE}*"):
            shutil.copy2(path, copy)
        try:
            store = LogStore(Path(copy), origin, ballast=0)
        except StoreError as error:
            raise UsageError(f"{directory}: {error}") from None
        try:
            yield lambda path: _resource(store, path)
        finally:
            store.close()


def _resource(store: LogStore, path: str) -> bytes | None:
    if path == "checkpoint":
        return store.published.note if store.published else None
    try:
        tile = parse_path(path)
    except ParseError:
        return None
    try:
        if tile.level is not None:
            return store.tile(tile.level, tile.index, tile.width)
        body = store.bundle(tile.index, tile.width)
        return None if body is None else body.plain()
    except (StoreError, ValueError):
        return None  # damaged: for the verifier it is missing, and it says which
