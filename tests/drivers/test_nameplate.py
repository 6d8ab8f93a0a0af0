"""The number of a nameplate in registers: what it reads, what tells nothing, and what a profile may say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import golden, nameplate, profile, sunspec
from drivers.points import Nameplate, ProfileError
from sim import modbus_meter

U32 = Nameplate(3, 0xFC00, 2, "u32", "ABCD", "a document")
TEXT = Nameplate(3, 40052, 8, "text", "ABCD", "a document")
WITH_NUMBER = [name for name in profile.names() if profile.load(name).nameplate is not None]


@pytest.mark.parametrize(
    ("place", "payload", "number"),
    [
        (U32, "0147C45B", "21480539"),
        (replace(U32, word_order="CDAB"), "C45B0147", "21480539"),
        (U32, "00000000", ""),  # never written
        (U32, "FFFFFFFF", ""),
        (U32, "0147", ""),  # a torn answer
        (replace(U32, type="bcd"), "12345678", "12345678"),
        (replace(U32, type="bcd"), "1234567A", ""),
        (TEXT, b"MT-24-001877".ljust(16, b"\0").hex(), "MT-24-001877"),
        (TEXT, b"MT-24-001877".ljust(16).hex(), "MT-24-001877"),
        (TEXT, b"0000".ljust(16, b"\0").hex(), ""),
        (TEXT, b"\x80\x81".ljust(16, b"\0").hex(), ""),
        (TEXT, b"A\x01B".ljust(16, b"\0").hex(), ""),
    ],
)
def test_what_registers_say_as_a_nameplate_would(place: Nameplate, payload: str, number: str) -> None:
    assert nameplate.number(place, bytes.fromhex(payload)) == number


@given(
    st.integers(1, 999_999_999),
    st.sampled_from(("u32", "u64", "text")),
    st.sampled_from(("ABCD", "CDAB", "BADC", "DCBA")),
)
def test_a_number_laid_into_registers_by_other_code_is_read_back(number: int, kind: str, order: str) -> None:
    count = {"u32": 2, "u64": 4, "text": 8}[kind]
    order = "ABCD" if kind == "text" else order
    words = modbus_meter.Nameplate(3, 0, kind, order, count).words(str(number))
    payload = b"".join(word.to_bytes(2, "big") for word in words)
    assert nameplate.number(Nameplate(3, 0, count, kind, order, "s"), payload) == str(number)


def test_makers_whose_maps_give_a_number_have_it_in_their_profiles() -> None:
    assert {"eastron-sdm630", "schneider-iem3000", "schneider-pm5000", "sunspec-203"} <= set(WITH_NUMBER)


@pytest.mark.parametrize("name", WITH_NUMBER)
def test_a_shipped_number_has_its_source_and_its_exchange(name: str) -> None:
    place = profile.load(name).nameplate
    assert place is not None
    assert place.source
    assert place.number
    assert golden.check(profile.load(name)) == ()


HEAD = (Path(profile.__file__).parent / "profiles/eastron-sdm630.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('number = "21480731"', 'number = "21480732"', "the number is 21480731, expected 21480732"),
        ("address = 0xFC00", "address = 0xFC02", "3:64512+2 is asked, the profile says otherwise"),
        ('answer = "01 03 04', 'answer = "01 03 05', "not two sound frames"),
    ],
)
def test_a_number_that_its_exchange_does_not_tell_is_told(old: str, new: str, complaint: str) -> None:
    assert old in HEAD
    (told,) = golden.check(profile.parse(HEAD.replace(old, new, 1), "t"))
    assert complaint in told


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('type = "u32"', 'type = "f32"', "one of u16, u32, u64, bcd, text"),
        ("address = 0xFC00", "address = 0xFFFF", "0-based, 0 to 65535"),
        ('source = "Eastron', 'sauce = "Eastron', "did you mean 'source'?"),
        ("function = 3", "function = 6", "registers are read by 3 (holding) or 4 (input)"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, complaint: str) -> None:
    at = HEAD.index("[identity]")
    wrong = HEAD[:at] + HEAD[at:].replace(old, new, 1)
    with pytest.raises(ProfileError) as told:
        profile.parse(wrong, "t")
    assert complaint in str(told.value)
    line = told.value.line or 0
    assert new.split("=")[0].strip() in wrong.splitlines()[line - 1]


def test_a_protocol_that_tells_the_number_by_itself_has_no_registers_for_it() -> None:
    text = (Path(profile.__file__).parent / "profiles/mbus-heat.toml").read_text(encoding="utf-8")
    with pytest.raises(ProfileError, match="mbus tells a meter's number by itself"):
        profile.parse(text + "\n[identity]\nfunction = 3\n", "t")


def test_a_sunspec_device_that_has_a_serial_number_gets_it_into_its_profile() -> None:
    about = [
        1,
        66,
        *([0] * 48),
        *(int.from_bytes(b"SN" if n == 0 else b"\0\0", "big") for n in range(16)),
        0,
        0,
    ]
    meter = [203, 105, *([0] * 105)]
    device = sunspec.Device(
        40000, (sunspec.Block(1, 40002, tuple(about)), sunspec.Block(203, 40070, tuple(meter)))
    )
    place = sunspec.profile_of(device, "found").nameplate
    assert place is not None
    assert (place.function, place.address, place.length, place.type) == (3, 40052, 16, "text")
    assert device.serial == "SN"
