"""Programs that this project did not write say yes to our logs, and no to a flipped bit.

aics-tlog (PyPI), OpenSSL's command, Go's checksum-database packages (Debian), Node's WebCrypto.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evidence import log, note
from gateway.sm2_key import Sm2Signer
from tests.evidence.logs import ORIGIN, Writer, files, signer, write

pytestmark = pytest.mark.peer
HERE = Path(__file__).parent
GOPATH = Path("/usr/share/gocode")
SIZES = (1, 255, 256, 257, 70_000)
KEY = signer().verifier


def run(*command: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> dict[int, Path]:
    """Our logs on disk, by size. The large one also serves the earlier size for consistency."""
    writer = Writer().grow(max(SIZES))
    top = tmp_path_factory.mktemp("logs")
    found = {
        size: write(top / str(size), files(writer.entries[:size], ORIGIN, writer.signer)) for size in SIZES
    }
    if shutil.which("openssl") is not None:  # the second line of SM2: every judge must pass it over
        second = Sm2Signer(top / "log.sm2.pem", ORIGIN)
        for directory in list(found.values())[::2]:
            path = directory / "checkpoint"
            path.write_bytes(note.Note.parse(path.read_bytes()).signed_by(second).encode())
    return found


@pytest.fixture(scope="module")
def heads(logs) -> dict[int, note.Checkpoint]:
    return {s: note.open_checkpoint((d / "checkpoint").read_bytes(), KEY)[0] for s, d in logs.items()}


@pytest.fixture
def damaged(logs, tmp_path) -> Callable[[int, str], Path]:
    """A copy of a log with one bit of one file flipped."""

    def copy(size: int, path: str) -> Path:
        directory = tmp_path / "damaged"
        shutil.copytree(logs[size], directory)
        data = bytearray((directory / path).read_bytes())
        data[len(data) // 2] ^= 1
        (directory / path).write_bytes(data)
        return directory

    return copy


ENTRIES = {size: log.Tile(None, 0, min(256, size)).path for size in SIZES}


# ── aics-tlog ────────────────────────────────────────────────────────────────────────────────────────────────────────

needs_aics = pytest.mark.skipif(
    importlib.util.find_spec("aics_tlog") is None,
    reason="aics-tlog is not installed: run requirements/setup.sh test",
)


def audit(directory: Path, head: note.Checkpoint) -> object:
    import aics_tlog

    return aics_tlog.audit_tiles(aics_tlog.FileSystemTileReader(directory), head.size, head.root)


@needs_aics
@pytest.mark.parametrize("size", SIZES)
def test_aics_tlog_accepts_checkpoint_tiles_and_bundles(size, logs, heads, tmp_path):
    key = tmp_path / "key"
    key.write_text(KEY.vkey + "\n")
    checked = run(
        sys.executable, "-m", "aics_tlog", "verify-checkpoint", "--tiles", logs[size], "--vkey-file", key
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    audit(logs[size], heads[size])


@needs_aics
@pytest.mark.parametrize("size", SIZES)
def test_aics_tlog_refuses_a_flipped_bit(size, damaged, heads, tmp_path):
    import aics_tlog

    with pytest.raises(aics_tlog.TileVerificationError):
        audit(damaged(size, ENTRIES[size]), heads[size])
    shutil.rmtree(tmp_path / "damaged")
    checkpoint = damaged(size, "checkpoint")
    key = tmp_path / "key"
    key.write_text(KEY.vkey + "\n")
    checked = run(
        sys.executable, "-m", "aics_tlog", "verify-checkpoint", "--tiles", checkpoint, "--vkey-file", key
    )
    assert checked.returncode != 0


@needs_aics
def test_aics_tlog_accepts_our_proofs_and_makes_the_same(logs, heads):
    import aics_tlog

    size, old = 70_000, 257
    reader = aics_tlog.FileSystemTileReader(logs[size])
    node = log.tile_node_reader(lambda tile: (logs[size] / tile.path).read_bytes(), size)
    for index in (0, 255, 256, 65_535, 69_999):
        proof = log.inclusion_proof(index, size, node)
        assert list(proof) == aics_tlog.inclusion_proof_from_tiles(reader, index, size)
        assert aics_tlog.verify_inclusion(node(0, index), index, size, list(proof), heads[size].root)
        assert not aics_tlog.verify_inclusion(bytes(32), index, size, list(proof), heads[size].root)
    consistency = list(log.consistency_proof(old, size, node))
    assert consistency == aics_tlog.consistency_proof_from_tiles(reader, old, size)
    assert aics_tlog.verify_consistency(old, size, heads[old].root, heads[size].root, consistency)


@needs_aics
def test_aics_tlog_counts_our_cosignature_and_refuses_a_changed_one(logs):
    import aics_tlog

    platform = signer("platform.example", 2)
    signed = note.Note.parse((logs[257] / "checkpoint").read_bytes()).cosigned_by(platform, 1_790_000_000)
    log_key, witness = aics_tlog.parse_vkey(KEY.vkey), aics_tlog.parse_vkey(platform.cosigner.vkey)

    def quorum(text: str) -> bool:
        return bool(aics_tlog.verify_checkpoint(aics_tlog.parse_note(text), log_key, [witness], 1).ok)

    assert quorum(signed.format())
    line = signed.signatures[-1]
    later = note.Signature(line.name, line.key_id, (1_790_000_001).to_bytes(8, "big") + line.blob[8:])
    assert not quorum(note.Note(signed.text, (*signed.signatures[:-1], later)).format())


# ── OpenSSL ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed (Debian package openssl)"
)
def test_openssl_accepts_the_signature_and_refuses_a_flipped_bit(logs, tmp_path):
    signed = note.Note.parse((logs[257] / "checkpoint").read_bytes())
    spki = bytes.fromhex("302a300506032b6570032100") + KEY.public  # RFC 8410
    pem = "-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(spki).decode() + "\n-----END PUBLIC KEY-----\n"
    (tmp_path / "key.pem").write_text(pem)
    (tmp_path / "signature").write_bytes(signed.signatures[0].blob)

    def verify(text: str) -> bool:
        (tmp_path / "text").write_bytes(text.encode())
        command = "openssl pkeyutl -verify -rawin -pubin -inkey key.pem -sigfile signature -in text"
        return run(*command.split(), cwd=tmp_path).returncode == 0

    assert verify(signed.text)
    assert not verify(signed.text.replace("257", "256"))


# ── Go ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def go(tmp_path_factory) -> Path:
    if shutil.which("go") is None or not (GOPATH / "src/golang.org/x/mod/sumdb/note").is_dir():
        pytest.skip(
            "Go or its packages are not installed (Debian packages golang-go, golang-golang-x-mod-dev)"
        )
    judge = tmp_path_factory.mktemp("go") / "judge"
    cache = tmp_path_factory.mktemp("go-cache")
    built = run("go", "build", "-o", judge, "main.go", cwd=HERE / "go", GO111MODULE="off", GOPATH=str(GOPATH),
                GOPROXY="off", GOFLAGS="", GOCACHE=str(cache))  # fmt: skip
    assert built.returncode == 0, built.stderr
    return judge


@pytest.mark.parametrize("size", SIZES)
def test_go_accepts_signature_root_inclusion_and_consistency(go, size, logs, heads):
    earlier = [] if size == 1 else [1, base64.b64encode(heads[1].root).decode()]
    judged = run(go, logs[size], KEY.vkey, *earlier)
    assert (judged.returncode, judged.stdout) == (0, f"yes {size}\n")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", ["checkpoint", "entries"])
def test_go_refuses_a_flipped_bit(go, size, what, damaged):
    judged = run(go, damaged(size, "checkpoint" if what == "checkpoint" else ENTRIES[size]), KEY.vkey)
    assert judged.returncode == 1, judged.stdout


def test_go_refuses_another_key_and_another_history(go, logs, heads):
    assert run(go, logs[257], signer(seed=2).verifier.vkey).returncode == 1
    judged = run(go, logs[70_000], KEY.vkey, 256, base64.b64encode(heads[255].root).decode())
    assert "consistency" in judged.stdout
    assert run(go, logs[70_000], KEY.vkey, 257, base64.b64encode(heads[257].root).decode()).returncode == 0


# ── Node ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed (Debian package nodejs)"
)


@needs_node
@pytest.mark.parametrize("size", SIZES)
def test_webcrypto_accepts_signature_and_root(size, logs):
    judged = run("node", HERE / "judge.mjs", logs[size], KEY.public.hex())
    assert (judged.returncode, judged.stdout) == (0, f"yes {size}\n"), judged.stderr


@needs_node
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", ["checkpoint", "entries"])
def test_webcrypto_refuses_a_flipped_bit(size, what, damaged):
    directory = damaged(size, "checkpoint" if what == "checkpoint" else ENTRIES[size])
    assert run("node", HERE / "judge.mjs", directory, KEY.public.hex()).returncode == 1
