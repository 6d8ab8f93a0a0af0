"""The configuration in parts: one record per instrument, so that one can be disclosed without the others.

``site_record.configuration`` says all of a site. In the log it stands as a record for each instrument, with what this
one is asked and how an answer is read, and one for the site, which names the parts by their digests. Readings refer to
their instrument's part; an audit bundle holds that alone. A change to one meter writes one part anew, and a site may
have more instruments than an entry has room for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

WHOLE: Final = "suyuan/configuration/1"
PARTED: Final = "suyuan/configuration/2"


@dataclass(frozen=True, slots=True)
class Parted:
    """The bodies, as canonical JSON: of the site, and by instrument. No parts: the site's body says all."""

    site: bytes
    parts: dict[str, bytes] = field(default_factory=dict)


def parted(whole: bytes) -> Parted:
    """A site's whole configuration in parts; a body of another form stays as it is."""
    body: dict[str, Any] = json.loads(whole)
    if body.get("format") != WHOLE:
        return Parted(whole)
    about = {name: body[name] for name in ("site", "origin", "aggregate_us")} | {"format": PARTED}
    parts = {}
    for name, instrument in body["instruments"].items():
        profile = instrument["profile"]
        own = {"instruments": {name: instrument}, "profiles": {profile: body["profiles"][profile]}}
        parts[name] = _canonical(about | own)
    digests = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
    return Parted(_canonical(about | {"parts": digests}), parts)


def whose(body: bytes) -> str:
    """The instrument whose part it is; empty if it is a site's."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except msgspec.MsgspecError:
        return ""
    return next(iter(found.instruments)) if found.format == PARTED and len(found.instruments) == 1 else ""


class _Body(msgspec.Struct):
    """What tells a part from a whole."""

    format: str = ""
    instruments: dict[str, msgspec.Raw] = {}


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
