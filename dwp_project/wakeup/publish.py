"""Sending wake-ups: to this process at once, to the others through Redis."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from django.db import Error
from structlog.stdlib import get_logger

from dwp_project.deployment import identity
from dwp_project.wakeup.client import is_paused, redis_client, redis_may_be_away

logger = get_logger(__name__)

_loops: dict[asyncio.AbstractEventLoop, Callable[[str, bytes], None]] = {}
_lock = threading.Lock()


class Message(NamedTuple):
    """What is published on a channel of Redis, by its full name."""

    channel: str
    payload: bytes


def publish(topic: str, payload: bytes = b"") -> None:
    """Wake whoever waits on `topic`, in any process, from any thread; never raises.

    `payload` may carry what happened, so that the waiter need not read it. With Redis away, or
    the database at the very first use, only this process is woken at once; the others read the
    database in time.
    """
    publish_here(topic, payload)
    publish_to_others(topic, payload)


def publish_to_others(topic: str, payload: bytes = b"") -> None:
    """Wake whoever waits on `topic` in other processes; never raises."""
    if not is_paused():
        with redis_may_be_away("wakeup_not_published", topic=topic):
            for message in messages(topic, payload):
                redis_client().publish(*message)


def publish_here(topic: str, payload: bytes = b"") -> None:
    """Wake whoever waits on `topic` in this process, from any thread; never raises."""
    for loop, deliver in list(_loops.items()):
        if loop.is_closed():
            with _lock:
                _loops.pop(loop, None)
        else:
            with suppress(RuntimeError):  # it has been closed since, so nobody waits in it
                loop.call_soon_threadsafe(deliver, topic, payload)


def messages(topic: str, payload: bytes = b"") -> list[Message]:
    """Return what has to be published so that the other processes are woken: one message, or none
    if the database is away at the very first use."""
    try:
        return [Message(channel_prefix() + topic, payload)]
    except Error as exc:
        logger.warning("wakeup_not_published", topic=topic, error=str(exc).strip())
        return []


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
