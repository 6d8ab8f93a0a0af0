"""Maximum permissible errors by accuracy class: a data table that a metrologist can read, check and replace.

The package's table is ``accuracy_classes.toml`` beside this file. Its values were written down from memory of
the standards that it names; ``checked`` is false until somebody has compared them. Give
:func:`calibration.state.compile_state` another table, made with :meth:`AccuracyClasses.from_toml`, to use
checked or local values.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any


class AccuracyTableError(ValueError):
    """A table of accuracy classes that cannot be read: the message names the class and what is wrong."""


@dataclass(frozen=True, slots=True)
class MeterRow:
    """MPE (±, in %) from the load ``low`` (fraction of the rated current) to the next row."""

    low: Decimal
    unity: Decimal
    other: Decimal


@dataclass(frozen=True, slots=True)
class MeterClass:
    """MPE of one class for one quantity family, at power factor 1 and at ``inductive`` and ``capacitive``."""

    name: str
    quantity: str
    source: str
    inductive: Decimal
    capacitive: Decimal
    rows: tuple[MeterRow, ...]

    @property
    def base(self) -> Decimal:
        """The MPE at rated load and power factor 1."""
        return self.rows[-1].unity

    @property
    def widest(self) -> Decimal:
        """The largest MPE of the class."""
        return max(max(row.unity, row.other) for row in self.rows)


@dataclass(frozen=True, slots=True)
class TransformerRow:
    """Limits (±) of ratio error in % and phase displacement in minutes at a fraction of the rated value."""

    low: Decimal
    ratio: Decimal
    phase: Decimal


@dataclass(frozen=True, slots=True)
class TransformerClass:
    """Limits of one transformer class; linear between rows."""

    name: str
    kind: str
    source: str
    rows: tuple[TransformerRow, ...]


@dataclass(frozen=True, slots=True)
class AccuracyClasses:
    """All classes of a table. ``checked``: somebody has compared the values with the standards."""

    meters: tuple[MeterClass, ...]
    transformers: tuple[TransformerClass, ...]
    checked: bool = False

    @classmethod
    def default(cls) -> AccuracyClasses:
        """The package's own table."""
        return _default()

    @classmethod
    def from_toml(cls, text: str) -> AccuracyClasses:
        """Read a table.

        Raises:
            AccuracyTableError: not TOML, a field missing, a limit that is not positive, rows out of order.
        """
        try:
            data = tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            raise AccuracyTableError(f"accuracy classes: {error}") from None
        meters = tuple(_read(_meter, plain) for plain in data.get("meter", ()))
        transformers = tuple(_read(_transformer, plain) for plain in data.get("transformer", ()))
        return cls(meters, transformers, data.get("checked", False) is True)

    def meter(self, name: str, quantity: str) -> MeterClass | None:
        """The class of a meter for a quantity family, or None."""
        return next((c for c in self.meters if c.name == _name(name) and c.quantity == quantity), None)

    def transformer(self, name: str, kind: str) -> TransformerClass | None:
        """The class of a transformer (kind ``ct`` or ``pt``), or None."""
        return next((c for c in self.transformers if c.name == _name(name) and c.kind == kind), None)


@cache
def _default() -> AccuracyClasses:
    return AccuracyClasses.from_toml(
        files("calibration").joinpath("accuracy_classes.toml").read_text("utf-8")
    )


def _name(text: str) -> str:
    name = text.strip().upper()
    return name.removesuffix(".0") if name.endswith(".0") else name


def _read(reader: Any, plain: Any) -> Any:
    where = f"accuracy class {plain.get('class', '?')}" if isinstance(plain, dict) else "accuracy class"
    try:
        made = reader(plain)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise AccuracyTableError(f"{where}: a field is missing or not a number ({error!r})") from None
    lows = [row.low for row in made.rows]
    if not lows or lows != sorted(set(lows)) or lows[0] < 0:
        raise AccuracyTableError(f"{where}: rows must ascend in `low`, from 0 or more")
    return made


def _limit(text: Any) -> Decimal:
    number = Decimal(text)
    if not number.is_finite() or number <= 0:
        raise TypeError(f"{text!r} is no limit: it must be positive")
    return number


def _meter(plain: Any) -> MeterClass:
    rows = tuple(MeterRow(Decimal(r["low"]), _limit(r["unity"]), _limit(r["other"])) for r in plain["rows"])
    angles = Decimal(plain["inductive"]), Decimal(plain["capacitive"])
    if not 0 < angles[0] < 1 or not -1 < angles[1] < 0:
        raise TypeError("`inductive` lies between 0 and 1, `capacitive` between -1 and 0")
    return MeterClass(_name(plain["class"]), plain["quantity"], plain.get("source", ""), *angles, rows)


def _transformer(plain: Any) -> TransformerClass:
    rows = tuple(
        TransformerRow(Decimal(r["low"]), _limit(r["ratio"]), _limit(r["phase"])) for r in plain["rows"]
    )
    return TransformerClass(_name(plain["class"]), plain["kind"], plain.get("source", ""), rows)
