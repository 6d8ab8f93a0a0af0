"""`suyuan scan`: the meters on a line found, their profiles proposed, and the beginning of a site file."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cli import DONE, NO
from gateway.cli.output import UsageError, emit, say
from gateway.port_names import lasting, moves
from gateway.words import phrase

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.discovery import Found
    from drivers.protocols import Codec

EPILOG = """Asks, and changes nothing. What was found goes to stdout as a part of a site file; progress to stderr.
Ctrl-C ends the search and writes what was found until then. Stop the agent first: a line has one master.

examples:
  suyuan scan /dev/ttyUSB0 > found.toml
  suyuan scan /dev/ttyUSB0 --protocol modbus-rtu --baud 9600 --framing 8N1 --units 1-32
  suyuan scan /dev/ttyUSB1 --protocol iec62056-21
  suyuan scan /dev/ttyUSB2 --protocol cjt188 --addresses 92404000001800,92404000001801
  suyuan scan tcp://192.168.1.20:502 --protocol modbus-tcp --json
  suyuan scan /dev/ttyUSB3 --protocol dlms-hdlc --addresses 1/17,1/42

Exit code 1 if nothing was found."""

_QUICK = 16  # units asked at each speed; once one has answered, all the others at that speed
_SPEEDS = {
    "dlt645-2007": (2400, 9600, 4800, 1200, 19200),
    "dlt645-1997": (1200, 2400, 4800, 9600),
    "cjt188": (2400, 9600, 4800, 1200),
    "mbus": (2400, 300, 9600),
    "iec62056-21": (300,),  # then at what the meter offers
    "iec62056-21-300": (300,),
    "iec62056-21-fixed": (9600, 19200, 4800, 2400),
    "dlms-hdlc": (9600, 2400, 19200, 4800, 115200),
}
_SEVEN_BITS = "iec62056-21"
_SPEEDS_MODBUS = (9600, 19200, 4800, 38400, 115200, 2400)
_KNOWN = (
    "dlt645-2007",
    "modbus-rtu",
    "mbus",
    "cjt188",
    "dlms-hdlc",
    "dlt645-1997",
    "iec62056-21",
)  # the likeliest first
_KNOWN_TCP = ("modbus-tcp", "dlms-wrapper", *_KNOWN[:-1], "iec62056-21-300", "iec62056-21-fixed")


_NUMBERED = (
    "dlt645-2007",
    "cjt188",
    "dlt645-1997",
    "dlms-hdlc",
    "dlms-wrapper",
)  # protocols whose meters may be sought by given addresses


class Setting(NamedTuple):
    """One way to talk to a line."""

    protocol: str
    baud: int
    framing: str


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("port", metavar="PORT", help="a device, or tcp://host:port")
    parser.add_argument("--protocol", action="append", help="try this one only; may be given several times")
    parser.add_argument(
        "--baud", type=int, action="append", help="try this speed only; may be given several times"
    )
    parser.add_argument("--framing", help="try this one only (8E1, 8N1)")
    parser.add_argument("--units", metavar="1-247", help="Modbus units or M-Bus primary addresses to ask")
    parser.add_argument(
        "--addresses",
        metavar="A,B|FILE",
        help="DL/T 645, CJ/T 188, DLMS: ask these only, as printed on the meters; a file has one a line",
    )
    parser.add_argument("--reply", metavar="300ms", default="300ms", help="how long to wait for each answer")
    parser.add_argument("--limit", metavar="5min", default="5min", help="stop after this time")
    parser.add_argument("--profiles", metavar="DIR", action="append", default=[], help="profiles of your own")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def settings(given: argparse.Namespace) -> list[Setting]:
    """All that is tried, the likeliest first. UsageError for what cannot be searched."""
    tcp = given.port.startswith("tcp://")
    protocols = given.protocol or (_NUMBERED[:3] if given.addresses else _KNOWN_TCP if tcp else _KNOWN)
    if given.addresses and (other := [p for p in protocols if p not in _NUMBERED]):
        raise UsageError(f"--addresses is for {', '.join(_NUMBERED)}, not {', '.join(other)}")
    searched = ("modbus-tcp", "modbus-ascii", "dlms-wrapper", *_KNOWN, "iec62056-21-300", "iec62056-21-fixed")
    for protocol in protocols:
        if protocol not in searched:
            raise UsageError(f"{protocol}: meters are searched by {', '.join(searched)}")
    found = []
    if tcp and "iec62056-21" in protocols:
        raise UsageError(
            "iec62056-21 changes its rate within a session, and a converter keeps one: "
            "give --protocol iec62056-21-300 or iec62056-21-fixed"
        )
    for protocol in protocols:
        if tcp:
            found.append(Setting(protocol, 9600, given.framing or "8E1"))
            continue
        modbus = protocol not in _SPEEDS or protocol == "dlms-hdlc"
        framings = (given.framing,) if given.framing else ("8N1", "8E1") if modbus else ("8E1",)
        if protocol.startswith(_SEVEN_BITS):
            framings = ("7E1",)
        for baud in given.baud or _SPEEDS.get(protocol, _SPEEDS_MODBUS):
            found += [Setting(protocol, baud, framing) for framing in framings]
    return found


def _units(text: str | None) -> list[int]:
    first, _, last = (text or "1-247").partition("-")
    try:
        units = list(range(int(first), int(last or first) + 1))
    except ValueError:
        units = []
    if not units or not 1 <= units[0] <= units[-1] <= 247:
        raise UsageError(f"{text}: units are written 1-247, or one of them")
    return units


def _addresses(text: str | None, protocols: list[str]) -> list[str]:
    """The addresses to ask, one by one. UsageError for what is none in any of the protocols."""
    from pathlib import Path

    from drivers.protocols import codec

    if not text:
        return []
    file = Path(text)
    try:
        lines = file.read_text(encoding="utf-8") if file.is_file() else text.replace(",", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{text}: cannot be read: {error}") from None
    found = [line.partition("#")[0].strip() for line in lines.splitlines()]
    found = list(dict.fromkeys(address for address in found if address))
    for address in found:
        why = []
        for protocol in protocols:
            try:
                codec(protocol).address(address)
            except ValueError as error:
                why.append(str(error))
        if len(why) == len(protocols) or "A" in address.upper():
            raise UsageError("; ".join(why) or f"{address}: write whole addresses, digits only")
    if not found:
        raise UsageError(f"{text}: no address is in it")
    return found


def run(_command: str, given: argparse.Namespace) -> int:
    """Search, and write what was found."""
    from gateway.edge import seconds

    units = _units(given.units)
    tried = settings(given)
    asked = _addresses(given.addresses, list(dict.fromkeys(setting.protocol for setting in tried)))
    found, complete = asyncio.run(
        _search(given, tried, units, asked, seconds(given.reply), seconds(given.limit))
    )
    if not complete:
        say("ended before everything had been asked: give --protocol, --baud, --units, or more --limit")
    if given.json:
        emit({"port": given.port, "complete": complete, "found": [_plain(s, f) for s, f in found]})
    elif found:
        print(fragment(given.port, found))
    if found and moves(given.port):
        better = next(iter(lasting(given.port)), "/dev/serial/by-id/…")
        say(phrase("port.moves", port=given.port))
        say(f"  → {phrase('port.lasting', name=better)}")
    if not found:
        say("no meter answered: is the line wired A to A and B to B, powered, and without another master?")
    return DONE if found else NO


def _fitting(protocol: Codec, addresses: list[str]) -> list[str]:
    """Those that are addresses of a protocol."""
    found = []
    for address in addresses:
        with suppress(ValueError):
            protocol.address(address)
            found.append(address)
    return found


async def _search(
    given: argparse.Namespace,
    tried: list[Setting],
    units: list[int],
    asked: list[str],
    reply_s: float,
    limit_s: float,
) -> tuple[list[tuple[Setting, Found]], bool]:
    from pathlib import Path

    from drivers.bus import Bus
    from drivers.discovery import survey
    from drivers.line import Timing
    from drivers.link import link
    from drivers.profile import load, names
    from drivers.protocols import codec
    from gateway.clock import SystemClock

    extra = [Path(directory) for directory in given.profiles]
    profiles = [load(name, extra) for name in names(extra)]
    until = asyncio.get_running_loop().time() + limit_s
    found: list[tuple[Setting, Found]] = []
    complete = True
    stopped = _interrupted()
    told = False
    tcp = given.port.startswith("tcp://")
    for setting in tried:
        if any(f.protocol == setting.protocol or tcp for _, f in found):
            continue  # the meters of a protocol share one speed, and a converter has one protocol
        if stopped():
            complete = False
            break
        if found and not told:
            say("the search goes on for other protocols; Ctrl-C ends it and writes what was found")
            told = True
        where = setting.protocol if tcp else f"{setting.protocol} {setting.baud} {setting.framing}"
        say(f"{given.port}: {where} …")
        timing = Timing() if tcp else Timing(baud=setting.baud, framing=setting.framing)
        opened = link(given.port, setting.baud, setting.framing)
        bus = Bus("scan", codec(setting.protocol), opened, SystemClock().now, timing)
        try:
            quick = [] if given.units or len(tried) == 1 else units[:_QUICK]
            got = await survey(
                bus, profiles, until,
                reply_s=reply_s, units=quick or units, identities=not given.units, say=say,
                addresses=_fitting(bus.codec, asked), stopped=stopped,
            )  # fmt: skip
            seen = list(got.found)
            if (
                got.complete
                and quick
                and seen
                and (setting.protocol.startswith("modbus") or setting.protocol == "mbus")
            ):
                known = {meter.address for meter in seen}
                more = [unit for unit in units[_QUICK:] if str(unit) not in known]
                got = await survey(
                    bus,
                    profiles,
                    until,
                    reply_s=reply_s,
                    units=more,
                    identities=False,
                    say=say,
                    stopped=stopped,
                )
                seen += got.found
        finally:
            await bus.close()
        found += [(setting, meter) for meter in seen]
        if not got.complete:
            complete = False
            break
    return found, complete


def _interrupted() -> Callable[[], bool]:
    """Whether Ctrl-C or SIGTERM came, within the running loop; a second one ends the command as it ends any."""
    loop = asyncio.get_running_loop()
    came: list[int] = []

    def note(number: int) -> None:
        came.append(number)
        loop.remove_signal_handler(number)

    if threading.current_thread() is threading.main_thread():  # signals are its own
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, note, number)
    return lambda: bool(came)


def _plain(setting: Setting, found: Found) -> dict[str, Any]:
    return {
        "protocol": found.protocol,
        "baud": setting.baud,
        "framing": setting.framing,
        "address": found.address,
        "number": found.number,
        "proposals": [
            {
                "profile": p.profile,
                "plausible": p.plausible,
                "judged": p.judged,
                "values": {
                    i.measurand: {"value": None if i.value is None else f"{i.value:f}", "unit": i.unit}
                    for i in p.values
                },
            }
            for p in found.proposals
        ],
    }


def fragment(port: str, found: list[tuple[Setting, Found]]) -> str:
    """What was found as a part of a site file (TOML): one bus; what speaks otherwise than it says so itself."""
    lines: list[str] = []
    first = found[0][0]
    serial = not port.startswith("tcp://")
    lines += ["[[bus]]", 'name = "line-1"', f"protocol = {_text(first.protocol)}", f"port = {_text(port)}"]
    if serial:
        lines += [f"baud = {first.baud}", f"framing = {_text(first.framing)}"]
    lines.append("")
    for setting, meter in found:
        name = re.sub("[^a-z0-9]+", "-", (meter.address or meter.number).lower()).strip("-") or "1"
        lines += ["[[bus.instrument]]", f'id = "meter-{name}"', f"address = {_text(meter.address)}"]
        if setting.protocol != first.protocol:
            lines.append(f"protocol = {_text(setting.protocol)}")
        if serial and setting.baud != first.baud:
            lines.append(f"baud = {setting.baud}")
        if serial and setting.framing != first.framing:
            lines.append(f"framing = {_text(setting.framing)}")
        if meter.proposals:
            best = meter.proposals[0]
            lines.append(
                f"profile = {_text(best.profile)}   # {best.plausible} of {best.judged} values plausible"
            )
            lines += [
                f"# profile = {_text(other.profile)}   # {other.plausible} of {other.judged}"
                for other in meter.proposals[1:]
            ]
        else:
            lines.append(
                "# no profile was found to make sense of its answers: `suyuan profiles` lists those known"
            )
            lines.append('profile = ""')
        if meter.number:
            lines.append(f"serial = {_text(meter.number)}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
