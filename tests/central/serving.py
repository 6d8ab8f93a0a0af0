"""A gateway's log behind a real HTTP server on loopback, with the faults that networks and disks have."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from evidence import log, note


class Served:
    """What the server serves, and what reached it. ``contents`` is the log as path -> bytes, swapped at will."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.receipts: list[bytes] = []
        self.asked: list[str] = []
        self.fault: Callable[[str, bytes | None], bytes | int | None] = lambda path, data: data
        self.receipt_status = 204
        self.receipt_words = b""
        self.compress = False
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.served.asked.append(path)
        answer = self.served.fault(path, self.served.contents.get(path))
        if isinstance(answer, int):
            self._answer(answer, b"")
        elif answer is None:
            self._answer(404, b"")
        else:
            self._answer(200, answer)

    def do_POST(self) -> None:
        self.served.receipts.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(self.served.receipt_status, self.served.receipt_words)

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        if self.served.compress and data:
            data = gzip.compress(data, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(contents: dict[str, bytes], tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    served = Served(contents)
    handler = type("Handler", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def without_superseded(contents: dict[str, bytes]) -> dict[str, bytes]:
    """The log as a gateway that deletes partial tiles serves it: full ones only, and a checkpoint."""
    return {path: data for path, data in contents.items() if ".p/" not in path}


def resigned(contents: dict[str, bytes], head: note.Checkpoint, by: note.Signer) -> dict[str, bytes]:
    return {**contents, "checkpoint": head.signed_by(by).encode()}


def flip(contents: dict[str, bytes], tile: log.Tile, at: int = 100) -> dict[str, bytes]:
    data = bytearray(contents[tile.path])
    data[at] ^= 1
    return {**contents, tile.path: bytes(data)}
