r"""Certificates and traceability statements of the register as digital calibration certificates (PTB DCC 3.1.2).

What is written is read back exactly by ``calibration.dcc`` (a property test holds that). The schema has no place for
some of what the register keeps (kind, class, MPE, ad-hoc calibrations …): that goes, as JSON, into one statement of
its own; the share of a standard is a quantity of that standard. Loads and power factors are further quantities of a
table, with ``refType`` tokens of our own beside PTB's ``basic_`` ones. The output is not signed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from lxml import etree

from calibration import units
from calibration.certificate import CalibrationPoint, Certificate, Instrument, ReferenceUse
from calibration.chain import Chain, Status
from calibration.coverage import coverage_probability
from calibration.dcc import RECORD
from calibration.dcc_reading import NAMESPACES
from calibration.plain import to_plain
from calibration.refusals import DccRefused

SCHEMA_VERSION = "3.1.2"
_DCC, _SI = NAMESPACES["dcc"], NAMESPACES["si"]
Element = Any


@dataclass(frozen=True, slots=True)
class Issuer:
    """What a DCC must say of those who stand behind it; ``email`` may be empty."""

    software_version: str
    responsible: str = "-"
    country: str = "CN"
    city: str = "-"
    email: str = ""
    customer: str = "-"
    language: str = "zh"


def export_dcc(
    certificate: Certificate, instrument: Instrument, issuer: Issuer, *, chain: Chain | None = None
) -> bytes:
    """A certificate of the register as DCC XML; ``chain`` adds the traceability statement of its moment.

    Raises:
        DccRefused: a unit without D-SI string, or text that XML can't hold.
    """
    root = etree.Element(_tag("digitalCalibrationCertificate"), nsmap={"dcc": _DCC, "si": _SI})
    root.set("schemaVersion", SCHEMA_VERSION)
    try:
        _administrative(_add(root, "administrativeData"), certificate, instrument, issuer, chain)
        _results(_add(root, "measurementResults"), certificate)
    except ValueError as error:
        if isinstance(error, DccRefused):
            raise
        raise DccRefused("T315", certificate.id, value=certificate.id, why=str(error)) from None
    made: bytes = etree.tostring(root, xml_declaration=True, encoding="utf-8", pretty_print=True)
    return made


def _administrative(
    data: Element, certificate: Certificate, instrument: Instrument, issuer: Issuer, chain: Chain | None
) -> None:
    software = _add(_add(data, "dccSoftware"), "software")
    _named(software, "Suyuan")
    _add(software, "release", issuer.software_version)
    core = _add(data, "coreData")
    _add(core, "countryCodeISO3166_1", issuer.country)
    _add(core, "usedLangCodeISO639_1", issuer.language)
    _add(core, "mandatoryLangCodeISO639_1", issuer.language)
    _add(core, "uniqueIdentifier", certificate.id)
    _add(core, "beginPerformanceDate", certificate.performed.isoformat())
    _add(core, "endPerformanceDate", certificate.performed.isoformat())
    _add(core, "performanceLocation", "other")
    item = _add(_add(data, "items"), "item")
    _named(item, instrument.kind.value)
    _named(_add(item, "manufacturer"), instrument.manufacturer or "-")
    if instrument.model:
        _add(item, "model", instrument.model)
    ids = _add(item, "identifications")
    for who, value in (
        ("manufacturer", instrument.serial),
        ("customer", instrument.id),
        ("owner", instrument.tag),
    ):
        if value:
            _identification(ids, who, value)
    laboratory = _add(data, "calibrationLaboratory")
    if certificate.accreditation:
        _add(laboratory, "calibrationLaboratoryCode", certificate.accreditation)
    _contact(_add(laboratory, "contact"), certificate.laboratory, issuer)
    person = _add(_add(data, "respPersons"), "respPerson")
    _named(_add(person, "person"), issuer.responsible)
    _add(person, "mainSigner", "true")
    _contact(_add(data, "customer"), issuer.customer, issuer)
    _statements(_add(data, "statements"), certificate, chain, issuer)


def _statements(data: Element, certificate: Certificate, chain: Chain | None, issuer: Issuer) -> None:
    if certificate.valid_until is not None:
        statement = _add(data, "statement", refType="basic_recalibration")
        _add(statement, "date", certificate.valid_until.isoformat())
    if certificate.issued is not None:
        _add(_add(data, "statement", refType="suyuan_issued"), "date", certificate.issued.isoformat())
    if certificate.passed is not None:
        statement = _add(data, "statement", refType="basic_conformity")
        if certificate.decision_rule:
            _add(_add(statement, "declaration"), "content", certificate.decision_rule)
        _add(statement, "conformity", "pass" if certificate.passed else "fail")
    if chain is not None:
        statement = _add(data, "statement", refType="basic_metrologicalTraceability suyuan_chain")
        _add(statement, "traceable", "true" if chain.status is Status.VALID else "false")
        _add(statement, "norm", "ISO/IEC 17025:2017")
        _add(statement, "reference", "6.5")
        _add(_add(statement, "declaration"), "content", chain.tree(issuer.language), lang=issuer.language)
    plain = to_plain(certificate)
    names = (
        "kind", "accuracy_class", "mpe", "mpe_unit", "national", "conditions", "given_as", "resets_cycle", "adjusted",
        "decision_rule", "note",
    )  # fmt: skip
    rest = json.dumps({name: plain[name] for name in names}, ensure_ascii=False, sort_keys=True)
    _add(_add(_add(data, "statement", refType=RECORD), "declaration"), "content", rest)


def _results(data: Element, certificate: Certificate) -> None:
    result = _add(data, "measurementResult")
    _named(result, certificate.kind.value)
    if certificate.references:
        equipment = _add(result, "measuringEquipments")
        for use in certificate.references:
            _equipment(equipment, use, certificate)
    if certificate.as_found:
        conditions = _add(result, "influenceConditions")
        for points in _runs(certificate.as_found):
            condition = _add(conditions, "influenceCondition", refType="basic_adjustment")
            _named(condition, points[0].quantity)
            _add(condition, "status", "beforeAdjustment")
            _table(_add(condition, "data"), points)
    results = _add(result, "results")
    for points in _runs(certificate.points):
        one = _add(results, "result")
        _named(one, points[0].quantity)
        _table(_add(one, "data"), points)
    if (
        not certificate.points
    ):  # the schema wants a result: a verification certificate may have none but its verdict
        one = _add(results, "result")
        _named(one, "-")
        _add(_add(_add(one, "data"), "text"), "content", "-")


def _equipment(data: Element, use: ReferenceUse, certificate: Certificate) -> None:
    token = "basic_standardUsed suyuan_standard" if use.standard else "basic_standardUsed"
    made = _add(data, "measuringEquipment", refType=token)
    _named(made, use.standard or use.certificate or use.digest)
    if use.certificate or use.digest:
        referral = _add(made, "certificate")
        _add(_add(referral, "referral"), "content", use.certificate or "-")
        _add(referral, "referralID", use.certificate)
        _add(referral, "procedure", "SHA256" if use.digest else "analogue")
        _add(referral, "value", use.digest or "analogue")
    if use.standard:
        _identification(_add(made, "identifications"), "owner", use.standard)
    if use.share is not None:
        unit, quantity = (
            (certificate.points[0].unit, certificate.points[0].quantity) if certificate.points else ("1", "")
        )
        quantities = _add(made, "measuringEquipmentQuantities")
        real = _si(_add(quantities, "measuringEquipmentQuantity", refType="suyuan_share"), "real")
        _si(real, "value", _number(use.share))
        _si(real, "unit", _dsi(unit, quantity))


def _runs(points: Sequence[CalibrationPoint]) -> Iterator[list[CalibrationPoint]]:
    """Points that fit into one table: one quantity, one set of units, and the same columns."""

    def shape(point: CalibrationPoint) -> tuple[object, ...]:
        stated = (point.reference is not None, point.indication is not None, point.dof is not None)
        return (point.quantity, point.unit, point.load_unit, *stated)

    for _, run in groupby(points, shape):
        yield list(run)


def _table(data: Element, points: Sequence[CalibrationPoint]) -> None:
    first = points[0]
    own = _own_unit(first)
    listed = _add(data, "list", refType="suyuan_table")
    _named(listed, first.quantity)
    _column(listed, "suyuan_load", [p.load for p in points], first.load_unit, first.quantity)
    _column(listed, "suyuan_powerFactor", [p.power_factor for p in points], "1")
    if first.reference is not None:
        _column(
            listed,
            "basic_referenceValue",
            [p.reference for p in points if p.reference is not None],
            own,
            first.quantity,
        )
    if first.indication is not None:
        _column(
            listed, "basic_measuredValue", [p.indication for p in points if p.indication is not None], own
        )
    if first.dof is not None:
        _column(listed, "suyuan_dof", [p.dof for p in points if p.dof is not None], "1")
    values = _column(listed, "basic_measurementError", [p.error for p in points], first.unit, first.quantity)
    uncertainty = _si(values, "expandedUncXMLList")
    _si(uncertainty, "uncertaintyXMLList", " ".join(_number(p.U) for p in points))
    _si(uncertainty, "coverageFactorXMLList", " ".join(_number(p.k) for p in points))
    _si(uncertainty, "coverageProbabilityXMLList", " ".join(_probability(p) for p in points))


def _own_unit(point: CalibrationPoint) -> str:
    """The unit of reference and indication: the load's where the load is the quantity itself; else not known (1)."""
    if point.load_unit != "A" or point.quantity.startswith("current"):
        return point.load_unit
    return "1" if point.unit == "%" else point.unit


def _column(data: Element, token: str, values: Sequence[Decimal], unit: str, quantity: str = "") -> Element:
    listed = _si(_add(data, "quantity", refType=token), "realListXMLList")
    _si(listed, "valueXMLList", " ".join(_number(value) for value in values))
    _si(listed, "unitXMLList", _dsi(unit, quantity))
    return listed


def _dsi(unit: str, quantity: str) -> str:
    """The D-SI string; ``min`` of a phase displacement is a minute of arc, elsewhere one of time."""
    known = units.UNITS.get("'" if unit == "min" and quantity == "phase" else unit)
    if known is None or not known.dsi:
        raise DccRefused("T315", "", value=unit, why="the unit has no D-SI string")
    return known.dsi


def _number(value: Decimal) -> str:
    return str(value).replace("E+", "E")


def _probability(point: CalibrationPoint) -> str:
    dof = math.inf if point.dof is None else float(point.dof)
    return f"{coverage_probability(float(point.k), dof):.4f}"


def _contact(data: Element, name: str, issuer: Issuer) -> None:
    _named(data, name)
    _add(data, "eMail", issuer.email)
    location = _add(data, "location")
    _add(location, "city", issuer.city)
    _add(location, "countryCode", issuer.country)


def _identification(data: Element, who: str, value: str) -> None:
    made = _add(data, "identification")
    _add(made, "issuer", who)
    _add(made, "value", value)


def _named(data: Element, text: str) -> None:
    _add(_add(data, "name"), "content", text)


def _add(parent: Element, name: str, text: str | None = None, **attributes: str) -> Element:
    made = etree.SubElement(parent, _tag(name), attributes)
    made.text = text
    return made


def _si(parent: Element, name: str, text: str | None = None) -> Element:
    made = etree.SubElement(parent, f"{{{_SI}}}{name}")
    made.text = text
    return made


def _tag(name: str) -> str:
    return f"{{{_DCC}}}{name}"
