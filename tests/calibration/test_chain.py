"""The chain as an auditor asks for it: what a value leans on, on which evidence, and where that ends or breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from calibration import refusals
from calibration.certificate import CertificateKind, Instrument, InstrumentKind, ReferenceUse
from calibration.chain import Evidence, Policy, Status, preview, trace
from calibration.holdings import Holdings
from calibration.records import Finding
from calibration.register import Register

Make = Callable[..., Any]
JUNE = date(2026, 6, 1)


def codes(chain: Any) -> list[str]:
    return [reason.code for reason in chain.all_reasons() if reason.status is not Status.VALID]


def test_an_unbroken_chain_ends_at_the_national_institute(hierarchy: Register) -> None:
    chain = trace(hierarchy, "M1", JUNE)
    assert chain.status is Status.VALID
    assert [[step.certificate.id for step in path] for path in chain.paths()] == [["CAL-1", "LAB-7", "NIM-1"]]
    assert [reason.code for reason in chain.all_reasons()] == ["national_end"]


def test_a_parent_counts_on_the_day_of_the_childs_calibration_not_today(hierarchy: Register) -> None:
    """NIM-1 ran out on 2026-05-01; LAB-7 used it on 2025-02-01, when it was good."""
    chain = trace(hierarchy, "M1", JUNE)
    (path,) = chain.paths()
    assert [step.at for step in path] == [JUNE, date(2026, 3, 2), date(2025, 2, 1)]
    assert path[2].due == date(2026, 5, 1)
    assert chain.status is Status.VALID


def test_a_parent_that_had_run_out_on_that_day_breaks_the_chain(
    hierarchy: Register, a_certificate: Make
) -> None:
    late = a_certificate("CAL-2", performed=date(2026, 8, 1), references=(ReferenceUse("RS", "NIM-1"),))
    hierarchy.add_certificate(late, actor="Li Na")
    chain = trace(hierarchy, "M1", date(2026, 9, 1))
    assert chain.status is Status.BROKEN
    assert codes(chain) == ["expired"]
    assert chain.all_reasons()[0].text() == "certificate NIM-1 was valid until 2026-05-01, not on 2026-08-01"


@pytest.mark.parametrize(
    ("at", "status", "reasons"),
    [
        (date(2026, 3, 1), Status.INCOMPLETE, ["no_certificate"]),
        (date(2026, 3, 2), Status.VALID, []),
        (date(2027, 3, 1), Status.VALID, []),
        (date(2027, 3, 2), Status.BROKEN, ["expired"]),
    ],
)
def test_validity_of_the_instruments_own_certificate(
    hierarchy: Register, at: date, status: Status, reasons: list[str]
) -> None:
    chain = trace(hierarchy, "M1", at)
    assert (chain.status, codes(chain)) == (status, reasons)


def test_the_agreed_interval_counts_where_it_is_shorter(hierarchy: Register) -> None:
    meter = replace(hierarchy.instrument("M1"), interval_months=6)
    hierarchy.change_instrument(meter, actor="Li Na", reason="new procedure")
    assert trace(hierarchy, "M1", date(2026, 9, 2)).status is Status.VALID
    assert codes(trace(hierarchy, "M1", date(2026, 9, 3))) == ["expired"]


def test_an_ad_hoc_calibration_does_not_move_the_due_date(hierarchy: Register, a_certificate: Make) -> None:
    meter = replace(hierarchy.instrument("M1"), interval_months=12)
    hierarchy.change_instrument(meter, actor="Li Na", reason="interval agreed")
    ad_hoc = a_certificate("CAL-2", performed=date(2026, 9, 1), resets_cycle=False, national=True)
    hierarchy.add_certificate(ad_hoc, actor="Li Na")
    assert trace(hierarchy, "M1", date(2027, 3, 1)).status is Status.VALID
    assert "expired" in codes(trace(hierarchy, "M1", date(2027, 3, 3)))


def test_a_parent_performed_after_the_child_cannot_have_been_used(
    hierarchy: Register, a_certificate: Make
) -> None:
    later = a_certificate("LAB-8", "WS", performed=date(2026, 4, 1), national=True)
    child = a_certificate("CAL-2", performed=date(2026, 3, 20), references=(ReferenceUse("WS", "LAB-8"),))
    hierarchy.add(certificates=[later, child], actor="Li Na")
    assert codes(trace(hierarchy, "M1", JUNE)) == ["not_yet"]


def test_withdrawal_breaks_from_its_moment_in_what_was_known(hierarchy: Register, clock: Make) -> None:
    before = clock()
    clock.forward(days=3)
    hierarchy.withdraw_certificate("LAB-7", actor="Wang", reason="laboratory recalled it")
    assert codes(trace(hierarchy, "M1", JUNE)) == ["withdrawn"]
    assert trace(hierarchy, "M1", JUNE).status is Status.BROKEN
    assert trace(hierarchy, "M1", JUNE, known_at=before).status is Status.VALID


def test_a_certificate_typed_anew_heals_the_chain(hierarchy: Register) -> None:
    again = hierarchy.certificate("LAB-7")
    hierarchy.withdraw_certificate("LAB-7", actor="Wang", reason="typed wrongly")
    hierarchy.add_certificate(again, actor="Wang")
    assert trace(hierarchy, "M1", JUNE).status is Status.VALID


def test_an_own_certificate_withdrawn_is_said_so(hierarchy: Register) -> None:
    hierarchy.withdraw_certificate("CAL-1", actor="Wang", reason="wrong meter")
    chain = trace(hierarchy, "M1", JUNE)
    assert (chain.status, codes(chain), chain.steps) == (Status.BROKEN, ["withdrawn"], ())


def test_what_was_registered_later_was_not_known_then(hierarchy: Register, clock: Make) -> None:
    chain = trace(hierarchy, "M1", JUNE, known_at=clock() - timedelta(days=1))
    assert codes(chain) == ["no_certificate"]


@pytest.mark.parametrize(
    ("about", "subject", "first", "last", "status"),
    [
        ("instrument", "WS", date(2026, 3, 1), date(2026, 3, 3), Status.BROKEN),
        ("instrument", "WS", date(2026, 3, 3), None, Status.VALID),
        ("certificate", "NIM-1", date(2025, 1, 1), date(2025, 2, 1), Status.BROKEN),
        ("certificate", "CAL-1", date(2026, 5, 1), None, Status.BROKEN),
        ("instrument", "M1", date(2026, 6, 2), None, Status.VALID),
        ("instrument", "M1", date(2026, 6, 1), None, Status.BROKEN),
    ],
)
def test_out_of_tolerance_counts_on_the_day_of_use(
    hierarchy: Register, about: str, subject: str, first: date, last: date | None, status: Status
) -> None:
    hierarchy.report_finding(Finding("F1", about, subject, first, last, "as-found +0.4 %"), actor="Wang")
    assert trace(hierarchy, "M1", JUNE).status is status


def test_a_failed_verification_breaks(hierarchy: Register, a_certificate: Make) -> None:
    failed = a_certificate(
        "JD-9", kind=CertificateKind.VERIFICATION, performed=date(2026, 5, 1), points=(), passed=False,
        accuracy_class="0.5S", national=True,
    )  # fmt: skip
    hierarchy.add_certificate(failed, actor="Li Na")
    assert "failed" in codes(trace(hierarchy, "M1", JUNE))


class TestEnds:
    def test_an_accredited_laboratory_outside_is_an_honest_end(
        self, register: Register, a_certificate: Make
    ) -> None:
        register.add(
            instruments=[Instrument("M1")],
            certificates=[a_certificate(accreditation="CNAS L0123")],
            actor="Li Na",
        )
        chain = trace(register, "M1", JUNE)
        assert (chain.status, codes(chain)) == (Status.INCOMPLETE, ["accredited_outside"])
        assert trace(register, "M1", JUNE, policy=Policy(accept_accredited=True)).status is Status.VALID
        some = Policy(accept_accredited=frozenset({"CNAS L0123"}))
        assert trace(register, "M1", JUNE, policy=some).status is Status.VALID
        other = Policy(accept_accredited=frozenset({"DAkkS D-K-1"}))
        assert trace(register, "M1", JUNE, policy=other).status is Status.INCOMPLETE

    def test_a_certificate_without_references_is_incomplete(
        self, register: Register, a_certificate: Make
    ) -> None:
        register.add(instruments=[Instrument("M1")], certificates=[a_certificate()], actor="Li Na")
        assert codes(trace(register, "M1", JUNE, policy=Policy(accept_accredited=True))) == ["no_reference"]

    @pytest.mark.parametrize(
        ("use", "code"),
        [
            (ReferenceUse("", "X-1"), "standard_unknown"),
            (ReferenceUse("", "", "ab" * 32), "standard_unknown"),
            (ReferenceUse("WS", "X-1"), "parent_unknown"),
            (ReferenceUse("RS2"), "no_certificate"),
        ],
    )
    def test_what_is_not_in_the_register_leaves_the_chain_incomplete(
        self, hierarchy: Register, a_certificate: Make, use: ReferenceUse, code: str
    ) -> None:
        hierarchy.add_instrument(Instrument("RS2", InstrumentKind.REFERENCE_STANDARD), actor="Li Na")
        hierarchy.add_certificate(
            a_certificate("CAL-2", performed=date(2026, 4, 1), references=(use,)), actor="Li Na"
        )
        chain = trace(hierarchy, "M1", JUNE)
        assert (chain.status, codes(chain)) == (Status.INCOMPLETE, [code])

    def test_every_reference_must_be_good(self, hierarchy: Register, a_certificate: Make) -> None:
        both = (ReferenceUse("WS", "LAB-7"), ReferenceUse("", "X-1"))
        hierarchy.add_certificate(
            a_certificate("CAL-2", performed=date(2026, 4, 1), references=both), actor="Li Na"
        )
        chain = trace(hierarchy, "M1", JUNE)
        assert chain.status is Status.INCOMPLETE
        assert [edge.status for edge in chain.steps[0].edges] == [Status.VALID, Status.INCOMPLETE]
        assert [[s.certificate.id for s in path] for path in chain.paths()] == [
            ["CAL-2"],
            ["CAL-2", "LAB-7", "NIM-1"],
        ]

    def test_an_unknown_instrument_is_the_askers_mistake(self, hierarchy: Register) -> None:
        with pytest.raises(refusals.UnknownInstrument):
            trace(hierarchy, "M7", JUNE)


class TestEvidence:
    def use(self, hierarchy: Register, a_certificate: Make, use: ReferenceUse) -> Any:
        hierarchy.add_certificate(
            a_certificate("CAL-2", performed=date(2026, 4, 1), references=(use,)), actor="Li Na"
        )
        (edge,) = trace(hierarchy, "M1", JUNE).steps[0].edges
        return edge

    def test_typed_by_hand_takes_the_certificate_in_force_then(
        self, hierarchy: Register, a_certificate: Make
    ) -> None:
        edge = self.use(hierarchy, a_certificate, ReferenceUse("WS"))
        assert (edge.evidence, edge.parent, edge.verified_by) == (Evidence.MANUAL, "LAB-7", "Li Na")

    def test_named_on_the_certificate(self, hierarchy: Register, a_certificate: Make) -> None:
        edge = self.use(hierarchy, a_certificate, ReferenceUse("", "LAB-7"))
        assert (edge.evidence, edge.parent, edge.status) == (Evidence.REFERENCE, "LAB-7", Status.VALID)

    @pytest.mark.parametrize("named", ["LAB-7", ""])
    def test_confirmed_by_the_hash_of_the_file(
        self, hierarchy: Register, a_certificate: Make, named: str
    ) -> None:
        digest = sha256(b"the file").hexdigest()
        if named:
            hierarchy.attach(b"the file", name="f", media_type="text/xml", certificate=named, actor="Li Na")
        else:
            hierarchy.withdraw_certificate("LAB-7", actor="Li Na", reason="digest forgotten")
            again = replace(hierarchy.certificate("LAB-7"), digest=digest)
            hierarchy.add_certificate(again, actor="Li Na")
        edge = self.use(hierarchy, a_certificate, ReferenceUse("WS", named, digest))
        assert (edge.evidence, edge.verified_by, edge.status) == (Evidence.HASH, "sha256", Status.VALID)

    def test_another_file_breaks(self, hierarchy: Register, a_certificate: Make) -> None:
        hierarchy.attach(b"another", name="f", media_type="text/xml", certificate="LAB-7", actor="Li Na")
        edge = self.use(hierarchy, a_certificate, ReferenceUse("WS", "LAB-7", "ab" * 32))
        assert (edge.evidence, edge.status) == (Evidence.REFERENCE, Status.BROKEN)
        assert [reason.code for reason in edge.reasons] == ["hash_differs"]

    def test_no_file_to_compare_is_incomplete(self, hierarchy: Register, a_certificate: Make) -> None:
        edge = self.use(hierarchy, a_certificate, ReferenceUse("WS", "LAB-7", "ab" * 32))
        assert [reason.code for reason in edge.reasons] == ["hash_unchecked"]
        assert edge.status is Status.INCOMPLETE

    def test_a_parent_of_another_standard_is_caught_later_too(
        self, hierarchy: Register, a_certificate: Make
    ) -> None:
        hierarchy.add_certificate(
            a_certificate("CAL-2", performed=date(2026, 4, 1), references=(ReferenceUse("RS", "LAB-9"),)),
            actor="Li Na",
        )
        hierarchy.add_certificate(a_certificate("LAB-9", "WS", performed=date(2026, 1, 1)), actor="Li Na")
        assert "parent_foreign" in codes(trace(hierarchy, "M1", JUNE))


def test_a_circle_is_found_and_does_not_hang(register: Register, a_certificate: Make) -> None:
    register.add(instruments=[Instrument("A"), Instrument("B")], actor="Li Na")
    same_day = date(2026, 1, 5)
    register.add(
        certificates=[
            a_certificate("CA", "A", performed=same_day, references=(ReferenceUse("B", "CB"),)),
            a_certificate("CB", "B", performed=same_day, references=(ReferenceUse("A", "CA"),)),
        ],
        actor="Li Na",
    )
    for name in ("A", "B"):
        chain = trace(register, name, JUNE)
        assert chain.status is Status.BROKEN
        assert "cycle" in codes(chain)


def test_many_meters_on_one_standard_share_it_and_wide_ladders_stay_quick(
    a_certificate: Make, clock: Make
) -> None:
    """20 levels with 2 standards each are a million paths; shared steps are traced once."""
    levels, names = 20, ("x", "y")
    instruments = [Instrument(f"L{n}{name}") for n in range(levels) for name in names]
    certificates = [
        a_certificate(
            f"C{n}{name}", f"L{n}{name}", performed=date(2026, 3, 2), national=n == levels - 1,
            references=tuple(ReferenceUse(f"L{n + 1}{other}", f"C{n + 1}{other}") for other in names)
            if n < levels - 1 else (),
        )
        for n in range(levels) for name in names
    ]  # fmt: skip
    chain = trace(Holdings.of(instruments, certificates, at=clock()), "L0x", JUNE)
    assert chain.status is Status.VALID
    assert len(chain.all_reasons()) == 1
    assert chain.tree().count("↑") == 2 * levels - 4
    assert json.dumps(chain.to_plain()).count('"repeated": true') == 2 * levels - 4


def test_holdings_answer_as_the_register_does(hierarchy: Register, clock: Make) -> None:
    finding = Finding("F", "instrument", "WS", date(2026, 3, 1), None, "bad")
    held = Holdings.of(hierarchy.instruments(), hierarchy.certificates(), at=clock())
    ours, theirs = (trace(source, "M1", JUNE).to_plain() for source in (hierarchy, held))
    for plain in (ours, theirs):
        del (
            plain["steps"][0]["edges"][0]["verified_by"],
            plain["steps"][0]["edges"][0]["above"]["edges"][0]["verified_by"],
        )
    assert ours == theirs
    bad = replace(held, out_of_tolerance=(finding,))
    assert trace(bad, "M1", JUNE).status is Status.BROKEN


def test_a_certificate_can_be_looked_at_before_it_is_registered(
    hierarchy: Register, a_certificate: Make, clock: Make
) -> None:
    good = a_certificate("CAL-2", performed=date(2026, 4, 1), references=(ReferenceUse("WS", "LAB-7"),))
    late = replace(good, references=(ReferenceUse("RS", "NIM-1"),), performed=date(2026, 5, 2))
    head = hierarchy.head()
    assert preview(hierarchy, good, clock()).status is Status.VALID
    chain = preview(hierarchy, late, clock())
    assert [step.certificate.id for step in chain.steps] == ["CAL-2"]
    assert codes(chain) == ["expired"]
    assert hierarchy.head() == head


class TestShown:
    def test_the_tree_names_each_step_in_words(self, hierarchy: Register) -> None:
        hierarchy.withdraw_certificate("NIM-1", actor="Wang", reason="recalled")
        assert trace(hierarchy, "M1", JUNE).tree() == (
            "M1 123  [✘ broken]  2026-06-01\n"
            "└─ CAL-1 · Provincial Institute of Metrology · 2026-03-02 … 2027-03-01  [✘ broken]\n"
            "   └─ WS (named on the certificate)  [✘ broken]\n"
            "      └─ LAB-7 · Provincial Institute of Metrology · 2025-02-01 … 2026-12-31  [✘ broken]\n"
            "         └─ RS (named on the certificate)  [✘ broken]\n"
            "            └─ NIM-1 · Provincial Institute of Metrology · 2024-05-01 … 2026-05-01  [✘ broken]\n"
            "               ! certificate NIM-1 was withdrawn: recalled\n"
            "               · national metrology institute\n"
        )

    def test_chinese(self, hierarchy: Register) -> None:
        tree = trace(hierarchy, "M1", JUNE).tree("zh")
        assert "可溯源" in tree
        assert "国家计量院" in tree

    def test_json_has_codes_facts_and_both_languages_on_request(self, hierarchy: Register) -> None:
        plain = trace(hierarchy, "M1", date(2027, 6, 1)).to_plain("zh")
        assert json.loads(json.dumps(plain)) == plain
        (step,) = plain["steps"]
        assert step["reasons"][0]["code"] == "expired"
        assert step["reasons"][0]["facts"] == {
            "certificate": "CAL-1",
            "until": "2027-03-01",
            "at": "2027-06-01",
        }
        assert "有效期至" in step["reasons"][0]["text"]
        assert step["edges"][0]["share"] == str(Decimal("0.02"))
