-- The platform's store on PostgreSQL 14 or newer. The program lays this down by itself in an empty database
-- (`suyuan platform prepare`); it stands here for whoever reads, grants or backs up.
-- Times are microseconds since 1970, UTC. Values and uncertainties are decimal text, as they were recorded.

CREATE TABLE suyuan(version integer NOT NULL);
INSERT INTO suyuan VALUES (1);

CREATE TABLE gateway(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, origin text NOT NULL UNIQUE, vkey text NOT NULL,
  size bigint NOT NULL DEFAULT 0, peaks bytea NOT NULL DEFAULT '', sealed_us bigint NOT NULL DEFAULT 0,
  advanced_us bigint NOT NULL DEFAULT 0, alarm text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);  -- each advance updates a row in place: no index holds what changes

CREATE TABLE head(
  gateway bigint NOT NULL REFERENCES gateway, size bigint NOT NULL, root bytea NOT NULL, note bytea NOT NULL,
  at_us bigint NOT NULL, receipt bytea, posted boolean NOT NULL DEFAULT false, PRIMARY KEY (gateway, size)
) WITH (fillfactor = 70);

CREATE TABLE pending(
  gateway bigint NOT NULL REFERENCES gateway, size bigint NOT NULL, root bytea NOT NULL, note bytea NOT NULL,
  PRIMARY KEY (gateway, size)
);

-- A full bundle is one packed row (first = 0). Of the open one, each advance adds a part; nothing is written twice
-- until the bundle is full.
CREATE TABLE bundle(
  gateway bigint NOT NULL, number bigint NOT NULL, first smallint NOT NULL, packed boolean NOT NULL, data bytea NOT NULL,
  PRIMARY KEY (gateway, number, first)
) PARTITION BY HASH (gateway);
CREATE TABLE bundle_0 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE bundle_1 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE bundle_2 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE bundle_3 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE bundle_4 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE bundle_5 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE bundle_6 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE bundle_7 PARTITION OF bundle FOR VALUES WITH (MODULUS 8, REMAINDER 7);
ALTER TABLE bundle ALTER COLUMN data SET STORAGE EXTERNAL;  -- packed already

CREATE TABLE instrument(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gateway bigint NOT NULL REFERENCES gateway, name text NOT NULL,
  number bigint NOT NULL DEFAULT 0, entry bigint NOT NULL DEFAULT -1, received bigint NOT NULL DEFAULT 0,
  missed bigint NOT NULL DEFAULT 0, UNIQUE (gateway, name)
) WITH (fillfactor = 50);

CREATE TABLE reference(
  gateway bigint NOT NULL, entry bigint NOT NULL, kind text NOT NULL, digest text NOT NULL, PRIMARY KEY (gateway, entry)
);

CREATE TABLE key(
  gateway bigint NOT NULL, entry bigint NOT NULL, vkey text NOT NULL, PRIMARY KEY (gateway, entry)
);

-- One row a reading; json keeps the measurands in the order of the record. Partitions: a month each.
CREATE TABLE reading(
  instrument bigint NOT NULL, utc_us bigint NOT NULL, entry bigint NOT NULL, number bigint NOT NULL,
  clock smallint NOT NULL, indications json NOT NULL, missing json NOT NULL, results json NOT NULL, flags json NOT NULL
) PARTITION BY RANGE (utc_us);
CREATE UNIQUE INDEX reading_by_time ON reading(instrument, utc_us, entry);

CREATE TABLE aggregate(
  gateway bigint NOT NULL, entry bigint NOT NULL, measurand text NOT NULL, from_us bigint NOT NULL,
  to_us bigint NOT NULL, instruments json NOT NULL, unit text NOT NULL, value text, u text, count bigint NOT NULL,
  missing bigint NOT NULL, method text NOT NULL, flags json NOT NULL, supersedes bigint,
  contributions json NOT NULL, independent text NOT NULL
) PARTITION BY RANGE (from_us);
CREATE UNIQUE INDEX aggregate_by_period ON aggregate(gateway, measurand, from_us, entry);
CREATE INDEX aggregate_replacing ON aggregate(gateway, supersedes) WHERE supersedes IS NOT NULL;

CREATE TABLE event(
  gateway bigint NOT NULL, entry bigint NOT NULL, utc_us bigint NOT NULL, kind text NOT NULL, detail json NOT NULL,
  PRIMARY KEY (gateway, entry)
);

CREATE TABLE alarm(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gateway bigint NOT NULL REFERENCES gateway, at_us bigint NOT NULL,
  kind text NOT NULL, what text NOT NULL, ours bytea NOT NULL, theirs bytea NOT NULL, digest bytea NOT NULL,
  UNIQUE (gateway, digest)
);
CREATE TABLE quarantine(
  alarm bigint NOT NULL REFERENCES alarm, path text NOT NULL, data bytea NOT NULL, PRIMARY KEY (alarm, path)
);

-- Which gateways are pulled, and by whom just now. A worker that dies lets go when until_us has passed.
CREATE TABLE duty(
  origin text PRIMARY KEY, url text NOT NULL, vkey text NOT NULL, every_us bigint NOT NULL, due_us bigint NOT NULL DEFAULT 0,
  worker text NOT NULL DEFAULT '', until_us bigint NOT NULL DEFAULT 0, failures integer NOT NULL DEFAULT 0,
  said text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
CREATE INDEX duty_due ON duty(due_us);

-- How far the verified readings of a log have been handed on to a stream. The log itself is the outbox.
CREATE TABLE handed(
  stream text NOT NULL, gateway bigint NOT NULL REFERENCES gateway, next bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (stream, gateway)
) WITH (fillfactor = 50);

-- For dashboards: one row a result. Value and u are numeric here; the text is in reading.results.
CREATE VIEW result AS
  SELECT g.origin, i.name AS instrument, r.utc_us, to_timestamp(r.utc_us / 1e6) AS at, r.entry, j.key AS measurand,
    r.indications ->> j.key AS indication, (j.value ->> 0)::numeric AS value, (j.value ->> 1)::numeric AS u, r.clock,
    r.flags
  FROM reading r JOIN instrument i ON i.id = r.instrument JOIN gateway g ON g.id = i.gateway, json_each(r.results) j;
