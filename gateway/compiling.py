"""Calibration states compiled in a process of their own: a large register is read there, and gone from memory after.

The agent hands over the very site and profiles that it runs with, so that a file that was edited meanwhile changes
nothing but certificates. What comes back are the states as their canonical JSON, or why there are none.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from calibration.state import CalibrationState
from gateway.calibrations import Calibrations
from gateway.toml_source import ConfigError

if TYPE_CHECKING:
    from gateway.prepared import Prepared

LIMIT_S = 600
NONE_KNOWN: Mapping[str, str] = MappingProxyType({})


class StatesRefused(ValueError):
    """No states could be compiled: what the certificates lack, or how the process ended."""


def compile_apart(
    prepared: Prepared, day: date, known: Mapping[str, str] = NONE_KNOWN
) -> Mapping[str, CalibrationState]:
    """The states of all meters for a day, from certificate files and register as they are now.

    Args:
        prepared: the site that runs, with its meters.
        day: the day that the states are for.
        known: digests of the states in force by instrument; one that has not changed is left out. A state takes
            a multiple of its own memory while it is read.

    Raises:
        StatesRefused: the certificates cannot be used, or the process that compiles could not do it.
    """
    order = (prepared.file, [(meter.config, meter.profile) for meter in prepared.meters], day, dict(known))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.compiling"],
            input=pickle.dumps(order),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StatesRefused(f"the states could not be compiled: {error}") from None
    except ValueError:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
        raise StatesRefused(f"compiling ended with code {done.returncode}: {why[0]}") from None
    if "refused" in answer:
        raise StatesRefused(answer["refused"])
    return {name: CalibrationState.from_json(text.encode()) for name, text in answer["states"].items()}


def main() -> int:
    """The other process: an order on standard input, states or a refusal on standard output."""
    site, meters, day, known = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from the agent that started this
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    try:
        calibrations = Calibrations.read(site, lambda: at)
        states = {config.id: calibrations.state(config, profile, day) for config, profile in meters}
    except (ConfigError, OSError) as error:
        json.dump({"refused": str(error)}, sys.stdout)
        return 0
    except ValueError as error:  # the register's own refusals speak for themselves
        if type(error).__module__ == "builtins":
            raise
        json.dump({"refused": str(error)}, sys.stdout)
        return 0
    new = {
        name: state.to_json().decode() for name, state in states.items() if state.digest != known.get(name)
    }
    json.dump({"states": new}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
