"""The meter of the PyPI package dlt645 in its own process.

Usage: serve_dlt645.py tcp|serial PORT WIRE_ADDRESS. PORT is a serial device, or 0 for any free TCP port.
WIRE_ADDRESS is hex in the order of the wire: the package does not reverse it. Says "ready PORT" when it serves.
"""

from __future__ import annotations

import sys
import threading

from dlt645 import MeterServerService, disable_logging

ENERGY_KWH = {0x00000000: 1234.56, 0x00010000: 123456.78, 0x00020000: 0.12}
VOLTS = {0x02010100: 230.1, 0x02010200: 229.8, 0x02010300: 231.4}
AMPERES = {0x02020100: 12.345, 0x02020200: -1.5, 0x02020300: 0.0}
KILOWATTS = {0x02030000: 8.1234, 0x02030100: -0.2687}


def main(kind: str, port: str, wire_address: str) -> None:
    disable_logging()
    if kind == "serial":
        meter = MeterServerService.new_rtu_server(port, 8, 1, 9600, "N", 1.0)
    else:
        meter = MeterServerService.new_tcp_server("127.0.0.1", int(port), 60.0)
    meter.set_address(bytes.fromhex(wire_address))
    for item, value in ENERGY_KWH.items():
        assert meter.set_00(item, value)
    for item, value in (VOLTS | AMPERES | KILOWATTS).items():
        assert meter.set_02(item, value)
    assert meter.start()
    print("ready", port if kind == "serial" else meter.server.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:4])
