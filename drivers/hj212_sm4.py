"""HJ 212-2025 data whose CP is encrypted by SM4, opened with the logger's key. Pure.

::

    ##0295QN=…;ST=31;CN=2011;PW=…;MN=…;Flag=9;CP=&&{0xE4,0x3E,…}…&&2200 CR LF

What is known comes from an implementation and public test suites, not from the standard's text: SM4-ECB without padding
over whole blocks of 16 octets; the rest of fewer than 16 stays plain; the octets are written ``{0xE4,0x3E,…}``; the CRC
is over the *plain* segment. Where they differ or are silent, every reading is tried and the CRC decides: the digits
count the plain segment or the one sent; the rest stands within the braces or after them; the ``&&`` stand outside the
braces or are encrypted too. A packet that no reading makes sound is refused: no value is guessed.

What is opened is told as the plain packet, with the CRC that came: anyone can check and decode it without the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from drivers import hj212

BLOCK = 16
_CP = re.compile(rb"(.*?CP=)(&&)?\{([0-9A-Fa-fxX, ]*)\}([^{}]{0,17})", re.DOTALL)
_OCTETS = re.compile(r"0[xX][0-9A-Fa-f]{2}(?: ?, ?0[xX][0-9A-Fa-f]{2})*")
_MN = re.compile(rb"(?:^|;)MN=([^;]*);")

WRONG_KEY = "encrypted (SM4): the key is another, or the packet is damaged: no reading of it has the CRC that it states"


def sm4_key(text: str) -> bytes:
    """A key as it is handed over: 32 hex digits, or 16 characters. ValueError if it is neither."""
    text = text.strip()
    if re.fullmatch("[0-9A-Fa-f]{32}", text):
        return bytes.fromhex(text)
    if len(text) == BLOCK and text.isascii():
        return text.encode("ascii")
    raise ValueError("a key of SM4 has 16 octets: 32 hex digits, or 16 characters")


class Decoder(hj212.Decoder):
    """The frames of one connection; ``key`` gives the key of a logger by its MN, None if there is none."""

    def __init__(self, key: Callable[[str], bytes | None]) -> None:
        super().__init__()
        self._key = key

    def _open(self, raw: bytes) -> bytes | str:
        key = self._key(station_of(raw))
        return hj212.NEEDS_KEY if key is None else opened(raw, key)


def station_of(raw: bytes) -> str:
    """The MN of a packet, which is never encrypted; empty if it has none."""
    mn = _MN.search(raw[6:])
    return mn[1].decode("utf-8", "replace") if mn else ""


def opened(raw: bytes, key: bytes) -> bytes | str:
    """The plain packet; or why there is none."""
    segment, said = raw[6:-6], raw[-6:-2]
    found = _CP.fullmatch(segment)
    octets = found and _OCTETS.fullmatch(found[3].decode("ascii"))
    if not found or not octets:
        return "encrypted (SM4): what stands in CP is not written as {0xE4,0x3E,…}"
    sent = bytes(int(octet, 16) for octet in octets[0].split(","))
    whole = len(sent) - len(sent) % BLOCK
    cipher = Cipher(SM4(key), modes.ECB()).decryptor()  # noqa: S305 - the mode that the loggers use
    plain = cipher.update(sent[:whole]) + cipher.finalize() + sent[whole:]
    again = found[1] + (found[2] or b"") + plain + found[4]
    counted = int(raw[2:6])
    if not re.fullmatch(rb"[0-9A-Fa-f]{4}", said) or hj212.crc(again) != int(said, 16):
        return WRONG_KEY
    if counted not in (len(again), len(segment)):
        return (
            f"encrypted (SM4): {counted} octets are stated; plain it has {len(again)}, as sent {len(segment)}"
        )
    return b"##%04d" % len(again) + again + said + b"\r\n"
