"""Analogue and pulse inputs: a transmitter and the input module behind it, each with its own certificate, as one state.

A transmitter turns its quantity x into a signal (4 to 20 mA for ``low`` to ``high``); the module measures the signal;
what is shown is computed back. Both err::

    e_x(x) = e_transmitter(x) + e_module(signal(x)) · (high − low) / (signal_high − signal_low)

so the module's curve is laid over the quantity's axis and its sources keep their names: two transmitters on one module
share what the module does not know of itself. A table in % of the reading becomes one in the quantity's unit. Where
either of the two states no uncertainty, the sum has none, and there is no result (:attr:`Flag.UNCALIBRATED`).

A pulse input counts and does not measure: the table of the meter that sends the pulses holds unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

from calibration.certificate import TraceabilityError
from calibration.curve import Axis, Curve, Flag, Part, Table
from calibration.split import rounded
from calibration.state import CalibrationState


@dataclass(frozen=True, slots=True)
class Loop:
    """One input: which of the module's it is, what stands before it, and which signal stands for which value.

    Attributes:
        input: the module's name of the input, a measurand such as ``input.1``.
        transmitter: state of the transmitter (or of the meter that sends pulses); None: nobody knows it.
        low, high: the quantity at ``signal_low`` and ``signal_high``; both None for a pulse input.
    """

    input: str
    transmitter: CalibrationState | None
    low: Decimal | None = None
    high: Decimal | None = None
    signal_low: Decimal = Decimal(4)
    signal_high: Decimal = Decimal(20)


def looped(module: CalibrationState, loops: Mapping[str, Loop]) -> CalibrationState:
    """The state of a module with what hangs on its inputs: a table per measurand, of the whole way.

    Raises:
        TraceabilityError: a transmitter's table that knows no own span (an electricity meter's on an analogue input).
    """
    tables: dict[str, Table] = {}
    states = [module, *(loop.transmitter for loop in loops.values() if loop.transmitter is not None)]
    missing = False
    for measurand, loop in sorted(loops.items()):
        found = _tables(module, measurand, loop)
        missing = missing or not found
        tables.update(found)
    known = dict.fromkeys(flag for state in states for flag in state.flags)
    known.pop(Flag.UNCALIBRATED, None)  # of the whole, which is said here
    flags = (*known, Flag.UNCALIBRATED) if missing else tuple(known)
    used = {certificate.id: certificate for state in states for certificate in state.certificates}
    return replace(
        module,
        valid_from=max(state.valid_from for state in states),
        valid_until=min(state.valid_until for state in states),
        certificates=tuple(used[name] for name in sorted(used)),
        tables=dict(sorted(tables.items())),
        flags=flags,
    )


def _tables(module: CalibrationState, measurand: str, loop: Loop) -> dict[str, Table]:
    """The table of one input under its family's name; empty if something states no uncertainty."""
    if loop.transmitter is None:
        return {}
    family = loop.transmitter.family(measurand)
    if family is None:
        return {}
    before = loop.transmitter.tables[family]
    if loop.low is None or loop.high is None:
        return {family if family != "*" else measurand: before}
    behind = module.family(loop.input)
    if behind is None:
        return {}
    if before.axis is not Axis.OWN:
        raise TraceabilityError(
            f"{loop.transmitter.instrument}: its {family} is calibrated over a load current; a transmitter on an "
            f"analogue input needs a table over its own span"
        )
    return {measurand: _summed(before, module.tables[behind], loop.low, loop.high, loop)}


def _summed(before: Table, behind: Table, low: Decimal, high: Decimal, loop: Loop) -> Table:
    gain = (high - low) / (loop.signal_high - loop.signal_low)
    signals = (loop.signal_low, loop.signal_high)
    own = _absolute(before, sorted((low, high)))
    signal = _absolute(behind, signals)

    def over(load: Decimal) -> Decimal:
        return rounded(low + (load - loop.signal_low) * gain)

    curves = tuple(_laid(curve, over, gain) for curve in signal.curves)
    return replace(
        own,
        curves=own.curves + curves,
        outside_load=_root_sum(own.outside_load, signal.outside_load * gain),
        repeatability=_root_sum(own.repeatability, signal.repeatability * gain),
        flags=tuple(dict.fromkeys((*own.flags, *signal.flags))),
    )


def _root_sum(a: Decimal, b: Decimal) -> Decimal:
    return rounded((a * a + b * b).sqrt())


def _laid(curve: Curve, over: Callable[[Decimal], Decimal], gain: Decimal) -> Curve:
    """A curve of the signal over the quantity's axis; a falling characteristic turns it round."""
    turn = slice(None, None, -1 if gain < 0 else 1)
    return replace(
        curve,
        name=f"input {curve.name}",
        loads=tuple(over(load) for load in curve.loads)[turn],
        power_factors=curve.power_factors[turn],
        errors=tuple(rounded(error * gain) for error in curve.errors)[turn],
        parts=tuple(
            Part(part.source, tuple(rounded(alpha * gain) for alpha in part.alpha)[turn], part.bound)
            for part in curve.parts
        ),
    )


def _absolute(table: Table, span: Sequence[Decimal]) -> Table:
    """A table in the quantity's unit. One in % is taken at its knots, and over the whole span if it has no bounds."""
    if not table.relative:
        return table
    widest = max(abs(end) for end in span)
    curves = []
    for curve in table.curves:
        ends = () if curve.bounds_load else (*span, *((Decimal(0),) if span[0] < 0 < span[1] else ()))
        loads = sorted({*curve.loads, *ends})
        curves.append(
            replace(
                curve,
                loads=tuple(loads),
                power_factors=(Decimal(1),) * len(loads),
                errors=_times(loads, curve.loads, curve.errors),
                parts=tuple(
                    Part(part.source, _times(loads, curve.loads, part.alpha), part.bound)
                    for part in curve.parts
                ),
            )
        )
    return replace(
        table,
        curves=tuple(curves),
        relative=False,
        outside_load=rounded(table.outside_load * widest / 100),
        repeatability=rounded(table.repeatability * widest / 100),
    )


def _times(
    at: Iterable[Decimal], loads: Sequence[Decimal], percents: Sequence[Decimal]
) -> tuple[Decimal, ...]:
    """Percentages at loads (linear between, constant outside) as amounts."""
    return tuple(rounded(_interpolated(x, loads, percents) * x / 100) for x in at)


def _interpolated(x: Decimal, loads: Sequence[Decimal], values: Sequence[Decimal]) -> Decimal:
    knots = sorted(zip(loads, values, strict=True))
    if x <= knots[0][0]:
        return knots[0][1]
    for (x0, y0), (x1, y1) in pairwise(knots):
        if x <= x1:
            return y1 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return knots[-1][1]
