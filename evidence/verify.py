"""``python -m evidence.verify PATH --key VKEY``: a log verified by itself; and ``verify_log``, which does it."""

from __future__ import annotations

import sys

from .command import main
from .verification import verify_log
from .walk import Read

__all__ = ("Read", "verify_log")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
