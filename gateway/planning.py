"""From a prepared site to the plan of its agent."""

from __future__ import annotations

import logging
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from drivers.link import link
from gateway.compiling import compile_apart
from gateway.config import SiteFile
from gateway.key_holder import LogKey
from gateway.listening import instrument_plans, push_plan
from gateway.plan import BusPlan, Plan
from gateway.platforms import enrolment_of, platform_keys, server_files
from gateway.prepared import Prepared, PreparedBus
from gateway.site_documents import documents
from gateway.site_keys import second_ring
from gateway.site_record import configuration
from gateway.successor import previous_log
from gateway.tls import ServerTls

_log = logging.getLogger("suyuan.agent")


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
        documents=documents(prepared.file),
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
