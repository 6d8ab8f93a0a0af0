"""Questions to the small platform: its SQLite file is one process's, so that one answers, a collector or not."""

import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from central.store import Store
from gateway.cli import main
from sim.ports import free_port
from tests.central.serving import serving
from tests.evidence.logs import Writer
from tests.rigs import engines

LOG = Writer("platform.example/gw/0001").grow(200)
KEPT = ("--key", "{key}", "--store", "{directory}")
M1 = f"{LOG.origin}::M1"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A platform's directory with one gateway's log in it, as a collector leaves it."""
    made = tmp_path_factory.mktemp("platform")
    with serving(LOG.files()) as served:
        assert main(["collect", served.url, "--key", LOG.signer.verifier.vkey, "--store", str(made)]) == 0
    return made


def answered(command, port):
    """Start it, ask it how far the gateways are and for a file, stop it; both answers and the exit code."""
    process = subprocess.Popen([sys.executable, "-m", "gateway.cli", *command], stderr=subprocess.PIPE)
    try:
        engines.answers(port, process)
        url = f"http://127.0.0.1:{port}/v1"
        sizes = [g["size"] for g in httpx.get(f"{url}/gateways").json()]
        file = httpx.get(f"{url}/readings", params={"instrument": M1, "format": "csv"}).text
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    return sizes, file, process.returncode, said.decode()


def test_a_collectors_directory_answers_without_a_database(directory):
    port = free_port()
    command = ["platform", "ask", f"127.0.0.1:{port}", "--store", str(directory)]
    sizes, file, code, said = answered(command, port)
    assert sizes == [LOG.size]
    assert len(file.splitlines()) > 100
    assert (code, said) == (0, "")


def test_a_collector_at_work_answers_meanwhile(directory):
    port = free_port()
    with serving(LOG.files()) as served:
        pull = ["collect", served.url, "--key", LOG.signer.verifier.vkey, "--store", str(directory)]
        sizes, _, code, _ = answered([*pull, "--every", "1h", "--ask", f"127.0.0.1:{port}"], port)
    assert (sizes, code) == ([LOG.size], 0)


def test_so_does_one_that_listens(directory, tmp_path):
    key = tmp_path / "platform.key"
    assert main(["key", "new", str(key), "--name", "platform.example/receipts", "--receipts"]) == 0
    (directory / "gateways").write_text(LOG.signer.verifier.vkey + "\n")
    port = free_port()
    listen = ["collect", "--listen", "127.0.0.1:0", "--plain", "--store", str(directory), "--sign", str(key)]
    sizes, _, code, _ = answered([*listen, "--ask", f"127.0.0.1:{port}"], port)
    assert (sizes, code) == ([LOG.size], 0)


def test_a_store_that_a_collector_has_open_says_the_way_on(directory, capsys):
    with Store(directory):
        assert main(["platform", "ask", "127.0.0.1:1", "--store", str(directory)]) == 2
    assert re.search(r"another process.* --ask HOST:PORT", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (["platform", "ask", "127.0.0.1:1", "--store", "nothing"], "no collector has stored anything there"),
        (["platform", "ask", "0.0.0.0:1", "--store", "{directory}"], "--tokens"),
        (["platform", "ask", "{taken}", "--store", "{directory}"], "Address already in use"),
        (["collect", "http://x", *KEPT, "--ask", "[::1]:1"], "--every"),
        (["collect", "http://127.0.0.1:1", "--every", "1h", *KEPT, "--ask", "{taken}"], "Address already in use"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_told_in_words(directory, monkeypatch, tmp_path, capsys, ask, why):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        places = {"directory": directory, "taken": at, "key": LOG.signer.verifier.vkey}
        assert main([text.format(**places) for text in ask]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()
