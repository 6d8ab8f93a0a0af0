from __future__ import annotations

import msgspec
import pytest

from evidence import note, record
from evidence.command import main
from evidence.verify import verify_log
from tests.evidence.logs import ORIGIN, Writer, signer

OLD = Writer().grow(100)
HEAD = OLD.head()
PLATFORM = signer("platform.example/receipts", 2)
NEXT = ORIGIN + "/2"


def successor(**changed) -> Writer:
    """A log that says to continue the old one."""
    writer = Writer(NEXT)
    named = record.PreviousLog(**{"origin": ORIGIN, "size": HEAD.size, "root": HEAD.root, **changed})
    genesis = record.decode(writer.entries[0])
    writer.entries[0] = record.encode(msgspec.structs.replace(genesis, previous_log=named))
    return writer.grow(60)


def found(writer, previous=HEAD):
    report = verify_log(writer.files().get, writer.signer.verifier, previous=previous)
    return report.ok, {f.code for f in report.findings if f.code != "tiles_absent"}


def test_a_log_that_begins_where_the_old_one_ended_verifies():
    assert found(successor()) == (True, set())


@pytest.mark.parametrize(
    "changed",
    [{"origin": "x.example"}, {"size": HEAD.size - 1}, {"size": HEAD.size + 1}, {"root": bytes(32)}],
)
def test_a_log_that_begins_elsewhere_does_not(changed):
    assert found(successor(**changed)) == (False, {"previous_log"})


def test_a_log_that_names_no_older_one_does_not():
    assert found(Writer(NEXT).grow(60)) == (False, {"previous_log"})


def test_what_nobody_compared_is_said():
    assert found(successor(), None) == (True, {"previous_log_unknown"})


def test_the_command_believes_a_witnessed_receipt_alone(tmp_path):
    writer = successor()
    for path, data in writer.files().items():
        (tmp_path / "log" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "log" / path).write_bytes(data)
    receipt = tmp_path / "receipt"
    own = tmp_path / "own"
    own.write_bytes(writer.head().signed_by(writer.signer).cosigned_by(PLATFORM, 6).encode())
    asked = [str(tmp_path / "log"), "--key", writer.signer.verifier.vkey, "--jobs", "1"]
    asked += ["--witness", PLATFORM.cosigner.vkey, "--receipt", str(own), "--previous", str(receipt)]
    assert main(asked) == 2, "it is not there"
    receipt.write_bytes(HEAD.signed_by(OLD.signer).encode())
    assert main(asked) == 2, "signed by the lost key alone"
    receipt.write_bytes(HEAD.signed_by(OLD.signer).cosigned_by(PLATFORM, 5).encode())
    assert main(asked) == 0
    receipt.write_bytes(note.Note(OLD.head(50).text).cosigned_by(PLATFORM, 5).encode())
    assert main(asked) == 1
