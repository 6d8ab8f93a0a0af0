"""Answers that a line still owes, and frames that may be said again: what an answer could be mistaken for. Pure.

Only for protocols whose answers do not say which registers they carry (rule 2 of :mod:`drivers.line`). Times are those
of the caller's clock, in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from drivers import modbus
from drivers.codec import Answer
from drivers.protocols import Codec, Request
from drivers.stray import Strays, shape

_PATIENCE = 5  # no late answer is feared after so many times what its meter was given, and silence
_RECENT = 4  # frames that a repetition may repeat
_MOST = 16  # no meter and no converter is further behind than so many requests


@dataclass(frozen=True, slots=True)
class _Request:
    """A request without an answer, which may yet come, until an instant."""

    address: str
    request: Request
    until: float


class Owed:
    """The requests of one line that may still be answered, and the frames that it has just heard."""

    def __init__(self, strays: Strays) -> None:
        self._strays = strays
        self._requests: list[_Request] = []
        self._recent: deque[tuple[Request | None, bytes]] = deque(maxlen=_RECENT)  # and what they answered

    def __bool__(self) -> bool:
        return bool(self._requests)

    def owe(self, address: str, request: Request, now: float, patience_s: float) -> None:
        """Remember a request that may be answered late and then be taken for another's.

        ``patience_s``: what its meter was given, and the silence after that.
        """
        if shape(request) is None:
            return
        self._requests = [o for o in self._requests if (o.address, o.request) != (address, request)]
        self._requests.append(_Request(address, request, now + _PATIENCE * patience_s))
        mine = [o for o in self._requests if o.address == address]
        if len(mine) > _MOST:
            self._requests.remove(mine[0])

    def passed(self, address: str, asked_at: float) -> None:
        """Not even an older answer came for a request of then: nothing is stuck between us and the meter."""
        self._requests = [o for o in self._requests if o.address != address or o.until > asked_at]

    def answered(self, address: str, *, refused: bool) -> None:
        """A meter has answered: in its order, so nothing older comes.

        A late exception looks like one to this request: if it was, this request's own answer is still to come.
        """
        if self._requests and not (refused and len(self._requests) > 1):
            self._requests = [o for o in self._requests if o.address != address]

    def aside(
        self, codec: Codec, address: str, request: Request, others: Iterable[Request]
    ) -> Request | None:
        """A request of another shape, to be asked first; None if no late answer could be mistaken for ours."""
        shapes = {shape(owed.request) for owed in self._requests if owed.address == address}
        if shape(request) not in shapes:
            return None
        shapes.add(None)
        shapes |= self._strays.shapes(address)
        lengths = {len(raw) for _, raw in self._recent}  # what may be repeated
        # There are more alternatives than requests owed, strays and frames remembered.
        candidates = (*others, *_alternatives(request))
        return next(
            r for r in candidates if shape(r) not in shapes and codec.expected_length(r) not in lengths
        )

    def stray(self, raw: bytes) -> None:
        """A sound frame that is no answer: perhaps the one that was missed. A repetition of another is not."""
        if all(raw != known for _, known in self._recent):
            self._strays.came(raw)
        self._recent.append((None, raw))

    def believed(self, request: Request, raw: bytes) -> None:
        """The answer to a request: it may be said again."""
        self._recent.append((request, raw))

    def repeats(self, request: Request, answer: Answer) -> bool:
        """Whether a frame just before had the same bytes and did not answer this: equal values, or a repetition."""
        return not answer.error and any(
            raw == answer.raw and request != answered for answered, raw in self._recent
        )


def _alternatives(request: Request) -> Iterable[Request]:
    """Requests from the same place that are answered in other shapes; even counts of registers first."""
    if isinstance(request, modbus.Request) and request.function in modbus.READING:
        unit = 1 if request.function in (3, 4) else 8
        for count in (*range(2, 26, 2), *range(1, 25, 2)):
            start = min(request.start, 0x10000 - count * unit)
            yield replace(request, start=start, count=count * unit)
