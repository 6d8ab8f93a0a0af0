"""A DLMS client that this project did not write (dlms-cosem) reads a meter; run with its folder in PYTHONPATH.

Arguments: ``hdlc``, port, logical and physical address; or ``wrapper``, host, TCP port, wrapper port. Then a password
or ``-``, and codes with class and attribute (``3/1-0:1.8.0/2``). Says the data of each in hex, a line each, and what
was refused by its name.
"""

from __future__ import annotations

import re
import sys

from dlms_cosem import cosem, enumerations
from dlms_cosem.clients.dlms_client import DataResultError, DlmsClient


def main() -> None:
    kind, where, first, second, password, *items = sys.argv[1:]
    more = {}
    if password != "-":
        more = {
            "authentication_method": enumerations.AuthenticationMechanism.LLS,
            "password": password.encode(),
        }
    if kind == "hdlc":
        client = DlmsClient.with_serial_hdlc_transport(
            where,
            16,
            int(first),
            int(second) if second != "-" else None,
            block_transfer=True,
            timeout=5,
            **more,
        )
    else:
        client = DlmsClient.with_tcp_transport(
            where, int(first), 16, int(second), block_transfer=True, timeout=5, **more
        )
    client.connect()
    client.associate()
    for item in items:
        class_id, code, attribute = item.split("/")
        groups = [int(n) for n in re.split(r"[-:.]", code)]
        what = cosem.CosemAttribute(
            enumerations.CosemInterface(int(class_id)), cosem.Obis(*groups, 255), int(attribute)
        )
        try:
            print(client.get(what).hex(), flush=True)
        except DataResultError as error:
            print(str(error).rpartition(".")[2], flush=True)
    client.release_association()
    if kind != "hdlc":  # the UA to a DISC carries no information, and this client waits for one that does
        client.disconnect()


if __name__ == "__main__":
    main()
