"""`suyuan run` begins and ends in words: what is in its way is told with its place, and never as a stack trace."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from evidence.note import Ed25519Signer, SignerUnavailable
from gateway import keys
from gateway.cli import decode, main
from gateway.keys import KeyFileError, create
from gateway.store import LogStore
from sim.background import in_background
from sim.ports import free_port
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

SITE = """\
[site]
name = "Mill"
origin = "platform.example/gw/0001"

[log]
commit = "20ms"
checkpoint = "60ms"

[serve]
listen = "127.0.0.1:{listen}"
"""
BUS = """
[[bus]]
name = "{name}"
protocol = "modbus-tcp"
port = "tcp://127.0.0.1:{port}"
timeout = "500ms"
retries = 0

[[bus.instrument]]
id = "{name}-meter"
address = "1"
profile = "eastron-sdm630"
period = "500ms"
measurands = ["energy.active.import"]
"""


@pytest.fixture
def meter():
    """The port at which a meter answers."""
    port = free_port()
    meters = (SimMeter("a", "1", "eastron-sdm630"),)
    with in_background(
        SimSite(SimSiteSpec(1, (SimBus("a", "modbus-tcp", f"tcp://127.0.0.1:{port}", meters),)))
    ):
        yield port


def site(tmp_path: Path, listen: int, **buses: int) -> str:
    path = tmp_path / "site.toml"
    path.write_text(
        SITE.format(listen=listen) + "".join(BUS.format(name=n, port=p) for n, p in buses.items())
    )
    return str(path)


def stop_when_read(listen: int, seen: dict[str, dict]) -> threading.Thread:
    """Ends the agent of this process when every instrument was read or missed."""

    def look() -> None:
        while not all(one["received"] or one["missed"] for one in seen.values()) or not seen:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{listen}/status", timeout=5) as answer:
                    seen.update({one["instrument"]: one for one in json.load(answer)["instruments"]})
            except OSError:
                continue
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    return thread


def test_an_address_that_is_taken_is_told_with_its_place_and_nothing_is_written(tmp_path, meter, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = site(tmp_path, taken.getsockname()[1], mill=meter)
        assert main(["run", path]) == 2
    told = capsys.readouterr().err
    assert "site.toml:10:10: serve.listen" in told
    assert "Address already in use" in told
    assert not (tmp_path / "data" / "log.db").exists()


def test_a_port_that_cannot_be_opened_keeps_no_other_instrument_from_being_read(tmp_path, meter, capsys):
    listen, seen = free_port(), {}
    path = site(tmp_path, listen, dark=free_port(), mill=meter)
    stopping = stop_when_read(listen, seen)
    assert main(["run", path]) == 0
    stopping.join()
    assert seen["mill-meter"]["received"] > 0
    assert (seen["dark-meter"]["received"], seen["dark-meter"]["missed"] > 0) == (0, True)
    assert "site.toml:15:8: bus.0.port" in capsys.readouterr().err


def test_a_log_of_another_origin_is_told_and_the_answer_is_no(tmp_path, meter, capsys):
    path = site(tmp_path, free_port(), mill=meter)
    assert main(["key", "new", str(tmp_path / "data" / "log.key"), "--name", "platform.example/gw/0001"]) == 0
    LogStore(tmp_path / "data", "platform.example/gw/0002", ballast=0).close()
    assert main(["run", path]) == 1
    assert "platform.example/gw/0002" in capsys.readouterr().err


def test_what_went_wrong_in_several_tasks_is_told_each_once(monkeypatch, capsys):
    def failed(_name, _given):
        lost = OSError(errno.ENOSPC, "No space left on device", "data/log.key")
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [lost]), lost, KeyFileError("log.key: gone")])

    monkeypatch.setattr(decode, "run", failed)
    assert main(["decode", "modbus-tcp", "00"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "data/log.key" in told[0]
    assert told[1] == "suyuan decode: log.key: gone"


def test_a_bug_among_them_is_no_users_mistake(monkeypatch):
    def failed(_name, _given):
        raise ExceptionGroup("tasks", [OSError(errno.ENOSPC, "full"), ZeroDivisionError()])

    monkeypatch.setattr(decode, "run", failed)
    with pytest.raises(ExceptionGroup):
        main(["decode", "modbus-tcp", "00"])


def test_a_key_that_could_not_be_written_whole_is_not_there(tmp_path, monkeypatch):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(keys.os, "fsync", full)
        with pytest.raises(KeyFileError, match="No space left"):
            create(tmp_path / "log.key", "platform.example/gw/0001")
    assert list(tmp_path.iterdir()) == []
    made = create(tmp_path / "log.key", "platform.example/gw/0001")
    assert keys.load(tmp_path / "log.key").vkey == made.vkey


def test_what_is_not_signed_at_the_end_is_not_called_signed(tmp_path, meter, monkeypatch, capsys):
    def away(_signer, _message: bytes) -> bytes:
        raise SignerUnavailable("the token does not answer")

    listen = free_port()
    path = site(tmp_path, listen, mill=meter)
    monkeypatch.setattr(Ed25519Signer, "sign", away)
    stopping = stop_when_read(listen, {})
    assert main(["run", path]) == 0
    stopping.join()
    assert "a checkpoint over 0 of them" in capsys.readouterr().err


def interrupted(code: str) -> tuple[int, str]:
    """How a process ends that interrupts itself as the code says, and what it prints of it."""
    program = f"import os, signal, sys, gateway.cli as cli\nsys.argv = ['suyuan', 'run', 'site.toml']\n{code}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stderr


def test_an_interrupt_during_the_start_ends_it_without_a_trace():
    start = "cli._answer = lambda argv: os.kill(os.getpid(), signal.SIGINT)\nsys.exit(cli.main())"
    assert interrupted(start) == (-signal.SIGINT, "")


def test_an_interrupt_after_the_end_changes_nothing():
    end = (
        "cli._answer = lambda argv: 1\ncode = cli.main()\nos.kill(os.getpid(), signal.SIGINT)\nsys.exit(code)"
    )
    assert interrupted(end) == (1, "")
