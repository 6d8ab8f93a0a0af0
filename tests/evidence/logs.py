"""Logs for tests: whole, small and true, written by the package under test and kept in memory as path ->
bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import msgspec

from evidence import log, note, record

ORIGIN = "platform.example/gw/7"
MEASURANDS = ("energy.active.import", "power.active.total", "voltage.l1", "current.l1")
START_US = 1_790_000_000_000_000


def signer(name: str = ORIGIN, seed: int = 1) -> note.Ed25519Signer:
    return note.Ed25519Signer.from_seed(name, bytes([seed]) * 32)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Writer:
    """A gateway's log in miniature: genesis, configuration, states, readings with back-links, gaps, seals."""

    def __init__(
        self, origin: str = ORIGIN, seed: int = 1, instruments: Sequence[str] = ("M1", "M2", "M3")
    ) -> None:
        self.random = Random(seed)
        self.origin = origin
        self.signer = signer(origin)
        self.entries: list[bytes] = []
        self.clock_us = START_US
        self.last: dict[str, tuple[int, int, int, int]] = {}  # instrument -> number, index, received, missed
        self.instruments = tuple(instruments)
        self.add(
            record.Genesis(
                salt=self.salt(),
                origin=origin,
                keys=(self.signer.verifier.vkey,),
                software="test",
                utc_us=self.now(),
                boot_us=1,
            )
        )
        body = b'{"site":"test","instruments":["M1","M2","M3"]}'
        self.configuration = record.Reference(
            self.add(record.Configuration(salt=self.salt(), digest=digest(body), body=msgspec.Raw(body))),
            digest(body),
        )
        self.states = {}
        for instrument in self.instruments:
            body = msgspec.json.encode({"instrument": instrument, "points": [{"error": "0.12", "U": "0.05"}]})
            index = self.add(
                record.CalibrationState(salt=self.salt(), digest=digest(body), body=msgspec.Raw(body))
            )
            self.states[instrument] = record.Reference(index, digest(body))

    @property
    def size(self) -> int:
        return len(self.entries)

    def salt(self) -> bytes:
        return self.random.randbytes(12)

    def now(self) -> int:
        self.clock_us += 1_000_000
        return self.clock_us

    def add(self, entry: record.Record) -> int:
        self.entries.append(record.encode(entry))
        return len(self.entries) - 1

    def reading(self, instrument: str) -> record.Reading:
        number, index, _, _ = self.last.get(instrument, (0, -1, 0, 0))
        now = self.now()
        values = {name: f"{self.random.randrange(10**7) / 1000:.3f}" for name in MEASURANDS}
        return record.Reading(
            salt=self.salt(),
            instrument=instrument,
            number=number + 1,
            previous=index,
            due_us=now,
            utc_us=now,
            boot_us=now - START_US,
            clock=2,
            clock_error_us=1500,
            raw=(record.RawExchange(self.random.randbytes(16), self.random.randbytes(24), 0, 40_000),),
            indications=values,
            missing={"frequency": "timeout"},
            results={name: (value, "0.012") for name, value in values.items()},
            state=self.states[instrument],
            configuration=self.configuration,
        )

    def read(self, instrument: str) -> int:
        entry = self.reading(instrument)
        index = self.add(entry)
        _, _, received, missed = self.last.get(instrument, (0, -1, 0, 0))
        self.last[instrument] = (entry.number, index, received + 1, missed)
        return index

    def miss(self, instrument: str, polls: int = 1) -> int:
        number, index, received, missed = self.last.get(instrument, (0, -1, 0, 0))
        gap = record.Gap(
            salt=self.salt(),
            instrument=instrument,
            first=number + 1,
            last=number + polls,
            previous=index,
            from_us=self.now(),
            to_us=self.now(),
            reason="timeout",
        )
        at = self.add(gap)
        self.last[instrument] = (number + polls, at, received, missed + polls)
        return at

    def seal(self) -> int:
        return self.add(
            record.Seal(
                salt=self.salt(),
                utc_us=self.now(),
                boot_us=self.clock_us - START_US,
                boot_id="b1",
                clock=2,
                clock_error_us=1500,
                counts={name: record.Tally(n, r, m) for name, (n, _, r, m) in self.last.items()},
                software="test",
                configuration=self.configuration,
                receipt=None,
            )
        )

    def grow(self, to: int) -> Writer:
        """Readings, a few gaps, seals each 64, until there are ``to`` entries, the last a seal."""
        while self.size < to - 1:
            instrument = self.instruments[self.size % len(self.instruments)]
            if self.size % 64 == 63:
                self.seal()
            elif self.size % 29 == 17:
                self.miss(instrument, 1 + self.size % 3)
            else:
                self.read(instrument)
        self.seal()
        return self

    def head(self, size: int | None = None) -> note.Checkpoint:
        return head(self.origin, self.entries[:size])

    def files(self, size: int | None = None) -> dict[str, bytes]:
        return files(self.entries[:size], self.origin, self.signer)


def head(origin: str, entries: Iterable[bytes]) -> note.Checkpoint:
    tree = log.Tree()
    tree.extend(map(log.leaf_hash, entries))
    return note.Checkpoint(origin, tree.size, tree.root())


def files(entries: Sequence[bytes], origin: str, by: note.Signer) -> dict[str, bytes]:
    """The log as tlog-tiles serves it."""
    tree = log.Tree()
    row = [log.leaf_hash(entry) for entry in entries]
    tree.extend(row)
    found = {"checkpoint": note.Checkpoint(origin, len(entries), tree.root()).signed_by(by).encode()}
    for bundle in log.bundles(len(entries)):
        found[bundle.path] = log.encode_bundle(entries[bundle.start : bundle.start + bundle.width])
    level = 0
    while row:
        for tile in (t for t in log.tiles(len(entries)) if t.level == level):
            found[tile.path] = b"".join(row[tile.index * 256 : tile.index * 256 + tile.width])
        row = [log.full_root(row[i : i + 256]) for i in range(0, len(row) - 255, 256)]
        level += 1
    return found


def write(directory: Path, contents: dict[str, bytes]) -> Path:
    for path, data in contents.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return directory
