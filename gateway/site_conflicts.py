"""Mistakes in a site file that no single value shows: two things that claim the same, or that do not fit each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from gateway.site_lines import PUSHED, BusConfig, InstrumentConfig
from gateway.site_log import EnrolmentConfig, Platform, ServeConfig
from gateway.toml_source import Problem, TomlSource

Place: TypeAlias = tuple[str | int, ...]


def of_platforms(
    source: TomlSource, platforms: Sequence[Platform], enrolment: EnrolmentConfig | None
) -> list[Problem]:
    """Platforms that claim the same name, or that say half of what is needed."""
    found: list[Problem] = []
    for p, platform in enumerate(platforms):
        if any(other.name == platform.name for other in platforms[:p]):
            found.append(
                source.problem(
                    ("platform", p, "name"),
                    f"platform '{platform.name}' is there twice",
                    "receipts are kept by the platform's name: give each its own",
                    "C133",
                )
            )
        if not platform.key and enrolment is None:
            found.append(
                source.problem(
                    ("platform", p, "name"),
                    f"platform '{platform.name}' has no key",
                    "add key = …, its vkey; or [enrolment] with url, and the key comes with the policy",
                    "C136",
                )
            )
        if (platform.certificate is None) != (platform.private_key is None):
            found.append(
                source.problem(
                    ("platform", p, "certificate" if platform.certificate else "private_key"),
                    "a client certificate needs its private key, and the key its certificate",
                    "add the other one",
                    "C134",
                )
            )
    return found


def of_serving(source: TomlSource, serve: ServeConfig, enrolment: EnrolmentConfig | None) -> list[Problem]:
    """What cannot be meant of how the log is served."""

    def wrong(key: str, message: str, hint: str, code: str) -> list[Problem]:
        return [source.problem(("serve", key), message, hint, code)]

    if serve.enrolled:
        if enrolment is None:
            hint = "add [enrolment] with url = the platform's door for gateways"
            return wrong(
                "enrolled", "there is no enrolment from which a certificate could come", hint, "C136"
            )
        given = [k for k in ("certificate", "private_key", "clients") if getattr(serve, k) is not None]
        if given:
            hint = "leave one of the two away"
            return wrong(given[0], "the enrolment's certificate, or one of your own: not both", hint, "C134")
        return []
    if (serve.certificate is None) != (serve.private_key is None):
        key = "certificate" if serve.certificate is not None else "private_key"
        message = "a certificate needs its private key, and the key its certificate"
        return wrong(key, message, "add the other one", "C134")
    if serve.clients is not None and serve.certificate is None:
        hint = "add certificate and private_key"
        return wrong("clients", "clients show certificates over HTTPS alone", hint, "C134")
    return []


def of_lines(
    source: TomlSource, buses: Sequence[BusConfig], port_of: Callable[[BusConfig], str]
) -> list[Problem]:
    """Lines and instruments that claim the same name, address or port, or state what does not fit their protocol."""
    found: list[Problem] = []
    names: set[str] = set()
    ports: dict[str, str] = {}
    ids: set[str] = set()
    for b, bus in enumerate(buses):
        if bus.name in names:
            message = f"bus '{bus.name}' is there twice"
            hint = "give each bus a name of its own"
            found.append(source.problem(("bus", b, "name"), message, hint, "C110"))
        names.add(bus.name)
        port = port_of(bus)
        if port in ports:
            message = f"port {bus.port} already belongs to bus '{ports[port]}'"
            hint = "put the instruments of one line under one [[bus]]"
            found.append(source.problem(("bus", b, "port"), message, hint, "C111"))
        ports[port] = bus.name
        found += _unfit_bus(source, bus, ("bus", b))
        found += _of_instruments(source, bus, b, ids)
    return found


def _of_instruments(source: TomlSource, bus: BusConfig, b: int, ids: set[str]) -> list[Problem]:
    """The same on one line. ``ids`` are those of the lines before it; its own join them."""
    found: list[Problem] = []
    addresses: dict[str, str] = {}
    for i, instrument in enumerate(bus.instruments):
        place = ("bus", b, "instrument", i)
        if instrument.id in ids:
            message = f"instrument '{instrument.id}' is there twice"
            found.append(source.problem((*place, "id"), message, "an id names one instrument", "C112"))
        ids.add(instrument.id)
        found += _unfit(source, bus, instrument, place)
        address = _claimed(bus, instrument)
        if address in addresses:
            owner = addresses[address]
            message = f"address {instrument.address} on bus '{bus.name}' already belongs to '{owner}'"
            hint = "two meters with one address answer at once: change one"
            found.append(source.problem((*place, "address"), message, hint, "C113"))
        addresses[address] = instrument.id
        for kind in ("ct", "pt"):
            key = f"{kind}_instrument"
            if getattr(instrument, key) and getattr(instrument, kind) is None:
                message = f"'{key}' needs '{kind}', its ratio"
                found.append(source.problem((*place, key), message, f'add {kind} = "200/5"', "C114"))
    return found


def _claimed(bus: BusConfig, instrument: InstrumentConfig) -> str:
    """What no other instrument of its line may claim."""
    if bus.protocol == "hj212":  # one logger may send several kinds of data
        return f"{instrument.address.strip()} {instrument.data}"
    if bus.protocol in ("mqtt", "opcua"):  # one message, or namespace, may hold several
        return f"{instrument.address} {instrument.id}"
    return instrument.address.strip().lstrip("0") or "0"


def _unfit_bus(source: TomlSource, bus: BusConfig, place: Place) -> list[Problem]:
    """What a bus states that its protocol has no use for."""
    found: list[Problem] = []
    for key in ("password_file", "password_env", "security"):
        if getattr(bus, key) and bus.protocol != "opcua":
            message = f"'{key}' has no meaning on a bus of {bus.protocol}"
            found.append(source.problem((*place, key), message, "it is for opcua", "C142"))
    if bus.freeze is not None and bus.protocol in PUSHED:
        message = f"'freeze' has no meaning on a bus of {bus.protocol}: instruments send by themselves there"
        found.append(source.problem((*place, "freeze"), message, "", "C142"))
    return found


def _unfit(source: TomlSource, bus: BusConfig, instrument: InstrumentConfig, place: Place) -> list[Problem]:
    """What an instrument states that its bus has no use for, or does not state that it needs."""
    found: list[Problem] = []
    if not instrument.profile and bus.protocol not in ("mqtt", "opcua"):
        found.append(source.problem((*place, "id"), "'profile' is missing", "add profile = …", "C104"))
    if bus.protocol in ("mqtt", "opcua") and not instrument.values and not instrument.profile:
        hint = '[bus.instrument.value."power.active.total"] with path and unit'
        found.append(source.problem((*place, "id"), "no values are named", hint, "C142"))
    if bus.protocol == "hj212" and not (instrument.password or bus.password):
        hint = 'add password = "…" (PW, six characters) to the bus or the instrument'
        found.append(source.problem((*place, "id"), "the logger's password is missing", hint, "C142"))
    spoken = instrument.protocol or bus.protocol
    stated = (*place, "protocol") if instrument.protocol else (*place[:2], "protocol")
    if spoken == "dlms-wrapper" and not bus.port.startswith("tcp://"):
        hint = 'port = "tcp://192.168.1.20:4059"; on a serial line a meter speaks dlms-hdlc'
        found.append(source.problem(stated, "dlms-wrapper is spoken over TCP only", hint, "C142"))
    if instrument.password_file and not spoken.startswith("dlms-"):
        message = f"'password_file' has no meaning for an instrument that speaks {spoken}"
        hint = "it is for dlms-hdlc and dlms-wrapper"
        found.append(source.problem((*place, "password_file"), message, hint, "C142"))
    if bus.port.startswith("tcp://") and spoken == "iec62056-21":
        message = "a TCP converter keeps one rate, and iec62056-21 changes it within a session"
        hint = "iec62056-21-300 for a converter at 300 7E1, iec62056-21-fixed for a meter that keeps one rate"
        found.append(source.problem(stated, message, hint, "C142"))
    if instrument.session is not None and not spoken.startswith("iec62056-21"):
        message = f"'session' has no meaning for a meter of {spoken}"
        found.append(source.problem((*place, "session"), message, "it is for iec62056-21", "C142"))
    for name, used, protocols in (
        ("sm4_key_file", instrument.sm4_key_file, ("hj212",)),
        ("factor", instrument.factors, ("hj212",)),
        ("value", instrument.values, ("mqtt", "opcua")),
        ("time", instrument.time, ("mqtt",)),
        ("input", instrument.inputs, ("modbus-rtu", "modbus-tcp", "modbus-ascii")),
    ):
        if used and bus.protocol not in protocols:
            message = f"'{name}' has no meaning on a bus of {bus.protocol}"
            hint = f"it is for {', '.join(protocols)}"
            found.append(source.problem((*place, name), message, hint, "C142"))
    return found
