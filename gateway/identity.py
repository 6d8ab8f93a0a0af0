"""Is it still the meter that its certificates are about? Asked at the start, when it was gone, and once a day.

What a meter calls itself is compared with the ``serial`` of the site file, else with what it called itself first (kept
beside the log; each is told in the log as an event). Another number means another meter: its readings go on as
indications, but no certificate corrects them until the site states the new number.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path

from calibration.curve import Flag
from calibration.state import CalibrationState
from gateway.clock import SECOND_US

FLAG = "identity_mismatch"  # on readings of a meter that is another than its certificates are about
DAILY_US = 24 * 3600 * SECOND_US
FILE = "identities.json"
_BEIJING = timezone(timedelta(hours=8))  # the civil time that DL/T 645 meters keep
_TRIES = 3  # a meter that is silent about its number costs no more time-outs than this, a day
_LEAST = 6  # digits that a number must have to be looked for within a longer one (an asset code holds it)


class Verdict(StrEnum):
    """What a number says."""

    NEW = "identity_seen"  # seen for the first time
    SAME = "identity_confirmed"
    OTHER = "identity_mismatch"


def beijing(utc_us: int) -> datetime:
    """The civil time of DL/T 645 meters."""
    return datetime.fromtimestamp(utc_us / SECOND_US, UTC).astimezone(_BEIJING)


def same(stated: str, told: str) -> bool:
    """Whether a nameplate's serial and a number told over the line name one meter.

    Letters, separators and leading zeros do not count; a longer code (an asset number) may hold the shorter.
    """
    one, other = (re.sub(r"\D", "", text).lstrip("0") for text in (stated, told))
    if one == other:
        return bool(one) or stated.strip() == told.strip()
    short, long = sorted((one, other), key=len)
    return len(short) >= _LEAST and short in long


def uncorrected(state: CalibrationState) -> CalibrationState:
    """The state of an unknown meter in the place of a known one: it corrects nothing, and says so."""
    return CalibrationState(state.instrument, state.valid_from, state.valid_until, flags=(Flag.UNCALIBRATED,))


@dataclass(frozen=True, slots=True)
class _Asked:
    boot_us: int
    openings: int


class Identities:
    """Who the meters were, who they should be, and which must be asked."""

    def __init__(self, stated: Mapping[str, str], directory: Path) -> None:
        """``stated``: serial by instrument, empty where the site says nothing. ``directory`` keeps what was seen."""
        self._stated = dict(stated)
        self._file = directory / FILE
        self._seen = _read(self._file)
        self._asked: dict[str, _Asked] = {}
        self._others: set[str] = set()
        self._tries: dict[str, int] = {}

    def wants(self, instrument: str, boot_us: int, openings: int) -> bool:
        """Whether it is time to ask. ``openings``: how often its line has been opened."""
        asked = self._asked.get(instrument)
        return asked is None or asked.openings != openings or boot_us - asked.boot_us >= DAILY_US

    def doubt(self, instrument: str) -> None:
        """It was gone: whatever answers next is asked who it is."""
        self._asked.pop(instrument, None)
        self._tries.pop(instrument, None)

    def asked(self, instrument: str, boot_us: int, openings: int, *, answered: bool = True) -> None:
        """It has been asked. One that does not answer is asked a few times more, then let be for a day."""
        tries = 0 if answered else self._tries.get(instrument, 0) + 1
        self._tries[instrument] = tries
        if not 0 < tries < _TRIES:
            self._asked[instrument] = _Asked(boot_us, openings)

    def judge(self, instrument: str, number: str) -> Verdict:
        """What the number that it told says; the first one seen is kept."""
        stated, seen = self._stated.get(instrument, ""), self._seen.get(instrument, "")
        verdict = Verdict.SAME if seen == number else Verdict.NEW
        if stated:
            verdict = verdict if same(stated, number) else Verdict.OTHER
        elif seen and not same(seen, number):
            verdict = Verdict.OTHER
        if verdict is Verdict.NEW:
            self._seen[instrument] = number
            _write(self._file, self._seen)
        (self._others.add if verdict is Verdict.OTHER else self._others.discard)(instrument)
        return verdict

    def expected(self, instrument: str) -> str:
        """The number that it should tell."""
        return self._stated.get(instrument) or self._seen.get(instrument, "")

    def is_other(self, instrument: str) -> bool:
        """Whether another meter answers in its place."""
        return instrument in self._others


def _read(file: Path) -> dict[str, str]:
    """What was seen; nothing, if that is not known any more."""
    with suppress(OSError, ValueError):
        told = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(told, dict):
            return {name: number for name, number in told.items() if isinstance(number, str)}
    return {}


def _write(file: Path, seen: Mapping[str, str]) -> None:
    """Kept where it can be; a full disk stops no measurement: it is asked and told again after the next start."""
    with suppress(OSError):
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps(seen, ensure_ascii=False, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(beside, file)  # noqa: PTH105
