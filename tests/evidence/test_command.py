"""The auditor's command: one answer, one exit code, and no key that came with the data."""

import json
import subprocess
import sys

import pytest

from evidence.command import main
from tests.evidence.logs import Writer, signer, write

VKEY = signer().verifier.vkey
WRITER = Writer().grow(300)


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "log", WRITER.files())


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_yes_is_exit_0_and_says_what_there_is(data, capsys):
    code, out, err = run(capsys, data, "--key", VKEY)
    assert (code, err) == (0, "")
    assert "verdict  yes" in out
    assert "entries  300" in out
    assert "M1" in out


def test_no_is_exit_1_and_names_the_entry(data, capsys):
    path = data / "tile/entries/001.p/44"
    path.write_bytes(path.read_bytes().replace(b'"clock":2', b'"clock":1', 1))
    code, out, _ = run(capsys, data, "--key", VKEY)
    assert code == 1
    assert "entry 256" in out
    assert "verdict  NO" in out


def test_what_cannot_be_read_is_not_an_answer(data, capsys):
    (data / "tile/entries/000").unlink()
    (data / "tile/entries/000").symlink_to("000")  # a loop: the file system's trouble, not the log's
    code, out, err = run(capsys, data, "--key", VKEY)
    assert (code, out) == (2, "")
    assert "cannot be read" in err


def test_json_for_machines(data, capsys):
    code, out, _ = run(capsys, data, "--key", VKEY, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["ok"] is True
    assert report["size"] == 300
    assert report["instruments"]["M1"]["due"] == WRITER.last["M1"][0]


def test_a_key_that_lies_with_the_data_is_refused(data, tmp_path, capsys):
    inside = data / "key.vkey"
    inside.write_text(VKEY)
    outside = tmp_path / "key.vkey"
    outside.write_text(VKEY + "\n")
    assert run(capsys, data, "--key", outside)[0] == 0
    (tmp_path / "link.vkey").symlink_to(inside)
    (data / "out.vkey").symlink_to(outside)
    (tmp_path / "elsewhere").symlink_to(data)
    around = data / ".." / "log" / "key.vkey"
    for key in (
        inside,
        tmp_path / "link.vkey",
        data / "out.vkey",
        around,
        tmp_path / "elsewhere" / "key.vkey",
    ):
        code, out, err = run(capsys, data, "--key", key)
        assert (code, out) == (2, ""), key
        assert "lies with the data" in err
    assert run(capsys, tmp_path / "elsewhere", "--key", inside)[0] == 2
    code, _, err = run(capsys, data, "--key", "https://gateway.example/key")
    assert code == 2
    assert "not fetched" in err
    code, _, err = run(capsys, data, "--key", VKEY, "--witness", inside)
    assert code == 2


def test_wrong_use_is_exit_2_with_a_sentence(data, tmp_path, capsys):
    for arguments in (
        (tmp_path / "nowhere", "--key", VKEY),
        (data, "--key", "not a key"),
        (data, "--key", VKEY[:-3]),
        (data, "--key", VKEY, "--known", tmp_path / "nothing"),
        (data, "--key", VKEY, "--receipt", tmp_path / "nothing"),
        ("https://gateway.example/", "--key", VKEY),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, ""), arguments
        assert "Traceback" not in err
        assert len(err.splitlines()) == 1


def test_an_earlier_checkpoint_is_believed_only_if_signed(data, tmp_path, capsys):
    known = tmp_path / "known"
    known.write_bytes(WRITER.head(100).signed_by(WRITER.signer).encode())
    assert run(capsys, data, "--key", VKEY, "--known", known)[0] == 0
    known.write_bytes(Writer(seed=3).grow(300).head(100).signed_by(WRITER.signer).encode())
    assert run(capsys, data, "--key", VKEY, "--known", known)[0] == 1
    known.write_bytes(WRITER.head(100).signed_by(signer("x", 4)).encode())
    assert run(capsys, data, "--key", VKEY, "--known", known)[0] == 2


def test_it_runs_as_a_module_with_nothing_but_the_base_install(data):
    """In a fresh interpreter the verifier loads neither numpy nor anything else of the gateway."""
    code = (
        "import sys, runpy; sys.argv[1:] = %r\n"
        "try: runpy.run_module('evidence.verify', run_name='__main__')\n"
        "except SystemExit as done: code = done.code\n"
        "heavy = {'numpy', 'pydantic', 'serial', 'starlette', 'aiomqtt', 'apsw', 'httpx'} & set(sys.modules)\n"
        "sys.exit(code or (3 if heavy else 0))"
    ) % [str(data), "--key", VKEY, "--jobs", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "verdict  yes" in done.stdout
