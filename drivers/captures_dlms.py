"""Captures of DLMS/COSEM over HDLC (or in the TCP wrapper, or as bare APDUs), as shown frames.

Answers are named by the request before them; scalers are applied wherever in the capture they stand, so frames are
finished only when everything has been read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from drivers import dlms, hdlc, obis
from drivers.axdr import ARRAY, Data, Malformed, Reader, scaler_unit
from drivers.codec import Indication, Missing, Reject, RejectReason
from drivers.decoded import Decoded, DecodedFrame
from drivers.dlms import GENERAL_BLOCK, Apdu, Attribute, Block

_SCALER_OF = {3: 3, 4: 3, 5: 4}  # class: the attribute that holds scaler_unit
_SCALED = {(3, 2), (4, 2), (5, 2), (5, 3)}
_LARGEST = 1 << 20  # bytes of one answer in blocks
_K = TypeVar("_K")


@dataclass(slots=True)
class _Shown:
    """A frame before scalers are applied."""

    offset: int
    raw: bytes
    address: str
    function: str
    direction: str
    results: list[tuple[Attribute | None, Data | str]] = field(default_factory=list)
    indications: list[Indication] = field(default_factory=list)
    error: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class _Dialogue:
    """What was asked of each server, the blocks of a long answer, and the scalers met so far."""

    def __init__(self) -> None:
        self._asked: dict[str, Apdu] = {}
        self._blocks: dict[str, tuple[int, bytes]] = {}
        self._general: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._scales: dict[tuple[str, str], tuple[int, str]] = {}

    def take(self, shown: _Shown, data: bytes) -> None:
        """One APDU into its frame. Malformed if it is broken."""
        apdu = dlms.parse(data)
        server = shown.address
        shown.extra["apdu"] = apdu.name
        if apdu.invoke is not None:
            shown.extra["invoke"] = apdu.invoke
        if apdu.moment:
            shown.extra["time"] = apdu.moment
        shown.error = apdu.error
        if not shown.direction:
            shown.direction = "request" if apdu.request else "response"
        if apdu.tag == GENERAL_BLOCK:
            shown.extra |= apdu.detail
            if apdu.block is not None:
                self._general_block(shown, apdu.block)
            return
        if apdu.ciphered:
            detail = f"ciphered: {apdu.ciphered.hex(' ').upper()}"
            shown.indications.append(Indication("ciphered", "", None, "", Missing.UNKNOWN_FORMAT, detail))
        elif apdu.tag == 0xC0 and apdu.attributes:
            self._asked[server] = apdu
            self._blocks.pop(server, None)
        if apdu.request:
            items = [a.item for a in apdu.attributes]
            shown.extra["request"] = {"what": apdu.name, "items": items, **apdu.detail}
            return
        shown.extra |= apdu.detail
        if apdu.block is not None:
            self._block(shown, apdu)
        elif not apdu.error:
            self._results(shown, apdu, apdu.results)

    @staticmethod
    def _whole(shown: _Shown, block: Block, held: dict[_K, tuple[int, bytes]], key: _K) -> bytes | None:
        """All blocks together once the last has come; None before, and if one is missing (which is told)."""
        shown.extra["block"] = {"number": block.number, "last": block.last}
        expected, before = held.pop(key, (1, b""))
        if block.number != expected or len(before) > _LARGEST:
            detail = f"block {block.number} came, {expected} was to come"
            shown.indications.append(Indication("block", "", None, "", Missing.MISMATCH, detail))
            return None
        whole = before + block.data
        if block.last:
            return whole
        held[key] = (expected + 1, whole)
        return None

    def _general_block(self, shown: _Shown, block: Block) -> None:
        """A general block transfer carries any APDU: it is read once its last block is there."""
        whole = self._whole(shown, block, self._general, (shown.address, shown.direction))
        if whole is None:
            return
        if whole[:1] == bytes((GENERAL_BLOCK,)):
            raise Malformed("a block transfer inside a block transfer")
        self.take(shown, whole)

    def _block(self, shown: _Shown, apdu: Apdu) -> None:
        assert apdu.block is not None
        whole = self._whole(shown, apdu.block, self._blocks, shown.address)
        if whole is None:
            return
        asked = self._asked.get(shown.address)
        reader = Reader(whole)
        listed = asked is not None and asked.listed
        results = dlms.result_list(reader) if listed else (reader.value(),)
        if reader.left:
            raise Malformed(f"{reader.left} bytes are left over after the joined blocks")
        self._results(shown, apdu, results)

    def _results(self, shown: _Shown, apdu: Apdu, results: tuple[Data | str, ...]) -> None:
        asked = self._asked.get(shown.address)
        attributes = apdu.attributes
        if apdu.tag == 0xC4 and asked is not None:
            same = (
                apdu.invoke is not None
                and asked.invoke is not None
                and not (apdu.invoke ^ asked.invoke) & 0x0F
            )
            if same and len(asked.attributes) == len(results):
                attributes = asked.attributes
            elif results:
                shown.extra["mismatch"] = {
                    "reason": "sequence",
                    "detail": "not the answer to the request before it",
                }
        for n, result in enumerate(results):
            attribute = attributes[n] if n < len(attributes) else None
            if attribute is not None and isinstance(result, Data):
                scale = (
                    scaler_unit(result) if _SCALER_OF.get(attribute.class_id) == attribute.attribute else None
                )
                if scale is not None:
                    self._scales[shown.address, attribute.code] = scale
            shown.results.append((attribute, result))

    def finish(self, shown: _Shown) -> DecodedFrame:
        """With the scalers of the whole capture."""
        found = list(shown.indications)
        for n, (attribute, result) in enumerate(shown.results, 1):
            found += self._indications(shown.address, n, attribute, result)
        return DecodedFrame(
            shown.offset,
            shown.raw,
            shown.address,
            shown.function,
            shown.direction,
            tuple(found),
            shown.error,
            shown.extra,
        )

    def _indications(
        self, server: str, n: int, attribute: Attribute | None, result: Data | str
    ) -> list[Indication]:
        item = attribute.item if attribute else f"result {n}"
        if isinstance(result, str):
            return [Indication(item, "", None, "", Missing.ERROR_ANSWER, result)]
        if attribute is None:
            return list(dlms.readings(result))
        if attribute.attribute == 1 and not result.container and len(result.raw) == 6:
            return [Indication(item, "", None, "", Missing.NOT_NUMERIC, obis.of_bytes(result.raw))]
        scale = scaler_unit(result)
        if scale is not None:
            text = f"scaler {scale[0]}, unit {scale[1]}"
            return [Indication(item, "", None, "", Missing.NOT_NUMERIC, text)]
        if result.container and (result.tag == ARRAY or len(result.parts) != 2):
            return list(dlms.readings(result, f"{item} element"))
        if result.container:
            return list(dlms.readings(result, item))
        if (attribute.class_id, attribute.attribute) in _SCALED:
            known = self._scales.get((server, attribute.code))
            return [
                dlms.indication(item, result, known, code=attribute.code if attribute.attribute == 2 else "")
            ]
        if result.number is not None:  # these classes have no scaler: the number is what it is
            return [Indication(item, "", result.number, "")]
        return [dlms.indication(item, result, code=attribute.code)]


def _shell(frame: hdlc.Frame, ways: dict[tuple[hdlc.Address, hdlc.Address], bool | None]) -> _Shown:
    """``ways``: what the LLC headers told of each pair of addresses; a later part of a message has none."""
    way = (frame.destination, frame.source)
    told = frame.from_server
    if frame.information[:3] in (hdlc.LLC_COMMAND, hdlc.LLC_RESPONSE):
        ways[way] = told
    elif frame.kind in ("I", "UI"):
        told = ways.get(way, told)
    server, client = (frame.source, frame.destination) if told else (frame.destination, frame.source)
    direction = {True: "response", False: "request", None: ""}[told]
    function = f"{frame.control:02X} {frame.kind}".strip()
    extra: dict[str, Any] = {"client": str(client)}
    if frame.kind in ("SNRM", "UA") and (negotiated := hdlc.negotiated(frame.information)):
        extra["negotiated"] = negotiated
    if frame.kind == "FRMR" and frame.information:
        extra["information"] = frame.information.hex(" ").upper()
    if direction == "request":
        extra["request"] = {"what": frame.kind}
    error = {"DM": "disconnected mode", "FRMR": "frame reject"}.get(frame.kind, "")
    return _Shown(frame.offset, frame.raw, str(server), function, direction, error=error, extra=extra)


def _hdlc(data: bytes) -> Decoded:
    decoder, joiner, dialogue = hdlc.Decoder(), hdlc.Joiner(), _Dialogue()
    frames: list[_Shown] = []
    rejected: list[Reject] = []
    ways: dict[tuple[hdlc.Address, hdlc.Address], bool | None] = {}
    for found in [*decoder.feed(data), *decoder.finish()]:
        if isinstance(found, Reject):
            rejected.append(found)
            continue
        shown = _shell(found, ways)
        if found.kind in ("I", "UI") and found.information:
            information = joiner.add(found)
            if information is None:
                shown.extra["segmented"] = True
                if joiner.lost:
                    detail = "a segment before this one is missing"
                    shown.indications.append(Indication("segment", "", None, "", Missing.MISMATCH, detail))
            else:
                llc = information[:3] in (hdlc.LLC_COMMAND, hdlc.LLC_RESPONSE)
                try:
                    dialogue.take(shown, information[3:] if llc else information)
                except Malformed as problem:
                    rejected.append(Reject(found.offset, RejectReason.LENGTH, found.raw, str(problem)))
                    continue
        frames.append(shown)
    rejected.sort(key=lambda r: r.offset)
    return Decoded(tuple(dialogue.finish(shown) for shown in frames), tuple(rejected))


def _wrapped(data: bytes) -> Decoded:
    """APDUs in the TCP wrapper."""
    decoder, dialogue = hdlc.WrapperDecoder(), _Dialogue()
    frames: list[_Shown] = []
    rejected: list[Reject] = []
    for found in [*decoder.feed(data), *decoder.finish()]:
        if isinstance(found, Reject):
            rejected.append(found)
            continue
        request = dlms.from_client(found.apdu[0])
        ends = (found.destination, found.source) if request else (found.source, found.destination)
        shown = _Shown(found.offset, found.raw, str(ends[0]), "wrapper", "", extra={"client": str(ends[1])})
        try:
            dialogue.take(shown, found.apdu)
        except Malformed as problem:
            rejected.append(Reject(found.offset, RejectReason.LENGTH, found.raw, str(problem)))
            continue
        frames.append(shown)
    rejected.sort(key=lambda r: r.offset)
    return Decoded(tuple(dialogue.finish(shown) for shown in frames), tuple(rejected))


def _bare(data: bytes) -> Decoded:
    """One APDU without any frame: nothing but its own lengths vouches for it."""
    dialogue = _Dialogue()
    shown = _Shown(0, data, "", f"{data[0]:02X}", "")
    try:
        dialogue.take(shown, data)
    except Malformed as problem:
        return Decoded((), (Reject(0, RejectReason.LENGTH, data, str(problem)),))
    return Decoded((dialogue.finish(shown),), ())


def decode_dlms(data: bytes) -> Decoded:
    """HDLC frames; what is none and begins as another dress (TCP wrapper, one bare APDU) is understood as that."""
    found = _hdlc(data)
    if found.frames or not data or data[0] == hdlc.FLAG:
        return found
    if data[:2] == b"\0\1":
        return _wrapped(data)
    bare = data[0] in dlms.NAMES and data[0] not in (0x01, 0x08)
    return _bare(data) if bare else found
