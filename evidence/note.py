"""Signed notes, keys, checkpoints and cosignatures, byte for byte as C2SP writes them.

A note is a text, an empty line, and signature lines. A checkpoint is a note of three lines, signed by the
log; the platform's receipt is a cosignature (``cosignature/v1``) on the same note, which says that as of a
time it had seen, and here also verified and stored, exactly this tree::

    suyuan.example/gw/7
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — suyuan.example/gw/7
    Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=

Parsing is strict: what was read is formatted again and compared, so that there is one spelling. Signature
lines of other keys and types (SM2, ML-DSA, witnesses) are kept and ignored, as C2SP demands. Sources: C2SP
signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from . import sm2
from .errors import EvidenceError, ParseError
from .log import HASH_SIZE, check_inclusion, leaf_hash

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
OTHER: Final = 0xFF  # C2SP signed-note: a type without a number of its own, named by what follows this byte
SM2: Final = b"sm2-sm3-v1:"  # our name: SM2 with SM3 over the text; public key 04, x, y; signature r, s
MAX_NOTE: Final = 256 * 1024
MAX_SIGNATURES: Final = 32  # C2SP asks for at least 16
_DASH: Final = "— "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class VerifyError(EvidenceError):
    """A sound note that is not signed by the key that was asked for, or wrongly."""


class SignerUnavailable(EvidenceError):
    """The device that holds the key does not answer: nothing was signed, and it may be tried again."""


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """The four bytes that say which key signed (C2SP signed-note): a hint, not a fingerprint."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def fingerprint(vkey: str) -> str:
    """What two people read to each other: the first 80 bits of SHA-256 of the vkey, in groups of four."""
    digits = sha256(vkey.encode()).hexdigest()[:20]
    return " ".join(digits[i : i + 4] for i in range(0, 20, 4))


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with the name that it signs by: of a log (type 0x01, or SM2 as 0xff) or of a cosigner (0x04)."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def of_sm2(cls, name: str, point: bytes) -> Verifier:
        """The key of an SM2 signer: ``point`` is 04, x, y. Raises ParseError."""
        if not _is_name(name) or not sm2.is_point(point):
            raise ParseError(f"SM2 key of {name}: not a point of the curve")
        return cls(name, OTHER, SM2 + point)

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """The key that a vkey names. Raises ParseError; says so if only its type is unknown to us."""
        vkey = vkey.strip()
        name, _, rest = vkey.partition("+")
        digits, _, material = rest.partition("+")
        blob = _unbase64(material, "vkey")
        if not _is_name(name) or not re.fullmatch("[0-9a-f]{8}", digits) or not blob:
            raise ParseError("not a vkey: it reads NAME+KEYID+BASE64, in one line")
        if not (_is_sm2(blob) if blob[0] == OTHER else blob[0] in (ED25519, COSIGNATURE) and len(blob) == 33):
            raise ParseError(
                f"vkey of {name}: key type {blob[0]:#04x} is not one that can be checked here (Ed25519, SM2)"
            )
        found = cls(name, blob[0], blob[1:])
        if found.id.hex() != digits:
            raise ParseError(
                f"vkey of {name}: the key id {digits} is not that of its key; was it copied whole?"
            )
        return found

    @property
    def vkey(self) -> str:
        """The key as one line of text, ``NAME+KEYID+BASE64``."""
        return f"{self.name}+{self.id.hex()}+{_base64(bytes([self.kind]) + self.public)}"

    @property
    def id(self) -> bytes:
        """The key id, four bytes."""
        return key_id(self.name, self.kind, self.public)

    def check(self, text: str, signature: bytes) -> bool:
        """Whether the signature (without key id) is this key's over the note's text."""
        message = text.encode()
        if self.kind == OTHER:
            return sm2.verify(self.public.removeprefix(SM2), message, signature)
        if self.kind == COSIGNATURE:
            if len(signature) != 72 or signature[0] & 0x80:
                return False
            message = _cosigned(message, int.from_bytes(signature[:8], "big"))
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer(Protocol):
    """What signs: a key in a file, a token, a TPM. ``sign`` gives the signature without the key id."""

    @property
    def verifier(self) -> Verifier:
        """The public side."""

    def sign(self, text: str) -> bytes:
        """Signature over a note's text. A device may raise SignerUnavailable."""


class Ed25519Signer:
    """An Ed25519 key that signs notes, and cosigns checkpoints, by a name."""

    __slots__ = ("_key", "_name")

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        if not _is_name(name):
            raise ValueError(f"{name!r} is no name of a key: neither white space nor plus may be in it")
        self._name = name
        self._key = key

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Ed25519Signer:
        """From 32 random bytes."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def generate(cls, name: str) -> Ed25519Signer:
        """A new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @property
    def name(self) -> str:
        """The name that it signs by."""
        return self._name

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes (RFC 8032)."""
        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def verifier(self) -> Verifier:
        """The public side, as a log's key (type 0x01)."""
        return Verifier(self._name, ED25519, self.public)

    @property
    def cosigner(self) -> Verifier:
        """The public side, as a cosigner's key (type 0x04). C2SP: one key for one of the two."""
        return Verifier(self._name, COSIGNATURE, self.public)

    def sign(self, text: str) -> bytes:
        """Ed25519 over the note's text."""
        return self._key.sign(text.encode())

    def cosign(self, text: str, at: int) -> bytes:
        """Timestamped cosignature over a checkpoint's text; ``at`` in whole seconds since 1970."""
        if not 0 <= at < 2**63:
            raise ValueError(f"{at} is no time in seconds since 1970")
        return at.to_bytes(8, "big") + self._key.sign(_cosigned(text.encode(), at))


def _cosigned(text: bytes, at: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % at + text


# ── notes ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who says to have signed, by which key, and the signature itself."""

    name: str
    key_id: bytes
    blob: bytes

    @property
    def line(self) -> str:
        """The line, with its newline."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.blob)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text with its signature lines. Nothing is believed of the text before ``verified``."""

    text: str
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, data: bytes | str) -> Note:
        """Read a signed note. Raises ParseError."""
        try:
            whole = data if isinstance(data, str) else data.decode("utf-8")
            if len(whole) > MAX_NOTE:
                raise ParseError(f"note of {len(whole)} characters; at most {MAX_NOTE} are read")
            if isinstance(data, str):
                whole.encode()
        except UnicodeError as error:
            raise ParseError(f"not a note: {error}") from error
        if _CONTROL.search(whole):
            raise ParseError("not a note: it has control characters")
        text, empty, lines = whole.rpartition("\n\n")
        if not empty or not lines.endswith("\n"):
            raise ParseError("not a signed note: text, an empty line, then signature lines")
        signatures = []
        for line in lines.split("\n")[:-1]:
            name, _, coded = line.removeprefix(_DASH).partition(" ")
            blob = _unbase64(coded, "signature line")
            if not line.startswith(_DASH) or not _is_name(name) or len(blob) < 5:
                raise ParseError(f"not a signature line: {line[:80]!r}")
            signatures.append(Signature(name, blob[:4], blob[4:]))
        if len(signatures) > MAX_SIGNATURES:
            raise ParseError(f"note with {len(signatures)} signatures; at most {MAX_SIGNATURES} are read")
        note = cls(text + "\n", tuple(signatures))
        if note.format() != whole:
            raise ParseError("not a note: it is not written as notes are")
        return note

    def format(self) -> str:
        """The note as text; the inverse of ``parse``."""
        return f"{self.text}\n{''.join(signature.line for signature in self.signatures)}"

    def encode(self) -> bytes:
        """The note as bytes."""
        return self.format().encode()

    def signed_by(self, *signers: Signer) -> Note:
        """With one more signature line for each."""
        added = [Signature(s.verifier.name, s.verifier.id, s.sign(self.text)) for s in signers]
        return Note(self.text, (*self.signatures, *added))

    def cosigned_by(self, signer: Ed25519Signer, at: int) -> Note:
        """With the signer's cosignature/v1 line; ``at`` in whole seconds since 1970."""
        Checkpoint.parse(self.text)
        cosigner = signer.cosigner
        return Note(
            self.text, (*self.signatures, Signature(cosigner.name, cosigner.id, signer.cosign(self.text, at)))
        )

    def by(self, verifier: Verifier) -> tuple[Signature, ...]:
        """The lines that name this key. They are not checked."""
        return tuple(s for s in self.signatures if s.name == verifier.name and s.key_id == verifier.id)

    def is_signed_by(self, verifier: Verifier) -> bool:
        """Whether this key signed: at least one line names it, and every such line is right."""
        lines = self.by(verifier)
        return bool(lines) and all(verifier.check(self.text, line.blob) for line in lines)

    def verified(self, *verifiers: Verifier) -> Note:
        """The note, if at least one of these keys signed it and none of their lines is wrong.

        Raises VerifyError.
        """
        signed = False
        for verifier in verifiers:
            lines = self.by(verifier)
            if lines and not self.is_signed_by(verifier):
                raise VerifyError(
                    f"the signature of {verifier.name} is wrong: the text or the signature was changed"
                )
            signed = signed or bool(lines)
        if not signed:
            names = ", ".join(verifier.name for verifier in verifiers)
            there = ", ".join(signature.name for signature in self.signatures)
            changed = any(signature.name in names.split(", ") for signature in self.signatures)
            hint = " by another key; was it changed? Then give the new one" if changed else ""
            raise VerifyError(f"not signed by the key of {names}; it has signatures of {there}{hint}")
        return self

    def cosigned_at(self, verifier: Verifier) -> int | None:
        """When this cosigner cosigned (seconds since 1970, the latest), or None if it did not, or not
        rightly.
        """
        if verifier.kind != COSIGNATURE or not self.is_signed_by(verifier):
            return None
        return max(int.from_bytes(line.blob[:8], "big") for line in self.by(verifier))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: whose log, how many leaves, and the root hash (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[
        str, ...
    ] = ()  # read, so that others' logs can be; never written (not recommended by C2SP)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a checkpoint's text, without signatures. Raises ParseError."""
        origin, size, coded, *extensions = [*text.split("\n")[:-1], "", "", ""][: max(3, text.count("\n"))]
        if not origin or not _SIZE.fullmatch(size) or int(size) >= 2**63:
            raise ParseError("not a checkpoint: origin, size, root hash, a line each")
        root = _unbase64(coded, "root hash")
        if len(root) != HASH_SIZE:
            raise ParseError(f"not a checkpoint: the root hash has {len(root)} bytes, not {HASH_SIZE}")
        found = cls(origin, int(size), root, tuple(extensions))
        if not all(extensions) or found.text != text:
            raise ParseError("not a checkpoint: it is not written as checkpoints are")
        return found

    @property
    def text(self) -> str:
        """The text that is signed."""
        return "\n".join([self.origin, str(self.size), _base64(self.root), *self.extensions]) + "\n"

    def signed_by(self, *signers: Signer) -> Note:
        """The checkpoint as a signed note."""
        if self.extensions or _CONTROL.search(self.origin) or not self.origin or "\n" in self.origin:
            raise ValueError(
                "a checkpoint is written with an origin of one line, and without extension lines"
            )
        return Note(self.text).signed_by(*signers)


def open_checkpoint(data: bytes | str, *verifiers: Verifier) -> tuple[Checkpoint, Note]:
    """A checkpoint signed by one of these keys, which must be of the checkpoint's own origin.

    Raises ParseError for what is no checkpoint, VerifyError for one that is not signed so.
    """
    note = Note.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    note.verified(*verifiers)
    if not any(verifier.name == checkpoint.origin and note.by(verifier) for verifier in verifiers):
        raise VerifyError(f"the checkpoint is of {checkpoint.origin}; the key is of {verifiers[0].name}")
    return checkpoint, note


def key_statement(origin: str, new: Signer, *old: Signer) -> str:
    """The statement of a ``key`` record: a note over the new vkey, signed by the new key and by the old."""
    return Note(f"suyuan/key\n{origin}\n{new.verifier.vkey}\n").signed_by(new, *old).format()


def check_key_statement(statement: str, origin: str, vkey: str, *old: Verifier) -> bool:
    """Whether the new key and one of the old ones both signed that ``vkey`` is a key of this log."""
    try:
        note, new = Note.parse(statement), Verifier.parse(vkey)
        note.verified(*old)
    except EvidenceError:
        return False
    return note.text == f"suyuan/key\n{origin}\n{new.vkey}\n" and note.is_signed_by(new)


# ── offline proofs ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Proof:
    """Proof, for checking offline, that an entry is in a log (C2SP tlog-proof)."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Note
    extra: bytes = b""

    _HEADER = "c2sp.org/tlog-proof@v1"

    @classmethod
    def parse(cls, data: bytes | str) -> Proof:
        """Read a ``.tlog-proof``. Raises ParseError."""
        try:
            whole = data if isinstance(data, str) else data.decode("utf-8")
        except UnicodeError as error:
            raise ParseError(f"not a proof: {error}") from error
        head, _, note = whole.partition("\n\n")
        header, *lines = head.split("\n")
        extra = b""
        if lines and lines[0].startswith("extra "):
            extra = _unbase64(lines.pop(0).removeprefix("extra "), "extra line")
        number = lines.pop(0).removeprefix("index ") if lines else ""
        if header != cls._HEADER or not _SIZE.fullmatch(number) or len(lines) > 63:
            raise ParseError("not a proof: header, index, hashes, an empty line, the checkpoint")
        found = cls(int(number), tuple(_unbase64(line, "hash") for line in lines), Note.parse(note), extra)
        if found.format() != whole:
            raise ParseError("not a proof: it is not written as proofs are")
        return found

    def format(self) -> str:
        """The proof as text; the inverse of ``parse``."""
        lines = [self._HEADER]
        if self.extra:
            lines.append(f"extra {_base64(self.extra)}")
        lines += [f"index {self.index}", *map(_base64, self.hashes)]
        return "\n".join(lines) + "\n\n" + self.checkpoint.format()

    def verify(self, entry: bytes, *verifiers: Verifier) -> Checkpoint:
        """The checkpoint under which ``entry`` stands at ``index``. Raises ParseError or VerifyError."""
        checkpoint, _ = open_checkpoint(self.checkpoint.format(), *verifiers)
        if not check_inclusion(leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root):
            raise VerifyError(
                f"the proof does not show this entry at index {self.index} of {checkpoint.origin}"
            )
        return checkpoint


# ── spelling ────────────────────────────────────────────────────────────────────────────────────────────────


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name) and not _CONTROL.search(name)


def _is_sm2(blob: bytes) -> bool:
    return blob[1 : 1 + len(SM2)] == SM2 and sm2.is_point(blob[1 + len(SM2) :])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ParseError(f"{what}: not base64") from error
    if _base64(data) != text:
        raise ParseError(f"{what}: not base64 as it is written")
    return data


def best_cosignature(
    note: Note, cosigners: Iterable[Verifier] | Sequence[Verifier]
) -> tuple[Verifier, int] | None:
    """The latest right cosignature of any of these keys, with its time in seconds since 1970."""
    found = [(at, i, c) for i, c in enumerate(cosigners) if (at := note.cosigned_at(c)) is not None]
    if not found:
        return None
    at, _, cosigner = max(found)
    return cosigner, at
