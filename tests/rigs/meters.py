"""Channels, scans and a site in memory for tests of the gateway: twenty-register meters with a class certificate."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from calibration.certificate import Instrument, InstrumentKind
from calibration.state import CalibrationState, compile_state
from drivers.codec import Exchange, Indication, Instant, Missing, Scan
from gateway.clock import SetClock
from gateway.pipeline import Channel, Pipeline

S = 1_000_000
ORIGIN = "platform.example/gw/rig"

UNITS = {
    "energy.active.import": "kWh",
    "energy.active.export": "kWh",
    "energy.reactive.import": "kvar.h",
    **{f"power.active.{p}": "kW" for p in ("total", "l1", "l2", "l3")},
    "power.reactive.total": "kvar",
    "power.apparent.total": "kV.A",
    **{f"voltage.{p}": "V" for p in ("l1", "l2", "l3")},
    **{f"current.{p}": "A" for p in ("l1", "l2", "l3")},
    **{f"power_factor.{p}": "1" for p in ("total", "l1", "l2", "l3")},
    "frequency": "Hz",
}

VALUES = {
    "energy.active.import": "12345.67",
    "energy.active.export": "0.00",
    "energy.reactive.import": "2345.67",
    "power.active.total": "1.9801",
    "power.active.l1": "0.6600",
    "power.active.l2": "0.6601",
    "power.active.l3": "0.6600",
    "power.reactive.total": "0.6512",
    "power.apparent.total": "2.0844",
    "voltage.l1": "230.1",
    "voltage.l2": "229.8",
    "voltage.l3": "230.4",
    "current.l1": "3.012",
    "current.l2": "3.022",
    "current.l3": "3.007",
    "power_factor.total": "0.950",
    "power_factor.l1": "0.950",
    "power_factor.l2": "0.950",
    "power_factor.l3": "0.950",
    "frequency": "50.01",
}


def state(instrument: str, *, accuracy_class: str = "0.5S", mpe: str | None = None) -> CalibrationState:
    """A state from the accuracy class alone."""
    meter = Instrument(
        id=instrument,
        kind=InstrumentKind.METER,
        accuracy_class=accuracy_class,
        mpe=None if mpe is None else Decimal(mpe),
        rated_current=Decimal(5),
        maximum_current=Decimal(6),
        rated_voltage=Decimal(230),
    )
    return compile_state(meter, (), at=date(2026, 11, 24), resolution={"voltage.l1": Decimal("0.1")})


def channel(instrument: str, period_us: int = S) -> Channel:
    return Channel(instrument, period_us, state(instrument), UNITS)


def scan(at: Instant, values: dict[str, str] | None = None) -> Scan:
    """A whole scan: one exchange with an answer, twenty indications."""
    values = VALUES if values is None else values
    indications = tuple(
        Indication(item=f"3:{n}", measurand=name, value=Decimal(text), unit=UNITS[name])
        for n, (name, text) in enumerate(values.items())
    )
    later = Instant(at.utc_us + 20_000, at.boot_us + 20_000)
    exchange = Exchange(bytes(8), bytes(range(85)), at, later)
    return Scan(indications, (exchange,), at, later)


def silent(at: Instant, reason: Missing = Missing.TIMEOUT) -> Scan:
    """A scan that nobody answered."""
    indications = tuple(
        Indication(item=f"3:{n}", measurand=name, value=None, unit=UNITS[name], missing=reason)
        for n, name in enumerate(VALUES)
    )
    later = Instant(at.utc_us + S, at.boot_us + S)
    return Scan(indications, (Exchange(bytes(8), b"", at, later, reason),), at, later)


def pipeline(clock: SetClock, *channels: Channel, configuration: bytes = b"{}") -> Pipeline:
    return Pipeline(
        channels,
        clock,
        origin=ORIGIN,
        keys=("platform.example/gw/rig+00000000+AQ==",),
        software="suyuan/test",
        configuration=configuration,
    )
