"""`suyuan interval`: what an instrument's history suggests for its interval. It suggests, it never applies."""

from __future__ import annotations

import argparse
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, say
from gateway.cli.register_file import answered, reading, register_arguments, table
from gateway.register_words import told
from gateway.words import language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibration.certificate import Certificate, Instrument
    from calibration.intervals import Chart, Suggestion

EPILOG = """The staircase (OIML D 10) looks at the worst error of the newest calibration as found, against its MPE;
the control chart follows the drift at each operating point over all calibrations; --group tests the
interval of all instruments of the same model (method A3 of NCSLI RP-1). A suggestion comes into force
only by `suyuan instrument change`.

examples:
  suyuan interval potline-3-in
  suyuan interval potline-3-in --quantity energy.active --json
  suyuan interval potline-3-in --group --target 0.95 --confidence 0.9"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("instrument", metavar="INSTRUMENT")
    parser.add_argument("--quantity", help="only this quantity's operating points")
    parser.add_argument(
        "--group", action="store_true", help="test the interval of all instruments of its model"
    )
    parser.add_argument("--target", type=_share, default=0.95, help="reliability wanted (default 0.95)")
    parser.add_argument(
        "--confidence", type=_share, default=0.9, help="before the interval changes (default 0.9)"
    )
    register_arguments(parser)


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return share


def run(command: str, given: argparse.Namespace) -> int:
    """Chart and suggest."""
    return answered(_run, command, given)


def _run(given: argparse.Namespace) -> int:
    with reading(given) as register:
        instrument = register.instrument(given.instrument)
        certificates = register.certificates(given.instrument)
        group = _group(register, instrument, given) if given.group else None
    if not certificates:
        raise UsageError(told("interval.none", instrument=given.instrument))
    current, because = in_force(instrument, certificates)
    charts = _charts(instrument, certificates, given.quantity)
    suggestions: list[Suggestion] = [*_staircase(instrument, certificates, current)]
    suggestions += [found for chart in charts if (found := chart.suggest(current)) is not None]
    if group is not None:
        suggestions.append(group)
    if given.json:
        emit(_document(instrument, current, because, charts, suggestions))
        return DONE
    print(told("interval.now", instrument=instrument.id, days=current, because=told(f"interval.{because}")))
    if charts:
        heads = ("point", "drift", "state", "limit", "reaches")
        table([[told(f"head.{name}") for name in heads], *map(_row, charts)], "  ")
    else:
        say(told("interval.few"))
    for each in suggestions:
        if each.interval_days != current:
            why = each.text(language())
            method = told(f"interval.method-{each.method}")
            print(told("interval.suggest", method=method, days=each.interval_days, because=why))
    if all(each.interval_days == current for each in suggestions):
        print(told("interval.keep"))
    return DONE


def in_force(instrument: Instrument, certificates: Sequence[Certificate]) -> tuple[int, str]:
    """The interval in days, and what it rests on: ``agreed``, ``certified`` or ``observed``."""
    from calibration.records import months_later

    regular = sorted((c for c in certificates if c.resets_cycle), key=lambda c: c.performed)
    newest = regular[-1] if regular else max(certificates, key=lambda c: c.performed)
    if instrument.interval_months is not None:
        end = months_later(newest.performed, instrument.interval_months)
        return (end - newest.performed).days, "agreed"
    if newest.valid_until is not None and newest.valid_until > newest.performed:
        return (newest.valid_until - newest.performed).days, "certified"
    days = sorted({c.performed for c in regular})
    if len(days) > 1:
        return (days[-1] - days[-2]).days, "observed"
    command = f"suyuan instrument change {instrument.id} --interval-months 12 --reason …"
    raise UsageError(told("interval.unknown", instrument=instrument.id, command=command))


def _charts(instrument: Instrument, certificates: Sequence[Certificate], quantity: str | None) -> list[Chart]:
    from calibration.conformity import limits
    from calibration.intervals import chart, operating_points

    limit = limits(instrument, max(certificates, key=lambda c: c.performed))
    made = []
    for name, load, power_factor in operating_points(certificates):
        if quantity not in (None, name):
            continue
        point = next(
            p
            for c in certificates
            for p in c.points
            if (p.quantity, p.load, p.power_factor) == (name, load, power_factor)
        )
        try:
            made.append(
                chart(certificates, quantity=name, load=load, power_factor=power_factor, mpe=limit(point))
            )
        except ValueError:
            continue  # one day only, or units that differ: nothing to chart at this point
    return made


def _staircase(instrument: Instrument, certificates: Sequence[Certificate], current: int) -> list[Suggestion]:
    """What the newest calibration says by its worst error before any adjustment."""
    from calibration.conformity import limits
    from calibration.intervals import Staircase

    newest = max((c for c in certificates if c.points), key=lambda c: c.performed, default=None)
    if newest is None or (newest.adjusted and not newest.as_found):
        return []  # what it was found with nobody wrote down
    limit = limits(instrument, newest)
    points = newest.as_found or newest.points
    ratios = [float(abs(p.error) / mpe) for p in points if (mpe := limit(p))]
    return [Staircase().suggest(max(ratios), current)] if ratios else []


def _group(register: Any, instrument: Instrument, given: argparse.Namespace) -> Suggestion:
    from calibration.conformity import limits
    from calibration.intervals import a3

    alike = [
        other
        for other in register.instruments(kind=instrument.kind)
        if (other.manufacturer, other.model) == (instrument.manufacturer, instrument.model)
    ]
    judged: list[bool] = []
    for other in alike:
        for certificate in register.certificates(other.id):
            if certificate.adjusted and not certificate.as_found:
                continue
            limit = limits(other, certificate)
            found = [
                abs(p.error) <= mpe for p in certificate.as_found or certificate.points if (mpe := limit(p))
            ]
            if found:
                judged.append(all(found))
    if not judged:
        raise UsageError(told("interval.no_mpe", model=instrument.model or instrument.id))
    current, _ = in_force(instrument, register.certificates(instrument.id))
    return a3(
        calibrations=len(judged), in_tolerance=sum(judged), interval_days=current, target=given.target,
        confidence=given.confidence,
    ).suggestion  # fmt: skip


def _row(chart: Chart) -> list[object]:
    reaches = chart.reaches_mpe()
    point = f"{chart.quantity} {chart.load} @ {chart.power_factor}"
    drift = f"{chart.slope:+.3g} ± {chart.k * chart.u_slope:.2g} {chart.unit} (k={chart.k:.2f})"
    state = told("interval.significant" if chart.significant else "interval.scatter")
    return [point, drift, state, _limit(chart.mpe), reaches or "-"]


def _limit(mpe: Decimal | None) -> str:
    return "" if mpe is None else f"±{mpe}"


def _document(
    instrument: Instrument, current: int, because: str, charts: list[Chart], suggestions: list[Suggestion]
) -> dict[str, Any]:
    from calibration.plain import to_plain

    return {
        "instrument": instrument.id,
        "interval_days": current,
        "because": because,
        "charts": [
            {
                "quantity": chart.quantity,
                "load": str(chart.load),
                "power_factor": str(chart.power_factor),
                "unit": chart.unit,
                "points": [to_plain(point) for point in chart.points],
                "mpe": to_plain(chart.mpe),
                "slope_per_year": chart.slope,
                "U_slope": chart.k * chart.u_slope,
                "k": chart.k,
                "significant": chart.significant,
                "birge": chart.birge,
                "reaches_mpe": to_plain(chart.reaches_mpe()),
            }
            for chart in charts
        ],
        "suggestions": [
            {
                "method": each.method,
                "interval_days": each.interval_days,
                "was_days": each.was_days,
                "because": each.because,
            }
            for each in suggestions
        ],
        "language": language(),
    }
