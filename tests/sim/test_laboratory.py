"""The simulated laboratory: what its certificates say covers the truth as often as they claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from calibration.certificate import CertificateKind
from sim.instrument import ARC_MINUTE, Electronics, Meter, Transformer
from sim.laboratory import (
    LOADS,
    POWER_FACTORS,
    Laboratory,
    ReferenceStandard,
    calibrate,
    calibrate_transformer,
    true_energy_error,
    verification,
)
from sim.world import Plant

MakeMeter = Callable[..., Meter]
DAY = date(2026, 3, 2)


def standard(seed: int = 1, kind: str = "meter") -> ReferenceStandard:
    return ReferenceStandard(
        "STD", "Institute", "NMI-1", date(2025, 9, 1), Decimal("0.010"), Decimal("0.20"), seed, kind
    )


def laboratory(seed: int = 1, kind: str = "meter") -> Laboratory:
    return Laboratory("Lab", "L1", standard(seed, kind), performed=DAY)


def test_a_certificate_covers_load_and_power_factor_and_names_its_standard(make_meter: MakeMeter) -> None:
    paper = calibrate(make_meter(), laboratory(), "C1")
    energy = [p for p in paper.points if p.quantity == "energy.active"]
    assert [(p.load, p.power_factor) for p in energy] == [
        (5 * Decimal(load), Decimal(pf)) for pf in POWER_FACTORS for load in LOADS
    ]
    assert {p.load_unit for p in energy} == {"A"}
    assert {p.k for p in paper.points} == {Decimal(2)}
    assert {p.quantity for p in paper.points} == {"energy.active", "voltage", "current"}
    (used,) = paper.references
    assert (used.standard, used.certificate, used.share) == ("STD", "NMI-1", Decimal("0.010"))
    assert all(p.U / p.k > used.share for p in paper.points)
    assert (paper.kind, paper.instrument, paper.performed) == (CertificateKind.CALIBRATION, "m1", DAY)
    assert paper == calibrate(make_meter(), laboratory(), "C1")


def test_the_stated_intervals_cover_the_true_errors_as_often_as_k_2_promises(make_meter: MakeMeter) -> None:
    """Over many laboratories: at a fixed point, about 95 % of the intervals hold the truth."""
    meter = make_meter()
    truth = true_energy_error(meter, 1.0, 1.0)
    held = 0
    for seed in range(400):
        (point,) = (
            p
            for p in calibrate(meter, laboratory(seed), f"C{seed}").points
            if p.quantity == "energy.active" and p.load == 5 and p.power_factor == 1
        )
        held += abs(float(point.error) - truth) <= float(point.U)
    assert 370 <= held <= 396


def test_one_laboratorys_certificates_share_their_standards_error(make_meter: MakeMeter) -> None:
    """Errors of determination at one laboratory agree with each other and with the standard's residual."""
    lab = laboratory(3)
    off = []
    for n in range(60):
        meter = make_meter(f"m{n}")
        for point in calibrate(meter, lab, f"C{n}").points:
            if point.quantity == "energy.active":
                truth = true_energy_error(meter, float(point.load) / 5, float(point.power_factor))
                off.append(float(point.error) - truth)
    assert np.mean(off) == pytest.approx(-lab.standard.residual, abs=0.001)
    assert np.std(off) == pytest.approx(float(lab.u_own), rel=0.1)
    assert abs(lab.standard.residual) > 0.002


def test_the_meter_alone_stands_on_the_bench(make_meter: MakeMeter) -> None:
    assert true_energy_error(make_meter(), 1.0, 0.5) == true_energy_error(make_meter(ct=None), 1.0, 0.5)
    assert true_energy_error(make_meter(ct=None, electronics=Electronics()), 0.05, -0.8) == pytest.approx(
        0, abs=1e-12
    )


def test_the_bench_finds_what_the_meter_does_in_service(make_meter: MakeMeter, morning: int) -> None:
    """A balanced load at a known angle: error of energy in service = error at that point on the bench."""
    meter = Meter(
        "s",
        "1",
        Plant(1).feeder("s", "steady", rated_voltage=220, rated_current=5),
        "0.5S",
        Electronics.drawn("0.5S", "s"),
    )
    true = meter.feeder.energy(morning, morning + 1_000_000)
    pf = true.active_import / (true.active_import**2 + true.reactive_import**2) ** 0.5
    in_service = (meter.indicated_energy(morning, morning + 1_000_000)[0] / true.active_import - 1) * 100
    load = meter.feeder.at(morning).current[0] / 5
    assert in_service == pytest.approx(true_energy_error(meter, load, pf), abs=5e-4)


def test_a_drifted_meter_is_found_as_it_has_become(make_meter: MakeMeter) -> None:
    new = make_meter()
    drifting = replace(new, electronics=replace(new.electronics, drift_per_day=1e-5))
    on = date(2026, 1, 1)  # 365 days after the epoch
    grown = true_energy_error(drifting, 1.0, 1.0, on) - true_energy_error(new, 1.0, 1.0, on)
    assert grown == pytest.approx(0.365, rel=0.01)
    papers = [calibrate(meter, laboratory(), "C1").points[4] for meter in (new, drifting)]
    assert float(papers[1].error - papers[0].error) == pytest.approx(0.425, rel=0.02)


def test_a_transformers_certificate_gives_ratio_error_and_phase_displacement() -> None:
    ct = Transformer.drawn("ct", 1000, 5, "0.2S", "x")
    paper = calibrate_transformer(ct, "ct-1", laboratory(kind="ct"), "C9")
    assert {(p.quantity, p.unit) for p in paper.points} == {("ratio", "%"), ("phase", "min")}
    for point in paper.points:
        factor = complex(ct.curve.factor(np.array([float(point.load) / 5]))[0])
        true = (abs(factor) - 1) * 100 if point.quantity == "ratio" else np.angle(factor) / ARC_MINUTE
        assert abs(float(point.error) - true) < 2 * float(point.U)
    pt = calibrate_transformer(Transformer.drawn("pt", 10_000, 100, "0.2", "x"), "pt-1", laboratory(), "C10")
    assert {(p.load, p.load_unit) for p in pt.points} == {(Decimal(n), "V") for n in (80, 100, 120)}


def test_the_chain_ends_at_the_institute() -> None:
    paper = standard().own_certificate()
    assert paper.national
    assert (paper.id, paper.instrument, paper.references) == ("NMI-1", "STD", ())
    assert {p.U / p.k for p in paper.points} == {Decimal("0.010")}


def test_a_verification_certificate_has_a_class_and_no_values() -> None:
    paper = verification("m1", "1", "V1", "Lab", DAY, date(2032, 3, 1))
    assert (paper.kind, paper.accuracy_class, paper.passed) == (CertificateKind.VERIFICATION, "1", True)
    assert paper.points == ()
    assert paper.valid_until == date(2032, 3, 1)
