"""The keys of a platform's commands: its own, which signs receipts, and those of gateways that are revoked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.output import UsageError, say

if TYPE_CHECKING:
    from central.log_keys import Revoked
    from gateway.keys import Key


def receipts_key(path: Path) -> Key:
    """The key that signs receipts. Raises UsageError for a log's."""
    from gateway.keys import load

    key = load(path)
    if not key.receipts:
        raise UsageError(f"{path}: is a log's key; make one for receipts: suyuan key new … --receipts")
    return key


def revoked_of(path: Path | None) -> Revoked:
    """What a file of revocations says now and later; nothing without a file. Raises UsageError."""
    from central.log_keys import RevokedFile, none_revoked
    from evidence.errors import ParseError

    try:
        return none_revoked if path is None else RevokedFile(path, say)
    except ParseError as error:
        raise UsageError(f"--revoked {error}") from None
