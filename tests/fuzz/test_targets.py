"""The short form: every target on its seeds and what is left of them, and the guided fuzzer for a few thousand runs."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from drivers import decode, iec104
from drivers.axdr import Malformed
from tests.fuzz.guided import NOT_HERE
from tests.fuzz.sound import sound
from tests.fuzz.targets import ROOT, TARGETS, seeds


@pytest.mark.parametrize("name", TARGETS)
def test_sound_input_cut_short_and_with_a_byte_changed_breaks_no_contract(name: str):
    rng = random.Random(name)
    for seed in [b"", *seeds(name)][:6]:
        TARGETS[name](seed)
        for _ in range(20):
            TARGETS[name](seed[: rng.randrange(len(seed) + 1)])
            if seed:
                at = rng.randrange(len(seed))
                TARGETS[name](seed[:at] + rng.randbytes(1) + seed[at + 1 :])


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_begins_with_sound_input(name: str):
    assert seeds(name)


FRAMES = ["hj212", "sml", "iec104", "modbus-ascii"]


@pytest.mark.parametrize("name", FRAMES)
def test_the_built_seeds_are_frames_and_not_noise(name: str):
    assert all(decode.decode_capture(name, seed).frames for seed in sound(name) if seed != sound(name)[-1])


@pytest.mark.parametrize("name", ["dlt645-2007", "note"])
def test_the_guided_fuzzer_finds_nothing_in_a_few_thousand_runs(name: str):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, "30", "3000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == NOT_HERE:
        pytest.skip(ran.stdout.strip())
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_an_asdu_shorter_than_its_head_is_told_to_be_none():
    with pytest.raises(Malformed, match="6 bytes, 5 came"):
        iec104.parse(bytes(5))
