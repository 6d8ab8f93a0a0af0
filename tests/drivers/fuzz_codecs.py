"""Mutated streams against every codec: no exception, no hang, no value from a frame that does not match.

Run alone (``python tests/drivers/fuzz_codecs.py 100000``) or in short from the test suite. The seed fixes everything.
A stream is a few sound exchanges, cut, flipped, repeated, reordered and mixed with noise. For each of them:

* feeding it whole and in pieces gives the same frames and rejects;
* no byte is in two frames, none in two rejects, and all are accounted for (so the report stays linear);
* a frame that ``match`` accepts carries the bytes of an answer to exactly that request: its address, its item, its
  length, and its check sum recomputed here by other code;
* whatever is shown of it as JSON has, for every item, either a value or the reason for having none.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from drivers import cjt188, dlt645, dlt698, hdlc, hj212, iec62056, mbus, modbus, sml
from drivers.codec import Answer, Reject
from drivers.decode import decode_capture

ITEMS = (
    "00010000",
    "0001FF00",
    "02010100",
    "0201FF00",
    "0202FF00",
    "02030000",
    "01010000",
    "04000102",
    "06100101",
)
OLD_ITEMS = ("9010", "901F", "B611", "B61F", "C032")


@dataclass
class Tally:
    """What a run met."""

    streams: int = 0
    frames: int = 0
    rejects: int = 0
    answers: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def exchange_645(rng: random.Random) -> tuple[dlt645.Request, list[bytes]]:
    address = f"{rng.randrange(10**12):012d}" if rng.random() < 0.8 else "681668166816"
    if rng.random() < 0.2:
        request = dlt645.Request(address, dlt645.READ_1997, rng.choice(OLD_ITEMS))
    elif rng.random() < 0.1:
        request = dlt645.Request(dlt645.WILDCARD, dlt645.READ_ADDRESS)
    else:
        request = dlt645.Request(address, dlt645.READ, rng.choice(ITEMS))
    payload = rng.randbytes(rng.choice((2, 3, 4, 6, 8, 9, 20, 60)))
    if request.function == dlt645.READ_ADDRESS:
        answer = dlt645.build(address, 0x93, bytes.fromhex(address)[::-1])
    elif rng.random() < 0.1:
        answer = dlt645.refusal(request, rng.randrange(256))
    else:
        answer = dlt645.answer(request, payload, more=rng.random() < 0.1)
    return request, [dlt645.encode(request), b"\xfe" * rng.randrange(5) + answer]


def exchange_modbus(rng: random.Random, framing: modbus.Framing) -> tuple[modbus.Request, list[bytes]]:
    request = modbus.Request(
        str(rng.randrange(1, 248)),
        rng.choice((1, 2, 3, 3, 3, 4, 4)),
        rng.randrange(0x4000),
        rng.choice((1, 2, 2, 4, 10, 24, 125)),
        framing,
        rng.randrange(0x10000) if framing == "tcp" else 0,
    )
    size = request.answer_bytes or 0
    answer = modbus.answer(request, rng.randbytes(size))
    if rng.random() < 0.1:
        answer = modbus.refusal(request, rng.choice((1, 2, 3, 4, 6, 11)))
    return request, [modbus.encode(request), answer]


def mutate(rng: random.Random, pieces: list[bytes]) -> bytes:
    """Between nothing and a lot of damage."""
    if rng.random() < 0.2:
        rng.shuffle(pieces)
    if rng.random() < 0.2:
        pieces.insert(rng.randrange(len(pieces) + 1), rng.randbytes(rng.randrange(40)))
    if rng.random() < 0.1:
        pieces.append(rng.choice(pieces))
    stream = bytearray(b"".join(pieces))
    for _ in range(rng.choice((0, 0, 1, 1, 2, 8))):
        if not stream:
            break
        at = rng.randrange(len(stream))
        how = rng.random()
        if how < 0.4:
            stream[at] = rng.randrange(256)
        elif how < 0.6:
            stream[at] ^= 1 << rng.randrange(8)
        elif how < 0.75:
            del stream[at : at + rng.randrange(1, 6)]
        elif how < 0.9:
            stream[at:at] = rng.choice(
                (b"\x68", b"\x16", b"\xfe", b"\x00", b"\x68" * 9, b"\x01\x03", b":", b"\r\n")
            )
        else:
            del stream[at:]
    return bytes(stream)


def cut(rng: random.Random, stream: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        size = rng.choice((1, 1, 2, 7, 16, 64, 300))
        yield stream[at : at + size]
        at += size


def plain_crc(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit: not the codec's table."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def check_645(request: dlt645.Request, answer: Answer) -> None:
    """The accepted bytes, read by position."""
    raw = answer.raw
    assert (raw[0], raw[7], raw[-1]) == (0x68, 0x68, 0x16), "start and end"
    assert len(raw) == raw[9] + 12, "length"
    assert sum(raw[:-2]) % 256 == raw[-2], "sum"
    address = "".join(f"{byte:02X}" for byte in reversed(raw[1:7]))
    assert all(a in ("A", b) for a, b in zip(request.address, address, strict=True)), "address"
    assert raw[8] & 0x80, "direction"
    assert raw[8] & 0x1F == request.function, "function"
    data = bytes((byte - 0x33) % 256 for byte in raw[10:-2])
    if raw[8] & 0x40:
        assert answer.error
        assert answer.payload == b""
    elif request.item:
        size = len(request.item) // 2
        assert data[:size] == bytes.fromhex(request.item)[::-1], "item"
        assert answer.payload == data[size:], "payload"


def check_modbus(request: modbus.Request, answer: Answer) -> None:
    raw = answer.raw
    if request.framing == "ascii":
        body = bytes.fromhex(raw[1:-2].decode("ascii"))
        assert sum(body) % 256 == 0, "LRC"
        body = body[:-1]
    elif request.framing == "tcp":
        assert raw[:4] == request.transaction.to_bytes(2, "big") + b"\0\0", "transaction"
        assert int.from_bytes(raw[4:6], "big") == len(raw) - 6, "length"
        body = raw[6:]
    else:
        assert plain_crc(raw[:-2]) == raw[-2:], "CRC"
        body = raw[:-2]
    assert body[0] == request.unit, "unit"
    assert body[1] & 0x7F == request.function, "function"
    if body[1] & 0x80:
        assert answer.error
        assert answer.payload == b""
        return
    wanted = 2 * request.count if request.function in (3, 4) else (request.count + 7) // 8
    assert (body[2], len(body)) == (wanted, wanted + 3), "byte count"
    assert answer.payload == body[3:], "payload"


def accounted(
    stream: bytes,
    found: Sequence[Any],
    preamble: int = -1,
) -> None:
    """Frames don't overlap, rejects don't; what is in neither is preamble. A frame may stand inside a false start."""
    covered = bytearray(len(stream))
    for rejects in (True, False):
        end = 0
        for one in found:
            if isinstance(one, Reject) is rejects:
                assert one.offset >= end, "told twice"
                end = one.offset + len(one.raw)
                assert stream[one.offset : end] == one.raw, "other bytes than came"
                covered[one.offset : end] = b"\1" * len(one.raw)
    assert all(seen or byte == preamble for seen, byte in zip(covered, stream, strict=True)), "bytes lost"


def one_645(rng: random.Random, tally: Tally) -> None:
    exchanges = [exchange_645(rng) for _ in range(rng.randrange(1, 4))]
    stream = mutate(rng, [piece for _, pieces in exchanges for piece in pieces])
    decoder, again = dlt645.Decoder(), dlt645.Decoder()
    whole = [*decoder.feed(stream), *decoder.finish()]
    found = [f for piece in cut(rng, stream) for f in again.feed(piece)] + again.finish()
    assert found == whole, "pieces"
    accounted(stream, whole, preamble=0xFE)
    for frame in whole:
        if isinstance(frame, Reject):
            tally.rejects += 1
            continue
        tally.frames += 1
        for request, _ in exchanges:
            answer = dlt645.match(request, frame)
            if isinstance(answer, Answer):
                tally.answers += 1
                check_645(request, answer)
    shown(decode_capture("dlt645-2007", stream).to_json())


def one_modbus(rng: random.Random, tally: Tally, framing: modbus.Framing) -> None:
    exchanges = [exchange_modbus(rng, framing) for _ in range(rng.randrange(1, 4))]
    stream = mutate(rng, [piece for _, pieces in exchanges for piece in pieces])
    decoder, again = modbus.decoder(framing), modbus.decoder(framing)
    whole = [*decoder.feed(stream), *decoder.finish()]
    found = [f for piece in cut(rng, stream) for f in again.feed(piece)] + again.finish()
    assert found == whole, "pieces"
    accounted(stream, whole)
    for frame in whole:
        if isinstance(frame, Reject):
            tally.rejects += 1
            continue
        tally.frames += 1
        for request, _ in exchanges:
            answer = modbus.match(request, frame)
            if isinstance(answer, Answer):
                tally.answers += 1
                check_modbus(request, answer)
    shown(decode_capture(f"modbus-{framing}", stream).to_json())


def exchange_188(rng: random.Random) -> tuple[cjt188.Request, list[bytes]]:
    heat = rng.random() < 0.3
    request = cjt188.Request(
        f"{rng.randrange(10**14):014d}",
        0x20 if heat else 0x10,
        ser=rng.randrange(256),
        swapped=rng.random() < 0.5,
    )
    payload = bytearray(43 if heat else 19)
    for at in range(0, 10, 5):
        payload[at : at + 5] = bytes.fromhex(f"{rng.randrange(10**8):08d}") + (b"\x05" if heat else b"\x2c")
    return request, [
        cjt188.encode(request),
        b"\xfe" * rng.randrange(5) + cjt188.answer(request, bytes(payload)),
    ]


def one_188(rng: random.Random, tally: Tally) -> None:
    exchanges = [exchange_188(rng) for _ in range(rng.randrange(1, 4))]
    stream = mutate(rng, [piece for _, pieces in exchanges for piece in pieces])
    decoder, again = cjt188.Decoder(), cjt188.Decoder()
    whole = [*decoder.feed(stream), *decoder.finish()]
    found = [f for piece in cut(rng, stream) for f in again.feed(piece)] + again.finish()
    assert found == whole, "pieces"
    accounted(stream, whole, preamble=0xFE)
    for frame in whole:
        if isinstance(frame, Reject):
            tally.rejects += 1
            continue
        tally.frames += 1
        for request, _ in exchanges:
            answer = cjt188.match(request, frame)
            if isinstance(answer, Answer):
                tally.answers += 1
                raw = answer.raw
                assert sum(raw[:-2]) % 256 == raw[-2], "sum"
                assert raw[2:9] == bytes.fromhex(request.address)[::-1], "address"
                assert raw[9] & 0xBF == 0x81, "control"
                if not answer.error:
                    assert raw[11:13] in (b"\x90\x1f", b"\x1f\x90"), "item"
                    assert raw[13] in (request.ser, *([raw[13]] if request.ser == 0xAA else [])), "SER"
    shown(decode_capture("cjt188", stream).to_json())


def one_212(rng: random.Random, tally: Tally) -> None:
    pieces = []
    for _ in range(rng.randrange(1, 4)):
        header = {
            "QN": str(rng.randrange(10**17)),
            "ST": "31",
            "CN": "2011",
            "MN": "1",
            "Flag": str(rng.randrange(12)),
        }
        groups = [
            {f"a0{n}-Rtd": f"{rng.randrange(10**6)}.{n}", f"a0{n}-Flag": "N"} for n in range(rng.randrange(5))
        ]
        pieces.append(hj212.build(header, groups))
    whole_pieces = set(pieces)
    stream = mutate(rng, pieces)
    decoder, again = hj212.Decoder(), hj212.Decoder()
    whole = [*decoder.feed(stream), *decoder.finish()]
    found = [f for piece in cut(rng, stream) for f in again.feed(piece)] + again.finish()
    assert found == whole, "pieces"
    accounted(stream, whole)
    for frame in whole:
        if isinstance(frame, Reject):
            tally.rejects += 1
            continue
        tally.frames += 1
        tally.answers += frame.raw in whole_pieces
        assert int(frame.raw[2:6]) == len(frame.raw) - 12, "length"
        assert int(frame.raw[-6:-2], 16) == hj212.crc(frame.raw[6:-6]), "CRC"
    shown(decode_capture("hj212", stream).to_json())


MBUS_HEAD = bytes.fromhex("78563412 2440 01 02 55 00 0000")


def pieces_mbus(rng: random.Random) -> list[bytes]:
    pieces = []
    for _ in range(rng.randrange(1, 4)):
        records = b"".join(
            bytes((coding,))
            + rng.choice((b"\x03", b"\x13", b"\x2b", b"\x5b", b"\xfd\x48", b"\x83\x3c", b"\x6d"))
            + rng.randbytes(coding if coding < 5 else coding - 8)
            for coding in rng.choices((1, 2, 3, 4, 9, 10, 11, 12), k=rng.randrange(6))
        )
        unit = rng.randrange(251)
        pieces += [mbus.short(0x5B, unit), mbus.long(0x08, unit, 0x72, MBUS_HEAD + records), b"\xe5"]
    return pieces


def sound_mbus(frame: mbus.Frame) -> None:
    raw = frame.raw
    if raw[0] == 0x68:
        assert (raw[1], raw[2], raw[3], raw[-1]) == (len(raw) - 6, len(raw) - 6, 0x68, 0x16), "frame"
        assert sum(raw[4:-2]) % 256 == raw[-2], "sum"
    elif raw[0] == 0x10:
        assert (len(raw), sum(raw[1:3]) % 256, raw[4]) == (5, raw[3], 0x16), "short frame"
    else:
        assert raw == b"\xe5", "acknowledge"


def pieces_62056(rng: random.Random) -> list[bytes]:
    pieces = []
    for _ in range(rng.randrange(1, 3)):
        lines = "".join(
            f"{rng.randrange(9)}.8.{n}({rng.random():.4f}*kWh)\r\n" for n in range(rng.randrange(6))
        )
        data = iec62056.message(lines + "!\r\n")
        command = iec62056.command("R5", "1.8.0()")
        pieces += [iec62056.sign_on("1"), b"/ISk5MT174\r\n", iec62056.select("5"), data, command, data]
    return pieces


def sound_62056(frame: iec62056.Frame) -> None:
    raw = frame.raw
    if raw[0] in (1, 2):
        value = 0
        for byte in raw[1:-1]:
            value ^= byte
        assert value == raw[-1], "BCC"
        assert raw[-2] in (3, 4), "end"


def plain_x25(data: bytes) -> bytes:
    """CRC-16/X.25 bit by bit: not the codec's way."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x8408 if value & 1 else value >> 1
    return (value ^ 0xFFFF).to_bytes(2, "little")


def pieces_dlms(rng: random.Random) -> list[bytes]:
    client, server = hdlc.Address(16), hdlc.Address(1, rng.randrange(128), 2)
    pieces = []
    for n in range(rng.randrange(1, 4)):
        ask = bytes.fromhex(f"C001C10003010001080{n}FF0200")
        value = b"\xc4\x01\xc1\x00\x06" + rng.randbytes(4)
        pieces += [
            hdlc.build(server, client, 0x10, hdlc.LLC_COMMAND + ask),
            hdlc.build(client, server, 0x30, hdlc.LLC_RESPONSE + value),
        ]
    return pieces


def sound_dlms(frame: hdlc.Frame) -> None:
    body = frame.raw.removeprefix(b"\x7e")[:-1]
    assert plain_x25(body[:-2]) == body[-2:], "FCS"
    assert int.from_bytes(body[:2], "big") & 0x7FF == len(body), "length"


def pieces_698(rng: random.Random) -> list[bytes]:
    address = f"{rng.randrange(10**12):012d}"
    pieces = []
    for n in range(rng.randrange(1, 4)):
        oad = f"20000{rng.randrange(5)}0{n}"
        pieces += [
            dlt698.build(address, 0x43, bytes.fromhex(f"050105{oad}00")),
            b"\xfe" * rng.randrange(5)
            + dlt698.build(address, 0xC3, bytes.fromhex(f"850105{oad}0112") + rng.randbytes(2) + b"\0\0"),
        ]
    return pieces


def sound_698(frame: dlt698.Frame) -> None:
    raw = frame.raw
    assert plain_x25(raw[1:-3]) == raw[-3:-1], "FCS"
    assert int.from_bytes(raw[1:3], "little") & 0x3FFF == len(raw) - 2, "length"


def pieces_sml(rng: random.Random) -> list[bytes]:
    pieces = []
    for _ in range(rng.randrange(1, 4)):
        value = rng.randbytes(4)
        entry = b"\x77\x07\x01\x00\x01\x08\x00\xff\x01\x01\x62\x1e\x52\xff\x65" + value + b"\x01"
        head = bytes.fromhex("7605000000016200620072630701770105010203040101 71") + entry + b"\x01\x01"
        pieces.append(sml.build(head + b"\x63" + plain_x25(head) + b"\0"))
    return pieces


def sound_sml(frame: sml.Frame) -> None:
    raw = frame.raw
    assert plain_x25(raw[:-2]) == raw[-2:], "CRC"
    assert raw.startswith(b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01"), "begin"


# kind: the protocol's name, its decoder, sound pieces, what is true of every frame, and what may stand before one
OTHERS: dict[
    str, tuple[str, Callable[[], Any], Callable[[random.Random], list[bytes]], Callable[[Any], None], int]
] = {
    "mbus": ("mbus", mbus.Decoder, pieces_mbus, sound_mbus, -1),
    "62056": ("iec62056-21", iec62056.Decoder, pieces_62056, sound_62056, 0x00),
    "dlms": ("dlms-hdlc", hdlc.Decoder, pieces_dlms, sound_dlms, 0x7E),
    "sml": ("sml", sml.Decoder, pieces_sml, sound_sml, -1),
    "698": ("dlt698", dlt698.Decoder, pieces_698, sound_698, 0xFE),
}


def one_other(rng: random.Random, tally: Tally, kind: str) -> None:
    protocol, make, pieces, sound, preamble = OTHERS[kind]
    stream = mutate(rng, pieces(rng))
    decoder, again = make(), make()
    whole = [*decoder.feed(stream), *decoder.finish()]
    found = [f for piece in cut(rng, stream) for f in again.feed(piece)] + again.finish()
    assert found == whole, "pieces"
    accounted(stream, whole, preamble)
    for frame in whole:
        if isinstance(frame, Reject):
            tally.rejects += 1
            continue
        tally.frames += 1
        sound(frame)
    shown(decode_capture(protocol, stream).to_json())


def shown(found: dict[str, list[dict[str, object]]]) -> None:
    json.dumps(found)
    for frame in found["frames"]:
        items = frame["items"]
        assert isinstance(items, list)
        for item in items:
            assert item["value"] is not None or item["missing"], "neither value nor reason"


def run(streams: int, seed: int = 645) -> Tally:
    """``streams`` mutated streams; AssertionError with the number of the first that fails."""
    tally = Tally()
    for n in range(streams):
        rng = random.Random(f"{seed}/{n}")
        kind = rng.choice(("645", "645", "rtu", "rtu", "tcp", "ascii", "188", "212", *OTHERS))
        tally.streams += 1
        tally.kinds[kind] = tally.kinds.get(kind, 0) + 1
        try:
            if kind == "645":
                one_645(rng, tally)
            elif kind == "188":
                one_188(rng, tally)
            elif kind == "212":
                one_212(rng, tally)
            elif kind in OTHERS:
                one_other(rng, tally, kind)
            else:
                framing: modbus.Framing = "tcp" if kind == "tcp" else "ascii" if kind == "ascii" else "rtu"
                one_modbus(rng, tally, framing)
        except Exception as error:
            raise AssertionError(f"stream {n} of seed {seed} ({kind}): {error!r}") from error
    return tally


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    start = int(sys.argv[2]) if len(sys.argv) > 2 else 645
    print(run(count, start))
