"""What a gateway and a platform exchange at enrolment: the application, signed by the log's key, and the answer to it.

An application is a signed note::

    suyuan/enrolment
    <origin>
    <vkey>
    <number> <base64 of a PKCS #10 request, DER>
    <base64 of a key statement>          (none, or one for each change of keys since the key that the platform knows)

The signature binds the request for a certificate to the log's key, so two people compare one fingerprint: the log
key's. ``number`` grows with each application (the time in microseconds): an old one cannot be played back.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from .errors import ParseError
from .note import ED25519, Note, Signer, Verifier, check_key_statement, fingerprint

TITLE: Final = "suyuan/enrolment"
SCANNED: Final = "suyuan:enrol:"
LIMIT: Final = 64 * 1024  # bytes of an application
MAX_STATEMENTS: Final = 16
MAX_COMMON_NAME: Final = 64
MAX_REQUEST: Final = 8 * 1024  # bytes of a request for a certificate
_NUMBER: Final = re.compile("[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Application:
    """A gateway's wish to be known. ``request`` is empty if it wants no certificate."""

    verifier: Verifier
    number: int = 0
    request: bytes = b""
    statements: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Whose log."""
        return self.verifier.name

    @property
    def fingerprint(self) -> str:
        """What the two people compare."""
        return fingerprint(self.verifier.vkey)

    def signed_by(self, signer: Signer) -> bytes:
        """The note."""
        lines = [TITLE, self.origin, self.verifier.vkey]
        if self.request:
            lines.append(f"{self.number} {base64.b64encode(self.request).decode()}")
            lines += [base64.b64encode(one.encode()).decode() for one in self.statements]
        return Note("\n".join(lines) + "\n").signed_by(signer).encode()

    @classmethod
    def parse(cls, data: bytes) -> Application:
        """Read an application and check that its key has signed it. Raises EvidenceError."""
        if len(data) > LIMIT:
            raise ParseError(f"an enrolment has at most {LIMIT} bytes")
        note = Note.parse(data)
        lines = note.text.split("\n")[:-1]
        if len(lines) < 3 or lines[0] != TITLE or len(lines) > 4 + MAX_STATEMENTS:
            raise ParseError("is no enrolment; one is made on the gateway: suyuan enrol SITE")
        verifier = Verifier.parse(lines[2])
        if verifier.kind != ED25519:
            raise ParseError(f"the key of {verifier.name} is not a log's")
        note.verified(verifier)
        if verifier.name != lines[1]:
            raise ParseError(f"the key is of {verifier.name}, the enrolment of {lines[1]}")
        if len(lines) == 3:
            return cls(verifier)
        number, _, request = lines[3].partition(" ")
        if not _NUMBER.fullmatch(number):
            raise ParseError("the number of the enrolment is none")
        der = _decoded(request)
        if not 0 < len(der) <= MAX_REQUEST:
            raise ParseError(f"the request for a certificate has 1 to {MAX_REQUEST} bytes")
        try:
            statements = tuple(_decoded(line).decode() for line in lines[4:])
        except UnicodeDecodeError as error:
            raise ParseError("a key statement is not UTF-8 text") from error
        return cls(verifier, int(number), der, statements)

    def follows(self, known: Verifier) -> bool:
        """Whether its key is the known one, or one that a chain of key statements leads to from there."""
        keys = [known]
        for statement in self.statements:
            vkey = _of_statement(statement)
            if check_key_statement(statement, known.name, vkey, *keys):
                keys.append(Verifier.parse(vkey))
        return self.verifier in keys


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What comes back: the certificate with its chain, who vouches for the platform (PEM), its policy."""

    origin: str
    certificate: str
    authority: str
    policy: str

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        """Read an answer. Raises ParseError."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ParseError(f"is no answer to an enrolment: {error}") from error


def common_name(origin: str) -> str:
    """The common name of a log's certificate: as MQTT topics name it, for a broker admits by common name and topic.

    X.520 gives it 64 characters (the library counts bytes of UTF-8). A longer one is a digest, so that no two logs
    share a name; a broker that goes by common names does not admit it.
    """
    name = origin.replace("/", "~")
    return name if len(name.encode()) <= MAX_COMMON_NAME else sha256(origin.encode()).hexdigest()[:40]


def scan_text(vkey: str) -> str:
    """What the QR code holds: the whole key, so that a scanner compares more than an eye can."""
    return SCANNED + vkey


def is_told(told: str, vkey: str) -> bool:
    """Whether a person's word, a fingerprint read out or the text of a scanned code, is this key's."""
    text = told.strip()
    if text.startswith(SCANNED):
        return text == scan_text(vkey)
    return "".join(text.split()).lower() == "".join(fingerprint(vkey).split())


def statements_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The newest statements that an application may carry, oldest first."""
    return tuple(texts)[-MAX_STATEMENTS:]


def _of_statement(statement: str) -> str:
    lines = statement.split("\n")
    return lines[2] if len(lines) > 2 else ""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ParseError("is not base64") from error
