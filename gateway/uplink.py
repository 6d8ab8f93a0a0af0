"""From a site file to what brings its log to the platforms that cannot fetch it. A failure stops no measurement."""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.agent import Agent
from gateway.clock import Clock
from gateway.config import Platform, SiteFile
from gateway.push import Pusher, Target
from gateway.receipts import PlatformKey

_log = logging.getLogger("suyuan.push")

AGAIN_S = 30.0  # after an error that nobody expected


def targets(site: SiteFile) -> tuple[Target, ...]:
    """The platforms that the log is pushed to over HTTPS."""
    return tuple(
        _target(site, platform)
        for platform in site.site.platforms
        if platform.push is not None and platform.push.startswith("http")
    )


def _target(site: SiteFile, platform: Platform) -> Target:
    def path(name: str | None) -> Path | None:
        return None if name is None else site.directory / name

    return Target(
        PlatformKey.parse(platform.name, platform.key),
        platform.push or "",
        path(platform.ca),
        path(platform.certificate),
        path(platform.private_key),
        platform.rate,
    )


async def push_to(target: Target, agent: Agent, clock: Clock) -> None:
    """Push the agent's log until cancelled, or until the agent ends. A failure stops no measurement."""
    while not agent.ended():
        pusher: Pusher | None = None
        try:
            while not agent.started:
                await clock.sleep_until(clock.now().boot_us + 100_000)
            pusher = Pusher(
                agent.store,
                agent.receipts,
                target,
                clock,
                alarm=lambda name, what: agent.alarm(name, {"platform": target.platform.name, "what": what}),
            )
            await pusher.run()
        except Exception:
            if agent.ended():
                return
            _log.exception("pushing to %s failed and starts again", target.platform.name)
            await clock.sleep_until(clock.now().boot_us + round(AGAIN_S * 1e6))
        finally:
            if pusher is not None:
                await pusher.close()
