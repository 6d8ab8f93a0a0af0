"""Whose signature counts for a log here: the key that was given, and those that the log's own key records brought in.

A key that was revoked counts as far as its revocation says, and so does its word for a newer key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from evidence import note
from evidence.errors import ParseError
from evidence.record import Key, decode
from evidence.revocation import Revocation, bounds, honoured, read_revocations

from .holding import Holding
from .rows import Gateway

Revoked: TypeAlias = Callable[[], tuple[Revocation, ...]]


def none_revoked() -> tuple[Revocation, ...]:
    """Where nothing was revoked."""
    return ()


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The keys of a log, the given one first, and up to which size the word of a revoked one counts."""

    keys: tuple[note.Verifier, ...]
    limits: dict[note.Verifier, int] = field(default_factory=dict)


class RevokedFile:
    """A file of revocations, read again when it changed; a mistake that comes later is reported and changes nothing."""

    def __init__(self, path: Path, report: Callable[[str], None] = lambda _: None) -> None:
        """Raises ParseError if the file is wrong now."""
        self.path = path
        self._report = report
        self._seen = (0, 0, 0)
        self._known: tuple[Revocation, ...] = ()
        self._look()

    def __call__(self) -> tuple[Revocation, ...]:
        """What is revoked."""
        try:
            self._look()
        except ParseError as error:
            self._report(f"{error}: what was known before holds")
        return self._known

    def _look(self) -> None:
        try:
            state = self.path.stat()
            seen = (state.st_mtime_ns, state.st_size, state.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            self._known = read_revocations(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ParseError(f"{self.path}: cannot be read: {error}") from error
        except ParseError as error:
            raise ParseError(f"{self.path}: {error}") from error


def gateway_of(store: Holding, given: note.Verifier, revoked: tuple[Revocation, ...]) -> Gateway:
    """The gateway of a key. A log whose stored key was revoked is also opened by another one that a person gives."""
    names = {one.key.name: one.key.vkey for one in revoked}
    if given.name in names:
        known = next((g for g in store.gateways() if g.origin == given.name), None)
        if known is not None and any(one.key.vkey == known.vkey for one in revoked):
            return known
    return store.gateway(given.name, given.vkey)


def log_keys(
    store: Holding,
    gateway: Gateway,
    given: note.Verifier,
    revoked: tuple[Revocation, ...] = (),
    cosigner: note.Verifier | None = None,
) -> LogKeys:
    """The log's keys. ``cosigner``: this platform, whose receipts say what it had seen before a time."""
    keys = list(dict.fromkeys((given, note.Verifier.parse(gateway.vkey))))
    brought = store.keys(gateway)
    concerned = [one for one in revoked if one.key.name == gateway.origin]
    if not concerned:
        return LogKeys(tuple(dict.fromkeys((*keys, *(note.Verifier.parse(vkey) for _, vkey in brought)))))
    witnessed: list[tuple[int, int]] = []
    if cosigner is not None and any(one.before is not None for one in concerned):
        for head in store.heads(gateway):
            at = None if head.receipt is None else note.Note.parse(head.receipt).cosigned_at(cosigner)
            if at is not None:
                witnessed.append((head.size, at))
    limits = bounds(concerned, witnessed)
    for entry, vkey in brought:
        record = decode(next(iter(store.entries(gateway, entry, entry + 1))))
        older = honoured(keys, limits, entry + 1)
        if isinstance(record, Key) and note.check_key_statement(
            record.statement, gateway.origin, vkey, *older
        ):
            keys.append(note.Verifier.parse(vkey))
    return LogKeys(tuple(dict.fromkeys(keys)), limits)
