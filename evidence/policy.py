"""An auditor's trust policy (C2SP tlog-policy): which logs, which witnesses, and how many of them must have cosigned.

A policy comes from the auditor's own files, never with the data that it is to judge::

    log platform.example/gw/7+3357cfa1+AX5…
    witness platform platform.example/receipts+0a1b2c3d+BDk…
    witness institute institute.example/witness+9c8d7e6f+BAr…
    group both all platform institute
    quorum both

One kind of line is ours, for a key that was lost or copied: what it signed is believed up to a size, or as far as a
witness of this policy cosigned it before a time (UTC)::

    revoked platform.example/gw/7+3357cfa1+AX5… size 20852163
    revoked platform.example/gw/7+3357cfa1+AX5… witnessed-before 2026-11-24T10:00:00Z
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from .errors import ParseError
from .note import COSIGNATURE, ED25519, OTHER, Verifier
from .revocation import Revocation

MAX_LINES: Final = 1000
NONE: Final = "none"
_BAD: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SPACE: Final = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Group:
    """A group has witnessed a checkpoint if at least ``least`` of its members have."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs that are believed, witnesses by their name in the policy, groups, and the quorum's name (or ``none``)."""

    logs: tuple[Verifier, ...] = ()
    witnesses: Mapping[str, Verifier] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NONE
    revoked: tuple[Revocation, ...] = ()

    @classmethod
    def parse(cls, data: bytes | str) -> Policy:
        """Read a policy file. Raises ParseError with the number of the line that is wrong."""
        try:
            text = data if isinstance(data, str) else data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ParseError("policy: not UTF-8 text") from error
        lines = text.split("\n")
        if len(lines) > MAX_LINES:
            raise ParseError(f"policy of {len(lines)} lines; at most {MAX_LINES} are read")
        reading = _Reading()
        for number, line in enumerate(lines, 1):
            try:
                if _BAD.search(line):
                    raise ParseError("has a control character (a line ends with a line feed alone)")
                words = _SPACE.split(line.strip(" \t"))
                if words[0] and not words[0].startswith("#"):
                    reading.line(*words)
            except ParseError as error:
                raise ParseError(f"policy, line {number}: {error}") from error
        if reading.quorum is None:
            raise ParseError("policy: there is no quorum line; 'quorum none' asks for no cosignatures")
        return cls(
            tuple(reading.logs), reading.witnesses, reading.groups, reading.quorum, tuple(reading.revoked)
        )

    @classmethod
    def of_keys(
        cls,
        logs: Collection[Verifier],
        witnesses: Collection[Verifier] = (),
        revoked: Collection[Revocation] = (),
    ) -> Policy:
        """The policy that single keys stand for: any of the logs, and every one of the witnesses."""
        named = {f"witness{n}": witness for n, witness in enumerate(witnesses, 1)}
        if not named:
            return cls(tuple(logs), revoked=tuple(revoked))
        everyone = {"all": Group(len(named), tuple(named))}
        return cls(tuple(logs), named, everyone, "all", tuple(revoked))

    def met_by(self, cosigned: Collection[Verifier]) -> bool:
        """Whether these witnesses, who have cosigned, are the quorum or more."""
        return self.quorum == NONE or self._met(self.quorum, cosigned)

    def _met(self, name: str, cosigned: Collection[Verifier]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name] in cosigned
        group = self.groups[name]
        return sum(self._met(member, cosigned) for member in group.members) >= group.least


class _Reading:
    """A policy as far as its lines have been read."""

    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Verifier] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self.revoked: list[Revocation] = []
        self._listed: set[str] = set()

    def line(self, kind: str, *words: str) -> None:
        match kind, words:
            case "log", (vkey,) | (vkey, _):
                self.logs.append(_key(vkey, (ED25519, OTHER), "a log's", self.logs))
            case "witness", (name, vkey) | (name, vkey, _):
                key = _key(vkey, (COSIGNATURE,), "a witness's", self.witnesses.values())
                self.witnesses[self._new(name)] = key
            case "group", (name, least, *members) if members:
                for member in members:
                    self._defined(member)
                    if member in self._listed:
                        raise ParseError(f"{member} is listed as a member twice")
                    self._listed.add(member)
                self.groups[self._new(name)] = Group(_least(least, len(members)), tuple(members))
            case "quorum", (name,):
                if self.quorum is not None:
                    raise ParseError("there is a quorum line already")
                if name != NONE:
                    self._defined(name)
                self.quorum = name
            case "revoked", _:
                self.revoked.append(Revocation.parse(" ".join(words)))
            case _:
                raise ParseError(
                    f"{kind!r}: a line reads 'log VKEY [URL]', 'witness NAME VKEY [URL]', "
                    "'group NAME all|any|K MEMBER…', 'quorum NAME|none' or 'revoked VKEY size N|witnessed-before TIME'"
                )

    def _new(self, name: str) -> str:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise ParseError(f"the name {name} is taken")
        return name

    def _defined(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise ParseError(f"{name} is no witness or group of a line before this one")


def _key(vkey: str, kinds: tuple[int, ...], whose: str, others: Collection[Verifier]) -> Verifier:
    key = Verifier.parse(vkey)
    if key.kind not in kinds:
        raise ParseError(f"the key of {key.name} is not {whose} (type {key.kind:#04x}, not {kinds[0]:#04x})")
    if any(key.public == other.public for other in others):
        raise ParseError(f"the key of {key.name} is there twice")
    return key


def _least(text: str, members: int) -> int:
    if text in ("all", "any"):
        return members if text == "all" else 1
    if not re.fullmatch("[1-9][0-9]{0,3}", text) or int(text) > members:
        raise ParseError(f"{text!r}: all, any, or a number from 1 to {members}")
    return int(text)
