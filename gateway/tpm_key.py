"""Log keys sealed by a TPM 2.0: the file holds what only this TPM opens, so that a copied disk signs nothing.

The seed of an Ed25519 key is sealed under a primary key of the owner's hierarchy, which the TPM derives anew each time.
It is opened once, when the agent starts, and is in memory from then on. TPMs have no Ed25519 of their own, and no kind
of signature that they have is one that other verifiers of signed notes read. Needs the tools of Debian's tpm2-tools.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from evidence.note import Ed25519Signer
from gateway.key_holder import HeldKey, LogKey, Reference, expect, write_reference
from gateway.keys import KeyFileError

HELD = "tpm"
_SEED = 32
_PATIENCE_S = 30


class TpmHolder:
    """One TPM. ``tcti``: how tpm2-tools reach it, ``device:/dev/tpmrm0`` for one that the kernel drives."""

    def __init__(self, tcti: str = "device:/dev/tpmrm0") -> None:
        self._tcti = tcti

    def create(self, path: Path, name: str) -> LogKey:
        """Make a key, seal it, and write its file."""
        if path.exists():
            raise KeyFileError(f"{path}: exists already; a key is never overwritten")
        seed = os.urandom(_SEED)
        signer = Ed25519Signer.from_seed(name, seed)
        with tempfile.TemporaryDirectory() as place:
            self._primary(place)
            create = ["tpm2_create", "-Q", "-C", "primary", "-i", "-", "-u", "public", "-r", "private"]
            self._run(place, create, seed)
            parts = {part: (Path(place) / part).read_bytes() for part in ("public", "private")}
        fields = {part: base64.b64encode(data).decode() for part, data in parts.items()}
        reference = Reference(HELD, signer.verifier.vkey, fields)
        write_reference(path, reference)
        return HeldKey(reference, signer)

    def load(self, path: Path) -> LogKey:
        """The key of a file, opened by the TPM."""
        reference = expect(path, HELD)
        with tempfile.TemporaryDirectory() as place:
            for part in ("public", "private"):
                try:
                    data = base64.b64decode(reference.fields[part], validate=True)
                except (KeyError, binascii.Error):
                    raise KeyFileError(f"{path}: is damaged: its sealed key cannot be read") from None
                (Path(place) / part).write_bytes(data)
            self._primary(place)
            load = ["tpm2_load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "sealed"]
            self._run(place, load)
            self._flush(place)
            seed = self._run(place, ["tpm2_unseal", "-c", "sealed"])
            self._flush(place)
        name = reference.verifier.name
        if len(seed) != _SEED or Ed25519Signer.from_seed(name, seed).verifier.vkey != reference.vkey:
            raise KeyFileError(f"{path}: what the TPM opened is not the key that the file names")
        return HeldKey(reference, Ed25519Signer.from_seed(name, seed))

    def forget(self, key: LogKey) -> None:
        """The file was all that there was."""

    def _primary(self, place: str) -> None:
        self._run(place, ["tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "primary"])
        self._flush(place)

    def _flush(self, place: str) -> None:
        """Free the TPM's few places for objects: without a resource manager they stay taken."""
        self._run(place, ["tpm2_flushcontext", "-Q", "-t"])

    def _run(self, place: str, command: list[str], given: bytes = b"") -> bytes:
        tool = shutil.which(command[0])
        if tool is None:
            raise KeyFileError(f"{command[0]} is not installed: apt-get install tpm2-tools")
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command, found by its name
                [tool, *command[1:]],
                cwd=place,
                input=given,
                capture_output=True,
                timeout=_PATIENCE_S,
                check=False,
                env={**os.environ, "TPM2TOOLS_TCTI": self._tcti},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KeyFileError(f"TPM ({self._tcti}): {command[0]}: {error}") from None
        if done.returncode:
            lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if "ERROR" in line]
            what = (lines or ["no reason given"])[0][:200]
            raise KeyFileError(f"TPM ({self._tcti}): {command[0]}: {what}")
        return done.stdout
