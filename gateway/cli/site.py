"""`suyuan check` and `suyuan run`: a site looked over, and a site run."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import DONE, WRONG_USE
from gateway.cli.error_words import told
from gateway.cli.output import emit, say
from gateway.words import phrase

if TYPE_CHECKING:
    from gateway.config import SiteFile
    from gateway.freezing import FreezePlan
    from gateway.prepared import Prepared
    from gateway.toml_source import Problem

CHECK_EPILOG = """Reads the site file and its certificates, compiles the calibration states, counts the line time, and
tries every port. Nothing is started and nothing is written. Every mistake is told with file, line, column and
what to do.

examples:
  suyuan check site.toml
  suyuan check site.toml --no-ports      on a desk without the meters
  suyuan check --schema > site.schema.json      for editors"""
RUN_EPILOG = """Checks the site as `suyuan check` does, then reads, corrects, signs, stores and serves until SIGINT or
SIGTERM. The log's key is made on first use in the data directory; `suyuan key show data/log.key`
prints the verification key.

example:
  suyuan run site.toml"""


def arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    if command == "check":
        parser.epilog = CHECK_EPILOG
        parser.add_argument("site", metavar="SITE.toml", type=Path, nargs="?")
        parser.add_argument("--no-ports", action="store_true", help="do not try the ports")
        parser.add_argument("--schema", action="store_true", help="print the JSON Schema of site files")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    else:
        parser.epilog = RUN_EPILOG
        parser.add_argument("site", metavar="SITE.toml", type=Path)
        parser.add_argument("--for", dest="duration", metavar="30s", help="stop after this time")


def run(command: str, given: argparse.Namespace) -> int:
    """Check, or run."""
    return _check(given) if command == "check" else _run(given)


def _check(given: argparse.Namespace) -> int:
    from gateway.cli.output import UsageError
    from gateway.clock import moment
    from gateway.config import Site, SiteFile
    from gateway.prepare import prepare
    from gateway.toml_source import ConfigError

    if given.schema:
        print(json.dumps(Site.model_json_schema(by_alias=True), ensure_ascii=False, indent=2))
        return DONE
    if given.site is None:
        raise UsageError("which site file? suyuan check SITE.toml")
    try:
        prepared = prepare(SiteFile(given.site), moment)
        problems, unseen = _unusable_keys(prepared.file)
        prepared = replace(prepared, warnings=(*prepared.warnings, *unseen))
        problems += [] if given.no_ports else asyncio.run(_tried(prepared))
    except ConfigError as error:
        prepared, problems = None, list(error.problems)
    if given.json:
        emit(_document(prepared, problems))
    else:
        _tell(given.site, prepared, problems)
    return WRONG_USE if problems else DONE


def _unusable_keys(site: SiteFile) -> tuple[list[Problem], list[Problem]]:
    """What would keep the log from being signed; and what whoever asks here may not look at. Makes no key."""
    from gateway.keys import KeyFileError
    from gateway.site_keys import key_ring, second_ring

    problems: list[Problem] = []
    unseen: list[Problem] = []
    place = ("log", "key") if "key" in site.site.log.model_fields_set else ("site", "data")
    try:
        for ring in [key_ring(site), *([second_ring(site)] if site.site.log.sm2 else ())]:
            if ring.path.exists() and not os.access(ring.path, os.R_OK):
                raise PermissionError
            ring.look()
    except PermissionError:
        message = phrase("check.key_unseen", data=site.data)
        unseen.append(site.source.problem(place, message, phrase("check.key_unseen_hint"), "C151"))
    except KeyFileError as error:
        problems.append(site.source.problem(place, told(str(error)), "", "C151"))
    return problems, unseen


async def _tried(prepared: Prepared) -> list[Problem]:
    """What is found out by trying each port, and by asking servers that notify for each value once."""
    from gateway.listening import unheard
    from gateway.prepare import unreachable

    return [*await unreachable(prepared), *await unheard(prepared)]


def _plain(problem: Problem) -> dict[str, str | int]:
    return {
        name: getattr(problem, name) for name in ("code", "file", "line", "column", "key", "message", "hint")
    }


def _document(prepared: Prepared | None, problems: list[Problem]) -> dict[str, object]:
    from gateway.prepared import PreparedBus

    lines = prepared.lines if prepared else ()
    return {
        "ok": not problems,
        "serve": prepared.file.site.serve.listen if prepared else None,
        "problems": [_plain(problem) for problem in problems],
        "warnings": [_plain(problem) for problem in prepared.warnings] if prepared else [],
        "buses": [
            {
                "name": bus.config.name,
                "port": bus.port,
                "share": round(bus.share, 4) if isinstance(bus, PreparedBus) else None,
                "freeze": bus.freeze.plain() if isinstance(bus, PreparedBus) and bus.freeze else None,
                "instruments": [
                    {
                        "id": meter.config.id,
                        "profile": meter.profile.name,
                        "state": meter.state.digest,
                        "certificates": [use.id for use in meter.state.certificates],
                        "flags": [str(flag) for flag in meter.state.flags],
                    }
                    for meter in bus.meters
                ],
            }
            for bus in lines
        ],
    }


def _tell(file: Path, prepared: Prepared | None, problems: list[Problem]) -> None:
    from gateway.prepared import PreparedBus

    for problem in problems:
        say(str(problem))
    if prepared is None:
        return
    for warning in prepared.warnings:
        say(f"{phrase('check.warning')}: {warning}")
    for bus in prepared.lines:
        if isinstance(bus, PreparedBus):
            print(phrase("check.budget", bus=bus.config.name, share=f"{100 * bus.share:.1f}"))
            if bus.freeze is not None:
                print(_frozen(bus.config.name, bus.freeze))
        else:
            print(phrase("check.pushed", bus=bus.config.name, port=bus.port))
        for meter in bus.meters:
            names = ", ".join(use.id for use in meter.state.certificates) or phrase("check.none")
            flags = f" [{', '.join(map(str, meter.state.flags))}]" if meter.state.flags else ""
            print(
                "  "
                + phrase(
                    "check.state",
                    instrument=meter.config.id,
                    certificates=names,
                    digest=meter.state.digest[:12],
                )
                + flags
            )
    if not problems:
        buses, count = len(prepared.lines), len(prepared.meters)
        print(phrase("check.good", file=file, buses=buses, instruments=count))


def _frozen(bus: str, plan: FreezePlan) -> str:
    """That a line's meters are written to, and who allowed it."""
    asked = {p.measurand: None for queries in plan.queries.values() for q in queries[1:] for p in q.points}
    return phrase(
        "check.freeze",
        bus=bus,
        period=f"{plan.period_us / 1e6:g}",
        by=plan.allowed_by,
        on=plan.allowed_on,
        count=len(plan.queries),
        values=", ".join(asked),
    )


def _run(given: argparse.Namespace) -> int:
    from gateway.cli.running import run_site
    from gateway.edge import seconds

    return run_site(given.site, seconds(given.duration) if given.duration else None)
