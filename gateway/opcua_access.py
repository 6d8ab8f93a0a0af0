"""How an OPC UA server is entered: user and password, certificates and policy, out of the site's files.

A password comes from a file or from the environment and is written nowhere. With a policy the server is known by its
certificate, which has come by another way: one that shows another certificate gets nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from gateway.site_lines import BusConfig, SecurityConfig

_URL = re.compile(r"opc\.tcp://(\[[0-9a-fA-F:]+\]|[^:/@\s\[\]]+):\d{1,5}(/[^\s?#@]*)?")


class AccessError(ValueError):
    """What of a bus cannot be used: which key, why, and what to do."""

    def __init__(self, key: str, what: str, hint: str) -> None:
        self.key, self.what, self.hint = key, what, hint
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Secured:
    """A security policy with our certificate and key and the server's certificate, all DER."""

    policy: str
    mode: str
    certificate: bytes
    private_key: bytes = field(repr=False)
    server_certificate: bytes = field(repr=False)
    application_uri: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """A server's address and what it lets us in with."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    secured: Secured | None = None

    @property
    def readable(self) -> bool:
        """Whether a password may cross the network so that others can read it."""
        return bool(self.username) and self.secured is None


def installed() -> bool:
    """Whether the library is there that speaks OPC UA."""
    return find_spec("asyncua") is not None


def access_of(config: BusConfig, directory: Path, environment: Mapping[str, str]) -> Access:
    """What the site file says of a server. AccessError tells the first thing that cannot be used."""
    if not installed():
        hint = "pip install 'suyuan[opcua]'; it is an extra because its licence is the LGPL"
        raise AccessError("protocol", "the library for OPC UA (asyncua) is not installed", hint)
    if not _URL.fullmatch(config.port):
        hint = 'port = "opc.tcp://192.168.1.20:4840" (a path may follow; user and password have keys of their own)'
        raise AccessError("port", "no port of opcua", hint)
    password = _password(config, directory, environment)
    secured = None if config.security is None else _secured(config.security, directory)
    return Access(config.port, config.username, password, secured)


def _password(config: BusConfig, directory: Path, environment: Mapping[str, str]) -> str:
    hint = 'username = "…" with password_file = "a file" or password_env = "A_VARIABLE"'
    if config.password:
        raise AccessError("password", "a password does not stand in the site file", hint)
    sources = [key for key in ("password_file", "password_env") if getattr(config, key)]
    if len(sources) > 1:
        raise AccessError(
            sources[1], "the password comes from a file or from the environment: not both", hint
        )
    if bool(config.username) != bool(sources):
        key = "username" if config.username else sources[0]
        raise AccessError(key, "a user needs a password, and a password a user", hint)
    if config.password_env:
        password = environment.get(config.password_env, "")
        if not password:
            what = f"the environment has no {config.password_env}, or it is empty"
            raise AccessError("password_env", what, "set it for the service, or use password_file")
        return password
    if not config.password_file:
        return ""
    try:
        password = (directory / config.password_file).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeError) as error:
        raise AccessError("password_file", _why(error), "one line, readable by the service alone") from None
    if not password:
        raise AccessError("password_file", "the file is empty", "one line: the password")
    return password


def _secured(config: SecurityConfig, directory: Path) -> Secured:
    certificate = _certificate(directory, "certificate", config.certificate)
    server = _certificate(directory, "server_certificate", config.server_certificate)
    hint = "the RSA key of the certificate, PEM or DER, without a password, readable by the service alone"
    try:
        data = (directory / config.private_key).read_bytes()
        load = (
            serialization.load_pem_private_key
            if b"-----BEGIN" in data
            else serialization.load_der_private_key
        )
        key = load(data, None)
    except (OSError, ValueError, TypeError) as error:
        raise AccessError("security.private_key", _why(error), hint) from None
    if not isinstance(key, RSAPrivateKey):
        raise AccessError("security.private_key", "not an RSA key", hint)
    if key.public_key() != certificate.public_key():
        raise AccessError("security.private_key", "it is not the key of the certificate", hint)
    encoding = serialization.Encoding.DER
    return Secured(
        config.policy,
        config.mode,
        certificate.public_bytes(encoding),
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        server.public_bytes(encoding),
        _application_uri(certificate),
    )


def _certificate(directory: Path, key: str, name: str) -> x509.Certificate:
    try:
        data = (directory / name).read_bytes()
        load = x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate
        return load(data)
    except (OSError, ValueError) as error:
        raise AccessError(f"security.{key}", _why(error), "a certificate as PEM or DER") from None


def _application_uri(certificate: x509.Certificate) -> str:
    """The URI that names our application to the server: OPC 10000-6, 6.2.2 puts it into the certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = None
    uris = [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        hint = "make one with subjectAltName = URI:urn:…, the application's URI"
        raise AccessError("security.certificate", "the certificate names no application (URI)", hint)
    return str(uris[0])


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return "not text in UTF-8" if isinstance(error, UnicodeError) else f"cannot be used: {error}"
