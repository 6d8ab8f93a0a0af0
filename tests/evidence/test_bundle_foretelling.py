"""Whether a column comes back whatever is said to foretell it, is foretold by what truly does, and the page agrees."""

from __future__ import annotations

import base64
import json
import math
import random
import shutil
import struct
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evidence
from evidence import bundle as bundles
from evidence.bundle import Bundle
from evidence.bundle_foretelling import (
    ALONG,
    BEFORE,
    BESIDE,
    CRC_16,
    NOTHING,
    RATIO,
    READ,
    SUM,
    SUM_OF_MBUS,
    UNCHECKED,
    Known,
    Rule,
    checked_by,
    chosen,
    differences,
    restored,
    unchecked,
)
from evidence.bundle_packing import pack, unpack

VERIFIER = Path(evidence.__file__).parent / "page" / "verify.js"
NODE = shutil.which("node")
ROWS = 40
chance = random.Random(11)
LOAD = [chance.randrange(40_000, 60_000) for _ in range(ROWS)]
CLOCK = [1_800_000_000_000_000 + row * 60_000_000 + LOAD[row] for row in range(ROWS)]
FRAMES = [b"\1\3\x08" + struct.pack(">hfBB", value // 10, value / 1000, 0x33, 0x7A) for value in LOAD]
KNOWN = Known(
    [list(range(ROWS)), LOAD, [value * 997 for value in LOAD], [0, -1] * (ROWS // 2), CLOCK], [FRAMES]
)

numbers = st.integers(-(1 << 70), 1 << 70) | st.integers(-1000, 1000)
rules = (
    st.sampled_from([Rule(NOTHING), Rule(BEFORE)])
    | st.builds(lambda n, c: Rule(n, (c,)), st.sampled_from([BESIDE, ALONG]), st.integers(0, 3))
    | st.builds(lambda a, b: Rule(RATIO, (a, b)), st.integers(0, 3), st.integers(0, 3))
    | st.builds(
        lambda at, f, p: Rule(READ, (0, at, f, p)), st.integers(0, 30), st.integers(0, 6), st.integers(0, 15)
    )
)


@given(st.lists(numbers, min_size=ROWS, max_size=ROWS), rules)
def test_whatever_is_said_the_values_come_back(values, rule):
    assert restored(differences(values, rule, KNOWN), rule, KNOWN) == values


ABSENT = (
    Rule(BESIDE, (9,)), Rule(RATIO, (1, 9)), Rule(READ, (3, 0, 0, 0)), Rule(READ, (0, 0, 9, 0)),
    Rule(READ, (0, 0, 0, 99)),
)  # fmt: skip


@pytest.mark.parametrize("rule", ABSENT)
def test_what_is_not_there_is_an_index_error(rule):
    with pytest.raises(IndexError):
        restored([0] * ROWS, rule, KNOWN)


@pytest.mark.parametrize(
    ("what", "values", "rule"),
    [
        ("another clock", [instant - 1_799_999_000_000_000 for instant in CLOCK], ALONG),
        (
            "an instant a little after the one it was due at",
            [c + chance.randrange(900) for c in CLOCK],
            BESIDE,
        ),
        ("a curve over the load", [value + round(math.sqrt(value) * 9) for value in LOAD], RATIO),
        ("a whole number in a frame", [value // 10 * 100 for value in LOAD], READ),
        ("a float in a frame", [value * 10 for value in LOAD], READ),
    ],
)
def test_a_column_is_foretold_by_what_it_follows(what, values, rule):
    found = chosen(values, KNOWN)
    assert found.number == rule, what
    left = [abs(step) for step in differences(values, found, KNOWN)][8:]
    assert sum(left) < sum(abs(b - a) for a, b in pairwise(values)) / 50 + 100


def checked(kind: int) -> list[bytes]:
    """Frames with right check sums."""
    return unchecked([chance.randbytes(chance.randrange(8, 9)) + b"\0\0" for _ in range(9)], kind)


@pytest.mark.parametrize("kind", [SUM, SUM_OF_MBUS, CRC_16])
def test_a_check_sum_is_found_and_taken_off(kind):
    frames = checked(kind)
    assert checked_by(frames) == kind
    assert {frame[-2:] for frame in unchecked(frames, kind)} == {b"\0\0"}
    frames[5] = frames[5][:-2] + b"\x55\xaa"
    assert unchecked(unchecked(frames, kind), kind) == frames, "a wrong one comes back as wrong as it was"


def test_the_crc_of_modbus_is_the_one_of_its_specification():
    assert checked_by([bytes.fromhex("010300000001840A")]) == CRC_16
    assert checked_by([bytes.fromhex("010300000001840B")]) == UNCHECKED


# -- what the page unpacks --------------------------------------------------------------------------------------


def records(seed: int, rows: int) -> list[bytes]:
    """Records whose columns follow one another, go astray, leave what doubles hold, and change their forms."""
    own = random.Random(seed)
    found, total = [], 0
    for row in range(rows):
        load, wild = (
            own.randrange(-9999, 99999),
            own.choice([0, 1, -1, 10**17, -(10**17), 1 << 52, own.getrandbits(56)]),
        )
        total += own.randrange(90)
        body = struct.pack(">hif", load // 8, load * 3, load / 100) + bytes(
            (0x33 + row % 10, 0x79, 0xCC, 0x10)
        )
        frame = unchecked(
            [b"\1\3" + body + b"\0\0"], own.choice([SUM, CRC_16]) if seed % 7 == 6 else seed % 4
        )[0]
        value = {
            "due": 1_800_000_000_000_000 + row * 60_000_000,
            "utc": 1_800_000_000_000_000 + row * 60_000_000 + own.randrange(9000),
            "wild": wild,
            "raw": base64.b64encode(frame).decode(),
            "load": f"{load / 100:.{own.choice([2, 2, 2, 3])}f}" if seed % 3 else f"{load / 100:g}",
            "float": f"{struct.unpack('>f', struct.pack('>f', load / 100))[0]:.4f}".rstrip("0").rstrip("."),
            "result": f"{load * (1 + load * 1e-7) / 100:.9f}",
            "total": f"{total}.{row % 10}0",
            "astray": own.choice(['"', "é", "0", "-0", "-0.50", "12.5"]),
        }
        found.append(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    return found


CASES = [records(seed, rows) for seed in range(14) for rows in (1, 2, 90)]


@pytest.mark.parametrize("entries", CASES)
def test_records_come_back(entries):
    assert unpack(b"".join(pack(entries))) == entries


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_the_page_unpacks_the_same_bytes():
    made = [bundles.encode(Bundle("o", "i", 0, 1, b"", tuple(enumerate(case)), ())) for case in CASES]
    script = """
        const fs = require("fs");
        require("vm").runInThisContext(fs.readFileSync(process.argv[1], "utf8"));
        const opened = (data) => SuyuanBundle.open(new Uint8Array(Buffer.from(data, "base64")));
        const texts = (bundle) => bundle.entries.map((entry) => Buffer.from(entry).toString("base64"));
        Promise.all(JSON.parse(fs.readFileSync(0, "utf8")).map(opened))
          .then((all) => process.stdout.write(JSON.stringify(all.map(texts))));
    """
    done = subprocess.run(
        [NODE, "-e", script, VERIFIER], input=json.dumps([base64.b64encode(data).decode() for data in made]),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [[base64.b64encode(e).decode() for e in case] for case in CASES]
