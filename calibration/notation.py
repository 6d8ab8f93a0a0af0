"""How numbers and correction tables are written in what is hashed: decimal text, no floats, each thing once.

A curve that several tables use (a CT's in active power, reactive power and current, per phase) is written
once in a list, and the tables name it by its place there with their own weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from calibration.curve import Angle, Axis, Bound, Curve, Flag, Part, Table
from calibration.uncertainty import UncertaintySource

_ONE = Decimal(1)


def format_value(y: float) -> str:
    """A value as recorded: 12 significant digits, plain decimal notation, no superfluous zeros."""
    return _digits(y, 12)


def format_u(u: float) -> str:
    """A standard uncertainty as recorded: 6 significant digits, plain decimal notation, no superfluous
    zeros.
    """
    return _digits(u, 6)


def decimal_text(number: Decimal) -> str:
    """The one canonical text of a decimal: plain notation, no superfluous zeros, no negative zero."""
    if not number.is_finite():
        raise ValueError(f"{number} is not a finite number")
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def decimal_of(text: object) -> Decimal:
    """The decimal with this canonical text.

    Raises:
        ValueError, TypeError: not text, or written in another way than :func:`decimal_text` writes it.
    """
    number = Decimal(text_of(text))
    if decimal_text(number) != text:
        raise ValueError(f"{text!r} is not written canonically")
    return number


def text_of(value: object) -> str:
    """The value, which must be text."""
    if not isinstance(value, str):
        raise TypeError(f"text expected, got {value!r}")
    return value


def plain_tables(tables: Mapping[str, Table]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Tables as plain JSON values: the list of curves, the tables by family, the sources of uncertainty by
    id.
    """
    places: dict[Curve, int] = {}
    plain: dict[str, Any] = {}
    for family in sorted(tables):
        table = tables[family]
        used = [
            [places.setdefault(replace(curve, weight=_ONE), len(places)), decimal_text(curve.weight)]
            for curve in table.curves
        ]
        plain[family] = {
            "curves": used,
            "ratio": decimal_text(table.ratio),
            "relative": table.relative,
            "axis": str(table.axis),
            "angle": str(table.angle),
            "outside_load": decimal_text(table.outside_load),
            "outside_t": decimal_text(table.outside_t),
            "repeatability": decimal_text(table.repeatability),
            "flags": [str(flag) for flag in table.flags],
        }
    sources = {part.source.id: part.source for curve in places for part in curve.parts}
    return (
        [_plain_curve(curve) for curve in places],
        plain,
        {name: _plain_source(source) for name, source in sources.items()},
    )


def tables_of(
    curves: Sequence[Any], tables: Mapping[str, Any], sources: Mapping[str, Any]
) -> dict[str, Table]:
    """The inverse of :func:`plain_tables`.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError, IndexError, AttributeError: not such values.
    """
    by_id = {name: _source(name, plain) for name, plain in sources.items()}
    made = [_curve(plain, by_id) for plain in curves]
    return {family: _table(plain, made) for family, plain in tables.items()}


def _digits(number: float, digits: int) -> str:
    if number - number != 0.0:
        raise ValueError(f"{number!r} is not a finite number and cannot be recorded")
    return decimal_text(Decimal(f"{number:.{digits - 1}e}"))


def _plain_source(source: UncertaintySource) -> dict[str, Any]:
    return {
        "kind": source.kind,
        "owner": source.owner,
        "epoch": source.epoch,
        "quantity": source.quantity,
        "dist": source.dist,
        "dof": None if source.dof is None else decimal_text(Decimal(repr(source.dof))),
        "ensemble": source.ensemble,
    }


def _source(name: str, plain: Any) -> UncertaintySource:
    dof = None if plain["dof"] is None else float(decimal_of(plain["dof"]))
    texts = {key: text_of(plain[key]) for key in ("kind", "owner", "epoch", "quantity", "dist", "ensemble")}
    source = UncertaintySource(**texts, dof=dof)
    if source.id != name:
        raise ValueError(f"the source of uncertainty {name} has the identity {source.id}")
    return source


def _table(plain: Any, curves: Sequence[Curve]) -> Table:
    return Table(
        curves=tuple(
            replace(_at(curves, place), weight=decimal_of(weight)) for place, weight in plain["curves"]
        ),
        ratio=decimal_of(plain["ratio"]),
        relative=plain["relative"] is True,
        axis=Axis(plain["axis"]),
        angle=Angle(plain["angle"]),
        outside_load=decimal_of(plain["outside_load"]),
        outside_t=decimal_of(plain["outside_t"]),
        repeatability=decimal_of(plain["repeatability"]),
        flags=tuple(Flag(flag) for flag in plain["flags"]),
    )


def _at(curves: Sequence[Curve], place: object) -> Curve:
    if type(place) is not int or not 0 <= place < len(curves):
        raise ValueError(f"there is no curve {place!r}")
    return curves[place]


def _plain_curve(curve: Curve) -> dict[str, Any]:
    return {
        "name": curve.name,
        "certificate": curve.certificate,
        "loads": [decimal_text(d) for d in curve.loads],
        "power_factors": [decimal_text(d) for d in curve.power_factors],
        "errors": [decimal_text(d) for d in curve.errors],
        "phase": curve.phase,
        "bounds_load": curve.bounds_load,
        "bounds_phase": curve.bounds_phase,
        "parts": [
            {"source": p.source.id, "bound": str(p.bound), "alpha": [decimal_text(d) for d in p.alpha]}
            for p in curve.parts
        ],
    }


def _curve(plain: Any, sources: Mapping[str, UncertaintySource]) -> Curve:
    return Curve(
        name=text_of(plain["name"]),
        certificate=text_of(plain["certificate"]),
        loads=tuple(map(decimal_of, plain["loads"])),
        power_factors=tuple(map(decimal_of, plain["power_factors"])),
        errors=tuple(map(decimal_of, plain["errors"])),
        phase=plain["phase"] is True,
        bounds_load=plain["bounds_load"] is True,
        bounds_phase=plain["bounds_phase"] is True,
        parts=tuple(
            Part(sources[p["source"]], tuple(map(decimal_of, p["alpha"])), Bound(p["bound"]))
            for p in plain["parts"]
        ),
    )
