"""The real agent, killed, and cut off from its platform: short forms here, long ones by their own commands."""

from __future__ import annotations

import pytest

from tests.rigs.crash import crash
from tests.rigs.loss_oracle import measure

S = 1_000_000


async def test_no_kill_loses_what_was_shown_or_contradicts_a_checkpoint(tmp_path):
    told, counts = await crash(tmp_path, kills=2, seed=7)
    assert counts["lives"] == 3
    assert len(told.checkpoints) >= 3
    assert counts["readings shown"] > 10
    assert counts["polls named in gaps of kills"] > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_fifty_kills_do_not(tmp_path):
    _, counts = await crash(tmp_path, kills=50, seed=8)
    assert counts["lives"] == 51


@pytest.mark.long
async def test_with_the_platform_away_nothing_is_lost_and_nothing_comes_twice(tmp_path):
    result = await measure(
        tmp_path, meters=3, period_us=50_000, steady_s=1.0, outage_s=1.0, kill=False, checkpoint_us=S
    )
    assert (result.lost, result.duplicates) == (0, 0)
    assert result.served == result.in_log == result.at_platform > 0


async def test_with_a_kill_besides_only_the_open_window_is_lost_and_a_gap_names_it(tmp_path):
    result = await measure(
        tmp_path, meters=3, period_us=50_000, steady_s=1.0, outage_s=2.0, kill=True, checkpoint_us=S
    )
    assert result.duplicates == 0
    assert result.in_log == result.at_platform
    window = (
        3 * 20 * 20 * 2.5
    )  # meters, registers, scans a second, the open second with what its commit takes
    assert result.lost <= window
    assert result.lost_and_named == result.lost


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("period_ms", [100, 20])
async def test_with_thirty_seconds_of_outage_and_a_kill_no_more_is_lost(tmp_path, period_ms):
    result = await measure(
        tmp_path, meters=10, period_us=period_ms * 1000, steady_s=5.0, outage_s=30.0, kill=True
    )
    assert result.duplicates == 0
    assert result.in_log == result.at_platform
    assert result.lost_and_named == result.lost
