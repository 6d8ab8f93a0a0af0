"""The small platform as its units start it, under the system calls that they leave it: a gateway enrols and pushes."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from central.store import Store
from evidence import record
from sim.ports import free_port

UNITS = Path(__file__).parent.parent / "deploy" / "systemd"
ROOT = Path(__file__).parent.parent
ORIGIN = "platform.example/gw/1"
SUYUAN = (sys.executable, "-P", "-m", "gateway.cli")
PATIENCE_S = 40.0

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="Debian package systemd")


def suyuan(place: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [*SUYUAN, *words], cwd=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stderr + done.stdout


def started_by(unit: str, place: Path, listen: str) -> list[str]:
    """The unit's command in its filter of system calls, its directory being this one."""
    path = UNITS / unit
    (start,) = re.findall("^ExecStart=/opt/suyuan/bin/suyuan (.*)$", path.read_text(), re.MULTILINE)
    given = {"/var/lib/suyuan-platform": str(place), "${LISTEN}": listen, "$OPTIONS": ""}
    for old, new in given.items():
        start = start.replace(old, new)
    return [sys.executable, "-m", "tests.rigs.syscall_jail", str(path), *SUYUAN, *shlex.split(start)]


@contextmanager
def running(command: list[str], said: Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=cwd, env=paths)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def until(true: Callable[[], bool], why: Callable[[], str]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends, why()
        time.sleep(0.05)


def set_up(place: Path) -> None:
    """As deploy/systemd/README.md has it."""
    suyuan(place, "platform", "ca", "new", "--store", ".", "--name", "Smelter")
    issue = ("platform", "ca", "issue", "server.pem", "--store", ".", "--name", "platform")
    suyuan(place, *issue, "--address", "127.0.0.1")
    made = suyuan(place, "key", "new", "platform.key", "--name", "platform.example/receipts", "--receipts")
    (place / "policy").write_text(f"witness centre {made.split()[-1]}\nquorum centre\n")


@pytest.mark.parametrize(
    ("unit", "says"),
    [("suyuan-door.service", "gateways enrol at"), ("suyuan-platform.service", "listening at")],
)
def test_a_service_stands_up_under_its_unit(tmp_path: Path, unit: str, says: str) -> None:
    set_up(tmp_path)
    port, said = free_port(), tmp_path / "said"
    with running(started_by(unit, tmp_path, f"127.0.0.1:{port}"), said, ROOT) as process:
        until(lambda: process.poll() is not None or says in said.read_text(), said.read_text)
        assert answers(port), said.read_text()
    assert "Traceback" not in said.read_text()


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def acknowledged(port: int) -> bool:
    """Whether a receipt has come back to the agent."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
            return any(receipt["size"] > 0 for receipt in json.load(answer)["receipts"])
    except OSError:
        return False


@pytest.mark.long
def test_a_gateway_enrols_at_the_door_and_pushes_to_the_platform_until_it_is_suspended(
    tmp_path: Path,
) -> None:
    place, box = tmp_path / "platform", tmp_path / "box"
    box.mkdir()
    place.mkdir()
    door, platform, status = free_port(), free_port(), free_port()
    set_up(place)
    (box / "platform-ca.pem").write_bytes((place / "ca" / "platform-ca.pem").read_bytes())
    mute = socket.create_server(("127.0.0.1", 0))  # a meter that takes the connection and never answers
    (box / "site.toml").write_text(
        f'[site]\nname = "Mill"\norigin = "{ORIGIN}"\n[log]\ncheckpoint = "1s"\n'
        f'[serve]\nlisten = "127.0.0.1:{status}"\n'
        f'[enrolment]\nurl = "https://127.0.0.1:{door}"\nca = "platform-ca.pem"\n'
        f'[[platform]]\nname = "centre"\npush = "https://127.0.0.1:{platform}"\n'
        f'[[bus]]\nname = "line"\nprotocol = "modbus-tcp"\nport = "tcp://127.0.0.1:{mute.getsockname()[1]}"\n'
        'timeout = "200ms"\n[[bus.instrument]]\nid = "meter-1"\naddress = "1"\nprofile = "chint-dtsu666"\n'
        'period = "1s"\n',
        encoding="utf-8",
    )

    def words() -> str:
        return "\n".join(path.read_text() for path in sorted(tmp_path.glob("said-*")))

    def shown(certificate: Path) -> subprocess.CompletedProcess[bytes]:
        """What the platform answers to who shows this certificate."""
        return subprocess.run(
            ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{platform}", "-verify_return_error",
             "-CAfile", place / "ca/platform-ca.pem", "-cert", certificate, "-key", certificate],
            input=b"GET /x/checkpoint HTTP/1.1\r\nhost: platform\r\nconnection: close\r\n\r\n",
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    with mute, ExitStack() as stack:
        at = stack.enter_context
        at(
            running(
                started_by("suyuan-door.service", place, f"127.0.0.1:{door}"), tmp_path / "said-door", ROOT
            )
        )
        until(lambda: f":{door}" in words(), words)
        asked = suyuan(box, "enrol", "site.toml", "--once", code=1)
        (fingerprint,) = re.findall(r"(?:[0-9a-f]{4} ){4}[0-9a-f]{4}", asked)
        command = started_by("suyuan-platform.service", place, f"127.0.0.1:{platform}")
        with running(command, tmp_path / "said-platform", ROOT) as taking:
            until(lambda: f":{platform}" in words(), words)
            with running([*SUYUAN, "run", "site.toml"], tmp_path / "said-agent", box) as agent:
                until(lambda: answers(status), words)
                suyuan(place, "gateways", "approve", ORIGIN, "--store", ".", "--fingerprint", fingerprint)
                suyuan(box, "enrol", "site.toml", "--once")
                # the agent that runs takes it up by itself
                until(lambda: agent.poll() is None and acknowledged(status), words)
                identity = box / "data" / "enrolment" / "identity.pem"
                assert b"404 Not Found" in shown(identity).stdout
                said = suyuan(place, "gateways", "suspend", ORIGIN, "--store", ".")
                assert "gateways-ca.crl" in said
                refused = shown(identity)  # asyncio closes without telling why
                assert refused.stdout == b""
            assert taking.poll() is None
    with Store(place) as store:
        (log,) = store.gateways()
        assert (log.origin, log.alarm) == (ORIGIN, "")
        assert isinstance(record.decode(next(iter(store.entries(log)))), record.Genesis)
    assert "Traceback" not in words()
