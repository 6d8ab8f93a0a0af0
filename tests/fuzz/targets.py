"""What is fuzzed, and what must hold whatever the bytes are. One target is one function of bytes.

A target raises nothing but AssertionError, and that only if the code under it is wrong: an exception which is not in
its contract passes through and is a finding too. ``SEEDS`` gives each target sound inputs to begin with.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from calibration.dcc_reading import read as read_dcc
from calibration.refusals import DccRefused
from drivers import axdr, decode, hj212, hj212_sm4, iec104, modbus, profile_file
from drivers.codec import Reject
from drivers.points import ProfileError
from drivers.profile import load
from evidence import bundle, note, record
from evidence.errors import EvidenceError, ParseError
from gateway.config import Site
from gateway.edge import validated
from gateway.toml_source import ConfigError, TomlSource
from tests.fuzz import dlms_session, handed_over
from tests.fuzz.handed_over_seeds import SEEDS as HANDED_OVER
from tests.fuzz.peers import PEERS
from tests.fuzz.sound import sound

Target = Callable[[bytes], None]

ROOT = Path(__file__).resolve().parents[2]


# what may stand between frames and is no finding: wake-up bytes, padding, the flags of HDLC
BETWEEN_FRAMES: Mapping[str, set[int]] = {
    "dlt645-2007": {0xFE},
    "dlt645-1997": {0xFE},
    "cjt188": {0xFE},
    "dlt698": {0xFE},
    "iec62056-21": {0x00},
    "dlms-hdlc": {0x7E},
}


def capture(protocol: str) -> Target:
    """A codec: no exception, values or reasons, frames and rejects inside the stream, and told in order.

    Where an independent parser is installed, its numbers and ours are the same.
    """
    peer = PEERS.get(protocol)

    def check(data: bytes) -> None:
        found = decode.decode_capture(protocol, data)
        json.dumps(found.to_json())
        covered = bytearray(len(data))
        for told in (*found.rejected, *found.frames):
            assert data[told.offset : told.offset + len(told.raw)] == told.raw, "other bytes than came"
            covered[told.offset : told.offset + len(told.raw)] = b"\1" * len(told.raw)
        lost = {byte for seen, byte in zip(covered, data, strict=True) if not seen}
        assert lost <= BETWEEN_FRAMES.get(protocol, set()), "bytes lost"
        # one may stand in another: a frame refused for what it carries, inside a false start. None is told twice.
        spots = [(reject.offset, len(reject.raw)) for reject in found.rejected]
        assert len(set(spots)) == len(spots), "told twice"
        assert [at for at, _ in spots] == sorted(at for at, _ in spots), "out of order"
        for frame in found.frames:
            assert data[frame.offset : frame.offset + len(frame.raw)] == frame.raw, "other bytes than came"
            for one in frame.indications:
                assert (one.value is None) != (one.missing is None), "neither value nor reason"
                assert one.value is None or one.value.is_finite(), "a value that is no number"
            assert not (frame.error and any(i.value is not None for i in frame.indications)), (
                "value of an error"
            )
            if peer is not None:
                peer(frame)

    return check


def crc_16(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit: not the codec's table."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def rtu_in_pieces(data: bytes) -> None:
    """However the stream is cut, the same; and no frame whose check sum, computed by other code, is wrong."""
    whole, again = modbus.decoder("rtu"), modbus.decoder("rtu")
    found = [*whole.feed(data), *whole.finish()]
    pieces = [one for at in range(len(data)) for one in again.feed(data[at : at + 1])]
    assert [*pieces, *again.finish()] == found, "pieces"
    for one in found:
        assert isinstance(one, Reject) or crc_16(one.raw[:-2]) == one.raw[-2:], "CRC"


def hj212_opened(data: bytes) -> None:
    """Encrypted HJ 212 with its key: what is opened is a sound packet to who has no key."""
    from tests.drivers.test_hj212_sm4 import KEY

    decoder = hj212_sm4.Decoder(lambda _mn: KEY)
    for one in (*decoder.feed(data), *decoder.finish()):
        if isinstance(one, hj212.Frame):
            plain = hj212.Decoder().feed(one.plain)
            assert [f.groups for f in plain if isinstance(f, hj212.Frame)] == [one.groups], (
                "not a sound packet"
            )


def axdr_value(data: bytes) -> None:
    """A-XDR (IEC 61334-6): a value or Malformed."""
    try:
        axdr.Reader(data).value()
    except axdr.Malformed:
        return


def asdu(data: bytes) -> None:
    """IEC 104: an ASDU is parsed, or Malformed."""
    try:
        iec104.parse(data)
    except axdr.Malformed:
        return


def entry(data: bytes) -> None:
    """A log entry: a record that can be written again and is then read as the same, or ParseError."""
    try:
        found = record.decode(data)
    except ParseError:
        return
    again = record.encode(found)
    assert record.decode(again) == found, "not the same record"


def signed_note(data: bytes) -> None:
    """A signed note: parsed and written as the same bytes, or ParseError. Its text may be a checkpoint."""
    try:
        found = note.Note.parse(data)
    except ParseError:
        return
    assert note.Note.parse(found.encode()) == found, "not the same note"
    try:
        checkpoint = note.Checkpoint.parse(found.text)
    except ParseError:
        return
    assert note.Checkpoint.parse(checkpoint.text) == checkpoint, "not the same checkpoint"


def proof(data: bytes) -> None:
    """A tlog-proof: parsed or ParseError."""
    try:
        note.Proof.parse(data)
    except ParseError:
        return


def audit_bundle(data: bytes) -> None:
    """A bundle: what is inside the gzip is fuzzed, since no fuzzer guesses a gzip's check sum."""
    for packed in (data, gzip.compress(data, 1, mtime=0)):
        try:
            bundle.decode(packed)
        except EvidenceError:
            continue


def site_file(data: bytes) -> None:
    """A site file: a site, or ConfigError."""
    try:
        validated(Site, TomlSource(data.decode("utf-8", "replace"), "site.toml"))
    except ConfigError:
        return


def meter_profile(data: bytes) -> None:
    """A meter profile: a profile, or ProfileError."""
    try:
        profile_file.parse(data.decode("utf-8", "replace"), "fuzzed")
    except ProfileError:
        return


def dcc(data: bytes) -> None:
    """A digital calibration certificate: a document, or DccRefused."""
    try:
        read_dcc(data)
    except DccRefused:
        return


TARGETS: Mapping[str, Target] = {
    **{name: capture(name) for name in decode.NAMES},
    "modbus-rtu-pieces": rtu_in_pieces,
    "hj212-sm4": hj212_opened,
    "dlms-axdr": axdr_value,
    "dlms-session": dlms_session.session,
    "iec104-asdu": asdu,
    "record": entry,
    "note": signed_note,
    "proof": proof,
    "bundle": audit_bundle,
    "site": site_file,
    "profile": meter_profile,
    "dcc": dcc,
    **handed_over.TARGETS,
}

_VECTORS: Mapping[str, str] = {
    "dlt645-2007": "DL/T 645-2007",
    "dlt645-1997": "DL/T 645-1997",
    "dlt698": "DL/T 698.45",
    "cjt188": "CJ/T 188",
    "modbus-rtu": "Modbus RTU",
    "modbus-tcp": "Modbus TCP",
    "modbus-ascii": "Modbus ASCII",
    "hj212": "HJ 212",
    "mbus": "M-Bus",
    "iec62056-21": "IEC 62056-21",
    "dlms-hdlc": "DLMS",
}


def _evidence(name: str) -> list[bytes]:
    """The entries of a small log, one of each type; its bundle without the gzip; its checkpoint."""
    from tests.evidence.test_bundle import made

    whole = made()
    if name == "bundle":
        return [gzip.decompress(bundle.encode(whole))]
    if name == "note":
        return [whole.checkpoint]
    return list({type(record.decode(entry)): entry for _, entry in whole.entries}.values())


@cache
def golden(protocol: str) -> list[bytes]:
    """The answers that the profiles of a protocol keep as captured."""
    if protocol not in ("dlt698", "mbus", "iec62056-21", "cjt188"):
        return []
    known = (load(file.stem) for file in sorted((ROOT / "drivers/profiles").glob("*.toml")))
    return [vector.answer for profile in known if profile.protocol == protocol for vector in profile.vectors]


def seeds(name: str) -> list[bytes]:
    """Sound inputs of a target: the frames of the test vectors, the profiles and sites that are there."""
    if name in HANDED_OVER:
        return HANDED_OVER[name]()
    if name == "profile":
        return [file.read_bytes() for file in sorted((ROOT / "drivers/profiles").glob("*.toml"))[:8]]
    if name == "site":
        return [file.read_bytes() for file in sorted(ROOT.glob("docs/**/*.toml"))] or [SITE]
    if name in ("record", "note", "bundle"):
        return _evidence(name)
    built = sound(name) + golden(name)
    if name == "dcc":
        bare = b'<dcc:digitalCalibrationCertificate xmlns:dcc="https://ptb.de/dcc" schemaVersion="3.3.0"/>'
        return [bare, *built]
    kind = _VECTORS.get(name.removesuffix("-pieces"))
    if kind is None:
        return built
    listed = json.loads((ROOT / "tests/vectors/frames.json").read_text(encoding="utf-8"))["vectors"]
    own = [v for v in listed if v["protocol"].startswith(kind)]
    return [
        bytes.fromhex(v["hex"]) if v.get("hex") else v["text"].encode()
        for v in own
        if "hex" in v or "text" in v
    ] + built


SITE = b"""[site]
id = "works-1"
[[bus]]
id = "b1"
port = "/dev/ttyS0"
protocol = "dlt645-2007"
[[bus.instrument]]
id = "m1"
address = "1"
profile = "dlt645-three-phase"
"""
