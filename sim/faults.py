"""Faults to order: what goes wrong, for which meter, when, how often. A seed repeats a scenario exactly.

A scenario is a list of faults with times in seconds since the site's start; from TOML::

    seed = 7

    [[fault]]
    kind = "late"            # the answer comes after the master has stopped waiting
    meter = "mill-a"         # without it: every meter
    from_s = 10
    to_s = 40                # without it: for good
    share = 0.2              # of the answers; without it: all
    delay_ms = 1500

Faults of the line change what is sent; faults of the meter change what it measures or who it is.
"""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from sim.flow import FlowMeter
from sim.framing import Framing
from sim.instrument import Clockwork, Meter, RegisterEvent, whole_steps


class FaultKind(StrEnum):
    """What can be ordered."""

    # on the line
    LATE = "late"  # delay_ms on top of the usual delay
    SLOW_CARRIER = "slow_carrier"  # about two seconds for each answer, as over a power-line carrier
    SILENT = "silent"  # no answer
    DEAD = "dead"  # without auxiliary supply: no answer
    WRONG_ADDRESS = "wrong_address"  # a sound answer from another address
    WRONG_CHECKSUM = "wrong_checksum"
    WRONG_ITEM = "wrong_item"  # a sound answer for another DI or function
    WRONG_LENGTH = "wrong_length"  # a sound answer with a datum missing
    ECHO = "echo"  # the request comes back before the answer
    NOISE_BEFORE = "noise_before"  # `count` random bytes
    NOISE_AFTER = "noise_after"
    SPLIT = "split"  # a pause of gap_ms inside the answer
    MERGED = "merged"  # another meter's frame follows without a pause
    BAUD_MISMATCH = "baud_mismatch"  # random bytes instead of an answer
    # on a connection of Modbus TCP
    WRONG_TRANSACTION = "wrong_transaction"  # a sound answer under another transaction number
    FALSE_LENGTH = "false_length"  # the MBAP header states another length than what follows it
    STALE_ANSWER = "stale_answer"  # the answer to an earlier transaction comes once more, before this one's
    CONNECTION_RESET = "connection_reset"  # in the middle of the answer
    HALF_OPEN = "half_open"  # nothing comes and nothing is heard any more, and nobody has hung up
    # of an HJ 212 logger
    REPEATED = "repeated"  # an earlier message is uploaded again
    # in the meter
    STUCK = "stuck"  # indications stay as they were when the fault began
    ROLLOVER = "rollover"  # the import register passes its modulus at from_s
    RESET = "reset"  # registers go back to 0
    SWAP = "swap"  # another meter in its place: other number, other register
    MISSED_BROADCAST = "missed_broadcast"  # DL/T 645: it does not hear an order that goes to all meters
    CLOCK_DRIFT = "clock_drift"  # the meter's clock is off by offset_s and gains ppm


_METER_FAULTS = frozenset((FaultKind.ROLLOVER, FaultKind.RESET, FaultKind.SWAP, FaultKind.CLOCK_DRIFT))
_CARRIER_US = 2_000_000
MeterT = TypeVar("MeterT", Meter, FlowMeter)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: kind, meter id (empty: all), time in seconds since the site's start, share of answers, sizes."""

    kind: FaultKind
    meter: str = ""
    from_s: float = 0.0
    to_s: float = math.inf
    share: float = 1.0
    delay_ms: float = 1500.0
    gap_ms: float = 30.0
    count: int = 5
    number: str = "999999999999"
    start_kwh: Decimal = Decimal(0)
    offset_s: float = 0.0
    ppm: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"{self.kind}: share is between 0 and 1, not {self.share}")
        if not self.from_s <= self.to_s:
            raise ValueError(f"{self.kind}: from_s {self.from_s} is after to_s {self.to_s}")


class ScenarioError(ValueError):
    """A scenario that cannot be read: says which fault, what, and what would do."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes that a meter sends after a pause (microseconds since the part before, or since the request's end).

    ``baud`` 0: at the line's own rate. ``reset``: the connection is reset after it.
    """

    pause_us: int
    data: bytes
    baud: int = 0
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """All faults of a site. ``refused``: by meter, what its protocol does not know: faults of all meters pass it by."""

    seed: int = 0
    faults: tuple[Fault, ...] = ()
    refused: Mapping[str, Collection[FaultKind]] = field(default_factory=dict)

    def now(self, meter: str, since_start_us: int, n: int) -> tuple[Fault, ...]:
        """The line faults and stuck values that meet a meter's ``n``-th answer. The same arguments, the same faults."""
        at = since_start_us / 1e6
        met = []
        for index, fault in enumerate(self.faults):
            if (
                fault.kind in _METER_FAULTS
                or fault.meter not in ("", meter)
                or fault.kind in self.refused.get(meter, ())
                or not fault.from_s <= at < fault.to_s
            ):
                continue
            if fault.share >= 1 or random.Random(f"{self.seed}/{meter}/{index}/{n}").random() < fault.share:
                met.append(fault)
        return tuple(met)

    def changed(self, meter: MeterT, start_us: int) -> MeterT:
        """The meter with the events that this scenario has in store for its registers and clock."""
        mine = sorted(
            (f for f in self.faults if f.kind in _METER_FAULTS and f.meter in ("", meter.id)),
            key=lambda f: f.from_s,
        )
        for fault in mine:
            at = start_us + round(fault.from_s * 1e6)
            if fault.kind == FaultKind.CLOCK_DRIFT:
                meter = replace(meter, clock=Clockwork(round(fault.offset_s * 1e6), fault.ppm, since_us=at))
            elif fault.kind == FaultKind.ROLLOVER:
                gone = whole_steps(meter.gone(meter.counted_from(at), at), meter.step)
                meter = meter.restarted(meter.counted_from(at), (meter.modulus - gone) % meter.modulus)
            else:
                number = fault.number if fault.kind == FaultKind.SWAP else ""
                start = fault.start_kwh if fault.kind == FaultKind.SWAP else Decimal(0)
                meter = replace(meter, events=(*meter.events, RegisterEvent(at, start, number)))
        return meter


def spoil(
    answer: bytes,
    request: bytes,
    faults: Sequence[Fault],
    framing: Framing,
    reply_us: int,
    rng: random.Random,
) -> tuple[Part, ...]:
    """What is sent instead of a sound answer, under the faults that meet it. Nothing, for a silent meter."""
    kinds = {fault.kind: fault for fault in faults}
    if FaultKind.SILENT in kinds or FaultKind.DEAD in kinds:
        return ()
    for kind, change in (
        (FaultKind.WRONG_LENGTH, framing.shortened),
        (FaultKind.WRONG_ITEM, framing.other_item),
        (FaultKind.WRONG_ADDRESS, framing.readdressed),
    ):
        if kind in kinds:
            answer = change(answer)
    if FaultKind.MERGED in kinds:
        answer += framing.readdressed(answer)
    if FaultKind.WRONG_CHECKSUM in kinds:
        answer = framing.unsealed(answer)
    if FaultKind.BAUD_MISMATCH in kinds:
        answer = rng.randbytes(max(1, len(answer) * 2 // 3))
    if FaultKind.NOISE_BEFORE in kinds:
        answer = rng.randbytes(kinds[FaultKind.NOISE_BEFORE].count) + answer
    if FaultKind.NOISE_AFTER in kinds:
        answer += rng.randbytes(kinds[FaultKind.NOISE_AFTER].count)
    if FaultKind.LATE in kinds:
        reply_us += round(kinds[FaultKind.LATE].delay_ms * 1000)
    if FaultKind.SLOW_CARRIER in kinds:
        reply_us += rng.randrange(_CARRIER_US * 8 // 10, _CARRIER_US * 12 // 10)
    parts = [Part(reply_us, answer)]
    if FaultKind.SPLIT in kinds and len(answer) > 1:
        cut = rng.randrange(1, len(answer))
        parts = [
            Part(reply_us, answer[:cut]),
            Part(round(kinds[FaultKind.SPLIT].gap_ms * 1000), answer[cut:]),
        ]
    if FaultKind.ECHO in kinds:
        parts.insert(0, Part(0, request))
    return tuple(parts)


def scenario(text: str) -> Scenario:
    """Read a scenario from TOML. Raises ScenarioError naming the fault and what is wrong with it."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"scenario: not TOML: {error}") from error
    unknown = set(tree) - {"seed", "fault"}
    if unknown:
        raise ScenarioError(f"scenario: unknown {', '.join(sorted(unknown))}; there are seed and [[fault]]")
    seed = tree.get("seed", 0)
    entries = tree.get("fault", [])
    if not isinstance(seed, int) or not isinstance(entries, list):
        raise ScenarioError("scenario: seed is a whole number, and faults are written [[fault]]")
    return Scenario(seed, tuple(_fault(n, entry) for n, entry in enumerate(entries, start=1)))


_TYPES: Mapping[str, type] = MappingProxyType(
    {"meter": str, "number": str, "count": int, "start_kwh": Decimal, "kind": FaultKind}
)

_WORDS: Mapping[type, str] = MappingProxyType(
    {float: "a number", int: "a whole number", Decimal: "a decimal number in quotes", str: "text in quotes"}
)


def _fault(n: int, entry: object) -> Fault:
    if not isinstance(entry, dict) or "kind" not in entry:
        raise ScenarioError(f"fault {n}: needs a kind: {', '.join(FaultKind)}")
    known = {f.name for f in fields(Fault)}
    values: dict[str, object] = {}
    for name, value in entry.items():
        if name not in known:
            raise ScenarioError(f"fault {n}: unknown {name!r}; there are {', '.join(sorted(known))}")
        values[name] = _value(n, name, value)
    try:
        return Fault(**values)  # type: ignore[arg-type]
    except ValueError as error:
        raise ScenarioError(f"fault {n}: {error}") from error


def _value(n: int, name: str, value: object) -> object:
    wanted = _TYPES.get(name, float)
    try:
        if wanted is FaultKind:
            return FaultKind(str(value))
        if wanted is Decimal:
            return Decimal(str(value))
        if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if wanted in (int, str) and type(value) is wanted:
            return value
    except (ValueError, ArithmeticError):
        pass
    hint = f"one of {', '.join(FaultKind)}" if wanted is FaultKind else _WORDS[wanted]
    raise ScenarioError(f"fault {n}: {name} is {hint}, not {value!r}")
