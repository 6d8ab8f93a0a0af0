"""From a scan to its record: what was shown, what is missing and why, the results, the bytes as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from calibration.operating import OperatingPoint
from calibration.state import format_u, format_value
from drivers.codec import Indication, Missing, Scan
from evidence.record import RawExchange, Reading, Reference, decimal_text
from gateway.clock import ClockState
from gateway.lanes import Lane
from gateway.schedule import Tick

NOT_A_NUMBER = "not_a_number"
_SHORT = 32  # characters; a decimal within this length is always one that a record can carry


def answered(scan: Scan) -> bool:
    """Whether anything came over the line."""
    for exchange in scan.exchanges:  # noqa: SIM110 - a third of the time of any()
        if exchange.answer:
            return True
    return False


def reading_of(
    lane: Lane,
    tick: Tick,
    scan: Scan,
    *,
    salt: bytes,
    clock: ClockState,
    configuration: Reference | None,
    said: Sequence[str],
) -> tuple[Reading, OperatingPoint]:
    """The record of a scan under the next running number, and the operating point of the whole.

    ``said``: what the instrument itself said of its values, kept behind the flags of the results.
    """
    started = scan.started
    indications, missing, values = sorted_out(scan.indications)
    total = lane.points("total", values)
    results, flags = corrected(lane, values, total)
    if lane.state is None or configuration is None:
        raise RuntimeError(f"{lane.channel.instrument}: no state or configuration is in the log yet")
    reading = Reading(
        salt=salt,
        instrument=lane.channel.instrument,
        number=lane.counter.last + 1,
        previous=lane.counter.previous,
        due_us=tick.due_us,
        utc_us=started.utc_us,
        boot_us=started.boot_us,
        clock=int(clock.quality),
        clock_error_us=clock.error_us,
        raw=tuple(
            [
                RawExchange(
                    exchange.request,
                    exchange.answer,
                    exchange.sent.boot_us - started.boot_us,
                    exchange.received.boot_us - started.boot_us,
                )
                for exchange in scan.exchanges
            ]
        ),
        indications=indications,
        missing=missing,
        results=results,
        state=lane.state,
        configuration=configuration,
        flags=(*flags, *said) if said else flags,
    )
    return reading, total


def sorted_out(
    indications: Iterable[Indication],
) -> tuple[dict[str, str], dict[str, str], dict[str, float]]:
    """By measurand: exact texts of the indications, reasons of the missing, and the indications as floats."""
    texts: dict[str, str] = {}
    missing: dict[str, str] = {}
    values: dict[str, float] = {}
    for indication in indications:
        name = indication.measurand
        if not name:
            continue
        value = indication.value
        if value is None:
            missing[name] = str(indication.missing)
            continue
        text = str(value)
        if len(text) > _SHORT and not decimal_text(text):  # more digits than anybody measures
            missing[name] = str(Missing.OUT_OF_RANGE)
            continue
        texts[name] = text
        values[name] = float(text)  # what float(value) gives, which itself goes by the text
    return texts, missing, values


def corrected(
    lane: Lane, values: Mapping[str, float], total: OperatingPoint
) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    """Value and standard uncertainty by measurand, as records carry them, and the flags of all of them.

    ``total``: the operating point of the whole; those of the phases are found where a correction needs them.
    """
    points = {"total": total}
    results: dict[str, tuple[str, str]] = {}
    flags: dict[str, None] = {}
    ways = lane.ways
    for name, value in values.items():
        correct, phase = ways.get(name) or lane.way(name)
        if correct is None:
            continue
        try:
            if phase:
                point = points.get(phase)
                if point is None:
                    point = points[phase] = lane.points(phase, values)
                y, u, more, _ = correct(value, point[0], point[1])
            else:
                y, u, more, _ = correct(value, None, None)
        except ValueError:
            flags[NOT_A_NUMBER] = None
            continue
        texts = value_text(y), u_text(u)
        if len(texts[0]) + len(texts[1]) > _SHORT and not all(map(decimal_text, texts)):
            flags[NOT_A_NUMBER] = None
            continue
        results[name] = texts
        for flag in more:
            flags[flag] = None
    return results, tuple(flags)


def value_text(y: float) -> str:
    """What :func:`calibration.state.format_value` gives, at a quarter of the time for ordinary numbers."""
    text = f"{y:.12g}"  # an exponent has an e, inf and nan have an n
    return format_value(y) if "e" in text or "n" in text or text == "-0" else text


def u_text(u: float) -> str:
    """What :func:`calibration.state.format_u` gives, at a quarter of the time for ordinary numbers."""
    text = f"{u:.6g}"
    return format_u(u) if "e" in text or "n" in text else text
