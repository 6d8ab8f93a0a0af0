"""Correction advice: what is written is read, logged once, in entries that fit; anything else is refused in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evidence import record as records
from gateway.advice import AdviceRefused, found, read, take_in, written
from gateway.references import DocumentNotice

ORIGIN = "bench.example/gw/1"
CONTENT: dict[str, Any] = {
    "instruments": ["m1"],
    "reason": "std-017 was 0.05 % high",
    "from_us": 1_000,
    "to_us": 2_000,
    "supersedes": [3, 5],
    "detail": {"finding": "std-017@2026-03-01"},
}


class Log:
    """A log that keeps what it is told, as the agent does: a document's advice once."""

    begun = True

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.advice: dict[str, tuple[records.Advice, ...]] = {}
        self.told: list[tuple[str, Mapping[str, str]]] = []

    def advise(self, notice: DocumentNotice, advice: tuple[records.Advice, ...]) -> int | None:
        if notice.digest in self.advice:
            return None
        self.advice[notice.digest] = advice
        self.size += 1 + len(advice)
        return self.size

    def tell(self, kind: str, detail: Mapping[str, str]) -> None:
        self.told.append((kind, detail))


def test_what_was_written_is_read_as_the_record_that_it_becomes() -> None:
    file = read(written(CONTENT, ORIGIN), "a.json")
    (entry,) = file.entries
    assert (entry.instruments, entry.reason, entry.supersedes) == (("m1",), CONTENT["reason"], (3, 5))
    assert entry.documents == (file.notice.digest,)
    assert records.decode(records.encode(entry)) == entry


def test_many_superseded_entries_are_spread_over_records_that_fit() -> None:
    many = list(range(1_000_000, 1_030_000))
    file = read(written({**CONTENT, "supersedes": many}, ORIGIN), "a.json")
    assert [index for entry in file.entries for index in entry.supersedes] == many
    assert all(len(records.encode(entry)) <= records.MAX_ENTRY for entry in file.entries)
    assert file.entries[0].detail["part"] == f"1 of {len(file.entries)}"


def test_a_long_detail_is_cut_and_says_so() -> None:
    long = {**CONTENT, "detail": {"states": "a" * 100_000}}
    (entry,) = read(written(long, ORIGIN), "a.json").entries
    assert "100000 characters" in entry.detail["states"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"{}", b'{"format": "suyuan/advice/1"}', b"[" * 100_000,
        written({**CONTENT, "from_us": "soon"}, ORIGIN), written({**CONTENT, "sql": "drop"}, ORIGIN),
        written({**CONTENT, "supersedes": [-1]}, ORIGIN), written({**CONTENT, "detail": {"a": 1}}, ORIGIN),
        written({key: CONTENT[key] for key in CONTENT if key != "reason"}, ORIGIN),
    ],
)  # fmt: skip
def test_what_is_no_advice_is_refused(data: bytes) -> None:
    with pytest.raises(AdviceRefused):
        read(data, "a.json")


def test_advice_goes_in_once_whatever_it_is_called(tmp_path: Path) -> None:
    log = Log()
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes(written(CONTENT, ORIGIN))
    taken = take_in(found(tmp_path), ORIGIN, log)
    assert list(taken.values()) == [12, 0]
    assert len(log.advice) == 1


def test_another_logs_advice_and_entries_that_are_not_there_are_refused_and_told(tmp_path: Path) -> None:
    log = Log(size=5)
    (tmp_path / "a.json").write_bytes(written(CONTENT, "bench.example/gw/2"))
    (tmp_path / "b.json").write_bytes(written(CONTENT, ORIGIN))  # names entry 5, and the log has 5
    assert take_in(found(tmp_path), ORIGIN, log) == {}
    assert sorted(path.name for path in (tmp_path / "refused").iterdir()) == ["a.json", "b.json"]
    assert [kind for kind, _ in log.told] == ["advice_refused"] * 2
    assert "bench.example/gw/2" in log.told[0][1]["why"]
    assert "names entry 5" in log.told[1][1]["why"]


def test_the_file_is_plain_json() -> None:
    assert json.loads(written(CONTENT, ORIGIN)) == {"format": "suyuan/advice/1", "origin": ORIGIN, **CONTENT}
