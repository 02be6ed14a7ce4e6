"""The seeded schedule of faults: what happens when, to whom and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    KILL = "kill"
    DRAIN = "drain"
    STOP = "stop"
    WIPE = "wipe"
    FREEZE = "freeze"
    CUT = "cut"
    DATABASE = "database"
    HOLD = "hold"
    DROP = "drop"


# How often each is chosen, and for how many seconds it lasts.
_CHOICES: dict[Kind, tuple[int, float, float]] = {
    Kind.KILL: (4, 0.0, 6.0),
    Kind.DRAIN: (2, 0.0, 4.0),
    Kind.STOP: (2, 12.0, 20.0),
    Kind.WIPE: (4, 0.0, 3.0),
    Kind.FREEZE: (3, 2.0, 12.0),
    Kind.CUT: (3, 0.5, 8.0),
    Kind.DATABASE: (2, 0.0, 2.0),
    Kind.HOLD: (2, 2.0, 8.0),
    Kind.DROP: (4, 0.0, 0.0),
}
OF_SERVERS = frozenset({Kind.KILL, Kind.DRAIN, Kind.STOP, Kind.HOLD})
OF_LINKS = frozenset({Kind.FREEZE, Kind.CUT})
# A server that was started again needs this long before it counts.
_START_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at` seconds after the load began. `share` is 0 to 1: of the client
    connections that are dropped, or, above one half, how roughly the database is stopped."""

    at: float
    kind: Kind
    target: int
    seconds: float
    share: float

    def __str__(self) -> str:
        where = f" {self.target}" if self.kind in OF_SERVERS | OF_LINKS else ""
        return f"{self.at:7.1f} s  {self.kind}{where} for {self.seconds:.1f} s"


def plan(seed: int, seconds: float, *, servers: int = 3, every: float = 5.0) -> list[Fault]:
    """Return the faults of a run, in order, `every` so many seconds on average.

    The first ones are one of each kind, shuffled. No two faults of one server process
    overlap, and one process at least is left alone at any time.
    """
    rng = Random(f"{seed}:plan")
    kinds = list(Kind)
    rng.shuffle(kinds)
    faults: list[Fault] = []
    at = 3.0
    while at < seconds:
        kind = kinds.pop() if kinds else _weighted(rng)
        _, least, most = _CHOICES[kind]
        lasts, share = rng.uniform(least, most), rng.uniform(0.1, 1.0)
        target = rng.randrange(servers)
        if kind in OF_SERVERS:
            free = _free(faults, at, servers)
            if len(free) > 1:
                faults.append(Fault(at, kind, free[target % len(free)], lasts, share))
        elif kind not in OF_LINKS or target in _free(faults, at, servers, OF_LINKS):
            faults.append(Fault(at, kind, target, lasts, share))
        at += _pause(rng, every)
    return faults


def _pause(rng: Random, every: float) -> float:
    """Return the time to the next fault: some come together, some after everything has healed."""
    chance = rng.random()
    if chance < 0.2:
        return 0.1
    return rng.uniform(3.0, 5.0) * every if chance > 0.92 else rng.expovariate(1 / every)


def _weighted(rng: Random) -> Kind:
    return rng.choices(list(_CHOICES), [often for often, _, _ in _CHOICES.values()])[0]


def _free(
    faults: list[Fault], at: float, servers: int, kinds: frozenset[Kind] = OF_SERVERS
) -> list[int]:
    """Return the servers that no fault of these kinds holds at this moment."""
    affected = {
        f.target for f in faults if f.kind in kinds and at < f.at + f.seconds + _START_SECONDS
    }
    return [number for number in range(servers) if number not in affected]
