"""Redis's clock as this process knows it, so that a publication need not ask for the time first.

A database's answer may be acted on for `commands.VALID_SECONDS` of Redis's own time. A reading
gives the earliest time that Redis can have by now: taken too early, a bound only ends too soon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dwp_project import clocks

# A reading that is older says nothing: Redis's clock may have been set. Chosen.
_OLDEST_SECONDS = 5.0
# By how much, for each second, two machines may count differently: more than a quartz deviates.
_DRIFT = 1e-4


@dataclass(frozen=True, slots=True)
class RedisReading:
    """A moment by Redis's clock, in Unix seconds, and the run of Redis that had it; the run is
    empty if it is not known."""

    seconds: float
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    run_id: str
    # Redis's time less this machine's uptime when the answer came: Redis was not earlier.
    offset: float
    read_at: float


class RedisClock:
    """What this process knows of Redis's clock. Any thread may use it."""

    def __init__(self, uptime: Callable[[], float] = clocks.uptime) -> None:
        self.uptime = uptime
        self._reading: _Kept | None = None

    def note(self, seconds: float, run_id: str) -> RedisReading:
        """Keep what Redis has just answered; return it."""
        now = self.uptime()
        self._reading = _Kept(run_id, seconds - now, now)
        return RedisReading(seconds, run_id)

    def known(self) -> RedisReading | None:
        """Return the earliest time that Redis can have now, or None if that is not known."""
        reading = self._reading
        if reading is None:
            return None
        now = self.uptime()
        passed = now - reading.read_at
        if passed > _OLDEST_SECONDS:
            return None
        return RedisReading(now + reading.offset - _DRIFT * passed, reading.run_id)

    def forget(self) -> None:
        """Have the next who needs the time ask Redis."""
        self._reading = None


redis_clock = RedisClock()
