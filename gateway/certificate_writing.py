"""Certificates written out for people and programs: as a certificate file (TOML), as CSV points, as an Excel file.

A certificate file holds the whole and is read back exactly, an Excel file what the form asks, a CSV the points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import tomli_w

from calibration.certificate import CalibrationPoint, Certificate, GivenAs
from calibration.refusals import TableRefused
from calibration.tables import point_rows, read_excel, write_csv, write_excel
from gateway.certificate_form import CERTIFICATE
from gateway.forms import answers_of

_SHARED = ("quantity", "unit", "load_unit", "k")
_WHOLE = "certificate"
SHEETS = {"points": "points", "as_found": "as found"}
"""Names of the sheets with the points, by the certificate's field."""


def as_toml(certificate: Certificate) -> str:
    """A certificate file (``gateway.certificate_file``): exact numbers as text, what all points share said once."""
    names = (
        "id", "instrument", "laboratory", "performed", "issued", "valid_until", "accreditation", "passed",
        "accuracy_class", "mpe", "national", "conditions", "digest", "adjusted", "decision_rule", "note",
    )  # fmt: skip
    table: dict[str, Any] = {"kind": certificate.kind.value} | _said(certificate, names)
    if certificate.mpe_unit != "%":
        table["mpe_unit"] = certificate.mpe_unit
    if not certificate.resets_cycle:
        table["resets_cycle"] = False
    if certificate.points:
        first = certificate.points[0]
        shared = {name: getattr(first, name) for name in _SHARED}
        table |= {name: _plain(value) for name, value in shared.items()}
        as_correction = certificate.given_as is GivenAs.CORRECTION
        table["point"] = [_point(point, shared, as_correction) for point in certificate.points]
        table["as_found"] = [_point(point, shared, as_correction) for point in certificate.as_found]
    table["reference"] = [
        _said(use, ("standard", "certificate", "digest", "share")) for use in certificate.references
    ]
    return tomli_w.dumps({"certificate": [{name: part for name, part in table.items() if part != []}]})


def as_csv(certificate: Certificate, language: str) -> bytes:
    """The points, for a spreadsheet."""
    return write_csv(*point_rows(certificate.points, language))


def as_excel(certificate: Certificate, language: str) -> bytes:
    """The whole certificate: a sheet of its fields, a sheet of points, one of points as found."""
    answers = answers_of(certificate)
    fields = [(name, text) for name, text in answers.items() if name not in SHEETS]
    sheets: dict[str, Any] = {_WHOLE: (["field", "value"], fields)}
    for name, title in SHEETS.items():
        if getattr(certificate, name):
            sheets[title] = point_rows(getattr(certificate, name), language)
    return write_excel(sheets)


def excel_answers(data: bytes) -> dict[str, str]:
    """The fields that an Excel file of ours states, as answers to the form; {} if it has no such sheet."""
    try:
        grid = read_excel(data, _WHOLE)
    except TableRefused as error:
        if error.code == "T404" and error.where == _WHOLE:
            return {}
        raise
    answers: dict[str, str] = {}
    for row in grid.rows:
        name, value = row[0], row[1].text if len(row) > 1 else ""
        if CERTIFICATE.field(name.text) is None:
            known = ", ".join(field.name for field in CERTIFICATE.fields)
            raise TableRefused("T402", name.where, value=name.text, known=known)
        answers[name.text] = value
    return answers


def _point(point: CalibrationPoint, shared: Mapping[str, Any], as_correction: bool) -> dict[str, Any]:
    error = {"correction": str(-point.error)} if as_correction else {"error": str(point.error)}
    own = {name: _plain(getattr(point, name)) for name in _SHARED if getattr(point, name) != shared[name]}
    return (
        {"load": str(point.load), "power_factor": str(point.power_factor), **error, "U": str(point.U)}
        | own
        | _said(point, ("reference", "indication", "dof"))
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def _said(value: Any, names: Iterable[str]) -> dict[str, Any]:
    """The named fields that say something. None has no place in TOML; False is said only where it was stated."""
    found = {name: getattr(value, name) for name in names}
    stated = {"passed", "adjusted"}
    return {
        name: _plain(part)
        for name, part in found.items()
        if part not in (None, "", (), {}) and (part is not False or name in stated)
    }
