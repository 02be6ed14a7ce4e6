"""Sending wake-ups: to this process at once, to the others through Redis."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from django.db import Error
from structlog.stdlib import get_logger

from dwp_project.deployment import identity
from dwp_project.wakeup.client import is_paused, redis_client, redis_may_be_away

logger = get_logger(__name__)

_loops: dict[asyncio.AbstractEventLoop, Callable[[str, bytes], None]] = {}
_lock = threading.Lock()


def publish(topic: str, payload: bytes = b"") -> None:
    """Wake whoever waits on `topic`, in any process, from any thread; never raises.

    `payload` may carry what happened, so that the waiter need not read it. With Redis away, or
    the database at the very first use, only this process is woken at once; the others read the
    database in time.
    """
    for loop, deliver in list(_loops.items()):
        if loop.is_closed():
            with _lock:
                _loops.pop(loop, None)
        else:
            with suppress(RuntimeError):  # it has been closed since, so nobody waits in it
                loop.call_soon_threadsafe(deliver, topic, payload)
    if not is_paused():
        with redis_may_be_away("wakeup_not_published", topic=topic):
            try:
                channel = channel_prefix() + topic
            except Error as exc:
                logger.warning("wakeup_not_published", topic=topic, error=str(exc).strip())
            else:
                redis_client().publish(channel, payload)


def channel_prefix() -> str:
    """Return what the channels of this deployment's wake-ups begin with: Redis carries every
    channel to whoever listens, whatever database number they use.

    Raises `django.db.Error` as `identity.current` does. Never `hitl:channel:*`: our own listener
    there would be counted as the agent.
    """
    return f"dwp:wake:{identity.current()}:"


def attach(loop: asyncio.AbstractEventLoop, deliver: Callable[[str, bytes], None]) -> None:
    """Have `deliver` called in `loop` for every wake-up published in this process."""
    with _lock:
        _loops[loop] = deliver
