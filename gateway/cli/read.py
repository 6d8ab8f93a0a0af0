"""`suyuan read`: a meter read once, by hand: the bytes on the line, what they mean, and the corrected values."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import DONE, NO
from gateway.cli.output import UsageError, emit, say

if TYPE_CHECKING:
    from calibration.state import CalibrationState
    from drivers.bus import Bus, Meter
    from drivers.codec import Scan
    from drivers.profile import Query
    from gateway.prepared import PreparedBus

EPILOG = """With a site file the instrument is named by its id or address, and its indications are corrected by the
site's certificates: results with U (k = 2). The line must be free: stop the agent first, or use another line.

examples:
  suyuan read carding --site site.toml
  suyuan read 1 --port /dev/ttyUSB0 --protocol modbus-rtu --profile eastron-sdm630 --framing 8N1
  suyuan read 202600000011 --port /dev/ttyUSB0 --protocol dlt645-2007 --profile dlt645-2007-three-phase --watch 5s

Exit code 1 if not one value came."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("instrument", metavar="ADDRESS|INSTRUMENT", help="the meter's address, or its id")
    parser.add_argument("--site", metavar="SITE.toml", type=Path, help="the site that it belongs to")
    parser.add_argument("--port", help="without a site: a device, or tcp://host:port")
    parser.add_argument("--protocol", help="without a site: dlt645-2007, modbus-rtu, …")
    parser.add_argument(
        "--profile", help="without a site: what the meter is, by name (`suyuan profiles`) or file"
    )
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--framing", default="8E1", help="data bits, parity, stop bits (8E1)")
    parser.add_argument("--timeout", metavar="1s", default="1s", help="how long to wait for an answer (1s)")
    parser.add_argument("--measurand", action="append", help="read this only; may be given several times")
    parser.add_argument(
        "--watch", metavar="5s", nargs="?", const="2s", help="again and again, until interrupted (2s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document per reading on stdout")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is read, over what, and what corrects it."""

    name: str
    bus: Bus
    meter: Meter
    queries: tuple[Query, ...]
    state: CalibrationState | None


def run(_command: str, given: argparse.Namespace) -> int:
    """Read once, or until interrupted."""
    from gateway.edge import seconds

    every = seconds(given.watch) if given.watch else None
    return asyncio.run(_read(given, every))


async def _read(given: argparse.Namespace, every: float | None) -> int:
    asked = _of_site(given) if given.site else _of_line(given)
    found = NO
    try:
        while True:
            scan = await asked.bus.scan(asked.meter, asked.queries)
            results = _results(asked, scan)
            if given.json:
                emit(_document(asked, scan, results))
            else:
                _show(asked, scan, results)
            found = DONE if scan.failure is None else found
            if every is None:
                return found
            await asyncio.sleep(every)
    finally:
        await asked.bus.close()


def _of_line(given: argparse.Namespace) -> _Asked:
    from drivers.bus import Bus, Meter
    from drivers.line import Timing
    from drivers.link import link
    from drivers.profile import load, plan
    from drivers.protocols import codec
    from gateway.clock import SystemClock
    from gateway.edge import seconds

    wanting = [name for name in ("port", "protocol", "profile") if not getattr(given, name)]
    if wanting:
        raise UsageError(f"without --site it needs --{', --'.join(wanting)}")
    file = Path(given.profile)  # or the file of one's own
    own = [file.parent] if file.suffix == ".toml" else []
    protocol, profile = codec(given.protocol), load(file.stem if own else given.profile, own)
    tcp = given.port.startswith("tcp://")
    timing = Timing() if tcp else Timing(baud=given.baud, framing=given.framing)
    bus = Bus("line", protocol, link(given.port, given.baud, given.framing), SystemClock().now, timing)
    meter = Meter(given.instrument, protocol.address(given.instrument), profile, seconds(given.timeout))
    return _Asked(given.instrument, bus, meter, plan(profile, given.measurand), None)


def _of_site(given: argparse.Namespace) -> _Asked:
    from drivers.profile import plan
    from gateway.clock import moment
    from gateway.config import SiteFile
    from gateway.prepare import prepare

    if given.port or given.protocol or given.profile:
        raise UsageError("a site says port, protocol and profile: give --site, or these")
    prepared = prepare(SiteFile(given.site), moment)
    found = [
        (bus, meter)
        for bus in prepared.buses
        for meter in bus.meters
        if given.instrument == meter.config.id or _same(bus, given.instrument, meter.meter.address)
    ]
    if len(found) != 1:
        names = ", ".join(meter.config.id for bus in prepared.buses for meter in bus.meters)
        what = "several instruments have this address: name one by its id" if found else "no such instrument"
        raise UsageError(f"{given.instrument}: {what}; the site has {names}")
    ((bus, meter),) = found
    queries = plan(meter.profile, given.measurand) if given.measurand else meter.queries
    return _Asked(meter.config.id, _bus(bus), meter.meter, queries, meter.state)


def _same(bus: PreparedBus, text: str, address: str) -> bool:
    try:
        return bus.codec.address(text) == address
    except ValueError:
        return False


def _bus(bus: PreparedBus) -> Bus:
    from drivers.bus import Bus
    from drivers.link import link
    from gateway.clock import SystemClock

    opened = link(bus.port, bus.config.baud, bus.config.framing)
    return Bus(bus.config.name, bus.codec, opened, SystemClock().now, bus.timing)


def _results(asked: _Asked, scan: Scan) -> Mapping[str, tuple[str, str]]:
    """Results with expanded uncertainty (k = 2) by measurand, as the agent would record them with u."""
    from calibration.operating import operating_point, phase_of
    from calibration.state import format_u, format_value

    state = asked.state
    if state is None:
        return {}
    units = {i.measurand: i.unit for i in scan.indications}
    values = {i.measurand: float(i.value) for i in scan.indications if i.value is not None}
    found: dict[str, tuple[str, str]] = {}
    for name, value in values.items():
        load, power_factor = operating_point(phase_of(name), values, units, state)
        result = state.correct(name, value, load_a=load, power_factor=power_factor)
        if result is not None:
            found[name] = format_value(result.y), format_u(2 * result.u)
    return found


def _document(asked: _Asked, scan: Scan, results: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    return {
        "instrument": asked.name,
        "address": asked.meter.address,
        "profile": asked.meter.profile.name,
        "utc_us": scan.started.utc_us,
        "state": asked.state.digest if asked.state else None,
        "exchanges": [
            {
                "request": exchange.request.hex(" ").upper(),
                "answer": exchange.answer.hex(" ").upper(),
                "took_us": exchange.received.boot_us - exchange.sent.boot_us,
                "failure": exchange.failure,
            }
            for exchange in scan.exchanges
        ],
        "values": [
            {
                "measurand": i.measurand,
                "item": i.item,
                "indication": None if i.value is None else f"{i.value:f}",
                "unit": i.unit,
                "missing": i.missing,
                "detail": i.detail,
                "result": results[i.measurand][0] if i.measurand in results else None,
                "U": results[i.measurand][1] if i.measurand in results else None,
                "k": "2" if i.measurand in results else None,
            }
            for i in scan.indications
        ],
    }


def _show(asked: _Asked, scan: Scan, results: Mapping[str, tuple[str, str]]) -> None:
    from calibration.coverage import rounded

    for exchange in scan.exchanges:
        took = (exchange.received.boot_us - exchange.sent.boot_us) / 1000
        print(f"→ {exchange.request.hex(' ').upper()}")
        answer = exchange.answer.hex(" ").upper() or "nothing"
        print(f"← {answer}   {took:.0f} ms" + (f"   {exchange.failure}" if exchange.failure else ""))
    for i in scan.indications:
        if i.value is None:
            print(f"  {i.item:<12} {i.measurand:<28} -  {i.missing}  {i.detail}".rstrip())
            continue
        corrected = ""
        if i.measurand in results:
            y, expanded = rounded(*results[i.measurand])  # for the eye; --json has every digit
            corrected = f"   = {y} ± {expanded} (k = 2)"
        print(f"  {i.item:<12} {i.measurand:<28} {i.value:f} {i.unit}{corrected}")
    if scan.failure is not None:
        say(f"{asked.name}: not one value came: {scan.failure}")
        if all(not exchange.answer for exchange in scan.exchanges):
            say(
                "  → is the meter powered and wired, is nobody else on the line, and are address, speed and framing "
                "its own? `suyuan scan PORT` finds them"
            )
