"""A site file and the simulated plant behind it: one described by the other, in both directions."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import tomli_w

from calibration.certificate import CalibrationPoint, Certificate, Instrument, InstrumentKind
from gateway.config import SiteFile
from gateway.dlms_password import PasswordError, password_of
from gateway.site_lines import BusConfig, InstrumentConfig
from gateway.site_simulation import SimulatedLine, SimulatedMeter
from gateway.toml_source import ConfigError, Problem
from sim.demo import demo_certificates, demo_instruments, demo_spec
from sim.faults import Scenario, ScenarioError, scenario
from sim.instrument import Meter
from sim.orderable import checked
from sim.ports import free_port
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec, utc_us
from sim.world import EPOCH_US


def simulated(site: SiteFile) -> SimSiteSpec:
    """The simulated plant behind the site's ports. ConfigError where the site cannot be simulated."""
    simulation = site.site.simulation
    for name in simulation.meters:
        if name not in {config.id for bus in site.site.buses for config in bus.instruments}:
            place = ("simulation", "meter", name)
            message = f"there is no instrument '{name}' in this site"
            raise ConfigError(
                [
                    site.source.problem(
                        place, message, "name one of its [[bus.instrument]]", "C140", of_key=True
                    )
                ]
            )
    return SimSiteSpec(
        seed=simulation.seed,
        buses=tuple(_bus(site, bus) for bus in site.site.buses),
        scenario=_scenario(site),
        profile_dirs=tuple(site.directory / directory for directory in site.site.profiles),
    )


def _scenario(site: SiteFile) -> Scenario:
    name = site.site.simulation.scenario
    if not name:
        return Scenario()
    place = ("simulation", "scenario")
    try:
        ordered = scenario((site.directory / name).read_text(encoding="utf-8"))
        checked(
            ordered, {m.id: m.protocol or bus.protocol for bus in site.site.buses for m in bus.instruments}
        )
    except (OSError, UnicodeDecodeError, ScenarioError) as error:
        raise ConfigError([site.source.problem(place, f"{name}: {error}", "", "C141")]) from None
    return ordered


def _bus(site: SiteFile, bus: BusConfig) -> SimBus:
    line = site.site.simulation.lines.get(bus.name, SimulatedLine())
    return SimBus(
        name=bus.name,
        protocol=bus.protocol,
        port=site.port(bus),
        meters=tuple(_meter(site, config) for config in bus.instruments),
        baud=bus.baud,
        framing=bus.framing,
        reply_ms=line.reply * 1000,
        echo=line.echo,
    )


def _meter(site: SiteFile, config: InstrumentConfig) -> SimMeter:
    shape = site.site.simulation.meters.get(config.id, SimulatedMeter())

    def nominal(name: str, default: str) -> str:
        stated = getattr(config, name)
        return getattr(shape, name) or (str(stated) if stated else default)

    return SimMeter(
        id=config.id,
        address=config.address,
        profile=config.profile,
        preset=shape.preset,
        seed=site.site.simulation.seed,
        accuracy_class=nominal("accuracy_class", "1"),
        rated_voltage=nominal("rated_voltage", "220"),
        rated_current=nominal("rated_current", "5"),
        maximum_current=nominal("maximum_current", "6"),
        ct=config.ct or "",
        ct_class=nominal("ct_class", "0.2S"),
        pt=config.pt or "",
        pt_class=nominal("pt_class", "0.2"),
        phases=shape.phases,
        number=shape.number,
        start_kwh=shape.start,
        step=shape.step,
        modulus=shape.modulus,
        refresh_ms=round(shape.refresh * 1000),
        flow=float(shape.flow),
        protocol=config.protocol or "",
        baud=config.baud or 0,
        framing=config.framing or "",
        password=_password(site, config),
    )


def _password(site: SiteFile, config: InstrumentConfig) -> str:
    """What a simulated meter asks for is what the site file names."""
    if not config.password_file:
        return ""
    try:
        return password_of(site, config).decode("latin-1")
    except PasswordError as error:
        raise ConfigError(
            [Problem(str(site.path), 0, 0, "password_file", f"{config.id}: {error}", "", "C149")]
        ) from None


# what each kind of line has time for: all of a meter's measurands at 9600 baud take about a second
PERIODS = {"dlt645-2007": "5s", "modbus-rtu": "2s", "modbus-tcp": "1s"}


def write_demo(
    directory: Path, seed: int, platform_key: str, *, checkpoint: str = "5s", listen: str = ""
) -> Path:
    """Write the demo's site file and its certificates as a user would; returns the site file's path."""
    spec = demo_spec(Path("run"), seed)
    site = SimSite(spec)
    (directory / "run").mkdir(parents=True, exist_ok=True)
    (directory / "certificates").mkdir(exist_ok=True)
    instruments = demo_instruments(site)
    document: dict[str, Any] = {
        "site": {"name": "Demo · 演示", "origin": "suyuan.example/gw/demo", "data": "data"},
        "log": {"commit": "1s", "checkpoint": checkpoint, "aggregate": "5s"},
        "serve": {"listen": listen or f"127.0.0.1:{free_port()}"},
        "platform": [{"name": "platform", "key": platform_key}],
        "calibration": {"certificates": ["certificates/*.toml"]},
        "bus": [_bus_table(bus) for bus in spec.buses],
        "simulation": {
            "seed": seed,
            "meter": {id_: _shape_table(meter, site.meters[id_]) for id_, meter in spec.meters.items()},
            "bus": {bus.name: {"reply": f"{bus.reply_ms:g}ms"} for bus in spec.buses},
        },
    }
    path = directory / "site.toml"
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    own = {"instrument": [_instrument_table(i) for i in instruments if i.kind is not InstrumentKind.METER]}
    (directory / "certificates" / "instruments.toml").write_text(tomli_w.dumps(own), encoding="utf-8")
    for certificate in demo_certificates(site):
        text = tomli_w.dumps({"certificate": [_certificate_table(certificate)]})
        (directory / "certificates" / f"{certificate.id}.toml").write_text(text, encoding="utf-8")
    return path


def _bus_table(bus: SimBus) -> dict[str, Any]:
    tcp = bus.port.startswith("tcp://")
    table: dict[str, Any] = {
        "name": bus.name,
        "protocol": bus.protocol,
        "port": f"tcp://127.0.0.1:{free_port()}" if tcp else bus.port,
        "timeout": "500ms",
    }
    if not tcp:
        table |= {"baud": bus.baud, "framing": bus.framing}
    table["instrument"] = [
        _instrument_config(meter) | {"period": PERIODS[bus.protocol]} for meter in bus.meters
    ]
    return table


def _instrument_config(meter: SimMeter) -> dict[str, Any]:
    table: dict[str, Any] = {
        "id": meter.id,
        "address": meter.address,
        "profile": meter.profile,
        "accuracy_class": meter.accuracy_class,
        "rated_voltage": meter.rated_voltage,
        "rated_current": meter.rated_current,
        "maximum_current": meter.maximum_current,
    }
    table |= {"register_resolution": str(meter.step), "register_modulus": str(meter.modulus)}
    for kind in ("ct", "pt"):
        if getattr(meter, kind):
            table |= {kind: getattr(meter, kind), f"{kind}_instrument": f"{meter.id}-{kind}"}
    return table


def _shape_table(spec: SimMeter, meter: Meter) -> dict[str, Any]:
    """The plant's shape. The register's start is set so that today it stands where the demo's own start says."""
    counted = Decimal(repr(float(meter.indicated_energy(EPOCH_US, utc_us())[0])))
    start = (spec.start_kwh - counted).quantize(spec.step) % spec.modulus
    table = {"preset": spec.preset, "start": str(start), "step": str(spec.step), "modulus": str(spec.modulus)}
    classes = {
        f"{kind}_class": getattr(spec, f"{kind}_class") for kind in ("ct", "pt") if getattr(spec, kind)
    }
    return table | classes


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value


def _given(value: Any, names: Iterable[str]) -> dict[str, Any]:
    """The named fields that say something, as TOML writes them: exact numbers as text."""
    found = {name: _plain(getattr(value, name)) for name in names}
    return {name: plain for name, plain in found.items() if plain not in ("", None, False, ())}


def _instrument_table(instrument: Instrument) -> dict[str, Any]:
    names = (
        "id",
        "manufacturer",
        "model",
        "serial",
        "accuracy_class",
        "ratio",
        "rated_current",
        "rated_voltage",
        "parent",
    )
    return {"kind": str(instrument.kind)} | _given(instrument, names)


def _certificate_table(certificate: Certificate) -> dict[str, Any]:
    names = (
        "id", "instrument", "laboratory", "performed", "issued", "valid_until", "accreditation", "passed",
        "accuracy_class", "mpe", "national",
    )  # fmt: skip
    table = {"kind": str(certificate.kind)} | _given(certificate, names)
    if certificate.points:
        first = certificate.points[0]
        table |= {
            "quantity": first.quantity,
            "unit": first.unit,
            "load_unit": first.load_unit,
            "k": str(first.k),
        }
        table["point"] = [_point_table(point, first) for point in certificate.points]
    if certificate.references:
        edges = ("standard", "certificate", "digest", "share")
        table["reference"] = [_given(reference, edges) for reference in certificate.references]
    return table


def _point_table(point: CalibrationPoint, first: CalibrationPoint) -> dict[str, Any]:
    """One point; what it shares with the first one stands in the certificate's own table."""
    table = {
        "load": str(point.load),
        "power_factor": str(point.power_factor),
        "error": str(point.error),
        "U": str(point.U),
    }
    for name in ("quantity", "unit", "load_unit", "k"):
        if getattr(point, name) != getattr(first, name):
            table[name] = _plain(getattr(point, name))
    return table | _given(point, ("reference", "indication", "dof"))
