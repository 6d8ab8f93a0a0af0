"""The platform's door for gateways that push: a C2SP tlog-mirror over HTTPS.

``POST /add-checkpoint`` and ``POST /add-entries`` as the specification has them, for the gateways that are registered;
``GET /<SHA-256 of the origin>/checkpoint`` and ``…/tile/…`` give each log back to anyone who wants to check it.

Bodies are read in pieces and never held whole: an entry package is verified and committed when it has come, with at
most ``BATCH`` of them in one transaction, and what was whole when a connection broke is kept. Times, bytes and unpacked
bytes are bounded.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from evidence import note
from evidence.errors import ParseError

from .intake import MIRROR_INFO, Intake, Refused, Standing
from .monitor import Monitor
from .offer import MAX_CHECKPOINT
from .packages import Body, Inflater, Package
from .store import StoreError

BATCH: Final = 8  # packages in one transaction: while one is verified, the next are on their way
BATCH_BYTES: Final = 8 * 1024 * 1024
_TEXT: Final = "text/plain; charset=utf-8"
_TAKES: Final = {"accept-encoding": "gzip"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost. ``idle_s``: the longest silence in a body; ``body_s``: the longest body."""

    received: int = 64 * 1024 * 1024
    unpacked: int = 256 * 1024 * 1024
    idle_s: float = 30.0
    body_s: float = 600.0


def application(intake: Intake, limits: Limits = Limits()) -> Starlette:
    """The ASGI application."""
    monitor = Monitor(intake.store)

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        try:
            async for chunk in _chunks(request, limits):
                body += chunk
                if len(body) > MAX_CHECKPOINT:
                    return PlainTextResponse(f"at most {MAX_CHECKPOINT} bytes\n", 413)
        except (ClientDisconnect, TimeoutError):
            return PlainTextResponse("the body did not come whole\n", 408)
        try:
            await run_in_threadpool(intake.add_checkpoint, body)
        except Refused as refused:
            return _refusal(refused)
        except StoreError as error:
            return PlainTextResponse(f"{error}\n", 503)
        return Response(b"", media_type=_TEXT, headers=_TAKES)

    async def add_entries(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/octet-stream":
            return PlainTextResponse("the body of add-entries is application/octet-stream\n", 415)
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("gzip", "identity"):
            return PlainTextResponse("gzip is the only encoding taken\n", 415, headers=_TAKES)
        try:
            return await _Taking(intake, limits).run(request, gzip=coding == "gzip")
        except Refused as refused:
            return _refusal(refused)
        except StoreError as error:
            return PlainTextResponse(f"{error}\n", 503)

    async def read(request: Request) -> Response:
        found = await run_in_threadpool(monitor.read, request.path_params["log"], request.path_params["rest"])
        if found is None:
            return PlainTextResponse("not here\n", 404)
        if request.path_params["rest"] == "checkpoint":
            return Response(found, media_type=_TEXT, headers={"cache-control": "no-cache"})
        lasting = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(found, media_type="application/octet-stream", headers=lasting)

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/add-entries", add_entries, methods=["POST"]),
            Route("/{log:str}/{rest:path}", read),
        ]
    )


class _Taking:
    """One add-entries request."""

    def __init__(self, intake: Intake, limits: Limits) -> None:
        self._intake = intake
        self._limits = limits
        self._body = Body()
        self._batch: list[Package] = []
        self._held = 0
        self._begun = False
        self._standing: Standing | None = None

    async def run(self, request: Request, *, gzip: bool) -> Response:
        why = "the body ended before the first entry package was whole"
        inflater = Inflater(self._limits.unpacked) if gzip else None
        try:
            async for chunk in _chunks(request, self._limits):
                for piece in (chunk,) if inflater is None else inflater.feed(chunk):
                    await self._feed(piece)
        except (ClientDisconnect, TimeoutError, ParseError) as error:  # what was whole before is kept
            why = str(error) or why
        upload = self._body.upload
        if upload is None:
            return PlainTextResponse(f"{why}\n", 400)
        if self._batch or self._body.complete:
            await self._take()
        standing = self._standing
        if standing is None:
            return PlainTextResponse(f"{why}\n", 400)
        if standing.receipt is None or not self._body.complete:
            return _said(202, standing.text, MIRROR_INFO)
        lines = note.Note.parse(standing.receipt).by(self._intake.signer.cosigner)
        await run_in_threadpool(self._intake.posted, upload.origin, standing.size)
        return Response("".join(line.line for line in lines), media_type=_TEXT, headers=_TAKES)

    async def _feed(self, piece: bytes) -> None:
        packages = self._body.feed(piece)
        while True:
            package = next(packages, None)
            if self._body.upload is not None and not self._begun:
                self._begun = True
                await run_in_threadpool(self._intake.begin, self._body.upload)
            if package is None:
                return
            self._batch.append(package)
            self._held += sum(map(len, package.entries))
            if len(self._batch) >= BATCH or self._held > BATCH_BYTES:
                await self._take()

    async def _take(self) -> None:
        assert self._body.upload is not None
        batch, self._batch, self._held = self._batch, [], 0
        self._standing = await run_in_threadpool(self._intake.take, self._body.upload, batch)


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    received = 0
    stream = request.stream()
    now = asyncio.get_running_loop().time
    until = now() + limits.body_s
    while True:
        async with asyncio.timeout_at(min(until, now() + limits.idle_s)):
            chunk = await anext(stream, None)
        if chunk is None:
            return
        received += len(chunk)
        if received > limits.received:
            raise ParseError(f"more than {limits.received} bytes")
        yield chunk


def _refusal(refused: Refused) -> Response:
    return _said(refused.status, refused.body, refused.media)


def _said(status: int, body: str, media: str) -> Response:
    """An answer with exactly this media type: starlette would add a charset."""
    return Response(body, status, headers={**_TAKES, "content-type": media})


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the caller decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: Starlette,
    host: str,
    port: int,
    stopping: asyncio.Event,
    *,
    tls: ssl.SSLContext | None = None,
    ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until ``stopping`` is set. ``ready`` is told the port. Raises OSError if it cannot be bound."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="none",
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=512,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=16_384,
    )
    config.load()
    config.ssl = tls
    sock = await asyncio.to_thread(_bound, host, port)
    server = _Server(config)
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(server.serve(sockets=[sock]))
            waiting = group.create_task(stopping.wait())
            ready(sock.getsockname()[1])
            await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            waiting.cancel()
    finally:
        sock.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock
