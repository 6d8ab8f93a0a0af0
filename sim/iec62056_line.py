"""The line of IEC 62056-21 meters, which change their rate within a session.

At each moment a meter hears and is heard at its own rate only: what the master says at another one is no request, and
what the master hears while its port is set to another one is garbage. A session that does not go on lapses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from sim.faults import Part, Scenario
from sim.framing import Framing
from sim.halfduplex import Chunk, HalfDuplex, MeterStation, Station, Timing
from sim.iec62056_meter import BITS, Iec62056Meter

_UNASKED_US = 200_000  # modes A and B: from the identification to the data
_WAITS_US = 1_500_000  # for what the master says next


class Iec62056Station(MeterStation):
    """A meter on such a line, with its side at hand."""

    def __init__(self, side: Iec62056Meter) -> None:
        super().__init__(side)
        self.side = side


class Iec62056Line(HalfDuplex):
    """A half-duplex line whose meters change their rate within a session."""

    def __init__(
        self,
        framing: Framing,
        stations: Sequence[Iec62056Station],
        timing: Timing,
        scenario: Scenario,
        start_utc_us: int,
    ) -> None:
        super().__init__(framing, stations, timing, scenario, start_utc_us)
        self.bauds = frozenset(baud for station in stations for baud in station.side.bauds)
        self._talkers = tuple(stations)
        self._until: dict[str, float] = {}  # when a meter has said all, or gives up waiting for the master
        self._master = 0
        self._instant = timing.character_us < 1  # a real port takes the characters' time by itself

    def tune(self, baud: int) -> None:
        """The master's port is set to this rate from now on; 0: unknown, then everybody hears everybody."""
        self._master = baud

    def hear(self, data: bytes, at_us: int, utc_us: int, *, garbled: bool = False) -> None:
        """Bytes from the master: the meters that listen at its rate hear them."""
        for station in self._talkers:
            until = self._until.get(station.id)
            if until is not None and at_us >= until:
                station.side.hang_up()
                del self._until[station.id]
        rates = [station.side.baud for station in self._talkers]
        if self._master:
            garbled = garbled or self._master not in rates
        self._character_us = self._character_at(self._master or max(rates, default=0))
        super().hear(data, at_us, utc_us, garbled=garbled)

    def _ask(self, request: bytes, heard_us: float, utc_us: int) -> None:
        rates = {station.id: station.side.baud for station in self._talkers}
        super()._ask(request, heard_us, utc_us)
        end = max((chunk.end for chunk in self._sending), default=heard_us)
        for station in self._talkers:
            if self._master and rates[station.id] != self._master:
                continue  # it has not heard this
            side = station.side
            self._until.pop(station.id, None)
            if not side.over or side.baud != side.idle_baud:
                self._until[station.id] = end if side.over else end + _WAITS_US

    def _answer(self, station: Station, request: bytes, utc_us: int) -> tuple[Part, ...]:
        side = next(one.side for one in self._talkers if one is station)
        if self._master and side.baud != self._master:
            return ()
        parts = [replace(part, baud=side.baud) for part in super()._answer(station, request, utc_us)]
        if side.unasked and parts:
            data = self._said(
                station,
                request,
                utc_us,
                lambda stuck: side.data(
                    lambda: cast(Iec62056Station, station).show(utc_us if stuck is None else stuck), utc_us
                ),
                _UNASKED_US,
            )
            parts += [replace(part, baud=side.baud) for part in data]
        return tuple(parts)

    def _character_at(self, baud: int) -> float:
        return self._timing.character_us if self._instant or not baud else BITS * 1e6 / baud

    def _as_heard(self, chunk: Chunk) -> bytes:
        """Garbage, if its port is set otherwise."""
        if self._master and chunk.baud and chunk.baud != self._master:
            count = max(1, len(chunk.data) * self._master // chunk.baud)
            return self._rng.randbytes(min(count, 4 * len(chunk.data)))
        return chunk.data
