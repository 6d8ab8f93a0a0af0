"""What the agent knows of itself at one instant: an immutable snapshot for screens, ``/status`` and ``/metrics``.

Values in it are durable: a reading is shown after the commit that holds it, never before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class MeasurandStatus:
    """The newest durable reading of one measurand. ``value`` and ``u`` are None where there is no result."""

    measurand: str
    unit: str
    indication: str | None
    value: str | None
    u: str | None
    missing: str | None


@dataclass(frozen=True, slots=True)
class InstrumentStatus:
    """One instrument: its newest reading, and how many of its polls gave one.

    ``stale``: no reading for three periods. ``state`` is the digest of the calibration state.
    """

    instrument: str
    bus: str
    number: int
    received: int
    missed: int
    utc_us: int | None
    index: int | None
    stale: bool
    state: str
    flags: tuple[str, ...]
    measurands: tuple[MeasurandStatus, ...]


@dataclass(frozen=True, slots=True)
class BusStatus:
    """One line: lost answers by address and cause, and the share of time for which it was in use."""

    name: str
    port: str
    counts: Mapping[str, Mapping[str, int]]
    exchanges: int
    line_time_us: int
    busy_us: int
    busy_share: float
    failures: int
    freeze: Mapping[str, str] | None = (
        None  # who allowed its meters to be frozen by broadcast, when, how often
    )


@dataclass(frozen=True, slots=True)
class ReceiptStatus:
    """The newest receipt of one platform."""

    platform: str
    size: int
    received_us: int


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """The whole agent.

    ``window_s``: readings younger than this may be lost with the power (the open commit). ``unacknowledged``: entries
    that no platform has confirmed; root on this box could still rewrite those, so ``rewrite_window_s`` is their age.
    ``buffer_hours``: how long the disk lasts at the present rate; None until a rate is known.
    """

    origin: str
    software: str
    utc_us: int
    started_us: int
    clock: str
    clock_error_us: int | None
    size: int
    checkpoint: int
    unacknowledged: int
    rewrite_window_s: float | None
    window_s: float
    receipts: tuple[ReceiptStatus, ...]
    buffer_hours: float | None
    bytes_per_record: float | None
    log_bytes: int
    alarms: tuple[str, ...]
    instruments: tuple[InstrumentStatus, ...]
    buses: tuple[BusStatus, ...] = field(default=())
    platforms: tuple[str, ...] = ()  # whose receipts count, also those that have given none


def metrics(status: AgentStatus) -> str:
    """The status as Prometheus text (exposition format 0.0.4)."""
    lines: list[str] = []

    def family(name: str, kind: str, text: str, samples: list[tuple[dict[str, str], Any]]) -> None:
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines.append(f"# HELP suyuan_{name} {text}")
            lines.append(f"# TYPE suyuan_{name} {kind}")
            lines.extend(f"suyuan_{name}{_labels(labels)} {value}" for labels, value in known)

    none: dict[str, str] = {}
    family("log_entries", "counter", "Durable entries of the log.", [(none, status.size)])
    family("checkpoint_entries", "gauge", "Entries under the newest checkpoint.", [(none, status.checkpoint)])
    family(
        "unacknowledged_entries",
        "gauge",
        "Entries that no platform has confirmed.",
        [(none, status.unacknowledged)],
    )
    family(
        "rewrite_window_seconds",
        "gauge",
        "Age of what no platform has seen.",
        [(none, status.rewrite_window_s)],
    )
    family("loss_window_seconds", "gauge", "Time between two commits.", [(none, status.window_s)])
    family(
        "buffer_hours", "gauge", "How long the disk lasts at the present rate.", [(none, status.buffer_hours)]
    )
    family(
        "written_bytes_per_entry",
        "gauge",
        "Bytes written to the medium per entry.",
        [(none, status.bytes_per_record)],
    )
    family("log_bytes", "gauge", "Size of the log's files.", [(none, status.log_bytes)])
    family("start_time_seconds", "gauge", "When the agent started.", [(none, status.started_us / 1e6)])
    family("clock_error_seconds", "gauge", "Bound of the clock's error.",
           [(none, None if status.clock_error_us is None else status.clock_error_us / 1e6)])  # fmt: skip
    family("alarm", "gauge", "Alarms that stand.", [({"alarm": alarm}, 1) for alarm in status.alarms])
    family("receipt_entries", "gauge", "Entries that a platform confirmed.",
           [({"platform": r.platform}, r.size) for r in status.receipts])  # fmt: skip
    by = [({"instrument": i.instrument, "bus": i.bus}, i) for i in status.instruments]
    family("readings_total", "counter", "Readings taken.", [(labels, i.received) for labels, i in by])
    family(
        "missed_polls_total",
        "counter",
        "Scheduled polls without a reading.",
        [(labels, i.missed) for labels, i in by],
    )
    family(
        "instrument_stale",
        "gauge",
        "1: no reading for three periods.",
        [(labels, int(i.stale)) for labels, i in by],
    )
    family("last_reading_seconds", "gauge", "When the newest durable reading was taken.",
           [(labels, None if i.utc_us is None else i.utc_us / 1e6) for labels, i in by])  # fmt: skip
    family(
        "bus_exchanges_total",
        "counter",
        "Exchanges on a line.",
        [({"bus": b.name}, b.exchanges) for b in status.buses],
    )
    family("bus_busy_seconds_total", "counter", "Time for which a line was in use.",
           [({"bus": b.name}, b.busy_us / 1e6) for b in status.buses])  # fmt: skip
    family("bus_failures_total", "counter", "Times that a line's task failed and was started again.",
           [({"bus": b.name}, b.failures) for b in status.buses])  # fmt: skip
    family("lost_answers_total", "counter", "Lost answers by address and cause.",
           [({"bus": b.name, "address": a, "cause": c}, n) for b in status.buses for a, cs in b.counts.items()
            for c, n in cs.items()])  # fmt: skip
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = {k: v.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for k, v in labels.items()}
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped.items()) + "}"
