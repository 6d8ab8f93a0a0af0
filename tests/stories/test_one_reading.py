"""One reading all the way, told through the commands that a user types: simulated meters, agent, platform, auditor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.cli.simulated_site import write_demo
from gateway.keys import create

SUYUAN = (sys.executable, "-m", "gateway.cli")


def suyuan(*arguments: object, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SUYUAN, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo: its site, its log, the platform's copy."""
    directory = tmp_path_factory.mktemp("demo") / "kept"
    done = suyuan("demo", "--for", "15s", "--json", "--keep", directory)
    assert done.returncode == 0, done.stdout + done.stderr
    (directory / "summary.json").write_text(done.stdout)
    return directory


def vkey(demo: Path) -> str:
    return suyuan("key", "show", demo / "data" / "log.key").stdout.strip()


@pytest.mark.timeout(150)
def test_the_demo_ends_with_a_verdict_that_everything_is_verified(demo: Path) -> None:
    summary = json.loads((demo / "summary.json").read_text())
    assert summary["ok"] is True
    assert summary["verified"] == summary["log_size"] > 20
    assert summary["receipts"] >= 1
    assert summary["readings"] > 10
    energies = [c for c in summary["channels"] if c["truth"] > 0]
    assert {c["instrument"] for c in energies} == {
        "spinning",
        "anode-shop",
        "carding",
        "workshop",
        "potline-1",
    }
    for channel in energies:  # U has k = 2: one in twenty may lie outside; none lies outside twice U
        assert abs(channel["energy"] - channel["truth"]) <= 2 * channel["U"], channel
        assert channel["U"] > 0


def test_an_auditor_verifies_the_platforms_copy(demo: Path) -> None:
    done = suyuan("verify", demo / "mirror", "--key", vkey(demo), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True)
    assert told["counts"]["reading"] > 10
    assert told["instruments"]["potline-1"]["due"] > 5


def test_a_key_that_lies_with_the_data_is_refused(demo: Path) -> None:
    beside = demo / "mirror" / "log.vkey"
    beside.write_text(vkey(demo))
    done = suyuan("verify", demo / "mirror", "--key", beside)
    beside.unlink()
    assert done.returncode == 2
    assert "lies with the data" in done.stderr


@pytest.mark.parametrize("where", ["checkpoint", "tile/entries/**/*", "tile/0/**/*"])
def test_one_bit_anywhere_and_the_answer_is_no(demo: Path, where: str) -> None:
    path = min(p for p in (demo / "mirror").glob(where) if p.is_file())
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(changed) // 2] ^= 0x01
    path.write_bytes(changed)
    try:
        done = suyuan("verify", demo / "mirror", "--key", vkey(demo), "--json")
    finally:
        path.write_bytes(whole)
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"]


def test_a_lost_log_is_put_back_from_the_platforms_copy(demo: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(demo, site, ignore=shutil.ignore_patterns("platform", "run"))
    (site / "data" / "log.db").write_bytes(b"not a database any more" * 500)
    assert suyuan("restore", site / "site.toml", "--from", site / "mirror").returncode == 0
    assert suyuan("verify", site / "data", "--key", vkey(demo)).returncode == 0
    assert (site / "data" / "log.db.damaged-1").exists()


def test_a_copy_that_was_changed_restores_nothing(demo: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(demo, site, ignore=shutil.ignore_patterns("platform", "run"))
    before = (site / "data" / "log.db").read_bytes()
    bundle = min(p for p in (site / "mirror" / "tile" / "entries").rglob("*") if p.is_file())
    changed = bytearray(bundle.read_bytes())
    changed[100] ^= 1
    bundle.write_bytes(changed)
    assert suyuan("restore", site / "site.toml", "--from", site / "mirror").returncode == 1
    assert (site / "data" / "log.db").read_bytes() == before


def test_another_key_verifies_nothing(demo: Path, tmp_path: Path) -> None:
    other = create(tmp_path / "other.key", "suyuan.example/gw/demo").vkey
    assert suyuan("verify", demo / "mirror", "--key", other).returncode == 1


@pytest.mark.timeout(150)
def test_a_site_of_ones_own_by_the_commands_of_the_readme(tmp_path: Path) -> None:
    platform_key = suyuan(
        "key", "new", tmp_path / "platform.key", "--name", "p.example/receipts", "--receipts"
    ).stdout.strip()
    site = write_demo(tmp_path, 7, platform_key, checkpoint="2s")
    meters = subprocess.Popen([*SUYUAN, "sim", str(site), "--quiet"])
    agent = None
    try:
        until(lambda: suyuan("check", site).returncode == 0, 30)
        agent = subprocess.Popen([*SUYUAN, "run", str(site)], stderr=subprocess.DEVNULL)
        until(lambda: (tmp_path / "data" / "log.key").exists(), 20)
        key = suyuan("key", "show", tmp_path / "data" / "log.key").stdout.strip()
        address = json.loads(suyuan("check", site, "--no-ports", "--json").stdout)["serve"]
        collect = (
            "collect",
            f"http://{address}",
            "--key",
            key,
            "--store",
            tmp_path / "store",
            "--sign",
            tmp_path / "platform.key",
        )

        def collected() -> bool:
            done = suyuan(*collect, "--once", "--mirror", tmp_path / "mirror", "--json")
            return done.returncode == 0 and json.loads(done.stdout)["size"] > 25

        until(collected, 60)
        assert suyuan("verify", f"http://{address}", "--key", key).returncode == 0
        known = (tmp_path / "mirror" / "checkpoint").read_bytes()
        agent.send_signal(signal.SIGKILL)
        agent.wait(10)
        agent = subprocess.Popen([*SUYUAN, "run", str(site)], stderr=subprocess.DEVNULL)
        until(lambda: suyuan(*collect, "--once", "--mirror", tmp_path / "mirror").returncode == 0, 40)
        (tmp_path / "known").write_bytes(known)
        continued = suyuan(
            "verify", tmp_path / "mirror", "--key", key, "--known", tmp_path / "known", "--json"
        )
        assert continued.returncode == 0, continued.stdout
        agent.terminate()
        assert agent.wait(20) == 0
    finally:
        for process in (agent, meters):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(20)
    assert meters.returncode == 0


def until(reached, seconds: float) -> None:
    """Ask again and again, for a bounded time."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not happen in time"
        os.sched_yield()
