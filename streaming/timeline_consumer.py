"""The live timeline of a session on the operators' pages."""

from __future__ import annotations

import asyncio
import time

from django.conf import settings
from django.http import HttpResponse
from structlog.stdlib import get_logger

from dwp_project.gateway.consumers import OperatorConsumer
from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.identity import header
from dwp_project.jsontext import compact
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from dwp_project.sse import frames
from dwp_project.wakeup import CONFIRM_SECONDS, REREAD_SECONDS, Subscription, hub
from hitl.models import is_id
from streaming import log, timeline
from streaming.models import Session

logger = get_logger(__name__)

# When a page reconnects. Chosen: a restart of the server is over by then.
_RETRY_MILLISECONDS = 2000
# The shortest time between two reads, because an answer arrives in many small pieces. Chosen: a
# person sees it as immediate.
_BETWEEN_READS_SECONDS = 0.25


class TimelineConsumer(OperatorConsumer):
    """`GET /admin/streaming/session/<session_id>/timeline/?after=<sequence>`."""

    async def answer(self) -> None:
        if not is_id(self._session_id):
            raise NotFound  # PostgreSQL refuses a NUL
        try:
            session = await self._session()
        except NotFound:
            if not await self._is_elsewhere():
                raise
            # 204 tells an EventSource not to reconnect: this session has no events here.
            await self.start(204, self.response_headers(HttpResponse()))
            return await self.finish()
        after = self._after()
        async with hub().subscribe(log.wake_topic(session.pk)) as subscription:
            response = HttpResponse(headers=dict(frames.HEADERS))
            await self.start(200, self.response_headers(response))
            await self.write(frames.CONNECTED + frames.retry(_RETRY_MILLISECONDS))
            await subscription.confirmed(CONFIRM_SECONDS)
            await self._follow(session.pk, after, subscription)

    async def drain(self) -> None:
        """Cut the connection; the page reconnects, to another process, after its last event."""
        await self.interrupt()
        await self.cut()

    async def _follow(self, session_pk: int, after: int, subscription: Subscription) -> None:
        sent_at = time.monotonic()
        is_quiet_sent = False
        while True:
            try:
                # The operator's access is checked with every read: it may have ended.
                await self._session()
                page = await self.run_in_language(timeline.read, session_pk, after)
            except NotFound:
                return await self.finish()  # the page reconnects, and gets 404
            except DATABASE_AWAY as exc:
                logger.warning("database_away", error=str(exc).strip())
                await asyncio.sleep(1.0)
                continue
            if page.items:
                await self.write(b"".join(map(_frame, page.items)))
                sent_at = time.monotonic()
            elif page.sequence == 0 and not is_quiet_sent:
                is_quiet_sent = True
                await self.write(frames.event(0, "quiet", "{}"))
            after = page.sequence
            if page.is_last:
                return await self.finish(frames.event(after, "over", "{}"))
            if page.is_partial:
                continue
            silence = settings.SSE_HEARTBEAT_SECONDS - (time.monotonic() - sent_at)
            await subscription.next(max(0.0, min(silence, REREAD_SECONDS)))
            await asyncio.sleep(_BETWEEN_READS_SECONDS)
            if time.monotonic() - sent_at >= settings.SSE_HEARTBEAT_SECONDS:
                await self.write(frames.HEARTBEAT)
                sent_at = time.monotonic()

    async def _is_elsewhere(self) -> bool:
        operator = await self.operator()
        return await run_sync(timeline.is_elsewhere, self._session_id, operator.tenants)

    @property
    def _session_id(self) -> str:
        return str(self.scope["url_route"]["kwargs"]["session_id"])

    async def _session(self) -> Session:
        operator = await self.operator()
        session = await run_sync(timeline.find, self._session_id, operator.tenants)
        if session is None:
            raise NotFound
        return session

    def _after(self) -> int:
        """Return the sequence of the last event that the page has received."""
        text = header(self.request, "Last-Event-ID") or self.request.GET.get("after", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _frame(item: timeline.TimelineItem) -> bytes:
    data = {"kind": item.kind, "html": item.html, "piece": item.piece}
    return frames.event(item.sequence, "happened", compact(data))
