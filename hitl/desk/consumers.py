"""The desk's live streams: what waits, and how one request stands.

Each reads the database when the channel layer says that something has changed, and at least
every ten seconds, because the layer may drop messages. Who asks is asked for again each time.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.http import HttpResponse
from structlog.stdlib import get_logger

from dwp_project.gateway.consumers import OperatorConsumer
from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import compact
from dwp_project.outages import DATABASE_AWAY
from dwp_project.sse import frames
from hitl.delivery import live
from hitl.desk import snapshot
from hitl.desk.snapshot import Snapshot

logger = get_logger(__name__)

# No page is older than this, whatever the channel layer drops.
REREAD_SECONDS = 10.0
# Changes come in bursts: wait for the rest of one, and read no more often than this.
_DEBOUNCE_SECONDS = 0.15
_BETWEEN_READS_SECONDS = 0.8
# What is left of a moment after which a request has expired.
_AFTER_EXPIRY_SECONDS = 0.05
_RETRY_MILLISECONDS = 2000
_CANCELLATIONS, _CANCEL_SECONDS = 4, 0.5


class DeskConsumer(OperatorConsumer):
    """Sends what `look` returns whenever it has changed; ends when the operator may not look."""

    async def look(self, operator: Operator) -> Snapshot:
        """Return how things stand; raises `NotFound` where there is nothing to see."""
        raise NotImplementedError

    async def answer(self) -> None:
        operator = await self.operator()
        shown = await self.look(operator)
        response = HttpResponse(headers=dict(frames.HEADERS))
        await self.start(200, self.response_headers(response))
        await self.write(frames.CONNECTED + frames.retry(_RETRY_MILLISECONDS))
        async with _ear(operator.tenants) as heard:
            await self._follow(shown, operator, heard)

    async def drain(self) -> None:
        """Cut: the page comes back, to another process, and reads everything again."""
        await self.interrupt()
        await self.cut()

    async def _follow(self, shown: Snapshot, operator: Operator, heard: asyncio.Event) -> None:
        before: Snapshot | None = None
        number = 0
        sent_at = time.monotonic()
        while True:
            if (change := shown.since(before)) is not None:
                number += 1
                await self.write(frames.event(number, "standing", compact(change)))
                sent_at = time.monotonic()
            before = shown
            await self._pause(heard, shown.next_expiry, sent_at)
            if time.monotonic() - sent_at >= settings.SSE_HEARTBEAT_SECONDS:
                await self.write(frames.HEARTBEAT)
                sent_at = time.monotonic()
            try:
                now = await self.operator()
                if now.tenants != operator.tenants:
                    # Subscribed to others than these: the page comes back at once and is asked.
                    return await self.finish()
                shown = await self.look(now)
            except NotFound:
                return await self.finish(frames.event(number + 1, "gone", "{}"))
            except DATABASE_AWAY as exc:
                logger.warning("database_away", error=str(exc).strip())

    async def _pause(self, heard: asyncio.Event, next_expiry: float | None, sent_at: float) -> None:
        """Sleep until something may have changed, or the connection has been silent for long."""
        silence = settings.SSE_HEARTBEAT_SECONDS - (time.monotonic() - sent_at)
        expiry = REREAD_SECONDS
        if next_expiry is not None:
            expiry = max(0.0, next_expiry - time.time()) + _AFTER_EXPIRY_SECONDS
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.05, min(REREAD_SECONDS, silence, expiry))):
                await heard.wait()
                await asyncio.sleep(_DEBOUNCE_SECONDS)
        if heard.is_set():
            # However busy the tenant is, one page costs the database little.
            await asyncio.sleep(max(0.0, _BETWEEN_READS_SECONDS - (time.monotonic() - began)))
        heard.clear()


class InboxConsumer(DeskConsumer):
    """`GET /admin/hitl/approvalrequest/live/`: the inbox, kept up to date."""

    async def look(self, operator: Operator) -> Snapshot:
        return await self.run_in_language(snapshot.of_inbox, operator)


class RequestConsumer(DeskConsumer):
    """`GET /admin/hitl/approvalrequest/<pk>/live/`: whether one request still waits."""

    async def look(self, operator: Operator) -> Snapshot:
        pk = self.scope["url_route"]["kwargs"]["pk"]
        found = await self.run_in_language(snapshot.of_request, operator, pk)
        if found is None:
            raise NotFound
        return found


@asynccontextmanager
async def _ear(tenants: list[str]) -> AsyncIterator[asyncio.Event]:
    """Set an event whenever the channel layer tells of a change in one of `tenants`."""
    heard = asyncio.Event()
    listening = asyncio.create_task(_listen(tenants, heard), name="desk-ear")
    try:
        yield heard
    finally:
        await _end(listening)


async def _listen(tenants: list[str], heard: asyncio.Event) -> None:
    """Listen until cancelled. With Redis away nothing is heard, and pages read in time."""
    layer: Any = get_channel_layer()
    channel = f"desk.{uuid.uuid4().hex}"
    groups = [live.group_of(tenant) for tenant in tenants]
    receiving = asyncio.create_task(_receive(layer, channel, heard), name="desk-receive")
    try:
        # The layer knows a channel from the first step of `receive` on.
        await asyncio.sleep(0)
        for group in groups:
            while not await _joined(layer, group, channel):  # noqa: ASYNC110 - Redis sets no event
                await asyncio.sleep(REREAD_SECONDS / 2)
        # What was told before the subscription stood is gone.
        heard.set()
        await receiving
    finally:
        await _end(receiving)
        for group in groups:
            with suppress(Exception):
                await layer.group_discard(group, channel)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: the layer swallows a cancellation that meets it while it
    subscribes. Whoever has left is not held for a Redis that does not answer."""
    for _ in range(_CANCELLATIONS):
        task.cancel()
        if (await asyncio.wait([task], timeout=_CANCEL_SECONDS))[0]:
            return
    logger.warning("desk_still_listens", task=task.get_name())


async def _receive(layer: Any, channel: str, heard: asyncio.Event) -> None:
    """Empty the channel as it fills, one `receive` at a time and never under a timeout:
    cancelling it unsubscribes, and loses what came meanwhile."""
    while True:
        try:
            await layer.receive(channel)
            heard.set()
        except Exception as exc:
            logger.info("desk_does_not_hear", error=str(exc))
            await asyncio.sleep(1.0)


async def _joined(layer: Any, group: str, channel: str) -> bool:
    try:
        await layer.group_add(group, channel)
    except Exception as exc:
        logger.info("desk_does_not_hear", error=str(exc))
        return False
    return True
