"""HJ 212: printed and captured segments, the standard's CRC, flags, packets."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import hj212, hj212_points, profile
from drivers.codec import LocalProtocolError, Missing, Reject, RejectReason
from drivers.decode import decode_capture, parse_hex_or_text
from drivers.hj212 import Decoder, Frame

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
GOOD = [v for v in FRAMES["vectors"] if v["protocol"] == "HJ 212"]
BY_ID = {v["id"]: v for v in GOOD}

words = st.text("abcdefgwAE0123456789", min_size=1, max_size=8)
contents = st.text(
    st.characters(codec="utf-8", exclude_characters=";,&#=\r\n", exclude_categories=["Cs"]), max_size=12
)
groups = st.lists(st.dictionaries(words, contents, min_size=1, max_size=4), max_size=5)


def all_of(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.finish()]


def one(name: str) -> Frame:
    (frame,) = all_of(BY_ID[name]["text"].encode())
    assert isinstance(frame, Frame)
    return frame


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_segment_from_the_field_has_the_contents_that_were_noted(vector):
    found = decode_capture("hj212", parse_hex_or_text(vector["text"])).to_json()
    assert found["rejected"] == []
    (frame,) = found["frames"]
    expected = vector["expected"]
    assert (frame["header"], frame["cp"], frame["crc"]) == (
        expected["header"],
        expected["cp"],
        expected["crc"],
    )
    assert frame.get("flag") == expected.get("flag")
    assert (frame["address"], frame["function"]) == (expected["header"]["MN"], expected["header"]["CN"])
    shown = {item["item"]: item for item in frame["items"]}
    for group in expected["cp"]:
        for key, value in group.items():
            if not key.endswith("-Flag"):
                assert value in (shown[key]["value"], shown[key].get("text"))


@pytest.mark.parametrize("vector", GOOD, ids=lambda v: v["id"])
def test_a_segment_is_built_again_from_its_fields(vector):
    frame = one(vector["id"])
    built = hj212.build(dict(frame.header), [dict(group) for group in frame.groups])
    assert built.upper() == frame.raw.upper()


def test_the_official_crc_examples():
    """2025 annex A, and 2017 annex A whose table says 1C80 (its prose misprints it)."""
    assert one("hj212-03").crc == "2200"
    segment = b"QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
    assert f"{hj212.crc(segment):04X}" == "1C80"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f.replace(b"Rtd=196429.0", b"Rtd=196429.1"), RejectReason.CHECKSUM),
        (lambda f: f.replace(b"\r\n", b"\n\n"), RejectReason.END_BYTE),
        (lambda f: f.replace(b"##0149", b"##0148"), RejectReason.END_BYTE),
        (lambda f: f[:-1], RejectReason.TRUNCATED),
        (lambda f: f[:-6] + b"ZZZZ\r\n", RejectReason.CHECKSUM),
        (lambda f: f.replace(b"##0149", b"##014x"), RejectReason.NOISE),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(change, reason):
    found = all_of(change(one("hj212-c10").raw))
    assert not [f for f in found if isinstance(f, Frame)]
    assert isinstance(found[0], Reject)
    assert (found[0].offset, found[0].reason) == (0, reason)


@pytest.mark.parametrize(
    "segment", [b"QN=1;ST=31", b"QN=1;CP=&&a", b"QN;CP=&&&&", b"CP=&&a-Rtd=1&&b&&", b"CP=&&=1&&"]
)
def test_a_segment_that_is_none_is_refused_though_its_crc_fits(segment):
    raw = b"##%04d" % len(segment) + segment + b"%04X\r\n" % hj212.crc(segment)
    (only,) = all_of(raw)
    assert isinstance(only, Reject)
    assert only.reason is RejectReason.HEADER


def test_a_value_is_told_with_its_data_flag():
    frame = all_of(
        hj212.build({"ST": "31", "CN": "2011", "MN": "1"}, [{"a01012-Rtd": "-8.50", "a01012-Flag": "D"}])
    )[0]
    assert isinstance(frame, Frame)
    (only,) = hj212.decode(frame.groups)
    assert (only.measurand, only.value, only.unit, only.detail) == (
        "temperature.stack", Decimal("-8.50"), "Cel", "flag D: fault",
    )  # fmt: skip


def test_a_flag_in_an_item_of_its_own_belongs_to_the_value_all_the_same():
    """``;`` instead of ``,`` before the flag, as some loggers write; of two flags the one that is not N counts."""
    frame = hj212.build({"CN": "2011"}, [{"a05001-Rtd": "1.5"}, {"a05001-Flag": "D"}, {"a05001-Flag": "N"}])
    (found,) = all_of(frame)
    assert isinstance(found, Frame)
    (value,) = hj212.decode(found.groups)
    assert (value.value, value.detail) == (Decimal("1.5"), "flag D: fault")


@pytest.mark.parametrize(
    ("second", "value", "missing"),
    [("1.5", "1.5", None), ("1.50", "1.5", None), ("1.6", None, Missing.CORRUPT)],
)
def test_a_factor_that_stands_twice_with_different_values_has_none(second, value, missing):
    codec = profile.load("hj212-cems-2017")
    packet = hj212.build(
        {"CN": "2011"},
        [{"a01012-Rtd": "1.5", "a01012-Flag": "N"}, {"a01012-Rtd": second, "a01012-Flag": "N"}],
    )
    (found,) = [i for i in hj212_points.decode(codec.points, packet) if i.item.startswith("a01012")]
    assert (found.value, found.missing) == (value and Decimal(value), missing)


def test_the_unit_of_co2_is_never_assumed():
    values = {i.item: i for i in hj212.decode(one("hj212-c10").groups)}
    assert (values["a05001-Rtd"].value, values["a05001-Rtd"].unit) == (Decimal("196429.0"), "")


@pytest.mark.parametrize("text", ["", "--", "1e5", "NaN", "1,2", "0x10", "１２", " 1"])
def test_what_is_no_number_is_missing(text):
    (only,) = hj212.decode(((("a01012-Rtd", text),),))
    assert (only.value, only.missing) == (None, Missing.NOT_A_NUMBER)


def test_times_are_text_though_they_have_digits_only():
    found = {i.item: i for i in hj212.decode(one("hj212-10").groups)}
    assert found["DataTime"].detail == "20240123123200"
    assert found["w01018-SampleTime"].missing is Missing.NOT_NUMERIC


@pytest.mark.parametrize(
    ("name", "edition", "numbered", "wanted"),
    [("hj212-c07", 1, True, True), ("hj212-c09", 2, False, False), ("hj212-03", 2, False, True)],
)
def test_the_flag_says_edition_packets_and_whether_an_answer_is_wanted(name, edition, numbered, wanted):
    assert one(name).flag == hj212.Flag(edition, numbered, wanted)


def test_the_acknowledgement_that_data_want():
    asked = hj212.build(
        dict(one("hj212-c03").header) | {"ST": "31", "CN": "2011", "Flag": "5"}, [{"DataTime": "1"}]
    )
    (frame,) = all_of(asked)
    assert isinstance(frame, Frame)
    assert hj212.acknowledge(frame) == BY_ID["hj212-c03"]["text"].encode()
    assert hj212.acknowledge(one("hj212-c09")) is None
    assert hj212.acknowledge(one("hj212-05")) is None
    assert hj212.acknowledge(one("hj212-c04")) is None


def test_segments_of_one_message_are_joined_in_order_and_only_if_all_are_there():
    parts = [one("hj212-c07"), one("hj212-c08")]
    assert [key for group in hj212.join(parts) for key, _ in group if key.endswith("Avg")] == [
        "a05001-Avg",
        "a01011-Avg",
    ]
    for wrong in (parts[:1], parts[1:], parts[::-1], [parts[0], parts[0]], []):
        with pytest.raises(LocalProtocolError):
            hj212.join(wrong)


@given(groups)
def test_decoding_is_the_inverse_of_building(cp):
    (frame,) = all_of(hj212.build({"QN": "1", "MN": "2"}, cp))
    assert isinstance(frame, Frame)
    assert [dict(group) for group in frame.groups] == cp
    hj212.decode(frame.groups)


@pytest.mark.parametrize("fields", [{"a": "1;2"}, {"a": "&&"}, {"": "1"}, {"a=b": "1"}, {"a": "1\r\n"}])
def test_what_cannot_stand_in_a_segment_is_our_mistake(fields):
    with pytest.raises(LocalProtocolError):
        hj212.build(fields)
    with pytest.raises(LocalProtocolError):
        hj212.build({}, [fields])


def test_a_segment_has_at_most_1024_bytes():
    with pytest.raises(LocalProtocolError, match="split"):
        hj212.build({"MN": "1" * 1100})


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from([b"#", b"##", b"###", b"##00", *(v["text"].encode() for v in GOOD[:4])]),
        ),
        max_size=6,
    ),
    st.data(),
)
def test_how_a_stream_is_cut_into_pieces_does_not_matter(parts, data):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = Decoder()
    found: list[Frame | Reject] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert found + decoder.finish() == all_of(stream)


def test_what_is_accumulated_of_a_concentration_is_not_called_one():
    told = hj212.decode([[("a05001-Cou", "12.5")], [("a00000-Cou", "900")]])
    assert [(i.measurand, i.unit) for i in told] == [("", ""), ("flow.stack.accumulated", "m3")]


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("20240229235959", True), ("20210305003817000", True), ("20230229000000", False), ("20231301000000", False),
        ("20230101240000", False), ("YYYYMMDDHHMMSS", False), ("2023010100000", False), ("", False),
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_is_no_time(text, possible):
    for key in ("DataTime", "w01018-SampleTime"):
        (told,) = hj212.decode([[(key, text)]])
        assert told.value is None
        assert (told.missing is Missing.NOT_NUMERIC) == possible
        assert text in told.detail
