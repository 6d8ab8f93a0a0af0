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
    assert capsys.readouterr().out == f"suspended  {origin}  {fingerprint}\n"
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
