"""The audit bundle's page in the hands of people: on a telephone and a desk, by keyboard alone, read aloud, in both
languages. Measured in a real browser; WCAG 2.2 AA by axe-core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evidence import bundle as bundles
from evidence import note
from evidence.bundle import File
from evidence.bundle_page import page
from tests.evidence.logs import ORIGIN, files
from tests.evidence.test_bundle import PAPER, PERIOD, PLATFORM, WITNESSED, written
from tests.rigs.browser import CHROMIUM, Browser, axe, chromium

AXE = axe()
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(AXE is None, reason="axe-core is not installed (requirements/judges.txt)"),
    pytest.mark.timeout(110),
]
READY = "document.querySelector('.verdict')"
WIDTHS = {"telephone": (360, 740), "desk": (1280, 900)}
FOCUS = """(() => {
  const it = document.activeElement, seen = getComputedStyle(it.closest(".file") ?? it);
  const name = it.id || it.className || it.tagName;
  return [name, seen.outlineStyle !== "none" && parseFloat(seen.outlineWidth) >= 2];
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A short period: axe-core looks at each word, and each row of a table is like the next."""
    served = files(written().entries, ORIGIN, written().signer)
    receipt = note.Note.parse(served["checkpoint"]).cosigned_by(PLATFORM, 1_790_000_999).encode()
    begin, end = PERIOD
    paper = File("0001.pdf", "application/pdf", PAPER)
    small = bundles.make(served.get, "M2", end - (end - begin) // 6, end, receipts=[receipt], files=[paper])
    place = tmp_path_factory.mktemp("bundle") / "bundle.html"
    place.write_text(page(bundles.encode(small)), encoding="utf-8")
    return place


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
@pytest.mark.parametrize("place", WIDTHS)
def test_from_the_first_look_over_a_mistake_to_the_verdict_by_keyboard_alone(browser, file, place, language):
    with browser.page(file, *WIDTHS[place], language, READY) as shown:
        assert shown.tell("document.documentElement.lang") == ("zh-CN" if language == "zh-CN" else "en")
        shown.press("Tab")
        assert shown.tell(FOCUS) == ["skip", True]
        shown.press("Tab")
        assert shown.tell(FOCUS) == ["in-zh-CN", True]
        shown.press("Tab")
        assert shown.tell(FOCUS) == ["in-en", True]
        shown.press("Tab")
        assert shown.tell(FOCUS) == ["policy", True]
        assert shown.tell("document.getElementById('policy').labels.length") == 1

        shown.write("nonsense")
        shown.press("Tab")
        assert shown.tell(FOCUS) == ["main", True]
        shown.press("Enter")
        shown.until("document.querySelector('.verdict.unable')")
        assert shown.tell(FOCUS) == ["policy", True], (
            "whoever was wrong stands in the field, with what was typed"
        )
        assert shown.tell("document.activeElement.value") == "nonsense"
        assert shown.tell("document.activeElement.getAttribute('aria-invalid')") == "true"
        described = shown.tell(
            "document.activeElement.getAttribute('aria-describedby').split(' ')"
            ".map(id => document.getElementById(id).textContent)"
        )
        assert len(described) == 2
        assert "line 1" in described[0]
        assert shown.tell("document.querySelector('.verdict').getAttribute('aria-live')") == "polite"
        assert shown.faults(AXE) == []

        shown.tell("document.activeElement.select()")
        shown.write(WITNESSED)
        shown.press("Tab")
        shown.press("Enter")
        shown.until("document.querySelector('.verdict.yes')")
        assert shown.tell(FOCUS) == ["verdict", True], "it is read aloud where it stands"
        assert not shown.tell("document.getElementById('policy').hasAttribute('aria-invalid')")
        assert shown.faults(AXE) == []
        assert shown.tell("document.documentElement.scrollWidth") == WIDTHS[place][0], (
            "nothing stands out sideways"
        )


def test_the_language_changes_under_the_finger_and_the_focus_stays(browser, file):
    with browser.page(file, 360, 740, "en-US", READY) as shown:
        shown.tell("document.getElementById('in-zh-CN').focus()")
        shown.press("Enter")
        assert shown.tell("document.documentElement.lang") == "zh-CN"
        assert shown.tell(FOCUS) == ["in-zh-CN", True]
        assert shown.tell("document.activeElement.getAttribute('aria-pressed')") == "true"
        shown.press("Tab")
        shown.press("Space")
        assert shown.tell("[document.documentElement.lang, document.activeElement.id]") == ["en", "in-en"]


def test_fingers_find_their_targets_and_tables_that_are_wider_can_be_scrolled_by_keys(browser, file):
    with browser.page(file, 360, 740, "zh-CN", READY) as shown:
        small = shown.tell(
            "[...document.querySelectorAll('button, select, summary, .file, main a')].filter(e => "
            "e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML)"
        )
        assert small == []
        fixed = shown.tell(
            "[...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1 && "
            "getComputedStyle(e).overflowX === 'auto' && !e.hasAttribute('tabindex')).map(e => e.outerHTML)"
        )
        assert fixed == []


def test_a_page_that_nobody_could_read_would_be_told(browser, file):
    with browser.page(file, 360, 740, "en-US", READY) as shown:
        shown.tell("document.documentElement.style.setProperty('--quiet', '#c8ccd0')")
        assert any(fault.startswith("color-contrast") for fault in shown.faults(AXE))
