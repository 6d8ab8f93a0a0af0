"""What the agent must know to go on counting: per instrument the running number, and where its last record is.

Kept in the store with each checkpoint, and brought up to date from the entries after it. So a start reads the
entries since the last checkpoint and no others.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from evidence.errors import ParseError
from evidence.record import (
    Aggregate,
    CalibrationState,
    Configuration,
    Document,
    Event,
    Gap,
    Genesis,
    Key,
    Reading,
    Reference,
    decode,
)
from gateway.configurations import whose
from gateway.logfile import StoreError
from gateway.store import LogStore

START = "start"
STOP = "stop"
NOT_SCHEDULED = -1  # the period of an instrument that the site no longer has: nothing was due meanwhile


class Counter(msgspec.Struct, gc=False):
    """One instrument up to here.

    ``last``: its newest running number; ``previous``: the log index of its newest reading or gap, -1 if none.
    ``due_us``, ``utc_us``, ``boot_us``: of the newest poll; ``period_us``: the spacing of its polls then.
    """

    last: int = 0
    received: int = 0
    missed: int = 0
    previous: int = -1
    due_us: int = 0
    utc_us: int = 0
    boot_us: int = 0
    period_us: int = 0


class KeyPlace(msgspec.Struct, gc=False):
    """Where a key of the log was announced: the entry, and when (UTC)."""

    entry: int
    utc_us: int


class Counters(msgspec.Struct):
    """All that is carried over a restart.

    ``configuration`` (the site's), ``parts`` of it and ``states`` (by instrument) are the newest entries of their kind;
    ``intervals`` has the log index of the reading with which each instrument's open energy interval began; ``energies``
    and ``events`` have the last number of aggregates and events by instrument (empty text: the log's own events);
    ``keys`` (vkeys) are the log's own, from its genesis and its key records; ``clean`` says that the log's last event
    is a stop; ``boot_id`` is the boot in which the last record was made.
    """

    instruments: dict[str, Counter] = {}
    configuration: Reference | None = None
    parts: dict[str, Reference] = {}
    states: dict[str, Reference] = {}
    documents: set[str] = set()
    intervals: dict[str, int] = {}
    energies: dict[str, int] = {}
    events: dict[str, int] = {}
    keys: dict[str, KeyPlace] = {}
    clean: bool = True
    boot_id: str = ""

    def encode(self) -> bytes:
        """As JSON, for the store."""
        return msgspec.json.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> Counters:
        """From the store's JSON. Raises ValueError."""
        return msgspec.json.decode(data, type=cls)

    @classmethod
    def of(cls, store: LogStore) -> Counters:
        """As they are at the end of a log. Raises StoreError where an entry cannot be read."""
        stored = store.state()
        try:
            if stored is not None:
                counters = cls.parse(stored[1])
                if not counters.keys:  # as stored by a version that did not know of them
                    counters.take_genesis(store.entries(0, 1))
                counters.replay(store.entries(stored[0]))
                return counters
        except msgspec.DecodeError:
            pass  # the state is not what this version writes: count the whole log, once
        except ParseError as error:
            raise StoreError(
                f"{store.directory}: an entry is no record that this version reads: {error}"
            ) from error
        counters = cls()
        counters.replay(store.entries(0))
        return counters

    def replay(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """Take in entries that were committed after the counters were stored."""
        for index, data in entries:
            record = decode(data)
            match record:
                case Genesis() | Key():
                    self.take_keys(index, record)
                case Reading():
                    counter = self.instruments.setdefault(record.instrument, Counter())
                    counter.last, counter.previous = record.number, index
                    counter.received += 1
                    counter.due_us, counter.utc_us = record.due_us, record.utc_us
                    counter.boot_us = record.boot_us
                    self.states[record.instrument] = record.state
                case Gap():
                    counter = self.instruments.setdefault(record.instrument, Counter())
                    counter.missed += record.last - record.first + 1
                    counter.last, counter.previous = record.last, index
                    counter.due_us = record.to_us
                    counter.boot_us += record.to_us - counter.utc_us if counter.utc_us else 0
                    counter.utc_us = record.to_us
                case Configuration():
                    self.take_configuration(index, record)
                case CalibrationState():
                    instrument = msgspec.json.decode(record.body, type=_Body).instrument
                    if instrument:
                        self.states[instrument] = Reference(index, record.digest)
                case Document():
                    self.documents.add(record.digest)
                case Event():
                    if record.number is not None:
                        self.events[record.detail.get("instrument", "")] = record.number
                    if record.kind == START:
                        self.clean = False
                        self.boot_id = record.detail.get("boot_id", "")
                    self.clean = self.clean or record.kind == STOP
                case Aggregate(number=int(number)) if len(record.instruments) == 1:
                    self.energies[record.instruments[0]] = number
                case _:
                    pass

    def take_configuration(self, entry: int, record: Configuration) -> None:
        """Take in a configuration: an instrument's part, or the site's."""
        name = whose(bytes(record.body))
        if name:
            self.parts[name] = Reference(entry, record.digest)
        else:
            self.configuration = Reference(entry, record.digest)

    def take_keys(self, entry: int, record: Genesis | Key) -> None:
        """Take in the keys that a record announces."""
        for vkey in record.keys if isinstance(record, Genesis) else (record.vkey,):
            self.keys[vkey] = KeyPlace(entry, record.utc_us)

    def take_genesis(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """Take in the keys that a log began with; nothing if its first entry is no longer here."""
        for index, data in entries:
            record = decode(data)
            if isinstance(record, Genesis):
                self.take_keys(index, record)


class _Body(msgspec.Struct):
    """The one field of a calibration state that counting needs."""

    instrument: str = ""
