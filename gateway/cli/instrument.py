"""`suyuan instrument`: instruments added, changed, found, labelled, and tables of them in and out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import DONE
from gateway.cli.output import UsageError, emit, say
from gateway.cli.placing import local_time, placing_actions
from gateway.cli.register_file import (
    action,
    actor,
    answered,
    form_answers,
    form_arguments,
    listed,
    on_terminal,
    read_bytes,
    reading,
    table,
    today,
    write_out,
    writing,
)
from gateway.instrument_form import INSTRUMENT
from gateway.register_words import told, worded
from gateway.words import language

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calibration.register import Register


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    parser.epilog = "example:\n  suyuan instrument add --help"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _changing(actions)
    _showing(actions)
    placing_actions(actions)


def run(_command: str, given: argparse.Namespace) -> int:
    """Run the action."""
    return answered(given.work, f"instrument {given.action}", given)


def _changing(actions: Any) -> None:
    add = action(
        actions, "add", "register an instrument; asks field by field on a terminal · 登记仪器",
        "  suyuan instrument add\n"
        "  suyuan instrument add potline-3-in --kind meter --serial 2026-0815 --accuracy-class 0.5S --rated-current 5",
        _add, writes=True,
    )  # fmt: skip
    add.add_argument("id", metavar="ID", nargs="?")
    add.add_argument("--guided", action="store_true", help="ask for everything that was not given")
    form_arguments(add, INSTRUMENT, skip=("id",))
    change = action(
        actions, "change", "correct an instrument's data; needs --reason · 更正仪器资料",
        '  suyuan instrument change potline-3-in --place "Potline 3, panel 4" --reason "moved to panel 4"',
        _change, writes=True,
    )  # fmt: skip
    change.add_argument("id", metavar="ID")
    form_arguments(change, INSTRUMENT, skip=("id",))
    gone = action(
        actions, "withdraw", "take an instrument out of use; needs --reason · 停用仪器",
        '  suyuan instrument withdraw meter-17 --reason "scrapped after a short circuit"', _withdraw, writes=True,
    )  # fmt: skip
    gone.add_argument("id", metavar="ID")
    take = action(
        actions, "import", "register the instruments of a CSV or Excel table · 从 CSV 或 Excel 登记",
        "  suyuan instrument import instruments.xlsx\n  suyuan instrument import meters.csv --reason stocktaking",
        _import, writes=True,
    )  # fmt: skip
    take.add_argument("file", metavar="FILE.csv|.xlsx", type=Path)
    take.add_argument("--sheet", default="", help="the sheet of an Excel file (default: the first)")


def _showing(actions: Any) -> None:
    found = action(
        actions, "list", "instruments, with their next calibration · 仪器清单",
        "  suyuan instrument list --kind meter\n  suyuan instrument list --text potline --json", _list,
    )  # fmt: skip
    _filters(found)
    show = action(
        actions,
        "show",
        "everything about one instrument · 显示仪器",
        "  suyuan instrument show potline-3-in",
        _show,
    )
    show.add_argument("id", metavar="ID")
    give = action(
        actions, "export", "instruments as a CSV or Excel table · 导出仪器表",
        "  suyuan instrument export -o instruments.xlsx", _export,
    )  # fmt: skip
    _filters(give)
    give.add_argument("-o", "--output", metavar="FILE.csv|.xlsx", type=Path, required=True)
    label = action(
        actions, "label", "labels with a QR code, in the terminal or as SVG · 打印标签",
        "  suyuan instrument label potline-3-in\n  suyuan instrument label --all -o labels.svg", _label,
    )  # fmt: skip
    label.add_argument("ids", metavar="ID", nargs="*")
    label.add_argument("--all", action="store_true", help="every instrument in use")
    label.add_argument("-o", "--output", metavar="FILE.svg", type=Path, help="50 x 30 mm each, sheets of A4")


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", metavar="KIND", help="meter, ct, pt, reference_standard …")
    parser.add_argument("--place", metavar="PLACE", help="those at exactly this place")
    parser.add_argument("--text", default="", help="looked for in id, tag, serial number, model and place")
    parser.add_argument("--withdrawn", action="store_true", help="the ones out of use too")


def _add(given: argparse.Namespace) -> int:
    from gateway.forms import instrument_from

    answers = form_answers(INSTRUMENT, given) | ({"id": given.id} if given.id else {})
    who = actor(given)
    with writing(given) as register:

        def save(answers: Mapping[str, str]) -> str:
            made = instrument_from(answers, language())
            register.add_instrument(made, actor=who, reason=given.reason)
            return made.id

        if on_terminal() and (given.guided or not given.id):
            from gateway.cli.entry import Console, Draft, guided

            draft = Draft(given.register, INSTRUMENT)
            name = guided(INSTRUMENT, Console(), draft, register, language(), save, answers)
            if name is None:
                return DONE
        elif missing := INSTRUMENT.missing(answers):
            raise UsageError(
                f"missing: {', '.join(missing)}; give them as options, or run it on a terminal to be asked"
            )
        else:
            name = save(answers)
        say(told("made.instrument", id=name))
        if given.json:
            from calibration.plain import to_plain

            emit(to_plain(register.instrument(name)))
    return DONE


def _change(given: argparse.Namespace) -> int:
    from gateway.forms import answers_of, instrument_from

    changes = form_answers(INSTRUMENT, given)
    with writing(given) as register:
        answers = answers_of(register.instrument(given.id)) | changes
        made = instrument_from({name: text for name, text in answers.items() if text != "-"}, language())
        register.change_instrument(made, actor=actor(given), reason=given.reason)
    say(told("changed.instrument", id=given.id))
    return DONE


def _withdraw(given: argparse.Namespace) -> int:
    with writing(given) as register:
        register.withdraw_instrument(given.id, actor=actor(given), reason=given.reason)
    say(told("withdrawn", id=given.id))
    return DONE


def _import(given: argparse.Namespace) -> int:
    from calibration.tables import instruments_from, read_csv, read_excel

    data = read_bytes(given.file)
    excel = given.file.suffix.lower() == ".xlsx"
    made = instruments_from(read_excel(data, given.sheet) if excel else read_csv(data, given.file.name))
    with writing(given) as register:
        register.add(instruments=made, actor=actor(given), reason=given.reason or given.file.name)
    say(told("made.instruments", count=len(made)))
    if given.json:
        emit({"registered": [instrument.id for instrument in made]})
    return DONE


def _found(register: Register, given: argparse.Namespace) -> tuple[Any, ...]:
    from calibration.certificate import InstrumentKind

    try:
        kind = InstrumentKind(given.kind) if given.kind else None
    except ValueError:
        raise UsageError(f"--kind {given.kind}: there are {', '.join(InstrumentKind)}") from None
    return register.instruments(
        kind=kind, place=given.place, text=given.text, include_withdrawn=given.withdrawn
    )


def _list(given: argparse.Namespace) -> int:
    from calibration.intervals import due_list
    from calibration.plain import to_plain
    from calibration.words import say as words

    with reading(given) as register:
        found = _found(register, given)
        due = {d.instrument.id: d for d in due_list(found, register.certificates(), today())}
    if given.json:
        emit(
            [to_plain(i) | {"due": to_plain(due[i.id].due), "state": due[i.id].urgency.value} for i in found]
        )
        return DONE
    heads = ("id", "kind", "model", "serial", "class", "place", "due", "state")
    rows: list[list[object]] = [[told(f"head.{name}") for name in heads]]
    for each in found:
        next_ = due[each.id]
        state = words(next_.urgency.value, language())
        rows.append(
            [each.id, each.kind, each.model, each.serial, each.accuracy_class, each.place, next_.due, state]
        )
    table(rows)
    return DONE


def _show(given: argparse.Namespace) -> int:
    from calibration.installation import Installations
    from calibration.plain import to_plain
    from gateway.forms import answers_of

    with reading(given) as register:
        record = register.instrument_record(given.id)
        certificates = register.certificate_records(instrument=given.id)
        places = Installations(register)
        bindings, events = places.bindings(instrument=given.id), places.events(instrument=given.id)
        papers = register.documents(instrument=given.id)
        findings = register.findings(instrument=given.id)
        history = register.audit("instrument", given.id)
    if given.json:
        emit(
            to_plain(record.instrument)
            | {
                "registered": record.registered.isoformat(),
                "withdrawn": to_plain(record.withdrawn),
                "certificates": [
                    to_plain(each.certificate) for each in certificates if each.withdrawn is None
                ],
                "places": [to_plain(each) for each in bindings],
                "events": [to_plain(each) for each in events],
                "papers": [to_plain(each) for each in papers],
                "findings": [to_plain(each) for each in findings],
            }
        )
        return DONE
    answers = answers_of(record.instrument)
    words = {name: worded(text) if name == "kind" else text for name, text in answers.items()}
    if "mpe" not in words:  # the unit of a limit that nobody stated says nothing
        words.pop("mpe_unit", None)
    listed({f.titled(language()): words[f.name] for f in INSTRUMENT.fields if f.name in words})
    if (gone := record.withdrawn) is not None:
        print(told("show.withdrawn", at=gone.at.date(), by=gone.by, reason=gone.reason))
    _section("show.certificates", [
        [each.certificate.id, each.certificate.performed, each.certificate.laboratory,
         "" if each.withdrawn is None else told("withdrawn", id=f"{each.withdrawn.at:%Y-%m-%d}")]
        for each in certificates
    ])  # fmt: skip
    _section(
        "show.places",
        [
            [b.point, b.role, local_time(b.since), "…" if b.until is None else local_time(b.until)]
            for b in bindings
        ],
    )
    _section("show.findings", [[f.id, f.first, f.last or "…", f.shift, f.unit, f.reason] for f in findings])
    _section("show.papers", [[p.name, p.media_type, p.digest] for p in papers])
    _section(
        "show.history",
        [[f"{h.at:%Y-%m-%d %H:%M}Z", h.actor, worded(h.action), h.reason] for h in history],
    )
    return DONE


def _section(title: str, rows: list[list[object]]) -> None:
    if rows:
        print(f"\n{told(title)}")
        table(rows, "  ")


def _export(given: argparse.Namespace) -> int:
    from calibration.tables import instrument_rows, write_csv, write_excel

    with reading(given) as register:
        header, rows = instrument_rows(_found(register, given), language())
    excel = given.output.suffix.lower() == ".xlsx"
    return write_out(
        given.output, write_excel({"instruments": (header, rows)}) if excel else write_csv(header, rows)
    )


def _label(given: argparse.Namespace) -> int:
    from calibration.intervals import due
    from gateway.label import label_of, svg, text

    with reading(given) as register:
        instruments = (
            register.instruments() if given.all else [register.instrument(name) for name in given.ids]
        )
        on = today()
        labels = [label_of(i, due(i, register.certificates(i.id), on).due) for i in instruments]
    if not labels:
        raise UsageError("whose label? give ids, or --all")
    if given.output is not None:
        return write_out(given.output, svg(labels, language()).encode())
    if given.json:
        from calibration.plain import to_plain

        emit([to_plain(label) for label in labels])
        return DONE
    for label in labels:
        print(text(label, language()))
    return DONE
