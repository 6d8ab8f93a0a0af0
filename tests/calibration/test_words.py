"""Both catalogues say the same things with the same facts in them."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import calibration
from calibration import refusals
from calibration.words import CHINESE, ENGLISH, say


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_catalogues_have_the_same_codes() -> None:
    assert set(ENGLISH) == set(CHINESE)


@pytest.mark.parametrize("code", sorted(ENGLISH))
def test_a_code_has_the_same_facts_in_both(code: str) -> None:
    assert placeholders(ENGLISH[code]) == placeholders(CHINESE[code])
    assert re.search(r"[\u4e00-\u9fff]", CHINESE[code]) or CHINESE[code].startswith("{")


def test_every_code_in_the_source_has_words_and_every_word_a_use() -> None:
    folder = Path(next(iter(calibration.__path__)))
    source = "\n".join(p.read_text(encoding="utf-8") for p in folder.glob("*.py") if p.name != "words.py")
    used = set(re.findall(r'"(T[1-4]\d\d)"', source))
    assert used == {code for code in ENGLISH if re.fullmatch(r"T\d{3}", code)}


def test_a_refusal_speaks_both_languages() -> None:
    refusal = refusals.UnknownInstrument("T101", "certificate C", id="M9", near="")
    assert str(refusal) == "certificate C: no instrument M9 in the register"
    assert refusal.text("zh") == "certificate C: 登记库中没有仪器 M9"
    assert say("valid", "zh") == "可溯源"


def test_what_to_do_is_told_in_the_language_of_the_refusal() -> None:
    from calibration.refusals import DuplicateId

    refused = DuplicateId("T103", "", kind="certificate", id="C-1", todo="todo_withdraw")
    assert refused.text("zh") == "证书 C-1 已在登记库中；若原来录入有误，请先撤销已登记的证书"
    assert refused.text("en").startswith(
        "certificate C-1 is in the register already; withdraw the registered one"
    )


def test_a_suggested_interval_says_why_in_both_languages() -> None:
    from calibration.intervals import Staircase

    suggestion = Staircase().suggest(1.2, 365)
    assert suggestion.because == "worst error 1.20 MPE, outside the MPE: shorten"
    assert suggestion.text("zh") == "最大误差为最大允许误差的 1.20 倍，超差：缩短"
