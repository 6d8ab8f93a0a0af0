"""Log keys in a PKCS#11 token (HSM, smart card, SoftHSM): Ed25519 keys that are made in it and never leave it.

Mechanisms of PKCS #11 3.0: CKM_EC_EDWARDS_KEY_PAIR_GEN and CKM_EDDSA. A session that the token ended is opened again.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11.util.ec import encode_named_curve_parameters

from evidence.note import ED25519, SignerUnavailable, Verifier
from gateway.key_holder import HeldKey, LogKey, Reference, expect, write_reference
from gateway.keys import KeyFileError

HELD = "pkcs11"
_CURVE = "1.3.101.112"  # id-Ed25519, RFC 8410
_POINT = 32


class Pkcs11Holder:
    """One token. ``module``: the maker's library; ``pin``: of the token's user."""

    def __init__(self, module: Path, token: str, pin: str) -> None:
        self._module = module
        self._token = token
        self._pin = pin
        self._session: Any = None  # the library's objects have types of its own making
        self._lock = threading.Lock()  # a session carries out one thing at a time

    def create(self, path: Path, name: str) -> LogKey:
        """Make a key in the token, and its file."""
        if path.exists():
            raise KeyFileError(f"{path}: exists already; a key is never overwritten")
        identity = secrets.token_bytes(16)
        try:
            public = self.work(lambda session: self._generate(session, name, identity))
        except SignerUnavailable as error:
            raise KeyFileError(str(error)) from None
        verifier = Verifier(name, ED25519, public)
        reference = Reference(HELD, verifier.vkey, {"token": self._token, "id": identity.hex()})
        write_reference(path, reference)
        return HeldKey(reference, Pkcs11Signer(self, verifier, identity))

    def load(self, path: Path) -> LogKey:
        """The key of a file. The token is not asked before something is to be signed."""
        reference = expect(path, HELD)
        try:
            identity = bytes.fromhex(reference.fields["id"])
        except (KeyError, ValueError):
            raise KeyFileError(f"{path}: does not say which key of the token it is") from None
        return HeldKey(reference, Pkcs11Signer(self, reference.verifier, identity))

    def forget(self, key: LogKey) -> None:
        """Destroy both halves of the key in the token."""
        if isinstance(key.signer, Pkcs11Signer):
            identity = key.signer.identity
            try:
                self.work(lambda session: [o.destroy() for o in _objects(session, identity)])
            except SignerUnavailable as error:
                raise KeyFileError(f"the old key stays in the token: {error}") from None

    def work(self, step: Any) -> Any:
        """Carry out a step in the session, in a new one if the old one ended. Raises SignerUnavailable."""
        with self._lock:
            for last in (False, True):
                try:
                    if self._session is None:
                        self._session = self._open()
                    return step(self._session)
                except (pkcs11.PKCS11Error, OSError) as error:
                    self._session = None
                    if last or isinstance(
                        error, pkcs11.exceptions.PinIncorrect
                    ):  # tokens lock after some tries
                        what = str(error) or type(error).__name__
                        raise SignerUnavailable(f"PKCS#11 token {self._token!r}: {what}") from error
        raise AssertionError

    def _open(self) -> Any:
        token = pkcs11.lib(str(self._module)).get_token(token_label=self._token)
        try:
            return token.open(user_pin=self._pin, rw=True)
        except (
            pkcs11.exceptions.UserAlreadyLoggedIn
        ):  # a process is logged in as a whole: by another session of ours
            return token.open(rw=True)

    @staticmethod
    def _generate(session: Any, name: str, identity: bytes) -> bytes:
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVE)},
            local=True,
        )
        public, _ = parameters.generate_keypair(
            mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, id=identity, label=name, store=True
        )
        return bytes(public[pkcs11.Attribute.EC_POINT])[-_POINT:]  # an OCTET STRING, with or without its head


class Pkcs11Signer:
    """Signs with a key of the token."""

    def __init__(self, holder: Pkcs11Holder, verifier: Verifier, identity: bytes) -> None:
        self._holder = holder
        self._verifier = verifier
        self.identity = identity

    @property
    def verifier(self) -> Verifier:
        """The public side."""
        return self._verifier

    def sign(self, text: str) -> bytes:
        """Ed25519 over the note's text. Raises SignerUnavailable."""

        def step(session: Any) -> bytes:
            key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, id=self.identity)
            return bytes(key.sign(text.encode(), mechanism=pkcs11.Mechanism.EDDSA))

        signature: bytes = self._holder.work(step)
        if not self._verifier.check(text, signature):
            raise SignerUnavailable("PKCS#11: the token signs with another key than the one of the key file")
        return signature


def _objects(session: Any, identity: bytes) -> list[Any]:
    return list(session.get_objects({pkcs11.Attribute.ID: identity}))
