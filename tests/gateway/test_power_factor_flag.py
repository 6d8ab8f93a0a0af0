"""Why a reading says POWER_FACTOR_UNKNOWN beside an indicated power factor: it is the total's, and no phase's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import evidence
from calibration.operating import operating_point
from calibration.state import CalibrationState
from evidence import record
from tests.central.recorded import Recorder, S, site


def test_the_flag_is_of_the_phase_powers_and_the_words_say_so(tmp_path) -> None:
    recorder = Recorder(site(tmp_path / "site"), tmp_path / "data", aggregate_us=300 * S)

    async def run():
        for _ in range(3):
            await recorder.minute()
        recorder.commit()

    asyncio.run(run())
    entries = [record.decode(data) for _, data in recorder.entries()]
    recorder.store.close()
    reading = next(r for r in entries if isinstance(r, record.Reading) and r.instrument == "carding")
    state = entries[reading.state.index]
    assert isinstance(state, record.CalibrationState)
    values = {name: float(text) for name, text in reading.indications.items()}
    compiled = CalibrationState.from_json(bytes(state.body))

    def flags(measurand: str) -> tuple[str, ...]:
        load, factor = operating_point(measurand.rpartition(".")[2], values, {}, compiled)
        result = compiled.correct(measurand, values[measurand], load_a=load, power_factor=factor)
        assert result is not None
        return tuple(map(str, result.flags))

    assert "power_factor.total" in values
    assert "POWER_FACTOR_UNKNOWN" in reading.flags
    assert "POWER_FACTOR_UNKNOWN" not in flags("power.active.total")
    assert all("POWER_FACTOR_UNKNOWN" in flags(f"power.active.l{n}") for n in (1, 2, 3))
    words = Path(evidence.__file__).parent / "page" / "words.js"
    (line,) = [one for one in words.read_text().splitlines() if "POWER_FACTOR_UNKNOWN:" in one]
    assert "for a phase's power, that of the phase" in line
    assert "分相功率须有该相的" in line
