"""DL/T 698.45 read from a server that this project did not write: the ``dlt698`` package (a C++ core)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Indication, Instant, Missing
from drivers.link import link
from drivers.profile import Profile, load, plan
from drivers.protocols import codec

dlt698 = pytest.importorskip("dlt698")
AssociationParameters = pytest.importorskip("dlt698.protocol.apdu").AssociationParameters
pytestmark = pytest.mark.peer

PROFILE = load("dlt698-three-phase")
ATTRIBUTES = {
    (0x0010, "uint32"): [12345678, 12345678, 0, 0, 0],
    (0x2000, "uint16"): [2301, 2302, 2303],
    (0x2001, "int32"): [4468, -4444, 4021],
    (0x2004, "int32"): [25141, 8743, 8624, 7774],
}
SHOWN = {
    "energy.active.import": "123456.78",
    "voltage.l1": "230.1",
    "voltage.l3": "230.3",
    "current.l2": "-4.444",
    "power.active.total": "2514.1",
    "frequency": "50.00",
}


@contextmanager
def server(**session: object) -> Iterator[int]:
    """A meter of the package on its standing association, at a free port."""
    options = dlt698.ServerOptions(protocol=dlt698.SessionOptions(preset_association=True, **session))
    with dlt698.Server(options=options) as running:
        data = dlt698.Data
        for (oi, kind), numbers in ATTRIBUTES.items():
            array = data.array([getattr(data, kind)(number) for number in numbers])
            running.set(dlt698.Oad(oi=oi, attribute=2), array)
        running.set(dlt698.Oad(oi=0x200F, attribute=2), data.uint16(5000))
        running.start_tcp("127.0.0.1", 0, dlt698.ConnectionProfile.local_preset)
        yield running.local_port


def negotiated() -> object:
    """A meter that sends no more than 64 bytes in a frame, and can do everything else."""
    return AssociationParameters(
        send_frame_bytes=64, receive_frame_bytes=64, function=[255] * 16, protocol=[255] * 8
    )


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(us, us)


async def read(port: int, profile: Profile = PROFILE) -> tuple[dict[str, Indication], list[bytes]]:
    bus = Bus("peer", codec("dlt698"), link(f"tcp://127.0.0.1:{port}", 9600, "8E1"), now)
    try:
        scan = await bus.scan(Meter("m", "00", profile, timeout_s=5.0, late_s=0.1), plan(profile))
    finally:
        await bus.close()
    return {i.measurand: i for i in scan.indications}, [e.request for e in scan.exchanges]


async def test_the_values_that_the_server_was_given_are_read_and_what_it_lacks_is_refused():
    with server() as port:
        found, _ = await read(port)
    assert {name: found[name].value for name in SHOWN} == {n: Decimal(v) for n, v in SHOWN.items()}
    lacking = found["energy.reactive.import"]
    assert (lacking.missing, lacking.detail) == (Missing.ERROR_ANSWER, "DAR 4: object undefined")


async def test_an_answer_in_link_fragments_is_confirmed_and_joined():
    """The server may send 64 bytes a frame: the answer to the second request goes out in pieces."""
    with server(parameters=negotiated(), prefer_get_blocks=False) as port:
        found, requests = await read(port)
    assert len(requests) > 3
    assert {name: found[name].value for name in SHOWN} == {n: Decimal(v) for n, v in SHOWN.items()}


async def test_an_answer_in_blocks_is_asked_for_to_its_end():
    with server(parameters=negotiated(), prefer_get_blocks=True) as port:
        found, requests = await read(port)
    assert any(b"\x05\x05" in request for request in requests)
    assert {name: found[name].value for name in SHOWN} == {n: Decimal(v) for n, v in SHOWN.items()}


@pytest.mark.parametrize("which", range(3))
def test_the_profiles_vectors_are_read_alike_by_the_package(which):
    """Frames and APDUs of both directions, encoded again by the other's codec: the same bytes."""
    vector = PROFILE.vectors[which]
    for raw in (vector.request.lstrip(b"\xfe"), vector.answer):
        frame = dlt698.codec.decode_frame(raw)
        assert dlt698.codec.encode_frame(frame) == raw
        assert dlt698.codec.encode_apdu(dlt698.codec.decode_apdu(frame.payload)) == frame.payload


def test_the_last_record_of_a_freeze_is_asked_and_answered_alike_by_the_package():
    """GetRequestRecord and GetResponseRecord, read and written again by the other's codec: the same bytes."""
    (vector,) = load("dlt698-daily-freeze").vectors
    for raw, kind in ((vector.request, "GetRecordRequest"), (vector.answer, "GetRecordResponse")):
        frame = dlt698.codec.decode_frame(raw.lstrip(b"\xfe"))
        apdu = dlt698.codec.decode_apdu(frame.payload)
        assert type(apdu).__name__ == kind
        assert dlt698.codec.encode_apdu(apdu) == frame.payload
