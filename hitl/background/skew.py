"""Reads the clocks of the database and of Redis, and says how far this host's is from them: in the
log, as a metric, and at `/ready` (docs/reference/wire.md, 2.1)."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from typing import TypeGuard

from django.db import Error
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project import clocks, wakeup
from dwp_project.clocks import DistantClock
from dwp_project.gateway import readiness
from dwp_project.gateway.readiness import Fault
from dwp_project.offload import run_background
from hitl import metrics
from hitl.delivery import redis_state

logger = get_logger(__name__)

# Between two readings. Chosen: a database that is on another server is followed soon.
_READ_SECONDS = 5.0
# From here on people are told. Chosen: far more than NTP leaves, and less than a token's leeway.
MOST_SECONDS = 2.0
_SILENCE = Fault("clock", "The clocks cannot be compared in time.")
_HINT = "set the hosts' clocks by NTP"

# The clocks from which this host's was too far when it was last compared.
_skewed: set[str] = set()


def connect() -> None:
    """Have `/ready` compare the clocks, and `/metrics` say by how much they differ."""
    for name, clock in _distant_clocks().items():
        metrics.clock_skew.labels(name).set_function(partial(_seconds, clock))
    readiness.add_late(look, _SILENCE)


async def run() -> None:
    """Read the clocks every few seconds, until cancelled."""
    while True:
        try:
            await run_background(read)
        except Exception as exc:
            logger.warning("clocks_not_read", error=str(exc).strip())
        await asyncio.sleep(_READ_SECONDS)


def read() -> None:
    """Read each clock that can be read, and log what begins or ends to be too far from it."""
    for name, clock in _distant_clocks().items():
        if name == "redis" and wakeup.is_paused():
            continue
        # Whoever needs the database or Redis says that it is away.
        with suppress(Error, RedisError, OSError):
            clock.measure()
    for name, clock in _distant_clocks().items():
        _log(name, clock.skew())


def look() -> Fault | None:
    """Return what to say of clocks that are too far from this host's."""
    for clock in _distant_clocks().values():
        with suppress(Error, RedisError, OSError):
            clock.offset()  # read again if no loop of this process does it
    skews = {name: clock.skew() for name, clock in _distant_clocks().items()}
    far = [_words(name, seconds) for name, seconds in skews.items() if _is_far(seconds)]
    if not far:
        return None
    return Fault(
        "clock",
        f"This host's clock is {' and '.join(far)}: {_HINT}. Tokens and sign-ins go by this "
        "host's clock, terms and the audit by the database's.",
    )


def _log(name: str, seconds: float | None) -> None:
    if _is_far(seconds) == (name in _skewed):
        return
    if _is_far(seconds):
        _skewed.add(name)
        logger.warning("clock_skewed", of=name, why=_words(name, seconds), hint=_HINT)
    else:
        _skewed.discard(name)
        logger.info("clock_skew_over", of=name)


def _distant_clocks() -> dict[str, DistantClock]:
    database = clocks.distant_database()
    known = {"redis": redis_state.distant_redis}
    return known if database is None else {"database": database, **known}


def _is_far(seconds: float | None) -> TypeGuard[float]:
    return seconds is not None and abs(seconds) > MOST_SECONDS


def _seconds(clock: DistantClock) -> float:
    seconds = clock.skew()
    return math.nan if seconds is None else seconds


def _words(name: str, seconds: float) -> str:
    whose = "Redis's" if name == "redis" else "the database's"
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} {whose}"
