"""Asking the platform's door, and the renewal of certificates by the running agent.

With a third of its life left a certificate is renewed: a new key, a request that the log's key signs, no person. What
does not work is tried again, later each time. Only when the end is near it is an alarm; measuring goes on regardless.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx

from evidence.enrolment import statements_of
from evidence.note import SignerUnavailable
from gateway.agent import Agent
from gateway.clock import SECOND_US, Clock
from gateway.config import SiteFile
from gateway.enrolment import Enrolment, EnrolmentError
from gateway.key_holder import LogKey
from gateway.keys import KeyFileError
from gateway.pacing import BackOff
from gateway.tls import ClientTls, TlsError, TlsFiles

_log = logging.getLogger("suyuan.enrolment")

EXPIRING: Final = "certificate_expiring"
LOOK_S: Final = 3600.0
FIRST_S: Final = 60.0
LONGEST_S: Final = 6 * 3600.0
_ANSWER: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What the door said: the answer's bytes, or None while the application waits, and the door's words."""

    answer: bytes | None
    words: str = ""


def door_tls(site: SiteFile) -> ClientTls:
    """Whom to believe at the door: the file that the site names, else the system's authorities. Raises TlsError."""
    config = site.site.enrolment
    assert config is not None
    return ClientTls(TlsFiles(ca=None if config.ca is None else site.directory / config.ca))


async def ask(
    url: str, tls: ClientTls, application: bytes, transport: httpx.AsyncBaseTransport | None = None
) -> Said:
    """Show an application at the door. Raises EnrolmentError if it is refused or nobody answers."""
    try:
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(
                verify=tls.context,
                transport=transport,
                trust_env=False,
                headers={"User-Agent": "suyuan-gateway"},
                timeout=30.0,
            ) as client,
            client.stream("POST", f"{url.rstrip('/')}/enrol", content=application) as answer,
        ):
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _ANSWER:
                    raise EnrolmentError(f"{url}: an answer of more than {_ANSWER} bytes")
    except (httpx.HTTPError, TimeoutError) as error:
        raise EnrolmentError(f"{url}: {error or 'no answer in time'}") from None
    if answer.status_code == 200:
        return Said(bytes(body))
    words = body.decode(errors="replace").strip()[:500]
    if answer.status_code == 202:
        return Said(None, words)
    raise EnrolmentError(f"{url}: refused ({answer.status_code}): {words}")


class Renewal:
    """Keeps an agent's certificate fresh."""

    def __init__(
        self,
        site: SiteFile,
        agent: Agent,
        clock: Clock,
        key: Callable[[], LogKey],
        *,
        back_off: BackOff | None = None,
    ) -> None:
        """``key``: the log's key as it is at that moment."""
        self._site = site
        self._agent = agent
        self._clock = clock
        self._key = key
        self._enrolment = Enrolment(site.data, site.site.site.origin)
        self._back_off = back_off or BackOff(FIRST_S, LONGEST_S)

    async def run(self) -> None:
        """Until cancelled. A failure stops no measurement."""
        while not self._agent.started:
            await self._pause(0.1)
        while True:
            await self._pause(await self.look())

    async def look(self) -> float:
        """One look: renew if it is time. How long until the next, in seconds."""
        try:
            validity = await asyncio.to_thread(self._enrolment.validity)
            if validity is not None and self._now() < validity.renew:
                self._back_off.worked()
                self._agent.calm(EXPIRING)
                return LOOK_S
            if await self._renew(first=validity is None):
                return 0.0
            why = "it waits for the platform's operator"
        except (EnrolmentError, KeyFileError, SignerUnavailable, TlsError, OSError) as error:
            why = str(error)
        pause = self._back_off.failed()
        _log.warning("no certificate yet: %s; again in %.0f s", why, pause)
        self._warn(why)
        return pause

    async def _renew(self, *, first: bool) -> bool:
        config = self._site.site.enrolment
        assert config is not None
        key = await asyncio.to_thread(self._key)
        statements = statements_of(await asyncio.to_thread(self._agent.key_statements))
        utc_us = self._clock.now().utc_us
        application = await asyncio.to_thread(
            self._enrolment.apply, key.signer, config.addresses, utc_us, statements
        )
        said = await ask(config.url, await asyncio.to_thread(door_tls, self._site), application)
        if said.answer is None:
            return False
        validity = await asyncio.to_thread(self._enrolment.take, said.answer, self._now())
        until = f"{validity.ends:%Y-%m-%dT%H:%M:%SZ}"
        self._agent.tell("certificate_enrolled" if first else "certificate_renewed", {"until": until})
        _log.info("the certificate is new, and valid until %s", until)
        if first:
            _log.warning("enrolled: start the agent again, so that it serves and pushes with the certificate")
        return True

    def _warn(self, why: str) -> None:
        """Raise the alarm if the end is near."""
        config = self._site.site.enrolment
        assert config is not None
        try:
            validity = self._enrolment.validity()
        except EnrolmentError as error:
            self._agent.alarm(EXPIRING, {"until": "", "why": str(error)})
            return
        if validity is not None and self._now() >= validity.ends - timedelta(seconds=config.alarm):
            self._agent.alarm(EXPIRING, {"until": f"{validity.ends:%Y-%m-%dT%H:%M:%SZ}", "why": why[:200]})

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now().utc_us / SECOND_US, UTC)

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now().boot_us + round(seconds * SECOND_US))
