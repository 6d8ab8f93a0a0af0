"""The bundle as one HTML page: shows itself, and verifies itself in a browser, offline. And back to its bytes.

The page is put together from the files under ``evidence/page``; the bundle's bytes stand in it as base64, in an
element that no browser runs. The verifier stands there to be read; the display beside it is packed, because a file
should be small. Nothing is fetched: no fonts, no scripts, no network at all; a content security policy in the page
forbids it, and runs no other scripts than these two, by their SHA-256.
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
from .errors import ParseError

MAX_PAGE: Final = 512 * 1024 * 1024
_PLACE: Final = re.compile(r"\{\{([a-z_]+)\}\}")
_DATA: Final = re.compile(
    rb'<script type="application/vnd\.suyuan\.bundle" id="bundle">([A-Za-z0-9+/=\s]*)</script>'
)
SCRIPTS: Final = ("verify.js", "start.js")
DISPLAY: Final = ("words.js", "draw.js", "view.js")


def page(data: bytes) -> str:
    """The HTML page around the gzipped bytes of a bundle."""
    bundle = decode(data)
    script = "\n".join(_part(name) for name in SCRIPTS)
    display = "\n".join(_part(name) for name in DISPLAY)
    parts = {
        "instrument": html.escape(bundle.instrument),
        "origin": html.escape(bundle.origin),
        "style": _part("page.css"),
        "script": script,
        "script_hash": _hash(f"\n{script}\n"),
        "display": base64.b64encode(gzip.compress(display.encode(), 9, mtime=0)).decode(),
        "display_hash": _hash(display),
        "bundle": base64.b64encode(data).decode(),
    }
    return _PLACE.sub(lambda found: parts[found[1]], _part("page.html"))


def extract(text: bytes) -> bytes:
    """The gzipped bytes of the bundle in a page (or a bundle's bytes as they are). Raises ParseError."""
    if text[:2] == b"\x1f\x8b":
        return text
    if len(text) > MAX_PAGE:
        raise ParseError("the file is larger than any audit bundle")
    found = _DATA.findall(text)
    if len(found) != 1:
        raise ParseError("not an audit bundle: the page holds no bundle's data, or more than one")
    try:
        return base64.b64decode(b"".join(found[0].split()), validate=True)
    except binascii.Error as error:
        raise ParseError("the bundle's data are damaged: they are not base64") from error


def data_place(text: bytes) -> tuple[int, int]:
    """Where in a page the bundle's data (base64) stand: the first byte, and the first after them. Raises ParseError."""
    found = list(_DATA.finditer(text))
    if len(found) != 1:
        raise ParseError("not an audit bundle: the page holds no bundle's data, or more than one")
    return found[0].span(1)


def _hash(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()


def _part(name: str) -> str:
    return resources.files(__package__ or "evidence").joinpath("page", name).read_text(encoding="utf-8")
