"""`suyuan bundle` and `suyuan verify FILE.html`: from a log to a file that an auditor checks with their own key."""

from __future__ import annotations

import asyncio
import json

import pytest

from evidence import note, record
from evidence.bundle import decode
from evidence.bundle_page import extract
from gateway.cli import main
from tests.central.recorded import ORIGIN, PLATFORM, SIGNER, Recorder, S, site
from tests.evidence.logs import files, write

BEGIN, END = "2027-01-15T08:05:00Z", "2027-01-15T08:25:00+00:00"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A mirror of half an hour of the demo site, its key beside it in another directory, and the gateway's data."""
    directory = tmp_path_factory.mktemp("cli")
    recorder = Recorder(site(directory / "site"), directory / "data", aggregate_us=300 * S)

    async def run():
        for n in range(30):
            await recorder.minute(lost=("carding",) if n == 12 else ())
        recorder.commit()

    asyncio.run(run())
    entries = [data for _, data in recorder.entries()]
    recorder.store.close()
    write(directory / "mirror", files(entries, ORIGIN, SIGNER))
    signed = note.Note.parse((directory / "mirror" / "checkpoint").read_bytes())
    (directory / "receipt").write_bytes(signed.cosigned_by(PLATFORM, 1_800_009_000).encode())
    keys = directory / "keys"
    keys.mkdir()
    (keys / "log.vkey").write_text(SIGNER.verifier.vkey + "\n")
    (keys / "policy").write_text(
        f"log {SIGNER.verifier.vkey}\nwitness p {PLATFORM.cosigner.vkey}\nquorum p\n"
    )
    return directory


def bundle(place, *more, instrument="carding", output="c.html"):
    return main(
        [
            "bundle",
            "--instrument",
            instrument,
            "--from",
            BEGIN,
            "--to",
            END,
            "-o",
            str(place / output),
            *map(str, more),
        ]
    )


def test_a_bundle_is_made_verified_and_recomputed(place, capsys):
    assert bundle(place, "--source", place / "mirror", "--receipt", place / "receipt", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["instrument"] == "carding"
    assert made["bytes"] == (place / "c.html").stat().st_size
    command = [
        "verify",
        str(place / "c.html"),
        "--policy",
        str(place / "keys" / "policy"),
        "--recompute",
        "--json",
    ]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["instruments"]["carding"] == {
        "due": 20,
        "received": 19,
        "missed": 1,
        "reasons": {"timeout": 1},
    }
    assert told["recomputed"]["readings"] == 21, "with the poll before and the poll after"
    assert told["recomputed"]["aggregates"] > 2
    assert told["cosigned"] == {PLATFORM.name: {"size": told["size"], "at": 1_800_009_000}}


@pytest.mark.parametrize(
    ("language", "disclosed", "uncovered"),
    [
        ("en", "entries disclosed; of carding, numbers 1 to 25, nothing missing", "only 2027-01-15T08:00:00Z to"),
        ("zh", "carding 第 1 至 25 号无缺失", "中仅 2027-01-15T08:00:00Z 至"),
    ],
)  # fmt: skip
def test_a_period_that_began_before_the_log_is_told_with_what_is_covered(
    place, capsys, monkeypatch, language, disclosed, uncovered
):
    monkeypatch.setenv("SUYUAN_LANG", language)
    begin = ("--from", "2027-01-15T06:00:00Z")
    assert bundle(place, "--source", place / "mirror", *begin, output="early.html") == 0
    capsys.readouterr()
    assert main(["verify", str(place / "early.html"), "--key", SIGNER.verifier.vkey]) == 0
    told = capsys.readouterr()
    assert disclosed in told.err
    assert uncovered in told.err
    assert "asked    2027-01-15T06:00:00Z to 2027-01-15T08:25:00Z" in told.out
    assert main(["verify", str(place / "early.html"), "--key", SIGNER.verifier.vkey, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["disclosed"]
    assert shown["covered_from_us"] > shown["from_us"]
    assert shown["covered_to_us"] == shown["to_us"]


def test_a_gateways_own_data_can_be_the_source(place, capsys):
    assert bundle(place, "--source", place / "data", "--origin", ORIGIN, output="d.html") == 0
    assert main(["verify", str(place / "d.html"), "--key", SIGNER.verifier.vkey]) == 0
    assert "VERIFIED" in capsys.readouterr().err


def test_a_log_is_recomputed_too(place, capsys):
    command = ["verify", str(place / "mirror"), "--key", str(place / "keys" / "log.vkey"), "--recompute"]
    assert main(command) == 0
    assert "recomputed 149 readings" in capsys.readouterr().out


def test_a_logs_structure_alone_is_verified_and_the_rest_said_to_be_unread(place, capsys):
    mirror, key = str(place / "mirror"), ["--key", SIGNER.verifier.vkey]
    assert main(["verify", mirror, *key, "--structure"]) == 0
    assert "values_unread" in capsys.readouterr().out
    assert main(["verify", mirror, *key, "--structure", "--recompute"]) == 2
    assert "--structure" in capsys.readouterr().err


def test_a_changed_file_is_no(place, capsys):
    assert bundle(place, "--source", place / "mirror", output="e.html") == 0
    file = place / "e.html"
    text = file.read_text(encoding="utf-8")
    at = text.index('id="bundle">') + 3000
    file.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :], encoding="utf-8")
    assert main(["verify", str(file), "--key", SIGNER.verifier.vkey]) == 1
    assert "container" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--from", "yesterday"], "write a date"),
        (["--from", "2027-01-15T08:00"], "needs its offset"),
        (["--instrument", "nobody"], "no readings of an instrument 'nobody'"),
        (["--source", "nowhere"], "no such directory"),
        (["--file", "absent.pdf"], "cannot be read"),
    ],
)
def test_wrong_use_is_told_in_words(place, capsys, arguments, why):
    assert bundle(place, "--source", place / "mirror", *arguments) == 2
    assert why in capsys.readouterr().err


def test_nobody_is_believed_without_a_key(place, capsys):
    assert bundle(place, "--source", place / "mirror", output="f.html") == 0
    file = str(place / "f.html")
    assert main(["verify", file]) == 2
    assert (
        main(["verify", file, "--key", SIGNER.verifier.vkey, "--policy", str(place / "keys" / "policy")]) == 2
    )
    assert main(["verify", str(place / "mirror")]) == 2
    assert main(["verify", str(place / "keys" / "log.vkey"), "--key", SIGNER.verifier.vkey]) == 2
    assert "not an audit bundle" in capsys.readouterr().err


def test_a_bundle_tells_nothing_of_what_other_instruments_are_asked(place, capsys):
    assert bundle(place, "--source", place / "mirror") == 0
    entries = [record.decode(data) for _, data in decode(extract((place / "c.html").read_bytes())).entries]
    told = [json.loads(bytes(r.body)) for r in entries if isinstance(r, record.Configuration)]
    assert [list(body["instruments"]) for body in told] == [["carding"]]
    assert len(told[0]["profiles"]) == 1
    capsys.readouterr()
