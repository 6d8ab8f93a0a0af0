"""How the platform's store lies in PostgreSQL: its tables, their partitions by month, and what the server must promise.

Readings and aggregates lie in partitions of a month, or in the chunks of TimescaleDB where the database has it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from .store import StoreError

VERSION: Final = 1
PARTITIONED: Final = {"reading": "utc_us", "aggregate": "from_us"}
_LAYING: Final = 0x5375_5975  # advisory lock: one lays tables or partitions at a time
Connection = psycopg.Connection[TupleRow]


def check_durable(db: Connection) -> None:
    """Raises StoreError if the server is set to lose what it has committed."""
    for setting, wrong in (("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")):
        row = db.execute(sql.SQL("SHOW {}").format(sql.Identifier(setting))).fetchone()
        if row is not None and row[0] == wrong:
            raise StoreError(
                f"the server runs with {setting}=off: a receipt would promise what a power cut takes back. "
                f"Set {setting}=on"
            )


def lay(db: Connection) -> None:
    """Make the tables, if they are not there. Raises StoreError for tables of another version or of something else."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (_LAYING,))
    if one(db, "SELECT to_regclass('suyuan') IS NOT NULL"):
        version = one(db, "SELECT version FROM suyuan")
        if version != VERSION:
            raise StoreError(f"the database was laid out by another version of this program ({version})")
        return
    if one(db, "SELECT to_regclass('gateway') IS NOT NULL"):
        raise StoreError("the database holds tables of something else; give the platform one of its own")
    tables = resources.files("central").joinpath("postgres.sql").read_text("utf-8")
    hyper = one(db, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")
    if hyper:
        for column in PARTITIONED.values():
            tables = tables.replace(f" PARTITION BY RANGE ({column})", "")
    db.execute(tables.encode())
    for table, column in PARTITIONED.items():
        if hyper:
            month_us = 30 * 86_400 * 1_000_000
            db.execute(
                "SELECT create_hypertable(%s, %s, chunk_time_interval => %s)", (table, column, month_us)
            )
        else:
            name = sql.Identifier(f"{table}_otherwise")
            make = sql.SQL("CREATE TABLE {} PARTITION OF {} DEFAULT")
            db.execute(make.format(name, sql.Identifier(table)))


def months_made(db: Connection) -> set[int] | None:
    """Months that have their partitions; None where the engine makes its own."""
    if one(db, "SELECT relkind::text FROM pg_class WHERE oid = 'reading'::regclass") != "p":
        return None
    names = db.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'aggregate'::regclass AND c.relname ~ '_[0-9]{4}_[0-9]{2}$'"
    )
    return {int(name[-7:-3]) * 12 + int(name[-2:]) - 1 for (name,) in names}


def make_month(db: Connection, month: int) -> None:
    """The partitions of a month (:func:`month_of`), if they are not there."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (_LAYING,))
    for table in PARTITIONED:
        _partition(db, table, month)


def _partition(db: Connection, table: str, month: int) -> None:
    name = f"{table}_{month // 12}_{month % 12 + 1:02}"
    if one(db, "SELECT to_regclass(%s) IS NOT NULL", name):
        return
    make = sql.SQL("CREATE TABLE {0} (LIKE {1} INCLUDING ALL)")
    # attached, not made as a part: that locks nobody out who reads or writes the other months
    attach = sql.SQL("ALTER TABLE {1} ATTACH PARTITION {0} FOR VALUES FROM ({2}) TO ({3})")
    names = sql.Identifier(name), sql.Identifier(table)
    period = _begins(month), _begins(month + 1)
    db.execute(make.format(*names))
    # what clocks that ran ahead have left in the partition for the rest belongs here now
    rest = sql.Identifier(f"{table}_otherwise")
    move = sql.SQL(
        "WITH moved AS (DELETE FROM {rest} WHERE {column} >= %s AND {column} < %s RETURNING *) "
        "INSERT INTO {name} SELECT * FROM moved"
    )
    column = sql.Identifier(PARTITIONED[table])
    db.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(rest))
    db.execute(move.format(rest=rest, column=column, name=names[0]), period)
    db.execute(attach.format(*names, *period))


def month_of(us: int) -> int:
    """The month (UTC) in which an instant lies, counted from year 0."""
    when = datetime.fromtimestamp(us // 1_000_000, UTC)
    return when.year * 12 + when.month - 1


def _begins(month: int) -> int:
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def one(db: Connection, query: str, *values: object) -> Any:
    """The first column of the first row; None if there is no row."""
    row = db.execute(query.encode(), values).fetchone()
    return None if row is None else row[0]
