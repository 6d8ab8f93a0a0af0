"""A short run of the fuzzer; ``make fuzz`` runs it at length."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def fuzzer() -> ModuleType:
    file = Path(__file__).with_name("fuzz_codecs.py")
    spec = importlib.util.spec_from_file_location("fuzz_codecs", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_codecs"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_five_thousand_mutated_streams():
    tally = fuzzer().run(5000)
    assert tally.streams == 5000
    assert set(tally.kinds) == {
        "645",
        "rtu",
        "tcp",
        "ascii",
        "188",
        "212",
        "mbus",
        "62056",
        "dlms",
        "698",
        "sml",
    }
    assert tally.frames > 5000  # most streams still hold sound frames
    assert tally.answers > 1000  # and answers that are accepted,
    assert tally.rejects > 1000  # beside what is refused
