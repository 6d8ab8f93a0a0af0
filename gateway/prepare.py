"""From a site file to what the agent runs: profiles loaded, addresses canonical, states compiled, line time counted.

Nothing is opened or started here except by ``unreachable``, which tries each port and closes it again.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from drivers.bus import Meter
from drivers.cycle_time import cycle_time_s
from drivers.hj212_sm4 import sm4_key
from drivers.iec62056_reading import Iec62056, Times
from drivers.line import Timing
from drivers.link import LinkDown, link
from drivers.profile import Profile, ProfileError, Query, load, plan
from drivers.protocols import Codec, codec
from evidence.errors import EvidenceError
from evidence.note import COSIGNATURE, Verifier
from gateway.calibrations import Calibrations
from gateway.config import SiteFile
from gateway.dlms_password import with_password
from gateway.enrolment import EnrolmentError, request_names
from gateway.freezing_allowed import freeze_plan
from gateway.opcua_access import Access, AccessError, access_of
from gateway.platforms import enrolment_of, key_of, server_files
from gateway.port_names import lasting, moves
from gateway.prepared import Prepared, PreparedBus, PreparedMeter, PreparedPush
from gateway.site_lines import PUSHED, BusConfig, InstrumentConfig
from gateway.site_profile import SiteProfileError, site_profile
from gateway.tls import ServerTls, TlsError
from gateway.toml_source import ConfigError, Problem
from gateway.words import phrase

TYPICAL_REPLY_S = 0.1  # a serial meter's reply delay where nothing is known of it; TCP answers sooner


class SharedProfiles:
    """Profiles with what is asked by them, each kept once: two hundred meters of one model are one profile."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...] | None], list[tuple[Profile, tuple[Query, ...]]]] = {}

    def of(self, profile: Profile, measurands: tuple[str, ...] | None) -> tuple[Profile, tuple[Query, ...]]:
        """The same profile as it was seen first, and its queries."""
        alike = self._known.setdefault((profile.name, measurands), [])
        for known in alike:
            if known[0] == profile:
                return known
        alike.append((profile, plan(profile, measurands)))
        return alike[-1]


def prepare(site: SiteFile, now: Callable[[], datetime]) -> Prepared:
    """Everything that can be known without opening a port. ConfigError tells all problems at once."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    receivers = _receivers(site, problems)
    if not problems:
        _secured(site, problems, warnings)
    try:
        calibrations = Calibrations.read(site, now)
    except ConfigError as error:
        problems.extend(error.problems)
        calibrations = Calibrations({}, (), site)
    usable = not problems
    known = calibrations if usable else None
    shared = SharedProfiles()
    buses: list[PreparedBus] = []
    pushes: list[PreparedPush] = []
    for b, config in enumerate(site.site.buses):
        if config.protocol in PUSHED:
            pushes.append(_push(site, b, known, shared, now, problems, warnings))
        else:
            buses.append(_bus(site, b, known, shared, now, problems, warnings))
    if problems:
        raise ConfigError(problems)
    return Prepared(site, tuple(buses), receivers, tuple(warnings), tuple(pushes))


def _secured(site: SiteFile, problems: list[Problem], warnings: list[Problem]) -> None:
    """Whether the files with which the log is served can be used, and who is not known yet."""
    enrolment = enrolment_of(site)
    if site.site.enrolment is not None:
        try:
            request_names(site.site.enrolment.addresses)
        except EnrolmentError as error:
            problems.append(site.source.problem(("enrolment", "addresses"), str(error), "", "C136"))
        if not enrolment.done:
            hint = f"suyuan enrol {site.path}; until then nothing is served or pushed with its certificate"
            warnings.append(site.source.problem(("enrolment", "url"), "not enrolled yet", hint, "C136"))
            return
        for n, platform in enumerate(site.site.platforms):
            if not platform.key and enrolment.platform_key(platform.name) is None:
                message = f"the platform's policy has no witness '{platform.name}': its receipts do not count"
                hint = "give this [[platform]] the name that the policy has, or its key"
                warnings.append(site.source.problem(("platform", n, "name"), message, hint, "C136"))
    files = server_files(site)
    if files is not None:
        try:
            ServerTls(files)
        except TlsError as error:
            key = "enrolled" if site.site.serve.enrolled else "certificate"
            hint = "certificates and keys are PEM files"
            problems.append(site.source.problem(("serve", key), str(error), hint, "C135"))


def profile_directories(site: SiteFile) -> tuple[Path, ...]:
    """Where the site keeps profiles of its own."""
    return tuple(site.directory / name for name in site.site.profiles)


def _receivers(site: SiteFile, problems: list[Problem]) -> tuple[Verifier, ...]:
    found: list[Verifier] = []
    for n, platform in enumerate(site.site.platforms):
        place = ("platform", n, "key")
        hint = "it is the vkey that `suyuan key show platform.key` prints on the platform"
        try:
            verifier = key_of(site, platform)
        except EnrolmentError as error:
            problems.append(site.source.problem(("platform", n, "name"), f"{error}", "", "C136"))
            continue
        except EvidenceError as error:
            problems.append(site.source.problem(place, f"no vkey: {error}", hint, "C131"))
            continue
        if verifier is None:
            continue
        if verifier.kind != COSIGNATURE:
            problems.append(site.source.problem(place, "a log's key, not one for receipts", hint, "C131"))
        found.append(verifier)
    return tuple(found)


def _bus(
    site: SiteFile,
    b: int,
    calibrations: Calibrations | None,
    shared: SharedProfiles,
    now: Callable[[], datetime],
    problems: list[Problem],
    warnings: list[Problem],
) -> PreparedBus:
    config = site.site.buses[b]
    port = site.port(config)
    tcp = port.startswith("tcp://")
    if moves(port):
        better = next(iter(lasting(port)), "/dev/serial/by-id/…")
        said = phrase("port.moves", port=port), phrase("port.lasting", name=better)
        warnings.append(site.source.problem(("bus", b, "port"), *said, "C150"))
    protocol = codec(config.protocol)
    timing = Timing() if tcp else Timing(baud=config.baud, framing=config.framing)
    meters = [
        _meter(site, (b, i), protocol, calibrations, shared, now, problems, warnings)
        for i in range(len(config.instruments))
    ]
    ready = tuple(meter for meter in meters if meter is not None)
    reply = 0.005 if tcp else TYPICAL_REPLY_S
    least = sum(_share(m, protocol, timing, 0.0) for m in ready)
    typical = sum(_share(m, protocol, timing, reply) for m in ready)
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
    freezing = None if config.freeze is None else freeze_plan(site, b, ready, now(), problems)
    return PreparedBus(config, protocol, port, timing, ready, typical, freezing)


def _late_s(config: InstrumentConfig, timeout_s: float) -> float | None:
    """How long after its time-out an answer may still come, if its maker says; None: nobody knows."""
    return None if config.longest_reply is None else max(0.0, config.longest_reply - timeout_s)


def _share(prepared: PreparedMeter, protocol: Codec, timing: Timing, reply_s: float) -> float:
    """The part of the line's time that a meter takes, in its own protocol and speed."""
    meter = prepared.meter
    if timing.baud:
        timing = replace(timing, baud=meter.baud or timing.baud, framing=meter.framing or timing.framing)
    taken = cycle_time_s(meter.codec or protocol, meter, prepared.queries, timing, reply_s)
    return taken / prepared.config.period


def _push(
    site: SiteFile,
    b: int,
    calibrations: Calibrations | None,
    shared: SharedProfiles,
    now: Callable[[], datetime],
    problems: list[Problem],
    warnings: list[Problem],
) -> PreparedPush:
    config = site.site.buses[b]
    port = site.port(config)
    scheme = "tcp-listen" if config.protocol == "hj212" else "mqtt"
    access = _access(site, b, problems, warnings) if config.protocol == "opcua" else None
    if config.protocol != "opcua" and not re.fullmatch(
        rf"{scheme}://(\[[0-9a-fA-F:]+\]|[^:/\s]+):\d{{1,5}}", port
    ):
        hint = f'port = "{scheme}://{"0.0.0.0:9212" if scheme == "tcp-listen" else "127.0.0.1:1883"}"'
        problems.append(
            site.source.problem(("bus", b, "port"), f"no port of {config.protocol}", hint, "C143")
        )
    meters = [
        _meter(site, (b, i), None, calibrations, shared, now, problems, warnings)
        for i in range(len(config.instruments))
    ]
    keys = _logger_keys(site, b, problems)
    return PreparedPush(config, port, tuple(meter for meter in meters if meter is not None), keys, access)


def _access(site: SiteFile, b: int, problems: list[Problem], warnings: list[Problem]) -> Access | None:
    """How an OPC UA server is entered."""
    try:
        access = access_of(site.site.buses[b], site.directory, os.environ)
    except AccessError as error:
        code = "C143" if error.key == "port" else "C146"
        place: tuple[str | int, ...] = ("bus", b, *error.key.split("."))
        problems.append(site.source.problem(place, error.what, error.hint, code))
        return None
    if access.readable:
        message = "without [bus.security] the password may cross the network readable"
        hint = "add security = { certificate = …, private_key = …, server_certificate = … }"
        warnings.append(site.source.problem(("bus", b, "username"), message, hint, "C146"))
    return access


def _logger_keys(site: SiteFile, b: int, problems: list[Problem]) -> dict[str, bytes]:
    """The keys of HJ 212 loggers that encrypt, out of their files."""
    keys: dict[str, bytes] = {}
    for i, instrument in enumerate(site.site.buses[b].instruments):
        if not instrument.sm4_key_file:
            continue
        place = ("bus", b, "instrument", i, "sm4_key_file")
        hint = "one line of 32 hex digits, or 16 characters, readable by the service alone (chmod 600)"
        try:
            text = (site.directory / instrument.sm4_key_file).read_text(encoding="ascii")
            key = sm4_key(text)
        except OSError as error:
            problems.append(site.source.problem(place, f"{error.strerror or error}", hint, "C145"))
            continue
        except ValueError as error:
            what = "not text in ASCII" if isinstance(error, UnicodeError) else str(error)
            problems.append(site.source.problem(place, what, hint, "C145"))
            continue
        mn = instrument.address.strip()
        if keys.setdefault(mn, key) != key:
            message = f"logger {mn} has another key elsewhere"
            problems.append(site.source.problem(place, message, "one logger has one key", "C145"))
    return keys


def _meter(
    site: SiteFile,
    at: tuple[int, int],
    protocol: Codec | None,
    calibrations: Calibrations | None,
    shared: SharedProfiles,
    now: Callable[[], datetime],
    problems: list[Problem],
    warnings: list[Problem],
) -> PreparedMeter | None:
    """``protocol`` is None where nobody is asked."""
    bus = site.site.buses[at[0]]
    config = bus.instruments[at[1]]
    place = ("bus", at[0], "instrument", at[1])
    before = len(problems)
    address = config.address
    own = codec(config.protocol) if config.protocol and protocol is not None else None
    if config.password_file and protocol is not None:
        own = with_password(site, (*place, "password_file"), config, own or protocol, problems, warnings)
    if config.session is not None and isinstance(spoken_by := own or protocol, Iec62056):
        session = config.session
        times = Times(session.pause, session.reply, session.idle, session.turn)
        own = replace(spoken_by, times=times)
    protocol = own or protocol
    if protocol is not None:
        try:
            address = protocol.address(config.address)
        except ValueError as error:
            problems.append(site.source.problem((*place, "address"), str(error), "", "C117"))
    profile = None
    try:
        if config.profile:
            profile = load(config.profile, profile_directories(site))
    except ProfileError as error:
        hint = '`suyuan profiles` lists those known; profiles = ["dir"] adds a directory of your own'
        problems.append(site.source.problem((*place, "profile"), str(error), hint, "C115"))
        return None
    spoken = config.protocol or bus.protocol
    if profile is not None and profile.protocol.partition("-")[0] != spoken.partition("-")[0]:
        message = f"profile '{profile.name}' speaks {profile.protocol}, the bus {spoken}"
        problems.append(
            site.source.problem(
                (*place, "profile"), message, "choose a profile of the bus's protocol", "C115"
            )
        )
        return None
    try:
        read = site_profile(bus, config, profile)
    except SiteProfileError as error:
        problems.append(site.source.problem((*place, *error.key), error.what, error.hint, "C144"))
        return None
    _tell_unread(site, place, profile, read, warnings)
    known = {point.measurand for point in read.points}
    for n, measurand in enumerate(config.measurands or ()):
        if measurand not in known:
            message = f"profile '{read.name}' has no '{measurand}'"
            hint = f"it has {', '.join(sorted(known))}"
            problems.append(site.source.problem((*place, "measurands", n), message, hint, "C116"))
    if calibrations is None or len(problems) > before:
        return None
    read, queries = shared.of(read, config.measurands)
    if config.session is not None and config.session.read:
        queries = tuple(replace(query, item=config.session.read) for query in queries)
    meter = Meter(
        id=config.id,
        address=address,
        profile=read,
        timeout_s=config.timeout or bus.timeout,
        retries=bus.retries if config.retries is None else config.retries,
        gap_s=bus.gap,
        late_s=_late_s(config, config.timeout or bus.timeout),
        codec=own,
        baud=config.baud or 0,
        framing=config.framing or "",
    )
    try:
        state = calibrations.state(config, read, now().date())
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    return PreparedMeter(config, meter, read, queries, state)


def _tell_unread(
    site: SiteFile,
    place: tuple[str | int, ...],
    profile: Profile | None,
    read: Profile,
    warnings: list[Problem],
) -> None:
    """Factors of a logger that are not read because the site does not say in what they are told."""
    if profile is None or profile.protocol != "hj212":
        return
    have = {point.item for point in read.points}
    lacking = [f"{p.measurand} ({p.item})" for p in profile.points if p.item not in have]
    if lacking:
        message = f"not read, because unit and basis are not stated: {', '.join(lacking)}"
        hint = 'for those that the logger sends: [bus.instrument.factor.CODE] with unit = "…", basis = "…"'
        warnings.append(site.source.problem((*place, "profile"), message, hint, "C144"))


async def unreachable(prepared: Prepared, wait_s: float = 5.0) -> list[Problem]:
    """Try all ports at once: open and close again. The problems of those that cannot be opened."""
    hint = "is it plugged in, powered, and named rightly? may this user open it (group dialout)?"
    asked = [  # who listens, or waits for a broker, finds nobody unreachable
        (b, bus) for b, bus in enumerate(prepared.file.site.buses) if bus.protocol not in PUSHED
    ]
    tried = await asyncio.gather(*(_tried(prepared.file, bus, wait_s) for _, bus in asked))
    return [
        prepared.file.source.problem(("bus", b, "port"), why, hint, "C118")
        for (b, _), why in zip(asked, tried, strict=True)
        if why
    ]


async def _tried(site: SiteFile, bus: BusConfig, wait_s: float) -> str:
    """Why a port cannot be opened; nothing if it can."""
    opened = link(site.port(bus), bus.baud, bus.framing)
    try:
        async with asyncio.timeout(wait_s):
            await opened.open()
    except TimeoutError:
        return f"no answer within {wait_s:g} s"
    except (LinkDown, OSError) as error:
        return str(error)
    finally:
        await opened.close()
    return ""
