"""One reading of an M-Bus slave: what is asked, telegram by telegram, and which telegrams are believed. Pure.

A slave keeps its last telegram and says it again when it hears the frame count bit that it heard last. SND_NKE or a
selection clears that bit, so the first request after it has FCB = 1 and each further one toggles it (EN 13757-2). But
whether the slave has heard what clears the bit rests on one character: an E5 in a line's noise, or another slave's,
passes for its acknowledge. Then a request with FCB = 1 is answered with the telegram of the reading before, and old
values pass for new. Hence:

* ``Held`` is what is known of the telegram that a slave may say again: those of the last reading, or nothing. Nothing
  is known of a slave that has not been read yet, or whose last answer was not heard.
* A first telegram that may be a repetition (byte for byte one of those held, the same access number above all, or
  nothing is known), or names another meter than the last reading, is not believed. It is asked once more with FCB = 0:
  the slave has answered to 1, so this is new. It is believed if it names the meter of the last reading, or the same as
  the telegram before it: the meter has been replaced.
* A reading of several telegrams is begun anew behind that: whether or not the opening is heard, FCB = 1 is new.
* All telegrams of a reading name one meter.
* A telegram that is new and the same all the same is believed: the values stand still, the meter does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from drivers import mbus
from drivers.codec import Answer, LocalProtocolError, Mismatch, Said, own
from drivers.points import Query

_NAMED = {0x72: 8, 0x76: 8, 0x73: 4, 0x77: 4}  # CI -> bytes that name the meter


def name(answer: Answer) -> bytes:
    """Who a telegram says that it is from: identity, maker, version, medium as far as it tells them; else empty."""
    return answer.payload[1 : 1 + _NAMED.get(answer.payload[0], 0)] if answer.payload else b""


@dataclass(frozen=True, slots=True)
class Held:
    """The telegrams that a slave may say again, and its name; None: it is not known which."""

    telegrams: frozenset[bytes] | None = None
    name: bytes = b""

    def doubts(self, answer: Answer) -> bool:
        """Whether a telegram may be one that the slave said before this reading, or another slave's."""
        return self.telegrams is None or answer.raw in self.telegrams or name(answer) != self.name


UNKNOWN = Held()


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading as it stands. ``request`` is to be asked next; None: it is over, and ``answers`` are all of it.

    ``doubted`` is the first telegram, once it has been found to be a possible repetition; ``sure``: no further one can
    be. ``refused`` says why nothing of it is believed.
    """

    opening: mbus.Request
    held: Held
    request: mbus.Request | None
    answers: tuple[Answer, ...] = ()
    doubted: Answer | None = None
    sure: bool = False
    refused: str = ""

    def answered(self, answer: Answer) -> Reading:
        """After an answer to ``request``. LocalProtocolError for a reading without an end."""
        request = self.request
        if request is None:
            raise ValueError("the reading is over")
        if answer.error:
            return replace(self, request=None, answers=(*self.answers, answer), held=UNKNOWN)
        if answer.sequence and (strangers := self._strangers(answer)):
            detail = "telegrams of two meters came: " + " and ".join(
                sorted(n.hex().upper() for n in strangers)
            )
            return replace(self, request=None, held=UNKNOWN, refused=detail)
        if answer.sequence == 1 and not self.sure:
            if self.caught(answer) and answer.raw in (self.held.telegrams or ()):
                return replace(
                    self, request=None, held=UNKNOWN, refused="a telegram of the reading before came"
                )
            if self.doubted is None and self.held.doubts(answer):
                return replace(self, request=replace(request, control=mbus.REQ_UD2), doubted=answer)
            if self.doubted is not None and (self.doubted.more or answer.more):
                return replace(self, request=self.opening, answers=(), sure=True)
        told = (*self.answers, answer)
        following = mbus.follow(request, answer)
        held = self.held
        if following is None:
            held = Held(frozenset(a.raw for a in told if a.sequence), name(answer))
        return replace(
            self, request=following, answers=told, held=held, sure=self.sure or answer.sequence > 0
        )

    def _strangers(self, answer: Answer) -> set[bytes]:
        """The names that a telegram should have had one of, and its own, if it has none of them."""
        before = [a for a in self.answers if a.sequence]
        if before:
            known = {name(before[0])}
        elif self.doubted is not None:
            known = {name(self.doubted)} | ({self.held.name} if self.held.telegrams is not None else set())
        else:
            return set()
        return set() if name(answer) in known else known | {name(answer)}

    @property
    def doubts(self) -> bool:
        """Whether what is asked now is asked because the telegram before may be a repetition."""
        return self.doubted is not None and not self.sure and self.request is not None

    def caught(self, answer: Answer) -> bool:
        """Whether this telegram and the one in doubt are not the same, and one of them is of the reading before."""
        doubted, known = self.doubted if self.doubts else None, self.held.telegrams or frozenset()
        return doubted is not None and doubted.raw != answer.raw and bool({doubted.raw, answer.raw} & known)

    @property
    def left_behind(self) -> Held:
        """What the slave holds if the reading ends here. What opens it changes nothing until it is heard."""
        if self.request is None or not (self.request.part or self.doubted or self.answers):
            return self.held
        return UNKNOWN


def begun(opening: mbus.Request, held: Held) -> Reading:
    """A reading that begins with what ``drivers.mbus.opening`` gives."""
    return Reading(opening, held, opening)


@dataclass(frozen=True, slots=True)
class MBus:
    """M-Bus; it only reads. A reading opens the link (or selects the slave), then asks telegram by telegram."""

    name: str

    def address(self, text: str) -> str:
        """Primary, or the 16 digits of a secondary one."""
        return mbus.address(text)

    def request(self, address: str, query: Query) -> mbus.Request:
        """SND_NKE or the selection: what opens the reading. Its acknowledge is an answer with ``more``."""
        if query.protocol != "mbus":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return mbus.opening(address)

    def encode(self, request: object) -> bytes:
        """A short frame, or the selection."""
        return mbus.encode(own(request, mbus.Request, "an M-Bus request"))

    def decoder(self) -> mbus.Decoder:
        """All frames."""
        return mbus.Decoder()

    def match(self, request: object, frame: object) -> Answer | Mismatch:
        """By direction, address or identity, kind."""
        return mbus.match(
            own(request, mbus.Request, "an M-Bus request"), own(frame, mbus.Frame, "an M-Bus frame")
        )

    def numbered(self, request: Said, n: int) -> Said:  # noqa: ARG002 - FCB goes with the telegram
        """Unchanged."""
        return request

    def expected_length(self, request: object) -> int | None:
        """One byte of acknowledge; a telegram's length is the slave's affair."""
        return None if own(request, mbus.Request, "an M-Bus request").part else 1

    def follow(self, request: object, answer: Answer) -> mbus.Request | None:
        """REQ_UD2 with the FCB toggled."""
        return mbus.follow(own(request, mbus.Request, "an M-Bus request"), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order and repetition."""
        return mbus.join(answers)
