"""What an instrument's certificates say for one epoch, as an immutable value named by its hash.

A :class:`CalibrationState` holds everything that turns an indication into a measurement result: the CT/PT
ratio, a correction table per quantity family with its sources of uncertainty, resolutions, validity. Its
canonical JSON is written to the log once; its ``digest`` is the SHA-256 of exactly those bytes, and every
reading names the state that corrected it. An auditor loads the same bytes and gets the same numbers, to the
last bit.

Make one with :func:`compile_state`; use it with :meth:`CalibrationState.correct` (a few microseconds, plain
floats), :meth:`CalibrationState.correct_array`, or :meth:`CalibrationState.contributions` (by source, for
sums and budgets). The three agree exactly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from calibration.accuracy import AccuracyClasses
from calibration.certificate import Certificate, Instrument
from calibration.compilation import Policy, compiled
from calibration.correction import Correction, Result
from calibration.curve import REGISTERS, Bound, Flag, Table, family_of
from calibration.limits import ANYTHING
from calibration.notation import (
    decimal_of,
    decimal_text,
    format_u,
    format_value,
    plain_tables,
    tables_of,
    text_of,
)
from calibration.uncertainty import Uncertain, UncertaintySource

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "Bound",
    "CalibrationState",
    "Flag",
    "Policy",
    "Result",
    "compile_state",
    "format_u",
    "format_value",
]

FORMAT = "suyuan/calibration-state/1"


class StateError(ValueError):
    """Bytes that are not a calibration state."""


@dataclass(frozen=True, slots=True)
class CertificateUse:
    """A certificate that went into a state."""

    id: str
    digest: str
    instrument: str
    performed: date


@dataclass(frozen=True, slots=True)
class CalibrationState:
    """The compiled calibration of one instrument for one epoch. Immutable, hashed, serialisable.

    Attributes:
        instrument: id of the meter.
        valid_from, valid_until: first and last day for which it was compiled; compile again after that.
        certificates: those in use, of the meter and of its transformers.
        ct_ratio, pt_ratio: primary over secondary, exact; 1 without a transformer.
        tables: correction table by quantity family (``energy.active`` serves ``power.active.*`` too).
        resolution: resolution by measurand, in the indication's unit and on its side.
        primary: measurands whose indication is on the primary side already: for them the ratio is not applied
            again.
        flags: of the whole state, on each of its results.
    """

    instrument: str
    valid_from: date
    valid_until: date
    certificates: tuple[CertificateUse, ...] = ()
    ct_ratio: Decimal = Decimal(1)
    pt_ratio: Decimal = Decimal(1)
    tables: Mapping[str, Table] = field(default_factory=dict)
    resolution: Mapping[str, Decimal] = field(default_factory=dict)
    primary: frozenset[str] = frozenset()
    flags: tuple[Flag, ...] = ()
    digest: str = field(init=False, compare=False, default="")
    _body: bytes = field(init=False, compare=False, repr=False, default=b"")
    _corrections: dict[str, Correction | None] = field(
        init=False, compare=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        body = json.dumps(_plain(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8"
        )
        object.__setattr__(self, "_body", body)
        object.__setattr__(self, "digest", hashlib.sha256(body).hexdigest())

    __hash__ = None  # type: ignore[assignment]

    # -------------------------------------------------------------------------------------------------- bytes

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, no floats (decimals as text). Same state, same bytes."""
        return self._body

    @classmethod
    def from_json(cls, data: bytes) -> CalibrationState:
        """The state with these bytes.

        Raises:
            StateError: not a state, or not written canonically (its digest would name other bytes).
        """
        try:
            state = _state(json.loads(data))
        except (
            KeyError,
            TypeError,
            ValueError,
            ArithmeticError,
            IndexError,
            AttributeError,
            RecursionError,
        ) as error:
            reason = f"{type(error).__name__}: {error}"
            raise StateError(f"these bytes are not a calibration state ({reason})") from None
        if state.to_json() != data:
            raise StateError(
                "this calibration state is not written canonically: its digest would name other bytes"
            )
        return state

    # -------------------------------------------------------------------------------------------- corrections

    def correct(
        self,
        measurand: str,
        value: float | Decimal,
        *,
        load_a: float | None = None,
        power_factor: float | None = None,
    ) -> Result | None:
        """Measurement result for one indication.

        ``load_a`` is the load current in A on the secondary side; ``power_factor`` is cos φ, negative when
        capacitive. Instruments with a span of their own (voltage, frequency, temperature, …) need neither.
        What is needed and None is unknown: the whole curve becomes uncertainty, and the result is flagged.

        None means that there is no result, because neither a certificate nor a class states an uncertainty
        for this measurand (:attr:`Flag.UNCALIBRATED`): a value with no stated uncertainty is refused; record
        the indication alone.

        A cumulative register (``energy.*``, ``volume.*``, ``mass.*``) is not a measurement result: nobody knows
        with which load each of its past kilowatt-hours ran through the meter, what the CT was then, nor what
        it stood at when new. What is measured is the energy of an interval, the difference of two standings, and
        :mod:`calibration.energy` corrects that with the loads of the interval. So for ``energy.*`` the y is
        the standing on the primary side (ratio once, no correction), u is its resolution alone, and ``kind``
        is ``register``. It is comparable with the same register and nothing else.

        Raises:
            ValueError: a value, load or power factor that is not a finite number.
        """
        try:
            correction = self._corrections[measurand]
        except KeyError:
            correction = self.correction(measurand)
        if correction is None:
            return None
        if measurand.startswith(REGISTERS):
            y = float(value) * correction.ratio
            if y - y != 0.0:
                raise ValueError(f"{measurand}: the register's standing {value!r} is not a number")
            return Result(y, correction.resolution_u, (), "register")
        return correction(float(value), load_a, power_factor)

    def contributions(
        self,
        measurand: str,
        value: float | Decimal,
        *,
        load_a: float | None = None,
        power_factor: float | None = None,
        bound: Bound = Bound.BOTH,
    ) -> Uncertain | None:
        """The same result with its contributions by source: equal y and u, bit for bit. None as in
        :meth:`correct`.

        Where a certificate does not say how much of its U comes from the reference standard, ``Bound.SHARED``
        and ``Bound.OWN`` give the two extremes; the default is the one with the larger u. To sum over
        instruments, sum both bounds and report the larger (:func:`calibration.energy.larger`).
        """
        correction = self.correction(measurand)
        if correction is None:
            return None
        if measurand.startswith(REGISTERS):
            return Uncertain(float(value) * correction.ratio, {}, correction.resolution_variance)
        return correction.contributions(float(value), load_a, power_factor, bound)

    def correct_array(
        self,
        measurand: str,
        values: npt.ArrayLike,
        *,
        load_a: npt.ArrayLike | None = None,
        power_factor: npt.ArrayLike | None = None,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]] | None:
        """Vectorised :meth:`correct`: arrays y, u and "has flags beyond those of the state". NaN load:
        unknown.
        """
        correction = self.correction(measurand)
        if correction is None:
            return None
        import numpy as np  # loaded by who corrects arrays alone: an agent does without

        from calibration.correction_arrays import corrected

        x = np.asarray(values, dtype=np.float64)
        if not np.isfinite(x).all():
            raise ValueError(f"{measurand}: the values hold a number that is not finite")
        if measurand.startswith(REGISTERS):
            return (
                x * correction.ratio,
                np.full(x.shape, correction.resolution_u),
                np.zeros(x.shape, dtype=np.bool_),
            )
        loads, factors = (
            None if each is None else np.broadcast_to(np.asarray(each, dtype=np.float64), x.shape)
            for each in (load_a, power_factor)
        )
        return corrected(correction, x, loads, factors)

    def correction(self, measurand: str) -> Correction | None:
        """The compiled correction of a measurand, also for energy increments; None if nothing states an
        uncertainty.
        """
        if measurand not in self._corrections:
            family = self.family(measurand)
            self._corrections[measurand] = None if family is None else self._compiled(measurand, family)
        return self._corrections[measurand]

    def _compiled(self, measurand: str, family: str) -> Correction:
        table, primary = self.tables[family], measurand in self.primary
        resolution = self.resolution.get(measurand, Decimal(0))
        for other in tuple(self._corrections.values()):
            if other is not None and other.table is table and other.family == family:
                return other.sibling(primary=primary, resolution=resolution)
        return Correction(
            self.instrument, family, table, primary=primary, resolution=resolution, flags=self.flags
        )

    def family(self, measurand: str) -> str | None:
        """Name of the table that serves a measurand.

        A phase's own table (``energy.active@l1``) comes before the family's; then the longest name that the
        measurand begins with; then the table for anything.
        """
        base, _, phase = measurand.rpartition(".")
        names = [family_of(measurand)]
        whole = measurand.split(".")
        names += [".".join(whole[:n]) for n in range(len(whole), 0, -1)]
        if base and phase in ("l1", "l2", "l3"):
            names = [f"{name}@{phase}" for name in names] + names
        return next((name for name in (*names, ANYTHING) if name in self.tables), None)

    def secondary_load(self, measurand: str, indication: float | Decimal) -> float:
        """Load current in A on the secondary side from an indication of ``current.*``."""
        value = float(indication)
        return value / float(self.ct_ratio) if measurand in self.primary else value

    @property
    def sources(self) -> dict[str, UncertaintySource]:
        """Every source of uncertainty that results of this state may name, by id (what expands u to U needs
        their dof).
        """
        found = {
            part.source.id: part.source
            for table in self.tables.values()
            for c in table.curves
            for part in c.parts
        }
        for family in self.tables:
            for kind, dist in (("extrapolation", "normal"), ("operating_point", "uniform")):
                source = UncertaintySource(kind, self.instrument, quantity=family, dist=dist)
                found[source.id] = source
        return found

    def covers(self, day: date) -> bool:
        """Whether the state was compiled for this day."""
        return self.valid_from <= day <= self.valid_until


def compile_state(
    instrument: Instrument,
    certificates: Iterable[Certificate],
    transformers: Iterable[Instrument] = (),
    standards: Iterable[Certificate] = (),
    *,
    at: date,
    resolution: Mapping[str, Decimal] | None = None,
    primary: Collection[str] = (),
    classes: AccuracyClasses | None = None,
    policy: Policy | None = None,
) -> CalibrationState:
    """Compile what the register says about one instrument at a date.

    Args:
        instrument: the meter.
        certificates: any number, in any order, also of other instruments (left aside); those of the meter and
            of its
            transformers performed on or before ``at`` count, the latest per quantity.
        transformers: its CT and PT. Three of a kind are those of l1, l2, l3 in this order; one serves all
            phases.
        standards: certificates of reference standards, to split what a certificate does not split itself.
        at: a day of the epoch wanted. Epochs are calendar quarters, cut where a certificate begins or
            expires, so two
            days of one epoch give the same bytes.
        resolution: resolution by measurand in the indication's unit (from the meter's profile).
        primary: measurands whose indication is on the primary side already (from the meter's profile).
        classes: accuracy classes; the package's table if None.
        policy: drift, correlation and widening; see :class:`Policy`.

    Raises:
        TraceabilityError: a certificate that cannot be used as it stands: U without k, a share larger than
            the whole,
            points given twice, mixed units, transformers of different ratio.
    """
    parts = compiled(
        instrument,
        tuple(certificates),
        tuple(transformers),
        tuple(standards),
        at,
        AccuracyClasses.default() if classes is None else classes,
        Policy() if policy is None else policy,
    )
    return CalibrationState(
        instrument=instrument.id,
        valid_from=parts.valid_from,
        valid_until=parts.valid_until,
        certificates=tuple(
            CertificateUse(c.id, c.digest, c.instrument, c.performed) for c in parts.certificates
        ),
        ct_ratio=parts.ct_ratio,
        pt_ratio=parts.pt_ratio,
        tables=parts.tables,
        resolution=dict(resolution or {}),
        primary=frozenset(primary),
        flags=parts.flags,
    )


def _plain(state: CalibrationState) -> dict[str, Any]:
    curves, tables, sources = plain_tables(state.tables)
    return {
        "format": FORMAT,
        "instrument": state.instrument,
        "valid_from": state.valid_from.isoformat(),
        "valid_until": state.valid_until.isoformat(),
        "certificates": [
            {"id": c.id, "digest": c.digest, "instrument": c.instrument, "performed": c.performed.isoformat()}
            for c in state.certificates
        ],
        "ratio": {"ct": decimal_text(state.ct_ratio), "pt": decimal_text(state.pt_ratio)},
        "curves": curves,
        "tables": tables,
        "sources": sources,
        "resolution": {measurand: decimal_text(d) for measurand, d in state.resolution.items()},
        "primary": sorted(state.primary),
        "flags": [str(flag) for flag in state.flags],
    }


def _state(body: Any) -> CalibrationState:
    if body["format"] != FORMAT:
        raise ValueError(f"format {body['format']!r}, this version reads {FORMAT!r}")
    return CalibrationState(
        instrument=text_of(body["instrument"]),
        valid_from=date.fromisoformat(body["valid_from"]),
        valid_until=date.fromisoformat(body["valid_until"]),
        certificates=tuple(
            CertificateUse(
                text_of(c["id"]),
                text_of(c["digest"]),
                text_of(c["instrument"]),
                date.fromisoformat(c["performed"]),
            )
            for c in body["certificates"]
        ),
        ct_ratio=decimal_of(body["ratio"]["ct"]),
        pt_ratio=decimal_of(body["ratio"]["pt"]),
        tables=tables_of(body["curves"], body["tables"], body["sources"]),
        resolution={measurand: decimal_of(text) for measurand, text in body["resolution"].items()},
        primary=frozenset(text_of(name) for name in body["primary"]),
        flags=tuple(Flag(flag) for flag in body["flags"]),
    )
