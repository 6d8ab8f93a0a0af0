"""The applications that wait for a person: a bounded room out of which strangers keep nobody.

Anybody can make a key and apply. So nobody is turned away when the room is full: the source with the most applications
gives one up, that which has not asked for longest. A gateway that waits asks every few minutes, and shares its address
with few: it stays, or is back with its next question. What has not asked for 30 days goes by itself.

``waiting-<key id>`` is an application as it came, ``asked-<key id>`` beside it from where, and when last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final

from evidence.enrolment import Application
from evidence.errors import EvidenceError

from .authority import AuthorityError, Wanted
from .durable import write

MAX_WAITING: Final = 1000
KEPT: Final = timedelta(days=30)
RESERVED: Final = "reserved"  # the source of an application that the operator expects: it gives no place up


class NewerWaits(ValueError):
    """An older application came after a newer one."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An application that waits for a person. ``source``: from where it came, ``asked``: when last."""

    application: Application
    path: Path
    data: bytes
    source: str
    asked: datetime

    @property
    def addresses(self) -> tuple[str, ...]:
        """At which the gateway would be reached."""
        try:
            return Wanted.parse(self.application.request).addresses if self.application.request else ()
        except AuthorityError:
            return ()


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    source: str
    asked: datetime


class WaitingRoom:
    """The waiting applications below a directory, one directory for each log."""

    def __init__(self, directory: Path, now: Callable[[], datetime], most: int = MAX_WAITING) -> None:
        self._directory = directory
        self._now = now
        self._most = most

    def put(self, application: Application, data: bytes, source: str) -> None:
        """Keep an application, or note that it asked again. Raises NewerWaits."""
        place = place_of(self._directory, application.origin)
        path = place / f"waiting-{sha256(application.verifier.vkey.encode()).hexdigest()[:16]}"
        before = _read(path)
        if before is not None and application.number < before[0].number:
            raise NewerWaits(application.origin)
        if before is None:
            self._make_room(source)
        if before is None or before[1] != data:
            place.mkdir(parents=True, exist_ok=True)
            write(path, data)
        _asked(path).write_text(f"{source} {int(self._now().timestamp())}\n", encoding="ascii")

    def __iter__(self) -> Iterator[Waiting]:
        for place in self._places():
            if (read := _read(place.path)) is not None:
                yield Waiting(*read[:1], place.path, read[1], place.source, place.asked)

    def drop(self, path: Path) -> None:
        """An application waits no longer."""
        path.unlink(missing_ok=True)
        _asked(path).unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()  # if it is empty

    def _make_room(self, source: str) -> None:
        oldest = self._now() - KEPT
        places = []
        for place in self._places():
            if place.asked < oldest:
                self.drop(place.path)
            elif place.source != RESERVED:
                places.append(place)
        if source == RESERVED or len(places) < self._most:
            return
        held = Counter(place.source for place in places)
        held[source] += 1  # who comes counts too
        most = max(held[place.source] for place in places)
        self.drop(min((p for p in places if held[p.source] == most), key=lambda p: (p.asked, p.path)).path)

    def _places(self) -> list[_Place]:
        found = []
        for path in sorted(self._directory.glob("*/waiting-*[0-9a-f]")):
            try:
                source, _, seconds = _asked(path).read_text(encoding="ascii").strip().rpartition(" ")
                asked = datetime.fromtimestamp(int(seconds), UTC)
            except (OSError, ValueError, OverflowError):  # written before there were sources
                source = ""
                try:
                    asked = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                except OSError:
                    continue  # another process has just dropped it
            found.append(_Place(path, source, asked))
        return found


def place_of(directory: Path, origin: str) -> Path:
    """The directory of a log."""
    return directory / sha256(origin.encode()).hexdigest()


def source_of(host: str) -> str:
    """From where somebody asks: an IPv4 address, or the IPv6 network (/64) that one customer has."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, 64), strict=False))


def _asked(path: Path) -> Path:
    return path.with_name(path.name.replace("waiting-", "asked-", 1))


def _read(path: Path) -> tuple[Application, bytes] | None:
    try:
        data = path.read_bytes()
        return Application.parse(data), data
    except (OSError, EvidenceError):
        return None
