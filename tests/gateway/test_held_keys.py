"""Log keys in devices: a PKCS#11 token (SoftHSM) and a TPM (swtpm), both as Debian ships them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from evidence.note import Checkpoint, Ed25519Signer, Note, SignerUnavailable, Verifier, open_checkpoint
from evidence.record import Event, Key
from evidence.verify import verify_log
from gateway.agent import Agent
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.config import SiteFile
from gateway.key_holder import FileHolder, MovingHolder, read_reference
from gateway.keyring import KeyRing, look
from gateway.keys import KeyFileError
from gateway.store import LogStore
from gateway.toml_source import ConfigError
from tests.gateway.test_agent import PERIOD, Running, fast, records, until, verified
from tests.gateway.test_config import SITE
from tests.gateway.test_restore import copy_of
from tests.rigs.agent_process import SIGNER, plan
from tests.rigs.farm import Farm

ORIGIN = "platform.example/gw/7"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
softhsm = pytest.mark.skipif(
    not MODULE.exists() or shutil.which("softhsm2-util") is None, reason="softhsm2 is not installed"
)
swtpm = pytest.mark.skipif(
    shutil.which("swtpm") is None or shutil.which("tpm2_create") is None,
    reason="swtpm and tpm2-tools are not installed",
)
SUM = Checkpoint(ORIGIN, 3, bytes(32))


def signs(key):
    """Whether what it signs is its own, by the pure verifier."""
    return open_checkpoint(SUM.signed_by(key.signer).encode(), key.signer.verifier)[0] == SUM


# ── PKCS#11 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    """The label of a token; the library reads where tokens lie once in a process."""
    pytest.importorskip("pkcs11")
    home = tmp_path_factory.mktemp("softhsm")
    (home / "tokens").mkdir()
    (home / "conf").write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(home / "conf")
    for label in ("suyuan", "strange"):
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "0000", "--pin", "1234"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    yield "suyuan"
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def holder_of(token, pin="1234"):
    from gateway.pkcs11_key import Pkcs11Holder

    return Pkcs11Holder(MODULE, token, pin)


@softhsm
def test_a_key_made_in_a_token_signs_and_is_found_again_and_its_file_holds_no_secret(tmp_path, token):
    ring = KeyRing(tmp_path, ORIGIN, holder_of(token))
    made = ring.current()
    assert signs(made)
    again = ring.current()
    assert again.vkey == made.vkey
    assert signs(again)
    body = json.loads(ring.path.read_text())
    assert set(body) == {"format", "held", "vkey", "token", "id"}
    assert ring.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError, match="never overwritten"):
        holder_of(token).create(ring.path, ORIGIN)


@softhsm
def test_after_a_change_of_keys_the_token_has_the_old_one_no_more(tmp_path, token):
    ring = KeyRing(tmp_path, ORIGIN, holder_of(token))
    old, new = ring.current(), ring.prepare()
    assert old.vkey != new.vkey
    ring.settle()
    assert ring.current().vkey == new.vkey
    assert signs(ring.current())
    with pytest.raises(SignerUnavailable, match=r"NoSuchKey|No key"):
        old.signer.sign("x")


@softhsm
def test_what_a_token_does_not_do_is_told_in_words(tmp_path, token):
    with pytest.raises(KeyFileError, match="PinIncorrect"):
        holder_of("strange", "9999").create(tmp_path / "a", ORIGIN)
    with pytest.raises(KeyFileError, match="'none'"):
        holder_of("none").create(tmp_path / "a", ORIGIN)
    path = tmp_path / "b"
    holder_of(token).create(path, ORIGIN)
    path.write_text(path.read_text().replace('"held": "pkcs11"', '"held": "tpm"'))
    with pytest.raises(KeyFileError, match="does not move"):
        holder_of(token).load(path)
    with pytest.raises(KeyFileError, match="in a device"):
        FileHolder().load(path)
    assert not (tmp_path / "a").exists()


@softhsm
async def test_an_agents_log_is_signed_by_a_token_and_its_key_changed(tmp_path, token):
    ring = KeyRing(tmp_path, plan(tmp_path, 1, []).origin, holder_of(token))
    old = ring.current()
    async with Farm(1) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports), signer=old.signer, platforms=())
        async with Running(Agent(made, SystemClock())) as agent:
            new = ring.prepare()
            coming = await look(ring, 0, agent.signing, None)
            await until(lambda: agent.signing.key_is_known(new.vkey, 0))
            assert await look(ring, 0, agent.signing, coming) is None
            size = agent.size
            await until(lambda: agent.store.published.size > size)
            head, note = open_checkpoint(agent.store.published.note, new.signer.verifier)
            assert not note.is_signed_by(old.signer.verifier)
            assert head.size == agent.store.published.size


@softhsm
def test_show_names_the_key_without_the_token(tmp_path, token, capsys):
    made = KeyRing(tmp_path, ORIGIN, holder_of(token)).current()
    assert main(["key", "show", str(tmp_path / "log.key")]) == 0
    assert capsys.readouterr().out.strip() == made.vkey


# ── a device that does not answer ────────────────────────────────────────────────────────────────────────────────────


class Fickle:
    """A device that answers when it likes."""

    def __init__(self):
        self.away = False
        self.verifier = SIGNER.verifier

    def sign(self, text):
        if self.away:
            raise SignerUnavailable("the token was drawn")
        return SIGNER.sign(text)


async def test_while_the_device_is_away_all_is_kept_and_later_it_is_signed(tmp_path):
    device = Fickle()
    async with Farm(1) as farm:
        made = fast(plan(tmp_path, PERIOD, farm.ports), signer=device)
        async with Running(Agent(made, SystemClock())) as agent:
            device.away = True
            await until(lambda: "key_unavailable" in agent.status().alarms)
            signed, size = agent.store.published.size, agent.size
            await until(lambda: agent.size > size + 20)
            assert agent.store.published.size == signed
            device.away = False
            await until(lambda: agent.store.published.size > size + 20)
            await until(lambda: "key_unavailable" not in agent.status().alarms)
    told = [r.detail["alarm"] for r in records(tmp_path) if isinstance(r, Event) and "alarm" in r.kind]
    assert told == ["key_unavailable", "key_unavailable"]
    verified(tmp_path)


# ── TPM ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tpm(tmp_path):
    """A TPM in software; how it is reached. It forgets nothing while it runs."""
    yield from _tpm(tmp_path / "tpm")


@pytest.fixture
def other_tpm(tmp_path):
    yield from _tpm(tmp_path / "other-tpm")


def _tpm(place):
    place.mkdir()
    server, control = place / "s", place / "s.ctrl"
    process = subprocess.Popen(
        ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={place}", "--flags", "not-need-init,startup-clear",
         "--server", f"type=unixio,path={server}", "--ctrl", f"type=unixio,path={control}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            assert process.poll() is None, "swtpm ended"
            with socket.socket(socket.AF_UNIX) as probe:
                if server.exists() and control.exists() and probe.connect_ex(str(control)) == 0:
                    break
            time.sleep(0.05)
        yield f"swtpm:path={server}"
    finally:
        process.terminate()
        process.wait(30)


@swtpm
def test_a_key_sealed_by_a_tpm_signs_after_a_restart_and_its_file_alone_is_worthless(
    tmp_path, tpm, other_tpm
):
    from gateway.tpm_key import TpmHolder

    ring = KeyRing(tmp_path / "data", ORIGIN, TpmHolder(tpm))
    made = ring.current()
    again = KeyRing(tmp_path / "data", ORIGIN, TpmHolder(tpm)).current()
    assert again.vkey == made.vkey
    assert signs(again)
    assert read_reference(ring.path).held == "tpm"
    with pytest.raises(KeyFileError, match="tpm2_load"):
        TpmHolder(other_tpm).load(ring.path)
    new = ring.prepare()
    ring.settle()
    assert ring.current().vkey == new.vkey != made.vkey
    body = json.loads(ring.path.read_text())
    stranger = Ed25519Signer.generate(ORIGIN).verifier.vkey
    ring.path.write_text(json.dumps(body | {"vkey": stranger}))
    with pytest.raises(KeyFileError, match="not the key that the file names"):
        ring.current()
    ring.path.write_text(json.dumps(body | {"private": "?"}))
    with pytest.raises(KeyFileError, match="damaged"):
        ring.current()


@swtpm
def test_a_tpm_that_is_not_there_is_told(tmp_path):
    from gateway.tpm_key import TpmHolder

    with pytest.raises(KeyFileError, match=r"TPM .*tpm2_createprimary"):
        TpmHolder(f"swtpm:path={tmp_path / 'none'}").create(tmp_path / "k", ORIGIN)


# ── moving ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def moved(directory, holders, way):
    """An agent's log whose key is changed along the kinds of places of ``way``; the vkeys that signed alone."""
    origin, seen = plan(directory, 1, []).origin, []
    async with Farm(1) as farm:
        for held, to in pairwise(way):
            ring = KeyRing(directory, origin, MovingHolder({k: holders[k] for k in {held, to}}, to))
            if not seen:
                seen.append(KeyRing(directory, origin, holders[held]).current().vkey)
            made = fast(plan(directory, PERIOD, farm.ports), signer=ring.current().signer, platforms=())
            async with Running(Agent(made, SystemClock())) as agent:
                new = ring.prepare()
                coming = await look(ring, 0, agent.signing, None)
                await until(lambda agent=agent, new=new: agent.signing.key_is_known(new.vkey, 0))
                assert await look(ring, 0, agent.signing, coming) is None
                size = agent.size
                await until(lambda agent=agent, size=size: agent.store.published.size > size)
                assert len(Note.parse(agent.store.published.note).signatures) == 1
                open_checkpoint(agent.store.published.note, new.signer.verifier)
            seen.append(KeyRing(directory, origin, holders[to]).current().vkey)
            assert seen[-1] == new.vkey
            assert ring.current().vkey == new.vkey, (
                "the site file may name both places for as long as one likes"
            )
    return seen


@softhsm
@swtpm
async def test_a_key_moves_with_its_change_from_a_file_to_a_token_to_a_tpm_and_back(tmp_path, token, tpm):
    from gateway.tpm_key import TpmHolder

    holders = {"file": FileHolder(), "pkcs11": holder_of(token), "tpm": TpmHolder(tpm)}
    seen = await moved(tmp_path, holders, ("file", "pkcs11", "tpm", "file"))
    assert len(set(seen)) == 4
    assert [r.vkey for r in records(tmp_path) if isinstance(r, Key)] == seen[1:]
    verdict = verify_log(copy_of_log(tmp_path), Verifier.parse(seen[-1]))
    assert verdict.ok, verdict.findings


def test_a_key_that_moves_goes_to_another_kind_of_place(tmp_path):
    text = SITE.replace('commit = "1s"', 'commit = "1s"\nnext_key = { held = "file" }')
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(ConfigError, match="another kind of place"):
        SiteFile(tmp_path / "site.toml")


def copy_of_log(directory):
    store = LogStore(directory, plan(directory, 1, []).origin, ballast=0)
    copy = copy_of(store)
    store.close()
    return copy.get
