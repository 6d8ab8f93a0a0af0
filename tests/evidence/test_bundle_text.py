"""Whether bytes come back from the text that stands for them in a page, in Python and in the page alike."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evidence
from evidence.bundle_text import ALPHABET, as_bytes, as_text
from evidence.errors import ParseError

START = Path(evidence.__file__).parent / "page" / "start.js"
NODE = shutil.which("node")


@given(st.binary(max_size=80))
def test_any_bytes_come_back(data):
    assert as_bytes(as_text(data).encode()) == data


@given(st.lists(st.sampled_from(ALPHABET), max_size=40).map(bytes))
def test_a_text_is_the_only_one_of_its_bytes_or_refused(text):
    try:
        data = as_bytes(text)
    except ParseError:
        return
    assert as_text(data).encode() == text


def test_it_is_ascii_that_html_leaves_alone():
    assert len(set(ALPHABET)) == 91
    assert not set(ALPHABET) & set(b'<&" \r\n\t\0')
    assert max(ALPHABET) < 0x7F


def test_white_space_says_nothing_and_other_characters_are_damage():
    text = as_text(b"bundle of bytes").encode()
    assert (
        as_bytes(b"\r\n".join(text[i : i + 3] for i in range(0, len(text), 3)) + b"\n") == b"bundle of bytes"
    )
    for other in (b"<", b"&", b'"', b"\0", b"\xe9"):
        with pytest.raises(ParseError, match="characters"):
            as_bytes(text[:4] + other + text[5:])


def test_thirteen_bits_take_two_characters():
    assert len(as_text(bytes(1300))) == 1600


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_the_page_reads_the_same_bytes_and_refuses_the_same_texts():
    chance = random.Random(3)
    texts = [as_text(chance.randbytes(size)) for size in range(60)]
    texts += ["".join(chr(chance.choice(ALPHABET)) for _ in range(chance.randrange(30))) for _ in range(300)]
    texts += ["ab<d", "ab\x00d", "aé", " ! \r\n!"]
    script = (
        "require('vm').runInThisContext(require('fs').readFileSync(process.argv[1],'utf8'));"
        "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0,'utf8')).map((text) => {"
        "const found = SuyuanPage.bytes(text); return found && Buffer.from(found).toString('base64'); })))"
    )
    done = subprocess.run(
        [NODE, "-e", script, START], input=json.dumps(texts), capture_output=True, text=True, timeout=30, check=True
    )  # fmt: skip
    assert json.loads(done.stdout) == [expected(text) for text in texts]


def expected(text: str) -> str | None:
    try:
        return base64.b64encode(as_bytes(text.encode())).decode()
    except ParseError:
        return None
