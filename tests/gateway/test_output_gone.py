"""What the command line does when nobody reads its output any more, and when it is something else that broke."""

import os
import subprocess
import sys

import pytest

from gateway.cli import decode, main


@pytest.mark.parametrize("arguments", [["--help"], ["profiles"], ["--version"]])
def test_a_reader_that_went_away_is_no_fault(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        ended = subprocess.run(
            [sys.executable, "-c", "import sys, gateway.cli; sys.exit(gateway.cli.main())", *arguments],
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_broken_connection_is_told_and_is_not_done(monkeypatch, capsys):
    def broken(_name, _given):
        raise BrokenPipeError(32, "Broken pipe", "tcp://meter:8899")

    monkeypatch.setattr(decode, "run", broken)
    assert main(["decode", "modbus-tcp", "00"]) == 2
    assert "tcp://meter:8899" in capsys.readouterr().err
