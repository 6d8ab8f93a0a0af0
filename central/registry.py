"""The gateways that this platform knows: one file, a line each, edited by hand or by ``suyuan gateways``.

A line is a log's key (vkey), after ``suspended`` if nothing is taken from it for now; ``#`` begins a comment. A running
platform sees a change at the next request. A file that cannot be read as a whole changes nothing: what was known holds.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidence.errors import ParseError
from evidence.note import ED25519, Verifier, fingerprint

SUSPENDED: Final = "suspended"
WAS: Final = "# key until "


class RegistryError(ValueError):
    """The file of gateways is wrong: where, what, and what to do."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One gateway: its log's key, and whether its log is taken."""

    verifier: Verifier
    active: bool = True

    @property
    def line(self) -> str:
        """As the file has it."""
        return self.verifier.vkey if self.active else f"{SUSPENDED} {self.verifier.vkey}"

    @property
    def fingerprint(self) -> str:
        """What two people read to each other before the key is believed."""
        return fingerprint(self.verifier.vkey)


def parse(text: str, where: str = "gateways") -> tuple[Registered, ...]:
    """The gateways of a file. Raises RegistryError."""
    found: dict[str, Registered] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        active = words[0] != SUSPENDED
        try:
            if len(words) != (1 if active else 2):
                raise ParseError("a line is a key, or 'suspended' and a key")
            verifier = Verifier.parse(words[-1])
            if verifier.kind != ED25519:
                raise ParseError(f"the key of {verifier.name} is for receipts; a gateway's signs a log")
            if verifier.name in found:
                raise ParseError(f"{verifier.name} is there twice")
        except ParseError as error:
            raise RegistryError(f"{where}:{number}: {error}") from None
        found[verifier.name] = Registered(verifier, active)
    return tuple(found.values())


class Registry:
    """A file of gateways, read again when it changed. Calling it gives the keys of those that are active."""

    def __init__(self, path: Path, report: Callable[[str], None] = lambda _: None) -> None:
        """Raises RegistryError if the file is wrong now; later mistakes are reported, and change nothing."""
        self.path = path
        self._report = report
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._all: tuple[Registered, ...] = ()
        self._active: Mapping[str, Verifier] = {}
        self._look()

    def __call__(self) -> Mapping[str, Verifier]:
        """The keys of the active gateways, by origin."""
        with self._lock:
            try:
                self._look()
            except RegistryError as error:
                self._report(f"{error}: what was known before holds")
            return self._active

    @property
    def gateways(self) -> tuple[Registered, ...]:
        """All of them, as last read."""
        return self._all

    def put(self, gateway: Registered) -> None:
        """Enter a gateway, or change whether it is active; the file is replaced in one step, comments are kept.

        Raises RegistryError if its origin is there with another key.
        """
        with self._changing() as text:
            for other in parse(text, str(self.path)):
                if other.verifier.name == gateway.verifier.name and other.verifier != gateway.verifier:
                    raise RegistryError(
                        f"{gateway.verifier.name} is registered with another key ({other.fingerprint}): a log changes "
                        "its key by a record of its own; a new box takes a new origin"
                    )
            lines, there = [], False
            for line in text.splitlines():
                head, mark, comment = line.partition("#")
                if gateway.verifier.vkey in head.split():
                    line, there = gateway.line + (f"  {mark}{comment}" if mark else ""), True
                lines.append(line)
            if not there:
                lines.append(gateway.line)
            self._write(lines)

    def replace(self, old: Verifier, new: Verifier, day: str) -> None:
        """Put a newer key of the same log in an older one's place; the old one stays as a comment with the day."""
        with self._changing() as text:
            lines, there = [], False
            for line in text.splitlines():
                head, mark, comment = line.partition("#")
                if old.vkey in head.split():
                    lines.append(f"{WAS}{day}: {old.vkey}")
                    line, there = head.replace(old.vkey, new.vkey) + mark + comment, True
                lines.append(line)
            if not there:
                raise RegistryError(f"{old.name}: is not in {self.path} with the key {fingerprint(old.vkey)}")
            self._write(lines)

    def remove(self, origin: str) -> bool:
        """Strike a gateway, and the keys that it had; whether it was there. Other comments are kept."""
        with self._changing() as text:
            lines = [line for line in text.splitlines() if origin not in _names(line)]
            there = len(lines) < len(text.splitlines())
            if there:
                self._write(lines)
            return there

    def replaced(self, origin: str) -> tuple[tuple[str, Verifier], ...]:
        """The keys that a gateway was registered with before, oldest first, each with the day of its end."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        found = []
        for line in text.splitlines():
            if line.startswith(WAS) and origin in _names(line):
                day, _, vkey = line.removeprefix(WAS).partition(": ")
                found.append((day, Verifier.parse(vkey)))
        return tuple(found)

    @contextmanager
    def _changing(self) -> Iterator[str]:
        """The file's text, while no other process changes it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def _write(self, lines: list[str]) -> None:
        partial = self.path.with_name(self.path.name + ".writing")
        with partial.open("w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._look()

    def _look(self) -> None:
        try:
            state = self.path.stat()
        except OSError:
            self._seen, self._all, self._active = None, (), {}
            return
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"{self.path}: cannot be read: {error}") from None
        self._all = parse(text, str(self.path))
        self._active = {one.verifier.name: one.verifier for one in self._all if one.active}


def _names(line: str) -> tuple[str, ...]:
    """Whose keys a line holds, also one that was replaced."""
    was = line.startswith(WAS)
    words = [line.rpartition(" ")[2]] if was else line.partition("#")[0].split()[-1:]
    try:
        return tuple(Verifier.parse(word).name for word in words)
    except ParseError:
        return ()
