"""A day on which everything goes wrong, in virtual time: no value is wrong, and whatever is missing has its cause.

All that a bus reads: each protocol by itself, and one of each on one line.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from drivers.codec import Missing
from tests.sim.day import DAY_S, KINDS, Played, expected, played

# How long the short day lasts (s), and how many times as many answers than of the day are met; some are asked seldom.
SHORT: Mapping[str, tuple[float, float]] = {
    "dlt645-2007": (450, 8),
    "dlt645-1997": (450, 8),
    "iec62056-21": (2100, 5),
    "iec62056-21 at 300": (10_800, 8),
    "iec62056-21-fixed": (1200, 4),
    "dlms-hdlc": (600, 2),
    "dlms-wrapper": (600, 2),
    "cjt188": (1200, 4),
    "dlt698": (800, 4),
    "mbus": (1200, 4),
    "mixed": (1500, 4),
}
USUAL = (600.0, 6.0)


def held(name: str, day: Played, least: float) -> None:
    assert day.wrong == []
    assert day.unexplained == []
    assert day.values > least * day.points
    assert day.causes[Missing.TIMEOUT] > 0
    assert day.met == expected(KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_the_day_in_a_part_of_an_hour(morning: int, name: str) -> None:
    length_s, often = SHORT.get(name, USUAL)
    held(name, played(KINDS[name], morning, length_s, often=often), 0.7)


def test_a_seed_in_which_an_m_bus_meter_had_anothers_values(morning: int) -> None:
    """An E5 in the noise passed for "no data", and what came behind it for the answer of the meter asked next."""
    day = played(KINDS["mbus"], morning, 2400, 16, 4)
    assert day.wrong == []


@pytest.mark.long
@pytest.mark.parametrize("length_s", [1800, 3600])
def test_long_a_seed_in_which_an_m_bus_meter_said_its_last_telegram_again(
    morning: int, length_s: float
) -> None:
    """A selection was lost, and a stray E5 acknowledged it."""
    assert played(KINDS["mixed"], morning, length_s, 2, 4).wrong == []


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", KINDS)
def test_long_the_day(morning: int, name: str) -> None:
    day = played(KINDS[name], morning, DAY_S)
    print(f"{name}: {day.values} values, none wrong; missing: {dict(day.causes)}")
    held(name, day, 0.6)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", KINDS)
def test_long_thirty_days_drawn_from_thirty_seeds(morning: int, name: str) -> None:
    length_s, often = SHORT.get(name, USUAL)
    days = Played()
    for seed in range(1, 31):
        days += played(KINDS[name], morning, 2 * length_s, seed, often)
    print(f"{name}: {days.values} values of 30 seeds, none wrong; missing: {dict(days.causes)}")
    held(name, days, 0.4)
