"""``python -m gateway.cli``: the same as the command `suyuan`."""

import sys

from gateway.start import main

sys.exit(main())
