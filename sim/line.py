"""Lines that a program can open: a pty that keeps a UART's time, a real serial port, a TCP listener as converters are.

The meters and their timing are ``sim.halfduplex``'s; here bytes go in and out. Callbacks of the event loop
only: a line costs nothing while nobody speaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from collections.abc import Callable
from pathlib import Path

import serial

from sim.halfduplex import HalfDuplex
from sim.shared_line import SharedLine

_SPEEDS = {
    baud: getattr(termios, f"B{baud}")
    for baud in (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}


_PTYS = "/dev/pts/"


class Pump:
    """Joins a line to anything that hears and says bytes, in the running event loop's time.

    Call ``hear`` with the master's bytes; ``deliver`` is called with the meters', when they have arrived. ``baud``
    tells the rate to which the master's port is set; 0: unknown.
    """

    def __init__(
        self,
        line: HalfDuplex | SharedLine,
        utc_us: Callable[[], int],
        deliver: Callable[[bytes], None],
        baud: Callable[[], int] = lambda: 0,
    ) -> None:
        self._line = line
        self._utc_us = utc_us
        self._deliver = deliver
        self._baud = baud
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def _now_us(self) -> int:
        return int(self._loop.time() * 1e6)

    def hear(self, data: bytes, *, garbled: bool = False) -> None:
        """Bytes from the master, now."""
        self._line.tune(self._baud())
        self._line.hear(data, self._now_us(), self._utc_us(), garbled=garbled)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._line.due_us()
        if due is not None:
            self._timer = self._loop.call_at(due / 1e6, self._fire, due)

    def _fire(self, due: int) -> None:
        self._timer = None
        self._line.tune(self._baud())
        # The loop's time is a float and its timers may fire a clock tick early: what was due is due.
        if (data := self._line.take(max(due, self._now_us()))) or self._line.hung_up:
            self._deliver(data)
        self._arm()

    def stop(self) -> None:
        """Say nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PtyLine:
    """A serial port: the slave of a pty, offered under a path of the user's choice.

    A pty carries no baud rate on its wire, but its terminal settings tell which one the other side has set:
    another than the meters' is garbage for them, as on a real line. It has no parity and refuses to be
    asked for one: a program that sets up ports by itself opens this one as 8N1, and the characters still take
    8E1's time.
    """

    def __init__(
        self, line: HalfDuplex | SharedLine, path: Path, baud: int, utc_us: Callable[[], int]
    ) -> None:
        understood = line.bauds or {baud}
        for speed in {baud, *understood}:
            if speed not in _SPEEDS:
                raise ValueError(f"{path}: no line at {speed} baud; there are {', '.join(map(str, _SPEEDS))}")
        self.line = line
        self.path = path
        self._speed = _SPEEDS[baud]
        self._understood = {_SPEEDS[speed]: speed for speed in understood}
        self._utc_us = utc_us
        self._master = self._slave = -1
        self._pump: Pump | None = None

    @property
    def port(self) -> str:
        """What a program opens."""
        return str(self.path)

    async def start(self) -> None:
        """Open the pty and link its slave.

        Raises:
            FileExistsError: something else than the link of an earlier simulated line is there, a real port
            say.
        """
        if self.path.is_symlink() and str(self.path.readlink()).startswith(_PTYS):
            self.path.unlink()
        elif self.path.is_symlink() or self.path.exists():
            raise FileExistsError(f"{self.path}: is there already and is not a link to a simulated line")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._master, self._slave = os.openpty()
        try:
            self._offer()
        except BaseException:
            os.close(self._master)
            os.close(self._slave)
            raise
        self._pump = Pump(self.line, self._utc_us, self._write, self._set_to)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _offer(self) -> None:
        tty.setraw(self._slave)
        settings = termios.tcgetattr(self._slave)
        settings[4] = settings[5] = self._speed
        termios.tcsetattr(self._slave, termios.TCSANOW, settings)
        os.set_blocking(self._master, False)
        # The slave stays open here too: a master whose slave nobody holds would read as hung up.
        self.path.symlink_to(os.ttyname(self._slave))

    async def stop(self) -> None:
        """Close the pty and take the link away."""
        if self._pump is None:
            return
        self._pump.stop()
        self._pump = None
        asyncio.get_running_loop().remove_reader(self._master)
        target = os.ttyname(self._slave)
        os.close(self._master)
        os.close(self._slave)
        if self.path.is_symlink() and str(self.path.readlink()) == target:
            self.path.unlink()

    def _read(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except (BlockingIOError, OSError):
            return
        if data and self._pump is not None:
            self._pump.hear(data, garbled=not self._set_to())

    def _set_to(self) -> int:
        """The rate that the other side has set; 0: one that nobody here understands."""
        return self._understood.get(termios.tcgetattr(self._slave)[5], 0)

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._master, data)
        except BlockingIOError:
            return  # nobody reads: a real line's bytes are lost just so


class SerialLine:
    """A real serial port on which simulated meters answer: another box reads them over a cable.

    The port gives characters their time, so the line should be made with none of its own. A pseudo-terminal has no
    parity and is opened as 8N1.
    """

    def __init__(
        self, line: HalfDuplex | SharedLine, device: Path, baud: int, framing: str, utc_us: Callable[[], int]
    ) -> None:
        self.line = line
        self.device = device
        self._baud, self._framing = baud, framing
        self._utc_us = utc_us
        self._serial: serial.Serial | None = None
        self._pump: Pump | None = None

    @property
    def port(self) -> str:
        """The device."""
        return str(self.device)

    async def start(self) -> None:
        """Open and lock the port. Raises OSError."""
        bits, parity, stop = int(self._framing[0]), self._framing[1], int(self._framing[2])
        if str(self.device.resolve()).startswith(_PTYS):
            bits, parity, stop = 8, "N", 1
        self._serial = serial.Serial(
            str(self.device), self._baud, bits, parity, stop, timeout=0, write_timeout=0, exclusive=True
        )
        self._pump = Pump(self.line, self._utc_us, self._write)
        asyncio.get_running_loop().add_reader(self._serial.fileno(), self._read)

    async def stop(self) -> None:
        """Close the port."""
        port, self._serial = self._serial, None
        if self._pump is not None:
            self._pump.stop()
            self._pump = None
        if port is not None:
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()

    def _read(self) -> None:
        if self._serial is None or self._pump is None:
            return
        try:
            data = os.read(self._serial.fileno(), 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._pump.hear(data)
        else:  # the adapter is gone: nobody is heard any more
            asyncio.get_running_loop().remove_reader(self._serial.fileno())

    def _write(self, data: bytes) -> None:
        if self._serial is not None:
            with contextlib.suppress(OSError, serial.SerialException):
                self._serial.write(data)


class TcpLine:
    """A serial line behind a TCP converter: raw bytes, one client at a time (a new one takes the old one's place)."""

    def __init__(
        self, line: HalfDuplex | SharedLine, host: str, port: int, utc_us: Callable[[], int], baud: int = 0
    ) -> None:
        """``baud``: to which the converter is set, where the meters do not all keep to one; 0: it does not matter."""
        self._baud = baud
        self.line = line
        self._host, self._port = host, port
        self._utc_us = utc_us
        self._server: asyncio.Server | None = None
        self._pump: Pump | None = None
        self._client: asyncio.Transport | None = None

    @property
    def port(self) -> str:
        """What a program connects to."""
        return f"tcp://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; port 0 takes a free one."""
        self._pump = Pump(self.line, self._utc_us, self._write, lambda: self._baud)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Converter(self), self._host, self._port
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up and stop listening."""
        if self._server is None or self._pump is None:
            return
        self._pump.stop()
        self._server.close()
        if self._client is not None:
            self._client.abort()
        await self._server.wait_closed()
        self._server = self._pump = self._client = None

    def joined(self, client: asyncio.Transport) -> None:
        """A client has connected."""
        if self._client is not None:
            self._client.abort()
        self._client = client

    def left(self, client: asyncio.Transport | None) -> None:
        """A client has gone."""
        if self._client is client:
            self._client = None

    def heard(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._pump is not None:
            self._pump.hear(data)

    def _write(self, data: bytes) -> None:
        if self._client is not None:
            self._client.write(data)


class _Converter(asyncio.Protocol):
    """One connection to a converter."""

    def __init__(self, line: TcpLine) -> None:
        self._line = line
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._line.joined(transport)

    def data_received(self, data: bytes) -> None:
        self._line.heard(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._line.left(self._transport)
