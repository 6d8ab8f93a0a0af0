"""A CEMS data logger: it pushes HJ 212 packets of the 2005, 2017 or 2025 edition and resends what is not acknowledged.

Framing and CRC are written here a second time on purpose (see ``sim.framing``): the receiver under test has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EDITIONS = {2005: None, 2017: 1, 2025: 2}  # the version bits of Flag; 2005 has no such field
RESENDS = 3


def crc16(data: bytes) -> int:
    """The check of HJ 212 annex A."""
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ byte
        for _ in range(8):
            odd, register = register & 1, register >> 1
            if odd:
                register ^= 0xA001
    return register


def frame(segment: str, *, lower: bool = False) -> bytes:
    """A segment with its length and CRC; ``lower`` writes the CRC in small letters, as some loggers do."""
    data = segment.encode("ascii")
    check = f"{crc16(data):04X}"
    return b"##" + f"{len(data):04d}".encode() + data + (check.lower() if lower else check).encode() + b"\r\n"


@dataclass(frozen=True, slots=True)
class Hj212Logger:
    """One logger. ``offset_hours``: its local time (China: 8)."""

    mn: str
    password: str
    edition: int = 2017
    system: str = "31"
    offset_hours: int = 8
    lower: bool = False

    def local(self, utc_us: int, *, milliseconds: bool = False) -> str:
        """A time as the logger writes it."""
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=utc_us, hours=self.offset_hours)
        return at.strftime("%Y%m%d%H%M%S") + (f"{at.microsecond // 1000:03d}" if milliseconds else "")

    def message(
        self,
        command: str,
        data_time_us: int,
        factors: Mapping[str, Mapping[str, str]],
        *,
        sent_us: int | None = None,
        wanted: bool = True,
        parts: int = 1,
        again: bool = False,
    ) -> list[bytes]:
        """The packets of one message: ``factors`` are fields by code, ``{"a05001": {"Rtd": "9.8", "Flag": "N"}}``.

        ``wanted``: an answer is asked for (A); ``parts``: over how many packets the factors are spread; ``again``: a
        re-upload, marked so in 2025.
        """
        items = [
            ",".join(f"{code}-{name}={value}" for name, value in fields.items())
            for code, fields in factors.items()
        ]
        split = [items[n::parts] for n in range(parts)]
        qn = self.local(data_time_us if sent_us is None else sent_us, milliseconds=True)
        return [
            self._packet(qn, command, data_time_us, some, (n, parts), wanted=wanted, again=again)
            for n, some in enumerate(split, 1)
        ]

    def _packet(
        self,
        qn: str,
        command: str,
        data_time_us: int,
        items: Sequence[str],
        place: tuple[int, int],
        *,
        wanted: bool,
        again: bool,
    ) -> bytes:
        number, of = place
        version = EDITIONS[self.edition]
        head = f"QN={qn};ST={self.system};CN={command};PW={self.password};MN={self.mn};"
        if version is not None:
            head += f"Flag={version << 2 | (2 if of > 1 else 0) | (1 if wanted else 0)};"
        if of > 1:
            head += f"PNUM={of};PNO={number};"
        if again and self.edition == 2025:
            head += "RF=1;"
        body = ";".join((f"DataTime={self.local(data_time_us)}", *items))
        return frame(f"{head}CP=&&{body}&&", lower=self.lower)

    def heartbeat(self, utc_us: int) -> bytes:
        """The heartbeat of 2025."""
        qn = self.local(utc_us, milliseconds=True)
        return frame(f"QN={qn};ST=91;CN=9015;PW={self.password};MN={self.mn};Flag=9;CP=&&&&")


class LoggerConnection:
    """A logger's TCP connection."""

    def __init__(self, host: str, port: int, answer_s: float = 5.0) -> None:
        self._where, self._answer_s = (host, port), answer_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.resent = 0

    async def __aenter__(self) -> LoggerConnection:
        self._reader, self._writer = await asyncio.open_connection(*self._where)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._writer is not None
        self._writer.close()

    async def send(self, data: bytes) -> None:
        """Hand over bytes and wait for nothing."""
        assert self._writer is not None
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> str | None:
        """The next answer as text; None if none comes in time."""
        assert self._reader is not None
        try:
            async with asyncio.timeout(self._answer_s):
                return (await self._reader.readuntil(b"\r\n")).decode("ascii")
        except (TimeoutError, asyncio.IncompleteReadError):
            return None

    async def push(self, packets: Sequence[bytes]) -> bool:
        """Send a message packet by packet, each again until it is acknowledged; whether all were."""
        for packet in packets:
            for _ in range(1 + RESENDS):
                await self.send(packet)
                told = await self.answer()
                if told is not None and "CN=9014;" in told:
                    break
                self.resent += 1
            else:
                return False
        return True
