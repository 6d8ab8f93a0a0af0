"""The journal tells once that a meter gives no readings, with the cause and what to look at, and when it is back."""

import logging

import pytest

from drivers.codec import Missing
from gateway.silence import TOLD_AFTER, Silences


@pytest.fixture
def line(caplog, monkeypatch):
    """A line, and what is said of it."""
    monkeypatch.setenv("SUYUAN_LANG", "en")
    caplog.set_level(logging.WARNING, "suyuan.meters")
    silences = Silences("rs485-1")

    def polled(*failures, meter="carding"):
        caplog.clear()
        for failure in failures:
            silences.polled(meter, "7", failure)
        return [record.getMessage() for record in caplog.records]

    return polled


def test_a_lost_poll_now_and_then_is_told_in_the_gaps_alone(line):
    assert line(*[Missing.TIMEOUT] * (TOLD_AFTER - 1), None, Missing.TIMEOUT, None) == []


def test_a_dead_meter_is_told_once_with_its_place_and_what_to_look_at(line):
    (said,) = line(*[Missing.TIMEOUT] * 50)
    assert said.startswith(
        "carding (bus rs485-1, address 7): no reading in 3 polls [timeout]: nothing answers."
    )
    assert "baud" in said


def test_polls_that_were_spared_hide_no_cause(line):
    (said,) = line(Missing.CORRUPT, *[Missing.SKIPPED] * 5)
    assert "[corrupt]: what comes is damaged. Are its baud rate and framing those of the site file?" in said


def test_it_is_told_when_it_is_back_and_when_it_falls_silent_again(line):
    line(*[Missing.TIMEOUT] * 40)
    assert line(None, None) == ["carding: it reads again, after 40 polls without a reading"]
    assert len(line(*[Missing.LINK_DOWN] * 3)) == 1


def test_each_meter_counts_by_itself(line):
    line(Missing.TIMEOUT, Missing.TIMEOUT)
    assert line(Missing.TIMEOUT, Missing.TIMEOUT, meter="workshop") == []


@pytest.mark.parametrize("cause", [m for m in Missing if m is not Missing.SKIPPED])
def test_every_cause_has_its_advice(line, cause):
    (said,) = line(*[cause] * TOLD_AFTER)
    assert f"[{cause.value}]: " in said
    assert said.rstrip().endswith(("?", "too"))
