"""The second signature: OpenSSL signs and our own arithmetic verifies, and the other way round."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from evidence import sm2
from evidence.errors import ParseError
from evidence.note import Checkpoint, Note, SignerUnavailable, Verifier, VerifyError, open_checkpoint
from evidence.policy import Policy
from evidence.record import Genesis
from evidence.verify import verify_log
from gateway.agent import Agent
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.keys import KeyFileError
from gateway.sm2_key import Sm2Signer
from tests.evidence.logs import ORIGIN, Writer, files, signer
from tests.gateway.test_agent import PERIOD, Running, fast, records, until
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
