"""From certificates to correction tables: the rules by which a calibration state is compiled.

Per quantity family the latest calibration with values counts, performed on or before the day asked for. Where
there is none, the latest verification that passed, or the instrument's class or MPE, gives ``MPE/√3`` as one
systematic source of the instrument and no correction. Where there is nothing, there is no table, and so no
result.

The state is compiled for an *epoch*: the calendar quarter of the day, cut where a certificate begins or ends.
Drift since calibration is a source of its own (``drift``, rectangular); it is reckoned for the last day of
the epoch, so that it is never understated within it and needs no clock when a reading is corrected. Past due
it goes on, at a multiple of the rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from calibration.accuracy import AccuracyClasses, MeterClass
from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    Instrument,
    InstrumentKind,
    TraceabilityError,
)
from calibration.curve import Angle, Axis, Curve, Flag, Part, Table, family_of
from calibration.epoch import Epoch, Standing, epoch_of
from calibration.limits import ANYTHING, class_table, flat_class, outside, positive_mpe, span_mpe, span_table
from calibration.split import SQRT3, rounded, split, standard_uncertainty
from calibration.transformer import Transformer, transformer_curves
from calibration.uncertainty import UncertaintySource

_PHASES = ("l1", "l2", "l3")
_MEASURED_THROUGH = {
    "energy.active": ("ct", "pt"),
    "energy.reactive": ("ct", "pt"),
    "power.apparent": ("ct", "pt"),
    "power_factor": ("ct", "pt"),
    "voltage": ("pt",),
    "current": ("ct",),
}
_ANGLES = {"energy.active": Angle.TAN, "energy.reactive": Angle.COT, "power_factor": Angle.TAN}
_BY_LOAD = frozenset({"energy.active", "energy.reactive", "power.apparent"})


@dataclass(frozen=True, slots=True)
class Policy:
    """What the certificates leave open. Every value is the metrologist's to set.

    Attributes:
        drift_fraction: limit of drift per year as a fraction of the base MPE (of the largest U where no class
            is known).
        drift_rates: limit of drift per year by quantity family, in the table's unit; comes before the
            fraction.
        transformer_drift_fraction: the same for CT and PT, of their class limit.
        overdue_factor: multiplies the drift rate from the day after the due date.
        points_correlated: a certificate's own part is common to all its points (r = 1); False: independent
            per point.
        repeatability: standard deviation of one indication by quantity family, in the table's unit.
    """

    drift_fraction: Decimal = Decimal("0.2")
    drift_rates: Mapping[str, Decimal] = field(default_factory=dict)
    transformer_drift_fraction: Decimal = Decimal("0.05")
    overdue_factor: Decimal = Decimal(2)
    points_correlated: bool = True
    repeatability: Mapping[str, Decimal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (self.drift_fraction, self.transformer_drift_fraction, self.overdue_factor)
        every = (*numbers, *self.drift_rates.values(), *self.repeatability.values())
        if any(not n.is_finite() or n < 0 for n in every):
            raise ValueError("policy: rates, fractions and repeatabilities are finite and not negative")


@dataclass(frozen=True, slots=True)
class Compiled:
    """The parts of a calibration state."""

    valid_from: date
    valid_until: date
    certificates: tuple[Certificate, ...]
    ct_ratio: Decimal
    pt_ratio: Decimal
    tables: Mapping[str, Table]
    flags: tuple[Flag, ...]


def compiled(
    instrument: Instrument,
    certificates: tuple[Certificate, ...],
    transformers: tuple[Instrument, ...],
    standards: tuple[Certificate, ...],
    at: date,
    classes: AccuracyClasses,
    policy: Policy,
) -> Compiled:
    """Apply the rules of this module; the arguments are those of :func:`calibration.state.compile_state`."""
    _check_transformers(instrument, transformers)
    subjects = (instrument, *transformers)
    standings = {subject.id: Standing.on(at, subject, certificates) for subject in subjects}
    epoch = epoch_of(at, certificates, standings)
    by_id = {c.id: c for c in (*certificates, *standards)}
    if len(by_id) != len({(c.id, c.digest) for c in (*certificates, *standards)}):
        raise TraceabilityError("two certificates have one id and different digests: one of them must go")
    work = _Compilation(instrument, standings, by_id, epoch, classes, policy)
    known = tuple(work.transformer(t) for t in transformers)
    tables = work.tables(known)
    used = {curve.certificate for table in tables.values() for curve in table.curves if curve.certificate}
    flags = (Flag.CAL_OVERDUE,) if standings[instrument.id].overdue(epoch) else ()
    return Compiled(
        valid_from=epoch.start,
        valid_until=epoch.end,
        certificates=tuple(by_id[name] for name in sorted(used)),
        ct_ratio=_ratio(transformers, InstrumentKind.CT),
        pt_ratio=_ratio(transformers, InstrumentKind.PT),
        tables=tables,
        flags=flags if tables else (*flags, Flag.UNCALIBRATED),
    )


class _Compilation:
    def __init__(
        self,
        instrument: Instrument,
        standings: Mapping[str, Standing],
        by_id: Mapping[str, Certificate],
        epoch: Epoch,
        classes: AccuracyClasses,
        policy: Policy,
    ) -> None:
        self.instrument, self.standings, self.by_id = instrument, standings, by_id
        self.epoch, self.classes, self.policy = epoch, classes, policy
        self.standing = standings[instrument.id]

    # -------------------------------------------------------------------------------------------- instruments

    def transformer(self, instrument: Instrument) -> Transformer:
        """A transformer with what its certificates and class say."""
        standing = self.standings[instrument.id]
        verification = standing.verification
        name = (verification.accuracy_class if verification else "") or instrument.accuracy_class
        kind = "ct" if instrument.kind is InstrumentKind.CT else "pt"

        def grown(since: date | None) -> Decimal:
            return self._drift_years(standing, since) * self.policy.transformer_drift_fraction

        def values(quantity: str) -> tuple[Certificate, Decimal] | None:
            certificate = standing.values(quantity)
            return None if certificate is None else (certificate, grown(certificate.performed))

        return Transformer(
            instrument,
            values("ratio"),
            values("phase"),
            None if standing.failed else self.classes.transformer(name, kind),
            grown(None),
            verification.id if verification else "",
        )

    def _drift_years(self, standing: Standing, since: date | None) -> Decimal:
        return standing.drift_years(self.epoch, since, self.policy.overdue_factor)

    # ------------------------------------------------------------------------------------------------- tables

    def tables(self, transformers: tuple[Transformer, ...]) -> dict[str, Table]:
        """Every table that something states an uncertainty for."""
        made: dict[str, Table] = {}
        families = {family_of(p.quantity) for c in self.standing.certificates for p in c.points}
        for family in sorted(families | {"energy.active", "energy.reactive"}):
            if self.standing.values(family) is not None:
                made[family] = self._from_certificate(family)
            else:
                table = self._from_class(family)
                if table is not None:
                    made[family] = table
        apparent = None if "power.apparent" in made else _apparent(made, self.instrument)
        if apparent is not None:
            made["power.apparent"] = apparent
        if not made and self.instrument.kind is not InstrumentKind.METER and not self.standing.failed:
            anything = self._of_anything()
            if anything is not None:
                made[ANYTHING] = anything
        through = {
            name: table
            for family, table in made.items()
            for name, table in self._through(family, table, transformers)
        }
        return dict(sorted(through.items()))

    def _through(
        self, family: str, table: Table, transformers: tuple[Transformer, ...]
    ) -> Iterable[tuple[str, Table]]:
        """The table with its transformers; and one per phase where there are three of a kind."""
        base = next(
            (name for name in _MEASURED_THROUGH if family == name or family.startswith(name + ".")), ""
        )
        serving = tuple(t for t in transformers if t.kind in _MEASURED_THROUGH.get(base, ()))
        if not all(t.known for t in serving):
            return
        own_phase = family.rpartition(".")[2] if family != base else ""
        whole = _of_phase(serving, own_phase) if own_phase in _PHASES else serving
        yield family, self._with(table, base, whole)
        counts = [sum(1 for t in serving if t.kind == kind) for kind in ("ct", "pt")]
        if max(counts, default=0) == 3 and own_phase not in _PHASES:
            for phase in _PHASES:
                yield f"{family}@{phase}", self._with(table, base, _of_phase(serving, phase))

    def _with(self, table: Table, base: str, transformers: tuple[Transformer, ...]) -> Table:
        if not transformers:
            return table
        if not table.relative:
            table = _made_relative(table, base)
        curves = transformer_curves(
            base,
            transformers,
            self.by_id,
            self.instrument.rated_current,
            points_correlated=self.policy.points_correlated,
        )
        ratio = Decimal(1)
        if base != "power_factor":
            for kind in {t.kind for t in transformers}:
                ratio *= next(t.instrument.ratio for t in transformers if t.kind == kind)
        from_class = any(
            p.source.dist == "uniform" and p.source.kind != "drift" for c in curves for p in c.parts
        )
        overdue = any(self.standings[t.instrument.id].overdue(self.epoch) for t in transformers)
        more = ((Flag.CLASS_ONLY, from_class), (Flag.CAL_OVERDUE, overdue))
        flags = dict.fromkeys((*table.flags, *(flag for flag, applies in more if applies)))
        return replace(table, curves=table.curves + curves, ratio=ratio, flags=tuple(flags))

    def _from_certificate(self, family: str) -> Table:
        certificate = self.standing.values(family)
        assert certificate is not None
        where = f"certificate {certificate.id}, {family}"
        base = next(
            (name for name in _MEASURED_THROUGH if family == name or family.startswith(name + ".")), family
        )
        points = [p for p in certificate.points if family_of(p.quantity) == family]
        for p in points:
            standard_uncertainty(p, where)  # refuses what is not a number before anything is compared
        units = {p.unit for p in points}
        if len(units) != 1:
            raise TraceabilityError(
                f"{where}: the points are in different units ({', '.join(sorted(units))})"
            )
        relative = units == {"%"}
        if not relative and base in _BY_LOAD:
            raise TraceabilityError(
                f"{where}: errors of energy and power are expected in %, not in {units.pop()}"
            )
        located = sorted(
            ((self._load(p, base, where), p.power_factor, p) for p in points), key=lambda knot: knot[:2]
        )
        if len({knot[:2] for knot in located}) != len(located):
            raise TraceabilityError(f"{where}: two points at one load and power factor")
        loads, power_factors = tuple(k[0] for k in located), tuple(k[1] for k in located)
        ordered = [knot[2] for knot in located]
        for p in ordered:
            if relative and abs(p.error) > 50:
                raise TraceabilityError(
                    f"{where}: an error of {p.error} % at {p.load} {p.load_unit} is not credible"
                )
            if p.power_factor == 0 or abs(p.power_factor) > 1:
                raise TraceabilityError(
                    f"{where}: the power factor {p.power_factor} is not one (-1 to 1, not 0)"
                )
        one = (Decimal(1),) * len(ordered)
        parts = list(
            split(
                certificate,
                ordered,
                family,
                "cal_point",
                self.by_id,
                points_correlated=self.policy.points_correlated,
                factors=one,
            )
        )
        limit = self._accuracy(family)
        largest = max(p.U for p in ordered)
        rate = self.policy.drift_rates.get(
            family, self.policy.drift_fraction * (limit.base if limit else largest)
        )
        drift = rounded(rate * self._drift_years(self.standing, certificate.performed) / SQRT3)
        if drift:
            source = UncertaintySource(
                "drift", self.instrument.id, epoch=certificate.id, quantity=family, dist="uniform"
            )
            parts.append(Part(source, (drift,) * len(ordered)))
        angle = _ANGLES.get(base, Angle.NONE)
        curve = Curve(
            name="meter",
            loads=loads,
            power_factors=power_factors,
            errors=tuple(rounded(p.error) for p in ordered),
            parts=tuple(parts),
            bounds_load=True,
            bounds_phase=base in _BY_LOAD or len(set(power_factors)) > 1,
            certificate=certificate.id,
        )
        outside_load, outside_t = outside(limit, ordered, where)
        return Table(
            curves=(curve,),
            relative=relative,
            axis=Axis.LOAD if base in _BY_LOAD else Axis.OWN,
            angle=angle,
            outside_load=outside_load,
            outside_t=outside_t if base in _BY_LOAD and angle is not Angle.NONE else Decimal(0),
            repeatability=self.policy.repeatability.get(family, Decimal(0)),
        )

    def _load(self, point: CalibrationPoint, base: str, where: str) -> Decimal:
        if base in _BY_LOAD or base == "current":
            rated, unit = self.instrument.rated_current, "A"
        elif base == "voltage":
            rated, unit = self.instrument.rated_voltage, "V"
        else:
            return point.load  # the quantity's own unit
        if point.load_unit == unit:
            return point.load
        per = {"%": Decimal("0.01"), "In": Decimal(1), "Ib": Decimal(1), "Un": Decimal(1)}.get(
            point.load_unit
        )
        if per is None or rated is None:
            raise TraceabilityError(
                f"{where}: a load in {unit} on the secondary side is needed, or a share of the rated value that the "
                f"register holds; the point has {point.load} {point.load_unit!r}"
            )
        return point.load * per * rated

    # ------------------------------------------------------------------------------------------ class and MPE

    def _accuracy(self, family: str) -> MeterClass | None:
        """Class or MPE for a family: the verification's own, else the instrument's."""
        if self.standing.failed:
            return None
        verification = self.standing.verification
        for stated in (verification, self.instrument):
            if stated is None:
                continue
            if stated.mpe is not None and stated.mpe_unit == "%" and family == "energy.active":
                return flat_class(family, positive_mpe(self.instrument, stated.mpe))
            found = self.classes.meter(stated.accuracy_class, family) if stated.accuracy_class else None
            if found is not None:
                return found
        return None

    def _from_class(self, family: str) -> Table | None:
        limit = self._accuracy(family)
        if limit is None or self.instrument.kind is not InstrumentKind.METER:
            return None
        verification = self.standing.verification
        return class_table(
            family,
            limit,
            self.instrument,
            angle=_ANGLES.get(family, Angle.NONE),
            grown=self._grown(family, limit.base),
            repeatability=self.policy.repeatability.get(family, Decimal(0)),
            certificate=verification.id if verification is not None else "",
        )

    def _of_anything(self) -> Table | None:
        """An analyser or transmitter with an MPE and no values: one table for whatever it measures."""
        verification = self.standing.verification
        for stated in (verification, self.instrument):
            if stated is not None and stated.mpe is not None:
                mpe = positive_mpe(self.instrument, stated.mpe)
                limit, relative = span_mpe(self.instrument, mpe, stated.mpe_unit)
                grown = self._grown(ANYTHING, limit)
                used = verification.id if verification is not None else ""
                return span_table(self.instrument, limit, relative, grown=grown, certificate=used)
        return None

    def _grown(self, family: str, mpe: Decimal) -> Decimal:
        """Drift past due of a limit that holds until then."""
        rate = self.policy.drift_rates.get(family, self.policy.drift_fraction * mpe)
        return rate * self._drift_years(self.standing, None)


# ----------------------------------------------------------------------------------------------------- pieces


def _check_transformers(instrument: Instrument, transformers: Sequence[Instrument]) -> None:
    for t in transformers:
        if t.kind not in (InstrumentKind.CT, InstrumentKind.PT):
            raise TraceabilityError(
                f"{t.id} stands before {instrument.id} as a transformer, but is a {t.kind}"
            )
        if not t.ratio.is_finite() or t.ratio <= 0:
            raise TraceabilityError(f"{t.id}: the ratio {t.ratio} is not a positive number")
    if len({t.id for t in transformers}) != len(transformers):
        raise TraceabilityError(f"{instrument.id}: a transformer is named twice")


def _ratio(transformers: Iterable[Instrument], kind: InstrumentKind) -> Decimal:
    ratios = {t.ratio for t in transformers if t.kind is kind}
    if len(ratios) > 1:
        names = ", ".join(sorted(f"{t.id} {t.ratio}" for t in transformers if t.kind is kind))
        raise TraceabilityError(f"the {kind.upper()}s of one meter have different ratios ({names})")
    return next(iter(ratios), Decimal(1))


def _of_phase(transformers: tuple[Transformer, ...], phase: str) -> tuple[Transformer, ...]:
    """Those that serve one phase: its own of three, all of any other number."""
    chosen: list[Transformer] = []
    for kind in ("ct", "pt"):
        of_kind = [t for t in transformers if t.kind == kind]
        chosen += [of_kind[_PHASES.index(phase)]] if len(of_kind) == 3 else of_kind
    return tuple(chosen)


def _made_relative(table: Table, base: str) -> Table:
    """A table in the quantity's unit, in % of the reference at its knots: a transformer's errors are
    relative.
    """
    curves = []
    for curve in table.curves:
        if any(load <= 0 for load in curve.loads):
            raise TraceabilityError(
                f"certificate {curve.certificate}, {base}: errors in the quantity's unit at 0 cannot be joined with "
                f"the relative errors of a transformer; give them in %"
            )
        factors = [100 / load for load in curve.loads]
        parts = tuple(
            Part(p.source, tuple(rounded(a * f) for a, f in zip(p.alpha, factors, strict=True)), p.bound)
            for p in curve.parts
        )
        errors = tuple(rounded(e * f) for e, f in zip(curve.errors, factors, strict=True))
        curves.append(replace(curve, errors=errors, parts=parts))
    lowest = min(load for curve in table.curves for load in curve.loads)
    scale = 100 / lowest
    return replace(
        table,
        curves=tuple(curves),
        relative=True,
        outside_load=rounded(table.outside_load * scale),
        repeatability=rounded(table.repeatability * scale),
    )


def _apparent(tables: Mapping[str, Table], instrument: Instrument) -> Table | None:
    """Apparent power from the meter's voltage (at rated voltage) and current (over the load)."""
    voltage, current = tables.get("voltage"), tables.get("current")
    if voltage is None or current is None:
        return None
    voltage = voltage if voltage.relative else _made_relative(voltage, "voltage")
    current = current if current.relative else _made_relative(current, "current")
    curve = voltage.curves[0]
    at = instrument.rated_voltage if instrument.rated_voltage is not None else max(curve.loads)
    near = min(range(len(curve.loads)), key=lambda n: (abs(curve.loads[n] - at), curve.loads[n]))
    constant = replace(
        curve,
        name="voltage",
        loads=(curve.loads[near],),
        power_factors=(Decimal(1),),
        errors=(curve.errors[near],),
        parts=tuple(Part(p.source, (p.alpha[near],), p.bound) for p in curve.parts),
        bounds_load=False,
        bounds_phase=False,
    )
    return Table(
        curves=(constant, *(replace(c, bounds_phase=False) for c in current.curves)),
        axis=Axis.LOAD,
        outside_load=current.outside_load,
        repeatability=rounded((voltage.repeatability**2 + current.repeatability**2).sqrt()),
    )
