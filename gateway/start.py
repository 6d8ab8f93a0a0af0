"""Where the command `suyuan` begins: an interrupt while it is still loading ends it quietly, by the signal itself.

The interpreter would show a trace of wherever it was. Nothing is open yet that needs an orderly end, and a process that
dies of the signal is what a shell (130) and a service manager expect of an interrupted one.
"""

from __future__ import annotations

# `signal` itself takes milliseconds to load: the time that this is about; typeshed does not have its core
import _signal  # type: ignore[import-not-found]

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from gateway.cli import main  # noqa: E402

__all__ = ["main"]
