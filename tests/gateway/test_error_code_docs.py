"""docs/errors.md lists the codes that messages bear, all of them and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_code_is_documented_and_none_that_no_message_has() -> None:
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "gateway").rglob("*.py")]
    coded = {code for text in sources for code in re.findall(r'"(C\d{3})"', text)}
    documented = re.findall(
        r"^\| (C\d{3}) \|", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(documented) == len(set(documented))
    assert set(documented) == coded
