"""The alarms that stand: each is told in the log when it begins, once, and named in every seal until it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Alarms:
    """The alarms of one agent, the oldest first."""

    def __init__(self, tell: Callable[[str, Mapping[str, str]], None]) -> None:
        """``tell`` puts an event into the log."""
        self._tell = tell
        self._standing: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._standing

    @property
    def standing(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._standing)

    def begin(self, name: str, detail: Mapping[str, str] | None = None) -> None:
        """It stands from now on, and the log is told, unless it stood already."""
        if name not in self._standing:
            self._standing[name] = None
            self._tell("alarm", {"alarm": name, **(detail or {})})

    def end(self, name: str) -> None:
        """It does not stand any more, and the log is told, if it stood."""
        if name in self._standing:
            del self._standing[name]
            self._tell("alarm_ended", {"alarm": name})

    def stand(self, name: str) -> None:
        """It stands from now on; an event of its own kind tells the log."""
        self._standing[name] = None

    def drop(self, name: str) -> None:
        """It does not stand any more; nothing more is told."""
        self._standing.pop(name, None)
