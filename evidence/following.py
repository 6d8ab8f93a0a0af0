"""From an older key of a log to the one that signs it now, by the log's own key records.

An auditor may have the key that a log began with only. A key record's statement is signed by an older key and by the
new one; a chain of such statements, from a key that came another way, tells whose signature a checkpoint needs now.
This finds the chain; that its records stand in the log that the checkpoint is of, and follow as they must, is for the
verification of the entries to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from . import log, note
from .errors import ParseError
from .record import Key, decode
from .revocation import honoured, signed_honourably

_MARK: Final = b'{"type":"key",'  # as every writer of records begins one


class Followed(NamedTuple):
    """A key that an older one vouches for: ``entry`` is the index of the record that says so."""

    key: note.Verifier
    entry: int


def follow_keys(
    read: Callable[[str], bytes | None],
    data: bytes,
    verifiers: Collection[note.Verifier],
    limits: dict[note.Verifier, int],
) -> tuple[Followed, ...]:
    """The keys that ``verifiers`` lead to, in the log's order, if one of them signed the checkpoint ``data``.

    None if a key that was given is of another log or signed already, rightly or wrongly, or if no chain of vouched keys
    ends in the checkpoint's signature. A revoked key's word counts up to its limit. Raises nothing for bad evidence.
    """
    try:
        signed = note.Note.parse(data)
        head = note.Checkpoint.parse(signed.text)
    except ParseError:
        return ()
    given = [key for key in verifiers if key.name == head.origin]
    if not given or any(signed.by(key) for key in given):
        return ()
    found: list[Followed] = []
    for index, statement in _key_records(read, head.size):
        older = honoured((*given, *(each.key for each in found)), limits, index + 1)
        if not note.check_key_statement(statement.statement, head.origin, statement.vkey, *older):
            continue
        key = note.Verifier.parse(statement.vkey)
        if key.name == head.origin:
            found.append(Followed(key, index))
    keys = [each.key for each in found]
    try:
        note.open_checkpoint(data, *given, *keys)
    except (ParseError, note.VerifyError):
        return ()
    return tuple(found) if signed_honourably(signed, head.size, keys, limits) else ()


def _key_records(read: Callable[[str], bytes | None], size: int) -> list[tuple[int, Key]]:
    found = []
    for tile in log.bundles(size):
        data = read(tile.path)
        if data is None or _MARK not in data:
            continue
        try:
            entries = log.decode_bundle(data, tile.width)
        except ParseError:
            continue  # told where the entries are followed
        for index, entry in enumerate(entries, tile.start):
            if entry.startswith(_MARK):
                try:
                    record = decode(entry)
                except ParseError:
                    continue
                if isinstance(record, Key):
                    found.append((index, record))
    return found
