"""A key file holds one key, for one purpose, for its owner alone."""

from pathlib import Path

import pytest

from evidence.note import Verifier
from gateway.keys import KeyFileError, create, load


@pytest.mark.parametrize("receipts", [False, True])
def test_what_was_written_is_read(tmp_path: Path, receipts: bool) -> None:
    made = create(tmp_path / "keys" / "a.key", "platform.example/gw/1", receipts=receipts)
    read = load(tmp_path / "keys" / "a.key")
    assert read.vkey == made.vkey
    assert Verifier.parse(read.vkey).name == "platform.example/gw/1"
    assert (tmp_path / "keys" / "a.key").stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create(tmp_path / "a.key", "a.example/b")
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        create(tmp_path / "a.key", "a.example/b")
    assert (tmp_path / "a.key").read_bytes() == before


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "a.key", "a.example/b")
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(KeyFileError, match="others may read it"):
        load(tmp_path / "a.key")


def test_a_changed_key_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "a.key", "a.example/b")
    text = (tmp_path / "a.key").read_text()
    (tmp_path / "a.key").write_text(text.replace("a.example", "b.example"))
    with pytest.raises(KeyFileError, match="no key file"):
        load(tmp_path / "a.key")
