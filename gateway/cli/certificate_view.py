"""Certificates on the screen: what one says, its points judged against the MPE, and how good its chain is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gateway.certificate_form import CERTIFICATE
from gateway.cli.output import emit, say
from gateway.cli.register_file import listed, read_bytes, table
from gateway.register_words import told, worded
from gateway.words import language

if TYPE_CHECKING:
    from calibration.certificate import Certificate, Instrument
    from calibration.records import CertificateRecord
    from calibration.register import Register


def paper_of(given: argparse.Namespace) -> dict[str, Any]:
    """The paper that goes with a certificate, as ``Register.add_certificate`` takes it."""
    if not given.paper:
        return {}
    import mimetypes

    kind = mimetypes.guess_type(given.paper.name)[0] or "application/octet-stream"
    return {"paper": read_bytes(given.paper), "paper_name": given.paper.name, "media_type": kind}


def tell_registered(
    register: Register, made: Certificate, given: argparse.Namespace, *, quiet: bool = False
) -> None:
    """Say what was registered, and how good its chain is on the day that it was performed."""
    from calibration.chain import trace
    from calibration.plain import to_plain
    from calibration.words import say as words

    chain = trace(register, made.instrument, made.performed)
    say(told("made.certificate", id=made.id, instrument=made.instrument))
    say(told("chain.preview", at=made.performed, status=words(chain.status.value, language())))
    for reason in chain.all_reasons():
        if reason.status.value != "valid":
            say(f"  ! {reason.text(language())}")
    if given.json and not quiet:
        emit(to_plain(made) | {"chain": chain.status.value})


def plain(record: CertificateRecord) -> dict[str, Any]:
    """A certificate and its record, JSON-ready."""
    from calibration.plain import to_plain

    made: dict[str, Any] = to_plain(record.certificate)
    return made | {
        "revision": record.revision,
        "registered": record.registered.isoformat(),
        "registered_by": record.registered_by,
        "withdrawn": to_plain(record.withdrawn),
        "signature": to_plain(record.signature),
    }


def show_fields(certificate: Certificate) -> None:
    """What a certificate says of itself."""
    from gateway.forms import answers_of

    answers = answers_of(certificate)
    asked = [field for field in CERTIFICATE.asked(answers) if field.name in answers and not field.lines]
    chosen = ("kind", "national", "passed", "adjusted", "resets_cycle")
    listed(
        {
            field.titled(language()): worded(answers[field.name])
            if field.name in chosen
            else answers[field.name]
            for field in asked
        }
    )
    if certificate.digest:
        listed({"SHA-256": certificate.digest})
    if certificate.references:
        print(f"\n{told('show.references')}")
        table([[use.standard, use.certificate, use.share or ""] for use in certificate.references], "  ")


def show_points(certificate: Certificate, instrument: Instrument, rule: str | None) -> None:
    """The points, each judged against its MPE by the rule that was asked for, or that the certificate states."""
    from calibration.conformity import RULES, SIMPLE, judge, limits
    from calibration.words import say as words
    from gateway.pasted import listed_points

    chosen = RULES.get(rule or certificate.decision_rule, SIMPLE)
    limit = limits(instrument, certificate)
    for title, points in (("show.points", certificate.points), ("show.as_found", certificate.as_found)):
        if not points:
            continue
        rows = listed_points(points, language())
        judged = judge(points, limit, chosen)
        known = any(each.limit is not None for each in judged)
        print(f"\n{told(title)}" + (f" · {chosen.name}" if known else ""))
        if known:
            rows[0] += [told("head.limit"), told("head.decision")]
            for row, each in zip(rows[1:], judged, strict=True):
                verdict = "" if each.verdict is None else words(each.verdict.decision.value, language())
                row += ["" if each.limit is None else f"±{each.limit}", verdict]
        table(rows, "  ")
