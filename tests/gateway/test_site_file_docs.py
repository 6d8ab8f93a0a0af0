"""docs/site-file.md states every key that a site file may have, and its default, as the code has them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from gateway import site_lines, site_log, site_simulation
from gateway.config import Site
from gateway.edge import Model, seconds

DOCS = Path(__file__).parents[2] / "docs" / "site-file.md"
TABLES: dict[str, type[Model]] = {
    "": Site,
    "site": site_log.SiteInfo,
    "log": site_log.LogConfig,
    "log.key": site_log.KeyConfig,
    "serve": site_log.ServeConfig,
    "enrolment": site_log.EnrolmentConfig,
    "platform": site_log.Platform,
    "calibration": site_log.CalibrationConfig,
    "bus": site_lines.BusConfig,
    "bus.freeze": site_lines.FreezeConfig,
    "bus.security": site_lines.SecurityConfig,
    "bus.instrument": site_lines.InstrumentConfig,
    "bus.instrument.session": site_lines.SessionConfig,
    "bus.instrument.input.NAME": site_lines.InputConfig,
    "bus.instrument.factor.CODE": site_lines.FactorConfig,
    "bus.instrument.value.MEASURAND": site_lines.ValueConfig,
    "simulation": site_simulation.Simulation,
    "simulation.meter.ID": site_simulation.SimulatedMeter,
    "simulation.bus.NAME": site_simulation.SimulatedLine,
}


def _is_table(annotation: Any) -> bool:
    """Whether a key is a table, which has rows of its own."""
    inner = [annotation, *get_args(annotation)]
    return any(isinstance(t, type) and issubclass(t, Model) for t in inner)


def _coded() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for table, model in TABLES.items():
        for name, field in model.model_fields.items():
            if not _is_table(field.annotation):
                key = f"{table}.{field.alias or name}".lstrip(".")
                found[key] = (
                    "required" if field.is_required() else field.get_default(call_default_factory=True)
                )
    return found


def _documented() -> dict[str, str]:
    """Key and default of each row of the table of all keys."""
    text = DOCS.read_text(encoding="utf-8").partition("## All keys")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", text, re.MULTILINE)
    assert len(rows) == len({key for key, _ in rows}), "a key is there twice"
    return {key: default.strip() for key, default in rows}


def _said(default: str) -> Any:
    """A default as the table writes it: a literal of TOML, or a dash for none."""
    if default in ("required", "–"):
        return {"required": "required", "–": None}[default]
    literal = default.strip("`")
    if literal in ("true", "false"):
        return literal == "true"
    return literal.strip('"') if literal.startswith('"') else int(literal)


def _equal(said: Any, coded: Any) -> bool:
    if said is None:
        return isinstance(coded, NoneType) or coded in ("", ())
    if isinstance(coded, float):
        return bool(seconds(said) == coded)
    return bool(
        Decimal(said) == coded if isinstance(coded, Decimal) else type(said) is type(coded) and said == coded
    )


def test_every_table_of_a_site_file_is_among_those_held_here() -> None:
    reached: set[type[Model]] = set()

    def walk(model: type[Model]) -> None:
        reached.add(model)
        for field in model.model_fields.values():
            waiting = [field.annotation]
            while waiting:
                kind = waiting.pop()
                waiting += get_args(kind)
                if isinstance(kind, type) and issubclass(kind, Model) and kind not in reached:
                    walk(kind)

    walk(Site)
    assert reached == set(TABLES.values())


def test_every_key_is_documented_and_none_that_does_not_exist() -> None:
    assert sorted(_documented()) == sorted(_coded())


def test_every_default_is_documented_as_it_is() -> None:
    coded = _coded()
    wrong = {
        key: (default, coded[key])
        for key, default in _documented().items()
        if not _equal(_said(default), coded[key])
    }
    assert wrong == {}
