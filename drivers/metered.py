"""The meter's side of a profile: the registers or items of a meter with given values, and the frames it answers with.

The exact inverse of ``drivers.profile.decode``; simulators and tests stand on it, the gateway never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from drivers import cjt188, dlt645, dlt645_items, modbus, registers
from drivers.codec import LocalProtocolError
from drivers.points import Point, Profile, Query


def encode_answer(
    profile: Profile,
    query_or_request: Query | dlt645.Request | modbus.Request | cjt188.Request,
    values: Mapping[str, Decimal],
    address: str = "",
) -> bytes:
    """The frame with which a meter of this model answers: the inverse of ``decode`` (no preamble).

    A request decides unit, framing and transaction; a query is answered by ``address`` (RTU; 1 or 000000000000).
    What the meter has no value for: FF in DL/T 645; a sentinel or NaN in Modbus, else LocalProtocolError. What the
    model does not have at all is refused as a meter would refuse it (error word 02, exception 2). ``address`` also
    replaces a wildcard of a DL/T 645 request.
    """
    request = query_or_request
    if isinstance(request, Query):
        if profile.protocol == "modbus":
            request = modbus.Request(address or "1", request.function, request.start, request.count)
        elif profile.protocol == "cjt188":
            request = cjt188.Request(address or "0" * 14, cjt188.meter_type_of(profile.kind))
        else:
            function = dlt645.READ if len(request.item) == 8 else dlt645.READ_1997
            request = dlt645.Request(address or "0" * 12, function, request.item)
    if isinstance(request, modbus.Request):
        image = register_image(profile, request.function, request.start, request.count, values)
        return modbus.refusal(request, 2) if image is None else modbus.answer(request, image)
    if isinstance(request, cjt188.Request):
        told = {p.item: values[p.measurand] for p in profile.points if p.measurand in values}
        meter_type = cjt188.meter_type_of(profile.kind)
        if request.item != "901F":
            raise LocalProtocolError(f"no model of a {profile.kind} meter's answer to {request.item}")
        if 0x20 <= meter_type <= 0x29:
            payload = cjt188.encode_heat(told, {p.item: p.unit for p in profile.points})
        else:
            payload = cjt188.encode_payload(told, profile.points[0].unit)
        return cjt188.answer(request, payload, address_text=address, meter_type=meter_type)
    by_item = {p.item: values[p.measurand] for p in profile.points if p.measurand in values}
    known = {p.item for p in profile.points}
    block = dlt645_items.block(request.item)
    asked = set(block[0]) if block else {request.item}
    data = dlt645_items.encode(request.item, by_item) if asked & known else None
    if data is None:
        return dlt645.refusal(request, 0x02, address_text=address)
    return dlt645.answer(request, data, address_text=address)


def register_image(
    profile: Profile, function: int, start: int, count: int, values: Mapping[str, Decimal]
) -> bytes | None:
    """The registers of a meter with these values; None if it has none of them. Unused registers are 0."""
    image = bytearray(2 * count)
    hit = False

    def put(address: int, raw: bytes) -> None:
        for n, byte in enumerate(raw):
            at = 2 * (address - start) + n
            if 0 <= at < len(image):
                image[at] = byte

    for point in profile.points:
        if point.function != function or point.end <= start or point.start >= start + count:
            continue
        hit = True
        put(point.address, _register_bytes(point, values.get(point.measurand)))
        if point.scale_at is not None:
            put(point.scale_at, _power(point).to_bytes(2, "big", signed=True))
    return bytes(image) if hit else None


def _power(point: Point) -> int:
    """The power of ten that this meter shows: the one with which a step of the register is the resolution."""
    if point.resolution is None:
        return 0
    return (point.resolution / point.scale).normalize().adjusted()


def _register_bytes(point: Point, value: Decimal | None) -> bytes:
    if value is not None:
        signal = value if point.span is None else point.span.signal(value)
        scale = point.scale if point.scale_at is None else point.scale.scaleb(_power(point))
        return registers.encode(registers.unscaled(signal, scale), point.type, point.word_order, point.length)
    if point.sentinels:
        big = point.sentinels[0].to_bytes(2 * point.length, "big")
    elif point.type in ("f32", "f64"):
        big = bytes.fromhex("7FC00000" if point.type == "f32" else "7FF8000000000000")
    else:
        raise LocalProtocolError(f"{point.measurand} has no value, and {point.type} no way to say so")
    return registers.arrange(big, point.word_order)
