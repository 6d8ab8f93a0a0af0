"""What can be ordered of which meter: the table in the documents is true, and what cannot be is refused in words."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from drivers.profile import load, plan
from drivers.protocols import codec
from sim.faults import Fault, FaultKind, Scenario, ScenarioError
from sim.halfduplex import FRAMINGS, HalfDuplex
from sim.line import Pump
from sim.orderable import checked, refused, table
from sim.shared_line import SharedLine
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec
from sim.virtual import VirtualLoop
from tests.sim.day import IN_THE_METER, KINDS, alike

ROOT = Path(__file__).parents[2]
PROTOCOLS = (*FRAMINGS, "modbus-tcp")
REQ_UD2 = bytes.fromhex("10 7B 01 7C 16")
LINES = {name: kind for name, kind in KINDS.items() if name not in ("mixed", "modbus-rtu over tcp")}


def test_the_documented_table_is_what_is_refused_and_what_is_not() -> None:
    text = (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")
    columns = tuple(re.findall(r"[a-z0-9-]+", text.partition("| fault |")[2].partition("\n")[0]))
    assert set(PROTOCOLS) <= set(columns), "a simulated protocol has no column"
    assert table(columns) in text, table(columns)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_protocol_does_not_know_is_refused_and_nothing_else(protocol: str) -> None:
    for kind in FaultKind:
        scenario = Scenario(faults=(Fault(kind, meter="a"),))
        if kind not in refused(protocol):
            assert checked(scenario, {"a": protocol}).faults == scenario.faults
            continue
        with pytest.raises(ScenarioError) as told:
            checked(scenario, {"a": protocol})
        assert str(told.value) == f"fault 1: {kind}: a cannot have it: {refused(protocol)[kind]}"


def test_a_tcp_meter_has_no_baud() -> None:
    with pytest.raises(ScenarioError, match="a TCP meter has no baud"):
        SimSite(
            SimSiteSpec(
                1,
                (alike("modbus-tcp", "schneider-iem3000"),),
                Scenario(faults=(Fault(FaultKind.BAUD_MISMATCH),)),
            )
        )


def test_a_fault_of_a_meter_that_is_not_there_is_refused() -> None:
    with pytest.raises(ScenarioError, match="fault 2: there is no meter 'b'; there are a"):
        checked(Scenario(faults=(Fault(FaultKind.LATE), Fault(FaultKind.LATE, meter="b"))), {"a": "mbus"})


def test_a_fault_of_all_meters_meets_those_that_know_it() -> None:
    both = {"a": "modbus-tcp", "b": "modbus-rtu"}
    scenario = checked(Scenario(faults=(Fault(FaultKind.HALF_OPEN), Fault(FaultKind.ECHO))), both)
    assert [[f.kind for f in scenario.now(meter, 0, 0)] for meter in both] == [["half_open"], ["echo"]]


# ---- each fault that is not refused is heard on the line


def said(name: str, *faults: Fault) -> tuple[list[tuple[float, bytes]], HalfDuplex | SharedLine]:
    """What two scans' worth of first requests are answered with, and when; the faults meet the second one."""
    spec = LINES[name].bus
    site = SimSite(SimSiteSpec(1, (spec,), Scenario(3, faults)), now_us=lambda: 1_800_000_000_000_000)
    line = site.line("line")
    speaks = codec(spec.protocol)
    query = plan(load(spec.meters[0].profile))[0]
    request = speaks.encode(speaks.numbered(speaks.request(speaks.address("1"), query), 7))
    if spec.protocol == "mbus":
        request = REQ_UD2  # the first one of a reading is acknowledged with a character only
    heard: list[tuple[float, bytes]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        pump = Pump(
            line,
            lambda: 1_800_000_000_000_000 + round(loop.time() * 1e6),
            lambda data: heard.append((round(loop.time(), 3), data)),
        )
        for _ in range(2):
            pump.hear(request)
            await asyncio.sleep(20)
        pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    return heard, line


@pytest.mark.parametrize("name", LINES)
def test_every_fault_of_the_line_that_can_be_ordered_changes_what_is_heard(name: str) -> None:
    protocol = LINES[name].bus.protocol
    sound, _ = said(name)
    assert sound
    of_the_line = set(FaultKind) - IN_THE_METER - {FaultKind.MISSED_BROADCAST, FaultKind.STUCK}
    for kind in of_the_line - set(refused(protocol)):
        heard, line = said(name, Fault(kind, from_s=10))
        assert line.counts.faults == {str(kind): 1}, kind
        assert line.hung_up == (kind is FaultKind.CONNECTION_RESET)
        assert heard != sound, kind


# ---- of Modbus TCP alone


def tcp(kind: FaultKind, **more: float) -> bytes:
    heard, _ = said("modbus-tcp", Fault(kind, from_s=10, **more))  # type: ignore[arg-type]
    return b"".join(data for at, data in heard if at >= 20)


def test_the_faults_of_a_connection_do_what_they_say() -> None:
    sound, _ = said("modbus-tcp")
    answer = sound[1][1]
    assert answer[:4] == b"\0\7\0\0"
    assert int.from_bytes(answer[4:6], "big") == len(answer) - 6
    other = tcp(FaultKind.WRONG_TRANSACTION)
    assert other[2:] == answer[2:]
    assert other[:2] != answer[:2]
    lied = tcp(FaultKind.FALSE_LENGTH)
    assert (lied[:4], lied[6:]) == (answer[:4], answer[6:])
    assert lied[4:6] != answer[4:6]
    assert tcp(FaultKind.STALE_ANSWER) == sound[0][1] + answer
    torn = tcp(FaultKind.CONNECTION_RESET)
    assert answer.startswith(torn)
    assert len(torn) < len(answer)
    assert tcp(FaultKind.HALF_OPEN) == b""
    assert tcp(FaultKind.MERGED).startswith(answer)
    assert tcp(FaultKind.NOISE_AFTER, count=9)[: len(answer)] == answer


def test_two_meters_of_two_kinds_are_told_by_name_in_a_refusal() -> None:
    spec = SimBus(
        "line",
        "modbus-tcp",
        "tcp://127.0.0.1:0",
        (SimMeter("a", "1", "schneider-iem3000"), SimMeter("b", "2", "schneider-iem3000")),
    )
    with pytest.raises(ScenarioError, match="fault 1: echo: no meter of this site can have it"):
        SimSite(SimSiteSpec(1, (spec,), Scenario(faults=(Fault(FaultKind.ECHO),))))
