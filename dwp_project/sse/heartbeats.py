"""The heartbeats of an event loop's streams: one timer for all of them (wire.md, 4.3)."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile

from django.conf import settings
from structlog.stdlib import get_logger

from dwp_project.sse import frames

logger = get_logger(__name__)

# A heartbeat that is due so soon is sent with the one that is due, so that thousands of streams
# wake the loop ten times a second. Chosen; never more than a tenth of the interval.
_EARLY_SECONDS = 0.1


class Heartbeat:
    """When one stream is due to get its next comment."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self.due_at = 0.0


class Heartbeats:
    """Sends a comment to each stream that is silent for `SSE_HEARTBEAT_SECONDS`."""

    def __init__(self) -> None:
        # In the order in which they are due, because all are as long silent.
        self._beating: dict[Heartbeat, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def after_silence(self, write: Callable[[bytes], None]) -> Iterator[Callable[[], None]]:
        """Have `write`, which must not wait, called with each heartbeat while the block runs; yield
        what is to be called after each event."""
        heartbeat = Heartbeat(write)

        def restart() -> None:
            self._beating.pop(heartbeat, None)
            self._add(heartbeat)

        restart()
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(heartbeat.due_at, self._beat)
        try:
            yield restart
        finally:
            del self._beating[heartbeat]

    def _add(self, heartbeat: Heartbeat) -> None:
        heartbeat.due_at = asyncio.get_running_loop().time() + settings.SSE_HEARTBEAT_SECONDS
        self._beating[heartbeat] = None

    def _beat(self) -> None:
        """Write to all that are due, and set the timer for the next."""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(_EARLY_SECONDS, settings.SSE_HEARTBEAT_SECONDS / 10)
        for heartbeat in list(takewhile(lambda one: one.due_at <= until, self._beating)):
            del self._beating[heartbeat]
            self._add(heartbeat)
            try:
                heartbeat.write(frames.HEARTBEAT)
            except Exception:
                # The others wait for theirs.
                logger.exception("heartbeat_not_sent")
        self._timer = None
        for first in self._beating:
            self._timer = loop.call_at(first.due_at, self._beat)
            return


_heartbeats: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Heartbeats] = (
    weakref.WeakKeyDictionary()
)


def heartbeats() -> Heartbeats:
    """Return the heartbeats of the running event loop; the first call makes them."""
    return _heartbeats.setdefault(asyncio.get_running_loop(), Heartbeats())
