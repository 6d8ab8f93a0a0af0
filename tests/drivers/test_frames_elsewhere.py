"""Frames of other sources: what each must say, item by item, and which are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.decode import decode_capture, parse_hex_or_text

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames_elsewhere.json").read_text("utf-8"))


def shown(vector: dict[str, Any]) -> dict[str, Any]:
    data = vector["text"].encode() if "text" in vector else parse_hex_or_text(vector["hex"])
    return decode_capture(vector["protocol"], data).to_json()


def told(item: dict[str, Any]) -> str | None:
    """Value and unit, or the text of what is no number; None where there is neither."""
    if item["value"] is None:
        return item.get("text")
    return f"{item['value']} {item['unit']}".strip()


@pytest.mark.parametrize("vector", FRAMES["vectors"], ids=lambda v: v["id"])
def test_a_frame_says_what_its_source_says(vector):
    found = shown(vector)
    assert {r["reason"] for r in found["rejected"]} == ({"noise"} if vector.get("noise") else set())
    items = [item for frame in found["frames"] for item in frame["items"]]
    said = {item["item"]: told(item) for item in reversed(items)}
    assert {name: said[name] for name in vector["expected"]} == vector["expected"]
    if not vector["expected"]:
        assert all(item["measurand"] == "" for item in items)
    for name, flag in vector.get("flags", {}).items():
        assert [item["detail"] for item in items if item["item"] == name] == [flag]
    assert any(frame.get("more") for frame in found["frames"]) == vector.get("more", False)


@pytest.mark.parametrize("vector", FRAMES["must_reject"], ids=lambda v: v["id"])
def test_a_frame_that_is_none_is_refused_for_what_is_wrong_with_it(vector):
    found = shown(vector)
    assert found["frames"] == []
    assert found["rejected"][0]["reason"] == vector["reject_reason"]
    assert found["rejected"][0]["offset"] == 0
