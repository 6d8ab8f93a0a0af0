"""`suyuan init`: a first site of one's own, simulated, with certificates and keys, ready to be changed."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli import DONE
from gateway.cli.output import UsageError, say
from gateway.words import phrase

EPILOG = """Writes site.toml with five simulated meters, certificates/*.toml and a platform's key. Change it piece by
piece to your own site; `suyuan check` tells every mistake.

example:
  suyuan init my-site"""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("directory", metavar="DIR", type=Path, help="a new or empty directory")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another plant (1)")


def run(_command: str, given: argparse.Namespace) -> int:
    """Write; never over anything."""
    from gateway.cli.simulated_site import write_demo
    from gateway.keys import create

    directory: Path = given.directory
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory}: is there already and not empty; name a new directory")
    directory.mkdir(parents=True, exist_ok=True)
    key = create(directory / "platform.key", "platform.example/receipts", receipts=True)
    site = write_demo(directory, given.seed, key.vkey, checkpoint="10s", listen="127.0.0.1:8475")
    say(phrase("init.done", site=site))
    print(phrase("init.next", site=site, directory=directory))
    return DONE
