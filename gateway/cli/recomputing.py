"""`--recompute`: the gateway's rules handed to the auditor's recomputation (needs the metrology extra)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from evidence import log, note
from evidence.errors import ParseError
from evidence.findings import Report
from evidence.verify import Read

if TYPE_CHECKING:
    from central.audit import Recomputed


def recomputed(entries: Iterable[tuple[int, bytes]], *, partial: bool = False) -> Recomputed:
    """Every number of these entries again, by the rules that the gateway computed with."""
    from central.audit import recompute
    from gateway.aggregation import Aggregator

    return recompute(entries, Aggregator, partial=partial, jobs=os.cpu_count() or 1)


def entries_of(read: Read) -> Iterator[tuple[int, bytes]]:
    """The entries under a log's checkpoint; what cannot be read is left out (verification has said so)."""
    try:
        size = note.Checkpoint.parse(note.Note.parse(read("checkpoint") or b"").text).size
    except ParseError:
        return
    for tile in log.bundles(size):
        try:
            yield from enumerate(log.decode_bundle(read(tile.path) or b"", tile.width), tile.start)
        except ParseError:
            continue


def joined(report: Report, computed: Recomputed) -> Report:
    """One report of both: what is authentic, and what comes out again."""
    return replace(report, findings=(*report.findings, *computed.findings))
