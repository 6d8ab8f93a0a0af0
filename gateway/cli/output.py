"""How commands speak: results on stdout (JSON where a program reads them), talk on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gateway.cli.error_words import told


class UsageError(ValueError):
    """Wrong use: the message says what and what to do instead."""


def emit(document: Any) -> None:
    """A result for programs: one JSON document, readable characters, no NaN."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2))


def say(text: str) -> None:
    """Talk, in the reader's language: never on stdout, so that results can be piped."""
    print(told(text), file=sys.stderr, flush=True)


def read_text(path: str) -> str:
    """The text of a file, or of standard input for '-'. UsageError names what is wrong."""
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text") from None
