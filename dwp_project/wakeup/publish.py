"""Sending wake-ups: to this process at once, to the others through Redis."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import redis
from django.conf import settings
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

logger = get_logger(__name__)

# Never `hitl:channel:*`: a listener of ours there would be counted as the agent.
CHANNEL_PREFIX = "dwp:wake:"
# After a failure Redis is left alone this long: as long as one call to a frozen link takes
# (`redis_client`), so that at most half of the time is lost to it.
_PAUSE_SECONDS = 1.0

_loops: dict[asyncio.AbstractEventLoop, Callable[[str, bytes], None]] = {}
_lock = threading.Lock()
_paused_until = 0.0


@cache
def redis_client() -> redis.Redis:
    """Return the process's Redis client for commands; every call fails within a second."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1.0, socket_connect_timeout=1.0, retry=None
    )


def publish(topic: str, payload: bytes = b"") -> None:
    """Wake whoever waits on `topic`, in any process, from any thread; never raises.

    `payload` may carry what happened, so that the waiter need not read it. With Redis away
    only this process is woken at once; the others read the database in time.
    """
    for loop, deliver in list(_loops.items()):
        if loop.is_closed():
            with _lock:
                _loops.pop(loop, None)
        else:
            with suppress(RuntimeError):  # it closed since: nobody waits there any more
                loop.call_soon_threadsafe(deliver, topic, payload)
    if is_paused():
        return
    try:
        redis_client().publish(CHANNEL_PREFIX + topic, payload)
    except (RedisError, OSError, ValueError) as exc:  # ValueError: an unusable REDIS_URL
        pause()
        logger.warning("wakeup_not_published", topic=topic, error=str(exc))


def pause() -> None:
    """Leave Redis alone for a moment: it has just failed."""
    global _paused_until  # noqa: PLW0603 - one breaker per process
    _paused_until = time.monotonic() + _PAUSE_SECONDS


def is_paused() -> bool:
    """Say whether Redis failed so recently that it is left alone for the moment."""
    return time.monotonic() < _paused_until


def attach(loop: asyncio.AbstractEventLoop, deliver: Callable[[str, bytes], None]) -> None:
    """Have `deliver` called in `loop` for every wake-up published in this process."""
    with _lock:
        _loops[loop] = deliver
