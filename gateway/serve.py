"""What the gateway serves: the log as C2SP tlog-tiles, its status, and the place where receipts are handed in.

``GET /checkpoint``, ``/tile/<L>/<N>[.p/<W>]``, ``/tile/entries/<N>[.p/<W>]``; ``POST /receipt`` with a cosigned
checkpoint (204, or 4xx with the reason as text); ``GET /`` (a page for people), ``/status`` (JSON), ``/metrics``
(Prometheus).

Everything served of the log is covered by a published checkpoint, so tiles and bundles never change: they carry
headers that let any cache keep them. Entry bundles go out as they are stored, compressed, to whoever takes gzip.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from evidence.errors import ParseError
from evidence.log import TILE_WIDTH, Tile, parse_path
from gateway import local_page
from gateway.logfile import StoreError
from gateway.receipts import LIMIT, ReceiptRefused, Receipts
from gateway.status import AgentStatus, metrics
from gateway.store import LogStore

_IMMUTABLE = {"cache-control": "public, max-age=31536000, immutable"}
_NO_CACHE = {"cache-control": "no-cache"}
_RECEIPT_S = 10
_BYTES = "application/octet-stream"


def application(
    store: LogStore,
    receipts: Receipts,
    status: Callable[[], AgentStatus],
    contradicted: Callable[[str], None] | None = None,
) -> Starlette:
    """The ASGI application. ``contradicted`` is told of receipts for another history than ours."""

    async def checkpoint(_: Request) -> Response:
        published = store.published
        if published is None:
            return PlainTextResponse("no checkpoint yet\n", 404, headers=_NO_CACHE)
        return Response(published.note, media_type="text/plain; charset=utf-8", headers=_NO_CACHE)

    async def tile(request: Request) -> Response:
        try:
            asked = parse_path(request.url.path[1:])
        except ParseError as error:
            return PlainTextResponse(f"{error}\n", 400)
        try:
            return await resource(asked, request)
        except (
            StoreError,
            ValueError,
        ) as error:  # damaged on the disk: the hashes still tell, other copies may help
            return PlainTextResponse(f"{error}\n", 503, headers=_NO_CACHE)

    async def resource(asked: Tile, request: Request) -> Response:
        if asked.level is not None:
            hashes = await asyncio.to_thread(store.tile, asked.level, asked.index, asked.width)
            return (
                _missing(asked.width)
                if hashes is None
                else Response(hashes, media_type=_BYTES, headers=_IMMUTABLE)
            )
        body = await asyncio.to_thread(store.bundle, asked.index, asked.width)
        if body is None:
            return _missing(asked.width)
        headers = {**_IMMUTABLE, "vary": "accept-encoding"}
        if body.gzip and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(body.data, media_type=_BYTES, headers={**headers, "content-encoding": "gzip"})
        return Response(await asyncio.to_thread(body.plain), media_type=_BYTES, headers=headers)

    async def receipt(request: Request) -> Response:
        data = b""
        try:
            async with asyncio.timeout(_RECEIPT_S):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > LIMIT:
                        return PlainTextResponse(f"a receipt has at most {LIMIT} bytes\n", 413)
        except TimeoutError:
            return PlainTextResponse(f"the receipt did not come within {_RECEIPT_S} s\n", 408)
        try:
            await asyncio.to_thread(receipts.take, data)
        except ReceiptRefused as error:
            if error.status == 409 and contradicted is not None:
                contradicted(str(error))
            return PlainTextResponse(f"{error}\n", error.status)
        except StoreError as error:
            return PlainTextResponse(f"{error}\n", 503)
        return Response(status_code=204)

    async def show_status(_: Request) -> Response:
        return Response(msgspec.json.encode(status()), media_type="application/json", headers=_NO_CACHE)

    async def show_page(request: Request) -> Response:
        asked = request.query_params.get("lang") or request.headers.get("accept-language", "")
        chinese = asked.lower().startswith("zh")
        renewing = "renew" in request.query_params
        shown = local_page.page(status(), "zh" if chinese else "en", renewing=renewing)
        return HTMLResponse(shown, headers=_NO_CACHE | {"content-security-policy": local_page.POLICY})

    async def show_metrics(_: Request) -> Response:
        return Response(
            metrics(status()), media_type="text/plain; version=0.0.4; charset=utf-8", headers=_NO_CACHE
        )

    return Starlette(
        routes=[
            Route("/checkpoint", checkpoint),
            Route("/tile/{rest:path}", tile),
            Route("/receipt", receipt, methods=["POST"]),
            Route("/", show_page),
            Route("/status", show_status),
            Route("/metrics", show_metrics),
        ]
    )


def _missing(width: int) -> Response:
    why = "not under the checkpoint yet, or pruned" if width == TILE_WIDTH else "not under the checkpoint yet"
    return PlainTextResponse(f"{why}\n", 404, headers=_NO_CACHE)


class CannotListen(OSError):
    """The address is not to be had: another program has it, or it is none of this machine's."""

    def __init__(self, listen: str, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.listen = listen

    def __str__(self) -> str:
        return f"{self.listen}: {self.strerror}"


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the agent decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(listen: str) -> socket.socket:
    """A bound socket for ``host:port``. Raises CannotListen."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise CannotListen(listen, error) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def serve(
    app: Starlette, sock: socket.socket, stopping: asyncio.Event, tls: ssl.SSLContext | None = None
) -> None:
    """Serve until ``stopping`` is set; then finish the requests under way, for at most two seconds."""
    config = uvicorn.Config(
        app,
        loop="none",
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=16_384,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve(sockets=[sock]))
        waiting = group.create_task(stopping.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        waiting.cancel()
