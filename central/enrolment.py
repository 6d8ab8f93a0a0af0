"""Enrolment at the platform: applications wait for a person; who is approved gets a certificate, and renews it alone.

Below ``enrolments`` a directory for each log: what waits (:mod:`central.waiting`); ``approved``, the newest application
that counts; ``certificate.pem``, the certificate for it; ``expected``, the fingerprint that a person was told before
the gateway asked. Who is approved, and not suspended, is the registry's word. An application of a registered key, for
no other addresses than were approved, needs no person: so certificates are renewed.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from evidence.enrolment import Answer, Application, is_told
from evidence.errors import EvidenceError, ParseError
from evidence.policy import Policy

from .authority import (
    PLATFORM,
    Authority,
    AuthorityError,
    Wanted,
    address,
    certificate_for,
    ends,
    is_of,
    is_old,
)
from .durable import write
from .registry import Registered, Registry
from .revoked_certificates import Why
from .waiting import MAX_WAITING, RESERVED, NewerWaits, Waiting, WaitingRoom, place_of

DAYS: Final = 365


class EnrolmentRefused(ValueError):
    """Why an application is not taken. ``status`` is the HTTP status that says so.

    ``kind`` and ``about`` are for who tells it in another language; without a kind there are only the words.
    """

    def __init__(self, status: int, why: str, kind: str = "", **about: str) -> None:
        self.status = status
        self.kind = kind
        self.about = about
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Expected:
    """A gateway whose fingerprint a person was told before it asked, and the addresses that it may have."""

    origin: str
    fingerprint: str
    addresses: tuple[str, ...] = ()


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
        days: float = DAYS,
        most: int = MAX_WAITING,
    ) -> None:
        self._directory = directory / "enrolments"
        self._registry = registry
        self._now = now
        self._authority = authority
        self._policy = policy or directory / "policy"
        self._platform_ca = directory / "ca" / f"{PLATFORM}.pem"
        self._days = days
        self._lock = threading.Lock()
        self._room = WaitingRoom(self._directory, now, most)

    def take(self, data: bytes, source: str = "") -> Answer | None:
        """An application as it came, and from where: its answer, or None while it waits. Raises EnrolmentRefused."""
        try:
            application = Application.parse(data)
            wanted = _wanted(application)
        except (EvidenceError, AuthorityError) as error:
            raise EnrolmentRefused(400, f"{error}") from None
        with self._lock:
            self._registry()
            known = self._known(application.origin)
            if known is None:
                expected = self._expected(application)
                if expected is None or not set(wanted.addresses) <= set(expected.addresses):
                    self._wait(application, data, source if expected is None else RESERVED)
                    return None
                self._admit(application, wanted, data)
                return self._answer(application)
            self._fits(known, application)
            if not known.active:
                raise EnrolmentRefused(403, f"{application.origin} is suspended by the platform's operator")
            before = self.approved(application.origin)
            if before is not None and application.number < before.number:
                raise EnrolmentRefused(409, f"a newer enrolment of {application.origin} is known")
            allowed = () if before is None or not before.request else _wanted(before).addresses
            if before is None or not set(wanted.addresses) <= set(allowed):
                self._wait(application, data, RESERVED)  # a person looks at new addresses
                return None
            if application != before:
                if application.number == before.number:
                    raise EnrolmentRefused(409, f"another enrolment of {application.origin} has this number")
                write(self._place(application.origin) / "approved", data)
            return self._answer(application)

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """What a person must decide."""
        return tuple(self._room)

    @property
    def expected(self) -> tuple[Expected, ...]:
        """Who may come without being looked at again."""
        paths = sorted(self._directory.glob("*/expected"))
        return tuple(one for path in paths if (one := _read_expected(path)) is not None)

    def expect(self, origin: str, told: str, addresses: Sequence[str] = ()) -> Expected:
        """Approve a gateway before it asks, by the fingerprint that was read out. Raises EnrolmentRefused."""
        digits = "".join(told.split()).lower()
        if not re.fullmatch("[0-9a-f]{20}", digits):
            raise EnrolmentRefused(
                400, "a fingerprint has 20 digits: suyuan enrol shows it on the gateway", "no_fingerprint"
            )
        try:
            names = tuple(sorted({_address(address(one)) for one in addresses}))
        except AuthorityError as error:
            raise EnrolmentRefused(400, str(error)) from None
        with self._lock:
            if (known := self._known(origin)) is not None:
                raise EnrolmentRefused(
                    409,
                    f"{origin} is registered already, with the key {known.fingerprint}",
                    "registered",
                    origin=origin,
                    fingerprint=known.fingerprint,
                )
            place = self._place(origin)
            place.mkdir(parents=True, exist_ok=True)
            expected = Expected(origin, " ".join(digits[i : i + 4] for i in range(0, 20, 4)), names)
            write(place / "expected", "\n".join((origin, expected.fingerprint, *names, "")).encode())
        return expected

    def forget(self, origin: str) -> bool:
        """Drop all that is known of a gateway here, but its log. Whether there was anything."""
        with self._lock:
            place = self._place(origin)
            found = place.exists()
            if found:
                shutil.rmtree(place)
            found = self._registry.remove(origin) or found
            if self._authority is not None:
                self._authority.certificates.revoke(origin, Why.REMOVED, self._now())
            return found

    def suspend(self, known: Registered) -> None:
        """Take nothing from a gateway until it is approved again; so long its certificates do not count either."""
        with self._lock:
            self._registry.put(Registered(known.verifier, active=False))
            if self._authority is not None:
                self._authority.certificates.revoke(known.verifier.name, Why.HOLD, self._now())

    def reinstate(self, known: Registered) -> None:
        """Take from a gateway again that was suspended; its certificates count again."""
        with self._lock:
            self._reinstated(known)

    def _reinstated(self, known: Registered) -> None:
        self._registry.put(Registered(known.verifier))
        if self._authority is not None:
            self._authority.certificates.reinstate(known.verifier.name, self._now())

    @property
    def revoked_list(self) -> Path | None:
        """The list of certificates that count no more; None where another authority issues them."""
        return None if self._authority is None else self._authority.certificates.crl

    def settle(self) -> int | None:
        """Make that list anew after the file of gateways; how many are on it. None where there is none."""
        if self._authority is None:
            return None
        with self._lock:
            active = self._registry()
            known = [one.verifier.name for one in self._registry.gateways]
            return self._authority.certificates.settle(active, known, self._now())

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
                f"--fingerprint; the application's is {application.fingerprint}, given was {told or '-'}",
                "compare",
                fingerprint=application.fingerprint,
                told=told or "-",
            )
        with self._lock:
            self._admit(application, wanted, data)
        return application

    def _admit(self, application: Application, wanted: Wanted | None, data: bytes) -> None:
        before = self.approved(application.origin)
        if wanted is not None and before is not None and application.number < before.number:
            raise EnrolmentRefused(
                409,
                f"a newer enrolment of {application.origin} was approved before",
                "newer_approved",
                origin=application.origin,
            )
        known = self._known(application.origin)
        if known is None:
            self._registry.put(Registered(application.verifier))
        else:
            self._fits(known, application)
            if not known.active:
                self._reinstated(known)
        if wanted is not None:
            place = self._place(application.origin)
            place.mkdir(parents=True, exist_ok=True)
            write(place / "approved", data)
            if self._authority is not None:
                self._issue(application)
        (self._place(application.origin) / "expected").unlink(missing_ok=True)
        for one in self._room:
            if one.application.verifier == application.verifier:
                self._room.drop(one.path)

    def certified(self, origin: str) -> datetime | None:
        """Until when the gateway's certificate counts, if there is one."""
        try:
            return ends((self._place(origin) / "certificate.pem").read_text(encoding="ascii"))
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """Whether what gateways get is there. Raises EnrolmentRefused."""
        self._given()

    def refuse(self, waiting: Waiting) -> None:
        """Drop an application."""
        self._room.drop(waiting.path)

    def request(self, origin: str) -> Wanted:
        """What an approved gateway asks for. Raises EnrolmentRefused."""
        approved = self.approved(origin)
        if approved is None:
            raise _no_request(origin)
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
            approved = self.approved(origin)
            if approved is None:
                raise _no_request(origin)
            known = self._known(origin)
            if known is None or not known.active:
                raise EnrolmentRefused(
                    403, f"{origin}: is not registered, or suspended", "not_active", origin=origin
                )
            made = self._answer(approved)
        if made is None:
            raise EnrolmentRefused(
                404,
                f"{origin}: there is no certificate yet: suyuan gateways certificate",
                "no_certificate",
                origin=origin,
            )
        return made

    def _answer(self, application: Application) -> Answer | None:
        path = self._place(application.origin) / "certificate.pem"
        wanted = _wanted(application)
        there = path.exists() and is_of(path.read_text(encoding="ascii"), wanted)
        # an answer that never arrived is asked for again, perhaps when its certificate has grown old
        if self._authority is not None and not (there and not is_old(path.read_text("ascii"), self._now())):
            self._issue(application)
        elif not there:
            return None
        trusted, policy = self._given()
        return Answer(application.origin, path.read_text(encoding="ascii"), trusted, policy)

    def _given(self) -> tuple[str, str]:
        try:
            policy = self._policy.read_text(encoding="utf-8")
            Policy.parse(policy)
            return self._platform_ca.read_text(encoding="ascii"), policy
        except (OSError, UnicodeDecodeError) as error:
            raise _not_set_up(str(error)) from None
        except ParseError as error:
            raise _not_set_up(f"{self._policy}: {error}") from None

    def _issue(self, application: Application) -> None:
        assert self._authority is not None
        made = self._authority.for_gateway(application.origin, _wanted(application), self._now(), self._days)
        write(self._place(application.origin) / "certificate.pem", made.encode())

    def _wait(self, application: Application, data: bytes, source: str) -> None:
        try:
            self._room.put(application, data, source)
        except NewerWaits:
            raise EnrolmentRefused(409, f"a newer enrolment of {application.origin} is waiting") from None

    def _expected(self, application: Application) -> Expected | None:
        found = _read_expected(self._place(application.origin) / "expected")
        return found if found is not None and found.fingerprint == application.fingerprint else None

    def _fits(self, known: Registered, application: Application) -> None:
        if not application.follows(known.verifier):
            raise EnrolmentRefused(
                409,
                f"{application.origin} is enrolled already, with another key ({known.fingerprint}): a new box takes "
                "a new origin, or continues the old log (suyuan key successor)",
                "other_key",
                origin=application.origin,
                fingerprint=known.fingerprint,
            )

    def _known(self, origin: str) -> Registered | None:
        return next((one for one in self._registry.gateways if one.verifier.name == origin), None)

    def approved(self, origin: str) -> Application | None:
        """The newest application of a gateway that counts."""
        path = self._place(origin) / "approved"
        return Application.parse(path.read_bytes()) if path.exists() else None

    def _place(self, origin: str) -> Path:
        return place_of(self._directory, origin)


def _wanted(application: Application) -> Wanted:
    if not application.request:
        raise AuthorityError("the enrolment asks for no certificate: it was made by an older suyuan")
    return Wanted.parse(application.request)


def _no_request(origin: str) -> EnrolmentRefused:
    why = f"{origin}: no enrolment with a request for a certificate was approved"
    return EnrolmentRefused(404, why, "no_request", origin=origin)


def _not_set_up(what: str) -> EnrolmentRefused:
    return EnrolmentRefused(503, f"the platform is not set up: {what}", "not_set_up", what=what)


def _read_expected(path: Path) -> Expected | None:
    try:
        origin, fingerprint, *addresses = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return Expected(origin, fingerprint, tuple(addresses))


def _address(text: str) -> str:
    """An address in the one form in which a request for a certificate tells it."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text
