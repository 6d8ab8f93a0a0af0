"""The protocols by name: what a bus, a simulator or a decoder needs of each, behind one interface.

``codec("modbus-rtu")`` gives a ``Codec``. RTU over TCP is ``modbus-rtu`` on a TCP link: the frames are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias, runtime_checkable

from drivers import (
    cjt188,
    dlms_reading,
    dlt645,
    dlt698,
    dlt698_get,
    hdlc,
    iec62056,
    iec62056_reading,
    mbus,
    modbus,
)
from drivers.cjt188_reading import Cjt188
from drivers.codec import Answer, Mismatch, Onward, Reject
from drivers.dlms_reading import Dlms
from drivers.dlt645_reading import Dlt645
from drivers.dlt698_get import Dlt698
from drivers.iec62056_reading import Iec62056
from drivers.mbus_reading import MBus
from drivers.modbus_reading import Modbus
from drivers.points import Query

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


def closing(request: Request, answer: Answer) -> Request | None:
    """What ends a session beyond its last answer, and may go unanswered; None where nothing does."""
    if not isinstance(request, dlms_reading.Request) or answer.error_code == dlms_reading.HUNG_UP:
        return None
    return dlms_reading.closing(request)


def recorded(request: Request, raw: bytes) -> bytes:
    """The bytes that may be kept of a request which was sent as ``raw``: without a password."""
    return dlms_reading.recorded(request) if isinstance(request, dlms_reading.Request) else raw


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
