"""What is looked at beside a running agent: certificates, correction advice, keys. Each until it is cancelled.

A certificate that is added to a file or to the register reaches the running agent: the states are compiled anew and the
new one goes into the log before the first reading that it corrects.
"""

from __future__ import annotations

import asyncio
import logging

from gateway import advice, keyring
from gateway.agent import Agent
from gateway.clock import moment
from gateway.config import SiteFile
from gateway.platforms import enrolment_of
from gateway.prepare import prepare
from gateway.prepared import Prepared
from gateway.site_documents import fingerprint
from gateway.site_keys import key_ring, second_ring
from gateway.toml_source import ConfigError

_log = logging.getLogger("suyuan.enrolment")

WATCH_EVERY_S = 2.0
AGAIN_S = 60.0


async def watch_certificates(site: SiteFile, agent: Agent) -> None:
    """Tell the agent whenever a certificate file or the register changed. Runs until cancelled."""
    seen = await asyncio.to_thread(fingerprint, site)
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        present = await asyncio.to_thread(fingerprint, site)
        if present != seen:
            seen = present
            agent.reload()


async def first_enrolment(site: SiteFile, agent: Agent) -> Prepared:
    """Wait until a site is enrolled that is not yet: what is to be run then, with certificate and platforms' keys."""
    pause_s = WATCH_EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        if not agent.begun or not await asyncio.to_thread(lambda: enrolment_of(site).done):
            continue
        try:
            return await asyncio.to_thread(prepare, site, moment)
        except ConfigError as error:  # something else is wrong by now: who measures goes on measuring
            _log.warning("enrolled, but the site cannot be started anew as it is now: %s", error)
            pause_s = AGAIN_S


async def watch_advice(site: SiteFile, agent: Agent) -> None:
    """Log the correction advice that is laid into the data directory. Runs until cancelled."""
    await advice.watch(site.data / "advice", site.site.site.origin, agent)


async def watch_keys(site: SiteFile, agent: Agent) -> None:
    """Change the log's key when a new one is laid beside it. Runs until cancelled."""
    overlap_us = round(site.site.log.key_overlap * 1e6)
    async with asyncio.TaskGroup() as group:
        group.create_task(keyring.watch(key_ring(site), overlap_us, agent.signing))
        if agent.plan.second_signer is not None:
            second = keyring.SecondLine(agent.signing, agent.plan.second_signer)
            group.create_task(keyring.watch(second_ring(site), overlap_us, second))
