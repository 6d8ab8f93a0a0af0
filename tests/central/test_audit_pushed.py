"""Readings that nobody asked for are computed again from the packets that were pushed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from datetime import date

import msgspec
import pytest

from calibration.state import CalibrationState
from central.audit_readings import Readings
from drivers import profile
from drivers.points import Point, Query
from evidence import record as records
from evidence.findings import Findings
from evidence.record import RawExchange, Reference
from sim.hj212_logger import Hj212Logger

SALT = bytes(12)
AT = 1_782_000_000_000_000
FACTORS = {"a01011": {"Rtd": "12.3", "Flag": "N"}, "a01012": {"Rtd": "140.5", "Flag": "C"}}
FLAGS = ("data_flag:a01011=N", "data_flag:a01012=C")


def plain(value: object) -> object:
    if is_dataclass(value):
        return {
            f.name: plain(part)
            for f in fields(value)
            if f.init and (part := getattr(value, f.name)) != f.default
        }
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value if isinstance(value, bool | int | str) else str(value)


def logged(
    query: Query, protocol: str, packets: list[bytes], **said
) -> tuple[Readings, Findings, records.Reading]:
    """An auditor who knows configuration and state, and a reading that names both."""
    body = {
        "format": "suyuan/configuration/1",
        "instruments": {"M": {"protocol": protocol, "address": "M", "refresh_us": 0, "profile": "p"}},
        "profiles": {
            "p": {
                "name": "p",
                "protocol": protocol,
                "kind": "CEMS",
                "maker": "any",
                "model": "any",
                "source": "test",
                "queries": [plain(query)],
            }
        },
    }
    raw = json.dumps(body, sort_keys=True).encode()
    digest = hashlib.sha256(raw).hexdigest()
    state = CalibrationState("M", date(2026, 1, 1), date(2026, 12, 31))
    findings = Findings()
    auditor = Readings(findings)
    auditor.know(0, records.Configuration(salt=SALT, digest=digest, body=msgspec.Raw(raw)))
    auditor.know(
        1, records.CalibrationState(salt=SALT, digest=state.digest, body=msgspec.Raw(state.to_json()))
    )
    reading = records.Reading(
        salt=SALT,
        instrument="M",
        number=1,
        previous=-1,
        due_us=AT,
        utc_us=AT,
        boot_us=AT,
        clock=2,
        clock_error_us=None,
        raw=tuple(RawExchange(b"", packet, 0, 0) for packet in packets),
        results={},
        state=Reference(1, state.digest),
        configuration=Reference(0, digest),
        **said,
    )
    return auditor, findings, reading


@pytest.fixture
def query() -> Query:
    return profile.plan(profile.load("hj212-cems-2017"), ["velocity.gas", "temperature.gas"])[0]


SAID = {
    "indications": {"velocity.gas": "12.3"},
    "missing": {"temperature.gas": "flagged"},
    "flags": FLAGS,
}


@pytest.mark.parametrize("parts", [1, 2])
def test_a_pushed_reading_is_computed_again(query, parts):
    packets = Hj212Logger("M", "1").message("2011", AT, FACTORS, parts=parts)
    auditor, findings, reading = logged(query, "hj212", packets, **SAID)
    auditor.check(2, reading)
    assert findings.all() == ()
    assert auditor.skipped == {}


@pytest.mark.parametrize("seen", ["sm4", "identity_mismatch"])
def test_a_flag_of_what_only_the_gateway_saw_is_no_difference(query, seen):
    packets = Hj212Logger("M", "1").message("2011", AT, FACTORS)
    auditor, findings, reading = logged(query, "hj212", packets, **{**SAID, "flags": (*FLAGS, seen)})
    auditor.check(2, reading)
    assert findings.all() == ()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"indications": {"velocity.gas": "12.4"}}, "indication"),
        ({"missing": {"temperature.gas": "fault"}}, "missing"),
        ({"flags": ("data_flag:a01011=N", "data_flag:a01012=N")}, "flags"),
    ],
)
def test_what_the_packet_does_not_say_is_found(query, changed, code):
    packets = Hj212Logger("M", "1").message("2011", AT, FACTORS)
    auditor, findings, reading = logged(query, "hj212", packets, **{**SAID, **changed})
    auditor.check(2, reading)
    assert [finding.code for finding in findings.all()] == [code]


def test_a_published_message_is_computed_again():
    query = Query("mqtt", (Point("voltage.l1", "V", item="u.l1"),))
    said = {"indications": {"voltage.l1": "230.10"}, "missing": {}, "flags": ()}
    auditor, findings, reading = logged(query, "mqtt", [b'{"u":{"l1":230.10}}'], **said)
    auditor.check(2, reading)
    assert findings.all() == ()


OPCUA = Query(
    "opcua", (Point("power.active.total", "kW", item="ns=2;s=P"), Point("voltage.l1", "V", item="ns=2;s=U"))
)
LINES = [
    b"ns=2;s=P\tFloat\t1.5\t40930000\t2026-06-21T00:00:00.000000Z\n",
    b"ns=2;s=U\tDouble\t230.1\t808C0000\t2026-06-21T00:00:00.000000Z\n",
]
TOLD = {
    "indications": {"power.active.total": "1.5"},
    "missing": {"voltage.l1": "fault"},
    "flags": ("status:power.active.total=40930000", "status:voltage.l1=808C0000"),
}


def test_what_an_opcua_server_notified_is_computed_again():
    auditor, findings, reading = logged(OPCUA, "opcua", LINES, **TOLD)
    auditor.check(2, reading)
    assert findings.all() == ()
    assert auditor.skipped == {}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"indications": {"power.active.total": "1.4"}}, "indication"),
        ({"missing": {"voltage.l1": "timeout"}}, "missing"),
        ({"flags": TOLD["flags"][1:]}, "flags"),
    ],
)
def test_what_no_notification_says_is_found(changed, code):
    auditor, findings, reading = logged(OPCUA, "opcua", LINES, **{**TOLD, **changed})
    auditor.check(2, reading)
    assert [finding.code for finding in findings.all()] == [code]
