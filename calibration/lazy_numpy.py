"""numpy under a name that loads it when it is first used.

An agent needs :mod:`calibration.uncertainty` for single values alone; numpy would be a sixth of its memory.
"""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """An attribute of numpy, looked up once."""
    value = globals()[name] = getattr(importlib.import_module("numpy"), name)
    return value
