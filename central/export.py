"""Rows as files for other programs: CSV as text, Parquet in columns. Decimal text in both; floats beside it.

CSV is UTF-8 with a byte order mark, since spreadsheets take it for something else without.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final

Row = dict[str, Any]
CHUNK: Final = 5000
_WHOLE: Final = frozenset(
    {"utc_us", "from_us", "to_us", "entry", "clock", "count", "supersedes", "superseded_by"}
)
_DECIMAL: Final = ("value", "u", "indication")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NAMES: Final = frozenset({"origin", "instrument", "measurand", "unit", "method", "flags"})


def csv_text(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[bytes]:
    """The rows as CSV (RFC 4180), piece by piece. A flag list is joined by spaces; what is not there is empty."""
    yield b"\xef\xbb\xbf" + _lines([columns])
    rows = iter(rows)
    while piece := list(islice(rows, CHUNK)):
        yield _lines([[_cell(name, row[name]) for name in columns] for row in piece])


def parquet_file(columns: Sequence[str], rows: Iterable[Row], out: IO[bytes]) -> None:
    """Write the rows as Parquet. ``value``, ``u`` and ``indication`` are exact text; ``…_float`` are beside them."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    def kind(name: str) -> Any:
        if name == "flags":
            return pa.list_(pa.string())
        # in a table of intervals ``missing`` is a count, in one of readings a reason
        counts = name in _WHOLE or (name == "missing" and "count" in columns)
        return pa.int64() if counts else pa.string()

    fields = [(name, kind(name)) for name in columns]
    fields += [(f"{name}_float", pa.float64()) for name in _DECIMAL if name in columns]
    schema = pa.schema(fields)
    rows = iter(rows)
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while piece := list(islice(rows, CHUNK)):
            for row in piece:
                for name in _DECIMAL:
                    if name in columns:
                        row[f"{name}_float"] = None if row[name] is None else float(row[name])
            writer.write_table(pa.Table.from_pylist(piece, schema))


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(name: str, value: object) -> object:
    if name == "flags":
        value = " ".join(map(str, value)) if isinstance(value, list) else value
    if name in _NAMES and isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value  # a spreadsheet would run it
    return "" if value is None else value
