"""Whether the parts of a configuration say together what the whole says, each of one instrument alone."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from evidence.record import Configuration, Event, Reading
from gateway.configurations import PARTED, WHOLE, parted, whose
from gateway.store import LogStore
from tests.gateway.test_pipeline import begun, commit, log, poll
from tests.rigs.meters import ORIGIN, SetClock, channel, pipeline


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def store(tmp_path):
    store = LogStore(tmp_path, ORIGIN, ballast=0)
    yield store
    store.close()


def whole(**periods):
    instruments = {
        name: {"address": str(n), "profile": "a" if n < 2 else "b", "period_us": period}
        for n, (name, period) in enumerate(periods.items())
    }
    body = {
        "format": WHOLE, "site": "mill", "origin": "p.example/gw/1", "aggregate_us": 60_000_000,
        "instruments": instruments, "profiles": {"a": {"queries": []}, "b": {"queries": [1]}},
    }  # fmt: skip
    return json.dumps(body).encode()


def test_the_parts_together_say_what_the_whole_says():
    said = json.loads(whole(M1=1, M2=2, M3=3))
    found = parted(whole(M1=1, M2=2, M3=3))
    site = json.loads(found.site)
    bodies = {name: json.loads(part) for name, part in found.parts.items()}
    assert site["parts"] == {name: sha256(part).hexdigest() for name, part in found.parts.items()}
    together = {"instruments": {}, "profiles": {}}
    for name, body in bodies.items():
        assert list(body["instruments"]) == [name] == [whose(found.parts[name])]
        for key in together:
            together[key] |= body[key]
        assert {k: body[k] for k in ("site", "origin", "aggregate_us")} == {
            k: said[k] for k in ("site", "origin", "aggregate_us")
        }
    assert together == {key: said[key] for key in together}
    assert {body["format"] for body in (site, *bodies.values())} == {PARTED}
    assert whose(found.site) == ""


def test_a_body_of_another_form_stays_whole():
    assert parted(b'{"rig":true}').parts == {}
    assert parted(b'{"rig":true}').site == b'{"rig":true}'
    assert whose(whole(M1=1)) == "", "the whole of a site with one instrument is no part"


async def test_each_reading_refers_to_its_own_part_and_a_change_writes_that_part_alone(clock, store):
    line = begun(clock, store, "M1", "M2", configuration=whole(M1=1, M2=2))
    await poll(line, clock, "M1")
    await poll(line, clock, "M2")
    commit(line, store)
    line = pipeline(clock, channel("M1"), channel("M2"), configuration=whole(M1=1, M2=5))
    line.begin(store, {})
    await poll(line, clock, "M1")
    await poll(line, clock, "M2")
    commit(line, store)
    records = log(store)
    starts = [i for i, r in enumerate(records) if isinstance(r, Event) and r.kind == "start"]
    again = [whose(bytes(r.body)) for r in records[starts[1] :] if isinstance(r, Configuration)]
    assert again == ["M2", ""], "its part, and the site's record that names it"
    for reading in (r for r in records if isinstance(r, Reading)):
        named = records[reading.configuration.index]
        assert named.digest == reading.configuration.digest
        assert whose(bytes(named.body)) == reading.instrument


async def test_what_a_refused_batch_held_is_written_again_part_by_part(clock, store):
    line = begun(clock, store, "M1", "M2", configuration=whole(M1=1, M2=2))
    line.take(checkpoint=False)
    line.lost(store.size, "disk_full")
    await poll(line, clock, "M2")
    commit(line, store)
    records = log(store)
    reading = next(r for r in records if isinstance(r, Reading))
    assert whose(bytes(records[reading.configuration.index].body)) == "M2"
