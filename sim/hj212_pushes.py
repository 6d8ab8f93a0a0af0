"""What a data logger sends through a day, under the faults that are ordered: packet by packet, each until it is
acknowledged (where it asks for that), the next one behind it. No I/O, no clock; its packets are ``sim.hj212_logger``'s.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sim.faults import Fault, FaultKind, Part, Scenario, spoil
from sim.hj212_logger import EDITIONS, RESENDS, Hj212Logger, frame
from sim.instrument import Clockwork

Factors = Mapping[str, Mapping[str, str]]

_ACKNOWLEDGED = re.compile(rb"QN=(\d+);[^#]*CN=9014;")
_EARLIER = 8  # messages that may be uploaded again


class Hj212Framing:
    """How a packet can be wrong."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Nobody asks a logger."""
        heard.clear()
        return []

    def readdressed(self, answer: bytes) -> bytes:
        """From another station: the MN's last digit is another one."""
        segment = _segment(answer)
        end = segment.index(";", segment.index("MN="))
        return frame(segment[: end - 1] + ("1" if segment[end - 1] == "0" else "0") + segment[end:])

    def other_item(self, answer: bytes) -> bytes:
        """The data of minutes instead of the present ones."""
        return frame(_segment(answer).replace("CN=2011;", "CN=2051;"))

    def shortened(self, answer: bytes) -> bytes:
        """Without the last factor."""
        head, last = _segment(answer).rsplit(";", 1)
        return frame(f"{head}&&" if "DataTime" not in last else f"{head};{last}")

    def unsealed(self, answer: bytes) -> bytes:
        """A CRC that is not the segment's."""
        return answer[:-6] + f"{int(answer[-6:-2], 16) ^ 1:04X}".encode() + b"\r\n"


def _segment(packet: bytes) -> str:
    return packet[6:-6].decode("ascii")


@dataclass(frozen=True, slots=True)
class _Packet:
    """A packet that waits to be acknowledged; ``due_us``: from when on it is sent, ``tries``: how often it was."""

    raw: bytes
    due_us: int
    tries: int = 0

    @property
    def number(self) -> bytes:
        """QN."""
        return self.raw[9 : self.raw.index(b";")]


class Hj212Pushes:
    """A logger at work. ``told``: what it has put into its messages, by their DataTime (µs, by its own clock).

    ``measured`` gives the factors of an instant (UTC); ``parts`` the packets of each message. ``hung_up``: it has cut
    the connection, and connects anew with what it sends next.
    """

    def __init__(
        self,
        logger: Hj212Logger,
        name: str,
        measured: Callable[[int], Factors],
        scenario: Scenario,
        start_us: int,
        *,
        period_us: int = 60_000_000,
        answer_us: int = 5_000_000,
        parts: int = 1,
    ) -> None:
        self.told: dict[int, Factors] = {}
        self.counts: dict[str, int] = {}
        self.messages = 0
        self.hung_up = False
        self._logger, self._name, self._measured, self._scenario = logger, name, measured, scenario
        self._start_us, self._period_us, self._answer_us = start_us, period_us, answer_us
        self._parts = parts
        drifts = [f for f in scenario.faults if f.kind is FaultKind.CLOCK_DRIFT and f.meter in ("", name)]
        self._clock = Clockwork()
        if drifts:
            since = start_us + round(drifts[0].from_s * 1e6)
            self._clock = Clockwork(round(drifts[0].offset_s * 1e6), drifts[0].ppm, since)
        self._next_us = start_us
        self._earlier: deque[tuple[int, Factors]] = deque(maxlen=_EARLIER)
        self._waiting: deque[_Packet] = deque()
        self._saying: deque[tuple[int, bytes, bool]] = (
            deque()
        )  # when, what, whether the connection is cut then
        self._sent = 0

    def due_us(self) -> int:
        """When it has something to do next."""
        due = [self._next_us]
        if self._saying:
            due.append(self._saying[0][0])
        elif self._waiting:
            due.append(self._waiting[0].due_us)
        return min(due)

    def take(self, at_us: int) -> bytes:
        """What it has sent by an instant; up to the cut, if it cuts the connection."""
        while self._next_us <= at_us:
            self._measure(self._next_us)
            self._next_us += self._period_us
        if not self._saying and self._waiting and self._waiting[0].due_us <= at_us:
            self._say(at_us)
        said = bytearray()
        self.hung_up = False
        while self._saying and self._saying[0][0] <= at_us and not self.hung_up:
            _, data, self.hung_up = self._saying.popleft()
            said += data
        return bytes(said)

    def hear(self, data: bytes, at_us: int) -> None:
        """What the receiver says: acknowledged packets are not sent again."""
        for number in _ACKNOWLEDGED.findall(data):
            if self._waiting and self._waiting[0].number == number:
                self._waiting.popleft()
                if self._waiting:
                    self._waiting[0] = replace(self._waiting[0], due_us=max(at_us, self._waiting[0].due_us))

    def _measure(self, at_us: int) -> None:
        """The message of a period, and an earlier one again behind it where that is ordered."""
        faults = self._scenario.now(self._name, at_us - self._start_us, self.messages)
        stuck = [self._start_us + round(f.from_s * 1e6) for f in faults if f.kind is FaultKind.STUCK]
        factors = self._measured(max(stuck, default=at_us))
        self._count(f.kind for f in faults if f.kind in (FaultKind.STUCK, FaultKind.REPEATED))
        shown_us = self._clock.shown(at_us) // 1_000_000 * 1_000_000  # a DataTime has whole seconds
        self.told[shown_us] = factors
        self._queue(shown_us, factors, at_us)
        if self._earlier and any(f.kind is FaultKind.REPEATED for f in faults):
            rng = random.Random(f"again/{self._scenario.seed}/{self._name}/{self.messages}")
            self._queue(*rng.choice(self._earlier), at_us, again=True)
        self._earlier.append((shown_us, factors))
        self.messages += 1

    def _queue(self, stamp_us: int, factors: Factors, at_us: int, *, again: bool = False) -> None:
        sent_us = self._clock.shown(at_us) + again * 500_000
        packets = self._logger.message(
            "2011", stamp_us, factors, sent_us=sent_us, parts=self._parts, again=again
        )
        self._waiting += (_Packet(raw, at_us) for raw in packets)

    def _say(self, at_us: int) -> None:
        packet = self._waiting[0]
        if packet.tries > RESENDS:  # it is given up, and its message with it
            while self._waiting and self._waiting[0].number == packet.number:
                self._waiting.popleft()
            return
        faults = self._scenario.now(self._name, at_us - self._start_us, self._sent)
        faults = tuple(f for f in faults if f.kind not in (FaultKind.STUCK, FaultKind.REPEATED))
        rng = random.Random(f"push/{self._scenario.seed}/{self._name}/{self._sent}")
        self._sent += 1
        self._count(f.kind for f in faults)
        when = at_us
        for part in _spoiled(packet.raw, faults, rng):
            when += part.pause_us
            self._saying.append((when, part.data, part.reset))
        if EDITIONS[self._logger.edition] is None:  # no Flag asks for an acknowledge: said once
            self._waiting.popleft()
            return
        self._waiting[0] = replace(packet, due_us=max(when, at_us) + self._answer_us, tries=packet.tries + 1)

    def _count(self, kinds: Iterable[FaultKind]) -> None:
        for kind in kinds:
            self.counts[kind] = self.counts.get(kind, 0) + 1


def _spoiled(packet: bytes, faults: Sequence[Fault], rng: random.Random) -> tuple[Part, ...]:
    """What is sent in place of a sound packet."""
    kinds = {fault.kind for fault in faults}
    parts = spoil(packet, b"", faults, Hj212Framing(), 0, rng)
    if FaultKind.FALSE_LENGTH in kinds:
        lied = f"{(int(packet[2:6]) + rng.randrange(1, 900)) % 1025:04d}".encode()
        parts = tuple(replace(part, data=part.data.replace(packet[:6], b"##" + lied)) for part in parts)
    if FaultKind.CONNECTION_RESET in kinds and parts:
        last = parts[-1]
        parts = (*parts[:-1], replace(last, data=last.data[: rng.randrange(len(last.data))], reset=True))
    return parts
