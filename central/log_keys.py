"""Whose signature counts for a log: the key that was given, and those that the log's own key records brought in."""

from __future__ import annotations

from evidence import note

from .holding import Holding
from .rows import Gateway


def log_keys(store: Holding, gateway: Gateway, given: note.Verifier) -> tuple[note.Verifier, ...]:
    """The log's keys, the given one first: the one that it was entered with, and those of its key records."""
    known = (gateway.vkey, *store.keys(gateway))
    return tuple(dict.fromkeys((given, *map(note.Verifier.parse, known))))
