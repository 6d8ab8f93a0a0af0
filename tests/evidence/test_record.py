"""A record is written once, read strictly, and nothing but a record can be read."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence import record, schema
from evidence.errors import EncodeError, ParseError
from tests.evidence.logs import Writer, digest

# ── what is written can be read, and is what was meant ──────────────────────────────────────────────────────

salts = st.binary(min_size=12, max_size=12)
names = st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable())
decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
).map(str)
micros = st.integers(0, 2**53 - 1)
references = st.builds(record.Reference, micros, st.binary(max_size=8).map(digest))
instants = {"utc_us": micros, "boot_us": micros}
readings = st.builds(
    record.Reading,
    salt=salts,
    instrument=names,
    number=st.integers(1, 2**53 - 1),
    previous=st.integers(-1, 2**53 - 1),
    due_us=micros,
    **instants,
    clock=st.integers(0, 4),
    clock_error_us=st.none() | micros,
    raw=st.lists(
        st.builds(
            record.RawExchange, st.binary(max_size=60), st.binary(max_size=60), st.integers(-9, 9), micros
        ),
        max_size=3,
    ).map(tuple),
    indications=st.dictionaries(names.map("a".__add__), decimals, max_size=5),
    missing=st.dictionaries(names.map("b".__add__), names, max_size=3),
    results=st.dictionaries(names, st.tuples(decimals, decimals), max_size=5),
    state=references,
    configuration=references,
    flags=st.lists(names, max_size=3).map(tuple),
)
bodies = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
others = st.one_of(
    bodies.flatmap(
        lambda body: st.builds(
            record.Configuration, salt=salts, digest=st.just(digest(body)), body=st.just(msgspec.Raw(body))
        )
    ),
    st.builds(
        record.Gap,
        salt=salts,
        instrument=names,
        first=st.just(3),
        last=st.integers(3, 9),
        previous=st.integers(-1, 9),
        from_us=micros,
        to_us=micros,
        reason=names,
    ),
    st.builds(
        record.Event, salt=salts, kind=names, detail=st.dictionaries(names, names, max_size=3), **instants
    ),
    st.builds(
        record.Seal,
        salt=salts,
        **instants,
        boot_id=names,
        clock=st.integers(0, 4),
        clock_error_us=st.none(),
        counts=st.dictionaries(names, st.builds(record.Tally, micros, micros, micros), max_size=3),
        software=names,
        configuration=st.none() | references,
        receipt=st.none() | st.builds(record.Head, micros, st.binary(min_size=32, max_size=32)),
    ),
    st.builds(
        record.Aggregate,
        salt=salts,
        instruments=st.just(("M1",)),
        measurand=names,
        unit=names,
        from_us=micros,
        to_us=micros,
        first=micros,
        last=micros,
        count=micros,
        missing=micros,
        value=decimals,
        u=decimals,
        contributions=st.dictionaries(names, decimals, max_size=3),
        independent=decimals,
        states=st.lists(references, max_size=2).map(tuple),
        method=names,
    ),
)


@given(readings | others)
def test_what_is_written_is_read_back_from_compact_json_within_the_entry_limit(entry):
    data = record.encode(entry)
    assert record.decode(data) == entry
    assert len(data) <= 65_535
    parsed = json.loads(data)
    assert parsed["type"] == type(entry).__struct_config__.tag
    assert not isinstance(parsed.get("value", ""), float)


def test_a_reading_has_the_published_shape():
    writer = Writer()
    entry = writer.reading("M1")
    seen = json.loads(record.encode(entry))
    assert list(seen)[:4] == ["type", "salt", "instrument", "number"]
    assert seen["raw"][0][2:] == [0, 40_000]
    assert seen["results"]["voltage.l1"] == [seen["indications"]["voltage.l1"], "0.012"]
    assert seen["state"] == [2, writer.states["M1"].digest]
    assert len(seen["salt"]) == 16  # base64 of 12 bytes


# ── what must never be written ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "1,2", "1e5", "01", ".5", "5.", "+1", " 1", "1_0", "٣", "--1", "1E+1234", "0x1", "1" * 33],
)
def test_only_decimal_text_is_a_value(text):
    entry = Writer().reading("M1")
    wrong = msgspec.structs.replace(entry, indications={"voltage.l1": text})
    with pytest.raises(EncodeError, match="not decimal text"):
        record.encode(wrong)
    hostile = record.encode(entry).replace(entry.indications["voltage.l1"].encode(), text.encode())
    with pytest.raises(ParseError):
        record.decode(hostile)


@pytest.mark.parametrize("text", ["0", "-0", "12.50", "-0.001", "1E+3", "0E-7", "9" * 32])
def test_decimal_text_keeps_its_digits(text):
    entry = msgspec.structs.replace(Writer().reading("M1"), indications={"voltage.l1": text})
    assert record.decode(record.encode(entry)).indications["voltage.l1"] == text


def test_a_mistake_is_found_before_it_is_in_the_log():
    entry = Writer().reading("M1")
    for change in ({"salt": b"short"}, {"missing": {"voltage.l1": "timeout"}}, {"flags": ("x" * 66_000,)}):
        with pytest.raises(EncodeError):
            record.encode(msgspec.structs.replace(entry, **change))
    with pytest.raises(EncodeError, match="SHA-256"):
        record.encode(record.Configuration(salt=bytes(12), digest="0" * 64, body=msgspec.Raw(b"{}")))


# ── what must never be read ─────────────────────────────────────────────────────────────────────────────────

GOOD = record.encode(Writer().reading("M1"))
BODY = b'{"a":1}'
STATE = b'{"type":"configuration","salt":"AAAAAAAAAAAAAAAA","digest":"%s","body":%s}'


def configuration(body: bytes) -> bytes:
    return STATE % (digest(body).encode(), body)


HOSTILE = {
    "equal keys": GOOD.replace(b'"number":1,', b'"number":1,"number":2,'),
    "equal keys, spelled apart": GOOD.replace(b'"number":1,', b'"number":1,"n\\u0075mber":2,'),
    "equal keys in a map": GOOD.replace(b'"missing":{', b'"missing":{"a":"x","a":"y",'),
    "equal keys in a body": configuration(b'{"a":1,"a":2}'),
    "equal keys deep in a body": configuration(b'{"b":[{"a":1,"a":2}]}'),
    "type twice": GOOD[:-1] + b',"type":"reading"}',
    "unknown field": GOOD[:-1] + b',"more":1}',
    "unknown type": GOOD.replace(b'"reading"', b'"writing"'),
    "no type": GOOD.replace(b'"type":"reading",', b""),
    "NaN": GOOD.replace(b'"number":1,', b'"number":NaN,'),
    "NaN in a body": configuration(b'{"a":NaN}'),
    "infinity in a body": configuration(b'{"a":1e999}'),
    "a float for a whole number": GOOD.replace(b'"number":1,', b'"number":1.0,'),
    "number 0": GOOD.replace(b'"number":1,', b'"number":0,'),
    "beyond 2^53": GOOD.replace(b'"number":1,', b'"number":9007199254740992,'),
    "a value as a number": GOOD.replace(
        b'"results":{"energy.active.import":["', b'"results":{"energy.active.import":[1,"'
    ),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "not UTF-8": GOOD.replace(b'"M1"', b'"\xff"'),
    "overlong UTF-8": GOOD.replace(b'"M1"', b'"\xc0\xaf"'),
    "half a surrogate pair": GOOD.replace(b'"M1"', b'"\\ud800"'),
    "half a surrogate pair in a body": configuration(b'{"a":"\\ud800"}'),
    "trailing bytes": GOOD + b"{}",
    "cut short": GOOD[:-1],
    "empty": b"",
    "null": b"null",
    "not an object": b'["reading"]',
    "too long": GOOD[:-1] + b" " * 65_535 + b"}",
    "deep nesting": b"[" * 60_000,
    "deep nesting in a body": configuration(b"[" * 20_000 + b"]" * 20_000),
    "nesting beyond what we allow": configuration(b"[" * 33 + b"]" * 33),
    "a digest that is not the body's": STATE % (b"0" * 64, BODY),
    "no salt": GOOD.replace(GOOD[GOOD.index(b'"salt"') : GOOD.index(b'"instrument"')], b""),
    "short salt": GOOD.replace(GOOD[GOOD.index(b'"salt"') : GOOD.index(b'"instrument"')], b'"salt":"AAAA",'),
    "a gap that ends before it begins": b'{"type":"gap","salt":"AAAAAAAAAAAAAAAA","instrument":"M","first":5,"last":4,'
    b'"previous":-1,"from_us":0,"to_us":0,"reason":"x"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_with_parse_error(name):
    assert HOSTILE[name] != GOOD
    with pytest.raises(ParseError):
        record.decode(HOSTILE[name])


def test_the_same_record_spaced_otherwise_is_read_for_the_bytes_are_hashed_as_they_are():
    assert record.decode(GOOD.replace(b",", b", ", 1)) == record.decode(GOOD)
    assert bytes(record.decode(configuration(b'{"a": [1, {"b": 0.5}]}')).body) == b'{"a": [1, {"b": 0.5}]}'


@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_parse_error(data):
    with pytest.raises(ParseError):
        record.decode(data)


@given(st.data())
def test_a_damaged_record_raises_parse_error_or_is_another_record(data):
    at = data.draw(st.integers(0, len(GOOD) - 1))
    damaged = GOOD[:at] + bytes([GOOD[at] ^ 1 << data.draw(st.integers(0, 7))]) + GOOD[at + 1 :]
    with contextlib.suppress(ParseError):
        assert isinstance(record.decode(damaged), record.Record)


# ── schemas ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_published_schemas_are_current(pytestconfig):
    directory = pytestconfig.rootpath / "docs" / "schema"
    published = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.schema.json")}
    assert published == schema.files(), "run: python -m evidence.schema"


def test_each_type_has_a_schema_that_names_its_fields():
    assert len(schema.schemas()) == len(record.TYPES) == 11
    reading = schema.schemas()["reading"]["$defs"]["Reading"]
    assert reading["additionalProperties"] is False
    assert set(json.loads(GOOD)) == set(reading["properties"])


READING = Writer().reading("M1")
PLAIN = record.encode(READING)


def both(entries):
    """What ``decode_all`` and ``decode`` of each give: the records, or that there is an entry which is none."""
    found = []
    for read in (record.decode_all, lambda data: [record.decode(entry) for entry in data]):
        try:
            found.append(read(entries))
        except ParseError:
            found.append("no record")
    return found


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.binary(max_size=3), st.integers(0, 4)), max_size=2),
    st.booleans(),
)
def test_many_read_at_once_are_read_as_each_by_itself(edits, among_others):
    data = PLAIN
    for at, put, cut in edits:
        data = data[:at] + put + data[at + cut :]
    one, other = both([PLAIN, data, PLAIN] if among_others else [data])
    assert one == other


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"number":1', b'"number":1,"number":1'),
        (b'"number":1', b'"number":1,"number":2'),
        (b',"flags":[]', b',"number":1'),
        (b',"flags":[]', b""),
        (b',"flags":[]', b',"flags":["a","b"]'),
        (b',"flags":[]', b',"flags":["a:b"]'),
        (b',"flags":[]', b',"flags":["a"],"number":1'),
        (b',"flags":[]', b',"flags":["a"],"flags":["a"]'),
        (b',"flags":[]', b',"flags":["a:b"],"number":1'),
        (b'"missing":{"frequency":"timeout"}', b'"missing":{"frequency":"timeout","frequency":"timeout"}'),
        (b'"missing":{"frequency":"timeout"}', b'"missing":{"frequency":"\\ud800"}'),
        (b'"missing":{"frequency":"timeout"}', b'"missing":{"voltage.l1":"timeout"}'),
        (b'"missing":{"frequency":"timeout"}', b'"missing":{"a:b":"x:y"}'),
        (b'"0.012"', b'"00.012"'),
        (b'"0.012"', b'"0.012,5"'),
        (b'"0.012"', b'"0"'),
        (b'"0.012"', b'"-0.012"'),
        (b'"0.012"', b'"--0.012"'),
        (b'"0.012"', b'"-"'),
        (b'"0.012"', b'"0-1"'),
        (b'"0.012"', b'"-0"'),
        (b'"0.012"', b'"-01"'),
        (b'"0.012"', b'"1E-3"'),
        (b'"0.012"', b'""'),
        (b'"0.012"', b'"."'),
        (b'"0.012"', b'"5."'),
        (b'"0.012"', b'".5"'),
        (b'"0.012"', b'"0.0.1"'),
        (b'"0.012"', b'" 1"'),
        (b'"0.012"', b'"NaN"'),
        (b'"0.012"', '"\N{ARABIC-INDIC DIGIT ONE}"'.encode()),
        (b'"0.012"', b'"' + b"1" * 33 + b'"'),
        (b'"0.012"', b'"' + b"1" * 32 + b"." + b"1" * 32 + b'"'),
        (b'"clock":2', b'"clock":NaN'),
        (b'"clock":2', b'"clock": 2'),
        (b'"raw":[[', b'"raw":[[[]],['),
    ],
)
def test_what_one_reader_takes_or_refuses_the_reader_of_many_does_too(old, new):
    data = PLAIN.replace(old, new, 1)
    assert data != PLAIN
    one, other = both([PLAIN, data])
    assert one == other


@pytest.mark.parametrize("flagged", ["first", "last", "alone"])
def test_a_measurand_called_flags_hides_no_equal_key(flagged):
    """The reader of many counts colons: a field left out must not make up for a key that stands twice."""
    results = {
        "first": {"flags": ("1", "0.1"), "frequency": ("2", "0.1"), "voltage.l1": ("3", "0.1")},
        "last": {"frequency": ("2", "0.1"), "flags": ("1", "0.1")},
        "alone": {"flags": ("1", "0.1")},
    }[flagged]
    data = record.encode(msgspec.structs.replace(READING, results=results))
    without = data.replace(b',"flags":[]}', b"}")
    twice = without.replace(b'"number":1', b'"number":1,"number":2')
    assert both([data])[0] == both([data])[1] != "no record"
    assert both([PLAIN, twice]) == ["no record", "no record"]
    whole = json.loads(without)
    whole["results"] = whole.pop("results")  # now the last field
    last = json.dumps(whole, separators=(",", ":")).encode()
    assert both([last])[0] == both([last])[1] != "no record"
    assert both([last.replace(b'"number":1', b'"number":1,"number":2')]) == ["no record", "no record"]


def test_an_entry_too_long_is_refused_by_the_reader_of_many():
    long = PLAIN.replace(b'"flags":[]', b'"flags":["%b"]' % (b"x" * 70_000))
    assert both([long]) == ["no record", "no record"]
    assert record.decode_all([]) == []
