"""A certificate's life, told through the commands: registered, it reaches a running agent; a standard found wrong
reaches the log as advice. Nothing is restarted and nothing is edited.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from calibration.state import CalibrationState
from evidence import record as records
from gateway.cli.recomputing import entries_of
from gateway.cli.simulated_site import write_demo
from gateway.cli.stored import stored_reader
from gateway.keys import create, load

SUYUAN = (sys.executable, "-m", "gateway.cli")
METER = "carding"


def suyuan(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SUYUAN_LANG": "en", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*SUYUAN, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
        env=environment,
    )  # fmt: skip


def done(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    made = suyuan(*arguments, cwd=cwd)
    assert made.returncode == 0, f"{arguments}: {made.stdout}{made.stderr}"
    return made


@dataclass
class Told:
    """What is there after the run: the log's records, and what the commands said meanwhile."""

    site: Path
    records: list[records.Record]
    certificate: str
    standard: str
    before: str  # digests of the meter's states
    after: str
    affected: dict[str, Any]


def certificates_of(site: Path) -> dict[str, list[str]]:
    """Certificate ids by instrument, as the simulated laboratory wrote them."""
    found: dict[str, list[str]] = {}
    for path in (site / "certificates").glob("*.toml"):
        for table in tomllib.loads(path.read_text()).get("certificate", []):
            found.setdefault(table["instrument"], []).append(table["id"])
    return found


def into_a_register(site: Path) -> tuple[str, str]:
    """The demo's certificates typed into a register, all but the meter's own; its id, and its standard's."""
    document = tomllib.loads((site / "site.toml").read_text())
    document["calibration"] = {"register": "register.sqlite"}
    (site / "site.toml").write_text(tomli_w.dumps(document))
    rows = ["id,kind"]
    rows += [f"{meter['id']},meter" for bus in document["bus"] for meter in bus["instrument"]]
    (site / "meters.csv").write_text("\n".join(rows))
    done("instrument", "import", "meters.csv", cwd=site)
    done("certificate", "add", "certificates/instruments.toml", "--actor", "li", cwd=site)
    (late,) = certificates_of(site)[METER]
    whole: dict[str, list[Any]] = {"certificate": []}
    standard = ""
    for path in sorted((site / "certificates").glob("*.toml")):
        for table in tomllib.loads(path.read_text()).get("certificate", []):
            if table["id"] == late:
                standard = table["reference"][0]["standard"]
            else:
                whole["certificate"].append(table)
    (site / "all.toml").write_text(tomli_w.dumps(whole))
    done("certificate", "add", "all.toml", cwd=site)
    return late, standard


PATIENCE_S = 60  # what takes two seconds here may take many on a machine that others use


def until(true: Callable[[], Any], what: str, running: Sequence[subprocess.Popen[bytes]], talk: Path) -> Any:
    """What ``true`` finds. Fails with what the commands said: soon if one has ended, else after a minute."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and all(process.poll() is None for process in running):
        if found := true():
            return found
        time.sleep(0.2)
    codes = [process.poll() for process in running]
    raise AssertionError(f"{what}: not within {PATIENCE_S} s; exit codes {codes}\n{talk.read_text()}")


def status(site: Path) -> dict[str, Any]:
    listen = tomllib.loads((site / "site.toml").read_text())["serve"]["listen"]
    try:
        with urllib.request.urlopen(f"http://{listen}/status", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {"instruments": []}


def meter(site: Path) -> dict[str, Any]:
    return next((one for one in status(site)["instruments"] if one["instrument"] == METER), {"received": 0})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    site = tmp_path_factory.mktemp("site")
    key = create(site / "platform.key", "platform.example/receipts", receipts=True)
    write_demo(site, 7, key.vkey, checkpoint="2s")
    late, standard = into_a_register(site)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running: list[subprocess.Popen[bytes]] = []
    waits: Callable[[Callable[[], Any], str], Any] = lambda true, what: until(true, what, running, talk_file)  # noqa: E731
    talk_file = site / "talk.txt"
    try:
        with talk_file.open("wb") as talk:
            for command in ("sim", "run"):
                running.append(
                    subprocess.Popen(
                        [*SUYUAN, command, "site.toml"], cwd=site, env=environment, stdout=talk, stderr=talk
                    )
                )
                if command == "sim":
                    waits(lambda: (site / "run" / "rs485-2").exists(), "the simulated lines")
        waits(lambda: meter(site)["received"] >= 3, "three readings")
        before = meter(site)["state"]

        done("certificate", "add", f"certificates/{late}.toml", "--reason", "came by post", cwd=site)

        after = waits(lambda: (s := meter(site).get("state")) not in (None, before) and s, "a new state")
        number = meter(site)["number"]
        waits(lambda: meter(site).get("number", 0) >= number + 2, "readings with it")
        listen = tomllib.loads((site / "site.toml").read_text())["serve"]["listen"]
        advice = site / "data" / "advice"
        affected = done(
            "affected", standard, "--from", "2026-02-01", "--shift", "0.05", "--log", f"http://{listen}",
            "--advice", "advice.json", "--reason", "0.05 % high", "--json", cwd=site,
        )  # fmt: skip
        (advice / "broken.json").write_text("{")
        (site / "advice.json").replace(advice / "advice.json")
        waits(lambda: (advice / "logged" / "advice.json").exists(), "the advice logged")
        (advice / "again.json").write_bytes((advice / "logged" / "advice.json").read_bytes())
        waits(lambda: (advice / "logged" / "again.json").exists(), "the same once more")
        running[1].send_signal(signal.SIGTERM)
        assert running[1].wait(PATIENCE_S) == 0, talk_file.read_text()
        yield Told(site, logged(site), late, standard, before, after, json.loads(affected.stdout))
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait(15)


def logged(site: Path) -> list[records.Record]:
    with stored_reader(site / "data", load(site / "data" / "log.key").name) as read:
        return [records.decode(data) for _, data in entries_of(read)]


def states(told: Told) -> list[tuple[int, CalibrationState]]:
    found = [
        (index, CalibrationState.from_json(bytes(record.body)))
        for index, record in enumerate(told.records)
        if isinstance(record, records.CalibrationState)
    ]
    return [(index, state) for index, state in found if state.instrument == METER]


@pytest.mark.timeout(150)
def test_a_registered_certificate_reaches_the_running_agent_as_a_new_state(told: Told) -> None:
    (_, old), (at, new) = states(told)
    assert (old.digest, new.digest) == (told.before, told.after)
    assert told.certificate not in {use.id for use in old.certificates}
    assert told.certificate in {use.id for use in new.certificates}
    starts = [r for r in told.records if isinstance(r, records.Event) and r.kind == "start"]
    assert len(starts) == 1  # nothing was restarted
    assert at < len(told.records) - 1


def test_every_reading_after_it_is_corrected_by_it_and_none_before(told: Told) -> None:
    (_, old), (at, new) = states(told)
    readings = [
        (index, record)
        for index, record in enumerate(told.records)
        if isinstance(record, records.Reading) and record.instrument == METER
    ]
    assert {record.state.digest for index, record in readings if index < at} == {old.digest}
    later = [record for index, record in readings if index > at]
    assert len(later) >= 2
    assert {(record.state.index, record.state.digest) for record in later} == {(at, new.digest)}
    first = later[0]
    name = next(name for name in first.results if name.startswith("power.active"))
    assert float(first.results[name][1]) > 0  # a result with its uncertainty, where there was none
    numbers = [record.number for _, record in readings]
    assert numbers == list(range(1, len(numbers) + 1))  # and not one poll was lost over it


def test_what_leaned_on_the_standard_is_found_in_the_log(told: Told) -> None:
    (log,) = told.affected["logs"]
    (_, _), (at, _) = states(told)
    rows = [row for row in log["rows"] if row["instruments"] == [METER]]
    assert rows
    assert all(row["entry"] > at for row in rows)
    assert METER in log["instruments"]


def test_advice_is_logged_once_and_what_is_none_is_refused_in_words(told: Told) -> None:
    found = [record for record in told.records if isinstance(record, records.Advice)]
    assert len(found) == 1
    assert found[0].reason == "0.05 % high"
    assert METER in found[0].instruments
    named = [r for r in told.records if isinstance(r, records.Document) and r.kind == "advice"]
    assert found[0].documents == (named[0].digest,)
    aggregates = {i for i, r in enumerate(told.records) if isinstance(r, records.Aggregate)}
    assert set(found[0].supersedes) <= aggregates
    refused = [r for r in told.records if isinstance(r, records.Event) and r.kind == "advice_refused"]
    assert [r.detail["file"] for r in refused] == ["broken.json"]


def test_the_log_is_verified_and_recomputed_across_the_change(told: Told) -> None:
    vkey = load(told.site / "data" / "log.key").vkey
    checked = suyuan("verify", "data", "--key", vkey, "--recompute", "--json", cwd=told.site)
    assert json.loads(checked.stdout)["ok"] is True, checked.stdout
