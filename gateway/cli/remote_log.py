"""A log that is read over HTTP(S), resource by resource, for commands that verify it or take something out of it."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from functools import partial

from evidence.verify import Read
from gateway.cli.output import UsageError

TIMEOUT_S = 30
MAX_RESOURCE = 32 * 1024 * 1024


def remote_reader(url: str, tls: ssl.SSLContext | None = None, tls_name: str | None = None) -> Read:
    """A reader over HTTP(S); what is not there is None, a server that does not answer is the reader's problem."""
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url}: give an http:// or https:// address")
    opener = urllib.request.build_opener(_Https(tls, tls_name))

    def read(path: str) -> bytes | None:
        address = f"{url.rstrip('/')}/{path}"
        try:
            with opener.open(address, timeout=TIMEOUT_S) as answer:
                body: bytes = answer.read(MAX_RESOURCE + 1)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise UsageError(f"{address}: the server answered {error.code}") from None
        except (urllib.error.URLError, OSError) as error:
            # an error of ssl has a ``reason`` too: a name of OpenSSL's
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if url.startswith("https:") and isinstance(reason, ConnectionResetError | ssl.SSLError):
                reason = f"{reason} (or does it ask for a client certificate of an authority that it knows?)"
            raise UsageError(f"{address}: cannot be read: {reason}") from None
        if len(body) > MAX_RESOURCE:
            raise UsageError(f"{address}: is larger than any resource of a log")
        return body

    return read


class _Https(urllib.request.HTTPSHandler):
    """Opens https:// with a context of ours, and checks the certificate for ``name`` instead of the host."""

    def __init__(self, context: ssl.SSLContext | None, name: str | None) -> None:
        self._own = context or ssl.create_default_context()
        self._name = name
        super().__init__(context=self._own)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """As urllib calls it."""
        return self.do_open(partial(_Connection, context=self._own, name=self._name), request)


class _Connection(http.client.HTTPSConnection):
    """One connection; ``name``: whose certificate must be shown."""

    def __init__(
        self, host: str, *, context: ssl.SSLContext, name: str | None, timeout: float = TIMEOUT_S
    ) -> None:
        super().__init__(host, context=context, timeout=timeout)
        self._tls, self._name = context, name

    def connect(self) -> None:
        """Connect, then speak TLS."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name or self.host)
