"""Which calibration state corrects each instrument: the one compiled for the day, or none while another meter answers.

A state is compiled anew when the register changed or the day is not covered any more. A meter that is not the one that
its certificates are about is corrected by no certificate until it is again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import TypeAlias

from calibration.state import CalibrationState
from drivers.identity import Identity
from gateway.alarms import Alarms
from gateway.clock import SECOND_US
from gateway.identity import FLAG as IDENTITY_MISMATCH
from gateway.identity import Identities, Verdict, uncorrected
from gateway.pipeline import Pipeline

_log = logging.getLogger("suyuan.agent")

REFUSED = "states_refused"
Compile: TypeAlias = Callable[[date, Mapping[str, str]], Mapping[str, CalibrationState]]
"""The states of a day by instrument, given the digests of those in force."""


class StatesInForce:
    """The states of one agent's instruments."""

    def __init__(
        self,
        states: Mapping[str, CalibrationState],
        compile_all: Compile | None,
        identities: Identities,
        pipeline: Pipeline,
        alarms: Alarms,
    ) -> None:
        """``compile_all`` None: the states stay as they are."""
        self.identities = identities
        self._states = dict(states)
        self._compile = compile_all
        self._pipeline, self._alarms = pipeline, alarms
        self._reload = False

    def digest(self, instrument: str) -> str:
        """Of the state that its certificates give, whoever answers in its place."""
        return self._states[instrument].digest

    @property
    def asked_to_reload(self) -> bool:
        """Whether they are to be compiled anew with the next commit."""
        return self._reload

    def reload(self) -> None:
        """Compile them anew with the next commit: the register changed."""
        self._reload = True

    def change(self, instrument: str, state: CalibrationState) -> None:
        """Correct with another state from the next reading on; it is logged before."""
        self._states[instrument] = state
        if not self.identities.is_other(instrument):
            self._pipeline.change_state(instrument, state)

    async def renew(self, utc_us: int) -> None:
        """Compile the states anew if the register changed, or if one does not cover today."""
        today = datetime.fromtimestamp(utc_us / SECOND_US, UTC).date()
        wanted = self._reload or any(not state.covers(today) for state in self._states.values())
        self._reload = False
        if self._compile is None or not wanted:
            return
        try:
            known = {name: state.digest for name, state in self._states.items()}
            states = await asyncio.to_thread(self._compile, today, known)
        except (
            Exception
        ) as error:  # what the register holds is somebody's work in progress: measuring goes on
            _log.error("the calibration states could not be compiled and stay as they were: %s", error)
            self._pipeline.event(REFUSED, {"error": str(error)})
            self._alarms.begin(REFUSED)
            return
        self._alarms.drop(REFUSED)
        for name, state in states.items():
            if name in self._states and self._states[name].digest != state.digest:
                self.change(name, state)

    def recognise(self, name: str, told: Identity) -> None:
        """Whether it is the meter that its certificates are about, by what it told."""
        identities, numbers = self.identities, (*filter(None, (told.number,)), *told.also)
        was_other, expected = identities.is_other(name), identities.expected(name, told.maker)
        verdict = identities.judge(name, *numbers, maker=told.maker, type_=told.type)
        if verdict is None:
            return
        number = told.number or f"{told.maker} {told.type}".strip()
        if verdict is Verdict.OTHER:
            self._alarms.stand(IDENTITY_MISMATCH)
            if not was_other:
                if told.maker and told.number:
                    number = f"{told.number} ({told.maker} {told.type})"
                _log.error("%s: meter %s answers in the place of %s", name, number, expected)
                detail = {"instrument": name, "number": number, "expected": expected}
                self._pipeline.event(IDENTITY_MISMATCH, detail)
                self._pipeline.change_state(name, uncorrected(self._states[name]))
            return
        if verdict is Verdict.NEW:
            self._pipeline.event(verdict, {"instrument": name, "number": number})
        if was_other:
            self._pipeline.event("identity_restored", {"instrument": name, "number": number})
            self._pipeline.change_state(name, self._states[name])
            if not any(identities.is_other(other) for other in self._states):
                self._alarms.drop(IDENTITY_MISMATCH)
