"""The second signature: OpenSSL signs and our own arithmetic verifies, and the other way round."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from evidence import bundle as bundles
from evidence import bundle_page, sm2
from evidence.bundle_verify import verify_bundle
from evidence.errors import ParseError
from evidence.note import (
    Checkpoint,
    Note,
    SignerUnavailable,
    Verifier,
    VerifyError,
    key_statement,
    open_checkpoint,
)
from evidence.policy import Policy
from evidence.record import Genesis, Key
from evidence.verify import verify_log
from gateway.agent import Agent
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.keyring import SecondLine, look
from gateway.keys import KeyFileError
from gateway.sm2_key import Sm2Signer, sm2_ring
from gateway.store import LogStore
from tests.evidence.logs import ORIGIN, START_US, Writer, files, signer
from tests.gateway.test_agent import PERIOD, Running, fast, records, until
from tests.gateway.test_config import SITE
from tests.gateway.test_restore import copy_of
from tests.rigs.agent_process import SIGNER, plan
from tests.rigs.farm import Farm

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def key(tmp_path):
    return Sm2Signer(tmp_path / "log.sm2.pem", ORIGIN)


def test_sm3_is_that_of_the_standard():
    assert sm2.sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


def test_what_openssl_signs_we_verify_and_no_changed_bit_of_it(key):
    text = "a\ntext\n"
    signature = key.sign(text)
    assert key.verifier.check(text, signature)
    assert not key.verifier.check(text + "\n", signature)
    for place in range(0, 64, 7):
        changed = bytearray(signature)
        changed[place] ^= 1
        assert not key.verifier.check(text, bytes(changed))
    point = key.verifier.public.removeprefix(b"sm2-sm3-v1:")
    assert not sm2.verify(point, text.encode(), signature, b"another's identity")
    for wrong in (
        bytes(64),
        signature[:32] + bytes(32),
        bytes(32) + signature[32:],
        signature[:63],
        b"\xff" * 64,
    ):
        assert not key.verifier.check(text, wrong)


def test_openssl_says_the_same_of_the_line(key, tmp_path):
    (tmp_path / "text").write_bytes(b"the text\n")
    made = key.sign("the text\n")
    der = encode_dss_signature(int.from_bytes(made[:32], "big"), int.from_bytes(made[32:], "big"))
    (tmp_path / "signature").write_bytes(der)
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678", "-inkey",
         "log.sm2.pem", "-in", "text", "-sigfile", "signature"], cwd=tmp_path, capture_output=True, timeout=60,
    )  # fmt: skip
    assert b"Success" in done.stdout


def test_the_key_is_a_vkey_and_no_other_point_is(key):
    vkey = key.verifier.vkey
    assert Verifier.parse(vkey) == key.verifier
    assert Policy.parse(f"log {vkey}\nquorum none\n").logs == (key.verifier,)
    with pytest.raises(ParseError, match="not a point"):
        Verifier.of_sm2(ORIGIN, b"\4" + bytes(63) + b"\1")
    with pytest.raises(ParseError, match="can be checked here"):
        Verifier.parse(Verifier(ORIGIN, 0xFF, b"another:" + bytes(65)).vkey)


def test_a_log_verifies_by_either_line_and_a_wrong_one_is_seen(key):
    writer = Writer().grow(40)
    contents = files(writer.entries, ORIGIN, writer.signer)
    both = writer.head().signed_by(writer.signer, key)
    contents["checkpoint"] = both.encode()
    for keys in ((writer.signer.verifier,), (writer.signer.verifier, key.verifier)):
        assert verify_log(contents.get, *keys).ok
    other = Note(Checkpoint(ORIGIN, 1, bytes(32)).text).signed_by(key).signatures
    mixed = Note(both.text, (both.signatures[0], *other)).encode()
    assert open_checkpoint(mixed, writer.signer.verifier)[0] == writer.head(), (
        "who does not know it passes it over"
    )
    with pytest.raises(VerifyError, match="wrong"):
        open_checkpoint(mixed, writer.signer.verifier, key.verifier)
    assert signer().verifier == writer.signer.verifier


async def test_an_agents_checkpoints_have_both_lines_and_only_the_second_may_fail(tmp_path):
    second = Sm2Signer(tmp_path / "log.sm2.pem", plan(tmp_path, 1, []).origin)
    assert Sm2Signer(tmp_path / "log.sm2.pem", second.verifier.name).verifier == second.verifier
    async with Farm(1) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports), second_signer=second)
        async with Running(Agent(made, SystemClock())) as agent:
            note = Note.parse(agent.store.published.note)
            assert note.is_signed_by(SIGNER.verifier)
            assert note.is_signed_by(second.verifier)
            open_checkpoint(agent.store.published.note, second.verifier)
            (tmp_path / "log.sm2.pem").rename(tmp_path / "away")
            await until(lambda: "second_signature_missing" in agent.status().alarms)
            assert len(Note.parse(agent.store.published.note).signatures) == 1
            (tmp_path / "away").rename(tmp_path / "log.sm2.pem")
            await until(lambda: "second_signature_missing" not in agent.status().alarms)
    first = records(tmp_path)[0]
    assert isinstance(first, Genesis)
    assert first.keys == (SIGNER.verifier.vkey, second.verifier.vkey)


def test_a_key_that_cannot_be_used_is_told(tmp_path):
    path = tmp_path / "log.sm2.pem"
    path.write_text("nothing")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no SM2 key"):
        Sm2Signer(path, ORIGIN)
    path.unlink()
    made = Sm2Signer(path, ORIGIN)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read"):
        Sm2Signer(path, ORIGIN)
    path.unlink()
    with pytest.raises(SignerUnavailable):
        made.sign("x")


def test_the_command_shows_its_vkey(tmp_path, key, capsys):
    path = str(tmp_path / "log.sm2.pem")
    assert main(["key", "show", path, "--name", ORIGIN]) == 0
    assert capsys.readouterr().out.strip() == key.verifier.vkey
    assert main(["key", "show", path]) == 2


def lines_of(agent, *keys):
    """Whether the newest checkpoint has the lines of exactly these SM2 keys beside the log's own."""
    note = Note.parse(agent.store.published.note)
    return len(note.signatures) == 1 + len(keys) and all(note.is_signed_by(k.verifier) for k in keys)


def ring_of(directory):
    return sm2_ring(directory, plan(directory, 1, []).origin)


async def test_the_second_key_is_changed_while_the_agent_runs_and_an_auditor_of_the_old_one_follows(tmp_path):
    ring = ring_of(tmp_path)
    old = ring.current()
    async with Farm(1) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports), second_signer=old, platforms=())
        async with Running(Agent(made, SystemClock())) as agent:
            line = SecondLine(agent.signing, old)
            assert await look(ring, 0, line, None) is None
            new = ring.prepare()
            coming = await look(ring, 0, line, None)
            assert coming.vkey == new.vkey
            await until(lambda: lines_of(agent, old, new))
            await until(lambda: agent.signing.key_is_known(new.vkey, 0))
            assert await look(ring, 3600_000_000, line, coming) is coming, "the overlap is not over"
            assert await look(ring, 0, line, coming) is None
            assert (ring.current().vkey, ring.next()) == (new.vkey, None)
            await until(lambda: lines_of(agent, new))
            size = agent.size
            await until(lambda: agent.store.published.size > size)
            assert lines_of(agent, new), "the key signs from its new place"
            assert not agent.status().alarms
        for keys in ((SIGNER.verifier,), (old.verifier,), (new.verifier,), (SIGNER.verifier, old.verifier)):
            verdict = verify_log(copy_of_log(tmp_path), *keys)
            assert verdict.ok
            led_on = "key_followed" in {finding.code for finding in verdict.findings}
            assert led_on == (keys == (old.verifier,)), "who knows only the old key is led on, and told so"
        async with Running(Agent(replace(made, second_signer=ring.current()), SystemClock())) as agent:
            await until(lambda: lines_of(agent, new))
            assert await look(ring, 0, SecondLine(agent.signing, ring.current()), None) is None
    told = [r for r in records(tmp_path) if isinstance(r, Key)]
    assert [(r.vkey, r.replaces) for r in told] == [(new.vkey, old.vkey)]


async def test_a_second_key_that_comes_later_or_was_lost_is_vouched_for_by_the_log(tmp_path):
    ring, found = ring_of(tmp_path), []
    async with Farm(1) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports))
        async with Running(Agent(made, SystemClock())):
            pass
        for _ in range(2):
            second = ring.current()
            found.append(second.vkey)
            async with Running(Agent(replace(made, second_signer=second), SystemClock())) as agent:
                for _ in range(2):
                    assert SecondLine(agent.signing, second).begun
                await until(lambda second=second: lines_of(agent, second))
            assert verify_log(copy_of_log(tmp_path), second.verifier).ok
            ring.path.unlink()
    assert [r.vkey for r in records(tmp_path) if isinstance(r, Key)] == found
    assert verify_log(copy_of_log(tmp_path), SIGNER.verifier).ok


def test_the_command_lays_the_new_key_beside_the_old_one(tmp_path, capsys):
    text = SITE.replace('commit = "1s"', 'commit = "1s"\nsm2 = true')
    (tmp_path / "site.toml").write_text(text)
    ring = sm2_ring(tmp_path / "data", "platform.example/gw/0001")
    old = ring.current()
    assert main(["key", "rotate", str(tmp_path / "site.toml"), "--sm2"]) == 0
    new = ring.next()
    assert capsys.readouterr().out.strip() == new.vkey != old.vkey
    assert ring.next_path.stat().st_mode & 0o077 == 0
    assert main(["key", "rotate", str(tmp_path / "site.toml"), "--sm2"]) == 2
    assert "under way" in capsys.readouterr().err
    (tmp_path / "site.toml").write_text(SITE)
    assert main(["key", "rotate", str(tmp_path / "site.toml"), "--sm2"]) == 2


def copy_of_log(directory):
    store = LogStore(directory, plan(directory, 1, []).origin, ballast=0)
    copy = copy_of(store)
    store.close()
    return copy.get


def bundle_of_a_log_with(second, *vouching):
    """A bundle whose log took up an SM2 key on the way."""
    writer = Writer().grow(20)
    statement = key_statement(ORIGIN, second, *vouching)
    writer.add(
        Key(salt=writer.salt(), vkey=second.vkey, replaces="", statement=statement, utc_us=writer.now())
    )
    writer.seal()
    writer.grow(40)
    served = files(writer.entries, ORIGIN, writer.signer)
    return bundles.encode(bundles.make(served.get, "M1", START_US, START_US + 10_000_000))


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_a_bundle_of_a_log_that_took_up_a_second_key_verifies_in_its_page_too(key, tmp_path):
    policy = f"log {Writer().signer.verifier.vkey}\nquorum none\n"
    good = bundle_of_a_log_with(key, Writer().signer)
    assert verify_bundle(good, Policy.parse(policy)).ok
    page = Path(bundle_page.__file__).parent / "page" / "verify.js"
    done = subprocess.run(
        ["node", Path(__file__).parents[1] / "evidence" / "bundle_runner.js", page],
        input=json.dumps([[base64.b64encode(good).decode(), policy]]),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)[0][0] is True, done.stdout
    alone = verify_bundle(bundle_of_a_log_with(key), Policy.parse(policy))
    assert {f.code for f in alone.findings} == {"key_statement"}
