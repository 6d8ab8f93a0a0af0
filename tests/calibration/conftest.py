"""A register on disk with a clock that the test moves, and plain instruments and certificates to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.register import Register

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **span: float) -> datetime:
        self.at += timedelta(**span)
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "register.db"


@pytest.fixture
def register(path: Path, clock: Clock) -> Iterator[Register]:
    with Register.open(path, now=clock) as opened:
        yield opened


@pytest.fixture
def a_point() -> Callable[..., CalibrationPoint]:
    """A point of a meter's certificate; keywords replace what is usual."""

    def make(load: str = "5", **changes: object) -> CalibrationPoint:
        usual = CalibrationPoint(
            "energy.active", Decimal(load), "A", Decimal("0.12"), Decimal("0.06"), Decimal(2)
        )
        return replace(usual, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def a_certificate(a_point: Callable[..., CalibrationPoint]) -> Callable[..., Certificate]:
    """A calibration certificate with three points; keywords replace what is usual."""

    def make(certificate_id: str = "CAL-1", instrument: str = "M1", **changes: object) -> Certificate:
        usual = Certificate(
            certificate_id,
            CertificateKind.CALIBRATION,
            instrument,
            "Provincial Institute of Metrology",
            date(2026, 3, 2),
            points=tuple(a_point(load) for load in ("0.5", "5", "60")),
        )
        return replace(usual, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def hierarchy(register: Register, a_certificate: Callable[..., Certificate]) -> Register:
    """A meter M1, calibrated by the working standard WS, calibrated by the reference RS, by the national institute."""
    standard = InstrumentKind.REFERENCE_STANDARD
    register.add(
        instruments=[Instrument("RS", standard), Instrument("WS", standard), Instrument("M1", serial="123")],
        certificates=[
            a_certificate(
                "NIM-1", "RS", performed=date(2024, 5, 1), valid_until=date(2026, 5, 1), national=True
            ),
            a_certificate(
                "LAB-7",
                "WS",
                performed=date(2025, 2, 1),
                valid_until=date(2026, 12, 31),
                references=(ReferenceUse("RS", "NIM-1", share=Decimal("0.01")),),
            ),
            a_certificate(
                "CAL-1",
                "M1",
                performed=date(2026, 3, 2),
                valid_until=date(2027, 3, 1),
                references=(ReferenceUse("WS", "LAB-7", share=Decimal("0.02")),),
            ),
        ],
        actor="Li Na",
    )
    return register
