"""`suyuan enrol` on the gateway, `suyuan gateways` on the platform: whose log is taken, decided by a person.

The gateway makes its key and a signed note which shows that it holds it. The note may go any way; the fingerprint goes
another way, and the operator gives what was read out. Only then is the key entered.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE
from gateway.cli.output import UsageError, read_text, say

if TYPE_CHECKING:
    from evidence.note import Verifier

_TITLE = "suyuan/enrolment"

EPILOGS = {
    "enrol": """examples:
  suyuan enrol site.toml > gateway.enrol     makes the log's key if there is none; send the file to the platform
                                             and read the fingerprint to its operator""",
    "gateways": """examples:
  suyuan gateways approve gateway.enrol --store ./platform --fingerprint "1a2b 3c4d 5e6f 7a8b 9c0d"
  suyuan gateways suspend platform.example/gw/0001 --store ./platform
  suyuan gateways list --store ./platform

A platform at work (suyuan collect --listen) sees the change at the next request.""",
}


def arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOGS[command]
    if command == "enrol":
        parser.add_argument("site", metavar="SITE", type=Path, help="the site file")
        return
    parser.add_argument("action", choices=("approve", "suspend", "list"))
    parser.add_argument(
        "which", metavar="FILE|ORIGIN", nargs="?", help="an enrolment to approve, an origin to suspend"
    )
    parser.add_argument("--store", required=True, metavar="DIR", type=Path, help="the platform's directory")
    parser.add_argument(
        "--gateways", metavar="FILE", type=Path, help="the file of gateways (default: DIR/gateways)"
    )
    parser.add_argument("--fingerprint", metavar="TEXT", help="as the gateway's technician read it out")


def run(command: str, given: argparse.Namespace) -> int:
    """Do it."""
    return enrol(given.site) if command == "enrol" else _gateways(given)


def enrol(path: Path) -> int:
    """Print the enrolment note of a site; its fingerprint on stderr."""
    from evidence.note import Note, fingerprint
    from gateway.config import SiteFile
    from gateway.running import log_key

    site = SiteFile(path)
    key = log_key(site)
    note = Note(f"{_TITLE}\n{site.site.site.origin}\n{key.vkey}\n").signed_by(key.signer)
    print(note.format(), end="")
    say(f"fingerprint of {site.site.site.origin}: {fingerprint(key.vkey)}")
    say("read it to the platform's operator by telephone, or show it: it must not go with the file")
    return DONE


def _gateways(given: argparse.Namespace) -> int:
    from central.registry import Registered, Registry

    registry = Registry(given.gateways or given.store / "gateways", say)
    if given.action == "list":
        for one in registry.gateways:
            print(f"{'active   ' if one.active else 'suspended'}  {one.verifier.name}  {one.fingerprint}")
        return DONE
    if given.which is None:
        raise UsageError(f"{given.action} what? See: suyuan gateways --help")
    known = next((one for one in registry.gateways if one.verifier.name == given.which), None)
    if given.action == "suspend":
        if known is None:
            raise UsageError(
                f"{given.which}: is not registered; see: suyuan gateways list --store {given.store}"
            )
        registry.put(Registered(known.verifier, active=False))
    elif known is not None:  # a gateway that was suspended: its key was looked at before
        registry.put(Registered(known.verifier))
    else:
        verifier = _held(read_text(given.which), given.which)
        wanted = Registered(verifier)
        if _bare(given.fingerprint or "") != _bare(wanted.fingerprint):
            told = (
                ""
                if given.fingerprint is None
                else f"; it is {wanted.fingerprint}, given was {given.fingerprint}"
            )
            raise UsageError(
                "compare the fingerprint with what the technician reads from the gateway, then give it with "
                f"--fingerprint{told}"
            )
        registry.put(wanted)
        say(f"{verifier.name}: approved")
    return DONE


def _held(text: str, where: str) -> Verifier:
    """The key of an enrolment note, which must be signed by it."""
    from evidence.errors import EvidenceError
    from evidence.note import Note, Verifier

    try:
        note = Note.parse(text)
        lines = note.text.split("\n")
        if len(lines) != 4 or lines[0] != _TITLE:
            raise UsageError(f"{where}: is no enrolment; make one on the gateway: suyuan enrol SITE")
        verifier = Verifier.parse(lines[2])
        note.verified(verifier)
    except EvidenceError as error:
        raise UsageError(f"{where}: {error}") from None
    if verifier.name != lines[1]:
        raise UsageError(f"{where}: the key is of {verifier.name}, the enrolment of {lines[1]}")
    return verifier


def _bare(fingerprint: str) -> str:
    return "".join(fingerprint.split()).lower()
