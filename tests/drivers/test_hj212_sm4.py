"""Encrypted packets of HJ 212-2025: opened with the key, judged by the CRC of the plain text; OpenSSL encrypts them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import hj212, hj212_sm4
from drivers.codec import Reject, RejectReason
from drivers.decode import decode_capture

KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
MN = "010000A8900016F000169DC0"
PLAIN = hj212.build(
    {"QN": "20260801085857223", "ST": "31", "CN": "2011", "PW": "123456", "MN": MN, "Flag": "9"},
    ({"DataTime": "20260801085857"}, {"a05001-Rtd": "196429.0", "a05001-Flag": "N"}),
)


def openssl(data: bytes, key: bytes = KEY) -> bytes:
    """SM4-ECB without padding by another hand: a block alone is what CBC makes of it with an IV of zeros."""
    found = b""
    for at in range(0, len(data), 16):
        command = ["openssl", "enc", "-sm4-cbc", "-nopad", "-K", key.hex(), "-iv", "0" * 32]
        found += subprocess.run(command, input=data[at : at + 16], capture_output=True, check=True).stdout
    return found


def written(octets: bytes) -> bytes:
    return b"{" + b",".join(b"0x%02X" % octet for octet in octets) + b"}"


def sealed(
    plain: bytes = PLAIN, *, rest_inside: bool = True, ends_inside: bool = False, counts_sent: bool = False
) -> bytes:
    """The packet as a logger may send it; the keywords are what the sources leave open."""
    segment, said = plain[6:-6], plain[-6:]
    head, mark, body = segment.partition(b"CP=")
    mark, body, end = (mark, body, b"") if ends_inside else (mark + b"&&", body[2:-2], b"&&")
    whole = len(body) - len(body) % 16
    inside = openssl(body[:whole]) + (body[whole:] if rest_inside else b"")
    after = b"" if rest_inside else body[whole:]
    sent = head + mark + written(inside) + after + end
    return b"##%04d" % len(sent if counts_sent else segment) + sent + said


SEALED = sealed()


def test_the_cipher_is_the_standard_s() -> None:
    """GB/T 32907-2016, example 1, by OpenSSL; that the cipher in use agrees is what the other tests show."""
    assert openssl(KEY) == bytes.fromhex("681edf34d206965e86b3e94f536e4246")


def found(data: bytes, key: bytes | None = KEY) -> list[hj212.Frame | Reject]:
    decoder = hj212_sm4.Decoder(lambda mn: key if mn == MN else None)
    return [*decoder.feed(data), *decoder.finish()]


@pytest.mark.parametrize("counts_sent", [False, True])
@pytest.mark.parametrize("ends_inside", [False, True])
@pytest.mark.parametrize("rest_inside", [False, True])
def test_every_way_in_which_it_may_be_written_gives_the_plain_packet(
    rest_inside: bool, ends_inside: bool, counts_sent: bool
) -> None:
    packet = sealed(rest_inside=rest_inside, ends_inside=ends_inside, counts_sent=counts_sent)
    (frame,) = found(packet)
    assert isinstance(frame, hj212.Frame)
    assert (frame.raw, frame.plain) == (packet, PLAIN)
    assert dict(frame.groups[1]) == {"a05001-Rtd": "196429.0", "a05001-Flag": "N"}


def test_it_may_come_in_any_pieces_between_others() -> None:
    stream = PLAIN + SEALED + PLAIN
    decoder = hj212_sm4.Decoder(lambda _mn: KEY)
    frames = [one for n in range(len(stream)) for one in decoder.feed(stream[n : n + 1])]
    assert [frame.raw for frame in frames] == [PLAIN, SEALED, PLAIN]
    assert all(isinstance(frame, hj212.Frame) and frame.plain == PLAIN for frame in frames)


@pytest.mark.parametrize(
    ("packet", "key", "why"),
    [
        (SEALED, None, "needs the logger's key"),
        (SEALED, bytes(16), "the key is another, or the packet is damaged"),
        (SEALED.replace(b",0x", b",0y", 1), KEY, "not written as"),
        (SEALED.replace(b",0x", b";0x", 1), KEY, "not written as"),
        (SEALED.replace(b"##0", b"##1"), KEY, ""),
    ],
)
def test_what_cannot_be_opened_is_refused_with_its_reason(packet: bytes, key: bytes | None, why: str) -> None:
    rejects = found(packet, key)
    assert rejects
    assert all(isinstance(reject, Reject) for reject in rejects)
    assert why in getattr(rejects[0], "detail", "")


def test_without_a_key_a_capture_says_what_it_would_need() -> None:
    told = decode_capture("hj212", SEALED + PLAIN)
    assert [frame.raw for frame in told.frames] == [PLAIN]
    (reject,) = told.rejected
    assert (reject.reason, reject.raw, reject.detail) == (RejectReason.CHECKSUM, SEALED, hj212.NEEDS_KEY)


def test_one_that_never_ends_is_refused_and_not_waited_for() -> None:
    endless = SEALED[:-2] + b"0" * 9000
    rejects = [one for one in hj212_sm4.Decoder(lambda _mn: KEY).feed(endless) if isinstance(one, Reject)]
    assert rejects[0].reason is RejectReason.TRUNCATED
    assert len(rejects[0].raw) <= 8192


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_no_changed_byte_gives_other_values(at: int, by: int) -> None:
    changed = SEALED[:at] + bytes((SEALED[at] ^ by,)) + SEALED[at + 1 :]
    for one in found(changed):
        assert isinstance(one, Reject) or one.plain.upper() == PLAIN.upper()


@pytest.mark.parametrize(
    ("text", "key"),
    [("0123456789abcdefFEDCBA9876543210\n", KEY), ("0123456789abcdef", b"0123456789abcdef")],
)
def test_a_key_is_handed_over_in_hex_or_as_characters(text: str, key: bytes) -> None:
    assert hj212_sm4.sm4_key(text) == key


@pytest.mark.parametrize("text", ["", "1234", "0" * 31, "\u5bc6" * 16])
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="32 hex digits, or 16 characters"):
        hj212_sm4.sm4_key(text)


# ---- at the command line


def decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, *more: str) -> tuple[int, str, str]:
    from gateway.cli import main

    (tmp_path / "stack.key").write_text(key, encoding="ascii")
    code = main(["decode", "hj212", SEALED.decode("ascii"), "--sm4-key", str(tmp_path / "stack.key"), *more])
    return code, *capsys.readouterr()


def test_who_has_the_key_reads_at_the_command_line_what_the_agent_read(tmp_path, capsys) -> None:
    code, out, _ = decoded(tmp_path, capsys, KEY.hex() + "\n", "--json")
    (frame,) = json.loads(out)["frames"]
    assert code == 0
    assert bytes.fromhex(frame["opened"]) == PLAIN
    assert bytes.fromhex(frame["raw"]) == SEALED
    assert [(i["item"], i["value"]) for i in frame["items"] if i["value"]] == [("a05001-Rtd", "196429.0")]
    again = decode_capture("hj212", bytes.fromhex(frame["opened"])).frames[0]
    assert again.to_json()["items"] == frame["items"]


def test_another_key_is_told_and_opens_nothing(tmp_path, capsys) -> None:
    code, out, _ = decoded(tmp_path, capsys, "00" * 16)
    assert code == 1
    assert "rejected at byte 0: checksum: encrypted (SM4): the key is another" in out


def test_what_is_no_key_and_where_none_is_used_is_wrong_use(tmp_path, capsys) -> None:
    from gateway.cli import main

    code, _, err = decoded(tmp_path, capsys, "secret")
    assert (code, "stack.key: a key of SM4 has 16 octets" in err) == (2, True)
    assert main(["decode", "hj212", "##", "--sm4-key", str(tmp_path / "no.key")]) == 2
    (tmp_path / "stack.key").write_text(KEY.hex(), encoding="ascii")
    assert main(["decode", "modbus-rtu", "01", "--sm4-key", str(tmp_path / "stack.key")]) == 2
    err = capsys.readouterr().err
    assert "cannot be read: No such file or directory" in err
    assert "an SM4 key opens packets of hj212, not of modbus-rtu" in err
