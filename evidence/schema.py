"""JSON Schemas of the record types, for other languages: ``python -m evidence.schema [DIRECTORY]``.

What a schema cannot say (equal keys, digests that agree, decimal text) is said by ``record.decode``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from . import record


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) by record type."""
    found = {}
    for kind in record.TYPES:
        name = str(kind.__struct_config__.tag)
        schema = msgspec.json.schema(kind)
        found[name] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:suyuan:{record.FORMAT}:{name}",
            "title": name,
            **schema,
        }
    return found


def files() -> dict[str, str]:
    """File name to text, as the schemas are kept under ``docs/schema``."""
    return {
        f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }


def main(arguments: list[str]) -> int:
    """Write the schemas."""
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        sys.stderr.write("use: python -m evidence.schema [DIRECTORY]   (docs/schema if none is given)\n")
        return 2
    directory = Path(arguments[0] if arguments else "docs/schema")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (directory / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(files())} schemas in {directory}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
