"""Which M-Bus slaves are on a line: by their identities, digit by digit, then by the primary addresses.

A selection with F for unknown digits chooses all slaves that it fits. If one answers soundly, it is found; if several
answer at once, one digit more is stated. On a real line their acknowledges (all E5) may come through as one, so what
counts is the telegram after it. Slaves that know no selection are found by SND_NKE to each primary address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from drivers import mbus
from drivers.codec import Answer, Missing
from drivers.mbus_records import Malformed, Telegram, decode

_IDENTITY = 8  # digits
_READ = mbus.REQ_UD2 | mbus.FCB  # the first reading after a selection or SND_NKE

Ask = Callable[[mbus.Request], Awaitable[tuple[Answer | None, Missing | None]]]
"""One exchange: the answer, or why there is none."""


@dataclass(frozen=True, slots=True)
class Slave:
    """A slave that answered: the address by which to read it, its identity, its medium in words (empty: not told)."""

    address: str
    identity: str = ""
    medium: str = ""


@dataclass(slots=True)
class Search:
    """One search. ``late`` says that there is no time left."""

    ask: Ask
    late: Callable[[], bool]
    say: Callable[[str], None]

    async def slaves(self, units: Iterable[int], *, identities: bool = True) -> list[Slave]:
        """All slaves, each once. Read by its primary address if that is its own, else by its identity."""
        told: list[tuple[int, Slave]] = []
        if identities:
            await self._below("", told)
        primaries = [unit for unit, _ in told]
        found = [
            Slave(str(unit), slave.identity, slave.medium)
            if 1 <= unit <= 250 and primaries.count(unit) == 1
            else slave
            for unit, slave in told
        ]
        for unit in units:
            if self.late():
                break
            if unit in primaries:
                continue
            opened, failure = await self.ask(mbus.Request(unit, mbus.SND_NKE))
            if opened is None and failure is Missing.TIMEOUT:
                continue
            answer, failure = await self.ask(mbus.Request(unit, _READ, part=1))
            if answer is None and failure is Missing.TIMEOUT:
                continue
            if answer is None:
                self.say(f"primary address {unit}: several answer at once; give them addresses of their own")
                continue
            self.say(f"primary address {unit} answers")
            header = _telegram(answer)
            identity, medium = (header.header.identity, header.header.medium) if header else ("", "")
            found.append(Slave(str(unit), identity, medium))
        return found

    async def _below(self, digits: str, told: list[tuple[int, Slave]]) -> None:
        """All slaves whose identities begin with ``digits``."""
        if self.late():
            return
        secondary = digits.ljust(16, "F")
        opened, failure = await self.ask(mbus.Request(mbus.SELECTED, mbus.SND_UD, secondary))
        if opened is None and failure is Missing.TIMEOUT:
            return
        answer, failure = await self.ask(mbus.Request(mbus.SELECTED, _READ, secondary, 1))
        telegram = _telegram(answer) if answer else None
        if answer is not None and telegram is not None and telegram.header.identity:
            identity = telegram.header.identity
            self.say(f"identity {identity} answers")
            if all(slave.identity != identity for _, slave in told):
                slave = Slave(identity, identity, telegram.header.medium)
                told.append((int(answer.address), slave))
            return
        if answer is None and failure is Missing.TIMEOUT and opened is not None and digits:
            return  # chosen, but it has nothing to say
        if len(digits) == _IDENTITY:
            self.say(f"identity {digits}: several meters of different makers share it; state all 16 digits")
            return
        if not digits:
            self.say("several meters answer at once: asked by the first digits of their identities")
        for digit in "0123456789":
            await self._below(digits + digit, told)


def _telegram(answer: Answer) -> Telegram | None:
    """The telegram of an answer, None if it is none that can be read."""
    try:
        return decode(answer.payload[0], answer.payload[1:]) if answer.payload else None
    except Malformed:
        return None
