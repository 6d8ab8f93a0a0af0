"""What the commands refuse is told in Chinese to who reads Chinese: every error, and none that is raised no more."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import COMMANDS, main
from gateway.cli.error_words import ERRORS, OTHERS, told

ROOT = Path(__file__).parent.parent.parent
COMMANDS_OWN = [
    *sorted((ROOT / "gateway" / "cli").glob("*.py")),
    *(
        ROOT / name
        for name in (
            "central/authority.py", "central/enrolment.py", "central/registry.py", "central/revoked_certificates.py",
            "central/store.py", "evidence/command.py", "gateway/enrolling.py", "gateway/enrolment.py",
            "gateway/key_holder.py", "gateway/keyring.py", "gateway/keys.py", "gateway/tls.py",
        )
    ),
]  # fmt: skip
ERRORS_TOLD = {
    "UsageError", "AuthorityError", "RegistryError", "LedgerError", "EnrolmentError", "KeyFileError", "NotAKey",
    "TlsError", "StoreError",
}  # fmt: skip


def template(node: ast.expr) -> str:
    """A text as a table has it, with {} where something is put in; empty for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
    return ""


def texts(path: Path) -> Iterator[tuple[str, str]]:
    """The texts of a module, and of which error each is; '' for those of none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Raise)
            and isinstance(node.exc, ast.Call)
            and isinstance(node.exc.func, ast.Name)
        ):
            for argument in node.exc.args[:1]:
                yield node.exc.func.id, template(argument)
        elif isinstance(node, ast.expr):
            yield "", template(node)


@pytest.mark.parametrize("path", COMMANDS_OWN, ids=lambda path: path.stem)
def test_every_error_of_the_commands_has_its_chinese(path: Path) -> None:
    raised = {text for error, text in texts(path) if error in ERRORS_TOLD}
    say_something = {text for text in raised if any(c.isalpha() for c in text.replace("{}", ""))}
    assert say_something - set(ERRORS) == set()


def test_no_row_is_left_of_an_error_that_is_raised_no_more() -> None:
    there = {
        text
        for package in ("gateway", "central", "evidence", "calibration", "drivers")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "error_words.py"
        for _, text in texts(path)
    }
    assert set(ERRORS) - there == set()


@pytest.mark.parametrize("english", [*ERRORS, *OTHERS])
def test_what_is_put_in_stands_in_the_chinese_too(english: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUYUAN_LANG", "zh")
    put_in = [f"<{n}>" for n in range(english.count("{}"))]
    said = told(english.format(*put_in))
    assert all(one in said for one in put_in)
    monkeypatch.setenv("SUYUAN_LANG", "en")
    assert told(english.format(*put_in)) == english.format(*put_in)


def test_a_reason_within_an_error_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUYUAN_LANG", "zh")
    assert told("a.pem: cannot be read: Permission denied") == "a.pem：无法读取：没有权限"
    assert (
        told("gateways:3: platform.example/gw/1 is there twice")
        == "gateways:3: platform.example/gw/1 出现两次"
    )
    assert told("something else: of its own") == "something else: of its own"


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_use_and_help_of_every_command_speak_chinese(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUYUAN_LANG", "zh")
    assert main([command, "--no-such-option"]) == 2
    wrong = capsys.readouterr().err
    assert wrong.startswith("用法：")
    assert "错误: " in wrong
    assert main([command, "--help"]) == 0
    assert "显示本帮助并退出" in capsys.readouterr().out
