"""Telling the journal that a meter gives no readings any more, why, and what to look at; and that it is back.

Each is told once. The log has every missed poll in its gaps; this is for the person who has to go there.
"""

from __future__ import annotations

import logging
from typing import Final

from drivers.codec import Missing
from gateway.words import phrase

_log = logging.getLogger("suyuan.meters")
TOLD_AFTER: Final = 3  # polls in a row without a reading
_ADVICE: Final = {
    Missing.TIMEOUT: "silence.timeout",
    Missing.CORRUPT: "silence.corrupt",
    Missing.MISMATCH: "silence.mismatch",
    Missing.LINK_DOWN: "silence.link_down",
    Missing.ERROR_ANSWER: "silence.error_answer",
}


class Silences:
    """Which meters of a line give no readings, and since how many polls."""

    def __init__(self, line: str) -> None:
        """``line``: its name in the site file."""
        self._line = line
        self._polls: dict[str, int] = {}
        self._cause: dict[str, Missing] = {}

    def polled(self, instrument: str, address: str, failure: Missing | None) -> None:
        """A poll was made. ``failure``: why it gave no value at all, None if it gave one."""
        if failure is None:
            polls = self._polls.pop(instrument, 0)
            self._cause.pop(instrument, None)
            if polls >= TOLD_AFTER:
                _log.warning("%s", phrase("silence.over", instrument=instrument, polls=polls))
            return
        if (
            failure is not Missing.SKIPPED
        ):  # a dead meter is asked more and more seldom: why, is known from before
            self._cause[instrument] = failure
        polls = self._polls[instrument] = self._polls.get(instrument, 0) + 1
        if polls == TOLD_AFTER:
            cause = self._cause.get(instrument, failure)
            said = phrase(_ADVICE.get(cause, "silence.other"))
            at = {"line": self._line, "address": address, "polls": polls, "cause": cause.value}
            _log.warning("%s", phrase("silence.begun", instrument=instrument, advice=said, **at))
