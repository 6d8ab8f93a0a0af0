"""Targets for what arrives as files, messages and tiles: each refusal in the words of its own contract, nothing else.

What can be written again must come out the same, what states a number must state the same as another reader finds.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from calibration import dcc
from calibration.certificate import Instrument, InstrumentKind
from calibration.expression import ModelError
from calibration.expression import parse as parse_expression
from calibration.refusals import DccRefused, TableRefused
from calibration.state import CalibrationState, StateError
from calibration.tables import read_csv
from central.authority import AuthorityError
from central.authority import Wanted as CertificateWanted
from central.delivery import Delivery
from central.offer import Offer
from central.registry import RegistryError
from central.registry import parse as parse_registry
from drivers import decode, json_points, opcua_points, sunspec
from drivers.codec import Answer, LocalProtocolError
from drivers.points import Point
from drivers.profile import decode as decode_points
from drivers.profile import plan
from evidence import enrolment, log, policy, revocation
from evidence.errors import EvidenceError, ParseError
from evidence.note import Verifier
from gateway import advice
from gateway.certificate_file import CertificateFileModel
from gateway.edge import validated
from gateway.mirroring import Wanted
from gateway.pasted import read_points
from gateway.toml_source import ConfigError, TomlSource
from sim.faults import ScenarioError, scenario

Target = Callable[[bytes], None]
INSTRUMENT = Instrument("T1", InstrumentKind.TEMPERATURE, "Sensor GmbH", "Pt100", "S-77", range_unit="Cel")
PAPER = {"quantity": "energy.active", "unit": "%"}
NODE = "nsu=urn:plant.example:meters;s=Press.Power"
JSON_POINTS = (
    Point("power.active.total", "kW", item="ENERGY.Power", scale=Decimal("0.001")),
    Point("energy.active.import", "kWh", item="total_kwh"),
    Point("voltage.l1", "V", item="params.0.u", scale=Decimal("0.1")),
)
OPCUA_POINTS = (
    Point("power.active.total", "kW", item=NODE, scale=Decimal("0.001")),
    Point("energy.active.import", "kWh", item="i=85"),
)


def sunspec_chain(data: bytes) -> None:
    """The registers from 40000 on: a device or none; the profile of any meter model passes a file's checks."""

    def ask(start: int, count: int) -> bytes | None:
        at = 2 * (start - sunspec.BASES[0])
        found = data[at : at + 2 * count] if at >= 0 else b""
        return found if len(found) == 2 * count else None

    steps = sunspec.discovery()
    device: sunspec.Device | None = None
    try:
        asked = next(steps)
        while True:
            asked = steps.send(ask(asked.start, asked.count))
    except StopIteration as end:
        device = end.value
    if device is None or device.meter is None:
        return
    try:
        profile = sunspec.profile_of(device, "found")
    except LocalProtocolError:
        return
    for query in plan(profile):
        words = ask(query.start, query.count)
        if words is None:
            continue
        for point, told in zip(
            query.points, decode_points(profile, query, Answer(query.where, words, b"", "1")), strict=True
        ):
            assert (told.value is None) != (told.missing is None), "neither value nor reason"
            if told.value is not None and point.type == "i16" and point.scale_at is not None:
                raw, power = (
                    struct.unpack(">h", ask(a, 1) or b"")[0] for a in (point.address, point.scale_at)
                )
                assert told.value == Decimal(raw).scaleb(power) * point.scale, (
                    "another number than the registers'"
                )


def json_message(data: bytes) -> None:
    """A message that a meter publishes: each number as another parse of the same text finds it, exactly."""
    points = JSON_POINTS
    found = json_points.decode(points, data)
    assert len(found) == len(points)
    for point, told in zip(points, found, strict=True):
        assert (told.value is None) != (told.missing is None), "neither value nor reason"
        if told.value is None:
            continue
        at: Any = json.loads(data.decode("utf-8"), parse_float=Decimal)
        for step in point.item.split("."):
            at = at[int(step)] if isinstance(at, list) else at[step]
        assert not isinstance(at, bool | float), "no number"
        exact = Fraction(str(at).strip()) * Fraction(point.scale)
        assert Fraction(told.value) == exact, "another number than the message's"


def notifications(data: bytes) -> None:
    """OPC UA notifications as they are kept: in the one form that there is, or refused; no value with a bad code."""
    found = opcua_points.decode(OPCUA_POINTS, data)
    opcua_points.record_flags(OPCUA_POINTS, data)
    for told in found:
        assert (told.value is None) != (told.missing is None), "neither value nor reason"
    try:
        lines = opcua_points.parsed(data)
    except ValueError:
        assert all(told.value is None for told in found), "a value of what is refused"
        return
    assert b"".join(map(opcua_points.encode, lines)) == data, "another form of the same"
    first = {line.node: line for line in reversed(lines)}
    for point, told in zip(OPCUA_POINTS, found, strict=True):
        assert told.value is None or first[point.item].status >> 30 < 2, "a value of a bad status"


def tile(data: bytes) -> None:
    """Tiles and their paths: an entry bundle is written again as it came, a path has one spelling."""
    width = data[0] + 1 if data else 256
    for read in (log.decode_bundle, log.tile_hashes):
        try:
            found = read(data[1:], width)
        except ParseError:
            continue
        again = log.encode_bundle(found) if read is log.decode_bundle else b"".join(found)
        assert (len(found), again) == (width, data[1:]), "not the same tile"
    text = data.decode("utf-8", "replace")
    try:
        named = log.parse_path(text)
    except ParseError:
        return
    assert named.path == text, "a second spelling"


def certificate_file(data: bytes) -> None:
    """A certificate file's TOML: tables, or ConfigError with lines."""
    try:
        validated(CertificateFileModel, TomlSource(data.decode("utf-8", "replace"), "certificates.toml"))
    except ConfigError:
        return


def dcc_certificate(data: bytes) -> None:
    """A digital calibration certificate down to the register's points: finite numbers, or DccRefused."""
    try:
        found = dcc.import_dcc(data, INSTRUMENT)
    except DccRefused:
        return
    for point in (*found.points, *found.as_found):
        assert point.error.is_finite(), "an error that is no number"
        assert point.U.is_finite(), "an uncertainty that is no number"
        assert point.U > 0, "no uncertainty"


def _again(parse: Callable[[bytes], Any], refusals: tuple[type[Exception], ...]) -> Target:
    """Read, or refused in the contract's own error."""

    def check(data: bytes) -> None:
        try:
            parse(data)
        except refusals:
            return

    return check


def _text(parse: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: parse(data.decode("utf-8", "replace"))


def state(data: bytes) -> None:
    """A calibration state: written canonically, or StateError."""
    try:
        found = CalibrationState.from_json(data)
    except StateError:
        return
    assert found.to_json() == data, "another form of the same"


TARGETS: Mapping[str, Target] = {
    "sunspec": sunspec_chain,
    "json-message": json_message,
    "opcua": notifications,
    "tile": tile,
    "certificates": certificate_file,
    "dcc-points": dcc_certificate,
    "calibration-state": state,
    "table": _again(read_csv, (TableRefused,)),
    "pasted": _again(
        _text(lambda text: read_points(text, {"quantity": "energy.active", "unit": "%"})), (TableRefused,)
    ),
    "expression": _again(_text(parse_expression), (ModelError,)),
    "scenario": _again(_text(scenario), (ScenarioError,)),
    "enrolment": _again(enrolment.Application.parse, (EvidenceError,)),
    "enrolment-answer": _again(enrolment.Answer.parse, (ParseError,)),
    "policy": _again(policy.Policy.parse, (ParseError,)),
    "revocation": _again(_text(revocation.read_revocations), (ParseError,)),
    "verifier": _again(_text(Verifier.parse), (ParseError,)),
    "registry": _again(_text(parse_registry), (RegistryError,)),
    "request": _again(CertificateWanted.parse, (AuthorityError,)),
    "offer": _again(Offer.parse, (ParseError,)),
    "delivery": _again(Delivery.parse, (ParseError,)),
    "mirror": _again(_text(Wanted.parse), (ParseError,)),
    "advice": _again(lambda data: advice.read(data, "advice.json"), (advice.AdviceRefused,)),
    "pasted-frames": _again(_text(decode.parse_hex_or_text), (ValueError,)),
}
