"""Every command that runs until it is told to stop does stop, within a stated time, whatever does not answer it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from central.collect import Outcome
from evidence.record import Seal, decode
from gateway.cli import INTERRUPTED
from gateway.cli.collect import _collect
from gateway.cli.stopping import WITHIN_S, until, until_stopped
from gateway.cli.unread import LINES, UnreadHandler
from gateway.store import LogStore
from tests.rigs.stops import AT_ONCE, Silent, dumped, started, written

SOON = (
    "import gateway.cli.running as running\nfrom functools import partial\n"
    "running.until_stopped = partial(running.until_stopped, within_s=1.0)"
)
HANGING_LOOKUP = """
import socket, threading
real = socket.getaddrinfo
def look_up(host, *rest, **more):
    if host == "localhost":
        open(dump.name + ".hangs", "w").close()
        threading.Event().wait()
    return real(host, *rest, **more)
socket.getaddrinfo = look_up
"""
HANGING_DISK = """
import threading, gateway.store as store
real = store.LogStore.commit
def commit(self, *given):
    if os.path.exists(dump.name + ".stuck"):
        open(dump.name + ".hangs", "w").close()
        threading.Event().wait()
    return real(self, *given)
store.LogStore.commit = commit
"""


def served(port: int) -> socket.socket:
    """A connection to an agent, as soon as it serves."""
    while True:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), timeout=10)


def appears(path: Path) -> None:
    while not path.exists():
        threading.Event().wait(0.02)


def listens(site: Path) -> int:
    return int(site.read_text().split('listen = "127.0.0.1:')[1].split('"')[0])


def ended(site: Path, process: subprocess.Popen) -> tuple[int, str]:
    """How it ended, and what it said; where it is, if it did not."""
    try:
        code = process.wait(60)
    except subprocess.TimeoutExpired:
        where = dumped(site, process)
        process.kill()
        process.wait()
        pytest.fail(f"it goes on: {where}")
    talk = site.parent / "talk"
    return code, talk.read_text() if talk.exists() else ""


def last_record(site: Path):
    store = LogStore(site.parent / "data", "platform.example/gw/0001", ballast=0)
    try:
        return [decode(data) for _, data in store.entries(0)][-1]
    finally:
        store.close()


def test_peers_that_accept_and_say_nothing_hold_no_stop_up(tmp_path):
    """Platforms over HTTP and MQTT, a broker, an OPC UA server, a converter, a logger and readers of the page."""
    silent = Silent()
    site = written(
        tmp_path,
        **dict.fromkeys(("http", "mqtt_push", "mqtt", "opcua", "modbus"), silent.port),
    )
    logger = int(site.read_text().split("tcp-listen://127.0.0.1:")[1].split('"')[0])
    process = started(site, patch=AT_ONCE)
    kept, half = served(listens(site)), served(listens(site))
    kept.sendall(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n")
    assert kept.recv(12) == b"HTTP/1.1 200"
    half.sendall(b"POST /receipt HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nhalf")
    with kept, half, served(logger):
        silent.came.wait(30)
        process.send_signal(signal.SIGTERM)
        code, said = ended(site, process)
    silent.close()
    assert code == 0, said
    assert "checkpoint signed" in said
    assert "Traceback" not in said
    assert isinstance(last_record(site), Seal)


def test_a_lookup_that_does_not_return_is_left_behind_and_named(tmp_path):
    site = written(tmp_path)
    site.write_text(site.read_text().replace("opc.tcp://127.0.0.1", "opc.tcp://localhost"))
    process = started(site, patch=AT_ONCE + HANGING_LOOKUP)
    served(listens(site)).close()
    appears(tmp_path / "dump.hangs")
    process.send_signal(signal.SIGTERM)
    code, said = ended(site, process)
    assert code == 0, said
    assert "left behind, it does not end: thread worker_" in said
    assert "look_up" in said
    assert isinstance(last_record(site), Seal)


@pytest.mark.long
def test_a_disk_that_does_not_answer_ends_the_process_and_the_log_is_not_called_sealed(tmp_path):
    site = written(tmp_path)
    process = started(site, patch=AT_ONCE + HANGING_DISK + SOON)
    served(listens(site)).close()
    (tmp_path / "dump.stuck").touch()
    appears(tmp_path / "dump.hangs")
    process.send_signal(signal.SIGTERM)
    code, said = ended(site, process)
    assert code == 1, said
    assert "1 s after it was asked to stop" in said
    assert "thread log_0 in" in said
    assert "the log was not sealed" in said


def test_an_output_that_nobody_reads_keeps_nothing_from_the_log_and_its_seal(tmp_path):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    site = written(tmp_path)
    quiet = "import gateway.cli.running as running\nrunning.say = lambda text: None\n"  # what is said before it runs
    process = started(site, patch=AT_ONCE + quiet, stderr=writing)
    os.close(writing)
    served(listens(site)).close()
    process.send_signal(signal.SIGTERM)
    code, _ = ended(site, process)
    os.close(reading)
    assert code == 0
    assert isinstance(last_record(site), Seal)


def test_a_command_whose_loop_stands_still_is_ended_from_beside_it():
    """As by a print into a full pipe, in a process of its own: the verdict is its exit code."""
    program = (
        "import os, signal, time\nfrom gateway.cli.stopping import until_stopped\n"
        "async def stands(_):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(600)\n"
        "until_stopped(stands, lambda: 7, within_s=0.2)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7
    assert "main thread in stands" in done.stderr


def test_a_task_of_a_command_that_takes_no_cancellation_is_named_and_the_command_answers(capsys, monkeypatch):
    monkeypatch.setattr("gateway.cli.stopping._TASKS_S", 0.01)

    async def deaf():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def work(stopping):
        asyncio.get_running_loop().create_task(deaf(), name="deaf")
        await asyncio.sleep(0)
        return "answer"

    assert until_stopped(work) == "answer"
    assert "left behind, it does not end: task deaf" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_cancels_the_work_and_what_is_beside_it(number):
    ends = []

    async def waits(name):
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(name)

    async def work(stopping):
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        await until(stopping, waits("first"), waits("beside"))

    before = signal.getsignal(number)
    until_stopped(work)
    assert sorted(ends) == ["beside", "first"]
    assert signal.getsignal(number) is before


def test_what_fails_beside_the_work_is_raised():
    async def fails():
        raise OSError("taken")

    async def work(stopping):
        await until(stopping, asyncio.Event().wait(), fails())

    with pytest.raises(OSError, match="taken"):
        until_stopped(work)


def test_the_stated_bound_is_within_what_the_service_manager_gives():
    unit = (Path(__file__).parents[2] / "deploy/systemd/suyuan.service").read_text()
    given = float(unit.split("TimeoutStopSec=")[1].split()[0])
    assert given >= WITHIN_S + 5


def test_lines_that_find_no_room_are_counted_and_the_rest_is_written_in_order():
    import logging

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    handler = UnreadHandler(writing)
    lines = LINES + 50  # one may be with the writer
    for n in range(lines):
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, f"line {n}", (), None))
    read = b""
    while len(read) < filled or b"line 900\n" not in read:
        read += os.read(reading, 1 << 16)
    handler.emit(logging.LogRecord("a", logging.INFO, "", 0, "after", (), None))
    handler.finish(30)
    os.close(writing)
    while piece := os.read(reading, 1 << 16):
        read += piece
    os.close(reading)
    told = read[filled:].decode().splitlines()
    kept = [line for line in told if line.startswith("line ")]
    assert kept == [f"line {n}" for n in range(len(kept))]
    assert told[len(kept) :] == [
        f"({lines - len(kept)} lines before this one were dropped: the output was not read)",
        "after",
    ]


@pytest.mark.parametrize("command", ["run", "collect", "due"])
def test_an_interrupt_while_a_command_is_loading_is_quiet_and_ends_it_by_the_signal(command):
    program = (
        "import os, signal, sys\nfrom gateway.start import main\nimport gateway.cli as cli\n"
        "cli._module = lambda name: os.kill(os.getpid(), signal.SIGINT)\n"
        f"sys.argv = ['suyuan', {command!r}]\nsys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_an_interrupt_before_the_command_line_is_loaded_is_quiet_too():
    program = (
        "import os, signal, sys\n"
        "class Amid:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'gateway.cli':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Amid())\n"
        "from gateway.start import main\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


class Rounds:
    """A collector whose rounds go as told, then a stop is asked for."""

    def __init__(self, stop, *outcomes):
        self._stop, self._outcomes = stop, outcomes

    async def collect_forever(self, _every_s, report, _stop):
        for outcome in self._outcomes:
            report(outcome)
        self._stop()
        await asyncio.Event().wait()

    async def collect_once(self):
        self._stop()
        await asyncio.Event().wait()

    async def close(self):
        pass


WELL = Outcome("o", 0, 0, 0)
AWAY = Outcome("o", 0, 0, 0, error="no answer")
FORK = Outcome("o", 0, 0, 0, alarm="fork", error="another root hash")


@pytest.mark.parametrize(
    ("rounds", "code"),
    [((WELL,), 0), ((AWAY, WELL), 0), ((WELL, AWAY), 0), ((FORK,), 1), ((FORK, WELL), 0), ((WELL, FORK), 1)],
)
def test_collecting_that_is_stopped_says_whether_an_alarm_stands(rounds, code):
    def work(stopping):
        return _collect(Rounds(stopping.ask, *rounds), 1.0, None, None, stopping, as_json=True)

    assert until_stopped(work) == code


def test_a_single_round_that_is_interrupted_is_not_done():
    def work(stopping):
        return _collect(Rounds(stopping.ask), None, None, None, stopping, as_json=True)

    assert until_stopped(work) == INTERRUPTED
