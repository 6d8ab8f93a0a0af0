"""Writes the table of modules in architecture.md from their docstrings; ``--check`` says whether it is current."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules: made by docs/map.py -->\n", "<!-- end of modules -->\n"
PACKAGES = ("drivers", "calibration", "evidence", "gateway", "gateway/cli", "central", "sim")


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").rstrip(".").replace("|", "\\|")


def table() -> str:
    rows = []
    for package in PACKAGES:
        rows.append(f"\n### {package}/\n\n| module | job |\n|---|---|\n")
        rows.extend(
            f"| `{path.stem}` | {first_line(path)} |\n"
            for path in sorted((ROOT / package).glob("*.py"))
            if path.name != "__init__.py" or package == "gateway/cli"
        )
    return "".join(rows) + "\n"


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    wanted = head + BEGIN + table() + END + rest.partition(END)[2]
    if "--check" in sys.argv:
        return int(wanted != page)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
