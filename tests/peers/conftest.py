"""Peers are programs of their own, on loopback, ended by their process id."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
START_S = 20


@pytest.fixture(scope="session")
def peer() -> Iterator[Callable[..., list[str]]]:
    """Start a program and give the words of its "ready" line."""
    running: list[subprocess.Popen[str]] = []

    def start(*command: str) -> list[str]:
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(program)
        assert program.stdout is not None
        line = program.stdout.readline().split()
        if line[:1] != ["ready"]:
            program.kill()
            pytest.fail(f"{command} did not start: {program.communicate(timeout=START_S)[1]}")
        return line[1:]

    yield start
    for program in reversed(running):
        program.terminate()
        try:
            program.communicate(timeout=START_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.communicate()


@pytest.fixture(scope="session")
def python_peer(peer) -> Callable[..., list[str]]:
    """Start one of the scripts beside this file."""
    return lambda script, *arguments: peer(sys.executable, str(HERE / script), *arguments)


@pytest.fixture(scope="session")
def wire(python_peer) -> Callable[[], list[str]]:
    """Make two serial devices that are connected."""
    return lambda: python_peer("bridge.py")


@pytest.fixture(scope="session")
def libmodbus_server(tmp_path_factory) -> str:
    """The libmodbus server, compiled."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed: the libmodbus peer cannot be compiled")
    if not any((Path(root) / "modbus/modbus.h").exists() for root in ("/usr/include", "/usr/local/include")):
        pytest.skip("modbus/modbus.h is not installed (Debian: libmodbus-dev)")
    program = tmp_path_factory.mktemp("libmodbus") / "serve_libmodbus"
    source = HERE / "serve_libmodbus.c"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-I/usr/include/modbus", "-I/usr/local/include/modbus"]
    subprocess.run([compiler, *flags, str(source), "-o", str(program), "-lmodbus"], check=True, timeout=60)
    return str(program)
