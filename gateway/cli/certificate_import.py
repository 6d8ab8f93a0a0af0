"""`suyuan certificate import`: DCC XML with its signature, or CSV and Excel tables. Not understood means refused."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gateway.certificate_form import CERTIFICATE
from gateway.cli import DONE, NO
from gateway.cli.certificate_view import paper_of, show_fields, show_points, tell_registered
from gateway.cli.output import UsageError, emit, say
from gateway.cli.register_file import actor, form_answers, read_bytes, today, writing
from gateway.register_words import told
from gateway.words import language

if TYPE_CHECKING:
    from calibration.certificate import Certificate, Instrument
    from calibration.register import Register


def import_certificate(given: argparse.Namespace) -> int:
    """Import a file of any kind. 1: its signature was not good enough."""
    if given.file.suffix.lower() == ".xml":
        return _import_dcc(given)
    from gateway.forms import certificate_from

    made = certificate_from(_table_answers(given), today(), language())
    with writing(given) as register:
        if not given.trial:
            register.add_certificate(
                made, actor=actor(given), reason=given.reason or given.file.name, **paper_of(given)
            )
        return _shown_or_told(register, made, given)


def _shown_or_told(register: Register, made: Certificate, given: argparse.Namespace) -> int:
    if given.trial:
        from calibration.plain import to_plain

        if given.json:
            emit(to_plain(made))
        else:
            show_fields(made)
            show_points(made, register.instrument(made.instrument), None)
        return DONE
    tell_registered(register, made, given)
    return DONE


def _table_answers(given: argparse.Namespace) -> dict[str, str]:
    """The form's answers from a CSV or Excel file and the options; wrong cells are refused by their place."""
    from calibration.refusals import TableRefused
    from calibration.tables import read_csv, read_excel
    from gateway.certificate_writing import SHEETS, excel_answers
    from gateway.pasted import point_lines, table_points

    data = read_bytes(given.file)
    stated = form_answers(CERTIFICATE, given)
    if given.file.suffix.lower() == ".csv":
        answers = stated
        grids = {"points": read_csv(data, given.file.name)}
    elif given.file.suffix.lower() == ".xlsx":
        own = excel_answers(data)
        answers = own | stated
        if own:
            grids = {}
            for name, sheet in SHEETS.items():
                try:
                    grids[name] = read_excel(data, sheet)
                except TableRefused as error:
                    if error.code != "T404" or error.where != sheet:
                        raise
        else:
            grids = {"points": read_excel(data)}
    else:
        raise UsageError(
            f"{given.file}: what is it? .xml (DCC), .csv and .xlsx are read; .toml: certificate add"
        )
    full = CERTIFICATE.with_defaults(answers)
    # read by cell, so that a wrong one is named by its place; the form gets them as a paste of the same
    return answers | {name: point_lines(table_points(grid, full)) for name, grid in grids.items()}


def _import_dcc(given: argparse.Namespace) -> int:
    from calibration import dcc
    from calibration.dcc_reading import Equipment, read
    from calibration.dcc_signature import check_signature
    from gateway.clock import moment

    data = read_bytes(given.file)
    document = read(data)
    received = moment()
    check = check_signature(data, trusted=_trusted(given), received=received)
    verdict = check.verdict.value
    if verdict == "invalid" or (given.require_signature and verdict != "valid"):
        say(told("signature.refused", file=given.file, verdict=verdict, reason=check.reason))
        if given.json:
            from calibration.plain import to_plain

            emit({"ok": False, "signature": to_plain(check)})
        return NO
    answers = form_answers(CERTIFICATE, given)
    with writing(given) as register:
        instrument = _instrument_of(register, document, given)
        instruments = register.instruments()

        def standard_of(used: Equipment) -> str:
            values = {value for _, value in used.ids}
            found = [i.id for i in instruments if values & {name for name in (i.serial, i.id, i.tag) if name}]
            return found[0] if len(found) == 1 else ""

        made = dcc.to_certificate(
            document, instrument, quantity=answers.get("quantity", ""), repeats=given.repeats,
            standard_of=standard_of, national=answers.get("national", "").lower() in {"yes", "y", "是"},
        )  # fmt: skip
        if not given.trial:
            register.add_certificate(
                made, actor=actor(given), reason=given.reason or given.file.name, signature=check, paper=data,
                paper_name=given.file.name, media_type="application/xml",
            )  # fmt: skip
        basis = f"({check.basis} {check.at:%Y-%m-%dT%H:%M:%SZ})" if check.at else ""
        say(told("signature", verdict=verdict, basis=basis))
        if verdict != "valid":
            say(told("signature.untrusted", verdict=verdict, reason=check.reason))
        return _shown_or_told(register, made, given)


def _instrument_of(register: Register, document: Any, given: argparse.Namespace) -> Instrument:
    from calibration.dcc import find_instrument

    stated = given.field_instrument
    if stated:
        return register.instrument(stated)
    found = find_instrument(document, register.instruments())
    if found is None:
        items = "; ".join(", ".join((i.name, i.model, *(v for _, v in i.ids))) for i in document.items)
        raise UsageError(f"whose certificate is this? it speaks of {items}; say --instrument ID")
    return found


def _trusted(given: argparse.Namespace) -> list[bytes]:
    """The pinned trust store: files and directories of PEM certificates."""
    beside = given.register.parent / "trust"
    places = given.trust or ([beside] if beside.is_dir() else [])
    found: list[bytes] = []
    for place in places:
        paths = sorted(place.glob("*.pem")) if place.is_dir() else [place]
        if not paths:
            raise UsageError(f"--trust {place}: there is no *.pem in it")
        for path in paths:
            pem = read_bytes(path)
            if b"-----BEGIN CERTIFICATE-----" not in pem:
                raise UsageError(f"--trust {path}: is no certificate in PEM form")
            found.append(pem)
    return found
