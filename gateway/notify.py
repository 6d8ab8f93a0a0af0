"""Telling systemd that the agent is ready, alive, or stopping (sd_notify(3)): one datagram, no library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends to ``NOTIFY_SOCKET`` if systemd gave one; else does nothing.

    ``watchdog_us``: within what time systemd wants a sign of life; None if it wants none. ``staying``: another agent
    follows in this process; systemd would end one that said it was stopping.
    """

    staying = False

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environment.get("WATCHDOG_USEC", "")
        self.watchdog_us = int(usec) if usec.isdigit() and int(usec) else None

    def send(self, state: str) -> None:
        """Send ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1`` or ``STATUS=…``. Never fails the agent."""
        if not self._address or (self.staying and state == "STOPPING=1"):
            return
        kind = (
            socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )  # a full queue must not stop the agent
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.sendto(state.encode(), self._address)
