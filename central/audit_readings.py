"""Readings computed again, each by itself: raw frames to indications, indications to results.

What was asked and how an answer is read comes from the configuration record that a reading names, never from profiles
that happen to be installed; the correction from the calibration state that it names.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

from calibration.operating import OperatingPoint, OperatingPoints, phase_of
from calibration.state import CalibrationState, format_u, format_value
from drivers import freeze, pushed
from drivers.codec import Answer, Indication, LocalProtocolError, Missing, Onward, Reject
from drivers.points import Profile, Query
from drivers.profile import decode as decode_answer
from drivers.protocols import Codec, Request, closing, codec
from evidence import record as records
from evidence.findings import Findings
from evidence.record import Reading, decimal_text

_T = TypeVar("_T")
FORMATS: Final = (
    "suyuan/configuration/1",
    "suyuan/configuration/2",
)  # of a whole site; of one instrument or of none
# Why there may be no answer on the line: which of them it was, the bytes cannot tell.
_NO_ANSWER: Final = frozenset(
    str(reason)
    for reason in (
        Missing.TIMEOUT,
        Missing.CORRUPT,
        Missing.MISMATCH,
        Missing.LINK_DOWN,
        Missing.SKIPPED,
        Missing.UNKNOWN_FORMAT,
    )
)
_REMEMBERED: Final = 20_000  # answers per instrument
_NOT_A_NUMBER: Final = "not_a_number"
_LONGEST: Final = 32  # characters; a decimal within this length is always one that a record can carry


_OBSERVED = frozenset(("identity_mismatch", "sm4", freeze.FLAG))
"""Flags of what only the gateway saw: another meter's number, a packet that came encrypted. Nothing computes them."""


@dataclass(slots=True)
class _Asked:
    """One instrument by one configuration: what was asked, and what its answers mean."""

    protocol: Codec | None  # None: it is not asked, but sends by itself
    profile: Profile
    queries: Mapping[bytes, tuple[int, Query, Request]]  # by request bytes, the transaction number left out
    units: Mapping[str, str]
    moduli: Mapping[str, Decimal]
    refresh_us: int
    cut: int = 0  # bytes of the transaction number, which differs from exchange to exchange
    phases: dict[str, str] = field(default_factory=dict)
    points: dict[str, OperatingPoints] = field(default_factory=dict)  # by the digest of the calibration state
    # (query, answer) -> what it says: what does not change is decoded once
    seen: dict[tuple[int, bytes], Sequence[Indication]] = field(default_factory=dict)
    pushed: Query | None = None  # what is looked for in what it sends
    frozen: tuple[int, int] | None = (
        None  # ordered to freeze: how far off its clock may be, what it is ahead of UTC
    )

    def key(self, request: bytes) -> bytes:
        return request[self.cut :]


class Readings:
    """Decodes and corrects readings again, each by itself, with the configurations and states that it knows."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.states: dict[tuple[int, str], CalibrationState | None] = {}
        self.counts = [0, 0, 0]  # readings, indications, results
        self.skipped: dict[str, int] = {}
        self._configurations: dict[tuple[int, str], Mapping[str, Any] | None] = {}
        self._asked: dict[tuple[int, str, tuple[str, bool]], _Asked | None] = {}
        self._newest: dict[str, tuple[int, str]] = {}  # by instrument

    def know(self, index: int, record: records.Record) -> Mapping[str, Any] | None:
        """Take in a configuration (its body is given back, if it is usable) or a calibration state."""
        if isinstance(record, records.CalibrationState):
            try:
                self.states[index, record.digest] = CalibrationState.from_json(bytes(record.body))
            except ValueError as error:
                self.findings.add("calibration_state", str(error), index)
                self.states[index, record.digest] = None
            return None
        if not isinstance(record, records.Configuration):
            return None
        body: Mapping[str, Any] | None = json.loads(bytes(record.body))
        if not isinstance(body, dict) or body.get("format") not in FORMATS:
            what = f"cannot be recomputed with: its format is none of {', '.join(FORMATS)}"
            self.findings.add("configuration_format", what, index)
            body = None
        self._configurations[index, record.digest] = body
        told = body.get("instruments") if body is not None else None
        if isinstance(told, dict):
            self._newest |= dict.fromkeys(told, (index, record.digest))
        return body

    def registers(self, instrument: str) -> tuple[Mapping[str, Decimal], int]:
        """What the newest configuration says of an instrument's registers."""
        body = self._configurations.get(self._newest.get(instrument, (-1, "")))
        if not body:
            return {}, 0
        asked = asked_of(body, instrument)
        return asked.moduli, asked.refresh_us

    def about(self, reading: Reading) -> tuple[Mapping[str, str], CalibrationState]:
        """Units and state of a reading that could be computed again."""
        configuration, state = reading.configuration, self.states[reading.state.index, reading.state.digest]
        key = (configuration.index, configuration.digest, _how(reading))
        asked = self._asked[key] if key in self._asked else self._asked_of(-1, reading)
        assert asked is not None
        assert state is not None
        return asked.units, state

    def check(self, index: int, reading: Reading) -> OperatingPoint | None:
        """Compute a reading again; its operating point, or None if there is nothing to compute with."""
        self.counts[0] += 1
        asked = self._asked_of(index, reading)
        reference = (reading.state.index, reading.state.digest)
        state = self.states.get(reference)
        if reference not in self.states:
            what = f"names calibration state {reference[0]}, which is not among the entries"
            self.findings.add("state_missing", what, index, reading.instrument)
        elif state is not None and state.instrument != reading.instrument:
            what = f"was corrected with the calibration state of {state.instrument}"
            self.findings.add("state_foreign", what, index, reading.instrument)
        if asked is None or state is None:
            what = "readings without a usable configuration or state"
            self.skipped[what] = self.skipped.get(what, 0) + 1
            return None
        self._decode(index, reading, asked)
        values = {name: float(text) for name, text in reading.indications.items()}
        return self._correct(index, reading, asked, state, values)

    def _asked_of(self, index: int, reading: Reading) -> _Asked | None:
        reference = (reading.configuration.index, reading.configuration.digest)
        key = (*reference, _how(reading))
        if key not in self._asked:
            body = self._configurations.get(reference)
            asked = None
            if reference not in self._configurations:
                what = f"names configuration {reference[0]}, which is not among the entries"
                self.findings.add("configuration_missing", what, index, reading.instrument)
            elif body is not None:
                try:
                    asked = asked_of(body, reading.instrument, frozen=freeze.FLAG in reading.flags)
                except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                    what = (
                        f"configuration {reference[0]} does not say how it was asked: "
                        f"{type(error).__name__}: {error}"
                    )
                    self.findings.add("configuration_lacks", what, index, reading.instrument)
            self._asked[key] = asked
        return self._asked[key]

    def _decode(self, index: int, reading: Reading, asked: _Asked) -> None:
        """The raw bytes again: every indication, every reason for having none."""
        indications: dict[str, str] = {}
        missing: dict[str, str] = {}
        for indication in _judged(reading, asked, self._indicated(index, reading, asked)):
            name, value = indication.measurand, indication.value
            if not name:
                continue
            if value is None:
                missing[name] = str(indication.missing)
                continue
            text = str(value)
            if len(text) > _LONGEST and not decimal_text(text):
                missing[name] = str(Missing.OUT_OF_RANGE)
            else:
                indications[name] = text
        self.counts[1] += len(reading.indications)
        if indications != reading.indications:
            self._differing(index, reading, "indication", indications, reading.indications)
        for name in dict.fromkeys((*asked.units, *reading.missing)):
            stated = reading.missing.get(name)
            if name in missing or name in indications or name not in asked.units:
                right = stated == missing.get(name)
            else:  # no answer: which of the reasons it was, the bytes cannot tell
                right = stated in _NO_ANSWER
            if not right:
                decoded = "a value" if name in indications else missing.get(name, "not answered")
                what = f"{name}: decoded as {decoded}, the record says {stated or 'nothing'}"
                self.findings.add("missing", what, index, reading.instrument)

    def _indicated(self, index: int, reading: Reading, asked: _Asked) -> list[Indication]:
        """The indications of all queries that were answered, or of the message that came by itself."""
        if asked.protocol is None:
            sent = b"".join(exchange.answer for exchange in reading.raw)
            query = asked.pushed
            return [] if query is None else list(decode_answer(asked.profile, query, Answer("", sent, sent)))
        found: list[Indication] = []
        parts: dict[int, list[Answer]] = {}
        done: set[int] = set()
        # sessions that ended in a refusal: one may be begun anew
        refused: dict[int, Sequence[Indication]] = {}
        following: dict[bytes, tuple[int, Request]] = {}
        if asked.frozen is not None and (not reading.raw or reading.raw[0].request != freeze.order()):
            what = "says that its values were frozen, and holds no order to freeze"
            self.findings.add("freeze", what, index, reading.instrument)
        for exchange in reading.raw:
            if not exchange.answer:
                continue
            key = asked.key(exchange.request)
            known = asked.queries.get(key)
            if known is not None:
                number, query, request = known
                parts.pop(number, None)  # a session that broke off was begun anew
                if number in refused:
                    refused.pop(number)
                    done.discard(number)
            elif key in following:
                number, request = following[key]
                query = next(q for n, q, _ in asked.queries.values() if n == number)
            else:
                what = f"the request {exchange.request.hex()} is none that the configuration asks"
                self.findings.add("request", what, index, reading.instrument)
                continue
            if number in done:
                continue
            memo = (number, exchange.answer[asked.cut :])
            if known is not None and exchange.answer[: asked.cut] == exchange.request[: asked.cut]:
                again = asked.seen.get(memo)
                if again is not None:
                    done.add(number)
                    found += again
                    continue
            answer = _matched(asked, request, exchange.request, exchange.answer)
            if answer is None:
                continue
            answers = parts.setdefault(number, [])
            answers.append(answer)
            if answer.more:
                try:
                    more = asked.protocol.follow(request, answer)
                except LocalProtocolError:
                    continue  # a value without an end is missing
                if more is not None:
                    following[asked.key(asked.protocol.encode(more))] = (number, more)
                continue
            done.add(number)
            if (end := closing(request, answer)) is not None:
                following[asked.key(asked.protocol.encode(end))] = (number, end)
            try:
                whole = answer if answer.error or len(answers) == 1 else asked.protocol.join(answers)
                read = decode_answer(asked.profile, query, whole)
            except LocalProtocolError:
                continue  # what the protocol cannot say is missing, and the record must say so
            if answer.error:
                refused[number] = read
                continue
            found += read
            if known is not None and len(answers) == 1 and len(asked.seen) < _REMEMBERED:
                asked.seen[memo] = read
        return [*found, *(one for read in refused.values() for one in read)]

    def _correct(
        self,
        index: int,
        reading: Reading,
        asked: _Asked,
        state: CalibrationState,
        values: Mapping[str, float],
    ) -> OperatingPoint:
        """The results again from the record's own indications; the operating point of the whole."""
        points_of = asked.points.get(state.digest)
        if points_of is None:
            points_of = asked.points[state.digest] = OperatingPoints(asked.units, state)
        points: dict[str, OperatingPoint] = {"total": points_of("total", values)}
        results: dict[str, tuple[str, str]] = {}
        flags: dict[str, None] = {}
        correct, phases = state.correct, asked.phases
        for name, value in values.items():
            phase = phases.get(name)
            if phase is None:
                phase = phases[name] = phase_of(name)
            point = points.get(phase)
            if point is None:
                point = points[phase] = points_of(phase, values)
            try:
                result = correct(name, value, load_a=point[0], power_factor=point[1])
            except ValueError:
                flags[_NOT_A_NUMBER] = None
                continue
            if result is None:
                continue
            y, u = _value_text(result.y), _u_text(result.u)
            if len(y) + len(u) > _LONGEST and not (decimal_text(y) and decimal_text(u)):
                flags[_NOT_A_NUMBER] = None
                continue
            results[name] = (y, u)
            for flag in result.flags:
                flags[flag] = None
        self.counts[2] += len(reading.results)
        if results != reading.results:
            self._differing(index, reading, "result", results, reading.results)
        if asked.pushed is not None:
            said = pushed.flags(asked.pushed, [exchange.answer for exchange in reading.raw])
            flags |= dict.fromkeys(said)
        if tuple(flags) != tuple(flag for flag in reading.flags if flag not in _OBSERVED):
            what = f"recomputed {', '.join(flags) or 'none'}, the record says {', '.join(reading.flags) or 'none'}"
            self.findings.add("flags", what, index, reading.instrument)
        return points["total"]

    def _differing(
        self, index: int, reading: Reading, what: str, computed: Mapping[str, Any], stated: Mapping[str, Any]
    ) -> None:
        for name in dict.fromkeys((*stated, *computed)):
            if computed.get(name) != stated.get(name):
                told = f"{name}: recomputed {_text(computed.get(name))}, the record says {_text(stated.get(name))}"
                self.findings.add(what, told, index, reading.instrument)


def _how(reading: Reading) -> tuple[str, bool]:
    """Which of an instrument's ways of being asked a reading came by."""
    return reading.instrument, freeze.FLAG in reading.flags


def _judged(reading: Reading, asked: _Asked, indications: list[Indication]) -> list[Indication]:
    """Frozen values once more measured by the order; what the gateway alone knew may speak against them, never for."""
    if asked.frozen is None:
        return indications
    apart = [n for n, reason in reading.missing.items() if reason == Missing.NOT_FROZEN]
    told = freeze.judged(indications, reading.utc_us, *asked.frozen)
    return [
        Indication(i.item, i.measurand, None, i.unit, Missing.NOT_FROZEN)
        if i.value is not None and i.measurand in apart
        else i
        for i in told
    ]


def asked_of(body: Mapping[str, Any], instrument: str, *, frozen: bool = False) -> _Asked:
    """How an instrument was asked, by a configuration record's body. KeyError names what is not in it.

    ``frozen``: what it was asked after an order to freeze.
    """
    about = body["instruments"][instrument]
    said = body["profiles"][about["profile"]]
    asked = about["freeze"] if frozen else said
    queries = [_rebuilt(Query, query) for query in asked["queries"]]
    points = tuple(point for query in queries for point in query.points)
    profile = Profile(
        said["name"], said["protocol"], said["maker"], said["model"], said["kind"], said["source"], points
    )
    units = {point.measurand: point.unit for point in points if point.measurand != freeze.STAMP}
    moduli = {point.measurand: point.modulus for point in points if point.modulus is not None}
    refresh_us = int(about["refresh_us"])
    if about["protocol"] in pushed.PROTOCOLS:
        (query,) = queries
        return _Asked(None, profile, {}, units, moduli, refresh_us, pushed=query)
    protocol = codec(about["protocol"])
    requests = [protocol.request(about["address"], query) for query in queries]
    cut = 2 if about["protocol"] == "modbus-tcp" else 0
    return _Asked(
        protocol,
        profile,
        {
            protocol.encode(request)[cut:]: (number, query, request)
            for number, (query, request) in enumerate(zip(queries, requests, strict=True))
        },
        units,
        moduli,
        refresh_us,
        cut,
        frozen=(int(asked["tolerance_us"]), int(asked["offset_us"])) if frozen else None,
    )


def _rebuilt(kind: type[_T], said: Mapping[str, Any]) -> _T:
    """A value of the drivers' from its fields as the record holds them; what is left out has its default."""
    hints = _hints(cast(Hashable, kind))
    return kind(**{name: _value(hints[name], value) for name, value in said.items()})


@cache
def _hints(kind: Hashable) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any) -> Any:
    options = [option for option in get_args(hint) if option is not NoneType]
    if get_origin(hint) is tuple:
        return tuple(_value(options[0], each) for each in value)
    wanted = options[0] if options else hint
    if wanted is Decimal:
        return Decimal(value)
    return _rebuilt(wanted, value) if is_dataclass(wanted) and isinstance(wanted, type) else value


def _matched(asked: _Asked, request: Request, sent: bytes, answer: bytes) -> Answer | None:
    """The answer to this request among these bytes; None if none is (they are kept all the same)."""
    protocol = asked.protocol
    if protocol is None:
        return None
    if asked.cut:
        request = protocol.numbered(request, int.from_bytes(sent[: asked.cut], "big"))
    decoder = protocol.decoder()
    for item in (*decoder.feed(answer), *decoder.finish()):
        if isinstance(item, Reject):
            continue
        found = protocol.match(request, item)
        if isinstance(found, Onward):
            request = cast(Request, found.request)
        elif isinstance(found, Answer):
            return found
    return None


def _value_text(y: float) -> str:
    """What ``format_value`` gives, at a third of the time for ordinary numbers."""
    text = f"{y:.12g}"
    return text if text.lstrip("-").replace(".", "", 1).isdigit() and text != "-0" else format_value(y)


def _u_text(u: float) -> str:
    """What ``format_u`` gives, likewise."""
    text = f"{u:.6g}"
    return text if text.replace(".", "", 1).isdigit() else format_u(u)


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " u ".join(map(str, value))
    return "nothing" if value is None else str(value)
