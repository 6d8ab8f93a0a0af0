"""Channels, scans and a site in memory for tests of the gateway: twenty-register meters, by class or calibrated."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.state import CalibrationState, compile_state
from drivers.codec import Exchange, Indication, Instant, Missing, Scan
from gateway.clock import SetClock
from gateway.lanes import Channel
from gateway.pipeline import Pipeline

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


def calibrated(instrument: str) -> CalibrationState:
    """A state from certificates for every quantity that the meter shows, behind a calibrated CT of 20.

    Energy and power factor at four loads and three power factors, current at three loads; voltage and frequency
    at three points of their span.
    """
    loads, spans = (
        ("0.05", "0.5", "5", "6"),
        {"voltage": ("184", "230", "276"), "frequency": ("45", "50", "55")},
    )
    points = [
        CalibrationPoint(quantity, Decimal(load), "A", Decimal(error) * of, 2 * of, Decimal(2), unit, factor)
        for quantity, unit, of in (
            ("energy.active", "%", Decimal("0.03")),
            ("energy.reactive", "%", Decimal("0.03")),
            ("power_factor", "1", Decimal("0.0003")),
        )
        for load, error in zip(loads, ("4", "2", "-1", "-1.5"), strict=True)
        for factor in (Decimal(1), Decimal("0.5"), Decimal("-0.8"))
        if quantity != "energy.reactive" or factor < 1
    ]
    points += [
        CalibrationPoint("current", Decimal(load), "A", Decimal("0.03"), Decimal("0.05"), Decimal(2))
        for load in loads[1:]
    ]
    points += [
        CalibrationPoint(quantity, Decimal(at), unit, Decimal("0.02"), Decimal("0.04"), Decimal(2))
        for quantity, unit in (("voltage", "V"), ("frequency", "Hz"))
        for at in spans[quantity]
    ]
    of_ct = [
        CalibrationPoint(quantity, Decimal(load), "A", Decimal(error), Decimal("0.04"), Decimal(2), unit)
        for quantity, unit, error in (("ratio", "%", "-0.08"), ("phase", "min", "4"))
        for load in ("0.05", "1", "6")
    ]
    meter = Instrument(
        id=instrument,
        accuracy_class="0.5S",
        rated_current=Decimal(5),
        maximum_current=Decimal(6),
        rated_voltage=Decimal(230),
    )
    transformer = Instrument(
        id=f"{instrument}-CT",
        kind=InstrumentKind.CT,
        accuracy_class="0.2S",
        ratio=Decimal(20),
        rated_current=Decimal(5),
    )
    standard = (ReferenceUse("STD-1", "S-2026", share=Decimal("0.015")),)
    certificates = [
        Certificate(
            f"CAL-{owner}",
            CertificateKind.CALIBRATION,
            owner,
            "Lab",
            date(2026, 6, 1),
            points=tuple(given),
            references=standard,
        )
        for owner, given in ((meter.id, points), (transformer.id, of_ct))
    ]
    resolution = {name: Decimal(1).scaleb(-len(text.partition(".")[2])) for name, text in VALUES.items()}
    return compile_state(meter, certificates, [transformer], at=date(2026, 11, 24), resolution=resolution)


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
