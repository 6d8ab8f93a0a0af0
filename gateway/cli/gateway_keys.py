"""`suyuan gateways keys` and `rekey`: which keys a gateway's log has had, and which one stands in the registry."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.cli import DONE
from gateway.cli.output import UsageError, say
from gateway.words import phrase

if TYPE_CHECKING:
    from central.enrolment import Enrolments
    from central.key_history import Brought
    from central.registry import Registered, Registry
    from evidence.note import Verifier


def show(given: argparse.Namespace, registry: Registry, enrolments: Enrolments) -> int:
    """List the keys of a gateway, oldest first."""
    known = _known(given, registry)
    for day, key in registry.replaced(given.which):
        _row(phrase("gateways.key_until", day=day), key.vkey)
    _row(phrase("gateways.registered" if known.active else "gateways.inactive"), known.verifier.vkey)
    brought, whole = history(given, known, enrolments)
    for one in brought:
        when = (
            ""
            if one.utc_us is None
            else f"{datetime.fromtimestamp(one.utc_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
        )
        place = (
            phrase("gateways.application") if one.entry is None else phrase("gateways.entry", entry=one.entry)
        )
        _row(when or place, one.verifier.vkey, *([place] if when else []))
    if not whole:
        say(phrase("gateways.store_busy"))
    return DONE


def change(given: argparse.Namespace, registry: Registry, enrolments: Enrolments) -> int:
    """Put a newer key of the same log into the registry."""
    from evidence.enrolment import is_told
    from gateway.clock import moment

    known = _known(given, registry)
    keys = [one.verifier for one in history(given, known, enrolments)[0]]
    if given.file is not None:  # an application that the newer key has signed, carried here
        keys.append(_of_file(given, known))
    new = next((key for key in keys if is_told(given.fingerprint or "", key.vkey)), None)
    if new is None:
        theirs = "; ".join(_print(key.vkey) for key in keys) or "-"
        raise UsageError(phrase("gateways.which_key", origin=given.which, keys=theirs))
    if new == known.verifier:
        raise UsageError(phrase("gateways.same_key", origin=given.which))
    registry.replace(known.verifier, new, f"{moment():%Y-%m-%d}")
    say(phrase("gateways.rekeyed", origin=given.which, fingerprint=_print(new.vkey)))
    return DONE


def history(
    given: argparse.Namespace, known: Registered, enrolments: Enrolments
) -> tuple[tuple[Brought, ...], bool]:
    """The keys to which the log went on, and whether its store could be asked."""
    from central.key_history import of_application, of_store
    from central.store import Store, StoreError
    from evidence.note import ED25519

    whole = True
    found: tuple[Brought, ...] = ()
    if (given.store / "central.db").exists():
        try:
            with Store(given.store) as store:
                found = of_store(store, given.which)
        except StoreError:
            whole = False  # a platform at work has it for itself
    approved = enrolments.approved(given.which)
    if approved is not None:
        seen = {one.verifier for one in found}
        found += tuple(one for one in of_application(approved, known.verifier) if one.verifier not in seen)
    return tuple(one for one in found if one.verifier.kind == ED25519), whole


def _of_file(given: argparse.Namespace, known: Registered) -> Verifier:
    from evidence.enrolment import Application
    from evidence.errors import EvidenceError
    from gateway.cli.output import read_text

    try:
        application = Application.parse(read_text(given.file).encode())
    except EvidenceError as error:
        raise UsageError(f"{given.file}: {error}") from None
    if application.origin != known.verifier.name:
        raise UsageError(
            f"{given.file}: is an enrolment of {application.origin}, not of {known.verifier.name}"
        )
    return application.verifier


def _known(given: argparse.Namespace, registry: Registry) -> Registered:
    found = next((one for one in registry.gateways if one.verifier.name == given.which), None)
    if found is None:
        raise UsageError(phrase("gateways.unknown", origin=given.which, store=given.store))
    return found


def _row(state: str, vkey: str, *more: str) -> None:
    print("  ".join([f"{state:<26}", _print(vkey), vkey, *more]))


def _print(vkey: str) -> str:
    from evidence.note import fingerprint

    return fingerprint(vkey)
