"""Where a log's key is held: in a file of its own, or in a device, with a file that says which one.

The file of a device's key (``log.key``) holds no open secret: a JSON object with ``format``, ``held`` (pkcs11, tpm),
``vkey`` and what the device needs to find the key. So a key is shown and changed in one way, wherever it is held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evidence.errors import EvidenceError
from evidence.note import Signer, Verifier
from gateway import keys
from gateway.keys import KeyFileError, NotAKey

FORMAT = "suyuan/key-reference/1"
FILE = "file"


class LogKey(Protocol):
    """A log's signing key, wherever it is held."""

    @property
    def signer(self) -> Signer:
        """What signs."""

    @property
    def name(self) -> str:
        """The name that stands on its signature lines."""

    @property
    def vkey(self) -> str:
        """The verification key."""


class KeyHolder(Protocol):
    """Makes and finds keys in one kind of place. All methods raise KeyFileError."""

    def create(self, path: Path, name: str) -> LogKey:
        """Make a key, and its file. Never overwrites."""

    def load(self, path: Path) -> LogKey:
        """The key of a file."""

    def forget(self, key: LogKey) -> None:
        """Destroy a key whose file is gone already, as far as the device can."""


class FileHolder:
    """Keys in files of their own."""

    def create(self, path: Path, name: str) -> LogKey:
        """Make a key, and its file."""
        return keys.create(path, name)

    def load(self, path: Path) -> LogKey:
        """The key of a file."""
        if read_reference(path) is not None:
            raise KeyFileError(
                f"{path}: its key is in a device, and the site file does not say which: [log] key"
            )
        found = keys.load(path)
        if found.receipts:
            raise KeyFileError(f"{path}: is a platform's key for receipts; wanted is a log's")
        return found

    def forget(self, key: LogKey) -> None:
        """The file was all that there was."""


class MovingHolder:
    """Two kinds of places: keys are made in the one, and found in both, for a key that moves with its change."""

    def __init__(self, holders: Mapping[str, KeyHolder], make: str) -> None:
        """``holders``: by kind (file, pkcs11, tpm); ``make``: where new keys are made."""
        self._holders = holders
        self._make = make

    def create(self, path: Path, name: str) -> LogKey:
        """Make a key, and its file."""
        return self._holders[self._make].create(path, name)

    def load(self, path: Path) -> LogKey:
        """The key of a file, of either kind."""
        reference = read_reference(path)
        held = FILE if reference is None else reference.held
        return self._holders.get(held, self._holders[self._make]).load(path)

    def forget(self, key: LogKey) -> None:
        """Destroy it where it is held."""
        held = key.reference.held if isinstance(key, HeldKey) else FILE
        self._holders[held].forget(key)


@dataclass(frozen=True, slots=True)
class Reference:
    """The file of a key that a device holds."""

    held: str
    vkey: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def verifier(self) -> Verifier:
        """The public key. Raises ParseError."""
        return Verifier.parse(self.vkey)


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that a device holds: its file's content, and what signs with it."""

    reference: Reference
    signer: Signer

    @property
    def name(self) -> str:
        """The name that stands on its signature lines."""
        return self.signer.verifier.name

    @property
    def vkey(self) -> str:
        """The verification key."""
        return self.reference.vkey


def read_reference(path: Path) -> Reference | None:
    """The reference in a file; None if it is a key of its own. Raises KeyFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotAKey(f"{path}: is no key file") from None
    if not text.startswith("{"):
        return None
    try:
        body = json.loads(text)
        fields = {str(key): value for key, value in body.items()}
        if fields.pop("format", None) != FORMAT or not all(isinstance(v, str) for v in fields.values()):
            raise ValueError("format")
        found = Reference(fields.pop("held"), fields.pop("vkey"), fields)
        found.verifier  # noqa: B018 - it is read to see that it can be
    except (ValueError, KeyError, RecursionError, EvidenceError):
        raise NotAKey(f"{path}: is no key file that this version reads") from None
    return found


def name_of(path: Path) -> str:
    """The name of the key in a file, of whichever kind. Raises KeyFileError."""
    found = read_reference(path)
    return keys.load(path).name if found is None else found.verifier.name


def write_reference(path: Path, reference: Reference) -> None:
    """Write it durably with mode 0600. Never overwrites. Raises KeyFileError."""
    body = {"format": FORMAT, "held": reference.held, "vkey": reference.vkey, **reference.fields}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        keys.write_new(path, json.dumps(body, indent=1).encode() + b"\n")
    except FileExistsError:
        raise KeyFileError(f"{path}: exists already; a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def expect(path: Path, held: str) -> Reference:
    """The reference of a file, which must be of this kind of device. Raises KeyFileError."""
    found = read_reference(path)
    if found is None or found.held != held:
        place = "a file" if found is None else found.held
        raise KeyFileError(
            f"{path}: its key is held in {place}, the site file says {held}. A key does not move by that: set [log] "
            "key back, and for the next change of keys add [log] next_key. If the device is lost, begin a log that "
            "continues this one (suyuan key successor)"
        )
    return found
