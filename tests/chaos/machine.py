"""How much of the time the machine itself was there: what the hypervisor took, what has not been
made up for since, and how late a sleeper was woken. Nothing can be in time on a machine that does
not run."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.chaos.history import History

_TICK_SECONDS = 0.25
_IDLE_FIELD, _WAITING_FIELD, _STOLEN_FIELD = 3, 4, 7
_TICKS = os.sysconf("SC_CLK_TCK")
_PROCESSORS = os.cpu_count() or 1


class Processors(NamedTuple):
    """For how many seconds each processor, on average, was taken away or had nothing to do."""

    stolen: float
    idle: float


@dataclass(slots=True)
class Arrears:
    """The work that waits because the processors were taken away while there was work to do.

    What was taken is owed until they have been idle for as long: only then has everything been
    done that would have been done without it.
    """

    owed: float = 0.0
    # In seconds of each processor. Less does not make anything late that would not be so anyhow.
    bearable: float = 0.5

    def missed(self, passed: float, stolen: float, idle: float) -> float:
        """Return how much of the `passed` seconds counts as not there, and keep the account."""
        before = self.owed
        self.owed = max(0.0, before + stolen - idle)
        return passed if max(before, self.owed) >= self.bearable else min(passed, stolen)


async def watch(history: History) -> None:
    """Note all of it until cancelled."""
    arrears, before = Arrears(), processors()
    while True:
        began = time.monotonic()
        await asyncio.sleep(_TICK_SECONDS)
        passed, now = time.monotonic() - began, processors()
        late = passed - _TICK_SECONDS
        history.lags.append(late)
        stolen = now.stolen - before.stolen
        history.stolen += stolen
        missed = arrears.missed(passed, stolen, now.idle - before.idle)
        # The two overlap where the sleeper's processor was the one that was taken.
        history.outages.miss(time.time(), min(passed, max(late, missed)))
        before = now


def processors() -> Processors:
    """Return what the kernel has counted since the machine began."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
        idle = int(fields[_IDLE_FIELD]) + int(fields[_WAITING_FIELD])
        return Processors(*(n / _TICKS / _PROCESSORS for n in (int(fields[_STOLEN_FIELD]), idle)))
    except (OSError, IndexError, ValueError):
        return Processors(0.0, 0.0)  # not Linux: then only late waking tells
