"""The README's own commands, run as they stand there."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def block(readme: str) -> str:
    """The shell block that holds `suyuan init`."""
    (found,) = [
        b
        for b in re.findall(r"```sh\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)
        if "init" in b
    ]
    return found


def test_both_readmes_give_the_same_commands() -> None:
    def commands(readme: str) -> list[str]:
        return [line.partition("#")[0].strip() for line in block(readme).splitlines()]

    assert commands("README.md") == commands("README.zh.md")


@pytest.mark.timeout(150)
def test_a_site_of_ones_own_as_the_readme_says(tmp_path: Path) -> None:
    """Each line as a person types it; one that comes too early (meters not up, nothing signed yet) is typed again."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8475)) == 0:
            pytest.skip("port 8475, which the README uses, is taken on this machine")
    program = tmp_path / "bin" / "suyuan"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m gateway.cli \"$@\"\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "SUYUAN_LANG": "en"}
    background: list[subprocess.Popen[bytes]] = []

    def typed(line: str) -> subprocess.CompletedProcess[str]:
        until = time.monotonic() + 60
        while True:
            done = subprocess.run(
                ["sh", "-c", line],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if done.returncode == 0:
                return done
            assert time.monotonic() < until, f"{line}\n{done.stdout}{done.stderr}"

    try:
        for line in filter(None, (raw.partition("#")[0].strip() for raw in block("README.md").splitlines())):
            if line.endswith("&"):
                command = line.removesuffix("&").strip()
                background.append(
                    subprocess.Popen(["sh", "-c", f"exec {command}"], cwd=tmp_path, env=environment)
                )
            elif line.startswith("VKEY="):
                environment["VKEY"] = typed(f'{line}; test -n "$VKEY" && echo "$VKEY"').stdout.strip()
            else:
                last = typed(line)
        assert "nothing missing, nothing changed" in last.stderr
    finally:
        for process in reversed(background):
            process.terminate()
            process.wait(20)
