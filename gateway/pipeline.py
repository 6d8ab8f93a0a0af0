"""From a scan to the bytes of a record: number it, correct it, salt it, write it.

The pipeline keeps the running numbers, the back links and the open gaps; it knows no database and no network. What
it has built is pending until the store has made it durable: then :meth:`Pipeline.committed` shows it, or, if the
disk was full, :meth:`Pipeline.lost` turns it into gaps that say so.

* Every scheduled poll has a running number. A poll with an answer on the line is a reading, its bytes kept, also
  where no value came of them; a poll without one, or never made, is covered by a gap with its reason.
* Gaps are written when their reason or their instrument's luck changes, at the latest with the next seal. Until
  then they are in no record; a crash loses nothing by that, because the next start covers the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec

from calibration.state import CalibrationState
from drivers.codec import Instant, Missing, Scan
from evidence import record as records
from evidence.errors import EncodeError
from evidence.record import Head, Reading, Tally
from gateway.clock import Clock
from gateway.counters import NOT_SCHEDULED, START, STOP, Counter, Counters, KeyPlace
from gateway.energy_intervals import EnergyIntervals
from gateway.lanes import Channel, Lane
from gateway.pending import Batch, Pending
from gateway.readings import answered, reading_of
from gateway.references import DocumentNotice, References
from gateway.schedule import Tick, polls_between
from gateway.store import LogStore

NO_TIME = "no_time"  # the line or the machine was busy when the poll was due
STOPPED = "stopped"  # the agent did not run: it had been stopped
UNCLEAN = "unclean_stop"  # the agent did not run, or its open commit window was lost
DAMAGED = "log_damaged"  # the same, and a damaged tail of the log was set aside
DISK_FULL = "disk_full"
TOO_LONG = "too_long"  # the record of the scan does not fit an entry


class Latest(NamedTuple):
    """The newest durable reading of an instrument."""

    entry: int
    reading: Reading
    state: CalibrationState
    units: Mapping[str, str]


class Pipeline:
    """Builds the records of one log."""

    def __init__(
        self,
        channels: Iterable[Channel],
        clock: Clock,
        *,
        origin: str,
        keys: Sequence[str],
        software: str,
        configuration: bytes,
        aggregate_us: int = 60_000_000,
        previous_log: records.PreviousLog | None = None,
    ) -> None:
        """``configuration`` is canonical JSON; ``keys`` are the vkeys that sign the log.

        ``previous_log``: the head that a new log begins from, if it continues another whose key was lost.
        """
        self._clock = clock
        self._origin = origin
        self._keys = tuple(keys)
        self._software = software
        self._previous_log = previous_log
        self._channels = {channel.instrument: channel for channel in channels}
        self._lanes: dict[str, Lane] = {}
        self._counters = Counters()
        self._pending = Pending()
        self._references = References(configuration, self._pending)
        self._intervals = EnergyIntervals(aggregate_us, self._pending)
        self._sealed_at = 0
        self._latest: dict[str, Latest] = {}
        self._fresh: dict[str, Latest] = {}
        self._fresh_in_flight: dict[str, Latest] = {}
        self._safe_in_flight: dict[str, Counter] = {}

    # -- what is known

    @property
    def pending(self) -> int:
        """Entries built and not yet handed over."""
        return len(self._pending)

    @property
    def unsealed(self) -> int:
        """Entries since the last seal."""
        return self._pending.next - self._sealed_at

    @property
    def latest(self) -> Mapping[str, Latest]:
        """The newest durable reading by instrument."""
        return self._latest

    def counts(self) -> dict[str, Tally]:
        """Per instrument: last running number, readings, missed polls, open gaps included."""
        return {
            name: Tally(counter.last, counter.received, counter.missed)
            for name, counter in self._counters.instruments.items()
        }

    # -- beginning

    def begin(
        self,
        store: LogStore,
        first_due_us: Mapping[str, int],
        documents: Iterable[DocumentNotice] = (),
        detail: Mapping[str, str] | None = None,
    ) -> bool:
        """Take up the log where it stands; whether the last run ended cleanly.

        Writes what has to be there before the first reading: genesis, configuration, calibration states, a start
        event, and per instrument a gap over exactly the polls that were due since its last record.
        ``first_due_us``: when each instrument's first poll of this run is due (UTC).
        """
        self._counters = counters = Counters.of(store)
        self._pending.begin(store.size)
        self._references.begin(counters)
        self._intervals.begin(counters)
        self._sealed_at = store.published.size if store.published else 0
        clean = counters.clean and store.damage is None
        now = self._clock.now()
        if store.size == 0:
            genesis = records.Genesis(
                salt=self._pending.salt(),
                origin=self._origin,
                keys=self._keys,
                software=self._software,
                utc_us=now.utc_us,
                boot_us=now.boot_us,
                previous_log=self._previous_log,
            )
            self._references.key(genesis)
        previous = "none" if store.size == 0 else "clean" if clean else "unclean"
        told = {"boot_id": self._clock.boot_id, "software": self._software, "previous": previous}
        if store.damage is not None:
            told["damaged_from"] = str(store.damage.first)
            told["damaged_entries"] = str(store.damage.count)
            told["damage"] = store.damage.reason
        same_boot = bool(counters.boot_id) and counters.boot_id == self._clock.boot_id
        self.event(START, {**told, **(detail or {})})
        for document in documents:
            self._references.document(document, now.utc_us)
        self._references.configure()
        reason = DAMAGED if store.damage else STOPPED if clean else UNCLEAN
        for name, channel in self._channels.items():
            counter = counters.instruments.setdefault(name, Counter())
            self._lanes[name] = Lane(channel, counter)
        self._intervals.take_up(self._lanes, store)
        for name, lane in self._lanes.items():
            counter = lane.counter
            self._use_state(lane)
            if name in first_due_us and counter.last and counter.period_us != NOT_SCHEDULED:
                self._cover(lane, first_due_us[name], now, reason, same_boot=same_boot)
            counter.period_us = lane.channel.period_us
        for name, counter in counters.instruments.items():
            if name not in self._lanes:
                counter.period_us = NOT_SCHEDULED
        counters.clean = False
        counters.boot_id = self._clock.boot_id
        return clean

    def _cover(self, lane: Lane, first_due_us: int, now: Instant, reason: str, *, same_boot: bool) -> None:
        """A gap over the polls between the last record and the first poll of this run."""
        counter = lane.counter
        last_due = counter.due_us
        if same_boot:  # UTC may have been stepped meanwhile; time since boot was not
            last_due += (now.utc_us - now.boot_us) - (counter.utc_us - counter.boot_us)
        period = counter.period_us or lane.channel.period_us
        lost = polls_between(last_due, first_due_us, period)
        if lost:
            self._miss(lane, lost, last_due + period, last_due + lost * period, reason)
            self._close_gap(lane)

    # -- what comes in

    def accept(self, instrument: str, tick: Tick, scan: Scan, flags: Sequence[str] = ()) -> None:
        """Record one poll, and the polls before it that nobody had time for.

        ``flags``: what the instrument itself said of its values, kept behind the flags of the results.
        """
        lane = self._lanes[instrument]
        if tick.missed:
            self._miss(lane, tick.missed, tick.missed_from_us, tick.missed_to_us, NO_TIME)
        if not answered(scan):
            self._miss(lane, 1, tick.due_us, tick.due_us, str(scan.failure or Missing.TIMEOUT))
            self._at(lane, scan.started)
            return
        self._close_gap(lane)
        counter = lane.counter
        reading, point = reading_of(
            lane,
            tick,
            scan,
            salt=self._pending.salt(),
            clock=self._clock.state(),
            configuration=self._references.configuration_of(lane.channel.instrument),
            said=flags,
        )
        try:
            data = records.encode(reading)
        except EncodeError as error:
            self.event(
                "not_recorded",
                {"instrument": instrument, "number": str(reading.number), "why": str(error)[:500]},
            )
            self._miss(lane, 1, tick.due_us, tick.due_us, TOO_LONG)
            self._at(lane, scan.started)
            return
        index = self._pending.append_encoded(data)
        counter.last += 1
        counter.received += 1
        counter.previous = index
        counter.due_us = tick.due_us
        self._at(lane, scan.started)
        self._fresh[instrument] = Latest(index, reading, lane.channel.state, lane.channel.units)
        self._intervals.add(lane, index, reading, point)

    def number(self, instrument: str) -> int:
        """The newest running number of an instrument."""
        return self._lanes[instrument].counter.last

    def last_due_us(self, instrument: str) -> int:
        """When the newest numbered poll of an instrument was due (UTC); 0 if there is none."""
        return self._lanes[instrument].counter.due_us

    def skip(self, instrument: str, tick: Tick, before: int, reason: str) -> None:
        """A poll that could not be made, or was lost on its way: count whatever of it is not counted yet.

        ``before``: the running number before the poll.
        """
        lane = self._lanes[instrument]
        count = before + tick.missed + 1 - lane.counter.last
        if count > 0:
            self._miss(lane, count, tick.missed_from_us if count > 1 else tick.due_us, tick.due_us, reason)

    def event(self, kind: str, detail: Mapping[str, str] | None = None) -> None:
        """Record that something happened."""
        now = self._clock.now()
        texts = {
            key: value[:4000].encode("utf-8", "replace").decode() for key, value in (detail or {}).items()
        }
        whose = texts.get("instrument", "")
        self._pending.keep(
            records.Event(
                salt=self._pending.salt(),
                kind=kind,
                utc_us=now.utc_us,
                boot_us=now.boot_us,
                detail=texts,
                number=self._counters.events.get(whose, 0) + 1,
            )
        )
        self._counters.events[whose] = self._counters.events.get(whose, 0) + 1

    def advise(self, document: DocumentNotice, advice: Iterable[records.Advice]) -> int | None:
        """Record correction advice with the document that it came in; the size that the log then will have.

        None if that document is in the log already. Salt and time are the log's.
        """
        utc_us = self._clock.now().utc_us
        if not self._references.document(document, utc_us):
            return None
        for entry in advice:
            self._pending.keep(msgspec.structs.replace(entry, salt=self._pending.salt(), utc_us=utc_us))
        return self._pending.next

    @property
    def keys(self) -> Mapping[str, KeyPlace]:
        """The log's keys (vkeys), and where each was announced."""
        return self._counters.keys

    def announce_key(self, vkey: str, replaces: str, statement: str) -> None:
        """Record a new key of this log, unless it was; ``statement`` is signed by it and by the one before."""
        if vkey in self._counters.keys:
            return
        record = records.Key(
            salt=self._pending.salt(),
            vkey=vkey,
            replaces=replaces,
            statement=statement,
            utc_us=self._clock.now().utc_us,
        )
        self._references.key(record)

    def change_state(self, instrument: str, state: CalibrationState) -> None:
        """From now on correct with another state; it is written before its first use."""
        lane = self._lanes[instrument]
        channel = lane.channel
        lane.use(replace(channel, state=state))
        self._use_state(lane)

    # -- what goes out

    def seal(self, receipt: Head | None, alarms: Sequence[str] = ()) -> None:
        """Close the gaps and add the seal: the last leaf under a checkpoint."""
        for lane in self._lanes.values():
            self._close_gap(lane)
        now, clock = self._clock.now(), self._clock.state()
        self._pending.append(
            records.Seal(
                salt=self._pending.salt(),
                utc_us=now.utc_us,
                boot_us=now.boot_us,
                boot_id=self._clock.boot_id or "unknown",
                clock=int(clock.quality),
                clock_error_us=clock.error_us,
                counts=self.counts(),
                software=self._software,
                configuration=self._counters.configuration,
                receipt=receipt,
                alarms=tuple(alarms),
                energies=dict(self._counters.energies),
                events=dict(self._counters.events),
            )
        )
        self._sealed_at = self._pending.next

    def stop(self) -> None:
        """The last event of a clean run."""
        self.event(STOP, {"boot_id": self._clock.boot_id})
        self._counters.clean = True

    def take(self, *, checkpoint: bool) -> Batch:
        """Hand over what is pending. One batch at a time: ``committed`` or ``lost`` must follow."""
        batch = self._pending.take(self._counters.encode() if checkpoint else None)
        self._fresh_in_flight, self._fresh = self._fresh, {}
        self._safe_in_flight = {name: lane.written() for name, lane in self._lanes.items()}
        self._intervals.handed_over()
        return batch

    def committed(self) -> None:
        """The batch is durable: it may be shown."""
        self._latest.update(self._fresh_in_flight)
        for name, counter in self._safe_in_flight.items():
            self._lanes[name].safe = counter
        self._intervals.committed()
        self._pending.committed()
        self._fresh_in_flight = {}

    def lost(self, size: int, reason: str) -> None:
        """The batch was not kept, and the log still has ``size`` entries: cover its polls, and those after it, by gaps.

        Events, states and configuration are built again; readings are gone and said to be.
        """
        self._intervals.lost()
        self._fresh, self._fresh_in_flight = {}, {}
        self._sealed_at = min(self._sealed_at, size)
        for record in self._pending.lost(size):
            self._references.again(record)
        for lane in self._lanes.values():
            lane.state = self._counters.states.get(lane.channel.instrument, lane.state)
            if lane.lose(reason):
                self._intervals.begin_anew(lane)

    # -- building

    def _miss(self, lane: Lane, count: int, from_us: int, to_us: int, reason: str) -> None:
        """Count polls without a reading; they join the open gap if it has the same reason."""
        if lane.gap is not None and lane.gap.reason != reason:
            self._close_gap(lane)
        lane.miss(count, from_us, to_us, reason)

    def _close_gap(self, lane: Lane) -> None:
        gap, counter = lane.gap, lane.counter
        if gap is None:
            return
        lane.gap = None
        counter.previous = self._pending.append(
            records.Gap(
                salt=self._pending.salt(),
                instrument=lane.channel.instrument,
                first=gap.first,
                last=gap.last,
                previous=counter.previous,
                from_us=gap.from_us,
                to_us=gap.to_us,
                reason=gap.reason,
            )
        )

    def _at(self, lane: Lane, instant: Instant) -> None:
        lane.counter.utc_us, lane.counter.boot_us = instant

    def _use_state(self, lane: Lane) -> None:
        """Correct by the state of the lane's channel from now on: it stands in the log before."""
        lane.state = self._references.state(lane.channel.instrument, lane.channel.state)
        self._intervals.use_state(lane, lane.state)
