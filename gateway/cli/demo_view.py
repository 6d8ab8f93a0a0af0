"""What the demo shows: a live table of measuring points, then a summary. Numbers are rounded here and only here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from calibration.coverage import rounded
from gateway.words import measurand_name, phrase

if TYPE_CHECKING:
    from gateway.agent import Agent
    from gateway.cli.demo_summary import Channel, Summary
    from gateway.status import AgentStatus, InstrumentStatus, MeasurandStatus

SHOWN = ("power.active.total", "voltage.l1", "current.l1", "energy.active.import")
UNITS = {"power.active.total": "kW", "voltage.l1": "V", "current.l1": "A", "energy.active.import": "kWh"}
K = 2.0
EVERY_S = 0.5
TALK_EVERY_S = 10.0
NBSP = "\u00a0"


class Screen:
    """The terminal: a live table where there is one, a line now and then where there is not."""

    def __init__(self, *, live: bool, quiet: bool, record: bool) -> None:
        width = 96 if record and not live else None
        self._console = Console(record=record, width=width, stderr=quiet, quiet=quiet and not record)
        self._live = live
        self._quiet = quiet
        self._last: RenderableType | None = None

    async def show(self, agent: Agent) -> None:
        """Show until cancelled."""
        if not self._live:
            await self._talk(agent)
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                self._last = table(agent.status())
                live.update(self._last, refresh=True)
                await asyncio.sleep(EVERY_S)

    async def _talk(self, agent: Agent) -> None:
        while True:
            await asyncio.sleep(TALK_EVERY_S if self._last else EVERY_S * 8)
            status = agent.status()
            self._last = table(status)
            if not self._quiet:
                self._console.print(_footer(status))

    def summary(self, summary: Summary) -> None:
        """Print the end."""
        if self._last is not None:
            self._console.print(self._last)
        self._console.print(_energies(summary.channels))
        self._console.print(
            phrase("demo.readings", taken=summary.readings, missed=summary.missed)
            + "; "
            + phrase("demo.log", size=summary.ran.size, checkpoint=summary.report.size)
            + "; "
            + phrase("demo.receipts", receipts=summary.ran.receipts)
        )
        if summary.ok:
            self._console.print(phrase("demo.verdict.good", entries=summary.report.size), style="bold green")
        else:
            why = "; ".join(summary.reasons)
            self._console.print(phrase("demo.verdict.bad", why=why), style="bold red")

    def save(self, path: Path) -> None:
        """Everything printed, as SVG that fetches nothing: the reader's own monospace font will do."""
        drawn = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        self._console.save_svg(str(path), title="suyuan demo", code_format=drawn)


def table(status: AgentStatus) -> RenderableType:
    """The measuring points with value ± U, and the state of log and receipts."""
    points = Table(title=phrase("demo.title"), box=box.SIMPLE_HEAD, padding=(0, 1))
    points.add_column(phrase("demo.channel"), no_wrap=True)
    for measurand in SHOWN:
        points.add_column(f"{measurand_name(measurand)}\n{UNITS[measurand]}", justify="right")
    for instrument in status.instruments:
        by_name = {measurand.measurand: measurand for measurand in instrument.measurands}
        points.add_row(_point(instrument), *(_cell(by_name.get(name)) for name in SHOWN))
    return Group(points, Panel(_footer(status), subtitle=phrase("demo.stop")))


def _point(instrument: InstrumentStatus) -> Text:
    return Text(instrument.instrument, style="bold yellow" if instrument.stale else "bold")


def _cell(measurand: MeasurandStatus | None) -> str | Text:
    """Value ± U where there is a result; dim without ± where there is an indication only, as of a register."""
    if measurand is None:
        return Text("–", style="dim")
    if measurand.missing is not None:
        return Text(measurand.missing, style="yellow")
    if measurand.measurand.startswith("energy.") or measurand.value is None or measurand.u is None:
        return Text(str(measurand.value or measurand.indication), style="dim")
    value, expanded = rounded(measurand.value, K * float(measurand.u))
    return f"{value}{NBSP}±{NBSP}{expanded}"


def _footer(status: AgentStatus) -> str:
    parts = [
        phrase("demo.log", size=status.size, checkpoint=status.checkpoint),
        phrase(
            "demo.readings",
            taken=sum(i.received for i in status.instruments),
            missed=sum(i.missed for i in status.instruments),
        ),
        phrase("demo.window", entries=status.unacknowledged),
    ]
    if status.receipts:
        newest = max(status.receipts, key=lambda receipt: receipt.size)
        age = round((status.utc_us - newest.received_us) / 1e6)
        parts.append(phrase("demo.receipt", size=newest.size, age=age))
    else:
        parts.append(phrase("demo.noreceipt"))
    return "   ".join(parts)


def _energies(channels: Sequence[Channel]) -> Table:
    energies = Table(title=phrase("demo.summary"), box=box.SIMPLE_HEAD, padding=(0, 1))
    energies.add_column(phrase("demo.channel"), no_wrap=True)
    energies.add_column(phrase("demo.direction"))
    for key in ("demo.energy", "demo.truth", "demo.deviation", "demo.covered"):
        energies.add_column(phrase(key), justify="right")
    for channel in channels:
        total = channel.total
        if total.value == 0 and channel.truth == 0:
            continue
        value, expanded = rounded(total.value, K * total.u)
        places = len(expanded.partition(".")[2]) + 1
        known, style = ("demo.yes", "green") if channel.covered else ("demo.no", "bold red")
        energies.add_row(
            Text(total.instrument, style="bold"),
            phrase(f"demo.direction.{total.measurand.rpartition('.')[2]}"),
            f"{value}{NBSP}±{NBSP}{expanded}{NBSP}{total.unit}",
            f"{channel.truth:.{places}f}",
            f"{total.value - channel.truth:+.{places}f}",
            Text(phrase(known), style=style),
        )
    return energies
