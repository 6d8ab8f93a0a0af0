"""A TOML file with the place of every key: what lets an error say file, line and column.

``tomllib`` reads the values (and finds syntax errors and duplicate keys); the tree of tree-sitter-toml gives
positions. Columns are counted in characters, not bytes, so that they are right behind Chinese text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1 << 20


class Position(NamedTuple):
    """Line and column, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file: what, where, and what to do."""

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str = ""
    code: str = "C100"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        hint = f"\n  → {self.hint}" if self.hint else ""
        return f"{where}: {key}{self.message} [{self.code}]{hint}"


class ConfigError(ValueError):
    """A file that cannot be used as it stands. All its problems are told at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TomlSource:
    """The text of one TOML file, its values, and where each of them stands."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self._lines = text.split("\n")
        try:
            self.values: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            line, column = (int(found[1]), int(found[2])) if found else (max(len(self._lines), 1), 1)
            what = re.sub(r" \(at .*\)$", "", str(error))
            hint = "TOML syntax: text in double quotes, one key = value a line"
            raise ConfigError([Problem(file, line, column, "", what, hint, "C101")]) from None
        self._keys: dict[KeyPath, Position] = {}
        self._values: dict[KeyPath, Position] = {}
        tree = Parser(Language(tree_sitter_toml.language())).parse(text.encode())
        self._walk_document(tree.root_node)

    @classmethod
    def read(cls, path: Path) -> TomlSource:
        """Read a file; every failure is a ConfigError that names it."""
        name = str(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            hint = "check the path and that this user may read it"
            raise ConfigError(
                [Problem(name, 0, 0, "", f"cannot be read: {error.strerror}", hint, "C102")]
            ) from None
        if len(data) > MAX_BYTES:
            raise ConfigError(
                [
                    Problem(
                        name, 0, 0, "", f"is larger than {MAX_BYTES} bytes", "is this the right file?", "C102"
                    )
                ]
            )
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ConfigError(
                [Problem(name, line, 1, "", "is not UTF-8 text", "save the file as UTF-8", "C102")]
            ) from None
        return cls(text.replace("\r\n", "\n"), name)

    def position(self, path: Sequence[str | int], *, of_key: bool = False) -> Position:
        """Where the value at ``path`` stands, or (``of_key``) its name, or the nearest parent that exists."""
        wanted = tuple(path)
        first, second = (self._keys, self._values) if of_key else (self._values, self._keys)
        while wanted:
            for places in (first, second):
                if wanted in places:
                    return places[wanted]
            wanted = wanted[:-1]
        return Position(1, 1)

    def problem(
        self,
        path: Sequence[str | int],
        message: str,
        hint: str = "",
        code: str = "C100",
        *,
        of_key: bool = False,
    ) -> Problem:
        """A problem at ``path`` of this file."""
        place = self.position(path, of_key=of_key)
        key = ".".join(str(part) for part in path)
        return Problem(self.file, place.line, place.column, key, message, hint, code)

    def _place(self, node: Node) -> Position:
        row, column_bytes = node.start_point
        line = self._lines[row] if row < len(self._lines) else ""
        column = len(line.encode()[:column_bytes].decode(errors="ignore"))
        return Position(row + 1, column + 1)

    def _walk_document(self, root: Node) -> None:
        counts: dict[KeyPath, int] = {}
        for node in root.children:
            if node.type == "pair":
                self._walk_pair(node, ())
            elif node.type in ("table", "table_array_element"):
                name = next(child for child in node.children if child.is_named)
                path = self._resolve(self._names(name), counts)
                if node.type == "table_array_element":
                    index = counts.get(path, 0)
                    counts[path] = index + 1
                    self._keys.setdefault(path, self._place(name))
                    path = (*path, index)
                self._keys.setdefault(path, self._place(name))
                self._values.setdefault(path, self._place(name))
                for child in node.children:
                    if child.type == "pair":
                        self._walk_pair(child, path)

    def _resolve(self, names: list[str], counts: dict[KeyPath, int]) -> KeyPath:
        """A header's path, where each array of tables on the way means its newest element."""
        path: KeyPath = ()
        for i, name in enumerate(names):
            path = (*path, name)
            if i < len(names) - 1 and path in counts:
                path = (*path, counts[path] - 1)
        return path

    def _walk_pair(self, node: Node, prefix: KeyPath) -> None:
        named = [child for child in node.children if child.is_named]
        if len(named) < 2:
            return
        path: KeyPath = prefix
        for name in self._names(named[0]):
            path = (*path, name)
            self._keys.setdefault(path, self._place(named[0]))
        self._walk_value(named[1], path)

    def _walk_value(self, node: Node, path: KeyPath) -> None:
        self._values.setdefault(path, self._place(node))
        if node.type == "inline_table":
            for child in node.children:
                if child.type == "pair":
                    self._walk_pair(child, path)
        elif node.type == "array":
            items = [child for child in node.children if child.is_named and child.type != "comment"]
            for index, child in enumerate(items):
                self._walk_value(child, (*path, index))

    def _names(self, node: Node) -> list[str]:
        if node.type == "dotted_key":
            return [name for child in node.children if child.is_named for name in self._names(child)]
        text = (node.text or b"").decode()
        if node.type == "quoted_key":
            return list(tomllib.loads(f"{text} = 0"))
        return [text]
