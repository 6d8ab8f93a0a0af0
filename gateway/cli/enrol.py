"""`suyuan enrol`: the gateway makes its keys, shows its fingerprint, and fetches what the platform gives it.

The application may go any way: what counts is the fingerprint of the log's key, which two people compare by telephone
or with a scanner.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli import DONE, NO
from gateway.cli.error_words import told
from gateway.cli.output import UsageError, say
from gateway.words import phrase

if TYPE_CHECKING:
    from gateway.config import SiteFile
    from gateway.enrolment import Enrolment

_ASK_S: Final = 5.0

EPILOG = """The platform's operator approves with `suyuan gateways approve`. With [enrolment] in the site file the
gateway brings its application to the platform itself and waits; without, the files are carried:

examples:
  suyuan enrol site.toml                             shows fingerprint and QR code, asks until it is approved
  suyuan enrol site.toml --once                      asks once; the running agent goes on asking
  suyuan enrol site.toml --print > gateway.enrol     only writes the application
  suyuan enrol site.toml --answer gateway.answer     takes what the operator sends back

Exit code 1: refused, or nobody answered, or (with --once) not yet approved."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("site", metavar="SITE", type=Path, help="the site file")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--once", action="store_true", help="ask once, do not wait for the approval")
    way.add_argument("--print", action="store_true", help="write the application to stdout and ask nobody")
    way.add_argument("--answer", metavar="FILE", type=Path, help="take the operator's answer from a file")
    parser.add_argument("--qr", action="store_true", help="show the QR code even if this is no terminal")
    parser.add_argument("--svg", metavar="FILE", type=Path, help="write the QR code as a picture")


def run(_command: str, given: argparse.Namespace) -> int:
    """Do it."""
    from gateway.config import SiteFile
    from gateway.enrolment import EnrolmentError
    from gateway.platforms import enrolment_of
    from gateway.site_keys import log_key
    from gateway.tls import TlsError

    site = SiteFile(given.site)
    enrolment = enrolment_of(site)
    try:
        if given.answer is not None:
            return _taken(enrolment, given.answer.read_bytes())
        key = log_key(site)
        config = site.site.enrolment
        addresses = () if config is None else config.addresses
        application = enrolment.apply(key.signer, addresses, _utc_us())
        _show(site.site.site.origin, key.vkey, qr=given.qr or sys.stderr.isatty(), svg=given.svg)
        if config is None or given.print:
            print(application.decode(), end="")
            return DONE
        return asyncio.run(_ask(site, enrolment, application, once=given.once))
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    except TlsError as error:
        raise UsageError(str(error)) from None
    except EnrolmentError as error:
        say(told(str(error)))
        return NO
    except KeyboardInterrupt:
        say(phrase("enrol.later"))
        return NO


async def _ask(site: SiteFile, enrolment: Enrolment, application: bytes, *, once: bool) -> int:
    from gateway.clock import SystemClock
    from gateway.enrolling import EnrolmentRefused, ask, door_tls
    from gateway.enrolment import EnrolmentError
    from gateway.pacing import BackOff

    config = site.site.enrolment
    assert config is not None
    tls, clock, last = door_tls(site), SystemClock(), ""
    back_off = BackOff(_ASK_S, 60.0)
    while True:
        try:
            said = await ask(config.url, tls, application)
        except EnrolmentError as error:
            if once or isinstance(error, EnrolmentRefused):
                raise
            words = told(str(error))
        else:
            if said.answer is not None:
                return _taken(enrolment, said.answer)
            words = phrase("enrol.waiting")
            if once:
                say(words)
                return NO
        if words != last:
            say(words)
            last = words
        await clock.sleep_until(clock.now().boot_us + round(back_off.failed() * 1e6))


def _taken(enrolment: Enrolment, answer: bytes) -> int:
    validity = enrolment.take(answer, datetime.fromtimestamp(_utc_us() / 1e6, UTC))
    say(phrase("enrol.done", until=f"{validity.ends:%Y-%m-%d}", directory=str(enrolment.directory)))
    return DONE


def _show(origin: str, vkey: str, *, qr: bool, svg: Path | None) -> None:
    import segno

    from evidence.enrolment import scan_text
    from evidence.note import fingerprint

    code = segno.make(scan_text(vkey), error="l", boost_error=False, micro=False)
    if qr:
        code.terminal(out=sys.stderr, border=2, compact=True)
    if svg is not None:
        with svg.open("wb") as file:
            code.save(file, kind="svg", scale=6, border=4, light="white", title=origin)
    say(phrase("enrol.fingerprint", origin=origin, fingerprint=fingerprint(vkey)))
    say(phrase("enrol.compare"))


def _utc_us() -> int:
    from gateway.clock import SystemClock

    return SystemClock().now().utc_us
