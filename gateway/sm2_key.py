"""The second signature of a log by SM2 with SM3 (GB/T 32918.2), where the law asks for it: made by OpenSSL's command.

Its line stands beside the Ed25519 line, which stays the one that everybody reads: other verifiers of signed notes pass
it over. One process per checkpoint; the key is a PEM file (0600) of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from evidence import sm2
from evidence.errors import ParseError
from evidence.note import SignerUnavailable, Verifier
from gateway.keys import KeyFileError

FILE = "log.sm2.pem"
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
            point = _openssl("pkey", "-in", str(path), "-pubout", "-outform", "DER")[-sm2.POINT_SIZE :]
            self._verifier = Verifier.of_sm2(name, point)
        except (SignerUnavailable, ParseError, OSError) as error:
            raise KeyFileError(f"{path}: no SM2 key: {error}") from None

    @property
    def verifier(self) -> Verifier:
        """The public side."""
        return self._verifier

    def sign(self, text: str) -> bytes:
        """SM2 over the note's text: r and s. Raises SignerUnavailable."""
        identity = f"distid:{sm2.DEFAULT_ID.decode()}"
        options = ["-sign", "-rawin", "-digest", "sm3", "-pkeyopt", identity, "-inkey", str(self._path)]
        with _read_end(text.encode()) as message:
            der = _openssl("pkeyutl", *options, "-in", f"/dev/fd/{message.number}", fd=message.number)
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class _read_end:  # noqa: N801 - used as a statement
    """A descriptor from which a short message can be read by its size, as OpenSSL wants it: no file is left behind."""

    def __init__(self, data: bytes) -> None:
        self.number = os.memfd_create("message")
        os.write(self.number, data)
        os.lseek(self.number, 0, os.SEEK_SET)

    def __enter__(self) -> _read_end:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def _make(path: Path) -> None:
    key = _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())


def _openssl(*arguments: str, fd: int | None = None) -> bytes:
    tool = shutil.which("openssl")
    if tool is None:
        raise SignerUnavailable("openssl is not installed: apt-get install openssl")
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, found by its name
            [tool, *arguments],
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
            pass_fds=() if fd is None else (fd,),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SignerUnavailable(f"openssl {arguments[0]}: {error}") from error
    if done.returncode:
        what = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise SignerUnavailable(f"openssl {arguments[0]}: {what[0][:200]}")
    return done.stdout
