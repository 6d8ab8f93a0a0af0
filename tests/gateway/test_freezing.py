"""Meters of a line are frozen by broadcast and read afterwards: simultaneous registers, never older ones as new."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from central.audit import recompute
from drivers import freeze
from drivers.bus import Bus
from drivers.codec import Instant
from drivers.line import Timing
from drivers.link import MemoryLink
from evidence import record
from evidence.note import Ed25519Signer
from evidence.record import Aggregate, Configuration, Event, Gap, Reading
from gateway.agent import Agent
from gateway.aggregation import Aggregator
from gateway.cli import main
from gateway.clock import SetClock, SystemClock
from gateway.config import SiteFile
from gateway.freezing import Freezer
from gateway.lanes import Channel
from gateway.pipeline import Pipeline
from gateway.planning import plan_of
from gateway.prepare import prepare
from gateway.prepared import Prepared
from gateway.schedule import Tick
from gateway.site_keys import log_key
from gateway.site_record import configuration
from gateway.store import LogStore
from gateway.toml_source import ConfigError
from sim.faults import Fault, FaultKind, Scenario
from sim.line import Pump
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec
from sim.virtual import VirtualLoop

S = 1_000_000
PERIOD_US = 900 * S
BEGIN_US = 1_795_000_500 * S  # a whole number of quarters of an hour
SIGNER = Ed25519Signer.from_seed("suyuan.example/gw/freeze", bytes(32))
NAMES = [f"m{n}" for n in range(6)]

SITE = """
[site]
name = "Balance"
origin = "suyuan.example/gw/freeze"
[[bus]]
name = "line"
protocol = "dlt645-2007"
port = "line"
baud = 9600
freeze = {{ {freeze} }}
""" + "".join(
    f"""
[[bus.instrument]]
id = "m{n}"
address = "{n + 1}"
profile = "dlt645-2007-three-phase"
period = "{{period}}"
accuracy_class = "0.5S"
rated_current = "5"
{{more}}
"""
    for n in range(len(NAMES))
)
ALLOWED = 'period = "15min", allowed_by = "Li Na, metering", allowed_on = 2026-11-01'


def site(directory: Path, freezing: str = ALLOWED, period: str = "15min", more: str = "") -> Path:
    path = directory / "site.toml"
    path.write_text(SITE.format(freeze=freezing, period=period, more=more), encoding="utf-8")
    return path


def prepared(path: Path) -> Prepared:
    return prepare(SiteFile(path), lambda: datetime(2026, 11, 24, tzinfo=UTC))


def simulated(port: str, *faults: Fault, now_us: int = BEGIN_US) -> SimSite:
    meters = tuple(SimMeter(name, str(n + 1), "dlt645-2007-three-phase") for n, name in enumerate(NAMES))
    spec = SimBus("line", "dlt645-2007", port, meters, reply_ms=40)
    return SimSite(SimSiteSpec(1, (spec,), Scenario(1, faults)), now_us=lambda: now_us)


class Day:
    """Polls of a frozen line in virtual time, through the gateway's own pipeline."""

    def __init__(self, directory: Path, *faults: Fault) -> None:
        self.prepared = prepared(site(directory))
        self.directory = directory / "data"
        self.sim = simulated("unused", *faults)
        self.told: list[dict[str, str]] = []

    def run(self, slots: int, down: int | None = None) -> list[tuple[int, bytes]]:
        """``slots`` quarters of an hour; in the one numbered ``down`` the line cannot be opened."""

        async def all_slots() -> list[tuple[int, bytes]]:
            bus_plan = self.prepared.buses[0]
            plan = bus_plan.freeze
            assert plan is not None
            meters = {m.config.id: m.meter for m in bus_plan.meters}
            near, far = MemoryLink.pair("line")
            pump = Pump(self.sim._wires(self.sim.spec.buses[0], chunk=8), lambda: now().utc_us, near.arrived)
            far.arrived = pump.hear  # type: ignore[method-assign]
            await far.open()
            bus = Bus("line", bus_plan.codec, near, now, Timing(9600, "8E1"))
            freezer = Freezer(plan, bus, lambda _kind, detail: self.told.append(dict(detail)))
            line = self._pipeline()
            store = LogStore(self.directory, "suyuan.example/gw/freeze", ballast=0)
            line.begin(store, {})
            for slot in range(1, slots + 1):
                due_us = BEGIN_US + slot * PERIOD_US
                await asyncio.sleep((due_us - now().utc_us) / S)
                if slot == down:
                    await bus.close()
                    far.arrived = lambda data: None  # type: ignore[method-assign]
                for name in NAMES:
                    assert freezer.due(name, due_us)
                    assert not freezer.due(name, due_us + 60 * S)
                    scan = await freezer.scan(meters[name], due_us, meters)
                    line.accept(name, Tick(due_us, due_us - BEGIN_US), scan, (freeze.FLAG,))
                far.arrived = pump.hear  # type: ignore[method-assign]
            line.seal(None)
            batch = line.take(checkpoint=False)
            store.close()
            pump.stop()
            return list(enumerate(batch.entries))

        def now() -> Instant:
            us = round(asyncio.get_running_loop().time() * 1e6)
            return Instant(BEGIN_US + us, us)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(all_slots())

    def _pipeline(self) -> Pipeline:
        def channel(meter) -> Channel:  # type: ignore[no-untyped-def]
            points = [p for q in meter.queries for p in q.points]
            units = {p.measurand: p.unit for p in points}
            moduli = {p.measurand: p.modulus for p in points if p.modulus is not None}
            return Channel(meter.config.id, PERIOD_US, meter.state, units, moduli, S)

        return Pipeline(
            [channel(meter) for meter in self.prepared.meters],
            SetClock(BEGIN_US, 0),
            origin="suyuan.example/gw/freeze",
            keys=(SIGNER.verifier.vkey,),
            software="suyuan/test",
            configuration=configuration(self.prepared).replace(
                b'"aggregate_us":60000000', b'"aggregate_us":900000000'
            ),
            aggregate_us=PERIOD_US,
        )


def read(entries: list[tuple[int, bytes]], kind: type) -> list:  # type: ignore[type-arg]
    return [r for r in (record.decode(data) for _, data in entries) if isinstance(r, kind)]


def test_all_meters_show_their_registers_of_one_instant_and_an_auditor_gets_the_same(tmp_path: Path) -> None:
    day = Day(tmp_path)
    entries = day.run(4)
    readings = read(entries, Reading)
    assert len(readings) == 4 * len(NAMES)
    for slot in range(4):
        of_slot = readings[slot * len(NAMES) : (slot + 1) * len(NAMES)]
        (at,) = {r.utc_us for r in of_slot}
        assert 0 <= at - (BEGIN_US + (slot + 1) * PERIOD_US) < 5 * S
        for r in of_slot:
            assert r.flags[-1] == "frozen"
            assert r.raw[0].request == freeze.order()
            assert r.raw[0].answer == b""
            assert r.raw[0].received_us == 0
            shown = day.sim.indications(r.instrument, at).values
            assert Decimal(r.indications["energy.active.import"]) == shown["energy.active.import"]
            assert freeze.STAMP not in r.indications
            assert r.missing == {}
    assert [int(t["due_us"]) - BEGIN_US for t in day.told] == [PERIOD_US * n for n in range(1, 5)]
    assert {t["allowed_by"] for t in day.told} == {"Li Na, metering"}
    result = recompute(entries, Aggregator)
    assert result.findings == ()
    assert result.readings == len(readings)
    assert result.aggregates == len(read(entries, Aggregate)) > 0


def test_energy_between_two_freezes_has_their_instants_however_late_a_meter_was_read(tmp_path: Path) -> None:
    day = Day(tmp_path, Fault(FaultKind.LATE, "m5", delay_ms=400))
    energies = [a for a in read(day.run(3), Aggregate) if a.measurand == "energy.active.import"]
    assert {(a.from_us, a.to_us) for a in energies if a.instruments == ("m5",)} == {
        (a.from_us, a.to_us) for a in energies if a.instruments == ("m0",)
    }


def test_who_missed_the_broadcast_has_no_value_and_no_other_suffers(tmp_path: Path) -> None:
    day = Day(tmp_path, Fault(FaultKind.MISSED_BROADCAST, "m2", from_s=1500, to_s=2000))
    entries = day.run(3)
    mine = [r for r in read(entries, Reading) if r.instrument == "m2"]
    assert [bool(r.indications) for r in mine] == [True, False, True]
    assert set(mine[1].missing.values()) == {"not_frozen"}
    assert all(r.indications for r in read(entries, Reading) if r.instrument != "m2")
    assert recompute(entries, Aggregator).findings == ()


@pytest.mark.parametrize(
    ("offset_s", "read_"), [(100, True), (-280, True), (500, False), (900, False), (-900, False)]
)
def test_a_clock_is_forgiven_as_much_as_no_other_freeze_can_pass(
    tmp_path: Path, offset_s: float, read_: bool
) -> None:
    day = Day(tmp_path, Fault(FaultKind.CLOCK_DRIFT, "m1", offset_s=offset_s))
    entries = day.run(2)
    mine = [r for r in read(entries, Reading) if r.instrument == "m1"]
    assert [bool(r.indications) for r in mine] == [read_] * 2
    assert recompute(entries, Aggregator).findings == ()


def test_an_old_freeze_does_not_pass_though_the_clock_is_ahead_by_a_period(tmp_path: Path) -> None:
    """It tells the second order's time for what it froze at the first one; that it told this before gives it away."""
    day = Day(
        tmp_path,
        Fault(FaultKind.CLOCK_DRIFT, "m1", offset_s=900),
        Fault(FaultKind.MISSED_BROADCAST, "m1", from_s=1500),
    )
    entries = day.run(2)
    assert [bool(r.indications) for r in read(entries, Reading) if r.instrument == "m1"] == [False, False]
    assert recompute(entries, Aggregator).findings == ()


def test_what_is_not_known_to_be_new_is_not_taken(tmp_path: Path) -> None:
    """Silent before the first order: nobody knows what it held then."""
    day = Day(tmp_path, Fault(FaultKind.SILENT, "m3", to_s=902.0))
    entries = day.run(2)
    mine = [r for r in read(entries, Reading) if r.instrument == "m3"]
    assert [bool(r.indications) for r in mine] == [False, True]


def test_a_silent_meter_is_a_gap_as_ever(tmp_path: Path) -> None:
    entries = Day(tmp_path, Fault(FaultKind.DEAD, "m4")).run(2)
    assert {(g.instrument, g.reason) for g in read(entries, Gap)} == {("m4", "timeout")}


def test_an_auditor_notices_values_that_the_order_does_not_bear_out(tmp_path: Path) -> None:
    day = Day(tmp_path, Fault(FaultKind.MISSED_BROADCAST, "m2", from_s=1500))
    entries = day.run(2)
    index, was = next(
        (n, r)
        for n, r in ((n, record.decode(d)) for n, d in entries)
        if isinstance(r, Reading) and r.instrument == "m2" and not r.indications
    )
    forged = msgspec.structs.replace(was, indications={"energy.active.import": "1.00"}, missing={})
    changed = [*entries[:index], (index, record.encode(forged)), *entries[index + 1 :]]
    assert {"indication", "missing"} <= {f.code for f in recompute(changed, Aggregator).findings}
    unordered = msgspec.structs.replace(was, raw=was.raw[1:])
    changed = [*entries[:index], (index, record.encode(unordered)), *entries[index + 1 :]]
    assert "freeze" in {f.code for f in recompute(changed, Aggregator).findings}


def test_the_configuration_record_says_who_allowed_it(tmp_path: Path) -> None:
    part = next(
        msgspec.json.decode(c.body)
        for c in read(Day(tmp_path).run(1), Configuration)
        if b'"m0":{' in bytes(c.body)
    )
    said = part["instruments"]["m0"]["freeze"]
    assert (said["allowed_by"], said["allowed_on"]) == ("Li Na, metering", "2026-11-01")
    assert said["queries"][0]["item"] == freeze.TIME


# ---- the site file


def test_without_the_key_nothing_is_ever_ordered(tmp_path: Path) -> None:
    path = site(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("freeze")))
    assert prepared(path).buses[0].freeze is None


@pytest.mark.parametrize(
    ("freezing", "period", "more", "said"),
    [
        ('period = "15min", allowed_by = "Li"', "15min", "", "'allowed_on' is missing"),
        ('period = "15min", allowed_on = 2026-11-01', "15min", "", "'allowed_by' is missing"),
        (ALLOWED.replace("Li Na, metering", " "), "15min", "", "write who allowed it"),
        (ALLOWED.replace("2026-11-01", "2027-01-01"), "15min", "", "has not come yet"),
        (ALLOWED.replace("15min", "2min"), "1min", "", "to the minute only"),
        (ALLOWED + ', clock = "8min"', "15min", "", "an older freeze could pass for a new one"),
        (ALLOWED, "10min", "", "its period does not go into this one"),
        (
            ALLOWED,
            "15min",
            'measurands = ["voltage.l1"]',
            "no instrument of this line has a value that is frozen",
        ),
        (ALLOWED, "15min", "freeze = false", "no instrument of this line has a value that is frozen"),
    ],
)
def test_what_cannot_be_meant_is_told_at_its_line(
    tmp_path: Path, freezing: str, period: str, more: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        prepared(site(tmp_path, freezing, period, more))
    assert said in str(refused.value)
    assert "site.toml:10" in str(refused.value)


def test_meters_at_another_speed_do_not_hear_the_order(tmp_path: Path) -> None:
    path = site(tmp_path)
    path.write_text(path.read_text().replace('address = "3"', 'address = "3"\nbaud = 2400'))
    with pytest.raises(ConfigError, match="one order does not reach both"):
        prepared(path)


def test_check_says_that_meters_are_written_to_and_who_allowed_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUYUAN_LANG", "en")
    assert main(["check", "--no-ports", str(site(tmp_path))]) == 0
    told = capsys.readouterr().out
    assert (
        "orders its 6 meters to freeze (a WRITE) every 900 s, allowed by Li Na, metering on 2026-11-01"
        in told
    )


# ---- the agent


async def test_the_agent_orders_tells_and_records(tmp_path: Path) -> None:
    """In real time, with the period of a second: the frozen minute stays the same, so only the first is new."""
    made = simulated(str(tmp_path / "line"))
    clock = SystemClock()
    made._now_us = lambda: clock.now().utc_us
    await made.start()
    path = site(tmp_path, more='measurands = ["energy.active.import"]')
    plan = plan_of(prepared(path), log_key(SiteFile(path)))
    bus = plan.buses[0]
    assert bus.freeze is not None
    quick = replace(bus.freeze, period_us=S, pause_s=0.01)
    instruments = tuple(replace(i, period_us=S) for i in bus.instruments[:2])
    quick = replace(quick, queries={i.meter.id: quick.queries[i.meter.id] for i in instruments})
    buses = (replace(bus, freeze=quick, instruments=instruments),)
    agent = Agent(replace(plan, buses=buses, commit_us=50_000, checkpoint_us=100_000, listen=""), clock)
    task = asyncio.get_running_loop().create_task(agent.run())

    def enough() -> bool:
        return task.done() or (agent.begun and all(i.received >= 2 for i in agent.status().instruments))

    try:
        async with asyncio.timeout(45):
            while not enough():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.02)
        allowed = agent.status().buses[0].freeze
    finally:
        agent.stop()
        with suppress(Exception):
            await asyncio.wait((task,))
        await made.stop()
    task.result()
    assert allowed is not None
    assert allowed["allowed_by"] == "Li Na, metering"
    store = LogStore(plan.data, plan.origin, ballast=0)
    entries = list(store.entries(0))
    store.close()
    kinds = [e.kind for e in read(entries, Event)]
    assert kinds.count("freeze_allowed") == 1
    assert kinds.count("freeze_ordered") >= 2
    for name in ("m0", "m1"):
        mine = [r for r in read(entries, Reading) if r.instrument == name]
        assert mine[0].indications
        assert all("frozen" in r.flags for r in mine)
        assert all(r.indications or set(r.missing.values()) == {"not_frozen"} for r in mine)
    assert recompute(entries, Aggregator).findings == ()
