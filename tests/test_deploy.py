"""The units are accepted by systemd, and expose no more than was decided."""

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import COMMANDS

UNITS = sorted((Path(__file__).parent.parent / "deploy" / "systemd").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")


def analyze(*arguments: str) -> str:
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    done = subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, Path]:
    """The units with a program path that exists here, since `verify` looks for it."""
    program = tmp_path / "suyuan"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    made = {}
    for unit in UNITS:
        made[unit.name] = tmp_path / unit.name
        made[unit.name].write_text(unit.read_text().replace("/opt/suyuan/bin/suyuan", str(program)))
    return made


@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_systemd_finds_nothing_to_say_about_the_unit(installed: dict[str, Path], name: str) -> None:
    assert analyze("verify", str(installed[name])) == "0\n"


@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_the_unit_is_hardened(installed: dict[str, Path], name: str) -> None:
    said = analyze("security", "--offline=yes", "--no-pager", str(installed[name]))
    level = re.search(r"exposure level for \S+ (\d+\.\d)", said)
    assert level is not None, said
    # the agent alone asks the kernel about its clock, and has serial ports
    assert float(level[1]) <= (2.1 if name == "suyuan.service" else 1.7)


def test_the_agent_may_ask_how_good_the_clock_is_and_keep_its_log_under_the_unit(tmp_path: Path) -> None:
    analyze("--version")  # skips where there is none
    unit = UNITS[0].with_name("suyuan.service")
    program = (
        "from pathlib import Path; from gateway.clock import kernel_discipline; from gateway.store import LogStore; "
        f"store = LogStore(Path({str(tmp_path / 'data')!r}), 'platform.example/gw/1', ballast=0); "
        "store.commit([b'entry'], None, None); print(kernel_discipline() is not None, store.size)"
    )
    jail = [sys.executable, "-m", "tests.rigs.syscall_jail", str(unit), sys.executable, "-c", program]
    root = Path(__file__).parent.parent
    done = subprocess.run(jail, capture_output=True, text=True, timeout=60, check=False, cwd=root)
    assert (done.stdout, done.stderr) == ("True 1\n", "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_command_of_a_unit_is_one_that_the_program_takes(unit: Path) -> None:
    (start,) = re.findall("^ExecStart=/opt/suyuan/bin/suyuan (.*)$", unit.read_text(), re.MULTILINE)
    options = "--days 90" if "gateways serve" in start else "--tls-name log"
    given = {"${URL}": "https://gateway:8475", "${KEY}": "VKEY", "$OPTIONS": options, "%i": "one"}
    given["${LISTEN}"] = "0.0.0.0:8443"
    command, *words = shlex.split(re.sub(r"\$\{?\w+\}?|%i", lambda found: given[found[0]], start))
    parser = argparse.ArgumentParser()
    importlib.import_module(f"gateway.cli.{COMMANDS[command][0]}").arguments(command, parser)
    parser.parse_args(words)
