"""The quick way: hashes, signatures, numbers, links judged as in full; what readings say passed over, and told."""

import msgspec
import pytest

from evidence import record
from evidence.errors import ParseError
from evidence.structure import Bound, bind, bind_all
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, Writer, files, signer

KEY = signer().verifier


def both(contents, **options):
    """The codes found the quick way, without its own note, and in full."""
    quick, full = (
        verify_log(contents.get, KEY, structure=structure, **options) for structure in (True, False)
    )
    told = [finding.code for finding in quick.findings]
    assert told.count("values_unread") == 1
    assert quick.ok == full.ok
    return {code for code in told if code != "values_unread"}, {f.code for f in full.findings}


def forged(entries):
    return files(entries, ORIGIN, signer())


def test_what_binds_a_reading_is_what_the_whole_of_it_says():
    entries = Writer().grow(300).entries
    for entry, bound in zip(entries, bind_all(entries), strict=True):
        whole = record.decode(entry)
        assert bind(entry) == bound
        if isinstance(whole, record.Reading):
            assert isinstance(bound, Bound)
            assert msgspec.structs.asdict(bound) == {
                name: getattr(whole, name) for name in bound.__struct_fields__
            }
        else:
            assert bound == whole


def test_a_true_log_verifies_and_its_counts_are_those_of_the_whole():
    contents = Writer().grow(600).files()
    quick, full = (verify_log(contents.get, KEY, structure=structure) for structure in (True, False))
    assert (quick.ok, quick.size, quick.root, quick.counts, quick.instruments) == (
        full.ok, full.size, full.root, full.counts, full.instruments,
    )  # fmt: skip
    assert both(contents) == (set(), set())


def test_several_processes_say_the_same(monkeypatch):
    monkeypatch.setattr("evidence.verification.PARALLEL_FROM", 1)
    contents = Writer().grow(700).files()
    assert verify_log(contents.get, KEY, structure=True, jobs=2) == verify_log(
        contents.get, KEY, structure=True
    )


@pytest.mark.parametrize("old", [b"reading", b"number", b"timeout", b"results", b"configuration"])
def test_any_changed_byte_is_named_as_in_full(old):
    contents = Writer().grow(600).files()
    assert old in contents["tile/entries/001"]
    contents["tile/entries/001"] = contents["tile/entries/001"].replace(old, old[:-1] + b"_", 1)
    quick, full = both(contents)
    assert "entry" in quick & full


@pytest.mark.parametrize(
    "change",
    [
        {"number": 99},
        {"previous": 3},
        {"state": record.Reference(3, "0" * 64)},
        {"configuration": record.Reference(2, "0" * 64)},
        {"instrument": "M9"},
    ],
)
def test_a_forger_with_the_key_is_caught_by_what_binds_a_reading_as_in_full(change):
    entries = list(Writer().grow(300).entries)
    index = next(i for i in range(200, 300) if isinstance(record.decode(entries[i]), record.Reading))
    entries[index] = record.encode(msgspec.structs.replace(record.decode(entries[index]), **change))
    quick, full = both(forged(entries))
    assert quick == full != set()


def test_entries_left_out_or_said_twice_are_caught_as_in_full():
    entries = Writer().grow(300).entries
    for told in (entries[:150] + entries[151:], [*entries[:150], entries[149], *entries[150:]], entries[:-1]):
        quick, full = both(forged(told))
        assert quick == full != set()


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"type":"reading"}',
        b'{"type":"reading","number":1}',
        b'{"type":"reading","instrument":7,"number":1,"previous":-1,"state":[1,""],"configuration":[1,""]}',
        b'{"type":"reading",',
        b'{"type":"other"}',
        b"[]",
        b"\xff",
    ],
)
def test_what_is_no_record_is_named(wrong):
    with pytest.raises(ParseError):
        bind(wrong)
    entries = list(Writer().grow(40).entries)
    entries[20] = wrong
    quick, full = both(forged(entries))
    assert "record" in quick & full


def test_what_is_passed_over_is_said_so():
    entries = list(Writer().grow(300).entries)
    index = next(i for i in range(200, 300) if record.decode(entries[i]).__class__ is record.Reading)
    entries[index] = entries[index].replace(b'"clock":', b'"clock":7', 1)
    contents = forged(entries)
    assert not verify_log(contents.get, KEY).ok, "in full such a clock is no reading"
    quick = verify_log(contents.get, KEY, structure=True)
    assert quick.ok
    assert [(f.code, "not read" in f.what) for f in quick.findings] == [("values_unread", True)]
