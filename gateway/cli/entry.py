"""Guided entry: a form asked field by field in the terminal, each answer checked at once, nothing typed ever lost.

Every answer goes into a draft file as soon as it is given; Ctrl-C, a closed window or a power cut leave it there, and
the next entry offers it. What the register refuses is shown, and the form is open again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from calibration.refusals import Refusal
from calibration.register import Register
from gateway.certificate_form import CERTIFICATE
from gateway.cli.register_file import aligned
from gateway.form import Field, Form
from gateway.forms import FormRefused, answer_problems
from gateway.pasted import listed_points, read_points
from gateway.register_words import told
from gateway.words import Language

BACK, NOTHING = "<", "-"


class Terminal(Protocol):
    """Where a person sits."""

    def ask(self, prompt: str) -> str:
        """One line of answer. Raises EOFError or KeyboardInterrupt when the person leaves."""

    def tell(self, text: str) -> None:
        """Say something."""


class Console:
    """The terminal of this process: talk goes to stderr, so that results can be piped."""

    def ask(self, prompt: str) -> str:
        """Ask on stderr, read a line of stdin."""
        print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()  # not input(): a pasted tab must stay a tab
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def tell(self, text: str) -> None:
        """Say it on stderr."""
        print(text, file=sys.stderr, flush=True)


class Draft:
    """Answers on their way, in a file beside the register."""

    def __init__(self, register: Path, form: Form) -> None:
        self.path = register.with_name(f"{register.name}.{form.name}-draft.json")

    def answers(self) -> dict[str, str]:
        """What the file holds; nothing if it is not there or is no draft."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        texts = found if isinstance(found, dict) else {}
        return {str(name): text for name, text in texts.items() if isinstance(text, str)}

    def keep(self, answers: Mapping[str, str]) -> None:
        """Write the answers, whole or not at all."""
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(json.dumps(answers, ensure_ascii=False, indent=1), encoding="utf-8")
        fresh.replace(self.path)

    def put_aside(self) -> Path:
        """Keep the draft under a name of its own, out of the way."""
        number = 1
        while (aside := self.path.with_suffix(f".{number}.json")).exists():
            number += 1
        self.path.replace(aside)
        return aside

    def drop(self) -> None:
        """It was saved: the draft is not needed any more."""
        self.path.unlink(missing_ok=True)


def guided(
    form: Form,
    terminal: Terminal,
    draft: Draft,
    register: Register,
    language: Language,
    save: Callable[[Mapping[str, str]], str],
    given: Mapping[str, str] | None = None,
) -> str | None:
    """Ask a form until it is saved.

    Args:
        form: what is asked.
        terminal: the person.
        draft: where answers are kept meanwhile.
        register: what answers are checked against.
        language: of the questions.
        save: registers the answers and returns what to tell; raises Refusal or FormRefused.
        given: answers that stand already.

    Returns:
        What ``save`` returned; None if the person chose not to save.

    Raises:
        KeyboardInterrupt: the person left; the draft is kept, and was told.
    """
    return _Entry(form, terminal, draft, register, language).run(save, dict(given or {}))


class _Entry:
    def __init__(
        self, form: Form, terminal: Terminal, draft: Draft, register: Register, language: Language
    ) -> None:
        self.form = form
        self.terminal = terminal
        self.draft = draft
        self.register = register
        self.language = language
        self.answers: dict[str, str] = {}
        self.passed: set[str] = set()  # answered, or left empty on purpose

    def say(self, key: str, **values: object) -> None:
        self.terminal.tell(told(key, self.language, **values))

    def run(self, save: Callable[[Mapping[str, str]], str], given: dict[str, str]) -> str | None:
        try:
            taken_up = self._taken_up()
            self.answers = {name: text for name, text in {**taken_up, **given}.items() if text}
            # tables are shown again: the last line may not have been the last
            lines = {field.name for field in self.form.fields if field.lines}
            self.passed = (set(taken_up) - lines) | set(given)
            self.say("entry.how")
            self._ask_all()
            return self._confirmed(save)
        except (EOFError, KeyboardInterrupt):
            self.terminal.tell("")
            if self.answers:
                self._keep()
                self.say("entry.kept", path=self.draft.path)
            raise KeyboardInterrupt from None

    def _taken_up(self) -> dict[str, str]:
        found = self.draft.answers()
        if not found:
            return {}
        count = sum(bool(text) for text in found.values())
        question = told("entry.draft", self.language, count=count, path=self.draft.path)
        if _agreed(self.terminal.ask(f"{question} ")):
            return found
        self.say("entry.aside", path=self.draft.put_aside())
        return {}

    def _ask_all(self) -> None:
        back: list[str] = []
        while True:
            waiting = [f for f in self.form.asked(self.answers) if f.name not in self.passed]
            if not waiting:
                return
            field = waiting[0]
            if self._ask(field):
                back.append(field.name)
            elif back:
                last = back.pop()
                self.passed.discard(last)
                self.passed.discard(field.name)

    def _ask(self, field: Field) -> bool:
        """Ask one field until its answer stands; False to go back."""
        self._explain(field)
        while True:
            text = self._lines(field) if field.lines else self._line(field)
            if text is None:
                return False
            tried = {**self.answers, field.name: text}
            wrong = answer_problems(self.form, tried, field.name, self.register, self.language)
            if not wrong:
                break
            for each in wrong:
                self.terminal.tell(f"  ! {each.text}")
            self.say("entry.again")
        self.answers[field.name] = text
        if not text.strip():
            del self.answers[field.name]
        self.passed.add(field.name)
        self._keep()
        return True

    def _keep(self) -> None:
        """What was answered, and what was left empty on purpose."""
        self.draft.keep({**dict.fromkeys(sorted(self.passed), ""), **self.answers})

    def _explain(self, field: Field) -> None:
        example = told("entry.example", self.language, example=field.example) if field.example else ""
        if field.choices:
            example = " | ".join(field.choices)
        meaning = field.meaning[self.language == "zh"]
        self.terminal.tell(f"\n{field.titled(self.language)}: {meaning}{f' ({example})' if example else ''}")

    def _line(self, field: Field) -> str | None:
        stands = self.answers.get(field.name) or field.default
        answer = self.terminal.ask(f"[{stands}] > " if stands else "> ").strip()
        if answer == BACK:
            return None
        if answer == NOTHING:
            return ""
        return answer or stands

    def _lines(self, field: Field) -> str | None:
        """Several lines; one that cannot be read is asked again, those before it stand."""
        self.say("entry.lines")
        kept = [line for line in self.answers.get(field.name, "").splitlines() if line.strip()]
        for line in kept:
            self.terminal.tell(f"  {line}")
        while True:
            line = self.terminal.ask("> ")
            if line.strip() == BACK:
                return None
            if line.strip() == NOTHING:
                kept = []
                self.answers.pop(field.name, None)
                continue
            if not line.strip():
                return "\n".join(kept)
            tried = "\n".join([*kept, line])
            wrong = answer_problems(
                self.form, {**self.answers, field.name: tried}, field.name, self.register, self.language
            )
            if wrong:
                for each in wrong:
                    self.terminal.tell(f"  ! {each.text}")
                self.say("entry.line.refused")
                continue
            kept.append(line)
            self.answers[field.name] = tried
            self._keep()

    def _confirmed(self, save: Callable[[Mapping[str, str]], str]) -> str | None:
        while True:
            fields = self._overview()
            answer = self.terminal.ask(f"\n{told('entry.save', self.language)} ").strip()
            if answer.isdigit() and 1 <= int(answer) <= len(fields):
                self._ask(fields[int(answer) - 1])
                self._ask_all()
                continue
            if answer.lower() in {"no", "n", "否"}:
                self._keep()
                self.say("entry.kept", path=self.draft.path)
                return None
            if not _agreed(answer):
                continue
            asked = {field.name for field in self.form.asked(self.form.with_defaults(self.answers))}
            try:
                done = save({name: text for name, text in self.answers.items() if name in asked})
            except FormRefused as error:
                self._not_saved([f"{each.field}: {each.text}" for each in error.wrong])
            except Refusal as error:
                self._not_saved([each.text(self.language) for each in error.all])
            else:
                self.draft.drop()
                return done

    def _not_saved(self, lines: list[str]) -> None:
        self.say("entry.not.saved")
        for line in lines:
            self.terminal.tell(f"  ! {line}")

    def _overview(self) -> tuple[Field, ...]:
        self.terminal.tell("")
        self.say("entry.whole")
        fields = self.form.asked(self.form.with_defaults(self.answers))
        full = self.form.with_defaults(self.answers)
        for number, field in enumerate(fields, 1):
            text = full.get(field.name, "")
            shown = text.replace("\n", "; ") if not field.lines or not text else ""
            self.terminal.tell(f"{number:>3}  {field.titled(self.language)}: {shown}")
            if field.lines and text:
                for line in _table_lines(self.form, field, full, self.language):
                    self.terminal.tell(f"       {line}")
        return fields


def _table_lines(form: Form, field: Field, full: Mapping[str, str], language: Language) -> list[str]:
    """An answer of several lines as it was understood."""
    if form is CERTIFICATE and field.name in {"points", "as_found"}:
        try:
            rows = listed_points(read_points(full[field.name], full).points, language)
        except Refusal:
            return full[field.name].splitlines()
        return aligned(rows)
    return full[field.name].splitlines()


def _agreed(answer: str) -> bool:
    return answer.strip().lower() in {"", "yes", "y", "是", "好"}
