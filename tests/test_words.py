"""Whatever people read exists in both languages, and every error code has its page."""

import re
import string
from pathlib import Path

import pytest

from gateway.cli import COMMANDS
from gateway.words import PHRASES, language, phrase

ROOT = Path(__file__).parent.parent


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", PHRASES)
def test_both_languages_say_the_same_things(key: str) -> None:
    english, chinese = PHRASES[key]
    assert placeholders(english) == placeholders(chinese)
    assert english != ""
    assert chinese != ""


def test_the_language_follows_the_reader() -> None:
    assert language({"LANG": "zh_CN.UTF-8"}) == "zh"
    assert language({"LANG": "zh_CN.UTF-8", "SUYUAN_LANG": "en"}) == "en"
    assert language({}) == "en"
    assert phrase("demo.yes", "zh") == "是"


def test_every_command_is_told_in_both_languages() -> None:
    for _, english, chinese in COMMANDS.values():
        assert english
        assert re.search(r"[\u4e00-\u9fff]", chinese)


def test_every_error_code_is_documented_in_both_languages() -> None:
    used = {
        code
        for path in (ROOT / "gateway").rglob("*.py")
        for code in re.findall(r'"(C\d{3})"', path.read_text())
    }
    rows = {
        row[1]: row
        for row in re.finditer(
            r"^\| (C\d{3}) \| (.+) \| (.+) \|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
        )
    }
    assert used <= set(rows), f"not documented: {sorted(used - set(rows))}"
    for row in rows.values():
        assert re.search(r"[\u4e00-\u9fff]", row[3])
