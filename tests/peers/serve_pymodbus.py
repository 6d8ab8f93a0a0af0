"""A pymodbus server in its own process: every holding register holds its own address.

Usage: serve_pymodbus.py tcp|rtu-tcp|serial PORT [LATE_S]. PORT is a serial device, or 0 for any free TCP port.
With LATE_S the first answer waits so long; all others follow in order. Says "ready PORT" when it serves.
"""

from __future__ import annotations

import asyncio
import sys
import time

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 8000


async def main(kind: str, port: str, late_s: float) -> None:
    answers = 0

    def trace(sending: bool, data: bytes) -> bytes:
        nonlocal answers
        if sending:
            answers += 1
            if answers == 1 and late_s:
                time.sleep(late_s)  # the whole server waits: a meter answers in order
        return data

    own_address = SimData(0, values=list(range(REGISTERS)), datatype=DataType.REGISTERS)
    devices = [SimDevice(unit, simdata=[own_address]) for unit in (1, 2)]
    if kind == "serial":
        server = ModbusSerialServer(
            devices, framer=FramerType.RTU, port=port, baudrate=9600, trace_packet=trace
        )
        await server.serve_forever(background=True)
        print("ready", port, flush=True)
    else:
        framer = FramerType.SOCKET if kind == "tcp" else FramerType.RTU
        server = ModbusTcpServer(devices, framer=framer, address=("127.0.0.1", int(port)), trace_packet=trace)
        await server.serve_forever(background=True)
        print("ready", server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
