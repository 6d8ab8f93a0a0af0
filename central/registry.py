"""The gateways that this platform knows: one file, a line each, edited by hand or by ``suyuan gateways``.

A line is a log's key (vkey), after ``suspended`` if nothing is taken from it for now; ``#`` begins a comment. A running
platform sees a change at the next request. A file that cannot be read as a whole changes nothing: what was known holds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidence.errors import ParseError
from evidence.note import ED25519, Verifier, fingerprint

SUSPENDED: Final = "suspended"


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
        with self._lock:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
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
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_name(self.path.name + ".writing")
            with partial.open("w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
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
