"""A certification authority for a test: a server, a client, and a client that another authority has issued."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

Pair: TypeAlias = tuple[Path, Path]
_Issuer: TypeAlias = tuple[x509.Name, ec.EllipticCurvePrivateKey]


def issue(directory: Path, address: str = "127.0.0.1") -> tuple[Path, Pair, Pair, Pair]:
    """The authority's file, then (certificate, key) of the server at that address, of a client, of a stranger."""

    def issued(name: str, by: _Issuer | None = None, *, ca: bool = False) -> tuple[_Issuer, Pair]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signing = (subject, key) if by is None else by
        begin = datetime(2020, 1, 1, tzinfo=UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin).not_valid_after(begin + timedelta(days=36500))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False)
            .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False)
            .sign(signing, hashes.SHA256())
        )  # fmt: skip
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        paths[0].write_bytes(made.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return (subject, key), paths

    root, (ca, _) = issued("ca", ca=True)
    other, _ = issued("other-ca", ca=True)
    return ca, issued("server", root)[1], issued("client", root)[1], issued("stranger", other)[1]


def nothing_revoked(directory: Path) -> Path:
    """The list of revoked certificates of the authority that :func:`issue` made there: an empty one."""
    key = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
        .last_update(begin).next_update(begin + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (directory / "ca.crl").write_bytes(made.public_bytes(Encoding.PEM))
    return directory / "ca.crl"
