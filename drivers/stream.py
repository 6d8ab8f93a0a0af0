"""A stream of bytes to frames and rejects: what every decoder shares.

A protocol says what stands at one place (``_candidate``): a frame, the reason why it is none, or that more bytes are
needed. The rest is the same for all, and does not depend on how the stream is cut into pieces:

* what is no frame is left ONE byte on, so a true frame inside the rubbish is found;
* bytes before which nothing begins are noise, reported together up to the next frame or reject;
* a reject is told once per stretch: what begins inside a stretch already told is not told again (a frame is);
* preamble bytes directly before a frame are no noise.

So the report never holds a byte twice in rejects, nor twice in frames, and a megabyte of likenesses stays linear.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeAlias, TypeVar

from drivers.codec import Reject, RejectReason

Refusal: TypeAlias = tuple[RejectReason, int, str]  # the reason, how many bytes it concerns, in words


class Framed(Protocol):
    """What the stream must know of a frame."""

    @property
    def raw(self) -> bytes:
        """Its bytes."""


F = TypeVar("F", bound=Framed)


class Stream(Generic[F]):
    """A decoder of one line; subclasses know one protocol.

    ``_start`` is the byte with which frames begin, if there is one; ``_preamble`` the byte that may precede them.
    """

    _start: bytes = b""
    _preamble: bytes = b""
    _NOISE_PIECE = 256  # bytes of noise in one reject

    def __init__(self) -> None:
        self._held = bytearray()
        self._offset = 0  # of the first held byte in the stream
        self._noise = bytearray()
        self._noise_offset = 0
        self._before = 0  # preamble bytes since the last other byte: noise only if no frame comes
        self._told = 0  # offset up to which bytes were part of a frame or reject

    @property
    def pending(self) -> int:
        """Bytes held because they may be the beginning of a frame."""
        return len(self._held)

    def feed(self, data: bytes) -> list[F | Reject]:
        """Take bytes as they came; give the frames and rejects that are certain now."""
        self._held += data
        return self._scan(final=False)

    def finish(self) -> list[F | Reject]:
        """The stream has ended or fallen silent: decide about everything held. The decoder may be fed again."""
        found = self._scan(final=True)
        if self._before:
            if not self._noise:
                self._noise_offset = self._offset - self._before
            self._noise += self._preamble * self._before
        self._end_of_noise(found)
        return found

    def _candidate(self, held: memoryview, at: int, final: bool) -> F | Refusal | None:
        """What stands at ``at``. None: more bytes are needed (never if ``final``). NOISE: no beginning at all."""
        raise NotImplementedError  # pragma: no cover

    def _scan(self, *, final: bool) -> list[F | Reject]:
        found: list[F | Reject] = []
        whole = bytes(self._held)
        at = 0
        with memoryview(whole) as held:
            while at < len(whole):
                if self._start:
                    start = whole.find(self._start, at)
                    start = len(whole) if start < 0 else start
                    self._skip(found, whole, at, start)
                    at = start
                    if at == len(whole):
                        break
                verdict = self._candidate(held, at, final)
                if verdict is None:
                    break
                if isinstance(verdict, tuple):
                    self._refuse(found, whole, at, verdict)
                    at += 1
                else:
                    self._end_of_noise(found)
                    found.append(verdict)
                    at += len(verdict.raw)
                    self._told = max(self._told, self._offset + at)
        del self._held[:at]
        self._offset += at
        return found

    def _refuse(self, found: list[F | Reject], whole: bytes, at: int, refusal: Refusal) -> None:
        reason, length, detail = refusal
        offset = self._offset + at
        if reason is RejectReason.NOISE:
            self._skip(found, whole, at, at + 1)
        elif offset >= self._told:
            self._end_of_noise(found)
            found.append(Reject(offset, reason, whole[at : at + length], detail))
            self._told = offset + length

    def _skip(self, found: list[F | Reject], whole: bytes, start: int, end: int) -> None:
        """Bytes that begin no frame: noise, unless they are preamble or already told of."""
        start = max(start, min(self._told - self._offset, end))
        if start == end:
            return
        piece = whole[start:end]
        body = piece.rstrip(self._preamble) if self._preamble else piece
        if body:
            if not self._noise:
                self._noise_offset = self._offset + start - self._before
            self._noise += self._preamble * self._before + body
            self._before = 0
        self._before += len(piece) - len(body)
        while len(self._noise) >= self._NOISE_PIECE:
            raw = bytes(self._noise[: self._NOISE_PIECE])
            found.append(Reject(self._noise_offset, RejectReason.NOISE, raw))
            del self._noise[: self._NOISE_PIECE]
            self._noise_offset += len(raw)

    def _end_of_noise(self, found: list[F | Reject]) -> None:
        """A frame, a reject or the end bounds a stretch of noise; what precedes it as preamble is none."""
        self._before = 0
        if self._noise:
            found.append(Reject(self._noise_offset, RejectReason.NOISE, bytes(self._noise)))
            self._noise.clear()
