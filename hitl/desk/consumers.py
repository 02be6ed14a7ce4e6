"""The desk's live streams: the inbox, one request, and what is the operator's to decide.

They send what the board of the process knows (`hitl.desk.board`), so that a page that is open costs
the database nothing; only the pages of a request read it when it has changed, once for all of them.
Every five seconds a page that is up to date hears so.
"""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from contextlib import suppress
from typing import Any

from django.http import HttpResponse
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.gateway.consumers import OperatorConsumer
from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.open_pages import OpenPage, open_pages
from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import compact
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from dwp_project.sse import frames
from hitl.desk import snapshot
from hitl.desk.board import BoardEntry, Follower, board
from hitl.desk.filters import Filter
from hitl.desk.live_pages import LiveDesk, LiveInbox
from hitl.desk.snapshot import SharedReading, Snapshot

logger = get_logger(__name__)

# Read this long after a request's last moment, so that it has expired. Chosen.
_AFTER_EXPIRY_SECONDS = 0.05
# What a request's page shows besides its request changes without the board: what becomes of a
# decision is read soon, who else waits in the session now and then. Chosen.
_ENDED_SECONDS, _PENDING_SECONDS = 10.0, 60.0
# After the database was away. Chosen.
_AGAIN_SECONDS = 1.0
# A browser reconnects after this. Chosen.
_RETRY_MILLISECONDS = 2000

Message = dict[str, Any]


class DeskConsumer(OperatorConsumer):
    """Sends messages as long as the operator may look."""

    async def begin(self, operator: Operator, follower: Follower) -> Message:
        """Return the first message; raises `NotFound` where there is nothing to see."""
        raise NotImplementedError

    async def update(self, changed: dict[int, BoardEntry], follower: Follower) -> Message | None:
        """Return the message on what has changed, or None; raises as `begin` does."""
        raise NotImplementedError

    def seconds_to_update(self) -> float:
        """Return after how many seconds `update` is due though nothing has changed on the board."""
        return _PENDING_SECONDS

    async def answer(self) -> None:
        async with open_pages().open(self.request) as page:
            operator = page.operator
            assert operator is not None
            async with board().follow(operator.tenants, page.wake) as follower:
                first = await self.begin(operator, follower)
                response = HttpResponse(headers=dict(frames.HEADERS))
                await self.start(200, self.response_headers(response))
                await self.write(frames.CONNECTED + frames.retry(_RETRY_MILLISECONDS))
                await self._follow(first, page, follower)

    async def drain(self) -> None:
        """Cut: the page comes back, to another process, and reads everything again."""
        await self.interrupt()
        await self.cut()

    async def _follow(self, first: Message, page: OpenPage, follower: Follower) -> None:
        operator, number = page.operator, 0
        message: Message | None = first
        while True:
            if message is not None:
                number += 1
                await self.write(frames.event(number, "standing", compact(message)))
            message = None
            if ping := page.ping(number, is_current=follower.is_current):
                await self.write(ping)
            seconds = page.seconds_to_ping
            if page.is_current:
                seconds = min(seconds, max(_AFTER_EXPIRY_SECONDS, self.seconds_to_update()))
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await page.wake.wait()
            page.wake.clear()
            if page.operator is None:
                return await self.finish(frames.event(number + 1, "gone", "{}"))
            if page.operator != operator:
                # It follows other tenants, or shows what another role may do: the page reconnects.
                return await self.finish()
            if not page.is_current:
                continue  # what has changed waits until it is known who may see it
            try:
                message = await self.update(follower.take_changed(), follower)
            except NotFound:
                return await self.finish(frames.event(number + 1, "gone", "{}"))
            except DATABASE_AWAY as exc:
                logger.warning("database_away", error=str(exc).strip())
                await asyncio.sleep(_AGAIN_SECONDS)


class InboxConsumer(DeskConsumer):
    """`GET /admin/hitl/approvalrequest/live/?…`: what an inbox with this filter lists."""

    inbox: LiveInbox

    async def begin(self, operator: Operator, follower: Follower) -> Message:
        self.inbox = LiveInbox(operator, Filter.from_query(self.request.GET))
        return await self.run_in_language(self.inbox.begin, follower.entries())

    async def update(self, changed: dict[int, BoardEntry], follower: Follower) -> Message | None:
        if not changed and not self.inbox.changes_with_time:
            return None
        return await self.run_in_language(self.inbox.update, changed, follower.entry)


class AlertsConsumer(DeskConsumer):
    """`GET /admin/hitl/live/?after=<pk>`: what is the operator's to decide, on every page."""

    desk: LiveDesk

    async def begin(self, operator: Operator, follower: Follower) -> Message:
        self.desk = LiveDesk(operator)
        after = self.request.GET.get("after", "")
        is_key = after.isascii() and after.isdigit() and len(after) < 19
        known = int(after) if is_key else None
        return await self.run_in_language(self.desk.begin, follower.entries(), known)

    async def update(self, changed: dict[int, BoardEntry], follower: Follower) -> Message | None:
        return await self.run_in_language(self.desk.update, changed) if changed else None


class _Readings:
    """The readings of one request, shared by the pages of this process that show it."""

    def __init__(self, pk: int) -> None:
        self._pk = pk
        self._asked_at = -math.inf
        self._task: asyncio.Task[SharedReading | None] | None = None

    async def since(self, moment: float) -> tuple[float, SharedReading]:
        """Return a reading that began at `moment` or later, and when; raise `NotFound`."""
        if self._task is None or self._asked_at < moment or _has_failed(self._task):
            self._asked_at = time.monotonic()
            self._task = asyncio.create_task(run_sync(snapshot.read, self._pk), name="desk-read")
        asked_at = self._asked_at
        # A page that leaves takes nothing from the others.
        reading = await asyncio.shield(self._task)
        if reading is None:
            raise NotFound
        return asked_at, reading


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


# By event loop and request, as long as there are pages.
_readings: weakref.WeakValueDictionary[tuple[int, int], _Readings] = weakref.WeakValueDictionary()


class RequestConsumer(DeskConsumer):
    """`GET /admin/hitl/approvalrequest/<pk>/live/`: whether one request still waits."""

    _operator: Operator
    _shown: Snapshot
    _readings: _Readings
    _read_at = 0.0
    # The page needs a reading that began then or later.
    _due_at = -math.inf

    async def begin(self, operator: Operator, follower: Follower) -> Message:
        self._operator = operator
        key = id(asyncio.get_running_loop()), self._pk
        self._readings = _readings.setdefault(key, _Readings(self._pk))
        self._due_at = time.monotonic()
        self._shown = await self._read()
        message = self._shown.since(None)
        assert message is not None
        return message

    async def update(self, changed: dict[int, BoardEntry], follower: Follower) -> Message | None:
        # It may have come and gone between two readings of the board.
        is_unseen = bool(changed) and self._is_pending and follower.entry(self._pk) is None
        told = changed.values() if is_unseen else filter(None, [changed.get(self._pk)])
        # The same for all pages of the request, so that one reading is enough for them.
        moments = [self._due_at, *(entry.read_at for entry in told)]
        if self.seconds_to_update() == 0:
            moments.append(self._next_at)
        self._due_at = max(moments)
        if self._due_at <= self._read_at:
            return None
        before, self._shown = self._shown, await self._read()
        return self._shown.since(before)

    def seconds_to_update(self) -> float:
        return max(0.0, self._next_at + _AFTER_EXPIRY_SECONDS - time.monotonic())

    @property
    def _next_at(self) -> float:
        """Return when the request may have changed though the board has not."""
        if self._shown.is_final:
            return math.inf
        if self._shown.next_expiry is None:
            return self._read_at + _ENDED_SECONDS
        expires_in = self._shown.next_expiry - clocks.estimate().timestamp()
        expires_at = time.monotonic() + expires_in
        if expires_at <= self._read_at:
            # By the database's clock, its term was not over yet.
            expires_at = self._read_at + _AGAIN_SECONDS
        return min(self._read_at + _PENDING_SECONDS, expires_at)

    @property
    def _pk(self) -> int:
        return int(self.scope["url_route"]["kwargs"]["pk"])

    @property
    def _is_pending(self) -> bool:
        return self._shown.next_expiry is not None

    async def _read(self) -> Snapshot:
        asked_at, reading = await self._readings.since(self._due_at)
        current = await self.run_in_language(reading.snapshot, self._operator)
        if current is None:
            raise NotFound
        self._read_at = asked_at
        return current
