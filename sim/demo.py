"""The demo plant: five meters of four kinds on three lines, with a chain of simulated calibration certificates.

Everything on paper is simulated and says so by name. Two things are there to be seen: all calibrated meters
share one reference standard (so their errors are correlated), and one meter has a verification certificate
only (class, no U).
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from calibration.certificate import Certificate, Instrument, InstrumentKind
from sim.faults import Scenario
from sim.instrument import Meter, Transformer
from sim.laboratory import Laboratory, ReferenceStandard, calibrate, calibrate_transformer, verification
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

PERFORMED = date(2026, 3, 2)
_INSTITUTE = "Simulated National Institute of Metrology (not a real institute)"
_LABORATORY = "Simulated Electricity Laboratory (not a real laboratory)"
_ACCREDITATION = "SIM-L0001 (simulated)"


def demo_spec(directory: Path, seed: int = 1, scenario: Scenario | None = None) -> SimSiteSpec:
    """The demo plant, its serial lines offered under ``directory``."""
    # Energy registers count 0.01 kWh: on the direct-connected meters, and on the primary side of those behind
    # a CT, a minute's energy is many counts; on the secondary side of a CT it would be five.
    meters = SimBus(
        "rs485-1",
        "dlt645-2007",
        str(directory / "rs485-1"),
        (
            SimMeter(
                id="spinning",
                address="202600000011",
                profile="dlt645-2007-three-phase",
                preset="mill",
                seed=seed,
                accuracy_class="1",
                rated_current="50",
                maximum_current="60",
                start_kwh=Decimal("120034.80"),
            ),
            SimMeter(
                id="anode-shop",
                address="202600000012",
                profile="dlt645-2007-three-phase",
                preset="potline",
                seed=seed,
                accuracy_class="1",
                rated_current="80",
                maximum_current="100",
                start_kwh=Decimal("4711.25"),
            ),
        ),
    )
    modbus = SimBus(
        "rs485-2",
        "modbus-rtu",
        str(directory / "rs485-2"),
        (
            SimMeter(
                id="carding",
                address="1",
                profile="eastron-sdm630",
                preset="mill",
                seed=seed,
                accuracy_class="0.5",
                ct="400/5",
                ct_class="0.5",
                modulus=Decimal(100_000),  # beyond this a 32-bit float no longer carries 0.01 kWh
                start_kwh=Decimal("3390.12"),
            ),
            SimMeter(
                id="workshop",
                address="2",
                profile="chint-dtsu666",
                preset="mill",
                seed=seed,
                accuracy_class="1",
                rated_current="80",
                maximum_current="100",
                modulus=Decimal(100_000),
                start_kwh=Decimal("812.40"),
            ),
        ),
    )
    tcp = SimBus(
        "lan-1",
        "modbus-tcp",
        "tcp://127.0.0.1:0",
        (
            SimMeter(
                id="potline-1",
                address="1",
                profile="schneider-iem3000",
                preset="potline",
                seed=seed,
                accuracy_class="0.5S",
                ct="2000/5",
                step=Decimal("0.001"),
                modulus=Decimal(10**9),
                start_kwh=Decimal("250000.5"),
            ),
        ),
        reply_ms=5,
    )
    return SimSiteSpec(seed, (meters, modbus, tcp), scenario or Scenario())


# What has a verification certificate only: a meter, and the CT of another.
_VERIFIED_ONLY = frozenset(("workshop", "carding-ct"))


def _standards(seed: int, performed: date) -> dict[str, ReferenceStandard]:
    before = performed - timedelta(days=150)
    return {
        kind: ReferenceStandard(
            id=f"SIM-STD-{kind.upper()}",
            institute=_INSTITUTE,
            certificate=f"SIM-NMI-{before.year}-{number}",
            performed=before,
            u=Decimal("0.010"),
            u_phase=Decimal("0.20"),
            seed=seed,
            kind=kind,
        )
        for kind, number in (("meter", "0017"), ("ct", "0018"), ("pt", "0019"))
    }


def demo_instruments(site: SimSite, performed: date = PERFORMED) -> list[Instrument]:
    """The register of instruments: meters, their CTs and PTs (``<meter>-ct``, ``<meter>-pt``), the standards."""
    found: list[Instrument] = []
    for id_, spec in site.spec.meters.items():
        meter = site.meters[id_]
        found.append(
            Instrument(
                id_,
                InstrumentKind.METER,
                manufacturer="Simulated",
                model=spec.profile,
                serial=meter.number,
                accuracy_class=spec.accuracy_class,
                rated_voltage=Decimal(spec.rated_voltage),
                rated_current=Decimal(spec.rated_current),
                maximum_current=Decimal(spec.maximum_current),
                parent=_behind(meter, "meter"),
            )
        )
        nameplates = {"ct": spec.ct, "pt": spec.pt}
        found += [_transformer(meter, t, nameplates[t.kind]) for t in (meter.ct, meter.pt) if t]
    standards = _standards(site.spec.seed, performed)
    used = _kinds_calibrated(site)
    return found + [standard.instrument() for kind, standard in standards.items() if kind in used]


def _behind(meter: Meter, kind: str) -> str:
    """What stands before an instrument of a measuring point: its CT before a meter, its PT before a CT; or nothing."""
    before = [t.kind for t in (meter.ct, meter.pt) if t is not None]
    before = before if kind == "meter" else before[before.index(kind) + 1 :]
    return f"{meter.id}-{before[0]}" if before else ""


def _transformer(meter: Meter, transformer: Transformer, nameplate: str) -> Instrument:
    primary, _, secondary = nameplate.partition("/")
    rated = Decimal(secondary or "1")
    return Instrument(
        f"{meter.id}-{transformer.kind}",
        InstrumentKind(transformer.kind),
        manufacturer="Simulated",
        model=nameplate,
        serial=f"SIM-{transformer.kind.upper()}-{meter.number[-4:]}",
        accuracy_class=transformer.accuracy_class,
        rated_current=rated if transformer.kind == "ct" else None,
        rated_voltage=rated if transformer.kind == "pt" else None,
        ratio=Decimal(primary) / rated,
        parent=_behind(meter, transformer.kind),
    )


def _pieces(site: SimSite) -> list[tuple[str, str, Meter | Transformer]]:
    """Everything that gets a certificate: instrument id, kind of standard, the thing itself."""
    found: list[tuple[str, str, Meter | Transformer]] = []
    for meter in site.meters.values():
        found.append((meter.id, "meter", meter))
        found += [(f"{meter.id}-{t.kind}", t.kind, t) for t in (meter.ct, meter.pt) if t]
    return found


def _kinds_calibrated(site: SimSite) -> frozenset[str]:
    return frozenset(kind for id_, kind, _ in _pieces(site) if id_ not in _VERIFIED_ONLY)


def demo_certificates(site: SimSite, performed: date = PERFORMED) -> list[Certificate]:
    """The certificates of all meters, transformers and reference standards, as determined from the site's truth."""
    standards = _standards(site.spec.seed, performed)
    until = performed.replace(year=performed.year + 6, day=min(performed.day, 28))
    found: list[Certificate] = []
    for n, (id_, kind, thing) in enumerate(_pieces(site), start=1):
        number = f"SIM-{performed.year}-{n:04d}"
        laboratory = Laboratory(_LABORATORY, _ACCREDITATION, standards[kind], performed=performed)
        if id_ in _VERIFIED_ONLY:
            found.append(verification(id_, thing.accuracy_class, number, _LABORATORY, performed, until))
        elif isinstance(thing, Meter):
            found.append(calibrate(thing, laboratory, number))
        else:
            found.append(calibrate_transformer(thing, id_, laboratory, number))
    used = _kinds_calibrated(site)
    return found + [standard.own_certificate() for kind, standard in standards.items() if kind in used]
