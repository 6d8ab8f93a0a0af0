"""The values that every protocol shares: frames, rejects, indications, scans.

A codec is sans-IO. It offers three things and owns no socket, no clock and no float:

* ``encode(request) -> bytes``;
* a decoder with ``feed(bytes) -> list[Frame | Reject]`` (a stream: frames may arrive split, merged, or in noise);
* ``match(request, frame) -> Answer | Mismatch``: an answer is one only if unit, function, item and length agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, TypeVar

Said = TypeVar("Said")


class Instant(NamedTuple):
    """One instant on two clocks, in whole microseconds: UTC (may be stepped) and time since boot (never is)."""

    utc_us: int
    boot_us: int


class Missing(StrEnum):
    """Why an indication has no value. Missing is a state with a reason: never 0, never the last value."""

    NOT_SUPPORTED = "not_supported"  # the meter fills the item with FF, or the profile's sentinel
    NOT_A_NUMBER = "not_a_number"  # a nibble above 9, a NaN or an infinity
    WRONG_LENGTH = "wrong_length"  # the item's length is not the one that its format asks for
    NOT_NUMERIC = "not_numeric"  # a date, a time, a text or a status word: what it says is in ``detail``
    UNKNOWN_FORMAT = "unknown_format"  # the item is not in the table: its bytes are kept, no value is guessed
    OUT_OF_RANGE = "out_of_range"  # outside what the profile calls possible, or the instrument can measure
    FAULT = "fault"  # the instrument itself says that it is out of order (NAMUR NE 43, an HJ 212 data flag)
    FLAGGED = "flagged"  # the sender calls it no measurement: stopped, maintenance, calibrating, set by hand
    NOT_FROZEN = "not_frozen"  # what the meter holds as frozen was not frozen by this order
    ERROR_ANSWER = "error_answer"  # the meter answered with an error word or an exception
    MISMATCH = "mismatch"  # answers came, none belonged to the request
    CORRUPT = "corrupt"  # bytes came, no frame was whole (checksum, end byte, length)
    TIMEOUT = "timeout"  # nothing came
    LINK_DOWN = "link_down"  # the port or the connection is not there
    SKIPPED = "skipped"  # not asked this time: the meter is backed off, or the line had no time left


class RejectReason(StrEnum):
    """Why bytes of a stream were not a frame."""

    CHECKSUM = "checksum"
    END_BYTE = "end_byte"
    LENGTH = "length"
    HEADER = "header"
    TRUNCATED = "truncated"
    NOISE = "noise"
    UNKNOWN_FUNCTION = "unknown_function"


@dataclass(frozen=True, slots=True)
class Reject:
    """Bytes that are no frame: where in the stream (byte offset since the decoder began), why, and which."""

    offset: int
    reason: RejectReason
    raw: bytes
    detail: str = ""


class MismatchReason(StrEnum):
    """Why a sound frame is not the answer to the request."""

    ECHO = "echo"  # our own request, heard back on a two-wire line
    ADDRESS = "address"
    FUNCTION = "function"
    ITEM = "item"
    LENGTH = "length"
    SEQUENCE = "sequence"
    TRANSACTION = "transaction"
    UNASKED = "unasked"  # nothing was asked


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A sound frame that does not answer the request: never a value."""

    reason: MismatchReason
    raw: bytes
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Onward:
    """A sound frame after which the answer goes on by itself: what follows is matched with ``request``."""

    raw: bytes
    request: object


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame that answers the request: a value answer, an error answer, or the first part of a longer one.

    ``payload`` is what the protocol carries for the item, framing and echoed identifiers removed (DL/T 645: the data
    after the DI, without +33 and SEQ; Modbus: the register or coil bytes). ``error`` is what the device refuses with
    (an error answer is an answer: it is not asked again). ``more``: further frames follow, ``sequence`` is this one's.
    """

    item: str
    payload: bytes
    raw: bytes
    address: str = ""
    error: str = ""
    error_code: int | None = None
    more: bool = False
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Indication:
    """What the instrument shows (示值, VIM 4.1): exact, uncorrected, or missing with its reason.

    ``item`` is the protocol's own identifier (DI, register, OBIS …); ``measurand`` is our name for the quantity,
    empty if unknown; ``unit`` is a UCUM code (``kWh``, ``kW``, ``V``, ``A``, ``Hz``, ``1``).
    """

    item: str
    measurand: str
    value: Decimal | None
    unit: str
    missing: Missing | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.missing is None):
            raise ValueError(f"{self.item}: an indication has either a value or a reason for having none")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and the bytes of its answer, as they were on the line, with the instants of both.

    ``answer`` is empty when none came. ``sent`` is taken when the last byte of the request was handed to the line,
    ``received`` when the last byte of the answer had arrived (or when waiting ended).
    """

    request: bytes
    answer: bytes
    sent: Instant
    received: Instant
    failure: Missing | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """One instrument at one instant: its indications, with the exchanges that carried them."""

    indications: tuple[Indication, ...]
    exchanges: tuple[Exchange, ...]
    started: Instant
    finished: Instant

    @property
    def failure(self) -> Missing | None:
        """The reason, if not one indication has a value; else None. What was asked in vain counts first."""
        if any(indication.value is not None for indication in self.indications):
            return None
        # a meter that does not answer the first question is asked no other: what was skipped follows from that
        missing = [i.missing for i in self.indications if i.missing is not None]
        asked: list[Missing] = [reason for reason in missing if reason is not Missing.SKIPPED]
        reasons = asked or missing
        return max(reasons, key=reasons.count) if reasons else Missing.SKIPPED


@dataclass(slots=True)
class Counts:
    """How often each cause of a lost answer was met, per meter address. Shown, never reset silently."""

    by_address: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, address: str, cause: str, by: int = 1) -> None:
        """Count ``cause`` (a member of Missing, RejectReason or MismatchReason) for a meter, or ``''`` for the line."""
        causes = self.by_address.setdefault(address, {})
        causes[cause] = causes.get(cause, 0) + by

    def total(self, causes: Iterable[str] | None = None) -> int:
        """Sum over all meters, of all causes or of those named."""
        wanted = None if causes is None else set(causes)
        return sum(
            n for by in self.by_address.values() for c, n in by.items() if wanted is None or c in wanted
        )


class LocalProtocolError(ValueError):
    """We asked for something that the protocol cannot say: our mistake, or the profile's."""


def own(said: object, kind: type[Said], what: str) -> Said:
    """What was said, if it is a ``kind``; LocalProtocolError if it is not, such as another protocol's request."""
    if not isinstance(said, kind):
        raise LocalProtocolError(f"not {what}")
    return said
