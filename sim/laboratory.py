"""A simulated laboratory: it determines instruments' errors as a real one would, and so not exactly.

A reference standard keeps one unknown residual error, drawn once: whatever is calibrated against it inherits
that error, and certificates name the standard so that whoever combines results can know. Each determination
adds its own random part. The certificates are plain values of ``calibration.certificate``; none of its logic
is used here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal

import numpy as np

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from sim.instrument import ARC_MINUTE, Meter, Transformer
from sim.world import DAY_US, EPOCH_US, Phasors

LOADS = ("0.05", "0.1", "0.2", "0.5", "1", "1.2")  # share of rated current; the last is Imax
POWER_FACTORS = ("1", "0.5", "-0.8")  # signed: inductive positive, capacitive negative
_RESOLUTION = Decimal("0.0001")
_DAY_ZERO = date(1970, 1, 1)


@dataclass(frozen=True)
class ReferenceStandard:
    """A reference standard with its own certificate.

    ``u`` is the standard uncertainty, in percent, with which its value is known after its own certificate's
    correction; ``u_phase`` likewise in minutes of arc. What it is truly off by is drawn from its seed.
    """

    id: str
    institute: str
    certificate: str
    performed: date
    u: Decimal
    u_phase: Decimal
    seed: int
    kind: str = "meter"  # what it is a standard for: "meter", "ct" or "pt"
    residual: float = field(init=False)  # percent: truth minus what its users take it for
    residual_phase: float = field(init=False)  # minutes

    def __post_init__(self) -> None:
        rng = random.Random(f"standard/{self.seed}/{self.id}")
        object.__setattr__(self, "residual", rng.gauss(0, float(self.u)))
        object.__setattr__(self, "residual_phase", rng.gauss(0, float(self.u_phase)))

    def instrument(self) -> Instrument:
        """The standard as an entry of the register."""
        return Instrument(
            self.id,
            InstrumentKind.REFERENCE_STANDARD,
            manufacturer="Simulated",
            model=f"standard {self.kind.upper() if self.kind != 'meter' else 'three-phase meter'}",
            serial=self.id,
        )

    def own_certificate(self) -> Certificate:
        """The certificate of the standard by the (simulated) national institute: the end of the chain."""
        if self.kind == "meter":
            wanted = [("energy.active", "5", "A", pf, self.u, "%") for pf in POWER_FACTORS]
            wanted += [("voltage", "220", "V", "1", self.u, "%"), ("current", "5", "A", "1", self.u, "%")]
        else:
            unit = "A" if self.kind == "ct" else "V"
            wanted = [("ratio", "1", unit, "1", self.u, "%"), ("phase", "1", unit, "1", self.u_phase, "min")]
        points = tuple(
            CalibrationPoint(
                quantity=quantity,
                load=Decimal(load),
                load_unit=load_unit,
                error=Decimal(0),
                U=2 * u,
                k=Decimal(2),
                unit=unit,
                power_factor=Decimal(pf),
            )
            for quantity, load, load_unit, pf, u, unit in wanted
        )
        return Certificate(
            id=self.certificate,
            kind=CertificateKind.CALIBRATION,
            instrument=self.id,
            laboratory=self.institute,
            performed=self.performed,
            issued=self.performed,
            points=points,
            national=True,
        )


@dataclass(frozen=True, slots=True)
class Laboratory:
    """A calibration laboratory with one reference standard per kind of instrument, and its own repeatability.

    ``u_own`` and ``u_own_phase`` are the standard uncertainties of its random part, in percent and minutes.
    """

    name: str
    accreditation: str
    standard: ReferenceStandard
    u_own: Decimal = Decimal("0.005")
    u_own_phase: Decimal = Decimal("0.1")
    performed: date = date(2026, 3, 2)

    def certificate(self, number: str, instrument: str, points: Sequence[CalibrationPoint]) -> Certificate:
        """A calibration certificate that names the standard and what it contributes to each point."""
        return Certificate(
            id=number,
            kind=CertificateKind.CALIBRATION,
            instrument=instrument,
            laboratory=self.name,
            performed=self.performed,
            issued=self.performed,
            accreditation=self.accreditation,
            points=tuple(points),
            references=(ReferenceUse(self.standard.id, self.standard.certificate, share=self.standard.u),),
            conditions={"temperature": "23 Cel ± 2 Cel", "relative humidity": "45 % to 60 %"},
        )

    def determined(self, true_error: float, rng: random.Random) -> tuple[Decimal, Decimal]:
        """Error and U (k = 2) in percent, as determined where the true error (percent) is given."""
        return self._determined(true_error - self.standard.residual, self.standard.u, self.u_own, rng)

    def determined_phase(self, true_minutes: float, rng: random.Random) -> tuple[Decimal, Decimal]:
        """Phase displacement and U (k = 2) in minutes of arc."""
        true_minutes -= self.standard.residual_phase
        return self._determined(true_minutes, self.standard.u_phase, self.u_own_phase, rng)

    @staticmethod
    def _determined(off: float, shared: Decimal, own: Decimal, rng: random.Random) -> tuple[Decimal, Decimal]:
        error = Decimal(repr(off + rng.gauss(0, float(own)))).quantize(_RESOLUTION, ROUND_HALF_EVEN)
        u = Decimal(repr(math.hypot(float(shared), float(own), float(_RESOLUTION) / math.sqrt(12))))
        return error, _two_digits_up(2 * u)


def _two_digits_up(value: Decimal) -> Decimal:
    return value.quantize(Decimal(1).scaleb(value.adjusted() - 1), ROUND_UP)


def true_energy_error(meter: Meter, load: float, power_factor: float, on: date | None = None) -> float:
    """The true error of active energy at a balanced load, in percent; power factor signed as on certificates.

    The meter alone, without its transformers: what stands on the bench is the meter, as it has drifted by
    ``on`` (None: as it was when new).
    """
    angle = math.copysign(math.acos(abs(power_factor)), power_factor)
    phases = meter.feeder.phases
    apparent = meter.rated_voltage * meter.rated_current * load * np.exp(1j * angle)
    loaded = np.array([[1.0 if share > 0 else 0.0] for share in meter.feeder.shares])
    bench = Phasors(np.full((3, 1), meter.rated_voltage), apparent * loaded, np.array([50.0]))
    days = (on - _DAY_ZERO).days - EPOCH_US // DAY_US if on else 0
    indicated = float(meter.measured_power(bench).sum().real) * (1 + meter.electronics.drift_per_day * days)
    return (indicated / (phases * float(apparent.real)) - 1) * 100


def calibrate(meter: Meter, laboratory: Laboratory, number: str) -> Certificate:
    """Calibrate a meter: active energy over load and power factor, voltage and current at rated values."""
    rng = random.Random(f"calibration/{laboratory.name}/{number}/{meter.id}")
    points = []
    for power_factor in POWER_FACTORS:
        for load in LOADS:
            amperes = _amount(Decimal(load) * Decimal(repr(meter.rated_current)))
            true_error = true_energy_error(meter, float(load), float(power_factor), laboratory.performed)
            error, expanded = laboratory.determined(true_error, rng)
            points.append(_point("energy.active", amperes, "A", error, expanded, pf=power_factor))
    # The certificate gives one error for all phases: the mean, as the instrument is read on the bench.
    carried = meter.feeder.carried
    for quantity, rated, errors in (
        ("voltage", meter.rated_voltage, meter.electronics.voltage_error),
        ("current", meter.rated_current, meter.electronics.current_error),
    ):
        mean = sum(errors[n] for n in carried) / len(carried) * 100
        spread = Decimal(repr(max(abs(errors[n] * 100 - mean) for n in carried)))
        error, expanded = laboratory.determined(mean, rng)
        unit = "V" if quantity == "voltage" else "A"
        points.append(_point(quantity, _amount(rated), unit, error, expanded + _half_up(spread)))
    return laboratory.certificate(number, meter.id, points)


def calibrate_transformer(
    transformer: Transformer, instrument: str, laboratory: Laboratory, number: str
) -> Certificate:
    """Calibrate a CT or PT: ratio error and phase displacement over the load (of its secondary side)."""
    rng = random.Random(f"calibration/{laboratory.name}/{number}/{instrument}")
    unit, loads = ("A", LOADS) if transformer.kind == "ct" else ("V", ("0.8", "1", "1.2"))
    points = []
    for load in loads:
        factor = complex(transformer.curve.factor(np.array([float(load)]))[0])
        at = _amount(Decimal(load) * _amount(transformer.secondary))
        error, expanded = laboratory.determined((abs(factor) - 1) * 100, rng)
        points.append(_point("ratio", at, unit, error, expanded))
        minutes = math.atan2(factor.imag, factor.real) / ARC_MINUTE
        error, expanded = laboratory.determined_phase(minutes, rng)
        points.append(_point("phase", at, unit, error, expanded, of="min"))
    return laboratory.certificate(number, instrument, points)


def verification(
    instrument: str, accuracy_class: str, number: str, laboratory: str, performed: date, valid_until: date
) -> Certificate:
    """A verification certificate (检定证书): passed, class and validity; no values."""
    return Certificate(
        id=number,
        kind=CertificateKind.VERIFICATION,
        instrument=instrument,
        laboratory=laboratory,
        performed=performed,
        issued=performed,
        valid_until=valid_until,
        passed=True,
        accuracy_class=accuracy_class,
    )


def _amount(x: float | Decimal) -> Decimal:
    """As plain decimal text would be: 5, 0.25, 220; never 5.0 or 2.2E+2."""
    value = x if isinstance(x, Decimal) else Decimal(repr(x))
    return Decimal(format(value.normalize(), "f"))


def _half_up(x: Decimal) -> Decimal:
    return x.quantize(Decimal("0.001"), ROUND_UP)


def _point(
    quantity: str,
    load: Decimal,
    load_unit: str,
    error: Decimal,
    expanded: Decimal,
    *,
    pf: str = "1",
    of: str = "%",
) -> CalibrationPoint:
    return CalibrationPoint(
        quantity=quantity,
        load=load,
        load_unit=load_unit,
        error=error,
        U=expanded,
        k=Decimal(2),
        unit=of,
        power_factor=Decimal(pf),
    )
