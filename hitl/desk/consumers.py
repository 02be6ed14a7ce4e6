"""The desk's live streams: the inbox, and one request.

Each reads the database when the channel layer says that something has changed, and at least
every ten seconds, because the layer may drop messages. The operator's rights are read again each
time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from django.conf import settings
from django.http import HttpResponse
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.gateway.consumers import OperatorConsumer
from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import compact
from dwp_project.outages import DATABASE_AWAY
from dwp_project.sse import frames
from hitl.desk import live, snapshot
from hitl.desk.snapshot import Snapshot

logger = get_logger(__name__)

# No page is older than this, whatever the channel layer drops. Chosen (ADR 0031).
_MAX_PAGE_AGE_SECONDS = 10.0
# Changes come in bursts: wait for the rest of one, and read no more often than this. Chosen.
_DEBOUNCE_SECONDS = 0.15
_BETWEEN_READS_SECONDS = 0.8
# Read this long after a request's last moment, so that it has expired. Chosen.
_AFTER_EXPIRY_SECONDS = 0.05
# A browser reconnects after this. Chosen.
_RETRY_MILLISECONDS = 2000


class DeskConsumer(OperatorConsumer):
    """Sends what `look` returns whenever it has changed; ends when the operator may not look."""

    async def look(self, operator: Operator) -> Snapshot:
        """Return what to show; raises `NotFound` where there is nothing to see."""
        raise NotImplementedError

    async def answer(self) -> None:
        operator = await self.operator()
        first = await self.look(operator)
        response = HttpResponse(headers=dict(frames.HEADERS))
        await self.start(200, self.response_headers(response))
        await self.write(frames.CONNECTED + frames.retry(_RETRY_MILLISECONDS))
        async with live.listen(operator.tenants) as changed:
            await self._follow(first, operator, changed)

    async def drain(self) -> None:
        """Cut: the page comes back, to another process, and reads everything again."""
        await self.interrupt()
        await self.cut()

    async def _follow(self, now: Snapshot, operator: Operator, changed: asyncio.Event) -> None:
        before: Snapshot | None = None
        number = 0
        sent_at = time.monotonic()
        while True:
            if (change := now.since(before)) is not None:
                number += 1
                await self.write(frames.event(number, "standing", compact(change)))
                sent_at = time.monotonic()
            before = now
            await self._pause(changed, now.next_expiry, sent_at)
            if time.monotonic() - sent_at >= settings.SSE_HEARTBEAT_SECONDS:
                await self.write(frames.HEARTBEAT)
                sent_at = time.monotonic()
            try:
                still = await self.operator()
                if still.tenants != operator.tenants:
                    # The subscription is to the earlier tenants: end it, and the page reconnects.
                    return await self.finish()
                now = await self.look(still)
            except NotFound:
                return await self.finish(frames.event(number + 1, "gone", "{}"))
            except DATABASE_AWAY as exc:
                logger.warning("database_away", error=str(exc).strip())

    async def _pause(
        self, changed: asyncio.Event, next_expiry: float | None, sent_at: float
    ) -> None:
        """Sleep until something may have changed, or the connection has been silent for long."""
        silence = settings.SSE_HEARTBEAT_SECONDS - (time.monotonic() - sent_at)
        expiry = _MAX_PAGE_AGE_SECONDS
        if next_expiry is not None:
            expiry = max(0.0, next_expiry - clocks.estimate().timestamp()) + _AFTER_EXPIRY_SECONDS
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.05, min(_MAX_PAGE_AGE_SECONDS, silence, expiry))):
                await changed.wait()
                await asyncio.sleep(_DEBOUNCE_SECONDS)
        if changed.is_set():
            # However busy the tenant is, one page costs the database little.
            await asyncio.sleep(max(0.0, _BETWEEN_READS_SECONDS - (time.monotonic() - began)))
        changed.clear()


class InboxConsumer(DeskConsumer):
    """`GET /admin/hitl/approvalrequest/live/`: the inbox, kept up to date."""

    async def look(self, operator: Operator) -> Snapshot:
        return await self.run_in_language(snapshot.of_inbox, operator)


class RequestConsumer(DeskConsumer):
    """`GET /admin/hitl/approvalrequest/<pk>/live/`: whether one request still waits."""

    async def look(self, operator: Operator) -> Snapshot:
        pk = self.scope["url_route"]["kwargs"]["pk"]
        current = await self.run_in_language(snapshot.of_request, operator, pk)
        if current is None:
            raise NotFound
        return current
