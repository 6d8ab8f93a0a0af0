"""Enrolment at the platform: applications wait for a person; who is approved gets a certificate, and renews it alone.

Below ``enrolments`` a directory for each log: ``waiting-<key id>``, an application that nobody decided yet;
``approved``, the newest one that counts; ``certificate.pem``, the certificate for it. Who is approved, and not
suspended, is the registry's word. An application of a registered key, for no other addresses than were approved, needs
no person: so certificates are renewed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from evidence.enrolment import Answer, Application, is_told
from evidence.errors import EvidenceError, ParseError
from evidence.policy import Policy

from .authority import PLATFORM, Authority, AuthorityError, Wanted, certificate_for, is_of, write
from .registry import Registered, Registry

MAX_WAITING: Final = 1000
DAYS: Final = 365


class EnrolmentRefused(ValueError):
    """Why an application is not taken. ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An application that waits for a person."""

    application: Application
    path: Path

    @property
    def data(self) -> bytes:
        """The application as it came."""
        return self.path.read_bytes()

    @property
    def addresses(self) -> tuple[str, ...]:
        """At which the gateway would be reached."""
        return _wanted(self.application).addresses if self.application.request else ()


class Enrolments:
    """The applications of a platform, below its directory.

    ``authority`` None: certificates come from elsewhere (:meth:`imported`). ``policy``: the file that gateways get.
    """

    def __init__(
        self,
        directory: Path,
        registry: Registry,
        now: Callable[[], datetime],
        *,
        authority: Authority | None = None,
        policy: Path | None = None,
        days: int = DAYS,
    ) -> None:
        self._directory = directory / "enrolments"
        self._registry = registry
        self._now = now
        self._authority = authority
        self._policy = policy or directory / "policy"
        self._platform_ca = directory / "ca" / f"{PLATFORM}.pem"
        self._days = days
        self._lock = threading.Lock()

    def take(self, data: bytes) -> Answer | None:
        """An application as it came: its answer, or None while it waits. Raises EnrolmentRefused."""
        try:
            application = Application.parse(data)
            wanted = _wanted(application)
        except (EvidenceError, AuthorityError) as error:
            raise EnrolmentRefused(400, f"{error}") from None
        with self._lock:
            self._registry()
            known = self._known(application.origin)
            if known is None:
                self._wait(application, data)
                return None
            self._fits(known, application)
            if not known.active:
                raise EnrolmentRefused(403, f"{application.origin} is suspended by the platform's operator")
            before = self._approved(application.origin)
            if before is not None and application.number < before.number:
                raise EnrolmentRefused(409, f"a newer enrolment of {application.origin} is known")
            allowed = () if before is None or not before.request else _wanted(before).addresses
            if before is None or not set(wanted.addresses) <= set(allowed):
                self._wait(application, data)  # a person looks at new addresses
                return None
            if application != before:
                if application.number == before.number:
                    raise EnrolmentRefused(409, f"another enrolment of {application.origin} has this number")
                write(self._place(application.origin) / "approved", data)
            return self._answer(application)

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """What a person must decide."""
        paths = sorted(self._directory.glob("*/waiting-*[0-9a-f]"))
        return tuple(Waiting(Application.parse(path.read_bytes()), path) for path in paths)

    def approve(self, data: bytes, told: str) -> Application:
        """Enter an application's gateway. ``told``: the fingerprint or the scanned code. Raises EnrolmentRefused."""
        try:
            application = Application.parse(data)
            wanted = None if not application.request else Wanted.parse(application.request)
        except (EvidenceError, AuthorityError) as error:
            raise EnrolmentRefused(400, str(error)) from None
        if not is_told(told, application.verifier.vkey):
            raise EnrolmentRefused(
                403,
                "compare the fingerprint with what the technician reads from the gateway, then give it with "
                f"--fingerprint; the application's is {application.fingerprint}"
                + (f", given was {told}" if told else ""),
            )
        with self._lock:
            known = self._known(application.origin)
            if known is None:
                self._registry.put(Registered(application.verifier))
            else:
                self._fits(known, application)
                if not known.active:
                    self._registry.put(Registered(known.verifier))
            if wanted is not None:
                place = self._place(application.origin)
                place.mkdir(parents=True, exist_ok=True)
                before = self._approved(application.origin)
                if before is not None and application.number < before.number:
                    raise EnrolmentRefused(
                        409, f"a newer enrolment of {application.origin} was approved before"
                    )
                write(place / "approved", data)
                if self._authority is not None:
                    self._issue(application)
            for one in self.waiting:
                if one.application.verifier == application.verifier:
                    one.path.unlink(missing_ok=True)
        return application

    def check(self) -> None:
        """Whether what gateways get is there. Raises EnrolmentRefused."""
        self._given()

    def refuse(self, waiting: Waiting) -> None:
        """Drop an application."""
        waiting.path.unlink(missing_ok=True)

    def request(self, origin: str) -> Wanted:
        """What an approved gateway asks for. Raises EnrolmentRefused."""
        approved = self._approved(origin)
        if approved is None:
            raise EnrolmentRefused(
                404, f"{origin}: no enrolment with a request for a certificate was approved"
            )
        return _wanted(approved)

    def imported(self, origin: str, pem: str) -> None:
        """Take the certificate that another authority made out. Raises EnrolmentRefused."""
        try:
            made = certificate_for(pem, self.request(origin), self._now())
        except AuthorityError as error:
            raise EnrolmentRefused(400, str(error)) from None
        write(self._place(origin) / "certificate.pem", made.encode())

    def answer(self, origin: str) -> Answer:
        """What an approved gateway gets, to be carried by hand. Raises EnrolmentRefused."""
        with self._lock:
            approved = self._approved(origin)
            if approved is None:
                raise EnrolmentRefused(
                    404, f"{origin}: no enrolment with a request for a certificate was approved"
                )
            known = self._known(origin)
            if known is None or not known.active:
                raise EnrolmentRefused(403, f"{origin}: is not registered, or suspended")
            made = self._answer(approved)
        if made is None:
            raise EnrolmentRefused(404, f"{origin}: there is no certificate yet: suyuan gateways certificate")
        return made

    def _answer(self, application: Application) -> Answer | None:
        path = self._place(application.origin) / "certificate.pem"
        wanted = _wanted(application)
        if not path.exists() or not is_of(path.read_text(encoding="ascii"), wanted):
            if self._authority is None:
                return None
            self._issue(application)
        trusted, policy = self._given()
        return Answer(application.origin, path.read_text(encoding="ascii"), trusted, policy)

    def _given(self) -> tuple[str, str]:
        try:
            policy = self._policy.read_text(encoding="utf-8")
            Policy.parse(policy)
            return self._platform_ca.read_text(encoding="ascii"), policy
        except (OSError, UnicodeDecodeError) as error:
            raise EnrolmentRefused(503, f"the platform is not set up: {error}") from None
        except ParseError as error:
            raise EnrolmentRefused(503, f"the platform is not set up: {self._policy}: {error}") from None

    def _issue(self, application: Application) -> None:
        assert self._authority is not None
        made = self._authority.for_gateway(application.origin, _wanted(application), self._now(), self._days)
        write(self._place(application.origin) / "certificate.pem", made.encode())

    def _wait(self, application: Application, data: bytes) -> None:
        place = self._place(application.origin)
        path = place / f"waiting-{sha256(application.verifier.vkey.encode()).hexdigest()[:16]}"
        if path.exists():
            older = Application.parse(path.read_bytes())
            if application.number < older.number:
                raise EnrolmentRefused(409, f"a newer enrolment of {application.origin} is waiting")
        elif len(list(self._directory.glob("*/waiting-*"))) >= MAX_WAITING:
            raise EnrolmentRefused(429, f"{MAX_WAITING} enrolments wait for the operator; try again later")
        place.mkdir(parents=True, exist_ok=True)
        write(path, data)

    def _fits(self, known: Registered, application: Application) -> None:
        if not application.follows(known.verifier):
            raise EnrolmentRefused(
                409,
                f"{application.origin} is enrolled already, with another key ({known.fingerprint}): a new box takes "
                "a new origin, or continues the old log (suyuan key successor)",
            )

    def _known(self, origin: str) -> Registered | None:
        return next((one for one in self._registry.gateways if one.verifier.name == origin), None)

    def _approved(self, origin: str) -> Application | None:
        path = self._place(origin) / "approved"
        return Application.parse(path.read_bytes()) if path.exists() else None

    def _place(self, origin: str) -> Path:
        return self._directory / sha256(origin.encode()).hexdigest()


def _wanted(application: Application) -> Wanted:
    if not application.request:
        raise AuthorityError("the enrolment asks for no certificate: it was made by an older suyuan")
    return Wanted.parse(application.request)
