"""What the operators of all open pages may do, read for all of them at once every two seconds.

A live page keeps its connection for hours, and memberships and sign-in sessions end meanwhile. The
number of statements does not depend on the number of pages.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.conf import settings
from django.http import HttpRequest
from structlog.stdlib import get_logger

from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.operators import Operator, session_key, signed_in_by_key
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from dwp_project.sse import frames

logger = get_logger(__name__)

# A page shows what its operator may no longer see for so long at most. Chosen.
READ_SECONDS = 2.0
# With the database away nothing new is shown to whoever may have lost access since. Chosen.
STALE_SECONDS = 10.0
# How often a page hears that it is up to date; it takes 12 s without that for a broken connection
# (desk/watchdog.js). Chosen: two may be late.
PING_SECONDS = 5.0


class OpenPage:
    """One open page: whose it is, and when it is to hear that it is up to date."""

    def __init__(self, key: str, operator: Operator, read_at: float) -> None:
        self.operator: Operator | None = operator
        # Set when the operator's access has changed; a page may have it set for other reasons too.
        self.wake = asyncio.Event()
        self._key, self._read_at = key, read_at
        self._written_at = time.monotonic()

    @property
    def is_current(self) -> bool:
        """Say whether it is known what the operator may do now."""
        return time.monotonic() - self._read_at < STALE_SECONDS

    @property
    def seconds_to_ping(self) -> float:
        """Return in how many seconds `ping` is due."""
        period = min(PING_SECONDS, settings.SSE_HEARTBEAT_SECONDS)
        return max(0.0, self._written_at + period - time.monotonic())

    def ping(self, event_id: int, *, is_current: bool = True) -> bytes:
        """Return what the page hears now: empty as long as nothing is due, a named event if it is
        up to date, and else a comment, which only keeps the connection open."""
        if self.seconds_to_ping > 0:
            return b""
        self._written_at = time.monotonic()
        if is_current and self.is_current:
            return frames.event(event_id, "ping", "{}")
        return frames.HEARTBEAT


class OpenPages:
    """The open pages of one event loop."""

    def __init__(self) -> None:
        self._pages: set[OpenPage] = set()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[OpenPage]:
        """Yield the page of the operator who sent `request`; raise `NotFound` for anybody else."""
        key, asked_at = session_key(request), time.monotonic()
        operator = (await run_sync(signed_in_by_key, [key]))[key]
        if operator is None:
            raise NotFound
        page = OpenPage(key, operator, asked_at)
        self._pages.add(page)
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="open-pages")
        try:
            yield page
        finally:
            self._pages.discard(page)
            if not self._pages and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(READ_SECONDS)
            pages, asked_at = list(self._pages), time.monotonic()
            try:
                operators = await run_sync(signed_in_by_key, {page._key for page in pages})
            except DATABASE_AWAY as exc:
                logger.warning("database_away", error=str(exc).strip())
                continue
            except Exception:
                # Pages that cannot be checked show nothing new, and the next read may succeed.
                logger.exception("open_pages_not_read")
                continue
            for page in pages:
                page._read_at = asked_at
                if page.operator != operators[page._key]:
                    page.operator = operators[page._key]
                    page.wake.set()


_open: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, OpenPages] = weakref.WeakKeyDictionary()


def open_pages() -> OpenPages:
    """Return the open pages of the running event loop; the first call makes them."""
    return _open.setdefault(asyncio.get_running_loop(), OpenPages())
