"""`suyuan platform`: from an empty database to collected, handed on and answered, by commands alone."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import httpx
import pytest

from gateway.cli import main
from gateway.keys import create
from sim.ports import free_port
from tests.central.serving import serving
from tests.evidence.logs import Writer
from tests.rigs import engines


@pytest.fixture(scope="module")
def server():
    with engines.postgres() as running:
        yield running


@pytest.fixture
def url(server, monkeypatch):
    found = server.database()
    monkeypatch.setenv("SUYUAN_DATABASE", found)
    return found


@pytest.fixture
def fleet(tmp_path):
    with ExitStack() as stack:
        writers = [Writer(f"platform.example/gw/{n}", n).grow(120) for n in range(3)]
        served = [stack.enter_context(serving(writer.files())) for writer in writers]
        lines = [f"{w.signer.verifier.vkey} {s.url}" for w, s in zip(writers, served, strict=True)]
        (tmp_path / "gateways.txt").write_text("# ours\n" + "\n".join(lines) + "\n")
        yield writers, served


def told(capsys, *arguments):
    code = main(["platform", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_enrolled_collected_acknowledged_and_handed_on(url, fleet, tmp_path, capsys):
    _, served = fleet
    key = tmp_path / "platform.key"
    create(key, "platform.example/receipts", receipts=True)
    assert told(capsys, "prepare") == (0, {"ready": True, "gateways": 0})
    assert told(capsys, "enrol", str(tmp_path / "gateways.txt")) == (0, {"enrolled": 3})
    assert told(capsys, "work", "--sign", str(key), "--once") == (0, {"collected": 3})
    assert [len(s.receipts) for s in served] == [1, 1, 1]
    with engines.nats() as broker:
        code, first = told(capsys, "publish", broker, "--once")
        assert code == 0
        assert first["published"] > 250
        assert told(capsys, "publish", broker, "--once") == (0, {"published": 0})


def test_questions_are_answered_until_it_is_stopped(url, fleet, tmp_path):
    main(["platform", "enrol", str(tmp_path / "gateways.txt")])
    main(["platform", "work", "--once"])
    port = free_port()
    command = [sys.executable, "-m", "gateway.cli", "platform", "ask", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, env=dict(os.environ))
    try:
        engines.answers(port, process)
        gateways = httpx.get(f"http://127.0.0.1:{port}/v1/gateways").json()
        assert [g["size"] for g in gateways] == [120, 120, 120]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_an_address_for_questions_that_is_taken_is_told_in_words(url, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["platform", "ask", address]) == 2
    assert f"{address}: Address already in use" in capsys.readouterr().err


def hold_three(store):
    while [g.size for g in store.gateways()] != [120, 120, 120]:
        time.sleep(0.02)


async def test_a_worker_goes_on_until_it_is_stopped(url, fleet, tmp_path):
    main(["platform", "enrol", str(tmp_path / "gateways.txt")])
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway.cli", "platform", "work")
    try:
        from central.postgres import PostgresStore

        with PostgresStore(url) as store:
            await asyncio.to_thread(hold_three, store)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["enrol", "{file}"], "line 1"),
        (["ask", "0.0.0.0:1"], "--tokens"),
        (["ask", "1"], "HOST:PORT"),
        (["work", "--sign", "{log_key}"], "--receipts"),
        (["publish", "nats://127.0.0.1:{port}", "--once"], "nats://127"),
    ],
)
def test_wrong_use_is_told_in_words(url, tmp_path, capsys, arguments, why):
    (tmp_path / "wrong").write_text("no key\n")
    create(tmp_path / "log.key", "platform.example/gw")
    places = {"file": tmp_path / "wrong", "log_key": tmp_path / "log.key", "port": free_port()}
    assert main(["platform", *(text.format(**places) for text in arguments)]) == 2
    assert why in capsys.readouterr().err


def test_a_database_that_is_not_there_is_told_in_words(monkeypatch, capsys):
    monkeypatch.delenv("SUYUAN_DATABASE", raising=False)
    assert main(["platform", "prepare"]) == 2
    assert "SUYUAN_DATABASE" in capsys.readouterr().err
    assert main(["platform", "prepare", "--database", f"postgresql://x@127.0.0.1:{free_port()}/x"]) == 2
    assert "cannot be used" in capsys.readouterr().err
