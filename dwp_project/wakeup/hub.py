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

from dwp_project.wakeup.publish import CHANNEL_PREFIX, attach
from dwp_project.wakeup.subscription import Subscription

logger = get_logger(__name__)

# The hub pings itself this often, and takes a link on which nothing came for SILENCE_SECONDS
# for dead: a frozen link neither fails nor delivers. Three pings may be lost (docs/adr/0015).
PING_SECONDS = 3.0
SILENCE_SECONDS = 10.0
# Chosen: a cancellation that redis-py swallowed is repeated after this long.
_CANCEL_SECONDS = 0.5
# Chosen: soon after a restart of Redis, and once a second while it is away; waiters read the
# database meanwhile.
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0)


class Pattern(str):
    """A topic that is a pattern of raw Redis channels; its wake-ups carry the channel's name."""


class Hub:
    """Subscriptions of one event loop, carried by one pub/sub connection."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Subscription]] = defaultdict(set)
        self._wanted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._pubsub: Any = None
        # Whether the last connection was made and subscribed, and so could be relied on.
        self._stood = False
        self._confirmed: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._commands: set[asyncio.Task[None]] = set()
        # Subscribed first on every connection, so that the connection always has a channel.
        self._own = f"{CHANNEL_PREFIX}hub:{os.getpid()}:{secrets.token_hex(4)}"

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Subscription]:
        """Hear `topic` for as long as the block runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="wakeup-hub")
        subscription = Subscription(topic)
        listeners = self._topics[topic]
        listeners.add(subscription)
        try:
            if topic in self._confirmed:
                subscription.confirm()
            elif len(listeners) == 1:
                await asyncio.shield(self._commanded("subscribe", topic))
            yield subscription
        finally:
            listeners.discard(subscription)
            if not listeners and self._topics.get(topic) is listeners:
                del self._topics[topic]
                self._confirmed.discard(topic)
                self._commanded("unsubscribe", topic)

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

    def _commanded(self, verb: str, topic: str) -> asyncio.Task[None]:
        """Have the command sent by a task of its own: a waiter that is being cancelled neither
        breaks it off half-way nor misses its cancellation, and others may rely on it."""
        task = asyncio.create_task(self._command(verb, topic))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)
        return task

    async def _command(self, verb: str, topic: str) -> None:
        """Subscribe or unsubscribe one topic, one command at a time on the connection."""
        async with self._lock:
            # Between the waiter's wish and this turn the last of its kind may have changed.
            if (verb == "subscribe") != (topic in self._topics) or self._pubsub is None:
                return
            verb = f"p{verb}" if isinstance(topic, Pattern) else verb
            try:
                await getattr(self._pubsub, verb)(_channel(topic))
            except Exception as exc:
                # Whatever redis-py raises on a link that is being torn down: the reader
                # notices and rebuilds, and no waiter fails because of it.
                logger.info("wakeup_command_failed", verb=verb, error=str(exc))
                self._pubsub = None

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except Exception as exc:
                # Whatever redis-py raises on a link that breaks while a command is being sent:
                # a hub that ended would leave its waiters believing that they are told.
                if failures == 0:
                    logger.warning("wakeup_link_lost", error=str(exc) or type(exc).__name__)
            delay = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
            failures = 0 if self._stood else failures + 1
            if self._stood:
                # Only then can something have been missed; while it cannot be made, waiters
                # read in time as they do anyway.
                self._confirmed.clear()
                for subscription in [s for group in self._topics.values() for s in group]:
                    subscription.lost()
            await asyncio.sleep(delay)

    async def _listen(self) -> None:
        """Connect, subscribe everything that is wanted, and hand out what arrives."""
        self._stood = False
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2, retry=None
        )
        pubsub = client.pubsub()
        try:
            # Connecting may take seconds and is nobody's business yet: no lock is held.
            await pubsub.subscribe(self._own)
            async with self._lock:
                if plain := [t for t in self._topics if not isinstance(t, Pattern)]:
                    await pubsub.subscribe(*map(_channel, plain))
                if patterns := [t for t in self._topics if isinstance(t, Pattern)]:
                    await pubsub.psubscribe(*patterns)
                self._pubsub = pubsub
                self._stood = True
            await self._read(pubsub)
        finally:
            self._pubsub = None
            for each in (pubsub, client):
                with suppress(Exception):
                    await each.aclose()

    async def _read(self, pubsub: Any) -> None:
        loop = asyncio.get_running_loop()
        heard = pinged = loop.time()
        while self._pubsub is pubsub:
            message = None
            try:
                message = await pubsub.get_message(timeout=1.0)
            except ResponseError as exc:
                # A channel this user may not hear: who waits for it reads in time as without
                # Redis, and all others are told.
                logger.warning("wakeup_refused", error=str(exc))
            now = loop.time()
            if message is not None:
                heard = now
                self._take(message)
            elif now - heard > SILENCE_SECONDS:
                raise TimeoutError(f"nothing heard for {SILENCE_SECONDS:.0f} s")
            if now - pinged >= PING_SECONDS:
                pinged = now
                async with self._lock:
                    await pubsub.ping()
        raise ConnectionError("a subscription could not be sent")

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "pmessage":
            return self.deliver(message["pattern"].decode(), message["channel"])
        topic = (message.get("channel") or b"").decode().removeprefix(CHANNEL_PREFIX)
        if message["type"] in ("subscribe", "psubscribe"):
            if topic in self._topics:
                self._confirmed.add(topic)
                for subscription in self._topics[topic]:
                    subscription.confirm()
        elif message["type"] == "message":
            self.deliver(topic, message["data"])


def _channel(topic: str) -> str:
    return topic if isinstance(topic, Pattern) else CHANNEL_PREFIX + topic


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """Return the running event loop's hub, made on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
        attach(loop, _hubs[loop].deliver)
    return _hubs[loop]
