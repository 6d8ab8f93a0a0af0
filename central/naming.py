"""The name by which a gateway's certificate names its log, wherever the gateway is reached."""

from __future__ import annotations

from hashlib import sha256


def log_name(origin: str) -> str:
    """A DNS name that no two logs share: a digest of the origin under the origin's domain."""
    return f"{sha256(origin.encode()).hexdigest()[:40]}.{origin.partition('/')[0]}"
