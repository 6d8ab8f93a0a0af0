"""What a DLMS library that this project did not write (dlms-cosem) makes of a client's APDUs, and its own frames.

Lines of ``KIND hex`` on stdin; a line each on stdout: aarq, get and next in its words; disc, rr (N(R)) and i (N(S),
N(R), segmented, information) as the bytes that it would send to 1/17.
"""

from __future__ import annotations

import sys

from dlms_cosem.hdlc import address, frames
from dlms_cosem.protocol import acse, xdlms


def told(kind: str, raw: bytes) -> str:
    if kind == "aarq":
        found = acse.ApplicationAssociationRequest.from_bytes(raw)
        asked = found.user_information.content
        bits = sorted(name for name, wanted in vars(asked.proposed_conformance).items() if wanted)
        name = found.authentication.name if found.authentication else "none"
        return f"{name} ciphered={found.ciphered} {'+'.join(bits)} {asked.client_max_receive_pdu_size}"
    if kind == "get":
        one = xdlms.GetRequestNormal.from_bytes(raw)
        what = one.cosem_attribute
        invoke = one.invoke_id_and_priority.invoke_id
        return f"{what.interface.value} {what.instance.to_string()} {what.attribute} {invoke}"
    if kind == "next":
        part = xdlms.GetRequestNext.from_bytes(raw)
        return f"{part.block_number} {part.invoke_id_and_priority.invoke_id}"
    server = address.HdlcAddress(logical_address=1, physical_address=17, address_type="server")
    client = address.HdlcAddress(logical_address=16, physical_address=None, address_type="client")
    if kind == "disc":
        return str(frames.DisconnectFrame(server, client).to_bytes().hex())
    if kind == "rr":
        return str(frames.ReceiveReadyFrame(server, client, receive_sequence_number=raw[0]).to_bytes().hex())
    send, receive, segmented = raw[:3]
    piece = frames.InformationFrame(
        server, client, raw[3:], send_sequence_number=send, receive_sequence_number=receive,
        segmented=bool(segmented), final=True,
    )  # fmt: skip
    return str(piece.to_bytes().hex())


for line in sys.stdin:
    kind, _, text = line.strip().partition(" ")
    print(told(kind, bytes.fromhex(text)), flush=True)
