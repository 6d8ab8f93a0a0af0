"""The units are accepted by systemd, and expose no more than was decided."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

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
    assert float(level[1]) <= 1.7
