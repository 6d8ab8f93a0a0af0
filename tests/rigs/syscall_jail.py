"""A command under the system calls that a systemd unit allows it: ``python -m tests.rigs.syscall_jail UNIT COMMAND…``.

The filter is made as systemd makes it of SystemCallFilter= and ProtectClock=, by the same library. What is refused
answers EPERM, as the units want it.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

ALLOW, EPERM = 0x7FFF0000, 0x00050001


def members(group: str) -> frozenset[str]:
    """The system calls of a name as units write it, of a group such as @system-service too."""
    if not group.startswith("@"):
        return frozenset([group])
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", group], capture_output=True, text=True, check=True
    )
    names = (line.strip() for line in told.stdout.splitlines()[1:])
    return frozenset(call for name in names if name and not name.startswith("#") for call in members(name))


def allowed(unit: str) -> frozenset[str]:
    """What a unit's text leaves its process."""
    calls: frozenset[str] = members("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        named = frozenset(call for name in line.removeprefix("~").split() for call in members(name))
        calls = calls - named if line.startswith("~") else calls | named
    return calls - members("@clock") if re.search("^ProtectClock=yes$", unit, re.MULTILINE) else calls


def enter(calls: frozenset[str]) -> None:
    """Confine this process, for good. Raises OSError."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(EPERM)))
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, ctypes.c_uint(0))
    if library.seccomp_load(context):
        raise OSError("the filter of system calls cannot be loaded")


if __name__ == "__main__":
    enter(allowed(Path(sys.argv[1]).read_text(encoding="utf-8")))
    os.execvp(sys.argv[2], sys.argv[2:])
