"""What is heard between a request and its deadline: echo, frames, rejects, and which frame is the answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from drivers import modbus
from drivers.codec import Answer, Mismatch, MismatchReason, Missing, Onward, Reject, RejectReason
from drivers.protocols import Codec, Decoder, Frame, Request

EVIDENCE_LIMIT = 512  # bytes of a failed exchange's rubbish that are kept
_REJECTS = frozenset(RejectReason)


class Hearing:
    """One request's hearing: bytes go in as they come, an answer comes out, or the reason why there is none.

    Our own request heard back is dropped by count, only where it comes first. Every frame that is not the answer, and
    every reject, is counted by its cause in ``causes``.
    """

    __slots__ = (
        "_codec",
        "_decoder",
        "_echo",
        "_raw",
        "_request",
        "answer",
        "broken",
        "causes",
        "heard",
        "mismatched",
        "onward",
        "preface",
        "rubbish",
        "strays",
        "torn",
        "trailing",
    )

    def __init__(self, codec: Codec, request: Request, raw: bytes) -> None:
        self._codec, self._request, self._raw = codec, request, raw
        self._decoder: Decoder | None = None
        self._echo: bytes | None = b"" if raw else None  # what may begin our echo; None: decided
        self.answer: Answer | None = None
        self.broken: list[bytes] = []  # frames that did not keep their checksum
        self.causes: dict[str, int] = {}
        self.heard = False  # anything but an echo
        self.mismatched = ""  # the last mismatch in words
        self.onward: Onward | None = None  # the answer goes on by itself, at another rate perhaps
        self.preface = b""  # what was heard of it so far
        self.rubbish = bytearray()
        self.strays: list[bytes] = []  # sound frames that were not the answer
        self.trailing = False  # something came behind the answer
        self.torn = False  # the last bytes were no whole frame

    def take(self, data: bytes) -> None:
        """Take bytes as they came; ``answer`` is set if they complete it."""
        if not self.heard and isinstance(self._request, modbus.Request):
            self.answer = modbus.plain_answer(self._request, self._raw, data)
            if self.answer is not None:
                self.heard = True
                return
        if self._echo is not None:
            data = self._echo + data
            if data.startswith(self._raw):
                self._count(MismatchReason.ECHO)
                data = data[len(self._raw) :]
            elif self._raw.startswith(data):
                self._echo = data
                return
            self._echo = None
            if not data:
                return
        self.heard = True
        decoder = self._decoder = self._decoder or self._codec.decoder()
        self._sift(decoder.feed(data))
        if self.answer is None:
            self.rubbish += data[: EVIDENCE_LIMIT - len(self.rubbish)]
        elif decoder.pending:
            self.trailing = self.torn = True
            self._sift(decoder.finish())

    def end(self) -> Answer | None:
        """Waiting is over: a frame may still stand inside what looked like the beginning of a longer one."""
        decoder = self._decoder = self._decoder or self._codec.decoder()
        if self._echo:
            data, self._echo = self._echo, None
            self.heard = True
            self.rubbish += data
            self._sift(decoder.feed(data))
        self.torn = decoder.pending > 0 or bool(self.causes.keys() & _REJECTS)
        self._sift(decoder.finish())
        return self.answer

    @property
    def begun(self) -> bool:
        """Whether the beginning of a frame has been heard, and not yet its end."""
        return self._decoder is not None and self._decoder.pending > 0

    @property
    def failure(self) -> Missing:
        """Why there is no answer."""
        if self.mismatched:
            return Missing.MISMATCH
        return Missing.CORRUPT if self.heard else Missing.TIMEOUT

    def detail(self, reply_s: float) -> str:
        """The same in words."""
        if self.mismatched:
            return self.mismatched
        if self.heard:
            return f"{len(self.rubbish)} bytes came, no whole frame"
        return f"no answer within {reply_s:g} s" + (", only the line's echo" if self.causes else "")

    def _sift(self, items: Iterable[Frame | Reject]) -> None:
        for item in items:
            if isinstance(item, Reject):
                self._count(item.reason)
                if item.reason is RejectReason.CHECKSUM:
                    self.broken.append(item.raw)
                self.trailing = self.answer is not None
            elif self.answer is not None:
                self._count(MismatchReason.UNASKED)
                self.strays.append(item.raw)
                self.trailing = True
            else:
                found = self._codec.match(self._request, item)
                if isinstance(found, Onward):
                    self.onward, self._request = found, cast(Request, found.request)
                    self.preface += found.raw
                elif isinstance(found, Mismatch):
                    self._count(found.reason)
                    self.strays.append(item.raw)
                    self.mismatched = found.detail or found.reason.value
                else:
                    self.answer = replace(found, raw=self.preface + found.raw) if self.preface else found

    def _count(self, cause: str) -> None:
        self.causes[cause] = self.causes.get(cause, 0) + 1
