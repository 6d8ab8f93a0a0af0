"""The log of a program's doings, written so that an output which nobody reads holds nobody up.

A pipe that is full, or a journal that stands still, would otherwise stop the agent at the next line that it logs, and
with it the measuring and the seal of the log. What finds no room is dropped, and counted in a line of its own later.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Iterator
from typing import Final

LINES: Final = 1000  # that wait to be written
_FINISH_S: Final = 1.0


@contextlib.contextmanager
def logged(level: int, descriptor: int = 2) -> Iterator[None]:
    """Within, what is logged is written to a file descriptor; at the end what waits is, for a second at most."""
    root = logging.getLogger()
    if root.handlers:  # somebody else has taken it in hand
        yield
        return
    handler = UnreadHandler(descriptor)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.finish(_FINISH_S)


class UnreadHandler(logging.Handler):
    """Hands each line to a thread that writes it to a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(LINES)
        self._dropped = 0
        self._writing = threading.Thread(target=self._write, name="talk", daemon=True)
        self._writing.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it over, or count it as dropped."""
        line = self.format(record)
        if self._dropped:
            line = f"({self._dropped} lines before this one were dropped: the output was not read)\n{line}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1
        else:
            self._dropped = 0

    def finish(self, within_s: float) -> None:
        """Write what waits, if it is taken within this time. What comes later is dropped."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._writing.join(within_s)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            rest = f"{line}\n".encode(errors="backslashreplace")
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # closed: nobody will read any more
                continue
