"""`suyuan profiles`: the meters that are known, as data; and one's own, checked and put in form."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE, NO
from gateway.cli.output import UsageError, emit, read_text, say

if TYPE_CHECKING:
    from drivers.profile import Profile

EPILOG = """examples:
  suyuan profiles                          all that are known
  suyuan profiles eastron-sdm630           one of them
  suyuan profiles check my-meter.toml      are its exchanges what it says? without a name: all that are known
  suyuan profiles fmt --check *.toml       are these files in form? without --check they are put in form

Exit code 1 if an exchange does not give what the profile says, or a file is not in form."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument(
        "words", metavar="[check|fmt] PROFILE", nargs="*", help="names or files; without any: all, listed"
    )
    parser.add_argument(
        "--check", metavar="FILE", nargs="*", help="fmt: change nothing, say which are not in form"
    )
    parser.add_argument(
        "--dir", metavar="DIR", action="append", default=[], help="a directory with profiles of your own"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """List or show, check, or format."""
    only_check = given.check is not None
    action, words = "", [*given.words, *(given.check or ())]
    if words and words[0] in ("check", "fmt"):
        action, *words = words
    if action == "fmt":
        return _format(words, only_check=only_check)
    if only_check:
        raise UsageError(
            "--check belongs to `suyuan profiles fmt`; exchanges are checked by `suyuan profiles check`"
        )
    profiles = _loaded(words, [Path(directory) for directory in given.dir])
    return _check(profiles, json=given.json) if action else _show(profiles, given, one=bool(words))


def _loaded(words: list[str], extra: list[Path]) -> list[Profile]:
    from drivers.profile import load, names, parse

    found = []
    for word in words or names(extra):
        path = Path(word)
        if path.suffix == ".toml" or "/" in word:
            found.append(parse(read_text(word), path.stem, word))
        else:
            found.append(load(word, extra))
    return found


def _check(profiles: Iterable[Profile], *, json: bool) -> int:
    """Each profile's golden exchanges through the codecs."""
    from drivers import golden

    told = {profile.name: (len(profile.vectors), golden.check(profile)) for profile in profiles}
    if json:
        emit([{"name": name, "exchanges": n, "wrong": list(wrong)} for name, (n, wrong) in told.items()])
    else:
        for name, (n, wrong) in told.items():
            print(f"{name:<32} {'wrong' if wrong else 'right'}  {n} exchanges")
            for complaint in wrong:
                say(complaint)
    return NO if any(wrong for _, wrong in told.values()) else DONE


def _format(words: list[str], *, only_check: bool) -> int:
    """Files put in form, or named if they are not."""
    from drivers.profile_format import formatted

    if not words:
        raise UsageError("which files? suyuan profiles fmt my-meter.toml")
    out_of_form = []
    for word in words:
        text = read_text(word)
        try:
            form = formatted(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{word}: not TOML: {error}") from None
        if form == text:
            continue
        out_of_form.append(word)
        if not only_check:
            Path(word).write_text(form, encoding="utf-8")
        print(f"{word}: {'is not in form' if only_check else 'put in form'}")
    return NO if only_check and out_of_form else DONE


def _show(shown: list[Profile], given: argparse.Namespace, *, one: bool) -> int:
    rows = [
        {
            "name": profile.name,
            "protocol": profile.protocol,
            "maker": profile.maker,
            "model": profile.model,
            "source": str(profile.source),
            "number": None if profile.nameplate is None else profile.nameplate.where,
            "points": [
                {
                    "measurand": p.measurand,
                    "item": p.where,
                    "unit": p.unit,
                    "side": p.side,
                    "scale": str(p.scale),
                    "resolution": None if p.resolution is None else f"{p.resolution:f}",
                    "modulus": None if p.modulus is None else f"{p.modulus:f}",
                }
                for p in profile.points
            ],
        }
        for profile in shown
    ]
    if given.json:
        emit(rows)
        return DONE
    for row, profile in zip(rows, shown, strict=True):
        print(f"{row['name']:<32} {row['protocol']:<12} {row['maker']} {row['model']}")
        if one:
            print(f"  source: {row['source']}")
            if profile.nameplate is not None:
                place = profile.nameplate
                print(f"  {place.where:<20} the meter's number ({place.type}): {place.source}")
            for point in profile.points:
                step = "" if point.resolution is None else f"step {point.resolution:f}"
                print(
                    f"  {point.where:<20} {point.measurand:<28} {point.unit:<7} ×{point.scale} {point.side}"
                    f" {step} {point.basis}".rstrip()
                )
    return DONE
