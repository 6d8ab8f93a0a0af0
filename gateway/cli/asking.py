"""Questions over HTTP, answered from a store by the command that has it open: `platform ask` or `collect --ask`."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.output import UsageError, read_text

if TYPE_CHECKING:
    from central.holding import Holding
    from central.totals import Parts

_TOKEN: Final = re.compile("[0-9a-f]{64}")
_TOKENS_HELP: Final = "SHA-256 (hex) of the tokens admitted, a line each"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a command that has a store open needs in order to answer from it meanwhile."""
    group = parser.add_argument_group("questions")
    group.add_argument(
        "--ask", metavar="HOST:PORT", help="also answer questions over HTTP: see suyuan platform ask"
    )
    tokens(group)


def tokens(parser: argparse._ActionsContainer) -> None:
    """Declare who may ask."""
    parser.add_argument("--tokens", metavar="FILE", type=Path, help=_TOKENS_HELP)


def served(
    store: Holding, source: Parts, listen: str, admitted: Path | None, stop: asyncio.Event
) -> Coroutine[Any, Any, None]:
    """What serves the query API until ``stop`` is set. Raises UsageError, also when it binds its address."""
    from central.api import application
    from central.query import Questions
    from central.receive import serve

    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{listen}: write HOST:PORT, for example 127.0.0.1:8480")
    digests: list[str] = []
    if admitted is not None:
        digests = read_text(str(admitted)).split()
        if not digests or not all(map(_TOKEN.fullmatch, digests)):
            raise UsageError(f"{admitted}: one SHA-256 a line: printf %s TOKEN | sha256sum | cut -c-64")
    elif host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(f"{host} is reached from outside: say who may ask, --tokens FILE")

    async def serving() -> None:
        try:
            await serve(application(Questions(store, source), digests), host, int(port), stop)
        except OSError as error:
            raise UsageError(f"{listen}: {error.strerror or error}") from None

    return serving()
