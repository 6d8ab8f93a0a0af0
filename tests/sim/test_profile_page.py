"""docs/profiles.md does what it says: the profile there is good, and a meter made of it is read by it."""

import re
from pathlib import Path

import pytest

from gateway.cli import main
from sim.background import in_background
from sim.ports import free_port
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

PAGE = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "meters").mkdir()
    (tmp_path / "meters" / "acme-pm1.toml").write_text(block, encoding="utf-8")
    return tmp_path / "meters" / "acme-pm1.toml"


def test_the_example_is_good_with_its_exchange(file, capsys):
    assert main(["profiles", "check", str(file)]) == 0, capsys.readouterr()


def test_a_meter_made_of_it_is_read_by_the_file(file, capsys):
    port = f"tcp://127.0.0.1:{free_port()}"
    meter = SimMeter(id="m", address="1", profile="acme-pm1")
    spec = SimSiteSpec(1, (SimBus("lan", "modbus-tcp", port, (meter,)),), profile_dirs=(file.parent,))
    with in_background(SimSite(spec)):
        asked = ["read", "1", "--port", port, "--protocol", "modbus-tcp", "--profile", str(file)]
        assert main(asked) == 0
    said = capsys.readouterr().out
    assert re.search(r"3:100 +energy.active.import +[\d.]+ kWh", said)
    assert re.search(r"4:10 +power.active.total +[\d.]+ kW", said)


def test_a_file_that_is_not_there_is_told(tmp_path, capsys):
    asked = ["read", "1", "--port", "tcp://127.0.0.1:1", "--protocol", "modbus-tcp"]
    assert main([*asked, "--profile", str(tmp_path / "acme.toml")]) == 2
    assert "acme.toml: there is no such profile" in capsys.readouterr().err


@pytest.mark.parametrize("line", re.findall(r"`(suyuan [^`]*)`", PAGE))
def test_its_commands_are_commands(line):
    assert main([line.split()[1], "--help"]) == 0
