"""Meters of several protocols and speeds on one line: each kind hears in its own way, and all disturb each other."""

from __future__ import annotations

from collections.abc import Sequence

from sim.halfduplex import HalfDuplex, LineCounts

_BITS = 11  # of one character, where nobody tells otherwise


class SharedLine:
    """Several ``HalfDuplex`` on one pair of wires, each with its baud rate. It is used as one of them is.

    ``tune`` says at which speed the master speaks from now on, where that is known (a serial port's setting).
    Without it every kind of meter listens at its own speed.
    """

    hung_up = False

    def __init__(self, parts: Sequence[tuple[int, HalfDuplex]]) -> None:
        self.counts = LineCounts()
        self._parts = tuple((line.bauds or frozenset((baud,)), line) for baud, line in parts)
        self.bauds = frozenset(baud for bauds, _ in self._parts for baud in bauds)
        self._baud = 0
        for _, line in parts:
            line.counts = self.counts

    def tune(self, baud: int) -> None:
        """The master has set its port to another speed; 0: unknown."""
        self._baud = baud
        for _, line in self._parts:
            line.tune(baud)

    def hear(self, data: bytes, at_us: int, utc_us: int, *, garbled: bool = False) -> None:
        """Bytes from the master: those meters hear them that listen at its speed, unless another one is talking."""
        talking = {id(line) for _, line in self._parts if line.talks(at_us)}
        until = at_us + len(data) * _BITS * 1e6 / self._baud if self._baud else float(at_us)
        for bauds, line in self._parts:
            others = bool(talking - {id(line)})
            if self._baud and self._baud not in bauds and not garbled:
                line.disturb(at_us, until)
            elif others:
                line.disturb(at_us, max(until, at_us + 1.0))
            else:
                line.hear(data, at_us, utc_us, garbled=garbled)

    def due_us(self) -> int | None:
        """When the next bytes reach the master, or None if the line is quiet."""
        return min((due for _, line in self._parts if (due := line.due_us()) is not None), default=None)

    def take(self, at_us: int) -> bytes:
        """All bytes that have reached the master by an instant."""
        return b"".join(line.take(at_us) for _, line in self._parts)
