"""Tables of the register file, as the numbered migrations make them.

Each subject's table holds its state as JSON; the columns that one asks for are generated from it, so they
cannot disagree with it. Views lay points and reference uses out flat, for whoever opens the file with other
tools.
"""

from __future__ import annotations

APPLICATION_ID = 0x5355594E  # "SUYN"
SCHEMA_VERSION = 1

SUBJECTS = {
    "instrument": "instrument",
    "certificate": "certificate",
    "binding": "binding",
    "event": "event",
    "document": "document",
    "finding": "finding",
    "signature": "signature",
}
"""Kinds of subject and the tables that hold them."""

_COLUMNS: dict[str, dict[str, str]] = {
    "instrument": {
        "kind": "value.kind",
        "manufacturer": "value.manufacturer",
        "model": "value.model",
        "serial": "value.serial",
        "tag": "value.tag",
        "place": "value.place",
        "parent": "value.parent",
        "withdrawn": "withdrawn.at",
    },
    "certificate": {
        "instrument": "value.instrument",
        "kind": "value.kind",
        "laboratory": "value.laboratory",
        "performed": "value.performed",
        "valid_until": "value.valid_until",
        "digest": "value.digest",
        "registered": "registered",
        "withdrawn": "withdrawn.at",
    },
    "binding": {
        "point": "point",
        "role": "role",
        "instrument": "instrument",
        "since": "since",
        "until": "until",
    },
    "event": {"kind": "kind", "at": "at", "point": "point", "instrument": "instrument"},
    "document": {
        "digest": "digest",
        "about": "about",
        "subject": "subject",
        "role": "role",
        "withdrawn": "withdrawn.at",
    },
    "finding": {
        "about": "about",
        "subject": "subject",
        "first": "first",
        "last": "last",
        "withdrawn": "withdrawn.at",
    },
    "signature": {"verdict": "verdict"},
}

_INDEXES = {
    "instrument": ("serial",),
    "certificate": ("instrument, performed", "digest"),
    "binding": ("point, role, since", "instrument, since"),
    "event": ("point, at", "instrument, at"),
    "document": ("about, subject",),
    "finding": ("about, subject",),
}

_AUDIT = """
CREATE TABLE audit (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, kind TEXT NOT
    NULL, subject TEXT NOT NULL, revision INTEGER NOT NULL, old TEXT, new TEXT NOT NULL, reason TEXT NOT NULL,
    previous TEXT NOT NULL, hash TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (kind, subject, number);
CREATE TRIGGER audit_is_append_only_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_append_only_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TABLE content (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL);
"""

_VIEWS = """
CREATE VIEW calibration_point AS
SELECT c.id AS certificate, c.revision, s.value AS stage, p.key + 1 AS number,
       json_extract(p.value, '$.quantity') AS quantity, json_extract(p.value, '$.load') AS load,
       json_extract(p.value, '$.load_unit') AS load_unit, json_extract(p.value, '$.power_factor') AS
       power_factor, json_extract(p.value, '$.error') AS error, json_extract(p.value, '$.U') AS U,
       json_extract(p.value, '$.k') AS k, json_extract(p.value, '$.unit') AS unit
FROM certificate AS c, json_each('["points", "as_found"]') AS s,
     json_each(json_extract(c.state, '$.value.' || s.value)) AS p;
CREATE VIEW stated_reference AS
SELECT c.id AS certificate, c.revision, r.key + 1 AS position, c.performed, c.withdrawn,
       json_extract(r.value, '$.standard') AS standard, json_extract(r.value, '$.certificate') AS parent,
       json_extract(r.value, '$.digest') AS digest, json_extract(r.value, '$.share') AS share
FROM certificate AS c, json_each(json_extract(c.state, '$.value.references')) AS r;
"""

# Kept by triggers: who used a standard is asked often, and a view would read every certificate each time.
_REFERENCES = """
CREATE TABLE reference_use (
    certificate TEXT NOT NULL, revision INTEGER NOT NULL, position INTEGER NOT NULL, performed TEXT, withdrawn TEXT,
    standard TEXT, parent TEXT, digest TEXT, share TEXT, PRIMARY KEY (certificate, revision, position)
);
CREATE INDEX reference_use_standard ON reference_use (standard, performed);
CREATE TRIGGER reference_use_of_new AFTER INSERT ON certificate
BEGIN INSERT INTO reference_use (certificate, revision, position, performed, withdrawn, standard, parent, digest, share)
SELECT certificate, revision, position, performed, withdrawn, standard, parent, digest, share FROM stated_reference
WHERE certificate = NEW.id AND revision = NEW.revision; END;
CREATE TRIGGER reference_use_of_changed AFTER UPDATE ON certificate
BEGIN DELETE FROM reference_use WHERE certificate = OLD.id AND revision = OLD.revision;
INSERT INTO reference_use (certificate, revision, position, performed, withdrawn, standard, parent, digest, share)
SELECT certificate, revision, position, performed, withdrawn, standard, parent, digest, share FROM stated_reference
WHERE certificate = NEW.id AND revision = NEW.revision; END;
"""


def statements() -> list[str]:
    """What makes the tables of version 1: subjects, audit trail, documents, views."""
    made = []
    for table, columns in _COLUMNS.items():
        generated = ", ".join(
            f"\"{name}\" TEXT GENERATED ALWAYS AS (json_extract(state, '$.{path}')) VIRTUAL"
            for name, path in columns.items()
        )
        made.append(
            f"CREATE TABLE {table} (id TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0,"
            f" state TEXT NOT NULL CHECK (json_valid(state)), {generated}, PRIMARY KEY (id, revision))"
        )
        made += [
            f"CREATE INDEX {table}_{number} ON {table} ({index})"
            for number, index in enumerate(_INDEXES.get(table, ()), 1)
        ]
    for script in (_AUDIT, _VIEWS, _REFERENCES):
        made += _split(script)
    return made


def _split(script: str) -> list[str]:
    """Statements of a script; a trigger's body holds its own semicolon."""
    made, part = [], ""
    for line in script.strip().splitlines():
        part += line + "\n"
        if line.endswith(";") and (not part.startswith("CREATE TRIGGER") or line.endswith("END;")):
            made.append(part)
            part = ""
    return made
