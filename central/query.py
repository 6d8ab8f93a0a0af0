"""What the platform is asked: readings and intervals by instrument, period and quality, as plain rows; and sums.

Numbers are decimal text, as they were recorded, with their unit and standard uncertainty; what is missing is a row with
its reason. The unit of a measurand comes out of the log itself, from the configuration that was in force.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec

from evidence.errors import ParseError
from evidence.record import Configuration, decode

from .holding import Holding
from .rows import Gateway, Total, Value
from .totals import Parts, Sum, add_up

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SYNCHRONISED: Final = 2  # the least clock quality that NTP or better stands behind
READING: Final = (
    "origin", "instrument", "measurand", "unit", "utc", "utc_us", "entry", "value", "u", "indication", "missing",
    "clock", "flags",
)  # fmt: skip
INTERVAL: Final = (
    "origin", "instrument", "measurand", "unit", "from", "to", "from_us", "to_us", "entry", "value", "u", "count",
    "missing", "method", "flags", "supersedes", "superseded_by",
)  # fmt: skip
Row = dict[str, Any]


class AskedWrongly(ValueError):
    """The question cannot be answered as it was put: what is wrong with it."""


class Quality(StrEnum):
    """Which readings are wanted."""

    ALL = "all"  # also what is missing, with the reason
    RESULT = "result"  # those with a measurement result
    CLEAN = "clean"  # of these, without any flag, and the clock synchronised (quality 2 or better)

    def admits(self, value: Value) -> bool:
        """Whether a value is of this quality."""
        if self is Quality.ALL:
            return True
        clean = not value.flags and value.clock >= SYNCHRONISED
        return value.value is not None and (clean or self is Quality.RESULT)


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument at a gateway: ``ORIGIN::NAME`` as text."""

    origin: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Instrument:
        """Read one. Raises AskedWrongly."""
        origin, between, name = text.partition("::")
        if not origin or not between or not name:
            raise AskedWrongly(f"{text!r} is no instrument; write ORIGIN::NAME, as platform.example/gw/7::M1")
        return cls(origin, name)


def microseconds(text: str) -> int:
    """An instant: whole microseconds since 1970, or ISO 8601 with its offset. Raises AskedWrongly."""
    if text.isascii() and text.isdigit() and len(text) <= 16:
        return int(text)
    try:
        when: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise AskedWrongly(
            f"{text!r} is no instant; write 2026-11-24T00:00:00Z, another offset (+08:00), or whole microseconds"
        )
    return (when - EPOCH) // timedelta(microseconds=1)


def iso(us: int) -> str:
    """An instant as text, to the microsecond, UTC."""
    return (EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Questions:
    """Answers from one store. ``source``: where contributions of aggregates are read."""

    store: Holding
    source: Parts
    _units: dict[str, Mapping[str, Mapping[str, str]]] = field(
        default_factory=dict
    )  # by configuration's digest

    def gateway(self, origin: str) -> Gateway:
        """A gateway that is stored. Raises AskedWrongly."""
        found = next((g for g in self.store.gateways() if g.origin == origin), None)
        if found is None:
            raise AskedWrongly(f"no gateway {origin} is stored here")
        return found

    def instruments(self, origin: str) -> list[Row]:
        """Instruments of a gateway, and how complete their series are."""
        return [
            {
                "origin": origin,
                "instrument": name,
                "polls": p.number,
                "received": p.received,
                "missed": p.missed,
            }
            for name, p in sorted(self.store.places(self.gateway(origin)).items())
        ]

    def readings(
        self,
        instrument: Instrument,
        measurand: str | None = None,
        from_us: int = 0,
        to_us: int = 2**53,
        quality: Quality = Quality.ALL,
        after: tuple[int, int] = (-1, -1),
    ) -> Iterator[Row]:
        """Readings in order of time. ``after``: go on behind the reading of this instant and entry."""
        units = self._units_of(instrument)
        starts = [entry for entry, _ in units]
        values = self.store.values(
            instrument.origin, instrument.name, measurand, max(from_us, after[0]), to_us
        )
        for value in values:
            if (value.utc_us, value.entry) <= after or not quality.admits(value):
                continue
            at = bisect_right(starts, value.entry) - 1
            unit = units[at][1].get(value.measurand) if at >= 0 else None
            yield {
                "origin": value.origin,
                "instrument": value.instrument,
                "measurand": value.measurand,
                "unit": unit,
                "utc": iso(value.utc_us),
                "utc_us": value.utc_us,
                "entry": value.entry,
                "value": value.value,
                "u": value.u,
                "indication": value.indication,
                "missing": value.missing,
                "clock": value.clock,
                "flags": list(value.flags),
            }

    def intervals(
        self,
        instruments: Sequence[Instrument],
        measurand: str,
        from_us: int = 0,
        to_us: int = 2**53,
        *,
        superseded: bool = False,
    ) -> Iterator[Row]:
        """What was recorded of each interval that lies within the period."""
        for each in self._totals(instruments, measurand, from_us, to_us, superseded=superseded):
            yield {
                "origin": each.origin,
                "instrument": each.instruments[0],
                "measurand": each.measurand,
                "unit": each.unit,
                "from": iso(each.from_us),
                "to": iso(each.to_us),
                "from_us": each.from_us,
                "to_us": each.to_us,
                "entry": each.entry,
                "value": each.value,
                "u": each.u,
                "count": each.count,
                "missing": each.missing,
                "method": each.method,
                "flags": list(each.flags),
                "supersedes": each.supersedes,
                "superseded_by": each.superseded_by,
            }

    def total(
        self,
        instruments: Sequence[Instrument],
        measurand: str,
        from_us: int | None = None,
        to_us: int | None = None,
    ) -> Sum:
        """The sum over instruments and intervals. Raises NotAddable."""
        begin = 0 if from_us is None else from_us
        end = 2**53 if to_us is None else to_us
        return add_up(self._totals(instruments, measurand, begin, end), self.source, from_us, to_us)

    def _totals(
        self,
        instruments: Sequence[Instrument],
        measurand: str,
        from_us: int,
        to_us: int,
        *,
        superseded: bool = False,
    ) -> Iterator[Total]:
        wanted: dict[str, set[str]] = {}
        for instrument in instruments:  # one named twice is counted once
            wanted.setdefault(instrument.origin, set()).add(instrument.name)
        for origin, names in wanted.items():
            known = self.store.places(self.gateway(origin)).keys()
            if names == {"*"}:
                names |= known
            unknown = names - known - {"*"}
            if unknown:
                raise AskedWrongly(f"{origin} has no instrument {', '.join(sorted(unknown))}")
            found = self.store.totals(origin, measurand, None, from_us, to_us, superseded=superseded)
            yield from (t for t in found if len(t.instruments) == 1 and t.instruments[0] in names)

    def _units_of(self, instrument: Instrument) -> list[tuple[int, Mapping[str, str]]]:
        """Units by measurand, from which entry on."""
        gateway = self.gateway(instrument.origin)
        if instrument.name not in self.store.places(gateway):
            raise AskedWrongly(f"{instrument.origin} has no instrument {instrument.name}")
        found = []
        for entry, digest in sorted(self.store.references(gateway)["configuration"]):
            if digest not in self._units:
                self._units[digest] = _units(self.store.entries(gateway, entry, entry + 1))
            if instrument.name in self._units[digest]:
                found.append((entry, self._units[digest][instrument.name]))
        return found


def _units(entries: Iterable[bytes]) -> Mapping[str, Mapping[str, str]]:
    """Instrument -> measurand -> unit, out of a configuration as gateways write it (or a part); empty for any other."""
    try:
        record = decode(next(iter(entries), b""))
        if not isinstance(record, Configuration):
            return {}
        body = msgspec.json.decode(bytes(record.body))
        by_profile = {
            key: {p["measurand"]: p["unit"] for query in profile["queries"] for p in query["points"]}
            for key, profile in body["profiles"].items()
        }
        return {name: by_profile[each["profile"]] for name, each in body["instruments"].items()}
    except (ParseError, msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return {}
