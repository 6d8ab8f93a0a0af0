"""What is looked at beside a running agent: certificates, correction advice, keys. Each until it is cancelled.

A certificate that is added to a file or to the register reaches the running agent: the states are compiled anew and the
new one goes into the log before the first reading that it corrects.
"""

from __future__ import annotations

import asyncio

from gateway import advice, keyring
from gateway.agent import Agent
from gateway.config import SiteFile
from gateway.site_documents import fingerprint
from gateway.site_keys import key_ring, second_ring

WATCH_EVERY_S = 2.0


async def watch_certificates(site: SiteFile, agent: Agent) -> None:
    """Tell the agent whenever a certificate file or the register changed. Runs until cancelled."""
    seen = await asyncio.to_thread(fingerprint, site)
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        present = await asyncio.to_thread(fingerprint, site)
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
        group.create_task(keyring.watch(key_ring(site), overlap_us, agent.signing))
        if agent.plan.second_signer is not None:
            second = keyring.SecondLine(agent.signing, agent.plan.second_signer)
            group.create_task(keyring.watch(second_ring(site), overlap_us, second))
