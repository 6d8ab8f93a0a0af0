"""How single values are written in the site file: an address, a framing, a ratio, an offset from UTC."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator

from gateway.edge import Duration

_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")


def _origin(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9.-]+(?:/[A-Za-z0-9._-]+)+", text):
        raise ValueError(
            "an origin is a domain and a path: platform.example/gw/0001 (no scheme, no '+', no spaces)"
        )
    return text


def _framing(text: str) -> str:
    if not re.fullmatch(r"[78][NEO][12]", text):
        raise ValueError(
            f'\'{text}\' is not a framing: data bits, parity, stop bits, for example "8E1" or "8N1"'
        )
    return text


def _listen(text: str) -> str:
    if (
        not re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}", text)
        or int(text.rpartition(":")[2]) > 65535
    ):
        raise ValueError("write host:port, for example 127.0.0.1:8475")
    return text


def offset_minutes(text: str) -> int:
    """Minutes ahead of UTC of ``"+08:00"``. Raises ValueError."""
    found = re.fullmatch(r"([+-])(\d{2}):(\d{2})", text)
    if not found or int(found[2]) > 14 or int(found[3]) > 59:
        raise ValueError(f"'{text}' is no offset from UTC: write for example \"+08:00\"")
    return (1 if found[1] == "+" else -1) * (60 * int(found[2]) + int(found[3]))


def _utc_offset(text: str) -> str:
    offset_minutes(text)
    return text


def ratio(text: str) -> Decimal:
    """The transformation ratio of ``"200/5"`` (= 40), exact. Raises ValueError."""
    found = _RATIO.fullmatch(text.strip())
    if not found or Decimal(found[2]) == 0:
        raise ValueError(f"'{text}' is not a ratio: write primary/secondary, for example \"200/5\"")
    return Decimal(found[1]) / Decimal(found[2])


def _checked_ratio(text: str) -> str:
    ratio(text)
    return text


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than 0")
    return value


def _receiver(text: str) -> str:
    if not re.fullmatch(
        r"(?:https?|mqtts?)://(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?(?:/[^\s?#]*)?", text
    ):
        raise ValueError(
            "write where the platform listens: https://host:port, or a broker: mqtts://host:port (no user in it)"
        )
    return text


def _door(text: str) -> str:
    if not re.fullmatch(r"https://(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?(?:/[^\s?#]*)?", text):
        raise ValueError("write where the platform enrols gateways: https://host:port")
    return text


def _told(text: str) -> str:
    if not text.strip():
        raise ValueError("write who allowed it: a name and a post")
    return text


Positive = Annotated[Duration, AfterValidator(_positive)]
Ratio = Annotated[str, AfterValidator(_checked_ratio)]
"""A transformation ratio, as :func:`ratio` reads it."""
Origin = Annotated[str, AfterValidator(_origin)]
"""What names a log for ever: a domain and a path."""
Framing = Annotated[str, AfterValidator(_framing)]
HostPort = Annotated[str, AfterValidator(_listen)]
UtcOffset = Annotated[str, AfterValidator(_utc_offset)]
"""Ahead of UTC, as :func:`offset_minutes` reads it."""
ReceiverUrl = Annotated[str, AfterValidator(_receiver)]
"""Where a platform takes a log: over HTTPS, or by a broker."""
DoorUrl = Annotated[str, AfterValidator(_door)]
Told = Annotated[str, AfterValidator(_told)]
"""A text that must say something: who allowed a thing."""
