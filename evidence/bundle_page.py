"""The bundle as one HTML page: shows itself, and verifies itself in a browser, offline. And back to its bytes.

The page is put together from the files under ``evidence/page``; the bundle's bytes stand in it as text
(``bundle_text``), in an element that no browser runs, and so do the page's own style, verifier and display, gzipped,
because a file should be small. What stands there to be read is the short script that unpacks them into the document.
Nothing is fetched: no fonts, no scripts, no network at all; a content security policy in the page forbids it, and runs
no other scripts than these three, by their SHA-256.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import re
from hashlib import sha256
from importlib import resources
from typing import Final

from .bundle import decode
from .bundle_text import as_bytes, as_text
from .errors import ParseError

MAX_PAGE: Final = 512 * 1024 * 1024
STYLE: Final = "page.css"
VERIFIER: Final = ("verify.js",)
DISPLAY: Final = ("words.js", "draw.js", "view.js")
_PLACE: Final = re.compile(r"\{\{([a-z_]+)\}\}")
_DATA: Final = re.compile(
    rb'<script type="application/vnd\.suyuan\.bundle(91)?" id="bundle">([^<]*)</script>'
)  # without the number: base64, as versions before this one wrote it
_BEGIN: Final = re.compile(rb'<script type="application/vnd\.suyuan\.bundle(91)?" id="bundle">[^<]*\Z')
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=\s]*")
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


def page(data: bytes) -> str:
    """The HTML page around the gzipped bytes of a bundle."""
    bundle = decode(data)
    start = _part("start.js")
    packed = [_part(STYLE), *("\n".join(map(_part, names)) for names in (VERIFIER, DISPLAY))]
    parts = {
        "instrument": _ascii(bundle.instrument),
        "origin": _ascii(bundle.origin),
        "start": start,
        "hashes": " ".join(f"'sha256-{_hash(text)}'" for text in (f"\n{start}\n", *packed[1:])),
        "page": as_text(gzip.compress("\0".join(packed).encode(), 9, mtime=0)),
        "bundle": as_text(data),
    }
    return _PLACE.sub(lambda found: parts[found[1]], _part("page.html"))


def extract(text: bytes) -> bytes:
    """The gzipped bytes of the bundle in a page (or a bundle's bytes as they are). Raises ParseError."""
    if text[:2] == b"\x1f\x8b":
        return text
    found = _data(text)
    if found[1] is not None:
        return as_bytes(found[2])
    if not _BASE64.fullmatch(found[2]):
        raise ParseError("the bundle's data are damaged: they are not base64")
    try:
        return base64.b64decode(b"".join(found[2].split()), validate=True)
    except binascii.Error as error:
        raise ParseError("the bundle's data are damaged: they are not base64") from error


def data_place(text: bytes) -> tuple[int, int]:
    """Where in a page the bundle's data stand: the first byte, and the first after them. Raises ParseError."""
    return _data(text).span(2)


def _data(text: bytes) -> re.Match[bytes]:
    if len(text) > MAX_PAGE:
        raise ParseError("the file is larger than any audit bundle")
    if text[:2] in _UTF_16:
        raise ParseError(
            "a program saved this file in another character set (UTF-16): take the file as it came, or save it as UTF-8"
        )
    found = list(_DATA.finditer(text))
    if not found and _BEGIN.search(text):
        raise ParseError("the file was cut short on its way: its data have no end")
    if len(found) != 1:
        raise ParseError("not an audit bundle: the page holds no bundle's data, or more than one")
    return found[0]


def _ascii(name: str) -> str:
    """A name as HTML that no other character set can change."""
    return html.escape(name).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _hash(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()


def _part(name: str) -> str:
    return resources.files(__package__ or "evidence").joinpath("page", name).read_text(encoding="utf-8")
