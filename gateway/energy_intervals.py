"""The energy intervals: taken up at the start, written as they end, given up with what is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calibration.operating import OperatingPoint, operating_point
from calibration.state import CalibrationState
from evidence import record as records
from evidence.record import Reading, Reference
from gateway.aggregation import Aggregator, IntervalEnergy, record_of
from gateway.counters import Counters
from gateway.lanes import Lane
from gateway.pending import Pending
from gateway.store import LogStore

REPLAY_LIMIT = 65_536  # entries that a start reads again at most, to take up open energy intervals


class EnergyIntervals:
    """Gives each lane its aggregator, and numbers what these bring to an end."""

    def __init__(self, period_us: int, pending: Pending) -> None:
        self._period_us = period_us
        self._pending = pending
        self._counters = Counters()
        self._safe: dict[str, int] = {}  # the newest numbers in the durable log, by instrument
        self._in_flight: dict[str, int] = {}

    def begin(self, counters: Counters) -> None:
        """Go on counting where the log stands."""
        self._counters = counters
        self._safe = dict(counters.energies)

    def take_up(self, lanes: Mapping[str, Lane], store: LogStore) -> None:
        """Take up the open intervals under the states that they were measured with, out of the log's own readings."""
        for lane in lanes.values():
            self._resume(lane, store)
        begun = {
            name: at
            for name, at in self._counters.intervals.items()
            if name in lanes and lanes[name].aggregator
        }
        for index, data in store.entries(min(begun.values(), default=store.size)):
            record = records.decode(data)
            if isinstance(record, Reading) and index >= begun.get(record.instrument, store.size):
                lane = lanes[record.instrument]
                if lane.aggregator is not None and record.state.digest == lane.aggregator.state.digest:
                    values = {name: float(text) for name, text in record.indications.items()}
                    point = operating_point("total", values, lane.channel.units, lane.aggregator.state)
                    lane.aggregator.add(index, record, point)

    def _resume(self, lane: Lane, store: LogStore) -> None:
        name = lane.channel.instrument
        begun_at = self._counters.intervals.get(name)
        reference = self._counters.states.get(name)
        if begun_at is None or reference is None or begun_at < store.size - REPLAY_LIMIT:
            return
        entry = next(store.entries(reference.index, reference.index + 1), None)
        record = records.decode(entry[1]) if entry else None
        if not isinstance(record, records.CalibrationState):
            return
        lane.state = reference
        lane.aggregator = self._aggregator(lane, CalibrationState.from_json(bytes(record.body)), reference)

    def use_state(self, lane: Lane, reference: Reference) -> None:
        """Measure under the lane's state from now on; an interval under another one ends here."""
        state = lane.channel.state
        if lane.aggregator is None:
            lane.aggregator = self._aggregator(lane, state, reference)
        elif lane.aggregator.state.digest != state.digest:
            self._write(lane, lane.aggregator.change_state(state, reference))

    def add(self, lane: Lane, index: int, reading: Reading, point: OperatingPoint) -> None:
        """Take in a reading that stands at ``index``."""
        if lane.aggregator is not None:
            self._write(lane, lane.aggregator.add(index, reading, point))

    def _write(self, lane: Lane, ended: Iterable[IntervalEnergy]) -> None:
        """Write the intervals that ended, and remember where the open one began."""
        name, aggregator, counters = lane.channel.instrument, lane.aggregator, self._counters
        for interval in ended:
            unit = lane.channel.units.get(interval.measurand, "kWh")
            number = counters.energies.get(name, 0) + 1
            self._pending.append(record_of(interval, name, unit, self._pending.salt(), number))
            counters.energies[name] = number
        if aggregator is not None and aggregator.begun_at is not None:
            counters.intervals[name] = aggregator.begun_at

    def handed_over(self) -> None:
        """What is pending goes to the store."""
        self._in_flight = dict(self._counters.energies)

    def committed(self) -> None:
        """It is durable."""
        self._safe = self._in_flight

    def lost(self) -> None:
        """What was numbered since is not in the log."""
        self._counters.energies = dict(self._safe)

    def begin_anew(self, lane: Lane) -> None:
        """The open interval's readings are not in the log."""
        self._counters.intervals.pop(lane.channel.instrument, None)
        if lane.state is not None:
            lane.aggregator = self._aggregator(lane, lane.channel.state, lane.state)

    def _aggregator(self, lane: Lane, state: CalibrationState, reference: Reference) -> Aggregator:
        channel = lane.channel
        return Aggregator(state, reference, self._period_us, channel.moduli, channel.refresh_us)
