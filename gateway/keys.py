"""Key files: one signing key, readable by its owner alone, in the one-line form of C2SP's signed-note tools.

``PRIVATE+KEY+<name>+<key id>+<base64(type, seed)>``: the type says what the key signs, a log's checkpoints (0x01) or a
platform's receipts (cosignature/v1, 0x04). A file that others may read is refused: a key that was readable is a key
that may have been copied.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from evidence.note import COSIGNATURE, ED25519, Ed25519Signer, key_id
from gateway.anchor import sync

_PREFIX = "PRIVATE+KEY+"


class KeyFileError(ValueError):
    """A key file that cannot be used: what, and what to do."""


class NotAKey(KeyFileError):
    """What a file holds is no key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key and what it is for."""

    signer: Ed25519Signer
    receipts: bool
    seed: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """The name that stands on its signature lines."""
        return self.signer.name

    @property
    def vkey(self) -> str:
        """The verification key, to be handed over by another way than the data."""
        return self.signer.cosigner.vkey if self.receipts else self.signer.verifier.vkey


def create(path: Path, name: str, *, receipts: bool = False) -> Key:
    """Make a key and write it durably with mode 0600. Never overwrites."""
    seed = os.urandom(32)
    key = Key(Ed25519Signer.from_seed(name, seed), receipts, seed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, f"{_encode(key)}\n".encode())
    except FileExistsError:
        raise KeyFileError(
            f"{path}: exists already; a key is never overwritten. Choose another file"
        ) from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None
    return key


def write_new(path: Path, data: bytes) -> None:
    """Write a new file with mode 0600, durably, whole or not at all: half a key would bar every later start.

    Raises OSError, FileExistsError if it is there.
    """
    if path.exists():
        raise FileExistsError(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # unlike a rename it replaces nothing
    finally:
        Path(name).unlink()
    sync(path.parent)


def load(path: Path) -> Key:
    """Read a key file; KeyFileError says what is wrong with it."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotAKey(f"{path}: is no key file") from None
    if stat.S_IMODE(mode) & 0o077:
        hint = "make a new key; or chmod 600, if you are sure that nobody read it"
        raise KeyFileError(f"{path}: others may read it (mode {stat.S_IMODE(mode):04o}): {hint}")
    key = _decode(text)
    if key is None:
        raise NotAKey(f"{path}: is no key file; make one with `suyuan key new`")
    return key


def _encode(key: Key) -> str:
    kind = COSIGNATURE if key.receipts else ED25519
    identity = key_id(key.name, kind, key.signer.public).hex()
    return f"{_PREFIX}{key.name}+{identity}+{base64.b64encode(bytes([kind]) + key.seed).decode()}"


def _decode(text: str) -> Key | None:
    if not text.startswith(_PREFIX) or text.count("+") < 4:
        return None
    name, identity, data = text.removeprefix(_PREFIX).split("+", 2)
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        return None
    if len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE):
        return None
    signer = Ed25519Signer.from_seed(name, raw[1:])
    if key_id(name, raw[0], signer.public).hex() != identity:
        return None
    return Key(signer, raw[0] == COSIGNATURE, raw[1:])
