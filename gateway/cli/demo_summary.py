"""What the demo ends with: the platform's verified entries held against the simulator's truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence.command import directory_reader
from evidence.findings import Report
from evidence.note import Verifier
from evidence.record import Aggregate, decode
from evidence.verify import verify_log
from gateway.cli.simulated_site import simulated
from gateway.cli.totals import RunTotal, run_totals
from gateway.config import SiteFile

if TYPE_CHECKING:
    from central.collect import Outcome


@dataclass(frozen=True, slots=True)
class Ran:
    """What is left when everything has stopped: the agent's last word, and the platform's."""

    vkey: str
    store: Path
    size: int
    last: Outcome
    receipts: int
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel's energy beside the truth between the same two instants, kWh, primary side."""

    total: RunTotal
    truth: float

    @property
    def covered(self) -> bool:
        """Whether the truth lies within ± U, k = 2."""
        return self.total.covers(self.truth)


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a demo. ``ok``: the platform verified all, nothing is lost."""

    ran: Ran
    report: Report
    channels: tuple[Channel, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is no; empty if it is yes."""
        found = [str(finding) for finding in self.report.findings if finding.severity.value == "error"]
        if self.ran.last.alarm or self.ran.last.error:
            found.append(f"{self.ran.last.alarm} {self.ran.last.error}".strip())
        if self.report.size != self.ran.size:
            found.append(f"the platform has {self.report.size} of {self.ran.size} entries")
        if not self.ran.last.receipt:
            found.append("the last receipt did not arrive")
        if not self.channels:
            found.append("no energy was registered: the run was too short")
        return tuple(found)

    @property
    def readings(self) -> int:
        """Polls with a reading, as the verified log counts them."""
        return sum(c.received for c in self.report.instruments.values())

    @property
    def missed(self) -> int:
        """Polls in gaps, each with its reason; those that the end of the run cut off are among them."""
        return sum(c.missed for c in self.report.instruments.values())

    @property
    def ok(self) -> bool:
        """Whether all is verified and nothing lost."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """The summary for programs."""
        return {
            "ok": self.ok,
            "reasons": list(self.reasons),
            "readings": self.readings,
            "missed": self.missed,
            "log_size": self.ran.size,
            "verified": self.report.size,
            "receipts": self.ran.receipts,
            "channels": [
                {
                    "instrument": c.total.instrument,
                    "measurand": c.total.measurand,
                    "unit": c.total.unit,
                    "from_us": c.total.from_us,
                    "to_us": c.total.to_us,
                    "energy": c.total.value,
                    "U": 2 * c.total.u,
                    "k": 2,
                    "truth": c.truth,
                    "covered": c.covered,
                    "missing": c.total.missing,
                    "flags": list(c.total.flags),
                }
                for c in self.channels
            ],
        }


def summarise(site: SiteFile, ran: Ran, directory: Path) -> Summary:
    """Verify the platform's own copy, add up its aggregates, ask the simulator what was true."""
    from central.mirror import mirror
    from central.store import Store
    from sim.site import SimSite

    with Store(ran.store / "store") as store:
        gateway = next(iter(store.gateways()))
        mirror(store, gateway, directory / "mirror")
        records = [decode(entry) for entry in store.entries(gateway)]
    report = verify_log(directory_reader(directory / "mirror"), Verifier.parse(ran.vkey))
    truth = SimSite(simulated(site))
    channels = []
    for total in run_totals(record for record in records if isinstance(record, Aggregate)):
        energy = truth.energy(total.instrument, total.from_us, total.to_us)
        true = {
            "energy.active.import": energy.active_import,
            "energy.active.export": energy.active_export,
        }.get(total.measurand)
        if true is not None:
            channels.append(Channel(total, true))
    return Summary(ran, report, tuple(channels))
