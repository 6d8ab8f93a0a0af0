"""Our simulated DLMS meters read by a client that this project did not write, and its frames by our codec."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from drivers import axdr, dlms_get, dlms_reading
from drivers.dlms import Attribute
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

pytestmark = pytest.mark.peer

HERE = Path(__file__).parent
FOLDER = Path(sys.prefix) / "peers"
"""Where setup.sh puts it: not among our packages, because it brings one that is named ``tests``."""
ITEMS = (
    "3/1-0:1.8.0/3",
    "3/1-0:1.8.0/2",
    "3/1-0:32.7.0/3",
    "3/1-0:32.7.0/2",
    "1/0-0:96.1.0/2",
    "8/0-0:1.0.0/2",
    "3/1-0:99.8.0/2",
)


@pytest.fixture(autouse=True)
def installed() -> None:
    if not (FOLDER / "dlms_cosem").is_dir():
        pytest.skip("dlms-cosem is not installed (requirements/setup.sh test)")


def read(*arguments: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    command = [sys.executable, str(HERE / "read_dlms_cosem.py"), *arguments, *ITEMS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("password", ["", "12345678"])
@pytest.mark.parametrize(("kind", "protocol"), [("hdlc", "dlms-hdlc"), ("wrapper", "dlms-wrapper")])
async def test_its_client_reads_the_simulated_meter(
    tmp_path: Path, kind: str, protocol: str, password: str
) -> None:
    address = "1/17" if kind == "hdlc" else "1"
    meter = SimMeter("m", address, "dlms-three-phase", number="202600000011", password=password)
    port = str(tmp_path / "line") if kind == "hdlc" else "tcp://127.0.0.1:0"
    site = SimSite(SimSiteSpec(1, (SimBus("b", protocol, port, (meter,), reply_ms=2),)))
    await site.start()
    where = ("hdlc", site.ports["b"], "1", "17")
    if kind == "wrapper":
        host, _, number = site.ports["b"].removeprefix("tcp://").rpartition(":")
        where = ("wrapper", host, number, "1")
    try:
        before = site.indications("m", site._now_us()).values["energy.active.import"]
        told = await asyncio.to_thread(read, *where, password or "-")
        after = site.indications("m", site._now_us()).values["energy.active.import"]
    finally:
        await site.stop()
    data = [axdr.Reader(bytes.fromhex(text)).value() for text in told[:-1]]
    assert axdr.scaler_unit(data[0]) == (1, "Wh")
    assert data[1].number is not None
    assert before <= data[1].number.scaleb(1 - 3) <= after
    assert axdr.scaler_unit(data[2]) == (-1, "V")
    assert data[3].number is not None
    assert Decimal(180) < data[3].number.scaleb(-1) < Decimal(260)
    assert data[4].text == "202600000011"
    assert axdr.moment(data[5].raw) is not None
    assert told[-1].startswith("OBJECT_UNDEFINED")


def parsed(*lines: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    command = [sys.executable, str(HERE / "parse_dlms_cosem.py")]
    done = subprocess.run(
        command,
        input="\n".join(lines),
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_our_client_says_is_read_by_it_as_it_was_meant() -> None:
    one = Attribute(4, "1-0:1.6.0", 2)
    assert parsed(
        f"aarq {dlms_get.associate(None).hex()}",
        f"aarq {dlms_get.associate(b'12345678').hex()}",
        f"get {dlms_get.get(5, one).hex()}",
        f"next {dlms_get.next_block(5, 3).hex()}",
    ) == [
        "none ciphered=False block_transfer_with_get_or_read+get 65535",
        "LLS ciphered=False block_transfer_with_get_or_read+get 65535",
        "4 1-0:1.6.0.255 2 5",
        "3 5",
    ]


def test_our_clients_frames_are_its_frames_byte_for_byte() -> None:
    first = dlms_reading.request("1/17", "1-0:1.8.0+1-0:2.8.0", wrapped=False)
    get = replace(first, stage=dlms_reading.Stage.GET, at=1, send=5, receive=7)
    short = replace(get, longest=9)
    assert parsed(
        "disc",
        "rr 07",
        f"i 050700{get.information.hex()}",
        f"i 050701{short.information.hex()}",
    ) == [
        dlms_reading.encode(dlms_reading.closing(first)).hex(),
        dlms_reading.encode(replace(get, poll=True)).hex(),
        dlms_reading.encode(get).hex(),
        dlms_reading.encode(short).hex(),
    ]
