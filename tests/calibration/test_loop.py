"""Process instruments: analysers and transmitters over their own span, and the input modules behind them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from math import hypot, sqrt

import pytest

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
    TraceabilityError,
)
from calibration.loop import Loop, looped
from calibration.state import CalibrationState, Flag, compile_state

AT = date(2026, 5, 1)
DAY = date(2026, 4, 30)


def certificate(
    instrument: str, quantity: str, unit: str, *points: tuple[str, str, str], share: str | None = None
):
    """``points``: load, error, U (k = 2), all in ``unit`` unless it is %."""
    return Certificate(
        id=f"C-{instrument}",
        kind=CertificateKind.CALIBRATION,
        instrument=instrument,
        laboratory="LAB",
        performed=DAY,
        points=tuple(
            CalibrationPoint(quantity, Decimal(x), "", Decimal(e), Decimal(U), Decimal(2), unit)
            for x, e, U in points
        ),
        references=(ReferenceUse("STD", share=Decimal(0) if share is None else Decimal(share)),),
    )


def state(instrument: Instrument, *certificates: Certificate, **more) -> CalibrationState:
    return compile_state(instrument, certificates, at=AT, **more)


# ---- over their own span ---------------------------------------------------------------------------------------------


def test_an_analyser_is_corrected_over_its_own_indication():
    analyser = Instrument("A1", kind=InstrumentKind.ANALYSER)
    found = state(
        analyser, certificate("A1", "concentration.co2", "%", ("5", "2.0", "1.0"), ("15", "4.0", "1.0"))
    )
    result = found.correct("concentration.co2", Decimal(10))
    assert result.y == pytest.approx(10 / 1.03)
    assert result.u == pytest.approx(0.005 * 10 / 1.03 / 1.03, rel=0.05)
    assert found.correct("concentration.co2", Decimal(40)).flags == (str(Flag.OUTSIDE_CALIBRATED_RANGE),)
    assert found.correct("concentration.ch4", Decimal(10)) is None, "the certificate says nothing of CH4"


@pytest.mark.parametrize(
    ("kind", "measurand", "mpe", "unit", "value", "u"),
    [
        (InstrumentKind.ANALYSER, "concentration.co2", "2", "%FS", "5", 0.02 * 25 / sqrt(3)),
        (InstrumentKind.FLOW, "velocity.gas", "0.1", "m/s", "12", 0.1 / sqrt(3)),
        (InstrumentKind.TEMPERATURE, "temperature.gas", "1.5", "%", "20", 0.3 / sqrt(3)),
        (InstrumentKind.OTHER, "flow.water", "2", "%", "4", 0.08 / sqrt(3)),
    ],
)
def test_an_mpe_alone_gives_an_uncertainty_and_no_correction(kind, measurand, mpe, unit, value, u):
    instrument = Instrument(
        "X", kind=kind, mpe=Decimal(mpe), mpe_unit=unit, range_low=Decimal(0), range_high=Decimal(25)
    )
    result = state(instrument).correct(measurand, Decimal(value))
    assert result.y == pytest.approx(float(value))
    assert result.u == pytest.approx(u, rel=1e-6)
    assert str(Flag.CLASS_ONLY) in result.flags


@pytest.mark.parametrize("measurand", ["volume.water", "volume.gas", "energy.heat", "mass.steam"])
def test_a_cumulative_register_is_a_standing_and_not_a_result(measurand):
    meter = Instrument("W", kind=InstrumentKind.OTHER, mpe=Decimal(2))
    result = state(meter, resolution={measurand: Decimal("0.01")}).correct(measurand, Decimal(123456))
    assert result.kind == "register"
    assert (result.y, result.u) == (123456.0, pytest.approx(0.01 / sqrt(12)))


# ---- with an input module --------------------------------------------------------------------------------------------

TRANSMITTER = Instrument("T1", kind=InstrumentKind.TEMPERATURE)
MODULE = Instrument("AI", kind=InstrumentKind.ANALOGUE_INPUT)
T_CERTIFICATE = certificate("T1", "temperature.gas", "Cel", ("0", "0.5", "0.4"), ("200", "1.5", "0.4"))
M_CERTIFICATE = certificate("AI", "input.1", "mA", ("4", "0.010", "0.004"), ("20", "0.030", "0.004"))


def whole(low="0", high="200", module=M_CERTIFICATE, transmitter=T_CERTIFICATE):
    loop = Loop("input.1", state(TRANSMITTER, transmitter), Decimal(low), Decimal(high))
    return looped(state(MODULE, module), {"temperature.gas": loop})


@pytest.mark.parametrize(("value", "error"), [("0", 0.5 + 0.125), ("200", 1.5 + 0.375), ("100", 1.0 + 0.25)])
def test_errors_of_transmitter_and_module_add_up_over_the_quantity(value, error):
    # the module errs by 0.01 mA at 4 mA and 0.03 mA at 20 mA; 16 mA are 200 Cel: 0.125 Cel and 0.375 Cel
    assert whole().correct("temperature.gas", Decimal(value)).y == pytest.approx(float(value) - error)


def test_uncertainties_of_both_are_there_with_their_own_sources():
    found = whole()
    uncertain = found.contributions("temperature.gas", Decimal(100))
    owners = {found.sources[source].owner for source, c in uncertain.contributions.items() if c}
    assert {"T1", "AI"} <= owners
    alone = hypot(0.2, 0.002 * 200 / 16)
    assert uncertain.u == pytest.approx(alone, rel=0.05)
    assert uncertain.u > alone, "and both drift"
    assert {c.id for c in found.certificates} == {"C-T1", "C-AI"}


def test_a_falling_characteristic_turns_the_modules_curve_round():
    found = whole(low="200", high="0")  # 4 mA is 200 Cel: the module's 0.01 mA there are -0.125 Cel
    assert found.correct("temperature.gas", Decimal(200)).y == pytest.approx(200 - 1.5 + 0.125)
    assert found.correct("temperature.gas", Decimal(0)).y == pytest.approx(0 - 0.5 + 0.375)


def test_errors_in_percent_and_in_units_come_together():
    percent = certificate("T1", "temperature.gas", "%", ("50", "1", "0.4"), ("200", "1", "0.4"))
    found = whole(transmitter=percent)
    assert found.correct("temperature.gas", Decimal(100)).y == pytest.approx(100 - 1.0 - 0.25, abs=0.01)
    assert found.correct("temperature.gas", Decimal(10)).flags == (str(Flag.OUTSIDE_CALIBRATED_RANGE),)


def test_two_transmitters_on_one_module_share_what_it_does_not_know_of_itself():
    second = Instrument("T2", kind=InstrumentKind.TEMPERATURE)
    own = certificate("T2", "temperature.gas", "Cel", ("0", "0", "0.4"), ("200", "0", "0.4"))
    module = state(
        Instrument("AI", kind=InstrumentKind.ANALOGUE_INPUT, mpe=Decimal("0.02"), mpe_unit="mA"),
    )
    found = looped(
        module,
        {
            "temperature.gas": Loop("input.1", state(TRANSMITTER, T_CERTIFICATE), Decimal(0), Decimal(200)),
            "temperature.supply": Loop(
                "input.2",
                state(second, certificate("T2", "temperature.supply", "Cel", *_values(own))),
                Decimal(0),
                Decimal(200),
            ),
        },
    )
    a = found.contributions("temperature.gas", Decimal(100)).contributions
    b = found.contributions("temperature.supply", Decimal(100)).contributions
    shared = set(a) & set(b)
    assert {found.sources[source].owner for source in shared} == {"AI"}
    assert [a[s] for s in shared] == [b[s] for s in shared] == [pytest.approx(-0.25 / sqrt(3))]


def _values(of: Certificate) -> list[tuple[str, str, str]]:
    return [(str(p.load), str(p.error), str(p.U)) for p in of.points]


@pytest.mark.parametrize("unknown", ["transmitter", "transmitter's quantity", "module"])
def test_where_either_is_unknown_there_is_no_result(unknown):
    transmitter = state(TRANSMITTER, T_CERTIFICATE)
    if unknown == "transmitter's quantity":
        transmitter = state(TRANSMITTER, certificate("T1", "pressure.static", "kPa", ("0", "0", "1")))
    module = state(MODULE) if unknown == "module" else state(MODULE, M_CERTIFICATE)
    loop = Loop("input.1", None if unknown == "transmitter" else transmitter, Decimal(0), Decimal(200))
    found = looped(module, {"temperature.gas": loop})
    assert found.correct("temperature.gas", Decimal(100)) is None
    assert Flag.UNCALIBRATED in found.flags


def test_pulses_of_a_meter_keep_the_meters_table():
    meter = Instrument("G1", kind=InstrumentKind.OTHER, mpe=Decimal(1))
    found = looped(state(MODULE), {"volume.gas": Loop("input.1", state(meter))})
    assert found.correction("volume.gas").relative
    assert Flag.UNCALIBRATED not in found.flags


def test_a_meters_table_over_load_is_no_transmitters():
    meter = Instrument("M", accuracy_class="0.5S", rated_current=Decimal(5))
    loop = Loop("input.1", state(meter), Decimal(0), Decimal(100))
    with pytest.raises(TraceabilityError, match="over a load current"):
        looped(state(MODULE, M_CERTIFICATE), {"power.active.total": loop})


def test_the_state_of_a_loop_is_written_and_read_like_any_other():
    found = whole()
    assert CalibrationState.from_json(found.to_json()) == found
