"""Our simulated IEC 62056-21 meter read by a client that this project did not write, and its messages by our codec."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
import serial
from iec62056_21 import messages
from iec62056_21.client import Iec6205621Client
from iec62056_21.transports import SerialTransport

from drivers import iec62056, iec62056_reading
from sim.iec62056_meter import sealed
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

pytestmark = pytest.mark.peer


class Port(SerialTransport):  # type: ignore[misc]
    """Its serial transport on a pseudo-terminal, which has eight bits and no parity, whatever is asked."""

    def connect(self) -> None:
        self.port = serial.Serial(self.port_name, 300, timeout=self.timeout / 2)

    def switch_baudrate(self, baud: int) -> None:
        self.port.baudrate = baud


@pytest.mark.timeout(60)
async def test_its_client_reads_the_simulated_meter_and_takes_over_its_rate(tmp_path: Path) -> None:
    meter = SimMeter("m", "", "iskra-mt174", number="0012345678")
    # The client rests before it sets its port to the new rate: a meter that answers sooner is not understood.
    bus = SimBus("head", "iec62056-21", str(tmp_path / "head"), (meter,), reply_ms=600)
    site = SimSite(SimSiteSpec(1, (bus,)))
    await site.start()
    client = Iec6205621Client(transport=Port(site.ports["head"]))

    def read() -> messages.AnswerDataMessage:
        client.connect()
        try:
            client.startup()
            client.ack_with_option_select("readout")
            client.transport.switch_baudrate(client.switchover_baudrate)
            return messages.ReadoutDataMessage.from_bytes(client.transport.read())
        finally:
            client.disconnect()

    try:
        before = site.indications("m", site._now_us()).values["energy.active.import"]
        told = await asyncio.to_thread(read)
        after = site.indications("m", site._now_us()).values["energy.active.import"]
    finally:
        await site.stop()
    assert (client.manufacturer_id, client.switchover_baudrate) == ("ISk", 9600)
    found = {data.address: data for line in told.data_block.data_lines for data in line.data_sets}
    assert found["1-0:C.1.0*255"].value == "12345678"
    energy = found["1-0:1.8.0*255"]
    assert energy.unit == "kWh"
    assert before <= Decimal(energy.value) <= after


def test_both_write_the_same_messages() -> None:
    assert messages.RequestMessage("12345678").to_bytes() == iec62056.sign_on("12345678")
    assert messages.AckOptionSelectMessage("5", "0").to_bytes() == iec62056.select("5")
    assert messages.RequestMessage("").to_bytes() == iec62056_reading.encode(iec62056_reading.Request(""))


def test_a_readout_written_by_it_is_read_and_sealed_alike() -> None:
    lines = [
        messages.DataLine([messages.DataSet(value=value, address=address, unit=unit)])
        for address, value, unit in (("1.8.0", "000123.456", "kWh"), ("C.1.0", "12345678", None))
    ]
    made = messages.ReadoutDataMessage(messages.DataBlock(lines)).to_bytes()
    assert made == sealed("1.8.0(000123.456*kWh)\r\nC.1.0(12345678)\r\n!\r\n")
    (frame,) = iec62056.Decoder().feed(made)
    assert isinstance(frame, iec62056.Frame)
    told = {one.address: (one.value, one.unit) for one in iec62056.data_sets(frame.text)}
    assert told == {"1.8.0": ("000123.456", "kWh"), "C.1.0": ("12345678", "")}
