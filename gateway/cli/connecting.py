"""How a command that reads from a gateway proves itself, and whom it believes: the options of TLS."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli.output import UsageError
from gateway.tls import ClientTls, TlsError, TlsFiles

OF_THE_LOG = "log"


def arguments(parser: argparse.ArgumentParser, *, certificate: bool = True) -> None:
    """Declare the options; ``certificate``: those of the own certificate too."""
    group = parser.add_argument_group("https:// with certificates")
    group.add_argument(
        "--ca",
        metavar="PEM",
        type=Path,
        help="who vouches for the gateway (default: the system's authorities)",
    )
    if certificate:
        group.add_argument(
            "--certificate", metavar="PEM", type=Path, help="our own certificate, with its chain"
        )
        group.add_argument(
            "--private-key", metavar="PEM", type=Path, help="its key (default: in the same file)"
        )
    group.add_argument(
        "--tls-name",
        metavar="NAME",
        help="the name that its certificate must bear (default: the host of the address); 'log': the log's name, as an "
        "enrolment's certificate has it, whatever the address is",
    )


def client(given: argparse.Namespace) -> ClientTls:
    """The client's side that the options ask for. UsageError names the file that is wrong."""
    if given.private_key is not None and given.certificate is None:
        raise UsageError("--private-key belongs to a --certificate")
    try:
        return ClientTls(TlsFiles(given.certificate, given.private_key, given.ca))
    except TlsError as error:
        raise UsageError(str(error)) from None


def name_of(given: argparse.Namespace, origin: str) -> str | None:
    """The name that the gateway's certificate must bear; None: the host's."""
    if given.tls_name != OF_THE_LOG:
        found: str | None = given.tls_name
        return found
    from central.naming import log_name

    return log_name(origin)
