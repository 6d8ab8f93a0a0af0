"""`suyuan status`: what a running gateway says of itself, in words: clock, receipts, buffer, alarms, instruments."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import msgspec

from gateway.cli import DONE, NO, connecting
from gateway.cli.output import UsageError, emit
from gateway.cli.remote_log import remote_reader
from gateway.code_words import REASONS, said
from gateway.local_page import facts
from gateway.status import AgentStatus
from gateway.words import language, phrase

EPILOG = """Asks the address that a gateway serves ([serve] listen) and shows what its page says of the whole: clock,
entries, each platform's receipt, for how many hours the disk lasts, alarms; then what is missing, and of whom.
What a gateway says of itself is no evidence: that is suyuan verify.

examples:
  suyuan status http://gateway:8475
  suyuan status http://gateway:8475 --json

Exit code 0: no alarm stands and no instrument is stale. 1: one does, or is."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("address", metavar="URL", help="the gateway's address, http:// or https://")
    parser.add_argument("--origin", default="", help="the log's name, where --tls-name log asks for it")
    parser.add_argument("--json", action="store_true", help="all of it, as one JSON document on stdout")
    connecting.arguments(parser)


def run(_command: str, given: argparse.Namespace) -> int:
    """Ask and show."""
    tls = connecting.client(given).context if given.address.startswith("https://") else None
    data = remote_reader(given.address, tls, connecting.name_of(given, given.origin))("status")
    try:
        status = msgspec.json.decode(data or b"", type=AgentStatus)
    except msgspec.MsgspecError:
        raise UsageError(f"{given.address}: no gateway of this version answers there") from None
    if given.json:
        emit(json.loads(data or b""))
    else:
        print(status.origin)
        colon = "：" if language() == "zh" else ": "
        for name, told, bad in facts(status, language()):
            print(f"  {'!' if bad else ' '} {name}{colon}{told}")
        for line in _unseen(status):
            print(f"  ! {line}")
    return NO if status.alarms or any(one.stale for one in status.instruments) else DONE


def _unseen(status: AgentStatus) -> Iterator[str]:
    """What is stale, and what is missing in the newest reading, by instrument."""
    for one in status.instruments:
        if one.stale:
            yield phrase("status.stale", instrument=one.instrument)
        for value in one.measurands:
            if value.missing is not None:
                why = said(REASONS, value.missing, language())
                yield phrase("status.missing", instrument=one.instrument, measurand=value.measurand, why=why)
