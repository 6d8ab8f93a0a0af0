"""Ports for simulated devices are not taken by somebody's outgoing connection before they are bound."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sim.ports import free_port


def bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
    return True


def test_a_port_lies_below_those_of_outgoing_connections(tmp_path: Path) -> None:
    (tmp_path / "range").write_text("21000\t60999\n")
    for _ in range(50):
        assert 20_000 <= (port := free_port(tmp_path / "range")) < 21_000
        assert bindable(port)


def test_a_port_that_somebody_listens_at_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "range").write_text("20002\t60999\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 20_000))
        taken.listen()
        assert {free_port(tmp_path / "range") for _ in range(20)} == {20_001}


@pytest.mark.parametrize("range_", ["1024\t65535\n", "nonsense", ""])
def test_with_no_room_below_the_kernel_chooses(tmp_path: Path, range_: str) -> None:
    (tmp_path / "range").write_text(range_)
    assert bindable(free_port(tmp_path / "range"))
    assert bindable(free_port(tmp_path / "absent"))
