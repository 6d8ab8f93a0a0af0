"""One way to write a profile file: what ``suyuan profiles fmt`` does. Comments and order stay, so does every value.

Lines lose trailing spaces, ``key = value`` has one space on each side, a table has one blank line before it (above its
own comments), no two blank lines follow each other, and the file ends with one line end. What stands in strings or
arrays over several lines is left as it is.
"""

from __future__ import annotations

import re
import tomllib

_ASSIGNED = re.compile(r"""\s*([\w.-]+|"[^"]*"|'[^']*')\s*=\s*(.*)""")
_LONG = ('"""', "'''")


def formatted(text: str) -> str:
    """The text in its one form. Raises tomllib.TOMLDecodeError if it is no TOML."""
    meaning = tomllib.loads(text)
    lines = _lines(text.replace("\r\n", "\n"))
    out: list[str] = []
    for n, line in enumerate(lines):
        if not line:
            if out and out[-1]:
                out.append("")
        elif _begins_table(lines, n) and out and out[-1] and not out[-1].startswith("#"):
            out += ["", line]
        else:
            out.append(line)
    result = "\n".join(out).strip("\n") + "\n"
    # A value is worth more than its looks: whatever would change one is left as it is.
    return result if tomllib.loads(result) == meaning else text


def _begins_table(lines: list[str], n: int) -> bool:
    """Whether line ``n`` is a table's header, or the first comment directly above one."""
    while n < len(lines) and lines[n].startswith("#"):
        n += 1
    return n < len(lines) and lines[n].startswith("[")


def _lines(text: str) -> list[str]:
    """The lines, each by itself in its form; what goes over several lines is one, as it stands."""
    found: list[str] = []
    held: list[str] = []
    for line in text.split("\n"):
        held.append(line)
        whole = "\n".join(held)
        if _open(whole):
            continue
        held = []
        found.append(whole if "\n" in whole else _line(whole))
    return found + held


def _open(text: str) -> bool:
    """Whether a string or an array goes on in the next line."""
    if any(text.count(mark) % 2 for mark in _LONG):
        return True
    if not _ASSIGNED.match(text):
        return False
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return True
    return False


def _line(line: str) -> str:
    line = line.strip()
    assigned = _ASSIGNED.fullmatch(line)
    return f"{assigned[1]} = {assigned[2]}" if assigned and not line.startswith(("#", "[")) else line
