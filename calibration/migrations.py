"""The register file's numbered migrations. Loaded only to make or renew a file: readers need no SQLite tools."""

from __future__ import annotations

import sqlite_utils

from calibration.schema import statements

MIGRATIONS = sqlite_utils.Migrations("register")


@MIGRATIONS()
def m001_first(db: sqlite_utils.Database) -> None:
    """Subjects, audit trail, documents, views."""
    for statement in statements():
        db.execute(statement)
