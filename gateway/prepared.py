"""A site that holds together: each line with what its instruments are asked, and what corrects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from calibration.state import CalibrationState
from drivers.bus import Meter
from drivers.line import Timing
from drivers.profile import Profile, Query
from drivers.protocols import Codec
from evidence.note import Verifier
from gateway.config import SiteFile
from gateway.freezing import FreezePlan
from gateway.opcua_access import Access
from gateway.site_lines import BusConfig, InstrumentConfig
from gateway.toml_source import Problem


@dataclass(frozen=True, slots=True)
class PreparedMeter:
    """One meter, ready to be asked and corrected."""

    config: InstrumentConfig
    meter: Meter
    profile: Profile
    queries: tuple[Query, ...]
    state: CalibrationState


@dataclass(frozen=True, slots=True)
class PreparedBus:
    """One line with its meters; ``share`` is the part of the period that its line time takes, replies included."""

    config: BusConfig
    codec: Codec
    port: str
    timing: Timing
    meters: tuple[PreparedMeter, ...]
    share: float
    freeze: FreezePlan | None = None


@dataclass(frozen=True, slots=True)
class PreparedPush:
    """A port at which instruments send by themselves."""

    config: BusConfig
    port: str
    meters: tuple[PreparedMeter, ...]
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # of loggers that encrypt, by MN
    access: Access | None = None  # of an OPC UA server


@dataclass(frozen=True, slots=True)
class Prepared:
    """A site that holds together. ``warnings`` do not stop it."""

    file: SiteFile
    buses: tuple[PreparedBus, ...]
    receivers: tuple[Verifier, ...]
    warnings: tuple[Problem, ...]
    pushes: tuple[PreparedPush, ...] = ()

    @property
    def lines(self) -> tuple[PreparedBus | PreparedPush, ...]:
        """Where instruments are asked, then where they send by themselves."""
        return (*self.buses, *self.pushes)

    @property
    def meters(self) -> tuple[PreparedMeter, ...]:
        """All instruments, asked or not."""
        return tuple(meter for line in self.lines for meter in line.meters)
