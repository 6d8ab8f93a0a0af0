"""From a prepared site to a running agent: the plan, the log's key, and an eye on the certificates.

A certificate that is added to a file or to the register reaches the running agent: the states are compiled anew and the
new one goes into the log before the first reading that it corrects.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import logging
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from drivers.link import link
from gateway import advice
from gateway.agent import Agent
from gateway.compiling import compile_apart
from gateway.config import SiteFile
from gateway.key_holder import FileHolder, KeyHolder, LogKey, MovingHolder
from gateway.keyring import KeyRing, SecondLine
from gateway.keyring import watch as watch_ring
from gateway.keys import KeyFileError
from gateway.listening import instrument_plans, push_plan
from gateway.plan import BusPlan, Plan
from gateway.platforms import enrolment_of, platform_keys, server_files
from gateway.prepared import Prepared, PreparedBus, PreparedMeter, PreparedPush
from gateway.references import DocumentNotice
from gateway.site_log import KeyConfig
from gateway.sm2_key import sm2_ring
from gateway.successor import previous_log
from gateway.tls import ServerTls

_log = logging.getLogger("suyuan.agent")

WATCH_EVERY_S = 2.0


def log_key(site: SiteFile) -> LogKey:
    """The key that signs the site's log: made on first use, in the data directory."""
    return key_ring(site).current()


def key_ring(site: SiteFile) -> KeyRing:
    """The keys of the site's log."""
    return KeyRing(site.data, site.site.site.origin, key_holder(site))


def second_ring(site: SiteFile) -> KeyRing:
    """The keys of the log's second signature, by SM2."""
    return sm2_ring(site.data, site.site.site.origin)


def key_holder(site: SiteFile) -> KeyHolder:
    """Where the site's log has its keys. Raises KeyFileError."""
    log = site.site.log
    present = _holder(site, log.key)
    if log.next_key is None:
        return present
    both: dict[str, KeyHolder] = {log.key.held: present, log.next_key.held: _holder(site, log.next_key)}
    return MovingHolder(both, log.next_key.held)


def _holder(site: SiteFile, config: KeyConfig) -> KeyHolder:
    if config.held == "tpm":
        from gateway.tpm_key import TpmHolder

        return TpmHolder(config.tcti)
    if config.held == "pkcs11":
        from gateway.pkcs11_key import Pkcs11Holder  # an extra: who keeps the key in a file does without

        pin = site.directory / config.pin_file
        try:
            text = pin.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"{pin}: the token's PIN cannot be read: {error}") from None
        return Pkcs11Holder(Path(config.module), config.token, text)
    return FileHolder()


def plan_of(prepared: Prepared, key: LogKey) -> Plan:
    """All that the agent is told."""
    site = prepared.file.site
    listen, tls = serving(prepared.file)
    return Plan(
        origin=site.site.origin,
        data=prepared.file.data,
        signer=key.signer,
        software=software(),
        configuration=configuration(prepared),
        buses=tuple(_bus(bus) for bus in prepared.buses),
        documents=_documents(prepared.file),
        platforms=platform_keys(prepared.file),
        listen=listen,
        tls=tls,
        commit_us=round(site.log.commit * 1e6),
        checkpoint_us=round(site.log.checkpoint * 1e6),
        checkpoint_entries=site.log.checkpoint_entries,
        aggregate_us=round(site.log.aggregate * 1e6),
        keep_us=None if site.log.keep is None else round(site.log.keep * 1e6),
        states=partial(compile_apart, prepared),
        pushes=tuple(map(push_plan, prepared.pushes)),
        previous_log=previous_log(prepared.file.data),
        second_signer=second_ring(prepared.file).current().signer if site.log.sm2 else None,
    )


def serving(site: SiteFile) -> tuple[str, ServerTls | None]:
    """Where the log is served, and with which TLS; nowhere while the certificate is to come with an enrolment."""
    serve = site.site.serve
    if serve.enrolled and not enrolment_of(site).done:
        return "", None
    files = server_files(site)
    return serve.listen, None if files is None else ServerTls(files, _log.error)


def _bus(bus: PreparedBus) -> BusPlan:
    return BusPlan(
        name=bus.config.name,
        codec=bus.codec,
        link=link(bus.port, bus.config.baud, bus.config.framing),
        instruments=instrument_plans(bus.meters),
        timing=bus.timing,
        freeze=bus.freeze,
    )


def software() -> str:
    """What runs: name and version."""
    try:
        return f"suyuan {version('suyuan')}"
    except PackageNotFoundError:
        return "suyuan (not installed)"


def configuration(prepared: Prepared) -> bytes:
    """What an auditor needs to decode the raw frames again and to add up energies, as canonical JSON.

    Sorted keys, no floats. What meters of one model are asked stands once, under ``profiles``: an entry has 65 535
    bytes. A query holds what was asked and the points that its answer carries.
    """
    profiles: dict[str, dict[str, object]] = {}
    body = {
        "format": "suyuan/configuration/1",
        "site": prepared.file.site.site.name,
        "origin": prepared.file.site.site.origin,
        "aggregate_us": round(prepared.file.site.log.aggregate * 1e6),
        "instruments": {
            meter.config.id: {
                "bus": bus.config.name,
                "protocol": meter.config.protocol or bus.config.protocol,
                "address": meter.meter.address,
                "period_us": round(meter.config.period * 1e6),
                "refresh_us": round(meter.config.refresh * 1e6),
                "serial": meter.config.serial,
                "ct": meter.config.ct or "",
                "pt": meter.config.pt or "",
                "profile": _shared(profiles, meter),
                **_frozen(bus, meter),
            }
            for bus in prepared.lines
            for meter in bus.meters
        },
        "profiles": profiles,
    }
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _frozen(bus: PreparedBus | PreparedPush, meter: PreparedMeter) -> dict[str, object]:
    """Where a meter is read by broadcast freeze: who allowed it, how often it is ordered, what is asked after it."""
    plan = bus.freeze if isinstance(bus, PreparedBus) else None
    if plan is None or meter.config.id not in plan.queries:
        return {}
    queries = [_plain_fields(query) for query in plan.queries[meter.config.id]]
    return {"freeze": {**plan.plain(), "queries": queries}}


def _shared(profiles: dict[str, dict[str, object]], meter: PreparedMeter) -> str:
    """The key under which what this meter is asked stands in ``profiles``; entered if it is new."""
    asked: dict[str, object] = {
        "name": meter.profile.name,
        "protocol": meter.profile.protocol,
        "kind": meter.profile.kind,
        "maker": meter.profile.maker,
        "model": meter.profile.model,
        "source": meter.profile.source,
        "queries": [_plain_fields(query) for query in meter.queries],
    }
    number = 1
    while (
        profiles.setdefault(key := meter.profile.name + (f"/{number}" if number > 1 else ""), asked) != asked
    ):
        number += 1
    return key


def _plain_fields(value: Any) -> dict[str, object]:
    """The fields of one of the drivers' values that differ from their defaults, decimals as text."""
    return {
        field.name: _plain(part)
        for field in fields(value)
        if field.init and (part := getattr(value, field.name)) != field.default
    }


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if is_dataclass(value):
        return _plain_fields(value)
    return value if isinstance(value, bool | int | str) else str(value)


def give_back() -> None:
    """Give memory back that reading a large register took: the allocator of glibc keeps it otherwise."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such call, and no such need
        ctypes.CDLL(None).malloc_trim(0)


def certificate_paths(site: SiteFile) -> list[Path]:
    """The certificate files and the register, as they are now."""
    found: list[Path] = []
    for pattern in site.site.calibration.certificates:
        root = Path(site.directory.anchor) if Path(pattern).is_absolute() else site.directory
        found += sorted(
            root.glob(str(Path(pattern).relative_to(root)) if Path(pattern).is_absolute() else pattern)
        )
    register = site.site.calibration.register_file
    return found + ([site.directory / register] if register else [])


def _documents(site: SiteFile) -> tuple[DocumentNotice, ...]:
    register = site.site.calibration.register_file
    skip = site.directory / register if register else None
    papers = [(path.name, path.read_bytes()) for path in certificate_paths(site) if path != skip]
    return tuple(
        DocumentNotice(sha256(data).hexdigest(), "certificates", name, len(data)) for name, data in papers
    )


async def watch_certificates(site: SiteFile, agent: Agent) -> None:
    """Tell the agent whenever a certificate file or the register changed. Runs until cancelled."""
    seen = await asyncio.to_thread(_fingerprint, site)
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        present = await asyncio.to_thread(_fingerprint, site)
        if present != seen:
            seen = present
            agent.reload()


async def watch_advice(site: SiteFile, agent: Agent) -> None:
    """Log the correction advice that is laid into the data directory. Runs until cancelled."""
    await advice.watch(site.data / "advice", site.site.site.origin, agent)


async def watch_keys(site: SiteFile, agent: Agent) -> None:
    """Change the log's key when a new one is laid beside it. Runs until cancelled."""
    overlap_us = round(site.site.log.key_overlap * 1e6)
    async with asyncio.TaskGroup() as group:
        group.create_task(watch_ring(key_ring(site), overlap_us, agent.signing))
        if agent.plan.second_signer is not None:
            second = SecondLine(agent.signing, agent.plan.second_signer)
            group.create_task(watch_ring(second_ring(site), overlap_us, second))


def _fingerprint(site: SiteFile) -> tuple[tuple[str, int, int], ...]:
    found = []
    for path in certificate_paths(site):
        try:
            state = path.stat()
        except OSError:  # it is just being replaced: the next look sees it
            continue
        found.append((str(path), state.st_mtime_ns, state.st_size))
    return tuple(found)
