"""Due dates, and suggestions for the interval: published values, known lines, and what must never happen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibration.certificate import Instrument
from calibration.epoch import last_day_of_interval
from calibration.intervals import (
    Staircase,
    Urgency,
    a3,
    binomial_cdf,
    binomial_interval,
    chart,
    due,
    due_list,
    operating_points,
)
from calibration.records import months_later

Make = Callable[..., Any]
D = Decimal
METER = Instrument("M1", interval_months=12)


class TestDue:
    @pytest.mark.parametrize(
        ("on", "left", "urgency", "alert"),
        [
            (date(2026, 11, 1), 121, Urgency.NOT_YET, None),
            (date(2026, 12, 2), 90, Urgency.SOON, 90),
            (date(2027, 1, 31), 30, Urgency.SOON, 30),
            (date(2027, 3, 2), 0, Urgency.SOON, 7),
            (date(2027, 3, 3), -1, Urgency.OVERDUE, 7),
        ],
    )
    def test_alerts_come_at_their_lead_times(
        self, a_certificate: Make, on: date, left: int, urgency: Urgency, alert: int | None
    ) -> None:
        found = due(METER, [a_certificate()], on)
        assert (found.due, found.days_left, found.urgency, found.alert) == (
            date(2027, 3, 2),
            left,
            urgency,
            alert,
        )

    def test_an_instrument_may_have_its_own_lead_time(self, a_certificate: Make) -> None:
        patient = replace(METER, lead_days=200)
        assert due(patient, [a_certificate()], date(2026, 9, 1)).urgency is Urgency.SOON
        assert due(METER, [a_certificate()], date(2026, 9, 1)).urgency is Urgency.NOT_YET

    def test_an_ad_hoc_calibration_does_not_move_the_date(self, a_certificate: Make) -> None:
        ad_hoc = a_certificate("CAL-2", performed=date(2026, 9, 1), resets_cycle=False)
        regular = replace(ad_hoc, resets_cycle=True)
        on = date(2026, 10, 1)
        assert due(METER, [a_certificate(), ad_hoc], on).due == date(2027, 3, 2)
        assert due(METER, [a_certificate(), regular], on).due == date(2027, 9, 1)

    def test_the_earlier_of_certificate_and_interval_counts(self, a_certificate: Make) -> None:
        short = a_certificate(valid_until=date(2026, 12, 31))
        long = a_certificate(valid_until=date(2032, 1, 1))
        on = date(2026, 6, 1)
        assert due(METER, [short], on).due == date(2026, 12, 31)
        assert due(METER, [long], on).due == date(2027, 3, 2)
        assert due(Instrument("M1"), [long], on).due == date(2032, 1, 1)

    def test_without_date_or_certificate(self, a_certificate: Make) -> None:
        on = date(2026, 6, 1)
        assert due(Instrument("M1"), [a_certificate()], on).urgency is Urgency.OPEN
        assert due(METER, [], on).urgency is Urgency.NEVER
        assert due(METER, [a_certificate()], date(2026, 3, 1)).urgency is Urgency.NEVER

    def test_the_list_has_the_most_urgent_first(self, a_certificate: Make) -> None:
        instruments = [
            Instrument("A-open"), Instrument("B", interval_months=24), Instrument("C", interval_months=6),
            Instrument("D-never"),
        ]  # fmt: skip
        certificates = [a_certificate(f"CAL-{name}", name) for name in ("A-open", "B", "C")]
        found = due_list(instruments, certificates, date(2026, 11, 24))
        assert [d.instrument.id for d in found] == ["D-never", "C", "B", "A-open"]
        assert found[1].urgency is Urgency.OVERDUE

    @pytest.mark.parametrize(
        ("day", "months", "later"),
        [
            (date(2026, 1, 31), 1, date(2026, 2, 28)),
            (date(2024, 2, 29), 12, date(2025, 2, 28)),
            (date(2026, 12, 15), 1, date(2027, 1, 15)),
            (date(2026, 3, 2), 96, date(2034, 3, 2)),
        ],
    )
    def test_months_end_where_the_calendar_does(self, day: date, months: int, later: date) -> None:
        assert months_later(day, months) == later


class TestA3:
    def test_the_published_values(self) -> None:
        vectors = json.loads((Path(__file__).parent.parent / "vectors" / "metrology.json").read_text("utf-8"))
        (vector,) = [v for v in vectors["vectors"] if v["id"] == "rp1-A3-direct"]
        values = {i["name"]: i["value"] for i in vector["inputs"]}
        found = a3(
            calibrations=values["n"], in_tolerance=values["in_tolerance"], interval_days=values["I0_days"],
            target=values["target"], confidence=values["conf"],
        )  # fmt: skip
        ours = {
            "interval": found.interval_days,
            "rejection": found.rejection,
            "RL": found.low,
            "RU": found.high,
        }
        assert ours == pytest.approx(vector["recomputed"], rel=1e-9)
        assert found.rejected
        assert found.suggestion.interval_days == vector["expected"]["interval"]

    def test_a_target_that_is_not_rejected_keeps_the_interval(self) -> None:
        found = a3(calibrations=10, in_tolerance=9, interval_days=365, target=0.9, confidence=0.5)
        assert not found.rejected
        assert found.interval_days == 365

    @given(st.integers(1, 40), st.data(), st.floats(0.5, 0.99), st.floats(0.05, 0.95))
    def test_better_than_wanted_never_shortens(
        self, n: int, data: Any, target: float, confidence: float
    ) -> None:
        x = data.draw(st.integers(0, n))
        found = a3(calibrations=n, in_tolerance=x, interval_days=100, target=target, confidence=confidence)
        if found.observed >= target:
            assert found.interval_days >= 100
        else:
            assert found.interval_days <= 100
        assert found.low <= found.observed <= found.high
        assert 0 <= found.rejection <= 1

    @given(st.integers(1, 300), st.data(), st.floats(0.001, 0.999))
    def test_binomial_is_that_of_scipy(self, n: int, data: Any, p: float) -> None:
        k = data.draw(st.integers(-1, n))
        assert binomial_cdf(k, n, p) == pytest.approx(float(stats.binom.cdf(k, n, p)), abs=1e-10)

    @given(st.integers(1, 40), st.data(), st.floats(0.1, 0.99))
    def test_the_interval_is_clopper_and_pearsons(self, n: int, data: Any, confidence: float) -> None:
        k = data.draw(st.integers(0, n))
        theirs = stats.binomtest(k, n).proportion_ci(confidence, "exact")
        assert binomial_interval(k, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)

    @pytest.mark.parametrize(
        "changes",
        [
            {"in_tolerance": 11},
            {"calibrations": 0},
            {"target": 1.0},
            {"confidence": 0.0},
            {"interval_days": 0},
        ],
    )
    def test_senseless_numbers_are_refused(self, changes: dict[str, Any]) -> None:
        usual = {
            "calibrations": 10,
            "in_tolerance": 5,
            "interval_days": 365,
            "target": 0.9,
            "confidence": 0.9,
        }
        with pytest.raises(ValueError):
            a3(**(usual | changes))


class TestStaircase:
    @pytest.mark.parametrize(
        ("worst", "days"), [(0.0, 500), (0.8, 500), (0.81, 400), (1.0, 400), (1.01, 280)]
    )
    def test_steps(self, worst: float, days: int) -> None:
        assert Staircase().suggest(worst, 400).interval_days == days

    def test_ends_of_the_stairs(self) -> None:
        assert Staircase().suggest(0, 2900).interval_days == 2922
        assert Staircase().suggest(5, 31).interval_days == 30

    @pytest.mark.parametrize(("worst", "days"), [(-0.1, 10), (math.nan, 10), (0.5, 0)])
    def test_senseless_numbers_are_refused(self, worst: float, days: int) -> None:
        with pytest.raises(ValueError, match="makes no sense"):
            Staircase().suggest(worst, days)


def history(a_certificate: Make, a_point: Make, errors: list[str], **more: Any) -> list[Any]:
    return [
        a_certificate(
            f"CAL-{n}", performed=date(2020 + n, 1, 1), points=(a_point("5", error=D(error)),), **more
        )
        for n, error in enumerate(errors)
    ]


class TestChart:
    def test_a_straight_drift_is_found_and_carried_on(self, a_certificate: Make, a_point: Make) -> None:
        line = chart(
            history(a_certificate, a_point, ["0.00", "0.10", "0.20", "0.30"]),
            quantity="energy.active", load=D(5), mpe=D("0.5"),
        )  # fmt: skip
        assert line.slope == pytest.approx(0.1, rel=2e-3)
        assert line.birge == pytest.approx(0, abs=0.02)
        prediction = line.predict(date(2024, 1, 1))
        assert prediction.error == pytest.approx(0.4, abs=1e-3)
        # u = 0.03 each, four points at -1.5, -0.5, 0.5, 1.5 a: at 2.5 a from the centre u = 0.03·sqrt(1/4 + 2.5²/5)
        assert pytest.approx(1.96 * 0.03 * math.sqrt(1 / 4 + 2.5**2 / 5), rel=2e-3) == prediction.U
        assert line.significant

    def test_the_line_is_that_of_numpy(self, a_certificate: Make, a_point: Make) -> None:
        errors = ["0.05", "0.02", "0.31", "0.18", "0.47"]
        certificates = history(a_certificate, a_point, errors)
        certificates[2] = replace(certificates[2], points=(a_point("5", error=D("0.31"), U=D("0.5")),))
        line = chart(certificates, quantity="energy.active", load=D(5))
        x = [(c.performed - date(2020, 1, 1)).days / 365.2425 for c in certificates]
        w = [1 / 0.03] * 5
        w[2] = 1 / 0.25
        (slope, level), covariance = np.polyfit(x, [float(e) for e in errors], 1, w=w, cov="unscaled")
        assert line.slope == pytest.approx(slope, rel=1e-9)
        assert line.predict(date(2026, 1, 1)).error == pytest.approx(
            level + slope * 2192 / 365.2425, rel=1e-3
        )
        assert line.birge > 1
        assert not line.consistent
        assert line.u_slope == pytest.approx(math.sqrt(covariance[0][0]) * line.birge, rel=1e-9)
        assert line.k == pytest.approx(stats.t.ppf(0.975, 3), rel=1e-6)

    def test_the_mpe_is_reached_where_error_and_uncertainty_meet_it(
        self, a_certificate: Make, a_point: Make
    ) -> None:
        line = chart(
            history(a_certificate, a_point, ["0.00", "0.10", "0.20", "0.30"]),
            quantity="energy.active", load=D(5), mpe=D("0.5"),
        )  # fmt: skip
        day = line.reaches_mpe()
        assert day is not None
        reached = line.predict(day)
        before = line.predict(day - timedelta(days=1))
        assert abs(reached.error) + reached.U > 0.5 >= abs(before.error) + before.U
        suggestion = line.suggest(730)
        assert suggestion is not None
        assert suggestion.interval_days == (day - date(2023, 1, 1)).days
        assert line.suggest(30) is None

    def test_an_adjustment_is_no_drift(self, a_certificate: Make, a_point: Make) -> None:
        """0.1 a year; adjusted back to 0.0 at the third calibration."""
        certificates = history(a_certificate, a_point, ["0.0", "0.1", "0.0", "0.1"])
        certificates[2] = replace(certificates[2], as_found=(a_point("5", error=D("0.2")),), adjusted=True)
        line = chart(certificates, quantity="energy.active", load=D(5))
        assert line.slope == pytest.approx(0.1, rel=2e-3)
        assert line.predict(date(2023, 1, 1)).error == pytest.approx(0.1, abs=1e-3)

    def test_an_adjustment_without_as_found_begins_anew(self, a_certificate: Make, a_point: Make) -> None:
        certificates = history(a_certificate, a_point, ["0.0", "0.9", "0.0", "0.1"])
        certificates[2] = replace(certificates[2], adjusted=True)
        line = chart(certificates, quantity="energy.active", load=D(5))
        assert [p.certificate for p in line.points] == ["CAL-2", "CAL-3"]
        assert not line.significant  # two points make no trend

    def test_a_steady_instrument_reaches_nothing(self, a_certificate: Make, a_point: Make) -> None:
        same = [f"0.1{n % 2}" for n in range(12)]
        line = chart(history(a_certificate, a_point, same), quantity="energy.active", load=D(5), mpe=D("2"))
        assert line.reaches_mpe() is None
        assert line.suggest(365) is None
        assert not line.significant

    def test_too_little_to_chart_is_refused(self, a_certificate: Make, a_point: Make) -> None:
        with pytest.raises(ValueError, match="two calibrations"):
            chart(history(a_certificate, a_point, ["0.1"]), quantity="energy.active", load=D(5))
        mixed = history(a_certificate, a_point, ["0.1", "0.2"])
        mixed[1] = replace(mixed[1], points=(a_point("5", unit="1"),))
        with pytest.raises(ValueError, match="different units"):
            chart(mixed, quantity="energy.active", load=D(5))

    def test_what_can_be_charted(self, a_certificate: Make, a_point: Make) -> None:
        certificates = [a_certificate("A"), a_certificate("B", points=(a_point("5"), a_point("7")))]
        assert operating_points(certificates) == (("energy.active", D(5), D(1)),)


def test_an_interval_beyond_the_calendar_ends_with_the_calendar():
    """A register written before such an interval was refused may hold one: what is due is still told."""
    assert months_later(date(2026, 11, 24), 120000) == date.max
    assert last_day_of_interval(date(2026, 11, 24), 120000) == date.max
