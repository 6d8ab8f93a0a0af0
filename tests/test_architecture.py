"""The map stays true: every module stands in docs/architecture.md with its job; names and sizes are looked at."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("drivers", "calibration", "evidence", "gateway", "central", "sim")
NOT_OF_THE_FIELD = {"utils", "helpers", "common", "manager", "base", "base2", "misc"}


def test_the_table_of_modules_is_current() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "map.py"), "--check"], check=False)
    assert done.returncode == 0, "run: python docs/map.py"


def test_every_module_is_named_after_something() -> None:
    names = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert not names & NOT_OF_THE_FIELD


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md")]
    assert len(numbers) == len(set(numbers))


def test_the_base_install_verifies_without_the_rest() -> None:
    heavy = "{'numpy', 'pydantic', 'serial', 'starlette', 'aiomqtt', 'sqlite_utils', 'apsw', 'httpx', 'rich'}"
    code = f"import sys, evidence.verify, gateway.cli, gateway.cli.verify; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_page_of_failures_names_exists() -> None:
    page = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests/[a-z]+/)?test_\w+\.py)`", page))
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    assert named
    assert {name for name in named if not any(path.endswith(name) for path in there)} == set()


def test_nothing_waits_in_a_handler_of_groups() -> None:
    """Before Python 3.11.4 what leaves an `except*` handler, a cancel too, leaves as a group; Debian 12 has 3.11.2."""
    waiting = [
        f"{path.relative_to(ROOT)}:{inside.lineno}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.TryStar)
        for handler in node.handlers
        for inside in ast.walk(handler)
        if isinstance(inside, (ast.Await, ast.Raise, ast.AsyncFor, ast.AsyncWith))
    ]
    assert not waiting
