"""Correction advice on its way into the log: files that ``suyuan affected`` wrote, laid into the data directory.

The agent looks into ``data/advice``: each file is checked, logged once (by its digest, over restarts too), and moved to
``logged`` when it is durable there; one that is not advice for this log is moved to ``refused``, and the log says why.
Nothing is recomputed and nothing edited: advice names what it concerns.
"""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import msgspec

from evidence import record as records
from evidence.errors import EvidenceError
from gateway.references import DocumentNotice

_log = logging.getLogger("suyuan.advice")

FORMAT = "suyuan/advice/1"
LOOK_EVERY_S = 2.0
AGAIN_S = 60.0  # after a directory could not be used
_PER_RECORD = 2_000  # superseded entries named by one record: an entry has 65 535 bytes
_BYTES = 16 << 20
_TEXT = 3_500  # of one detail's text; longer ones are cut and say so
_NO_SALT = bytes(records.SALT_BYTES)


class AdviceRefused(ValueError):
    """A file that is no advice for this log: what is wrong with it."""


@dataclass(frozen=True, slots=True)
class AdviceFile:
    """A file of advice: what it is announced as, whose log it is for, and the records that it becomes."""

    notice: DocumentNotice
    origin: str
    entries: tuple[records.Advice, ...]


class Log(Protocol):
    """What is asked of the agent."""

    @property
    def begun(self) -> bool:
        """Whether it is open."""

    @property
    def size(self) -> int:
        """Entries that are durable."""

    def advise(self, notice: DocumentNotice, advice: tuple[records.Advice, ...]) -> int | None:
        """Log it, unless its digest was logged; the size that the log then must reach."""

    def tell(self, kind: str, detail: Mapping[str, str]) -> None:
        """Log an event."""


def written(content: Mapping[str, Any], origin: str) -> bytes:
    """``Affected.advice()`` as a file for the log of an origin."""
    body = {"format": FORMAT, "origin": origin, **content}
    return json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"


def read(data: bytes, name: str) -> AdviceFile:
    """A file's advice. Raises AdviceRefused."""
    if len(data) > _BYTES:
        raise AdviceRefused(f"{len(data)} bytes; at most {_BYTES} are read")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AdviceRefused(f"is not JSON: {error}") from None
    if not isinstance(body, dict) or body.pop("format", None) != FORMAT:
        raise AdviceRefused(f"is no advice: 'format' must be {FORMAT!r}")
    origin = body.pop("origin", None)
    detail = body.pop("detail", {})
    supersedes = body.pop("supersedes", [])
    if not isinstance(origin, str) or not isinstance(detail, dict) or not isinstance(supersedes, list):
        raise AdviceRefused(
            "'origin' is text, 'detail' an object of texts, 'supersedes' a list of log entries"
        )
    digest = sha256(data).hexdigest()
    texts = {str(key): _cut(value) for key, value in detail.items()}
    parts = [supersedes[n : n + _PER_RECORD] for n in range(0, len(supersedes), _PER_RECORD)] or [[]]
    entries = []
    for number, part in enumerate(parts, 1):
        more = {"part": f"{number} of {len(parts)}"} if len(parts) > 1 else {}
        fields = {
            **body,
            "type": "advice",
            "salt": b64encode(_NO_SALT).decode(),  # the log's own goes in its place
            "supersedes": part,
            "documents": [digest],
            "detail": texts | more,
            "utc_us": 0,
        }
        try:
            entry = msgspec.convert(fields, records.Advice)
            records.encode(entry)
        except (msgspec.ValidationError, EvidenceError) as error:
            raise AdviceRefused(f"is no advice: {error}") from None
        entries.append(entry)
    notice = DocumentNotice(digest, "advice", name, len(data), "application/json")
    return AdviceFile(notice, origin, tuple(entries))


def _cut(value: object) -> str:
    if not isinstance(value, str):
        raise AdviceRefused("'detail' is an object of texts")
    return (
        value if len(value) <= _TEXT else f"{value[:_TEXT]} … ({len(value)} characters; the document has all)"
    )


def found(directory: Path) -> list[tuple[Path, AdviceFile | AdviceRefused]]:
    """The files that lie in the directory, read. No I/O error is ours: what is being written the next look sees."""
    read_so_far: list[tuple[Path, AdviceFile | AdviceRefused]] = []
    for path in sorted(directory.glob("*.json")):
        try:
            read_so_far.append((path, read(path.read_bytes(), path.name)))
        except OSError:
            continue
        except AdviceRefused as error:
            read_so_far.append((path, error))
    return read_so_far


def take_in(
    files: Iterable[tuple[Path, AdviceFile | AdviceRefused]], origin: str, log: Log
) -> dict[Path, int]:
    """Log what was found; the files taken, and the size at which each is durable. Others go to ``refused``."""
    waiting: dict[Path, int] = {}
    for path, file in files:
        try:
            if isinstance(file, AdviceRefused):
                raise file
            _check(file, origin, log.size)
        except AdviceRefused as error:
            log.tell("advice_refused", {"file": path.name, "why": str(error)})
            move(path, "refused")
            continue
        waiting[path] = log.advise(file.notice, file.entries) or 0
    return waiting


def _check(file: AdviceFile, origin: str, size: int) -> None:
    if file.origin != origin:
        raise AdviceRefused(f"is for the log {file.origin!r}, this is {origin!r}")
    beyond = [index for entry in file.entries for index in entry.supersedes if index >= size]
    if beyond:
        raise AdviceRefused(f"names entry {beyond[0]}, but the log has {size}: is it another log's?")


def move(path: Path, to: str) -> None:
    """Put a file into a directory beside it, under its own name or, if that is taken, a further one."""
    directory = path.parent / to
    directory.mkdir(exist_ok=True)
    target, number = directory / path.name, 1
    while target.exists():
        target, number = directory / f"{path.stem}-{number}{path.suffix}", number + 1
    path.replace(target)


async def watch(directory: Path, origin: str, log: Log) -> None:
    """Look for advice until cancelled. A directory that cannot be used stops no measurement."""
    await _until(lambda: log.begun)
    again = False  # what was moved just before a power cut, and is not in the log after all, goes in first
    while True:
        try:
            if not again:
                await asyncio.to_thread(directory.mkdir, exist_ok=True)
                take_in(await asyncio.to_thread(found, directory / "logged"), origin, log)
                again = True
            files = await asyncio.to_thread(found, directory)
            for path, size in take_in(files, origin, log).items():
                await _until(partial(_durable, log, size))
                move(path, "logged")
        except OSError as error:
            _log.error("advice in %s: %s", directory, error)
            await asyncio.sleep(AGAIN_S)
        await asyncio.sleep(LOOK_EVERY_S)


def _durable(log: Log, size: int) -> bool:
    return log.size >= size


async def _until(true: Callable[[], bool]) -> None:
    """Wait for what nothing tells of: another task's commits."""
    for _ in count():
        if true():
            return
        await asyncio.sleep(LOOK_EVERY_S / 4)
