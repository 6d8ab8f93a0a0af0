"""`suyuan affected`: what leans on a standard, an instrument or a certificate that was found wrong, and by how much."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, say
from gateway.cli.register_file import (
    actor,
    answered,
    day,
    reading,
    register_arguments,
    table,
    write_out,
    writing,
)
from gateway.register_words import told
from gateway.words import measurand_name

if TYPE_CHECKING:
    from datetime import date

    from calibration.affected import Affected, Reached
    from calibration.records import Finding
    from calibration.register import Register
    from evidence.verify import Read

EPILOG = """Without --log or --store it says which calibrations lean on the subject, level by level. With --shift
and a log it says which readings and aggregates are out, and by how much. --shift is the error found
beyond what was known (indication minus truth). Nothing is edited: --advice writes what the log should
say; laid into the data directory's `advice` folder, a running agent logs it.

examples:
  suyuan affected std-017 --from 2026-03-01 --to 2026-09-30
  suyuan affected std-017 --from 2026-03-01 --shift 0.03 --log http://gateway:8475
  suyuan affected NMC-2026-00815 --from 2026-05-01 --shift 0.1 --log ./copy --advice data/advice/std-017.json
  suyuan affected std-017 --from 2026-03-01 --shift 0.03 --report --reason "found 0.03 % high at NIM"

The log is read as it stands: verify it first (suyuan verify)."""
_SHOWN = 20


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument(
        "subject", metavar="STANDARD|CERTIFICATE", help="an instrument's or a certificate's id"
    )
    parser.add_argument(
        "--from", dest="first", metavar="DATE", required=True, help="the first day it was wrong"
    )
    parser.add_argument("--to", dest="last", metavar="DATE", help="the last day (default: until now)")
    parser.add_argument("--shift", metavar="NUMBER", help="how far it was out, in --unit")
    parser.add_argument("--unit", default="%", help="of the shift (default: %%, of the value)")
    parser.add_argument("--log", metavar="PATH|URL", help="a log: its address, a mirror, or a data directory")
    parser.add_argument("--store", metavar="DIR", type=Path, help="a platform's store")
    parser.add_argument("--origin", default="", help="one log of the store, by its name")
    parser.add_argument("--advice", metavar="FILE.json", type=Path, help="write the advice for that log")
    parser.add_argument(
        "--report", action="store_true", help="keep the finding in the register; needs --reason"
    )
    register_arguments(parser, writes=True)


def run(command: str, given: argparse.Namespace) -> int:
    """Find out, show, write."""
    return answered(_run, command, given)


def _run(given: argparse.Namespace) -> int:
    from calibration.affected import affected, reach
    from calibration.plain import to_plain

    sourced = bool(given.log or given.store)
    if given.log and given.store:
        raise UsageError("--log or --store, not both")
    if sourced and given.shift is None:
        raise UsageError("--shift is needed to say how far readings are out: --shift 0.03")
    if given.advice and not sourced:
        raise UsageError("--advice needs the log that it speaks of: --log or --store")
    with writing(given) if given.report else reading(given) as register:
        finding = _finding(register, given)
        reached = reach(register, finding)
        if given.report:
            register.report_finding(finding, actor=actor(given))
    found: dict[str, Affected] = {}
    if sourced:
        with ExitStack() as stack:
            for log in _logs(given, stack):
                names = {one.instrument for one in reached}
                found[log.origin] = affected(finding, reached, log.states(names), log.rows(names))
    if given.advice:
        _write_advice(given, found)
    if given.json:
        emit(
            {
                "finding": to_plain(finding),
                "reached": [_plain_reached(one) for one in reached],
                "logs": [_plain(origin, one) for origin, one in found.items()],
            }
        )
    else:
        _show(finding, reached, found)
    return DONE


def _finding(register: Register, given: argparse.Namespace) -> Finding:
    from calibration.records import Finding
    from calibration.refusals import UnknownCertificate, UnknownInstrument

    first, last = day(given.first), day(given.last) if given.last else None
    if last is not None and last < first:
        raise UsageError(f"--to {last} lies before --from {first}")
    about = "instrument"
    try:
        register.instrument(given.subject)
    except UnknownInstrument as unknown:
        about = "certificate"
        try:
            register.certificate(given.subject)
        except UnknownCertificate as other:
            raise unknown.along_with([other]) from None
    name = f"{given.subject}@{first.isoformat()}"[:80]
    return Finding(name, about, given.subject, first, last, given.reason, _shift(given.shift), given.unit)


def _shift(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise UsageError(f"--shift {text}: is not a number; write it with a point: 0.03")
    return number


class _Log:
    """A log's entries, as often as they are asked for."""

    def __init__(self, read: Read) -> None:
        from evidence.errors import ParseError
        from evidence.note import Checkpoint, Note

        self._read = read
        try:
            head = Checkpoint.parse(Note.parse(read("checkpoint") or b"").text)
        except ParseError as error:
            raise UsageError(f"the log has no checkpoint that can be read: {error}") from None
        self.origin, self.size = head.origin, head.size

    def entries(self, kinds: Sequence[bytes]) -> Iterator[tuple[int, Any]]:
        """The records of some kinds, with their index."""
        from evidence.errors import ParseError
        from evidence.record import decode
        from gateway.cli.recomputing import entries_of

        starts = tuple(b'{"type":"%s"' % kind for kind in kinds)
        for index, data in entries_of(self._read):
            if data.startswith(starts):
                try:
                    yield index, decode(data)
                except ParseError as error:
                    raise UsageError(f"{self.origin}: entry {index} is no record: {error}") from None

    def states(self, instruments: set[str]) -> list[Any]:
        """The calibration states of these instruments."""
        from calibration.state import CalibrationState

        made = (CalibrationState.from_json(bytes(r.body)) for _, r in self.entries((b"calibration_state",)))
        return [state for state in made if state.instrument in instruments]

    def rows(self, instruments: set[str]) -> Iterator[Any]:
        """Their readings' results and aggregates."""
        import msgspec

        from calibration.affected import rows_of

        for index, record in self.entries((b"reading", b"aggregate")):
            names = getattr(record, "instruments", None) or (record.instrument,)
            if instruments & set(names):
                yield from rows_of(msgspec.to_builtins(record), index)


def _logs(given: argparse.Namespace, stack: ExitStack) -> Iterator[_Log]:
    say(told("affected.unverified"))
    if given.store is None:
        yield _Log(stack.enter_context(_reader(given.log, given.origin)))
        return
    import tempfile

    from central.mirror import mirror
    from central.store import Store, StoreError
    from evidence.command import directory_reader

    if not (given.store / "central.db").exists():
        raise UsageError(f"{given.store}: is no platform's store (there is no central.db in it)")
    try:
        with Store(given.store) as store:
            gateways = [one for one in store.gateways() if given.origin in ("", one.origin)]
            if not gateways:
                known = ", ".join(one.origin for one in store.gateways()) or "none"
                raise UsageError(f"{given.store}: there is no log {given.origin!r}; it has {known}")
            for gateway in gateways:
                copy = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                mirror(store, gateway, copy)
                yield _Log(directory_reader(copy))
    except StoreError as error:
        raise UsageError(str(error)) from None


@contextmanager
def _reader(source: str, origin: str) -> Iterator[Read]:
    from evidence.command import directory_reader
    from gateway.cli.remote_log import remote_reader

    place = Path(source)
    if "://" in source:
        yield remote_reader(source)
    elif (place / "log.db").exists():
        from gateway.cli.stored import stored_reader
        from gateway.key_holder import name_of

        with stored_reader(place, origin or name_of(place / "log.key")) as read:
            yield read
    elif place.is_dir():
        yield directory_reader(place)
    else:
        raise UsageError(f"{source}: there is no such directory")


def _write_advice(given: argparse.Namespace, found: dict[str, Affected]) -> None:
    from gateway.advice import written

    hit = {origin: one for origin, one in found.items() if one.rows}
    if not hit:
        say(told("none.found"))
        return
    if len(hit) > 1:
        raise UsageError(f"advice is for one log; choose by --origin: {', '.join(hit)}")
    if not given.reason.strip():
        raise UsageError("--advice needs --reason: what the log should say was wrong")
    ((origin, one),) = hit.items()
    write_out(given.advice, written(one.advice(), origin))


def _plain_reached(one: Reached) -> dict[str, Any]:
    from calibration.plain import to_plain

    return {
        "instrument": one.instrument,
        "certificate": one.certificate,
        "level": one.level,
        "through": one.via,
        "first": one.first.isoformat(),
        "last": to_plain(one.last),
        "u": to_plain(one.u),
    }


def _plain(origin: str, one: Affected) -> dict[str, Any]:
    from calibration.plain import to_plain

    return {
        "origin": origin,
        "instruments": list(one.instruments),
        "states": list(one.states),
        "totals": [
            {"kind": kind, "measurand": measurand, "unit": unit, "effect": str(effect)}
            for (kind, measurand, unit), effect in one.totals().items()
        ],
        "rows": [
            {
                "entry": each.row.index,
                "kind": each.row.kind,
                "instruments": list(each.row.instruments),
                "measurand": each.row.measurand,
                "unit": each.row.unit,
                "from": each.row.begin.isoformat(),
                "to": each.row.end.isoformat(),
                "value": str(each.row.value),
                "effect": to_plain(each.effect),
                "exact": each.exact,
                "corrected": to_plain(each.corrected),
            }
            for each in one.rows
        ],
    }


def _show(finding: Finding, reached: tuple[Reached, ...], found: dict[str, Affected]) -> None:
    last: date | str = finding.last or told("still")
    print(
        told(
            "affected.reach", subject=finding.subject, first=finding.first, last=last, count=len(reached) - 1
        )
    )
    heads = ("level", "instrument", "certificate", "via", "from", "to")
    rows: list[list[object]] = [[told(f"head.{name}") for name in heads]]
    rows += [[r.level, r.instrument, r.certificate, r.via, r.first, r.last or told("still")] for r in reached]
    table(rows, "  ")
    for origin, one in found.items():
        _show_log(origin, one)


def _show_log(origin: str, one: Affected) -> None:
    readings = sum(each.row.kind == "reading" for each in one.rows)
    print()
    print(told("affected.rows", readings=readings, aggregates=len(one.rows) - readings, origin=origin))
    for (kind, measurand, unit), sum_ in one.totals().items():
        if kind == "aggregate":  # the sum over readings of a power says nothing
            total = f"{sum_:.6g} {unit}"
            print(told("affected.total", kind=told(kind), measurand=measurand_name(measurand), effect=total))
    unsettled = sum(not each.exact for each in one.rows)
    if unsettled:
        print(told("affected.unsettled", count=unsettled))
    if not one.rows:
        return
    heads = ("entry", "kind", "instrument", "measurand", "value", "effect", "corrected")
    rows: list[list[object]] = [[told(f"head.{name}") for name in heads]]
    shown = sorted(one.rows, key=lambda each: (each.row.kind, each.row.index))[:_SHOWN]
    for each in shown:
        value = f"{each.row.value} {each.row.unit}".strip()
        effect = "?" if each.effect is None else f"{'' if each.exact else '<= '}{each.effect:+.4g}"
        corrected = "" if each.corrected is None else f"{each.corrected:.10g}"
        what = measurand_name(each.row.measurand)
        instruments = ", ".join(each.row.instruments)
        rows.append([each.row.index, told(each.row.kind), instruments, what, value, effect, corrected])
    table(rows, "  ")
    if len(one.rows) > len(shown):
        print(told("affected.more", count=len(one.rows) - len(shown)))
