"""A gateway's log is taken only after a person compared its fingerprint; suspending counts at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_crl

from central.enrolment import EnrolmentRefused, Enrolments
from central.registry import Registry
from gateway.cli import main
from gateway.clock import moment
from gateway.keys import create
from gateway.words import phrase
from tests.gateway.test_config import SITE


@pytest.fixture
def enrolment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    (tmp_path / "site.toml").write_text(SITE, encoding="utf-8")
    assert main(["enrol", str(tmp_path / "site.toml")]) == 0
    out, err = capsys.readouterr()
    (tmp_path / "gateway.enrol").write_text(out, encoding="utf-8")
    return tmp_path / "gateway.enrol", err.split("gw/0001: ")[1].split("\n")[0]


def gateways(tmp_path: Path, *arguments: str) -> int:
    return main(["gateways", *arguments, "--store", str(tmp_path / "platform")])


def test_approve_suspend_and_approve_again(tmp_path, enrolment, capsys):
    note, fingerprint = enrolment
    origin = "platform.example/gw/0001"
    assert gateways(tmp_path, "approve", str(note)) == 2
    assert gateways(tmp_path, "approve", str(note), "--fingerprint", "0000 0000 0000 0000 0000") == 2
    registry = Registry(tmp_path / "platform" / "gateways")
    assert registry() == {}
    assert gateways(tmp_path, "approve", str(note), "--fingerprint", fingerprint) == 0
    assert list(registry()) == [origin]
    assert gateways(tmp_path, "suspend", origin) == 0
    assert registry() == {}
    capsys.readouterr()
    assert gateways(tmp_path, "list") == 0
    assert capsys.readouterr().out == f"suspended  {origin}  {fingerprint}  certificate not issued\n"
    assert gateways(tmp_path, "approve", origin) == 0
    assert list(registry()) == [origin]


@pytest.mark.parametrize(
    "change", [("gw/0001\n", "gw/0002\n"), ("suyuan/enrolment", "suyuan/other"), ("— ", "- ")]
)
def test_a_note_that_was_changed_is_refused(tmp_path, enrolment, change):
    note, fingerprint = enrolment
    note.write_text(note.read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    assert gateways(tmp_path, "approve", str(note), "--fingerprint", fingerprint) == 2
    assert Registry(tmp_path / "platform" / "gateways")() == {}


def test_who_is_unknown_cannot_be_suspended(tmp_path, capsys):
    assert gateways(tmp_path, "suspend", "nobody.example/x") == 2
    assert "not registered" in capsys.readouterr().err


ORIGIN = "platform.example/gw/0001"


def test_a_gateway_approved_before_it_asks_is_listed_and_removed(tmp_path, enrolment, capsys):
    _, fingerprint = enrolment
    assert gateways(tmp_path, "approve", ORIGIN) == 2
    assert gateways(tmp_path, "approve", ORIGIN, "--fingerprint", "1a2b") == 2
    assert "20 digits" in capsys.readouterr().err
    assert gateways(tmp_path, "approve", ORIGIN, "--fingerprint", fingerprint, "--address", "gw.example") == 0
    assert "as soon as the gateway asks" in capsys.readouterr().err
    assert gateways(tmp_path, "list") == 0
    assert capsys.readouterr().out == f"expected   {ORIGIN}  {fingerprint}  at gw.example\n"
    assert gateways(tmp_path, "remove", ORIGIN) == 0
    assert gateways(tmp_path, "remove", ORIGIN) == 2
    capsys.readouterr()
    assert gateways(tmp_path, "list") == 0
    assert capsys.readouterr().out == ""


def test_the_operator_reads_it_in_chinese_too(tmp_path, enrolment, capsys, monkeypatch):
    note, fingerprint = enrolment
    monkeypatch.setenv("SUYUAN_LANG", "zh")
    assert gateways(tmp_path, "approve", str(note), "--fingerprint", fingerprint) == 0
    assert gateways(tmp_path, "suspend", ORIGIN) == 0
    assert gateways(tmp_path, "rekey", ORIGIN) == 2
    err = capsys.readouterr().err
    assert "已批准" in err
    assert "已暂停" in err
    assert "新公钥" in err


def waits(tmp_path: Path, note: Path) -> None:
    """An application that a gateway left at the door."""
    platform = tmp_path / "platform"
    Enrolments(platform, Registry(platform / "gateways"), moment).take(note.read_bytes(), "192.0.2.7")


def test_what_waits_is_told_to_who_approves_another_fingerprint(tmp_path, enrolment, capsys):
    note, fingerprint = enrolment
    waits(tmp_path, note)
    assert gateways(tmp_path, "approve", ORIGIN, "--fingerprint", "0000 0000 0000 0000 0000") == 0
    assert f"has another fingerprint: {fingerprint}" in capsys.readouterr().err


def test_the_certificate_of_who_is_removed_is_revoked_and_that_is_told(tmp_path, enrolment, capsys):
    note, fingerprint = enrolment
    assert main(["platform", "ca", "new", "--store", str(tmp_path / "platform"), "--name", "Smelter"]) == 0
    vkey = create(tmp_path / "receipts.key", "platform.example/receipts", receipts=True).vkey
    (tmp_path / "platform" / "policy").write_text(f"witness centre {vkey}\nquorum centre\n")
    assert gateways(tmp_path, "approve", str(note), "--fingerprint", fingerprint) == 0
    assert gateways(tmp_path, "answer", ORIGIN) == 0
    capsys.readouterr()
    assert gateways(tmp_path, "remove", ORIGIN) == 0
    crl = tmp_path / "platform" / "ca" / "gateways-ca.crl"
    assert f"its TLS certificates are on the list {crl}" in capsys.readouterr().err
    assert len(load_pem_x509_crl(crl.read_bytes())) == 1


def test_the_tables_and_refusals_are_chinese_for_who_reads_chinese(tmp_path, enrolment, capsys, monkeypatch):
    note, fingerprint = enrolment
    monkeypatch.setenv("SUYUAN_LANG", "zh")
    waits(tmp_path, note)
    assert gateways(tmp_path, "list") == 0
    assert re.fullmatch(
        f"待批 +{ORIGIN}  {fingerprint}  来自 192.0.2.7  申请于 .+ UTC\n", capsys.readouterr().out
    )
    assert gateways(tmp_path, "approve", str(note), "--fingerprint", "0000 0000 0000 0000 0000") == 2
    assert f"申请的指纹为 {fingerprint}" in capsys.readouterr().err
    assert gateways(tmp_path, "approve", str(note), "--fingerprint", fingerprint) == 0
    assert gateways(tmp_path, "keys", ORIGIN) == 0
    assert capsys.readouterr().out.startswith("已登记")


def test_a_refusal_says_in_english_what_the_gateway_is_told(tmp_path, enrolment, monkeypatch):
    monkeypatch.setenv("SUYUAN_LANG", "en")
    note, fingerprint = enrolment
    enrolments = Enrolments(tmp_path, Registry(tmp_path / "gateways"), moment)
    asked = (
        lambda: enrolments.expect(ORIGIN, "1a2b", ()),
        lambda: enrolments.approve(note.read_bytes(), ""),
        lambda: enrolments.answer(ORIGIN),
        lambda: enrolments.request(ORIGIN),
        lambda: enrolments.check(),
    )
    kinds = []
    for ask in asked:
        with pytest.raises(EnrolmentRefused) as refused:
            ask()
        error = refused.value
        assert phrase(f"refused.{error.kind}", **error.about) == str(error)
        kinds.append(error.kind)
    enrolments.approve(note.read_bytes(), fingerprint)
    with pytest.raises(EnrolmentRefused) as refused:
        enrolments.expect(ORIGIN, fingerprint, ())
    assert phrase(f"refused.{refused.value.kind}", **refused.value.about) == str(refused.value)
    assert kinds == ["no_fingerprint", "compare", "no_request", "no_request", "not_set_up"]
