"""What is known of a meter's silence: which queries it says nothing about, and whether it seems to be dead.

A query that went unanswered is asked last, and once; if it stays so, in one scan of 2, 3, 5 … 61. A meter that was
silent for some scans is left out of 1, 2, 4 … 60 scans between two probes. Pure: nothing here asks or waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drivers.codec import Indication, Missing
from drivers.profile import Query, missing
from drivers.protocols import Codec, Request

LONGEST_SKIP = 60
METERS_FAULT = frozenset((Missing.TIMEOUT, Missing.CORRUPT, Missing.MISMATCH))


@dataclass(slots=True)
class Mute:
    """A query without an answer: asked last, and once, and after some time in some scans only."""

    times: int = 1
    left: int = 0  # scans in which it is yet to be left out


@dataclass(slots=True)
class Health:
    """What is known of a meter's silence."""

    silent_scans: int = 0
    skip: int = 0  # scans between two probes, once it counts as dead
    left: int = 0  # scans yet to be skipped
    probes: int = 0
    mute: dict[str, Mute] = field(default_factory=dict)  # what it said nothing about when last asked
    asked: tuple[Codec, str, tuple[Query, ...]] | None = None
    requests: tuple[Request, ...] = ()  # for what was asked last: it is mostly asked again

    def requests_for(self, codec: Codec, address: str, queries: Sequence[Query]) -> tuple[Request, ...]:
        """The requests for these queries. Raises ValueError where there is none."""
        asked = self.asked
        if asked is None or asked[2] is not queries or asked[1] != address or asked[0] is not codec:
            self.requests = tuple(codec.request(address, query) for query in queries)
            # Only a tuple is remembered by what it is: a list may be another one tomorrow.
            self.asked = (codec, address, queries) if isinstance(queries, tuple) else None
        return self.requests

    def left_out(self, queries: Sequence[Query], order: Sequence[int]) -> dict[int, Sequence[Indication]]:
        """What is not asked in this scan because it went unanswered so often."""
        found: dict[int, Sequence[Indication]] = {}
        for n in order:
            mute = self.mute.get(queries[n].where)
            if mute is not None and mute.left:
                mute.left -= 1
                detail = f"no answer {mute.times} times; asked again after {mute.left} scans"
                found[n] = missing(queries[n], Missing.SKIPPED, detail)
        return found

    def remember(self, queries: Sequence[Query], found: Mapping[int, Sequence[Indication]]) -> None:
        """What went unanswered in this scan, and what is answered again."""
        for n, got in found.items():
            unheard = _unheard(got)
            if not unheard and not self.mute:
                continue
            where = queries[n].where
            if not unheard:
                if got and not any(i.missing is Missing.SKIPPED for i in got):
                    self.mute.pop(where, None)
            elif (mute := self.mute.get(where)) is None:
                self.mute[where] = Mute()
            elif not self.skip:
                mute.times += 1
                mute.left = min(2 ** min(mute.times - 2, 6), LONGEST_SKIP)

    def answered(self) -> None:
        """It answered in this scan."""
        if self.skip:  # it is back: what it said nothing about while it was dead tells nothing
            self.mute.clear()
        self.silent_scans = self.skip = self.probes = 0

    def was_silent(self, dead_after: int) -> None:
        """It answered nothing in this scan, and its line is sound; so many such scans make it count as dead."""
        self.silent_scans += 1
        if self.silent_scans >= dead_after:
            self.skip = min(max(1, 2 * self.skip), LONGEST_SKIP)
            self.left = self.skip


def _unheard(indications: Sequence[Indication]) -> bool:
    for indication in indications:  # noqa: SIM110 - a third of the time of any()
        if indication.missing in METERS_FAULT:
            return True
    return False
