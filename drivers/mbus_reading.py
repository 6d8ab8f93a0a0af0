"""One reading of an M-Bus slave: what is asked, telegram by telegram, and which telegrams are believed. Pure.

A slave keeps its last telegram and says it again when it hears the frame count bit that it heard last. SND_NKE or a
selection clears that bit, so the first request after it has FCB = 1 and each further one toggles it (EN 13757-2). But
whether the slave has heard what clears the bit rests on one character: an E5 in a line's noise, or another slave's,
passes for its acknowledge. Then a request with FCB = 1 is answered with the telegram of the reading before, and old
values pass for new. Hence:

* ``Held`` is what is known of the telegram that a slave may say again: those of the last reading, or nothing. Nothing
  is known of a slave that has not been read yet, or whose last answer was not heard.
* A first telegram that may be a repetition (byte for byte one of those held, the same access number above all, or
  nothing is known) is not believed. It is asked once more with FCB = 0: the slave has answered to 1, so this is new.
* A reading of several telegrams is begun anew behind that: whether or not the opening is heard, FCB = 1 is new.
* A telegram that is new and the same all the same is believed: the values stand still, the meter does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from drivers import mbus
from drivers.codec import Answer


@dataclass(frozen=True, slots=True)
class Held:
    """The telegrams that a slave may say again; None: it is not known which."""

    telegrams: frozenset[bytes] | None = None

    def repeats(self, raw: bytes) -> bool:
        """Whether a telegram may be one that the slave said before this reading."""
        return self.telegrams is None or raw in self.telegrams


UNKNOWN = Held()


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading as it stands. ``request`` is to be asked next, None: it is over, and ``answers`` are all of it.

    ``doubted`` is the first telegram, once it has been found to be a possible repetition; ``sure``: no further one can
    be.
    """

    opening: mbus.Request
    held: Held
    request: mbus.Request | None
    answers: tuple[Answer, ...] = ()
    doubted: Answer | None = None
    sure: bool = False

    def answered(self, answer: Answer) -> Reading:
        """After an answer to ``request``. LocalProtocolError for a reading without an end."""
        if self.request is None:
            raise ValueError("the reading is over")
        if answer.error:
            return replace(self, request=None, answers=(*self.answers, answer), held=UNKNOWN)
        if answer.sequence == 1 and not self.sure:
            if self.doubted is None and self.held.repeats(answer.raw):
                again = replace(self.request, control=mbus.REQ_UD2)
                return replace(self, request=again, doubted=answer)
            if self.doubted is not None and (self.doubted.more or answer.more):
                return replace(self, request=self.opening, answers=(), sure=True)
        told = (*self.answers, answer)
        following = mbus.follow(self.request, answer)
        held = self.held
        if following is None:
            held = Held(frozenset(a.raw for a in told if a.sequence))
        return replace(
            self, request=following, answers=told, held=held, sure=self.sure or answer.sequence > 0
        )

    @property
    def doubts(self) -> bool:
        """Whether what is asked now is asked because the telegram before may be a repetition."""
        return self.doubted is not None and not self.sure and self.request is not None

    def caught(self, answer: Answer) -> bool:
        """Whether ``answer`` shows that the telegram in doubt was one of the reading before."""
        doubted = self.doubted if self.doubts else None
        return doubted is not None and self.held.telegrams is not None and doubted.raw != answer.raw

    @property
    def left_behind(self) -> Held:
        """What the slave holds if the reading ends here. What opens it changes nothing until it is heard."""
        if self.request is None or not (self.request.part or self.doubted or self.answers):
            return self.held
        return UNKNOWN


def begun(opening: mbus.Request, held: Held) -> Reading:
    """A reading that begins with what ``drivers.mbus.opening`` gives."""
    return Reading(opening, held, opening)
