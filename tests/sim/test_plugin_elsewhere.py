"""The plugin in a project that is not this one, used as docs/simulation.md says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "simulation.md"
READER = """
import json, subprocess, sys

def my_reader(port, address):
    asked = ["read", address, "--port", port, "--protocol", "dlt645-2007", "--profile", "dlt645-2007-three-phase"]
    command = [sys.executable, "-m", "gateway.cli", *asked, "--framing", "8E1", "--json"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (power,) = (i["indication"] for i in json.loads(told)["values"] if i["measurand"] == "power.active.total")
    return float(power)
"""


def test_the_example_of_the_docs_runs_in_a_project_of_its_own(tmp_path: Path) -> None:
    section = DOCS.read_text(encoding="utf-8").partition("in the tests of another project")[2]
    conftest, example = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_reader.py").write_text(READER + example)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
