"""IEC 62056-21: captured messages, data sets, refusals, the client's steps, and an independent parser."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import iec62056
from drivers.codec import LocalProtocolError, Missing, Reject, RejectReason
from drivers.decode import decode_capture, parse_hex_or_text
from drivers.iec62056 import Client, Decoder, Done, Failed, Frame, Kind, Send

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
GOOD = [v for v in FRAMES["vectors"] if v["protocol"] == "IEC 62056-21"]
SOUND = [bytes.fromhex(v["hex"]) for v in GOOD]


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


def only(data: bytes) -> Frame:
    (frame,) = all_of(data)
    assert isinstance(frame, Frame)
    return frame


def shown(data: bytes) -> dict[str, Any]:
    return decode_capture("iec62056-21", data).to_json()


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_captured_message_has_the_contents_that_were_noted(vector):
    found = shown(bytes.fromhex(vector["hex"]))
    assert found["rejected"] == []
    (frame,) = found["frames"]
    assert frame["direction"] == vector["direction"]
    items = {i["item"]: i for i in frame["items"]}
    for name, wanted in vector["expected"].items():
        if name in ("manufacturer", "baud_char", "identification", "operand"):
            assert frame[name] == wanted
        elif name == "password":
            assert frame["request"]["data"] == wanted
        elif name in ("command", "data"):
            assert frame["request"][name] == wanted
        else:
            assert f"{items[name]['value']} {items[name]['unit']}".strip() == wanted


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_the_printed_form_of_a_message_is_understood_too(vector):
    assert parse_hex_or_text(vector["text"]) == bytes.fromhex(vector["hex"])


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_no_bit_of_a_message_with_a_check_character_may_change(vector):
    raw = bytes.fromhex(vector["hex"])
    if raw[0] not in (1, 2):
        return
    for at in range(1, len(raw)):
        for bit in range(7):
            damaged = raw[:at] + bytes((raw[at] ^ 1 << bit,)) + raw[at + 1 :]
            assert not [
                f for f in all_of(damaged) if isinstance(f, Frame) and f.kind in (Kind.DATA, Kind.COMMAND)
            ]


READOUT = (
    "F.F(00)\r\n0.0.0(00012345)\r\n0.9.1(235959)\r\n1.8.0(000123.40*kWh)\r\n1.8.1(000100.40*kWh)\r\n"
    "1.8.0*01(000120.00*kWh)\r\n1.6.1(0.125*kW)(2301011200)\r\n3.8.0(-1*kvarh)\r\n1-0:32.7.0*255(230.1*V)\r\n"
    "2.8.0(*kWh)\r\n4.8.0(--*kvarh)\r\n0.2.0(B31)\r\n9.8.0(1E5*kVAh)\r\n"
)


def test_a_readout_is_exact_and_what_is_no_quantity_is_told_as_text():
    (frame,) = shown(iec62056.message(READOUT + "!\r\n"))["frames"]
    got = {
        i["item"]: (i["measurand"], i["value"] or i.get("text") or i["missing"], i["unit"])
        for i in frame["items"]
    }
    assert got == {
        "F.F": ("", "00", ""),
        "0.0.0": ("serial", "00012345", ""),
        "0.9.1": ("", "235959", ""),
        "1.8.0": ("energy.active.import", "123.40", "kWh"),
        "1.8.1": ("energy.active.import.t1", "100.40", "kWh"),
        "1.8.0*01": ("", "120.00", "kWh"),  # a past value is not the present one
        "1.6.1": ("", "0.125", "kW"),
        "1.6.1#2": ("", "2301011200", ""),
        "3.8.0": ("energy.reactive.import", "-1", "kvar.h"),
        "1-0:32.7.0*255": ("voltage.l1", "230.1", "V"),
        "2.8.0": ("energy.active.export", "not_supported", "kWh"),
        "4.8.0": ("energy.reactive.export", "not_supported", "kvar.h"),
        "0.2.0": ("", "B31", ""),
        "9.8.0": ("energy.apparent.import", "not_a_number", "kV.A.h"),
    }


def test_a_value_without_an_address_has_that_of_the_command_before_it():
    stream = iec62056.command("R5", "1.8.0()") + iec62056.message("(000123.4*kWh)")
    frames = shown(stream)["frames"]
    assert frames[0]["request"] == {"what": "read", "command": "R5", "item": "1.8.0", "data": "1.8.0()"}
    assert [(i["item"], i["value"]) for i in frames[1]["items"]] == [("1.8.0", "123.4")]
    (alone,) = shown(iec62056.message("(000123.4*kWh)"))["frames"]
    assert [(i["item"], i["value"], i["measurand"]) for i in alone["items"]] == [("", "123.4", "")]


def test_rows_of_a_load_profile_count_on():
    sets = iec62056.data_sets("P.01(2301010000)(00)(15)(2)(1.5)(kWh)\r\n(0.100)(0.200)\r\n")
    assert [(s.item, s.value) for s in sets][-2:] == [("P.01#7", "0.100"), ("P.01#8", "0.200")]


def test_the_head_of_a_load_profile_gives_its_values_their_units_and_is_no_value_itself():
    """A P.01 answer as an EMH meter gives it (public tests of the parser iec6205621)."""
    profile = (
        "P.01(1220823161500)(00000000)(15)(2)(1.5)(kW)(5.5)(kvar)\r\n"
        "(0.18374)(0.00078)\r\n(0.16832)(0.02686)\r\n"
    )
    (frame,) = shown(iec62056.message(profile))["frames"]
    told = {i["item"]: (i["value"], i["unit"]) for i in frame["items"]}
    assert all(
        told[item] == (None, "") for item in ("P.01", "P.01#2", "P.01#3", "P.01#4", "P.01#5", "P.01#7")
    )
    assert list(told.values())[-4:] == [
        ("0.18374", "kW"), ("0.00078", "kvar"), ("0.16832", "kW"), ("0.02686", "kvar"),
    ]  # fmt: skip


@pytest.mark.parametrize("count", ["0", "9", "x", "", "99"])
def test_a_load_profile_whose_head_does_not_fit_gives_no_value(count):
    (frame,) = shown(iec62056.message(f"P.01(1)(00)(15)({count})(1.5)(0.18374)"))["frames"]
    assert all(i["value"] is None for i in frame["items"])


def test_two_values_in_one_pair_of_brackets_are_two_as_landis_gyr_heat_meters_write_them():
    """From a UH50's readout: forward and return temperature; identities joined by & stay text."""
    (frame,) = shown(iec62056.message("9.4(094.4*C&092.9*C)9.6(000&66409080&0)\r\n!\r\n"))["frames"]
    assert [(i["item"], i["value"], i["unit"]) for i in frame["items"]] == [
        ("9.4", "94.4", "Cel"),
        ("9.4#2", "92.9", "Cel"),
        ("9.6", None, ""),
    ]


def test_the_time_of_a_maximum_is_no_number():
    """A Landis+Gyr E550's billing values (public tests of a reader for Logarex and Landis+Gyr meters)."""
    (frame,) = shown(
        iec62056.message("1-1:1.6.0(10.102*kW)(2104070015)\r\n1-1:1.6.0*01(06.130)(2101281415)\r\n")
    )["frames"]
    assert [(i["item"], i["value"]) for i in frame["items"]] == [
        ("1-1:1.6.0", "10.102"),
        ("1-1:1.6.0#2", None),
        ("1-1:1.6.0*01", "6.130"),
        ("1-1:1.6.0*01#2", None),
    ]


@pytest.mark.parametrize("text", ["(ER01)", "ER", "(ERROR)"])
def test_an_error_answer_is_an_error_and_no_value(text):
    (frame,) = shown(iec62056.message(text))["frames"]
    assert frame["items"] == []
    assert frame["error"].startswith("error answer: ER")


def test_a_wake_up_is_no_noise():
    assert [f["address"] for f in shown(iec62056.sign_on("123", wake_up=65))["frames"]] == ["123"]
    assert shown(iec62056.sign_on("123", wake_up=65))["rejected"] == []


def test_a_readout_pasted_without_its_control_characters_is_told_for_what_it_lacks():
    found = shown(b"/EMH5LZQJ\r\n1.8.0(000123.4*kWh)\r\n!\r\n")
    assert [f["function"] for f in found["frames"]] == ["identification"]
    assert [(r["offset"], r["reason"]) for r in found["rejected"]] == [(11, "header")]
    assert "no STX" in found["rejected"][0]["detail"]


def with_parity(data: bytes) -> bytes:
    return bytes(byte | 0x80 * (byte.bit_count() % 2) for byte in data)


def test_parity_bits_that_a_capture_kept_are_taken_off_where_all_of_them_hold():
    plain = iec62056.sign_on("1") + iec62056.message("1.8.0(000123.4*kWh)\r\n!\r\n")
    kept = with_parity(plain)
    frames = shown(kept)["frames"]
    assert [i["value"] for i in frames[1]["items"]] == ["123.4"]
    assert frames[1]["raw"] == kept[len(iec62056.sign_on("1")) :].hex(" ").upper()
    assert all("even" in f["parity"] for f in frames)
    for n in range(8):
        wrong = kept[:20] + bytes((kept[20] ^ 1 << n,)) + kept[21:]
        assert not any(f["items"] for f in shown(wrong)["frames"])


P1 = b"/KFM5KAIFA-METER\r\n\r\n1-3:0.2.8(42)\r\n1-0:1.8.1(001234.567*kWh)\r\n!"


def test_an_unasked_telegram_is_checked_if_it_carries_a_crc():
    good = P1 + f"{plain_crc(P1):04X}\r\n".encode()
    frames = shown(good)["frames"]
    assert [f["function"] for f in frames] == ["identification", "data without sign-on"]
    assert [i["value"] for i in frames[1]["items"]] == ["42", "1234.567"]
    bad = good.replace(b"1234.567", b"1234.568")
    assert [f["function"] for f in shown(bad)["frames"]] == ["identification"]
    assert [r["reason"] for r in shown(bad)["rejected"]] == ["checksum"]
    (_, unchecked) = shown(P1 + b"\r\n")["frames"]
    assert "no check sum" in unchecked["note"]


def plain_crc(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


def test_a_block_that_others_follow_ends_with_eot():
    first = iec62056.message("1.8.0(1*kWh)\r\n", more=True)
    frame = only(first)
    assert (frame.more, frame.raw[-2]) == (True, 4)


@given(
    st.lists(
        st.sampled_from([*SOUND, P1 + b"\r\n", b"\x06", b"\x15", b"\x02", b"/", b"\r\n", b"\x00"]), max_size=6
    ),
    st.data(),
)
def test_how_a_stream_is_cut_does_not_matter(pieces, data):
    stream = b"".join(pieces)
    decoder = Decoder()
    found: list[Frame | Reject] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        found += decoder.feed(stream[at : at + size])
        at += size
    assert [*found, *decoder.finish()] == all_of(stream)


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@given(PRINTABLE, st.booleans())
def test_a_message_is_read_back_as_written(text, more):
    frame = only(iec62056.message(text, more=more))
    assert (frame.text, frame.more, frame.kind) == (text, more, Kind.DATA)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**8), max_value=10**8))
def test_a_printed_number_is_exact(value):
    (indication,) = iec62056.decode(f"1.8.0({value:f}*kWh)")
    assert indication.value == value


@pytest.mark.parametrize("text", ["1,5", "0x12", "1.2.3", "1.", ".5", "--1", "１２"])
def test_what_is_no_number_gives_no_value(text):
    (indication,) = iec62056.decode(f"1.8.0({text}*kWh)")
    assert (indication.value, indication.missing) == (None, Missing.NOT_A_NUMBER)


def test_a_message_without_end_is_given_up():
    found = all_of(b"\x02" + b"1" * (iec62056.LONGEST + 100))
    assert isinstance(found[0], Reject)
    assert found[0].reason is RejectReason.LENGTH


def test_nothing_is_written_to_a_meter():
    for name in ("W1", "W5", "E2"):
        with pytest.raises(LocalProtocolError):
            iec62056.command(name, "1.8.0(0)")
    with pytest.raises(LocalProtocolError):
        Client(read="W1")


def test_an_impossible_address_is_refused():
    assert iec62056.address(" 12345678 ") == "12345678"
    with pytest.raises(ValueError, match="IEC 62056-21 address"):
        iec62056.address("12!")


# ---- the client -----------------------------------------------------------------------------------------------------

IDENTIFIED = only(b"/ISk5MT174-0001\r\n")
DATA = only(iec62056.message("1.8.0(1*kWh)\r\n!\r\n"))


def test_mode_c_changes_the_rate_after_the_acknowledge():
    client = Client("123", wake_up=2)
    assert client.start() == Send(b"\0\0/?123!\r\n", 300, 0)
    assert client.heard(only(b"/?123!\r\n")) is None  # our own message, heard back
    assert client.heard(IDENTIFIED) == Send(b"\x06050\r\n", 9600)
    assert client.heard(DATA) == Done((IDENTIFIED, DATA))


def test_a_rate_above_the_line_s_is_declined():
    client = Client(highest_baud=4800)
    client.start()
    assert client.heard(IDENTIFIED) == Send(b"\x06000\r\n", 300)


@pytest.mark.parametrize(("line", "baud"), [(b"/ABCDtype\r\n", 4800), (b"/ABC@type\r\n", 300)])
def test_modes_a_and_b_send_without_being_asked_again(line, baud):
    client = Client()
    client.start()
    assert client.heard(only(line)) == Send(b"", baud)
    assert isinstance(client.heard(DATA), Done)


def test_the_programming_mode_reads_address_by_address():
    client = Client(items=("1.8.0", "2.8.0"), password="00000000")
    client.start()
    assert client.heard(IDENTIFIED) == Send(b"\x06051\r\n", 9600)
    p0 = only(bytes.fromhex("01 50 30 02 28 31 32 33 34 35 36 37 29 03 50"))
    assert client.heard(p0) == Send(bytes.fromhex("01 50 31 02 28 30 30 30 30 30 30 30 30 29 03 61"), 9600)
    assert client.heard(only(b"\x06")) == Send(iec62056.command("R5", "1.8.0()"), 9600)
    assert client.heard(DATA) == Send(iec62056.command("R5", "2.8.0()"), 9600)
    assert client.heard(DATA) == Done((IDENTIFIED, DATA, DATA))
    assert client.goodbye().data == bytes.fromhex("01 42 30 03 71")


def test_silence_repeats_and_then_ends():
    client = Client(retries=2)
    first = client.start()
    assert client.silent() == first
    assert client.heard(IDENTIFIED) == Send(b"\x06050\r\n", 9600)
    assert client.heard(only(b"\x15")) == Send(b"\x06050\r\n", 9600)  # the meter asks again
    assert client.silent() == Send(b"\x06050\r\n", 9600)
    assert isinstance(client.silent(), Failed)


def test_an_error_answer_ends_the_readout():
    client = Client()
    client.start()
    client.heard(IDENTIFIED)
    assert client.heard(only(iec62056.message("(ER05)"))) == Failed("error answer: ER05")


# ---- an independent parser ------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_random_readouts_are_read_as_the_peer_reads_them():
    messages = pytest.importorskip("iec62056_21.messages")
    rng = random.Random(62056)
    for _ in range(100):
        lines = [
            f"{rng.randrange(100)}.{rng.randrange(30)}.{rng.randrange(10)}"
            f"({rng.randrange(10**6):06d}.{rng.randrange(1000):03d}*{rng.choice(('kWh', 'V', 'A'))})"
            for _ in range(rng.randrange(1, 9))
        ]
        raw = iec62056.message("\r\n".join(lines) + "\r\n!\r\n")
        theirs = messages.ReadoutDataMessage.from_bytes(raw)
        ours = iec62056.decode(only(raw).text)
        sets = [s for line in theirs.data_block.data_lines for s in line.data_sets]
        assert [(s.address, Decimal(s.value), s.unit) for s in sets] == [
            (i.item, i.value, i.unit) for i in ours
        ]
