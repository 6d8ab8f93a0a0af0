"""A profile's TOML as it stands: typed values out of it, and the line of everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from drivers.points import ProfileError


class Reader:
    """Checks one parsed file and finds the lines that errors speak of."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = text.splitlines()

    def fail(self, what: str, hint: str = "", table: str = "", index: int = 0, key: str = "") -> ProfileError:
        """What is wrong, at the line of ``key`` in the ``index``-th ``table``."""
        return ProfileError(self.file, self.line(table, index, key), what, hint)

    def line(self, table: str, index: int = 0, key: str = "") -> int | None:
        """The line of ``key`` in the ``index``-th ``[table]`` or ``[[table]]`` ('' = top of the file)."""
        header = re.compile(r"\s*\[\[?\s*([\w.]+)\s*\]\]?")
        assign = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
        current, seen, start = "", -1, 1
        for number, line in enumerate(self.lines, 1):
            found = header.match(line)
            if found:
                current = found.group(1)
                if current == table:
                    seen += 1
                    start = number if seen == index else start
                continue
            here = current == table and (not table or seen == index)
            if here and key and assign.match(line):
                return number
        return start if table else None

    def keys(self, found: Mapping[str, Any], known: set[str], table: str, index: int = 0) -> None:
        """Refuse keys that nobody knows."""
        for key in found:
            if key not in known:
                raise self.fail(f"unknown key {key!r}", nearest(key, known), table, index, key)

    def text(
        self, found: Mapping[str, Any], key: str, table: str, index: int = 0, default: str | None = None
    ) -> str:
        """A text; without a default it must be there."""
        value = found.get(key, default)
        if value is None:
            raise self.fail(f"{key!r} is missing", f'add {key} = "…"', table, index)
        if not isinstance(value, str):
            raise self.fail(f"{key!r} must be text, not {value!r}", "put it in quotes", table, index, key)
        return value

    def integer(
        self, found: Mapping[str, Any], key: str, table: str, index: int, default: int | None = None
    ) -> int:
        """A whole number; without a default it must be there."""
        value = found.get(key, default)
        if value is None:
            raise self.fail(f"{key!r} is missing", f"add {key} = …", table, index)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fail(f"{key!r} must be a whole number, not {value!r}", "", table, index, key)
        return value

    def decimal(self, found: Mapping[str, Any], key: str, table: str, index: int) -> Decimal | None:
        """An exact number; None if it is not there."""
        value = found.get(key)
        if value is None:
            return None
        if isinstance(value, float):
            raise self.fail(f"{key!r} must be exact", f'write it in quotes: "{value}"', table, index, key)
        try:
            number = Decimal(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():
            raise self.fail(
                f"{key!r} must be a decimal number in quotes, not {value!r}", "", table, index, key
            )
        return number

    def frame(self, found: Mapping[str, Any], key: str, index: int, table: str = "vector") -> bytes:
        """The bytes of a frame, written in hex."""
        text = self.text(found, key, table, index)
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise self.fail(f"{key!r} is no hex", "pairs of hex digits", table, index, key) from None


def nearest(key: str, known: Collection[str]) -> str:
    """A hint for a name that is not known: the nearest one, or all."""

    def distance(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            row, before = [i], row
            for j, y in enumerate(b, 1):
                row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
        return row[-1]

    best = min(sorted(known), key=lambda name: distance(key, name))
    return f"did you mean {best!r}?" if distance(key, best) <= 3 else f"known: {', '.join(sorted(known))}"
