"""The platform as a mirror, request by request as C2SP tlog-mirror and tlog-witness demand; receipts only for what is
durable."""

import gzip
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from central.intake import Intake
from central.monitor import origin_hash
from central.packages import Body
from central.receive import Limits, application
from central.store import Store
from evidence import log, note, record
from evidence.verify import verify_log
from tests.central.pushing import PLATFORM, entries_body, intake, offer
from tests.evidence.logs import ORIGIN, START_US, Writer, signer


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "central") as opened:
        yield opened


@pytest.fixture
def writer():
    return Writer().grow(1000)


@pytest.fixture
def alarms():
    return []


@pytest.fixture
async def http(store, writer, alarms):
    app = application(
        intake(store, writer, Writer("other.example/gw/8", 8), report=lambda *a: alarms.append(a))
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mirror") as client:
        yield client


async def add_checkpoint(http, body):
    return await http.post("/add-checkpoint", content=body)


async def add_entries(http, body, **headers):
    kind = {"Content-Type": "application/octet-stream", **headers}
    return await http.post("/add-entries", content=body, headers=kind)


def stored(store, origin=ORIGIN):
    gateway = next(g for g in store.gateways() if g.origin == origin)
    return list(store.entries(gateway))


def told(answer):
    assert answer.headers["content-type"] == "text/x.tlog.mirror-info"
    size, following, _ticket, end = answer.text.split("\n")
    assert end == ""
    return int(size), int(following)


# ── add-checkpoint, with the statuses of tlog-witness ────────────────────────────────────────────────────────────────


async def test_a_checkpoint_becomes_pending_and_nothing_is_signed_for_it(http, writer, store):
    answer = await add_checkpoint(http, offer(writer, 300, 0))
    assert (answer.status_code, answer.content) == (200, b"")
    (gateway,) = (g for g in store.gateways() if g.origin == ORIGIN)
    assert [one.size for one in store.pending(gateway)] == [300]
    assert store.last_head(gateway) is None
    assert (await http.get(f"/{origin_hash(ORIGIN)}/checkpoint")).status_code == 404


async def test_an_unknown_origin_is_404_a_wrong_signature_403(http, writer):
    stranger = Writer("stranger.example/gw/1").grow(10)
    assert (await add_checkpoint(http, offer(stranger, 10, 0))).status_code == 404
    assert (await add_checkpoint(http, offer(writer, 300, 0, by=signer(ORIGIN, 9)))).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\n",
        b"new 0\n\n",
        b"old 0\nnot base64!\n\n",
        b"old 0\n" + b"AAAA\n" + b"\n",
        b"old 0\n\nno checkpoint\n",
        b"\xff\n\n",
    ],
)
async def test_what_is_no_request_is_400(http, body):
    assert (await add_checkpoint(http, body)).status_code == 400


async def test_an_old_size_beyond_the_checkpoint_is_400_another_than_the_pending_one_409(http, writer):
    await add_checkpoint(http, offer(writer, 300, 0))
    beyond = offer(writer, 300, 0).replace(b"old 0", b"old 301")
    assert (await add_checkpoint(http, beyond)).status_code == 400
    answer = await add_checkpoint(http, offer(writer, 500, 200))
    assert (answer.status_code, answer.text) == (409, "300\n")
    assert answer.headers["content-type"] == "text/x.tlog.size"
    assert (await add_checkpoint(http, offer(writer, 500, 300))).status_code == 200
    assert (await add_checkpoint(http, offer(writer, 500, 500))).status_code == 200


async def test_a_proof_that_proves_nothing_is_422_and_changes_nothing(http, writer, store):
    await add_checkpoint(http, offer(writer, 300, 0))
    good = offer(writer, 500, 300)
    lines = good.split(b"\n")
    for wrong in (
        b"\n".join([lines[0], *lines[2:]]),
        offer(writer, 500, 300).replace(lines[1], b"A" * 43 + b"="),
    ):
        assert (await add_checkpoint(http, wrong)).status_code == 422
    (gateway,) = (g for g in store.gateways() if g.origin == ORIGIN)
    assert [one.size for one in store.pending(gateway)] == [300]
    assert (await add_checkpoint(http, good)).status_code == 200  # and nothing was held for it


async def test_an_empty_tree_has_one_root(http, writer):
    text = f"{ORIGIN}\n0\n{'A' * 43}=\n"
    wrong = b"old 0\n\n" + note.Note(text).signed_by(writer.signer).encode()
    assert (await add_checkpoint(http, wrong)).status_code == 422
    right = b"old 0\n\n" + note.Checkpoint(ORIGIN, 0, log.EMPTY_ROOT).signed_by(writer.signer).encode()
    assert (await add_checkpoint(http, right)).status_code == 200


async def test_another_root_for_a_known_size_is_a_fork_and_holds_the_gateway(http, writer, store, alarms):
    await add_checkpoint(http, offer(writer, 300, 0))
    other = Writer(seed=5).grow(1000)
    answer = await add_checkpoint(http, offer(other, 300, 300))
    assert answer.status_code == 422
    assert [(origin, kind) for origin, kind, _ in alarms] == [(ORIGIN, "fork")]
    (alarm,) = store.alarms()
    assert alarm.theirs == other.head(300).signed_by(other.signer).encode()
    assert (await add_checkpoint(http, offer(writer, 500, 300))).status_code == 403
    assert (await add_entries(http, entries_body(writer, 0, 300))).status_code == 403
    store.release(ORIGIN)
    assert (await add_checkpoint(http, offer(writer, 500, 300))).status_code == 200


async def test_a_proof_of_another_beginning_is_a_fork(http, writer, alarms):
    await add_checkpoint(http, offer(writer, 300, 0))
    other = Writer(seed=5).grow(1000)
    assert (await add_checkpoint(http, offer(other, 700, 300))).status_code == 422
    assert [kind for _, kind, _ in alarms] == ["fork"]


async def test_an_old_copy_that_was_put_back_and_signs_anew_is_a_fork_before_it_is_longer(
    http, writer, store, alarms
):
    await add_checkpoint(http, offer(writer, 1000, 0))
    brought = await add_entries(http, entries_body(writer, 0, 1000))
    assert brought.status_code == 200, brought.text
    late = await add_checkpoint(http, offer(writer, 400, 0))  # one that was long under way is none
    assert (late.status_code, late.text, alarms) == (409, "1000\n", [])
    other = Writer(seed=5).grow(1000)
    for size in (401, 402):
        answer = await add_checkpoint(http, offer(other, size, 0))
        assert answer.status_code == (422 if size == 401 else 403)
    assert [(origin, kind) for origin, kind, _ in alarms] == [(ORIGIN, "fork")]
    (alarm,) = store.alarms()
    assert alarm.theirs == other.head(401).signed_by(other.signer).encode()


# ── add-entries ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sizes", [[1000], [6, 255, 256, 257, 999], [300, 300, 301], [512]])
async def test_entries_and_receipts_through_growth(http, writer, store, sizes, packed):
    before = 0
    whole = Writer()
    for size in sizes:
        whole.grow(size) if whole.size < size else None
        assert (await add_checkpoint(http, offer(whole, size, before))).status_code == 200
        body = entries_body(whole, before, size, packed=packed)
        answer = await add_entries(http, body, **({"Content-Encoding": "gzip"} if packed else {}))
        assert answer.status_code == 200, answer.text
        signed = whole.head(size).signed_by(whole.signer).encode() + answer.content
        assert note.Note.parse(signed).cosigned_at(PLATFORM.cosigner) == START_US // 1_000_000
        before = size
    assert stored(store) == whole.entries
    values = [v for m in whole.instruments for v in store.values(ORIGIN, m)]
    readings = [r for e in whole.entries if isinstance(r := record.decode(e), record.Reading)]
    assert len(values) == sum(len(r.indications) + len(r.missing) for r in readings)


async def test_before_any_checkpoint_422_for_a_stranger_404(http, writer):
    assert (await add_entries(http, entries_body(writer, 0, 300))).status_code == 422
    assert (await add_entries(http, entries_body(Writer("x.example/y").grow(9), 0, 9))).status_code == 404


async def test_a_prefix_is_202_with_the_next_entry_and_the_rest_completes_it(http, writer, store):
    await add_checkpoint(http, offer(writer, 1000, 0))
    answer = await add_entries(http, entries_body(writer, 0, 1000, packages=2))
    assert answer.status_code == 202
    assert told(answer) == (1000, 512)
    assert stored(store) == writer.entries[:512]
    answer = await add_entries(http, entries_body(writer, 512, 1000))
    assert answer.status_code == 200
    assert stored(store) == writer.entries


async def test_unknown_ends_and_starts_ahead_are_409_and_say_where_the_mirror_stands(http, writer):
    await add_checkpoint(http, offer(writer, 1000, 0))
    await add_entries(http, entries_body(writer, 0, 1000, packages=1))
    for start, end in ((256, 900), (512, 1000)):
        answer = await add_entries(http, entries_body(writer, start, end))
        assert answer.status_code == 409
        assert told(answer) == (1000, 256)


async def test_what_is_there_already_is_skipped(http, writer, store):
    await add_checkpoint(http, offer(writer, 1000, 0))
    await add_entries(http, entries_body(writer, 0, 1000, packages=3))
    answer = await add_entries(http, entries_body(writer, 100, 1000))
    assert answer.status_code == 200
    again = await add_entries(http, entries_body(writer, 1000, 1000))  # the answer was lost: the same receipt
    assert (again.status_code, again.content) == (200, answer.content)
    assert stored(store) == writer.entries


async def test_a_changed_entry_is_422_and_only_what_was_proven_before_it_is_kept(http, writer, store):
    await add_checkpoint(http, offer(writer, 1000, 0))
    body = bytearray(entries_body(writer, 0, 1000))
    reader = Body()
    (first, *_) = reader.feed(bytes(body))
    body[len(log.encode_bundle(first.entries)) + 200] ^= 1  # in the second package
    answer = await add_entries(http, bytes(body))
    assert answer.status_code == 422
    assert stored(store) == writer.entries[:256]
    assert (await add_entries(http, entries_body(writer, 256, 1000))).status_code == 200


async def test_half_a_package_is_400_and_two_and_a_half_are_two(http, writer, store):
    await add_checkpoint(http, offer(writer, 1000, 0))
    one = len(entries_body(writer, 0, 1000, packages=1))
    assert (await add_entries(http, entries_body(writer, 0, 1000)[: one // 2])).status_code == 400
    assert (await add_entries(http, b"\0")).status_code == 400
    two = len(entries_body(writer, 0, 1000, packages=2))
    answer = await add_entries(http, entries_body(writer, 0, 1000)[: two + 1000])
    assert answer.status_code == 202
    assert told(answer) == (1000, 512)


async def test_other_media_and_codings_are_415(http, writer):
    await add_checkpoint(http, offer(writer, 300, 0))
    body = entries_body(writer, 0, 300)
    assert (await http.post("/add-entries", content=body)).status_code == 415
    answer = await add_entries(http, body, **{"Content-Encoding": "zstd"})
    assert answer.status_code == 415
    assert "gzip" in answer.headers["accept-encoding"]


async def test_a_bomb_costs_no_more_than_the_limit(store, writer):
    app = application(intake(store, writer), Limits(unpacked=1_000_000))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mirror") as http:
        await add_checkpoint(http, offer(writer, 1000, 0))
        whole = entries_body(writer, 0, 1000, packages=1)
        bomb = gzip.compress(whole) + gzip.compress(bytes(100_000_000))
        answer = await add_entries(http, bomb, **{"Content-Encoding": "gzip"})
        assert answer.status_code in (202, 422)
        assert stored(store) == writer.entries[:256]


async def test_a_log_that_is_rightly_signed_and_not_sound_is_held(http, store, alarms):
    writer = Writer().grow(100)
    del writer.entries[50]  # a running number is missing
    await add_checkpoint(http, offer(writer, 99, 0))
    assert (await add_entries(http, entries_body(writer, 0, 99))).status_code == 422
    assert [kind for _, kind, _ in alarms] == ["unsound"]
    assert stored(store) == []
    assert (await add_entries(http, entries_body(writer, 0, 99))).status_code == 403


async def test_an_upload_under_an_older_pending_checkpoint_may_be_finished(http, writer, store):
    whole = Writer().grow(300)
    await add_checkpoint(http, offer(whole, 300, 0))
    whole.grow(700)
    await add_checkpoint(http, offer(whole, 700, 300))
    assert (await add_entries(http, entries_body(whole, 0, 300))).status_code == 200
    answer = await add_entries(http, entries_body(whole, 300, 700))
    assert answer.status_code == 200
    assert stored(store) == whole.entries


def test_many_at_once_store_every_entry_once(store, writer):
    made = intake(store, writer)
    made.add_checkpoint(offer(writer, 1000, 0))
    body = entries_body(writer, 0, 1000)
    reader = Body()
    packages = list(reader.feed(body))

    def push(_):
        return made.take(reader.upload, packages)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(push, range(16)))
    assert {answer.receipt for answer in answers} == {answers[0].receipt}
    assert stored(store) == writer.entries


# ── reading it back ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_mirrored_log_verifies_as_it_is_served(http, store):
    writer = Writer().grow(700)
    await add_checkpoint(http, offer(writer, 700, 0))
    await add_entries(http, entries_body(writer, 0, 700))
    prefix = f"/{origin_hash(ORIGIN)}/"
    paths = ["checkpoint", *(t.path for t in log.tiles(700)), *(t.path for t in log.bundles(700))]
    contents = {path: (await http.get(prefix + path)).content for path in paths}
    report = verify_log(contents.get, writer.signer.verifier, witnesses=[PLATFORM.cosigner])
    assert report.ok, report.findings
    assert not report.findings
    for path in ("tile/entries/002.p/189", "tile/0/003", "tile/9/000", "tile/x"):
        assert (await http.get(prefix + path)).status_code == 404
    assert (await http.get("/" + "0" * 64 + "/checkpoint")).status_code == 404


async def test_a_store_of_the_first_version_is_taken_over(tmp_path):
    import apsw

    with Store(tmp_path / "old"):
        pass
    db = apsw.Connection(str(tmp_path / "old" / "central.db"))
    db.execute("DROP TABLE pending; PRAGMA user_version=1")
    db.close()
    writer = Writer().grow(300)
    with Store(tmp_path / "old") as store:
        intake(store, writer).add_checkpoint(offer(writer, 300, 0))


def test_who_fell_silent_is_known(store, writer):
    made = intake(store, writer)
    assert made.silent(0) == ()  # a gateway that never came is not stale
    made.add_checkpoint(offer(writer, 1000, 0))
    reader = Body()
    packages = list(reader.feed(entries_body(writer, 0, 1000)))
    made.take(reader.upload, packages)
    assert made.silent(60_000_000) == ()
    later = Intake(store, made._keys, PLATFORM, lambda: START_US + 61_000_000)
    assert later.silent(60_000_000) == (ORIGIN,)
    assert Intake(store, dict, PLATFORM, lambda: START_US + 61_000_000).silent(60_000_000) == ()
