"""Revocation of a log's key: what it signed is believed up to a size, or as far as it was witnessed before a time.

A key that was copied can sign any tail. What a witness cosigned before the copy was made, nobody can have made since.
Both ways come down to a size: up to it the key's word counts, for checkpoints and for the keys that it vouched for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from .errors import ParseError
from .note import COSIGNATURE, Checkpoint, Note, Verifier, VerifyError, open_checkpoint

_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked key: good up to ``size`` entries, or for what was cosigned before ``before`` (seconds since 1970)."""

    key: Verifier
    size: int | None = None
    before: int | None = None

    @classmethod
    def parse(cls, text: str) -> Revocation:
        """From ``VKEY size N`` or ``VKEY witnessed-before TIME``, TIME in UTC as 2026-11-24T10:00:00Z."""
        vkey, *bound = text.split() or [""]
        key = Verifier.parse(vkey)
        if key.kind == COSIGNATURE:
            raise ParseError(f"the key of {key.name} is a witness's: leave it out of the policy instead")
        match bound:
            case "size", number if _SIZE.fullmatch(number):
                return cls(key, size=int(number))
            case "witnessed-before", time if _TIME.fullmatch(time):
                try:
                    at = datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
                except ValueError:
                    pass
                else:
                    return cls(key, before=int(at.timestamp()))
        raise ParseError(
            f"revocation of {key.name}: write 'VKEY size N' or 'VKEY witnessed-before 2026-11-24T10:00:00Z' (UTC)"
        )

    @property
    def text(self) -> str:
        """As it is written; the inverse of ``parse``."""
        if self.size is not None:
            return f"{self.key.vkey} size {self.size}"
        at = datetime.fromtimestamp(self.before or 0, UTC)
        return f"{self.key.vkey} witnessed-before {at:%Y-%m-%dT%H:%M:%SZ}"

    def bound(self, witnessed: Iterable[tuple[int, int]]) -> int:
        """Up to which size the key's word counts. ``witnessed``: size and time (s) of cosigned heads."""
        if self.size is not None:
            return self.size
        return max(
            (size for size, at in witnessed if self.before is not None and at < self.before), default=0
        )


def bounds(revoked: Collection[Revocation], witnessed: Collection[tuple[int, int]]) -> dict[Verifier, int]:
    """Up to which size the word of each revoked key counts; the strictest, if one was revoked twice."""
    found: dict[Verifier, int] = {}
    for one in revoked:
        bound = one.bound(witnessed)
        found[one.key] = min(bound, found.get(one.key, bound))
    return found


def honoured(keys: Iterable[Verifier], limits: dict[Verifier, int], size: int) -> tuple[Verifier, ...]:
    """The keys whose word counts for a tree of ``size`` entries."""
    return tuple(key for key in keys if size <= limits.get(key, size))


def signed_honourably(signed: Note, size: int, keys: Iterable[Verifier], limits: dict[Verifier, int]) -> bool:
    """Whether one of the keys signed whose word counts at this size."""
    return any(signed.is_signed_by(key) for key in honoured(keys, limits, size))


def open_honoured(
    data: bytes | str, keys: Collection[Verifier], limits: dict[Verifier, int]
) -> tuple[Checkpoint, Note]:
    """A checkpoint signed by one of these keys whose word counts at its size. Raises ParseError, VerifyError."""
    head, signed = open_checkpoint(data, *keys)
    refuse_revoked(head, signed, keys, limits)
    return head, signed


def refuse_revoked(
    head: Checkpoint, signed: Note, keys: Collection[Verifier], limits: dict[Verifier, int]
) -> None:
    """Raise VerifyError if none of the keys that signed a checkpoint counts at its size."""
    own = [key for key in keys if key.name == head.origin]
    if not limits or signed_honourably(signed, head.size, own, limits):
        return
    last = max((limits[key] for key in own if key in limits and signed.is_signed_by(key)), default=0)
    raise VerifyError(
        f"is over {head.size} entries, and signed by a revoked key alone, whose word counts up to {last}"
    )


def read_revocations(text: str) -> tuple[Revocation, ...]:
    """A file of them: a line each, as ``Revocation.parse`` reads it; ``#`` begins a comment. Raises ParseError."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            try:
                found.append(Revocation.parse(" ".join(words[words[0] == "revoked" :])))
            except ParseError as error:
                raise ParseError(f"line {number}: {error}") from error
    return tuple(found)
