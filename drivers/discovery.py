"""Which meters are on a line: addresses found by asking, and profiles that make sense of what they answer.

* DL/T 645: "read address" finds the only meter. Several collide; then they are asked by the last digits of their
  addresses, the leading ones filled up with A (any digit), two digits more wherever answers still collide.
* Modbus: each unit is asked for one register. Whatever answers, be it an exception, is there.
* M-Bus: by identities and by primary addresses (:mod:`drivers.mbus_search`).
* CJ/T 188: "any type, any address" finds the only meter of a line. Several collide; then they are asked by the last
  digits, the other bytes AA. Not every meter answers to such a part: then only the numbers printed on them help.
* DL/T 645 and CJ/T 188: by given numbers, where collisions or silence leave no other way.
* DLMS/COSEM: the addresses that makers use are asked to open a session (:mod:`drivers.dlms_search`).
* IEC 62056-21: a sign-on with an empty address is answered by the only meter of a line, or at an optical head.

A profile is proposed if its probe is plausible; it is ranked by how many of its other values are. Everything is
bounded: the search ends at ``until`` (loop time), and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from drivers import cjt188, dlms_search, dlt645, mbus, modbus
from drivers.bus import Bus, Meter
from drivers.codec import Answer, Indication, Missing
from drivers.identity import identify, told_in
from drivers.line import Patience, Reply
from drivers.link import LinkDown
from drivers.mbus_search import Search as MbusSearch
from drivers.profile import Profile, plan
from drivers.protocols import Request

Say = Callable[[str], None]

# Forward active energy, by edition: every meter has it.
_PROBED = {"dlt645-2007": (dlt645.READ, "00010000"), "dlt645-1997": (dlt645.READ_1997, "9010")}
# What every electricity meter in service shows, by the first word of a measurand.
_PLAUSIBLE = {
    "voltage": (Decimal(40), Decimal(480)),
    "frequency": (Decimal(45), Decimal(65)),
    "power_factor": (Decimal(-1), Decimal(1)),
    "current": (Decimal(-10_000), Decimal(10_000)),
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile that makes sense of a meter: ``plausible`` of the ``judged`` values are what a meter may show."""

    profile: str
    plausible: int
    judged: int
    values: tuple[Indication, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A meter that answered. ``number`` is what it calls itself, empty if it does not tell."""

    protocol: str
    address: str
    number: str = ""
    proposals: tuple[Proposal, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found on a line in one setting; ``complete`` is False if time ran out."""

    found: tuple[Found, ...]
    complete: bool


async def survey(
    bus: Bus,
    profiles: Sequence[Profile],
    until: float,
    *,
    reply_s: float = 0.3,
    units: Iterable[int] = range(1, 248),
    identities: bool = True,
    addresses: Sequence[str] = (),
    say: Say = lambda _text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Survey:
    """Find the meters on a line, ask who they are, and propose profiles. Raises LinkDown if there is no line.

    ``units`` are Modbus units or primary addresses of M-Bus; ``identities``: M-Bus slaves are sought by those as well.
    ``addresses``: of DL/T 645 and CJ/T 188 only these are asked, as printed on the meters. Each address that is found
    by anything but its whole number is asked by that before it is told: out of a collision no number is made.
    Once ``stopped`` is true no more meters are sought; those found are still asked what they are.
    """
    search = _Search(bus, until, Patience(reply_s, 0.05), say, stopped)
    if bus.codec.name in ("mbus", "cjt188"):
        by_kind = (
            search.slaves(units, identities) if bus.codec.name == "mbus" else search.flow_meters(addresses)
        )
        meters = [
            Found(bus.codec.name, address, number, await _by_kind(bus, profiles, address, kind, reply_s))
            for address, number, kind in await by_kind
        ]
        return Survey(tuple(meters), complete=not search.late)
    if bus.codec.name.startswith("iec62056-21"):
        return Survey(await _at_head(bus, profiles, search, reply_s), complete=not search.late)
    if bus.codec.name.startswith("dlms"):
        present = await dlms_search.present(
            bus, () if identities else units, search.patience, lambda: search.late, say, addresses
        )
        associates = [await _by_objects(bus, profiles, search, one, reply_s) for one in present]
        return Survey(tuple(associates), complete=not search.late)
    speaks_645 = bus.codec.name.startswith("dlt645")
    if speaks_645 and addresses:
        seen = await search.given([search.probe(bus.codec.address(text)) for text in addresses])
        addresses = [answer.address for answer in seen]
    else:
        addresses = await (search.addresses() if speaks_645 else search.units(units))
    protocol = bus.codec.name if speaks_645 else "modbus"
    candidates = [p for p in profiles if p.protocol == protocol and p.probe is not None]
    found = []
    for address in addresses:
        number = ""
        if candidates and speaks_645:
            told = await identify(bus, Meter(address, address, candidates[0], reply_s, late_s=0.05))
            number = told.number or ""
        proposals = [await _proposed(bus, p, address, reply_s) for p in candidates if not search.over]
        best = sorted((p for p in proposals if p), key=lambda p: (-p.plausible, p.judged - p.plausible))
        if best and not number and not search.over:  # of Modbus only a profile knows where the number stands
            likeliest = next(p for p in candidates if p.name == best[0].profile)
            told = await identify(bus, Meter(address, address, likeliest, reply_s, late_s=0.05))
            number = told.number or ""
        found.append(Found(bus.codec.name, address, number, tuple(best)))
    return Survey(tuple(found), complete=not search.late)


async def _at_head(
    bus: Bus, profiles: Sequence[Profile], search: _Search, reply_s: float
) -> tuple[Found, ...]:
    """The meter that answers without being named, by the number that it prints."""
    number, proposals = None, []
    for profile in profiles:
        if profile.protocol != "iec62056-21" or search.late:
            continue
        meter = Meter(f"head as {profile.name}", "", profile, reply_s, late_s=0.05)
        scan = await bus.scan(meter, plan(profile))
        if any(exchange.failure is Missing.LINK_DOWN for exchange in scan.exchanges):
            where = bus.line.link.describe()
            raise LinkDown(where, "it went down while the meter was asked")
        who = told_in(scan.exchanges)
        if not who.answered:
            if any(exchange.failure is None for exchange in scan.exchanges):
                search.say(
                    "a meter has identified itself, but no readout followed: does the line keep one rate?"
                )
            break
        if number is None:
            number = who.number or ""
            search.say(f"{who.maker} {who.type} answers" + (f", number {number}" if number else ""))
        told = sum(i.value is not None for i in scan.indications)
        if told:
            proposals.append(Proposal(profile.name, told, len(scan.indications), scan.indications))
    if number is None:
        return ()
    best = sorted(proposals, key=lambda p: (-p.plausible, p.judged - p.plausible))
    return (Found(bus.codec.name, "", number, tuple(best)),)


async def _by_objects(
    bus: Bus, profiles: Sequence[Profile], search: _Search, address: str, reply_s: float
) -> Found:
    """What profiles make of a DLMS meter, and its number."""
    number, proposals = "", []
    for profile in profiles:
        if profile.protocol != "dlms" or search.over:
            continue
        told, values = await dlms_search.asked(bus, profile, address, reply_s)
        number = number or told
        if count := sum(i.value is not None for i in values):
            proposals.append(Proposal(profile.name, count, len(values), values))
    best = sorted(proposals, key=lambda p: (-p.plausible, p.judged - p.plausible))
    return Found(bus.codec.name, address, number, tuple(best))


class _Told(NamedTuple):
    """A meter that says of itself what it is: its address, its number, and the kind of what it measures."""

    address: str
    number: str
    kind: str


def _flow(answer: Answer) -> _Told:
    """A CJ/T 188 meter by its answer."""
    kind = cjt188.TYPES.get(answer.raw[answer.raw.index(0x68) + 1], "")
    return _Told(answer.address, answer.address, kind)


class _Search:
    """The asking, and its end."""

    def __init__(
        self, bus: Bus, until: float, patience: Patience, say: Say, stopped: Callable[[], bool]
    ) -> None:
        self._bus, self._until, self._say, self._stopped = bus, until, say, stopped
        self.patience = patience

    def say(self, text: str) -> None:
        """Progress."""
        self._say(text)

    @property
    def late(self) -> bool:
        """No more is sought."""
        return self._stopped() or self.over

    @property
    def over(self) -> bool:
        """Nothing more is asked at all."""
        return asyncio.get_running_loop().time() >= self._until

    async def units(self, units: Iterable[int]) -> list[str]:
        """The units that answer to a request for one register."""
        found = []
        framing = {"modbus-tcp": "tcp", "modbus-ascii": "ascii"}.get(self._bus.codec.name, "rtu")
        for unit in units:
            if self.late:
                break
            for function in (3, 4):
                request = modbus.Request(str(unit), function, 0, 1, framing)  # type: ignore[arg-type]
                answer, _ = await self._ask(request)
                # A gateway refuses for a meter that it does not reach (exceptions 10 and 11): nobody is there.
                if answer is not None and answer.error_code not in (10, 11):
                    self._say(f"unit {unit} answers")
                    found.append(str(unit))
                    break
                if answer is None and unit != 1:
                    break  # silence: it is not there. The first unit gets a second question
        return found

    async def slaves(self, units: Iterable[int], identities: bool) -> list[_Told]:
        """M-Bus: addresses, identities, and what flows through."""

        async def ask(request: mbus.Request) -> tuple[Answer | None, Missing | None]:
            reply = await self._reply(request)
            return reply.answer, reply.failure

        search = MbusSearch(ask, lambda: self.late, self._say)
        found = await search.slaves(units, identities=identities)
        return [_Told(slave.address, slave.identity, slave.medium) for slave in found]

    async def given(self, requests: Sequence[Request]) -> list[Answer]:
        """Who answers to requests that name whole addresses."""
        found: list[Answer] = []
        for request in requests:
            if self.late:
                break
            answer, clash = await self._told(request)
            if answer is not None:
                self._say(f"{answer.address} answers")
                found.append(answer)
            elif clash:
                self._say(
                    f"{request.address}: bytes came and no whole frame: does another meter have this number?"
                )
            else:
                self._say(f"{request.address}: no answer")
        return found

    async def flow_meters(self, addresses: Sequence[str]) -> list[_Told]:
        """CJ/T 188: those of the given numbers, or all that can be told apart, by type and number unknown."""
        if addresses:
            asked = [cjt188.Request(self._bus.codec.address(text)) for text in addresses]
            return [_flow(answer) for answer in await self.given(asked)]
        answer, clash = await self._told(cjt188.Request(cjt188.WILDCARD))
        if (
            answer is not None
        ):  # a stronger meter may have drowned the others, and not always the same one does
            again, clash = await self._told(cjt188.Request(cjt188.WILDCARD))
            if not clash and again is not None and again.address == answer.address:
                self._say(f"address {answer.address} answers")
                return [_flow(answer)]
        elif not clash:
            return []
        self._say("several CJ/T 188 meters answer at once: asked by the last digits of their numbers")
        found: list[Answer] = []
        heard = await self._parts("", found)
        if not heard and not self.late:
            self._say(
                "they do not answer to a part of their numbers: give the numbers that are printed on them (--addresses)"
            )
        return [_flow(one) for one in sorted(found, key=lambda one: one.address)]

    async def _parts(self, last: str, found: list[Answer]) -> bool:
        """All CJ/T 188 meters whose numbers end in ``last``; whether anybody answered to such a part."""
        heard = False
        for pair in range(100):
            if self.late:
                break
            digits = f"{pair:02d}{last}"
            answer, clash = await self._told(cjt188.Request(digits.rjust(14, "A")))
            heard = heard or clash or answer is not None
            if answer is not None and (sure := await self._whole(answer)) is not None:
                self._say(f"address {sure.address} answers")
                found.append(sure)
            elif (clash or answer is not None) and len(digits) < 14:
                await self._parts(digits, found)
            elif clash:
                self._say(f"{digits}: more than one answers; no number can be told")
        return heard

    async def _whole(self, answer: Answer) -> Answer | None:
        """The same meter by its whole number: what a collision may have made is no meter's."""
        if not answer.address.isdecimal():
            return None
        return (await self._told(cjt188.Request(answer.address)))[0]

    async def _told(self, request: Request) -> tuple[Answer | None, bool]:
        """The answer, and whether bytes came that are no whole frame: more than one answered."""
        for _ in range(2):
            reply = await self._reply(request)
            if reply.failure is not Missing.TIMEOUT or "A" in request.address.strip("A"):
                break
        return reply.answer, reply.failure is Missing.CORRUPT

    async def addresses(self) -> list[str]:
        """The addresses of all meters: one by its own word, several by their last digits."""
        answer, collided = None, False
        if self._bus.codec.name == "dlt645-2007":  # 1997 has no such request
            answer, collided = await self._ask(dlt645.Request(dlt645.WILDCARD, dlt645.READ_ADDRESS))
        if answer is not None:
            # A stronger meter may have drowned the others: they are heard once it is not asked.
            first = answer.payload[::-1].hex()
            self._say(f"address {first} answers")
            again, collided = await self._ask(self.probe(dlt645.WILDCARD))
            if not collided and (again is None or again.address == first):
                return [first]
        elif not collided:
            alone, collided = await self._ask(self.probe(dlt645.WILDCARD))
            if alone is not None:
                return [alone.address]
            if not collided:
                return []
        self._say("several meters answer at once: asked by the last digits of their addresses")
        found: list[str] = []
        await self._below("", found)
        return sorted(found)

    def probe(self, address: str) -> dlt645.Request:
        """Ask for what every meter of the edition has."""
        return dlt645.Request(address, *_PROBED[self._bus.codec.name])

    async def _below(self, last: str, found: list[str]) -> None:
        """All meters whose addresses end in ``last``."""
        for pair in range(100):
            if self.late:
                return
            digits = f"{pair:02d}{last}"
            request = self.probe(digits.rjust(12, "A"))
            answer, collided = await self._ask(request)
            if answer is not None and await self._answers(answer.address):
                self._say(f"address {answer.address} answers")
                if answer.address not in found:
                    found.append(answer.address)
            elif (collided or answer is not None) and len(digits) < 12:
                await self._below(digits, found)
            elif collided:
                self._say(f"{digits}: more than one answers; one of them must get another address")

    async def _answers(self, address: str) -> bool:
        """Whether a meter answers to its whole address: what a collision may have made is no meter's."""
        if not address.isdecimal():
            return False
        return (await self._ask(self.probe(address)))[0] is not None

    async def _ask(self, request: Request) -> tuple[Answer | None, bool]:
        """The answer, and whether something else came than silence or an answer."""
        reply = await self._reply(request)
        return reply.answer, reply.failure in (Missing.CORRUPT, Missing.MISMATCH)

    async def _reply(self, request: Request) -> Reply:
        reply = await self._bus.ask(request, self.patience)
        if reply.failure is Missing.LINK_DOWN:
            where = self._bus.line.link.describe()
            raise LinkDown(where, reply.detail.removeprefix(f"{where}: "))
        return reply


async def _by_kind(
    bus: Bus, profiles: Sequence[Profile], address: str, kind: str, reply_s: float
) -> tuple[Proposal, ...]:
    """Profiles for what flows through a meter, by how many of their values it tells."""
    found = []
    for profile in profiles:
        if profile.protocol != bus.codec.name or (kind and not _carries(kind, profile.kind)):
            continue
        meter = Meter(f"{address} as {profile.name}", address, profile, max(1.0, reply_s), late_s=0.05)
        scan = await bus.scan(meter, plan(profile))
        told = sum(i.value is not None for i in scan.indications)
        if told:
            found.append(Proposal(profile.name, told, len(scan.indications), scan.indications))
    return tuple(sorted(found, key=lambda p: (-p.plausible, p.judged - p.plausible)))


def _carries(kind: str, wanted: str) -> bool:
    """Whether a meter that says ``kind`` of itself ("heat (outlet)", "cold water") may be of a profile's kind."""
    if wanted == "water":
        return "water" in kind and kind != "hot water"
    return wanted in kind or kind in ("other", "unknown")


async def _proposed(bus: Bus, profile: Profile, address: str, reply_s: float) -> Proposal | None:
    """The profile with what it makes of the meter, if its probe is plausible."""
    probe = profile.probe
    if probe is None:
        return None
    meter = Meter(f"{address} as {profile.name}", address, profile, reply_s, late_s=0.05)
    scan = await bus.scan(meter, plan(profile, [probe.point]))
    (value,) = [i.value for i in scan.indications if i.measurand == probe.point] or [None]
    if value is None or not probe.low <= value <= probe.high:
        return None
    scan = await bus.scan(meter, plan(profile))
    judged = [plausible(i) for i in scan.indications]
    said = [verdict for verdict in judged if verdict is not None]
    return Proposal(profile.name, sum(said), len(said), scan.indications)


def plausible(indication: Indication) -> bool | None:
    """Whether a meter in service may show this; None where anything may be."""
    limits = _PLAUSIBLE.get(indication.measurand.partition(".")[0])
    if indication.missing is Missing.NOT_SUPPORTED:
        return None  # a phase that is not connected, an item that this model does not have
    if limits is None:
        return None if indication.value is not None else False
    return indication.value is not None and (
        limits[0] <= indication.value <= limits[1] or indication.value == 0
    )
