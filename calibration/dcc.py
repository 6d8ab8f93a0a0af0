"""From a digital calibration certificate to the register's ``Certificate``: what its tables mean.

A table of results has a reference value and an indication or an error of indication (``basic_referenceValue``,
``basic_measuredValue``, ``basic_measurementError``); others (coefficients, influence quantities) are left aside. The
error is taken as stated, or formed as indication minus reference; where both are there they must agree. The uncertainty
is the error's, or the indication's where the error states none. Tables before an adjustment are the as-found values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

from calibration import units
from calibration.admission import arranged, expected_error
from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    GivenAs,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.dcc_reading import Column, Document, Equipment, Item, Table, Values, read
from calibration.refusals import DccRefused

Repeats = Literal["refuse", "mean"]
"""What to do with reference values that stand more than once (a run up and down)."""

_REFERENCE = ("basic_referenceValue", "basic_nominalValue", "basic_calibrationValue")
_QUANTITIES = {
    InstrumentKind.TEMPERATURE: "temperature",
    InstrumentKind.PRESSURE: "pressure",
    InstrumentKind.FLOW: "flow",
}
RECORD = "suyuan_record"
"""Token of the statement in which our own export keeps what a DCC has no element for."""


def import_dcc(
    data: bytes,
    instrument: Instrument,
    *,
    quantity: str | Mapping[str, str] = "",
    repeats: Repeats = "refuse",
    standard_of: Callable[[Equipment], str] | None = None,
    national: bool = False,
) -> Certificate:
    """The certificate in a DCC file, for an instrument of the register.

    Args:
        data: the file.
        instrument: whose certificate it is; its ``range_unit`` chooses among the units of a hybrid list.
        quantity: what was calibrated, for all tables, or by the table's name; not needed for files that we exported,
            nor for temperature, pressure and flow instruments.
        repeats: whether a reference value that stands more than once is refused, or joined to the mean with an
            uncertainty widened by half the spread.
        standard_of: gives the register's id of a standard that was used; "" if it isn't there.
        national: the laboratory is a national metrology institute: the reader's judgement, never the file's claim.

    Raises:
        DccRefused: not understood; the message begins with the XPath of what is wrong.
    """
    return to_certificate(
        read(data), instrument, quantity=quantity, repeats=repeats, standard_of=standard_of, national=national
    )


def to_certificate(
    document: Document,
    instrument: Instrument,
    *,
    quantity: str | Mapping[str, str] = "",
    repeats: Repeats = "refuse",
    standard_of: Callable[[Equipment], str] | None = None,
    national: bool = False,
) -> Certificate:
    """The certificate in a document that was read; see ``import_dcc``."""
    item_of(document, instrument)
    results = [t for t in document.tables if not t.before and _is_calibration(t)]
    found = [t for t in document.tables if t.before and _is_calibration(t)]
    own = _own_record(document)
    kind = CertificateKind(own.get("kind", "calibration"))
    if not results and kind is CertificateKind.CALIBRATION:
        where = "/dcc:digitalCalibrationCertificate/dcc:measurementResults"
        raise DccRefused("T309", where)
    named = [_quantity_of(table, instrument, quantity, results) for table in (*results, *found)]
    points = [p for t, q in zip(results, named, strict=False) for p in _points(t, q, instrument, repeats)]
    as_found = [
        p
        for t, q in zip(found, named[len(results) :], strict=True)
        for p in _points(t, q, instrument, repeats)
    ]
    due, issued = document.statement("basic_recalibration"), document.statement("suyuan_issued")
    conformity = document.statement("basic_conformity")
    return Certificate(
        id=document.id,
        kind=kind,
        instrument=instrument.id,
        laboratory=document.laboratory,
        performed=document.performed,
        issued=document.issued or (issued.day if issued else None),
        valid_until=due.day if due else None,
        accreditation=document.accreditation,
        points=tuple(points),
        as_found=tuple(as_found),
        references=_references(document, standard_of),
        passed=_passed(conformity.conformity) if conformity else None,
        accuracy_class=own.get("accuracy_class", ""),
        mpe=Decimal(own["mpe"]) if own.get("mpe") else None,
        mpe_unit=own.get("mpe_unit", "%"),
        national=national,
        conditions=own.get("conditions", document.conditions),
        digest=document.digest,
        given_as=GivenAs(own.get("given_as", "error")),
        resets_cycle=own.get("resets_cycle", True),
        adjusted=own.get("adjusted", True if document.adjusted else None),
        decision_rule=own.get("decision_rule", ""),
        note=own.get("note", ""),
    )


def item_of(document: Document, instrument: Instrument) -> Item:
    """The item of the document that is the instrument.

    One item is taken as it is, unless maker's serial numbers on both sides differ; of several the one that carries the
    instrument's serial number, id or tag.

    Raises:
        DccRefused: none, or several that could be it.
    """
    where = "/dcc:digitalCalibrationCertificate/dcc:administrativeData/dcc:items"
    mine = {name for name in (instrument.serial, instrument.id, instrument.tag) if name}
    matching = [item for item in document.items if mine & {value for _, value in item.ids}]
    if len(matching) == 1:
        return matching[0]
    serials = {value for item in document.items for issuer, value in item.ids if issuer == "manufacturer"}
    if len(document.items) == 1 and not (instrument.serial and serials and instrument.serial not in serials):
        return document.items[0]
    items = "; ".join(", ".join((i.name, i.model, *(value for _, value in i.ids))) for i in document.items)
    raise DccRefused("T314", where, count=len(document.items), items=items or "-")


def find_instrument(document: Document, instruments: Sequence[Instrument]) -> Instrument | None:
    """The one registered instrument that the document speaks of: by serial number and model, else by any id."""
    for item in document.items:
        values = {value for _, value in item.ids}
        exact = [i for i in instruments if i.serial and i.serial in values and i.model in {"", item.model}]
        close = exact or [i for i in instruments if values & {name for name in (i.id, i.tag) if name}]
        if len(close) == 1:
            return close[0]
    return None


def _is_calibration(table: Table) -> bool:
    measured = table.column("basic_measuredValue", "basic_measurementError")
    return measured is not None and table.column("suyuan_load", *_REFERENCE) is not None


def _quantity_of(
    table: Table, instrument: Instrument, quantity: str | Mapping[str, str], results: Sequence[Table]
) -> str:
    if "suyuan_table" in table.tokens:
        return table.name
    if not isinstance(quantity, str):
        if table.name in quantity:
            return quantity[table.name]
    elif quantity and len(results) <= 1:
        return quantity
    usual = _QUANTITIES.get(instrument.kind, "")
    if usual and len(results) <= 1:
        return usual
    names = ", ".join(f"{t.name or '-'} ({t.xpath})" for t in results)
    raise DccRefused("T310", table.xpath, count=len(results), tables=names)


def _points(
    table: Table, quantity: str, instrument: Instrument, repeats: Repeats
) -> tuple[CalibrationPoint, ...]:
    if "suyuan_table" in table.tokens:
        return _own_points(table, quantity)
    reference = table.column(*_REFERENCE)
    indication, error = table.column("basic_measuredValue"), table.column("basic_measurementError")
    assert reference is not None
    size = _same_size(reference, (indication, error))
    own = _ucum(_chosen(reference, instrument.range_unit), quantity)
    _check_unit(indication, own, quantity)
    references = _in_unit(reference, own, quantity)
    indications = None if indication is None else _in_unit(indication, own, quantity)
    errors, unit, uncertain = _errors(table, own, quantity, references, indications)
    big, factors = _uncertainty(table, unit, quantity, uncertain, references, own)
    made = [
        CalibrationPoint(
            quantity=quantity,
            load=references[n],
            load_unit=own,
            error=errors[n],
            U=big[n],
            k=factors[n],
            unit=unit,
            reference=references[n],
            indication=None if indications is None else indications[n],
        )
        for n in range(size)
    ]
    if error is not None:
        _check_errors(made, error)
    return _joined(made, reference, repeats)


def _own_points(table: Table, quantity: str) -> tuple[CalibrationPoint, ...]:
    """The points of a table of our own export, as they were: nothing is converted or put in another order."""
    load, error = table.column("suyuan_load"), table.column("basic_measurementError")
    if load is None or error is None or error.alternatives[0].U is None or error.alternatives[0].k is None:
        raise DccRefused("T309", table.xpath)
    names = ("suyuan_powerFactor", "basic_referenceValue", "basic_measuredValue", "suyuan_dof")
    others = [table.column(name) for name in names]
    size = _same_size(load, (error, *others))
    power_factor, reference, indication, dof = (
        [None] * size if column is None else column.alternatives[0].values for column in others
    )
    of, by = load.alternatives[0], error.alternatives[0]
    assert by.U is not None
    assert by.k is not None
    return tuple(
        CalibrationPoint(
            quantity, of.values[n], _ucum(of, quantity), by.values[n], by.U[n], by.k[n], _ucum(by, quantity),
            power_factor[n] or Decimal(1), reference[n], indication[n], dof[n],
        )
        for n in range(size)
    )  # fmt: skip


def _same_size(first: Column, others: Iterable[Column | None]) -> int:
    for column in others:
        if column is not None and len(column) != len(first):
            raise DccRefused("T305", column.xpath, found=len(column), expected=len(first))
    return len(first)


def _errors(
    table: Table,
    own: str,
    quantity: str,
    references: Sequence[Decimal] | None,
    indications: Sequence[Decimal] | None,
) -> tuple[tuple[Decimal, ...], str, Column]:
    """Errors of indication, their unit, and the column whose uncertainty is theirs."""
    error, indication = table.column("basic_measurementError"), table.column("basic_measuredValue")
    if error is not None:
        stated = error if _stated(error) or indication is None else indication
        chosen = _chosen(error, own)
        unit = _ucum(chosen, quantity)
        target = own if own and _alike(unit, own) else "%" if _is_ratio(unit) else unit
        if unit == target:
            return chosen.values, unit, stated
        return tuple(units.convert_difference(v, unit, target) for v in chosen.values), target, stated
    assert indication is not None
    if references is None or indications is None:
        raise DccRefused("T309", table.xpath)
    return tuple(i - r for i, r in zip(indications, references, strict=True)), own, indication


def _uncertainty(
    table: Table, unit: str, quantity: str, column: Column, references: Sequence[Decimal] | None, own: str
) -> tuple[tuple[Decimal, ...], tuple[Decimal, ...]]:
    """U in the unit of the errors, and k; an uncertainty of the indication becomes relative where the errors are."""
    stated = _stated(column)
    if stated is None or stated.U is None or stated.k is None:
        raise DccRefused("T307", table.xpath)
    of = _ucum(stated, quantity)
    if of == unit:
        return stated.U, stated.k
    if _alike(of, unit):
        return tuple(units.convert_difference(u, of, unit) for u in stated.U), stated.k
    if unit == "%" and references is not None and _alike(of, own) and all(references):
        absolute = [units.convert_difference(u, of, own) for u in stated.U]
        return tuple(_trim(u / abs(r) * 100) for u, r in zip(absolute, references, strict=True)), stated.k
    raise DccRefused("T308", stated.xpath, unit=of, other=unit)


def _check_unit(indication: Column | None, own: str, quantity: str) -> None:
    """Indication and reference must be of one kind to be compared."""
    if indication is None:
        return
    theirs = [_ucum(values, quantity, strict=False) for values in indication.alternatives]
    if not any(name and _alike(name, own) for name in theirs):
        raw = indication.alternatives[0]
        raise DccRefused("T308", raw.xpath, unit=raw.unit, other=own)


def _in_unit(column: Column, unit: str, quantity: str) -> tuple[Decimal, ...]:
    chosen = _chosen(column, unit)
    of = _ucum(chosen, quantity)
    if of == unit or not unit:
        return chosen.values
    if not _alike(of, unit):
        raise DccRefused("T308", chosen.xpath, unit=of, other=unit)
    return tuple(units.convert(value, of, unit) for value in chosen.values)


def _chosen(column: Column, unit: str) -> Values:
    """Of the alternatives of a hybrid list the one in the unit wanted, else the first."""
    for values in column.alternatives:
        if unit and _ucum(values, "", strict=False) == unit:
            return values
    return column.alternatives[0]


def _stated(column: Column) -> Values | None:
    """The alternative that states an uncertainty; in a hybrid list often only one does."""
    return next((values for values in column.alternatives if values.U is not None), None)


def _ucum(values: Values, quantity: str, *, strict: bool = True) -> str:
    """The unit's UCUM key; var and V·A share their D-SI string, so the quantity decides."""
    compact = values.unit.replace("\\degreeCelsius", "\\degreecelsius")
    try:
        key = units.from_dsi(compact).key
    except units.UnitError:
        several = [u.key for u in units.UNITS.values() if u.dsi == compact]
        wanted = [key for key in several if ("var" in key) == ("reactive" in quantity)]
        if len(wanted) == 1:
            return wanted[0]
        if strict:
            raise DccRefused("T304", values.xpath, unit=values.unit) from None
        return ""
    return "min" if quantity == "phase" and key == "'" else key


def _alike(one: str, other: str) -> bool:
    return one == other or (
        units.is_known(one)
        and units.is_known(other)
        and units.unit(one).quantity == units.unit(other).quantity
    )


def _is_ratio(unit: str) -> bool:
    return units.is_known(unit) and units.unit(unit).quantity == "ratio"


def _check_errors(points: Sequence[CalibrationPoint], error: Column) -> None:
    """A stated error must be indication minus reference within the digits printed: a correction has the other sign."""
    for point in points:
        expected = expected_error(point)
        if expected is None or point.reference is None or point.indication is None:
            continue
        relative = point.unit == "%" and point.load_unit != "%" and point.reference != 0
        factor = abs(100 / point.reference) if relative else Decimal(1)
        slack = _digit(point.error) + (_digit(point.reference) + _digit(point.indication)) * factor
        if abs(expected - point.error) > slack:
            raise DccRefused("T313", error.xpath, error=point.error, expected=f"{expected:.4g}")


def _digit(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)


def _joined(
    points: Sequence[CalibrationPoint], along: Column, repeats: Repeats
) -> tuple[CalibrationPoint, ...]:
    """Rising loads; values at one load (a run up and down) are refused, or joined to their mean."""
    groups: dict[tuple[Decimal, Decimal], list[CalibrationPoint]] = {}
    for point in points:
        groups.setdefault((point.power_factor, point.load), []).append(point)
    if all(len(group) == 1 for group in groups.values()):
        ordered = arranged(points)
        rising = all(a.load < b.load for a, b in pairwise(ordered) if a.power_factor == b.power_factor)
        if rising:
            return ordered
        return tuple(sorted(points, key=lambda p: (-p.power_factor, p.load)))
    if repeats == "refuse":
        load = next(load for (_, load), group in groups.items() if len(group) > 1)
        raise DccRefused("T311", along.xpath, load=load)
    merged = [_mean(group) for group in groups.values()]
    return tuple(sorted(merged, key=lambda p: (-p.power_factor, p.load)))


def _mean(group: Sequence[CalibrationPoint]) -> CalibrationPoint:
    """One point for several at one load: the mean error, with the half-spread (rectangular) added to the largest u."""
    if len(group) == 1:
        return group[0]
    errors = [point.error for point in group]
    widest = max(group, key=lambda p: p.U / p.k)
    half = (max(errors) - min(errors)) / 2
    u = ((widest.U / widest.k) ** 2 + half**2 / 3).sqrt()
    error = sum(errors, Decimal(0)) / len(errors)
    return replace(widest, error=_trim(error), U=_trim(u * widest.k), indication=None, reference=None)


def _trim(value: Decimal) -> Decimal:
    return Decimal(f"{value:.6g}")


def _references(
    document: Document, standard_of: Callable[[Equipment], str] | None
) -> tuple[ReferenceUse, ...]:
    """The standards used that can be named: by the register's id, or by their certificate's number or hash."""
    made = []
    for equipment in document.equipment:
        own = next((value for issuer, value in equipment.ids if issuer == "owner"), "")
        standard = standard_of(equipment) if standard_of is not None else ""
        if not standard and "suyuan_standard" in equipment.tokens:
            standard = own
        if not (standard or equipment.certificate or equipment.digest):
            continue
        share = next((c for c in equipment.quantities if "suyuan_share" in c.tokens), None)
        value = None if share is None else share.alternatives[0].values[0]
        made.append(ReferenceUse(standard, equipment.certificate, equipment.digest, value))
    return tuple(dict.fromkeys(made))


def _passed(conformity: str) -> bool | None:
    words = set(conformity.split())
    if words & {"fail", "conditionalFail", "noPass"}:
        return False
    return True if words and words <= {"pass", "conditionalPass"} else None


def _own_record(document: Document) -> dict[str, Any]:
    statement = document.statement(RECORD)
    if statement is None:
        return {}
    try:
        found = json.loads(statement.declaration)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
