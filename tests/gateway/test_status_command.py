"""`suyuan status`: what a running gateway says of itself, asked over its own interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from gateway.cli import main
from gateway.status import AgentStatus, ReceiptStatus
from tests.gateway.test_local_page import NOW, ROWS, status


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """An address that says what a gateway's ``/status`` does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/status" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said_by(shown: AgentStatus) -> bytes:
    return msgspec.json.encode(shown)


RECEIPTS = {
    "receipts": (ReceiptStatus("head office", 60, NOW - 300_000_000),),
    "platforms": ("head office", "second"),
    "buffer_hours": 812.6,
}


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "en",
            ["Disk space left for: 812 hours (33 days)", "Receipt: head office: first 60 entries confirmed, 5 min ago",
             "! Receipt: second: none yet", "Alarms: none", "! m<1>: power.active.l1 missing: no answer"],
        ),
        ("zh", ["剩余磁盘可存：812 小时（33 天）", "! 回执：second：尚无", "! m<1>：power.active.l1 缺失：无应答"]),
    ],
)  # fmt: skip
def test_hours_of_buffer_receipts_and_what_is_missing(language, lines, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SUYUAN_LANG", language)
    with answering(said_by(status(*ROWS, **RECEIPTS))) as address:
        assert main(["status", address]) == 0
    told = capsys.readouterr().out
    for line in lines:
        assert line in told


def test_an_alarm_is_exit_code_1_and_json_is_what_the_gateway_said(capsys) -> None:
    shown = status(*ROWS, alarms=("low_disk",))
    with answering(said_by(shown)) as address:
        assert main(["status", address]) == 1
        assert "! Alarms: little disk space left" in capsys.readouterr().out
        assert main(["status", address, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(said_by(shown))


def test_what_is_no_gateway_is_told(capsys) -> None:
    with answering(b"<html>") as address:
        assert main(["status", address]) == 2
    assert "no gateway of this version answers there" in capsys.readouterr().err
    assert main(["status", "gateway:8475"]) == 2
    assert "http://" in capsys.readouterr().err
