"""The present, as terms, deliveries and audit records have it: by the database's clock.

A process reads another machine's clock now and then, and counts on from the reading by its own
uptime. So no request asks for the time, and setting a host's clock changes nothing. SQLite runs in
the process: there the host's clock is the database's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

# Linux also counts the time for which a machine was suspended.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# By how much, for each second, two machines may count differently. Chosen: more than a quartz
# deviates.
_DRIFT = 1e-4
# A reading this old is taken again by whoever needs the time, in processes where no loop does it
# (`hitl.background.skew`). Chosen: it drifts by 6 ms at most.
AGAIN_SECONDS = 60.0


def uptime() -> float:
    """Return for how many seconds this machine has run; setting its clock does not change that."""
    return time.clock_gettime(_UPTIME)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a distant clock said, less this machine's uptime in the middle of the round trip, by how
    much that may be wrong, and at which uptime it was read; all in seconds."""

    offset: float
    uncertainty: float
    read_at: float


def reading_of(ask: Callable[[], float], uptime: Callable[[], float] = uptime) -> Reading:
    """Return the reading of a clock that answers `ask` with Unix seconds."""
    before = uptime()
    answer = ask()
    after = uptime()
    return Reading(answer - (before + after) / 2, (after - before) / 2, after)


class DistantClock:
    """The clock of another machine, as this process knows it. Any thread may use it.

    `read` returns a new reading, or raises.
    """

    def __init__(self, read: Callable[[], Reading], uptime: Callable[[], float] = uptime) -> None:
        self._read, self._uptime = read, uptime
        self._reading: Reading | None = None
        self._asked_at = 0.0
        self._asking, self._taking = threading.Lock(), threading.Lock()

    def offset(self) -> float:
        """Return the distant clock less this machine's uptime, in seconds.

        Raises what `read` raises if there is no reading yet.
        """
        if self._reading is None:
            self._measure()
        elif self._uptime() - self._asked_at > AGAIN_SECONDS and self._asking.acquire(
            blocking=False
        ):
            try:
                # It may be away, or the transaction be broken: what is known is good enough.
                with suppress(Exception):
                    self._measure()
            finally:
                self._asking.release()
        assert self._reading is not None
        return self._reading.offset

    def uncertainty(self) -> float:
        """Return by how many seconds `offset` may be wrong by now; raises as it does."""
        self.offset()
        assert self._reading is not None
        return _uncertainty_at(self._uptime(), self._reading)

    def known_offset(self) -> float | None:
        """Return the offset without asking, None without a reading."""
        reading = self._reading
        return None if reading is None else reading.offset

    def skew(self) -> float | None:
        """Return by how many seconds this host's clock is ahead, None without a reading."""
        offset = self.known_offset()
        return None if offset is None else time.time() - self._uptime() - offset

    def measure(self) -> None:
        """Read the clock now; raises what `read` raises."""
        with self._asking:
            self._measure()

    def _measure(self) -> None:
        try:
            new = self._read()
        finally:
            self._asked_at = self._uptime()
        with self._taking:
            if self._reading is None or _is_worth_more(new, self._reading):
                self._reading = new


def _is_worth_more(new: Reading, known: Reading) -> bool:
    """Say whether the new reading is the more exact by now, or proves the known one wrong.

    An answer that was long on its way says less than an earlier prompt one, unless the clock has
    been set since, or the database is on another server.
    """
    uncertainty = _uncertainty_at(new.read_at, known)
    is_contradiction = abs(new.offset - known.offset) > new.uncertainty + uncertainty
    return new.uncertainty <= uncertainty or is_contradiction


def _uncertainty_at(uptime: float, reading: Reading) -> float:
    return reading.uncertainty + _DRIFT * (uptime - reading.read_at)


def _read_database() -> Reading:
    # Opened first: the time that a connection takes is no part of the round trip.
    with connection.cursor() as cursor:

        def ask() -> float:
            # Not `now()`, which is when the transaction began.
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            return float(cursor.fetchone()[0])

        return reading_of(ask)


_database = DistantClock(_read_database)


def distant_database() -> DistantClock | None:
    """Return the database's clock if it is not this host's."""
    return None if connection.vendor == "sqlite" else _database


def now() -> datetime:
    """Return the present, in UTC.

    Without any reading the database is asked, and its errors are raised: only then, and in no
    coroutine.
    """
    clock = distant_database()
    return timezone.now() if clock is None else moment(clock.offset() + uptime())


def estimate() -> datetime:
    """Return the present, in UTC, and never ask: as long as there is no reading, by this host."""
    clock = distant_database()
    offset = None if clock is None else clock.known_offset()
    return timezone.now() if offset is None else moment(offset + uptime())


def database_time(seconds: float, clock: DistantClock) -> datetime:
    """Return a time of another distant clock, in Unix seconds, by the database's clock.

    Raises as `DistantClock.offset` does.
    """
    database = distant_database()
    own = time.time() - uptime() if database is None else database.offset()
    return moment(seconds - clock.offset() + own)


def uncertainty_of(clock: DistantClock) -> timedelta:
    """Return by how much what `database_time` returns may be wrong; raises as that does."""
    database = distant_database()
    own = 0.0 if database is None else database.uncertainty()
    return timedelta(seconds=own + clock.uncertainty())


def moment(seconds: float) -> datetime:
    """Return Unix seconds as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
