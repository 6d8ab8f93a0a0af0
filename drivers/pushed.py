"""Instruments that are not asked but send by themselves: what their messages say, from the bytes as they came. Pure.

``hj212``: the packets of a data logger (several segments of one message follow each other). ``mqtt``: one JSON message.
``opcua``: a line for each node that was notified. What a record keeps of a message beside its values are flags: the
data flags of HJ 212, the StatusCodes of OPC UA.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers import hj212, hj212_points, opcua_points
from drivers.points import Query

PROTOCOLS = ("hj212", "mqtt", "opcua")


def flags(query: Query, raws: Sequence[bytes]) -> tuple[str, ...]:
    """What the record of a message says beside values: ``data_flag:a05001=N`` for each factor that is wanted."""
    if query.protocol == "opcua":
        return opcua_points.record_flags(query.points, b"".join(raws))
    if query.protocol != "hj212":
        return ()
    decoder = hj212.Decoder()
    found = [*decoder.feed(b"".join(raws)), *decoder.finish()]
    groups = [group for frame in found if isinstance(frame, hj212.Frame) for group in frame.groups]
    return hj212_points.record_flags(query.points, groups)
