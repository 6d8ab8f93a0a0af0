"""What is exported as a DCC is read back as it was, and has the parts of the schema in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    GivenAs,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.chain import trace
from calibration.dcc import import_dcc
from calibration.dcc_export import Issuer, export_dcc
from calibration.refusals import DccRefused
from calibration.register import Register
from calibration.units import UNITS

Make = Callable[..., Any]
D = Decimal
ISSUER = Issuer("0.1.0", "Li Na", city="Baotou", email="lab@example.com", customer="Potline 3")
METER = Instrument("M1", InstrumentKind.METER, "Acrel", "ADW300", "123", "KKS 7")

words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co", "Zl", "Zp")), max_size=20
).map(lambda t: " ".join(t.split()))
named = words.filter(bool)
decimals = st.decimals(-1000, 1000, allow_nan=False, allow_infinity=False)
positive = st.decimals("1e-6", 100, allow_nan=False, allow_infinity=False)
days = st.dates(date(2000, 1, 1), date(2030, 1, 1))
# \volt\ampere stands for var and V·A alike: what the quantity's name decides is tested apart.
own_units = sorted(
    u.key for u in UNITS.values() if sum(o.dsi == u.dsi for o in UNITS.values()) == 1 and u.key != "'"
)
points = st.builds(
    CalibrationPoint,
    quantity=st.sampled_from(["energy.active", "voltage", "ratio", "temperature"]),
    load=decimals,
    load_unit=st.sampled_from(["A", "V", "Cel", "%"]),
    error=decimals,
    U=positive,
    k=st.decimals(1, 14),
    unit=st.sampled_from(own_units),
    power_factor=st.sampled_from([D(1), D("0.5"), D("-0.8")]),
    reference=st.none() | decimals,
    indication=st.none() | decimals,
    dof=st.none() | st.decimals(1, 100),
)
uses = st.builds(ReferenceUse, named, words, st.sampled_from(["", "ab" * 32]), st.none() | positive)
certificates = st.builds(
    Certificate,
    id=named,
    kind=st.just(CertificateKind.CALIBRATION),
    instrument=st.just("M1"),
    laboratory=named,
    performed=days,
    issued=st.none() | days,
    valid_until=st.none() | days,
    accreditation=words,
    points=st.lists(points, min_size=1, max_size=5).map(tuple),
    as_found=st.lists(points, max_size=3).map(tuple),
    references=st.lists(uses, max_size=3, unique=True).map(tuple),
    passed=st.sampled_from([None, True, False]),
    accuracy_class=words,
    mpe=st.none() | positive,
    mpe_unit=st.sampled_from(["%", "A"]),
    national=st.booleans(),
    conditions=st.dictionaries(named, words, max_size=2),
    given_as=st.sampled_from(GivenAs),
    resets_cycle=st.booleans(),
    adjusted=st.sampled_from([None, True, False]),
    decision_rule=words,
    note=words,
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(certificates)
def test_what_is_exported_is_read_back_as_it_was(certificate: Certificate) -> None:
    again = import_dcc(export_dcc(certificate, METER, ISSUER), METER, national=certificate.national)
    assert replace(again, digest=certificate.digest) == certificate
    for ours, theirs in zip(again.points, certificate.points, strict=True):
        assert ours.error.as_tuple() == theirs.error.as_tuple()  # 0.120 stays 0.120


def test_a_verification_certificate_without_values_travels_too(a_certificate: Make) -> None:
    certificate = a_certificate(
        "JD-1", kind=CertificateKind.VERIFICATION, points=(), passed=True, accuracy_class="0.5S",
        valid_until=date(2032, 3, 1),
    )  # fmt: skip
    again = import_dcc(export_dcc(certificate, METER, ISSUER), METER)
    assert replace(again, digest="") == certificate


@pytest.mark.parametrize(
    ("quantity", "unit"),
    [("energy.reactive", "kvar.h"), ("energy.apparent", "kV.A.h"), ("phase", "min"), ("duration", "min")],
)
def test_units_that_share_a_d_si_string_come_back_by_their_quantity(
    a_certificate: Make, a_point: Make, quantity: str, unit: str
) -> None:
    certificate = a_certificate(points=(a_point(quantity=quantity, unit=unit),))
    again = import_dcc(export_dcc(certificate, METER, ISSUER), METER)
    assert again.points == certificate.points


def test_a_unit_without_d_si_string_is_refused(a_certificate: Make, a_point: Make) -> None:
    certificate = a_certificate(points=(a_point(quantity="flow", unit="Nm3/h"),))
    with pytest.raises(DccRefused, match="Nm3/h"):
        export_dcc(certificate, METER, ISSUER)


def test_text_that_xml_cannot_hold_is_refused(a_certificate: Make) -> None:
    with pytest.raises(DccRefused, match="cannot be written"):
        export_dcc(a_certificate(laboratory="Lab\x00"), METER, ISSUER)


def test_the_traceability_statement_says_what_the_chain_says(hierarchy: Register) -> None:
    certificate, meter = hierarchy.certificate("CAL-1"), hierarchy.instrument("M1")
    for day, verdict in ((date(2026, 6, 1), "true"), (date(2028, 6, 1), "false")):
        chain = trace(hierarchy, "M1", day)
        root = etree.fromstring(export_dcc(certificate, meter, ISSUER, chain=chain))
        names = {"dcc": "https://ptb.de/dcc"}
        (statement,) = root.xpath("//dcc:statement[contains(@refType, 'suyuan_chain')]", namespaces=names)
        assert statement.findtext("dcc:traceable", namespaces=names) == verdict
        assert "NIM-1" in statement.findtext("dcc:declaration/dcc:content", namespaces=names)
    assert import_dcc(export_dcc(certificate, meter, ISSUER, chain=chain), meter).points == certificate.points


def test_elements_stand_in_the_order_of_the_schema(hierarchy: Register) -> None:
    root = etree.fromstring(export_dcc(hierarchy.certificate("CAL-1"), hierarchy.instrument("M1"), ISSUER))

    def below(path: str) -> list[str]:
        element = root.find(path, {"dcc": "https://ptb.de/dcc", "si": "https://ptb.de/si"})
        return [etree.QName(child).localname for child in element]

    assert root.get("schemaVersion") == "3.1.2"
    assert below(".") == ["administrativeData", "measurementResults"]
    assert below("dcc:administrativeData") == [
        "dccSoftware", "coreData", "items", "calibrationLaboratory", "respPersons", "customer", "statements",
    ]  # fmt: skip
    assert below("dcc:administrativeData/dcc:coreData") == [
        "countryCodeISO3166_1", "usedLangCodeISO639_1", "mandatoryLangCodeISO639_1", "uniqueIdentifier",
        "beginPerformanceDate", "endPerformanceDate", "performanceLocation",
    ]  # fmt: skip
    result = "dcc:measurementResults/dcc:measurementResult"
    assert below(result) == ["name", "measuringEquipments", "results"]
    assert below(f"{result}/dcc:measuringEquipments/dcc:measuringEquipment") == [
        "name", "certificate", "identifications", "measuringEquipmentQuantities",
    ]  # fmt: skip
    listed = f"{result}/dcc:results/dcc:result/dcc:data/dcc:list/dcc:quantity[last()]/si:realListXMLList"
    assert below(listed) == ["valueXMLList", "unitXMLList", "expandedUncXMLList"]
