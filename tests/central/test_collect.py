"""The platform takes over exactly the signed log, once, whatever happens, and says so only when it holds it."""

import asyncio
import random
import socket
import zlib

import httpx
import pytest

from central import collect
from central.collect import Collector
from central.fetch import Patience
from central.mirror import mirror
from central.store import Store, StoreError
from evidence import log, note, record
from evidence.command import directory_reader
from evidence.verify import verify_log
from gateway.cli import main
from tests.central.serving import flip, serving, without_superseded
from tests.evidence.logs import ORIGIN, START_US, Writer, files, signer

LOG, PLATFORM = signer(), signer("platform.example", 2)


class Clock:
    def __init__(self):
        self.us = START_US

    def __call__(self):
        return self.us


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "central") as opened:
        yield opened


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def slept():
    return []


@pytest.fixture
def served():
    with serving({}) as server:
        yield server


@pytest.fixture
async def collector(store, served, clock, slept):
    async def sleep(seconds):
        slept.append(seconds)

    patience = Patience(deadline_s=5, sleep=sleep, random=random.Random(1))
    made = Collector(store, served.url, LOG.verifier, clock, PLATFORM, patience=patience)
    yield made
    await made.close()


def gateway(store):
    return next(iter(store.gateways()))


def stored(store):
    return list(store.entries(gateway(store)))


# ── taking over ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sizes", [[6], [255, 256, 257], [100, 300, 301, 1000], [40, 40, 41], [600]])
async def test_entries_values_and_receipt_arrive_once_through_growth(sizes, collector, served, store):
    writer = Writer()
    for size in sizes:
        writer.grow(size) if writer.size < size else None
        served.contents = writer.files()
        outcome = await collector.collect_once()
        assert outcome.ok, outcome
        assert (outcome.size, outcome.signed, outcome.receipt) == (writer.size, writer.size, True)
        receipt = note.Note.parse(served.receipts[-1])
        assert note.open_checkpoint(receipt.encode(), LOG.verifier)[0] == writer.head()
        assert receipt.cosigned_at(PLATFORM.cosigner) == START_US // 1_000_000
    assert stored(store) == writer.entries
    readings = {
        i: r for i, e in enumerate(writer.entries) if isinstance(r := record.decode(e), record.Reading)
    }
    values = [v for m in writer.instruments for v in store.values(ORIGIN, m)]
    assert len(values) == sum(len(r.indications) + len(r.missing) for r in readings.values())
    for value in values:
        reading = readings[value.entry]
        assert value.instrument == reading.instrument
        assert value.indication == reading.indications.get(value.measurand)
        assert (value.value, value.u) == reading.results.get(value.measurand, (None, None))
        assert value.missing == reading.missing.get(value.measurand)


async def test_a_round_without_news_asks_for_the_checkpoint_alone_and_sends_no_second_receipt(
    collector, served
):
    served.contents = Writer().grow(300).files()
    await collector.collect_once()
    served.asked.clear()
    outcome = await collector.collect_once()
    assert outcome.ok
    assert outcome.receipt
    assert outcome.records == 0
    assert served.asked == ["checkpoint"]
    assert len(served.receipts) == 1


async def test_only_new_bundles_are_fetched(collector, served):
    writer = Writer().grow(600)
    served.contents = writer.files()
    await collector.collect_once()
    served.asked.clear()
    served.contents = writer.grow(700).files()
    await collector.collect_once()
    assert served.asked == ["checkpoint", "tile/entries/002.p/188"]


async def test_a_backlog_is_taken_in_steps_each_proven_against_the_signed_tree(
    collector, served, store, monkeypatch
):
    monkeypatch.setattr(collect, "STEP", 2)
    writer = Writer().grow(5000)
    served.contents = writer.files()
    outcome = await collector.collect_once()
    assert outcome.ok, outcome
    assert stored(store) == writer.entries
    assert any(path.startswith("tile/1/") for path in served.asked)
    assert [head.size for head in store.heads(gateway(store))] == [5000]


async def test_compressed_and_from_full_tiles_only(collector, served, store):
    served.compress = True
    # The bundle that the checkpoint ends in has since become full: what lies behind is not taken.
    longer = Writer().grow(1100)
    served.contents = {
        **without_superseded(longer.files()),
        "checkpoint": longer.head(1023).signed_by(LOG).encode(),
    }
    outcome = await collector.collect_once()
    assert outcome.alarm == "unsound", "1023 entries of this log do not end with a seal"
    assert [f.code for f in outcome.findings] == ["seal_missing"]
    seal = max(i for i in range(1024) if b'"type":"seal"' in longer.entries[i])
    store.release(ORIGIN)
    served.contents["checkpoint"] = longer.head(seal + 1).signed_by(LOG).encode()
    outcome = await collector.collect_once()
    assert outcome.ok, outcome
    assert stored(store) == longer.entries[: seal + 1]


async def test_several_gateways_share_a_store(store, clock):
    writers = [Writer(f"platform.example/gw/{n}", seed=n).grow(200 + n) for n in range(3)]
    for writer in writers:
        with serving(writer.files()) as server:
            made = Collector(store, server.url, writer.signer.verifier, clock, PLATFORM)
            assert (await made.collect_once()).ok
            await made.close()
    assert [g.size for g in store.gateways()] == [200, 201, 202]
    for writer, found in zip(writers, store.gateways(), strict=True):
        assert list(store.entries(found)) == writer.entries


async def test_a_mirror_verifies_and_carries_the_cosignature(collector, served, store, tmp_path):
    writer = Writer().grow(520)
    for size in (520, 800):
        served.contents = writer.grow(size).files() if writer.size < size else writer.files()
        await collector.collect_once()
        assert mirror(store, gateway(store), tmp_path / "mirror") == size
        report = verify_log(
            directory_reader(tmp_path / "mirror"),
            LOG.verifier,
            witnesses=[PLATFORM.cosigner],
            known=writer.head(64),
        )
        assert report.findings == ()
        assert report.cosigned == {"platform.example": (size, START_US // 1_000_000)}
    for path, data in writer.files().items():
        if path != "checkpoint":
            assert (tmp_path / "mirror" / path).read_bytes() == data


# ── what may pass ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_damage_on_the_way_advances_nothing_and_passes(collector, served, store):
    writer = Writer().grow(600)
    good = writer.files()
    served.contents = flip(good, log.Tile(None, 1))
    outcome = await collector.collect_once()
    assert not outcome.ok
    assert outcome.alarm == ""
    assert "signed root" in outcome.error
    assert (outcome.size, served.receipts, outcome.exit_code) == (0, [], 1)
    served.contents = good
    assert (await collector.collect_once()).ok
    assert stored(store) == writer.entries


@pytest.mark.parametrize("path", ["tile/entries/001", "tile/0/000", "tile/1/000.p/2", "tile/0/002.p/88"])
async def test_any_damaged_file_of_a_grown_log_is_no_fork(path, collector, served, store, monkeypatch):
    monkeypatch.setattr(collect, "STEP", 1)
    writer = Writer().grow(64)
    served.contents = writer.files()
    await collector.collect_once()
    good = writer.grow(600).files()
    broken = bytearray(good[path])
    broken[40] ^= 1
    served.contents = {**good, path: bytes(broken)}
    outcome = await collector.collect_once()
    assert outcome.alarm == ""
    assert stored(store) == writer.entries[: outcome.size]
    served.contents = good
    assert (await collector.collect_once()).ok
    assert stored(store) == writer.entries


async def test_a_transient_fault_is_tried_again_with_growing_pauses(collector, served, slept):
    served.contents = Writer().grow(20).files()
    left = {"tile/entries/000.p/20": 2}

    def fault(path, data):
        if left.get(path, 0):
            left[path] -= 1
            return 503
        return data

    served.fault = fault
    assert (await collector.collect_once()).ok
    assert len(slept) == 2
    assert all(0 < pause < 3 for pause in slept)


async def test_a_gateway_that_does_not_answer_is_given_up_within_the_deadline(store, clock):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never says a word
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        made = Collector(store, url, LOG.verifier, clock, patience=Patience(deadline_s=0.1, attempts=1))
        outcome = await made.collect_once()
        assert "0.1 s" in outcome.error or "time" in outcome.error.lower()
        await made.close()
    refused = Collector(store, "http://127.0.0.1:9", LOG.verifier, clock, patience=Patience(attempts=1))
    assert (await refused.collect_once()).exit_code == 1
    await refused.close()


async def test_what_is_missing_or_endless_or_not_a_log(collector, served):
    assert "not found" in (await collector.collect_once()).error
    served.contents = {"checkpoint": b"<html>"}
    assert "a web page: a proxy" in (await collector.collect_once()).error
    served.contents = {"checkpoint": b"html"}
    assert "note" in (await collector.collect_once()).error
    served.contents = {"checkpoint": b"x" * 300_000}
    assert "longer than" in (await collector.collect_once()).error
    served.contents = {"checkpoint": Writer().grow(20).files()["checkpoint"]}
    assert "promises" in (await collector.collect_once()).error
    served.contents = files(Writer().grow(20).entries, ORIGIN, signer(seed=3))
    assert "not signed" in (await collector.collect_once()).error


async def test_a_compression_bomb_stops_at_the_limit(store, clock):
    bomb = zlib.compressobj(9, wbits=31)
    packed = bomb.compress(bytes(64 * 1024 * 1024)) + bomb.flush()

    def answer(request):
        return httpx.Response(200, content=packed, headers={"Content-Encoding": "gzip"})

    made = Collector(
        store, "http://gateway.example", LOG.verifier, clock, transport=httpx.MockTransport(answer)
    )
    assert "longer than" in (await made.collect_once()).error
    await made.close()


async def test_a_receipt_that_did_not_arrive_is_brought_again_the_same(collector, served, store, clock):
    served.contents = Writer().grow(100).files()
    served.receipt_status = 500
    outcome = await collector.collect_once()
    assert not outcome.receipt
    assert outcome.size == 100
    assert "receipt" in outcome.error
    served.receipt_status = 204
    clock.us += 60_000_000
    assert (await collector.collect_once()).receipt
    assert len(set(served.receipts)) == 1


async def test_why_a_gateway_takes_no_receipt_is_told_in_its_own_words(collector, served):
    served.contents = Writer().grow(100).files()
    served.receipt_status, served.receipt_words = 403, b"no platform of this site has\x1b[31m this key\n"
    told = (await collector.collect_once()).error
    assert "(403: no platform of this site has" in told
    assert told.endswith(" this key)")
    assert "\x1b" not in told


def test_another_key_than_the_stored_one_is_told_in_words_with_the_way_on(tmp_path, capsys):
    with Store(tmp_path / "platform") as held:
        held.gateway(ORIGIN, LOG.verifier.vkey)
    newer = signer(ORIGIN, 9).verifier.vkey
    command = ["collect", "http://127.0.0.1:9", "--store", str(tmp_path / "platform"), "--key"]
    for rhythm in ([], ["--every", "1s"]):
        assert main([*command, newer, *rhythm]) == 2
        assert f"--revoked FILE with the line: {LOG.verifier.vkey} size 0" in capsys.readouterr().err


def test_a_store_that_another_process_has_is_told_in_words(tmp_path, capsys):
    with Store(tmp_path / "platform"):
        command = ["collect", "http://127.0.0.1:9", "--store", str(tmp_path / "platform")]
        assert main([*command, "--key", LOG.verifier.vkey]) == 2
    assert "platform" in capsys.readouterr().err


async def test_no_receipt_without_a_key(store, served, clock):
    served.contents = Writer().grow(100).files()
    made = Collector(store, served.url, LOG.verifier, clock)
    outcome = await made.collect_once()
    assert outcome.ok
    assert not outcome.receipt
    assert served.receipts == []
    await made.close()


# ── alarms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def alarmed(collector, served, contents):
    served.contents = contents
    receipts = len(served.receipts)
    outcome = await collector.collect_once()
    assert not outcome.ok
    assert outcome.exit_code == 1
    assert len(served.receipts) == receipts, "no receipt after an alarm"
    return outcome


async def test_a_smaller_tree_is_a_rollback_and_growth_of_the_same_history_ends_it(collector, served, store):
    writer = Writer().grow(300)
    older = writer.files(192)
    served.contents = writer.files()
    await collector.collect_once()
    for _ in range(2):
        outcome = await alarmed(collector, served, older)
        assert outcome.alarm == "rollback"
        assert outcome.size == 300
    (alarm,) = store.alarms()
    assert (alarm.kind, alarm.theirs) == ("rollback", older["checkpoint"])
    assert note.open_checkpoint(alarm.ours, LOG.verifier)[0] == writer.head()
    served.contents = writer.grow(400).files()
    assert (await collector.collect_once()).ok
    assert stored(store) == writer.entries


@pytest.mark.parametrize("size", [300, 310, 900])
@pytest.mark.parametrize("at", [256, 300])
async def test_another_history_is_a_fork_and_held_until_a_person_releases_it(
    size, at, collector, served, store
):
    writer = Writer().grow(at)
    served.contents = writer.files()
    await collector.collect_once()
    other = Writer(seed=9).grow(size)
    outcome = await alarmed(collector, served, other.files())
    assert outcome.alarm == ("fork" if size >= at else "rollback")
    (alarm,) = store.alarms()
    for kept, head in ((alarm.ours, writer.head()), (alarm.theirs, other.head())):
        assert note.open_checkpoint(kept, LOG.verifier)[0] == head, (
            "both notes: misbehaviour that cannot be denied"
        )
    if size > at:
        kept = store.quarantined(alarm)
        assert kept
        assert all(other.files()[path] == data for path, data in kept.items())
    assert stored(store) == writer.entries
    held = await alarmed(collector, served, writer.grow(at + 50).files())
    assert (held.alarm, held.size) == ("fork", at)
    assert store.release(ORIGIN)
    assert (await collector.collect_once()).ok
    assert stored(store) == writer.entries


async def test_a_fork_within_the_open_bundle_is_seen(collector, served, store):
    """The restored image: the same log up to some entry, then other entries."""
    writer = Writer().grow(128)
    served.contents = writer.files()
    await collector.collect_once()
    entries = [*writer.entries[:100], *writer.entries[101:]]
    again = Writer().grow(128)
    again.entries = entries
    for _ in range(60):
        again.read("M1")
    again.seal()
    assert (await alarmed(collector, served, again.files())).alarm == "fork"


async def test_a_rightly_signed_log_with_missing_polls_gets_no_receipt(collector, served, store):
    writer = Writer().grow(60)
    writer.last["M1"] = (writer.last["M1"][0] + 2, *writer.last["M1"][1:])
    outcome = await alarmed(collector, served, writer.grow(120).files())
    assert outcome.alarm == "unsound"
    assert {f.code for f in outcome.findings} >= {"running_number"}
    assert gateway(store).size == 0


async def test_an_entry_that_is_no_record_is_named(collector, served):
    writer = Writer().grow(60)
    writer.entries.append(b"{}")
    writer.seal()
    outcome = await alarmed(collector, served, writer.files())
    assert (outcome.alarm, outcome.findings[0].code, outcome.findings[0].entry) == ("unsound", "record", 60)


async def test_continuity_is_checked_across_rounds(collector, served):
    writer = Writer().grow(100)
    served.contents = writer.files()
    assert (await collector.collect_once()).ok
    number, index, received, missed = writer.last["M2"]
    writer.last["M2"] = (number, index - 1, received, missed)
    outcome = await alarmed(collector, served, writer.grow(150).files())
    assert {f.code for f in outcome.findings} >= {"back_link"}


async def test_silence_is_an_alarm(collector, served, clock):
    served.contents = Writer().grow(100).files()
    assert (await collector.collect_once()).ok
    clock.us += 119_000_000
    assert (await collector.collect_once()).ok
    clock.us += 2_000_000
    outcome = await collector.collect_once()
    assert (outcome.alarm, outcome.exit_code) == ("stale", 1)
    served.fault = lambda path, data: 503
    assert (await collector.collect_once()).alarm == "stale"


async def test_a_new_key_is_taken_over_from_the_logs_own_record(collector, served, store):
    new = signer(ORIGIN, 7)
    writer = Writer().grow(50)
    statement = note.key_statement(ORIGIN, new, writer.signer)
    writer.add(
        record.Key(
            salt=bytes(12), vkey=new.verifier.vkey, replaces=LOG.verifier.vkey, statement=statement, utc_us=1
        )
    )
    served.contents = writer.grow(100).files()
    assert (await collector.collect_once()).ok
    writer.grow(150)
    served.contents = files(writer.entries, ORIGIN, new)
    assert (await collector.collect_once()).ok
    served.contents = files(writer.grow(200).entries, ORIGIN, signer(ORIGIN, 8))
    assert "not signed" in (await collector.collect_once()).error


async def test_another_key_for_a_known_gateway_is_refused(collector, served, store, clock):
    served.contents = Writer().grow(50).files()
    await collector.collect_once()
    with pytest.raises(StoreError, match="another key"):
        await Collector(store, served.url, signer(seed=3).verifier, clock).collect_once()


async def test_rounds_go_on_apart_while_well_and_further_apart_while_not(collector, served, slept):
    served.contents = Writer().grow(50).files()
    stop = asyncio.Event()
    seen = []

    def report(outcome):
        seen.append(outcome)
        if len(seen) == 2:
            served.fault = lambda path, data: 503
        if len(seen) == 6:
            stop.set()

    await collector.collect_forever(7.0, report, stop)
    assert [o.ok for o in seen] == [True, True, False, False, False, False]
    assert slept[:2] == [7.0, 7.0]
    assert all(pause >= 0.25 for pause in slept)
    assert len(seen) == 6
