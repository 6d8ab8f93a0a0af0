"""From a site file to what the agent runs: profiles loaded, addresses canonical, states compiled, line time counted.

Nothing is opened or started here except by ``unreachable``, which tries each port and closes it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from calibration.state import CalibrationState
from drivers.bus import Meter, cycle_time_s
from drivers.line import Timing
from drivers.link import LinkDown, link
from drivers.profile import Point, Profile, ProfileError, Query, load, plan
from drivers.protocols import Codec, codec
from evidence.errors import EvidenceError
from evidence.note import COSIGNATURE, Verifier
from gateway.calibrations import Calibrations
from gateway.config import BusConfig, InstrumentConfig, SiteFile
from gateway.toml_source import ConfigError, Problem

TYPICAL_REPLY_S = 0.1  # a serial meter's reply delay where nothing is known of it; TCP answers sooner


@dataclass(frozen=True, slots=True)
class PreparedMeter:
    """One meter, ready to be asked and corrected."""

    config: InstrumentConfig
    meter: Meter
    profile: Profile
    queries: tuple[Query, ...]
    state: CalibrationState


@dataclass(frozen=True, slots=True)
class PreparedBus:
    """One line with its meters; ``share`` is the part of the period that its line time takes, replies included."""

    config: BusConfig
    codec: Codec
    port: str
    timing: Timing
    meters: tuple[PreparedMeter, ...]
    share: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A site that holds together. ``warnings`` do not stop it."""

    file: SiteFile
    calibrations: Calibrations
    buses: tuple[PreparedBus, ...]
    receivers: tuple[Verifier, ...]
    warnings: tuple[Problem, ...]


def prepare(site: SiteFile, now: Callable[[], datetime]) -> Prepared:
    """Everything that can be known without opening a port. ConfigError tells all problems at once."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    receivers = _receivers(site, problems)
    try:
        calibrations = Calibrations.read(site, now)
    except ConfigError as error:
        problems.extend(error.problems)
        calibrations = Calibrations({}, (), site)
    usable = not problems
    buses = tuple(
        _bus(site, b, calibrations if usable else None, now, problems, warnings)
        for b in range(len(site.site.buses))
    )
    if problems:
        raise ConfigError(problems)
    return Prepared(
        site, calibrations, tuple(bus for bus in buses if bus is not None), receivers, tuple(warnings)
    )


def profile_directories(site: SiteFile) -> tuple[Path, ...]:
    """Where the site keeps profiles of its own."""
    return tuple(site.directory / name for name in site.site.profiles)


def _receivers(site: SiteFile, problems: list[Problem]) -> tuple[Verifier, ...]:
    found: list[Verifier] = []
    for n, platform in enumerate(site.site.platforms):
        place = ("platform", n, "key")
        hint = "it is the vkey that `suyuan key show platform.key` prints on the platform"
        try:
            verifier = Verifier.parse(platform.key)
        except EvidenceError as error:
            problems.append(site.source.problem(place, f"no vkey: {error}", hint, "C131"))
            continue
        if verifier.kind != COSIGNATURE:
            problems.append(site.source.problem(place, "a log's key, not one for receipts", hint, "C131"))
        found.append(verifier)
    return tuple(found)


def _bus(
    site: SiteFile,
    b: int,
    calibrations: Calibrations | None,
    now: Callable[[], datetime],
    problems: list[Problem],
    warnings: list[Problem],
) -> PreparedBus | None:
    config = site.site.buses[b]
    port = site.port(config)
    tcp = port.startswith("tcp://")
    protocol = codec(config.protocol)
    timing = Timing() if tcp else Timing(baud=config.baud, framing=config.framing)
    meters = [
        _meter(site, (b, i), protocol, calibrations, now, problems) for i in range(len(config.instruments))
    ]
    ready = tuple(meter for meter in meters if meter is not None)
    least = sum(cycle_time_s(protocol, m.meter, m.queries, timing, 0.0) / m.config.period for m in ready)
    reply = 0.005 if tcp else TYPICAL_REPLY_S
    typical = sum(cycle_time_s(protocol, m.meter, m.queries, timing, reply) / m.config.period for m in ready)
    place = ("bus", b, "name")
    hint = "longer periods, fewer measurands, a higher baud rate, or a second line"
    if least > 1:
        message = f"the characters alone need {100 * least:.0f} % of the time that the periods leave"
        problems.append(site.source.problem(place, message, hint, "C119"))
    elif typical > 0.95:
        message = (
            f"with usual reply delays the line is busy {100 * typical:.0f} % of the time: polls may be missed"
        )
        warnings.append(site.source.problem(place, message, hint, "C119"))
    return PreparedBus(config, protocol, port, timing, ready, typical)


def _meter(
    site: SiteFile,
    at: tuple[int, int],
    protocol: Codec,
    calibrations: Calibrations | None,
    now: Callable[[], datetime],
    problems: list[Problem],
) -> PreparedMeter | None:
    bus = site.site.buses[at[0]]
    config = bus.instruments[at[1]]
    place = ("bus", at[0], "instrument", at[1])
    before = len(problems)
    address = config.address
    try:
        address = protocol.address(config.address)
    except ValueError as error:
        problems.append(site.source.problem((*place, "address"), str(error), "", "C117"))
    try:
        profile = load(config.profile, profile_directories(site))
    except ProfileError as error:
        hint = '`suyuan profiles` lists those known; profiles = ["dir"] adds a directory of your own'
        problems.append(site.source.problem((*place, "profile"), str(error), hint, "C115"))
        return None
    if profile.protocol.partition("-")[0] != bus.protocol.partition("-")[0]:
        message = f"profile '{profile.name}' speaks {profile.protocol}, the bus {bus.protocol}"
        problems.append(
            site.source.problem(
                (*place, "profile"), message, "choose a profile of the bus's protocol", "C115"
            )
        )
        return None
    profile = _with_registers_of(config, profile)
    known = {point.measurand for point in profile.points}
    for n, measurand in enumerate(config.measurands or ()):
        if measurand not in known:
            message = f"profile '{profile.name}' has no '{measurand}'"
            hint = f"it has {', '.join(sorted(known))}"
            problems.append(site.source.problem((*place, "measurands", n), message, hint, "C116"))
    if calibrations is None or len(problems) > before:
        return None
    meter = Meter(
        id=config.id,
        address=address,
        profile=profile,
        timeout_s=config.timeout or bus.timeout,
        retries=bus.retries if config.retries is None else config.retries,
        gap_s=bus.gap,
    )
    try:
        state = calibrations.state(config, profile, now().date())
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    return PreparedMeter(config, meter, profile, plan(profile, config.measurands), state)


def _with_registers_of(config: InstrumentConfig, profile: Profile) -> Profile:
    """The profile with what the site states of this meter's energy registers, in the register's unit."""

    def stated(point: Point) -> Point:
        if not point.measurand.startswith("energy."):
            return point
        return replace(
            point,
            resolution=config.register_resolution or point.resolution,
            modulus=config.register_modulus or point.modulus,
        ).resolved()

    return replace(profile, points=tuple(map(stated, profile.points)))


async def unreachable(prepared: Prepared, wait_s: float = 5.0) -> list[Problem]:
    """Try each port: open it and close it again. The problems of those that cannot be opened."""
    found: list[Problem] = []
    for b, bus in enumerate(prepared.file.site.buses):
        port = prepared.file.port(bus)
        opened = link(port, bus.baud, bus.framing)
        why = ""
        try:
            async with asyncio.timeout(wait_s):
                await opened.open()
        except (LinkDown, OSError) as error:
            why = str(error)
        except TimeoutError:
            why = f"no answer within {wait_s:g} s"
        finally:
            await opened.close()
        if why:
            hint = "is it plugged in, powered, and named rightly? may this user open it (group dialout)?"
            found.append(prepared.file.source.problem(("bus", b, "port"), why, hint, "C118"))
    return found
