"""Pushed readings, counted one by one, with both sides killed: short forms here, the long one by its own command."""

from __future__ import annotations

import pytest

from tests.rigs.broker import ABSENT, MOSQUITTO
from tests.rigs.push_oracle import measure_push


async def test_a_platform_that_is_killed_costs_no_reading_and_none_comes_twice(tmp_path):
    result = await measure_push(tmp_path, meters=3, period_us=50_000, seconds=3.0, kills=2)
    assert (result.lost, result.duplicates) == (0, 0)
    assert result.served == result.in_log == result.at_platform > 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
async def test_with_the_agent_killed_too_only_open_windows_are_lost_and_gaps_name_them(tmp_path, seed):
    result = await measure_push(
        tmp_path, meters=5, period_us=50_000, seconds=40.0, kills=8, agent_kills=4, seed=seed
    )
    assert result.duplicates == 0
    assert result.in_log == result.at_platform
    assert result.lost_and_named == result.lost


@pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)
async def test_over_mqtt_with_broker_and_platform_killed_none_is_lost_and_none_comes_twice(tmp_path):
    result = await measure_push(
        tmp_path, meters=3, period_us=50_000, seconds=3.0, kills=1, mqtt=True, broker_kills=2
    )
    assert (result.lost, result.duplicates) == (0, 0)
    assert result.served == result.in_log == result.at_platform > 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)
async def test_over_mqtt_with_all_three_killed_only_open_windows_are_lost(tmp_path):
    result = await measure_push(
        tmp_path, meters=5, period_us=50_000, seconds=60.0, kills=5, agent_kills=3, mqtt=True, broker_kills=5
    )
    assert result.duplicates == 0
    assert result.in_log == result.at_platform
    assert result.lost_and_named == result.lost
