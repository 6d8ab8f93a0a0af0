"""The page of a gateway: what a person beside it reads."""

from __future__ import annotations

from gateway.local_page import expanded, page
from gateway.status import AgentStatus, InstrumentStatus, MeasurandStatus


def status(*measurands: MeasurandStatus, **more) -> AgentStatus:
    shown = InstrumentStatus("m<1>", "line", 3, 2, 1, 1_795_560_305_001_069, 57, False, "", (), measurands)
    return AgentStatus(
        origin="plant.example/gw", software="suyuan", utc_us=1_795_560_307_514_775, started_us=0, clock="unknown",
        clock_error_us=None, size=68, checkpoint=68, unacknowledged=8, rewrite_window_s=None, window_s=1.0, receipts=(),
        buffer_hours=None, bytes_per_record=None, log_bytes=1, alarms=more.get("alarms", ()), instruments=(shown,),
    )  # fmt: skip


def test_a_value_is_shown_with_two_digits_of_its_expanded_uncertainty() -> None:
    assert expanded("98.4091354727", "0.52889") == "98.4 ± 1.1"
    assert expanded("120035.9", "0.00288675") == "120035.9000 ± 0.0058"
    assert expanded("123456", "612") == "123500 ± 1200"
    assert expanded("0", "0") == "0 ± 0"


def test_value_gap_and_what_has_no_certificate_are_told_apart_in_both_languages() -> None:
    rows = (
        MeasurandStatus("power", "kW", "98.57", "98.4091", "0.52889", None),
        MeasurandStatus("energy", "kWh", None, None, None, "timeout"),
        MeasurandStatus("reactive", "kvar.h", "7", None, None, None),
    )
    english, chinese = page(status(*rows), "en"), page(status(*rows), "zh")
    for text in (
        "98.4 ± 1.1 kW",
        "missing: timeout",
        "not corrected",
        "2026-11-24 22:45:05 UTC",
        "1 polls",
    ):
        assert text in english
    for text in ("98.4 ± 1.1 kW", "缺失: timeout", "未修正", "2026-11-24 22:45:05 UTC"):
        assert text in chinese
    assert "missing" not in chinese


def test_nothing_of_a_site_is_read_as_markup() -> None:
    shown = page(status(MeasurandStatus("<b>", "kW", None, None, None, "<i>"), alarms=("<script>",)), "en")
    assert not any(mark in shown for mark in ("<b>", "<i>", "<script>", "m<1>"))
