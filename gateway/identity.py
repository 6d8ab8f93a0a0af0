"""Is it still the meter that its certificates are about? Asked at the start, when it was gone or shows less energy than
before, and once a day.

What a meter calls itself is compared with the ``serial`` of the site file, else with what it called itself first (kept
beside the log; each is told in the log as an event). Another number means another meter: its readings go on as
indications, but no certificate corrects them until the site states the new number.

Some protocols also tell the maker (three letters): compared where the site's ``manufacturer`` is those letters. A meter
that tells no number, only maker and type, is compared by these with what was seen first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from calibration.curve import REGISTERS, Flag
from calibration.state import CalibrationState
from drivers.codec import Indication
from gateway.clock import SECOND_US

FLAG = "identity_mismatch"  # on readings of a meter that is another than its certificates are about
DAILY_US = 24 * 3600 * SECOND_US
FILE = "identities.json"
_BEIJING = timezone(timedelta(hours=8))  # the civil time that DL/T 645 meters keep
_TRIES = 3  # a meter that is silent about its number costs no more time-outs than this, a day
_FLAG = re.compile("[A-Za-z]{3}")  # a maker's letters (FLAG association)
_TYPE = "/type"  # what is kept of a meter without a number, behind its id
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

    Separators and leading zeros do not count; a longer code (an asset number) may hold the shorter. Letters count only
    where few digits stand between them, and then one's may be more than the other's (No., SN).
    """
    one, other = (re.sub(r"\D", "", text).lstrip("0") for text in (stated, told))
    if one == other:
        letters, others = (re.sub(r"[^A-Z]", "", text.upper()) for text in (stated, told))
        if len(one) >= _LEAST:
            return True
        return (letters in others or others in letters) if one else stated.strip() == told.strip()
    short, long = sorted((one, other), key=len)
    return len(short) >= _LEAST and short in long


def fell(before: Mapping[str, str], now: Iterable[Indication]) -> bool:
    """Whether a register shows less than it did: it was reset, began again at 0, or is another meter's."""
    return any(
        shown.value is not None
        and shown.measurand.startswith(REGISTERS)
        and shown.value < Decimal(before.get(shown.measurand, "-Infinity"))
        for shown in now
    )


def uncorrected(state: CalibrationState) -> CalibrationState:
    """The state of an unknown meter in the place of a known one: it corrects nothing, and says so."""
    return CalibrationState(state.instrument, state.valid_from, state.valid_until, flags=(Flag.UNCALIBRATED,))


@dataclass(frozen=True, slots=True)
class _Asked:
    boot_us: int
    openings: int


class Identities:
    """Who the meters were, who they should be, and which must be asked."""

    def __init__(
        self, stated: Mapping[str, str], directory: Path, makers: Mapping[str, str] | None = None
    ) -> None:
        """``stated``: serial by instrument, empty where the site says nothing. ``directory`` keeps what was seen.

        ``makers``: manufacturer by instrument, as the site states it.
        """
        self._stated = dict(stated)
        self._makers = {name: maker for name, maker in (makers or {}).items() if _FLAG.fullmatch(maker)}
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

    def judge(self, instrument: str, *numbers: str, maker: str = "", type_: str = "") -> Verdict | None:
        """What it told of itself, judged; the first number seen is kept. None if it told nothing to go by.

        ``numbers``: what it calls itself by, the likeliest first; one that is expected counts before the others.
        """
        name = f"{maker} {type_}".strip()
        if not numbers and not name:
            return None
        stated, seen = self._stated.get(instrument, ""), self._seen.get(instrument, "")
        expected = stated or seen
        told = next((n for n in numbers if expected and same(expected, n)), numbers[0] if numbers else "")
        if told:
            verdict = Verdict.SAME if seen == told else Verdict.NEW
            if expected and not same(expected, told):
                verdict = Verdict.OTHER
        else:
            known = self._seen.get(instrument + _TYPE, "")
            verdict = Verdict.SAME if known == name else Verdict.OTHER if known else Verdict.NEW
        if self._other_maker(instrument, maker):
            verdict = Verdict.OTHER
        if verdict is not Verdict.OTHER:
            self._keep({instrument: told, instrument + _TYPE: name})
        (self._others.add if verdict is Verdict.OTHER else self._others.discard)(instrument)
        return verdict

    def _keep(self, told: Mapping[str, str]) -> None:
        news = {key: text for key, text in told.items() if text and self._seen.get(key) != text}
        if news:
            self._seen |= news
            _write(self._file, self._seen)

    def _other_maker(self, instrument: str, maker: str) -> bool:
        # The case of the third letter tells how fast the meter reacts, not who made it.
        stated = self._makers.get(instrument, "")
        return bool(maker and stated) and maker.upper() != stated.upper()

    def expected(self, instrument: str, maker: str = "") -> str:
        """The number that it should tell, or the maker or type; ``maker`` is the one that was told."""
        if self._other_maker(instrument, maker):
            return self._makers[instrument]
        seen = self._seen.get(instrument) or self._seen.get(instrument + _TYPE, "")
        return self._stated.get(instrument) or seen

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
