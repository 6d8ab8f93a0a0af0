"""The drawing says in words and shapes what the chain says, and holds whatever text people typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from calibration.certificate import Instrument, ReferenceUse
from calibration.chain import trace
from calibration.chain_svg import draw
from calibration.register import Register

Make = Callable[..., Any]
JUNE = date(2026, 6, 1)
SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg: str) -> tuple[ET.Element, list[str]]:
    root = ET.fromstring(svg)
    return root, [text.text or "" for text in root.iter(f"{SVG}text")]


def boxes(root: ET.Element) -> list[tuple[float, float, float, float]]:
    found = []
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        found.append(tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height")))
    return found  # type: ignore[return-value]


def test_the_instrument_is_below_and_the_national_standard_on_top(hierarchy: Register) -> None:
    root, texts = drawn(draw(trace(hierarchy, "M1", JUNE)))
    order = [texts.index(name) for name in ("M1", "CAL-1", "LAB-7", "NIM-1")]
    assert order == sorted(order)
    heights = [y for _, y, _, _ in boxes(root)]
    assert heights == sorted(heights, reverse=True)
    assert texts.count("traceable") == 4


@pytest.mark.parametrize(("language", "word"), [("en", "broken"), ("zh", "断开")])
def test_a_state_is_told_by_word_and_shape(hierarchy: Register, language: str, word: str) -> None:
    hierarchy.withdraw_certificate("NIM-1", actor="Wang", reason="recalled")
    svg = draw(trace(hierarchy, "M1", JUNE), language)
    _, texts = drawn(svg)
    assert texts.count(word) == 4
    assert len(re.findall(r"l7\.2 7\.2", svg)) == 4  # a cross in each box
    assert "stroke-dasharray" in svg


def test_a_shared_standard_is_drawn_once_and_nothing_overlaps(
    hierarchy: Register, a_certificate: Make
) -> None:
    hierarchy.add_instrument(Instrument("WS2"), actor="Li Na")
    hierarchy.add(
        certificates=[
            a_certificate("LAB-8", "WS2", performed=date(2025, 7, 1), references=(ReferenceUse("RS", "NIM-1"),)),
            a_certificate(
                "CAL-2", performed=date(2026, 5, 1),
                references=(ReferenceUse("WS", "LAB-7"), ReferenceUse("WS2", "LAB-8"), ReferenceUse("", "X-1")),
            ),
        ],
        actor="Li Na",
    )  # fmt: skip
    root, texts = drawn(draw(trace(hierarchy, "M1", JUNE)))
    assert texts.count("NIM-1") == 1
    found = boxes(root)
    for number, (x, y, w, h) in enumerate(found):
        for x2, y2, w2, h2 in found[number + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in found)


def test_typed_text_cannot_break_out_of_the_drawing(hierarchy: Register, a_certificate: Make) -> None:
    evil = '</text><script>alert("x")</script>&\x0b' + "很长的实验室名称" * 20
    hierarchy.add_certificate(
        replace(a_certificate("CAL-2", performed=date(2026, 5, 1)), laboratory=evil), actor="Li Na"
    )
    root, texts = drawn(draw(trace(hierarchy, "M1", JUNE)))
    assert root.find(f".//{SVG}script") is None
    assert any("<script>" in text for text in texts)
    assert all(sum(2 if "一" <= c <= "龥" else 1 for c in text) <= 40 for text in texts)


def test_a_circle_can_be_drawn(register: Register, a_certificate: Make) -> None:
    register.add(instruments=[Instrument("A"), Instrument("B")], actor="Li Na")
    day = date(2026, 1, 5)
    register.add(
        certificates=[
            a_certificate("CA", "A", performed=day, references=(ReferenceUse("B", "CB"),)),
            a_certificate("CB", "B", performed=day, references=(ReferenceUse("A", "CA"),)),
        ],
        actor="Li Na",
    )
    assert "circle" in draw(trace(register, "A", JUNE))
