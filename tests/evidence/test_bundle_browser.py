"""Whether the page itself, in a browser without a network, tells the verdict in words: true, changed, other key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evidence import bundle as bundles
from evidence.bundle_page import page
from tests.evidence.test_bundle import (
    OTHER,
    PERIODS,
    POLICY,
    READING,
    WITNESSED,
    edited,
    made,
    of_period,
)

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.timeout(100),
]
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--virtual-time-budget=15000", "--dump-dom",
)  # fmt: skip


def typed(text: str, policy: str) -> str:
    """The page with somebody before it who pastes a policy and presses the button."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    # Cryptography runs beside the virtual time that the browser is given: work in each tick lets it finish.
    hand = """<script>
      let pressed = false;
      const tick = setInterval(() => {
        for (let i = 0; i < 3e5; i++) Math.sqrt(i);
        const field = document.getElementById("policy");
        if (!pressed && field) {
          pressed = true;
          field.value = %s;
          field.dispatchEvent(new Event("input"));
          document.querySelector("button.main").click();
        }
        if (document.querySelector(".verdict.yes, .verdict.no")) clearInterval(tick);
      }, 1);
    </script>"""
    return text.replace("</body>", hand % json.dumps(policy) + "</body>")


def dom(file: Path, language: str) -> str:
    done = subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={file.parent / 'profile'}", f"--lang={language}",
         f"--accept-lang={language}", file.as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    return done.stdout


def verdict(text: str) -> str:
    found = re.search(r'<div class="verdict.*?</strong>', text, re.DOTALL)
    assert found is not None, text[-2000:]
    return re.sub("<[^>]*>", "", found[0])


@pytest.mark.parametrize(
    ("language", "lang", "words"),
    [
        ("en-US", "en", "✔ Verified: nothing is missing, nothing was changed"),
        ("zh-CN", "zh-CN", "✔ 核验通过：无缺失，无更改"),
    ],
)
def test_the_true_bundle_is_verified_in_the_readers_language(tmp_path, language, lang, words):
    file = tmp_path / "bundle.html"
    file.write_text(typed(page(bundles.encode(made())), WITNESSED), encoding="utf-8")
    text = dom(file, language)
    assert verdict(text) == words
    assert f'<html lang="{lang}">' in text
    assert "platform.example/receipts" in text


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en-US",
            "Of the period asked for, not covered: what is before (the log has no earlier record of it)",
        ),
        ("zh-CN", "所求期间未被覆盖的部分：此前（日志中无更早记录）"),
    ],
)
def test_a_period_that_began_before_the_log_is_told_beside_its_hundred_percent(tmp_path, language, words):
    file = tmp_path / "bundle.html"
    asked, _ = PERIODS["the log begins later"]
    file.write_text(typed(page(bundles.encode(of_period(*asked))), POLICY), encoding="utf-8")
    text = dom(file, language)
    overview = text.split('id="overview"')[1].split("</section>")[0]
    assert words in overview
    assert words in text.split('<div class="verdict yes"')[1].split("</div>")[0], "in the verdict too"


def test_without_a_key_nothing_is_called_verified(tmp_path):
    file = tmp_path / "bundle.html"
    file.write_text(page(bundles.encode(made())), encoding="utf-8")
    for _ in range(4):  # nobody holds its virtual time back here: a busy machine may need another try
        text = dom(file, "en-US")
        if 'class="verdict' in text:
            break
    assert verdict(text) == "○ Not verified yet"
    body = text.split('<main id="main"')[1].split("</main>")[0]
    assert body.count("<tr") > 50, "the readings are shown under the page's own security policy"
    assert "<polyline" in body
    assert "<polygon" in body


@pytest.mark.parametrize(
    ("bundle", "policy", "code"),
    [
        (lambda: edited(READING, b'"M2"', b'"M3"', tag=True), WITNESSED, "root"),
        (made, WITNESSED.replace(WITNESSED.split()[1], OTHER.verifier.vkey), "checkpoint"),
    ],
)
def test_a_changed_record_or_another_key_is_told_with_its_cause(tmp_path, bundle, policy, code):
    file = tmp_path / "bundle.html"
    file.write_text(typed(page(bundles.encode(bundle())), policy), encoding="utf-8")
    text = dom(file, "en-US")
    assert verdict(text) == "✘ NOT verified"
    assert f"[{code}]" in text
