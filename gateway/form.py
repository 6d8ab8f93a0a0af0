"""What a form is: fields with their meaning, unit and example, and how an answer that was typed becomes a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from gateway.register_words import told
from gateway.site_values import ratio
from gateway.words import Language

Answers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wrong:
    """One mistake in a form: at which field, what, and the code of ``calibration.words`` if it has one."""

    field: str
    text: str
    code: str = ""


class BadAnswer(ValueError):
    """An answer that cannot be read: the words for it."""

    def __init__(self, key: str, **values: object) -> None:
        self.key, self.values = key, values
        super().__init__(key)


@dataclass(frozen=True, slots=True)
class Field:
    """One question. ``title`` and ``meaning`` are (English, 中文); ``lines`` takes several lines of answer."""

    name: str
    title: tuple[str, str]
    meaning: tuple[str, str]
    read: Callable[[str], Any] = str
    unit: str = ""
    example: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    needed: bool = False
    lines: bool = False
    applies: Callable[[Answers], bool] = lambda _: True

    def titled(self, language: Language) -> str:
        """Its title, with the unit."""
        title = self.title[language == "zh"]
        return f"{title} [{self.unit}]" if self.unit else title


@dataclass(frozen=True, slots=True)
class Form:
    """A form's fields in the order in which they are asked."""

    name: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field of that name."""
        return next((field for field in self.fields if field.name == name), None)

    def asked(self, answers: Answers) -> tuple[Field, ...]:
        """The fields that apply, given what was answered so far."""
        return tuple(field for field in self.fields if field.applies(answers))

    def with_defaults(self, answers: Answers) -> dict[str, str]:
        """The answers, with the default of each field that applies and has none."""
        full = dict(answers)
        for field in self.fields:
            if field.default and not full.get(field.name) and field.applies(full):
                full[field.name] = field.default
        return full

    def missing(self, answers: Answers) -> tuple[str, ...]:
        """Names of needed fields without an answer."""
        full = self.with_defaults(answers)
        return tuple(field.name for field in self.asked(full) if field.needed and not full.get(field.name))

    def values(self, answers: Answers, language: Language) -> tuple[dict[str, Any], list[Wrong]]:
        """The answers read, one by one; the ones that can't be read are told."""
        found: dict[str, Any] = {}
        wrong: list[Wrong] = []
        for name, text in answers.items():
            field = self.field(name)
            if field is None:
                choices = ", ".join(each.name for each in self.fields)
                wrong.append(Wrong(name, told("form.unknown", language, value=name, choices=choices)))
            elif text.strip():
                try:
                    found[name] = field.read(text if field.lines else text.strip())
                except BadAnswer as error:
                    wrong.append(Wrong(name, told(error.key, language, **error.values)))
        return found, wrong


def read_number(text: str) -> Decimal:
    """A finite number, with either minus sign."""
    try:
        number = Decimal(text.replace("−", "-"))
    except InvalidOperation:
        raise BadAnswer("form.number", value=text) from None
    if not number.is_finite():
        raise BadAnswer("form.number", value=text)
    return number


def read_ratio(text: str) -> Decimal:
    """A number, or ``2000/5``."""
    if "/" not in text:
        return read_number(text)
    try:
        return ratio(text)
    except ValueError:
        raise BadAnswer("form.ratio", value=text) from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadAnswer("form.whole", value=text) from None


def read_up_to_a_century(text: str) -> int:
    """Whole days or months, of at most a century."""
    number = _whole(text)
    if abs(number) > 36_525:  # days; months even more so
        raise BadAnswer("form.long", value=text)
    return number


def read_day(text: str) -> date:
    """A day, written with hyphens, slashes or points."""
    try:
        return date.fromisoformat(text.replace("/", "-").replace(".", "-"))
    except ValueError:
        raise BadAnswer("form.date", value=text) from None


def read_yes(text: str) -> bool:
    """Yes or no, in English or Chinese."""
    answer = text.lower()
    if answer in {"yes", "y", "true", "是", "合格"}:
        return True
    if answer in {"no", "n", "false", "否", "不合格"}:
        return False
    raise BadAnswer("form.yesno", value=text)
