"""The platform's own small certification authority: one root for gateways, another for the platform's own.

Two roots, because each side believes another one: the platform lets in who has a gateway's certificate; a gateway lets
in, and sends its log to, who has the platform's. So no gateway can pass for the platform towards another gateway.

A directory with ``gateways-ca.pem``, ``platform-ca.pem``, their keys (mode 0600), and what was issued to gateways and
counts no more (:mod:`central.revoked_certificates`). A gateway's certificate names its
log (:func:`central.naming.log_name`) and the addresses that a person approved; of a request nothing but its key and
its addresses is taken.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evidence.enrolment import MAX_COMMON_NAME, common_name

from .durable import write, write_secret
from .naming import log_name
from .revoked_certificates import Certificates

GATEWAYS: Final = "gateways-ca"
PLATFORM: Final = "platform-ca"
ROOT_DAYS: Final = 20 * 365
MAX_ADDRESSES: Final = 16
_BEFORE: Final = timedelta(days=1)  # a box whose clock is late must not find its certificate of tomorrow
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1)


class AuthorityError(ValueError):
    """What cannot be issued or imported, and why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for: a key that it holds, and the addresses at which the gateway is reached."""

    request: x509.CertificateSigningRequest
    addresses: tuple[str, ...]

    @classmethod
    def parse(cls, der: bytes) -> Wanted:
        """Read a PKCS #10 request. Raises AuthorityError."""
        try:
            request = x509.load_der_x509_csr(der)
            names = _addresses(request.extensions)
            sound = request.is_signature_valid
            key = request.public_key()
        except (
            ValueError,
            InvalidSignature,
            UnsupportedAlgorithm,
            x509.DuplicateExtension,
            x509.InvalidVersion,
            x509.UnsupportedGeneralNameType,
        ) as error:
            raise AuthorityError(f"the request for a certificate cannot be read: {error}") from None
        if not sound:
            raise AuthorityError("the request for a certificate is not signed by its key")
        if not isinstance(key, ed25519.Ed25519PublicKey) and not (
            isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)
        ):
            raise AuthorityError("the key of the request is none of P-256, P-384, Ed25519")
        if len(names) > MAX_ADDRESSES:
            raise AuthorityError(f"the request names more than {MAX_ADDRESSES} addresses")
        return cls(request, names)

    @property
    def key(self) -> bytes:
        """The public key, to be compared."""
        return _public(self.request)

    @property
    def pem(self) -> str:
        """As another authority wants it."""
        return self.request.public_bytes(Encoding.PEM).decode()


class Authority:
    """The two roots in a directory."""

    def __init__(self, directory: Path) -> None:
        """Raises AuthorityError if they are not there."""
        self.directory = directory
        self._gateways = _load(directory, GATEWAYS)
        self._platform = _load(directory, PLATFORM)
        self.certificates = Certificates(directory, self._gateways.certificate, self._gateways.key)

    @classmethod
    def create(cls, directory: Path, name: str, now: datetime) -> Authority:
        """Make both. Never overwrites."""
        for root in (GATEWAYS, PLATFORM):
            if (directory / f"{root}.key").exists():
                raise AuthorityError(
                    f"{directory / f'{root}.key'}: exists already; an authority is never overwritten"
                )
        _fits(name, MAX_COMMON_NAME - len(" gateways"))
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for root, what in ((GATEWAYS, "gateways"), (PLATFORM, "platform")):
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {what}")])
            made = (
                _builder(subject, subject, key.public_key(), key.public_key(), now, ROOT_DAYS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_usage(authority=True), critical=True)
                .sign(key, hashes.SHA256())
            )
            write_secret(directory / f"{root}.key", _private(key))
            write(directory / f"{root}.pem", made.public_bytes(Encoding.PEM))
        made_both = cls(directory)
        made_both.certificates.settle(
            (), (), now
        )  # a server that asks for the list finds one, with nothing on it
        return made_both

    @property
    def platform_pem(self) -> str:
        """Who vouches for the platform: what a gateway gets."""
        return (self.directory / f"{PLATFORM}.pem").read_text(encoding="ascii")

    def for_gateway(self, origin: str, wanted: Wanted, now: datetime, days: float) -> str:
        """A certificate (PEM) for a gateway, as a server and as a client."""
        names = (log_name(origin), *wanted.addresses)
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = self._issued(
            self._gateways, common_name(origin), names, wanted.request.public_key(), uses, now, days
        )
        self.certificates.issued(x509.load_pem_x509_certificate(made.encode()), origin)
        return made

    def for_platform(
        self, name: str, addresses: Sequence[str], now: datetime, days: float
    ) -> tuple[str, bytes]:
        """A certificate (PEM) of the platform's own, server or collector, and its new key (PEM)."""
        _fits(name, MAX_COMMON_NAME)
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = self._issued(self._platform, name, addresses, key.public_key(), uses, now, days)
        return made, _private(key)

    def _issued(
        self,
        root: _Root,
        name: str,
        addresses: Iterable[str],
        key: CertificatePublicKeyTypes,
        uses: list[x509.ObjectIdentifier],
        now: datetime,
        days: float,
    ) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _builder(subject, root.certificate.subject, key, root.key.public_key(), now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        )
        names = [_general(address) for address in dict.fromkeys(addresses)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(root.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True, slots=True)
class _Root:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def certificate_for(pem: str, wanted: Wanted, now: datetime) -> str:
    """A certificate of another authority, with its chain, checked for being of this request. Raises AuthorityError."""
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise AuthorityError(f"holds no certificate in PEM: {error}") from None
    if _public(chain[0]) != wanted.key:
        raise AuthorityError("the first certificate is of another key than the gateway's request")
    if chain[0].not_valid_after_utc <= now:
        raise AuthorityError(f"the certificate was valid until {chain[0].not_valid_after_utc:%Y-%m-%d}")
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in chain)


def is_of(pem: str, wanted: Wanted) -> bool:
    """Whether a stored certificate is of this request's key."""
    return _public(x509.load_pem_x509_certificate(pem.encode())) == wanted.key


def is_old(pem: str, now: datetime) -> bool:
    """Whether a stored certificate has less than a third of its life left."""
    found = x509.load_pem_x509_certificate(pem.encode())
    return now >= found.not_valid_after_utc - (found.not_valid_after_utc - found.not_valid_before_utc) / 3


def ends(pem: str) -> datetime:
    """Until when a stored certificate counts."""
    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc


def address(text: str) -> str:
    """An address as a certificate may bear it: a DNS name or an IP address. Raises AuthorityError."""
    _general(text)
    return text


def _fits(name: str, most: int) -> None:
    if not 0 < len(name.encode()) <= most:
        raise AuthorityError(f"{name!r}: a name has 1 to {most} letters (Chinese ones count as three)")


def _load(directory: Path, name: str) -> _Root:
    path = directory / f"{name}.key"
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise AuthorityError(f"{path}: others may read it: chmod 600, if you are sure that nobody did")
        key = load_pem_private_key(path.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
    except OSError as error:
        raise AuthorityError(
            f"{error.filename}: cannot be read: {error.strerror}; see: suyuan platform ca new"
        ) from None
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"{path}: no key, or {name}.pem no certificate, in PEM: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or _public(certificate) != _spki(key.public_key()):
        raise AuthorityError(f"{path}: is not the key of {name}.pem")
    return _Root(certificate, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    by: ec.EllipticCurvePublicKey,
    now: datetime,
    days: float,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _addresses(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    return tuple(sorted({*names.get_values_for_type(x509.DNSName), *addresses}))


def _general(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    try:
        if not text or len(text) > 253 or any(c.isspace() or c in "*/:@" for c in text):
            raise ValueError
        return x509.DNSName(text)
    except ValueError:
        raise AuthorityError(f"{text}: is neither a DNS name nor an IP address") from None


def _public(one: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return _spki(one.public_key())


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
