"""What an agent loads: a Raspberry Pi shares its memory with everything else on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.calibration.test_energy import state_of

# Every scalar path of an agent under a calibration state, in a process of its own.
PROGRAM = """
import sys
from decimal import Decimal
from pathlib import Path
import gateway.agent, gateway.cli.running
from calibration.energy import EnergyTotal, add_up
from calibration.state import CalibrationState
made = CalibrationState.from_json(Path(sys.argv[1]).read_bytes())
for load in (2.0, None):
    assert made.correct("power.active.total", 4.2, load_a=load, power_factor=0.8).u > 0
    assert made.contributions("power.active.total", 4.2, load_a=load, power_factor=0.8).u > 0
total = EnergyTotal(made, "energy.active.import")
for k in range(5):
    total.add(Decimal(k), k * 60_000_000, load_a=2.0 if k % 2 else None, power_factor=0.8)
total.extend([Decimal(7), Decimal(8)], [300_000_000, 360_000_000], load_a=[2.0, 3.0], power_factor=0.8)
assert add_up([total.result(), total.result()]).u > 0
print([name for name in ("numpy", "sqlite_utils", "central", "sim", "rich") if name in sys.modules])
"""


def test_an_agent_corrects_and_adds_up_without_what_it_does_not_need(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(state_of().to_json())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"
