"""`suyuan instrument install`, `replace`, `remove`: where instruments hang, with their registers as read then."""

from __future__ import annotations

import argparse
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from gateway.cli import DONE
from gateway.cli.instants import instant
from gateway.cli.output import UsageError, emit, say
from gateway.cli.register_file import action, actor, writing
from gateway.clock import moment
from gateway.register_words import told

if TYPE_CHECKING:
    from calibration.register import Register

_REGISTER = "MEASURAND=VALUE"


def placing_actions(actions: Any) -> None:
    """Declare install, replace and remove."""
    install = action(
        actions, "install", "put an instrument at a measuring point · 安装到测量点",
        "  suyuan instrument install potline-3 potline-3-in --at 2026-05-10T08:00+08:00"
        " --in energy.active.import=0.00", _install, writes=True,
    )  # fmt: skip
    install.add_argument("point", metavar="POINT")
    install.add_argument("id", metavar="ID")
    install.add_argument(
        "--in",
        dest="registers_in",
        help="its registers as read then",
        action="append",
        default=[],
        metavar=_REGISTER,
    )
    replace = action(
        actions, "replace", "another instrument takes the place of one; needs --reason · 更换仪器",
        "  suyuan instrument replace potline-3 meter-22 --at 2026-11-01T08:00+08:00"
        ' --out energy.active.import=1234.56 --in energy.active.import=0.00 --reason "display failed"',
        _replace, writes=True,
    )  # fmt: skip
    replace.add_argument(
        "point", metavar="POINT|OLD", help="the measuring point, or the instrument that is there"
    )
    replace.add_argument("id", metavar="NEW")
    replace.add_argument(
        "--out",
        dest="registers_out",
        help="the old one's registers as read then",
        action="append",
        default=[],
        metavar=_REGISTER,
    )
    replace.add_argument(
        "--in",
        dest="registers_in",
        help="the new one's registers as read then",
        action="append",
        default=[],
        metavar=_REGISTER,
    )
    remove = action(
        actions, "remove", "take an instrument from its measuring point; needs --reason · 拆除仪器",
        "  suyuan instrument remove potline-3 --out energy.active.import=1234.56 --reason recalibration",
        _remove, writes=True,
    )  # fmt: skip
    remove.add_argument("point", metavar="POINT|ID")
    remove.add_argument(
        "--out",
        dest="registers_out",
        help="its registers as read then",
        action="append",
        default=[],
        metavar=_REGISTER,
    )
    for parser in (install, replace, remove):
        parser.add_argument("--at", metavar="TIME", help="when (default: now): 2026-11-01T08:00+08:00")
        parser.add_argument("--role", help="meter, ct.l1, pt … (default: meter, or where the instrument is)")


def local_time(at: datetime) -> str:
    """A moment as the reader's wall clock shows it."""
    return f"{at.astimezone():%Y-%m-%d %H:%M%z}"


def _read(texts: list[str]) -> dict[str, Decimal]:
    found = {}
    for each in texts:
        name, _, value = each.partition("=")
        try:
            number = Decimal(value.strip())
        except InvalidOperation:
            raise UsageError(f"{each!r}: write a register as energy.active.import=1234.56") from None
        found[name.strip()] = number
    return found


def _place(register: Register, given: argparse.Namespace) -> tuple[str, str]:
    """The measuring point and role that are meant: named, or where the instrument is that was named."""
    from calibration.installation import Installations

    places = Installations(register)
    if given.point in places.points():
        return given.point, given.role or "meter"
    register.instrument(given.point)  # neither a point nor an instrument: refused with similar ids
    held = [each for each in places.bindings(instrument=given.point) if each.until is None]
    if not held:
        raise UsageError(
            f"{given.point} is at no measuring point; install it first: suyuan instrument install POINT {given.point}"
        )
    return held[0].point, held[0].role


def _install(given: argparse.Namespace) -> int:
    from calibration.installation import Installations
    from calibration.plain import to_plain

    at = instant(given.at) if given.at else moment()
    with writing(given) as register:
        done = Installations(register).install(
            given.point, given.id, at=at, role=given.role or "meter", registers=_read(given.registers_in),
            actor=actor(given), reason=given.reason,
        )  # fmt: skip
    say(
        told(
            "installed",
            instrument=done.instrument,
            point=done.point,
            role=done.role,
            since=local_time(done.since),
        )
    )
    if given.json:
        emit(to_plain(done))
    return DONE


def _replace(given: argparse.Namespace) -> int:
    from calibration.installation import Installations
    from calibration.plain import to_plain

    at = instant(given.at) if given.at else moment()
    with writing(given) as register:
        point, role = _place(register, given)
        ended, begun = Installations(register).replace(
            point, given.id, at=at, role=role, registers_out=_read(given.registers_out),
            registers_in=_read(given.registers_in), actor=actor(given), reason=given.reason,
        )  # fmt: skip
    say(
        told(
            "replaced", point=point, role=role, old=ended.instrument, new=begun.instrument, at=local_time(at)
        )
    )
    if given.json:
        emit({"ended": to_plain(ended), "begun": to_plain(begun)})
    return DONE


def _remove(given: argparse.Namespace) -> int:
    from calibration.installation import Installations
    from calibration.plain import to_plain

    at = instant(given.at) if given.at else moment()
    with writing(given) as register:
        point, role = _place(register, given)
        ended = Installations(register).remove(
            point,
            at=at,
            role=role,
            registers=_read(given.registers_out),
            actor=actor(given),
            reason=given.reason,
        )
    say(told("removed", instrument=ended.instrument, point=point, role=role, at=local_time(at)))
    if given.json:
        emit(to_plain(ended))
    return DONE
