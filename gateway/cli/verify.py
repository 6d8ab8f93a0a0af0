"""`suyuan verify`: whether a log, or a copy of one, is whole, unchanged, and signed by the key that you trust."""

from __future__ import annotations

import argparse
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evidence.command import UsageError as KeyRefused
from evidence.command import directory_reader, known_checkpoint, load_key, load_revocations, previous_head
from evidence.errors import EvidenceError
from evidence.findings import Report
from evidence.verify import Read, verify_log
from gateway.cli import DONE, NO, connecting
from gateway.cli.output import UsageError, emit, say
from gateway.cli.recomputing import entries_of, joined, recomputed
from gateway.words import phrase

if TYPE_CHECKING:
    from central.audit import Recomputed

EPILOG = """The key comes from whoever answers for the gateway, by another way than the data: a key that lies with
the data is refused, because whoever changed the data could have changed the key. `suyuan key show`
prints it on the gateway.

examples:
  suyuan verify ./mirror --key "platform.example/gw/0001+1a2b3c4d+AU8c…"
  suyuan verify http://gateway:8475 --key gateway.vkey --json
  suyuan verify ./mirror --key gateway.vkey --recompute
  suyuan verify meter.html --policy auditor.policy      an audit bundle (suyuan bundle)

Exit code 0: verified. 1: not verified; every finding names its entry or tile. 2: the question was wrong."""

TIMEOUT_S = 30
MAX_RESOURCE = 32 * 1024 * 1024


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument(
        "source",
        metavar="PATH|URL",
        help="a log's directory (checkpoint, tile/…) or its address, or an audit bundle (FILE.html)",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VKEY|FILE",
        help="the log's key; more than one after a change of keys",
    )
    parser.add_argument(
        "--witness", action="append", default=[], metavar="VKEY|FILE", help="demand this platform's receipt"
    )
    parser.add_argument(
        "--receipt", action="append", default=[], metavar="FILE", help="a receipt that was kept"
    )
    parser.add_argument(
        "--known", metavar="FILE", type=Path, help="an earlier checkpoint that the log must continue"
    )
    parser.add_argument(
        "--previous",
        metavar="FILE",
        type=Path,
        help="last receipt of the log that this one must continue (after a lost key)",
    )
    parser.add_argument(
        "--revoked",
        action="append",
        default=[],
        metavar="TEXT|FILE",
        help="a revoked key: 'VKEY size N', 'VKEY witnessed-before TIME', or a file of such lines",
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        type=Path,
        help="an audit bundle: logs, witnesses and quorum (C2SP tlog-policy)",
    )
    parser.add_argument(
        "--recompute", action="store_true", help="decode and correct every reading again, add up every energy"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    connecting.arguments(parser)


def run(_command: str, given: argparse.Namespace) -> int:
    """Verify and report."""
    remote = "://" in given.source
    data = Path(given.source)
    if not remote and data.is_file():
        from gateway.cli.bundle import verify_file

        return verify_file(data, given)
    if given.policy or not given.key:
        raise UsageError("a log is verified with --key; --policy is for an audit bundle (FILE.html)")
    if not remote and not data.is_dir():
        raise UsageError(f"{data}: there is no such directory")
    try:
        verifiers = [load_key(text, data) for text in given.key]
        witnesses = [load_key(text, data) for text in given.witness]
        known = known_checkpoint(given.known, verifiers) if given.known else None
        receipts = [Path(name).read_bytes() for name in given.receipt]
        revoked = [one for text in given.revoked for one in load_revocations(text, data)]
        previous = previous_head(given.previous, witnesses) if given.previous else None
    except (KeyRefused, EvidenceError) as error:
        raise UsageError(str(error)) from None
    with _reader(given, data, verifiers[0].name, remote=remote) as read:
        report = verify_log(
            read,
            *verifiers,
            witnesses=witnesses,
            known=known,
            receipts=receipts,
            revoked=revoked,
            previous=previous,
            jobs=os.cpu_count() or 1,
        )
        computed = recomputed(entries_of(read)) if given.recompute else None
    return told(report, computed, as_json=given.json)


def told(report: Report, computed: Recomputed | None, *, as_json: bool) -> int:
    """Print a report, with what was computed again; the exit code."""
    if computed is not None:
        report = joined(report, computed)
    if as_json:
        again = {} if computed is None else {"recomputed": computed.to_json()}
        emit(report.to_json() | {"entries": report.size} | again)
    else:
        if computed is not None:
            print(computed.to_text())
        print(report.to_text().rstrip())
        say(verdict(report))
    return DONE if report.ok else NO


@contextmanager
def _reader(given: argparse.Namespace, data: Path, origin: str, *, remote: bool) -> Iterator[Read]:
    """Reads an address, a directory of files, or the data directory of a gateway that is not running."""
    if remote:
        tls = connecting.client(given).context if given.source.startswith("https://") else None
        yield remote_reader(given.source, tls, connecting.name_of(given, origin))
    elif (data / "log.db").exists():
        from gateway.cli.stored import stored_reader

        with stored_reader(data, origin) as read:
            yield read
    else:
        yield directory_reader(data)


def verdict(report: Report) -> str:
    """The answer in one line."""
    if report.ok:
        return phrase("verify.yes", entries=report.size)
    return phrase("verify.no", findings=len(report.findings))


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
            reason = getattr(error, "reason", error)
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
