"""The links: a byte stream to a line of meters. The only file of this package that does I/O.

A link knows bytes and nothing of frames. It opens, writes, hands over what has come, says when it is down.
What comes while nobody reads is kept (bounded), with the instant of its last byte, so that the bus can tell
stale bytes from an answer.

* :class:`SerialLink`: a serial port, opened by pyserial in the loop's executor, then used without blocking.
* :class:`TcpLink`: a raw TCP stream: a Modbus TCP device, or a converter that passes a serial line through.
* :class:`MemoryLink`: two ends in memory.

A link that went down stays down until :meth:`Link.open` is called again; the bus does that.
"""
# ruff: noqa: D102 (the docstrings of Link's methods hold for all links)

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import socket
import termios
from typing import Protocol

import serial
import serial.rs485

INBOX_LIMIT = 65536  # bytes kept while nobody reads; a babbling line must not eat the memory
_FRAMING = re.compile(r"([5678])([NEOMS])(1|1\.5|2)")
_TCP = re.compile(r"tcp://(\[[^\]]+\]|[^:/\s]+):([0-9]{1,5})/?")
_PTY_MAJORS = range(136, 144)  # Linux: UNIX 98 pseudo terminals


class LinkDown(ConnectionError):
    """The port or the connection is not there: which one, what happened, what to do."""

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        super().__init__(f"{where}: {what}" + (f" ({hint})" if hint else ""))


class Link(Protocol):
    """A byte stream with one owner."""

    @property
    def connection(self) -> bool:
        """Whether it is a connection: half open, it says nothing, and only a new one helps."""

    @property
    def is_open(self) -> bool:
        """Whether bytes can be exchanged now, as far as is known."""

    @property
    def heard_at(self) -> float:
        """Loop time at which the last byte arrived (0.0 if none did)."""

    @property
    def lost(self) -> int:
        """Bytes that arrived unread beyond the bound and were dropped, since the link was made."""

    async def open(self) -> None:
        """Open, or open again. Raises LinkDown."""

    async def close(self) -> None:
        """Close; never raises. What had arrived is dropped."""

    async def write(self, data: bytes) -> None:
        """Hand all of ``data``, and nothing else, to the line. Raises LinkDown."""

    async def drained(self) -> None:
        """Until what was written has left, as far as this machine can tell. Raises LinkDown."""

    async def read(self, until: float | None = None) -> bytes:
        """Whatever has come; waits for it, at most until loop time ``until``, then empty. Raises LinkDown."""

    def take(self) -> bytes:
        """Whatever has come, without waiting; empty if nothing has."""

    def tune(self, baud: int, framing: str) -> None:
        """Another speed and framing from now on; nothing, where the link has none. Falls if that cannot be."""

    def describe(self) -> str:
        """The link in a reader's words."""


class _Inbox:
    """What has arrived, and the reader who waits for it."""

    connection = False

    def __init__(self) -> None:
        self.heard_at = 0.0
        self.lost = 0
        self._bytes = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._until: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._down: LinkDown | None = None

    def describe(self) -> str:
        return type(self).__name__

    def tune(self, baud: int, framing: str) -> None:
        pass

    async def drained(self) -> None:
        pass

    def take(self) -> bytes:
        data = bytes(self._bytes)
        self._bytes.clear()
        return data

    async def read(self, until: float | None = None) -> bytes:
        if not self._bytes:
            if self._down is not None:
                raise self._why_down()
            loop = asyncio.get_running_loop()
            self._waiter = waiter = loop.create_future()
            self._until = until
            if until is not None and (self._alarm is None or self._alarm.when() > until):
                self._set_alarm(loop, until)
            try:
                await waiter
            finally:
                self._waiter = None
            if not self._bytes and self._down is not None:
                raise self._why_down()
        return self.take()

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """One timer serves many reads: it is not cancelled when bytes come, but looks what is waited for now."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(until, self._ring, loop, until)

    def _ring(self, loop: asyncio.AbstractEventLoop, rung: float) -> None:
        self._alarm = None
        if self._waiter is None or self._until is None:
            return
        if self._until > rung:
            self._set_alarm(loop, self._until)
        else:
            self._wake()

    def _why_down(self) -> LinkDown:
        down = self._down
        return (
            LinkDown(self.describe(), "not open")
            if down is None
            else LinkDown(down.where, down.what, down.hint)
        )

    def arrived(self, data: bytes | memoryview) -> None:
        """Keep what came, and wake the reader."""
        self.heard_at = asyncio.get_running_loop().time()
        self._bytes += data
        if (excess := len(self._bytes) - INBOX_LIMIT) > 0:
            del self._bytes[:excess]
            self.lost += excess
        self._wake()

    def fell(self, down: LinkDown) -> None:
        """The link is down: the reader learns it once what had come has been read."""
        self._down = down
        self._wake()

    def _reset(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._bytes.clear()
        self._down = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Descriptor(_Inbox):
    """A link over a file descriptor that does not block."""

    write_s = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    async def close(self) -> None:
        self._release()
        self._reset()
        self.fell(LinkDown(self.describe(), "closed"))

    async def write(self, data: bytes) -> None:
        try:
            sent = os.write(self._fd, data) if self._fd >= 0 else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            sent = 0
            self._fall(_words(error))
        if sent < len(data):
            await self._write_rest(memoryview(data)[sent:])

    async def _write_rest(self, rest: memoryview) -> None:
        while rest:
            if self._fd < 0:
                raise self._why_down()
            await self._writable()
            try:
                rest = rest[os.write(self._fd, rest) :] if self._fd >= 0 else rest
            except BlockingIOError:
                continue
            except OSError as error:
                self._fall(_words(error))

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        fd = self._fd
        loop.add_writer(fd, lambda: None if ready.done() else ready.set_result(None))
        try:
            async with asyncio.timeout(self.write_s):
                await ready
        except TimeoutError:
            self._fall("takes no more bytes")
        finally:
            if self._fd == fd:
                loop.remove_writer(fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError as error:
            self._fall(_words(error))
            return
        if data:
            self.arrived(data)
        else:
            self._fall(self._hung_up)

    _hung_up = "the other end hung up"

    def _attach(self, fd: int) -> None:
        self._reset()
        self._fd, self._loop = fd, asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)

    def _fall(self, what: str) -> None:
        self._release()
        self.fell(LinkDown(self.describe(), what))

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0 or self._loop is None:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
        self._close_fd()

    def _close_fd(self) -> None:
        raise NotImplementedError  # pragma: no cover


class TcpLink(_Descriptor):
    """A raw TCP stream to ``host:port``.

    ``connect_s`` is the deadline for name look-up and connection together. Keep-alive finds a dead peer
    within about ``keepalive_s`` + 30 s even when nothing is sent.
    """

    connection = True
    _hung_up = "the peer closed the connection"

    def __init__(self, host: str, port: int, *, connect_s: float = 5.0, keepalive_s: int = 30) -> None:
        super().__init__()
        self.host, self.port = host, port
        self.connect_s, self.keepalive_s = connect_s, keepalive_s
        self._socket: socket.socket | None = None

    def describe(self) -> str:
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def open(self) -> None:
        await self.close()
        where = self.describe()
        try:
            async with asyncio.timeout(self.connect_s):
                self._socket = await self._connect()
        except TimeoutError:
            hint = "is the address right, is the device powered, does a firewall drop it?"
            raise LinkDown(where, f"no connection within {self.connect_s:g} s", hint) from None
        except socket.gaierror as error:
            raise LinkDown(where, f"no such host: {error.strerror}", "check the host name") from error
        except OSError as error:
            refused = error.errno == errno.ECONNREFUSED
            hint = "is the port number right, is another master using the one connection?" if refused else ""
            raise LinkDown(where, _words(error), hint) from error
        self._attach(self._socket.fileno())

    async def _connect(self) -> socket.socket:
        """To the first address of the host that takes us."""
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        for family, kind, number, _, address in await loop.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, number)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.keepalive_s)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (self.keepalive_s + 30) * 1000)
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure or OSError(errno.EADDRNOTAVAIL, "the host has no address")

    def _close_fd(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class SerialLink(_Descriptor):
    """A serial port, held exclusively.

    ``framing`` is data bits, parity, stop bits: '8E1', '8N1', '7E1'. ``rs485_rts`` lets the kernel's driver
    switch the transmitter by RTS; most USB adapters switch by themselves. On a pseudo terminal, which has no
    parity, the framing is 8N1 whatever is asked. A port that takes no byte for ``write_s`` is down.

    The port is locked twice: flock for programs that ask (pyserial, picocom), TIOCEXCL for those that do not.
    """

    _hung_up = "the port is gone: is the adapter plugged in?"

    def __init__(
        self,
        port: str,
        baud: int = 9600,
        framing: str = "8E1",
        *,
        rs485_rts: bool = False,
        write_s: float = 5.0,
    ) -> None:
        super().__init__()
        self.port, self.baud, self.framing, self.rs485_rts = port, baud, framing, rs485_rts
        self.write_s = write_s
        self._bits, self._parity, self._stop = parse_framing(framing)
        self._serial: serial.Serial | None = None

    def describe(self) -> str:
        return f"{self.port} ({self.baud} {self.framing})"

    async def open(self) -> None:
        await self.close()
        opening = asyncio.get_running_loop().run_in_executor(None, self._open_port)
        try:
            port = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread cannot be stopped: whatever it opens is closed again, or the port would stay locked.
            opening.add_done_callback(_close_unwanted)
            raise
        self._serial = port
        self._attach(port.fileno())

    async def drained(self) -> None:
        fd = self._fd
        if fd < 0:
            raise self._why_down()
        try:
            async with asyncio.timeout(self.write_s):
                await asyncio.get_running_loop().run_in_executor(None, termios.tcdrain, fd)
        except TimeoutError:
            self._fall("keeps what it was given")
            raise self._why_down() from None
        except (OSError, termios.error) as error:
            self._fall(_words(error))
            raise self._why_down() from None

    def tune(self, baud: int, framing: str) -> None:
        self._bits, self._parity, self._stop = parse_framing(framing)
        self.baud, self.framing = baud, framing
        port = self._serial
        if port is None:
            return
        try:
            port.baudrate = baud
            if os.major(os.stat(self.port).st_rdev) not in _PTY_MAJORS:  # noqa: PTH116 (a device, not a file)
                port.bytesize, port.parity, port.stopbits = self._bits, self._parity, self._stop
        except (OSError, ValueError, termios.error) as error:
            self._fall(_words(error))

    def _close_fd(self) -> None:
        port, self._serial = self._serial, None
        if port is not None:
            with contextlib.suppress(OSError, termios.error):
                fcntl.ioctl(port.fileno(), termios.TIOCNXCL)
            with contextlib.suppress(OSError, termios.error):
                # what the line does not take, close would wait for, 30 s as a rule, and all would stand still
                termios.tcflush(port.fileno(), termios.TCOFLUSH)
            with contextlib.suppress(OSError, termios.error):
                port.close()

    def _open_port(self) -> serial.Serial:
        """Open, set and lock the port; blocks, so it runs in the executor."""
        where = self.describe()
        bits, parity, stop = self._bits, self._parity, self._stop
        try:
            if os.major(os.stat(self.port).st_rdev) in _PTY_MAJORS:  # noqa: PTH116 (a device, not a file)
                # A pty has 8 bits and no parity; asked for more, tcsetattr says EINVAL and nothing is set.
                bits, parity, stop = 8, "N", 1.0
            port = serial.Serial(
                self.port,
                self.baud,
                bytesize=bits,
                parity=parity,
                stopbits=stop,
                timeout=0,
                write_timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as error:
            raise LinkDown(where, *_why_no_port(error)) from error
        try:
            fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
            if self.rs485_rts:
                port.rs485_mode = serial.rs485.RS485Settings()
            with contextlib.suppress(ValueError, OSError):  # FTDI adapters else hold bytes back for 16 ms
                port.set_low_latency_mode(True)
            port.reset_input_buffer()
        except (OSError, ValueError, termios.error) as error:
            port.close()
            hint = "the port's driver has no RS-485 mode: set rs485_rts = false" if self.rs485_rts else ""
            raise LinkDown(where, str(error), hint) from error
        return port


class MemoryLink(_Inbox):
    """One of two ends in memory: what one writes, the other reads. Made by :meth:`pair`."""

    def __init__(self, name: str = "memory") -> None:
        super().__init__()
        self.name = name
        self._peer: MemoryLink | None = None
        self._open = False

    @classmethod
    def pair(cls, name: str = "memory") -> tuple[MemoryLink, MemoryLink]:
        """Two ends, both closed until opened."""
        near, far = cls(name), cls(name + ", far end")
        near._peer, far._peer = far, near
        return near, far

    def describe(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        return self._open

    async def open(self) -> None:
        self._reset()
        self._open = True

    async def close(self) -> None:
        self._open = False
        self._reset()
        self.fell(LinkDown(self.describe(), "closed"))

    async def write(self, data: bytes) -> None:
        if not self._open:
            raise LinkDown(self.describe(), "not open")
        if self._peer is not None and self._peer.is_open:
            self._peer.arrived(bytes(data))


def link(port: str, baud: int = 9600, framing: str = "8E1") -> TcpLink | SerialLink:
    """The link that ``port`` names: ``tcp://host:port`` or a serial device's path. Raises ValueError."""
    if "://" not in port:
        return SerialLink(port, baud, framing)
    found = _TCP.fullmatch(port)
    if found is None or not 0 < int(found[2]) < 65536:
        raise ValueError(f"{port!r} is not a port: write tcp://host:502 or a device such as /dev/ttyUSB0")
    return TcpLink(found[1].strip("[]"), int(found[2]))


def parse_framing(framing: str) -> tuple[int, str, float]:
    """'8E1' as (8, 'E', 1.0): data bits, parity, stop bits. Raises ValueError."""
    found = _FRAMING.fullmatch(framing)
    if found is None:
        raise ValueError(f"{framing!r} is not a framing: write data bits, parity, stop bits: 8E1, 8N1")
    return int(found[1]), found[2], float(found[3])


def _close_unwanted(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _why_no_port(error: Exception) -> tuple[str, str]:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return "no such port", "is the adapter plugged in? `ls -l /dev/serial/by-id` lists those that are"
    if number in (errno.EACCES, errno.EPERM):
        return "no permission to open the port", "add the user to the group that owns it, often dialout"
    if number in (errno.EAGAIN, errno.EBUSY):
        return "another program has the port", "a line has one master: stop the other one"
    return str(error), "is it a serial port?"


def _words(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else (str(error) or type(error).__name__)
