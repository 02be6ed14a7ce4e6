"""The one Redis connection on which a process listens, however many wait."""

from __future__ import annotations

import asyncio
import os
import secrets
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import redis.asyncio
from django.conf import settings
from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project.offload import run_urgent
from dwp_project.wakeup.publish import attach, channel_prefix
from dwp_project.wakeup.subscription import Subscription

logger = get_logger(__name__)

# The hub pings Redis this often, and rebuilds a link on which nothing came for SILENCE_SECONDS: a
# frozen link neither fails nor delivers. Chosen: three pings may be late.
PING_SECONDS = 3.0
SILENCE_SECONDS = 10.0
# How long a cancelled task has to end before it is cancelled again. Chosen.
_CANCEL_SECONDS = 0.5
# Pauses after one failure to connect, two, three and more. Chosen: no longer
# than between two readings of the database.
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)
# How long Redis has to execute a command, and to accept a connection. Chosen: a Redis that works is
# faster, and a frozen one fails before the link counts as silent.
_COMMAND_SECONDS, _CONNECT_SECONDS = 5, 2


class Pattern(str):
    """A topic that is a pattern of Redis channel names, without our prefix; its wake-ups carry the
    channel's name."""


class Hub:
    """Subscriptions of one event loop, carried by one pub/sub connection."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Subscription]] = defaultdict(set)
        self._lock = asyncio.Lock()
        self._pubsub: Any = None
        # Whether the last connection was made and subscribed, so that messages can be lost by it.
        self._was_up = False
        self._confirmed: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._commands: set[asyncio.Task[None]] = set()
        # Before the first connection: what the names of this deployment's channels begin with.
        self._prefix = ""
        # Subscribed first on every connection, so that the connection always has a channel.
        self._own = f"hub:{os.getpid()}:{secrets.token_hex(4)}"

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Subscription]:
        """Subscribe to `topic` for as long as the block runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="wakeup-hub")
        subscription = Subscription(topic)
        listeners = self._topics[topic]
        listeners.add(subscription)
        try:
            if topic in self._confirmed:
                subscription.confirm()
            elif len(listeners) == 1:
                await asyncio.shield(self._start_command("subscribe", topic))
            yield subscription
        finally:
            listeners.discard(subscription)
            if not listeners and self._topics.get(topic) is listeners:
                del self._topics[topic]
                self._confirmed.discard(topic)
                self._start_command("unsubscribe", topic)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Wake this process's waiters on `topic` (event loop only)."""
        for subscription in self._topics.get(topic, ()):
            subscription.deliver(payload)

    async def close(self) -> None:
        """Stop listening; waiters go on by reading the database."""
        if self._task is None:
            return
        while not self._task.done():
            # redis-py may swallow a cancellation that comes together with a time-out of its own.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CANCEL_SECONDS)
        if self._commands:
            await asyncio.wait(self._commands)
        self._task = None

    def _start_command(self, verb: str, topic: str) -> asyncio.Task[None]:
        """Send the command in a task of its own: a waiter that is cancelled then neither breaks it
        off half-way nor misses its cancellation, and other waiters may rely on it."""
        task = asyncio.create_task(self._command(verb, topic))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return task

    async def _command(self, verb: str, topic: str) -> None:
        """Subscribe or unsubscribe one topic, one command at a time on the connection."""
        async with self._lock:
            # While this waited for the lock, waiters may have come or gone.
            if (verb == "subscribe") != (topic in self._topics) or self._pubsub is None:
                return
            verb = f"p{verb}" if isinstance(topic, Pattern) else verb
            try:
                await getattr(self._pubsub, verb)(self._channel(topic))
            except Exception as exc:
                # Any error of redis-py on a link that is being torn down: the reader notices and
                # rebuilds it, and no waiter fails because of it.
                logger.info("wakeup_command_failed", verb=verb, error=str(exc))
                self._pubsub = None

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except Exception as exc:
                # Any error of redis-py on a link that breaks while a command is being sent: if
                # the hub ended, its waiters would rely on wake-ups that never come.
                if failures == 0:
                    logger.warning("wakeup_link_lost", error=str(exc) or type(exc).__name__)
            delay = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
            failures = 0 if self._was_up else failures + 1
            if self._was_up:
                # Only then can messages have been lost. While no link can be made, waiters read
                # the database in time anyway.
                self._confirmed.clear()
                for subscription in [s for group in self._topics.values() for s in group]:
                    subscription.lost()
            await asyncio.sleep(delay)

    async def _listen(self) -> None:
        """Connect, subscribe everything that is wanted, and hand out what arrives."""
        self._was_up = False
        if not self._prefix:
            # In a thread, because it may read the database, which may be away like a link.
            self._prefix = await run_urgent(channel_prefix)
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=_COMMAND_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            retry=None,
        )
        pubsub = client.pubsub()
        try:
            # No lock is held while connecting, which may take seconds.
            await pubsub.subscribe(self._channel(self._own))
            async with self._lock:
                if plain := [t for t in self._topics if not isinstance(t, Pattern)]:
                    await pubsub.subscribe(*map(self._channel, plain))
                if patterns := [t for t in self._topics if isinstance(t, Pattern)]:
                    await pubsub.psubscribe(*patterns)
                self._pubsub = pubsub
                self._was_up = True
            await self._read(pubsub)
        finally:
            self._pubsub = None
            for each in (pubsub, client):
                with suppress(Exception):
                    await each.aclose()

    async def _read(self, pubsub: Any) -> None:
        loop = asyncio.get_running_loop()
        received_at = pinged_at = loop.time()
        while self._pubsub is pubsub:
            message = None
            try:
                message = await pubsub.get_message(timeout=1.0)
            except ResponseError as exc:
                # This Redis user may not subscribe to that channel. Redis is there: the channel's
                # waiters read the database in time, and all others get their wake-ups.
                logger.warning("wakeup_refused", error=str(exc))
            now = loop.time()
            if message is not None:
                received_at = now
                self._take(message)
            elif now - received_at > SILENCE_SECONDS:
                raise TimeoutError(f"nothing heard for {SILENCE_SECONDS:.0f} s")
            if now - pinged_at >= PING_SECONDS:
                pinged_at = now
                async with self._lock:
                    await pubsub.ping()
        raise ConnectionError("a subscription could not be sent")

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "pmessage":
            return self.deliver(message["pattern"].decode(), message["channel"])
        topic = (message.get("channel") or b"").decode().removeprefix(self._prefix)
        if message["type"] in ("subscribe", "psubscribe"):
            if topic in self._topics:
                self._confirmed.add(topic)
                for subscription in self._topics[topic]:
                    subscription.confirm()
        elif message["type"] == "message":
            self.deliver(topic, message["data"])

    def _channel(self, topic: str) -> str:
        return topic if isinstance(topic, Pattern) else self._prefix + topic


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """Return the running event loop's hub; the first call makes it."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
        attach(loop, _hubs[loop].deliver)
    return _hubs[loop]
