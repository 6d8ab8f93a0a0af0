"""The demo plant: a chain of certificates without loose ends, loads with many counts a minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from calibration.certificate import CertificateKind, InstrumentKind
from calibration.register import Register
from sim.demo import PERFORMED, demo_certificates, demo_instruments, demo_spec
from sim.site import SimSite
from sim.world import DAY_US, EPOCH_US

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path) -> SimSite:
    return SimSite(demo_spec(tmp_path, seed=2), now_us=lambda: EPOCH_US + 300 * DAY_US)


def test_every_instrument_has_its_certificate_and_every_reference_is_known(site: SimSite) -> None:
    instruments = {i.id: i for i in demo_instruments(site)}
    papers = demo_certificates(site)
    assert {p.instrument for p in papers} == set(instruments)
    assert len({p.id for p in papers}) == len(papers)
    by_id = {p.id: p for p in papers}
    for paper in papers:
        for used in paper.references:
            assert instruments[used.standard].kind == InstrumentKind.REFERENCE_STANDARD
            assert by_id[used.certificate].instrument == used.standard
            assert by_id[used.certificate].national
            assert by_id[used.certificate].performed < paper.performed


def test_calibrated_meters_share_one_standard_and_one_meter_is_only_verified(site: SimSite) -> None:
    meters = [p for p in demo_certificates(site) if p.instrument in site.meters]
    kinds = [p.kind for p in meters]
    assert kinds.count(CertificateKind.CALIBRATION) == 4
    assert kinds.count(CertificateKind.VERIFICATION) == 1
    assert len({used.standard for p in meters for used in p.references}) == 1


def test_every_paper_says_that_it_is_simulated(site: SimSite) -> None:
    assert all("imulated" in p.laboratory for p in demo_certificates(site))


def test_meters_stand_behind_their_transformers_as_the_register_means_it(site: SimSite) -> None:
    instruments = {i.id: i for i in demo_instruments(site)}
    behind = {i.id: (i.parent, instruments[i.parent].ratio) for i in instruments.values() if i.parent}
    assert behind == {
        "carding": ("carding-ct", Decimal(80)),
        "potline-1": ("potline-1-ct", Decimal(400)),
    }


def test_the_register_compiles_a_meter_with_the_transformer_before_it(site: SimSite, tmp_path: Path) -> None:
    with Register.open(tmp_path / "register.sqlite", now=lambda: NOON) as register:
        register.add(
            instruments=demo_instruments(site), certificates=demo_certificates(site), actor="the demo"
        )
        for meter, transformers in (
            ("potline-1", ["potline-1-ct"]),
            ("carding", ["carding-ct"]),
            ("workshop", []),
        ):
            inputs = register.compile_inputs(meter, PERFORMED + timedelta(days=30))
            assert [t.id for t in inputs.transformers] == transformers


def test_a_minutes_energy_is_many_counts(site: SimSite) -> None:
    for meter in site.meters.values():
        for hour in range(24):
            t = EPOCH_US + 300 * DAY_US + hour * 3_600_000_000
            counts = meter.indicated_energy(t, t + 60_000_000)[0] / float(meter.step)
            assert counts > 15


def test_the_seed_changes_the_plant_and_repeats_it(tmp_path: Path) -> None:
    def papers(seed: int) -> list[object]:
        return list(demo_certificates(SimSite(demo_spec(tmp_path, seed=seed), now_us=lambda: EPOCH_US)))

    assert papers(3) == papers(3)
    assert papers(3) != papers(4)
