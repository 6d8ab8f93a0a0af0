"""A gateway's enrolment as it stands in its data directory: what was asked for, and what came back.

``enrolment/identity.pem``: the certificate with its chain and its key, one file (0600), so that the two are never
apart; ``platform-ca.pem``: who vouches for the platform; ``policy``: whose receipts count (C2SP tlog-policy);
``application`` and ``next.key``: what was asked for last. Whatever is interrupted goes on from there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from evidence.enrolment import Answer, Application, common_name
from evidence.errors import EvidenceError
from evidence.note import Signer, Verifier
from evidence.policy import Policy
from gateway.anchor import sync
from gateway.tls import TlsFiles

DIRECTORY: Final = "enrolment"


class EnrolmentError(ValueError):
    """What is wrong with an enrolment or with what came back, and what to do."""


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate counts."""

    begins: datetime
    ends: datetime

    @property
    def renew(self) -> datetime:
        """When to ask for the next: with a third of its life left."""
        return self.ends - (self.ends - self.begins) / 3


class Enrolment:
    """The enrolment of the gateway whose data directory this is."""

    def __init__(self, data: Path, origin: str) -> None:
        self.directory = data / DIRECTORY
        self.origin = origin

    @property
    def identity(self) -> Path:
        """The file with certificate and key."""
        return self.directory / "identity.pem"

    @property
    def authority(self) -> Path:
        """The file with who vouches for the platform."""
        return self.directory / "platform-ca.pem"

    @property
    def files(self) -> TlsFiles:
        """What TLS needs, on either side."""
        return TlsFiles(self.identity, None, self.authority)

    @property
    def done(self) -> bool:
        """Whether there is a certificate."""
        return self.identity.exists()

    def validity(self) -> Validity | None:
        """Of the present certificate. Raises EnrolmentError."""
        try:
            found = x509.load_pem_x509_certificate(self.identity.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EnrolmentError(f"{self.identity}: is no certificate: {error}; enrol again") from None
        return Validity(found.not_valid_before_utc, found.not_valid_after_utc)

    def platform_key(self, name: str) -> Verifier | None:
        """The key of the witness of that name in the policy; None if there is none yet. Raises EnrolmentError."""
        path = self.directory / "policy"
        try:
            return Policy.parse(path.read_bytes()).witnesses.get(name)
        except FileNotFoundError:
            return None
        except (OSError, EvidenceError) as error:
            raise EnrolmentError(f"{path}: cannot be used: {error}; enrol again") from None

    def apply(
        self, signer: Signer, addresses: Sequence[str], utc_us: int, statements: tuple[str, ...] = ()
    ) -> bytes:
        """The application that is to be sent: the one under way if it still says what it should, else a new one."""
        before = self._application()
        key = self._next_key()
        if key is not None and self._is_certified(key):  # the power failed after the certificate was taken
            key = None
        if (
            before is not None
            and before.verifier == signer.verifier
            and before.statements == statements
            and key is not None
            and _asks(before.request, key, addresses)
        ):
            return (self.directory / "application").read_bytes()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
            _write(self.directory / "next.key", _private(key), 0o600)
        number = max(utc_us, 0 if before is None else before.number + 1)
        application = Application(signer.verifier, number, _request(self.origin, key, addresses), statements)
        note = application.signed_by(signer)
        _write(self.directory / "application", note)
        return note

    def take(self, data: bytes, now: datetime) -> Validity:
        """Keep what came back, if it is for us. Raises EnrolmentError; then nothing has changed."""
        try:
            answer = Answer.parse(data)
            Policy.parse(answer.policy)
            own = x509.load_pem_x509_certificates(answer.certificate.encode())[0]
            x509.load_pem_x509_certificates(answer.authority.encode())
        except (EvidenceError, ValueError) as error:
            raise EnrolmentError(f"what came back cannot be used: {error}") from None
        if answer.origin != self.origin:
            raise EnrolmentError(f"what came back is for {answer.origin}, this is {self.origin}")
        key = self._next_key()
        if key is None or _spki(own.public_key()) != _spki(key.public_key()):
            raise EnrolmentError(
                "the certificate is of another key than the one that was asked for last; ask again"
            )
        if own.not_valid_after_utc <= now:
            raise EnrolmentError(
                f"the certificate was valid until {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            )
        _write(self.authority, answer.authority.encode())
        _write(self.directory / "policy", answer.policy.encode())
        _write(self.identity, answer.certificate.encode() + _private(key), 0o600)
        (self.directory / "next.key").unlink()
        sync(self.directory)
        return Validity(own.not_valid_before_utc, own.not_valid_after_utc)

    def _application(self) -> Application | None:
        try:
            return Application.parse((self.directory / "application").read_bytes())
        except (OSError, EvidenceError):
            return None

    def _is_certified(self, key: ec.EllipticCurvePrivateKey) -> bool:
        """Whether the present certificate is this key's."""
        try:
            found = x509.load_pem_x509_certificate(self.identity.read_bytes())
            return _spki(found.public_key()) == _spki(key.public_key())
        except (OSError, ValueError):
            return False

    def _next_key(self) -> ec.EllipticCurvePrivateKey | None:
        try:
            key = load_pem_private_key((self.directory / "next.key").read_bytes(), None)
        except (OSError, ValueError, TypeError):
            return None
        return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def request_names(addresses: Sequence[str]) -> list[x509.GeneralName]:
    """Addresses as a certificate bears them. Raises EnrolmentError."""
    found: list[x509.GeneralName] = []
    for text in addresses:
        try:
            found.append(x509.IPAddress(ip_address(text)))
        except ValueError:
            if not text or any(c.isspace() or c in "*/:@" for c in text) or not text.isascii():
                raise EnrolmentError(f"{text!r} is neither a host name nor an IP address") from None
            found.append(x509.DNSName(text))
    return found


def _request(origin: str, key: ec.EllipticCurvePrivateKey, addresses: Sequence[str]) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name(origin))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    names = request_names(addresses)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _asks(request: bytes, key: ec.EllipticCurvePrivateKey, addresses: Sequence[str]) -> bool:
    """Whether a stored request is of this key and for these addresses."""
    if not request:
        return False
    found = x509.load_der_x509_csr(request)
    try:
        names = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    return _spki(found.public_key()) == _spki(key.public_key()) and names == request_names(addresses)


def _spki(key: object) -> bytes:
    made: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return made


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Durably, in one step, and never readable by others for a moment."""
    partial = path.with_name(path.name + ".writing")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)
