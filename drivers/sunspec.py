"""SunSpec: finding the model chain of a Modbus device, and making a profile out of its meter model.

A SunSpec device has the words "SunS" at holding register 40000, 50000 or 0 (counted from 0), then blocks one after the
other: model number, length, that many registers; FFFF ends the chain. Model 1 says who it is; 201 to 204 are meters in
integers with powers of ten in registers of their own, 211 to 214 the same meters in floats.

:func:`discovery` is sans-IO: it asks for registers and is sent what came. What it finds becomes the text of an
ordinary profile (:func:`profile_text`): the meter is then read like any other, values and their powers of ten with one
request, so that no stale power ever scales a value. What a device does not implement (8000, NaN) is left out.

Model layouts: SunSpec Alliance, models 1, 201-204, 211-214 as in pysunspec2 1.3.7 (Apache-2.0).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from decimal import Decimal

from drivers.codec import LocalProtocolError
from drivers.points import Profile
from drivers.profile_file import parse

BASES = (40000, 50000, 0)
MARKER = b"SunS"
END = 0xFFFF
MOST = 125
_LONGEST = 4096  # registers of one block; longer ones are no SunSpec
_BLOCKS = 64
_NOT_THERE = 0x8000
_SERIAL, _SERIAL_LENGTH = 50, 16  # of model 1, its header's two registers counted

INTEGER_METERS = {201: "single-phase", 202: "split-phase", 203: "three-phase, wye", 204: "three-phase, delta"}
FLOAT_METERS = {model + 10: text for model, text in INTEGER_METERS.items()}

# measurand, unit, scale to that unit, offset in the integer models, offset of its power of ten, offset in float models
_POINTS: tuple[tuple[str, str, str, int, int, int], ...] = (
    ("energy.active.import", "kWh", "0.001", 46, 54, 68),
    ("energy.active.export", "kWh", "0.001", 38, 54, 60),
    ("power.active.total", "kW", "0.001", 18, 22, 28),
    ("power.active.l1", "kW", "0.001", 19, 22, 30),
    ("power.active.l2", "kW", "0.001", 20, 22, 32),
    ("power.active.l3", "kW", "0.001", 21, 22, 34),
    ("power.apparent.total", "kV.A", "0.001", 23, 27, 36),
    ("power.reactive.total", "kvar", "0.001", 28, 32, 44),
    ("voltage.l1", "V", "1", 8, 15, 12),
    ("voltage.l2", "V", "1", 9, 15, 14),
    ("voltage.l3", "V", "1", 10, 15, 16),
    ("current.l1", "A", "1", 3, 6, 4),
    ("current.l2", "A", "1", 4, 6, 6),
    ("current.l3", "A", "1", 5, 6, 8),
    ("frequency", "Hz", "1", 16, 17, 26),
)
_SPACING = Decimal("0.064")  # kWh: of a float32 in Wh below 2^30 Wh


@dataclass(frozen=True, slots=True)
class Ask:
    """Holding registers that are wanted."""

    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Block:
    """One model: its number, where its header stands, and its registers, the two of the header first."""

    model: int
    address: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """What the chain says."""

    base: int
    blocks: tuple[Block, ...]

    @property
    def meter(self) -> Block | None:
        """The first meter model."""
        return next((b for b in self.blocks if b.model in INTEGER_METERS or b.model in FLOAT_METERS), None)

    @property
    def about(self) -> Block | None:
        """Model 1, which says who it is."""
        return next((block for block in self.blocks if block.model == 1), None)

    def text(self, offset: int, count: int) -> str:
        """A text of model 1."""
        about = self.about
        if about is None:
            return ""
        raw = struct.pack(f">{len(about.words)}H", *about.words)[2 * offset : 2 * (offset + count)]
        return raw.split(b"\0")[0].decode("utf-8", "replace").strip()

    @property
    def maker(self) -> str:
        """Manufacturer."""
        return self.text(2, 16)

    @property
    def name(self) -> str:
        """Model."""
        return self.text(18, 16)

    @property
    def version(self) -> str:
        """Firmware."""
        return self.text(42, 8)

    @property
    def serial(self) -> str:
        """Serial number."""
        return self.text(_SERIAL, _SERIAL_LENGTH)


def discovery() -> Generator[Ask, bytes | None, Device | None]:
    """Ask for registers; to be sent the bytes, or None where the device refuses or is silent.

    Returns None if there is no SunSpec, or its chain cannot be one.
    """
    for base in BASES:
        if (yield Ask(base, 2)) == MARKER:
            blocks = yield from _chain(base + 2)
            return None if blocks is None else Device(base, blocks)
    return None


def _chain(address: int) -> Generator[Ask, bytes | None, tuple[Block, ...] | None]:
    blocks: list[Block] = []
    for _ in range(_BLOCKS):
        header = yield from _words(address, 2)
        if header is None:
            return None
        model, length = header
        if model == END:
            return tuple(blocks)
        if length > _LONGEST or address + 2 + length > 0xFFFF:
            return None
        wanted = model == 1 or model in INTEGER_METERS or model in FLOAT_METERS
        words = (yield from _words(address, 2 + length)) if wanted else header
        if words is None:
            return None
        blocks.append(Block(model, address, words))
        address += 2 + length
    return None


def _words(start: int, count: int) -> Generator[Ask, bytes | None, tuple[int, ...] | None]:
    words: list[int] = []
    while len(words) < count:
        some = min(MOST, count - len(words))
        data = yield Ask(start + len(words), some)
        if data is None or len(data) != 2 * some:
            return None
        words += struct.unpack(f">{some}H", data)
    return tuple(words)


async def find(ask: Callable[[int, int], Awaitable[bytes | None]]) -> Device | None:
    """Run a discovery: ``ask(start, count)`` reads holding registers and gives their bytes, None if it cannot."""
    steps = discovery()
    answer: bytes | None = None
    try:
        asked = next(steps)
        while True:
            answer = await ask(asked.start, asked.count)
            asked = steps.send(answer)
    except StopIteration as end:
        found: Device | None = end.value
        return found


# ---- a profile -------------------------------------------------------------------------------------------------------


def profile_text(device: Device) -> str:
    """The TOML of a profile for the device's meter model. LocalProtocolError if it has none that is known."""
    meter = device.meter
    if meter is None:
        have = ", ".join(str(block.model) for block in device.blocks) or "none"
        raise LocalProtocolError(f"no meter model 201 to 204 or 211 to 214 in the chain; it has {have}")
    last = max(p[5] + 1 if meter.model in FLOAT_METERS else max(p[3] + 1, p[4]) for p in _POINTS)
    if len(meter.words) <= last:
        raise LocalProtocolError(
            f"the block at {meter.address} is too short for model {meter.model}: "
            f"it ends after {len(meter.words) - 2} registers"
        )
    kind = INTEGER_METERS.get(meter.model) or FLOAT_METERS[meter.model]
    lines = [
        f"# Made from what the device told: SunSpec model {meter.model} ({kind}) at {meter.address}.",
        'protocol = "modbus"',
        'side = "primary"',
        "",
        "[model]",
        f"maker = {_quoted(device.maker or 'unknown')}",
        f"name = {_quoted(device.name or f'SunSpec model {meter.model}')}",
        'kind = "electricity"',
        f"firmware = {_quoted(device.version)}",
        "",
        "[source]",
        f'title = "SunSpec model {meter.model}, found at register {meter.address} of the device itself"',
        "",
        "[ask]",
        "holes = 40",
    ]
    if device.about is not None and device.serial:
        lines += [
            "",
            "[identity]",
            "function = 3",
            f"address = {device.about.address + _SERIAL}",
            'type = "text"',
            f"length = {_SERIAL_LENGTH}",
            'source = "SunSpec model 1, found at the device itself: SN"',
        ]
    head = len(lines)
    for measurand, unit, scale, offset, power, float_offset in _POINTS:
        if meter.model in FLOAT_METERS:
            lines += _float_point(meter, measurand, unit, scale, float_offset)
        else:
            lines += _integer_point(meter, measurand, unit, scale, offset, power)
    if len(lines) == head:
        raise LocalProtocolError(
            f"the meter model {meter.model} at {meter.address} implements none of its values"
        )
    return "\n".join(lines) + "\n"


def profile_of(device: Device, name: str) -> Profile:
    """The profile itself; the same checks as any file's."""
    return parse(profile_text(device), name)


def _quoted(text: str) -> str:
    clean = "".join(c for c in text if c.isprintable()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'


def _head(measurand: str, unit: str, address: int, kind: str, scale: str) -> list[str]:
    return [
        "",
        "[[point]]",
        f'measurand = "{measurand}"',
        f'unit = "{unit}"',
        "function = 3",
        f"address = {address}",
        f'type = "{kind}"',
        f'scale = "{scale}"',
    ]


def _integer_point(meter: Block, measurand: str, unit: str, scale: str, offset: int, power: int) -> list[str]:
    counter = measurand.startswith("energy.")
    exponent = _signed(meter.words[power])
    if not -10 <= exponent <= 10 or (not counter and meter.words[offset] == _NOT_THERE):
        return []
    step = Decimal(scale).scaleb(exponent)
    lines = _head(measurand, unit, meter.address + offset, "u32" if counter else "i16", scale)
    lines += [f"scale_at = {meter.address + power}", f'resolution = "{step:f}"']
    return lines if counter else [*lines, "sentinels = [0x8000]"]


def _float_point(meter: Block, measurand: str, unit: str, scale: str, offset: int) -> list[str]:
    (shown,) = struct.unpack(">f", struct.pack(">2H", *meter.words[offset : offset + 2]))
    if math.isnan(shown):
        return []
    lines = _head(measurand, unit, meter.address + offset, "f32", scale)
    if measurand.startswith("energy."):
        note = "no step is stated: this is the spacing of a float32 in Wh below 1 073 742 kWh"
        lines += [f'resolution = "{_SPACING}"', f'note = "{note}"']
    return lines


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word
