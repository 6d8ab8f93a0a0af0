"""The body of add-checkpoint (C2SP tlog-witness): a signed checkpoint, and the proof that it follows from one known."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from evidence import log, note
from evidence.errors import ParseError

MAX_CHECKPOINT: Final = 64 * 1024
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Offer:
    """An add-checkpoint body: the size it follows from, the proof that it does, and the signed checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: note.Checkpoint
    note: note.Note

    @classmethod
    def parse(cls, body: bytes) -> Offer:
        """Read one. Raises ParseError."""
        if len(body) > MAX_CHECKPOINT:
            raise ParseError(f"{len(body)} bytes; at most {MAX_CHECKPOINT} are read")
        try:
            lines, empty, signed = body.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError as error:
            raise ParseError(f"not text: {error}") from error
        first, *coded = lines.split("\n")
        old = _OLD.fullmatch(first)
        if not empty or old is None or len(coded) > 63:
            raise ParseError("an add-checkpoint body is: old SIZE, proof lines, an empty line, a checkpoint")
        try:
            proof = tuple(base64.b64decode(line, validate=True) for line in coded)
        except (binascii.Error, ValueError) as error:
            raise ParseError(f"a proof line is not base64: {error}") from error
        if any(len(step) != log.HASH_SIZE for step in proof):
            raise ParseError("a proof line is no hash")
        parsed = note.Note.parse(signed)
        return cls(int(old[1]), proof, note.Checkpoint.parse(parsed.text), parsed)
