"""The tables of the platform's store."""

from typing import Final

TABLES: Final = """
CREATE TABLE gateway(
  id INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE, vkey TEXT NOT NULL, size INTEGER NOT NULL DEFAULT 0,
  peaks BLOB NOT NULL DEFAULT x'', sealed_us INTEGER NOT NULL DEFAULT 0, advanced_us INTEGER NOT NULL DEFAULT 0,
  alarm TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE head(
  gateway INTEGER NOT NULL REFERENCES gateway, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL,
  at_us INTEGER NOT NULL, receipt BLOB, posted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (gateway, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE bundle(
  gateway INTEGER NOT NULL, number INTEGER NOT NULL, width INTEGER NOT NULL, packed INTEGER NOT NULL, data BLOB NOT
  NULL, PRIMARY KEY (gateway, number)
) STRICT;
CREATE TABLE instrument(
  id INTEGER PRIMARY KEY, gateway INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL DEFAULT 0,
  entry INTEGER NOT NULL DEFAULT -1, received INTEGER NOT NULL DEFAULT 0, missed INTEGER NOT NULL DEFAULT 0,
  UNIQUE (gateway, name)
) STRICT;
CREATE TABLE reference(
  gateway INTEGER NOT NULL, entry INTEGER NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (gateway,
  entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE key(
  gateway INTEGER NOT NULL, entry INTEGER NOT NULL, vkey TEXT NOT NULL, PRIMARY KEY (gateway, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE reading(
  instrument INTEGER NOT NULL, utc_us INTEGER NOT NULL, entry INTEGER NOT NULL, number INTEGER NOT NULL,
  clock INTEGER NOT NULL, indications TEXT NOT NULL, missing TEXT NOT NULL, results TEXT NOT NULL, flags TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX reading_by_time ON reading(instrument, utc_us, entry);
CREATE VIEW result AS
  SELECT g.origin, i.name AS instrument, r.utc_us, r.entry, j.key AS measurand,
    r.indications ->> ('$."' || j.key || '"') AS indication, j.value ->> 0 AS value, j.value ->> 1 AS u, r.clock,
    r.flags
  FROM reading r JOIN instrument i ON i.id = r.instrument JOIN gateway g ON g.id = i.gateway, json_each(r.results) j;
CREATE TABLE aggregate(
  gateway INTEGER NOT NULL, entry INTEGER NOT NULL, measurand TEXT NOT NULL, from_us INTEGER NOT NULL, to_us INTEGER NOT
  NULL, instruments TEXT NOT NULL, unit TEXT NOT NULL, value TEXT, u TEXT, count INTEGER NOT NULL, missing INTEGER NOT
  NULL, method TEXT NOT NULL, flags TEXT NOT NULL, supersedes INTEGER, PRIMARY KEY (gateway, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX aggregate_by_period ON aggregate(gateway, measurand, from_us);
CREATE TABLE event(
  gateway INTEGER NOT NULL, entry INTEGER NOT NULL, utc_us INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY (gateway, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE alarm(
  id INTEGER PRIMARY KEY, gateway INTEGER NOT NULL, at_us INTEGER NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL,
  ours BLOB NOT NULL, theirs BLOB NOT NULL, UNIQUE (gateway, kind, what, theirs)
) STRICT;
CREATE TABLE quarantine(
  alarm INTEGER NOT NULL REFERENCES alarm, path TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (alarm, path)
) STRICT;
"""
PENDING: Final = """
CREATE TABLE IF NOT EXISTS pending(
  gateway INTEGER NOT NULL REFERENCES gateway, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL,
  PRIMARY KEY (gateway, size)
) STRICT, WITHOUT ROWID;
"""  # since version 2: signed checkpoints whose entries are still on their way
APPLICATION_ID: Final = 0x5375_5975  # 'SuYu'
VERSION: Final = 2
# What a later aggregate replaces is looked for with each one that is told: without this, all of them for each.
SUPERSEDED: Final = (
    "CREATE INDEX IF NOT EXISTS aggregate_superseded ON aggregate(gateway, supersedes, entry) "
    "WHERE supersedes IS NOT NULL"
)
