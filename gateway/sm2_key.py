"""The second signature of a log by SM2 with SM3 (GB/T 32918.2), where the law asks for it: made by OpenSSL's command.

Its line stands beside the Ed25519 line, which stays the one that everybody reads: other verifiers of signed notes pass
it over. One process per checkpoint; the key is a PEM file (0600) of its own, changed as the log's other key is
(:mod:`gateway.keyring`): a ``key`` record vouches for the new one, both sign for a while.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from evidence import sm2
from evidence.errors import ParseError
from evidence.note import SignerUnavailable, Verifier
from gateway.key_holder import LogKey
from gateway.keyring import KeyRing
from gateway.keys import KeyFileError, write_new

FILE = "log.sm2.pem"
_COMING = ".next"
_PATIENCE_S = 20


class Sm2Signer:
    """Signs by an SM2 key in a file, as a log of this name."""

    def __init__(self, path: Path, name: str) -> None:
        """The key is made on first use. Raises KeyFileError."""
        self._path = path
        try:
            if not path.exists():
                _make(path)
            if path.stat().st_mode & 0o077:
                raise KeyFileError(f"{path}: others may read it: chmod 600, if you are sure that nobody did")
            private = path.read_bytes()
            self._digest = sha256(private).digest()
            with _read_end(private) as key:
                public = _openssl("pkey", "-in", key.name, "-pubout", "-outform", "DER", fds=(key.number,))
            point = public[-sm2.POINT_SIZE :]
            self._verifier = Verifier.of_sm2(name, point)
        except (SignerUnavailable, ParseError, OSError) as error:
            raise KeyFileError(f"{path}: no SM2 key: {error}") from None

    @property
    def verifier(self) -> Verifier:
        """The public side."""
        return self._verifier

    @property
    def signer(self) -> Sm2Signer:
        """Itself: a key that is at hand."""
        return self

    @property
    def name(self) -> str:
        """The name that stands on its signature lines."""
        return self._verifier.name

    @property
    def vkey(self) -> str:
        """The verification key."""
        return self._verifier.vkey

    def sign(self, text: str) -> bytes:
        """SM2 over the note's text: r and s. Raises SignerUnavailable."""
        identity = f"distid:{sm2.DEFAULT_ID.decode()}"
        options = ("-sign", "-rawin", "-digest", "sm3", "-pkeyopt", identity)
        with _read_end(self._private()) as key, _read_end(text.encode()) as message:
            fds = (key.number, message.number)
            der = _openssl("pkeyutl", *options, "-inkey", key.name, "-in", message.name, fds=fds)
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def _private(self) -> bytes:
        """The key as its file has it now, also if it has taken the old one's place; never another one."""
        for path in (self._path, self._path.with_name(self._path.name.removesuffix(_COMING))):
            try:
                found = path.read_bytes()
            except OSError:
                continue
            if sha256(found).digest() == self._digest:
                return found
        raise SignerUnavailable(f"{self._path}: the key is not there any more")


class Sm2Holder:
    """SM2 keys in PEM files, as a key ring asks for them."""

    def __init__(self, name: str) -> None:
        """``name``: the log's origin, which is not in a PEM file."""
        self._name = name

    def create(self, path: Path, name: str) -> Sm2Signer:
        """Make a key, and its file. Never overwrites."""
        if path.exists():
            raise KeyFileError(f"{path}: exists already; a key is never overwritten")
        return Sm2Signer(path, name)

    def load(self, path: Path) -> Sm2Signer:
        """The key of a file."""
        return Sm2Signer(path, name=self._name)

    def forget(self, key: LogKey) -> None:
        """The file was all that there was."""


def sm2_ring(directory: Path, origin: str) -> KeyRing:
    """The keys of a log's second signature. One that is lost is made anew: the log's other key vouches for it."""
    return KeyRing(directory, origin, Sm2Holder(origin), FILE, remake=True)


class _read_end:  # noqa: N801 - used as a statement
    """A descriptor from which a short message can be read by its size, as OpenSSL wants it: no file is left behind."""

    def __init__(self, data: bytes) -> None:
        self.number = os.memfd_create("message")
        os.write(self.number, data)
        os.lseek(self.number, 0, os.SEEK_SET)

    @property
    def name(self) -> str:
        """The path by which a child process reads it."""
        return f"/dev/fd/{self.number}"

    def __enter__(self) -> _read_end:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def _make(path: Path) -> None:
    key = _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, key)


def _openssl(*arguments: str, fds: tuple[int, ...] = ()) -> bytes:
    tool = shutil.which("openssl")
    if tool is None:
        raise SignerUnavailable("openssl is not installed: apt-get install openssl")
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, found by its name
            [tool, *arguments],
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
            pass_fds=fds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SignerUnavailable(f"openssl {arguments[0]}: {error}") from error
    if done.returncode:
        what = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise SignerUnavailable(f"openssl {arguments[0]}: {what[0][:200]}")
    return done.stdout
