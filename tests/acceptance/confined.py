"""Runs a command with the system calls that a unit allows: `python -m … UNIT COMMAND …`.

systemd itself does that only where it is the first process of a machine.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
# PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, from Linux 6.3 on.
_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1


def calls_of(names: list[str]) -> set[str]:
    """Return these system calls, and those of systemd's groups, which begin with `@`."""
    calls = {name for name in names if not name.startswith("@")}
    for group in set(names) - calls:
        command = ["systemd-analyze", "syscall-filter", group]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        _, *members = [line.split("#")[0].strip() for line in listed.splitlines()]
        calls |= calls_of([member for member in members if member])
    return calls


def confine(unit: str) -> None:
    """Refuse this process every other system call from now on."""
    # systemd allows these whatever the unit says.
    allowed = calls_of(["@default", "execve"])
    for refused, names in re.findall(r"^SystemCallFilter=(~?)(.*)$", unit, re.MULTILINE):
        calls = calls_of(names.split())
        allowed = allowed - calls if refused else allowed | calls
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_REFUSE))
    for name in allowed:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1:
            library.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), number, 0)
    if "MemoryDenyWriteExecute=yes" in unit:
        ctypes.CDLL(None).prctl(_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0)
    if library.seccomp_load(context) != 0:
        raise SystemExit("the filter cannot be loaded")


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - a list, and no shell
