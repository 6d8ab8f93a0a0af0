"""The short form: every target on its seeds and what is left of them, and the guided fuzzer for a few thousand runs."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace

import pytest

from drivers import decode, iec104
from drivers.axdr import Malformed
from tests.fuzz.guided import NOT_HERE
from tests.fuzz.peers import PEERS
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


@pytest.mark.peer
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finds_the_same_numbers_in_the_seeds(name: str):
    frames = [frame for seed in seeds(name) for frame in decode.decode_capture(name, seed).frames]
    assert sum(PEERS[name](frame) for frame in frames) > 0


@pytest.mark.peer
@pytest.mark.parametrize("name", PEERS)
def test_a_number_that_is_not_the_peers_is_a_finding(name: str):
    """Each value of the seeds changed by a little: the comparison is no formality."""
    caught = 0
    for frame in (f for seed in seeds(name) for f in decode.decode_capture(name, seed).frames):
        off = tuple(i if i.value is None else replace(i, value=i.value + 7) for i in frame.indications)
        try:
            PEERS[name](replace(frame, indications=off))
        except AssertionError:
            caught += 1
    assert caught > 0


def test_an_asdu_shorter_than_its_head_is_told_to_be_none():
    with pytest.raises(Malformed, match="6 bytes, 5 came"):
        iec104.parse(bytes(5))
