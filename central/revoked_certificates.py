"""Which certificates of gateways were issued, and the signed list (CRL, RFC 5280) of those that count no more.

``gateways-issued`` beside the authority has a line for each certificate: serial number (hex), until when it counts,
the log, and, once it counts no more, since when and why. ``gateways-ca.crl`` is made of it whenever something changes:
servers and brokers read that. A renewed certificate's forerunner counts until its own end, so all are kept, not only
the newest; a line goes when its certificate is over.

``hold`` is lifted again; ``removed`` is for good, also for a log of the same name that is enrolled later.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from .durable import write

ISSUED: Final = "gateways-issued"
_BEFORE: Final = timedelta(days=1)  # a broker whose clock is late must not find a list of tomorrow
_FORM: Final = "%Y-%m-%dT%H:%M:%S%z"


class Why(StrEnum):
    """Why a certificate counts no more."""

    HOLD = "hold"
    REMOVED = "removed"


_REASONS: Final = {
    Why.HOLD: x509.ReasonFlags.certificate_hold,
    Why.REMOVED: x509.ReasonFlags.privilege_withdrawn,
}


class LedgerError(ValueError):
    """The list of issued certificates cannot be read: where, and what stands there."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued to a gateway. ``since`` and ``why`` are there once it counts no more."""

    serial: int
    until: datetime
    origin: str
    since: datetime | None = None
    why: Why | None = None

    @property
    def line(self) -> str:
        """As the file has it."""
        end = "" if self.since is None or self.why is None else f" {self.since:{_FORM}} {self.why}"
        return f"{self.serial:x} {self.until:{_FORM}} {self.origin}{end}"

    @classmethod
    def parse(cls, line: str) -> Issued:
        """Read a line. Raises ValueError."""
        serial, until, origin, *end = line.split(" ")
        since, why = (datetime.fromisoformat(end[0]), Why(end[1])) if end else (None, None)
        if len(end) not in (0, 2):
            raise ValueError("a line has three or five words")
        return cls(int(serial, 16), datetime.fromisoformat(until), origin, since, why)


class Certificates:
    """What an authority has issued to gateways, in its directory; several processes may change it."""

    def __init__(self, directory: Path, root: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._path = directory / ISSUED
        self.crl = directory / "gateways-ca.crl"
        self._root = root
        self._key = key

    def __iter__(self) -> Iterator[Issued]:
        """All that are kept. Raises LedgerError."""
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                yield Issued.parse(line)
            except (ValueError, IndexError):
                raise LedgerError(f"{self._path}:{number}: is no issued certificate: {line[:80]!r}") from None

    def issued(self, certificate: x509.Certificate, origin: str) -> None:
        """Keep in mind that this one was issued; before anybody gets it."""
        with self._changing():
            one = Issued(certificate.serial_number, certificate.not_valid_after_utc, origin)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{one.line}\n")
                file.flush()
                os.fsync(file.fileno())

    def revoke(self, origin: str, why: Why, now: datetime) -> int:
        """A gateway's certificates count no more. How many that are. Raises LedgerError."""

        def changed(one: Issued) -> Issued:
            if one.origin != origin or one.why is Why.REMOVED:
                return one
            return replace(one, since=one.since or now, why=why)

        return sum(one.origin == origin for one in self._change(map(changed, self), now))

    def reinstate(self, origin: str, now: datetime) -> None:
        """What was on hold counts again. Raises LedgerError."""
        self._change(
            (
                replace(one, since=None, why=None) if (one.origin, one.why) == (origin, Why.HOLD) else one
                for one in self
            ),
            now,
        )

    def settle(self, active: Iterable[str], known: Iterable[str], now: datetime) -> int:
        """Make the list anew after the registry's word, which may have been edited by hand. How many are on it.

        ``active``: the logs that are taken; ``known``: those that are registered, suspended ones too.
        """
        taken, registered = frozenset(active), frozenset(known)

        def settled(one: Issued) -> Issued:
            if one.why is Why.REMOVED:
                return one
            if one.origin in taken:
                return replace(one, since=None, why=None)
            why = Why.HOLD if one.origin in registered else Why.REMOVED
            return replace(one, since=one.since or now, why=why)

        return sum(one.why is not None for one in self._change(map(settled, self), now))

    def _change(self, lines: Iterable[Issued], now: datetime) -> tuple[Issued, ...]:
        """Write lines and list. ``lines`` is read while nobody else changes the file."""
        with self._changing():
            kept = tuple(one for one in lines if one.until > now)
            write(self._path, "".join(f"{one.line}\n" for one in kept).encode())
            write(self.crl, self._list(kept, now))
            return kept

    def _list(self, issued: Iterable[Issued], now: datetime) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._root.subject)
            .last_update(now - _BEFORE)
            # a list that is over lets nobody in at all. It is a file here, made anew at each change and fetched by
            # nobody: it has no age of its own
            .next_update(self._root.not_valid_after_utc)
            .add_extension(x509.CRLNumber(self._number() + 1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for one in issued:
            if one.since is not None and one.why is not None:
                builder = builder.add_revoked_certificate(
                    x509.RevokedCertificateBuilder()
                    .serial_number(one.serial)
                    .revocation_date(one.since)
                    .add_extension(x509.CRLReason(_REASONS[one.why]), critical=False)
                    .build()
                )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _number(self) -> int:
        try:
            before = x509.load_pem_x509_crl(self.crl.read_bytes())
            return before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        except (OSError, ValueError, x509.ExtensionNotFound):
            return 0

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with (self._path.parent / f".{ISSUED}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
