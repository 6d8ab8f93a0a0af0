"""A log's keys in its data directory, and their change at work: both sign until all have seen the new one.

``log.key`` signs. ``suyuan key rotate`` lays ``log.key.next`` beside it; the agent sees it, writes a ``key`` record
that both have signed, and signs its checkpoints with both. When a receipt of every platform covers that record, and the
overlap is over, the new key takes the old one's place in one step, and signs alone.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from pathlib import Path
from typing import Protocol

from evidence.note import Signer, SignerUnavailable
from gateway.anchor import sync
from gateway.key_holder import FileHolder, KeyHolder, LogKey
from gateway.keys import KeyFileError, NotAKey

_log = logging.getLogger("suyuan.keys")

LOOK_EVERY_S = 2.0
CURRENT = "log.key"


class KeyRing:
    """The keys of one log, in its data directory."""

    def __init__(
        self,
        directory: Path,
        origin: str,
        holder: KeyHolder | None = None,
        file: str = CURRENT,
        *,
        remake: bool = False,
    ) -> None:
        """``holder``: what makes and finds the keys; files of their own if nothing is said.

        ``remake``: a key that is not there is made, also if the log has begun.
        """
        self.directory = directory
        self.origin = origin
        self._holder = holder or FileHolder()
        self._file = file
        self._remake = remake

    @property
    def path(self) -> Path:
        """Where the key lies that signs now."""
        return self.directory / self._file

    @property
    def next_path(self) -> Path:
        """Where the key lies that is to come."""
        return self.directory / f"{self._file}.next"

    def current(self) -> LogKey:
        """The key that signs now; made on first use. Raises KeyFileError."""
        if not self.path.exists():
            if self.next_path.exists():
                raise KeyFileError(
                    f"{self.path}: is not there, but {self.next_path.name} is: put the old key back"
                )
            if not self._remake and self._log_begun:
                raise KeyFileError(
                    f"{self.path}: is not there, but the log is: put the key back. If it is lost, begin a log that "
                    "continues this one: suyuan key successor"
                )
            return self._holder.create(self.path, self.origin)
        return self._load(self.path)

    def look(self) -> LogKey | None:
        """The key that signs now, or None where one would be made: nothing is written. Raises KeyFileError."""
        begun = self.path.exists() or self.next_path.exists() or (not self._remake and self._log_begun)
        return self.current() if begun else None

    @property
    def _log_begun(self) -> bool:
        return (self.directory / "log.db").exists()

    def next(self) -> LogKey | None:
        """The key that is to come, if there is one. Raises KeyFileError."""
        return self._load(self.next_path) if self.next_path.exists() else None

    def all(self) -> tuple[LogKey, ...]:
        """Every key that may have signed the newest checkpoint."""
        following = self.next()
        return (self.current(),) if following is None else (self.current(), following)

    def prepare(self) -> LogKey:
        """Make the key that is to come. Raises KeyFileError, also if one is waiting already."""
        if not self.path.exists():
            raise KeyFileError(f"{self.path}: is not there: this log has no key yet that could be changed")
        if self.next_path.exists():
            raise KeyFileError(f"{self.next_path}: a change of keys is under way; it ends by itself")
        return self._holder.create(self.next_path, self.origin)

    def settle(self) -> None:
        """Put the next key in the place of the old one, which is gone then. Durable, and whole or not at all."""
        old = self._load(self.path)
        self.next_path.replace(self.path)
        sync(self.directory)
        self._holder.forget(old)

    def _load(self, path: Path) -> LogKey:
        try:
            key = self._holder.load(path)
        except NotAKey:
            if path == self.next_path:
                raise KeyFileError(
                    f"{path}: is no key file: put it back from a copy. If the log has no record of it yet, move it "
                    "away and change the key anew: suyuan key rotate"
                ) from None
            if self._remake or not self._log_begun:
                raise KeyFileError(
                    f"{path}: is no key file, and nothing is signed with it yet: move it away; the start makes one"
                ) from None
            raise KeyFileError(
                f"{path}: is no key file, but the log is there: put the key back from a copy. If it is lost, begin a "
                "log that continues this one: suyuan key successor (docs/keys.md)"
            ) from None
        if key.name != self.origin:
            raise KeyFileError(f"{path}: is the key of '{key.name}', wanted is '{self.origin}' for a log")
        return key


class Log(Protocol):
    """What is asked of the log's signing."""

    @property
    def begun(self) -> bool:
        """Whether the log is open and taken up."""

    def take_key(self, new: Signer) -> None:
        """Log the new key, unless it was, and sign with it too."""

    def key_is_known(self, vkey: str, overlap_us: int) -> bool:
        """Whether every platform has the key's record, and the overlap is over."""

    def sign_alone(self) -> None:
        """Sign with the newest key alone."""


class SecondLog(Protocol):
    """What is asked of it for the second signature."""

    @property
    def begun(self) -> bool:
        """Whether the log is open and taken up."""

    def take_second_key(self, new: Signer) -> None:
        """Log the new key, unless it was, and sign with it too."""

    def key_is_known(self, vkey: str, overlap_us: int) -> bool:
        """Whether every platform has the key's record, and the overlap is over."""

    def second_signs_alone(self) -> None:
        """Sign with the newest key alone."""


async def watch(ring: KeyRing, overlap_us: int, log: Log) -> None:
    """Carry out changes of keys until cancelled. A key that cannot be used stops no measurement."""
    coming: LogKey | None = None
    told = ""
    for _ in count():
        try:
            if log.begun:
                coming = await look(ring, overlap_us, log, coming)
                told = ""
        except (KeyFileError, SignerUnavailable, OSError) as error:
            if str(error) != told:
                told = str(error)
                _log.error("the change of keys waits: %s", error)
        await asyncio.sleep(LOOK_EVERY_S)


async def look(ring: KeyRing, overlap_us: int, log: Log, coming: LogKey | None) -> LogKey | None:
    """One look: begin a change, or end it; the key that is coming. Raises KeyFileError, OSError."""
    if coming is None:
        coming = await asyncio.to_thread(ring.next)
        if coming is not None:
            log.take_key(coming.signer)
        return coming
    if not log.key_is_known(coming.vkey, overlap_us):
        return coming
    try:
        await asyncio.to_thread(ring.settle)
    finally:
        if not ring.next_path.exists():  # it took the old one's place, even if that could not be destroyed
            log.sign_alone()
    return None


class SecondLine:
    """A log's second signature, for :func:`watch`: its keys are recorded and changed as the log's are."""

    def __init__(self, signing: SecondLog, current: Signer) -> None:
        """``current``: the key that signs now. It is recorded if it was not: switched on later, or made anew."""
        self._signing = signing
        self._current: Signer | None = current

    @property
    def begun(self) -> bool:
        """Whether the log is open and taken up; then the present key is in it."""
        if not self._signing.begun:
            return False
        if self._current is not None:
            self._signing.take_second_key(self._current)
            self._current = None
        return True

    def take_key(self, new: Signer) -> None:
        """Log the new key, unless it was, and sign with it too."""
        self._signing.take_second_key(new)

    def key_is_known(self, vkey: str, overlap_us: int) -> bool:
        """Whether every platform has the key's record, and the overlap is over."""
        return self._signing.key_is_known(vkey, overlap_us)

    def sign_alone(self) -> None:
        """Sign with the newest key alone."""
        self._signing.second_signs_alone()
