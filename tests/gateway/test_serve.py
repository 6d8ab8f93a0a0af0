from __future__ import annotations

import httpx
import pytest

from evidence.log import leaf_hash, tiles
from evidence.note import Checkpoint, Ed25519Signer, Note
from gateway.clock import SetClock
from gateway.receipts import LIMIT, PlatformKey, Receipts
from gateway.serve import application
from gateway.status import AgentStatus, BusStatus, InstrumentStatus, ReceiptStatus, metrics
from gateway.store import LogStore

ORIGIN = "platform.example/gw/0001"
LOG = Ed25519Signer.from_seed(ORIGIN, bytes(32))
PLATFORM = Ed25519Signer.from_seed("platform.example/receipts", bytes(range(32)))
STRANGER = Ed25519Signer.from_seed("platform.example/receipts", bytes(range(1, 33)))
ENTRIES = [b'{"n":%d}' % n for n in range(700)]

STATUS = AgentStatus(
    origin=ORIGIN,
    software="suyuan 0",
    utc_us=2,
    started_us=1,
    clock="synchronised",
    clock_error_us=1500,
    size=700,
    checkpoint=600,
    unacknowledged=100,
    rewrite_window_s=3.5,
    window_s=1.0,
    receipts=(ReceiptStatus("p", 500, 1),),
    buffer_hours=None,
    bytes_per_record=12.5,
    log_bytes=4096,
    alarms=("low_disk",),
    instruments=(InstrumentStatus('M"1', "b", 5, 4, 1, 1_500_000, 3, False, "00", (), ()),),
    buses=(BusStatus("b", "tcp://x", {"1": {"timeout": 2}}, 9, 8, 7, 0.5, 0),),
)


@pytest.fixture
def site(tmp_path):
    store = LogStore(tmp_path, ORIGIN, ballast=0)
    receipts = Receipts(store, (PlatformKey("p", PLATFORM.cosigner),), SetClock())
    yield store, receipts
    store.close()


@pytest.fixture
async def http(site):
    told = []
    app = application(*site, lambda: STATUS, told.append)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        client.told = told
        yield client


def sign(size, root):
    return Checkpoint(ORIGIN, size, root).signed_by(LOG).encode()


def cosigned(store, by=PLATFORM, at=1_800_000_000):
    return Note.parse(store.published.note).cosigned_by(by, at).encode()


async def test_a_log_without_a_checkpoint_says_so(http):
    assert (await http.get("/checkpoint")).status_code == 404


async def test_every_tile_and_bundle_of_the_checkpoint_is_served_and_lasts_for_ever(site, http):
    store, _ = site
    store.commit(ENTRIES[:600], sign)
    store.commit(ENTRIES[600:])
    answer = await http.get("/checkpoint")
    assert answer.content == store.published.note
    assert "no-cache" in answer.headers["cache-control"]
    for tile in tiles(600):
        answer = await http.get("/" + tile.path)
        assert answer.status_code == 200
        assert len(answer.content) == 32 * tile.width
        assert "immutable" in answer.headers["cache-control"]
    first = await http.get("/tile/0/000")
    assert first.content == b"".join(leaf_hash(e) for e in ENTRIES[:256])


async def test_bundles_go_out_compressed_to_those_who_take_it_and_plain_to_others(site, http):
    store, _ = site
    store.commit(ENTRIES[:600], sign)
    packed = await http.get("/tile/entries/000", headers={"accept-encoding": "gzip"})
    plain = await http.get("/tile/entries/000", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    partial = await http.get("/tile/entries/002.p/88")
    assert partial.content.endswith(ENTRIES[599])


@pytest.mark.parametrize(
    "path", ["/tile/0/002.p/89", "/tile/entries/002", "/tile/entries/003.p/1", "/tile/5/000"]
)
async def test_nothing_beyond_the_checkpoint_is_there(site, http, path):
    site[0].commit(ENTRIES[:600], sign)
    site[0].commit(ENTRIES[600:])
    answer = await http.get(path)
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-cache", "it will be there later"


@pytest.mark.parametrize(
    "path", ["/tile/0/2", "/tile/0/000.p/256", "/tile/64/000", "/tile/entries/x000/000", "/tile/"]
)
async def test_a_second_spelling_of_a_path_is_refused(site, http, path):
    site[0].commit(ENTRIES[:600], sign)
    assert (await http.get(path)).status_code == 400


async def test_a_receipt_is_kept_and_shown_in_the_next_seal(site, http):
    store, receipts = site
    store.commit(ENTRIES[:300], sign)
    assert (await http.post("/receipt", content=cosigned(store))).status_code == 204
    assert [(r.platform, r.size) for r in store.receipts()] == [("p", 300)]
    assert (receipts.head.size, receipts.head.root) == (300, store.root_at(300))
    early = cosigned(store)
    store.commit(ENTRIES[300:600], sign)
    assert (await http.post("/receipt", content=cosigned(store))).status_code == 204
    assert (await http.post("/receipt", content=early)).status_code == 204, "the same again does no harm"
    assert receipts.head.size == 600


async def test_what_is_no_receipt_of_a_platform_of_ours_is_refused_with_the_reason(site, http):
    store, receipts = site
    store.commit(ENTRIES[:300], sign)
    note = store.published.note

    async def refused(content, status, reason):
        answer = await http.post("/receipt", content=content)
        assert (answer.status_code, reason in answer.text) == (status, True), answer.text

    await refused(b"hello", 400, "not a")
    await refused(note, 403, "not cosigned")
    await refused(cosigned(store, STRANGER), 403, "platform.example/receipts")
    broken = bytearray(cosigned(store))
    broken[-10] ^= 1
    answer = await http.post("/receipt", content=bytes(broken))
    assert answer.status_code in (400, 403)
    other = Checkpoint("platform.example/gw/0002", 300, store.root).signed_by(LOG).cosigned_by(PLATFORM, 1)
    await refused(other.encode(), 403, "0002")
    beyond = Checkpoint(ORIGIN, 301, bytes(32)).signed_by(LOG).cosigned_by(PLATFORM, 1)
    await refused(beyond.encode(), 409, "no checkpoint of size 301")
    await refused(bytes(LIMIT + 1), 413, "at most")
    assert receipts.newest == store.receipts() == ()


async def test_a_cosigned_other_history_is_refused_and_told(site, http):
    store, _ = site
    store.commit(ENTRIES[:300], sign)
    fork = Checkpoint(ORIGIN, 200, bytes(32)).signed_by(LOG).cosigned_by(PLATFORM, 1)
    answer = await http.post("/receipt", content=fork.encode())
    assert answer.status_code == 409
    assert "fork" in answer.text
    assert len(http.told) == 1


async def test_status_is_json_and_metrics_are_prometheus_text(http):
    shown = (await http.get("/status")).json()
    assert shown["instruments"][0]["instrument"] == 'M"1'
    assert shown["receipts"] == [{"platform": "p", "size": 500, "received_us": 1}]
    text = (await http.get("/metrics")).text
    assert text == metrics(STATUS)
    lines = text.splitlines()
    assert 'suyuan_readings_total{instrument="M\\"1",bus="b"} 4' in lines
    assert 'suyuan_lost_answers_total{bus="b",address="1",cause="timeout"} 2' in lines
    assert "suyuan_unacknowledged_entries 100" in lines
    assert not any(line.startswith("suyuan_buffer_hours") for line in lines), "unknown is left out, not 0"
    for line in lines:
        assert line.startswith(("# HELP suyuan_", "# TYPE suyuan_", "suyuan_"))


def test_a_platform_key_must_be_a_cosigners(site):
    with pytest.raises(ValueError, match="cosignature key"):
        PlatformKey.parse("p", LOG.verifier.vkey)
    assert PlatformKey.parse("p", PLATFORM.cosigner.vkey).verifier == PLATFORM.cosigner
