"""TLS with certificates in PEM files that are renewed under way: what is new counts from the next connection on.

TLS 1.3 only. As a server, a renewed set is taken as a whole or, if it is wrong (a key that is half written), not yet:
the old one serves on. Sessions are not resumed: who comes again shows a certificate again.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_Stamps: TypeAlias = tuple[tuple[int, int, int], ...]


class TlsError(ValueError):
    """A certificate or key that cannot be used: which file, and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: an own certificate chain with its key (``private_key`` None: in the same file), and whom to believe.

    ``ca``: who vouches for the other side. For a server: only clients with a certificate of it get in. ``crl``: the
    list of its certificates that count no more; without a list of every authority in ``ca`` nobody gets in.
    """

    certificate: Path | None = None
    private_key: Path | None = None
    ca: Path | None = None
    crl: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that there are."""
        every = (self.certificate, self.private_key, self.ca, self.crl)
        return tuple(path for path in every if path is not None)

    def load(self, context: ssl.SSLContext) -> None:
        """Load them into a context. Raises TlsError."""
        for path in self.paths:
            try:
                path.open("rb").close()  # ssl does not say which file it did not find
            except OSError as error:
                raise TlsError(f"{path}: cannot be read: {error.strerror}") from None
        if self.certificate is not None:
            try:
                # a key with a pass phrase would make OpenSSL ask at the terminal
                context.load_cert_chain(self.certificate, self.private_key, password=_no_pass_phrase)
            except (ssl.SSLError, ValueError) as error:
                key = self.private_key or self.certificate
                raise TlsError(f"{self.certificate}, {key}: {_reason(error)}") from None
        if self.ca is not None:
            try:
                context.load_verify_locations(self.ca)
            except ssl.SSLError as error:
                raise TlsError(f"{self.ca}: holds no certificate in PEM ({_reason(error)})") from None
        if self.crl is not None:
            self._load_list(context, self.crl)

    def _load_list(self, context: ssl.SSLContext, path: Path) -> None:
        try:
            context.load_verify_locations(path)
        except ssl.SSLError as error:
            raise TlsError(
                f"{path}: holds no list of revoked certificates in PEM ({_reason(error)})"
            ) from None
        if not context.cert_store_stats()["crl"]:
            raise TlsError(f"{path}: holds no list of revoked certificates (X509 CRL), but something else")
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF

    def stamps(self) -> _Stamps:
        """What changes when a file is replaced."""
        found = []
        for path in self.paths:
            try:
                state = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((state.st_mtime_ns, state.st_size, state.st_ino))
        return tuple(found)


class ServerTls:
    """A server's side: ``context`` is given to the server once, each handshake uses the files as they are then."""

    def __init__(self, files: TlsFiles, report: Callable[[str], None] = lambda _: None) -> None:
        """``report`` is told, once, why renewed files are not taken. Raises TlsError if they are wrong now."""
        self._files = files
        self._report = report
        self._seen = files.stamps()
        self._now = self._made()
        self.context = self._made()
        self.context.sni_callback = self._swap

    def _made(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        made.num_tickets = 0
        self._files.load(made)
        if self._files.ca is not None:
            made.verify_mode = ssl.CERT_REQUIRED
        return made

    def _swap(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called by OpenSSL in each handshake, also if the client names no host."""
        stamps = self._files.stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._now = self._made()
            except TlsError as error:
                self._report(f"{error}: the certificate from before is used")
        connection.context = self._now


class ClientTls:
    """A client's side: ``context`` for the connections, and :meth:`refresh` before a new one."""

    def __init__(self, files: TlsFiles) -> None:
        """Without ``ca`` the system's authorities are believed. Raises TlsError."""
        self.files = files
        self._seen = files.stamps()
        # with an authority of its own it believes nobody else
        own = files.ca is not None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if own else ssl.create_default_context()
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        files.load(self.context)

    def refresh(self) -> str:
        """Take renewed files; why not, if they are wrong. An authority that is gone is believed until a restart."""
        stamps = self.files.stamps()
        if stamps == self._seen:
            return ""
        try:
            ClientTls(self.files)  # a key that does not fit must not spoil the context in use
            self.files.load(self.context)
        except TlsError as error:
            return str(error)
        self._seen = stamps
        return ""


def _no_pass_phrase() -> str:
    raise ValueError("the private key has a pass phrase; a service that starts by itself cannot type it")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", "") or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "the private key does not belong to the certificate"
    if isinstance(error, ssl.SSLError):
        return f"no certificate with its key in PEM ({reason or 'unreadable'})"
    return str(error)
