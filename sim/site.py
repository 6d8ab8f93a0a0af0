"""A whole simulated site from plain specifications: lines with their meters, and the truth by meter id.

    spec = SimSiteSpec(seed=1, buses=(SimBus("rs485-1", "dlt645-2007", "ports/rs485-1", meters=(…,)),))
    site = SimSite(spec)
    await site.start()
    site.energy("mill-1", t0_us, t1_us)      # what truly flowed, primary side, kWh

Ports are paths (a pty is offered there) or ``tcp://host:port`` (port 0 takes a free one; see
``SimSite.ports``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from drivers.profile import Point, Profile, load
from sim.cjt188_meter import Cjt188Meter
from sim.dlms_meter import DlmsMeter, register_of
from sim.dlt645_1997_meter import Dlt645Of1997Meter
from sim.dlt645_meter import Dlt645Meter
from sim.dlt698_meter import Dlt698Meter
from sim.faults import Scenario
from sim.flow import HEAT_UNITS, KINDS, FlowMeter, Pipe
from sim.halfduplex import FRAMINGS, HalfDuplex, LineCounts, MeterStation, Side, Timing, character_us
from sim.iec62056_line import Iec62056Line, Iec62056Station
from sim.iec62056_meter import FIRST_BAUD, Iec62056Meter, line_of
from sim.instrument import Electronics, Indications, Meter, Transformer, class_limit
from sim.line import PtyLine, SerialLine, TcpLine
from sim.mbus_meter import MEDIA, MbusMeter, record
from sim.modbus_ascii import ModbusAsciiMeter
from sim.modbus_meter import ModbusMeter, Nameplate, Register
from sim.modbus_tcp import ModbusTcpMeters
from sim.orderable import checked
from sim.shared_line import SharedLine
from sim.world import Energy, Feeder, Plant, Values

_NO_TIME_US = 0.001
_SILENCE_US: Mapping[str, int] = {"dlt645-2007": 500_000, "dlt698": 500_000}
_SHORT_SILENCE_US = 20_000  # of the other protocols, and of all where several share a line


def utc_us() -> int:
    """The machine's UTC in microseconds: the simulator's default clock, where none is given."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000


@dataclass(frozen=True, slots=True)
class SimMeter:
    """One meter: who it is, what it stands on, how good it is.

    Voltages are phase to neutral. ``ct`` and ``pt`` are rated ratios as written on a nameplate ("2000/5");
    empty means none, and the feeder's rating is then the meter's own. ``rated_current`` and
    ``maximum_current`` are secondary. ``step`` and ``modulus`` are the register's, in kWh as shown. Empty
    ``number``: drawn from the seed.
    """

    id: str
    address: str
    profile: str
    preset: str = "mill"
    seed: int = 0
    accuracy_class: str = "0.5S"
    rated_voltage: str = "220"
    rated_current: str = "5"
    maximum_current: str = "6"
    ct: str = ""
    ct_class: str = "0.2S"
    pt: str = ""
    pt_class: str = "0.2"
    phases: int = 3
    drift: float = 0.0  # of the meter's gain, percent per year
    number: str = ""
    start_kwh: Decimal = Decimal(0)
    step: Decimal = Decimal("0.01")
    modulus: Decimal = Decimal(1_000_000)
    refresh_ms: int = 1000
    longest: int = 200  # data bytes in one DL/T 645 answer
    flow: float = 2.0  # m3/h on average: of water, gas and heat meters
    protocol: str = ""  # these three where the meter does not speak as the rest of its line does
    baud: int = 0
    framing: str = ""
    password: str = field(default="", repr=False)  # DLMS: of its association with LLS


@dataclass(frozen=True, slots=True)
class SimBus:
    """One line: ``protocol`` is one of ``halfduplex.FRAMINGS`` or modbus-tcp; ``port`` a path or tcp://host:port.

    ``device``: a real serial port on which the meters answer instead.
    """

    name: str
    protocol: str
    port: str
    meters: tuple[SimMeter, ...]
    baud: int = 9600
    framing: str = "8E1"
    reply_ms: float = 40.0
    echo: bool = False
    device: str = ""


@dataclass(frozen=True, slots=True)
class SimSiteSpec:
    """A site: its seed, its buses, the faults ordered, and where profiles of its own are."""

    seed: int
    buses: tuple[SimBus, ...]
    scenario: Scenario = field(default_factory=Scenario)
    profile_dirs: tuple[Path, ...] = ()

    @property
    def meters(self) -> dict[str, SimMeter]:
        """All meters by id."""
        return {meter.id: meter for bus in self.buses for meter in bus.meters}


class _Line(Protocol):
    @property
    def port(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def ratio(text: str) -> tuple[float, float]:
    """Primary and secondary rating from a nameplate's "2000/5"."""
    primary, _, secondary = text.partition("/")
    try:
        values = float(primary), float(secondary or "1")
    except ValueError:
        values = (0.0, 0.0)
    if min(values) <= 0:
        raise ValueError(f"a rated ratio is written as on the nameplate, 2000/5, not {text!r}")
    return values


def build(spec: SimMeter, plant: Plant, *, shows_primary: bool) -> Meter:
    """The meter with its feeder and transformers, drawn from its seed."""
    voltage, current = float(spec.rated_voltage), float(spec.rated_current)
    ct = (
        Transformer.drawn("ct", *ratio(spec.ct), spec.ct_class, f"{spec.seed}/{spec.id}") if spec.ct else None
    )
    pt = (
        Transformer.drawn("pt", *ratio(spec.pt), spec.pt_class, f"{spec.seed}/{spec.id}") if spec.pt else None
    )
    feeder = plant.feeder(
        spec.id,
        spec.preset,
        rated_voltage=voltage * (pt.ratio if pt else 1.0),
        rated_current=ct.primary if ct else current,
        phases=spec.phases,
    )
    drawn = Electronics.drawn(spec.accuracy_class, f"{spec.seed}/{spec.id}")
    return Meter(
        id=spec.id,
        number=spec.number or _number(spec),
        feeder=feeder,
        accuracy_class=spec.accuracy_class,
        electronics=replace(drawn, drift_per_day=spec.drift / 100 / 365.25),
        rated_voltage=voltage,
        rated_current=current,
        ct=ct,
        pt=pt,
        shows_primary=shows_primary,
        step=spec.step,
        modulus=spec.modulus,
        start_kwh=spec.start_kwh,
        refresh_us=spec.refresh_ms * 1000,
    )


def build_flow(spec: SimMeter, profile: Profile) -> FlowMeter:
    """The water, gas or heat meter, drawn from its seed."""
    units = [p.unit for p in profile.points if p.measurand == "energy.heat"]
    heat = profile.kind == "heat"
    rng = random.Random(f"flow/{spec.seed}/{spec.id}")
    return FlowMeter(
        id=spec.id,
        number=spec.number or _number(spec),
        kind=profile.kind,
        pipe=Pipe.drawn(spec.flow, heat=heat, seed=f"{spec.seed}/{spec.id}"),
        error=class_limit(spec.accuracy_class) * rng.uniform(-0.8, 0.8),
        heat_unit=units[0] if heat and units and units[0] in HEAT_UNITS else "kWh",
        step=spec.step,
        modulus=spec.modulus,
        start=spec.start_kwh,
        refresh_us=spec.refresh_ms * 1000,
    )


def _protocol(bus: SimBus, meter: SimMeter) -> str:
    return meter.protocol or bus.protocol


def _as_printed(spec: SimMeter, profile: Profile) -> SimMeter:
    """With registers that have the step and range of the profile, where the specification leaves both open."""
    energies = [p for p in profile.points if p.measurand.startswith("energy.")]
    steps = [p.resolution for p in energies if p.resolution is not None]
    moduli = [p.modulus for p in energies if p.modulus is not None]
    usual = {f.name: f.default for f in fields(SimMeter)}
    step = min(steps) if steps and spec.step == usual["step"] else spec.step
    modulus = min(moduli) if moduli and spec.modulus == usual["modulus"] else spec.modulus
    return replace(spec, step=step, modulus=modulus)


def _number(spec: SimMeter) -> str:
    """A number out of the seed; of a meter addressed by its identity on M-Bus, that identity."""
    drawn = str(random.Random(f"number/{spec.seed}/{spec.id}").randrange(10**11, 10**12))
    identity = spec.address[:8].upper()
    if len(spec.address) in (8, 16) and not set(identity) - set("0123456789F") and identity != "F" * 8:
        return "".join(d if a == "F" else a for a, d in zip(identity, drawn[-8:], strict=True))
    return drawn


def registers(profile: Profile) -> tuple[Register, ...]:
    """The register map that a Modbus profile describes."""
    powers = {(p.function, p.scale_at): _power(p) for p in profile.points if p.scale_at is not None}
    scales = tuple(
        Register(f"scale.{address}", function, address, "i16", "ABCD", Decimal(1), "1", 1, constant=power)
        for (function, address), power in powers.items()
    )
    return tuple(_register(point) for point in profile.points) + scales


def nameplate_of(profile: Profile) -> Nameplate | None:
    """The registers in which a meter of this model tells its number."""
    place = profile.nameplate
    if place is None:
        return None
    return Nameplate(place.function, place.address, place.type, place.word_order, place.length)


def _power(point: Point) -> int:
    """SunSpec: the power of ten that a meter shows, with which one step of its register is its resolution."""
    return ((point.resolution or point.scale) / point.scale).normalize().adjusted()


def _register(point: Point) -> Register:
    return Register(
        measurand=point.measurand,
        function=point.function,
        address=point.address,
        type=point.type,
        word_order=point.word_order,
        scale=point.scale if point.scale_at is None else point.scale.scaleb(_power(point)),
        unit=point.unit,
        count=point.length,
        absent=point.sentinels[0] if point.sentinels else None,
    )


class SimSite:
    """A site that can be started and stopped, and asked for the truth (whether started or not)."""

    def __init__(self, spec: SimSiteSpec, *, now_us: Callable[[], int] = utc_us) -> None:
        self.spec = spec
        self.plant = Plant(spec.seed)
        self.started_us = now_us()
        self.ports: dict[str, str] = {}
        self.counts: dict[str, LineCounts] = {}
        self._now_us = now_us
        self._running: AsyncExitStack | None = None
        self._profiles: dict[str, Profile] = {}
        self.meters: dict[str, Meter] = {}
        self.flow_meters: dict[str, FlowMeter] = {}
        for bus in spec.buses:
            for meter in bus.meters:
                if meter.id in self.meters or meter.id in self.flow_meters:
                    raise ValueError(f"{bus.name}: there are two meters {meter.id!r}")
                self._add(bus, meter)
        speaks = {m.id: _protocol(bus, m) for bus in spec.buses for m in bus.meters}
        self._scenario = checked(spec.scenario, speaks)

    def _profile(self, name: str) -> Profile:
        if name not in self._profiles:
            self._profiles[name] = load(name, self.spec.profile_dirs)
        return self._profiles[name]

    def _add(self, bus: SimBus, spec: SimMeter) -> None:
        profile = self._profile(spec.profile)
        protocol = spec.protocol or bus.protocol
        # Modbus, IEC 62056-21 and DLMS come in several ways; the editions of DL/T 645 ask for different items.
        one = next(
            (name for name in ("modbus", "iec62056-21", "dlms") if protocol.startswith(name)), protocol
        )
        if one != profile.protocol:
            raise ValueError(
                f"{bus.name}/{spec.id}: profile {spec.profile} is for {profile.protocol}, the meter speaks {protocol}"
            )
        change = self.spec.scenario.changed
        if profile.kind in KINDS:
            self.flow_meters[spec.id] = change(build_flow(spec, profile), self.started_us)
            return
        if one in ("iec62056-21", "dlms"):
            spec = _as_printed(spec, profile)
        sides = {p.side for p in profile.points if p.measurand.startswith("energy.")}
        meter = build(spec, self.plant, shows_primary="primary" in sides)
        self.meters[spec.id] = change(meter, self.started_us)

    # ---- running

    async def start(self) -> None:
        """Open all lines. The clock of the scenario began when this object was made."""
        async with AsyncExitStack() as stack:
            for bus in self.spec.buses:
                line = self._line(bus)
                stack.push_async_callback(line.stop)
                await line.start()
                self.ports[bus.name] = line.port
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """Close all lines."""
        if self._running is not None:
            await self._running.aclose()
            self._running = None

    def line(self, name: str, chunk: int = 8) -> HalfDuplex | SharedLine:
        """A bus's line without a port, to be joined in memory; ``chunk`` characters are handed over at a time."""
        bus = next(bus for bus in self.spec.buses if bus.name == name)
        if bus.protocol == "modbus-tcp":
            return self._modbus_tcp(bus, "", 0).conversation()
        line = self._wires(bus, chunk)
        self.counts[name] = line.counts
        return line

    def _line(self, bus: SimBus) -> _Line:
        url = urlsplit(bus.port) if bus.port.startswith("tcp://") else None
        host, port = (url.hostname or "127.0.0.1", url.port or 0) if url else ("", 0)
        if bus.protocol == "modbus-tcp":
            return self._modbus_tcp(bus, host or "127.0.0.1", port)
        line = self._wires(bus, chunk=512 if url or bus.device else 8)
        self.counts[bus.name] = line.counts
        if bus.device:
            return SerialLine(line, Path(bus.device), bus.baud, bus.framing, self._now_us)
        if url:
            slow = any(_protocol(bus, meter) == "iec62056-21-300" for meter in bus.meters)
            return TcpLine(line, host, port, self._now_us, FIRST_BAUD if slow else 0)
        return PtyLine(line, Path(bus.port), bus.baud, self._now_us)

    def _wires(self, bus: SimBus, chunk: int) -> HalfDuplex | SharedLine:
        """What hears and answers on a line: one kind of meters, or several that share it."""
        kinds: dict[tuple[str, int, str], list[SimMeter]] = {}
        for meter in bus.meters:
            protocol = _protocol(bus, meter)
            if protocol not in FRAMINGS:
                known = ", ".join((*FRAMINGS, "modbus-tcp"))
                raise ValueError(f"{bus.name}: no simulated line speaks {protocol!r}; there are {known}")
            family = next(name for name, known in FRAMINGS.items() if known is FRAMINGS[protocol])
            if protocol == "iec62056-21" and bus.device:
                raise ValueError(
                    f"{bus.name}: a real port is heard at one speed, and iec62056-21 changes it within a session: "
                    "simulate iec62056-21-300 or iec62056-21-fixed there"
                )
            if family == "iec62056-21":
                kinds.setdefault((family, FIRST_BAUD, "7E1"), []).append(meter)
                continue
            kinds.setdefault((family, meter.baud or bus.baud, meter.framing or bus.framing), []).append(meter)
        speeds = {(baud, framing) for _, baud, framing in kinds}
        if bus.device and speeds != {(bus.baud, bus.framing)}:
            raise ValueError(
                f"{bus.name}: a real port is heard at one speed: {bus.baud} {bus.framing}, but some of its meters "
                "state another baud or framing; simulate those on a port of their own"
            )
        parts: list[tuple[int, HalfDuplex]] = []
        for (family, baud, framing), meters in kinds.items():
            # A real port takes the characters' time by itself.
            character = _NO_TIME_US if bus.device else character_us(baud, framing)
            silence = _SHORT_SILENCE_US if len(kinds) > 1 else _SILENCE_US.get(family, _SHORT_SILENCE_US)
            timing = Timing(
                character_us=character,
                reply_us=round(bus.reply_ms * 1000),
                silence_us=max(round(3.5 * character), silence),
                chunk=chunk,
                echo=bus.echo and not parts,  # what comes back is heard once, whoever is asked
            )
            sides = [self._side(bus, meter) for meter in meters]
            line = self._line_of(family, sides, timing)
            parts.append((baud, line))
        return parts[0][1] if len(parts) == 1 else SharedLine(parts)

    def _line_of(self, family: str, sides: list[Side], timing: Timing) -> HalfDuplex:
        talkers = [Iec62056Station(side) for side in sides if isinstance(side, Iec62056Meter)]
        if talkers:
            return Iec62056Line(FRAMINGS[family], talkers, timing, self._scenario, self.started_us)
        stations = [MeterStation(side) for side in sides]
        return HalfDuplex(FRAMINGS[family], stations, timing, self._scenario, self.started_us)

    def _side(self, bus: SimBus, spec: SimMeter) -> Side:
        protocol = _protocol(bus, spec)
        flow, electric = self.flow_meters.get(spec.id), self.meters.get(spec.id)
        if protocol == "mbus" and (meter := flow or electric):
            profile = self._profile(spec.profile)
            told = [record(p.item, p.measurand, spec.step) for p in profile.points]
            medium = MEDIA.get(profile.kind, MEDIA["water"])
            return MbusMeter(meter, spec.address, [r for r in told if r], medium=medium)
        if protocol == "cjt188" and flow:
            return Cjt188Meter(flow, spec.address)
        if protocol == "dlt645-2007" and electric:
            return Dlt645Meter(electric, spec.address, longest=spec.longest)
        if protocol == "dlt645-1997" and electric:
            return Dlt645Of1997Meter(electric, spec.address)
        if protocol == "dlt698" and electric:
            return Dlt698Meter(electric, spec.address)
        if protocol.startswith("dlms") and electric:
            profile, wrapped = self._profile(spec.profile), protocol == "dlms-wrapper"
            objects = [register_of(p.item, p.measurand, p.unit, electric.step) for p in profile.points]
            secret = spec.password.encode("latin-1")
            return DlmsMeter(electric, spec.address, objects, wrapped=wrapped, password=secret)
        if protocol.startswith("iec62056-21") and electric:
            profile = self._profile(spec.profile)
            lines = [line_of(p.item, p.measurand, p.unit, electric.step) for p in profile.points]
            fixed = (spec.baud or bus.baud) if protocol == "iec62056-21-fixed" else 0
            return Iec62056Meter(electric, spec.address, lines, fixed=fixed)
        if protocol == "modbus-rtu" and electric:
            return self._modbus(spec)
        if protocol == "modbus-ascii" and electric:
            return ModbusAsciiMeter(self._modbus(spec))
        raise ValueError(f"{bus.name}/{spec.id}: no simulated meter of kind {spec.profile} speaks {protocol}")

    def _modbus_tcp(self, bus: SimBus, host: str, port: int) -> ModbusTcpMeters:
        served = ModbusTcpMeters(
            [self._modbus(meter) for meter in bus.meters],
            host=host,
            port=port,
            utc_us=self._now_us,
            scenario=self._scenario,
            start_utc_us=self.started_us,
            reply_us=round(bus.reply_ms * 1000),
        )
        self.counts[bus.name] = served.counts
        return served

    def _modbus(self, spec: SimMeter) -> ModbusMeter:
        profile = self._profile(spec.profile)
        return ModbusMeter(self.meters[spec.id], int(spec.address), registers(profile), nameplate_of(profile))

    # ---- the truth

    def feeder(self, meter: str) -> Feeder:
        """What a meter stands on."""
        return self.meters[meter].feeder

    def truth(self, meter: str, t_us: int) -> Values:
        """What truly flows at an instant, primary side."""
        return self.feeder(meter).at(t_us)

    def energy(self, meter: str, t0_us: int, t1_us: int) -> Energy:
        """What truly flowed between two instants, primary side, kWh and kvar.h."""
        return self.feeder(meter).energy(t0_us, t1_us)

    def indications(self, meter: str, t_us: int) -> Indications:
        """What the meter shows at an instant (before any fault of the line)."""
        return (self.flow_meters.get(meter) or self.meters[meter]).show(t_us)

    def pipe(self, meter: str) -> Pipe:
        """What a water, gas or heat meter stands on: the true flow, volume and heat."""
        return self.flow_meters[meter].pipe

    def describe(self) -> str:
        """The site in a few lines: each bus with its port and meters."""
        lines = []
        for bus in self.spec.buses:
            port = self.ports.get(bus.name, bus.port)
            lines.append(f"{bus.name}  {bus.protocol}  {port}  {bus.baud} {bus.framing}")
            for meter in bus.meters:
                own = "  ".join(str(x) for x in (meter.protocol, meter.baud, meter.framing) if x)
                lines.append(
                    f"  {meter.id}  address {meter.address}  {meter.profile}{own and '  '}{own}{self._place(meter)}"
                )
        return "\n".join(lines)

    def _place(self, meter: SimMeter) -> str:
        """What a meter stands on, in words."""
        if meter.id in self.flow_meters:
            return f"  class {meter.accuracy_class}  {meter.flow:g} m3/h"
        behind = "".join(f"  {kind} {text}" for kind, text in (("CT", meter.ct), ("PT", meter.pt)) if text)
        rated = f"{meter.rated_voltage} V  {meter.rated_current} A"
        return f"  class {meter.accuracy_class}  {rated}{behind}  {meter.preset}"
