"""A gateway's log is taken only after a person compared its fingerprint; suspending counts at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from central.registry import Registry
from gateway.cli import main
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
