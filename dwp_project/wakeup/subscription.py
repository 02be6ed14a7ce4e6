"""One waiter's bounded queue of wake-ups on one topic."""

from __future__ import annotations

import asyncio
from collections import deque

# A waiter that is further behind than this reads the database instead of the queue. Chosen.
QUEUE_LIMIT = 256
QUEUE_BYTES = 1024 * 1024


class Subscription:
    """The wake-ups of one waiter on one topic, from `Hub.subscribe`.

    The queue is bounded: on overflow all wake-ups are replaced by one empty one, which tells the
    waiter to read the database.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._messages: deque[bytes] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._was_lost = False

    async def confirmed(self, timeout: float) -> bool:
        """Wait until Redis has confirmed the subscription, at most `timeout` seconds.

        False means that Redis is away: the waiter still gets the wake-ups of its own process, and
        reads the database for those of others.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._confirmed.wait()
        except TimeoutError:
            return False
        return True

    async def next(self, timeout: float | None) -> bytes | None:
        """Return the next wake-up's payload, empty if there was none to carry, or None after
        `timeout` seconds of silence, if any. Nothing is lost when the caller is cancelled."""
        if not self._messages:
            self._arrived.clear()
            try:
                # Not wait_for: on Python 3.11 it swallows a cancellation that comes with the
                # wake-up.
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        if not self._messages:
            return b""
        payload = self._messages.popleft()
        self._size -= len(payload)
        return payload

    def deliver(self, payload: bytes) -> None:
        """Put a wake-up in the queue (event loop only)."""
        if len(self._messages) >= QUEUE_LIMIT or self._size + len(payload) > QUEUE_BYTES:
            self._messages.clear()
            self._size, payload = 0, b""
        self._messages.append(payload)
        self._size += len(payload)
        self._arrived.set()

    def confirm(self) -> None:
        """Note that Redis has confirmed the subscription (event loop only)."""
        self._confirmed.set()
        if self._was_lost:
            # Wake-ups between the break and now are lost: wake once more to read.
            self._was_lost = False
            self.deliver(b"")

    def lost(self) -> None:
        """Note that the link broke: wake-ups may be lost from now on, so wake to read."""
        self._confirmed.clear()
        self._was_lost = True
        self.deliver(b"")
