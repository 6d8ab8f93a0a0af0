"""The page of a gateway: what a person beside it reads, in their language, on a telephone or a desk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import evidence
from calibration.curve import Flag
from drivers.codec import Missing
from gateway import code_words
from gateway.clock import ClockQuality
from gateway.code_words import ALARMS, CLOCK, FLAGS, MEASURANDS, REASONS, measurand_said
from gateway.local_page import EVERY_S, expanded, page
from gateway.status import AgentStatus, InstrumentStatus, MeasurandStatus, ReceiptStatus
from tests.rigs.browser import CHROMIUM, Browser, axe, chromium

NOW = 1_795_560_307_514_775
ROWS = (
    MeasurandStatus("power.active.total", "kW", "98.57", "98.4091", "0.52889", None),
    MeasurandStatus("energy.active.import", "kWh", "120035.9", "120035.9", "0.00288675", None),
    MeasurandStatus("power.active.l1", "kW", None, None, None, "timeout"),
    MeasurandStatus("energy.reactive.import", "kvar.h", "7", None, None, None),
    MeasurandStatus("vendor.odd", "", "1", None, None, None),
)


def status(*measurands: MeasurandStatus, flags=(), alarms=(), buffer_hours=None, receipts=(), platforms=()):
    shown = InstrumentStatus("m<1>", "line", 3, 2, 1, 1_795_560_305_001_069, 57, False, "", flags, measurands)
    return AgentStatus(
        origin="plant.example/gw", software="suyuan", utc_us=NOW, started_us=0, clock="holdover",
        clock_error_us=250_000, size=68, checkpoint=68, unacknowledged=8, rewrite_window_s=None, window_s=1.0,
        receipts=receipts, buffer_hours=buffer_hours, bytes_per_record=None, log_bytes=1, alarms=alarms,
        instruments=(shown,), platforms=platforms,
    )  # fmt: skip


def test_a_value_is_shown_with_two_digits_of_its_expanded_uncertainty() -> None:
    assert expanded("98.4091354727", "0.52889") == "98.4 ± 1.1"
    assert expanded("120035.9", "0.00288675") == "120035.9000 ± 0.0058"
    assert expanded("123456", "612") == "123500 ± 1200"
    assert expanded("1.23456", "0.0498") == "1.23 ± 0.10", "not 0.100, which has three"
    assert expanded("0", "0") == "0 ± 0"


def test_value_gap_and_what_has_no_certificate_are_told_apart_in_both_languages() -> None:
    english, chinese = page(status(*ROWS), "en"), page(status(*ROWS), "zh")
    for text in ("98.4 ± 1.1 kW", "missing: no answer", "not corrected", "2026-11-24 22:45:05 UTC", "2 s ago",
                 "polls without a reading: 1", "active power L1", "7 kvarh"):  # fmt: skip
        assert text in english
    for text in (
        "98.4 ± 1.1 kW",
        "缺失：无应答",
        "未修正",
        "2026-11-24 22:45:05 UTC",
        "2 秒前",
        "有功功率 L1",
    ):
        assert text in chinese


def test_no_code_stands_alone_where_there_are_words() -> None:
    flags, alarms = ("POWER_FACTOR_UNKNOWN", "CLASS_ONLY", "status:x=1"), ("low_disk", "key_unavailable")
    english = page(status(*ROWS, flags=flags, alarms=alarms), "en")
    chinese = page(status(*ROWS, flags=flags, alarms=alarms), "zh")
    for text in (english, chinese):
        for code in (
            "POWER_FACTOR_UNKNOWN",
            "CLASS_ONLY",
            "low_disk",
            "key_unavailable",
            "holdover",
            "timeout",
        ):
            assert code not in text
        assert "status:x=1" in text, "a code without words is shown as it is"
        assert "<small>power.<wbr>active.<wbr>total</small>" in text, (
            "the technical name stands by, as in the bundle"
        )
    assert "was synchronised, is not now, within 250 ms" in english
    assert "曾同步，现已失步，误差不超过 250 ms" in chinese
    assert "磁盘空间不足、日志密钥无法签名" in chinese
    assert not re.search(r"[a-z]{4,}", re.sub(r"<[^>]*>|<small>.*?</small>", " ", re.sub(
        r"<style>.*?</style>|<small>.*?</small>|plant\.example/gw|vendor\.odd|status:x=1|kvarh|English", "", chinese
    ))), "nothing else is left in English"  # fmt: skip


def test_the_hours_of_buffer_are_told_and_never_more_than_there_are() -> None:
    assert "<dd>31 hours</dd>" in page(status(buffer_hours=31.9), "en")
    assert "<dd>31 小时</dd>" in page(status(buffer_hours=31.9), "zh")
    assert "<dd>1000 hours (41 days)</dd>" in page(status(buffer_hours=1000.2), "en")
    assert "not known yet" in page(status(buffer_hours=None), "en")


def test_each_platform_has_the_state_of_its_receipt() -> None:
    shown = status(
        receipts=(ReceiptStatus("head office", 60, NOW - 300_000_000),), platforms=("head office", "n<d>rc")
    )
    english, chinese = page(shown, "en"), page(shown, "zh")
    assert "<dt>Receipt: head office</dt><dd>first 60 entries confirmed, 5 min ago</dd>" in english
    assert '<dt>Receipt: n&lt;d&gt;rc</dt><dd class="bad">none yet</dd>' in english
    assert "<dt>回执：head office</dt><dd>已确认前 60 条，5 分钟前</dd>" in chinese
    assert "not yet confirmed by a platform: 8" in english


def test_it_stays_still_unless_its_reader_wants_it_otherwise_and_can_stop_it() -> None:
    still, moving = page(status(), "en"), page(status(), "en", renewing=True)
    assert "http-equiv" not in still
    assert '<a href="/?lang=en">Refresh</a>' in still
    assert '<a href="/?lang=en&amp;renew=1">Renew every 10 s</a>' in still
    assert f'<meta http-equiv="refresh" content="{EVERY_S}">' in moving
    assert 'renews itself every 10 s: <a href="/?lang=en">Stop</a>' in moving
    assert 'href="/?lang=zh&amp;renew=1"' in moving, "the other language keeps what was chosen"


def test_nothing_of_a_site_is_read_as_markup() -> None:
    odd = MeasurandStatus("<b>", "kW", None, None, None, "<i>")
    shown = page(status(odd, alarms=("<script>",), flags=("<u>",), platforms=("<s>",)), "en")
    assert not any(mark in shown for mark in ("<b>", "<i>", "<script>", "m<1>", "<u>", "<s>"))


def test_every_flag_reason_and_state_of_the_clock_has_words() -> None:
    assert {str(flag) for flag in Flag} <= set(FLAGS)
    assert {str(reason) for reason in Missing} <= set(REASONS)
    assert {quality.name.lower() for quality in ClockQuality} == set(CLOCK)
    sources = [file.read_text() for file in (Path(code_words.__file__).parent).glob("*.py")]
    begun = {name for text in sources for name in re.findall(r'[aA]larms?(?:\.begin)?\("(\w+)"', text)}
    assert "contradicted_by_platform" in begun
    assert begun <= set(ALARMS)


def test_the_bundles_page_says_it_in_the_same_words() -> None:
    text = (Path(evidence.__file__).parent / "page" / "words.js").read_text(encoding="utf-8")
    there = {
        name.strip('"'): (english, chinese)
        for name, english, chinese in re.findall(r'("?[\w.]+"?): \["([^"]*)", "([^"]*)"\]', text)
    }
    compared = 0
    for words in (FLAGS, REASONS, MEASURANDS):
        for code, both in words.items():
            if code in there:
                compared += 1
                assert there[code] == both
    assert compared > 35


def test_measurands_are_named_by_their_longest_known_part() -> None:
    assert measurand_said("power.active.total", "zh") == "有功功率 总"
    assert measurand_said("energy.active.import.t1", "en") == "active energy, import T1"
    assert measurand_said("vendor.odd", "zh") == "vendor.odd"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.skipif(axe() is None, reason="axe-core is not installed (requirements/judges.txt)")
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_telephone_and_a_desk_and_axe_finds_nothing(browser, tmp_path, width, language) -> None:
    shown = status(
        *ROWS, flags=("POWER_FACTOR_UNKNOWN", "CLASS_ONLY"), alarms=("low_disk",), buffer_hours=812.0,
        receipts=(ReceiptStatus("head office", 60, NOW - 300_000_000),), platforms=("head office", "second"),
    )  # fmt: skip
    file = tmp_path / "page.html"
    file.write_text(page(shown, language), encoding="utf-8")
    for dark in (False, True):
        with browser.page(file, width, 740, language, "document.querySelector('table')", dark=dark) as seen:
            assert seen.tell("document.documentElement.scrollWidth") == width, "nothing stands out sideways"
            assert seen.faults(axe()) == []
