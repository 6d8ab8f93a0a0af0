"""Digital calibration certificates: the structures of PTB's good practice, built here, and every trap in them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.certificate import CertificateKind, Instrument, InstrumentKind, ReferenceUse
from calibration.dcc import find_instrument, import_dcc
from calibration.dcc_reading import read
from calibration.refusals import DccRefused

D = Decimal
PROBE = Instrument("T1", InstrumentKind.TEMPERATURE, "Sensor GmbH", "Pt100", "S-77", range_unit="Cel")
METER = Instrument("M1", manufacturer="Acrel", model="ADW300", serial="S-77")


def real_list(values: str, unit: str, inside: str = "") -> str:
    return (
        f"<si:realListXMLList><si:valueXMLList>{values}</si:valueXMLList>"
        f"<si:unitXMLList>{unit}</si:unitXMLList>{inside}</si:realListXMLList>"
    )


def expanded(big: str, k: str = "2") -> str:
    factor = f"<si:coverageFactorXMLList>{k}</si:coverageFactorXMLList>" if k else ""
    return (
        f"<si:expandedUncXMLList><si:uncertaintyXMLList>{big}</si:uncertaintyXMLList>{factor}"
        "<si:coverageProbabilityXMLList>0.95</si:coverageProbabilityXMLList></si:expandedUncXMLList>"
    )


def quantity(tokens: str, *alternatives: str) -> str:
    inside = alternatives[0] if len(alternatives) == 1 else f"<si:hybrid>{''.join(alternatives)}</si:hybrid>"
    return f'<dcc:quantity refType="{tokens}">{inside}</dcc:quantity>'


def table(*quantities: str) -> str:
    return f'<dcc:list refType="gp_table1">{"".join(quantities)}</dcc:list>'


def text(words: str) -> str:
    return f"<dcc:name><dcc:content>{words}</dcc:content></dcc:name>"


def before_adjustment(inside: str) -> str:
    return (
        f'<dcc:influenceCondition refType="basic_adjustment">{text("Adjustment")}'
        f"<dcc:status>beforeAdjustment</dcc:status><dcc:data>{inside}</dcc:data></dcc:influenceCondition>"
    )


def dcc(
    results: str, *, conditions: str = "", equipment: str = "", statements: str = "", items: str = "",
    version: str = "3.1.1", issued: str = "", lab_code: str = "", extra: str = "",
) -> bytes:  # fmt: skip
    item = items or (
        f"<dcc:item>{text('Sensor')}<dcc:manufacturer>{text('Sensor GmbH')}</dcc:manufacturer>"
        "<dcc:model>Pt100</dcc:model>"
        "<dcc:identifications><dcc:identification><dcc:issuer>manufacturer</dcc:issuer><dcc:value>S-77</dcc:value>"
        "</dcc:identification><dcc:identification><dcc:issuer>customer</dcc:issuer><dcc:value>KKS 12</dcc:value>"
        "</dcc:identification></dcc:identifications></dcc:item>"
    )
    measuring = f"<dcc:measuringEquipments>{equipment}</dcc:measuringEquipments>" if equipment else ""
    influence = f"<dcc:influenceConditions>{conditions}</dcc:influenceConditions>" if conditions else ""
    return f"""<?xml version="1.0" encoding="utf-8"?>
<dcc:digitalCalibrationCertificate xmlns:dcc="https://ptb.de/dcc" xmlns:si="https://ptb.de/si"
 schemaVersion="{version}">
<dcc:administrativeData><dcc:coreData><dcc:countryCodeISO3166_1>DE</dcc:countryCodeISO3166_1>
<dcc:uniqueIdentifier>LAB-2026-17</dcc:uniqueIdentifier><dcc:beginPerformanceDate>2026-03-01</dcc:beginPerformanceDate>
<dcc:endPerformanceDate>2026-03-02</dcc:endPerformanceDate>{issued}</dcc:coreData>
<dcc:items>{item}</dcc:items><dcc:calibrationLaboratory>{lab_code}<dcc:contact><dcc:name>
<dcc:content lang="de">Kalibrierfirma</dcc:content><dcc:content lang="en">Calibration company</dcc:content></dcc:name>
</dcc:contact></dcc:calibrationLaboratory><dcc:statements>{statements}</dcc:statements></dcc:administrativeData>
<dcc:measurementResults><dcc:measurementResult>{text("Results")}{measuring}{influence}<dcc:results><dcc:result>
{text("Measuring results")}<dcc:data>{results}</dcc:data></dcc:result></dcc:results></dcc:measurementResult>
</dcc:measurementResults>{extra}</dcc:digitalCalibrationCertificate>""".encode()


KELVIN, CELSIUS = r"\kelvin", r"\degreecelsius"
REFERENCE = quantity(
    "basic_referenceValue",
    real_list("306.248 373.121 448.253", KELVIN),
    real_list("33.098 99.971 175.103", CELSIUS),
)
MEASURED = quantity(
    "basic_measuredValue",
    real_list("306.32 373.21 448.36", KELVIN),
    real_list("33.17 100.06 175.21", CELSIUS),
)
ERROR = quantity("basic_measurementError", real_list("0.072 0.089 0.107", KELVIN, expanded("0.061")))
TYPICAL = table(REFERENCE, MEASURED, ERROR)


def test_the_typical_certificate() -> None:
    data = dcc(TYPICAL)
    found = import_dcc(data, PROBE)
    assert (found.id, found.laboratory, found.performed) == (
        "LAB-2026-17",
        "Calibration company",
        date(2026, 3, 2),
    )
    assert (found.kind, found.instrument, found.issued) == (CertificateKind.CALIBRATION, "T1", None)
    assert found.digest == sha256(data).hexdigest()
    first = found.points[0]
    assert (first.load, first.load_unit, first.reference, first.indication) == (
        D("33.098"), "Cel", D("33.098"), D("33.17"),
    )  # fmt: skip
    assert [p.error for p in found.points] == [D("0.072"), D("0.089"), D("0.107")]
    assert {(p.unit, p.U, p.k, p.quantity) for p in found.points} == {
        ("Cel", D("0.061"), D(2), "temperature")
    }
    assert found.as_found == ()


def test_the_first_unit_is_taken_unless_the_instrument_has_another() -> None:
    found = import_dcc(dcc(TYPICAL), replace(PROBE, range_unit=""))
    assert {(p.load_unit, p.unit) for p in found.points} == {("K", "K")}
    assert found.points[0].load == D("306.248")


def test_as_found_is_not_as_left() -> None:
    """The trap: a bare search for quantities meets the table before the adjustment first."""
    error = quantity("basic_measurementError", real_list("0.105 0.323 -0.199", KELVIN, expanded("0.89")))
    measured = quantity("basic_measuredValue", real_list("306.353 373.444 448.054", KELVIN))
    reference = quantity("basic_referenceValue", real_list("306.248 373.121 448.253", KELVIN))
    data = dcc(TYPICAL, conditions=before_adjustment(table(reference, measured, error)))
    found = import_dcc(data, PROBE)
    assert [p.error for p in found.points] == [D("0.072"), D("0.089"), D("0.107")]
    assert [p.error for p in found.as_found] == [D("0.105"), D("0.323"), D("-0.199")]
    assert {p.U for p in found.as_found} == {D("0.89")}
    assert found.adjusted is True


def test_ref_type_is_a_list_of_tokens_and_ids_are_read_where_writers_put_them() -> None:
    tokens = TYPICAL.replace('"basic_referenceValue"', '"gp_x basic_referenceValue gp_y"')
    assert import_dcc(dcc(tokens), PROBE).points == import_dcc(dcc(TYPICAL), PROBE).points
    ids = TYPICAL.replace('refType="basic_', 'id="basic_')
    assert import_dcc(dcc(ids), PROBE).points == import_dcc(dcc(TYPICAL), PROBE).points
    near = TYPICAL.replace('"basic_referenceValue"', '"basic_referenceValueNominal"')
    with pytest.raises(DccRefused):
        import_dcc(dcc(near), PROBE)


def test_uncertainty_of_the_indicated_value_is_the_errors() -> None:
    measured = quantity(
        "basic_measuredValue", real_list("10.02 20.05 30.01", CELSIUS, expanded("0.04 0.05 0.06", "2 2.1 2"))
    )
    reference = quantity("basic_referenceValue", real_list("10.00 20.00 30.00", CELSIUS))
    found = import_dcc(dcc(table(reference, measured)), PROBE)
    assert [(p.error, p.U, p.k) for p in found.points] == [
        (D("0.02"), D("0.04"), D(2)), (D("0.05"), D("0.05"), D("2.1")), (D("0.01"), D("0.06"), D(2)),
    ]  # fmt: skip


def test_uncertainty_stated_for_one_unit_of_a_hybrid_list_serves_the_other() -> None:
    """As in PTB's humidity example: U beside the values in 1, none beside those in %."""
    hygrometer = Instrument("H1", serial="S-77", range_unit="%")
    one, percent = r"\one", r"\percent"
    data = dcc(
        table(
            quantity("basic_referenceValue", real_list("0.201 0.500", one), real_list("20.1 50.0", percent)),
            quantity("basic_measuredValue", real_list("0.197 0.499", one), real_list("19.7 49.9", percent)),
            quantity(
                "basic_measurementError",
                real_list("-0.004 -0.001", one, expanded("0.006 0.008")), real_list("-0.4 -0.1", percent),
            ),
        )
    )  # fmt: skip
    found = import_dcc(data, hygrometer, quantity="humidity.relative")
    assert [(p.load, p.load_unit, p.error, p.unit, p.U) for p in found.points] == [
        (D("20.1"), "%", D("-0.4"), "%", D("0.6")),
        (D("50.0"), "%", D("-0.1"), "%", D("0.8")),
    ]


@pytest.mark.parametrize(
    ("error", "big", "expected"),
    [
        (real_list("0.20 -0.10", r"\percent", expanded("0.05")), None, [D("0.05"), D("0.05")]),
        (real_list("0.0020 -0.0010", r"\one", expanded("0.0005")), None, [D("0.05"), D("0.05")]),
        (real_list("0.20 -0.10", r"\percent"), expanded("0.0005 0.0050"), [D("0.05"), D("0.1")]),
    ],
    ids=["percent", "one", "absolute on the indication"],
)
def test_relative_errors_come_in_percent(error: str, big: str | None, expected: list[Decimal]) -> None:
    data = dcc(
        table(
            quantity("basic_referenceValue", real_list("1.0000 5.0000", r"\ampere")),
            quantity("basic_measuredValue", real_list("1.0020 4.9950", r"\ampere", big or "")),
            quantity("basic_measurementError", error),
        )
    )
    found = import_dcc(data, METER, quantity="current")
    assert [(p.error, p.unit, p.U, p.load_unit) for p in found.points] == [
        (D("0.2"), "%", expected[0], "A"),
        (D("-0.1"), "%", expected[1], "A"),
    ]


@pytest.mark.parametrize("form", ["list", "single"])
def test_single_values_make_a_table_too(form: str) -> None:
    def real(value: str, inside: str = "") -> str:
        return f"<si:real><si:value>{value}</si:value><si:unit>{CELSIUS}</si:unit>{inside}</si:real>"

    spread = (
        "<si:expandedUnc><si:uncertainty>0.05</si:uncertainty><si:coverageFactor>2</si:coverageFactor>"
        "<si:coverageProbability>0.95</si:coverageProbability></si:expandedUnc>"
    )
    if form == "single":
        inside = quantity("basic_referenceValue", real("20.00")) + quantity(
            "basic_measuredValue", real("20.03", spread)
        )
    else:
        both = f"<si:list>{real('20.00')}{real('30.00')}</si:list>"
        inside = quantity("basic_referenceValue", both) + quantity(
            "basic_measuredValue", f"<si:list>{real('20.03', spread)}{real('30.01', spread)}</si:list>"
        )
    found = import_dcc(dcc(table(inside)), PROBE)
    assert [(p.error, p.U) for p in found.points] == [(D("0.03"), D("0.05")), (D("0.01"), D("0.05"))][
        : len(found.points)
    ]
    assert len(found.points) == (1 if form == "single" else 2)


def test_newer_si_forms_of_uncertainty() -> None:
    standard = (
        "<si:measurementUncertaintyUnivariateXMLList><si:standardMUXMLList><si:valueStandardMUXMLList>0.03"
        "</si:valueStandardMUXMLList></si:standardMUXMLList></si:measurementUncertaintyUnivariateXMLList>"
    )
    expanded_mu = (
        "<si:measurementUncertaintyUnivariateXMLList><si:expandedMUXMLList><si:valueExpandedMUXMLList>0.06"
        "</si:valueExpandedMUXMLList><si:coverageFactorXMLList>2</si:coverageFactorXMLList></si:expandedMUXMLList>"
        "</si:measurementUncertaintyUnivariateXMLList>"
    )
    for form, big, k in ((standard, D("0.03"), D(1)), (expanded_mu, D("0.06"), D(2))):
        error = quantity("basic_measurementError", real_list("0.072 0.089 0.107", KELVIN, form))
        found = import_dcc(dcc(table(REFERENCE, MEASURED, error), version="3.3.0"), PROBE)
        assert {(p.U, p.k) for p in found.points} == {(big, k)}


class TestAdministration:
    def test_issue_date_due_date_conformity_accreditation(self) -> None:
        statements = (
            '<dcc:statement refType="basic_recalibration"><dcc:date>2027-03-02</dcc:date></dcc:statement>'
            '<dcc:statement refType="basic_conformity"><dcc:conformity>pass</dcc:conformity></dcc:statement>'
        )
        data = dcc(
            TYPICAL, version="3.2.0", issued="<dcc:issueDate>2026-03-09</dcc:issueDate>", statements=statements,
            lab_code="<dcc:calibrationLaboratoryCode>D-K-15070</dcc:calibrationLaboratoryCode>",
        )  # fmt: skip
        found = import_dcc(data, PROBE)
        assert (found.issued, found.valid_until) == (date(2026, 3, 9), date(2027, 3, 2))
        assert (found.passed, found.accreditation) == (True, "D-K-15070")

    def test_the_standards_used_are_edges_upward(self) -> None:
        def used(certificate: str, procedure: str, value: str) -> str:
            return (
                f'<dcc:measuringEquipment refType="basic_standardUsed">{text("Pt 25")}<dcc:certificate>'
                f"<dcc:referral><dcc:content>-</dcc:content></dcc:referral><dcc:referralID>{certificate}</dcc:referralID>"
                f"<dcc:procedure>{procedure}</dcc:procedure><dcc:value>{value}</dcc:value></dcc:certificate>"
                "<dcc:identifications><dcc:identification><dcc:issuer>manufacturer</dcc:issuer>"
                f"<dcc:value>SN-{certificate}</dcc:value></dcc:identification></dcc:identifications></dcc:measuringEquipment>"
            )

        unnamed = (
            f'<dcc:measuringEquipment refType="basic_normalUsed">{text("Bath")}</dcc:measuringEquipment>'
        )
        equipment = used("N-1", "SHA-256", "AB" * 32) + used("N-2", "analogue", "analogue") + unnamed
        equipment += used("N-3", "SHA256", "SHA256-value")
        data = dcc(TYPICAL, equipment=equipment)
        assert import_dcc(data, PROBE).references == (
            ReferenceUse("", "N-1", "ab" * 32), ReferenceUse("", "N-2"), ReferenceUse("", "N-3"),
        )  # fmt: skip
        known = {"SN-N-2": "RS"}
        found = import_dcc(
            data, PROBE, standard_of=lambda e: next((known[v] for _, v in e.ids if v in known), "")
        )
        assert found.references[1] == ReferenceUse("RS", "N-2")

    def test_ambient_conditions_are_kept_as_text(self) -> None:
        bound = (
            "<dcc:quantity refType='basic_temperature{}'><si:real><si:value>{}</si:value>"
            "<si:unit>\\kelvin</si:unit></si:real></dcc:quantity>"
        )
        conditions = (
            f'<dcc:influenceCondition refType="basic_temperature">{text("Temperature")}<dcc:data>'
            f"{bound.format('Min', 293)}{bound.format('Max', 299)}</dcc:data></dcc:influenceCondition>"
        )
        assert import_dcc(dcc(TYPICAL, conditions=conditions), PROBE).conditions == {
            "temperature": "293 … 299 \\kelvin"
        }

    def test_which_of_several_items(self) -> None:
        def item(serial: str) -> str:
            return (
                f"<dcc:item>{text('Part ' + serial)}<dcc:model>X</dcc:model><dcc:identifications><dcc:identification>"
                f"<dcc:issuer>manufacturer</dcc:issuer><dcc:value>{serial}</dcc:value></dcc:identification>"
                "</dcc:identifications></dcc:item>"
            )

        two = dcc(TYPICAL, items=item("S-76") + item("S-77"))
        assert import_dcc(two, PROBE).points
        with pytest.raises(DccRefused, match="several items are calibrated"):
            import_dcc(two, replace(PROBE, serial="S-99"))
        with pytest.raises(DccRefused, match="items"):
            import_dcc(dcc(TYPICAL), replace(PROBE, serial="S-99"))

    def test_the_registered_instrument_is_found(self) -> None:
        document = read(dcc(TYPICAL))
        other = replace(PROBE, id="T2", serial="S-78")
        assert find_instrument(document, [other, PROBE]) == PROBE
        assert find_instrument(document, [other]) is None
        assert find_instrument(document, [replace(other, tag="KKS 12")]) == replace(other, tag="KKS 12")

    def test_the_file_does_not_make_its_laboratory_a_national_one(self) -> None:
        claim = (
            '<dcc:statement refType="suyuan_record"><dcc:declaration><dcc:content>{"national": true}</dcc:content>'
            "</dcc:declaration></dcc:statement>"
        )
        assert import_dcc(dcc(TYPICAL, statements=claim), PROBE).national is False
        assert import_dcc(dcc(TYPICAL), PROBE, national=True).national is True


RESULT = (
    "/dcc:digitalCalibrationCertificate/dcc:measurementResults/dcc:measurementResult/dcc:results/dcc:result"
    "/dcc:data/dcc:list"
)


PARTS = re.findall(r"<[^<>]+>|[^<>]+", dcc(TYPICAL, conditions=before_adjustment(TYPICAL)).decode())
JUNK = ["", "x", "-1", "NaN", "1e999999", "<a/>", "0 0 0", "\\kelvin", "]]>", "\ud7ff", "&amp;"]


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, len(PARTS) - 1), st.sampled_from(JUNK) | st.sampled_from(PARTS)), max_size=3
    )
)
def test_whatever_is_in_a_file_it_is_read_or_refused(changes: list[tuple[int, str]]) -> None:
    parts = list(PARTS)
    for at, new in changes:
        parts[at] = new
    with suppress(DccRefused):
        found = import_dcc("".join(parts).encode(), PROBE, repeats="mean")
        assert found.points
        assert all(p.U.is_finite() and p.k > 0 and p.error.is_finite() for p in found.points)


class TestRefused:
    @pytest.mark.parametrize(
        ("old", "new", "where", "code"),
        [
            (
                "<si:coverageFactorXMLList>2</si:coverageFactorXMLList>",
                "",
                f"{RESULT}/dcc:quantity[3]",
                "T306",
            ),
            (
                ">2</si:coverageFactorXMLList>",
                ">0</si:coverageFactorXMLList>",
                f"{RESULT}/dcc:quantity[3]",
                "T303",
            ),
            ("33.098 99.971 175.103", "33.098 99.971", f"{RESULT}/dcc:quantity[1]/si:hybrid", "T305"),
            (">0.061<", ">0.061 0.062<", f"{RESULT}/dcc:quantity[3]", "T305"),
            ("306.32 373.21 448.36", "306.32 373.21", f"{RESULT}/dcc:quantity[2]", "T305"),
            ("0.072 0.089", "0,072 0.089", f"{RESULT}/dcc:quantity[3]", "T303"),
            ("0.072 0.089", "NaN 0.089", f"{RESULT}/dcc:quantity[3]", "T303"),
            ("0.072 0.089", "-0.072 0.089", f"{RESULT}/dcc:quantity[3]", "T313"),
            (r"\kelvin", r"\kelvins", f"{RESULT}/dcc:quantity[1]", "T304"),
            ("expandedUncXMLList", "coverageIntervalXMLList", f"{RESULT}/dcc:quantity[3]", "T316"),
            ('"basic_measurementError"', '"basic_other"', RESULT, "T307"),
        ],
    )
    def test_what_is_not_understood_is_named_by_its_xpath(
        self, old: str, new: str, where: str, code: str
    ) -> None:
        assert old in TYPICAL
        with pytest.raises(DccRefused) as refused:
            import_dcc(dcc(TYPICAL.replace(old, new)), replace(PROBE, range_unit="K"))
        assert refused.value.code == code
        assert refused.value.where.startswith(where)

    def test_resistance_against_temperature_forms_no_error(self) -> None:
        measured = quantity(
            "basic_measuredValue", real_list("100.02 138.50 175.8", r"\ohm", expanded("0.004"))
        )
        with pytest.raises(DccRefused, match="no error of indication can be formed"):
            import_dcc(dcc(table(REFERENCE, measured)), PROBE)

    def test_tables_without_reference_are_left_aside(self) -> None:
        coefficients = table(quantity("", real_list("1 2", r"\one")))
        assert import_dcc(dcc(TYPICAL + coefficients), PROBE) != import_dcc(
            dcc(TYPICAL), PROBE
        )  # another digest
        assert import_dcc(dcc(TYPICAL + coefficients), PROBE).points == import_dcc(dcc(TYPICAL), PROBE).points
        with pytest.raises(DccRefused, match="no table of results"):
            import_dcc(dcc(coefficients), PROBE)

    def test_several_tables_need_their_quantities(self) -> None:
        two = dcc(TYPICAL + TYPICAL)
        with pytest.raises(DccRefused, match="2 tables of results"):
            import_dcc(two, PROBE)
        with pytest.raises(DccRefused, match="which quantity"):
            import_dcc(dcc(TYPICAL), METER)

    def test_a_run_up_and_down_is_refused_or_joined(self) -> None:
        data = dcc(
            table(
                quantity("basic_referenceValue", real_list("10.0 20.0 10.0", CELSIUS)),
                quantity("basic_measuredValue", real_list("10.1 20.1 10.3", CELSIUS)),
                quantity(
                    "basic_measurementError", real_list("0.1 0.1 0.3", KELVIN, expanded("0.06 0.06 0.08"))
                ),
            )
        )
        with pytest.raises(DccRefused, match=r"reference value 10\.0 stands more than once"):
            import_dcc(data, PROBE)
        low, high = import_dcc(data, PROBE, repeats="mean").points
        assert (low.load, low.error, high.error) == (D("10.0"), D("0.2"), D("0.1"))
        assert float(low.U) == pytest.approx(2 * (0.04**2 + 0.1**2 / 3) ** 0.5, rel=1e-5)

    def test_falling_runs_are_turned(self) -> None:
        data = dcc(
            table(
                quantity("basic_referenceValue", real_list("30.0 20.0 10.0", CELSIUS)),
                quantity("basic_measurementError", real_list("0.3 0.2 0.1", KELVIN, expanded("0.06"))),
            )
        )
        assert [(p.load, p.error) for p in import_dcc(data, PROBE).points] == [
            (D("10.0"), D("0.1")), (D("20.0"), D("0.2")), (D("30.0"), D("0.3")),
        ]  # fmt: skip

    @pytest.mark.parametrize("version", ["2.3.0", "3.4.0", "4.0.0", "", "three"])
    def test_unknown_versions(self, version: str) -> None:
        with pytest.raises(DccRefused, match=r"known are 2\.4 to 3\.3"):
            read(dcc(TYPICAL, version=version))

    @pytest.mark.parametrize("version", ["2.4.0", "3.0.0", "3.1.2", "3.2.1", "3.3.0", "3.3.0-rc.1"])
    def test_known_versions(self, version: str) -> None:
        assert read(dcc(TYPICAL, version=version)).version == version

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", "not a digital calibration certificate"),
            (b"%PDF-1.7", "not a digital calibration certificate"),
            (b"<html/>", "root element is another"),
            (
                b'<dcc:digitalCalibrationCertificate xmlns:dcc="https://ptb.de/other"/>',
                "root element is another",
            ),
            (
                b'<!DOCTYPE x [<!ENTITY a "b">]><dcc:digitalCalibrationCertificate xmlns:dcc="https://ptb.de/dcc"/>',
                "document type",
            ),
            (b" " * (20 * 1024 * 1024 + 1), "at most"),
        ],
    )
    def test_what_is_no_dcc(self, data: bytes, said: str) -> None:
        with pytest.raises(DccRefused, match=said):
            read(data)

    def test_entities_fetch_nothing(self, tmp_path: Any) -> None:
        secret = tmp_path / "secret.txt"
        secret.write_text("LEAK")
        evil = f'<!DOCTYPE d [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
        data = (
            dcc(TYPICAL)
            .replace(b"<dcc:digital", evil.encode() + b"<dcc:digital", 1)
            .replace(b"LAB-2026-17", b"&e;")
        )
        with pytest.raises(DccRefused, match="document type"):
            read(data)

    @pytest.mark.parametrize("name", ["uniqueIdentifier", "endPerformanceDate", "beginPerformanceDate"])
    def test_a_missing_element_is_named(self, name: str) -> None:
        gone = dcc(TYPICAL).decode()
        start = gone.index(f"<dcc:{name}>")
        end = gone.index(f"</dcc:{name}>") + len(f"</dcc:{name}>")
        with pytest.raises(DccRefused, match=f"dcc:coreData/dcc:{name}: is missing"):
            read((gone[:start] + gone[end:]).encode())

    def test_a_bad_date(self) -> None:
        with pytest.raises(DccRefused, match="'2026-02-30' is not a date"):
            read(dcc(TYPICAL).replace(b"2026-03-02", b"2026-02-30"))

    def test_relative_uncertainty_alone_is_not_read(self) -> None:
        relative = (
            "<dcc:relativeUncertainty><dcc:relativeUncertaintySingle><si:value>0.1</si:value><si:unit>\\one</si:unit>"
            "</dcc:relativeUncertaintySingle></dcc:relativeUncertainty></dcc:quantity>"
        )
        bare = quantity("basic_measurementError", real_list("0.072 0.089 0.107", KELVIN))
        bare = bare.replace("</dcc:quantity>", relative)
        with pytest.raises(DccRefused, match="relativeUncertainty"):
            import_dcc(dcc(table(REFERENCE, MEASURED, bare)), PROBE)
