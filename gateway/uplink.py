"""From a site file to what brings its log to the platforms that cannot fetch it. A failure stops no measurement."""

from __future__ import annotations

import logging
from typing import TypeAlias

from gateway.agent import Agent
from gateway.clock import Clock
from gateway.config import SiteFile
from gateway.mqtt import Broker, MqttPusher
from gateway.platforms import client_files, key_of
from gateway.push import Pusher, Target
from gateway.receipts import PlatformKey
from gateway.site_log import Platform
from gateway.tls import ClientTls

_log = logging.getLogger("suyuan.push")

AGAIN_S = 30.0  # after an error that nobody expected

Uplink: TypeAlias = Target | Broker


def targets(site: SiteFile) -> tuple[Uplink, ...]:
    """The platforms that the log is brought to, over HTTPS or MQTT. Raises OSError if a file is not there."""
    found = []
    for platform in site.site.platforms:
        key = key_of(site, platform)
        if platform.push is not None and key is not None:
            found.append(_uplink(site, platform, PlatformKey.parse(platform.name, key.vkey)))
    return tuple(found)


def _uplink(site: SiteFile, platform: Platform, key: PlatformKey) -> Uplink:
    files = client_files(site, platform)
    url = platform.push or ""
    if not url.startswith("mqtt"):
        return Target(key, url, files.ca, files.certificate, files.private_key, platform.rate)
    host, port, secure = Broker.address(url)
    password = None if platform.password_file is None else site.directory / platform.password_file
    return Broker(
        key,
        host,
        port,
        ClientTls(files) if secure else None,
        platform.username,
        None if password is None else password.read_text(encoding="utf-8").strip(),
        platform.mqtt,
        platform.rate,
        platform.live,
        platform.home_assistant,
    )


async def push_to(uplink: Uplink, agent: Agent, clock: Clock) -> None:
    """Bring the agent's log there until cancelled, or until the agent ends. A failure stops no measurement."""
    while not agent.ended():
        try:
            while not agent.begun:
                await clock.sleep_until(clock.now().boot_us + 100_000)
            await _run(uplink, agent, clock)
        except Exception:
            if agent.ended():
                return
            _log.exception("pushing to %s failed and starts again", uplink.platform.name)
            await clock.sleep_until(clock.now().boot_us + round(AGAIN_S * 1e6))


async def _run(uplink: Uplink, agent: Agent, clock: Clock) -> None:
    def alarm(name: str, what: str) -> None:
        agent.alarms.begin(name, {"platform": uplink.platform.name, "what": what})

    if isinstance(uplink, Broker):
        await MqttPusher(agent.store, agent.receipts, uplink, clock, status=agent.status, alarm=alarm).run()
        return
    pusher = Pusher(agent.store, agent.receipts, uplink, clock, alarm=alarm)
    try:
        await pusher.run()
    finally:
        await pusher.close()
