"""A day on which everything goes wrong, played in virtual time: what came, what was wrong, what was missing and why."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path

from drivers.bus import Bus
from drivers.bus import Meter as Polled
from drivers.codec import Indication, Instant, Missing
from drivers.line import Timing as LineTiming
from drivers.link import LinkDown, MemoryLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.faults import FaultKind, Scenario, scenario
from sim.halfduplex import HalfDuplex
from sim.line import Pump
from sim.orderable import refused
from sim.shared_line import SharedLine
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec
from sim.virtual import VirtualLoop
from tests.sim.test_no_wrong_value import COARSE, RESOLUTION, off_by

DAY_S = 86_400
RENEWED_US = 60_000_000
IN_THE_METER = {FaultKind.ROLLOVER, FaultKind.RESET, FaultKind.SWAP, FaultKind.CLOCK_DRIFT}
UNHEARD = {FaultKind.MISSED_BROADCAST}  # nothing is ordered by broadcast on this day
# What the line's side of a bus may say of a value that did not come.
# A refusal may be a late one, to a request asked to find the line in step again: no value, though not quite the cause.
CAUSES = {
    Missing.TIMEOUT,
    Missing.CORRUPT,
    Missing.MISMATCH,
    Missing.SKIPPED,
    Missing.WRONG_LENGTH,
    Missing.ERROR_ANSWER,
}
ON_TCP = CAUSES | {Missing.LINK_DOWN}
# A readout in which a line is missing, or the total is replaced by its tariffs: "the readout has no such code".
OF_A_READOUT = CAUSES | {Missing.NOT_SUPPORTED}
# A scaler whose data were cut short: "scaler and unit are not known".
OF_DLMS = CAUSES | {Missing.UNKNOWN_FORMAT}
PRINTED = COARSE | {"W": Decimal("0.05"), "var": Decimal("0.05")}


@dataclass(frozen=True)
class Kind:
    """A line of the day: its simulated bus, and how the master polls it."""

    bus: SimBus
    period_s: float = 15
    timeout_s: float = 0.5
    chunk: int = 8
    resolution: Mapping[str, Decimal] = field(default_factory=lambda: PRINTED)


def alike(protocol: str, profile: str, *, addresses: str = "1234", **line: object) -> SimBus:
    """Four meters of a kind on one line."""
    meters = tuple(
        SimMeter(f"m{k}", address, profile, seed=k, ct="1000/5", start_kwh=Decimal(100), refresh_ms=60_000)
        for k, address in enumerate(addresses, start=1)
    )
    return SimBus("line", protocol, "unused", meters, **line)  # type: ignore[arg-type]


def _mixed() -> SimBus:
    """One of each on one line, each at its own speed."""
    given = (
        ("11", "dlt645-2007-three-phase", "", 0, ""),
        ("12", "dlt645-1997-three-phase", "dlt645-1997", 4800, ""),
        ("3", "schneider-iem3000", "modbus-rtu", 0, "8N1"),
        ("92404000001800", "cjt188-water", "cjt188", 2400, ""),
        ("14", "cjt188-heat-gj", "cjt188", 2400, ""),
        ("87654321", "mbus-heat", "mbus", 2400, ""),
        ("16", "dlt698-three-phase", "dlt698", 0, ""),
        ("17", "iskra-mt174", "iec62056-21", 0, ""),
        ("18", "eastron-sdm630", "modbus-ascii", 19200, "7E1"),
        ("1/19", "dlms-three-phase", "dlms-hdlc", 0, "8N1"),
    )
    meters = tuple(
        SimMeter(f"m{k}", a, p, seed=k, protocol=protocol, baud=baud, framing=framing, refresh_ms=60_000)
        for k, (a, p, protocol, baud, framing) in enumerate(given, start=1)
    )
    return SimBus("line", "dlt645-2007", "unused", meters)


KINDS: Mapping[str, Kind] = {
    "dlt645-2007": Kind(alike("dlt645-2007", "dlt645-2007-three-phase"), resolution=RESOLUTION),
    "dlt645-1997": Kind(alike("dlt645-1997", "dlt645-1997-three-phase")),
    "modbus-rtu": Kind(alike("modbus-rtu", "schneider-iem3000", reply_ms=40), resolution=RESOLUTION),
    "modbus-rtu over tcp": Kind(alike("modbus-rtu", "eastron-sdm630"), chunk=512, resolution=RESOLUTION),
    "modbus-ascii": Kind(alike("modbus-ascii", "schneider-iem3000", framing="7E1"), resolution=RESOLUTION),
    "modbus-tcp": Kind(alike("modbus-tcp", "schneider-iem3000"), resolution=RESOLUTION),
    "cjt188": Kind(alike("cjt188", "cjt188-heat"), period_s=5),  # one exchange is a whole scan
    "mbus": Kind(alike("mbus", "mbus-heat")),
    "dlt698": Kind(alike("dlt698", "dlt698-three-phase")),
    "iec62056-21": Kind(alike("iec62056-21", "iskra-mt174"), period_s=30, timeout_s=2),
    "iec62056-21 at 300": Kind(alike("iec62056-21-300", "iskra-mt174"), period_s=120, timeout_s=2),
    "iec62056-21-fixed": Kind(
        alike("iec62056-21-fixed", "iskra-mt174", framing="7E1"), period_s=30, timeout_s=2
    ),
    "dlms-hdlc": Kind(alike("dlms-hdlc", "dlms-three-phase"), period_s=30),
    "dlms-wrapper": Kind(alike("dlms-wrapper", "dlms-three-phase"), period_s=30, chunk=512),
    "mixed": Kind(_mixed(), period_s=30),
}


@dataclass
class Played:
    """How the day went."""

    values: int = 0
    points: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    met: set[str] = field(default_factory=set)

    def __iadd__(self, other: Played) -> Played:
        self.values += other.values
        self.points += other.points
        self.causes += other.causes
        self.unexplained += other.unexplained
        self.wrong += other.wrong
        self.met |= other.met
        return self


class Port(MemoryLink):
    """A serial port whose setting counts, or a connection that the other side may reset."""

    def __init__(self, line: HalfDuplex | SharedLine, now: object, baud: int) -> None:
        super().__init__("port")
        self.baud = baud
        self._joined = line
        self._pump = Pump(line, lambda: now().utc_us, self._heard, lambda: self.baud)  # type: ignore[operator]

    def tune(self, baud: int, framing: str) -> None:
        self.baud = baud

    async def open(self) -> None:
        await super().open()
        if hasattr(self._joined, "connected"):
            self._joined.connected()

    async def write(self, data: bytes) -> None:
        if not self.is_open:
            raise LinkDown("port", "not open")
        self._pump.hear(data)

    def _heard(self, data: bytes) -> None:
        if data and self.is_open:
            self.arrived(data)
        if self._joined.hung_up:
            self._open = False
            self.fell(LinkDown("port", "connection reset"))

    def stop(self) -> None:
        self._pump.stop()


def ordered(kind: Kind, length_s: float, seed: int | None = None, often: float = 1.0) -> Scenario:
    """The day's faults that this kind knows, gone through in ``length_s``; ``often``: times as many answers are met."""
    return ordered_of({m.id: m.protocol or kind.bus.protocol for m in kind.bus.meters}, length_s, seed, often)


def ordered_of(
    speaks: Mapping[str, str], length_s: float, seed: int | None = None, often: float = 1.0
) -> Scenario:
    """The same, of meters by the protocols that they speak. A fault of a meter that is not there is everybody's."""
    text = (Path(__file__).parent / "scenarios" / "day.toml").read_text(encoding="utf-8")
    whole = scenario(text)
    assert {fault.kind for fault in whole.faults} == set(FaultKind)
    faults = [f if f.meter in speaks else replace(f, meter="") for f in whole.faults]
    known = [
        f for f in faults if any(f.kind not in refused(p) for m, p in speaks.items() if f.meter in ("", m))
    ]
    part = length_s / DAY_S
    gone_through = tuple(
        replace(
            f,
            from_s=f.from_s * part,
            to_s=f.to_s * part,
            share=f.share if f.share == 1 else min(0.5, f.share * often),
        )
        for f in known
    )
    return Scenario(whole.seed if seed is None else seed, gone_through)


def played(kind: Kind, morning: int, length_s: float, seed: int | None = None, often: float = 1.0) -> Played:
    """The day, ``length_s`` long."""
    faults = ordered(kind, length_s, seed, often)
    bus_spec = kind.bus
    site = SimSite(SimSiteSpec(1, (bus_spec,), faults), now_us=lambda: morning)
    line = site.line(bus_spec.name, kind.chunk)
    stuck = {f.meter: morning + round(f.from_s * 1e6) for f in faults.faults if f.kind == FaultKind.STUCK}
    events_us = [morning + round(f.from_s * 1e6) for f in faults.faults if f.kind in IN_THE_METER]
    usual = ON_TCP if bus_spec.protocol == "modbus-tcp" else CAUSES
    of_profile = {"iskra-mt174": OF_A_READOUT, "dlms-three-phase": OF_DLMS}
    allowed = {m.id: of_profile.get(m.profile, usual) for m in bus_spec.meters}
    told = Played()

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(morning + us, us)

    @cache
    def show(k: str, t_us: int) -> Mapping[str, Decimal]:
        return site.indications(k, t_us).values

    def instants(k: str, began: int, ended: int) -> set[int]:
        """The instants of which the meter may have shown its values between these two."""
        meter = site.flow_meters.get(k) or site.meters[k]
        found = {began, ended, *range(began, ended, RENEWED_US)}
        found |= {t for t in events_us if began <= t <= ended}
        if k in stuck:
            found.add(stuck[k])
        return {meter.refreshed(t) for t in found} | ({stuck[k]} if k in stuck else set())

    def judge(k: str, i: Indication, began: int, ended: int) -> None:
        told.points += 1
        if i.value is None:
            told.causes[str(i.missing)] += 1
            if i.missing not in allowed[k] or not i.detail:
                told.unexplained.append(f"{k} {i}")
            return
        told.values += 1
        shown = [show(k, t)[i.measurand] for t in instants(k, began, ended)]
        if min(off_by(i, value, kind.resolution) for value in shown) > 0:
            told.wrong.append(f"seed {faults.seed}, {(began - morning) / 1e6:.1f} s: {k} {i}: {shown}")

    async def poll() -> None:
        tcp = bus_spec.protocol == "modbus-tcp"
        slow = bus_spec.protocol == "iec62056-21-300"
        port = Port(line, now, 300 if slow else bus_spec.baud)
        port.connection = kind.chunk > 8  # what a network hands over
        own = None if tcp else LineTiming(300, "7E1") if slow else LineTiming(bus_spec.baud, bus_spec.framing)
        bus = Bus("line", codec(bus_spec.protocol), port, now, own)
        asked = []
        for meter in bus_spec.meters:
            profile = load(meter.profile)
            speaks = codec(meter.protocol or bus_spec.protocol)
            timeout_s = 2.0 if profile.protocol == "iec62056-21" else kind.timeout_s
            polled = Polled(
                meter.id,
                speaks.address(meter.address),
                profile,
                timeout_s,
                retries=1,
                codec=speaks if meter.protocol else None,
                baud=meter.baud,
                framing=meter.framing,
            )
            asked.append((polled, plan(profile)))
        clock = asyncio.get_running_loop().time
        due = 0.0
        while due < length_s:
            for polled, queries in asked:
                scan = await bus.scan(polled, queries)
                for i in scan.indications:
                    judge(polled.id, i, scan.started.utc_us, scan.finished.utc_us)
            due += kind.period_s
            await asyncio.sleep(max(0.0, due - clock()))
        port.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(poll())
    told.met |= set(line.counts.faults)
    return told


def expected(kind: Kind) -> set[str]:
    """The faults of the line that such a day must have met."""
    return {str(f.kind) for f in ordered(kind, DAY_S).faults} - {str(k) for k in IN_THE_METER | UNHEARD}
