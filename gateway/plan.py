"""What an agent is told: its lines with their instruments, and what it keeps to in recording, signing and serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

from calibration.state import CalibrationState
from drivers.bus import Meter
from drivers.codec import Instant
from drivers.line import Timing
from drivers.link import Link
from drivers.profile import Query
from drivers.protocols import Codec
from evidence.note import Signer
from evidence.record import PreviousLog
from gateway.clock import SECOND_US
from gateway.freezing import FreezePlan
from gateway.lanes import Channel
from gateway.logfile import BALLAST_BYTES
from gateway.pushed import Source
from gateway.receipts import PlatformKey
from gateway.references import DocumentNotice
from gateway.tls import ServerTls


@dataclass(frozen=True, slots=True)
class InstrumentPlan:
    """One instrument: how it is asked, how often, and what corrects it."""

    meter: Meter
    queries: tuple[Query, ...]
    period_us: int
    state: CalibrationState
    priority: int = 0
    refresh_us: int = 0
    serial: str = ""  # what the meter should call itself, if the site says so
    manufacturer: str = ""

    def channel(self) -> Channel:
        """As the pipeline sees it."""
        points = [point for query in self.queries for point in query.points]
        units = {point.measurand: point.unit for point in points}
        moduli: dict[str, Decimal] = {p.measurand: p.modulus for p in points if p.modulus is not None}
        return Channel(self.meter.id, self.period_us, self.state, units, moduli, self.refresh_us)


@dataclass(frozen=True, slots=True)
class BusPlan:
    """One line with its instruments."""

    name: str
    codec: Codec
    link: Link
    instruments: tuple[InstrumentPlan, ...]
    timing: Timing | None = None
    freeze: FreezePlan | None = None  # only where somebody allowed it


@dataclass(frozen=True, slots=True)
class PushPlan:
    """A port at which instruments send by themselves.

    ``late_us``: how long after it was due silence is a gap; None: the instrument's period. ``lags_us``, by instrument:
    how long after a slot's beginning its data is ready.
    """

    name: str
    source: Callable[[Callable[[], Instant]], Source]
    instruments: tuple[InstrumentPlan, ...]
    late_us: int | None = None
    lags_us: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the agent is told. ``configuration`` is canonical JSON; ``listen`` empty serves nothing.

    ``states`` compiles the calibration states of a day, by instrument: asked when a state does not cover the day any
    more, and when the agent is told to reload. What raises there leaves the states as they are and is told in the log.
    ``keep_us``: entries that all platforms have confirmed are deleted when they are older; None keeps everything.
    ``full_retry_us``: how long to wait before writing again to a full disk.
    """

    origin: str
    data: Path
    signer: Signer
    software: str
    configuration: bytes
    buses: tuple[BusPlan, ...]
    documents: tuple[DocumentNotice, ...] = ()
    platforms: tuple[PlatformKey, ...] = ()
    listen: str = ""
    tls: ServerTls | None = None
    commit_us: int = SECOND_US
    checkpoint_us: int = 10 * SECOND_US
    checkpoint_entries: int = 256
    aggregate_us: int = 60 * SECOND_US
    keep_us: int | None = None
    full_retry_us: int = 10 * SECOND_US
    ballast: int = BALLAST_BYTES
    states: Callable[[date, Mapping[str, str]], Mapping[str, CalibrationState]] | None = None
    linger_us: int = 0  # how long, after the last seal, a platform may still fetch it
    pushes: tuple[PushPlan, ...] = ()
    second_signer: Signer | None = None  # of another kind: its line stands beside, and may be missing
    previous_log: PreviousLog | None = None  # the head that a new log begins from, if it continues another

    @property
    def instruments(self) -> tuple[InstrumentPlan, ...]:
        """All instruments, asked or not."""
        return tuple(instrument for line in self.lines for instrument in line.instruments)

    @property
    def lines(self) -> tuple[BusPlan | PushPlan, ...]:
        """Where instruments are asked, then where they send by themselves."""
        return (*self.buses, *self.pushes)
