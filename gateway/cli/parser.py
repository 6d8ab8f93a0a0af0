"""The parser of a command's arguments, which speaks the reader's language where argparse would speak English."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from gateway.cli.error_words import told
from gateway.words import phrase


class Parser(argparse.ArgumentParser):
    """argparse's, with headings and errors in the reader's language; subcommands have it too."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        named.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        named["add_help"] = False
        super().__init__(*positional, **named)
        self._positionals.title = phrase("parser.arguments")
        self._optionals.title = phrase("parser.options")
        self.add_argument("-h", "--help", action="help", help=phrase("parser.help"))

    def format_usage(self) -> str:
        """How it is used, in one line or some."""
        return self._in_language(super().format_usage())

    def format_help(self) -> str:
        """All that can be given."""
        return self._in_language(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Wrong use: what, and how it is used. Ends with 2."""
        self.exit(2, f"{self.format_usage()}{self.prog}: {phrase('parser.error')}: {told(message)}\n")

    def _in_language(self, text: str) -> str:
        return phrase("parser.usage") + text.removeprefix("usage: ")
