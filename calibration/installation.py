"""Where instruments hang: measuring points, who held them from when to when, and the register readings at each change.

A measuring point (测点) is a place with a name; roles at it (``meter``, ``ct.l1``, ``pt`` …) are each held by
one instrument at a time, and an instrument is at one place at a time. Replacement and removal are events with
the cumulative registers read at that moment, so that energy over a replacement can be told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from calibration import admission
from calibration.ledger import Writer, matching, stamp, unstamp
from calibration.refusals import BadIdentity, BindingConflict, DatesReversed, Withdrawn, refuse
from calibration.register import Register

Registers = Mapping[str, Decimal]
"""Cumulative registers by measurand, as read at the instrument (``energy.active.import``: 1234.56)."""

_NONE: Registers = {}


@dataclass(frozen=True, slots=True)
class Binding:
    """One instrument at one role of a measuring point, from ``since`` until ``until`` (None: still)."""

    id: str
    point: str
    role: str
    instrument: str
    since: datetime
    until: datetime | None
    registers_start: Registers
    registers_end: Registers

    def holds(self, at: datetime) -> bool:
        """Whether the instrument was there at that moment."""
        return self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that happened to an instrument: ``installed``, ``removed``, ``replaced``, ``seal-broken``."""

    id: str
    kind: str
    at: datetime
    point: str
    role: str
    instrument: str
    other: str  # of a replacement: the instrument that came
    registers_out: Registers
    registers_in: Registers
    reason: str


class Installations:
    """The part of the register that knows places; every change is one transaction with its audit lines."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._ledger = register.ledger

    def install(
        self,
        point: str,
        instrument: str,
        *,
        at: datetime,
        role: str = "meter",
        registers: Registers = _NONE,
        actor: str,
        reason: str = "",
    ) -> Binding:
        """Put an instrument at a measuring point.

        Raises:
            BindingConflict: the role is held, or the instrument is elsewhere, at that time. DatesReversed:
            before a later change of the same role. UnknownInstrument, Withdrawn, BadIdentity.
        """
        with self._ledger.writing(actor, reason) as writer:
            binding = self._bind(writer, point, role, instrument, at, registers)
            self._note(writer, "installed", at, point, role, instrument, "", _NONE, registers, reason)
        return binding

    def remove(
        self,
        point: str,
        *,
        at: datetime,
        role: str = "meter",
        registers: Registers = _NONE,
        actor: str,
        reason: str,
    ) -> Binding:
        """Take the instrument away from a measuring point, with its registers as read then."""
        with self._ledger.writing(actor, reason) as writer:
            ended = self._unbind(writer, point, role, at, registers)
            self._note(writer, "removed", at, point, role, ended.instrument, "", registers, _NONE, reason)
        return ended

    def replace(
        self,
        point: str,
        new: str,
        *,
        at: datetime,
        role: str = "meter",
        registers_out: Registers = _NONE,
        registers_in: Registers = _NONE,
        actor: str,
        reason: str,
    ) -> tuple[Binding, Binding]:
        """Put a new instrument in the place of the old; both sets of registers are kept with the event."""
        with self._ledger.writing(actor, reason) as writer:
            ended = self._unbind(writer, point, role, at, registers_out)
            begun = self._bind(writer, point, role, new, at, registers_in)
            self._note(
                writer,
                "replaced",
                at,
                point,
                role,
                ended.instrument,
                new,
                registers_out,
                registers_in,
                reason,
            )
        return ended, begun

    def note(
        self,
        kind: str,
        instrument: str,
        *,
        at: datetime,
        registers: Registers = _NONE,
        actor: str,
        reason: str,
    ) -> LifeEvent:
        """Record what else happened to an instrument: seal broken, repaired, dropped, cover opened."""
        with self._ledger.writing(actor, reason) as writer:
            self._register.instrument_record(instrument)
            held = [b for b in self.bindings(instrument=instrument) if b.holds(at)]
            point, role = (held[0].point, held[0].role) if held else ("", "")
            return self._note(writer, kind, at, point, role, instrument, "", _NONE, registers, reason)

    def bindings(self, *, point: str = "", instrument: str = "", role: str = "") -> tuple[Binding, ...]:
        """Bindings in order of time: a place's history, or an instrument's."""
        condition, values = matching(point=point, instrument=instrument, role=role)
        with self._ledger.reading() as connection:
            rows = connection.execute(
                f"SELECT id, state FROM binding WHERE {condition} ORDER BY since, id",  # noqa: S608
                values,
            ).fetchall()
        return tuple(_binding(row[0], json.loads(row[1])) for row in rows)

    def bound(self, point: str, at: datetime, *, role: str = "meter") -> str | None:
        """The instrument that held a role at a moment; None if it was empty."""
        held = [b for b in self.bindings(point=point, role=role) if b.holds(at)]
        return held[0].instrument if held else None

    def points(self) -> tuple[str, ...]:
        """Every measuring point that ever held an instrument."""
        with self._ledger.reading() as connection:
            rows = connection.execute("SELECT DISTINCT point FROM binding ORDER BY point").fetchall()
        return tuple(row[0] for row in rows)

    def events(self, *, point: str = "", instrument: str = "") -> tuple[LifeEvent, ...]:
        """What happened, in order of time; a replacement belongs to both instruments."""
        with self._ledger.reading() as connection:
            rows = connection.execute(
                "SELECT id, state FROM event WHERE (?1 = '' OR point = ?1) AND (?2 = '' OR instrument = ?2"
                " OR json_extract(state, '$.other') = ?2) ORDER BY at, id",
                (point, instrument),
            ).fetchall()
        return tuple(_event(row[0], json.loads(row[1])) for row in rows)

    def _bind(
        self, writer: Writer, point: str, role: str, instrument: str, at: datetime, registers: Registers
    ) -> Binding:
        refuse(
            [*admission.id_problems(point, f"point {point}"), *admission.id_problems(role, f"role {role}")]
        )
        _check_registers(registers)
        record = self._register.instrument_record(instrument)
        if record.withdrawn is not None:
            why, day = record.withdrawn.reason, record.withdrawn.at.date()
            raise Withdrawn("T105", "", id=instrument, at=day, why=why)
        since = stamp(at)
        for held in self.bindings(point=point, role=role):
            if held.until is None:
                raise BindingConflict(
                    "T112", "", point=point, role=role, instrument=held.instrument, since=stamp(held.since)
                )
            if at < held.until:
                raise DatesReversed(
                    "T115", point, what="installation", at=since, other="the change of", since=held.until
                )
        for held in self.bindings(instrument=instrument):
            if held.until is None:
                raise BindingConflict(
                    "T113",
                    "",
                    instrument=instrument,
                    point=held.point,
                    role=held.role,
                    since=stamp(held.since),
                )
            if at < held.until:
                raise DatesReversed(
                    "T115",
                    instrument,
                    what="installation",
                    at=since,
                    other="its removal of",
                    since=stamp(held.until),
                )
        number = len(self.bindings(point=point, role=role)) + 1
        state = {
            "point": point, "role": role, "instrument": instrument, "since": since, "until": None,
            "start": _texts(registers), "end": {},
        }  # fmt: skip
        binding_id = f"{point}/{role}/{number}"
        writer.put("install", "binding", binding_id, state)
        return _binding(binding_id, state)

    def _unbind(self, writer: Writer, point: str, role: str, at: datetime, registers: Registers) -> Binding:
        _check_registers(registers)
        held = [b for b in self.bindings(point=point, role=role) if b.until is None]
        if not held:
            raise BindingConflict("T114", "", point=point, role=role, at=stamp(at))
        binding = held[0]
        if at <= binding.since:
            raise DatesReversed(
                "T115",
                point,
                what="removal",
                at=stamp(at),
                other="the installation of",
                since=stamp(binding.since),
            )
        state = {
            "point": point, "role": role, "instrument": binding.instrument, "since": stamp(binding.since),
            "until": stamp(at), "start": _texts(binding.registers_start), "end": _texts(registers),
        }  # fmt: skip
        writer.put("remove", "binding", binding.id, state)
        return _binding(binding.id, state)

    def _note(
        self, writer: Writer, kind: str, at: datetime, point: str, role: str, instrument: str, other: str,
        registers_out: Registers, registers_in: Registers, reason: str,
    ) -> LifeEvent:  # fmt: skip
        refuse(list(admission.id_problems(kind, f"event {kind}")))
        _check_registers(registers_in)
        with self._ledger.reading() as connection:
            number = connection.execute("SELECT count(*) FROM event").fetchone()[0] + 1
        state = {
            "kind": kind, "at": stamp(at), "point": point, "role": role, "instrument": instrument, "other": other,
            "out": _texts(registers_out), "in": _texts(registers_in), "reason": reason.strip(),
        }  # fmt: skip
        event_id = f"{number:08d}"
        writer.put("note", "event", event_id, state)
        return _event(event_id, state)


def _check_registers(registers: Registers) -> None:
    for measurand, value in registers.items():
        if not value.is_finite() or value < 0:
            raise BadIdentity(
                "T109", "registers", field=measurand, value=value, rule=">= 0, as the meter shows"
            )


def _texts(registers: Registers) -> dict[str, str]:
    return {measurand: str(value) for measurand, value in registers.items()}


def _decimals(texts: Mapping[str, str]) -> Registers:
    return {measurand: Decimal(text) for measurand, text in texts.items()}


def _binding(binding_id: str, state: Mapping[str, Any]) -> Binding:
    until = state["until"]
    return Binding(
        binding_id, state["point"], state["role"], state["instrument"], unstamp(state["since"]),
        None if until is None else unstamp(until), _decimals(state["start"]), _decimals(state["end"]),
    )  # fmt: skip


def _event(event_id: str, state: Mapping[str, Any]) -> LifeEvent:
    return LifeEvent(
        event_id, state["kind"], unstamp(state["at"]), state["point"], state["role"], state["instrument"],
        state["other"], _decimals(state["out"]), _decimals(state["in"]), state["reason"],
    )  # fmt: skip
