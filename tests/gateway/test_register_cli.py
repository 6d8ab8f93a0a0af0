"""The register's commands as technicians and metrologists use them: typed, asked for, imported, exported, refused."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    GivenAs,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.refusals import TableRefused
from calibration.register import Register
from gateway.certificate_file import CertificateFile
from gateway.certificate_form import CERTIFICATE
from gateway.certificate_writing import as_toml
from gateway.cli import COMMANDS, main
from gateway.cli.entry import Draft, guided
from gateway.forms import FormRefused, answers_of, certificate_from, instrument_from
from gateway.instrument_form import INSTRUMENT
from gateway.label import label_of, modules, scanned, short_check, svg, text
from gateway.pasted import read_points
from gateway.register_words import WORDS
from tests.calibration.test_dcc_signature import Authority, authority, signed

NOW = datetime(2026, 11, 24, tzinfo=UTC)
METER = [
    "m1",
    "--kind",
    "meter",
    "--manufacturer",
    "Holley",
    "--model",
    "DTZ545",
    "--serial",
    "2026-0815",
    "--accuracy-class",
    "0.5S",
    "--rated-current",
    "5",
    "--maximum-current",
    "6",
]
PAPER = [
    *("--instrument", "m1", "--id", "NMC-1", "--laboratory", "IM", "--performed", "2026-05-01"),
    *("--valid-until", "2027-04-30", "--k", "2"),
]
POINTS = ("--points", "1 1 0.10 0.05", "--points", "5 1 0.12 0.05")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with nothing in it, an English reader, nobody at the terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUYUAN_LANG", "en")
    monkeypatch.delenv("SUYUAN_REGISTER", raising=False)
    monkeypatch.setattr("gateway.cli.register_file.moment", lambda: NOW)
    return tmp_path


class Said:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> object:
        return json.loads(self.out)


@pytest.fixture
def suyuan(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Said(code, told.out, told.err)

    return run


@pytest.fixture
def plant(suyuan) -> None:
    """A national standard, a working standard, a meter, and the certificates between them."""
    for words in (
        "nim-std --kind reference_standard --serial 1",
        "std-017 --kind reference_standard --model XL --serial 17",
        " ".join(METER),
    ):
        assert suyuan("instrument", "add", *words.split(), "--actor", "li").code == 0
    standard = "--instrument std-017 --id NIM-1 --laboratory NIM --national yes --performed 2025-06-01 --k 2"
    assert suyuan("certificate", "add", *standard.split(), "--points", "5 1 0.003 0.01").code == 0
    meter = suyuan("certificate", "add", *PAPER, *POINTS, "--references", "std-017 NIM-1 0.004")
    assert meter.code == 0, meter.err


def test_every_command_and_action_has_help_with_an_example() -> None:
    from importlib import import_module

    for name in ("instrument", "certificate", "chain", "due", "affected", "interval"):
        parser = argparse.ArgumentParser(prog=f"suyuan {name}")
        import_module(f"gateway.cli.{COMMANDS[name][0]}").arguments(name, parser)
        parsers = {name: parser}
        for each in parser._actions:
            if isinstance(each, argparse._SubParsersAction):
                parsers |= {f"{name} {action}": sub for action, sub in each.choices.items()}
        for called, one in parsers.items():
            assert f"suyuan {called.split()[0]}" in (one.epilog or ""), called
            assert "example" in one.format_help(), called


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_the_same(key: str) -> None:
    english, chinese = WORDS[key]
    assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese))
    assert english.strip()
    assert re.search(r"[\u4e00-\u9fff]", chinese)


@pytest.mark.parametrize("form", [INSTRUMENT, CERTIFICATE], ids=lambda form: form.name)
def test_every_field_is_explained_in_both_languages_and_its_example_is_an_answer(form) -> None:
    for field in form.fields:
        for texts in (field.title, field.meaning):
            assert all(texts)
            assert re.search(r"[\u4e00-\u9fff]", texts[1]), field.name
        if field.example:
            field.read(field.example)


# -- instruments


def test_an_instrument_is_registered_found_and_shown(suyuan, plant) -> None:
    listed = suyuan("instrument", "list", "--json").json
    assert [(each["id"], each["due"], each["state"]) for each in listed] == [
        ("m1", "2027-04-30", "not yet"),
        ("nim-std", None, "never calibrated"),
        ("std-017", None, "no due date"),
    ]
    shown = suyuan("instrument", "show", "m1")
    assert all(word in shown.out for word in ("DTZ545", "2026-0815", "NMC-1"))
    assert suyuan("instrument", "list", "--text", "dtz").out.count("\n") == 2


def test_all_mistakes_are_told_at_once_and_nothing_is_registered(suyuan) -> None:
    said = suyuan("instrument", "add", "m1", "--kind", "nonsense", "--rated-current", "abc", "--json")
    assert said.code == 2
    assert {problem["where"] for problem in said.json["problems"]} == {"kind", "rated_current"}
    assert suyuan("instrument", "list", "--json").json == []


def test_an_interval_of_ten_thousand_years_is_refused(suyuan) -> None:
    assert suyuan("instrument", "add", "m1", "--interval-months", "120000").code == 2
    assert suyuan("instrument", "add", "m1", "--interval-months", "12").code == 0


def test_a_refusal_speaks_the_readers_language(suyuan, plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUYUAN_LANG", "zh")
    said = suyuan("instrument", "show", "m2")
    assert (said.code, said.out) == (2, "")
    assert "登记库中没有仪器 m2" in said.err
    assert "[T101]" in said.err


def test_without_a_register_a_question_says_what_to_do(suyuan) -> None:
    said = suyuan("due")
    assert said.code == 2
    assert "suyuan instrument add" in said.err


def test_the_register_is_named_by_the_environment(suyuan, place: Path, monkeypatch) -> None:
    monkeypatch.setenv("SUYUAN_REGISTER", str(place / "plant.sqlite"))
    assert suyuan("instrument", "add", *METER).code == 0
    assert (place / "plant.sqlite").exists()


def test_a_change_needs_a_reason_and_says_who(suyuan, plant, place: Path) -> None:
    assert "T106" in suyuan("instrument", "change", "m1", "--place", "panel 4").err
    done = suyuan("instrument", "change", "m1", "--place", "panel 4", "--reason", "moved", "--actor", "wang")
    assert done.code == 0
    with Register.open(place / "register.sqlite", now=lambda: NOW, read_only=True) as register:
        assert register.instrument("m1").place == "panel 4"
        assert register.instrument("m1").serial == "2026-0815"
        last = register.audit("instrument", "m1")[-1]
    assert (last.actor, last.reason) == ("wang", "moved")


def test_a_replacement_keeps_both_sets_of_registers(suyuan, plant) -> None:
    suyuan("instrument", "add", "m2", "--serial", "22")
    at = ("--at", "2026-06-01T08:00+08:00")
    assert (
        suyuan("instrument", "install", "potline-3", "m1", *at, "--in", "energy.active.import=0.00").code == 0
    )
    said = suyuan(
        "instrument", "replace", "m1", "m2", "--at", "2026-11-01T08:00+08:00", "--out",
        "energy.active.import=1234.56", "--in", "energy.active.import=7.00", "--reason", "display failed", "--json",
    )  # fmt: skip
    assert said.json["ended"]["registers_end"] == {"energy.active.import": "1234.56"}
    assert said.json["begun"]["registers_start"] == {"energy.active.import": "7.00"}
    assert "m1" in suyuan("instrument", "show", "m2", "--json").out
    refused = suyuan("instrument", "replace", "m1", "m2", "--reason", "again")
    assert refused.code == 2
    assert "at no measuring point" in refused.err


def test_instruments_go_out_and_come_in_as_tables(suyuan, plant, place: Path, monkeypatch) -> None:
    before = suyuan("instrument", "list", "--json").json
    for language, name in (("en", "a.csv"), ("zh", "b.xlsx")):
        monkeypatch.setenv("SUYUAN_LANG", language)
        assert suyuan("instrument", "export", "-o", name).code == 0
        other = ("--register", f"{name}.sqlite")
        assert suyuan("instrument", "import", name, *other).code == 0
        again = suyuan("instrument", "list", "--json", *other).json
        assert [each | {"due": 0, "state": 0} for each in again] == [
            each | {"due": 0, "state": 0} for each in before
        ]


def test_a_wrong_cell_is_named(suyuan, place: Path) -> None:
    (place / "m.csv").write_text("id,kind,rated current\nm1,meter,5\nm2,metre,five\n")
    said = suyuan("instrument", "import", "m.csv")
    assert said.code == 2
    assert "row 3, column kind" in said.err
    assert "row 3, column rated current" in said.err


# -- certificates


def test_a_certificate_is_entered_and_its_chain_told(suyuan, plant) -> None:
    shown = suyuan("certificate", "show", "NMC-1", "--json").json
    assert [(p["load"], p["error"], p["U"], p["k"]) for p in shown["points"]] == [
        ("1", "0.10", "0.05", "2"),
        ("5", "0.12", "0.05", "2"),
    ]
    assert shown["references"] == [
        {"standard": "std-017", "certificate": "NIM-1", "digest": "", "share": "0.004"}
    ]
    again = suyuan("certificate", "add", *PAPER, *POINTS)
    assert again.code == 2
    assert "T103" in again.err


def test_a_certificate_without_k_is_refused(suyuan, plant) -> None:
    words = [word for word in PAPER if word not in {"--k", "2", "NMC-1"}]
    said = suyuan("certificate", "add", *words[:3], "NMC-2", *words[3:], *POINTS)
    assert said.code == 2


def test_points_come_from_a_table_and_a_wrong_one_is_named_by_its_cell(suyuan, plant, place: Path) -> None:
    (place / "p.csv").write_text("load,error,U\n6,0.2,0.05\n5,0,12,0.05\n")
    words = [*PAPER[:3], "NMC-2", *PAPER[4:]]
    said = suyuan("certificate", "import", "p.csv", *words)
    assert said.code == 2
    assert "row 3" in said.err
    (place / "p.csv").write_text("负载,修正值,扩展不确定度\n6,-0.2,0.05\n5,-0.12,0.05\n", encoding="gb18030")
    assert suyuan("certificate", "import", "p.csv", *words).code == 0
    points = suyuan("certificate", "show", "NMC-2", "--json").json["points"]
    assert [(p["load"], p["error"]) for p in points] == [("5", "0.12"), ("6", "0.2")]


@pytest.mark.parametrize("suffix", ["xml", "toml", "xlsx"])
def test_what_was_exported_is_read_back(suyuan, plant, place: Path, suffix: str) -> None:
    name = f"c.{suffix}"
    before = suyuan("certificate", "show", "NMC-1", "--json").json
    assert suyuan("certificate", "export", "NMC-1", "-o", name).code == 0
    assert suyuan("certificate", "withdraw", "NMC-1", "--reason", "to be read again").code == 0
    command = ("add", name) if suffix == "toml" else ("import", name)
    done = suyuan("certificate", *command)
    assert done.code == 0, done.err
    after = suyuan("certificate", "show", "NMC-1", "--json").json
    own = ("points", "as_found", "references", "performed", "valid_until", "laboratory", "instrument", "kind")
    assert {name: after[name] for name in own} == {name: before[name] for name in own}
    assert after["revision"] == 2


def test_a_dcc_with_a_traceability_statement_is_xml_and_unsigned_is_told(suyuan, plant, place: Path) -> None:
    assert suyuan("certificate", "export", "NMC-1", "-o", "c.xml", "--statement").code == 0
    assert ET.parse(place / "c.xml").getroot().tag.endswith("digitalCalibrationCertificate")
    suyuan("certificate", "withdraw", "NMC-1", "--reason", "again")
    strict = suyuan("certificate", "import", "c.xml", "--require-signature", "--json")
    assert strict.code == 1
    assert strict.json["signature"]["verdict"] == "absent"
    assert suyuan("certificate", "list", "--instrument", "m1", "--json").json == []
    assert suyuan("certificate", "import", "c.xml").code == 0
    kept = suyuan("certificate", "show", "NMC-1", "--json").json
    assert kept["signature"]["verdict"] == "absent"
    assert kept["digest"] == kept["papers"][0]["digest"]


@pytest.fixture(scope="module")
def laboratory() -> Authority:
    return authority()


def test_a_signed_dcc_is_registered_with_its_verdict_and_basis(
    suyuan, place: Path, laboratory: Authority
) -> None:
    suyuan("instrument", "add", "M1", "--serial", "123")
    (place / "c.xml").write_bytes(signed(laboratory))
    (place / "trust").mkdir()  # the pinned trust store beside the register
    (place / "trust" / "root.pem").write_bytes(laboratory.pem)
    said = suyuan("certificate", "import", "c.xml", "--require-signature")
    assert said.code == 0, said.err
    kept = suyuan("certificate", "show", "JD-1", "--json").json["signature"]
    assert (kept["verdict"], kept["basis"], kept["signer"]) == ("valid", "received", "CN=Test laboratory")
    assert suyuan("certificate", "show", "JD-1", "--paper", "back.xml").code == 0
    assert (place / "back.xml").read_bytes() == (place / "c.xml").read_bytes()


def test_nobody_pinned_is_told_and_changed_bytes_are_never_registered(
    suyuan, place: Path, laboratory: Authority
) -> None:
    suyuan("instrument", "add", "M1", "--serial", "123")
    (place / "root.pem").write_bytes(authority().pem)  # another laboratory's root
    (place / "c.xml").write_bytes(signed(laboratory))
    strict = suyuan("certificate", "import", "c.xml", "--trust", "root.pem", "--require-signature", "--json")
    assert (strict.code, strict.json["signature"]["verdict"]) == (1, "untrusted")
    whole = (place / "c.xml").read_bytes()
    assert whole.count(b"2032-03-01") == 1
    (place / "c.xml").write_bytes(whole.replace(b"2032-03-01", b"2099-03-01"))
    changed = suyuan("certificate", "import", "c.xml", "--trust", "root.pem")
    assert changed.code == 1
    assert "invalid" in changed.err
    assert suyuan("certificate", "list", "--json").json == []


def test_a_file_that_is_no_dcc_is_refused_with_its_place(suyuan, plant, place: Path) -> None:
    suyuan("certificate", "export", "NMC-1", "-o", "c.xml")
    whole = (place / "c.xml").read_text()
    (place / "bad.xml").write_text(re.sub(r"2026-05-01", "the first of May", whole, count=1))
    said = suyuan("certificate", "import", "bad.xml")
    assert said.code == 2
    assert "/dcc:digitalCalibrationCertificate" in said.err


def test_a_certificate_file_brings_its_instruments_once(suyuan, plant, place: Path) -> None:
    (place / "c.toml").write_text(
        '[[instrument]]\nid = "ct-1"\nkind = "ct"\nratio = "400"\n\n[[certificate]]\nid = "V-1"\n'
        'kind = "verification"\ninstrument = "ct-1"\nlaboratory = "IM"\nperformed = 2026-01-01\n'
        'valid_until = 2027-01-01\npassed = true\naccuracy_class = "0.2S"\n'
    )
    (place / "paper.pdf").write_bytes(b"%PDF-1.4 scan")
    assert suyuan("certificate", "add", "c.toml", "--paper", "paper.pdf").code == 0
    assert suyuan("certificate", "show", "V-1", "--paper", "back.pdf").code == 0
    assert (place / "back.pdf").read_bytes() == b"%PDF-1.4 scan"
    (place / "c.toml").write_text((place / "c.toml").read_text().replace("V-1", "V-2"))
    again = suyuan("certificate", "add", "c.toml")
    assert again.code == 0
    assert "already registered, the same: ct-1" in again.err


def exact(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda n: Decimal(n).scaleb(-3))


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    loads = sorted(draw(st.sets(exact(1, 6000), min_size=1, max_size=4)))

    def points() -> tuple[CalibrationPoint, ...]:
        return tuple(
            CalibrationPoint(
                "energy.active", load, "A", draw(exact(-900, 900)), draw(exact(1, 90)), Decimal(2),
                dof=draw(st.none() | exact(2000, 90000)),
            )
            for load in loads
        )  # fmt: skip

    return Certificate(
        id="C-1", kind=CertificateKind.CALIBRATION, instrument="m1", laboratory=draw(st.sampled_from(["IM", '"所"'])),
        performed=date(2026, 5, 1), issued=draw(st.none() | st.just(date(2026, 5, 4))), points=points(),
        as_found=draw(st.sampled_from([(), points()])), adjusted=draw(st.sampled_from([None, True, False])),
        references=draw(st.sampled_from([(), (ReferenceUse("std", "N-1", share=Decimal("0.0001")),)])),
        given_as=draw(st.sampled_from(list(GivenAs))), resets_cycle=draw(st.booleans()),
        conditions=draw(st.sampled_from([{}, {"temperature": "23 °C"}])), note=draw(st.sampled_from(["", "a\nb"])),
    )  # fmt: skip


@given(certificates())
def test_a_certificate_file_holds_the_whole_certificate(certificate: Certificate) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "c.toml"
        path.write_text(as_toml(certificate), encoding="utf-8")
        (again,) = CertificateFile(path).certificates
        assert replace(again, digest=certificate.digest) == certificate


@given(certificates())
def test_a_forms_answers_give_the_certificate_back(certificate: Certificate) -> None:
    asked = replace(certificate, conditions={})
    assert certificate_from(answers_of(asked), NOW.date()) == asked


# -- pasted points


@pytest.mark.parametrize(
    "pasted",
    [
        "5\t1\t0.12\t0.05\n1\t1\t0.10\t0.05\n",
        "5 1 0.12 0.05\n1 1 0.10 0.05",
        "5;1;0.12;0.05\r\n1;1;0.10;0.05\r\n",
        "load\terror\tU\n1\t0.10\t0.05\n5\t0.12\t0.05",
        "负载（A）\t示值误差\t扩展不确定度\n1\t0.10\t0.05\n5\t0.12\t0.05",
        "load,correction,U,k\n1,-0.10,0.05,2\n5,-0.12,0.05,2",
    ],
)
def test_points_are_understood_however_they_are_pasted(pasted: str) -> None:
    stated = {"quantity": "energy.active", "unit": "%", "load_unit": "A", "k": "2"}
    points = read_points(pasted, stated).points
    assert [(p.load, p.error, p.U, p.k) for p in points] == [
        (1, Decimal("0.10"), Decimal("0.05"), 2),
        (5, Decimal("0.12"), Decimal("0.05"), 2),
    ]


@pytest.mark.parametrize(
    ("pasted", "where"),
    [
        ("5 1 0.12 0.05\n1 1 abc 0.05", "line 2, error"),
        ("5 1", "line 1"),
        ("1 1 0.1 0.05\n5 1 0.1", "line 2"),
    ],
)
def test_what_is_not_understood_is_refused_by_line(pasted: str, where: str) -> None:
    with pytest.raises(TableRefused) as refused:
        read_points(pasted, {"quantity": "energy.active", "unit": "%", "load_unit": "A", "k": "2"})
    assert any(problem.where.startswith(where) for problem in refused.value.all)


def test_points_without_k_are_refused() -> None:
    with pytest.raises(TableRefused):
        read_points("5 1 0.12 0.05", {"quantity": "energy.active", "unit": "%", "load_unit": "A"})


# -- guided entry


class Script:
    """A person with prepared answers; an exception among them is what the person does."""

    def __init__(self, *answers: str | type[BaseException]) -> None:
        self._answers = iter(answers)
        self.heard: list[str] = []

    def ask(self, prompt: str) -> str:
        self.heard.append(prompt)
        answer = next(self._answers)
        if not isinstance(answer, str):
            raise answer
        return answer

    def tell(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def register(place: Path) -> Iterator[Register]:
    with Register.open(place / "r.sqlite", now=lambda: NOW) as opened:
        opened.add_instrument(Instrument("m1", serial="1"), actor="li")
        opened.add_instrument(
            Instrument("std-017", InstrumentKind.REFERENCE_STANDARD, serial="17"), actor="li"
        )
        yield opened


def certified(register: Register):
    def save(answers: Mapping[str, str]) -> str:
        made = certificate_from(answers, NOW.date())
        register.add_certificate(made, actor="li")
        return made.id

    return save


HEADER = ("m1", "NMC-1", "", "IM", "", "", "2026-05-01", "", "", "", "", "", "2")
"""instrument, number, kind, laboratory, accreditation, national, performed, issued, valid until, quantity, units, k"""
REST = ("no", "std-017", "", "", "", "")
"""adjusted, references (two lines), decision rule, regular, note"""


def ask(register: Register, place: Path, *answers: str | type[BaseException]) -> tuple[str | None, Script]:
    script = Script(*answers)
    draft = Draft(place / "r.sqlite", CERTIFICATE)
    return guided(CERTIFICATE, script, draft, register, "en", certified(register)), script


def test_a_certificate_is_asked_for_with_its_points_pasted(register: Register, place: Path) -> None:
    name, script = ask(register, place, *HEADER, "5\t1\t0.12\t0.05", "1\t1\t0.10\t0.05", "", *REST, "yes")
    assert name == "NMC-1"
    made = register.certificate("NMC-1")
    assert [(p.load, p.error) for p in made.points] == [(1, Decimal("0.10")), (5, Decimal("0.12"))]
    assert made.references == (ReferenceUse("std-017"),)
    whole = "\n".join(script.heard)
    assert "for example 2026-05-01" in whole
    assert not Draft(place / "r.sqlite", CERTIFICATE).path.exists()


def test_a_refused_answer_is_asked_again_and_the_others_stand(register: Register, place: Path) -> None:
    header = ("m9", "m1", *HEADER[1:6], "01.05.2026", "2027-05-01", "2026-05-01", *HEADER[7:])
    lines = ("5 1 0.12 0.05", "1 1 zero 0.05", "1 1 0.10 0.05", "")
    name, script = ask(register, place, *header, *lines, *REST, "yes")
    assert name == "NMC-1"
    assert len(register.certificate("NMC-1").points) == 2
    told = [line for line in script.heard if line.startswith("  !")]
    assert len(told) == 4
    assert "no instrument m9" in told[0]
    assert "is not a date" in told[1]
    assert "lies in the future" in told[2]


@pytest.mark.parametrize("leaves", [KeyboardInterrupt, EOFError])
def test_who_leaves_finds_everything_again(
    register: Register, place: Path, leaves: type[BaseException]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(register, place, *HEADER, "5\t1\t0.12\t0.05", leaves)
    kept = Draft(place / "r.sqlite", CERTIFICATE).answers()
    assert kept["laboratory"] == "IM"
    assert kept["points"] == "5\t1\t0.12\t0.05"
    # taken up: the table is shown with its line, and an empty line ends it; only what was not asked yet is asked
    name, _ = ask(register, place, "yes", "", *REST, "yes")
    assert name == "NMC-1"
    assert [p.load for p in register.certificate("NMC-1").points] == [5]


def test_what_the_register_refuses_is_shown_and_can_be_mended(register: Register, place: Path) -> None:
    name, script = ask(
        register, place, *HEADER, "5 1 0.12 0.05", "", "no", "std-017 - 0.5", "std-017", "", "", "", "", "yes"
    )
    assert name == "NMC-1"
    assert any("larger than the standard uncertainty" in line for line in script.heard)


def test_an_answer_can_be_changed_before_saving_and_saving_declined(register: Register, place: Path) -> None:
    lines = ("5 1 0.12 0.05", "")
    number = str([field.name for field in CERTIFICATE.asked({})].index("laboratory") + 1)
    name, _ = ask(register, place, *HEADER, *lines, *REST, number, "Another laboratory", "no")
    assert name is None
    assert Draft(place / "r.sqlite", CERTIFICATE).answers()["laboratory"] == "Another laboratory"
    assert register.certificates("m1") == ()


def test_back_goes_back(register: Register, place: Path) -> None:
    name, _ = ask(
        register, place, "m1", "NMC-0", "<", "NMC-1", *HEADER[2:], "5 1 0.12 0.05", "", *REST, "yes"
    )  # fmt: skip
    assert name == "NMC-1"


def test_a_draft_that_is_not_wanted_is_put_aside_and_not_deleted(register: Register, place: Path) -> None:
    draft = Draft(place / "r.sqlite", INSTRUMENT)
    draft.keep({"id": "old"})

    def save(answers: Mapping[str, str]) -> str:
        register.add_instrument(instrument_from(answers), actor="li")
        return answers["id"]

    fields = INSTRUMENT.asked({"kind": "other"})
    answers = ["no", "gas-1", "other", *[""] * (len(fields) - 2), "yes"]
    assert guided(INSTRUMENT, Script(*answers), draft, register, "zh", save) == "gas-1"
    aside = [path for path in place.glob("r.sqlite.instrument-draft*") if "gas" not in path.read_text()]
    assert json.loads(aside[0].read_text()) == {"id": "old"}


def test_mistakes_in_a_form_are_told_by_field() -> None:
    with pytest.raises(FormRefused) as refused:
        certificate_from({"kind": "verification", "instrument": "m1", "performed": "soon"}, NOW.date())
    assert {wrong.field for wrong in refused.value.wrong} == {"id", "laboratory", "passed", "performed"}


def in_a_terminal(
    arguments: Sequence[str], place: Path, steps: Sequence[tuple[str, str]], end: int | None = None
):
    """Run the command on a real terminal: wait for a text, then type; at last send a signal, if one is given."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=place,
        env={**os.environ, "SUYUAN_LANG": "en", "PYTHONPATH": str(Path(__file__).parents[2])}, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    seen, from_here = "", 0

    def until(wanted: str) -> None:
        nonlocal seen, from_here
        while wanted not in seen[from_here:]:
            assert select.select([master], [], [], 30)[0], f"{wanted!r} did not come:\n{seen}"
            seen += os.read(master, 65536).decode()
        from_here = seen.index(wanted, from_here) + len(wanted)

    try:
        for wanted, typed in steps:
            until(wanted)
            os.write(master, typed.encode())
        if end is not None:
            process.send_signal(end)
        try:
            while data := os.read(master, 65536):
                seen += data.decode()
        except OSError:  # the other end is closed
            pass
        return process.wait(30), seen
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()
            process.wait()


def test_in_a_real_terminal_ctrl_c_keeps_the_draft_and_the_next_run_offers_it(place: Path) -> None:
    code, seen = in_a_terminal(
        ["instrument", "add"], place,
        [("Id:", ""), ("> ", "m1\n"), ("Kind:", ""), ("[meter] > ", "\n"), ("Maker:", ""), ("> ", "Holley\n"),
         ("Model:", ""), ("> ", "")],
        signal.SIGINT,
    )  # fmt: skip
    assert code == 130
    assert "Traceback" not in seen
    assert "is kept in" in seen
    assert (
        json.loads((place / "register.sqlite.instrument-draft.json").read_text())["manufacturer"] == "Holley"
    )
    code, seen = in_a_terminal(
        ["instrument", "add"], place,
        [("There is a draft with 3 answers", "\n"), ("Model:", ""), ("> ", "\x04")],
    )  # fmt: skip
    assert code == 130
    assert "Id:" not in seen


# -- labels


def test_the_label_can_be_scanned_back_and_its_check_shows_another_instrument() -> None:
    one = Instrument("炉-3/入 口", serial="2026-0815", model="DTZ545", manufacturer="Holley")
    label = label_of(one, date(2027, 4, 30))
    assert scanned(label.urn) == (one.id, short_check(one))
    assert scanned("https://example.org") is None
    others = [replace(one, **{name: "x"}) for name in ("id", "serial", "model", "manufacturer")]
    assert short_check(one) not in {short_check(other) for other in others}
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}", label.check)


def test_the_printed_code_is_the_urn() -> None:
    """The modules are read back from the picture and compared with an encoder that another project wrote."""
    import segno

    label = label_of(Instrument("potline-3-in", serial="1", tag="EM-301"), None)
    drawing = ET.fromstring(svg([label], "zh"))
    path = next(each.get("d") for each in drawing.iter() if each.tag.endswith("path"))
    dark = {(int(y), int(x)) for x, y in re.findall(r"M(\d+),(\d+)h1v1h-1z", path)}
    expected = segno.make_qr(label.urn, error="m", boost_error=False).matrix
    assert dark == {(r, c) for r, row in enumerate(expected) for c, cell in enumerate(row) if cell}
    words = "".join(each.text or "" for each in drawing.iter() if each.tag.endswith("text"))
    assert all(word in words for word in ("potline-3-in", "EM-301", "出厂编号 1", "无日期", label.check))
    shown = text(label, "en").splitlines()
    size = len(modules(label.urn)) + 8
    assert len(shown) == -(-size // 2)
    assert set("".join(line[:size] for line in shown)) <= set("█▀▄ ")
    assert any(line[size:].strip() == "due no date" for line in shown)


def test_labels_of_all_fill_sheets(suyuan, plant, place: Path) -> None:
    assert suyuan("instrument", "label", "--all", "-o", "l.svg").code == 0
    root = ET.parse(place / "l.svg").getroot()
    assert (root.get("width"), root.get("height")) == ("210mm", "297mm")
    assert len([each for each in root.iter() if each.tag.endswith("}g")]) == 3


# -- questions


def test_a_chain_that_is_whole_is_0_and_one_that_is_not_is_1(suyuan, plant, place: Path) -> None:
    good = suyuan("chain", "m1", "--at", "2026-08-01", "--svg", "c.svg")
    assert (good.code, "traceable" in good.out) == (0, True)
    assert (place / "c.svg").read_text().startswith("<svg")
    assert suyuan("chain", "m1", "--json").json["steps"][0]["edges"][0]["standard"] == "std-017"
    assert suyuan("chain", "m1", "--at", "2026-04-01").code == 1
    suyuan("certificate", "withdraw", "NIM-1", "--reason", "revoked")
    broken = suyuan("chain", "m1")
    assert broken.code == 1
    assert "revoked" in broken.out
    known = suyuan("chain", "m1", "--known-at", (NOW - timedelta(days=1)).isoformat())
    assert known.code == 1


def test_an_accredited_end_is_good_where_that_is_accepted(suyuan, plant) -> None:
    words = "--instrument nim-std --id A-1 --laboratory Lab --accreditation L1 --performed 2025-06-01 --k 2"
    suyuan("certificate", "add", *words.split(), "--points", "5 1 0.003 0.01")
    assert suyuan("chain", "nim-std").code == 1
    assert suyuan("chain", "nim-std", "--accept-accredited").code == 0
    assert suyuan("chain", "nim-std", "--accept-accredited", "L1").code == 0
    assert suyuan("chain", "nim-std", "--accept-accredited", "L2").code == 1


def test_the_due_list_and_its_strictness(suyuan, plant, place: Path) -> None:
    listed = suyuan("due", "--json").json
    assert [each["instrument"] for each in listed] == ["nim-std", "m1", "std-017"]
    assert [each["instrument"] for each in suyuan("due", "--within", "90d", "--json").json] == ["nim-std"]
    assert suyuan("due").code == 0
    assert suyuan("due", "--strict").code == 1
    late = suyuan("due", "--on", "2027-06-01", "--kind", "meter", "--strict")
    assert late.code == 1
    assert "overdue" in late.out
    assert suyuan("due", "--on", "2026-06-01", "--kind", "meter", "--strict").code == 0
    assert suyuan("due", "-o", "due.csv").code == 0
    assert (place / "due.csv").read_bytes().startswith(b"\xef\xbb\xbfinstrument,")
    assert suyuan("due", "--within", "soon").code == 2
    assert suyuan("due", "--within", "99999999999d").code == 2


def test_the_interval_is_suggested_by_drift_and_by_the_staircase(suyuan, plant) -> None:
    words = "--instrument m1 --id NMC-0 --laboratory IM --performed 2025-05-01 --k 2 --valid-until 2026-05-01"
    suyuan("certificate", "add", *words.split(), "--points", "1 1 0.05 0.05", "--points", "5 1 0.07 0.05")
    found = suyuan("interval", "m1", "--json").json
    assert (found["interval_days"], found["because"]) == (364, "certified")
    assert [chart["load"] for chart in found["charts"]] == ["1", "5"]
    assert found["charts"][0]["slope_per_year"] == pytest.approx(0.05, rel=0.01)
    staircase = next(each for each in found["suggestions"] if each["method"] == "staircase")
    assert staircase["interval_days"] == 455  # 364 days lengthened by a quarter: 0.12 of 0.5
    grouped = suyuan("interval", "m1", "--group", "--json").json
    assert [each["method"] for each in grouped["suggestions"]][-1] == "RP-1 A3"
    assert suyuan("interval", "nim-std").code == 2
    assert "energy.active 1" in suyuan("interval", "m1").out


def test_what_leans_on_a_standard_and_a_reported_finding(suyuan, plant) -> None:
    found = suyuan("affected", "std-017", "--from", "2026-03-01", "--to", "2026-09-30", "--json").json
    assert [(r["level"], r["instrument"], r["certificate"]) for r in found["reached"]] == [
        (0, "std-017", ""),
        (1, "m1", "NMC-1"),
    ]
    before = suyuan("affected", "std-017", "--from", "2026-01-01", "--to", "2026-04-30", "--json").json
    assert [r["instrument"] for r in before["reached"]] == ["std-017"]
    assert suyuan("affected", "nothing", "--from", "2026-01-01").code == 2
    assert (
        suyuan("affected", "std-017", "--from", "2026-01-01", "--log", "x").code == 2
    )  # how far was it out?
    assert suyuan("chain", "m1").code == 0
    words = ("affected", "std-017", "--from", "2026-03-01", "--shift", "0.03", "--report")
    assert suyuan(*words).code == 2  # no reason
    assert suyuan(*words, "--reason", "0.03 % high").code == 0
    assert suyuan("chain", "m1").code == 1
