"""Certificate files: instruments and certificates as a technician writes them, beside the site file.

One file may hold several ``[[instrument]]`` (transformers, reference standards) and ``[[certificate]]`` tables.
A calibration certificate without k is refused: U alone says nothing (JCGM 100, 7.2.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    GivenAs,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from gateway.edge import Exact, Id, Listed, Model, validated
from gateway.toml_source import ConfigError, Problem, TomlSource

Kind = Literal[
    "meter",
    "ct",
    "pt",
    "analyser",
    "flow",
    "temperature",
    "pressure",
    "analogue_input",
    "reference_standard",
    "other",
]


class PointTable(Model):
    """One point; ``error`` or ``correction``, as the certificate states it."""

    quantity: str | None = None
    unit: str | None = None
    load_unit: str | None = None
    load: Exact
    power_factor: Exact = Decimal(1)
    error: Exact | None = None
    correction: Exact | None = None
    U: Exact
    k: Exact | None = None
    reference: Exact | None = None
    indication: Exact | None = None
    dof: Exact | None = None


class ReferenceTable(Model):
    """The reference standard that was used."""

    standard: Id
    certificate: str = ""
    digest: str = ""
    share: Exact | None = None


class CertificateTable(Model):
    """A certificate of calibration (校准) or verification (检定)."""

    id: str = Field(min_length=1)
    kind: Literal["calibration", "verification", "test"]
    instrument: Id
    laboratory: str = Field(min_length=1)
    performed: date
    issued: date | None = None
    valid_until: date | None = None
    accreditation: str = ""
    quantity: str = "energy.active"
    unit: str = "%"
    load_unit: str = "A"
    k: Exact | None = None
    passed: bool | None = None
    accuracy_class: str = ""
    mpe: Exact | None = None
    mpe_unit: str = "%"
    national: bool = False
    conditions: dict[str, str] = Field(default_factory=dict)
    digest: str = ""
    adjusted: bool | None = None
    resets_cycle: bool = True
    decision_rule: str = ""
    note: str = ""
    points: Annotated[tuple[PointTable, ...], Listed] = Field(default=(), alias="point")
    as_found: Annotated[tuple[PointTable, ...], Listed] = ()
    references: Annotated[tuple[ReferenceTable, ...], Listed] = Field(default=(), alias="reference")


class InstrumentTable(Model):
    """An instrument that stands on no bus: a transformer, a reference standard."""

    id: Id
    kind: Kind
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    accuracy_class: str = ""
    mpe: Exact | None = None
    mpe_unit: str = "%"
    range_low: Exact | None = None
    range_high: Exact | None = None
    range_unit: str = ""
    ratio: Exact = Decimal(1)
    rated_current: Exact | None = None
    rated_voltage: Exact | None = None
    place: str = ""
    owner: str = ""
    parent: str = ""


class CertificateFileModel(Model):
    """The whole file."""

    instruments: Annotated[tuple[InstrumentTable, ...], Listed] = Field(default=(), alias="instrument")
    certificates: Annotated[tuple[CertificateTable, ...], Listed] = Field(default=(), alias="certificate")


class CertificateFile:
    """One read file: its instruments and certificates as plain values of ``calibration``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = TomlSource.read(path)
        # where no paper's digest is stated, the certificate is this file: the log names it by the same digest
        self.digest = sha256(path.read_bytes()).hexdigest()
        model = validated(CertificateFileModel, self.source)
        problems: list[Problem] = []
        self.instruments = tuple(self._instrument(table) for table in model.instruments)
        self.certificates = tuple(
            certificate
            for i, table in enumerate(model.certificates)
            if (certificate := self._certificate(table, i, problems)) is not None
        )
        if problems:
            raise ConfigError(problems)

    @staticmethod
    def _instrument(table: InstrumentTable) -> Instrument:
        return Instrument(**{**table.model_dump(), "kind": InstrumentKind(table.kind)})

    def _certificate(
        self, table: CertificateTable, index: int, problems: list[Problem]
    ) -> Certificate | None:
        place = ("certificate", index)
        before = len(problems)
        if table.kind == "calibration" and not table.points:
            hint = 'add [[certificate.point]] tables with load, error, U; or kind = "verification"'
            problems.append(
                self.source.problem(
                    (*place, "kind"), f"calibration certificate '{table.id}' has no points", hint, "C120"
                )
            )
        if table.kind == "verification" and not (table.accuracy_class or table.mpe is not None):
            hint = 'add accuracy_class = "0.5S" or mpe = "0.5"'
            problems.append(
                self.source.problem(
                    (*place, "kind"),
                    f"verification certificate '{table.id}' states neither class nor MPE",
                    hint,
                    "C121",
                )
            )
        if table.issued and table.issued < table.performed:
            problems.append(
                self.source.problem(
                    (*place, "issued"), "issued before it was performed", "check both dates", "C122"
                )
            )
        if table.valid_until and table.valid_until < table.performed:
            problems.append(
                self.source.problem(
                    (*place, "valid_until"), "ends before it was performed", "check both dates", "C122"
                )
            )
        points = self._points(table, table.points, (*place, "point"), problems)
        as_found = self._points(table, table.as_found, (*place, "as_found"), problems)
        if len(problems) > before:
            return None
        fields = table.model_dump(
            exclude={"points", "as_found", "references", "k", "quantity", "unit", "load_unit", "kind"}
        )
        references = tuple(ReferenceUse(**reference.model_dump()) for reference in table.references)
        corrections = bool(table.points) and all(row.correction is not None for row in table.points)
        fields["digest"] = table.digest or self.digest
        return Certificate(
            **fields,
            given_as=GivenAs.CORRECTION if corrections else GivenAs.ERROR,
            kind=CertificateKind(table.kind),
            points=points,
            as_found=as_found,
            references=references,
        )

    def _points(
        self,
        table: CertificateTable,
        rows: Iterable[PointTable],
        place: tuple[str | int, ...],
        problems: list[Problem],
    ) -> tuple[CalibrationPoint, ...]:
        points: list[CalibrationPoint] = []
        seen: set[tuple[str, Decimal, Decimal]] = set()
        for i, row in enumerate(rows):
            here = (*place, i)

            def wrong(message: str, hint: str, code: str, at: tuple[Any, ...] = here) -> None:
                problems.append(self.source.problem(at, message, hint, code))

            k = row.k if row.k is not None else table.k
            if k is None:
                wrong(
                    f"certificate '{table.id}' gives U without k",
                    'copy k from the certificate: k = "2" (it is never assumed)',
                    "C123",
                )
            elif k <= 0:
                wrong(
                    "k must be greater than 0",
                    "copy k from the certificate",
                    "C123",
                    (*here, "k") if row.k is not None else (*place[:2], "k"),
                )
            if row.U <= 0:
                wrong(
                    "U must be greater than 0",
                    "a calibration without uncertainty is none",
                    "C124",
                    (*here, "U"),
                )
            if (row.error is None) == (row.correction is None):
                wrong(
                    "a point states either 'error' or 'correction'",
                    "error = indication - reference; correction = -error",
                    "C125",
                )
            quantity = row.quantity or table.quantity
            key = (quantity, row.load, row.power_factor)
            if key in seen:
                wrong(
                    f"load {row.load} at power factor {row.power_factor} is there twice",
                    "remove one of the two points",
                    "C126",
                )
            seen.add(key)
            if problems and problems[-1].key.startswith(".".join(map(str, here))):
                continue
            if k is None or k <= 0:
                continue
            error = row.error if row.error is not None else -(row.correction or Decimal(0))
            points.append(
                CalibrationPoint(
                    quantity=quantity,
                    load=row.load,
                    load_unit=row.load_unit or table.load_unit,
                    error=error,
                    U=row.U,
                    k=k,
                    unit=row.unit or table.unit,
                    power_factor=row.power_factor,
                    reference=row.reference,
                    indication=row.indication,
                    dof=row.dof,
                )
            )
        return tuple(points)
