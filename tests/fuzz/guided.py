"""The coverage-guided fuzzer, one target a process: ``python -m tests.fuzz.guided TARGET [SECONDS [RUNS]]``.

``--list`` names the targets.

A finding is printed with its bytes, and the process ends with 77 (libFuzzer's). Where atheris is not to be had (it has
wheels for x86-64 Linux only), that is said and the exit code is 3.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

NOT_HERE = 3


def main(words: list[str]) -> int:
    """Fuzz one target; libFuzzer ends the process itself when its time is over."""
    if words == ["--list"]:
        from tests.fuzz.targets import TARGETS as known

        print("\n".join(known))
        return 0
    try:
        import atheris
    except ImportError:
        print("atheris is not installed (no wheel for this platform?): guided fuzzing is left out")
        return NOT_HERE
    name, seconds, runs = (*words, *("", "60", "-1")[len(words) :])
    with atheris.instrument_imports(
        include=["drivers", "evidence", "calibration", "gateway", "central", "sim"]
    ):
        from tests.fuzz.targets import TARGETS, seeds
    if name not in TARGETS:
        print(f"no target {name!r}; there are {', '.join(TARGETS)}")
        return 2
    with tempfile.TemporaryDirectory() as corpus:
        for n, seed in enumerate(seeds(name)):
            (Path(corpus) / f"seed-{n}").write_bytes(seed)
        options = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=32768", f"-max_total_time={seconds}"]
        options += [f"-runs={runs}", "-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/"]
        atheris.Setup([sys.argv[0], corpus, *options], TARGETS[name])
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
