"""What goes wrong in evidence: bytes that are not what they claim, and things that cannot be written."""

from __future__ import annotations


class EvidenceError(Exception):
    """Anything that this package raises by itself."""


class ParseError(EvidenceError, ValueError):
    """The bytes are not a well-formed record, note, proof or tile.

    The sender must act; parsers raise nothing else.
    """


class EncodeError(EvidenceError, ValueError):
    """A value that the format cannot carry: our own mistake, found before it is in the log for ever."""
