"""`suyuan profiles`: the meters that are known, as data."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE
from gateway.cli.output import emit


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "profile", metavar="PROFILE", nargs="?", help="show this one (a name or a file); without it: list all"
    )
    parser.add_argument(
        "--dir", metavar="DIR", action="append", default=[], help="a directory with profiles of your own"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """List or show."""
    from drivers.profile import load, names

    extra = [Path(directory) for directory in given.dir]
    shown = [load(name, extra) for name in ([given.profile] if given.profile else names(extra))]
    rows = [
        {
            "name": profile.name,
            "protocol": profile.protocol,
            "maker": profile.maker,
            "model": profile.model,
            "source": str(profile.source),
            "points": [
                {
                    "measurand": p.measurand,
                    "item": p.item,
                    "unit": p.unit,
                    "side": p.side,
                    "scale": str(p.scale),
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
        if given.profile:
            print(f"  source: {row['source']}")
            for point in profile.points:
                print(f"  {point.item:<10} {point.measurand:<28} {point.unit:<7} ×{point.scale} {point.side}")
    return DONE
