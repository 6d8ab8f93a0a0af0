"""The protocols by name: what a bus, a simulator or a decoder needs of each, behind one interface.

``codec("modbus-rtu")`` gives a ``Codec``. RTU over TCP is ``modbus-rtu`` on a TCP link: the frames are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, TypeAlias, runtime_checkable

from drivers import (
    cjt188,
    dlms_reading,
    dlt645,
    dlt645_items,
    dlt698,
    dlt698_get,
    hdlc,
    iec62056,
    iec62056_reading,
    mbus,
    modbus,
)
from drivers.codec import Answer, LocalProtocolError, Mismatch, Onward, Reject
from drivers.profile import Query

Request: TypeAlias = (
    dlt645.Request
    | modbus.Request
    | cjt188.Request
    | mbus.Request
    | dlt698_get.Request
    | iec62056_reading.Request
    | dlms_reading.Request
)
Frame: TypeAlias = (
    dlt645.Frame
    | modbus.Frame
    | cjt188.Frame
    | mbus.Frame
    | dlt698.Frame
    | iec62056.Frame
    | hdlc.Frame
    | hdlc.Wrapped
)


@runtime_checkable
class Decoder(Protocol):
    """A stream of bytes to frames and rejects; how the stream is cut into pieces does not matter."""

    @property
    def pending(self) -> int:
        """Bytes held because they may be the beginning of a frame."""

    def feed(self, data: bytes) -> Sequence[Frame | Reject]:
        """Take bytes; give what is certain now."""

    def finish(self) -> Sequence[Frame | Reject]:
        """The line is silent: decide about everything held. May give frames that stood behind a false start."""


@runtime_checkable
class Codec(Protocol):
    """One protocol. Pure: it keeps nothing between calls."""

    @property
    def name(self) -> str:
        """Its name, such as ``dlt645-2007``."""

    def address(self, text: str) -> str:
        """The canonical address; ValueError in the reader's words."""

    def request(self, address: str, query: Query) -> Request:
        """What to ask the meter at ``address``."""

    def encode(self, request: Request) -> bytes:
        """The bytes to send; LocalProtocolError for anything that would change the meter."""

    def decoder(self) -> Decoder:
        """A fresh decoder for one line."""

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch | Onward:
        """The answer, if ``frame`` is the one to ``request``."""

    def numbered(self, request: Request, n: int) -> Request:
        """The request with a transaction number, where the protocol has one."""

    def expected_length(self, request: Request) -> int | None:
        """Bytes of the value answer (without preamble), if they are known beforehand."""

    def follow(self, request: Request, answer: Answer) -> Request | None:
        """The request for what follows an answer with ``more``; None where answers never go on."""

    def join(self, answers: Sequence[Answer]) -> Answer:
        """One answer out of the parts."""


@dataclass(frozen=True, slots=True)
class Dlt645:
    """DL/T 645 of one edition; it only reads."""

    name: str
    preamble: int = 4

    def address(self, text: str) -> str:
        """12 digits, zeros on the left."""
        return dlt645.address(text)

    def request(self, address: str, query: Query) -> Request:
        """Read one DI or block."""
        old = len(query.item) == 4
        if query.protocol != self.name:
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return dlt645.Request(self.address(address), dlt645.READ_1997 if old else dlt645.READ, query.item)

    def address_request(self) -> Request:
        """Ask the only meter on a line for its address (2007)."""
        return dlt645.Request(dlt645.WILDCARD, dlt645.READ_ADDRESS)

    def encode(self, request: Request) -> bytes:
        """With preamble."""
        return dlt645.encode(_645(request), preamble=self.preamble)

    def decoder(self) -> Decoder:
        """Both editions: the framing is the same."""
        return dlt645.Decoder()

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch:
        """By direction, address, function, DI, SEQ."""
        if not isinstance(frame, dlt645.Frame):
            raise LocalProtocolError("not a DL/T 645 frame")
        return dlt645.match(_645(request), frame)

    def numbered(self, request: Request, n: int) -> Request:  # noqa: ARG002 - the protocol has no numbers
        """Unchanged."""
        return request

    def expected_length(self, request: Request) -> int | None:
        """12 bytes around DI and item; None for blocks, whose length the meter decides."""
        asked = _645(request)
        if asked.function == dlt645.READ_ADDRESS:
            return 18
        item = dlt645_items.describe(asked.item) if asked.item else None
        return 12 + len(asked.item) // 2 + item.size if item else None

    def follow(self, request: Request, answer: Answer) -> Request | None:
        """C = 12 with the next SEQ (02 in 1997)."""
        return dlt645.follow(_645(request), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order and SEQ."""
        return dlt645.join(answers)


@dataclass(frozen=True, slots=True)
class Modbus:
    """Modbus in one framing; it only reads."""

    name: str
    framing: modbus.Framing

    def address(self, text: str) -> str:
        """The unit."""
        return modbus.address(text)

    def request(self, address: str, query: Query) -> Request:
        """Read registers."""
        if query.protocol != "modbus":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return modbus.Request(self.address(address), query.function, query.start, query.count, self.framing)

    def encode(self, request: Request) -> bytes:
        """A frame of this framing."""
        return modbus.encode(_modbus(request))

    def decoder(self) -> Decoder:
        """For this framing."""
        return modbus.decoder(self.framing)

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch:
        """By transaction, unit, function and byte count."""
        if not isinstance(frame, modbus.Frame):
            raise LocalProtocolError("not a Modbus frame")
        return modbus.match(_modbus(request), frame)

    def numbered(self, request: Request, n: int) -> Request:
        """With transaction id (TCP)."""
        return modbus.numbered(_modbus(request), n)

    def expected_length(self, request: Request) -> int | None:
        """Known for every reading."""
        return modbus.expected_length(_modbus(request))

    def follow(self, request: Request, answer: Answer) -> Request | None:  # noqa: ARG002
        """Answers never go on."""
        return None

    def join(self, answers: Sequence[Answer]) -> Answer:
        """There is only one."""
        if len(answers) != 1:
            raise LocalProtocolError("a Modbus answer has one part")
        return replace(answers[0])


@dataclass(frozen=True, slots=True)
class Cjt188:
    """CJ/T 188; it only reads. ``swapped``: the DI goes out as 1F 90 (2018) instead of 90 1F (2004)."""

    name: str
    swapped: bool = False
    preamble: int = 4

    def address(self, text: str) -> str:
        """14 digits, zeros on the left."""
        return cjt188.address(text)

    def request(self, address: str, query: Query) -> Request:
        """Read 901F of a meter of the query's kind."""
        if query.protocol != "cjt188":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        meter_type = cjt188.meter_type_of(query.kind)
        return cjt188.Request(self.address(address), meter_type, item=query.item, swapped=self.swapped)

    def encode(self, request: Request) -> bytes:
        """With preamble."""
        return cjt188.encode(_188(request), preamble=self.preamble)

    def decoder(self) -> Decoder:
        """Both editions: the framing is the same."""
        return cjt188.Decoder()

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch:
        """By direction, type, address, function, DI in either order, SER."""
        if not isinstance(frame, cjt188.Frame):
            raise LocalProtocolError("not a CJ/T 188 frame")
        return cjt188.match(_188(request), frame)

    def numbered(self, request: Request, n: int) -> Request:  # noqa: ARG002 - not every meter repeats SER
        """Unchanged."""
        return request

    def expected_length(self, request: Request) -> int | None:
        """35 bytes of a water or gas meter, 59 of a heat meter."""
        asked = _188(request)
        return 59 if 0x20 <= asked.meter_type <= 0x29 else 35 if asked.meter_type != cjt188.ANY else None

    def follow(self, request: Request, answer: Answer) -> Request | None:  # noqa: ARG002
        """Answers never go on."""
        return None

    def join(self, answers: Sequence[Answer]) -> Answer:
        """There is only one."""
        if len(answers) != 1:
            raise LocalProtocolError("a CJ/T 188 answer has one part")
        return answers[0]


@dataclass(frozen=True, slots=True)
class MBus:
    """M-Bus; it only reads. A reading opens the link (or selects the slave), then asks telegram by telegram."""

    name: str

    def address(self, text: str) -> str:
        """Primary, or the 16 digits of a secondary one."""
        return mbus.address(text)

    def request(self, address: str, query: Query) -> Request:
        """SND_NKE or the selection: what opens the reading. Its acknowledge is an answer with ``more``."""
        if query.protocol != "mbus":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return mbus.opening(address)

    def encode(self, request: Request) -> bytes:
        """A short frame, or the selection."""
        return mbus.encode(_mbus(request))

    def decoder(self) -> Decoder:
        """All frames."""
        return mbus.Decoder()

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch:
        """By direction, address or identity, kind."""
        if not isinstance(frame, mbus.Frame):
            raise LocalProtocolError("not an M-Bus frame")
        return mbus.match(_mbus(request), frame)

    def numbered(self, request: Request, n: int) -> Request:  # noqa: ARG002 - FCB goes with the telegram
        """Unchanged."""
        return request

    def expected_length(self, request: Request) -> int | None:
        """One byte of acknowledge; a telegram's length is the slave's affair."""
        return None if _mbus(request).part else 1

    def follow(self, request: Request, answer: Answer) -> Request | None:
        """REQ_UD2 with the FCB toggled."""
        return mbus.follow(_mbus(request), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order and repetition."""
        return mbus.join(answers)


@dataclass(frozen=True, slots=True)
class Dlt698:
    """DL/T 698.45; it only reads."""

    name: str
    preamble: int = 4

    def address(self, text: str) -> str:
        """The digits, with @ and the client's address if that is not 00."""
        return dlt698_get.address(text)

    def request(self, address: str, query: Query) -> Request:
        """GET of the query's OADs."""
        if query.protocol != "dlt698":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return dlt698_get.request(self.address(address), query.item)

    def encode(self, request: Request) -> bytes:
        """With preamble."""
        return dlt698_get.encode(_698(request), preamble=self.preamble)

    def decoder(self) -> Decoder:
        """All frames."""
        return dlt698.Decoder()

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch:
        """By direction, server, client, service and OADs."""
        if not isinstance(frame, dlt698.Frame):
            raise LocalProtocolError("not a DL/T 698.45 frame")
        return dlt698_get.match(_698(request), frame)

    def numbered(self, request: Request, n: int) -> Request:  # noqa: ARG002 - the OADs tell what is answered
        """Unchanged."""
        return request

    def expected_length(self, request: Request) -> int | None:  # noqa: ARG002
        """The meter's affair: types and elements are told by the answer."""
        return None

    def follow(self, request: Request, answer: Answer) -> Request | None:
        """A fragment confirmed, or the next block."""
        return dlt698_get.follow(_698(request), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order and for what was asked."""
        return dlt698_get.join(answers)


def _698(request: Request) -> dlt698_get.Request:
    if not isinstance(request, dlt698_get.Request):
        raise LocalProtocolError("not a DL/T 698.45 request")
    return request


@dataclass(frozen=True, slots=True)
class Iec62056:
    """IEC 62056-21 modes A, B and C; it only reads. A reading is a session: sign-on, option select, readout."""

    name: str
    rates: iec62056_reading.Rates
    times: iec62056_reading.Times = iec62056_reading.STANDARD

    def address(self, text: str) -> str:
        """Up to 32 letters, digits or spaces; empty for the only meter of a line."""
        return iec62056.address(text)

    def request(self, address: str, query: Query) -> Request:
        """The sign-on; its answer, the identification, has ``more``."""
        if query.protocol != "iec62056-21":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        registers = tuple(point.item for point in query.points) if query.item else ()
        return iec62056_reading.Request(
            self.address(address), self.rates, times=self.times, command=query.item, registers=registers
        )

    def encode(self, request: Request) -> bytes:
        """Sign-on, option select or acknowledge."""
        return iec62056_reading.encode(_62056(request))

    def decoder(self) -> Decoder:
        """All messages."""
        return iec62056.Decoder()

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch | Onward:
        """By direction and kind."""
        if not isinstance(frame, iec62056.Frame):
            raise LocalProtocolError("not an IEC 62056-21 message")
        return iec62056_reading.match(_62056(request), frame)

    def numbered(self, request: Request, n: int) -> Request:  # noqa: ARG002 - the protocol has no numbers
        """Unchanged."""
        return request

    def expected_length(self, request: Request) -> int | None:  # noqa: ARG002
        """The meter's affair."""
        return None

    def follow(self, request: Request, answer: Answer) -> Request | None:
        """Option select, then an acknowledge for each block that others follow."""
        return iec62056_reading.follow(_62056(request), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order."""
        return iec62056_reading.join(answers)


def _62056(request: Request) -> iec62056_reading.Request:
    if not isinstance(request, iec62056_reading.Request):
        raise LocalProtocolError("not an IEC 62056-21 request")
    return request


@dataclass(frozen=True, slots=True)
class Dlms:
    """DLMS/COSEM over HDLC or in the TCP wrapper; it only reads. A reading is a session, from association to release.

    ``password``: of low-level security (LLS), in no ``repr``.
    """

    name: str
    wrapped: bool = False
    password: bytes = field(default=b"", repr=False)

    def address(self, text: str) -> str:
        """Logical and physical device, and the client if that is not 16; with a password, +lls behind it."""
        if self.wrapped and dlms_reading.ends(text).server.size == 2:
            raise ValueError(f"{text!r}: in the TCP wrapper a meter has one number, mostly 1")
        return dlms_reading.address(text, lls=bool(self.password))

    def request(self, address: str, query: Query) -> Request:
        """What opens the session that reads the query's attributes."""
        if query.protocol != "dlms":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        return dlms_reading.request(
            self.address(address), query.item, wrapped=self.wrapped, password=self.password
        )

    def encode(self, request: Request) -> bytes:
        """SNRM, AARQ, GET, RR, DISC or RLRQ."""
        return dlms_reading.encode(_dlms(request))

    def decoder(self) -> Decoder:
        """HDLC frames, or APDUs in the wrapper."""
        return hdlc.WrapperDecoder() if self.wrapped else hdlc.Decoder()

    def match(self, request: Request, frame: Frame) -> Answer | Mismatch:
        """By both addresses, N(S) and N(R), invoke id, block number."""
        if not isinstance(frame, hdlc.Wrapped if self.wrapped else hdlc.Frame):
            raise LocalProtocolError(f"not a frame of {self.name}")
        return dlms_reading.match(_dlms(request), frame)

    def numbered(self, request: Request, n: int) -> Request:  # noqa: ARG002 - numbered within the session
        """Unchanged."""
        return request

    def expected_length(self, request: Request) -> int | None:  # noqa: ARG002
        """The meter's affair."""
        return None

    def follow(self, request: Request, answer: Answer) -> Request | None:
        """The next message of the session."""
        return dlms_reading.follow(_dlms(request), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """All results of the session."""
        return dlms_reading.join(answers)


def _dlms(request: Request) -> dlms_reading.Request:
    if not isinstance(request, dlms_reading.Request):
        raise LocalProtocolError("not a DLMS request")
    return request


def closing(request: Request, answer: Answer) -> Request | None:
    """What ends a session beyond its last answer, and may go unanswered; None where nothing does."""
    if not isinstance(request, dlms_reading.Request) or answer.error_code == dlms_reading.HUNG_UP:
        return None
    return dlms_reading.closing(request)


def recorded(request: Request, raw: bytes) -> bytes:
    """The bytes that may be kept of a request which was sent as ``raw``: without a password."""
    return dlms_reading.recorded(request) if isinstance(request, dlms_reading.Request) else raw


def _mbus(request: Request) -> mbus.Request:
    if not isinstance(request, mbus.Request):
        raise LocalProtocolError("not an M-Bus request")
    return request


def _188(request: Request) -> cjt188.Request:
    if not isinstance(request, cjt188.Request):
        raise LocalProtocolError("not a CJ/T 188 request")
    return request


def _645(request: Request) -> dlt645.Request:
    if not isinstance(request, dlt645.Request):
        raise LocalProtocolError("not a DL/T 645 request")
    return request


def _modbus(request: Request) -> modbus.Request:
    if not isinstance(request, modbus.Request):
        raise LocalProtocolError("not a Modbus request")
    return request


def request_of(frame: Frame) -> Request | None:
    """The request that a frame carries, as the meter's side reads it; None if it is an answer."""
    if isinstance(frame, dlt645.Frame):
        return dlt645.request_of(frame)
    if isinstance(frame, modbus.Frame):
        return modbus.request_of(frame)
    if isinstance(frame, mbus.Frame):
        return mbus.request_of(frame)
    if isinstance(frame, iec62056.Frame):
        return iec62056_reading.request_of(frame)
    if isinstance(frame, dlt698.Frame):
        return dlt698_get.request_of(frame)
    if isinstance(frame, hdlc.Frame | hdlc.Wrapped):
        return dlms_reading.request_of(frame)
    return cjt188.request_of(frame)


CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "dlt645-2007": Dlt645("dlt645-2007"),
        "dlt645-1997": Dlt645("dlt645-1997"),
        "modbus-rtu": Modbus("modbus-rtu", "rtu"),
        "modbus-tcp": Modbus("modbus-tcp", "tcp"),
        "modbus-ascii": Modbus("modbus-ascii", "ascii"),
        "cjt188": Cjt188("cjt188"),
        "mbus": MBus("mbus"),
        "iec62056-21": Iec62056("iec62056-21", iec62056_reading.Rates.CHANGING),
        "iec62056-21-300": Iec62056("iec62056-21-300", iec62056_reading.Rates.LOW),
        "iec62056-21-fixed": Iec62056("iec62056-21-fixed", iec62056_reading.Rates.FIXED),
        "dlt698": Dlt698("dlt698"),
        "dlms-hdlc": Dlms("dlms-hdlc"),
        "dlms-wrapper": Dlms("dlms-wrapper", wrapped=True),
    }
)


def codec(name: str) -> Codec:
    """The codec called ``name``; ValueError names those that exist."""
    try:
        return CODECS[name]
    except KeyError:
        raise ValueError(f"protocol {name!r} is not known; there are {', '.join(CODECS)}") from None
