"""When which part was away, and for how long at a stretch everything needed was there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise


class Part(StrEnum):
    DATABASE = "database"
    REDIS = "redis"
    # A server that does not run, or that is being started again.
    SERVER = "server"
    # A server whose process is stopped: its connections are open and nothing answers.
    STOPPED = "stopped"
    # A server's own connections to Redis, frozen or cut.
    LINK = "link"


@dataclass(slots=True)
class Outage:
    """One part away from `began` to `ended` (Unix seconds; None: it still is)."""

    part: Part
    target: int
    how: str
    began: float
    ended: float | None = None

    def touches(self, begin: float, end: float) -> bool:
        return self.began < end and (self.ended is None or self.ended > begin)


@dataclass(slots=True)
class Outages:
    """Every outage of a run with `servers` server processes."""

    servers: int
    all: list[Outage] = field(default_factory=list)
    # When, and for how many seconds until then in all, the machine itself did not run.
    _missed_at: list[float] = field(default_factory=list)
    _missed: list[float] = field(default_factory=list)

    def begin(self, part: Part, target: int, how: str, at: float) -> Outage:
        outage = Outage(part, target, how, at)
        self.all.append(outage)
        return outage

    def miss(self, at: float, seconds: float) -> None:
        """Note that the machine did not run for so long before `at`."""
        self._missed_at.append(at)
        self._missed.append(self.missed + max(0.0, seconds))

    @property
    def missed(self) -> float:
        """For how many seconds in all the machine did not run."""
        return self._missed[-1] if self._missed else 0.0

    def _missed_between(self, begin: float, end: float) -> float:
        first, last = (bisect_right(self._missed_at, moment) for moment in (begin, end))
        # The note made next tells of the time before it.
        last = min(last + 1, len(self._missed))
        before = self._missed[first - 1] if first else 0.0
        return (self._missed[last - 1] if last else 0.0) - before

    def between(self, begin: float, end: float, *parts: Part) -> list[Outage]:
        """Return the outages that touch the time from `begin` to `end`, of `parts` or of any."""
        return [o for o in self.all if o.touches(begin, end) and (not parts or o.part in parts)]

    def changes(self, begin: float, end: float) -> bool:
        """Say whether anything went away or came back in this time."""
        moments = (moment for o in self.all for moment in (o.began, o.ended))
        return any(moment is not None and begin <= moment <= end for moment in moments)

    def shared(self, servers: int) -> Outages:
        """Return what was away for another deployment of so many servers as well."""
        parts = (Part.DATABASE, Part.REDIS)
        shared = [outage for outage in self.all if outage.part in parts]
        return Outages(servers, shared, self._missed_at, self._missed)

    def wiped(self, begin: float, end: float) -> bool:
        """Say whether Redis lost its memory in this time."""
        return bool(self.wipes(begin, end))

    def wipes(self, begin: float, end: float) -> list[float]:
        """Return when in this time Redis lost its memory, in order."""
        return sorted(o.began for o in self.all if o.part is Part.REDIS and begin <= o.began <= end)

    def longest_healthy(
        self, begin: float, end: float, *, redis: bool = False, calm: bool = False
    ) -> float:
        """Return the longest stretch, in seconds, in which what a promise needs was there.

        That is the database and one running server; with `redis` also Redis and the link of
        such a server; with `calm` no server may be stopped, killed or starting either. Seconds in
        which the machine did not run do not count.
        """
        if end <= begin:
            return 0.0
        here = self.between(begin, end)
        moments = {begin, end}
        for outage in here:
            moments.add(min(max(outage.began, begin), end))
            moments.add(min(max(outage.ended if outage.ended is not None else end, begin), end))
        longest, since = 0.0, None
        for left, right in pairwise(sorted(moments)):
            middle = (left + right) / 2
            active = [o for o in here if o.touches(middle, middle + 1e-9)]
            if _is_healthy(active, self.servers, redis=redis, calm=calm):
                since = left if since is None else since
                longest = max(longest, right - since - self._missed_between(since, right))
            else:
                since = None
        return longest


def _is_healthy(active: Iterable[Outage], servers: int, *, redis: bool, calm: bool) -> bool:
    away = {(o.part, o.target) for o in active}
    parts = {part for part, _ in away}
    if Part.DATABASE in parts or (redis and Part.REDIS in parts):
        return False
    if calm and parts & {Part.SERVER, Part.STOPPED}:
        return False
    return any(
        (Part.SERVER, number) not in away
        and (Part.STOPPED, number) not in away
        and not (redis and (Part.LINK, number) in away)
        for number in range(servers)
    )
