"""M-Bus: captured frames with their values, refusals, every coding and extension, and an independent parser."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import mbus, mbus_records
from drivers.codec import Answer, Indication, LocalProtocolError, Mismatch, MismatchReason, Missing, Reject
from drivers.decode import decode_capture
from drivers.mbus import Decoder, Frame, Request
from drivers.profile import Query
from drivers.protocols import codec

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
GOOD = [v for v in FRAMES["vectors"] if v["protocol"].startswith("M-Bus")]
BAD = [v for v in FRAMES["must_reject"] if v["protocol"].startswith("M-Bus")]
UNITS = {"m^3": "m3", "m^3/h": "m3/h", "Â°C": "Cel", "-": ""}
HEADER = bytes.fromhex("78563412 2440 01 02 55 00 0000")


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


def one(record: str, medium: int = 2) -> Indication:
    ((indication,), _, _) = mbus_records.records(bytes.fromhex(record), medium=medium)
    return indication


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_captured_frame_has_the_contents_that_were_noted(vector):
    found = decode_capture("mbus", bytes.fromhex(vector["hex"])).to_json()
    assert found["rejected"] == []
    (frame,) = found["frames"]
    assert frame["direction"] == (
        "request" if vector["id"] == "mbus-err-manual_frame4" else vector["direction"]
    )
    expected = vector["expected"]
    if "application_error" in expected:
        assert frame["items"] == []
        wanted = expected["application_error"].lower().replace("difeâ´s", "DIFEs").replace("vifeâ´s", "VIFEs")
        assert frame["error"] == wanted.replace("ci-field", "CI field")
    if "records" not in expected:
        assert all(item["value"] is None for item in frame["items"])
        return
    head = expected["header"]
    assert frame["identity"].lstrip("0") == head["Id"]
    assert (frame["manufacturer"], frame["version"]) == (head["Manufacturer"], int(head["Version"]))
    assert (frame["access"], frame["status"]) == (int(head["AccessNumber"]), head["Status"])
    # libmbus counts the announcement of a further telegram (1F) as a record
    assert len(frame["items"]) + frame.get("more", False) == expected["record_count"]
    for item, record in zip(frame["items"], expected["records"], strict=False):
        check(item, record)


def check(item: dict[str, Any], record: dict[str, Any]) -> None:
    if record["function"] == "Value during error state":
        assert (item["value"], item["missing"]) == (None, "error_answer")
    elif record["function"] == "Manufacturer specific":
        assert (item["value"], item["detail"]) == (None, record["value"])
    elif item["value"] is None:
        assert item["text"] == record["value"].removesuffix("Z")
    else:
        assert Decimal(item["value"]) == Decimal(record["value"])
        assert item["unit"] == UNITS.get(record["unit"], record["unit"])
        assert ("storage=" + record["storage"] in item["item"].split()) == (record["storage"] != "0")
        if record["tariff"]:
            assert ("tariff=" + record["tariff"] in item["item"].split()) == (record["tariff"] != "0")


@pytest.mark.parametrize("vector", BAD, ids=lambda v: v["id"])
def test_a_frame_that_must_be_refused_gives_no_value(vector):
    found = decode_capture("mbus", bytes.fromhex(vector["hex"])).to_json()
    assert found["frames"] == []
    assert (found["rejected"][0]["offset"], found["rejected"][0]["reason"]) == (0, "length")


@pytest.mark.parametrize(
    ("record", "value", "unit"),
    [
        ("01 13 80", None, "m3"),  # the most negative integer: no value
        ("01 13 81", "-0.127", "m3"),
        ("02 13 0080", None, "m3"),
        ("03 13 FFFFFF", "-0.001", "m3"),
        ("06 03 000000000080", None, "Wh"),
        ("06 03 0100000000FF", "-1099511627775", "Wh"),
        ("07 03 0000000000000001", "72057594037927936", "Wh"),
        ("09 5B 99", "99", "Cel"),
        ("09 5B F5", "-5", "Cel"),  # F in the highest place: minus
        ("0A 5A 27A2", None, "Cel"),
        ("0E 07 563412907856", "567890123456" + "0000", "Wh"),
        ("05 13 0000C07F", None, "m3"),  # NaN
        ("05 13 000080FF", None, "m3"),  # -infinity
        ("05 16 CDCC4C3E", "0.2", "m3"),  # the shortest decimal that is this float
        ("0D 13 C2 3412", "1.234", "m3"),
        ("0D 13 D2 3412", "-1.234", "m3"),
        ("0D 13 E2 3412", "4.660", "m3"),
        ("0D 13 E2 3492", None, "m3"),  # signed or not: the editions differ
        ("00 13", None, "m3"),
        ("02 25 0100", "60", "s"),
        ("02 2E 0100", "1000", "W"),
        ("02 30 0100", "1", "J/h"),
        ("02 4F 0100", "0.01", "m3/s"),
        ("02 FB 01 0100", "1000000", "Wh"),
        ("02 FB 09 0100", "1000000000", "J"),
        ("02 FB 2D F401", "5.00", "Hz"),
        ("02 FD 48 FC08", "230.0", "V"),
        ("02 FD 59 0A00", "0.010", "A"),
        ("02 FD 60 FFFF", "65535", ""),  # a counter has no sign
        ("02 93 7D 0100", "1.000", "m3"),  # multiplied by 1000
        ("02 93 72 0100", "0.0000001", "m3"),
        ("02 AB 24 0100", "1", "W/wk"),
        ("02 93 79 0100", None, "m3"),  # an additive constant: no value is guessed
        ("02 FC 03 48 52 25 74 D411", "45.64", ""),
        ("02 6F 0100", None, ""),  # reserved
        ("02 FB 4F 0100", None, ""),
        ("02 83 15 0100", None, "Wh"),  # the meter says: no data available
        ("02 83 18 0100", None, "Wh"),  # data error
        ("32 2B 0100", None, "W"),  # during error state
        ("12 2B 0100", "1", "W"),
    ],
)
def test_a_record_is_exact_or_missing(record, value, unit):
    indication = one(record)
    assert indication.value == (None if value is None else Decimal(value))
    assert indication.unit == unit


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("02 13 0080", Missing.NOT_SUPPORTED),
        ("0A 13 FFFF", Missing.NOT_SUPPORTED),
        ("0A 13 F1FA", Missing.NOT_A_NUMBER),
        ("02 83 15 0100", Missing.NOT_SUPPORTED),
        ("02 83 17 0100", Missing.ERROR_ANSWER),
        ("32 13 0100", Missing.ERROR_ANSWER),
        ("02 FD 7F 0100", Missing.UNKNOWN_FORMAT),
        ("02 93 3D 0100", Missing.UNKNOWN_FORMAT),
        ("0D 78 03 434241", Missing.NOT_NUMERIC),
    ],
)
def test_a_missing_value_says_why(record, reason):
    assert one(record).missing is reason


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("02 6C BF15", "2013-05-31"),
        ("02 6C BE12", None),  # November 30, 2013 is one: see below
        ("02 6C FF12", None),  # 31 February
        ("04 6D 2B0F791A", "2011-10-25T15:43:00"),
        ("04 6D AB0F791A", None),  # marked invalid
        ("04 6D 2B8F791A", "2011-10-25T15:43:00 DST"),
        ("03 6D 1E2D0C", "12:45:30"),
        ("06 6D 000008162700", "2016-07-22T08:00:00"),
        ("06 6D 008008162700", None),
        ("0C 6D 2B0F791A", None),  # BCD is no date
        ("02 B9 3B 0100", None),
        ("04 ED 39 2B0F791A", "2011-10-25T15:43:00"),
    ],
)
def test_dates_and_times_are_told_if_possible(record, text):
    if text is None and record.startswith("02 6C BE"):
        assert one("02 6C BE1B").detail == "2013-11-30"
        return
    indication = one(record)
    if text is None:
        assert indication.missing is not Missing.NOT_NUMERIC
    else:
        assert (indication.missing, indication.detail) == (Missing.NOT_NUMERIC, text)


def test_storage_tariff_subunit_and_function_are_part_of_the_item():
    assert one("02 03 0100").item == "energy"
    assert one("D2 53 03 0100").item == "energy storage=7 tariff=1 subunit=1 function=maximum"
    assert one("82 10 83 3C 0100").item == "energy (backward) tariff=1"
    assert one("82 80 80 01 03 0100").item == "energy storage=512"


@pytest.mark.parametrize(
    ("record", "medium", "measurand"),
    [
        ("02 03 0100", 2, "energy.active.import"),
        ("82 20 03 0100", 2, "energy.active.import.t2"),
        ("02 83 3C 0100", 2, "energy.active.export"),
        ("42 03 0100", 2, ""),  # a stored value is not the present one
        ("12 2B 0100", 2, ""),
        ("82 40 03 0100", 2, ""),
        ("02 2B 0100", 2, "power.active.total"),
        ("02 AB FC 02 0100", 2, "power.active.l2"),
        ("02 FD C8 FC 01 0100", 2, "voltage.l1"),
        ("02 FD 48 0100", 2, ""),  # of which phase?
        ("02 FB 82 3C 0100", 2, "energy.reactive.export"),
        ("02 03 0100", 4, "energy.heat.total"),
        ("02 13 0100", 7, "volume.total"),
        ("02 93 3E 0100", 3, ""),  # at base conditions: another quantity
        ("02 5B 0100", 4, "temperature.supply"),
        ("02 03 0100", 7, ""),
    ],
)
def test_a_measurand_is_named_only_where_the_record_says_enough(record, medium, measurand):
    assert one(record, medium).measurand == measurand


def test_a_measurand_that_several_records_claim_is_none_of_theirs():
    found, _, _ = mbus_records.records(bytes.fromhex("02 2B 0100 02 2B 0200 02 03 0300"), medium=2)
    assert [(i.measurand, i.value) for i in found] == [("", 1), ("", 2), ("energy.active.import", 3)]


@pytest.mark.parametrize(
    "record",
    [
        "02", "02 93", "02 13 01", "0D 13", "0D 13 05 41", "82", "02 FD", "02 FB", "02 FC", "02 FC 05 41", "3F 13 01",
        "0D 13 CA 01", "0D 13 F7", "0D 13 FF", "02" + "83" * 12 + "0100", "82" + "80" * 11 + "00 03 0100",
    ],
)  # fmt: skip
def test_a_broken_record_spoils_the_telegram(record):
    frame = mbus.long(0x08, 1, 0x72, HEADER + bytes.fromhex("02 13 0100" + record))
    found = decode_capture("mbus", frame).to_json()
    assert found["frames"] == []
    assert [r["reason"] for r in found["rejected"]] == ["length"]


def test_ten_extensions_of_each_kind_are_allowed():
    assert one("82" + "80" * 9 + "00 03 0100").value == 1
    assert one("02" + "83" + "80" * 9 + "00 0100").value == 1


def test_more_telegrams_and_makers_data_are_told():
    telegram = mbus_records.decode(0x72, HEADER + bytes.fromhex("02 13 0100 1F AA BB"))
    assert telegram is not None
    assert telegram.more
    assert telegram.indications[1].detail == "AA BB"
    assert telegram.indications[1].missing is Missing.UNKNOWN_FORMAT


def test_an_encrypted_telegram_gives_no_value():
    data = HEADER[:-2] + bytes.fromhex("1005") + bytes(range(16))
    telegram = mbus_records.decode(0x72, data)
    assert telegram is not None
    assert [(i.value, i.missing) for i in telegram.indications] == [(None, Missing.UNKNOWN_FORMAT)]


def test_error_flags_that_conform_to_the_standard_are_read():
    """02 FD 97 1D, as OMS meters send it (a Weptech room sensor in the tests of pyMeterBus)."""
    flags = one("02 FD 97 1D 00 00")
    assert (flags.item, flags.value, flags.missing) == ("error flags (standard conform)", Decimal(0), None)


def test_a_ciphered_dlms_message_over_mbus_is_named_and_gives_no_value():
    """The example of Netz NÖ's description of the customer interface (Kaifa MA309), its second telegram."""
    second = "68 14 14 68 53 FF 11 01 67 41 9A 3C FD A4 4B E4 38 C9 6F 0E 38 BF 83 D9 83 16"
    first = mbus.long(0x53, 0xFF, 0x00, bytes.fromhex("01 67 DB 08 4B464D6750000009"))
    frames = decode_capture("mbus", first + bytes.fromhex(second)).to_json()["frames"]
    assert [f["request"]["application"] for f in frames] == ["DLMS/COSEM segment"] * 2
    assert [f["request"]["segment"] for f in frames] == [
        {"number": 0, "last": False},
        {"number": 1, "last": True},
    ]
    assert frames[0]["request"]["apdu"] == "ciphered"
    assert [f["items"] for f in frames] == [[], []]


def test_the_high_byte_first_mode_reads_the_same_values():
    turned = bytes.fromhex("12345678 4024 01 02 55 00 0000 02 13 0102 0D 78 02 4142 04 6D 1A790F2B")
    straight = bytes.fromhex("78563412 2440 01 02 55 00 0000 02 13 0201 0D 78 02 4241 04 6D 2B0F791A")
    assert mbus_records.decode(0x76, turned) == mbus_records.decode(0x72, straight)


@pytest.mark.parametrize(
    ("data", "values"),
    [
        # two counters of the standard's example: 12345678, status 0, unit litres and kWh-like codes
        ("78563412 0A 00 E9 7E 01000000 35010000", ["0.001", "0.135"]),
        ("78563412 0A 01 E9 7E 01000000 35010000", ["0.001", "0.309"]),
        ("78563412 0A 00 45 3F 01000000 A5010000", ["1000", None]),
        ("78563412 0A 00 40 01 01000000 35010000", [None, None]),
    ],
)
def test_the_fixed_data_structure(data, values):
    telegram = mbus_records.decode(0x73, bytes.fromhex(data))
    assert telegram is not None
    assert telegram.header.identity == "12345678"
    assert [i.value for i in telegram.indications] == [None if v is None else Decimal(v) for v in values]


def test_the_two_medium_bits_of_each_unit_byte_make_the_medium():
    telegram = mbus_records.decode(0x73, bytes.fromhex("78563412 0A 00 E9 7E 01000000 35010000"))
    assert telegram is not None
    assert telegram.header.medium == "water"
    assert [i.unit for i in telegram.indications] == ["m3", "m3"]
    assert telegram.indications[1].item.endswith("storage=1")


# ---- the link --------------------------------------------------------------------------------------------------------

SOUND = [bytes.fromhex(v["hex"]) for v in GOOD]


@given(st.lists(st.sampled_from([*SOUND, b"\xe5", b"\x00", b"\x68\x68", b"\x10"]), max_size=5), st.data())
def test_how_a_stream_is_cut_does_not_matter(pieces, data):
    stream = b"".join(pieces)
    whole = all_of(stream)
    decoder = Decoder()
    found: list[Frame | Reject] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 50))
        found += decoder.feed(stream[at : at + size])
        at += size
    assert [*found, *decoder.finish()] == whole


def test_an_e5_inside_a_refused_frame_is_no_acknowledge():
    frame = bytearray(mbus.long(0x08, 1, 0x72, HEADER + b"\x02\x13\xe5\x00"))
    frame[-2] ^= 1
    (reject,) = all_of(bytes(frame))
    assert isinstance(reject, Reject)
    assert all_of(b"\xe5") == [Frame(0, b"\xe5")]


@pytest.mark.parametrize(("control", "unit"), [(0x40, 253), (0x5B, 4), (0x7B, 2), (0x40, 1)])
def test_captured_requests_are_those_that_we_would_send(control, unit):
    raw = mbus.encode(Request(unit, control))
    assert raw in SOUND


def test_a_captured_selection_is_the_one_that_we_would_send():
    assert mbus.select("16357551") == bytes.fromhex("68 0B 0B 68 53 FD 52 51 75 35 16 FF FF FF FF AF 16")


def test_only_reading_is_sent():
    with pytest.raises(LocalProtocolError):
        mbus.encode(Request(1, mbus.SND_UD))


ANSWER = mbus.long(0x08, 5, 0x72, HEADER + bytes.fromhex("02 13 0100"))


@pytest.mark.parametrize(
    ("request_", "answer", "reason"),
    [
        (Request(6), ANSWER, MismatchReason.ADDRESS),
        (Request(5), mbus.short(0x5B, 5), MismatchReason.ECHO),
        (Request(5), mbus.short(0x7B, 6), MismatchReason.FUNCTION),
        (Request(5, 0x40), ANSWER, MismatchReason.FUNCTION),
        (Request(0xFD, secondary="99999999FFFFFFFF"), ANSWER, MismatchReason.ADDRESS),
        (Request(5), mbus.long(0x08, 5, 0x72, b"\0\0"), MismatchReason.LENGTH),
        (Request(5), mbus.long(0x08, 5, 0x55, b"\0\0"), MismatchReason.FUNCTION),
    ],
)
def test_what_is_no_answer_to_the_request_is_told_apart(request_, answer, reason):
    (frame,) = all_of(answer)
    assert isinstance(frame, Frame)
    verdict = mbus.match(request_, frame)
    assert isinstance(verdict, Mismatch)
    assert verdict.reason is reason


@pytest.mark.parametrize(
    ("request_", "raw", "error"),
    [
        (Request(5), ANSWER, ""),
        (Request(0xFD, secondary="123456FFFFFFFFFF"), ANSWER, ""),
        (Request(5, 0x40), b"\xe5", ""),
        (
            Request(5),
            mbus.long(0x08, 5, 0x70, b"\x08"),
            "application too busy for handling a readout request",
        ),
    ],
)
def test_an_answer_is_accepted(request_, raw, error):
    (frame,) = all_of(raw)
    assert isinstance(frame, Frame)
    answer = mbus.match(request_, frame)
    assert isinstance(answer, Answer)
    assert answer.error == error


@pytest.mark.parametrize("text", ["251", "-1", "abc", "1234567", "12345678FFF", ""])
def test_an_impossible_address_is_refused(text):
    with pytest.raises(ValueError, match="M-Bus address"):
        mbus.address(text)


@given(st.binary(max_size=252), st.sampled_from([0x70, 0x72, 0x73, 0x76, 0x77, 0x78, 0x7A]))
def test_any_application_data_is_shown_or_refused(data, ci):
    found = decode_capture("mbus", mbus.long(0x08, 1, ci, data)).to_json()
    assert len(found["frames"]) + len(found["rejected"]) == 1
    for frame in found["frames"]:
        assert all(item["value"] is not None or item["missing"] for item in frame["items"])


# ---- an independent parser ------------------------------------------------------------------------------------------

PEER_UNITS = {
    "Wh": "Wh", "J": "J", "m^3": "m3", "kg": "kg", "W": "W", "J/h": "J/h", "m^3/h": "m3/h", "C": "Cel", "K": "K",
    "m^3/min": "m3/min", "m^3/s": "m3/s", "kg/h": "kg/h", "bar": "bar", "seconds": "s", "V": "V", "A": "A",
}  # fmt: skip


def peer_records(frame: bytes) -> list[Any]:
    meterbus = pytest.importorskip("meterbus")
    return list(meterbus.load(frame).records)


@pytest.mark.peer
def test_random_numbers_are_read_as_pymeterbus_reads_them():
    rng = random.Random(13757)
    codes = [c for c in range(0x6C) if c not in range(0x20, 0x28)]
    astray = 0
    for _ in range(300):
        wanted: list[bytes] = []
        for _ in range(rng.randrange(1, 8)):
            coding = rng.choice((1, 2, 3, 4, 6, 7, 9, 10, 11, 12, 14))
            size = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}[coding]
            digits = bytes(rng.randrange(10) << 4 | rng.randrange(10) for _ in range(size))
            data = digits if coding > 8 else rng.randbytes(size)
            if coding <= 8 and data[-1] == 0x80:
                data = data[:-1] + b"\x01"
            vif = rng.choice((*(bytes((c,)) for c in codes), b"\xfd\x48", b"\xfd\x59"))
            wanted.append(bytes((coding | rng.choice((0, 0x40)),)) + vif + data)
        frame = mbus.long(0x08, 1, 0x72, HEADER + b"".join(wanted))
        ours = mbus_records.records(b"".join(wanted))[0]
        theirs = peer_records(frame)
        assert len(ours) == len(wanted)
        if len(theirs) != len(wanted):
            astray += 1  # now and then the peer loses its place in a sound frame
            continue
        for mine, other, raw in zip(ours, theirs, wanted, strict=True):
            assert mine.value is not None, raw.hex()
            assert float(mine.value) == pytest.approx(float(other.parsed_value), rel=1e-12), raw.hex()
            unit = str(getattr(other.unit, "value", other.unit))
            assert PEER_UNITS.get(unit, unit) == mine.unit, raw.hex()
    assert astray < 5


@pytest.mark.peer
@pytest.mark.parametrize("vector", [v for v in GOOD if "records" in v["expected"]], ids=lambda v: v["id"])
def test_captured_frames_are_read_as_pymeterbus_reads_them(vector):
    raw = bytes.fromhex(vector["hex"])
    theirs = peer_records(raw)
    ours = decode_capture("mbus", raw).frames[0].indications
    assert len(theirs) - len(ours) in (0, 1)  # it counts 1F as a record
    compared = 0
    for mine, other in zip(ours, theirs, strict=False):
        if mine.value is not None and mine.unit not in ("", "s", "1"):
            assert float(mine.value) == pytest.approx(float(other.parsed_value), rel=1e-7)
            compared += 1
    assert compared or vector["id"] == "mbus-frame1"


def test_a_reading_opens_the_link_and_toggles_the_frame_count_with_each_telegram():
    speaks = codec("mbus")
    request = speaks.request("5", Query("mbus", ()))
    (acknowledge,) = all_of(b"\xe5")
    answers = [speaks.match(request, acknowledge)]
    sent = [speaks.encode(request)]
    for more in (b"\x1f", b"\x1f", b""):
        following = speaks.follow(request, answers[-1])
        sent.append(speaks.encode(following))
        record = bytes((0x0B, 0x13, len(sent), 0, 0))
        (frame,) = all_of(mbus.long(0x08, 5, 0x72, HEADER + record + more))
        answers.append(speaks.match(following, frame))
    assert [raw[1] for raw in sent] == [0x40, 0x7B, 0x5B, 0x7B]
    assert [a.more for a in answers] == [True, True, True, False]
    assert speaks.follow(request, answers[-1]) is None
    whole = speaks.join(answers)
    assert [f.telegram().indications[0].value for f in all_of(whole.payload)] == [
        Decimal(f"0.00{n}") for n in (2, 3, 4)
    ]
    for wrong in (answers[:1], answers[:2] + answers[3:], [answers[1], answers[1]]):
        with pytest.raises(LocalProtocolError):
            speaks.join(wrong)


def test_a_telegram_that_comes_twice_is_not_taken_for_the_next():
    (frame,) = all_of(mbus.long(0x08, 5, 0x72, HEADER + b"\x0b\x13\x01\x00\x00\x1f"))
    parts = [mbus.match(Request(5, 0x7B if n % 2 else 0x5B, part=n), frame) for n in (1, 2)]
    with pytest.raises(LocalProtocolError, match="twice"):
        mbus.join(parts)


def test_a_slave_chosen_by_its_identity_has_to_say_it():
    opened = mbus.opening("12345678")
    assert mbus.encode(opened) == mbus.select("12345678")
    (selection,) = all_of(mbus.encode(opened))
    assert mbus.request_of(selection) == opened
    asked = mbus.follow(opened, mbus.match(opened, all_of(b"\xe5")[0]))
    own, other = HEADER, bytes.fromhex("79563412") + HEADER[4:]
    record = b"\x0b\x13\x01\x00\x00"
    heard = [mbus.long(0x08, 5, ci, head + record) for ci, head in ((0x72, own), (0x72, other), (0x78, b""))]
    told = [mbus.match(asked, all_of(raw)[0]) for raw in heard]
    assert isinstance(told[0], Answer)
    assert [t.reason for t in told[1:]] == [MismatchReason.ADDRESS] * 2


def test_a_slave_that_never_ends_is_not_asked_for_ever():
    endless = Answer("", b"", b"", "5", more=True, sequence=mbus.MOST_TELEGRAMS)
    with pytest.raises(LocalProtocolError, match="still more"):
        mbus.follow(mbus.opening("5"), endless)
