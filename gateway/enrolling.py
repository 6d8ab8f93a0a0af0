"""Asking the platform's door, and the renewal of certificates by the running agent.

With a third of its life left a certificate is renewed: a new key, a request that the log's key signs, no person. What
does not work is tried again, later each time. A door that refuses is an alarm at once, for only a person can change
that; one that does not answer is an alarm when the end is near. Measuring goes on regardless.

When it is time depends on the clock. One that nobody has set yet is waited for; and a certificate that has just come
and seems old already says that the clock is wrong: it is not asked for again soon.
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
from gateway.clock import SECOND_US, Clock, ClockQuality
from gateway.config import SiteFile
from gateway.enrolment import Enrolment, EnrolmentError, Validity
from gateway.key_holder import LogKey
from gateway.keys import KeyFileError
from gateway.pacing import BackOff
from gateway.tls import ClientTls, TlsError, TlsFiles

_log = logging.getLogger("suyuan.enrolment")

EXPIRING: Final = "certificate_expiring"
REFUSED: Final = "enrolment_refused"
LOOK_S: Final = 600.0
FIRST_S: Final = 60.0
LONGEST_S: Final = 6 * 3600.0
PERSON_S: Final = 300.0  # the longest pause while nobody has approved yet: the technician stands by
CLOCK_S: Final = 120.0  # so long after the start a clock that nobody has set is waited for
_ANSWER: Final = 256 * 1024
_LATER: Final = (408, 429)


@dataclass(frozen=True, slots=True)
class Said:
    """What the door said: the answer's bytes, or None while the application waits, and the door's words."""

    answer: bytes | None
    words: str = ""


class EnrolmentRefused(EnrolmentError):
    """The door has looked at the application and says no: a person must look into it."""


def door_tls(site: SiteFile) -> ClientTls:
    """Whom to believe at the door: the file that the site names, else the system's authorities. Raises TlsError."""
    config = site.site.enrolment
    assert config is not None
    return ClientTls(TlsFiles(ca=None if config.ca is None else site.directory / config.ca))


async def ask(
    url: str, tls: ClientTls, application: bytes, transport: httpx.AsyncBaseTransport | None = None
) -> Said:
    """Show an application at the door. Raises EnrolmentRefused, or EnrolmentError if it cannot be answered now."""
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
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise EnrolmentError(f"{url}: {str(error) or 'no answer in time'}") from None
    if answer.status_code == 200:
        return Said(bytes(body))
    words = body.decode(errors="replace").strip()[:500]
    if answer.status_code == 202:
        return Said(None, words)
    if 400 <= answer.status_code < 500 and answer.status_code not in _LATER:
        raise EnrolmentRefused(f"{url}: refused ({answer.status_code}): {words}")
    raise EnrolmentError(f"{url}: not now ({answer.status_code}): {words}")


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
        self._begun_us = clock.now().boot_us
        self._rest_us = 0  # boot time until which none is asked for, after one came

    async def run(self) -> None:
        """Until cancelled. A failure stops no measurement."""
        while not self._agent.begun:
            await self._pause(0.1)
        while True:
            try:
                pause = await self.look()
            except Exception as error:
                pause = self._back_off.failed()
                _log.exception("the renewal of the certificate failed, and is tried again in %.0f s", pause)
                self._warn(str(error))
            await self._pause(pause)

    async def look(self) -> float:
        """One look: renew if it is time. How long until the next, in seconds."""
        enrolled = False
        try:
            validity = await asyncio.to_thread(self._enrolment.validity)
            enrolled = validity is not None
            if validity is not None and (rest := self._rest(validity)) is not None:
                return rest
            validity = await self._renew(first=validity is None)
            if validity is not None:
                # what has just come is young, whatever this clock says
                life_us = round((validity.ends - validity.begins).total_seconds() * SECOND_US)
                self._rest_us = self._clock.now().boot_us + life_us // 10
                return self._rest(validity) or FIRST_S
            why = "it waits for the platform's operator"
        except EnrolmentRefused as error:
            why = str(error)
            self._agent.alarms.begin(REFUSED, {"why": why[:200]})
        except (EnrolmentError, KeyFileError, SignerUnavailable, TlsError, OSError) as error:
            why = str(error)
        pause = self._back_off.failed()
        if not enrolled:
            pause = min(pause, PERSON_S)
        _log.warning("no new certificate yet: %s; again in %.0f s", why, pause)
        self._warn(why)
        return pause

    def _rest(self, validity: Validity) -> float | None:
        """How long until the next look if none must be asked for now; None if one must."""
        now, boot_us = self._now(), self._clock.now().boot_us
        if now < validity.begins:  # the clock is wrong: it will be set
            return FIRST_S
        if now < validity.renew:
            self._back_off.worked()
            self._agent.alarms.drop(EXPIRING)
            self._agent.alarms.drop(REFUSED)
            return min(LOOK_S, max(1.0, (validity.renew - now).total_seconds()))
        unset = self._clock.state().quality is ClockQuality.UNKNOWN
        if unset and boot_us < self._begun_us + CLOCK_S * SECOND_US:
            return min(FIRST_S, CLOCK_S / 4)
        if boot_us < self._rest_us:
            _log.warning("the certificate has just come and seems to be old already: is the clock right?")
            return LOOK_S
        return None

    async def _renew(self, *, first: bool) -> Validity | None:
        config = self._site.site.enrolment
        assert config is not None
        key = await asyncio.to_thread(self._key)
        statements = statements_of(await asyncio.to_thread(self._agent.signing.statements))
        utc_us = self._clock.now().utc_us
        application = await asyncio.to_thread(
            self._enrolment.apply, key.signer, config.addresses, utc_us, statements
        )
        said = await ask(config.url, await asyncio.to_thread(door_tls, self._site), application)
        if said.answer is None:
            return None
        validity = await asyncio.to_thread(self._enrolment.take, said.answer, self._now())
        until = f"{validity.ends:%Y-%m-%dT%H:%M:%SZ}"
        self._agent.tell("certificate_enrolled" if first else "certificate_renewed", {"until": until})
        _log.info("the certificate is new, and valid until %s", until)
        return validity

    def _warn(self, why: str) -> None:
        """Raise the alarm if the end is near."""
        config = self._site.site.enrolment
        assert config is not None
        try:
            validity = self._enrolment.validity()
        except EnrolmentError as error:
            self._agent.alarms.begin(EXPIRING, {"until": "", "why": str(error)})
            return
        if validity is not None and self._now() >= validity.ends - timedelta(seconds=config.alarm):
            self._agent.alarms.begin(
                EXPIRING, {"until": f"{validity.ends:%Y-%m-%dT%H:%M:%SZ}", "why": why[:200]}
            )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now().utc_us / SECOND_US, UTC)

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now().boot_us + round(seconds * SECOND_US))
