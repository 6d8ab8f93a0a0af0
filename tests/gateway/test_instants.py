from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.cli.instants import instant, microseconds
from gateway.cli.output import UsageError


def test_a_date_is_its_first_instant_in_utc():
    assert instant("2026-11-01") == instant("20261101") == datetime(2026, 11, 1, tzinfo=UTC)


def test_an_instant_is_taken_with_its_offset():
    assert instant("2026-11-01T08:00+08:00") == datetime(2026, 11, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert microseconds("1970-01-02T00:00:00.000001Z") == 86_400_000_001


@pytest.mark.parametrize("text", ["2026-11-01T08", "2026-11-01 08:00", "2026W45T08"])
def test_an_instant_without_an_offset_is_refused_however_short_it_is_written(text):
    with pytest.raises(UsageError, match="needs its offset"):
        instant(text)
