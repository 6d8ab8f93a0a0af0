"""From nothing to a receipt by the commands of ``deploy/platform/README.md``: authority, broker, enrolment, front."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from central.postgres import PostgresStore
from evidence import record
from sim.ports import free_port
from tests.rigs import engines
from tests.rigs.broker import ABSENT, MOSQUITTO

ROOT = Path(__file__).parent.parent.parent
HERE = ROOT / "deploy" / "platform"
ORIGIN = "platform.example/gw/0001"
LONG = "platform.example/" + "aluminium-smelter/potline-3/" * 3 + "gw/0001"  # its common name is a digest
PATIENCE_S = 40


def suyuan(directory: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gateway.cli", *map(str, arguments)],
        cwd=directory, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
    )  # fmt: skip
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done


@contextmanager
def started(directory: Path, name: str, *command: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process, until the end; what it says stands in a file of that name."""
    with (directory / name).open("wb") as said:
        process = subprocess.Popen(
            list(map(str, command)), cwd=directory, stdout=said, stderr=said,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def until(true, why):
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends, why()
        time.sleep(0.05)


def broker_configuration(place: Path, outside: int, inside: int) -> Path:
    """The shipped one: only paths, ports and the account are this machine's."""
    text = (HERE / "mosquitto.conf").read_text(encoding="utf-8")
    replaced = {
        "/run/secrets": place / "secrets", "/mosquitto/config": HERE, "/mosquitto/data": place,
        "listener 8883": f"listener {outside} 127.0.0.1", "listener 1883": f"listener {inside} 127.0.0.1",
    }  # fmt: skip
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, str(new))
    (place / "mosquitto.conf").write_text("user root\n" + text, encoding="utf-8")
    return place / "mosquitto.conf"


@pytest.mark.skipif(MOSQUITTO is None, reason=ABSENT)
@pytest.mark.parametrize("origin", [ORIGIN, pytest.param(LONG, marks=pytest.mark.long)])
def test_a_gateway_that_enrolled_pushes_through_the_shipped_broker_and_gets_its_receipt(tmp_path, origin):
    place, box = tmp_path / "platform", tmp_path / "box"
    box.mkdir()
    (place / "secrets").mkdir(parents=True)
    secrets = place / "secrets"
    door, outside, inside = free_port(), free_port(), free_port()
    mute = socket.create_server(("127.0.0.1", 0))  # a meter that takes the connection and never answers

    # the platform's operator
    suyuan(place, "platform", "ca", "new", "--store", ".", "--name", "Smelter")
    issue = ("platform", "ca", "issue")
    suyuan(
        place, *issue, "server.pem", "--store", ".", "--name", "platform.example", "--address", "127.0.0.1"
    )
    suyuan(place, *issue, "secrets/broker-key", "--store", ".", "--name", "broker", "--address", "127.0.0.1")
    (secrets / "broker-certificate").write_bytes((secrets / "broker-key").read_bytes())
    (secrets / "broker-clients").write_bytes((place / "ca" / "gateways-ca.pem").read_bytes())
    (secrets / "broker-revoked").write_bytes((place / "ca" / "gateways-ca.crl").read_bytes())
    made = suyuan(
        place, "key", "new", "secrets/platform.key", "--name", "platform.example/receipts", "--receipts"
    )
    vkey = made.stdout.split()[-1]
    (place / "policy").write_text(f"witness centre {vkey}\nquorum centre\n", encoding="utf-8")
    (secrets / "front-password").write_text("front:wordless\n", encoding="utf-8")
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", secrets / "broker-passwords", "front", "wordless"], check=True
    )

    # the gateway's technician
    (box / "platform-ca.pem").write_bytes((place / "ca" / "platform-ca.pem").read_bytes())
    (box / "site.toml").write_text(
        f'[site]\nname = "Potline 3"\norigin = "{origin}"\n[log]\ncheckpoint = "1s"\n'
        f'[enrolment]\nurl = "https://127.0.0.1:{door}"\nca = "platform-ca.pem"\n'
        f'[[platform]]\nname = "centre"\npush = "mqtts://127.0.0.1:{outside}"\n'
        f'[[bus]]\nname = "line"\nprotocol = "modbus-tcp"\nport = "tcp://127.0.0.1:{mute.getsockname()[1]}"\n'
        'timeout = "200ms"\n'
        '[[bus.instrument]]\nid = "meter-1"\naddress = "1"\nprofile = "chint-dtsu666"\nperiod = "1s"\n',
        encoding="utf-8",
    )
    python = (sys.executable, "-P", "-m", "gateway.cli")
    with mute, ExitStack() as stack:
        at = stack.enter_context
        server = at(engines.postgres())
        url = server.database()
        at(started(place, "said-door", *python, "gateways", "serve", f"127.0.0.1:{door}", "--store", ".",
                   "--certificate", "server.pem"))  # fmt: skip
        until(lambda: str(door) in (place / "said-door").read_text(), (place / "said-door").read_text)
        asked = suyuan(box, "enrol", "site.toml", "--once", code=1)
        fingerprint = re.search(r"(?:[0-9a-f]{4} ){4}[0-9a-f]{4}", asked.stderr)
        assert fingerprint is not None, asked.stderr
        suyuan(place, "gateways", "approve", origin, "--store", ".", "--fingerprint", fingerprint[0])
        suyuan(box, "enrol", "site.toml", "--once")
        config = broker_configuration(place, outside, inside)
        broker = at(started(place, "said-broker", MOSQUITTO, "-c", config))
        engines.answers(outside, broker)
        front = at(started(
            place, "said-front", *python, "collect", "--listen", "127.0.0.1:0", "--certificate", "server.pem",
            "--clients", "ca/gateways-ca.pem", "--store", ".", "--database", url, "--gateways", "gateways",
            "--sign", "secrets/platform.key", "--broker", f"mqtt://127.0.0.1:{inside}",
            "--broker-password", "secrets/front-password", "--share", "front",
        ))  # fmt: skip
        until(lambda: "127.0.0.1" in (place / "said-front").read_text(), (place / "said-front").read_text)
        agent = at(started(box, "said-agent", *python, "run", "site.toml"))

        def words():
            return "\n".join(path.read_text() for path in [*place.glob("said-*"), *box.glob("said-*")])

        store = at(PostgresStore(url, connections=1))

        def told_back():
            """Whether a seal of the gateway, stored here, names a receipt: it came back to the box."""
            assert agent.poll() is None, words()
            known = store.known(origin)
            entries = [] if known is None else map(record.decode, store.entries(known))
            return any(isinstance(each, record.Seal) and each.receipt is not None for each in entries)

        until(told_back, words)
        assert front.poll() is None
    assert "Traceback" not in words()
