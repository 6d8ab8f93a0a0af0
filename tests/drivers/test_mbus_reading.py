"""Which telegrams of an M-Bus reading are believed: none that the slave said before it, whatever was not heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import mbus
from drivers.codec import Answer, Mismatch, MismatchReason
from drivers.mbus_reading import UNKNOWN, Held, Reading, begun

ADDRESSES = pytest.mark.parametrize("address", ["5", "12345678"])
HEAD = bytes.fromhex("78563412 2440 01 07")


OTHER = bytes.fromhex("79563412 2440 01 07")


def telegram(head: bytes, access: int, *, more: bool = False) -> bytes:
    return mbus.long(0x08, 5, 0x72, head + bytes((access, 0, 0, 0)) + b"\x02\x13\1\0" + b"\x1f" * more)


@dataclass
class Slave:
    """As EN 13757-2 has it: an opening clears the frame count bit, an unchanged bit is answered with the same telegram.

    ``telegrams`` of one reading; ``counts``: the access number goes up with each.
    """

    telegrams: int = 1
    counts: bool = True
    fcb: bool | None = None
    said: int = 0
    part: int = 0
    held: bytes = b""
    told: list[bytes] = field(default_factory=list)  # what it said that was new

    def hears(self, request: mbus.Request) -> bytes:
        if not request.part:
            self.fcb, self.part = None, 0
            return b"\xe5"
        fcb = bool(request.control & mbus.FCB)
        if fcb != self.fcb:
            self.fcb, self.part, self.said = fcb, self.part % self.telegrams + 1, self.said + self.counts
            more = b"\x1f" if self.part < self.telegrams else b""
            record = bytes((0x02, 0x13, self.part, 0))
            head = HEAD + bytes((self.said & 0xFF, 0, 0, 0))
            self.held = mbus.long(0x08, 5, 0x72, head + record + more)
            self.told.append(self.held)
        return self.held


def match(request: mbus.Request | None, raw: bytes) -> Answer:
    assert request is not None
    (frame,) = mbus.Decoder().feed(raw)
    assert isinstance(frame, mbus.Frame)
    answer = mbus.match(request, frame)
    assert isinstance(answer, Answer), answer
    return answer


def read(slave: Slave, held: Held, address: str, lost: Iterable[str] = ()) -> Reading:
    """A reading over a line on which exchanges fail; ``stray``: what was not heard is acknowledged.

    ``other``: another meter's telegram comes instead, and ours has heard nothing.
    """
    how = iter(lost)
    reading = begun(mbus.opening(address), held)
    while (request := reading.request) is not None:
        failure = next(how, "")
        if failure == "stray" and not request.part:
            reading = reading.answered(match(request, b"\xe5"))
            continue
        if failure == "other" and request.part:
            reading = reading.answered(match(request, telegram(OTHER, 1)))
            continue
        raw = b"" if failure == "deaf" else slave.hears(request)
        if failure in ("deaf", "mute"):
            break
        reading = reading.answered(match(request, raw))
    return reading


def kept(reading: Reading) -> Held:
    return reading.left_behind if reading.request else reading.held


def believed(reading: Reading) -> list[bytes]:
    return [a.raw for a in reading.answers if a.sequence] if reading.request is None else []


@ADDRESSES
def test_the_first_reading_of_a_slave_believes_only_the_second_telegram(address: str) -> None:
    slave = Slave()
    slave.hears(mbus.Request(5, 0x7B, part=1))  # another master's, a day ago
    reading = read(slave, UNKNOWN, address, ["stray"])
    assert believed(reading) == slave.told[1:]
    assert [a.sequence for a in reading.answers] == [0, 1]


@ADDRESSES
def test_a_known_slave_is_asked_no_more_than_there_is_to_say(address: str) -> None:
    slave = Slave(telegrams=2)
    held = kept(read(slave, UNKNOWN, address))
    before = len(slave.told)
    assert believed(read(slave, held, address)) == slave.told[before:]
    assert len(slave.told) == before + 2


@ADDRESSES
def test_a_repetition_is_asked_for_anew_with_the_other_bit(address: str) -> None:
    """An opening that was not heard, and a stray E5 for its acknowledge: the slave says its last telegram again."""
    slave = Slave()
    slave.hears(mbus.opening(address))
    old = slave.hears(mbus.Request(5, 0x7B, part=1))
    reading = begun(mbus.opening(address), Held(frozenset((old,))))
    reading = reading.answered(match(reading.request, b"\xe5"))
    assert reading.request is not None
    assert reading.request.control == mbus.REQ_UD2 | mbus.FCB
    assert slave.hears(reading.request) == old
    reading = reading.answered(match(reading.request, old))
    assert reading.request is not None
    assert reading.request.control == mbus.REQ_UD2
    assert reading.doubts
    answer = match(reading.request, slave.hears(reading.request))
    assert reading.caught(answer)
    assert believed(reading.answered(answer)) == [answer.raw] != [old]


def test_standing_values_under_a_standing_number_are_believed_at_the_second_time() -> None:
    slave = Slave(counts=False)
    held = kept(read(slave, UNKNOWN, "5"))
    reading = read(slave, held, "5")
    assert believed(reading) == [slave.held]
    assert len(slave.told) == 4


def test_several_telegrams_are_begun_anew_behind_a_doubt() -> None:
    slave = Slave(telegrams=3)
    reading = read(slave, UNKNOWN, "5")
    assert [raw[-3 - (n < 2)] for n, raw in enumerate(believed(reading))] == [0, 0, 0]
    assert believed(reading) == slave.told[-3:]
    assert len(slave.told) == 5


def after(held: Held, *raws: bytes) -> Reading:
    reading = begun(mbus.opening("5"), held)
    reading = reading.answered(match(reading.request, b"\xe5"))
    for raw in raws:
        reading = reading.answered(match(reading.request, raw))
    return reading


def test_a_telegram_that_names_another_meter_is_not_believed_at_the_first_time() -> None:
    held = after(UNKNOWN, telegram(HEAD, 1), telegram(HEAD, 2)).held
    foreign = after(held, telegram(OTHER, 9))
    assert foreign.doubts
    own = telegram(HEAD, 3)
    assert believed(foreign.answered(match(foreign.request, own))) == [own]
    replaced = telegram(OTHER, 10)
    assert believed(foreign.answered(match(foreign.request, replaced))) == [replaced], (
        "it is another meter now"
    )


@pytest.mark.parametrize(
    "raws",
    [
        (telegram(HEAD, 1), telegram(OTHER, 2)),
        (
            telegram(HEAD, 1),
            telegram(HEAD, 2, more=True),
            b"\xe5",
            telegram(HEAD, 3, more=True),
            telegram(OTHER, 4),
        ),
    ],
)
def test_telegrams_of_two_meters_are_no_reading(raws: tuple[bytes, ...]) -> None:
    reading = after(UNKNOWN, *raws)
    assert reading.request is None
    assert reading.refused == f"telegrams of two meters came: {HEAD.hex().upper()} and {OTHER.hex().upper()}"
    assert reading.held == UNKNOWN


def test_one_character_is_no_answer_where_data_were_asked_for() -> None:
    """Noise may be E5, and the telegram come behind it."""
    found = mbus.match(mbus.Request(5, 0x7B, part=1), *mbus.Decoder().feed(b"\xe5"))  # type: ignore[arg-type]
    assert isinstance(found, Mismatch)
    assert found.reason is MismatchReason.FUNCTION


def test_an_application_error_ends_the_reading_and_leaves_the_slave_unknown() -> None:
    reading = begun(mbus.opening("5"), Held(frozenset()))
    reading = reading.answered(match(reading.request, b"\xe5"))
    reading = reading.answered(match(reading.request, mbus.long(0x08, 5, 0x70, b"\x08")))
    assert reading.request is None
    assert reading.held == UNKNOWN
    with pytest.raises(ValueError, match="over"):
        reading.answered(reading.answers[-1])


def test_what_opened_nothing_leaves_what_was_known_and_what_was_not_heard_does_not() -> None:
    held = Held(frozenset((b"old",)))
    reading = begun(mbus.opening("5"), held)
    assert reading.left_behind == held
    assert reading.answered(match(reading.request, b"\xe5")).left_behind == UNKNOWN


HOW = st.lists(st.sampled_from(["", "stray", "deaf", "mute", "other"]), max_size=6).filter(
    lambda how: how.count("other") < 2
)


@given(
    st.integers(1, 3),
    st.lists(HOW, min_size=1, max_size=8),
    st.integers(0, 4),
    st.sampled_from(["5", "123456FF"]),
)
def test_nothing_that_was_said_before_a_reading_is_believed_in_it(
    telegrams: int, readings: list[list[str]], strangers: int, address: str
) -> None:
    slave = Slave(telegrams)
    for n in range(strangers):
        slave.hears(mbus.Request(5, 0x5B | (mbus.FCB if n % 2 else 0), part=1))
    held = UNKNOWN
    for lost in readings:
        before = len(slave.told)
        reading = read(slave, held, address, lost)
        told = believed(reading)
        assert set(told) <= set(slave.told[before:])
        assert len(set(told)) == len(told)
        held = kept(reading)
