"""Meters are found, named, and read by hand: the commands on simulated lines."""

from __future__ import annotations

import json
import re
import signal
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.cli import main, scan
from gateway.cli.simulated_site import simulated, write_demo
from gateway.config import SiteFile
from gateway.keys import create
from sim.background import in_background
from sim.ports import free_port
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

PHASES = "dlt645-2007-three-phase"


def dlt645(port: str, *addresses: str, **more) -> SimSite:
    meters = tuple(SimMeter(id=f"m{a}", address=a, profile=PHASES, number=f"77{a[2:]}") for a in addresses)
    return SimSite(SimSiteSpec(1, (SimBus("line", "dlt645-2007", port, meters, reply_ms=2, **more),)))


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["scan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_only_dlt645_meter_of_a_line_is_found_at_its_speed(tmp_path: Path, capsys) -> None:
    """At 9600 baud, which is not the first that is tried."""
    with in_background(dlt645(str(tmp_path / "line"), "202600000011")):
        told = found(capsys, str(tmp_path / "line"), "--protocol", "dlt645-2007", "--reply", "100ms")
    (meter,) = told["found"]
    assert (meter["address"], meter["number"], meter["baud"]) == ("202600000011", "772600000011", 9600)
    assert meter["proposals"][0]["profile"] == PHASES
    assert told["complete"] is True


@pytest.mark.long
def test_three_dlt645_meters_that_answer_at_once_are_told_apart(capsys) -> None:
    """Two of them end in the same two digits."""
    port = f"tcp://127.0.0.1:{free_port()}"
    addresses = ["202600000011", "202600003411", "202600000012"]
    with in_background(dlt645(port, *addresses, baud=115200)):
        told = found(capsys, port, "--protocol", "dlt645-2007", "--reply", "40ms")
    assert sorted(meter["address"] for meter in told["found"]) == sorted(addresses)
    assert {meter["number"] for meter in told["found"]} == {"77" + a[2:] for a in addresses}


def test_modbus_units_are_found_and_their_profiles_proposed_as_a_site_file(tmp_path: Path, capsys) -> None:
    port = str(tmp_path / "line")
    meters = (
        SimMeter(id="a", address="3", profile="eastron-sdm630", number="20260815"),
        SimMeter(id="b", address="17", profile="chint-dtsu666"),
    )
    with in_background(SimSite(SimSiteSpec(1, (SimBus("line", "modbus-rtu", port, meters, reply_ms=2),)))):
        arguments = ["--protocol", "modbus-rtu", "--baud", "9600", "--units", "1-20", "--reply", "60ms"]
        assert main(["scan", port, *arguments, "--framing", "8E1"]) == 0
    text = capsys.readouterr().out
    site = tomllib.loads('[site]\nname = "s"\norigin = "x.example/a"\n' + text)
    (bus,) = site["bus"]
    assert (bus["port"], bus["baud"], bus["protocol"]) == (port, 9600, "modbus-rtu")
    assert [(i["address"], i["profile"]) for i in bus["instrument"]] == [
        ("3", "eastron-sdm630"),
        ("17", "chint-dtsu666"),
    ]
    assert [i.get("serial") for i in bus["instrument"]] == [
        "20260815",
        None,
    ]  # its profile has no such register
    (tmp_path / "site.toml").write_text('[site]\nname = "s"\norigin = "x.example/a"\n' + text)
    assert SiteFile(tmp_path / "site.toml").site.buses[0].baud == 9600


@pytest.mark.long
def test_five_meters_on_three_lines_are_found(tmp_path: Path, capsys) -> None:
    """As at the demo plant: two DL/T 645 meters on one line, two Modbus units on another, one behind TCP."""
    tcp = f"tcp://127.0.0.1:{free_port()}"
    lines = (
        SimBus(
            "a",
            "dlt645-2007",
            str(tmp_path / "a"),
            tuple(SimMeter(id=f"a{n}", address=f"20260000001{n}", profile=PHASES) for n in (1, 2)),
            reply_ms=2,
            baud=115200,
        ),
        SimBus(
            "b",
            "modbus-rtu",
            str(tmp_path / "b"),
            (
                SimMeter(id="b1", address="1", profile="eastron-sdm630"),
                SimMeter(id="b2", address="2", profile="chint-dtsu666"),
            ),
            reply_ms=2,
        ),
        SimBus(
            "c", "modbus-tcp", tcp, (SimMeter(id="c1", address="1", profile="schneider-iem3000"),), reply_ms=1
        ),
    )
    with in_background(SimSite(SimSiteSpec(1, lines))):
        seen = found(
            capsys, str(tmp_path / "a"), "--protocol", "dlt645-2007", "--baud", "115200", "--reply", "30ms"
        )
        seen2 = found(
            capsys,
            str(tmp_path / "b"),
            "--protocol",
            "modbus-rtu",
            "--baud",
            "9600",
            "--framing",
            "8E1",
            "--reply",
            "60ms",
            "--units",
            "1-4",
        )
        seen3 = found(capsys, tcp, "--protocol", "modbus-tcp", "--units", "1", "--reply", "500ms")
    assert [m["address"] for m in seen["found"]] == ["202600000011", "202600000012"]
    assert [m["proposals"][0]["profile"] for m in seen2["found"]] == ["eastron-sdm630", "chint-dtsu666"]
    assert [m["proposals"][0]["profile"] for m in seen3["found"]] == ["schneider-iem3000"]


def test_a_search_ends_in_time_and_says_that_it_is_not_complete(tmp_path: Path, capsys) -> None:
    port = str(tmp_path / "line")
    with in_background(dlt645(port, "202600000011")):
        arguments = ["--protocol", "modbus-rtu", "--baud", "9600", "--reply", "100ms", "--limit", "500ms"]
        assert main(["scan", port, *arguments, "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["complete"] is False
    assert "more --limit" in told.err


def test_an_interrupted_search_writes_what_it_has_found_and_says_that_it_is_not_complete(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    port = str(tmp_path / "line")
    meters = (SimMeter(id="a", address="1", profile="eastron-sdm630", number="20260815"),)
    said = scan.say

    def interrupt(text: str) -> None:
        said(text)
        if text == "unit 1 answers":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(scan, "say", interrupt)
    with in_background(SimSite(SimSiteSpec(1, (SimBus("line", "modbus-rtu", port, meters, reply_ms=2),)))):
        told = found(capsys, port, "--protocol", "modbus-rtu", "--reply", "60ms", "--framing", "8E1")
    (meter,) = told["found"]
    assert (meter["address"], meter["number"], told["complete"]) == ("1", "20260815", False)
    assert meter["proposals"][0]["profile"] == "eastron-sdm630"


def test_a_port_that_is_not_there_is_told_in_words(tmp_path: Path, capsys) -> None:
    assert main(["scan", str(tmp_path / "nothing")]) == 2
    assert "no such port" in capsys.readouterr().err
    assert main(["scan", "tcp://127.0.0.1:1", "--protocol", "hj212"]) == 2
    assert "meters are searched by" in capsys.readouterr().err


# ---- read -----------------------------------------------------------------------------------------------------------


def test_a_meter_is_read_by_hand_with_its_bytes(tmp_path: Path, capsys) -> None:
    port = str(tmp_path / "line")
    with in_background(dlt645(port, "202600000011")):
        arguments = ["--port", port, "--protocol", "dlt645-2007", "--profile", PHASES]
        assert main(["read", "202600000011", *arguments, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert main(["read", "202600000011", *arguments, "--measurand", "voltage.l1"]) == 0
        shown = capsys.readouterr().out
    voltage = next(v for v in told["values"] if v["measurand"] == "voltage.l1")
    assert 190 < Decimal(voltage["indication"]) < 250
    assert voltage["result"] is None  # without a site nothing is known of its certificates
    assert all(e["request"].startswith("FE FE FE FE 68 11 00 00 00 26 20 68 11") for e in told["exchanges"])
    assert "→ FE FE FE FE 68 11 00 00 00 26 20 68 11 04 33 34 34 35" in shown
    assert "voltage.l1" in shown
    assert "current.l1" not in shown


def test_a_reading_of_the_site_is_corrected_with_its_uncertainty(tmp_path: Path, capsys) -> None:
    path = write_demo(tmp_path, 1, _vkey(tmp_path))
    with in_background(SimSite(simulated(SiteFile(path)))):
        assert main(["read", "carding", "--site", str(path), "--json"]) == 0
        by_id = json.loads(capsys.readouterr().out)
        assert main(["read", "carding", "--site", str(path)]) == 0
        shown = capsys.readouterr().out
    power = next(v for v in by_id["values"] if v["measurand"] == "power.active.total")
    assert Decimal(power["U"]) > 0
    assert power["result"] != power["indication"]
    assert Decimal(power["result"]) == pytest.approx(Decimal(power["indication"]), rel=Decimal("0.02"))
    stated = re.findall(r"= (\S+) ± (\S+) \(k = 2\)", shown)
    assert len(stated) > 5
    for y, expanded in stated:
        assert len(expanded.replace(".", "").lstrip("0")) <= 2 or expanded.endswith("0"), (
            "U has two significant digits (GUM 7.2.6)"
        )
        assert len(y.partition(".")[2]) == len(expanded.partition(".")[2]), "and y ends where U does"
    assert any(len(v["U"].replace(".", "").lstrip("0")) > 2 for v in by_id["values"] if v["U"]), (
        "JSON is exact"
    )


def test_an_unknown_instrument_names_those_there_are(tmp_path: Path, capsys) -> None:
    path = write_demo(tmp_path, 1, _vkey(tmp_path))
    assert main(["read", "nobody", "--site", str(path)]) == 2
    assert "carding" in capsys.readouterr().err
    assert main(["read", "1"]) == 2
    assert "--port, --protocol, --profile" in capsys.readouterr().err


def _vkey(tmp_path: Path) -> str:
    return create(tmp_path / "platform.key", "platform.example/receipts", receipts=True).vkey


def test_a_meter_that_is_not_heard_is_told_with_what_to_look_at(tmp_path: Path, capsys) -> None:
    port = str(tmp_path / "line")
    with in_background(dlt645(port, "202600000011")):
        arguments = ["--port", port, "--protocol", "dlt645-2007", "--profile", PHASES, "--timeout", "50ms"]
        assert main(["read", "202600000012", *arguments, "--measurand", "energy.active.import"]) == 1
    assert "`suyuan scan PORT` finds them" in capsys.readouterr().err
