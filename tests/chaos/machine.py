"""How much of the time the machine itself was there: what the hypervisor took, and how late a
sleeper was woken. Nothing can be in time on a machine that does not run."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from tests.chaos.history import History

_TICK_SECONDS = 0.25
_STOLEN_FIELD = 7
_TICKS = os.sysconf("SC_CLK_TCK")
_PROCESSORS = os.cpu_count() or 1


async def watch(history: History) -> None:
    """Note both until cancelled."""
    stolen_before = stolen_seconds()
    while True:
        began = time.monotonic()
        await asyncio.sleep(_TICK_SECONDS)
        passed = time.monotonic() - began
        stolen = stolen_seconds()
        late = passed - _TICK_SECONDS
        history.lags.append(late)
        # Of one processor's time; the two overlap where the sleeper's was the one that was taken.
        history.outages.miss(time.time(), min(passed, max(late, stolen - stolen_before)))
        stolen_before = stolen


def stolen_seconds() -> float:
    """Return for how long each processor, on average, was taken away since the machine began."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
        return int(fields[_STOLEN_FIELD]) / _TICKS / _PROCESSORS
    except (OSError, IndexError, ValueError):
        return 0.0  # not Linux: then only late waking tells
