"""Forms: answers as they were typed become an instrument or a certificate, or every mistake is told by field.

Guided entry in the terminal, the options of the commands and the web page ask the same things from here
(``gateway.form_fields``). Answers are text by field name; nothing typed is ever thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from calibration.admission import certificate_problems, instrument_problems
from calibration.certificate import (
    Certificate,
    GivenAs,
    Instrument,
    ReferenceUse,
    TraceabilityError,
)
from calibration.refusals import DuplicateId, Refusal, UnknownCertificate, UnknownInstrument
from calibration.register import Register
from gateway.certificate_form import CERTIFICATE
from gateway.form import Answers, Form, Wrong
from gateway.instrument_form import INSTRUMENT
from gateway.pasted import Pasted, point_lines, read_points
from gateway.register_words import told
from gateway.words import Language


class FormRefused(TraceabilityError):
    """Answers that cannot be used as they stand; ``wrong`` has every mistake by field."""

    code = "T002"

    def __init__(self, wrong: tuple[Wrong, ...]) -> None:
        self.wrong = wrong
        super().__init__("; ".join(f"{each.field}: {each.text}" for each in wrong))


# problems of a whole that follow from fields not asked yet
_LATER = frozenset({"T200", "T203", "T218", "T219", "T220"})
_FIELD_OF = {
    "T101": "instrument", "T102": "id", "T103": "id", "T104": "serial", "T105": "instrument", "T108": "id",
    "T111": "parent", "T200": "laboratory", "T201": "valid_until", "T202": "performed", "T203": "points",
    "T214": "references", "T215": "references", "T216": "references", "T217": "references", "T211": "references",
    "T212": "references", "T213": "references", "T218": "passed", "T219": "accuracy_class", "T220": "valid_until",
}  # fmt: skip


def instrument_from(answers: Answers, language: Language = "en") -> Instrument:
    """The instrument that a form says. Raises FormRefused with every mistake by field."""
    full = INSTRUMENT.with_defaults(answers)
    values, wrong = INSTRUMENT.values(full, language)
    wrong += _needed(INSTRUMENT, full, language, wrong)
    if wrong:
        raise FormRefused(tuple(wrong))
    made = Instrument(**values)
    _refuse(instrument_problems(made), language)
    return made


def certificate_from(answers: Answers, today: date, language: Language = "en") -> Certificate:
    """The certificate that a form says. Raises FormRefused with every mistake by field."""
    full = CERTIFICATE.with_defaults(answers)
    values, wrong = CERTIFICATE.values(full, language)
    wrong += _needed(CERTIFICATE, full, language, wrong)
    points, as_found = _tables(full, language, wrong)
    if wrong:
        raise FormRefused(tuple(wrong))
    made = _certificate(values, points, as_found)
    _refuse(certificate_problems(made, today), language)
    return made


def answer_problems(
    form: Form, answers: Answers, name: str, register: Register, language: Language
) -> tuple[Wrong, ...]:
    """What is wrong with one answer, given those before it: by itself, and against what is registered."""
    text = answers.get(name, "").strip()
    field = form.field(name)
    if field is None or not text:
        missing = field is not None and field.needed and not field.default
        return (Wrong(name, told("form.needed", language)),) if missing else ()
    so_far = {key: value for key, value in form.with_defaults(answers).items() if value.strip()}
    values, wrong = form.values(so_far, language)
    own = [each for each in wrong if each.field == name]
    if own:
        return tuple(own)
    if form is INSTRUMENT:
        found = _instrument_conflicts(values, name, register)
        found += instrument_problems(Instrument(**{"id": "x", **values}))
    else:
        points, as_found = _tables(so_far, language, own)
        if own:
            return tuple(each for each in own if each.field == name)
        found = _certificate_conflicts(values, name, register)
        blank = {
            "id": "x",
            "instrument": "x",
            "laboratory": "x",
            "performed": date.min,
            "kind": "calibration",
        }
        made = _certificate({**blank, **values}, points, as_found)
        today = register.ledger.moment().date()
        found += [problem for problem in certificate_problems(made, today) if problem.code not in _LATER]
        if "performed" not in values:
            found = [problem for problem in found if problem.code != "T201"]
    return tuple(_told(problem, language, name) for problem in found)


def _instrument_conflicts(values: Mapping[str, Any], name: str, register: Register) -> list[Refusal]:
    found: list[Refusal] = []
    if name == "id" and _is_instrument(register, values["id"]):
        found.append(DuplicateId("T103", "", kind="instrument", id=values["id"], todo="todo_other_id"))
    if name == "serial":
        other = register.find(
            manufacturer=values.get("manufacturer", ""),
            model=values.get("model", ""),
            serial=values["serial"],
        )
        if other is not None and other.id != values.get("id"):
            found.append(DuplicateId("T104", "", other=other.id))
    if name == "parent":
        found += _unknown(register, values["parent"])
    return found


def _certificate_conflicts(values: Mapping[str, Any], name: str, register: Register) -> list[Refusal]:
    if name == "instrument":
        return _unknown(register, values["instrument"])
    if name == "id":
        try:
            record = register.certificate_record(values["id"])
        except UnknownCertificate:
            return []
        todo = "todo_withdraw"
        twice = DuplicateId("T103", "", kind="certificate", id=values["id"], todo=todo)
        return [twice] if record.withdrawn is None else []
    if name == "references":
        return [
            problem
            for use in values["references"]
            if use.standard
            for problem in _unknown(register, use.standard)
        ]
    return []


def _is_instrument(register: Register, name: str) -> bool:
    try:
        register.instrument(name)
    except UnknownInstrument:
        return False
    return True


def _unknown(register: Register, name: str) -> list[Refusal]:
    try:
        register.instrument(name)
    except UnknownInstrument as problem:
        return [problem]
    return []


def _needed(form: Form, full: Answers, language: Language, wrong: list[Wrong]) -> list[Wrong]:
    refused = {each.field for each in wrong}
    return [Wrong(name, told("form.needed", language)) for name in form.missing(full) if name not in refused]


_NOTHING = Pasted((), GivenAs.ERROR)


def _tables(full: Answers, language: Language, wrong: list[Wrong]) -> tuple[Pasted, Pasted]:
    """The tables of a certificate's form; mistakes go into ``wrong``."""
    read = {"points": _NOTHING, "as_found": _NOTHING}
    for name in read:
        if not full.get(name):
            continue
        try:
            read[name] = read_points(full[name], full)
        except Refusal as error:
            wrong += [_told(problem, language, name) for problem in error.all]
    return read["points"], read["as_found"]


def _certificate(values: Mapping[str, Any], points: Pasted, as_found: Pasted) -> Certificate:
    own = {name: value for name, value in values.items() if name not in _OF_POINTS}
    made = Certificate(**own)
    return replace(made, points=points.points, as_found=as_found.points, given_as=points.given_as)


_OF_POINTS = frozenset({"quantity", "unit", "load_unit", "k", "points", "as_found"})


def _refuse(problems: Iterable[Refusal], language: Language) -> None:
    wrong = tuple(_told(problem, language) for problem in problems)
    if wrong:
        raise FormRefused(wrong)


def _told(problem: Refusal, language: Language, field: str = "") -> Wrong:
    """A refusal as a mistake in a field: the one given, or the one that its code speaks of."""
    stated = str(problem.values.get("field", "") or problem.values.get("later", ""))
    text = (
        problem.text(language).removeprefix(f"{problem.where}: ") if field == "" else problem.text(language)
    )
    return Wrong(field or stated or _FIELD_OF.get(problem.code, ""), text, problem.code)


def answers_of(value: Instrument | Certificate) -> dict[str, str]:
    """The inverse: a value as the answers of its form, for a form that changes what is there."""
    form = INSTRUMENT if isinstance(value, Instrument) else CERTIFICATE
    found: dict[str, str] = {}
    for field in form.fields:
        part = getattr(value, field.name, None)
        if part in (None, "", ()) or field.name in _OF_POINTS:
            continue
        if isinstance(part, bool):
            found[field.name] = "yes" if part else "no"
        elif field.name == "references":
            found[field.name] = "\n".join(_reference_line(use) for use in part)
        else:
            found[field.name] = str(part)
    if isinstance(value, Certificate):
        found |= {
            name: point_lines(Pasted(getattr(value, name), value.given_as))
            for name in ("points", "as_found")
            if getattr(value, name)
        }
    return found


def _reference_line(use: ReferenceUse) -> str:
    parts = [use.standard or "-", use.certificate or "-", "" if use.share is None else str(use.share)]
    return " ".join(parts).rstrip(" -") if use.standard else " ".join(parts).strip()
