"""The register admits what is right, refuses what is wrong whole, and remembers who, when and why."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from calibration import refusals
from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
    SignatureCheck,
    SignatureVerdict,
    TraceabilityError,
)
from calibration.installation import Installations
from calibration.records import Finding
from calibration.refusals import Refusal
from calibration.register import Register

Make = Callable[..., Any]
D = Decimal

METER = Instrument(
    "M1", InstrumentKind.METER, "Acrel", "ADW300", "20261124001", "potline 3", "0.5S", D("0.5"), "%",
    D("57.7"), D("1.5"), D(6), D(1), D(0), D(400), "A", "Cabinet 3", "Energy department", "", 24, 45, "north wall",
)  # fmt: skip


class TestInstruments:
    def test_every_field_comes_back_after_the_file_was_closed(self, path: Path, clock: Make) -> None:
        with Register.open(path, now=clock) as register:
            register.add_instrument(METER, actor="Li Na")
        with Register.open(path, now=clock, read_only=True) as register:
            assert register.instrument("M1") == METER

    def test_the_audit_trail_says_who_when_and_why(self, register: Register, clock: Make) -> None:
        register.add_instrument(METER, actor="Li Na", reason="commissioning")
        clock.forward(hours=2)
        register.change_instrument(
            replace(METER, place="Cabinet 4"), actor="Wang", reason="cabinet renumbered"
        )
        first, second = register.audit("instrument", "M1")
        assert (first.actor, first.action, first.reason, first.old) == (
            "Li Na",
            "register",
            "commissioning",
            None,
        )
        assert (second.actor, second.reason, second.at) == ("Wang", "cabinet renumbered", clock())
        assert second.old is not None
        assert second.old["value"]["place"] == "Cabinet 3"
        assert second.new["value"]["place"] == "Cabinet 4"

    def test_an_instrument_can_be_seen_as_it_was(self, register: Register, clock: Make) -> None:
        ct = Instrument("CT1", InstrumentKind.CT, ratio=D(4000))
        register.add_instrument(ct, actor="Li Na")
        before = clock()
        clock.forward(days=1)
        register.change_instrument(replace(ct, ratio=D(3000)), actor="Li Na", reason="tapped down")
        assert register.instrument("CT1", known_at=before).ratio == 4000
        assert register.instrument("CT1").ratio == 3000
        with pytest.raises(refusals.UnknownInstrument):
            register.instrument("CT1", known_at=before - timedelta(seconds=1))

    def test_withdrawn_instruments_leave_the_list_but_not_the_register(self, register: Register) -> None:
        register.add_instrument(METER, actor="Li Na")
        register.withdraw_instrument("M1", actor="Wang", reason="scrapped")
        assert register.instruments() == ()
        assert register.instruments(include_withdrawn=True) == (METER,)
        withdrawal = register.instrument_record("M1").withdrawn
        assert withdrawal is not None
        assert (withdrawal.by, withdrawal.reason) == ("Wang", "scrapped")
        with pytest.raises(refusals.Withdrawn, match="scrapped"):
            register.withdraw_instrument("M1", actor="Wang", reason="again")

    def test_list_by_kind_place_and_text(self, register: Register) -> None:
        ct = Instrument("CT1", InstrumentKind.CT, serial="55-77", place="Cabinet 3")
        register.add(instruments=[METER, ct], actor="Li Na")
        assert register.instruments(kind=InstrumentKind.CT) == (ct,)
        assert register.instruments(place="Cabinet 3") == (ct, METER)
        assert register.instruments(text="POTLINE") == (METER,)
        assert register.instruments(text="55-7") == (ct,)
        assert register.find(manufacturer="Acrel", model="ADW300", serial="20261124001") == METER
        assert register.find(manufacturer="Acrel", model="ADW300", serial="1") is None

    def test_a_retired_serial_number_may_be_registered_anew(self, register: Register) -> None:
        register.add_instrument(METER, actor="Li Na")
        with pytest.raises(refusals.DuplicateId, match="M1"):
            register.add_instrument(replace(METER, id="M2"), actor="Li Na")
        register.withdraw_instrument("M1", actor="Li Na", reason="registered under the wrong id")
        register.add_instrument(replace(METER, id="M2"), actor="Li Na")

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"id": ""}, "T108"),
            ({"id": " M1"}, "T108"),
            ({"id": "M\n1"}, "T108"),
            ({"id": "M" * 81}, "T108"),
            ({"mpe": D(0)}, "T109"),
            ({"mpe": D("NaN")}, "T123"),
            ({"mpe_unit": "percent"}, "T110"),
            ({"ratio": D(4000)}, "T109"),
            ({"range_low": D(5), "range_high": D(5)}, "T109"),
            ({"range_unit": "furlong"}, "T110"),
            ({"maximum_current": D(1)}, "T109"),
            ({"interval_months": 0}, "T109"),
            ({"interval_months": 120000}, "T109"),
            ({"lead_days": 10**9}, "T109"),
            ({"parent": "CT9"}, "T101"),
            ({"parent": "M1"}, "T111"),
        ],
    )
    def test_an_instrument_that_cannot_be_is_refused(
        self, register: Register, change: Any, code: str
    ) -> None:
        with pytest.raises(TraceabilityError) as refused:
            register.add_instrument(replace(METER, **change), actor="Li Na")
        assert refused.value.code == code
        assert register.audit() == ()

    def test_parents_cannot_form_a_circle(self, register: Register) -> None:
        a, b = Instrument("A", InstrumentKind.CT), Instrument("B", InstrumentKind.CT, parent="A")
        register.add(instruments=[a, b], actor="Li Na")
        with pytest.raises(refusals.CircularParent, match="A → B"):
            register.change_instrument(replace(a, parent="B"), actor="Li Na", reason="mistake")

    def test_a_meter_may_stand_before_its_transformer_in_one_batch(self, register: Register) -> None:
        ct = Instrument("CT1", InstrumentKind.CT)
        register.add(instruments=[replace(METER, parent="CT1"), ct], actor="Li Na")
        assert register.instrument("M1").parent == "CT1"

    def test_a_circle_within_one_batch_is_refused(self, register: Register) -> None:
        pair = [
            Instrument("A", InstrumentKind.CT, parent="B"),
            Instrument("B", InstrumentKind.CT, parent="A"),
        ]
        with pytest.raises(TraceabilityError):
            register.add(instruments=pair, actor="Li Na")
        assert register.instruments() == ()

    def test_a_name_and_a_reason_are_needed(self, register: Register) -> None:
        with pytest.raises(refusals.NotAccountable, match="actor"):
            register.add_instrument(METER, actor=" ")
        register.add_instrument(METER, actor="Li Na")
        with pytest.raises(refusals.NotAccountable, match="reason"):
            register.withdraw_instrument("M1", actor="Li Na", reason="")

    def test_a_change_that_changes_nothing_is_said_so(self, register: Register) -> None:
        register.add_instrument(METER, actor="Li Na")
        with pytest.raises(refusals.BadIdentity, match="unchanged"):
            register.change_instrument(METER, actor="Li Na", reason="no reason")


class TestCertificates:
    @pytest.fixture
    def stocked(self, register: Register) -> Register:
        standards = [Instrument(name, InstrumentKind.REFERENCE_STANDARD) for name in ("RS1", "RS2")]
        register.add(instruments=[METER, *standards], actor="Li Na")
        return register

    def test_every_field_comes_back(self, stocked: Register, a_certificate: Make, a_point: Make) -> None:
        certificate = a_certificate(
            issued=date(2026, 3, 9),
            valid_until=date(2028, 3, 1),
            accreditation="CNAS L0001",
            as_found=(a_point("5", error=D("0.61"), power_factor=D("-0.5"), dof=D(9)),),
            references=(ReferenceUse("RS1", "NIM-1", "ab" * 32, D("0.01")), ReferenceUse("RS2")),
            conditions={"temperature": "23.1 Cel"},
            digest="cd" * 32,
            adjusted=True,
        )
        stocked.add_certificate(certificate, actor="Li Na")
        assert stocked.certificate("CAL-1") == certificate

    @pytest.mark.parametrize(
        ("change", "code", "said"),
        [
            ({"instrument": "M11"}, "T101", "similar: M1"),
            ({"laboratory": " "}, "T200", "laboratory"),
            ({"issued": date(2026, 3, 1)}, "T201", "issued 2026-03-01 lies before performed 2026-03-02"),
            ({"valid_until": date(2025, 3, 1)}, "T201", "valid_until"),
            ({"performed": date(2026, 11, 25)}, "T202", "future"),
            ({"points": ()}, "T203", "points"),
            ({"digest": "XY"}, "T221", "SHA-256"),
            ({"references": (ReferenceUse("RS9"),)}, "T101", "similar: RS2, RS1"),
            ({"references": (ReferenceUse("M1"),)}, "T215", "own reference"),
            ({"references": (ReferenceUse(""),)}, "T214", "needs the standard"),
            ({"references": (ReferenceUse("RS1"), ReferenceUse("RS1"))}, "T216", "twice"),
            ({"references": (ReferenceUse("RS1", share=D("0.031")),)}, "T211", "U/k = 0.03"),
            ({"references": (ReferenceUse("RS1", share=D("-0.01")),)}, "T213", "negative"),
            (
                {
                    "references": (
                        ReferenceUse("RS1", share=D("0.025")),
                        ReferenceUse("RS2", share=D("0.025")),
                    )
                },
                "T212",
                "together",
            ),
        ],
    )
    def test_a_bad_certificate_is_refused(
        self, stocked: Register, a_certificate: Make, change: Any, code: str, said: str
    ) -> None:
        head = stocked.head()
        with pytest.raises(TraceabilityError, match=said) as refused:
            stocked.add_certificate(a_certificate(**change), actor="Li Na")
        assert refused.value.code == code
        assert stocked.head() == head
        assert stocked.certificates() == ()

    @pytest.mark.parametrize(
        ("change", "kind", "code"),
        [
            ({"k": D(0)}, refusals.CoverageFactorMissing, "T204"),
            ({"k": D("0.95")}, refusals.CoverageFactorMissing, "T204"),
            ({"U": D(0)}, refusals.PointsRefused, "T205"),
            ({"U": D("-0.06")}, refusals.PointsRefused, "T205"),
            ({"U": D("NaN")}, refusals.PointsRefused, "T123"),
            ({"error": D("Infinity")}, refusals.PointsRefused, "T123"),
            ({"power_factor": D("1.1")}, refusals.PointsRefused, "T209"),
            ({"power_factor": D(0)}, refusals.PointsRefused, "T209"),
            ({"unit": "pct"}, refusals.UnknownUnit, "T110"),
            ({"load_unit": "amp"}, refusals.UnknownUnit, "T110"),
            ({"quantity": ""}, refusals.PointsRefused, "T224"),
            ({"dof": D("0.5")}, refusals.PointsRefused, "T223"),
        ],
    )
    def test_a_bad_point_is_refused_and_named(
        self,
        stocked: Register,
        a_certificate: Make,
        a_point: Make,
        change: Any,
        kind: type[Refusal],
        code: str,
    ) -> None:
        points = (a_point("1"), a_point("5", **change))
        with pytest.raises(kind) as refused:
            stocked.add_certificate(a_certificate(points=points), actor="Li Na")
        assert refused.value.code == code
        assert refused.value.where == "certificate CAL-1, points[2]"

    @pytest.mark.parametrize(("loads", "code"), [(["1", "1.0"], "T207"), (["1", "5", "2"], "T206")])
    def test_loads_rise_without_repeats(
        self, stocked: Register, a_certificate: Make, a_point: Make, loads: list[str], code: str
    ) -> None:
        with pytest.raises(refusals.PointsRefused) as refused:
            stocked.add_certificate(a_certificate(points=tuple(map(a_point, loads))), actor="Li Na")
        assert refused.value.code == code

    def test_each_power_factor_has_its_own_run_of_loads(
        self, stocked: Register, a_certificate: Make, a_point: Make
    ) -> None:
        inductive = [a_point(load, power_factor=D("0.5")) for load in ("1", "5")]
        stocked.add_certificate(a_certificate(points=(a_point("1"), a_point("5"), *inductive)), actor="Li Na")

    def test_units_do_not_change_within_a_quantity(
        self, stocked: Register, a_certificate: Make, a_point: Make
    ) -> None:
        with pytest.raises(refusals.PointsRefused, match=r"unit is 1 here and % in an earlier point"):
            stocked.add_certificate(
                a_certificate(points=(a_point("1"), a_point("5", unit="1"))), actor="Li Na"
            )

    @pytest.mark.parametrize(
        ("error", "good"), [("0.24", True), ("0.2", True), ("-0.24", False), ("0.30", False)]
    )
    def test_an_error_must_be_indication_minus_reference(
        self, stocked: Register, a_certificate: Make, a_point: Make, error: str, good: bool
    ) -> None:
        """501.2 against 500.0 is +0.24 %: the sign of a correction is caught."""
        point = a_point("5", error=D(error), reference=D("500.00"), indication=D("501.20"))
        if good:
            stocked.add_certificate(a_certificate(points=(point,)), actor="Li Na")
        else:
            with pytest.raises(refusals.PointsRefused, match="given_as"):
                stocked.add_certificate(a_certificate(points=(point,)), actor="Li Na")

    def test_all_mistakes_are_named_at_once_in_both_languages(
        self, stocked: Register, a_certificate: Make
    ) -> None:
        bad = [a_certificate("CAL-1", laboratory=""), a_certificate("CAL-2", instrument="M7")]
        good = a_certificate("CAL-3")
        with pytest.raises(Refusal) as refused:
            stocked.add(certificates=[*bad, good], actor="Li Na")
        assert [problem.code for problem in refused.value.all] == ["T200", "T101"]
        assert "缺少实验室" in refused.value.text("zh")
        assert stocked.certificates() == ()

    def test_verification_states_result_class_and_validity(
        self, stocked: Register, a_certificate: Make
    ) -> None:
        bare = a_certificate("JD-1", kind=CertificateKind.VERIFICATION, points=())
        with pytest.raises(Refusal) as refused:
            stocked.add_certificate(bare, actor="Li Na")
        assert {problem.code for problem in refused.value.all} == {"T218", "T219"}
        with pytest.raises(Refusal, match="until when"):
            stocked.add_certificate(replace(bare, passed=True, accuracy_class="0.5S"), actor="Li Na")
        good = replace(bare, passed=True, accuracy_class="0.5S", valid_until=date(2032, 3, 1))
        stocked.add_certificate(good, actor="Li Na")
        assert stocked.in_force("M1", date(2026, 6, 1)) == (good,)

    def test_a_number_is_taken_once_and_retyped_after_withdrawal(
        self, stocked: Register, a_certificate: Make
    ) -> None:
        stocked.add_certificate(a_certificate(), actor="Li Na")
        with pytest.raises(refusals.DuplicateId, match="withdraw the registered one first"):
            stocked.add_certificate(a_certificate(), actor="Li Na")
        stocked.withdraw_certificate("CAL-1", actor="Li Na", reason="k mistyped")
        stocked.add_certificate(a_certificate(laboratory="Lab B"), actor="Li Na")
        assert [r.revision for r in stocked.certificate_records(certificate="CAL-1")] == [2, 1]
        assert stocked.certificate("CAL-1").laboratory == "Lab B"

    def test_a_parent_certificate_must_be_of_the_standard_named(
        self, stocked: Register, a_certificate: Make
    ) -> None:
        stocked.add_certificate(a_certificate("NIM-1", "RS1"), actor="Li Na")
        with pytest.raises(refusals.ReferenceRefused, match="belongs to RS1, not to RS2"):
            stocked.add_certificate(a_certificate(references=(ReferenceUse("RS2", "NIM-1"),)), actor="Li Na")

    def test_unknown_certificate_offers_what_is_near(self, stocked: Register, a_certificate: Make) -> None:
        stocked.add_certificate(a_certificate("CAL-2026-001"), actor="Li Na")
        with pytest.raises(refusals.UnknownCertificate, match="similar: CAL-2026-001"):
            stocked.certificate("CAL-2026-01")

    def test_a_signature_check_is_kept_with_its_basis(self, stocked: Register, a_certificate: Make) -> None:
        check = SignatureCheck(
            SignatureVerdict.UNTRUSTED, "no path to the trust store", "received",
            datetime(2026, 11, 24, 8, tzinfo=UTC), None, "CN=Lab", ("CN=Lab", "CN=Root"),
        )  # fmt: skip
        stocked.add_certificate(a_certificate(), actor="Li Na", signature=check)
        assert stocked.certificate_record("CAL-1").signature == check


class TestInForce:
    def test_the_newest_performed_by_then_speaks(self, hierarchy: Register, a_certificate: Make) -> None:
        newer = a_certificate("CAL-2", performed=date(2026, 9, 1))
        hierarchy.add_certificate(newer, actor="Li Na")
        assert [c.id for c in hierarchy.in_force("M1", date(2026, 3, 1))] == []
        assert [c.id for c in hierarchy.in_force("M1", date(2026, 3, 2))] == ["CAL-1"]
        assert [c.id for c in hierarchy.in_force("M1", date(2026, 9, 1))] == ["CAL-2"]

    def test_an_overdue_certificate_still_speaks(self, hierarchy: Register) -> None:
        assert [c.id for c in hierarchy.in_force("M1", date(2035, 1, 1))] == ["CAL-1"]

    def test_older_values_stay_for_quantities_not_calibrated_again(
        self, hierarchy: Register, a_certificate: Make, a_point: Make
    ) -> None:
        volts = a_point("220", quantity="voltage", load_unit="V")
        hierarchy.add_certificate(
            a_certificate("CAL-2", performed=date(2026, 9, 1), points=(volts,)), actor="Li Na"
        )
        assert [c.id for c in hierarchy.in_force("M1", date(2026, 10, 1))] == ["CAL-2", "CAL-1"]

    def test_a_verification_speaks_until_anything_newer(
        self, hierarchy: Register, a_certificate: Make
    ) -> None:
        bare = {"points": (), "passed": True, "accuracy_class": "1", "valid_until": date(2032, 1, 1)}
        hierarchy.add(
            certificates=[
                a_certificate("JD-1", kind=CertificateKind.VERIFICATION, performed=date(2026, 4, 1), **bare),
                a_certificate("REP-1", kind=CertificateKind.TEST, performed=date(2026, 4, 2), points=()),
            ],
            actor="Li Na",
        )
        assert [c.id for c in hierarchy.in_force("M1", date(2026, 5, 1))] == ["JD-1", "CAL-1"]
        hierarchy.add_certificate(a_certificate("CAL-2", performed=date(2026, 6, 1)), actor="Li Na")
        assert [c.id for c in hierarchy.in_force("M1", date(2026, 7, 1))] == ["CAL-2"]

    def test_withdrawal_counts_from_its_moment(self, hierarchy: Register, clock: Make) -> None:
        good = clock()
        withdrawn = clock.forward(days=1)
        hierarchy.withdraw_certificate("CAL-1", actor="Wang", reason="standard dropped")
        on = date(2026, 6, 1)
        assert hierarchy.in_force("M1", on) == ()
        assert hierarchy.in_force("M1", on, known_at=withdrawn) == ()
        assert [c.id for c in hierarchy.in_force("M1", on, known_at=good)] == ["CAL-1"]
        assert hierarchy.in_force("M1", on, known_at=good - timedelta(days=1)) == ()

    def test_what_a_calibration_state_is_compiled_from(
        self, hierarchy: Register, a_certificate: Make
    ) -> None:
        hierarchy.add(
            instruments=[
                Instrument("PT1", InstrumentKind.PT, ratio=D(100)),
                Instrument("CT1", InstrumentKind.CT, ratio=D(4000), parent="PT1"),
            ],
            certificates=[a_certificate("CT-9", "CT1", references=(ReferenceUse("RS"),))],
            actor="Li Na",
        )
        meter = replace(hierarchy.instrument("M1"), parent="CT1")
        hierarchy.change_instrument(meter, actor="Li Na", reason="CT registered")
        inputs = hierarchy.compile_inputs("M1", date(2026, 6, 1))
        assert inputs.instrument == meter
        assert [t.id for t in inputs.transformers] == ["CT1", "PT1"]
        assert [c.id for c in inputs.certificates] == ["CAL-1", "CT-9"]
        assert [c.id for c in inputs.standards] == ["LAB-7", "NIM-1"]
        assert inputs.token == hierarchy.head()

    def test_transformers_at_the_measuring_point_come_by_role(self, hierarchy: Register, clock: Make) -> None:
        cts = [Instrument(name, InstrumentKind.CT, ratio=D(4000)) for name in ("CT-b", "CT-a", "CT-c")]
        hierarchy.add(instruments=cts, actor="Li Na")
        places = Installations(hierarchy)
        start = clock() - timedelta(days=9)
        places.install("P1", "M1", at=start, actor="Li Na")
        for role, name in (("ct.l1", "CT-b"), ("ct.l2", "CT-a"), ("ct.l3", "CT-c")):
            places.install("P1", name, at=start, role=role, actor="Li Na")
        today = clock().date()
        assert [t.id for t in hierarchy.compile_inputs("M1", today).transformers] == ["CT-b", "CT-a", "CT-c"]
        before = hierarchy.compile_inputs("M1", today - timedelta(days=20))
        assert before.transformers == ()

    def test_reverse_traceability_one_level(self, hierarchy: Register) -> None:
        assert [c.id for c in hierarchy.uses("WS")] == ["CAL-1"]
        assert [c.id for c in hierarchy.uses("WS", last=date(2026, 3, 1))] == []
        hierarchy.withdraw_certificate("CAL-1", actor="Wang", reason="void")
        assert hierarchy.uses("WS") == ()


class TestDocuments:
    def test_a_paper_is_kept_by_its_digest(self, hierarchy: Register) -> None:
        document = hierarchy.attach(
            b"%PDF-1.7 certificate",
            name="CAL-1.pdf",
            media_type="application/pdf",
            certificate="CAL-1",
            actor="Li Na",
        )
        assert document.digest == sha256(b"%PDF-1.7 certificate").hexdigest()
        assert hierarchy.documents(certificate="CAL-1") == (document,)
        assert hierarchy.content(document.digest) == b"%PDF-1.7 certificate"
        with pytest.raises(refusals.DuplicateId):
            hierarchy.attach(
                b"%PDF-1.7 certificate",
                name="b.pdf",
                media_type="application/pdf",
                certificate="CAL-1",
                actor="Li",
            )
        hierarchy.withdraw_document(document.id, actor="Li Na", reason="wrong scan")
        assert hierarchy.documents(certificate="CAL-1") == ()
        assert hierarchy.content(document.digest)

    def test_a_paper_that_is_not_the_one_stated_is_refused(
        self, hierarchy: Register, a_certificate: Make
    ) -> None:
        stated = sha256(b"the paper").hexdigest()
        hierarchy.add_certificate(a_certificate("CAL-9", digest=stated), actor="Li Na")
        with pytest.raises(refusals.BadDocument, match=stated):
            hierarchy.attach(
                b"another", name="x", media_type="text/plain", certificate="CAL-9", actor="Li Na"
            )
        hierarchy.attach(b"the paper", name="x", media_type="text/plain", certificate="CAL-9", actor="Li Na")
        assert [r.certificate.id for r in hierarchy.by_digest(stated)] == ["CAL-9"]

    @pytest.mark.parametrize("content", [b"", b"x" * (20 * 1024 * 1024 + 1)], ids=["empty", "too large"])
    def test_empty_and_huge_files_are_refused(self, hierarchy: Register, content: bytes) -> None:
        with pytest.raises(refusals.BadDocument):
            hierarchy.attach(content, name="x", media_type="image/jpeg", instrument="M1", actor="Li Na")


def test_certificate_signature_and_paper_are_one_step(hierarchy: Register, a_certificate: Make) -> None:
    paper = b"<dcc/>"
    good = a_certificate("CAL-9", digest=sha256(paper).hexdigest())
    check = SignatureCheck(SignatureVerdict.ABSENT)
    head = hierarchy.head()
    with pytest.raises(refusals.BadDocument):
        hierarchy.add_certificate(good, actor="Li Na", signature=check, paper=b"another file")
    assert hierarchy.head() == head
    assert "CAL-9" not in [c.id for c in hierarchy.certificates()]
    hierarchy.add_certificate(good, actor="Li Na", signature=check, paper=paper, media_type="application/xml")
    assert hierarchy.certificate_record("CAL-9").signature == check
    assert hierarchy.digests("CAL-9") == {good.digest}
    assert [e.action for e in hierarchy.audit()[-3:]] == ["register", "check signature", "attach"]
    assert hierarchy.check_audit() == ()


class TestFindings:
    def test_a_finding_is_kept_and_can_be_taken_back(self, hierarchy: Register, clock: Make) -> None:
        finding = Finding(
            "F1", "instrument", "WS", date(2025, 8, 1), date(2026, 4, 1), "as-found +0.3 %", D("0.3")
        )
        before = clock()
        clock.forward(hours=1)
        hierarchy.report_finding(finding, actor="Wang")
        (kept,) = hierarchy.findings(instrument="WS")
        assert (kept.shift, kept.covers(date(2026, 4, 1)), kept.covers(date(2026, 4, 2))) == (
            D("0.3"),
            True,
            False,
        )
        assert hierarchy.findings(instrument="WS", known_at=before) == ()
        hierarchy.withdraw_finding("F1", actor="Wang", reason="wrong standard")
        assert hierarchy.findings(instrument="WS") == ()

    def test_refusals(self, hierarchy: Register) -> None:
        finding = Finding("F1", "instrument", "WS", date(2025, 8, 1), date(2025, 7, 1), "bad")
        with pytest.raises(refusals.DatesReversed):
            hierarchy.report_finding(finding, actor="Wang")
        with pytest.raises(refusals.UnknownInstrument):
            hierarchy.report_finding(replace(finding, subject="XX"), actor="Wang")
        with pytest.raises(refusals.NotAccountable):
            hierarchy.report_finding(replace(finding, reason=""), actor="Wang")


class TestTheFile:
    def test_a_reader_sees_a_new_certificate_without_opening_again(
        self, path: Path, register: Register, clock: Make, a_certificate: Make
    ) -> None:
        register.add_instrument(METER, actor="Li Na")
        with Register.open(path, now=clock, read_only=True) as agent:
            token = agent.head()
            assert not agent.changed_since(token)
            register.add_certificate(a_certificate(), actor="Li Na")
            assert agent.changed_since(token)
            assert [c.id for c in agent.certificates("M1")] == ["CAL-1"]
            assert not agent.changed_since(agent.head())

    def test_a_reader_cannot_write(self, path: Path, register: Register, clock: Make) -> None:
        with Register.open(path, now=clock, read_only=True) as agent:
            with pytest.raises(refusals.RegisterError, match="reading only"):
                agent.add_instrument(METER, actor="Li Na")
            with pytest.raises(sqlite3.OperationalError):
                agent.ledger.connection.execute("DELETE FROM instrument")

    def test_the_journal_is_never_a_wal(self, path: Path, register: Register) -> None:
        with sqlite3.connect(path) as other:
            assert other.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
        other.close()

    def test_a_busy_register_says_so(self, path: Path, register: Register, clock: Make) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(refusals.RegisterError, match="busy"):
            Register.open(path, now=clock, busy_timeout_s=0.01)
        other.execute("ROLLBACK")
        other.close()

    def test_several_may_be_first_to_open_a_file(self, tmp_path: Path, clock: Make) -> None:
        refused: list[Exception] = []

        def open_it(path: Path, together: threading.Barrier) -> None:
            together.wait()
            try:
                Register.open(path, now=clock, busy_timeout_s=30).close()
            except Exception as error:
                refused.append(error)

        for n in range(25):
            together = threading.Barrier(6)
            threads = [
                threading.Thread(target=open_it, args=(tmp_path / f"{n}.db", together)) for _ in range(6)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert refused == []

    def test_two_writers_take_turns(self, path: Path, clock: Make) -> None:
        def write(worker: int) -> None:
            with Register.open(path, now=clock, busy_timeout_s=30) as own:
                for n in range(10):
                    own.add_instrument(Instrument(f"W{worker}-{n}"), actor=f"worker {worker}")

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Register.open(path, now=clock) as register:
            assert len(register.instruments()) == 30
            assert register.check_audit() == ()

    def test_what_is_not_a_register_is_refused(self, tmp_path: Path, clock: Make) -> None:
        text = tmp_path / "notes.txt"
        text.write_text("not a database at all " * 50)
        with pytest.raises(refusals.RegisterError, match=r"notes\.txt"):
            Register.open(text, now=clock)
        other = tmp_path / "other.db"
        with sqlite3.connect(other) as made:
            made.execute("CREATE TABLE t (x)")
        made.close()
        with pytest.raises(refusals.RegisterError, match="another program"):
            Register.open(other, now=clock)
        with pytest.raises(refusals.RegisterError, match="no such file"):
            Register.open(tmp_path / "none.db", now=clock, read_only=True)

    def test_a_newer_register_is_left_alone(self, path: Path, register: Register, clock: Make) -> None:
        with sqlite3.connect(path) as newer:
            newer.execute("PRAGMA user_version = 99")
        newer.close()
        with pytest.raises(refusals.RegisterError, match="newer version"):
            Register.open(path, now=clock)

    def test_a_time_without_zone_is_refused(self, path: Path) -> None:
        with (
            Register.open(path, now=lambda: datetime(2026, 1, 1)) as register,  # noqa: DTZ001
            pytest.raises(refusals.DatesReversed, match="time zone"),
        ):
            register.add_instrument(METER, actor="Li Na")

    def test_the_views_lay_points_and_references_flat(self, path: Path, hierarchy: Register) -> None:
        with sqlite3.connect(path) as other:
            points = other.execute(
                "SELECT load, U FROM calibration_point WHERE certificate = 'CAL-1'"
            ).fetchall()
            uses = other.execute("SELECT standard, parent FROM reference_use ORDER BY certificate").fetchall()
        other.close()
        assert points == [("0.5", "0.06"), ("5", "0.06"), ("60", "0.06")]
        assert uses == [("WS", "LAB-7"), ("RS", "NIM-1")]


def test_falling_loads_are_turned_and_slips_left_alone(a_point: Callable[..., CalibrationPoint]) -> None:
    from calibration.admission import arranged

    def loads(*given: str) -> list[str]:
        return [str(p.load) for p in arranged([a_point(load) for load in given])]

    assert loads("60", "5", "0.5") == ["0.5", "5", "60"]
    assert loads("0.5", "5", "60") == ["0.5", "5", "60"]
    assert loads("0.5", "60", "5") == ["0.5", "60", "5"]


def test_certificates_are_values(a_certificate: Callable[..., Certificate]) -> None:
    assert a_certificate() == a_certificate()
