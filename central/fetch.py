"""Fetching a gateway's log over HTTP: bounded in time and size, retried where that can help.

Nothing that is fetched is believed: the signed root decides. So no answer here is trusted for more than its length.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

import httpx

from evidence import log
from evidence.errors import ParseError

MAX_CHECKPOINT: Final = 256 * 1024
MAX_BUNDLE: Final = 256 * (2 + log.MAX_ENTRY)
MAX_TILE: Final = log.TILE_WIDTH * log.HASH_SIZE


CLOSED: Final = (
    "it closed the connection: does it ask for a client certificate of an authority that it knows?"
)
IN_PLACE: Final = ": a proxy, or a network that asks for a login first, answers in the gateway's place"
_WORDS: Final = 300  # of a refusal's text
_CLOSED: Final = (httpx.ReadError, httpx.RemoteProtocolError)


class FetchError(Exception):
    """The gateway could not be reached, or does not have what its checkpoint promises. May pass."""


@dataclass(slots=True)
class Patience:
    """How long to wait, how often to try, and by what clock and chance."""

    deadline_s: float = 15.0  # for one exchange, connection and TLS handshake included
    attempts: int = 3
    first_pause_s: float = 0.5
    longest_pause_s: float = 300.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Random = field(default_factory=Random)

    def pause(self, failures: int) -> float:
        """Back-off with full jitter below a doubling ceiling, never less than half of the first pause."""
        ceiling = min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(failures, 30))
        return self.first_pause_s / 2 + self.random.uniform(0, ceiling)


class LogClient:
    """Reads a log at a URL prefix, and brings receipts there."""

    def __init__(
        self,
        url: str,
        patience: Patience,
        *,
        tls: ssl.SSLContext | None = None,
        tls_name: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("https://", "http://")):
            raise ValueError(f"{url}: the address of a gateway begins with https:// or http://")
        self._patience = patience
        # whose certificate must be shown, where that is not the host of the address
        self._extensions = {} if tls_name is None else {"sni_hostname": tls_name}
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(patience.deadline_s),
            verify=tls if tls is not None else True,
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept-Encoding": "gzip, identity", "User-Agent": "suyuan-central"},
        )
        self.received = 0  # bytes, after decompression

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def checkpoint(self) -> bytes:
        """The newest checkpoint. Raises FetchError."""
        data = await self._get("checkpoint", MAX_CHECKPOINT)
        if data is None:
            raise FetchError(f"{self.url}/checkpoint: not found; is this the address of a gateway's log?")
        return data

    async def tile(self, tile: log.Tile) -> bytes:
        """A tile or entry bundle, exactly as wide as asked; from the full one if the partial one is gone."""
        limit = MAX_BUNDLE if tile.level is None else MAX_TILE
        data = await self._get(tile.path, limit)
        if data is not None:
            return data
        if not tile.full:
            whole = await self._get(log.Tile(tile.level, tile.index).path, limit)
            if whole is not None:
                return _narrowed(tile, whole)
        raise FetchError(f"{self.url}/{tile.path}: not found, though the checkpoint promises it")

    async def post_receipt(self, note: bytes) -> None:
        """Bring a cosigned checkpoint. Raises FetchError unless the gateway took it."""
        url = f"{self.url}/receipt"

        async def post() -> tuple[int, bytes]:
            answer = await self._http.post(
                url,
                content=note,
                headers={"Content-Type": "text/plain; charset=utf-8"},
                extensions=self._extensions,
            )
            return answer.status_code, answer.content[:_WORDS]

        status, body = await self._try(post)
        if status != 204:  # what the gateway says; a proxy's "200" says nothing of it
            words = "".join(c if c.isprintable() else " " for c in body.decode(errors="replace")).strip()
            raise FetchError(f"{url}: the gateway did not take it ({status}{words and f': {words}'})")

    async def _get(self, path: str, limit: int) -> bytes | None:
        url = f"{self.url}/{path}"

        async def get() -> tuple[int, bytes]:
            async with self._http.stream("GET", url, extensions=self._extensions) as answer:
                body = bytearray()
                async for (
                    part
                ) in answer.aiter_bytes():  # decompressed piece by piece: a bomb stops at the limit
                    body += part
                    if len(body) > limit:
                        raise FetchError(f"{url}: longer than the {limit} bytes that it may have")
                return answer.status_code, bytes(body)

        status, body = await self._try(get)
        if status == 404:
            return None
        if status != 200:
            raise FetchError(f"{url}: answered {status}{IN_PLACE if 300 <= status < 400 else ''}")
        if body.lstrip()[:9].lower() in (b"<!doctype", b"<html>") or body.lstrip()[:6].lower() == b"<html ":
            raise FetchError(f"{url}: answered with a web page{IN_PLACE}")
        self.received += len(body)
        return body

    async def _try(self, ask: Callable[[], Awaitable[tuple[int, bytes]]]) -> tuple[int, bytes]:
        for failures in range(self._patience.attempts):
            last = failures + 1 == self._patience.attempts
            try:
                async with asyncio.timeout(self._patience.deadline_s):
                    status, body = await ask()
            except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
                if last:
                    reason = str(error) or f"no answer within {self._patience.deadline_s:g} s"
                    if self.url.startswith("https:") and isinstance(error, _CLOSED):
                        reason += f" ({CLOSED})"
                    raise FetchError(f"{self.url}: {reason}") from error
            else:
                if last or (status < 500 and status != 429):
                    return status, body
            await self._patience.sleep(self._patience.pause(failures))
        raise FetchError(f"{self.url}: not tried")


def _narrowed(tile: log.Tile, whole: bytes) -> bytes:
    try:
        if tile.level is not None:
            return b"".join(log.tile_hashes(whole)[: tile.width])
        return log.encode_bundle(log.decode_bundle(whole)[: tile.width])
    except ParseError as error:
        raise FetchError(f"{log.Tile(tile.level, tile.index).path}: {error}") from error
